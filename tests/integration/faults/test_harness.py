"""The writers notice what must not be, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from statekeep.domain import PutItem, Unavailable
from statekeep.repositories.cache import AsyncCacheRepository
from statekeep.repositories.checkpoints import AsyncCheckpointRepository
from statekeep.repositories.items import AsyncItemRepository
from statekeep.repositories.memory import MemoryCacheEntries, MemoryCheckpoints, MemoryItems

from .model import Effect, Model
from .tally import Tally, summary
from .work import PARTS, Keeps, Writer

Method = Callable[..., Any]


def in_memory() -> Keeps:
    return Keeps(
        AsyncCheckpointRepository(MemoryCheckpoints()),
        AsyncItemRepository(MemoryItems(unit=1)),
        AsyncCacheRepository(MemoryCacheEntries()),
    )


def played(keeps: Keeps, seed: str = "1", steps: int = 300) -> Tally:
    tally = Tally(seed)
    writer = Writer("writer", seed, PARTS, Model(), tally)

    async def play() -> None:
        for _ in range(steps):
            await writer.step(keeps)
        await writer.verify(keeps)

    asyncio.run(play())
    return tally


def spoil(repository: Any, name: str, wrong: Callable[[Method, int], Method]) -> None:
    """Let ``wrong`` answer every seventh call of a method; it gets the method, and how many calls there were."""
    method = getattr(repository, name)
    calls = 0

    async def call(*args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        return await (method if calls % 7 else wrong(method, calls))(*args, **options)

    setattr(repository, name, call)


async def _nothing(*args: Any, **options: Any) -> None:
    """Acknowledge, and do nothing."""


def _forgets(method: Method, calls: int) -> Method:
    return _nothing


def _halves(method: Method, calls: int) -> Method:
    async def half(thread_id: str, checkpoint_id: str, writes: Any, **options: Any) -> None:
        await method(thread_id, checkpoint_id, writes[: len(writes) // 2], **options)

    return half


def _does_the_first(method: Method, calls: int) -> Method:
    async def batch(operations: Any) -> Any:
        if not any(isinstance(operation, PutItem) for operation in operations):
            return await method(operations)
        await method(operations[:1])
        return None

    return batch


def _empties(method: Method, calls: int) -> Method:
    async def prune(thread_ids: Any) -> None:
        await method(thread_ids, keep=0)

    return prune


def _repeats(method: Method, calls: int) -> Method:
    async def twice(*args: Any, **options: Any) -> Any:
        await method(*args, **options)
        return await method(*args, **options)

    return twice


def _fails(method: Method, calls: int) -> Method:
    """Half of the time it is done all the same."""

    async def fail(*args: Any, **options: Any) -> Any:
        if calls % 2:
            await method(*args, **options)
        raise Unavailable("no answer")

    return fail


@pytest.mark.parametrize("seed", range(5))
def test_what_is_right_is_no_violation(seed: int) -> None:
    tally = played(in_memory(), str(seed))
    assert tally.violations == []
    assert tally.operations["acknowledged"] == 300
    assert tally.operations["checked"] > 100


METHODS = {
    "checkpoints": ["put", "put_writes", "delete_thread", "prune"],
    "items": ["put", "delete", "append", "pop"],
    "cache": ["set", "delete"],
}


def test_what_was_not_acknowledged_may_be_or_not() -> None:
    keeps = in_memory()
    for repository, methods in METHODS.items():
        for name in (*methods, *(["batch"] if repository == "items" else [])):
            spoil(getattr(keeps, repository), name, _fails)
    tally = played(keeps)
    assert tally.violations == []
    assert tally.operations["unacknowledged"] > 10


@pytest.mark.parametrize(
    ("repository", "name", "wrong"),
    [
        *((repository, name, _forgets) for repository, methods in METHODS.items() for name in methods),
        ("checkpoints", "put_writes", _halves),
        ("checkpoints", "prune", _empties),
        ("items", "batch", _does_the_first),
        ("items", "append", _repeats),
        ("items", "pop", _repeats),
    ],
)
def test_what_is_wrong_is_a_violation(repository: str, name: str, wrong: Any) -> None:
    keeps = in_memory()
    spoil(getattr(keeps, repository), name, wrong)
    tally = played(keeps, steps=1500)
    assert tally.violations
    with pytest.raises(AssertionError, match="FAULT_SEED=1"):
        tally.check()


def test_a_fault_that_was_never_injected_is_a_failure() -> None:
    tally = Tally("1", wanted={"kill", "cut"})
    tally.operations["acknowledged"] = 1
    tally.faults["cut"] = 1
    with pytest.raises(AssertionError, match="never injected: kill"):
        tally.check()
    tally.faults["kill"] = 1
    tally.check()
    tally.operations.clear()
    with pytest.raises(AssertionError, match="nothing was ever acknowledged"):
        tally.check()


def test_a_model_that_may_lose() -> None:
    model = Model(is_lossy=True)
    model.acknowledged([Effect.to("cell", 1)])
    model.acknowledged([Effect.to("cell", 2)])
    assert model.states("cell") == {None, 1, 2}
    assert model.seen("cell", 1) is None
    assert (model.seen("cell", 3) or "").startswith("cell is 3, not ")


def test_the_summary_adds_up() -> None:
    class Report:
        def __init__(self, when: str, properties: list[Any]) -> None:
            self.when = when
            self.user_properties = properties

    one, other = Tally("1"), Tally("2")
    one.faults["cut"] = other.faults["cut"] = 2
    other.violations = ["x"]
    reports = [Report("teardown", [("faults", tally.as_property())]) for tally in (one, other)]
    assert summary([*reports, Report("call", reports[0].user_properties), object()]) == [
        "seeds: 1, 2 (set FAULT_SEED to repeat one)",
        "injected: cut 4",
        "operations: ",
        "violations: 1",
    ]
    assert summary([Report("teardown", [])]) == []
