"""Listings of items by key and by time, and of namespaces by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Final

from attrs import evolve, frozen

from ....domain import CorruptRecord, Item
from ....domain.filters import matches
from ....domain.items import Namespace
from ....domain.json_values import JsonValue
from ...item_backend import Get, ItemRange, NamespaceQuery
from ...operation import Operation, Page
from ..chunks import CHUNK, Row, chunks
from ..keys import decode_text, namespace_of_ordered, ordered
from ..requests import Arg, Call, Commands
from ..scripts import script
from .keys import ItemKeys, namespace_index_keys
from .leases import index_keys
from .plan import ItemSettings
from .read import complete, look, read_rows, sweep
from .records import TTL, decode_item
from .write import apply

PAGE: Final = 100
"""Items read at once: their values may be large."""

NAMES: Final = 500
"""Namespaces read in one step."""

SPARE: Final = 10
"""Namespaces read beyond those asked for, as some may be empty."""

FEW: Final = 16
"""Namespaces whose newest items are looked at in one step, at least."""

KEPT: Final = 600_000
"""Milliseconds that the state of a namespace is kept which is empty, as in the scripts."""

MANY: Final = 5000
"""Entries of indexes read at once in a cluster."""

Ref = tuple[Namespace, str]
"""The name of an item: its namespace and key."""


def read(settings: ItemSettings, refs: Sequence[Ref]) -> Operation[list[tuple[Item | None, Row]]]:
    """Read the records of items of any namespaces, in one round trip for each 500."""
    keys = [settings.keys(namespace) for namespace, _ in refs]
    rows = yield from read_rows(settings, [its.record(key) for its, (_, key) in zip(keys, refs, strict=True)])
    return [(decode_item(its, key, row), row) for its, (_, key), row in zip(keys, refs, rows, strict=True)]


def refreshed(settings: ItemSettings, items: Sequence[tuple[Item, Row]]) -> Operation[list[Item]]:
    """Start the TTL of items anew; return all but those that are gone by now."""
    mortal = [item for item, row in items if row[TTL]]
    if not mortal:
        return [item for item, _ in items]
    again = yield from apply(settings, [Get(item.namespace, item.key, refresh=True) for item in mortal])
    fresh: Mapping[int, Item | None] = {id(item): now for item, now in zip(mortal, again, strict=True)}
    found = [fresh.get(id(item), item) for item, _ in items]
    return [item for item in found if item is not None]


# -- by key


@frozen
class Cursor:
    """The position of a listing: the last key, and how many items may follow."""

    after: str | None
    left: int | None


def _bounds(query: ItemRange, after: str | None) -> tuple[Arg, Arg]:
    """Return the least and the greatest key of a range, for ZRANGEBYLEX."""
    prefix = query.prefix
    low: Arg = f"[{prefix}" if prefix else "-"
    # No UTF-8 has this byte, so it is behind all that begins with the prefix.
    high: Arg = b"(" + prefix.encode() + b"\xff" if prefix else "+"
    if after is not None:
        if query.reverse and (after < prefix or after.startswith(prefix)):
            high = f"({after}"
        elif not query.reverse and after >= prefix:
            low = f"({after}"
    return low, high


def list_items(settings: ItemSettings, query: ItemRange, cursor: Cursor | None) -> Operation[Page[Item]]:
    """Read one page of the items of a namespace."""
    cursor = cursor or Cursor(query.after, query.limit)
    keys = settings.keys(query.namespace)
    while cursor.left != 0:
        size = PAGE if cursor.left is None else min(PAGE, cursor.left)
        low, high = _bounds(query, cursor.after)
        command = ["ZREVRANGEBYLEX", keys.index, high, low] if query.reverse else ["ZRANGEBYLEX", keys.index, low, high]
        (listed,) = yield Commands([[*command, "LIMIT", "0", str(size)]])
        names = [decode_text(name, keys.index) for name in listed]
        if not names:
            break
        rows = yield from read(settings, [(query.namespace, name) for name in names])
        there = [(item, row) for item, row in rows if item is not None]
        yield from sweep(settings, keys, [name for name, (item, _) in zip(names, rows, strict=True) if item is None])
        items = [item for item, _ in there]
        if settings.refreshes(query.refresh):
            items = yield from refreshed(settings, there)
        cursor = evolve(cursor, after=names[-1], left=None if cursor.left is None else cursor.left - len(items))
        if items:
            return Page(items, None if len(names) < size or cursor.left == 0 else cursor)
        if len(names) < size:
            break
    return Page([])


# -- by time


Entry = tuple[Ref, int]
"""An item, and the time of its last put in microseconds."""


@frozen
class Reached:
    """The position of a listing by time: the last time, and the items seen of it."""

    time: int
    refs: Set[Ref]


@frozen
class Spaces:
    """The namespaces to read in a listing by time.

    Attributes:
        keys: of those that were put to last.
        bound: no item of the others was put later, in microseconds; ``None``: there are no others.
    """

    keys: Sequence[ItemKeys]
    bound: float | None


@frozen
class Recent:
    """Some of the items at or below a namespace, and where to go on."""

    entries: Sequence[Entry]
    reached: Reached | None
    """Where to go on; ``None`` if there are no more."""


class Newest:
    """A listing of the items at or below a namespace, the last put first.

    Args:
        settings: of the repository.
        keys: of the namespace.
    """

    def __init__(self, settings: ItemSettings, keys: ItemKeys) -> None:
        self.settings = settings
        self.keys = keys
        self._reached: Reached | None = None
        self._spaces: Spaces | None = None
        self._size = 0

    def page(self, size: int) -> Operation[Recent]:
        """Read the next items."""
        seen: Set[Ref] = set() if self._reached is None else self._reached.refs
        wanted = size + len(seen)
        entries: Sequence[Entry] | None = None
        if self._spaces is None:
            self._size = max(FEW, min(size, CHUNK))
            entries = yield from self._begin(size)
        while entries is None:
            assert self._spaces is not None
            found, bound = (yield from self._merged(self._spaces.keys, wanted)), self._spaces.bound
            certain = found if bound is None else [entry for entry in found if entry[1] > bound]
            if bound is None or len(certain) >= wanted:
                entries = certain
            else:
                self._size *= 4
                self._spaces, _ = yield from self._below(0)
        is_last = len(entries) < wanted
        fresh = [entry for entry in entries if entry[0] not in seen]
        if not fresh:
            return Recent(fresh, None)
        latest = fresh[-1][1]
        refs = {ref for ref, time in fresh if time == latest}
        if self._reached is not None and self._reached.time == latest:
            refs |= self._reached.refs
        self._reached = Reached(latest, refs)
        return Recent(fresh, None if is_last else self._reached)

    def _begin(self, size: int) -> Operation[Sequence[Entry] | None]:
        """Learn the namespaces.

        If there is one, its items are the first page already.
        """
        own = self.keys
        if not self.settings.is_split(own.namespace):
            self._spaces, reply = yield from self._below(size)
            if [space.namespace for space in self._spaces.keys] != [own.namespace]:
                return None if self._spaces.keys else []
            listed, lacks = reply
        else:
            low, high = _at_or_below(own.namespace)
            by_name = namespace_index_keys(self.settings.prefix)[0]
            names, *reply = yield Commands(
                [
                    ["ZRANGEBYLEX", by_name, low, high, "LIMIT", "0", str(self._size + 1)],
                    ["ZREVRANGE", own.recency, "0", str(size - 1), "WITHSCORES"],
                    ["ZCARD", own.index],
                    ["ZCARD", own.recency],
                ]
            )
            if len(names) > self._size:
                self._spaces, _ = yield from self._below(0)
                return None
            self._spaces = Spaces([self._keys_of(name) for name in names], None)
            if [space.namespace for space in self._spaces.keys] != [own.namespace]:
                return None if names else []
            listed, lacks = reply[0], reply[1] > reply[2]
        if lacks:
            yield from complete(self.settings, own)
            return None
        return [(_ref(own, key), _us(time, own.recency)) for key, time in _pairs(listed)]

    def _below(self, size: int) -> Operation[tuple[Spaces, tuple[Sequence[Any], bool]]]:
        """Read which namespaces were put to last.

        If there are no others, ``size`` own items come with it, and whether some are missing among them.
        """
        namespace = self.keys.namespace
        names, times, _ = namespace_index_keys(self.settings.prefix)
        own = [] if self.settings.is_split(namespace) else self.settings.indexes(self.keys)
        found, listed, lacks = yield Call(
            script("items/below"),
            [names, times, *own],
            [*_at_or_below(namespace), self.keys.ordered, str(self._size + 1), str(size)],
        )
        pairs = _pairs(found)
        bound = float(pairs[self._size][1]) if len(pairs) > self._size else None
        return Spaces([self._keys_of(name) for name, _ in pairs[: self._size]], bound), (listed, bool(lacks))

    def _keys_of(self, name: bytes) -> ItemKeys:
        names = namespace_index_keys(self.settings.prefix)[0]
        return self.settings.keys(namespace_of_ordered(decode_text(name, names)))

    def _merged(self, spaces: Sequence[ItemKeys], wanted: int) -> Operation[list[Entry]]:
        """Read the newest items of namespaces from the position on."""
        latest = "+inf" if self._reached is None else str(self._reached.time)
        read = self._in_cluster if self.settings.cluster else self._on_one_server
        entries: list[Entry] = []
        for chunk in chunks(spaces, CHUNK):
            found, lacking = yield from read(chunk, latest, wanted)
            if lacking:
                for keys in lacking:
                    yield from complete(self.settings, keys)
                found, _ = yield from read(chunk, latest, wanted)
            entries += found
        entries.sort(key=lambda entry: -entry[1])
        return entries[:wanted]

    def _on_one_server(
        self, spaces: Sequence[ItemKeys], latest: str, wanted: int
    ) -> Operation[tuple[list[Entry], list[ItemKeys]]]:
        names = [key for keys in spaces for key in self.settings.indexes(keys)]
        size = len(names) // len(spaces)
        lacking, flat = yield Call(script("items/recent"), names, [str(size), latest, str(wanted)])
        found = [
            (_ref(spaces[at], key), _us(time, spaces[at].recency))
            for at, key, time in zip(flat[::3], flat[1::3], flat[2::3], strict=True)
        ]
        return found, [spaces[at] for at in lacking]

    def _in_cluster(
        self, spaces: Sequence[ItemKeys], latest: str, wanted: int
    ) -> Operation[tuple[list[Entry], list[ItemKeys]]]:
        """Read in one round trip; in two if there is much to choose from."""
        is_much = len(spaces) * wanted > MANY
        replies = yield Commands(
            [
                command
                for keys in spaces
                for command in (
                    _newest_of(keys, latest, 1 if is_much else wanted),
                    ["ZCARD", keys.index],
                    ["ZCARD", keys.recency],
                )
            ]
        )
        listed = list(zip(spaces, replies[::3], strict=True))
        sizes = zip(spaces, replies[1::3], replies[2::3], strict=True)
        lacking = [keys for keys, items, ordered in sizes if items > ordered]
        if is_much:
            # Each of those before it has an item that is no older than its newest.
            heads = [(keys, _us(pairs[0][1], keys.recency)) for keys, reply in listed if (pairs := _pairs(reply))]
            heads = sorted(heads, key=lambda head: -head[1])[:wanted]
            replies = yield Commands([_newest_of(keys, latest, wanted - rank) for rank, (keys, _) in enumerate(heads)])
            listed = [(keys, reply) for (keys, _), reply in zip(heads, replies, strict=True)]
        found = [(_ref(keys, key), _us(time, keys.recency)) for keys, reply in listed for key, time in _pairs(reply)]
        return found, lacking


def _newest_of(keys: ItemKeys, latest: str, count: int) -> list[str]:
    return ["ZREVRANGEBYSCORE", keys.recency, latest, "-inf", "WITHSCORES", "LIMIT", "0", str(count)]


def _pairs(reply: Sequence[Any]) -> Sequence[tuple[bytes, bytes]]:
    """Return members with their scores; RESP3 has them as pairs already."""
    if reply and isinstance(reply[0], list):
        return [(member, score) for member, score in reply]
    return list(zip(reply[::2], reply[1::2], strict=True))


def _ref(keys: ItemKeys, key: bytes) -> Ref:
    return keys.namespace, decode_text(key, keys.recency)


def _us(score: bytes, key: str) -> int:
    try:
        return int(float(score))
    except (ValueError, OverflowError) as error:
        raise CorruptRecord(f"not a time: {score!r:.80}", key=key) from error


def newest(
    settings: ItemSettings,
    prefix: Namespace,
    filter: Mapping[str, JsonValue] | None,
    limit: int,
    offset: int,
    left_out: Iterable[Ref] = (),
) -> Operation[list[tuple[Item, Row]]]:
    """Read the items at or below a namespace, the last put first.

    Those of ``left_out`` are not among them, nor are the first ``offset``.
    """
    others = set(left_out)
    accepted: list[tuple[Item, Row]] = []
    listing = Newest(settings, settings.keys(prefix))
    is_first = True
    while len(accepted) < limit:
        missing = offset + limit - len(accepted)
        # Without a filter some are left out only because they are gone, and then there may be many of these.
        size = min(500, max(PAGE, 2 * missing) if filter or others else missing if is_first else 2 * missing + 10)
        page = yield from listing.page(size)
        is_first = False
        candidates = [ref for ref, _ in page.entries if ref not in others]
        # Items that are skipped only have to exist.
        skipped = 0 if filter else min(offset, len(candidates))
        records = [settings.keys(namespace).record(key) for namespace, key in candidates]
        exist, rows = yield from look(settings, records[:skipped], records[skipped:])
        gone = [ref for ref, there in zip(candidates, exist, strict=False) if not there]
        offset -= skipped - len(gone)
        for ref, row in zip(candidates[skipped:], rows, strict=True):
            item = decode_item(settings.keys(ref[0]), ref[1], row)
            if item is None:
                gone.append(ref)
            elif matches(item.value, filter):
                if offset:
                    offset -= 1
                elif len(accepted) < limit:
                    accepted.append((item, row))
        yield from _sweep_all(settings, gone)
        if page.reached is None:
            break
    return accepted


def _sweep_all(settings: ItemSettings, gone: Sequence[Ref]) -> Operation[None]:
    """Drop items from the indexes of their namespaces."""
    by_namespace: dict[Namespace, list[str]] = {}
    for namespace, key in gone:
        by_namespace.setdefault(namespace, []).append(key)
    for namespace, keys in by_namespace.items():
        yield from sweep(settings, settings.keys(namespace), keys)


# -- by name


@frozen
class Names:
    """Some namespaces in order, and the time of the server in milliseconds."""

    now: int
    namespaces: Sequence[Namespace]
    is_last: bool


def names(
    settings: ItemSettings, prefix: Namespace, after: Namespace | None, *, beyond: bool = False, size: int | None = None
) -> Operation[Names]:
    """Read the next namespaces at or below ``prefix``; some may be empty.

    They begin behind ``after``, and if ``beyond``, behind all that are below that, too. There are at most ``size``.
    """
    most = NAMES if size is None else min(size, NAMES)
    key = namespace_index_keys(settings.prefix)[0]
    low, high = _at_or_below(prefix)
    if after is not None:
        low = f"({ordered(after)}" + "\1" * beyond
    now, *listed = yield Call(script("items/names"), [key], [low, high, str(most)])
    return Names(int(now), [namespace_of_ordered(decode_text(name, key)) for name in listed], len(listed) < most)


def _at_or_below(prefix: Namespace) -> tuple[str, str]:
    """Return the least and the greatest name of namespaces, for ZRANGEBYLEX."""
    return (f"[{ordered(prefix)}", f"({ordered(prefix)}\1") if prefix else ("-", "+")


def list_namespaces(settings: ItemSettings, query: NamespaceQuery) -> Operation[list[Namespace]]:
    """Return the namespaces that hold items, in order."""
    if query.limit == 0:
        return []
    most = None if query.limit is None else query.offset + query.limit
    listed: dict[Namespace, None] = {}
    after: Namespace | None = None
    is_listed = False
    # Each that is read is also looked at. If it is one of the results, a few more than asked for are enough.
    are_results = query.max_depth is None and all(match.where == "prefix" for match in query.matches)
    size = most + SPARE if most is not None and are_results else None
    while True:
        page = yield from names(settings, _beginning(query), after, beyond=is_listed, size=size)
        size = None
        wanted = [namespace for namespace in page.namespaces if all(match.holds(namespace) for match in query.matches)]
        alive = yield from _alive(settings, wanted, page.now)
        listed.update(dict.fromkeys(namespace[: query.max_depth] for namespace in alive))
        if page.is_last or (most is not None and len(listed) >= most):
            return list(listed)[query.offset : most]
        after = page.namespaces[-1]
        # All that is cut to the same labels is one result, which is known already.
        depth = len(after) if query.max_depth is None else query.max_depth
        is_listed = depth < len(after) and after[:depth] in listed
        after = after[:depth] if is_listed else after


def _beginning(query: NamespaceQuery) -> Namespace:
    """Return the labels with which every namespace of the query begins."""
    longest: Namespace = ()
    for match in query.matches:
        if match.where == "prefix":
            depth = match.path.index("*") if "*" in match.path else len(match.path)
            longest = max(longest, match.path[:depth], key=len)
    return longest


def _alive(settings: ItemSettings, namespaces: Sequence[Namespace], now: int) -> Operation[list[Namespace]]:
    """Return the namespaces that hold items; the index forgets the others."""
    if not namespaces:
        return []
    spaces = [settings.keys(namespace) for namespace in namespaces]
    if settings.cluster:
        counts = yield Commands(
            [
                command
                for keys in spaces
                for command in (
                    ["ZCARD", keys.index],
                    ["ZCARD", keys.recency],
                    ["ZCOUNT", keys.expiry, "-inf", f"({now}"],
                )
            ]
        )
    else:
        counts = yield Call(
            script("items/sizes"),
            [key for keys in spaces for key in (keys.index, keys.recency, keys.expiry)],
            [str(now)],
        )
    alive: list[Namespace] = []
    empty: list[Namespace] = []
    for keys, items, in_order, ended in zip(spaces, counts[::3], counts[1::3], counts[2::3], strict=True):
        left = items
        if items > in_order:
            yield from complete(settings, keys)
        if items and (items > in_order or items <= ended):
            left = yield from _count(settings, keys)
        (alive if left else empty).append(keys.namespace)
    if empty:
        yield Call(script("items/forget"), index_keys(settings.prefix), [ordered(name) for name in empty])
        # What is left of them has no end if something in them once had none.
        yield Commands([["PEXPIRE", settings.keys(name).state, str(KEPT), "NX"] for name in empty])
    return alive


def _count(settings: ItemSettings, keys: ItemKeys) -> Operation[int]:
    while True:
        dropped, left = yield Call(script("items/count"), settings.indexes(keys), [])
        if not dropped or not left:
            return int(left)
