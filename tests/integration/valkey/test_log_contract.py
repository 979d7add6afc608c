"""Every backend of logs keeps the contract, behind both faces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from statekeep.repositories.logs import AsyncLogRepository, LogBackend, LogRepository
from statekeep.testing.contracts.logs import LogContract
from tests.backends import LOG_BACKENDS, Backend


@pytest.fixture(params=LOG_BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend[LogBackend]:
    return LOG_BACKENDS[request.param]


@pytest.mark.usefixtures("backend")  # the faces are got by name, so pytest does not see that they ask for it
class TestLogContract(LogContract):
    @pytest.fixture
    def repository(
        self, backend: Backend[LogBackend], request: pytest.FixtureRequest, prefix: str
    ) -> Iterator[LogRepository]:
        with backend.open(request, prefix) as opened:
            yield LogRepository(opened)

    @pytest.fixture
    async def arepository(
        self, backend: Backend[LogBackend], request: pytest.FixtureRequest, prefix: str
    ) -> AsyncIterator[AsyncLogRepository]:
        async with backend.aopen(request, prefix) as opened:
            yield AsyncLogRepository(opened)
