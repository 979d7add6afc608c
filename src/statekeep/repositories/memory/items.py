"""Items in this process."""

from __future__ import annotations

import builtins
import datetime as dt
import json
import time
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import islice, takewhile
from typing import Any

from attrs import define, evolve, field, frozen

from ...domain import ANY, DEFAULT, Item, Payload, SearchItem, SearchStatus, VectorIndex
from ...domain.filters import matches
from ...domain.items import ItemValue, Namespace
from ...domain.json_values import dumps
from ...domain.shown import once_made
from ...domain.vector_index import NO_INDEX
from ..item_backend import (
    Action,
    Check,
    Delete,
    Get,
    ItemAction,
    ItemRange,
    ItemSearch,
    Listing,
    NamespaceQuery,
    Put,
    Restore,
    conflict,
)
from ..operation import Page
from ..records.json_text import stored_value
from ..validation import unit_or_none
from .at_once import AtOnce, at_once
from .ends import EPOCH, MICROSECOND, end_of

_PAGE = 100
_DIGITS = 20  # of a key made by append: more than the microseconds of any year to come

Place = tuple[Namespace, str]
"""Namespace and key."""


@frozen
class _Record:
    """A stored item.

    A JSON value is kept as text, so that nobody can change it from outside.
    """

    content: str | Payload
    created_at: dt.datetime
    updated_at: dt.datetime
    version: int
    ttl: float | None
    expires_at: dt.datetime | None
    vectors: tuple[bytes, ...]

    def value(self) -> ItemValue:
        return self.content if isinstance(self.content, Payload) else json.loads(self.content)

    def fields(self, place: Place) -> dict[str, Any]:
        namespace, key = place
        return {
            "namespace": namespace,
            "key": key,
            "value": self.content if isinstance(self.content, Payload) else stored_value(self.content),
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "version": self.version,
            "expires_at": self.expires_at,
        }

    def item(self, place: Place) -> Item:
        return Item.trusted(**self.fields(place))


@define
class _Namespace:
    """Records by key.

    Attributes:
        order: their keys in order, once somebody asked for them.
        ends: a heap of expiries with their keys; some are out of date.
    """

    records: dict[str, _Record] = field(factory=dict)
    order: builtins.list[str] | None = None
    ends: builtins.list[tuple[dt.datetime, str]] = field(factory=list)

    def keys(self) -> Sequence[str]:
        """Return the keys in order."""
        if self.order is None:
            self.order = sorted(self.records)
        return self.order

    def store(self, key: str, record: _Record) -> None:
        if self.order is not None and key not in self.records:
            insort(self.order, key)
        self.records[key] = record
        if record.expires_at is not None:
            heappush(self.ends, (record.expires_at, key))
            if len(self.ends) > 2 * len(self.records) + _PAGE:
                ends = [(each.expires_at, name) for name, each in self.records.items() if each.expires_at is not None]
                self.ends = sorted(ends)

    def remove(self, key: str) -> None:
        if self.records.pop(key, None) is not None and self.order is not None:
            del self.order[bisect_left(self.order, key)]

    def expire(self, now: dt.datetime) -> None:
        while self.ends and self.ends[0][0] <= now:
            _, key = heappop(self.ends)
            record = self.records.get(key)
            if record is not None and record.expires_at is not None and record.expires_at <= now:
                self.remove(key)


@frozen
class _Cursor:
    """The place where a listing goes on.

    Attributes:
        after: the last key, or the time of its last put, and itself; ``None``: at the beginning.
        until: nothing that was put later is listed by time.
        skip: how many are to be left out.
        limit: at most so many.
    """

    after: str | tuple[dt.datetime, str] | None
    until: dt.datetime
    skip: int
    limit: int | None


