"""Listings of one namespace: of its items, and of their keys alone."""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from ....domain import Item
from ...item_backend import ItemRange
from ...operation import Operation, Page
from ..keys import decode_text
from ..requests import Arg, Call, Commands
from ..scripts import script
from .listing import read, refreshed
from .plan import ItemSettings
from .read import sweep

PAGE: Final = 100
"""Items read at once: their values may be large."""

KEYS: Final = 500
"""Keys read at once."""

SPARE: Final = 10
"""Keys looked at beyond those asked for, as items may have ended."""


@frozen
class Cursor:
    """The position of a listing: the last key, and how many items may follow."""

    after: str | None
    left: int | None


def bounds(query: ItemRange, after: str | None) -> list[Arg]:
    """Return the command that reads a range of keys, and its two bounds."""
    prefix = query.prefix
    low: Arg = f"[{prefix}" if prefix else "-"
    # No UTF-8 has this byte, so it is behind all that begins with the prefix.
    high: Arg = b"(" + prefix.encode() + b"\xff" if prefix else "+"
    if after is not None:
        if query.reverse and (after < prefix or after.startswith(prefix)):
            high = f"({after}"
        elif not query.reverse and after >= prefix:
            low = f"({after}"
    return ["ZREVRANGEBYLEX", high, low] if query.reverse else ["ZRANGEBYLEX", low, high]


def list_items(settings: ItemSettings, query: ItemRange, cursor: Cursor | None) -> Operation[Page[Item]]:
    """Read one page of the items of a namespace."""
    cursor = cursor or Cursor(query.after, query.limit)
    keys = settings.keys(query.namespace)
    while cursor.left != 0:
        size = PAGE if cursor.left is None else min(PAGE, cursor.left)
        command, *limits = bounds(query, cursor.after)
        (listed,) = yield Commands([[command, keys.index, *limits, "LIMIT", "0", str(size)]])
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


def list_keys(settings: ItemSettings, query: ItemRange, cursor: Cursor | None) -> Operation[Page[str]]:
    """Read one page of the keys of a namespace: one round trip, whatever the values are."""
    cursor = cursor or Cursor(query.after, query.limit)
    keys = settings.keys(query.namespace)
    while cursor.left != 0:
        size = KEYS if cursor.left is None else min(KEYS, cursor.left + SPARE)
        looked, last, *found = yield Call(
            script("items/live"), settings.indexes(keys), [*bounds(query, cursor.after), str(size)]
        )
        names = [decode_text(name, keys.index) for name in found[: cursor.left]]
        is_last = int(looked) < size
        left = None if cursor.left is None else cursor.left - len(names)
        cursor = Cursor(decode_text(last, keys.index), left)
        if names or is_last:
            return Page(names, None if is_last or left == 0 else cursor)
    return Page([])
