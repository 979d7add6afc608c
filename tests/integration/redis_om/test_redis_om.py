"""Records and redis-om: the contract C1 to C12.

On one server and on a cluster, with the clients that redis-om takes.
"""

from __future__ import annotations

import datetime as dt
import sys
import time
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_om import HashModel, Migrator, NotFoundError
from valkey.crc import key_slot

from statekeep import (
    Channel,
    Checkpoint,
    CheckpointRepository,
    CorruptRecord,
    InvalidInput,
    MissingDependency,
    Payload,
    PendingWrite,
    SavedCheckpoint,
    Thread,
)
from statekeep.contrib.redis_om import checkpoint_pk, index_commands, model_for, pending_write_pk
from statekeep.contrib.redis_om.schema import CHECKPOINT, PENDING_WRITE, RECORD_TYPES
from statekeep.domain import tagged_json
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys
from statekeep.testing import strategies
from statekeep.testing.strategies import NASTY_TEXTS

from .redis_om_world import Recorder, World

# Hypothesis looks through all imported modules, also through those that glide keeps under its old names.
pytestmark = pytest.mark.filterwarnings("ignore:Importing from 'glide:DeprecationWarning")


@pytest.fixture(scope="module")
def checkpoint_records(world: World) -> Any:
    return world.model(Checkpoint)


@pytest.fixture(scope="module")
def pending_write_records(world: World) -> Any:
    return world.model(PendingWrite)


nasty = st.sampled_from(NASTY_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
nasty_or_empty = st.just("") | nasty
versions = st.sampled_from(strategies.VERSIONS)


def builtin(metadata: dict[str, Any]) -> dict[str, Any]:
    """The same without values of subclasses, as redis-om gets it."""
    found: dict[str, Any] = tagged_json.decode(tagged_json.encode(metadata, tagged_json.as_builtin))
    return found


checkpoints = st.builds(
    Checkpoint,
    thread_id=nasty,
    namespace=nasty_or_empty,
    checkpoint_id=nasty,
    parent_id=st.none() | nasty,
    created_at=st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)),
    metadata=strategies.metadata().map(builtin),
    header=st.none() | strategies.payloads(),
    channels=st.dictionaries(
        nasty_or_empty,
        st.builds(Channel.of, versions, strategies.payloads()) | st.builds(Channel.empty, versions),
        max_size=3,
    ),
)
writes = st.builds(
    PendingWrite,
    task_id=nasty,
    task_path=nasty_or_empty,
    idx=st.integers(-4, 10**9),
    channel=nasty_or_empty,
    payload=strategies.payloads(),
)
with_fixtures = settings(suppress_health_check=list(HealthCheck), deadline=None)


def expected_checkpoint(checkpoint: Checkpoint) -> dict[str, Any]:
    """What docs/key-schema.md says that a record holds, written down a second time."""

    def token(name: str, channel: Channel) -> str:
        version = channel.version
        kind = {str: "s", int: "i", float: "f"}[type(version)]
        text = quote(version, safe="") if isinstance(version, str) else repr(version)
        mark = "" if channel.payload else "!"
        return f"{mark}{quote(name, safe='-_~').replace('.', '%2E')}:{kind}{text}"

    run_id = checkpoint.metadata.get("run_id")
    header = checkpoint.header
    return {
        "pk": checkpoint_pk(checkpoint.thread_id, checkpoint.checkpoint_id, namespace=checkpoint.namespace),
        "thread_id": checkpoint.thread_id,
        "namespace": checkpoint.namespace,
        "checkpoint_id": checkpoint.checkpoint_id,
        "parent_id": checkpoint.parent_id,
        "created_at": checkpoint.created_at,
        "run_id": run_id or None,
        "step": checkpoint.metadata.get("step"),
        "metadata": tagged_json.dumps(checkpoint.metadata),
        "encoding": header.encoding if header else "",
        "header": header.data if header else b"",
        "channels": "".join(f"{token(*pair)} " for pair in checkpoint.channels.items()),
    }


def expected_write(thread_id: str, namespace: str, checkpoint_id: str, write: PendingWrite) -> dict[str, Any]:
    return {
        "pk": pending_write_pk(thread_id, checkpoint_id, write.task_id, write.idx, namespace=namespace),
        "thread_id": thread_id,
        "namespace": namespace,
        "checkpoint_id": checkpoint_id,
        "task_id": write.task_id,
        "task_path": write.task_path,
        "idx": write.idx,
        "channel": write.channel,
        "encoding": write.payload.encoding,
        "value": write.payload.data,
    }


