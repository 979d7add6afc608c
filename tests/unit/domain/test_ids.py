"""Ids of checkpoints and stamps of writes strictly grow, whatever the clock, threads and forks do."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

import statekeep
from statekeep.domain import ids
from statekeep.domain.ids import new_checkpoint_id, new_stamp, time_of

MAKERS = (new_checkpoint_id, new_stamp)
YEAR_2100 = 4_102_444_800 * 10**9

clocks = st.lists(st.integers(0, YEAR_2100) | st.integers(0, 3_000_000), min_size=1, max_size=30)
"""Nanoseconds since 1970 that a clock shows one after the other; many are in the same milliseconds."""


def millis_of(checkpoint_id: str) -> int:
    return uuid.UUID(checkpoint_id).int >> 80


@contextmanager
def clock_shows(readings: Iterable[int]) -> Iterator[None]:
    """Let a process begin to make ids and stamps, with a clock that shows this."""
    with (
        patch.object(ids, "_uuid_stamps", ids._Stamps(4096)),
        patch.object(ids, "_write_stamps", ids._Stamps(1_000_000)),
        patch.object(time, "time_ns", side_effect=readings),
    ):
        yield


def test_the_id_is_exported_where_it_always_was() -> None:
    assert statekeep.new_checkpoint_id is new_checkpoint_id
    assert statekeep.domain.new_checkpoint_id is new_checkpoint_id
    assert statekeep.Checkpoint.model_fields["checkpoint_id"].default_factory is new_checkpoint_id


def test_new_ids_are_uuids_of_version_7_and_hold_the_time() -> None:
    for _ in range(100):
        before = time.time_ns() // 1_000_000
        made = new_checkpoint_id()
        parsed = uuid.UUID(made)
        assert str(parsed) == made
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert before <= millis_of(made) <= time.time_ns() // 1_000_000 + 60_000


@pytest.mark.parametrize("make", MAKERS)
def test_they_grow(make: Callable[[], Any]) -> None:
    made = [make() for _ in range(5000)]
    assert sorted(set(made)) == made


@pytest.mark.parametrize("make", MAKERS)
def test_those_of_threads_are_different_and_grow_in_each(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make()
    start = threading.Barrier(8)
    # The clock stands still, and threads take turns as often as they can: nothing but the lock keeps them apart.
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    interval = sys.getswitchinterval()

    def some(_: int) -> list[Any]:
        start.wait(60)
        return [make() for _ in range(2000)]

    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(some, range(8)))
    finally:
        sys.setswitchinterval(interval)
    last = make()
    assert len({one for own in made for one in own}) == 16_000
    assert all(sorted(own) == own for own in made)
    assert all(first < one < last for own in made for one in own)


@pytest.mark.parametrize("make", MAKERS)
@given(readings=clocks)
def test_they_grow_whatever_the_clock_says(make: Callable[[], Any], readings: list[int]) -> None:
    with clock_shows(readings):
        made = [make() for _ in readings]
    assert sorted(set(made)) == made


@given(readings=clocks)
def test_they_sort_by_time(readings: list[int]) -> None:
    readings = sorted(readings)
    with clock_shows(reading for reading in readings for _ in MAKERS):
        made = [(new_checkpoint_id(), new_stamp()) for _ in readings]
    for reading, (checkpoint_id, stamp) in zip(readings, made, strict=True):
        # Of some in one tick of the clock the later ones are ahead of it, by a tick each.
        assert 0 <= millis_of(checkpoint_id) - reading // 1_000_000 <= 1
        assert 0 <= stamp - reading <= len(readings)
        assert time_of(stamp) == datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=stamp // 1000)
    assert [millis_of(one) for one, _ in made] == sorted(millis_of(one) for one, _ in made)


def in_child(work: Callable[[], str]) -> str:
    """Return what ``work`` returns in a forked process; empty if that does not end."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # pragma: no cover
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        os.write(writer, work().encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_an_id_of_a_forked_process_is_another_one() -> None:
    new_checkpoint_id()
    theirs = in_child(new_checkpoint_id)
    assert uuid.UUID(theirs).version == 7
    assert theirs != new_checkpoint_id()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("make", MAKERS)
def test_a_fork_while_another_thread_makes_one(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go_on = threading.Event(), threading.Event()
    read_clock = time.time_ns

    def slow_clock() -> int:
        if threading.current_thread() is other:
            inside.set()
            go_on.wait(60)
        return read_clock()

    other = threading.Thread(target=make)
    monkeypatch.setattr(time, "time_ns", slow_clock)
    other.start()
    try:
        assert inside.wait(60)
        assert in_child(lambda: str(make()))
    finally:
        go_on.set()
        other.join()


UUID6 = "1f1eb8ed-76ba-6426-bfff-ed24573acc93"
UUID7 = "019a5f00-0000-7000-8000-000000000000"
FUTURE = ("ffff0000-0000-7fff-bfff-ffffffffffff", "ff1eb8ed-76ba-6fff-bfff-ed24573acc93")


@given(clocks, st.sampled_from([UUID6, UUID7, *FUTURE, "1", "step 1", "zz", f"step-{UUID7}", "\ud800", UUID7.upper()]))
def test_an_id_after_another_is_greater_whatever_the_clock_shows(readings: list[int], first: str) -> None:
    with clock_shows([reading for reading in readings for _ in range(3)]):
        made = [first]
        for _ in readings:
            made.append(new_checkpoint_id(after=made[-1]))
        assert sorted(set(made)) == made
        assert len(made[-1]) <= len(first) + 37


@pytest.mark.parametrize("after", [UUID6, UUID7, *FUTURE])
def test_an_id_after_a_uuid_of_a_later_time_is_one_of_its_version(after: str) -> None:
    with clock_shows([0] * 3):
        made = uuid.UUID(new_checkpoint_id(after=after))
    assert made.version == uuid.UUID(after).version
    assert made.variant == uuid.RFC_4122
    assert (made.int >> 64) - (uuid.UUID(after).int >> 64) in (1, 1 + 0xF000)  # the version is in between


def test_an_id_after_one_of_the_past_holds_the_time() -> None:
    before = time.time_ns() // 1_000_000
    assert before <= millis_of(new_checkpoint_id(after="00000000-0000-7000-8000-000000000000"))
    assert before <= millis_of(new_checkpoint_id(after="0"))


@pytest.mark.parametrize("after", ["z" * 8192, "z" * 8160, "\u00e9" * 4096, 1, b"1"])
def test_what_no_id_can_follow_is_refused(after: Any) -> None:
    with pytest.raises(statekeep.InvalidInput) as caught:
        new_checkpoint_id(after=after)
    assert caught.value.field == "after"


@pytest.mark.parametrize("parent_id", [UUID6, FUTURE[0], "z"])
def test_a_checkpoint_is_behind_its_parent(parent_id: str) -> None:
    made = statekeep.Checkpoint(thread_id="t", parent_id=parent_id)
    assert made.checkpoint_id > parent_id
    assert statekeep.Checkpoint(thread_id="t", parent_id=parent_id, checkpoint_id="0").checkpoint_id == "0"
    assert uuid.UUID(statekeep.Checkpoint(thread_id="t", parent_id="z" * 8192).checkpoint_id).version == 7
    for wrong in (1, "", "z" * 8193):
        with pytest.raises(statekeep.InvalidInput) as caught:
            statekeep.Checkpoint(thread_id="t", parent_id=wrong)
        assert caught.value.field == "parent_id"
