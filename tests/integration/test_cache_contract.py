"""Every backend of cache entries keeps the contract, behind both faces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from statekeep.repositories.cache import AsyncCacheRepository, CacheRepository
from statekeep.testing.cache import CacheContract
from tests.cache_backends import BACKENDS, Backend


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend:
    return BACKENDS[request.param]


@pytest.mark.usefixtures("backend")  # the faces are got by name, so pytest does not see that they ask for it
class TestCacheContract(CacheContract):
    @pytest.fixture
    def repository(self, backend: Backend, request: pytest.FixtureRequest, prefix: str) -> Iterator[CacheRepository]:
        with backend.open(request, prefix) as opened:
            yield CacheRepository(opened)

    @pytest.fixture
    async def arepository(
        self, backend: Backend, request: pytest.FixtureRequest, prefix: str
    ) -> AsyncIterator[AsyncCacheRepository]:
        async with backend.aopen(request, prefix) as opened:
            yield AsyncCacheRepository(opened)
