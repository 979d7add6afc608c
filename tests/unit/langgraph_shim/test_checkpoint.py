"""LangGraph's dicts to and from the domain, and the errors on the way."""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import math
import os
import random
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from langgraph.checkpoint.base import BaseCheckpointSaver, Checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.serde.types import INTERRUPT, RESUME, TASKS

from statekeep import domain
from statekeep.domain import CorruptRecord, InvalidInput, Payload, WrongEventLoop
from statekeep.langgraph_shim import AsyncRepositorySaver, RepositorySaver
from statekeep.langgraph_shim.checkpoint.convert import to_domain
from statekeep.langgraph_shim.checkpoint.metadata import pack, unpack
from statekeep.langgraph_shim.checkpoint.versions import next_version
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.memory.checkpoints import MemoryCheckpoints

SERDE = JsonPlusSerializer()
T: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


class CountingSerializer(JsonPlusSerializer):
    """Remembers what it serialized."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        self.seen.append(obj)
        return super().dumps_typed(obj)


class Aes:
    """A cipher for LangGraph's EncryptedSerializer."""

    def __init__(self, key: bytes) -> None:
        self._aes = AESGCM(key)

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        nonce = os.urandom(12)
        return "aes", nonce + self._aes.encrypt(nonce, plaintext, None)

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "aes"
        return self._aes.decrypt(ciphertext[:12], ciphertext[12:], None)


def encrypted(key: bytes) -> EncryptedSerializer:
    return EncryptedSerializer(Aes(key))


@pytest.fixture
def keep() -> CheckpointRepository:
    return CheckpointRepository(MemoryCheckpoints())


@pytest.fixture
def saver(keep: CheckpointRepository) -> RepositorySaver:
    return RepositorySaver(keep)


def checkpoint(values: dict[str, Any] | None = None, versions: dict[str, Any] | None = None, **more: Any) -> Checkpoint:
    values = values or {}
    made: Any = {
        "v": 4,
        "id": str(uuid6()),
        "ts": "2026-01-02T03:04:05.678901+00:00",
        "channel_values": values,
        "channel_versions": dict.fromkeys(values, 1) if versions is None else versions,
        "versions_seen": {"node": {"a": 1}},
        "updated_channels": None,
        **more,
    }
    return made  # type: ignore[no-any-return]


def put(saver: BaseCheckpointSaver[str], config: Any, made: Checkpoint, new: Any = None, **metadata: Any) -> Any:
    new = made["channel_versions"] if new is None else new
    return saver.put(config, made, {"source": "loop", "step": 0, **metadata}, new)  # type: ignore[typeddict-item]