def comparable(checkpoint: SavedCheckpoint | None) -> dict[str, Any]:
    """Metadata may hold NaN, which equals nothing: its text is compared."""
    assert checkpoint is not None
    return dict(checkpoint) | {"metadata": tagged_json.dumps(checkpoint.metadata)}


def values_of(record: Any) -> dict[str, Any]:
    values: dict[str, Any] = record.model_dump()
    return values


def put_three(keep: CheckpointRepository, thread_id: str = "t") -> None:
    """Checkpoints 1, 2 and 3, each the child of the one before, each with a value and a pending write."""
    for number in (1, 2, 3):
        name = str(number)
        keep.put(
            Checkpoint(
                thread_id=thread_id,
                checkpoint_id=name,
                parent_id=str(number - 1) if number > 1 else None,
                metadata={"step": number, "run_id": f"run-{number}"},
                channels={"c": Channel.of(number, Payload(encoding="json", data=b"%d" % number))},
            )
        )
        keep.put_writes(thread_id, name, [write_of(name)])


def write_of(name: str, idx: int = 0) -> PendingWrite:
    return PendingWrite(task_id=f"task-{name}", idx=idx, channel="c", payload=Payload(encoding="json", data=b"[]"))


def ids(keep: CheckpointRepository, thread_id: str = "t") -> list[str]:
    return [checkpoint.checkpoint_id for checkpoint in keep.list(thread_id)]


def newest(keep: CheckpointRepository, thread_id: str = "t") -> str | None:
    found = keep.get(thread_id)
    return None if found is None else found.checkpoint_id


def threads(keep: CheckpointRepository) -> list[str]:
    return [thread.thread_id for thread in keep.list_threads()]


def forget_grace(world: World) -> None:
    """Let the entries of the thread index look an hour old."""
    key = f"{world.prefix}:thread-index:{{threads}}:time"
    for name, score in world.raw.zrange(key, 0, -1, withscores=True):
        world.raw.zadd(key, {name: score - 3600e6})


# -- C1: the same keys ------------------------------------------------------------------------------------------------


