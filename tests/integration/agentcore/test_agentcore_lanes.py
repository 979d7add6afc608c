"""Lanes over the emulated AgentCore Memory: appending, reading, clearing, in the face of small pages and faults."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from botocore.config import Config

from statekeep.domain import CorruptRecord, InvalidInput, Unavailable
from statekeep.repositories.agentcore.ids import Lane
from statekeep.repositories.agentcore.lanes import Lanes
from statekeep.repositories.aws import AwsClient, open_client
from statekeep.repositories.operation import arun, run
from statekeep.repositories.records.framing import Record
from statekeep.testing.aws import (
    AgentCoreRules,
    AwsEmulator,
    cut_after,
    cut_before,
    refuse,
    server_error,
    slow,
    throttle,
)

from .emulated import START, Memory, hurry

pytestmark = pytest.mark.anyio

ONCE = Config(retries={"total_max_attempts": 1})


@pytest.fixture(
    scope="module",
    params=[AgentCoreRules(), AgentCoreRules(page_size=1, trailing_token=True, filter_lag=60, token_life=1e9)],
    ids=["plain", "small pages"],
)
def aws(request: pytest.FixtureRequest) -> Iterator[AwsEmulator]:
    with AwsEmulator(agentcore=request.param) as emulator:
        yield emulator


@pytest.fixture(autouse=True)
def healthy(aws: AwsEmulator) -> Iterator[None]:
    yield
    aws.faults = []


@pytest.fixture(scope="module")
def client(aws: AwsEmulator) -> Iterator[AwsClient]:
    made = open_client("bedrock-agentcore", session=aws.session())
    yield made
    made.close()


@pytest.fixture
def lanes(aws: AwsEmulator) -> Lanes:
    return Lanes(aws.agentcore.create_memory(), piece=1000)


A, B = Lane("ada", "a"), Lane("ada:x", "b")


def note(number: int, size: int = 0) -> Record:
    return Record({"n": number}, [os.urandom(size)] if size else [])


def append(client: AwsClient, lanes: Lanes, lane: Lane, *records: Record) -> None:
    """One millisecond after the other, by their numbers."""
    moments = [(lane, record, START + timedelta(milliseconds=record.head["n"])) for record in records]
    run(lanes.append(moments), client.execute)


async def test_the_newest_record_is_first(client: AwsClient, lanes: Lanes) -> None:
    made = [note(n, 2000 * (n % 2)) for n in range(6)]
    append(client, lanes, A, *made[3:], *made[:3])
    assert run(lanes.read(A), client.execute) == made[::-1]
    assert await arun(lanes.read(A), client.aexecute) == made[::-1]
    assert run(lanes.read(B), client.execute) == []


def test_the_newest_events_only(aws: AwsEmulator, client: AwsClient, lanes: Lanes) -> None:
    append(client, lanes, A, *map(note, range(150)))
    with aws.record() as calls:
        found = run(lanes.read(A, newest=5), client.execute)
    assert [record.head["n"] for record in found] == [149, 148, 147, 146, 145]
    assert len(calls) == (1 if aws.agentcore.rules.page_size is None else 5)
    assert len(run(lanes.read(A, newest=120), client.execute)) == 120
    assert len(run(lanes.read(A), client.execute)) == 150


def test_lanes_are_read_side_by_side(aws: AwsEmulator, client: AwsClient, lanes: Lanes) -> None:
    several = [Lane("ada", f"s{n}") for n in range(8)]
    for number, lane in enumerate(several):
        append(client, lanes, lane, note(number))
    empty = Lane("ada", "empty")
    aws.faults = [slow(1.0)]
    with aws.record() as calls:
        found = run(lanes.read_all([*several, empty]), client.execute)
    assert found == [[note(n)] for n in range(8)] + [[]]
    if aws.agentcore.rules.page_size is None:
        assert (len(calls), calls.rounds) == (9, 1)


def test_many_lanes(client: AwsClient, lanes: Lanes) -> None:
    several = [Lane("ada", f"s{n}") for n in range(80)]
    run(lanes.append([(lane, note(n), START) for n, lane in enumerate(several)]), client.execute)
    found = run(lanes.read_all(several), client.execute)
    assert [record.head["n"] for [record] in found] == list(range(80))
    assert set(run(lanes.sessions("ada"), client.execute)) == set(several)
    assert run(lanes.clear(several), client.execute) == 80
    assert run(lanes.sessions("ada"), client.execute) == []


def test_cleared_lanes_take_the_same_again(client: AwsClient, lanes: Lanes) -> None:
    for _ in range(2):
        append(client, lanes, A, note(1))
        assert run(lanes.read(A), client.execute) == [note(1)]
        assert run(lanes.clear([A, B]), client.execute) == 1
        assert run(lanes.read(A), client.execute) == []


def test_what_is_appended_twice_is_read_once(client: AwsClient, lanes: Lanes) -> None:
    record = note(1, 3000)
    append(client, lanes, A, record, record)
    assert run(lanes.read(A), client.execute) == [record]


def test_a_record_cut_off_at_any_call_is_not_seen(aws: AwsEmulator, lanes: Lanes) -> None:
    impatient = open_client("bedrock-agentcore", session=aws.session(), config=ONCE)
    record = note(2, 3000)
    append(impatient, lanes, A, note(1))
    count = len(lanes.appends(A, record, START))
    assert count == 5
    for skip in range(count):
        aws.faults = [cut_before("CreateEvent", skip=skip)]
        with pytest.raises(Unavailable):
            append(impatient, lanes, A, record)
        assert run(lanes.read(A), impatient.execute) == [note(1)]
        run(lanes.clear([A]), impatient.execute)
        aws.faults = []
        append(impatient, lanes, A, note(1))
    append(impatient, lanes, A, record)
    assert run(lanes.read(A), impatient.execute) == [record, note(1)]
    impatient.close()


def test_faults_are_retried_and_double_nothing(
    aws: AwsEmulator, client: AwsClient, lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    aws.faults = [throttle(rate=0.1), server_error(rate=0.1), cut_before(rate=0.05), cut_after(rate=0.1)]
    made = [note(n, 500) for n in range(20)]
    append(client, lanes, A, *made)
    assert run(lanes.read(A), client.execute) == made[::-1]
    memory = Memory(aws, lanes.memory_id)
    aws.faults = []
    assert len(memory.events("a", "ada")) == 20
    aws.faults = [cut_after("DeleteEvent", rate=0.3)]
    assert run(lanes.clear([A]), client.execute) == 20
    assert memory.events("a", "ada") == []


def test_an_event_that_is_gone_is_no_memory_that_is_gone(aws: AwsEmulator, client: AwsClient, lanes: Lanes) -> None:
    append(client, lanes, A, note(1))
    text = f"There is no such event in the memory {lanes.memory_id}"
    aws.faults = [refuse("ResourceNotFoundException", "DeleteEvent", message=text, status=404)]
    assert run(lanes.clear([A]), client.execute) == 1
    missing = Lanes("nobody-0123456789")
    with pytest.raises(InvalidInput, match="no such memory"):
        run(missing.clear([A]), client.execute)


def test_events_of_others_are_noticed(aws: AwsEmulator, client: AwsClient, lanes: Lanes) -> None:
    payloads: list[Any] = [
        [{"blob": "hello"}],
        [{"blob": {"a": 1}}],
        [{"conversational": {"content": {"text": "hi"}, "role": "USER"}}],
    ]
    for number, payload in enumerate(payloads):
        Memory(aws, lanes.memory_id).create(payload=payload, session=f"x{number}")
        with pytest.raises(CorruptRecord) as caught:
            run(lanes.read(Lane("a", f"x{number}")), client.execute)
        assert caught.value.key == f"a x{number}"


def test_nothing_is_extracted(client: AwsClient, aws: AwsEmulator) -> None:
    lanes = Lanes(aws.agentcore.create_memory(strategies={"facts": "/facts"}))
    with aws.record() as calls:
        append(client, lanes, A, note(1))
    assert calls[0].arguments["extractionMode"] == "SKIP"
