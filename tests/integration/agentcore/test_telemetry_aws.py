"""What observers are told of AWS: the emulator's own counts are the measure."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

import statekeep
from statekeep import Channel, Checkpoint, Payload, PendingWrite, Throttled
from statekeep.langgraph_shim import AgentCoreMemorySaver
from statekeep.repositories.process import notices
from statekeep.telemetry import Observation, Service, observe
from statekeep.testing.aws import AwsEmulator, slow, throttle

from .emulated import ONE_ATTEMPT, Memory


@pytest.fixture
def seen() -> Iterator[list[Observation]]:
    found: list[Observation] = []
    with observe(found.append):
        yield found


@pytest.fixture
def keep(aws: AwsEmulator, memory: Memory) -> Iterator[statekeep.Connection]:
    with statekeep.connect(f"agentcore://{memory.id}?actor_id=ada", session=aws.session()) as keep:
        yield keep


def checkpoint(number: int = 0, thread_id: str = "chat-1") -> Checkpoint:
    value = Payload(encoding="raw", data=b"x" * 20_000)
    return Checkpoint(thread_id=thread_id, checkpoint_id=f"{number:03}", channels={"a": Channel.of(number, value)})


def write(number: int) -> PendingWrite:
    return PendingWrite(task_id=f"task-{number}", idx=0, channel="a", payload=Payload(encoding="raw", data=b"w" * 100))


@pytest.mark.parametrize("awaits", [False, True])
def test_calls_and_bytes(
    seen: list[Observation], aws: AwsEmulator, memory: Memory, keep: statekeep.Connection, awaits: bool
) -> None:
    """Calls side by side, in threads, count for their operation."""

    async def put_and_get() -> None:
        await keep.asyncio.checkpoints.put(checkpoint())
        await keep.asyncio.checkpoints.get("chat-1")
        await keep.asyncio.items.put(("n",), "k", {"a": 1})

    counted = []
    with aws.record() as calls:
        if awaits:
            asyncio.run(put_and_get())
        else:
            keep.checkpoints.put(checkpoint())
            keep.checkpoints.get("chat-1")
            keep.items.put(("n",), "k", {"a": 1})
        counted = list(calls)
    assert [one.name for one in seen] == ["checkpoints.put", "checkpoints.get", "items.put"]
    assert sum(one.round_trips for one in seen) == len(counted)
    assert sum(one.bytes_sent for one in seen) == calls.request_bytes
    assert sum(one.bytes_received for one in seen) == calls.response_bytes
    assert all(one.round_trips > 0 and one.retries == 0 for one in seen)
    url = urlsplit(aws.endpoint_url)
    assert {one.service for one in seen} == {Service("agentcore", url.hostname, url.port, memory.id)}


def test_a_client_of_yours(seen: list[Observation], aws: AwsEmulator, memory: Memory) -> None:
    """It is counted, too, and each time but once."""
    client = aws.client("bedrock-agentcore")
    url = f"agentcore://{memory.id}?actor_id=ada"
    with (
        statekeep.connect(url, client=client) as keep,
        statekeep.connect(url, client=client),
        aws.record() as calls,
        aws.failing(throttle(times=2)),
    ):
        client.list_actors(memoryId=memory.id)  # nobody's operation
        keep.ping()
    assert [one.round_trips for one in seen] == [len(calls) - 3]
    client.close()


@pytest.mark.parametrize("awaits", [False, True])
def test_retries(
    seen: list[Observation],
    aws: AwsEmulator,
    keep: statekeep.Connection,
    awaits: bool,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG, "statekeep")
    monkeypatch.setattr(notices, "_warned", {})
    with aws.failing(throttle(times=2)), aws.record() as calls:
        if awaits:
            asyncio.run(keep.asyncio.items.put(("n",), "k", {"a": "the-secret"}))
        else:
            keep.items.put(("n",), "k", {"a": "the-secret"})
    [one] = seen
    assert (one.round_trips, one.retries, one.error) == (len(calls), 2, None)
    assert one.bytes_sent == calls.request_bytes
    logged = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "statekeep.aws"]
    failed = [(level, text) for level, text in logged if "ThrottledException" in text or "Throttl" in text]
    assert [level for level, _ in failed] == ["WARNING", "INFO"]
    assert "the-secret" not in caplog.text


def test_calls_that_fail_at_last(seen: list[Observation], aws: AwsEmulator, memory: Memory) -> None:
    client = aws.client("bedrock-agentcore", config=ONE_ATTEMPT)
    with (
        statekeep.connect(f"agentcore://{memory.id}?actor_id=ada", client=client) as keep,
        aws.failing(throttle()),
        pytest.raises(Throttled),
    ):
        keep.checkpoints.get("chat-1")
    [one] = seen
    assert (one.error_type, one.retries) == ("Throttled", 0)
    assert one.round_trips > 0
    client.close()


def test_a_service_that_is_away(seen: list[Observation], memory: Memory) -> None:
    from botocore.config import Config

    config = Config(retries={"total_max_attempts": 2, "mode": "standard"}, connect_timeout=1, proxies={})
    url = f"agentcore://{memory.id}?actor_id=ada&region=us-east-1&endpoint_url=http://127.0.0.1:9"
    keys: Any = {"aws_access_key_id": "AKIA", "aws_secret_access_key": "s3cret"}
    with statekeep.connect(url, config=config, **keys) as keep, pytest.raises(statekeep.Unavailable):
        keep.ping()
    [one] = seen
    assert (one.name, one.round_trips, one.retries, one.bytes_received) == ("ping", 2, 1, 0)
    assert (one.service.address, one.service.port, one.error_type) == ("127.0.0.1", 9, "Unavailable")


@pytest.mark.parametrize("awaits", [False, True])
def test_many_side_by_side(seen: list[Observation], aws: AwsEmulator, keep: statekeep.Connection, awaits: bool) -> None:
    """Calls that went out as one count for one operation, so that the sums are those of the service."""
    keep.checkpoints.put(checkpoint())
    seen.clear()
    numbers = range(12)

    async def put_all() -> None:
        writes = keep.asyncio.checkpoints
        await asyncio.gather(*(writes.put_writes("chat-1", "000", [write(number)]) for number in numbers))

    with aws.failing(slow(0.02)), aws.record() as calls:
        if awaits:
            asyncio.run(put_all())
        else:
            with ThreadPoolExecutor(6) as pool:
                list(pool.map(lambda number: keep.checkpoints.put_writes("chat-1", "000", [write(number)]), numbers))
        counted = len(calls)
    assert len(seen) == len(numbers)
    assert 0 < counted < len(numbers) * 2
    assert sum(one.round_trips for one in seen) == counted
    assert sum(one.bytes_sent for one in seen) == calls.request_bytes
    assert sum(one.bytes_received for one in seen) == calls.response_bytes
    assert min(one.round_trips for one in seen) == 0


def test_savers_of_actors(seen: list[Observation], aws: AwsEmulator, memory: Memory) -> None:
    from langgraph.checkpoint.base import empty_checkpoint

    with AgentCoreMemorySaver(memory.id, client=aws.client("bedrock-agentcore")) as saver:
        config: Any = {"configurable": {"thread_id": "t", "actor_id": "bob", "checkpoint_ns": ""}}
        with aws.record() as calls:
            saver.put(config, empty_checkpoint(), {}, {})
            saver.delete_thread("t", "bob")
            list(saver.list(None))
    assert [one.name for one in seen][:3] == [
        "checkpoints.put",
        "checkpoints.delete_thread",
        "checkpoints.list_threads",
    ]
    assert sum(one.round_trips for one in seen) == len(calls)
    assert seen[0].place["thread_id"] == "t"


def test_bedrock_sessions(seen: list[Observation], aws: AwsEmulator) -> None:
    with statekeep.connect("bedrock-sessions://", session=aws.session()) as keep, aws.record() as calls:
        backend: Any = keep.checkpoints.backend
        thread = backend.create_thread()
        keep.checkpoints.put(checkpoint(thread_id=thread))
        assert asyncio.run(backend.asteps_left(thread)) == 999
    assert [one.name for one in seen] == ["checkpoints.create_thread", "checkpoints.put", "checkpoints.steps_left"]
    assert {one.service.kind for one in seen} == {"bedrock-sessions"}
    assert sum(one.round_trips for one in seen) == len(calls)
    assert sum(one.bytes_sent for one in seen) == calls.request_bytes
