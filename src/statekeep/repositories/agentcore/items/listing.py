"""Listing and searching items.

Indexes name candidates, and the lanes of these say what is there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from heapq import heapify, heappop
from itertools import takewhile
from typing import Any, Final

from attrs import define, evolve, field, frozen

from ....domain import ANY, Item, NamespaceMatch, SearchItem, Unsupported
from ....domain.filters import matches
from ....domain.items import Namespace
from ...item_backend import Action, Get, ItemAction, ItemRange, ItemSearch, Listing, NamespaceQuery
from ...operation import Operation, Page
from ..ids import Lane
from ..lanes import ABREAST, PAGE
from .index import IndexReader, advance, drain
from .layout import NamespaceLanes
from .records import Version, time_at
from .settings import Settings
from .tree import read_tree
from .versions import read_latest, with_values
from .write import apply, check

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


# -- one namespace


@frozen
class _Cursor:
    """The rest of a listing.

    Attributes:
        entries: times of the last puts and keys, in order; ``None``: whatever the time is.
        skip: how many items are to be left out.
        limit: how many there may be; ``None`` for all.
    """

    entries: Sequence[tuple[int | None, str]] = field(repr=False)
    skip: int
    limit: int | None


def list_items(settings: Settings, query: ItemRange, cursor: _Cursor | None) -> Operation[Page[Item]]:
    """Return a page of a namespace's items.

    The first one reads the whole index, and by time the newest event of each item. For some items that were put last
    it reads no more than it has to.
    """
    if cursor is None:
        if query.order == "updated" and query.reverse and query.limit is not None:
            return Page((yield from _last_put(settings, query, query.limit)))
        cursor = yield from _begun(settings, query)
    entries, skip, done = cursor.entries, cursor.skip, 0
    items: list[Item] = []
    size = PAGE if cursor.limit is None else min(PAGE, cursor.limit)
    while done < len(entries) and len(items) < size:
        wanted = ABREAST if query.filter else skip + size - len(items)
        some = entries[done : done + min(ABREAST, wanted)]
        done += len(some)
        read = yield from _read_live(settings, [(query.namespace, key) for _, key in some])
        found = [
            one
            for (at, _), one in zip(some, read, strict=True)
            if one is not None and at in (None, one.updated) and _fulfils(one, query)
        ]
        chosen, skip = found[skip:], max(0, skip - len(found))
        if cursor.limit is not None:
            chosen = chosen[: cursor.limit - len(items)]
        stored = yield from touched(settings, chosen, query.refresh)
        items += [one.item() for one in stored if one is not None]
    left = None if cursor.limit is None else cursor.limit - len(items)
    is_last = done == len(entries) or left == 0
    return Page(items, None if is_last else _Cursor(entries[done:], skip, left))


def _last_put(settings: Settings, query: ItemRange, limit: int) -> Operation[list[Item]]:
    """Return the items that were put last."""
    if limit == 0:
        return []
    wanted = query.offset + limit
    readers = yield from read_tree(settings, query.namespace, below=False, size=min(PAGE, wanted + SPARE))
    search = _Search(readers, lambda place: place[1].startswith(query.prefix), lambda one: _fulfils(one, query))
    found = yield from _newest(settings, search, wanted, ABREAST if query.filter else 1)
    stored = yield from touched(settings, found[query.offset : wanted], query.refresh)
    return [one.item() for one in stored if one is not None]


def _fulfils(one: Version, query: ItemRange | ItemSearch) -> bool:
    return query.filter is None or matches(one.parsed(), query.filter)


def _begun(settings: Settings, query: ItemRange) -> Operation[_Cursor]:
    """Read the whole index of a namespace, and return what is to be listed."""
    if query.limit == 0:
        return _Cursor([], 0, 0)
    reader = IndexReader(query.namespace)
    reader.take((yield reader.call(settings, PAGE)))
    yield from drain(settings, [reader])
    keys = _range(query, reader.names())
    if query.order == "key":
        return _Cursor([(None, key) for key in keys], query.offset, query.limit)
    live = yield from _live_versions(settings, query.namespace, keys)
    entries = sorted(((one.updated, one.key) for one in live), reverse=query.reverse)
    return _Cursor(entries, query.offset, query.limit)


def list_keys(settings: Settings, query: ItemRange, cursor: _Cursor | None) -> Operation[Page[str]]:
    """Return a page of a namespace's keys.

    The index does not say what is gone, so the newest event of each item is read, but no large value.
    """
    if cursor is None:
        cursor = yield from _begun(settings, query)
    entries, done = cursor.entries, 0
    names: list[str] = []
    size = PAGE if cursor.limit is None else min(PAGE, cursor.limit)
    while done < len(entries) and len(names) < size:
        some = entries[done : done + min(ABREAST, size - len(names))]
        done += len(some)
        names += [one.key for one in (yield from _live_versions(settings, query.namespace, [key for _, key in some]))]
    left = None if cursor.limit is None else cursor.limit - len(names)
    is_last = done == len(entries) or left == 0
    return Page(names, None if is_last else _Cursor(entries[done:], 0, left))


def _live_versions(settings: Settings, namespace: Namespace, keys: Sequence[str]) -> Operation[list[Version]]:
    """Read the items of some keys that are there, without large values."""
    lanes, live = NamespaceLanes(namespace), []
    for start in range(0, len(keys), ABREAST):
        found, _ = yield from read_latest(settings, [lanes.item(key) for key in keys[start : start + ABREAST]])
        now = settings.now()
        live += [one.version for one in found if one.version is not None and one.version.is_live(now)]
    return live


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


def apply_all(settings: Settings, actions: Sequence[Action]) -> Operation[list[Any]]:
    """Do actions: those between two listings side by side.

    Raises:
        Unsupported: there are expectations, and a listing is before a check or a write; or as :func:`.write.apply`.
    """
    runs: list[list[ItemAction]] = [[]]
    for action in actions:
        if isinstance(action, Listing):
            runs.append([])
        else:
            runs[-1].append(action)
    writes = [[action for action in run if not isinstance(action, Get)] for run in runs]
    if any(writes[1:]) and any(action.expected is not ANY for run in writes for action in run):
        raise Unsupported(
            "AgentCore Memory cannot list and then check or write as one unit: leave out expected, or list behind all "
            "checks and writes"
        )
    check(actions)
    queries = [action.query for action in actions if isinstance(action, Listing)]
    results: list[Any] = []
    for query, run in zip([None, *queries], runs, strict=True):
        if query is not None:
            results.append((yield from _listed(settings, query)))
        if run:
            results += yield from apply(settings, run)
    return results


def _listed(settings: Settings, query: ItemRange) -> Operation[list[Item]]:
    """Read a listing to its end."""
    page = yield from list_items(settings, query, None)
    items = [*page.items]
    while page.cursor is not None:
        page = yield from list_items(settings, query, page.cursor)
        items += page.items
    return items


# -- newest first


@define
class _Search:
    """Candidates of a search, and what was found.

    Attributes:
        wants: whether an item is to be looked at, by its namespace and key.
        accepts: whether it is a result.
        candidates: a heap of (minus the stamp, number of the reader, key).
        seen: candidates that were in the heap.
        found: what matches.
    """

    readers: Sequence[IndexReader]
    wants: Callable[[tuple[Namespace, str]], bool]
    accepts: Callable[[Version], bool]
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
    state = _Search(readers, lambda place: place not in but, lambda one: _fulfils(one, query))
    return (yield from _newest(settings, state, wanted, ABREAST if query.filter else 1))


def _newest(settings: Settings, state: _Search, wanted: int, least: int) -> Operation[list[Version]]:
    """Return the newest results, at least as many as are wanted if there are.

    Each step looks at as many candidates as are missing, and no less than ``least``.
    """
    state.take()
    while state.settled() < wanted:
        places = state.pop(min(ABREAST, max(least, wanted - len(state.found))))
        if places:
            places = [place for place in places if state.wants(place)]
            for one in (yield from _read_live(settings, places)):
                if one is not None and state.accepts(one):
                    state.found.append(one)
        elif state.frontier >= 0:
            behind = state.next_stamp
            yield from advance(settings, [reader for reader in state.readers if reader.bound >= max(behind, 0)])
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
