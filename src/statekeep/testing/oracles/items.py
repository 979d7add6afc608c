"""The right answers of a repository of items, worked out the slow and obvious way.

It shares no code with any backend, and each is compared to it.
"""

from __future__ import annotations

import copy
import datetime as dt
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field

from ...domain import (
    ANY,
    DEFAULT,
    CheckItem,
    Conflict,
    DeleteItem,
    GetItem,
    Item,
    ListItems,
    NamespaceMatch,
    Payload,
    PutItem,
)
from ..embedding import letter_counts

__all__ = ["ItemOracle"]

Labels = tuple[str, ...]

ItemOperation = GetItem | PutItem | DeleteItem | CheckItem | ListItems


@define
class Kept:
    """An item, and the texts that it can be found by."""

    namespace: Labels
    key: str
    value: Any
    version: int
    ttl: float | None
    expires_at: dt.datetime | None
    created_at: dt.datetime | None
    updated_at: dt.datetime | None
    texts: Sequence[str]


@define
class ItemOracle:
    """The model.

    When items are put is not foretold but seen, and must be so from then on.

    Args:
        ttl: seconds until an item expires that is put without a TTL of its own.
        refresh_on_read: whether reads start the time anew that do not say.
        clock: the time in seconds; ``None`` if it is not known, then nothing expires.
        fields: names of the fields of a value that hold a text, or a list of texts, to be found by.
    """

    ttl: float | None = None
    refresh_on_read: bool = False
    clock: Callable[[], float] | None = None
    fields: Sequence[str] = ()
    items: dict[tuple[Labels, str], Kept] = field(factory=dict)

    # -- time

    def now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.clock() if self.clock else 0, dt.UTC)

    def expire(self) -> None:
        now = self.now()
        for place, kept in list(self.items.items()):
            if kept.expires_at is not None and kept.expires_at <= now:
                del self.items[place]

    def _expiry(self, ttl: float | None) -> dt.datetime | None:
        if ttl is None:
            return None
        moment = self.now() + dt.timedelta(seconds=ttl)
        return moment + dt.timedelta(microseconds=-moment.microsecond % 1000)

    def _refresh(self, kept: Kept, refresh: bool | None) -> None:
        if self.refresh_on_read if refresh is None else refresh:
            kept.expires_at = self._expiry(kept.ttl)

    # -- writing

    def do(self, operations: Sequence[ItemOperation], seen: Sequence[Any] = ()) -> list[Any]:
        """Do these, or none of them.

        Args:
            operations: what to do.
            seen: what a backend answered, to learn from when it put its items.
        """
        before = copy.deepcopy(self.items)
        try:
            return [self._do(operation, answer) for operation, answer in itertools.zip_longest(operations, seen)]
        except Conflict:
            self.items = before
            raise

    def _do(self, operation: ItemOperation, answer: Any) -> Any:
        if isinstance(operation, ListItems):
            fields = ("prefix", "after", "limit", "reverse", "order", "refresh")
            found = self.list(operation.namespace, **{name: getattr(operation, name) for name in fields})
            return [copy.copy(kept) for kept in found]
        place = (operation.namespace, operation.key)
        kept = self.items.get(place)
        if isinstance(operation, GetItem):
            if kept is not None:
                self._refresh(kept, operation.refresh)
            return copy.copy(kept)
        version = kept.version if kept else None
        if isinstance(expected := operation.expected, Item):
            holds = kept is not None and kept.version == expected.version and kept.created_at == expected.created_at
        else:
            holds = expected is ANY or expected == version
        if not holds:
            raise Conflict("", actual=version, key=operation.key)
        if isinstance(operation, CheckItem):
            return None
        if isinstance(operation, DeleteItem):
            return self.items.pop(place, None) is not None
        return copy.copy(self._put(operation, kept, answer.updated_at if isinstance(answer, Item) else None))

    def _put(self, put: PutItem, kept: Kept | None, updated_at: dt.datetime | None) -> Kept:
        ttl = self.ttl if put.ttl is DEFAULT else put.ttl
        fields = self.fields if put.index is None else put.index or ()
        stored = self.items[put.namespace, put.key] = Kept(
            namespace=put.namespace,
            key=put.key,
            value=put.value,
            version=kept.version + 1 if kept else 1,
            ttl=ttl,
            expires_at=self._expiry(ttl),
            created_at=kept.created_at if kept else updated_at,
            updated_at=updated_at,
            texts=[text for name in fields for text in _texts(put.value, name)] if self.fields else (),
        )
        return stored

    def restore(self, items: Sequence[Item]) -> int:
        """Put items exactly, but those that have ended; return how many."""
        stored = 0
        for item in items:
            ends = item.expires_at
            if ends is not None:
                ends += dt.timedelta(microseconds=-ends.microsecond % 1000)
            if ends is not None and ends <= self.now():
                continue
            stored += 1
            self.items[item.namespace, item.key] = Kept(
                namespace=item.namespace,
                key=item.key,
                value=item.value,
                version=item.version,
                ttl=None if ends is None else (ends - item.updated_at).total_seconds(),
                expires_at=ends,
                created_at=item.created_at,
                updated_at=item.updated_at,
                texts=[text for name in self.fields for text in _texts(item.value, name)],
            )
        return stored

    def pop(self, namespace: Labels) -> Kept | None:
        keys = [key for place, key in self.items if place == namespace]
        return self.items.pop((namespace, max(keys))) if keys else None

    def clear(self, namespace: Labels, below: bool) -> int:
        def goes(labels: Labels) -> bool:
            return labels == namespace or (below and labels[: len(namespace)] == namespace)

        places = [place for place in self.items if goes(place[0])]
        for place in places:
            del self.items[place]
        return len(places)

    # -- reading

    def list(
        self,
        namespace: Labels,
        *,
        prefix: str = "",
        after: str | None = None,
        reverse: bool = False,
        order: str = "key",
        filter: dict[str, Any] | None = None,
        offset: int = 0,
        limit: int | None = None,
        refresh: bool | None = None,
    ) -> Sequence[Kept]:
        keys = sorted(key for place, key in self.items if place == namespace)
        if order == "updated":
            keys.sort(key=lambda key: self.items[namespace, key].updated_at or self.now())
        if reverse:
            keys.reverse()
        if after is not None:
            keys = [key for key in keys if (key < after if reverse else key > after)]
        found = [self.items[namespace, key] for key in keys if key[: len(prefix)] == prefix]
        found = [kept for kept in found if fulfils(kept.value, filter or {})][offset:][:limit]
        for kept in found:
            self._refresh(kept, refresh)
        return found

    def keys(self, namespace: Labels, **query: Any) -> Sequence[str]:
        return [kept.key for kept in self.list(namespace, **query, refresh=False)]

    def search(self, prefix: Labels, filter: dict[str, Any] | None = None) -> Sequence[Kept]:
        """Return all that match, newest first."""
        found = [
            kept
            for kept in self.items.values()
            if list(kept.namespace[: len(prefix)]) == list(prefix) and fulfils(kept.value, filter or {})
        ]
        return sorted(found, key=lambda kept: kept.updated_at or self.now(), reverse=True)

    def read(self, found: Sequence[Kept], refresh: bool | None) -> None:
        """Start the TTLs of items anew that a search returned."""
        for kept in found:
            self._refresh(kept, refresh)

    def score(self, kept: Kept, query: str) -> float | None:
        """Return the cosine of the best text, ``None`` if there is no text."""
        wanted, *vectors = letter_counts([query, *kept.texts])
        return max((_cosine(wanted, vector) for vector in vectors), default=None)

    def list_namespaces(self, matches: Sequence[NamespaceMatch], max_depth: int | None) -> Sequence[Labels]:
        found = {namespace for namespace, _ in self.items if all(_matches(namespace, match) for match in matches)}
        return sorted({namespace if max_depth is None else namespace[:max_depth] for namespace in found})


