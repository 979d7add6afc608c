"""Every backend of cache entries keeps the contract, behind both faces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from statekeep.repositories.cache import AsyncCacheRepository, CacheBackend, CacheRepository
from statekeep.testing.contracts.cache import CacheContract
from tests.backends import CACHE_BACKENDS, Backend


@pytest.fixture(params=CACHE_BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend[CacheBackend]:
    return CACHE_BACKENDS[request.param]


@pytest.mark.usefixtures("backend")  # the faces are got by name, so pytest does not see that they ask for it
class TestCacheContract(CacheContract):
    @pytest.fixture
    def repository(
        self, backend: Backend[CacheBackend], request: pytest.FixtureRequest, prefix: str
    ) -> Iterator[CacheRepository]:
        with backend.open(request, prefix) as opened:
            yield CacheRepository(opened)

    @pytest.fixture
    async def arepository(
        self, backend: Backend[CacheBackend], request: pytest.FixtureRequest, prefix: str
    ) -> AsyncIterator[AsyncCacheRepository]:
        async with backend.aopen(request, prefix) as opened:
            yield AsyncCacheRepository(opened)
