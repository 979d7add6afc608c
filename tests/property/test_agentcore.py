"""Checkpoints in the emulated AgentCore Memory and the oracle answer alike, but for what the backend declares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import pytest
from botocore.config import Config
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import Channel, Checkpoint, Payload, PendingWrite
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import CheckpointBackend, CheckpointRepository
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.testing.aws import AgentCoreRules, AwsEmulator, Fault, cut_after, throttle
from statekeep.testing.differences import Differences
from statekeep.testing.machines.checkpoints import machine_for
from statekeep.testing.tally import tally
from tests.integration.agentcore.emulated import clock_ahead, hurry
from tests.small_pages import small_pages
from tests.small_pieces import small_pieces

from .kinds import QUICK, SERVED

DECLARED = Differences(
    replayed_finds_parents_only=True,
    optional_stops_at_parent=True,
    forks_are_ambiguous=True,
    writes_settle_late=True,
    puts_cannot_expect=True,
    unsupported={"expire"},
)
"""What this backend does not look for, as that would read a whole namespace at each put.

The service cannot compare and set, nor end a thread. And of pending writes the earliest by its stamp stays, which
may arrive as the last.
"""

PATIENT = Config(retries={"total_max_attempts": 12, "mode": "standard"})

WORLDS: dict[str, tuple[str, AgentCoreRules, list[Fault]]] = {
    "agentcore": ("blocking", AgentCoreRules(), []),
    "agentcore, small pages": ("async", AgentCoreRules(page_size=2, trailing_token=True, token_life=1e9), []),
    "agentcore, faults": ("blocking", AgentCoreRules(), [throttle(rate=0.02), cut_after(rate=0.02)]),
}

RUNS = [name for name in WORLDS if not (QUICK and "," in name)]  # quick runs: the plain one


@pytest.mark.parametrize("world", RUNS)
def test_agentcore_and_oracle_agree(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    face, rules, faults = WORLDS[world]
    pages = small_pages() if "small" in world else nullcontext()
    with pages, small_pieces(size=700), AwsEmulator(agentcore=rules, faults=faults) as aws:
        boto_client = aws.client("bedrock-agentcore", config=PATIENT)

        def made() -> AgentCoreCheckpoints:
            client = open_client("bedrock-agentcore", client=boto_client)
            return AgentCoreCheckpoints(client, aws.agentcore.create_memory(), inline=1, grace=0)

        @contextmanager
        def opened() -> Iterator[CheckpointBackend]:
            backend = made()
            yield backend
            backend.close()

        @asynccontextmanager
        async def aopened() -> AsyncIterator[CheckpointBackend]:
            backend = made()
            yield backend
            await backend.aclose()

        machine = machine_for(opened if face == "blocking" else aopened, name=world, differences=DECLARED)
        # Each step lists all threads, and each call goes over HTTP.
        run_state_machine_as_test(machine, settings=settings(max_examples=SERVED, stateful_step_count=20))
        tally("checkpoints", world).faults += aws.totals.faults


# -- each declared difference is one


@pytest.fixture
def agentcore() -> Iterator[CheckpointRepository]:
    with AwsEmulator() as aws:
        client = open_client("bedrock-agentcore", client=aws.client("bedrock-agentcore"))
        yield CheckpointRepository(AgentCoreCheckpoints(client, aws.memory_id))


@pytest.fixture
def memory() -> CheckpointRepository:
    return CheckpointRepository(MemoryCheckpoints())


def payload(text: str) -> Payload:
    return Payload(encoding="raw", data=text.encode())


def put(keep: CheckpointRepository, checkpoint_id: str, channel: Channel, parent: str | None = None) -> Any:
    """Put a checkpoint with one channel; returns the channel as it was stored."""
    keep.put(Checkpoint(thread_id="t", checkpoint_id=checkpoint_id, parent_id=parent, channels={"a": channel}))
    saved = keep.get("t", checkpoint_id=checkpoint_id)
    assert saved is not None
    return saved.channels["a"]


def test_a_replayed_channel_finds_no_value_but_that_of_its_parent(
    agentcore: CheckpointRepository, memory: CheckpointRepository
) -> None:
    assert DECLARED.replayed_finds_parents_only
    for keep, found in ((memory, Channel.of(1, payload("x"))), (agentcore, Channel.replayed(1))):
        put(keep, "1", Channel.of(1, payload("x")))
        assert put(keep, "2", Channel.replayed(1), "1") == Channel.of(1, payload("x"))
        assert put(keep, "3", Channel.replayed(1)) == found


def test_a_channel_that_the_parent_has_without_a_value_is_not_looked_for(
    agentcore: CheckpointRepository, memory: CheckpointRepository
) -> None:
    assert DECLARED.optional_stops_at_parent
    for keep, found in ((memory, Channel.of(1, payload("x"))), (agentcore, Channel.empty(1))):
        put(keep, "1", Channel.of(1, payload("x")))
        put(keep, "2", Channel.empty(1))
        assert put(keep, "3", Channel.earlier(1, required=False), "2") == found
        assert put(keep, "4", Channel.earlier(1, required=False)) == Channel.of(1, payload("x"))


def test_which_value_of_forks_is_found_is_open(agentcore: CheckpointRepository, memory: CheckpointRepository) -> None:
    assert DECLARED.forks_are_ambiguous
    for keep, found in ((memory, "x"), (agentcore, "y")):
        put(keep, "1", Channel.of(1, payload("x")))
        put(keep, "2", Channel.of(1, payload("y")))
        put(keep, "3", Channel.earlier(1), "1")
        put(keep, "1", Channel.of(1, payload("z")))
        assert put(keep, "4", Channel.earlier(1)).payload == payload(found)


def test_a_reader_may_see_a_write_that_does_not_stay(
    agentcore: CheckpointRepository, memory: CheckpointRepository
) -> None:
    assert DECLARED.writes_settle_late
    backend: Any = agentcore.backend
    other = CheckpointRepository(AgentCoreCheckpoints(backend._client, backend.memory_id))
    for keep, later, found in ((memory, memory, "x"), (agentcore, other, "y")):
        keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
        with clock_ahead(60):  # as if it had been written a while later, and came first
            keep.put_writes("t", "1", [PendingWrite(task_id="a", idx=0, channel="c", payload=payload("x"))])
        assert [write.payload for write in keep.get("t").pending_writes] == [payload("x")]  # type: ignore[union-attr]
        later.put_writes("t", "1", [PendingWrite(task_id="a", idx=0, channel="c", payload=payload("y"))])
        assert [write.payload for write in keep.get("t").pending_writes] == [payload(found)]  # type: ignore[union-attr]