class TestConversions:
    def test_what_is_put_comes_back(self, saver: RepositorySaver) -> None:
        values = {
            "a": b"\x00\xff",
            "none": None,
            "zero": 0,
            "text": "é\x00",
            "set": {1, 2},
            "time": dt.datetime(2026, 1, 1),
        }
        made = checkpoint(values)
        config = put(saver, T, made)
        assert config == {"configurable": {"thread_id": "t", "checkpoint_ns": "", "checkpoint_id": made["id"]}}
        found = saver.get_tuple(T)
        assert found is not None
        assert found.config == config
        assert found.checkpoint == made
        assert found.parent_config is None
        assert found.pending_writes == []
        assert saver.get(T) == made

    @pytest.mark.parametrize("version", [1, 1.5, "0001.5", "x", 0])
    def test_versions_keep_their_type(self, saver: RepositorySaver, version: Any) -> None:
        put(saver, T, checkpoint({"a": 1}, {"a": version}))
        found = saver.get_tuple(T)
        assert found is not None
        [read] = found.checkpoint["channel_versions"].values()
        assert (read, type(read)) == (version, type(version))

    def test_unknown_keys_and_unversioned_values_are_kept(self, saver: RepositorySaver) -> None:
        made = checkpoint({"a": 1, "stray": [1]}, {"a": 1}, some_later_key={"x": [1, 2]}, v=7)
        put(saver, T, made)
        assert saver.get(T) == made

    def test_carries(self) -> None:
        made = checkpoint(
            {"new": 1, "old": 2, "snapshot": 3},
            dict.fromkeys(
                ["new", "old", "snapshot", "delta-new", "delta-old", "consumed", "branch:to:a", "unknown"], 5
            ),
        )
        new = dict.fromkeys(["new", "snapshot", "delta-new", "consumed"], 5)
        counters: Any = {"counters_since_delta_snapshot": {"delta-new": (1, 1), "delta-old": (0, 3)}}
        carries = {name: str(item.carry) for name, item in to_domain(SERDE, T, made, counters, new).channels.items()}
        assert carries == {
            "new": "value",
            "old": "earlier",
            "snapshot": "value",
            "delta-new": "replayed",
            "delta-old": "replayed",
            "consumed": "empty",
            "branch:to:a": "earlier-if-any",
            "unknown": "earlier-if-any",
        }

    def test_a_channel_that_this_graph_does_not_know_is_not_lost(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint({"a": 1, "b": 2}))
        put(saver, config, checkpoint({"a": 3}, {"a": 2, "b": 1}), {"a": 2})
        found = saver.get_tuple(T)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"a": 3, "b": 2}

    def test_a_channel_without_a_value_and_without_a_stored_one_is_empty(self, saver: RepositorySaver) -> None:
        put(saver, T, checkpoint({"a": 1}, {"a": 1, "never": 1}), {"a": 1})
        found = saver.get_tuple(T)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"a": 1}
        assert found.checkpoint["channel_versions"] == {"a": 1, "never": 1}

    def test_a_consumed_channel_is_empty(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint({"a": 1}))
        put(saver, config, checkpoint({}, {"a": 2}), {"a": 2})
        found = saver.get_tuple(T)
        assert found is not None
        assert found.checkpoint["channel_values"] == {}

    def test_unchanged_values_are_not_serialized_again(self, keep: CheckpointRepository) -> None:
        serde = CountingSerializer()
        saver = RepositorySaver(keep, serde=serde)
        big = ["constant"] * 1000
        config = put(saver, T, checkpoint({"big": big, "n": 1}))
        serde.seen.clear()
        put(saver, config, checkpoint({"big": big, "n": 2}, {"big": 1, "n": 2}), {"n": 2})
        assert big not in serde.seen
        assert 2 in serde.seen
        found = saver.get_tuple(T)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"big": big, "n": 2}

    def test_a_thread_that_lost_a_value_heals(self, keep: CheckpointRepository) -> None:
        serde = CountingSerializer()
        saver = RepositorySaver(keep, serde=serde)
        config = put(saver, T, checkpoint({"lost": "x", "n": 1}))
        saver.delete_thread("t")
        serde.seen.clear()
        put(saver, config, checkpoint({"lost": "x", "n": 2}, {"lost": 1, "n": 2}), {"n": 2})
        assert serde.seen.count("x") == 1
        found = saver.get_tuple(T)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"lost": "x", "n": 2}

    def test_the_live_state_may_change_after_put(self, saver: RepositorySaver) -> None:
        values = {"a": [1]}
        metadata: Any = {"source": "loop", "parents": {"": "x"}}
        made = checkpoint(values)
        saver.put(T, made, metadata, {"a": 1})
        values["a"].append(2)
        metadata["parents"]["y"] = "z"
        found = saver.get_tuple(T)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"a": [1]}
        assert found.metadata["parents"] == {"": "x"}

    @pytest.mark.parametrize(
        ("stamp", "expected"),
        [
            ("2026-01-02T03:04:05.678901+00:00", dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)),
            ("2026-01-02T03:04:05", dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)),
        ],
    )
    def test_created_at(self, keep: CheckpointRepository, stamp: str, expected: dt.datetime) -> None:
        put(RepositorySaver(keep), T, checkpoint(ts=stamp))
        saved = keep.get("t")
        assert saved is not None
        assert saved.created_at == expected

    @pytest.mark.parametrize("stamp", ["", "yesterday", None, 7])
    def test_created_at_without_a_time_stamp_is_now(self, keep: CheckpointRepository, stamp: Any) -> None:
        before = dt.datetime.now(dt.UTC)
        put(RepositorySaver(keep), T, checkpoint(ts=stamp))
        saved = keep.get("t")
        assert saved is not None
        assert before <= saved.created_at <= dt.datetime.now(dt.UTC)
        assert RepositorySaver(keep).get(T)["ts"] == stamp  # type: ignore[index]

    @pytest.mark.parametrize("no_parent", [{}, {"checkpoint_id": None}, {"checkpoint_id": ""}])
    def test_no_parent(self, saver: RepositorySaver, no_parent: dict[str, Any]) -> None:
        put(saver, {"configurable": {"thread_id": "t", **no_parent}}, checkpoint())
        found = saver.get_tuple({"configurable": {"thread_id": "t", "checkpoint_id": ""}})
        assert found is not None
        assert found.parent_config is None

    def test_parent_config(self, saver: RepositorySaver) -> None:
        first = put(saver, T, checkpoint())
        second = put(saver, first, checkpoint())
        found = saver.get_tuple(second)
        assert found is not None
        assert found.parent_config == first

    @pytest.mark.parametrize("thread_id", [7, uuid.UUID(int=7)])
    def test_a_thread_id_may_be_what_langgraph_makes_text_of(self, saver: RepositorySaver, thread_id: Any) -> None:
        config = put(saver, {"configurable": {"thread_id": thread_id}}, checkpoint())
        assert config["configurable"]["thread_id"] == str(thread_id)
        assert saver.get_tuple({"configurable": {"thread_id": str(thread_id)}}) is not None
        assert len(list(saver.list({"configurable": {"thread_id": thread_id}}))) == 1
        saver.copy_thread(thread_id, "copy")
        saver.prune([thread_id], strategy="delete")
        assert saver.get_tuple({"configurable": {"thread_id": thread_id}}) is None
        assert saver.get_tuple({"configurable": {"thread_id": "copy"}}) is not None

    def test_int_versions_in_two_forks(self, saver: RepositorySaver) -> None:
        root = put(saver, T, checkpoint({"a": "root"}))
        left = put(saver, root, checkpoint({"a": "left"}, {"a": 2}))
        right = put(saver, root, checkpoint({"a": "right"}, {"a": 2}))
        values = []
        for config in (root, left, right):
            found = saver.get_tuple(config)
            assert found is not None
            values.append(found.checkpoint["channel_values"]["a"])
        assert values == ["root", "left", "right"]

    def test_put_again_replaces(self, saver: RepositorySaver) -> None:
        made = checkpoint({"a": 1})
        put(saver, T, made, note="first")
        again: Any = {**made, "channel_values": {"a": 2}, "channel_versions": {"a": 2}}
        put(saver, T, again, note="second")
        [found] = saver.list(T)
        assert found.checkpoint == again
        assert found.metadata["note"] == "second"  # type: ignore[typeddict-item]


