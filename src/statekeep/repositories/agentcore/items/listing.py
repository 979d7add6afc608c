"""Listing and searching items.

Indexes name candidates, and the lanes of these say what is there.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from heapq import heapify, heappop
from itertools import takewhile
from typing import Final

from attrs import define, evolve, field, frozen

from ....domain import Item, NamespaceMatch, SearchItem
from ....domain.filters import matches
from ....domain.items import Namespace
from ...item_backend import Get, ItemRange, ItemSearch, NamespaceQuery
from ...operation import Operation, Page
from ..ids import Lane
from ..lanes import ABREAST, PAGE
from .index import IndexReader, advance, drain
from .layout import NamespaceLanes
from .records import Version, time_at
from .settings import Settings
from .tree import read_tree
from .versions import read_latest, with_values
from .write import apply

SPARE: Final = 5
"""Entries of an index that are read beyond those that are asked for: some may be of items that are gone."""


def _read_live(settings: Settings, places: Sequence[tuple[Namespace, str]]) -> Operation[list[Version | None]]:
    """Read items with their values; ``None`` for those that are not there."""
    return (yield from read_live(settings, [NamespaceLanes(namespace).item(key) for namespace, key in places]))


def read_live(settings: Settings, lanes: Sequence[Lane]) -> Operation[list[Version | None]]:
    """Read the items of lanes with their values.

    ``None`` stands for those that are not there.
    """
    found, _ = yield from read_latest(settings, lanes)
    whole = yield from with_values(settings, found)
    now = settings.now()
    return [one.version if one.version is not None and one.version.is_live(now) else None for one in whole]


def touched(settings: Settings, found: Sequence[Version], refresh: bool | None) -> Operation[list[Version | None]]:
    """Start TTLs anew where that is asked for, and store again what is old.

    ``None`` stands for what is gone by now.
    """
    now = settings.now()
    refreshes = settings.refresh_on_read if refresh is None else refresh
    due = [one for one in found if (refreshes and one.ttl is not None) or now - one.written > settings.renewal]
    if not due:
        return list(found)
    items = yield from apply(settings, [Get(one.namespace, one.key, refresh) for one in due])
    read = {(one.namespace, one.key): item for one, item in zip(due, items, strict=True)}
    return [_as_read(one, read[one.namespace, one.key]) if (one.namespace, one.key) in read else one for one in found]


def _as_read(found: Version, item: Item | None) -> Version | None:
    """Return a version with the end that it got when it was read again.

    If another version was read, what was found stays.
    """
    if item is None:
        return None
    if (item.version, item.created_at) != (found.number, time_at(found.created)):
        return found
    expires = None if item.expires_at is None else round(item.expires_at.timestamp() * 1000)
    return evolve(found, expires=expires)


# -- keys in order


@frozen
class _Cursor:
    """The keys that are left of a listing, and how many items may be."""

    keys: Sequence[str] = field(repr=False)
    limit: int | None


def list_items(settings: Settings, query: ItemRange, cursor: _Cursor | None) -> Operation[Page[Item]]:
    """Return a page of a namespace's items by key.

    The first one reads the whole index.
    """
    if cursor is None:
        cursor = yield from _begun(settings, query)
    keys, done = cursor.keys, 0
    items: list[Item] = []
    size = PAGE if cursor.limit is None else min(PAGE, cursor.limit)
    while done < len(keys) and len(items) < size:
        some = keys[done : done + min(ABREAST, size - len(items))]
        done += len(some)
        found = yield from _read_live(settings, [(query.namespace, key) for key in some])
        stored = yield from touched(settings, [one for one in found if one is not None], query.refresh)
        items += [one.item() for one in stored if one is not None]
    left = None if cursor.limit is None else cursor.limit - len(items)
    is_last = done == len(keys) or left == 0
    return Page(items, None if is_last else _Cursor(keys[done:], left))


def _begun(settings: Settings, query: ItemRange) -> Operation[_Cursor]:
    """Read the whole index of a namespace, and return the keys to list."""
    if query.limit == 0:
        return _Cursor([], 0)
    reader = IndexReader(query.namespace)
    reader.take((yield reader.call(settings, PAGE)))
    yield from drain(settings, [reader])
    return _Cursor(_range(query, reader.names()), query.limit)


def list_keys(settings: Settings, query: ItemRange, cursor: _Cursor | None) -> Operation[Page[str]]:
    """Return a page of a namespace's keys.

    The index does not say what is gone, so the newest event of each item is read, but no large value.
    """
    if cursor is None:
        cursor = yield from _begun(settings, query)
    keys, done = cursor.keys, 0
    lanes = NamespaceLanes(query.namespace)
    names: list[str] = []
    size = PAGE if cursor.limit is None else min(PAGE, cursor.limit)
    while done < len(keys) and len(names) < size:
        some = keys[done : done + min(ABREAST, size - len(names))]
        done += len(some)
        found, _ = yield from read_latest(settings, [lanes.item(key) for key in some])
        now = settings.now()
        names += [
            key for key, one in zip(some, found, strict=True) if one.version is not None and one.version.is_live(now)
        ]
    left = None if cursor.limit is None else cursor.limit - len(names)
    is_last = done == len(keys) or left == 0
    return Page(names, None if is_last else _Cursor(keys[done:], left))


def _range(query: ItemRange, keys: Sequence[str]) -> list[str]:
    after = query.after
    return sorted(
        (
            key
            for key in keys
            if key.startswith(query.prefix) and (after is None or (key < after if query.reverse else key > after))
        ),
        reverse=query.reverse,
    )


# -- newest first


@define
class _Search:
    """Candidates of a search, and what was found.

    Attributes:
        candidates: a heap of (minus the stamp, number of the reader, key).
        seen: candidates that were in the heap.
        found: what matches.
    """

    readers: Sequence[IndexReader]
    candidates: list[tuple[int, int, str]] = field(factory=list)
    seen: set[tuple[int, str]] = field(factory=set)
    found: list[Version] = field(factory=list)

    def take(self) -> None:
        """Add what was read of the indexes."""
        for number, reader in enumerate(self.readers):
            for entry in reader.fresh():
                # The entries of one millisecond are in no order, so a later one may have the greater stamp.
                self.candidates.append((-entry.stamp, number, entry.key))
        heapify(self.candidates)

    @property
    def frontier(self) -> int:
        """The greatest stamp that an unread entry may have; -1 if there is none."""
        return max((reader.bound for reader in self.readers), default=-1)

    @property
    def next_stamp(self) -> int:
        """The stamp of the next candidate; -1 if there is none."""
        while self.candidates and self.candidates[0][1:] in self.seen:
            heappop(self.candidates)
        return -self.candidates[0][0] if self.candidates else -1

    def settled(self) -> int:
        """Return how many of what was found are newer than all that is not read."""
        bound = max(self.frontier, self.next_stamp)
        return sum(one.updated >= bound for one in self.found)

    def pop(self, count: int) -> list[tuple[Namespace, str]]:
        """Take candidates that come before all that is unread."""
        frontier = self.frontier
        popped: list[tuple[Namespace, str]] = []
        while len(popped) < count and (stamp := self.next_stamp) >= 0 and stamp >= frontier:
            _, number, key = heappop(self.candidates)
            self.seen.add((number, key))
            popped.append((self.readers[number].namespace, key))
        return popped


def search(settings: Settings, query: ItemSearch) -> Operation[list[SearchItem]]:
    """Find items at or below a namespace, newest first."""
    wanted = query.offset + query.limit
    found = yield from newest(settings, query, wanted)
    stored = yield from touched(settings, found[query.offset : wanted], query.refresh)
    return [SearchItem.trusted(**one.fields(), score=None) for one in stored if one is not None]


def newest(
    settings: Settings, query: ItemSearch, wanted: int, but: Collection[tuple[Namespace, str]] = ()
) -> Operation[list[Version]]:
    """Return the newest items that match a search.

    Args:
        settings: of the backend.
        query: the search; its limit and offset are not looked at.
        wanted: how many; there may be more.
        but: namespaces and keys of items to leave out.
    """
    readers = yield from read_tree(settings, query.prefix, below=True, size=min(PAGE, wanted + SPARE))
    state = _Search(readers)
    state.take()
    while state.settled() < wanted:
        lacking = ABREAST if query.filter else min(ABREAST, max(1, wanted - len(state.found)))
        places = state.pop(lacking)
        if places:
            places = [place for place in places if place not in but]
            for one in (yield from _read_live(settings, places)):
                if one is not None and (query.filter is None or matches(one.json(), query.filter)):
                    state.found.append(one)
        elif state.frontier >= 0:
            behind = state.next_stamp
            yield from advance(settings, [reader for reader in readers if reader.bound >= max(behind, 0)])
            state.take()
        else:
            break
    state.found.sort(key=lambda one: one.updated, reverse=True)
    return state.found


# -- namespaces


def list_namespaces(settings: Settings, query: NamespaceQuery) -> Operation[list[Namespace]]:
    """Return the namespaces that hold items: those of the tree that have one."""
    readers = yield from read_tree(settings, _common(query.matches), below=True, size=SPARE)
    chosen = [reader for reader in readers if all(match.holds(reader.namespace) for match in query.matches)]
    found = yield from _inhabited(settings, chosen)
    cut = sorted({namespace[: query.max_depth] for namespace in found})
    return cut[query.offset :][: query.limit]


def _common(wanted: Sequence[NamespaceMatch]) -> Namespace:
    """Return the longest namespace that all must begin with."""
    prefixes = [tuple(takewhile(lambda label: label != "*", one.path)) for one in wanted if one.where == "prefix"]
    return max(prefixes, key=len, default=())


def _inhabited(settings: Settings, readers: Sequence[IndexReader]) -> Operation[list[Namespace]]:
    """Return the namespaces of some indexes that have an item.

    Each round looks at more of each one's keys.
    """
    found: list[Namespace] = []
    pending, looked, width = list(readers), dict.fromkeys(range(len(readers)), 0), 1
    numbers = {id(reader): number for number, reader in enumerate(readers)}
    while pending:
        places = []
        for reader in pending:
            number = numbers[id(reader)]
            some = reader.names()[looked[number] : looked[number] + width]
            looked[number] += len(some)
            places += [(reader.namespace, key) for key in some]
        lanes = [NamespaceLanes(namespace).item(key) for namespace, key in places]
        latest, _ = yield from read_latest(settings, lanes)
        now = settings.now()
        live = {
            namespace
            for (namespace, _), one in zip(places, latest, strict=True)
            if one.version is not None and one.version.is_live(now)
        }
        found += live
        pending = [reader for reader in pending if reader.namespace not in live]
        dry = [reader for reader in pending if looked[numbers[id(reader)]] >= len(reader.names())]
        yield from advance(settings, dry)
        pending = [
            reader for reader in pending if not reader.is_read or looked[numbers[id(reader)]] < len(reader.names())
        ]
        width = min(2 * width, ABREAST)
    return found