@with_fixtures
@given(thread_id=nasty, namespace=nasty_or_empty, checkpoint_id=nasty, task_id=nasty, idx=st.integers(-9, 9))
def test_c1_keys(
    world: World,
    checkpoint_records: Any,
    pending_write_records: Any,
    thread_id: str,
    namespace: str,
    checkpoint_id: str,
    task_id: str,
    idx: int,
) -> None:
    keys = namespace_keys(world.prefix, thread_id, namespace)
    pk = checkpoint_pk(thread_id, checkpoint_id, namespace=namespace)
    assert checkpoint_records.make_primary_key(pk) == keys.checkpoint(checkpoint_id)
    assert pk == keys.checkpoint_pk(checkpoint_id)
    pk = pending_write_pk(thread_id, checkpoint_id, task_id, idx, namespace=namespace)
    assert pending_write_records.make_primary_key(pk) == f"{world.prefix}:pending_write:{pk}"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [(("", "1"), "thread_id"), (("t", ""), "checkpoint_id"), ((1, "1"), "thread_id"), (("t", None), "checkpoint_id")],
)
def test_c1_wrong_ids(arguments: tuple[Any, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checkpoint_pk(*arguments)
    assert caught.value.field == field


@pytest.mark.parametrize(("task_id", "idx", "field"), [("", 0, "task_id"), ("t", "0", "idx"), ("t", 1.0, "idx")])
def test_c1_wrong_task(task_id: Any, idx: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        pending_write_pk("t", "1", task_id, idx)
    assert caught.value.field == field


# -- C2 to C4: the same bytes, read by either --------------------------------------------------------------------------


@with_fixtures
@given(checkpoint=checkpoints)
def test_c2_c3_c4_checkpoints(world: World, checkpoint_records: Any, checkpoint: Checkpoint) -> None:
    keep = world.repository()
    keep.delete_thread(checkpoint.thread_id)
    keep.put(checkpoint)
    place = {"namespace": checkpoint.namespace, "checkpoint_id": checkpoint.checkpoint_id}
    saved = keep.get(checkpoint.thread_id, **place)
    expected = expected_checkpoint(checkpoint)

    record = checkpoint_records.get(expected["pk"])
    assert values_of(record) == expected  # C2
    stored = world.raw.hgetall(record.key())
    for again in (record, checkpoint_records(**expected)):
        checkpoint_records.delete(expected["pk"])
        again.save()
        assert world.raw.hgetall(record.key()) == stored  # C4
        assert comparable(keep.get(checkpoint.thread_id, **place)) == comparable(saved)  # C3
    keep.delete_thread(checkpoint.thread_id)


@with_fixtures
@given(thread_id=nasty, namespace=nasty_or_empty, checkpoint_id=nasty, write=writes)
def test_c2_c3_c4_pending_writes(
    world: World, pending_write_records: Any, thread_id: str, namespace: str, checkpoint_id: str, write: PendingWrite
) -> None:
    keep = world.repository()
    keep.delete_thread(thread_id)
    keep.put(Checkpoint(thread_id=thread_id, namespace=namespace, checkpoint_id=checkpoint_id))
    keep.put_writes(thread_id, checkpoint_id, [write], namespace=namespace)
    expected = expected_write(thread_id, namespace, checkpoint_id, write)

    record = pending_write_records.get(expected["pk"])
    assert values_of(record) == expected  # C2
    stored = world.raw.hgetall(record.key())
    for again in (record, pending_write_records(**expected)):
        pending_write_records.delete(expected["pk"])
        again.save()
        assert world.raw.hgetall(record.key()) == stored  # C4
        keep.reindex(thread_id)
        found = keep.get(thread_id, namespace=namespace)
        assert found is not None
        assert found.pending_writes == (write,)  # C3
    keep.delete_thread(thread_id)


@with_fixtures
@given(before=checkpoints, after=checkpoints)
def test_c3_what_redis_om_changed(world: World, checkpoint_records: Any, before: Checkpoint, after: Checkpoint) -> None:
    keep = world.repository()
    keep.delete_thread(before.thread_id)
    keep.put(before)
    changed = {
        "parent_id": after.parent_id or before.parent_id,  # redis-om's save leaves what is None
        "created_at": after.created_at,
        "metadata": after.metadata,
        "header": after.header,
    }
    record = checkpoint_records.get(expected_checkpoint(before)["pk"])
    record.update(
        parent_id=changed["parent_id"],
        created_at=after.created_at,
        metadata=tagged_json.dumps(after.metadata),
        encoding=after.header.encoding if after.header else "",
        header=after.header.data if after.header else b"",
    )
    found = keep.get(before.thread_id, namespace=before.namespace, checkpoint_id=before.checkpoint_id)
    assert found is not None
    assert comparable(found)["metadata"] == tagged_json.dumps(after.metadata)
    assert (found.parent_id, found.created_at, found.header) == (
        changed["parent_id"],
        changed["created_at"],
        changed["header"],
    )
    keep.delete_thread(before.thread_id)


@pytest.mark.parametrize(
    "moment",
    [
        dt.datetime(1, 1, 2, tzinfo=dt.UTC),
        dt.datetime(9999, 12, 30, 23, 59, 59, 999999, tzinfo=dt.UTC),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=dt.UTC),
        dt.datetime(2026, 1, 1, tzinfo=dt.timezone(dt.timedelta(hours=5, minutes=45))),
    ],
)
def test_c2_times_far_away(fresh: World, moment: dt.datetime) -> None:
    """Beyond what a float holds exactly, redis-om still reads the moment; it would write it less exactly."""
    keep = fresh.repository()
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1", created_at=moment))
    assert fresh.model(Checkpoint).get(checkpoint_pk("t", "1")).created_at == moment


# -- C5, C6: what is None --------------------------------------------------------------------------------------------


def test_c5_put_replaces_the_whole_record(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    header = Payload(encoding="json", data=b"{}")
    keep.put(
        Checkpoint(thread_id="t", checkpoint_id="1", parent_id="0", metadata={"run_id": "r", "step": 1}, header=header)
    )
    before = Record.get(checkpoint_pk("t", "1"))
    assert (before.parent_id, before.run_id, before.step, before.encoding) == ("0", "r", 1, "json")
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    after = Record.get(checkpoint_pk("t", "1"))
    assert (after.parent_id, after.run_id, after.step, after.encoding, after.header) == (None, None, None, "", b"")
    stored = fresh.raw.hgetall(after.key())
    assert not {b"parent_id", b"run_id", b"step"} & stored.keys()


def test_c5_a_special_write_replaces_the_whole_record(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(PendingWrite)
    first = PendingWrite(task_id="a", idx=-1, channel="x", payload=Payload(encoding="json", data=b"1"))
    keep.put_writes("t", "1", [first])
    record = Record.get(pending_write_pk("t", "1", "a", -1))
    fresh.raw.hset(record.key(), "stale", "1")
    keep.put_writes("t", "1", [first])
    assert fresh.raw.hexists(record.key(), "stale") is False


def test_c6_optional_text_is_never_empty(fresh: World) -> None:
    """redis-om reads an empty optional text as None."""
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    keep.put(Checkpoint(thread_id="t", checkpoint_id="1", metadata={"run_id": ""}))
    record = Record.get(checkpoint_pk("t", "1"))
    assert record.run_id is None
    assert not fresh.raw.hexists(record.key(), "run_id")
    with pytest.raises(InvalidInput):
        Checkpoint(thread_id="t", parent_id="")
    optional = {field.name for kind in (CHECKPOINT, PENDING_WRITE) for field in kind.fields if field.optional}
    assert optional == {"parent_id", "run_id", "step"}


# -- C7: the same index ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Checkpoint, PendingWrite])
def test_c7_definition(recorder: Recorder, prefix: str, model: type) -> None:
    Record: Any = model_for(model, database=recorder, prefix=prefix)
    [create, *_] = index_commands(model, prefix=prefix)
    assert create == ["FT.CREATE", Record.Meta.index_name, *Record.redisearch_schema().split(" ")]


def test_c7_migrator_sends_the_same(recorder: Recorder, prefix: str) -> None:
    for model in (Checkpoint, PendingWrite):
        model_for(model, database=recorder, prefix=prefix)
    Migrator().run()
    assert recorder.sent == [*index_commands(Checkpoint, prefix=prefix), *index_commands(PendingWrite, prefix=prefix)]


def test_c7_migrator_has_nothing_to_do(recorder: Recorder, prefix: str) -> None:
    for name in (prefix, f"{prefix}-2"):
        for model in (Checkpoint, PendingWrite):
            model_for(model, database=recorder, prefix=name)
            for command in index_commands(model, prefix=name):
                recorder.execute_command(*command)
    assert len(recorder.indexes) == 4
    recorder.sent.clear()
    migrator = Migrator()
    migrator.run()
    assert migrator.migrations == []
    assert recorder.sent == []


def test_c7_migrator_would_notice_another_definition(recorder: Recorder, prefix: str) -> None:
    model_for(Checkpoint, database=recorder, prefix=prefix)
    for command in index_commands(Checkpoint, prefix=prefix):
        recorder.execute_command(*command)
    recorder.set(f"{prefix}:checkpoint:index:hash", "another")
    recorder.sent.clear()
    Migrator().run()
    assert [command[0] for command in recorder.sent] == ["FT.DROPINDEX", "FT.CREATE", "SET", "SET"]


def test_c7_marks_disturb_nobody(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    put_three(keep)
    for _, *command in index_commands(Checkpoint, prefix=fresh.prefix)[1:]:
        fresh.raw.set(*command)
    assert len(set(Record.all_pks())) == 3
    assert keep.reindex("t") == 3
    assert ids(keep) == ["3", "2", "1"]


# -- C8: only records under a record's prefix ------------------------------------------------------------------------


@with_fixtures
@given(
    made=st.lists(st.tuples(nasty, nasty_or_empty, nasty, writes), min_size=1, max_size=4),
    ttl=st.sampled_from([None, 1000.0]),
)
def test_c8_all_pks(
    world: World,
    checkpoint_records: Any,
    pending_write_records: Any,
    made: list[tuple[str, str, str, PendingWrite]],
    ttl: float | None,
) -> None:
    keep = world.repository(ttl=ttl)
    beside = [world.repository(prefix=world.prefix + more) for more in ("2", ":2", "-checkpoint")]
    expected: dict[str, set[str]] = {"checkpoint": set(), "pending_write": set()}
    for thread_id, namespace, checkpoint_id, write in made:
        for repository in (keep, *beside):
            repository.put(
                Checkpoint(
                    thread_id=thread_id,
                    namespace=namespace,
                    checkpoint_id=checkpoint_id,
                    metadata={"run_id": "r"},
                    channels={"c": Channel.of(1, write.payload)},
                )
            )
            repository.put_writes(thread_id, checkpoint_id, [write], namespace=namespace)
        expected["checkpoint"].add(checkpoint_pk(thread_id, checkpoint_id, namespace=namespace))
        expected["pending_write"].add(
            pending_write_pk(thread_id, checkpoint_id, write.task_id, write.idx, namespace=namespace)
        )
    for name, Record in (("checkpoint", checkpoint_records), ("pending_write", pending_write_records)):
        assert set(Record.all_pks()) == expected[name]
        assert world.hashes(f"{world.prefix}:{name}:") == {f"{world.prefix}:{name}:{pk}" for pk in expected[name]}
    for repository in (keep, *beside):
        for thread_id, *_ in made:
            repository.delete_thread(thread_id)
    assert set(checkpoint_records.all_pks()) == set(pending_write_records.all_pks()) == set()


# -- C9: records that others delete, add and change ------------------------------------------------------------------


def index(world: World, name: str, thread_id: str = "t") -> list[str]:
    keys = namespace_keys(world.prefix, thread_id, "")
    return [member.decode() for member in world.raw.zrange(getattr(keys, name), 0, -1)]


@pytest.mark.parametrize("ttl", [None, 1000.0])
@pytest.mark.parametrize("how", ["delete", "expire"])
def test_c9_old_checkpoint_gone(fresh: World, how: str, ttl: float | None) -> None:
    keep = fresh.repository(ttl=ttl)
    put_three(keep)
    remove(fresh, "2", how)
    assert keep.get("t", checkpoint_id="2") is None
    assert newest(keep) == "3"
    assert index(fresh, "checkpoints") == ["1", "2", "3"]
    assert ids(keep) == ["3", "1"]
    assert [checkpoint.checkpoint_id for checkpoint in keep.list("t", metadata={"step": 1})] == ["1"]
    assert index(fresh, "checkpoints") == ["1", "3"]
    assert "c2" not in index(fresh, "expiry")
    assert set(keep.ancestors("t", ["c"])) == {"c"}
    assert keep.reindex("t") == 2
    keep.put(Checkpoint(thread_id="t", checkpoint_id="4", channels={"c": Channel.earlier(3)}))
    assert ids(keep) == ["4", "3", "1"]


def remove(world: World, checkpoint_id: str, how: str) -> None:
    Record = world.model(Checkpoint)
    if how == "delete":
        assert Record.delete(checkpoint_pk("t", checkpoint_id)) == 1
    else:
        Record.get(checkpoint_pk("t", checkpoint_id)).expire(1)
        time.sleep(1.05)


@pytest.mark.parametrize("ttl", [None, 1000.0])
@pytest.mark.parametrize("how", ["delete", "expire"])
def test_c9_newest_checkpoint_gone(fresh: World, how: str, ttl: float | None) -> None:
    """Until ``reindex`` (or a newer checkpoint), ``get`` without an id answers from the copy of the newest."""
    keep = fresh.repository(ttl=ttl)
    put_three(keep)
    remove(fresh, "3", how)
    assert keep.get("t", checkpoint_id="3") is None
    assert newest(keep) == "3"
    assert ids(keep) == ["2", "1"]
    assert keep.reindex("t") == 2
    assert newest(keep) == "2"
    assert ids(keep) == ["2", "1"]
    assert index(fresh, "checkpoints") == ["1", "2"]


def test_c9_newest_checkpoint_gone_and_a_newer_one_put(fresh: World) -> None:
    keep = fresh.repository()
    put_three(keep)
    remove(fresh, "3", "delete")
    keep.put(Checkpoint(thread_id="t", checkpoint_id="4"))
    assert newest(keep) == "4"
    assert ids(keep) == ["4", "2", "1"]


def test_c9_all_checkpoints_gone(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    put_three(keep)
    assert Record.delete_many([Record.get(pk) for pk in list(Record.all_pks())]) == 3
    assert ids(keep) == []
    assert keep.reindex("t") == 0
    assert keep.get("t") is None
    forget_grace(fresh)
    assert threads(keep) == []
    # The pending writes are left: they may belong to a checkpoint that is yet to come.
    keep.put(Checkpoint(thread_id="t", checkpoint_id="2"))
    found = keep.get("t")
    assert found is not None
    assert found.pending_writes == (write_of("2"),)
    keep.delete_thread("t")
    assert not [key for key in fresh.all_keys() if "{t}" in key]


@pytest.mark.parametrize("ttl", [None, 1000.0])
def test_c9_pending_write_gone(fresh: World, ttl: float | None) -> None:
    keep, Record = fresh.repository(ttl=ttl), fresh.model(PendingWrite)
    put_three(keep)
    keep.put_writes("t", "3", [write_of("3", 1)])
    Record.delete(pending_write_pk("t", "3", "task-3", 0))
    assert len(index(fresh, "writes")) == 4
    assert stored_writes(keep, "3") == (write_of("3", 0), write_of("3", 1))  # answered from `pending-values`
    assert keep.reindex("t") == 3
    assert stored_writes(keep, "3") == (write_of("3", 1),)
    assert len(index(fresh, "writes")) == 3
    assert not [entry for entry in index(fresh, "expiry") if entry.startswith("w3:task-3:0:")]

    # The walk to the ancestors looks at the records.
    Record.delete(pending_write_pk("t", "2", "task-2", 0))
    keep.put(Checkpoint(thread_id="t", checkpoint_id="4", parent_id="2", channels={"c": Channel.replayed(4)}))
    assert keep.ancestors("t", ["c"], checkpoint_id="4")["c"].writes == ()
    assert len(index(fresh, "writes")) == 2
    assert stored_writes(keep, "2") == ()
    assert [checkpoint.pending_writes for checkpoint in keep.list("t")] == [
        (),
        (write_of("3", 1),),
        (),
        (write_of("1"),),
    ]

    Record.get(pending_write_pk("t", "1", "task-1", 0)).expire(1)
    assert keep.reindex("t") == 4
    time.sleep(1.05)
    assert stored_writes(keep, "1") == ()
    assert keep.reindex("t") == 4
    assert len(index(fresh, "writes")) == 1
    assert fresh.raw.hlen(namespace_keys(fresh.prefix, "t", "").pending) == 1
    # What was deleted can be written again.
    keep.put_writes("t", "3", [write_of("3", 0)])
    assert stored_writes(keep, "3") == (write_of("3", 0), write_of("3", 1))


def stored_writes(keep: CheckpointRepository, checkpoint_id: str) -> tuple[PendingWrite, ...]:
    found = keep.get("t", checkpoint_id=checkpoint_id)
    assert found is not None
    return found.pending_writes


@pytest.mark.parametrize("ttl", [None, 1000.0])
def test_c9_changed_pending_write(fresh: World, ttl: float | None) -> None:
    keep, Record = fresh.repository(ttl=ttl), fresh.model(PendingWrite)
    put_three(keep)
    Record.get(pending_write_pk("t", "3", "task-3", 0)).update(task_path="a:b c", encoding="x.y", value=b"changed")
    assert stored_writes(keep, "3") == (write_of("3"),)
    keep.put_writes("t", "3", [write_of("3")])  # the first one stays, with what was made of it
    assert stored_writes(keep, "3") == (write_of("3"),)
    assert keep.reindex("t") == 3
    changed = Payload(encoding="x.y", data=b"changed")
    assert stored_writes(keep, "3") == (write_of("3").model_copy(update={"task_path": "a:b c", "payload": changed}),)
    assert [checkpoint.checkpoint_id for checkpoint in keep.list("t")] == ["3", "2", "1"]


def test_c9_writes_without_copies(fresh: World) -> None:
    """Records and an index are all that former versions made; they are read, and ``reindex`` makes the rest."""
    keep = fresh.repository()
    put_three(keep)
    pending = namespace_keys(fresh.prefix, "t", "").pending
    before = fresh.raw.hgetall(pending)
    listed = list(keep.list("t"))
    fresh.raw.delete(pending)
    assert stored_writes(keep, "3") == (write_of("3"),)
    assert list(keep.list("t")) == listed
    keep.put_writes("t", "3", [write_of("3", 1)])
    assert stored_writes(keep, "3") == (write_of("3"), write_of("3", 1))
    assert fresh.raw.hlen(pending) == 1
    fresh.raw.hset(pending, "of nothing", "x")
    assert keep.reindex("t") == 3
    assert stored_writes(keep, "3") == (write_of("3"), write_of("3", 1))
    assert before.items() < fresh.raw.hgetall(pending).items()
    assert fresh.raw.hlen(pending) == 4


def test_c9_saved_checkpoint(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    put_three(keep)
    made = Checkpoint(thread_id="t", checkpoint_id="9", parent_id="3", metadata={"run_id": "run-9"})
    Record(**expected_checkpoint(made)).save()
    found = keep.get("t", checkpoint_id="9")
    assert found is not None
    assert (found.parent_id, found.created_at, found.metadata) == ("3", made.created_at, made.metadata)
    assert newest(keep) == "3"
    assert ids(keep) == ["3", "2", "1"]

    assert keep.reindex("t") == 4
    assert newest(keep) == "9"
    assert ids(keep) == ["9", "3", "2", "1"]
    keep.delete_runs(["run-9"])
    assert ids(keep) == ["3", "2", "1"]
    assert newest(keep) == "3"


def test_c9_saved_thread(fresh: World) -> None:
    """A thread that redis-om made, in two namespaces."""
    keep, Record, Write = fresh.repository(), fresh.model(Checkpoint), fresh.model(PendingWrite)
    for namespace in ("", "sub:{}"):
        made = Checkpoint(thread_id="new *", namespace=namespace, checkpoint_id="1")
        Record(**expected_checkpoint(made)).save()
        Write(**expected_write("new *", namespace, "1", write_of("1"))).save()
    assert threads(keep) == []
    assert keep.reindex("new *") == 2
    assert threads(keep) == ["new *"]
    found = list(keep.list("new *"))
    assert [checkpoint.namespace for checkpoint in found] == ["", "sub:{}"]
    assert [checkpoint.pending_writes for checkpoint in found] == [(write_of("1"),)] * 2
    keep.delete_thread("new *")
    assert not [key for key in fresh.all_keys() if "{new" in key]


def test_c9_saved_pending_write_with_another_channel(fresh: World) -> None:
    keep, Write = fresh.repository(), fresh.model(PendingWrite)
    put_three(keep)
    Write.get(pending_write_pk("t", "3", "task-3", 0)).update(channel="d")
    assert keep.reindex("t") == 3
    found = keep.get("t")
    assert found is not None
    assert [write.channel for write in found.pending_writes] == ["d"]
    assert sorted(index(fresh, "writes")) == ["1:task-1:0:c", "2:task-2:0:c", "3:task-3:0:d"]


def test_c9_changed_checkpoint(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    put_three(keep)
    Record.get(checkpoint_pk("t", "3")).update(metadata='{"step":3,"label":"x"}')
    by_id = keep.get("t", checkpoint_id="3")
    assert by_id is not None
    assert by_id.metadata["label"] == "x"
    latest = keep.get("t")
    assert latest is not None
    assert "label" not in latest.metadata
    keep.reindex("t")
    latest = keep.get("t")
    assert latest == by_id
    assert [checkpoint.checkpoint_id for checkpoint in keep.list("t", metadata={"label": "x"})] == ["3"]


def test_c9_damaged_record(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    put_three(keep)
    record = Record.get(checkpoint_pk("t", "1"))
    record.update(metadata="not JSON")
    with pytest.raises(CorruptRecord) as caught:
        keep.get("t", checkpoint_id="1")
    assert caught.value.key == record.key()
    assert keep.reindex("t") == 3


def test_c9_channels_that_are_not_stored(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    made = Checkpoint(thread_id="t", checkpoint_id="1", channels={"c": Channel.empty(1)})
    Record(**expected_checkpoint(made) | {"channels": "!c:i1 "}).save()
    found = keep.get("t", checkpoint_id="1")
    assert found is not None
    assert found.channels == {"c": Channel.empty(1)}
    Record.get(checkpoint_pk("t", "1")).update(channels="c:i1 ")
    with pytest.raises(CorruptRecord, match="the value of channel 'c' is gone"):
        keep.get("t", checkpoint_id="1")


@pytest.mark.parametrize("how", ["persist", "expire", "save"])
def test_c9_a_longer_life_reaches_the_values(fresh: World, how: str) -> None:
    """redis-om lengthens the life of a record; after ``reindex`` its values last as long."""
    keep, Record = fresh.repository(ttl=2), fresh.model(Checkpoint)
    put_three(keep)
    pk = checkpoint_pk("t", "3")
    record = Record.get(pk)
    if how == "persist":
        fresh.raw.persist(record.key())
    elif how == "expire":
        record.expire(100)
    else:
        Record.delete(pk)
        record.save()
    assert keep.reindex("t") == 3
    time.sleep(2.1)
    # Putting something drops what has expired.
    keep.put(Checkpoint(thread_id="t", checkpoint_id="0"))
    for found in (keep.get("t"), keep.get("t", checkpoint_id="3"), next(keep.list("t"))):
        assert found is not None
        assert found.checkpoint_id == "3"
        assert found.channels == {"c": Channel.of(3, Payload(encoding="json", data=b"3"))}
    assert ids(keep) == ["3", "0"]
    assert threads(keep) == ["t"]


def test_c9_foreign_keys_do_not_stop_reindex(fresh: World) -> None:
    keep = fresh.repository()
    put_three(keep)
    for end in (b"a", b"a:b:c:d:e", b"a:\xff", b"not encoded:1"):
        fresh.raw.hset(f"{fresh.prefix}:checkpoint:{{t}}:".encode() + end, "x", "1")
    assert keep.reindex("t") == 3
    assert ids(keep) == ["3", "2", "1"]


def test_c9_derived_keys_are_rebuilt(fresh: World) -> None:
    keep = fresh.repository()
    put_three(keep)
    keep.put(Checkpoint(thread_id="t", namespace="sub:{}", checkpoint_id="7", metadata={"run_id": "run-1"}))
    records = ("checkpoint", "pending_write", "channel-values")
    derived = {key for key in fresh.all_keys() if key.removeprefix(fresh.prefix).split(":")[1] not in records}
    # head and checkpoints, pending writes and their values, namespaces, threads, runs
    assert len(derived) == 2 * 2 + 2 + 1 + 2 + 3
    before = {key: contents(fresh, key) for key in derived}
    listed = list(keep.list("t"))
    for key in derived:
        fresh.raw.delete(key)
    assert keep.get("t") is None
    assert list(keep.list()) == []

    assert keep.reindex("t") == 4
    assert {key: contents(fresh, key) for key in derived} == before
    assert fresh.all_keys() >= derived
    assert list(keep.list()) == listed


def contents(world: World, key: str) -> Any:
    kind = world.raw.type(key)
    if kind == b"hash":
        return world.raw.hgetall(key)
    if kind == b"set":
        return world.raw.smembers(key)
    pairs = world.raw.zrange(key, 0, -1, withscores=True)
    return [name for name, _ in pairs] if key.endswith(":time") else pairs


def test_c9_threads_of_a_listing(fresh: World) -> None:
    keep, Record = fresh.repository(), fresh.model(Checkpoint)
    put_three(keep, "a")
    put_three(keep, "b")
    for number in "123":
        Record.delete(checkpoint_pk("a", number))
    assert {checkpoint.thread_id for checkpoint in keep.list()} == {"b"}
    keep.reindex("a")
    forget_grace(fresh)
    found = list(keep.list_threads())
    assert [thread.thread_id for thread in found] == ["b"]
    assert all(isinstance(thread, Thread) for thread in found)


# -- C10: time to live -----------------------------------------------------------------------------------------------


def test_c10_keys_expire_not_fields(fresh: World) -> None:
    keep, Record = fresh.repository(ttl=100), fresh.model(Checkpoint)
    put_three(keep)
    for key in fresh.all_keys():
        if "thread-index" not in key:
            # The index of a run outlives the checkpoints that it leads to, also when they are refreshed.
            most = 125_000 if ":run-index:" in key else 100_000
            assert 60_000 < fresh.raw.pttl(key) <= most
        if key in fresh.hashes(fresh.prefix):
            names = list(fresh.raw.hgetall(key))
            assert set(fresh.raw.execute_command("HPTTL", key, "FIELDS", len(names), *names)) == {-1}
    record = Record.get(checkpoint_pk("t", "3"))
    record.update(step=4)
    assert 60_000 < fresh.raw.pttl(record.key()) <= 100_000


# -- C11: one slot per thread ----------------------------------------------------------------------------------------


@with_fixtures
@given(checkpoint=checkpoints, write=writes, ttl=st.sampled_from([None, 1000.0]))
def test_c11_one_slot(world: World, checkpoint: Checkpoint, write: PendingWrite, ttl: float | None) -> None:
    keep = world.repository(ttl=ttl)
    keep.put(checkpoint)
    keep.put_writes(checkpoint.thread_id, checkpoint.checkpoint_id, [write], namespace=checkpoint.namespace)
    tag = "{" + quote(checkpoint.thread_id, safe="-_~").replace(".", "%2E") + "}"
    keys = world.all_keys()
    own = {key for key in keys if tag in key}
    assert len(own) >= 5
    assert {key_slot(key.encode()) for key in own} == {key_slot(tag.encode())}
    assert {":".join(key.removeprefix(world.prefix).split(":")[:2]) for key in keys - own} <= {
        ":thread-index",
        ":run-index",
    }
    keep.delete_thread(checkpoint.thread_id)


# -- C12: names and types --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("record_type", RECORD_TYPES, ids=lambda record_type: record_type.name)
def test_c12_names_and_types(record_type: Any) -> None:
    names = {field.name for field in record_type.fields}
    assert not names & set(dir(HashModel))
    assert "pk" not in names
    assert {field.type for field in record_type.fields} <= {str, int, float, bool, bytes, dt.datetime}


# -- model_for itself ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [Payload, Thread, dict, "Checkpoint"])
def test_unknown_model(model: Any) -> None:
    for make in (lambda: model_for(model, database=None), lambda: index_commands(model)):
        with pytest.raises(InvalidInput, match="must be one of Checkpoint, PendingWrite") as caught:
            make()
        assert caught.value.field == "model"


@pytest.mark.parametrize("wrong", ["", ":a", "a:", "a b", "a\n", "{a}", "a*", "a?", "[a]", "a\\", None, b"a"])
def test_wrong_prefix(wrong: Any) -> None:
    for make in (
        lambda: model_for(Checkpoint, database=None, prefix=wrong),
        lambda: index_commands(Checkpoint, prefix=wrong),
    ):
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.field == "prefix"


def test_without_redis_om(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis_om", None)
    with pytest.raises(MissingDependency, match=r"pip install 'statekeep\[redis-om\]'"):
        model_for(Checkpoint, database=None)
    assert index_commands(Checkpoint)[0][0] == "FT.CREATE"


def test_missing_record(fresh: World) -> None:
    with pytest.raises(NotFoundError):
        fresh.model(Checkpoint).get(checkpoint_pk("t", "1"))
