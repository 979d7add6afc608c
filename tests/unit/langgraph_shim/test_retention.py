"""Savers keep a number of checkpoints while they put."""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import pickle
from typing import Any, cast

import pytest
from langgraph.checkpoint.base import Checkpoint
from langgraph.checkpoint.base.id import uuid6

from statekeep import PrunePolicy, domain
from statekeep.domain import InvalidInput, Unavailable, Unsupported
from statekeep.langgraph_shim import AsyncRepositorySaver, RepositorySaver
from statekeep.langgraph_shim.checkpoint.retention import Retention
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.memory.checkpoints import MemoryCheckpoints


class Watched(MemoryCheckpoints):
    """Notes the prunes; one of them may fail."""

    def __init__(self) -> None:
        super().__init__()
        self.prunes: list[tuple[Any, PrunePolicy]] = []
        self.error: Exception | None = None

    def prune(self, thread_ids: Any, policy: PrunePolicy, namespace: str | None = None) -> Any:
        self.prunes.append((thread_ids, policy))
        if self.error is not None:
            raise self.error
        return super().prune(thread_ids, policy, namespace)


def at(thread_id: str = "t", namespace: str = "", checkpoint_id: str | None = None) -> Any:
    found = {"thread_id": thread_id, "checkpoint_ns": namespace}
    return {"configurable": found | ({"checkpoint_id": checkpoint_id} if checkpoint_id else {})}


def made(**more: Any) -> Checkpoint:
    found = {
        "v": 4,
        "id": str(uuid6()),
        "ts": dt.datetime.now(dt.UTC).isoformat(),
        "channel_values": {},
        "channel_versions": {},
        "versions_seen": {},
        **more,
    }
    return cast(Checkpoint, found)


@pytest.fixture
def backend() -> Watched:
    return Watched()


def ids(saver: RepositorySaver, config: Any) -> list[str]:
    return [found.checkpoint["id"] for found in saver.list(config)]


@pytest.mark.parametrize(("most", "puts"), [(1, 10), (3, 10), (25, 25)])
def test_the_last_stay_and_each_put_costs_the_same(backend: Watched, most: int, puts: int) -> None:
    saver = RepositorySaver(CheckpointRepository(backend), max_checkpoints=most)
    config, every, sizes = at(), list[str](), list[int]()
    for step in range(10 * puts):
        config = saver.put(config, made(), {"source": "loop", "step": step}, {})
        every.insert(0, config["configurable"]["checkpoint_id"])
        left = ids(saver, at())
        assert left == every[: len(left)]
        sizes.append(len(left))
    assert max(sizes) < most + puts
    assert min(sizes[puts:]) == most
    assert len(backend.prunes) == 10
    assert {tuple(threads) for threads, _ in backend.prunes} == {("t",)}
    assert {policy for _, policy in backend.prunes} == {PrunePolicy(keep=most)}


def test_threads_are_counted_apart_and_their_namespaces_together(backend: Watched) -> None:
    saver = RepositorySaver(CheckpointRepository(backend), max_checkpoints=2)
    for step in range(20):
        saver.put(at("one"), made(), {"step": step}, {})
        saver.put(at("one", "nested"), made(), {"step": step}, {})
        saver.put(at("other"), made(), {"step": step}, {})
    prunes = [thread for [thread], _ in backend.prunes]
    assert (prunes.count("one"), prunes.count("other")) == (4, 2)
    assert len(ids(saver, at("one", "nested"))) < 12


def test_processes_that_put_little_prune_now_and_then(backend: Watched) -> None:
    keep = CheckpointRepository(backend)
    for number in range(1000):
        RepositorySaver(keep, max_checkpoints=5).put(at(), made(id=f"{number:05}"), {"step": 0}, {})
    assert 50 < len(backend.prunes) < 150  # a tenth, as the ids have it