class MemoryItems(AtOnce):
    """A backend that keeps items in this process.

    They are gone when it ends. Threads may share it.

    Args:
        ttl: seconds, with fractions, after which an item expires that is put without a ``ttl`` of its own; ``None``
            for never.
        refresh_on_read: whether reading an item starts its TTL anew where the caller does not say.
        clock: returns the time in seconds since the epoch.
        index: the options of vector search, which compares every vector with the query; ``None`` for none.
        unit: a batch with expectations may be about all namespaces that begin with the same so many labels; ``None``:
            about one. Here all could be one unit, but a program that is tested in memory runs on a cluster, too.

    Raises:
        InvalidInput: ``ttl`` is no number of seconds greater than 0, or ``unit`` is wrong.

    Example:
        >>> from statekeep.repositories.items import ItemRepository
        >>> repository = ItemRepository(MemoryItems(ttl=3600))
        >>> repository.put(("users", "ada"), "theme", "dark").version
        1
        >>> repository.get(("users", "ada"), "theme").value
        'dark'
    """

    def __init__(
        self,
        *,
        ttl: float | None = None,
        refresh_on_read: bool = False,
        clock: Callable[[], float] = time.time,
        index: VectorIndex | None = None,
        unit: int | None = None,
    ) -> None:
        super().__init__(ttl, clock)
        self.unit = unit_or_none(unit)
        self.refresh_on_read = refresh_on_read
        self.index = index
        self._namespaces: dict[Namespace, _Namespace] = {}
        self._updated_at = EPOCH
        self._number = 0

    @once_made
    def __repr__(self) -> str:
        with self._lock:
            items = sum(len(namespace.records) for namespace in self._namespaces.values())
        return f"MemoryItems(ttl={self.ttl}, refresh_on_read={self.refresh_on_read}, items={items})"

    # -- time

    def _next_update(self, now: dt.datetime) -> dt.datetime:
        """Return a time that no update had before, be the clock as coarse as it may."""
        self._updated_at = max(now, self._updated_at + MICROSECOND)
        return self._updated_at

    # -- expiry

    def _live(self, namespace: Namespace, now: dt.datetime) -> Mapping[str, _Record]:
        """Return the records of a namespace without whatever has expired."""
        found = self._namespaces.get(namespace)
        if found is None:
            return {}
        found.expire(now)
        if not found.records:
            del self._namespaces[namespace]
        return found.records

    def _all_live(self, prefix: Namespace, now: dt.datetime) -> Iterator[tuple[Namespace, Mapping[str, _Record]]]:
        for namespace in list(self._namespaces):
            if namespace[: len(prefix)] == prefix and (records := self._live(namespace, now)):
                yield namespace, records

    def _store(self, place: Place, record: _Record | None) -> None:
        namespace, key = place
        if record is not None:
            self._namespaces.setdefault(namespace, _Namespace()).store(key, record)
        elif namespace in self._namespaces:
            self._namespaces[namespace].remove(key)
            if not self._namespaces[namespace].records:
                del self._namespaces[namespace]

    def _read(self, place: Place, record: _Record, refresh: bool | None, now: dt.datetime) -> _Record:
        """Return a record as it is after a read of it."""
        refresh = self.refresh_on_read if refresh is None else refresh
        return evolve(record, expires_at=end_of(record.ttl, now)) if refresh else record

    # -- operations

    @at_once
    def apply(self, actions: Sequence[Action]) -> list[Any]:
        with self._lock:
            now = self._now()
            # What becomes of each record, none of which is touched before all of them are known.
            staged: dict[Place, _Record | None] = {}
            results = []
            for action in actions:
                if isinstance(action, Listing):
                    results.append(self._listed(action.query, staged, now))
                    continue
                place = (action.namespace, action.key)
                stored = staged[place] if place in staged else self._live(action.namespace, now).get(action.key)
                result, staged[place] = self._applied(action, place, stored, now)
                results.append(result)
            for place, record in staged.items():
                self._store(place, record)
        return results

    def _listed(self, query: ItemRange, staged: dict[Place, _Record | None], now: dt.datetime) -> builtins.list[Item]:
        """Return the items of a listing after what is staged, and stage what it reads."""
        records: dict[str, _Record | None] = dict(self._live(query.namespace, now))
        records |= {key: record for (namespace, key), record in staged.items() if namespace == query.namespace}
        there = {key: record for key, record in records.items() if record is not None and _is_within(query, key)}
        by_time = query.order == "updated"
        keys = sorted(there, reverse=query.reverse)
        if by_time:
            keys.sort(key=lambda key: (there[key].updated_at, key), reverse=query.reverse)
        found = {key: self._read((query.namespace, key), there[key], query.refresh, now) for key in keys[: query.limit]}
        staged.update({(query.namespace, key): record for key, record in found.items()})
        return [record.item((query.namespace, key)) for key, record in found.items()]

    def _applied(
        self, action: ItemAction, place: Place, stored: _Record | None, now: dt.datetime
    ) -> tuple[Any, _Record | None]:
        """Return the result of an action, and the record after it."""
        if isinstance(action, Get):
            if stored is None:
                return None, None
            record = self._read(place, stored, action.refresh, now)
            return record.item(place), record
        _check(action, stored)
        if isinstance(action, Put):
            record = self._put(action, stored, now)
            return record.item(place), record
        return (None, stored) if isinstance(action, Check) else (stored is not None, None)

    def _put(self, put: Put, stored: _Record | None, now: dt.datetime) -> _Record:
        ttl = self.ttl if put.ttl is DEFAULT else put.ttl
        updated_at = self._next_update(now)
        return _Record(
            content=put.value if isinstance(put.value, Payload) else dumps(put.value),
            created_at=updated_at if stored is None else stored.created_at,
            updated_at=updated_at,
            version=1 if stored is None else stored.version + 1,
            ttl=ttl,
            expires_at=end_of(ttl, now),
            vectors=tuple(put.vectors),
        )

    @at_once
    def restore(self, puts: Sequence[Restore]) -> int:
        with self._lock:
            now = self._now()
            there = [put for put in puts if put.expires_at is None or put.expires_at > now]
            for put in there:
                record = _Record(
                    content=put.value if isinstance(put.value, Payload) else dumps(put.value),
                    created_at=put.created_at,
                    updated_at=put.updated_at,
                    version=put.version,
                    ttl=None if put.ttl is DEFAULT else put.ttl,
                    expires_at=put.expires_at,
                    vectors=tuple(put.vectors),
                )
                self._store((put.namespace, put.key), record)
                self._updated_at = max(self._updated_at, put.updated_at)
        return len(there)

    @at_once
    def append(self, namespace: Namespace, puts: Sequence[Put]) -> list[str]:
        with self._lock:
            now = self._now()
            records = [self._put(put, None, now) for put in puts]
            keys = [self._next_key(namespace, now) for _ in puts]
            for key, record in zip(keys, records, strict=True):
                self._store((namespace, key), record)
        return keys

    def _next_key(self, namespace: Namespace, now: dt.datetime) -> str:
        taken = self._live(namespace, now)
        self._number = max(self._number + 1, (now - EPOCH) // MICROSECOND)
        while (key := f"{self._number:0{_DIGITS}}") in taken:
            self._number += 1
        return key

    @at_once
    def pop(self, namespace: Namespace) -> Item | None:
        with self._lock:
            records = self._live(namespace, self._now())
            if not records:
                return None
            key = self._namespaces[namespace].keys()[-1]
            item = records[key].item((namespace, key))
            self._store((namespace, key), None)
        return item

    @at_once
    def list(self, query: ItemRange, cursor: _Cursor | None) -> Page[Item]:
        with self._lock:
            now = self._now()
            keys, more = self._page(query, cursor, now)
            page = [self._found((query.namespace, key), query.refresh, now) for key in keys]
        return Page([record.item(place) for place, record in page], more)

    @at_once
    def keys(self, query: ItemRange, cursor: _Cursor | None) -> Page[str]:
        with self._lock:
            return Page(*self._page(query, cursor, self._now()))

    def _page(
        self, query: ItemRange, cursor: _Cursor | None, now: dt.datetime
    ) -> tuple[builtins.list[str], _Cursor | None]:
        """Return the keys of a page, and where to go on."""
        cursor = cursor or _Cursor(query.after, self._updated_at, query.offset, query.limit)
        records = self._live(query.namespace, now)
        by_time = query.order == "updated"
        more = self._by_time(query, cursor, records) if by_time else self._by_key(query, cursor.after, records)
        more = (key for key in more if query.filter is None or matches(records[key].value(), query.filter))
        size = _PAGE if cursor.limit is None else min(_PAGE, cursor.limit)
        keys = list(islice(more, cursor.skip, cursor.skip + size))
        if len(keys) < size or size == cursor.limit or next(more, None) is None:
            return keys, None
        after = (records[keys[-1]].updated_at, keys[-1]) if by_time else keys[-1]
        return keys, evolve(
            cursor, after=after, skip=0, limit=None if cursor.limit is None else cursor.limit - len(keys)
        )

    def _by_key(self, query: ItemRange, after: Any, records: Mapping[str, _Record]) -> Iterator[str]:
        """Return the keys of a listing behind ``after``."""
        if not records:
            return iter(())
        keys = self._namespaces[query.namespace].keys()
        low, high = bisect_left(keys, query.prefix), len(keys)
        if query.reverse:
            # All that begin with the prefix are before the first that is greater and does not.
            high = bisect_left(keys, True, low, key=lambda key: not key.startswith(query.prefix))
            high = high if after is None else min(high, bisect_left(keys, after))
            return (keys[at] for at in range(high - 1, low - 1, -1))
        low = low if after is None else max(low, bisect_right(keys, after))
        return takewhile(lambda key: key.startswith(query.prefix), (keys[at] for at in range(low, high)))

    def _by_time(self, query: ItemRange, cursor: _Cursor, records: Mapping[str, _Record]) -> Iterator[str]:
        """Return the keys of a listing by the time of the last put."""
        after: Any = cursor.after
        return (
            key
            for at, key, record in sorted(
                ((record.updated_at, key, record) for key, record in records.items()),
                key=lambda one: one[:2],
                reverse=query.reverse,
            )
            if key.startswith(query.prefix)
            and record.updated_at <= cursor.until
            and (after is None or ((at, key) < after if query.reverse else (at, key) > after))
        )

    def _found(self, place: Place, refresh: bool | None, now: dt.datetime) -> tuple[Place, _Record]:
        """Read a record that a listing or search returns."""
        namespace, key = place
        record = self._read(place, self._namespaces[namespace].records[key], refresh, now)
        self._store(place, record)
        return place, record

    @at_once
    def search(self, query: ItemSearch) -> builtins.list[SearchItem]:
        with self._lock:
            now = self._now()
            candidates = [
                ((namespace, key), record)
                for namespace, records in self._all_live(query.prefix, now)
                for key, record in records.items()
                if query.filter is None or matches(record.value(), query.filter)
            ]
            candidates.sort(key=lambda candidate: candidate[1].updated_at, reverse=True)
            ranked = self._ranked(candidates, query.query)[query.offset :][: query.limit]
            found = [(*self._found(place, query.refresh, now), score) for place, score in ranked]
        return [SearchItem.trusted(**record.fields(place), score=score) for place, record, score in found]

    def _ranked(
        self, candidates: Sequence[tuple[Place, _Record]], query: bytes | None
    ) -> builtins.list[tuple[Place, float | None]]:
        """Score items, best first. Those without a vector follow in their order."""
        if query is None or self.index is None:
            return [(place, None) for place, _ in candidates]
        from ..records.vectors import scores

        with_vectors = [(place, record.vectors) for place, record in candidates if record.vectors]
        every = [vector for _, vectors in with_vectors for vector in vectors]
        each = iter(scores(self.index.distance_metric, query, every).tolist())
        scored = [(place, max(next(each) for _ in vectors)) for place, vectors in with_vectors]
        scored.sort(key=lambda result: result[1], reverse=True)  # stable: the newest first among equals
        return [*scored, *((place, None) for place, record in candidates if not record.vectors)]

    @at_once
    def list_namespaces(self, query: NamespaceQuery) -> builtins.list[Namespace]:
        with self._lock:
            found = {
                namespace[: query.max_depth]
                for namespace, _ in self._all_live((), self._now())
                if all(match.holds(namespace) for match in query.matches)
            }
        return sorted(found)[query.offset :][: query.limit]

    @at_once
    def clear(self, namespace: Namespace, below: bool) -> int:
        with self._lock:
            now = self._now()
            spaces = list(self._all_live(namespace, now)) if below else [(namespace, self._live(namespace, now))]
            for cleared, _ in spaces:
                self._namespaces.pop(cleared, None)
        return sum(len(records) for _, records in spaces)

    @at_once
    def setup(self) -> SearchStatus:
        """Nothing to prepare."""
        if self.index is None:
            return NO_INDEX
        return SearchStatus(engine="exact", reason="the memory backend compares all vectors")

    @at_once
    def reindex(self, namespace: Namespace) -> int:
        with self._lock:
            return len(self._live(namespace, self._now()))


def _is_within(query: ItemRange, key: str) -> bool:
    after = query.after
    return key.startswith(query.prefix) and (after is None or (key < after if query.reverse else key > after))


def _check(action: Put | Delete | Check, stored: _Record | None) -> None:
    expected = action.expected
    actual = None if stored is None else stored.version
    if isinstance(expected, Item):
        holds = stored is not None and (expected.version, expected.created_at) == (stored.version, stored.created_at)
    else:
        holds = expected is ANY or expected == actual
    if not holds:
        raise conflict(action, actual, None if stored is None else stored.created_at)
