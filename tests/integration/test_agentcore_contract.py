"""Checkpoints in the emulated AgentCore Memory keep the contract, on small pages and in the face of faults too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from botocore.config import Config

from statekeep.repositories.agentcore.checkpoints import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, Fault, cut_after, throttle
from statekeep.testing.checkpoints import CheckpointContract

from .emulated import hurry

PATIENT = Config(retries={"total_max_attempts": 12, "mode": "standard"})

WORLDS: dict[str, tuple[AgentCoreRules, list[Fault]]] = {
    "plain": (AgentCoreRules(), []),
    "small pages": (AgentCoreRules(page_size=1, trailing_token=True, filter_lag=60, token_life=1e9), []),
    "faults": (AgentCoreRules(page_bytes=200_000), [throttle(rate=0.1), cut_after(rate=0.05)]),
}


@pytest.fixture(scope="module", params=WORLDS)
def aws(request: pytest.FixtureRequest) -> Iterator[AwsEmulator]:
    rules, faults = WORLDS[request.param]
    with AwsEmulator(agentcore=rules, faults=faults) as emulator:
        yield emulator


@pytest.fixture(scope="module")
def boto_client(aws: AwsEmulator) -> Any:
    """Clients take longer to make than most tests to run."""
    return aws.client("bedrock-agentcore", config=PATIENT)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.mark.usefixtures("aws")  # the faces are got by name, so pytest does not see that they ask for it
class TestAgentCoreContract(CheckpointContract):
    @pytest.fixture
    def backend(self, aws: AwsEmulator, boto_client: Any) -> AgentCoreCheckpoints:
        client = open_client("bedrock-agentcore", client=boto_client)
        return AgentCoreCheckpoints(client, aws.agentcore.create_memory(), inline=1000)

    @pytest.fixture
    def repository(self, backend: AgentCoreCheckpoints) -> Iterator[CheckpointRepository]:
        with CheckpointRepository(backend) as repository:
            yield repository

    @pytest.fixture
    async def arepository(self, backend: AgentCoreCheckpoints) -> AsyncIterator[AsyncCheckpointRepository]:
        async with AsyncCheckpointRepository(backend) as repository:
            yield repository
