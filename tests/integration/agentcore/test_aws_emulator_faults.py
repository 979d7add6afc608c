"""Injected faults, as a real boto3 client sees them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from statekeep.domain import InvalidInput
from statekeep.testing.aws import (
    AwsEmulator,
    Fault,
    conflict,
    cut_after,
    cut_before,
    refuse,
    server_error,
    slow,
    throttle,
)

from .emulated import Memory, later, refused

RETRIES = Config(retries={"mode": "standard", "total_max_attempts": 4}, max_pool_connections=16)


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator(seed=7) as emulator:
        yield emulator


@pytest.fixture
def memory(aws: AwsEmulator) -> Iterator[Memory]:
    yield Memory(aws, aws.agentcore.create_memory())
    aws.faults = []


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        (throttle(), "ThrottledException", 429),
        (conflict(), "RetryableConflictException", 409),
        (server_error(), "ServiceException", 500),
        (refuse("ExpiredTokenException"), "ExpiredTokenException", 403),
        (refuse("ServiceQuotaExceededException", status=402), "ServiceQuotaExceededException", 402),
        (refuse("SlowDown", status=503, message="not now"), "SlowDown", 503),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals_do_nothing(memory: Memory, fault: Fault, code: str, status: int) -> None:
    with memory.aws.failing(fault), refused(code, status):
        memory.create()
    assert memory.events() == []
    assert memory.aws.faults == []


def test_a_conflict_is_only_for_operations_that_know_it(memory: Memory) -> None:
    memory.aws.faults = [conflict(times=1)]
    assert memory.page()["events"] == []
    with refused("RetryableConflictException", 409):
        memory.create()
    memory.create()


def test_a_cut_before_has_no_effect_and_one_after_has(memory: Memory) -> None:
    memory.aws.faults = [cut_before("CreateEvent", times=1), cut_after("CreateEvent", skip=1, times=1)]
    with memory.aws.record() as calls:
        with pytest.raises(ConnectionClosedError):
            memory.create("before")
        assert memory.blobs() == []
        with pytest.raises(ConnectionClosedError):
            memory.create("after")
        assert memory.blobs() == ["after"]
    assert [(call.operation, call.status, call.faults) for call in calls] == [
        ("CreateEvent", None, ("cut before",)),
        ("ListEvents", 200, ()),
        ("CreateEvent", None, ("cut after",)),
        ("ListEvents", 200, ()),
    ]
    assert calls[2].response_bytes == 0


def test_retries_of_botocore_do_not_double_an_event(memory: Memory) -> None:
    patient = Memory(memory.aws, memory.id, RETRIES)
    memory.aws.faults = [cut_after("CreateEvent", times=2)]
    with memory.aws.record() as calls:
        patient.create("x")
    assert calls.operations == {"CreateEvent": 3}
    assert len({call.arguments["payload"][0]["blob"] for call in calls}) == 1
    assert memory.blobs() == ["x"]


def test_botocore_retries_conflicts_errors_and_cuts(memory: Memory) -> None:
    patient = Memory(memory.aws, memory.id, RETRIES)
    for fault in (conflict(times=1), server_error(times=1), cut_before(times=1)):
        memory.aws.faults = [fault]
        patient.create()
    assert len(memory.events()) == 3


def test_slow_replies(memory: Memory) -> None:
    memory.aws.faults = [slow(0.3, "ListEvents", times=2)]
    began = time.monotonic()
    memory.page()
    assert time.monotonic() - began >= 0.3
    hasty = Memory(memory.aws, memory.id, Config(read_timeout=0.1, retries={"total_max_attempts": 1}))
    with pytest.raises(ReadTimeoutError):
        hasty.page()


def test_a_slow_reply_comes_after_the_effect(memory: Memory) -> None:
    hasty = Memory(memory.aws, memory.id, Config(read_timeout=0.2, retries={"total_max_attempts": 1}))
    memory.aws.faults = [slow(1.0, "CreateEvent")]
    with pytest.raises(ReadTimeoutError):
        hasty.create("x")
    with memory.aws.record() as calls:
        assert memory.blobs() == ["x"]
        time.sleep(1)  # the other call ends
    assert calls.operations == {"ListEvents": 1}


def outcomes(memory: Memory, calls: int) -> str:
    letters = []
    for _ in range(calls):
        try:
            memory.create()
            letters.append(".")
        except ClientError:
            letters.append("x")
    return "".join(letters)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (throttle(), "xxxxxxxx"),
        (throttle("CreateEvent", times=2), "xx......"),
        (throttle(skip=3), "...xxxxx"),
        (throttle(every=3), "..x..x.."),
        (throttle(every=2, skip=1, times=2), "..x.x..."),
        (throttle("ListEvents", "DeleteEvent"), "........"),
        (throttle(rate=0.0), "........"),
        (throttle(times=0), "........"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_which_calls_are_hit(memory: Memory, fault: Fault, expected: str) -> None:
    memory.aws.faults = [fault]
    assert outcomes(memory, 8) == expected


def test_rates_are_random_and_repeatable() -> None:
    found = []
    for seed in (1, 1, 2):
        with AwsEmulator(seed=seed, faults=[throttle(rate=0.3)]) as aws:
            found.append(outcomes(Memory(aws), 100))
            assert aws.totals.faults["refused"] == found[-1].count("x")
            assert aws.totals.errors == {"ThrottledException": found[-1].count("x")}
    assert found[0] == found[1] != found[2]
    assert 10 < found[0].count("x") < 50


def test_faults_add_up(memory: Memory) -> None:
    memory.aws.faults = [slow(0.1), throttle(times=1)]
    began = time.monotonic()
    assert outcomes(memory, 2) == "x."
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"rate": 1.5}, "rate"),
        ({"rate": -0.1}, "rate"),
        ({"every": 0}, "every"),
        ({"skip": -1}, "skip"),
        ({"times": -1}, "times"),
    ],
)
def test_wrong_numbers(wrong: dict[str, Any], field: str) -> None:
    for make in (throttle, conflict, server_error, cut_before, cut_after):
        with pytest.raises(InvalidInput) as caught:
            make(**wrong)
        assert caught.value.field == field
    with pytest.raises(InvalidInput, match="seconds"):
        slow(-1)


def test_rounds_count_how_long_the_chain_of_calls_is(memory: Memory) -> None:
    several = Memory(memory.aws, memory.id, RETRIES)
    memory.aws.faults = [slow(0.2)]
    with ThreadPoolExecutor(8) as pool, memory.aws.record() as calls:
        for _ in range(2):
            list(pool.map(lambda n: several.create(n, at=later(n)), range(8)))
    assert len(calls) == 16
    assert calls.rounds == 2
