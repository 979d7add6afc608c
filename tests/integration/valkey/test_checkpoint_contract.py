"""Every backend keeps the contract, behind both faces."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from statekeep.testing.contracts.checkpoints import CheckpointContract
from tests.backends import BACKENDS, Backend


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest) -> Backend[CheckpointBackend]:
    return BACKENDS[request.param]


@pytest.mark.usefixtures("backend")  # the faces are got by name, so pytest does not see that they ask for it
class TestCheckpointContract(CheckpointContract):
    @pytest.fixture
    def repository(
        self, backend: Backend[CheckpointBackend], request: pytest.FixtureRequest, prefix: str
    ) -> Iterator[CheckpointRepository]:
        with backend.open(request, prefix) as opened:
            yield CheckpointRepository(opened)

    @pytest.fixture
    async def arepository(
        self, backend: Backend[CheckpointBackend], request: pytest.FixtureRequest, prefix: str
    ) -> AsyncIterator[AsyncCheckpointRepository]:
        async with backend.aopen(request, prefix) as opened:
            yield AsyncCheckpointRepository(opened)
