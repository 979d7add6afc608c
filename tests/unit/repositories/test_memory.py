"""The memory backend's clock, and when it forgets."""

from __future__ import annotations

import math
from typing import Any

import pytest

from statekeep.domain import Channel, Checkpoint, InvalidInput, MissingChannels, Payload, PendingWrite
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.repositories.operation import arun, run

X = Payload(encoding="raw", data=b"x")
Y = Payload(encoding="raw", data=b"y")


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keep(clock: Clock) -> CheckpointRepository:
    return CheckpointRepository(MemoryCheckpoints(ttl=1.5, clock=clock))


@pytest.fixture
def refreshing(clock: Clock) -> CheckpointRepository:
    return CheckpointRepository(MemoryCheckpoints(ttl=1.5, refresh_on_read=True, clock=clock))


def write(idx: int = 0) -> PendingWrite:
    return PendingWrite(task_id="task", idx=idx, channel="c", payload=X)


def ids(keep: CheckpointRepository, thread_id: str | None = None) -> list[str]:
    return [saved.checkpoint_id for saved in keep.list(thread_id)]


def writes_of(keep: CheckpointRepository, checkpoint_id: str) -> int:
    """Looks without a read that could refresh."""
    return sum(len(saved.pending_writes) for saved in keep.list("t", checkpoint_id=checkpoint_id))


@pytest.mark.parametrize("ttl", [0, -1, -0.5, math.nan, math.inf, True, "60", b"1"])
def test_bad_ttl(ttl: Any) -> None:
    with pytest.raises(InvalidInput, match="ttl") as caught:
        MemoryCheckpoints(ttl=ttl)
    assert caught.value.field == "ttl"


def test_without_ttl_nothing_expires(clock: Clock) -> None:
    keep = CheckpointRepository(MemoryCheckpoints(clock=clock))
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    clock.now += 1e9
    assert ids(keep) == ["1"]


def test_ttl_is_in_seconds_with_fractions(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    keep.put_writes("t", "1", [write()])
    clock.now += 1.4
    assert keep.get("t") is not None
    assert writes_of(keep, "1") == 1
    clock.now += 0.2
    assert keep.get("t") is None
    assert keep.get("t", checkpoint_id="1") is None


def test_the_expired_vanish_from_every_answer(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="2", channels={"a": Channel.of(1, X)}))
    keep.put(Checkpoint(thread_id="u", checkpoint_id="1"))
    clock.now += 1
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1", channels={"b": Channel.replayed(1)}, parent_id="2"))
    assert ids(keep, "t") == ["2", "1"]
    clock.now += 1
    assert ids(keep) == ["1"]
    assert [thread.thread_id for thread in keep.list_threads()] == ["t"]
    assert keep.reindex("t") == 1
    assert keep.reindex("u") == 0
    newest = keep.get("t")
    assert newest is not None
    assert newest.checkpoint_id == "1"
    assert keep.ancestors("t", ["a"], checkpoint_id="1")["a"].seed is None
    keep.copy_thread("t", "copy")
    assert ids(keep, "copy") == ["1"]
    clock.now += 2
    assert "threads=2" in repr(keep)  # nobody has looked since
    assert list(keep.list_threads()) == []
    assert "threads=0" in repr(keep)


