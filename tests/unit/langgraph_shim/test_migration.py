"""Parts of migrations that need no server."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.memory import InMemoryStore
from langgraph.types import Interrupt, Send

import statekeep
from statekeep.domain import CorruptRecord, InvalidInput, Payload, PendingWrite, SavedCheckpoint
from statekeep.domain.ids import new_checkpoint_id
from statekeep.langgraph_shim import MigrationReport, RepositorySaver, VerificationFailed, amigrate, migrate
from statekeep.langgraph_shim.migration.marks import has_changed, made_at, marks_of, settled
from statekeep.langgraph_shim.migration.payloads import assembled, taken_apart
from statekeep.langgraph_shim.migration.readers.choice import MissingPeer
from statekeep.langgraph_shim.migration.readers.generic import pending
from statekeep.langgraph_shim.migration.readers.servers import Index, Server, glob, longest

serde = JsonPlusSerializer()

VALUES: dict[str, Any] = {
    "none": None,
    "text": "é",
    "number": 2**63,
    "bytes": b"\x00\xff",
    "set": {"a", "b", "c"},
    "tuple": (1, "x"),
    "date": dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
    "message": HumanMessage("hello", id="1"),
    "nested": {"list": [HumanMessage("x", id="2"), {"deep": {1: (Send("n", {"a": 1}),)}}]},
    "interrupts": (Interrupt("v", id="i"),),
}


def checkpoint(values: dict[str, Any], **more: Any) -> Any:
    return empty_checkpoint() | {"channel_values": values, "channel_versions": dict.fromkeys(values, 1)} | more


def saved_of(whole: Any, metadata: Any = None, writes: Any = (), encoding: str | None = None) -> SavedCheckpoint:
    kind, data = serde.dumps_typed(whole)
    parts = taken_apart(encoding or kind, data, None, "it")
    return assembled(("t", "", whole["id"]), None, parts, metadata or {}, writes)


@pytest.mark.parametrize("name", VALUES)
def test_parts_are_what_the_serializer_would_write(name: str) -> None:
    """Byte for byte, though nothing is deserialized."""
    saved = saved_of(checkpoint({name: VALUES[name]}))
    payload = saved.channels[name].payload
    assert payload is not None
    assert (payload.encoding, payload.data) == serde.dumps_typed(VALUES[name])


def test_headers() -> None:
    whole = checkpoint({"x": 1}, versions_seen={"node": {"x": 1}}, updated_channels=["x"])
    whole["channel_values"]["unversioned"] = HumanMessage("kept", id="1")
    saved = saved_of(whole)
    assert saved.header is not None
    header = serde.loads_typed((saved.header.encoding, saved.header.data))
    assert header == {
        key: value for key, value in whole.items() if key not in ("channel_values", "channel_versions")
    } | {"channel_values": {"unversioned": whole["channel_values"]["unversioned"]}}
    assert saved.created_at == dt.datetime.fromisoformat(whole["ts"])


texts = st.text(st.characters(exclude_categories=["Cs"]))
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | texts | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(texts, json_values, max_size=4))
def test_parts_of_any_values(values: dict[str, Any]) -> None:
    saved = saved_of(checkpoint(values))
    assert saved.channels.keys() == values.keys()
    for name, value in values.items():
        payload = saved.channels[name].payload
        assert payload is not None
        assert serde.loads_typed((payload.encoding, payload.data)) == value


def test_json_of_former_versions() -> None:
    data = b'{"v": 1, "id": "1", "channel_values": {"x": {"lc": 2}}, "channel_versions": {"x": 3}}'
    parts = taken_apart("json", data, None, "it")
    saved = assembled(("t", "", "1"), None, parts, {}, ())
    assert saved.channels["x"].payload == Payload(encoding="json", data=b'{"lc": 2}')
    assert saved.channels["x"].version == 3


@pytest.mark.parametrize("data", [b"\xc1", b"\x01", b""])
def test_damage(data: bytes) -> None:
    with pytest.raises(CorruptRecord, match="checkpoint 'c'"):
        taken_apart("msgpack", data, None, "checkpoint 'c'")


def test_an_unknown_encoding_needs_its_serializer() -> None:
    with pytest.raises(InvalidInput, match="pass it as serde"):
        taken_apart("msgpack+aes", b"x", None, "it")


def test_marks_see_every_part() -> None:
    whole = checkpoint({"x": 1})
    write = PendingWrite(task_id="a", idx=0, channel="x", payload=Payload(encoding="null", data=b""))
    saved = saved_of(whole, {"step": 1}, [write])
    marks = marks_of(saved)
    assert list(marks.lacking(marks)) == []
    others: dict[str, Any] = {
        "parent": {"parent_id": "0"},
        "metadata": {"metadata": {"step": 2}},
        "header": {"header": None},
        "channels": {"channels": {}},
        "the pending write 0 of task 'a'": {"pending_writes": ()},
    }
    for part, change in others.items():
        assert list(marks_of(saved.model_copy(update=change)).lacking(marks)) == [part]
    more = saved.model_copy(update={"pending_writes": (write, write.model_copy(update={"idx": 1}))})
    assert list(marks_of(more).lacking(marks)) == []


def test_equal_values_of_other_bytes() -> None:
    """Sets have another order in each process."""
    one, other = (
        saved_of(checkpoint({"x": [1, 2]}, id="1", ts="2026-01-01T00:00:00+00:00")).model_copy() for _ in range(2)
    )
    channel = other.channels["x"]
    as_json = channel.model_copy(update={"payload": Payload(encoding="json", data=b"[1, 2]")})
    other = other.model_copy(update={"channels": {"x": as_json}})
    assert list(marks_of(other).lacking(marks_of(one))) == ["channels"]
    assert list(marks_of(settled(other, one, serde)).lacking(marks_of(one))) == []
    assert list(marks_of(settled(other, one, None)).lacking(marks_of(one))) == ["channels"]


def test_times_in_ids() -> None:
    now = dt.datetime.now(dt.UTC)
    for made in (str(uuid6()), new_checkpoint_id()):
        found = made_at(made)
        assert found is not None
        assert abs(found - now) < dt.timedelta(minutes=1)
        assert has_changed(made, now - dt.timedelta(minutes=2))
        assert not has_changed(made, now + dt.timedelta(minutes=2))
    assert made_at("1") is None
    assert has_changed("1", now)


def test_writes_keep_their_order() -> None:
    def found(*writes: tuple[str, str, Any]) -> list[PendingWrite]:
        one: Any = CheckpointTuple({}, empty_checkpoint(), {}, None, list(writes))
        return sorted(pending(serde, one), key=lambda write: write.order)

    writes = found(("b", "x", 1), ("b", "y", 2), ("a", "x", 3), ("b", "__error__", "e"))
    assert [(write.task_id, write.idx, write.channel) for write in writes] == [
        ("b", -1, "__error__"),
        ("b", 0, "x"),
        ("b", 1, "y"),
        ("a", 0, "x"),
    ]
    assert {write.task_path for write in found(("a", "x", 1), ("b", "x", 2))} == {""}


def test_an_index_of_keys() -> None:
    index = Index()
    index.add("checkpoints", [("t", "", "2", "k2"), ("t", "n", "1", "k1"), ("s", "", "3", "k3"), ("t", "", "2", "k2")])
    index.add("writes", [("t", "", "2", "w1"), ("t", "", "2", "w1"), ("s", "", "2", "w2")])
    assert index.threads() == ["t", "s"]
    assert index.checkpoints("t") == {("n", "1"): "k1", ("", "2"): "k2"}
    assert index.writes("t", ("", "2")) == ["w1"]


def test_small_things() -> None:
    assert glob("a*[b]?\\") == "a\\*\\[b\\]\\?\\\\"
    assert longest([1.0, 3.0]) == 3.0
    assert longest([1.0, None]) is None
    assert "pip install 'langgraph-checkpoint-redis'" in str(MissingPeer("langgraph-checkpoint-redis"))

    class FooCluster: ...

    with pytest.raises(statekeep.Unsupported, match="cluster"):
        Server(FooCluster())


def test_a_report_is_json() -> None:
    report = MigrationReport(threads=3, place=("a", "b"))
    assert MigrationReport.model_validate_json(report.model_dump_json()) == report
    error = VerificationFailed(["a", "b"], 2, report)
    import pickle

    twin = pickle.loads(pickle.dumps(error))
    assert (twin.differences, twin.report, str(twin)) == (error.differences, report, str(error))


@pytest.mark.anyio
async def test_both_faces_do_alike() -> None:
    saver, store = InMemorySaver(), InMemoryStore()
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    saver.put(config, checkpoint({"x": VALUES["message"]}), {"step": 1}, {"x": 1})
    store.put(("a",), "k", {"v": 1})
    async with statekeep.aconnect("memory:") as keep:
        assert (await amigrate(saver, keep, verify="all")).checkpoints_put == 1
        assert (await amigrate(store, keep.items, verify="all")).items_put == 1
        blocking = keep.blocking
        assert migrate(saver, blocking).written == migrate(store, blocking).written == 0
        found = await RepositorySaver(blocking.checkpoints).aget_tuple(config)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"x": VALUES["message"]}
