"""Listings of namespaces by name, and deletion of all that is in them.

Deletion goes in steps of at most 500 items.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from attrs import frozen

from ....domain.items import Namespace
from ...item_backend import Delete, NamespaceQuery
from ...operation import Operation
from ..chunks import CHUNK, chunks
from ..keys import decode_text, namespace_of_ordered, ordered
from ..requests import Arg, Call, Commands
from ..scripts import script
from .keys import ItemKeys
from .plan import ItemSettings
from .read import complete
from .write import apply

NAMES: Final = 500
"""Namespaces read in one step."""

SPARE: Final = 10
"""Namespaces read beyond those asked for, as some may be empty."""

KEPT: Final = 600_000
"""Milliseconds that the state of a namespace is kept which is empty, as in the scripts."""

FEW: Final = 5
"""Items of each of many namespaces that are deleted together. What a namespace has beyond them is deleted by itself."""


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
    key = settings.namespace_index[0]
    low, high = at_or_below(prefix)
    if after is not None:
        low = f"({ordered(after)}" + "\1" * beyond
    args = [low, high, str(most), settings.unit.text]
    now, *listed = yield Call(script("items/names"), [key, *settings.unit_keys], args)
    return Names(int(now), [namespace_of_ordered(decode_text(name, key)) for name in listed], len(listed) < most)


def at_or_below(prefix: Namespace) -> tuple[str, str]:
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
        yield Call(script("items/forget"), settings.index_keys[:4], [ordered(name) for name in empty])
        # What is left of them has no end if something in them once had none.
        yield Commands([["PEXPIRE", settings.keys(name).state, str(KEPT), "NX"] for name in empty])
    return alive


def _count(settings: ItemSettings, keys: ItemKeys) -> Operation[int]:
    while True:
        dropped, left = yield Call(script("items/count"), settings.indexes(keys), [])
        if not dropped or not left:
            return int(left)


# -- deletion


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
