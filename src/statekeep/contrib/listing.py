"""Listings and other reads in few round trips."""

from __future__ import annotations

from typing import Any, Final

from ..domain import GetItem, ListItems, Unsupported
from ..repositories.items import AsyncItemRepository

PAGE: Final = 200
"""Items that are listed at once."""


async def read(items: AsyncItemRepository, *parts: GetItem | ListItems) -> list[Any]:
    """Do reads in one batch, as ``items.batch`` does.

    With listings it is one round trip, or two if they have other keys than the last time. If they cannot be in a batch,
    as too much that ended is in their way, or the service has none, the reads are done one by one.
    """
    try:
        return await items.batch(parts)
    except Unsupported:
        return [await _read_alone(items, part) for part in parts]


async def read_all(items: AsyncItemRepository, *parts: GetItem | ListItems) -> list[Any]:
    """Do reads as :func:`read`, with listings to their ends.

    Listings are by key, and their ``limit`` is that of a page.
    """
    results = await read(items, *parts)
    for number, part in enumerate(parts):
        if not isinstance(part, ListItems):
            continue
        page = results[number]
        while len(page) == part.limit:
            part = part.model_copy(update={"after": page[-1].key})
            [page] = await read(items, part)
            results[number] = [*results[number], *page]
    return results


async def _read_alone(items: AsyncItemRepository, part: GetItem | ListItems) -> Any:
    if isinstance(part, GetItem):
        return await items.get(part.namespace, part.key, refresh=part.refresh)
    return [item async for item in items.list(**dict(part))]
