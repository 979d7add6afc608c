"""The contract of search by meaning, kept with the search modules of both families."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack

import pytest

from statekeep import AsyncItemRepository, ItemRepository, VectorIndex
from statekeep.repositories.options import Driver
from statekeep.repositories.valkey import client_from_url
from statekeep.testing.contracts.vector_search import AIndexed, Indexed, VectorSearchContract
from statekeep.testing.servers import ValkeyServer

from .search_kinds import ReadyItems
from .search_responder import SearchResponder


class OverTheModule(VectorSearchContract):
    """The contract that the other engines keep, too."""

    @pytest.fixture(params=["glide", "valkey-py"])
    def client(self, request: pytest.FixtureRequest) -> Driver:
        name: Driver = request.param
        return name

    @pytest.fixture
    def indexed(self, client: Driver, url: str, prefix: str) -> Iterator[Indexed]:
        with ExitStack() as stack:
            yield lambda index: stack.enter_context(
                ItemRepository(ReadyItems(client_from_url(url, client=client), prefix=prefix, index=index))
            )

    @pytest.fixture
    async def aindexed(self, client: Driver, url: str, prefix: str) -> AsyncIterator[AIndexed]:
        async with AsyncExitStack() as stack:

            def opened(index: VectorIndex) -> AsyncItemRepository:
                connected = client_from_url(url, client=client)
                repository = AsyncItemRepository(ReadyItems(connected, prefix=prefix, index=index))
                stack.push_async_exit(repository)
                return repository

            yield opened


# The faces are got by name, so pytest does not see that they ask for the fixture.
@pytest.mark.usefixtures("client", "url")
class TestRedisearch(OverTheModule):
    """Over the Redis query engine itself."""

    @pytest.fixture
    def url(self, redisearch_server: ValkeyServer) -> str:
        return redisearch_server.url


@pytest.mark.usefixtures("client", "url")
class TestValkeySearch(OverTheModule):
    """Over what answers as valkey-search does."""

    @pytest.fixture
    def url(self, search_server: SearchResponder) -> str:
        return search_server.url
