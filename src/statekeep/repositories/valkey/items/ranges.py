"""Listings of one namespace: of its items, and of their keys alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import evolve, frozen

from ....domain import Item, ItemsMeasure
from ....domain.filters import matches
from ....domain.items import Namespace
from ...item_backend import ItemRange
from ...operation import Operation, Page
from ..chunks import CHUNK
from ..keys import decode_text
from ..requests import Call, Commands
from ..scripts import script
from ..sizes import Basis, by_memory_or_lengths, usage
from .keys import ItemKeys, bounds
from .listing import refreshed
from .plan import ItemSettings
from .read import complete, look, sweep
from .records import decode_item

PAGE: Final = 100
"""Items read at once: their values may be large."""

KEYS: Final = 500
"""Keys read at once."""

SPARE: Final = 10
"""Keys looked at beyond those asked for, as items may have ended."""


@frozen
class Cursor:
    """The position of a listing.

    Attributes:
        after: the last key; in the order of puts, the time that was reached, as the index writes it.
        until: the last time that is listed by time, so that the listing ends although others put; ``""`` for any.
        skip: how many items are to be left out.
        left: how many may follow; ``None`` for all.
    """

    after: str | None
    until: str
    skip: int
    left: int | None


def begun(query: ItemRange) -> Cursor:
    """Return the position before the first item."""
    return Cursor(query.after, "", query.offset, query.limit)


def list_items(settings: ItemSettings, query: ItemRange, cursor: Cursor | None) -> Operation[Page[Item]]:
    """Read one page of the items of a namespace."""
    cursor = cursor or begun(query)
    keys = settings.keys(query.namespace)
    named = by_key if query.order == "key" else by_time
    while cursor.left != 0:
        wanted = PAGE if cursor.left is None or query.filter else min(PAGE, cursor.left)
        names, cursor, is_last = yield from named(settings, keys, query, cursor, min(CHUNK, wanted + cursor.skip))
        # Items that are skipped only have to exist.
        skipped = 0 if query.filter else min(cursor.skip, len(names))
        records = [keys.record(name) for name in names]
        exist, rows = yield from look(settings, records[:skipped], records[skipped:])
        gone = [name for name, is_there in zip(names, exist, strict=False) if not is_there]
        skip, found = cursor.skip - sum(exist), []
        for name, row in zip(names[skipped:], rows, strict=True):
            item = decode_item(keys, name, row)
            if item is None:
                gone.append(name)
            elif matches(item.value, query.filter):
                if skip:
                    skip -= 1
                else:
                    found.append((item, row))
        yield from sweep(settings, keys, gone)
        found = found[: cursor.left]
        items = [item for item, _ in found]
        if settings.refreshes(query.refresh):
            items = yield from refreshed(settings, found)
        cursor = evolve(cursor, skip=skip, left=None if cursor.left is None else cursor.left - len(items))
        if items or is_last:
            return Page(items, None if is_last or cursor.left == 0 else cursor)
    return Page([])


Named = Operation[tuple[Sequence[str], Cursor, bool]]
"""Keys, the position behind them, and whether there are no more."""


def by_key(settings: ItemSettings, keys: ItemKeys, query: ItemRange, cursor: Cursor, size: int) -> Named:
    """Read keys in their order."""
    command = "ZREVRANGEBYLEX" if query.reverse else "ZRANGEBYLEX"
    (listed,) = yield Commands([[command, keys.index, *bounds(query, cursor.after), "LIMIT", "0", str(size)]])
    names = [decode_text(name, keys.index) for name in listed]
    return names, evolve(cursor, after=names[-1] if names else cursor.after), len(names) < size


def by_time(settings: ItemSettings, keys: ItemKeys, query: ItemRange, cursor: Cursor, size: int) -> Named:
    """Read keys in the order of puts; those that were put at one time together."""
    args = ["1" if query.reverse else "", cursor.after or "", cursor.until, str(size), query.prefix]
    call = Call(script("items/by_time"), settings.indexes(keys), args)
    lacks, latest, reached, listed = yield call
    if lacks:
        yield from complete(settings, keys)
        _, latest, reached, listed = yield call
    names = [decode_text(name, keys.recency) for name in listed]
    until = cursor.until or ("" if query.reverse else decode_text(latest, keys.recency))
    after = decode_text(reached, keys.recency)
    return names, evolve(cursor, after=after, until=until), not after


def list_keys(settings: ItemSettings, query: ItemRange, cursor: Cursor | None) -> Operation[Page[str]]:
    """Read one page of the keys of a namespace."""
    cursor = cursor or begun(query)
    keys = settings.keys(query.namespace)
    while cursor.left != 0:
        size = KEYS if cursor.left is None else min(KEYS, cursor.left + SPARE)
        looked, last, *found = yield Call(
            script("items/live"),
            settings.indexes(keys),
            ["1" if query.reverse else "", *bounds(query, cursor.after), str(size)],
        )
        names = [decode_text(name, keys.index) for name in found[: cursor.left]]
        is_last = int(looked) < size
        left = None if cursor.left is None else cursor.left - len(names)
        cursor = evolve(cursor, after=decode_text(last, keys.index), left=left)
        if names or is_last:
            return Page(names, None if is_last or left == 0 else cursor)
    return Page([])


def measure(settings: ItemSettings, namespace: Namespace) -> Operation[ItemsMeasure]:
    """Count the items of a namespace, and the bytes of their records."""
    return by_memory_or_lengths(lambda basis: _measure(settings, namespace, basis))


def _measure(settings: ItemSettings, namespace: Namespace, basis: Basis) -> Operation[ItemsMeasure]:
    keys = settings.keys(namespace)
    query = ItemRange(namespace, prefix="", after=None, reverse=False, limit=None, refresh=False)
    items = size = 0
    cursor: Cursor | None = None
    while True:
        page = yield from list_keys(settings, query, cursor)
        records = [keys.record(name) for name in page.items]
        if records:
            replies = yield Commands(
                [usage(record) if basis == "memory" else ("HSTRLEN", record, "value") for record in records]
            )
            items += sum(reply is not None for reply in replies)
            size += sum(reply or 0 for reply in replies)
        cursor = page.cursor
        if cursor is None:
            return ItemsMeasure(items=items, bytes=size, basis=basis)
