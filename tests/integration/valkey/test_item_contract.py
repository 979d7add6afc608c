"""Every backend of items keeps the contracts, behind both faces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

from statekeep.domain import VectorIndex
from statekeep.repositories.item_backend import ItemBackend
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.testing.contracts.items import ItemContract
from statekeep.testing.contracts.vector_search import AIndexed, Indexed, VectorSearchContract
from tests.backends import ITEM_BACKENDS, Backend

UNITS = {
    f"{name}, unit={unit}": ITEM_BACKENDS[name].with_options(unit=unit)
    for name, unit in (("memory", 1), ("valkey-py", 2), ("glide-cluster", 1))
}
"""The machines act on the others, and on units of no labels."""


@pytest.fixture(params=ITEM_BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend[ItemBackend]:
    return ITEM_BACKENDS[request.param]


@pytest.fixture(params=UNITS)
def with_units(request: pytest.FixtureRequest) -> Backend[ItemBackend]:
    return UNITS[request.param]


@pytest.mark.usefixtures("backend")  # the faces are got by name, so pytest does not see that they ask for it
class TestItemContract(ItemContract):
    @pytest.fixture
    def repository(
        self, backend: Backend[ItemBackend], request: pytest.FixtureRequest, prefix: str
    ) -> Iterator[ItemRepository]:
        with backend.open(request, prefix) as opened:
            yield ItemRepository(opened)

    @pytest.fixture
    async def arepository(
        self, backend: Backend[ItemBackend], request: pytest.FixtureRequest, prefix: str
    ) -> AsyncIterator[AsyncItemRepository]:
        async with backend.aopen(request, prefix) as opened:
            yield AsyncItemRepository(opened)


@pytest.mark.usefixtures("with_units")
class TestItemContractWithUnits(ItemContract):
    @pytest.fixture
    def repository(
        self, with_units: Backend[ItemBackend], request: pytest.FixtureRequest, prefix: str
    ) -> Iterator[ItemRepository]:
        with with_units.open(request, prefix) as opened:
            yield ItemRepository(opened)

    @pytest.fixture
    async def arepository(
        self, with_units: Backend[ItemBackend], request: pytest.FixtureRequest, prefix: str
    ) -> AsyncIterator[AsyncItemRepository]:
        async with with_units.aopen(request, prefix) as opened:
            yield AsyncItemRepository(opened)


@pytest.mark.usefixtures("backend")
class TestVectorSearchContract(VectorSearchContract):
    @pytest.fixture
    def indexed(self, backend: Backend[ItemBackend], request: pytest.FixtureRequest, prefix: str) -> Iterator[Indexed]:
        with ExitStack() as stack:

            def opened(index: VectorIndex) -> ItemRepository:
                return ItemRepository(stack.enter_context(backend.open(request, prefix, index=index)))

            yield opened

    @pytest.fixture
    async def aindexed(
        self, backend: Backend[ItemBackend], request: pytest.FixtureRequest, prefix: str
    ) -> AsyncIterator[AIndexed]:
        async with AsyncExitStack() as stack:

            def opened(index: VectorIndex) -> AsyncItemRepository:
                made = backend.make(request, prefix, index=index)
                stack.push_async_callback(made.aclose)
                return AsyncItemRepository(made)

            yield opened
