"""Checkpoints in the emulated AgentCore Memory keep the contract, on small pages and in the face of faults too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from statekeep.domain import Unsupported
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.testing.contracts.checkpoints import CheckpointContract, checkpoint
from tests.backends import leave_out

from .emulated import WORLDS, Worlds, hurry


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.mark.usefixtures("world")  # the faces are got by name, so pytest does not see that they ask for it
class TestAgentCoreContract(CheckpointContract):
    @pytest.fixture(autouse=True)
    def fewer_with_faults(self, world: str) -> None:
        """More than a page are read where pages are the service's own; faults hit few calls as well as many."""
        self.divisor = 5 if world == "faults" else 1

    @pytest.fixture
    def backend(self, worlds: Worlds, world: str) -> AgentCoreCheckpoints:
        client = open_client("bedrock-agentcore", client=worlds.client(world))
        return AgentCoreCheckpoints(client, worlds.emulator(world).agentcore.create_memory(), inline=1000, grace=0)

    @pytest.fixture
    def repository(self, backend: AgentCoreCheckpoints) -> Iterator[CheckpointRepository]:
        with CheckpointRepository(backend) as repository:
            yield repository

    @pytest.fixture
    async def arepository(self, backend: AgentCoreCheckpoints) -> AsyncIterator[AsyncCheckpointRepository]:
        async with AsyncCheckpointRepository(backend) as repository:
            yield repository

    async def test_what_is_not_supported(self, keep: AsyncCheckpointRepository) -> None:
        for expected in (None, "1"):
            with pytest.raises(Unsupported, match="expected_head"):
                await keep.put(checkpoint("1"), expected_head=expected)
        assert await keep.get("t") is None
        with pytest.raises(Unsupported, match="eventExpiryDuration"):
            await keep.expire("t", 60)


leave_out(TestAgentCoreContract, ("expire",), named="expected_head")