@pytest.mark.parametrize("is_async", [False, True])
def test_what_a_kept_checkpoint_needs_stays(backend: Watched, is_async: bool) -> None:
    keep: Any = AsyncCheckpointRepository(backend) if is_async else CheckpointRepository(backend)
    saver: Any = (AsyncRepositorySaver if is_async else RepositorySaver)(keep, max_checkpoints=1)

    async def put(config: Any, *arguments: Any) -> Any:
        return await saver.aput(config, *arguments) if is_async else saver.put(config, *arguments)

    async def go() -> None:
        config = await put(at(), made(channel_values={"a": 1}, channel_versions={"a": "1"}), {"step": 0}, {"a": "1"})
        for step in range(1, 40):
            metadata = {"step": step, "counters_since_delta_snapshot": {"a": (step, step)}}
            config = await put(config, made(channel_versions={"a": f"{step}x"}), metadata, {"a": f"{step}x"})

    asyncio.run(go())
    assert len(backend.prunes) >= 3
    assert len(ids(RepositorySaver(CheckpointRepository(backend)), at())) == 40


def test_a_failure_is_logged_and_the_put_is_done(backend: Watched, caplog: pytest.LogCaptureFixture) -> None:
    saver = RepositorySaver(CheckpointRepository(backend), max_checkpoints=2)
    backend.error = Unavailable("the server is away")
    for step in range(20):
        saver.put(at(), made(), {"step": step}, {})
    assert len(ids(saver, at())) == 20
    messages = [record.getMessage() for record in caplog.records if record.name == "statekeep"]
    assert len(messages) == 2
    assert all("'t'" in message and "the server is away" in message for message in messages)
    backend.error = Unsupported("nothing is deleted here")
    with pytest.raises(Unsupported):
        for step in range(10):
            saver.put(at(), made(), {"step": step}, {})


@pytest.mark.parametrize("bad", [0, -1, True, "3", 1.5])
def test_bad_numbers(backend: Watched, bad: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        RepositorySaver(CheckpointRepository(backend), max_checkpoints=bad)
    assert caught.value.field == "max_checkpoints"


def test_copies_count_too() -> None:
    for other in (copy.deepcopy(Retention(5)), pickle.loads(pickle.dumps(Retention(5)))):
        assert sum(other.is_due(domain.Checkpoint(thread_id="t")) for _ in range(100)) == 10


# prune of savers


def test_prune_by_number_and_age(backend: Watched) -> None:
    saver = RepositorySaver(CheckpointRepository(backend))
    now = dt.datetime.now(dt.UTC)
    every: list[str] = []
    for days in (90, 60, 40, 3, 2, 1):
        stamp = (now - dt.timedelta(days=days)).isoformat()
        every.insert(0, saver.put(at(), made(ts=stamp), {"step": 0}, {})["configurable"]["checkpoint_id"])
    saver.prune(["t"], keep=5)
    assert ids(saver, at()) == every[:5]
    saver.prune(["t"], keep=1, older_than=dt.timedelta(days=50))
    assert ids(saver, at()) == every[:4]
    asyncio.run(saver.aprune(["t"], keep=0, older_than=30 * 86_400))
    assert ids(saver, at()) == every[:3]
    saver.prune(["t"], keep=2)
    assert ids(saver, at()) == every[:2]
    saver.prune(["t"])
    assert ids(saver, at()) == every[:1]
    saver.prune(["t"], strategy="delete")
    assert ids(saver, at()) == []


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"keep": 0}, "keep"),
        ({"keep": -1}, "keep"),
        ({"keep": "2"}, "keep"),
        ({"older_than": -1}, "older_than"),
        ({"strategy": "delete", "keep": 1}, "keep"),
        ({"strategy": "delete", "older_than": 1}, "older_than"),
        ({"strategy": "oldest"}, "strategy"),
    ],
)
def test_bad_policies(backend: Watched, arguments: Any, field: str) -> None:
    saver = RepositorySaver(CheckpointRepository(backend))
    for call in (saver.prune, lambda *given, **more: asyncio.run(saver.aprune(*given, **more))):
        with pytest.raises(InvalidInput) as caught:
            call(["t"], **arguments)
        assert caught.value.field == field
    assert backend.prunes == []
