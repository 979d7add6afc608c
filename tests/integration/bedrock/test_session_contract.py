"""Checkpoints in emulated Bedrock sessions keep the contract, with late and shuffled listings and with faults too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from statekeep import Unsupported
from statekeep.repositories.aws import open_client
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.testing.aws import AwsEmulator, Fault, SessionRules, cut_after, throttle
from statekeep.testing.contracts.checkpoints import CheckpointContract, checkpoint
from tests.backends import leave_out

from ..agentcore.emulated import PATIENT, hurry
from .named import UNSUPPORTED, NamedThreads

WORLDS: dict[str, tuple[SessionRules, list[Fault]]] = {
    "plain": (SessionRules(), []),
    "small pages": (SessionRules(page_size=1, trailing_token=True), []),
    "late listings": (SessionRules(list_lag=2.0), []),
    "faults": (SessionRules(), [throttle(rate=0.1), cut_after(rate=0.05)]),
}
"""Ways in which the service may behave that must make no difference."""


@pytest.fixture(scope="module")
def opened() -> Iterator[Callable[[str], tuple[AwsEmulator, Any]]]:
    with ExitStack() as stack:
        made: dict[str, tuple[AwsEmulator, Any]] = {}

        def world(name: str) -> tuple[AwsEmulator, Any]:
            if name not in made:
                rules, faults = WORLDS[name]
                emulator = stack.enter_context(AwsEmulator(bedrock_sessions=rules, faults=faults))
                made[name] = emulator, emulator.client("bedrock-agent-runtime", config=PATIENT)
            return made[name]

        yield world


@pytest.fixture(scope="module", params=WORLDS)
def world(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)


@pytest.mark.usefixtures("world")  # the faces are got by name, so pytest does not see that they ask for it
class TestBedrockSessionContract(CheckpointContract):
    @pytest.fixture
    def backend(self, opened: Callable[[str], tuple[AwsEmulator, Any]], world: str) -> NamedThreads:
        emulator, client = opened(world)
        emulator.bedrock_sessions.delete_sessions()
        return NamedThreads(BedrockSessionCheckpoints(open_client("bedrock-agent-runtime", client=client), inline=1000))

    @pytest.fixture
    def repository(self, backend: NamedThreads) -> Iterator[CheckpointRepository]:
        with CheckpointRepository(backend) as repository:
            yield repository

    @pytest.fixture
    async def arepository(self, backend: NamedThreads) -> AsyncIterator[AsyncCheckpointRepository]:
        async with AsyncCheckpointRepository(backend) as repository:
            yield repository

    async def test_what_is_not_supported(self, keep: AsyncCheckpointRepository) -> None:
        await keep.put(checkpoint("1", metadata={"run_id": "r"}))
        await keep.put(checkpoint("2", metadata={"run_id": "r"}))
        with pytest.raises(Unsupported, match="no steps"):
            await keep.delete_runs(["r"])
        with pytest.raises(Unsupported, match="continue_thread"):
            await keep.prune(["t"], keep=1)
        with pytest.raises(Unsupported, match="continue_thread"):
            await keep.prune(["t"], keep=0, namespace="")
        with pytest.raises(Unsupported, match="no steps"):
            await keep.delete("t", "1")
        with pytest.raises(Unsupported, match="expected_head"):
            await keep.put(checkpoint("3"), expected_head="2")
        with pytest.raises(Unsupported, match="30 days"):
            await keep.expire("t", None)
        assert [saved.checkpoint_id async for saved in keep.list("t")] == ["2", "1"]
        assert await keep.prune(["t"], keep=0) == 2
        assert [saved async for saved in keep.list("t")] == []


leave_out(TestBedrockSessionContract, UNSUPPORTED, named="expected_head")
