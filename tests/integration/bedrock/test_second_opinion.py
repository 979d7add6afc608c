"""The contract over ministack, an emulator that shares no code with ours: ``make second-opinion``.

It writes ids of sessions without hyphens, takes steps of any invocation and whatever a session's status is, replaces a
step that is put again, and has neither conflicts, limits nor pages. The contract needs none of them.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any

import boto3
import pytest

from statekeep.repositories.aws import open_client
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.testing.contracts.checkpoints import CheckpointContract
from tests.backends import leave_out

from ..agentcore.emulated import PATIENT
from ..ministack import PROGRAM, ministack
from .named import UNSUPPORTED, NamedThreads

pytestmark = pytest.mark.skipif(not PROGRAM, reason="STATEKEEP_MINISTACK is not set")


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with ministack("bedrock-agent-runtime", tmp_path_factory.mktemp("ministack")) as url:
        yield url


def _shorten(params: dict[str, Any], **_: Any) -> None:
    """Write session ids as ministack does: without hyphens."""
    params["url"] = re.sub(
        r"(/sessions/)([0-9a-f-]{36})", lambda found: found[1] + found[2].replace("-", ""), params["url"]
    )


def _lengthen(parsed: Any, **_: Any) -> None:
    """Write session ids as the service does."""
    for one in (parsed, *parsed.get("sessionSummaries", ())):
        if "sessionId" in one:
            one["sessionId"] = str(uuid.UUID(one["sessionId"]))


@pytest.fixture(scope="module")
def boto_client(endpoint: str) -> Any:
    session = boto3.Session("test", "test", region_name="us-east-1")
    client = session.client("bedrock-agent-runtime", endpoint_url=endpoint, config=PATIENT)
    client.meta.events.register("before-call.bedrock-agent-runtime", _shorten)
    client.meta.events.register("after-call.bedrock-agent-runtime", _lengthen)
    return client


class TestSecondOpinion(CheckpointContract):
    @pytest.fixture
    def backend(self, boto_client: Any) -> NamedThreads:
        for session in boto_client.list_sessions()["sessionSummaries"]:
            boto_client.delete_session(sessionIdentifier=session["sessionId"])
        return NamedThreads(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=boto_client)))

    @pytest.fixture
    def repository(self, backend: NamedThreads) -> Iterator[CheckpointRepository]:
        with CheckpointRepository(backend) as repository:
            yield repository

    @pytest.fixture
    async def arepository(self, backend: NamedThreads) -> AsyncIterator[AsyncCheckpointRepository]:
        async with AsyncCheckpointRepository(backend) as repository:
            yield repository


leave_out(TestSecondOpinion, UNSUPPORTED, named="expected_head")