class TestPendingWrites:
    def test_order_and_idempotence(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint())
        saver.put_writes(config, [("a", 1), ("a", 2)], "task-2", "~b")
        saver.put_writes(config, [("a", 3)], "task-1", "~b")
        saver.put_writes(config, [("a", 4)], "task-3", "~a")
        saver.put_writes(config, [("a", "again"), ("a", "again"), ("a", 5)], "task-2", "~b")
        found = saver.get_tuple(T)
        assert found is not None
        assert found.pending_writes == [
            ("task-3", "a", 4),
            ("task-1", "a", 3),
            ("task-2", "a", 1),
            ("task-2", "a", 2),
            ("task-2", "a", 5),
        ]

    def test_special_writes_are_replaced_beside_ordinary_ones_that_stay(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint())
        saver.put_writes(config, [(INTERRUPT, "one")], "task")
        saver.put_writes(config, [(RESUME, ["a"]), ("x", 1)], "task")
        saver.put_writes(config, [(RESUME, ["a", "b"]), ("x", 2)], "task")
        found = saver.get_tuple(T)
        assert found is not None
        assert found.pending_writes == [("task", RESUME, ["a", "b"]), ("task", INTERRUPT, "one"), ("task", "x", 1)]

    def test_before_the_checkpoint(self, saver: RepositorySaver) -> None:
        made = checkpoint()
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_id": made["id"]}}
        saver.put_writes(config, [("a", 1)], "task")
        assert saver.get_tuple(T) is None
        put(saver, T, made)
        found = saver.get_tuple(T)
        assert found is not None
        assert found.pending_writes == [("task", "a", 1)]

    def test_an_interrupt_in_a_tuple(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint())
        saver.put_writes(config, (("a", (1, 2)),), "task")
        assert next(saver.list(config)).pending_writes is not None

    def test_none(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint())
        saver.put_writes(config, [], "task")
        found = saver.get_tuple(T)
        assert found is not None
        assert found.pending_writes == []