def test_put_refreshes_its_checkpoint_alone(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    keep.put(Checkpoint(thread_id="t", checkpoint_id="2"))
    keep.put_writes("t", "1", [write()])
    clock.now += 1
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    clock.now += 1
    assert ids(keep) == ["1"]
    assert writes_of(keep, "1") == 0


def test_put_writes_refreshes_the_checkpoint_and_what_is_put(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    keep.put(Checkpoint(thread_id="t", checkpoint_id="2"))
    keep.put_writes("t", "1", [write(0), write(1)])
    clock.now += 1
    keep.put_writes("t", "1", [write(1), write(2)])
    clock.now += 1
    [saved] = keep.list("t")
    assert saved.checkpoint_id == "1"
    assert [pending.idx for pending in saved.pending_writes] == [1, 2]


def test_writes_without_checkpoint_expire(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put_writes("t", "1", [write()])
    clock.now += 2
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    assert writes_of(keep, "1") == 0


def test_writes_that_are_left_over_expire(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    clock.now += 1
    keep.put_writes("t", "2", [write()])
    clock.now += 0.6
    assert ids(keep) == []
    clock.now += 1
    keep.put(Checkpoint(thread_id="t", checkpoint_id="2"))
    assert writes_of(keep, "2") == 0


def test_reading_does_not_refresh_unless_told(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    clock.now += 1
    keep.get("t")
    clock.now += 1
    assert keep.get("t") is None


def test_refresh_on_read(refreshing: CheckpointRepository, clock: Clock) -> None:
    for checkpoint_id in ("1", "2"):
        refreshing.put(Checkpoint(thread_id="t", checkpoint_id=checkpoint_id))
        refreshing.put_writes("t", checkpoint_id, [write()])
    for _ in range(3):
        clock.now += 1
        assert refreshing.get("t") is not None
    assert ids(refreshing) == ["2"]
    assert writes_of(refreshing, "2") == 1


def test_listing_does_not_refresh(refreshing: CheckpointRepository, clock: Clock) -> None:
    refreshing.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    clock.now += 1
    assert ids(refreshing) == ["1"]
    assert refreshing.ancestors("t", ["a"])["a"].seed is None
    clock.now += 1
    assert ids(refreshing) == []


def test_an_unchanged_value_lives_as_long_as_its_last_user(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="0", channels={"a": Channel.of(1, X)}))
    for step in range(1, 6):
        clock.now += 1
        keep.put(Checkpoint(thread_id="t", checkpoint_id=f"{step}", channels={"a": Channel.earlier(1)}))
    assert ids(keep) == ["5", "4"]
    assert [saved.channels for saved in keep.list("t")] == [{"a": Channel.of(1, X)}] * 2


def test_an_expired_value_is_missing(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1", channels={"a": Channel.of(1, X)}))
    clock.now += 2
    with pytest.raises(MissingChannels):
        keep.put(Checkpoint(thread_id="t", checkpoint_id="2", parent_id="1", channels={"a": Channel.earlier(1)}))


def test_a_copy_lives_anew(keep: CheckpointRepository, clock: Clock) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    keep.put_writes("t", "1", [write()])
    clock.now += 1
    keep.copy_thread("t", "u")
    clock.now += 1
    [saved] = keep.list()
    assert (saved.thread_id, len(saved.pending_writes)) == ("u", 1)


def test_a_value_that_nobody_uses_is_forgotten() -> None:
    keep = CheckpointRepository(MemoryCheckpoints())
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1", metadata={"run_id": "r"}, channels={"a": Channel.of(1, X)}))
    keep.put(Checkpoint(thread_id="t", checkpoint_id="2", channels={"a": Channel.of(1, Y)}))
    keep.put(Checkpoint(thread_id="t", checkpoint_id="3", channels={"a": Channel.earlier(1)}))
    keep.delete_runs(["r"])
    keep.put(Checkpoint(thread_id="t", checkpoint_id="4", channels={"a": Channel.earlier(1)}))
    for checkpoint_id in ("3", "4"):
        keep.put(Checkpoint(thread_id="t", checkpoint_id=checkpoint_id))
    # "2" keeps a value of its own, which was never the shared one.
    with pytest.raises(MissingChannels):
        keep.put(Checkpoint(thread_id="t", checkpoint_id="5", channels={"a": Channel.earlier(1)}))
    keep.put(Checkpoint(thread_id="t", checkpoint_id="5", parent_id="2", channels={"a": Channel.earlier(1)}))
    saved = keep.get("t")
    assert saved is not None
    assert saved.channels == {"a": Channel.of(1, Y)}


def test_supply_may_use_the_repository() -> None:
    keep = CheckpointRepository(MemoryCheckpoints())

    def supply(names: Any) -> dict[str, Payload]:
        keep.put(Checkpoint(thread_id="t", checkpoint_id="0", channels={"b": Channel.of(1, Y)}))
        return {"a": X, "b": X, "not asked for": X}

    channels = {"a": Channel.earlier(1), "b": Channel.earlier(1)}
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1", channels=channels), supply=supply)
    saved = keep.get("t")
    assert saved is not None
    # What was stored meanwhile counts: equal versions mean equal values.
    assert saved.channels == {"a": Channel.of(1, X), "b": Channel.of(1, Y)}


def test_bad_metadata_names_its_field() -> None:
    keep = CheckpointRepository(MemoryCheckpoints())
    with pytest.raises(InvalidInput) as caught:
        keep.put(Checkpoint(thread_id="t", metadata={"a": object()}))
    assert (caught.value.field, caught.value.operation) == ("metadata", "put")


@pytest.mark.anyio
async def test_nothing_is_ever_asked_for() -> None:
    backend = MemoryCheckpoints()

    def ask() -> Any:
        return (yield "request")

    with pytest.raises(TypeError, match="request"):
        run(ask(), backend.execute)
    with pytest.raises(TypeError, match="request"):
        await arun(ask(), backend.aexecute)


def test_repr() -> None:
    backend = MemoryCheckpoints(ttl=60)
    CheckpointRepository(backend).put(Checkpoint(thread_id="t"))
    assert repr(backend) == "MemoryCheckpoints(ttl=60.0, refresh_on_read=False, threads=1)"


DAY = 86_400


@pytest.mark.parametrize("ttl", [None, 10 * DAY])
def test_writes_without_a_checkpoint_live_for_a_day_until_it_comes(clock: Clock, ttl: float | None) -> None:
    keep = CheckpointRepository(MemoryCheckpoints(ttl=ttl, clock=clock))
    for thread_id in ("t", "late"):
        keep.put_writes(thread_id, "1", [write()])
    keep.copy_thread("late", "copy")
    clock.now += DAY - 1
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    clock.now += 2
    for thread_id in ("late", "copy"):
        keep.put(Checkpoint(thread_id=thread_id, checkpoint_id="1"))
        assert (saved := keep.get(thread_id))
        assert saved.pending_writes == ()
    clock.now += 9 * DAY
    assert writes_of(keep, "1") == 1
    keep.put_writes("t", "1", [write(1)])
    clock.now += 2 * DAY
    assert (saved := keep.get("t"))
    assert len(saved.pending_writes) == (2 if ttl is None else 1)
