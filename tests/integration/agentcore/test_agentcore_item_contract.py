"""Items in the emulated AgentCore Memory keep the contract, on small pages and in the face of faults too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.aws import open_client
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.testing.contracts.items import ItemContract
from statekeep.testing.differences import Differences

from .emulated import WORLDS, Worlds, hurry


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.mark.usefixtures("world")  # the faces are got by name, so pytest does not see that they ask for it
class TestAgentCoreItemContract(ItemContract):
    differences = Differences(batches_are_not_atomic=True, unsupported={"append", "pop"})
    divisor = 20

    @pytest.fixture
    def backend(self, worlds: Worlds, world: str) -> AgentCoreItems:
        client = open_client("bedrock-agentcore", client=worlds.client(world))
        return AgentCoreItems(client, worlds.emulator(world).agentcore.create_memory())

    @pytest.fixture
    def repository(self, backend: AgentCoreItems) -> Iterator[ItemRepository]:
        with ItemRepository(backend) as repository:
            yield repository

    @pytest.fixture
    async def arepository(self, backend: AgentCoreItems) -> AsyncIterator[AsyncItemRepository]:
        async with AsyncItemRepository(backend) as repository:
            yield repository