class TestOldFormats:
    def test_sends_of_a_format_before_4_come_from_the_parent(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint(v=2, pending_sends=[]))
        saver.put_writes(config, [(TASKS, "send-3")], "task-2", "~b")
        saver.put_writes(config, [(TASKS, "send-1"), ("other", 0), (TASKS, "send-2")], "task-1", "~a")
        put(saver, config, checkpoint(v=2, pending_sends=[]))
        child, parent = saver.list(T)
        assert child.checkpoint["pending_sends"] == ["send-1", "send-2", "send-3"]  # type: ignore[typeddict-item]
        assert parent.checkpoint["pending_sends"] == []  # type: ignore[typeddict-item]
        assert saver.get_tuple(T) == child

    def test_sends_that_are_there_stay(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint(v=1))
        saver.put_writes(config, [(TASKS, "of the parent")], "task")
        made = checkpoint(v=1, pending_sends=["own"])
        put(saver, config, made)
        assert saver.get(T) == made

    def old_chain(self, saver: RepositorySaver, count: int, **metadata: Any) -> list[Any]:
        """Configs of checkpoints, each of which has the Sends of its parent."""
        configs: list[Any] = [T]
        for number in range(count):
            configs.append(put(saver, configs[-1], checkpoint(v=3, pending_sends=[]), **metadata))
            saver.put_writes(configs[-1], [(TASKS, f"send-{number}")], "task")
        return configs[1:]

    def sends(self, found: Any) -> Any:
        return found.checkpoint["pending_sends"]

    def test_a_prune_keeps_the_sends_of_the_newest(self, saver: RepositorySaver) -> None:
        self.old_chain(saver, 4)
        before = saver.get_tuple(T)
        assert self.sends(before) == ["send-2"]
        assert before is not None
        assert set(before.checkpoint["channel_versions"]) == set(checkpoint()["channel_versions"])
        saver.prune(["t"])
        assert saver.get_tuple(T) == before
        assert len(list(saver.list(T))) == 2
        config = put(saver, before.config, checkpoint(v=4))
        saver.prune(["t"])
        assert [found.config for found in saver.list(T)] == [config]

    def test_a_deletion_of_runs_keeps_the_sends_of_others(self, saver: RepositorySaver) -> None:
        [*_, last] = self.old_chain(saver, 2, run_id="older")
        config = put(saver, last, checkpoint(v=3, pending_sends=[]), run_id="newer")
        saver.delete_for_runs(["older"])
        assert self.sends(saver.get_tuple(T)) == ["send-1"]
        assert len(list(saver.list(T))) == 2
        put(saver, config, checkpoint(v=4))
        saver.delete_for_runs(["newer", "older"])
        assert len(list(saver.list(T))) == 1

    @pytest.mark.parametrize("is_async", [False, True])
    def test_a_listing_reads_parents_with_their_page(
        self, keep: CheckpointRepository, saver: RepositorySaver, is_async: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.old_chain(saver, 60)
        read: list[Any] = []
        get = keep.backend.get

        def counted(*place: Any) -> Any:
            read.append(place)
            return get(*place)

        monkeypatch.setattr(keep.backend, "get", counted)

        async def listed() -> list[Any]:
            return [found async for found in saver.alist(T)]

        found = asyncio.run(listed()) if is_async else list(saver.list(T))
        assert [self.sends(one) for one in found] == [*([f"send-{number}"] for number in range(58, -1, -1)), []]
        assert len(read) == 2  # of the last on each page of 20 but the last
        read.clear()
        assert len(list(saver.list(T, limit=5))) == 5
        assert len(read) == 1

    def test_the_format_of_today_asks_no_parent(self, saver: RepositorySaver) -> None:
        config = put(saver, T, checkpoint())
        saver.put_writes(config, [(TASKS, "of the next step")], "task")
        made = checkpoint()
        put(saver, config, made)
        assert saver.get(T) == made


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 2


class Point(NamedTuple):
    x: int
    y: int


NASTY: dict[str, Any] = {
    "tuple": (1, (2, [3])),
    "bytes": b"\x00\xff",
    "time": dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.UTC),
    "delta": dt.timedelta(days=-1, microseconds=3),
    "infinite": math.inf,
    "surrogate": "\ud800",
    "set": {1, 2},
    "keys": {1: "int", (1, 2): "tuple", None: "none"},
    "enum": Colour.RED,
    "enums": [{"deep": (Colour.RED, {"deeper": Level.HIGH})}],
    "named": Point(1, 2),
    "uuid": uuid.UUID(int=1),
    "$keep": ["not", "ours"],
    "nested": {"$keep": ["payload", "json", "bnVsbA=="]},
    "dots.and:colons": {"": [None, True, 1.5, 2**70]},
}