def _texts(value: Any, name: str) -> list[str]:
    found = value.get(name) if isinstance(value, dict) else None
    return [found] if isinstance(found, str) else list(found or ())


def _cosine(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def _matches(namespace: Labels, match: NamespaceMatch) -> bool:
    labels, wanted = list(namespace), list(match.path)
    if match.where == "suffix":
        labels.reverse()
        wanted.reverse()
    if len(labels) < len(wanted):
        return False
    return not any(want not in ("*", labels[place]) for place, want in enumerate(wanted))


def _comparable(value: Any) -> Any:
    """Return what is equal for values that are equal in JSON.

    ``1`` is ``1.0``, but ``true`` is not ``1``.
    """
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, dict):
        return {key: _comparable(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_comparable(item) for item in value]
    return value


def _rank(value: Any) -> tuple[str, Any] | None:
    if isinstance(value, str):
        return ("text", value)
    return ("number", value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _compared(name: str, value: Any, wanted: Any) -> bool:
    if name in ("$eq", "$ne"):
        return (_comparable(value) == _comparable(wanted)) is (name == "$eq")
    one, other = _rank(value), _rank(wanted)
    if one is None or other is None or one[0] != other[0]:
        return False
    order = (one[1] > other[1]) - (one[1] < other[1])
    return order in {"$gt": (1,), "$gte": (0, 1), "$lt": (-1,), "$lte": (-1, 0)}[name]


def fulfils(value: Any, filter: dict[str, Any]) -> bool:
    """Return whether a value fulfils a filter, whose numbers are finite.

    A payload fulfils no condition.
    """
    if isinstance(value, Payload):
        return filter == {}
    return all(_fulfils(value.get(name) if isinstance(value, dict) else None, want) for name, want in filter.items())


def _fulfils(value: Any, want: Any) -> bool:
    if isinstance(want, list):
        return isinstance(value, list) and len(want) == len(value) and all(map(_fulfils, value, want))
    if not isinstance(want, dict):
        return _compared("$eq", value, want)
    if any(name[:1] == "$" for name in want):
        return all(_compared(name, value, wanted) for name, wanted in want.items())
    return isinstance(value, dict) and all(_fulfils(value.get(name), part) for name, part in want.items())
