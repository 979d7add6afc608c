"""Deletion of all items of a namespace, and of those below it.

It goes in steps of at most 500 items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ....domain.items import Namespace
from ...item_backend import Delete
from ...operation import Operation
from ..chunks import CHUNK, chunks
from ..keys import decode_text
from ..requests import Arg, Commands
from .listing import names
from .plan import ItemSettings
from .write import apply

FEW: Final = 5
"""Items of each of many namespaces that are deleted together. What a namespace has beyond them is deleted by itself."""


def clear(settings: ItemSettings, namespace: Namespace) -> Operation[int]:
    """Delete the items of a namespace, with those put behind meanwhile."""
    keys = settings.keys(namespace)
    count = 0
    start: Arg = "-"
    while True:
        (found,) = yield Commands([["ZRANGEBYLEX", keys.index, start, "+", "LIMIT", "0", str(CHUNK)]])
        if not found:
            return count
        deletions = [Delete(namespace, decode_text(key, keys.index)) for key in found]
        count += sum((yield from apply(settings, deletions)))
        start = b"(" + found[-1]


def clear_below(settings: ItemSettings, namespace: Namespace) -> Operation[int]:
    """Delete the items at or below a namespace."""
    count = 0
    after: Namespace | None = None
    while True:
        page = yield from names(settings, namespace, after)
        for some in chunks(page.namespaces, CHUNK // FEW):
            count += yield from _clear_many(settings, some)
        if page.is_last:
            return count
        after = page.namespaces[-1]


def _clear_many(settings: ItemSettings, namespaces: Sequence[Namespace]) -> Operation[int]:
    spaces = [settings.keys(namespace) for namespace in namespaces]
    listed = yield Commands([["ZRANGEBYLEX", keys.index, "-", "+", "LIMIT", "0", str(FEW)] for keys in spaces])
    deletions = [
        Delete(keys.namespace, decode_text(key, keys.index))
        for keys, found in zip(spaces, listed, strict=True)
        for key in found
    ]
    count = sum((yield from apply(settings, deletions))) if deletions else 0
    for keys, found in zip(spaces, listed, strict=True):
        if len(found) == FEW:
            count += yield from clear(settings, keys.namespace)
    return count