class TestMetadata:
    def test_anything_comes_back_exactly(self, saver: RepositorySaver) -> None:
        put(saver, T, checkpoint(), **NASTY)
        found = saver.get_tuple(T)
        assert found is not None
        assert found.metadata == {"source": "loop", "step": 0, **NASTY}
        for name, value in NASTY.items():
            assert type(found.metadata[name]) is type(value), name  # type: ignore[literal-required]

    def test_nan(self, saver: RepositorySaver) -> None:
        put(saver, T, checkpoint(), nan=math.nan)
        found = saver.get_tuple(T)
        assert found is not None
        assert math.isnan(found.metadata["nan"])  # type: ignore[typeddict-item]

    @pytest.mark.parametrize("name", sorted(NASTY))
    def test_filter_by_anything(self, saver: RepositorySaver, name: str) -> None:
        put(saver, T, checkpoint(), **NASTY)
        put(saver, T, checkpoint(), **{name: "something else"})
        assert len(list(saver.list(T, filter={name: NASTY[name]}))) == 1

    def test_filter_none_matches_what_is_missing(self, saver: RepositorySaver) -> None:
        put(saver, T, checkpoint(), a=1)
        put(saver, T, checkpoint(), a=None)
        put(saver, T, checkpoint())
        assert [found.metadata.get("a", "-") for found in saver.list(T, filter={"a": None})] == ["-", None]

    def test_scalars_of_the_config_are_merged(self, saver: RepositorySaver) -> None:
        config: Any = {
            "configurable": {"thread_id": "t", "run_id": "r\x00", "user": 7, "__pregel_x": "no", "deep": {"no": 1}},
            "metadata": {"user": "first", "flag": True, "langgraph_step": 3},
        }
        put(saver, config, checkpoint())
        found = saver.get_tuple(T)
        assert found is not None
        assert found.metadata == {"source": "loop", "step": 0, "run_id": "r", "user": "first", "flag": True}
        saver.delete_for_runs(["r"])
        assert saver.get_tuple(T) is None

    def test_the_counters_of_delta_channels_are_lists_as_langgraph_documents(self, saver: RepositorySaver) -> None:
        put(saver, T, checkpoint(), counters_since_delta_snapshot={"a": (1, 2)})
        found = saver.get_tuple(T)
        assert found is not None
        assert dict(found.metadata) == {"source": "loop", "step": 0, "counters_since_delta_snapshot": {"a": [1, 2]}}

    def test_pack_copies(self) -> None:
        metadata = {"a": [1], "b": Colour.RED}
        packed = pack(SERDE, metadata)
        metadata["a"].append(2)  # type: ignore[attr-defined]
        assert packed["a"] == [1]
        assert type(packed["b"]) is Payload
        assert unpack(SERDE, packed) == {"a": [1], "b": Colour.RED}

    @pytest.mark.usefixtures("no_collection")
    def test_a_circle(self, saver: RepositorySaver) -> None:
        circle: list[Any] = []
        circle.append(circle)
        with pytest.raises(InvalidInput):
            put(saver, T, checkpoint(), circle=circle)


