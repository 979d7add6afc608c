"""Our savers against LangGraph's InMemorySaver, wherever that one is right."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME, _DeltaSnapshot

from statekeep.langgraph_shim import RepositorySaver, ValkeySaver
from statekeep.langgraph_shim.checkpoint.versions import next_version
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.memory.checkpoints import MemoryCheckpoints
from statekeep.repositories.valkey import Client, client_from_url
from statekeep.testing.servers import ValkeyServer

THREADS = st.sampled_from(["t", "t:1", "{t}", "*"])
NAMESPACES = st.sampled_from(["", "child:1", "child:1|x", "%"])
CHANNELS = st.sampled_from(["a", "b:c", "messages", "branch:to:a", ""])
TASKS = st.sampled_from(["task-1", "task-2", "00000000-0000-0000-0000-000000000000"])
PATHS = st.sampled_from(["", "~a", "~b, 0000000001"])
WRITTEN = st.sampled_from(["a", "messages", ERROR, INTERRUPT, RESUME])
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.integers(-9, 9), max_size=3),
)
METADATA = st.dictionaries(
    st.sampled_from(["x", "y", "run_id"]), st.one_of(st.none(), st.sampled_from(["r1", "r2", 1, True]))
)
VERSIONS = st.sampled_from(["int", "text"])


def plain(found: CheckpointTuple | None) -> Any:
    """A tuple as a dict, with the config that InMemorySaver echoes reduced to the three keys."""
    if found is None:
        return None
    keys = ("thread_id", "checkpoint_ns", "checkpoint_id")
    return {
        "config": {key: found.config["configurable"].get(key) for key in keys},
        "checkpoint": found.checkpoint,
        "metadata": found.metadata,
        "parent": found.parent_config,
        "writes": found.pending_writes,
    }


class Savers(RuleBasedStateMachine):
    """Does the same to both, as a graph would: versions rise along a branch, values belong to versions."""

    client: Client | None = None
    count = 0

    def __init__(self) -> None:
        super().__init__()
        self.oracle: BaseCheckpointSaver[str] = InMemorySaver()
        self.ours: BaseCheckpointSaver[str] = self.make()
        self.serial = 0
        self.known: list[tuple[str, str, str]] = []
        self.versions: Literal["int", "text"] = "text"
        self.last: dict[str, Any] = {}

    def make(self) -> RepositorySaver:
        if self.client is None:
            return RepositorySaver(CheckpointRepository(MemoryCheckpoints()))
        type(self).count += 1
        return ValkeySaver(self.client, prefix=f"savers-{self.count}")

    @initialize(versions=VERSIONS)
    def choose(self, versions: Literal["int", "text"]) -> None:
        self.versions = versions

    def version(self) -> Any:
        # Integers that no other branch has: InMemorySaver cannot keep two values of one version apart.
        self.serial += 1
        return self.serial if self.versions == "int" else next_version(f"{self.serial}.0")

    def both(self, name: str, *args: Any, **kwargs: Any) -> Any:
        expected = getattr(self.oracle, name)(*args, **kwargs)
        found = getattr(self.ours, name)(*args, **kwargs)
        return expected, found

    def config(self, data: st.DataObject) -> Any:
        """A known checkpoint, the newest of a namespace, or one that does not exist."""
        place = data.draw(st.none() | st.sampled_from(self.known)) if self.known else None
        if place is not None:
            thread, namespace, checkpoint_id = place
            return {"configurable": {"thread_id": thread, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}
        more: Any = data.draw(
            st.sampled_from([{}, {"checkpoint_id": ""}, {"checkpoint_id": None}, {"checkpoint_id": "00x"}])
        )
        return {"configurable": {"thread_id": data.draw(THREADS), "checkpoint_ns": data.draw(NAMESPACES), **more}}

    @rule(
        data=st.data(),
        changed=st.dictionaries(CHANNELS, VALUES, max_size=3),
        consumed=st.sets(CHANNELS, max_size=2),
        snapshot=st.none() | st.lists(st.integers(-9, 9), max_size=2),
        metadata=METADATA,
        early=st.booleans(),
    )
    def put(
        self,
        data: st.DataObject,
        changed: dict[str, Any],
        consumed: set[str],
        snapshot: Any,
        metadata: dict[str, Any],
        early: bool,
    ) -> None:
        thread, namespace = data.draw(THREADS), data.draw(NAMESPACES)
        known = [place for place in self.known if place[:2] == (thread, namespace)]
        parent: Any = data.draw(st.none() | st.sampled_from(known)) if known else None
        config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}
        values: dict[str, Any] = {}
        versions: dict[str, Any] = {}
        if parent is not None:
            config["configurable"]["checkpoint_id"] = parent[2]
            base = self.oracle.get(config)
            assert base is not None
            values, versions = dict(base["channel_values"]), dict(base["channel_versions"])
        if isinstance(values.get("messages"), _DeltaSnapshot):
            del values["messages"]
        new = {}
        for name in sorted(set(changed) | (consumed & set(versions))):
            if name == "messages":
                continue
            versions[name] = new[name] = self.version()
            values.pop(name, None)
            if name in changed:
                values[name] = changed[name]
        counters = {}
        if "messages" in changed:  # the delta channel
            versions["messages"] = new["messages"] = self.version()
            if snapshot is not None:
                values["messages"] = _DeltaSnapshot(snapshot)
        if "messages" in versions and "messages" not in values:
            counters = {"counters_since_delta_snapshot": {"messages": [1, 1]}}
        self.serial += 1
        checkpoint_id = f"{self.serial:06}" if not (early and known) else f"{self.serial:06}"[::-1] + "-"
        made: Any = {
            "v": 4,
            "id": checkpoint_id,
            "ts": "2026-01-02T03:04:05+00:00",
            "channel_values": values,
            "channel_versions": versions,
            "versions_seen": {"node": dict(versions)},
            "updated_channels": sorted(new),
        }
        everything = {"source": "loop", "step": self.serial, **metadata, **counters}
        expected, found = self.both("put", config, made, everything, new)
        assert found == expected
        self.known.append((thread, namespace, checkpoint_id))

    @rule(
        data=st.data(),
        writes=st.lists(st.tuples(WRITTEN, VALUES), max_size=3),
        task_id=TASKS,
        task_path=PATHS,
    )
    def put_writes(self, data: st.DataObject, writes: list[Any], task_id: str, task_path: str) -> None:
        config = self.config(data)
        config["configurable"]["checkpoint_id"] = config["configurable"].get("checkpoint_id") or "never put"
        self.both("put_writes", config, writes, task_id, task_path)

    @rule(thread=THREADS)
    def delete_thread(self, thread: str) -> None:
        self.both("delete_thread", thread)
        self.known = [place for place in self.known if place[0] != thread]

    @rule(data=st.data())
    def get(self, data: st.DataObject) -> None:
        expected, found = self.both("get_tuple", self.config(data))
        assert plain(found) == plain(expected)

    @rule(
        data=st.data(),
        limit=st.none() | st.integers(0, 3),
        before=st.none() | st.sampled_from(["", "000003", "00x", "9"]),
        filter=METADATA,
    )
    def listing(self, data: st.DataObject, limit: int | None, before: str | None, filter: dict[str, Any]) -> None:
        # InMemorySaver lists namespace by namespace, so without one the limit would cut elsewhere.
        config = self.config(data)
        bound: Any = None if before is None else {"configurable": {"checkpoint_id": before}}
        expected, found = self.both("list", config, filter=filter, before=bound, limit=limit)
        assert list(map(plain, found)) == list(map(plain, expected))

    @rule(thread=THREADS, filter=METADATA)
    def listing_of_a_thread(self, thread: str, filter: dict[str, Any]) -> None:
        def order(item: Any) -> Any:
            return (item["config"]["thread_id"], item["config"]["checkpoint_ns"], item["config"]["checkpoint_id"])

        for config in ({"configurable": {"thread_id": thread}}, None):
            expected, found = self.both("list", config, filter=filter)
            found = list(found)
            ids = [item.config["configurable"]["checkpoint_id"] for item in found]
            assert config is None or ids == sorted(ids, reverse=True)
            assert sorted(map(plain, found), key=order) == sorted(map(plain, expected), key=order)

    @rule(data=st.data(), channels=st.lists(CHANNELS, max_size=3, unique=True))
    def history(self, data: st.DataObject, channels: list[str]) -> None:
        expected, found = self.both("get_delta_channel_history", config=self.config(data), channels=channels)
        assert found == expected

    @invariant()
    def newest(self) -> None:
        if self.known:
            thread, namespace, _ = self.known[-1]
            expected, found = self.both(
                "get_tuple", {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}
            )
            assert plain(found) == plain(expected)


class AsyncFace(BaseCheckpointSaver[str]):
    """Answers the sync methods of a saver by its async ones."""

    def __init__(self, saver: BaseCheckpointSaver[str]) -> None:
        super().__init__()
        self.saver = saver
        self.loop = asyncio.Runner()

    def __getattribute__(self, name: str) -> Any:
        if name in ("put", "put_writes", "delete_thread", "get_tuple", "get_delta_channel_history"):
            method = getattr(self.saver, f"a{name}")
            return lambda *args, **kwargs: self.loop.run(method(*args, **kwargs))
        if name == "list":

            async def collect(*args: Any, **kwargs: Any) -> list[CheckpointTuple]:
                return [item async for item in self.saver.alist(*args, **kwargs)]

            return lambda *args, **kwargs: iter(self.loop.run(collect(*args, **kwargs)))
        return super().__getattribute__(name)


class AsyncSavers(Savers):
    def __init__(self) -> None:
        super().__init__()
        self.face = self.ours = AsyncFace(self.ours)

    def teardown(self) -> None:
        self.face.loop.close()


TestMemorySavers = Savers.TestCase
TestMemorySavers.settings = settings(stateful_step_count=30)
TestAsyncMemorySavers = AsyncSavers.TestCase
TestAsyncMemorySavers.settings = settings(stateful_step_count=15)


def test_valkey_savers(valkey_server: ValkeyServer) -> None:
    client = client_from_url(valkey_server.url)

    class OnValkey(Savers):
        pass

    OnValkey.client = client
    try:
        run_state_machine_as_test(OnValkey, settings=settings(stateful_step_count=30))
    finally:
        client.close()


@pytest.mark.parametrize("versions", ["int", "text"])
def test_the_machine_notices_a_difference(versions: Literal["int", "text"]) -> None:
    machine = Savers()
    machine.choose(versions)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    made: Any = {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
    machine.oracle.put(config, made, {}, {})
    expected, found = machine.both("get_tuple", config)
    assert plain(found) != plain(expected)
