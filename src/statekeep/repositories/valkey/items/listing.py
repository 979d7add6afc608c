"""Listings of items by key and by time, and of namespaces by name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final

from attrs import evolve, frozen

from ....domain import CorruptRecord, Item
from ....domain.filters import matches
from ....domain.items import Namespace
from ....domain.json_values import JsonValue
from ...item_backend import Get, ItemRange, NamespaceQuery
from ...operation import Operation, Page
from ..chunks import Row, chunks
from ..keys import decode_text, namespace_of_ordered, ordered
from ..losses import report
from ..requests import Arg, Call, Commands, Reply
from ..scripts import script
from .keys import ItemKeys, namespace_index_keys
from .plan import ItemSettings
from .read import look, read_rows
from .records import TTL, decode_item
from .write import apply

PAGE: Final = 100
"""Items read at once: their values may be large."""

NAMES: Final = 500
"""Namespaces read in one step."""

SPARE: Final = 10
"""Namespaces read beyond those asked for, as some may be empty."""

GRACE_US: Final = 60_000_000
"""Microseconds for which an entry without a record stays indexed: a put may come."""

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


def sweep(settings: ItemSettings, keys: ItemKeys, gone: Sequence[str]) -> Operation[None]:
    """Drop keys whose records are gone from the indexes of their namespace."""
    for chunk in chunks(gone):
        members = [keys.member(keys.namespace, key) for key in chunk]
        lost = yield Call(script("items/sweep"), [*settings.indexes(keys), *map(keys.record, chunk)], members)
        report("items", keys.index, lost)


# -- by time


@frozen
class Reached:
    """The position of a listing by time: the last time, and the items seen of it."""

    time: int
    refs: Set[Ref]


@frozen
class Recent:
    """Some of the items at or below a namespace, and where to go on."""

    refs: Sequence[tuple[Ref, int]]
    """With the time of the last put, in microseconds."""
    reached: Reached | None
    """Where to go on; ``None`` if there are no more."""


def recent(settings: ItemSettings, keys: ItemKeys, reached: Reached | None, size: int) -> Operation[Recent]:
    """Read the next items behind those reached, the last put first."""
    latest = None if reached is None else reached.time
    seen: Set[Ref] = set() if reached is None else reached.refs
    wanted = size + len(seen)
    listed: Reply = yield Call(
        script("items/recent"),
        settings.indexes(keys),
        ["+inf" if latest is None else str(latest), str(wanted)],
    )
    refs = []
    for member, time in zip(listed[::2], listed[1::2], strict=True):
        ref = _ref(keys, member)
        if ref not in seen:
            refs.append((ref, _us(time, keys.recency)))
    if not refs:
        return Recent(refs, None)
    latest = refs[-1][1]
    of_that_time = {ref for ref, time in refs if time == latest}
    if reached is not None and reached.time == latest:
        of_that_time |= reached.refs
    return Recent(refs, Reached(latest, of_that_time) if len(listed) == 2 * wanted else None)


def _ref(keys: ItemKeys, member: bytes) -> Ref:
    try:
        return keys.item_of(decode_text(member, keys.recency))
    except CorruptRecord as error:
        error.key = keys.recency
        raise


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
    keys = settings.keys(prefix)
    others = set(left_out)
    accepted: list[tuple[Item, Row]] = []
    reached: Reached | None = None
    while len(accepted) < limit:
        missing = offset + limit - len(accepted)
        # Without a filter some are left out only because they are gone, and then there may be many of these.
        size = min(
            500, max(PAGE, 2 * missing) if filter or others else missing if reached is None else 2 * missing + 10
        )
        page = yield from recent(settings, keys, reached, size)
        candidates = [(ref, time) for ref, time in page.refs if ref not in others]
        # Items that are skipped only have to exist.
        skipped = 0 if filter else min(offset, len(candidates))
        records = [settings.keys(namespace).record(key) for (namespace, key), _ in candidates]
        exist, rows = yield from look(settings, records[:skipped], records[skipped:])
        gone = [entry for entry, there in zip(candidates, exist, strict=False) if not there]
        offset -= skipped - len(gone)
        for entry, row in zip(candidates[skipped:], rows, strict=True):
            (namespace, key), _ = entry
            item = decode_item(settings.keys(namespace), key, row)
            if item is None:
                gone.append(entry)
            elif matches(item.value, filter):
                if offset:
                    offset -= 1
                elif len(accepted) < limit:
                    accepted.append((item, row))
        yield from _unlist(settings, keys, gone)
        reached = page.reached
        if reached is None:
            break
    return accepted


def _unlist(settings: ItemSettings, keys: ItemKeys, gone: Sequence[tuple[Ref, int]]) -> Operation[None]:
    """Drop items from the index that have had no record for a minute."""
    if gone:
        args = [str(arg) for (namespace, key), time in gone for arg in (keys.member(namespace, key), time)]
        lost = yield Call(script("items/unlist"), settings.indexes(keys), [str(GRACE_US), *args])
        # Those of namespaces below are not told at the same moment in a cluster.
        report("items", keys.recency, [name for name in lost if name.startswith(b":") or not settings.cluster])


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
    low = f"[{ordered(prefix)}" if prefix else "-"
    if after is not None:
        low = f"({ordered(after)}" + "\1" * beyond
    high = f"({ordered(prefix)}\1" if prefix else "+"
    now, *listed = yield Call(script("items/names"), [key], [low, high, str(most)])
    return Names(int(now), [namespace_of_ordered(decode_text(name, key)) for name in listed], len(listed) < most)


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
                for command in (["ZCARD", keys.index], ["ZCOUNT", keys.expiry, "-inf", f"({now}"])
            ]
        )
    else:
        counts = yield Call(
            script("items/sizes"), [key for keys in spaces for key in (keys.index, keys.expiry)], [str(now)]
        )
    alive: list[Namespace] = []
    empty: list[Namespace] = []
    for namespace, items, ended in zip(namespaces, counts[::2], counts[1::2], strict=True):
        # Items that ended may be here or below.
        left = items if items == 0 or ended == 0 or items > ended else (yield from _count(settings, namespace))
        (alive if left else empty).append(namespace)
    if empty:
        yield Call(script("items/forget"), namespace_index_keys(settings.prefix), [ordered(name) for name in empty])
    return alive


def _count(settings: ItemSettings, namespace: Namespace) -> Operation[int]:
    keys = settings.keys(namespace)
    while True:
        dropped, left = yield Call(script("items/count"), settings.indexes(keys), [])
        if not dropped or not left:
            return int(left)
