"""The contract of items over ministack, an emulator that shares no code with ours: ``make second-opinion``.

It lists events in the order of their arrival, and not the newest first, as the service does.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import pytest

from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.aws import open_client
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.testing.contracts.items import ItemContract
from statekeep.testing.differences import Differences

from ..ministack import PROGRAM, ministack
from .emulated import PATIENT

pytestmark = pytest.mark.skipif(not PROGRAM, reason="STATEKEEP_MINISTACK is not set")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ministack("bedrock-agentcore", tmp_path_factory.mktemp("ministack")) as url:
        yield url


@pytest.fixture(scope="module")
def session() -> Any:
    return boto3.Session("test", "test", region_name="us-east-1")


@pytest.fixture(scope="module")
def boto_client(endpoint: str, session: Any) -> Any:
    return session.client("bedrock-agentcore", endpoint_url=endpoint, config=PATIENT)


@pytest.fixture(scope="module")
def control(endpoint: str, session: Any) -> Any:
    return session.client("bedrock-agentcore-control", endpoint_url=endpoint, config=PATIENT)


class TestItemsOverMinistack(ItemContract):
    differences = Differences(batches_are_not_atomic=True, unsupported={"append", "pop"})
    divisor = 20

    @pytest.fixture
    def backend(self, boto_client: Any, control: Any) -> AgentCoreItems:
        memory = control.create_memory(name=f"items{uuid.uuid4().hex}", eventExpiryDuration=90)["memory"]
        return AgentCoreItems(open_client("bedrock-agentcore", client=boto_client), memory["id"])

    @pytest.fixture
    def repository(self, backend: AgentCoreItems) -> Iterator[ItemRepository]:
        with ItemRepository(backend) as repository:
            yield repository

    @pytest.fixture
    async def arepository(self, backend: AgentCoreItems) -> AsyncIterator[AsyncItemRepository]:
        async with AsyncItemRepository(backend) as repository:
            yield repository

    async def test_search_is_newest_first(self, keep: AsyncItemRepository) -> None:
        pytest.skip("the oldest entries of an index come first")
