"""LangGraph's own conformance suite, and what it expects of delta channels, on every saver."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import ALL_CAPABILITIES
from langgraph.checkpoint.serde.types import _DeltaSnapshot

from statekeep.langgraph_shim import AsyncBedrockSessionSaver, BedrockSessionSaver

from ..agentcore.emulated import hurry
from .savers import AGENTCORE, BACKENDS, SESSIONS, Backends
from .through_threads import through_threads

pytestmark = pytest.mark.anyio

KINDS = [(backend, face) for backend in (*BACKENDS, *AGENTCORE, *SESSIONS) for face in ("sync", "async")]


@pytest.fixture
def backends(request: pytest.FixtureRequest, prefix: str) -> Backends:
    return Backends(request, prefix)


@pytest.fixture(params=KINDS, ids="-".join)
async def saver(
    request: pytest.FixtureRequest, backends: Backends, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[BaseCheckpointSaver[str], None]:
    backend, face = request.param
    hurry(monkeypatch)
    if face == "sync":
        with backends.sync(backend) as saver:
            yield through_threads(saver)
    else:
        async with backends.asynchronous(backend) as awaited:
            yield awaited


async def test_conformance(saver: BaseCheckpointSaver[str]) -> None:
    @checkpointer_test(name=type(saver).__name__)
    async def registered() -> AsyncGenerator[BaseCheckpointSaver[str], None]:
        yield saver

    report = await validate(registered)
    assert set(report.results) == {capability.value for capability in ALL_CAPABILITIES}
    lacking = {name for name, result in report.results.items() if not result.detected}
    is_of_sessions = isinstance(getattr(saver, "saver", saver), BedrockSessionSaver | AsyncBedrockSessionSaver)
    assert lacking == ({"delete_for_runs", "prune"} if is_of_sessions else set())
    assert [failure for result in report.results.values() for failure in result.failures] == []
    there = [result for result in report.results.values() if result.detected]
    assert all(result.passed and result.tests_passed for result in there)


class Chain:
    """A thread of checkpoints with a value or none in channel ``ch``, each with a write of its step."""

    def __init__(self, saver: BaseCheckpointSaver[str], namespace: str = "") -> None:
        self.saver = saver
        self.config: Any = {"configurable": {"thread_id": "delta", "checkpoint_ns": namespace}}
        self.configs: list[Any] = []

    async def step(self, *writes: tuple[str, Any], parent: Any = None, **values: Any) -> Any:
        made: Checkpoint = {
            "v": 4,
            "id": str(uuid6()),
            "ts": "",
            "channel_values": values,
            "channel_versions": {name: len(self.configs) + 1 for name in values},
            "versions_seen": {},
            "updated_channels": None,
        }
        parent = parent or (self.configs[-1] if self.configs else self.config)
        metadata: Any = {"source": "loop", "step": len(self.configs)}
        config = await self.saver.aput(parent, made, metadata, made["channel_versions"])
        self.configs.append(config)
        for channel, value in writes:
            await self.saver.aput_writes(config, [(channel, value)], f"task-{channel}-{value}")
        return config

    async def steps(self, count: int, *, snapshots: tuple[int, ...] = ()) -> None:
        for step in range(count):
            values = {"ch": _DeltaSnapshot(step)} if step in snapshots else {}
            await self.step(*([] if values else [("ch", step)]), **values)

    async def history(self, config: Any = None, *channels: str) -> dict[str, tuple[list[Any], Any]]:
        """Return the written values, and the seed or ``"none"``, by channel."""
        found = await self.saver.aget_delta_channel_history(
            config=config or self.configs[-1], channels=list(channels) or ["ch"]
        )
        return {
            name: ([write[2] for write in entry["writes"]], entry.get("seed", "none")) for name, entry in found.items()
        }


async def test_history_is_oldest_first(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    await chain.steps(5, snapshots=(0,))
    assert await chain.history() == {"ch": ([1, 2, 3], _DeltaSnapshot(0))}


async def test_history_starts_at_the_nearest_snapshot(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    await chain.steps(6, snapshots=(0, 3))
    assert await chain.history() == {"ch": ([4], _DeltaSnapshot(3))}


async def test_history_leaves_out_the_target_itself(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    await chain.steps(2, snapshots=(0,))
    await chain.step(("ch", "extra"), ch=_DeltaSnapshot("own"))
    assert await chain.history() == {"ch": ([1], _DeltaSnapshot(0))}


async def test_history_of_several_channels(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    for step in range(5):
        await chain.step(("a", step), ("b", step), **({"a": "A"} if step == 1 else {"b": "B"} if step == 3 else {}))
    assert await chain.history(None, "a", "b", "c") == {"a": ([1, 2, 3], "A"), "b": ([3], "B"), "c": ([], "none")}


async def test_history_of_no_channels(saver: BaseCheckpointSaver[str]) -> None:
    assert await saver.aget_delta_channel_history(config={"configurable": {"thread_id": "nobody"}}, channels=[]) == {}


async def test_history_to_the_root(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    await chain.steps(4)
    assert await chain.history() == {"ch": ([0, 1, 2], "none")}


async def test_history_takes_a_plain_value_of_before_a_migration_as_seed(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    await chain.step(("ch", 0))
    await chain.step(ch=[10, 20])
    await chain.step(("ch", 2))
    await chain.step(("ch", 3))
    assert await chain.history() == {"ch": ([2], [10, 20])}


async def test_history_includes_the_writes_of_the_seeds_checkpoint(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    await chain.step(("ch", "before"))
    await chain.step(("ch", "own"), ch=_DeltaSnapshot("seed"))
    await chain.step(("ch", "later"))
    await chain.step()
    assert await chain.history() == {"ch": (["own", "later"], _DeltaSnapshot("seed"))}


async def test_history_of_a_fork_follows_its_parents(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver, "child:1|x")
    await chain.steps(3)
    fork = await chain.step(("ch", "left"), parent=chain.configs[1])
    leaf = await chain.step(parent=fork)
    assert await chain.history(leaf) == {"ch": ([0, 1, "left"], "none")}


async def test_history_without_an_id_is_that_of_the_newest(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    await chain.steps(3)
    assert await chain.history(chain.config) == {"ch": ([0, 1], "none")}
    nobody: Any = {"configurable": {"thread_id": "nobody", "checkpoint_id": "x"}}
    assert await chain.history(nobody) == {"ch": ([], "none")}


async def test_history_in_the_order_of_task_paths(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    config = await chain.step()
    for number, task in enumerate("cabd"):
        await saver.aput_writes(config, [("ch", number), ("other", 0), ("ch", number + 0.5)], task, f"~{number}")
    await chain.step()
    assert await chain.history() == {"ch": ([0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5], "none")}


async def test_a_long_history(saver: BaseCheckpointSaver[str]) -> None:
    chain = Chain(saver)
    await chain.steps(130)
    assert await chain.history() == {"ch": (list(range(129)), "none")}