class TestErrors:
    @pytest.mark.parametrize(
        ("config", "field"),
        [
            (None, "config"),
            ("t", "config"),
            ({}, "config.configurable"),
            ({"configurable": None}, "config.configurable"),
            ({"configurable": {}}, "config.configurable.thread_id"),
            ({"configurable": {"thread_id": None}}, "config.configurable.thread_id"),
            ({"configurable": {"thread_id": ""}}, "config.configurable.thread_id"),
            ({"configurable": {"thread_id": b"t"}}, "config.configurable.thread_id"),
            ({"configurable": {"thread_id": True}}, "config.configurable.thread_id"),
            ({"configurable": {"thread_id": "t", "checkpoint_ns": 1}}, "config.configurable.checkpoint_ns"),
            ({"configurable": {"thread_id": "t", "checkpoint_id": 1}}, "config.configurable.checkpoint_id"),
            ({"configurable": {"thread_id": "t", "checkpoint_id": 0}}, "config.configurable.checkpoint_id"),
            ({"configurable": {"thread_id": "t", "checkpoint_ns": 0}}, "config.configurable.checkpoint_ns"),
            ({"configurable": {"thread_id": "x" * 8193}}, "config.configurable.thread_id"),
            ({"configurable": {"thread_id": "\ud800"}}, "config.configurable.thread_id"),
            ({"configurable": {"thread_id": "t", "checkpoint_ns": "\ud800"}}, "config.configurable.checkpoint_ns"),
            ({"configurable": {"thread_id": "t", "checkpoint_id": "\ud800"}}, "config.configurable.checkpoint_id"),
        ],
    )
    def test_config(self, saver: RepositorySaver, config: Any, field: str) -> None:
        async def ask() -> None:
            with pytest.raises(InvalidInput) as raised:
                await saver.aget_tuple(config)
            assert raised.value.field == field

        calls: list[Any] = [
            lambda: saver.get_tuple(config),
            lambda: put(saver, config, checkpoint()),
            lambda: saver.put_writes(config, [("a", 1)], "task"),
            lambda: saver.get_delta_channel_history(config=config, channels=["a"]),
        ]
        if config not in (None, {}):
            calls.append(lambda: saver.list(config))
        for call in calls:
            with pytest.raises(InvalidInput, match=field.rpartition(".")[2]) as raised:
                call()
            assert raised.value.field == field
        asyncio.run(ask())

    def test_put_writes_without_a_checkpoint_id(self, saver: RepositorySaver) -> None:
        with pytest.raises(InvalidInput) as raised:
            saver.put_writes(T, [("a", 1)], "task")
        assert raised.value.field == "config.configurable.checkpoint_id"
        assert raised.value.operation == "put_writes"

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"id": ""}, "checkpoint.id"),
            ({"id": None}, "checkpoint.id"),
            ({"channel_values": None}, "checkpoint.channel_values"),
            ({"channel_versions": [1]}, "checkpoint.channel_versions"),
        ],
    )
    def test_checkpoint(self, saver: RepositorySaver, change: dict[str, Any], field: str) -> None:
        with pytest.raises(InvalidInput) as raised:
            saver.put(T, {**checkpoint(), **change}, {}, {})  # type: ignore[typeddict-item]
        assert raised.value.field == field

    @pytest.mark.parametrize("bad", [None, "x", 3, [("source", "loop")]])
    def test_metadata_and_new_versions(self, saver: RepositorySaver, bad: Any) -> None:
        with pytest.raises(InvalidInput) as raised:
            saver.put(T, checkpoint(), bad, {})
        assert raised.value.field == "metadata"
        with pytest.raises(InvalidInput) as raised:
            saver.put(T, checkpoint(), {}, bad)
        assert raised.value.field == "new_versions"

    @pytest.mark.parametrize("version", [None, True, (1,), math.inf])
    def test_a_version_of_another_type(self, saver: RepositorySaver, version: Any) -> None:
        with pytest.raises(InvalidInput, match="version"):
            put(saver, T, checkpoint({"a": 1}, {"a": version}))

    @pytest.mark.parametrize("writes", ["ab", None, ["ab"], [("a",)], [("a", 1, 2)], [(1, 2)], [7], {"a": 1}])
    def test_writes(self, saver: RepositorySaver, writes: Any) -> None:
        config = put(saver, T, checkpoint())
        with pytest.raises(InvalidInput, match="writes"):
            saver.put_writes(config, writes, "task")

    @pytest.mark.parametrize("task_id", ["", None, 3])
    def test_task_id(self, saver: RepositorySaver, task_id: Any) -> None:
        config = put(saver, T, checkpoint())
        with pytest.raises(InvalidInput, match="task_id"):
            saver.put_writes(config, [("a", 1)], task_id)

    def test_list_arguments_are_checked_by_the_call(self, saver: RepositorySaver) -> None:
        with pytest.raises(InvalidInput, match="limit"):
            saver.list(T, limit=-1)
        with pytest.raises(InvalidInput, match="filter"):
            saver.list(T, filter={1: 2})  # type: ignore[dict-item]
        with pytest.raises(InvalidInput, match="before"):
            saver.list(T, before={"configurable": {"checkpoint_id": 3}})
        with pytest.raises(InvalidInput, match="before"):
            saver.alist(T, before="x")  # type: ignore[arg-type]

    def test_prune(self, saver: RepositorySaver) -> None:
        put(saver, put(saver, T, checkpoint()), checkpoint())
        with pytest.raises(ValueError, match="strategy"):
            saver.prune(["t"], strategy="oldest")
        with pytest.raises(ValueError, match="strategy"):
            saver.prune(["t"], strategy=None)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="thread_ids"):
            saver.prune("t")
        with pytest.raises(InvalidInput, match="thread_ids"):
            saver.prune(["t", ""])
        assert len(list(saver.list(T))) == 2

    def test_ids(self, saver: RepositorySaver) -> None:
        for call in (
            lambda: saver.delete_thread(""),
            lambda: saver.copy_thread("t", None),  # type: ignore[arg-type]
            lambda: saver.delete_for_runs("run"),
            lambda: saver.get_delta_channel_history(config=T, channels="ab"),
        ):
            with pytest.raises(InvalidInput):
                call()

    def test_a_value_that_cannot_be_serialized_is_named(self, saver: RepositorySaver) -> None:
        with pytest.raises(TypeError) as raised:
            put(saver, T, checkpoint({"fine": 1, "broken": object.__new__(type("Odd", (), {"__slots__": ()}))}))
        assert any("'broken'" in note for note in raised.value.__notes__)
        assert saver.get_tuple(T) is None

    def test_a_wrong_key_is_an_error_and_not_nothing(self, keep: CheckpointRepository) -> None:
        mine = RepositorySaver(keep, serde=encrypted(b"1" * 16))
        config = put(mine, T, checkpoint({"a": "secret"}))
        mine.put_writes(config, [("a", "secret")], "task")
        theirs = RepositorySaver(keep, serde=encrypted(b"2" * 16))
        with pytest.raises(CorruptRecord, match=r"thread 't'.*checkpoint"):
            theirs.get_tuple(T)
        with pytest.raises(CorruptRecord):
            list(theirs.list(None))

    def test_damaged_values_are_named(self, keep: CheckpointRepository, saver: RepositorySaver) -> None:
        broken = Payload(encoding="msgpack", data=b"\xc1")
        good = domain.dump(SERDE, {"v": 4, "id": "1"})
        cases: list[tuple[domain.Checkpoint, str]] = [
            (domain.Checkpoint(thread_id="t", header=broken), "header"),
            (domain.Checkpoint(thread_id="t"), "no header"),
            (domain.Checkpoint(thread_id="t", header=domain.dump(SERDE, [1])), "not a LangGraph checkpoint"),
            (domain.Checkpoint(thread_id="t", header=good, metadata={"m": broken}), "metadata"),
            (
                domain.Checkpoint(thread_id="t", header=good, channels={"c": domain.Channel.of(1, broken)}),
                "channel 'c'",
            ),
        ]
        for stored, message in cases:
            keep.put(stored)
            with pytest.raises(CorruptRecord, match=message) as raised:
                saver.get_tuple(T)
            assert "thread 't'" in str(raised.value)
        made = checkpoint()
        config = put(saver, T, made)
        keep.put_writes("t", made["id"], [domain.PendingWrite(task_id="k", idx=0, channel="w", payload=broken)])
        with pytest.raises(CorruptRecord, match=r"task 'k'.*channel 'w'"):
            saver.get_tuple(config)
        put(saver, config, checkpoint())
        with pytest.raises(CorruptRecord, match="channel 'w'"):
            saver.get_delta_channel_history(config=T, channels=["w"])

    def test_wrong_repository(self, keep: CheckpointRepository) -> None:
        with pytest.raises(InvalidInput, match="AsyncRepositorySaver"):
            RepositorySaver(AsyncCheckpointRepository(keep.backend))  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="RepositorySaver"):
            AsyncRepositorySaver(keep)  # type: ignore[arg-type]
        with pytest.raises(InvalidInput, match="serde"):
            RepositorySaver(keep, serde="json")  # type: ignore[arg-type]


