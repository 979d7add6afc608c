"""Checkpoints in emulated sessions of Bedrock and the oracle answer alike, but for what the backend declares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import Channel, Checkpoint, Payload, PendingWrite, Unsupported
from statekeep.repositories.aws import open_client
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.checkpoints import CheckpointBackend, CheckpointRepository
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.testing.aws import AwsEmulator, Fault, SessionRules, cut_after, throttle
from statekeep.testing.differences import Differences
from statekeep.testing.machines.checkpoints import machine_for
from statekeep.testing.tally import tally, uncounted
from tests.integration.agentcore.emulated import PATIENT, clock_ahead, hurry
from tests.integration.bedrock.named import NamedThreads

from .kinds import QUICK, SERVED

DECLARED = Differences(
    replayed_finds_parents_only=True,
    optional_stops_at_parent=True,
    forks_are_ambiguous=True,
    writes_settle_late=True,
    prunes_whole_threads_only=True,
    puts_cannot_expect=True,
    unsupported={"delete_runs", "expire"},
)
"""The service deletes no steps, but whole sessions. And each step is a call to read, so that a put that looks for a
value beyond its parent's would take up to 1,000: channels that need no value do without. Which fork stored a value
first is not kept. Of pending writes the earliest by its stamp stays, which may arrive as the last.
"""

WORLDS: dict[str, tuple[str, SessionRules, list[Fault]]] = {
    "sessions": ("blocking", SessionRules(), []),
    "sessions, small pages, late listings": ("async", SessionRules(page_size=2, list_lag=1.0), []),
    "sessions, faults": ("blocking", SessionRules(), [throttle(rate=0.02), cut_after(rate=0.02)]),
}

RUNS = [name for name in WORLDS if not (QUICK and "," in name)]  # quick runs: the plain one


@pytest.mark.parametrize("world", RUNS)
def test_sessions_and_oracle_agree(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    face, rules, faults = WORLDS[world]
    with AwsEmulator(bedrock_sessions=rules, faults=faults) as aws:
        boto_client = aws.client("bedrock-agent-runtime", config=PATIENT)

        def made() -> NamedThreads:
            aws.bedrock_sessions.delete_sessions()
            client = open_client("bedrock-agent-runtime", client=boto_client)
            return NamedThreads(BedrockSessionCheckpoints(client, inline=1000))

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
def sessions() -> Iterator[CheckpointRepository]:
    with AwsEmulator() as aws:
        client = open_client("bedrock-agent-runtime", client=aws.client("bedrock-agent-runtime"))
        yield CheckpointRepository(NamedThreads(BedrockSessionCheckpoints(client)))


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
    sessions: CheckpointRepository, memory: CheckpointRepository
) -> None:
    assert DECLARED.replayed_finds_parents_only
    for keep, found in ((memory, Channel.of(1, payload("x"))), (sessions, Channel.replayed(1))):
        put(keep, "1", Channel.of(1, payload("x")))
        assert put(keep, "2", Channel.replayed(1), "1") == Channel.of(1, payload("x"))
        assert put(keep, "3", Channel.replayed(1)) == found


def test_a_channel_that_the_parent_has_without_a_value_is_not_looked_for(
    sessions: CheckpointRepository, memory: CheckpointRepository
) -> None:
    assert DECLARED.optional_stops_at_parent
    for keep, found in ((memory, Channel.of(1, payload("x"))), (sessions, Channel.empty(1))):
        put(keep, "1", Channel.of(1, payload("x")))
        put(keep, "2", Channel.empty(1))
        assert put(keep, "3", Channel.earlier(1, required=False), "2") == found
        assert put(keep, "4", Channel.earlier(1, required=False)) == Channel.of(1, payload("x"))


def test_which_value_of_forks_is_found_is_open(sessions: CheckpointRepository, memory: CheckpointRepository) -> None:
    assert DECLARED.forks_are_ambiguous
    for keep, found in ((memory, "x"), (sessions, "y")):
        put(keep, "1", Channel.of(1, payload("x")))
        put(keep, "2", Channel.of(1, payload("y")))
        put(keep, "3", Channel.earlier(1), "1")
        put(keep, "1", Channel.of(1, payload("z")))
        assert put(keep, "4", Channel.earlier(1)).payload == payload(found)


def test_whole_threads_are_pruned(sessions: CheckpointRepository) -> None:
    assert DECLARED.prunes_whole_threads_only
    put(sessions, "1", Channel.of(1, payload("x")))
    with pytest.raises(Unsupported):
        sessions.prune(["t"], keep=1)
    with pytest.raises(Unsupported):
        sessions.prune(["t"], keep=0, namespace="")
    with pytest.raises(Unsupported):
        sessions.delete("t", "1")
    assert len(list(sessions.list("t"))) == 1
    assert sessions.prune(["t"], keep=0) == 1
    assert list(sessions.list("t")) == []


def test_the_machine_notices_a_backend_that_prunes_nevertheless() -> None:
    machine = machine_for(
        lambda: nullcontext(MemoryCheckpoints()), differences=Differences(prunes_whole_threads_only=True)
    )
    with uncounted(), pytest.raises(AssertionError):
        run_state_machine_as_test(machine, settings=settings(derandomize=True, database=None, phases=[Phase.generate]))


def test_a_reader_may_see_a_write_that_does_not_stay(
    sessions: CheckpointRepository, memory: CheckpointRepository
) -> None:
    assert DECLARED.writes_settle_late
    named: Any = sessions.backend
    other = NamedThreads(BedrockSessionCheckpoints(named.backend._client), named.sessions)
    for keep, later, found in ((memory, memory, "x"), (sessions, CheckpointRepository(other), "y")):
        keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
        with clock_ahead(60):  # as if it had been written a while later, and came first
            keep.put_writes("t", "1", [PendingWrite(task_id="a", idx=0, channel="c", payload=payload("x"))])
        assert [write.payload for write in keep.get("t").pending_writes] == [payload("x")]  # type: ignore[union-attr]
        later.put_writes("t", "1", [PendingWrite(task_id="a", idx=0, channel="c", payload=payload("y"))])
        assert [write.payload for write in keep.get("t").pending_writes] == [payload(found)]  # type: ignore[union-attr]
