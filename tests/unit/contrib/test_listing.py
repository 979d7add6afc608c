"""Reads of bridges in few round trips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from statekeep.contrib.listing import read, read_all
from statekeep.domain import GetItem, ListItems, Unsupported
from statekeep.repositories.item_backend import Action, Listing
from statekeep.repositories.items import AsyncItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.operation import Operation

pytestmark = pytest.mark.anyio

N = ("n",)


class WithoutListings(MemoryItems):
    """A backend that cannot list in a batch."""

    def apply(self, actions: Sequence[Action]) -> Operation[list[Any]]:
        if any(isinstance(action, Listing) for action in actions):
            raise Unsupported("no listings here")
        return super().apply(actions)


@pytest.fixture(params=[MemoryItems, WithoutListings])
async def items(request: pytest.FixtureRequest) -> AsyncItemRepository:
    items = AsyncItemRepository(request.param())
    for number in range(25):
        await items.put(N, f"k{number:02}", number)
    await items.put(N, "other", "there")
    return items


async def test_listings_are_read_to_their_ends(items: AsyncItemRepository) -> None:
    for size in (1, 5, 10, 25, 26, 300):
        listing = ListItems(namespace=N, prefix="k", limit=size)
        backwards = ListItems(namespace=N, reverse=True, after="k20", limit=size)
        other, forth, back, nothing = await read_all(
            items, GetItem(namespace=N, key="other"), listing, backwards, ListItems(namespace=("nobody",), limit=size)
        )
        assert other.value == "there"
        assert [item.value for item in forth] == list(range(25))
        assert [item.value for item in back] == list(range(19, -1, -1))
        assert nothing == []


async def test_a_page(items: AsyncItemRepository) -> None:
    by_time = ListItems(namespace=N, order="updated", reverse=True, limit=2)
    page, gone, last = await read(
        items, ListItems(namespace=N, after="k03", limit=2), GetItem(namespace=N, key="gone"), by_time
    )
    assert [item.key for item in page] == ["k04", "k05"]
    assert gone is None
    assert [item.key for item in last] == ["other", "k24"]