class TestVersions:
    @pytest.mark.parametrize(
        "current", [None, 0, 41, 41.9, "41", "41.5", f"{41:032}.0.3170867", f"{41:032}.9999999999999999"]
    )
    def test_it_grows(self, saver: RepositorySaver, current: Any) -> None:
        new = saver.get_next_version(current, None)
        expected = 1 if current is None else int(float(str(current).split(".")[0])) + 1
        assert new.startswith(f"{expected:032}.")
        assert len(new) == 32 + 1 + 16
        if isinstance(current, str) and len(current) > 32:
            assert new > current
        assert saver.get_next_version(new, None) > new

    def test_a_seeded_application_does_not_make_forks_collide(self) -> None:
        found = set()
        for _ in range(100):
            random.seed(7)
            found.add(next_version("1.0"))
        assert len(found) == 100

    @pytest.mark.parametrize("current", ["", "x", ".5", True, [], math.nan, math.inf])
    def test_what_is_no_version(self, current: Any) -> None:
        with pytest.raises(InvalidInput, match="current"):
            next_version(current)


class TestSerializers:
    def test_encrypted(self, keep: CheckpointRepository) -> None:
        saver = RepositorySaver(keep, serde=encrypted(b"1" * 16))
        made = checkpoint({"a": "a secret"})
        config = put(saver, T, made, plain="by which to filter", odd=Colour.RED)
        saver.put_writes(config, [("a", "another secret")], "task")
        found = saver.get_tuple(T)
        assert found is not None
        assert found.checkpoint == made
        assert found.pending_writes == [("task", "a", "another secret")]
        assert found.metadata["odd"] is Colour.RED  # type: ignore[typeddict-item]
        assert next(saver.list(None, filter={"plain": "by which to filter"})).config == config
        stored = keep.get("t")
        assert stored is not None
        assert "secret" not in repr(stored)
        assert stored.metadata["plain"] == "by which to filter"

    def test_with_allowlist_shares_the_storage(self, keep: CheckpointRepository) -> None:
        strict = JsonPlusSerializer(allowed_msgpack_modules=None)
        saver = RepositorySaver(keep, serde=strict)
        clone = saver.with_allowlist([(Point.__module__, "Point")])
        assert clone is not saver
        assert isinstance(clone, RepositorySaver)
        assert clone.serde is not saver.serde
        put(clone, T, checkpoint({"a": 1}))
        assert saver.get(T) == clone.get(T) is not None
        assert saver.serde is strict

    def test_a_plain_dumps_loads_object_will_do(self, keep: CheckpointRepository) -> None:
        import pickle

        saver = RepositorySaver(keep, serde=pickle)  # type: ignore[arg-type]
        made = checkpoint({"a": Colour.RED})
        put(saver, T, made)
        assert saver.get(T) == made


class TestListing:
    @pytest.fixture
    def configs(self, saver: RepositorySaver) -> list[Any]:
        found: list[Any] = []
        for thread in ("t", "u"):
            for namespace in ("", "child:1"):
                config: Any = {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}
                for step in range(3):
                    config = put(saver, config, checkpoint(), step=step)
                    found.append(config)
        return found

    def test_scope(self, saver: RepositorySaver, configs: list[Any]) -> None:
        def count(config: Any, **more: Any) -> int:
            return len(list(saver.list(config, **more)))

        assert count(None) == 12
        assert count({}) == 12
        assert count({"configurable": {"thread_id": "t"}}) == 6
        assert count({"configurable": {"thread_id": "t", "checkpoint_ns": ""}}) == 3
        assert count(configs[0]) == 1
        assert count({"configurable": {"thread_id": "nobody"}}) == 0
        assert count(None, limit=0) == 0
        assert count(None, limit=5) == 5
        assert count(None, filter={"step": 1}) == 4
        assert count(T, before=configs[2]) == 2
        assert count(T, before={"configurable": {"thread_id": "t"}}) == 3
        assert count(T, before={"configurable": {"checkpoint_id": "0"}}) == 0

    def test_newest_first(self, saver: RepositorySaver, configs: list[Any]) -> None:
        assert [found.config for found in saver.list(T)] == configs[2::-1]

    def test_it_is_lazy_and_may_be_left(self, saver: RepositorySaver, configs: list[Any]) -> None:
        listing = saver.list(T)
        assert isinstance(listing, Iterator)
        later = put(saver, configs[2], checkpoint())
        assert next(listing).config == later

    @pytest.mark.anyio
    async def test_alist_may_be_left(self, saver: RepositorySaver, configs: list[Any]) -> None:
        listing = saver.alist(T)
        async for found in listing:
            assert found.config == configs[2]
            break
        await listing.aclose()  # type: ignore[attr-defined]
        assert [found.config async for found in saver.alist(T, limit=2)] == configs[2:0:-1]


class TestWhoMayCall:
    @pytest.mark.anyio
    async def test_sync_methods_of_the_async_saver_in_the_loop(self, keep: CheckpointRepository) -> None:
        saver = AsyncRepositorySaver(AsyncCheckpointRepository(keep.backend))
        config = await saver.aput(T, checkpoint({"a": 1}), {}, {"a": 1})
        for call in (
            lambda: saver.get_tuple(T),
            lambda: saver.list(T),
            lambda: put(saver, T, checkpoint()),
            lambda: saver.put_writes(config, [("a", 1)], "task"),
            lambda: saver.delete_thread("t"),
            lambda: saver.delete_for_runs(["r"]),
            lambda: saver.copy_thread("t", "u"),
            lambda: saver.prune(["t"]),
            lambda: saver.get_delta_channel_history(config=T, channels=["a"]),
        ):
            with pytest.raises(WrongEventLoop, match=r"graph\.ainvoke.*another thread"):
                call()
        assert (await saver.aget_tuple(T)) is not None
        found = await asyncio.to_thread(saver.get_tuple, T)
        assert found is not None
        assert found.config == config
        assert [item.config for item in await asyncio.to_thread(lambda: list(saver.list(T)))] == [config]

    @pytest.mark.anyio
    async def test_the_sync_saver_serves_a_loop(self, saver: RepositorySaver) -> None:
        made = checkpoint({"a": 1})
        await saver.aput(T, made, {}, {"a": 1})
        assert await saver.aget(T) == made == saver.get(T)

    def test_context_managers(self, keep: CheckpointRepository) -> None:
        async def main() -> None:
            async with AsyncRepositorySaver(AsyncCheckpointRepository(keep.backend)) as saver:
                await saver.aput(T, checkpoint(), {}, {})
            await saver.aclose()
            async with RepositorySaver(keep) as other:
                assert await other.aget_tuple(T) is not None

        asyncio.run(main())
        with RepositorySaver(keep) as saver:
            assert saver.get_tuple(T) is not None
        saver.close()
        assert repr(saver).startswith("RepositorySaver(MemoryCheckpoints(")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_checkpoint_with_an_id_below_its_parents_is_warned_of_once(
    saver: RepositorySaver, is_async: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the clock of a host is behind that of the one that put the parent."""
    thread_id = str(uuid.uuid4())
    older, newer = sorted(str(uuid6()) for _ in range(2))
    config: Any = {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}
    for checkpoint_id in (newer, older, older):
        made = checkpoint(id=checkpoint_id)
        if is_async:
            config = asyncio.run(saver.aput(config, made, {}, {}))
        else:
            config = saver.put(config, made, {}, {})
    [record] = [record for record in caplog.records if record.name == "statekeep"]
    assert thread_id in record.getMessage()
    assert (found := saver.get_tuple({"configurable": {"thread_id": thread_id}}))
    assert found.checkpoint["id"] == newer
