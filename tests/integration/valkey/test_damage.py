"""Whatever happens to the stored bytes, a read says so, or it answers as before; it never returns something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from statekeep import Channel, Checkpoint, CorruptRecord, MissingChannels
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.checkpoints.keys import NamespaceKeys, namespace_keys, thread_index_keys
from statekeep.testing.servers import ValkeyServer

from .valkey_audit import audit
from .valkey_kinds import chain, payload, write

THREAD = "t"

GARBAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda old: b"",
    "no text": lambda old: b"\xff\xfe\x80",
    "odd characters": lambda old: b"!!{[\n  \x00",
    "half": lambda old: old[: len(old) // 2],
    "longer": lambda old: old + b"?!",
    "reversed": lambda old: old[::-1],
    "nested": lambda old: b"[" * 100_000,
}

NOT_READ = {
    (model, name) for model in ("checkpoint", "head") for name in ("thread_id", "namespace", "run_id", "step")
} | {("pending_write", name) for name in ("thread_id", "namespace", "checkpoint_id", "task_id", "idx")}
"""Fields that reading a checkpoint or write does not need: the key says it, or the metadata."""

FREE = {
    # Any text, or the absence of one, may be what somebody wrote there with redis-om.
    "parent_id",
    "encoding",
    "task_path",
    "channel",
    # Half of a base64 text may be base64, half of a number a number. The serializer finds out about the first.
    "header",
    "value",
    "created_at",
}
"""Fields of which some damage cannot be told from a change that somebody made with redis-om."""


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def repository(client: Any, prefix: str) -> CheckpointRepository:
    repository = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix))
    for checkpoint in chain(THREAD, 3, run_id="run"):
        values = {name: getattr(checkpoint, name) for name in Checkpoint.model_fields}
        channels = {**checkpoint.channels, "empty": Channel.empty("v"), "delta": Channel.replayed(1.5)}
        repository.put(Checkpoint(**values | {"channels": channels}))
        repository.put_writes(THREAD, checkpoint.checkpoint_id, [write("task", 0, b"done"), write("task", -1)])
    assert not audit(client, prefix).problems
    return repository


def everything(repository: CheckpointRepository) -> dict[str, Any]:
    """All that can be read of the thread, part by part: what was read, or the error that was raised."""

    def attempt(read: Callable[[], Any]) -> Any:
        try:
            return read()
        except CorruptRecord as error:
            return error

    return {
        "newest": attempt(lambda: repository.get(THREAD)),
        **{
            checkpoint_id: attempt(partial(repository.get, THREAD, checkpoint_id=checkpoint_id))
            for checkpoint_id in ("00000", "00001", "00002")
        },
        "list": attempt(lambda: list(repository.list(THREAD))),
        "filter": attempt(lambda: list(repository.list(THREAD, metadata={"step": 1}))),
        "all": attempt(lambda: list(repository.list())),
        "ancestors": attempt(lambda: repository.ancestors(THREAD, ["items", "counter", "constant", "delta"])),
    }


def differences(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """The answers that are neither an error nor what they were."""
    return {
        name: answer
        for name, answer in after.items()
        if answer != before[name] and not isinstance(answer, CorruptRecord)
    }


def errors(after: dict[str, Any]) -> list[CorruptRecord]:
    return [answer for answer in after.values() if isinstance(answer, CorruptRecord)]


def records(client: Any, prefix: str) -> list[str]:
    found = [key.decode() for key in client.scan_iter(f"{prefix}:*", _type="HASH")]
    return sorted(key for key in found if ":channel-values:" not in key and ":pending-values:" not in key)


@pytest.mark.parametrize("kind", GARBAGE)
def test_damaged_fields_of_records(repository: CheckpointRepository, client: Any, prefix: str, kind: str) -> None:
    # Otherwise the records of pending writes are not looked at.
    client.delete(namespace_keys(prefix, THREAD, "").pending)
    before = everything(repository)
    assert not errors(before)
    reported = set()
    for key in records(client, prefix):
        model = key.split(":")[1]
        for field, value in client.hgetall(key).items():
            name = field.decode()
            damaged = GARBAGE[kind](value)
            client.hset(key, field, damaged)
            after = everything(repository)
            client.hset(key, field, value)
            where = (model, name)
            if damaged == value:
                continue
            if where in NOT_READ:
                assert after == before, where
                continue
            for error in errors(after):
                assert error.key == key, where
            if errors(after):
                reported.add(where)
            if name not in FREE and (name, kind) != ("channels", "empty"):  # there are checkpoints without channels
                assert not differences(before, after), where
                assert errors(after), where
            if kind == "no text":
                assert errors(after), where
    assert everything(repository) == before
    always = {(model, name) for model in ("head", "checkpoint") for name in ("checkpoint_id", "metadata")}
    assert reported >= always
    if kind in ("no text", "odd characters"):
        assert reported >= {("head", "header"), ("checkpoint", "header"), ("checkpoint", "created_at")}


@pytest.mark.parametrize(
    "channels",
    [
        b"? ",
        b"! ",
        b"?! constant:i1 ",
        b"?constant:i1 ! ",
        b"!a:i1_0 ",
        b"!a:i+1 ",
        b"!a:fnan ",
        b"?a:finf ",
        b"!a:f1 ",
    ],
)
def test_marks_without_a_channel(repository: CheckpointRepository, client: Any, prefix: str, channels: bytes) -> None:
    record = namespace_keys(prefix, THREAD, "").checkpoint("00001")
    client.hset(record, "channels", channels)
    for read in (lambda: repository.get(THREAD, checkpoint_id="00001"), lambda: list(repository.list(THREAD))):
        with pytest.raises(CorruptRecord) as raised:
            read()
        assert raised.value.key == record


def test_missing_fields_of_records(repository: CheckpointRepository, client: Any, prefix: str) -> None:
    client.delete(namespace_keys(prefix, THREAD, "").pending)
    before = everything(repository)
    for key in records(client, prefix):
        for field, value in client.hgetall(key).items():
            name, model = field.decode(), key.split(":")[1]
            client.hdel(key, field)
            after = everything(repository)
            client.hset(key, field, value)
            if (model, name) in NOT_READ:
                assert after == before, key
            elif name != "parent_id":  # the first checkpoint has none either
                assert not differences(before, after), (key, name)
                assert {error.key for error in errors(after)} == {key}, (key, name)
    assert everything(repository) == before


@pytest.mark.parametrize("kind", [*GARBAGE, "missing"])
def test_damaged_values_of_pending_writes(
    repository: CheckpointRepository, client: Any, prefix: str, kind: str
) -> None:
    """They are copies: the records are read instead."""
    before = everything(repository)
    pending = namespace_keys(prefix, THREAD, "").pending
    entries = client.hgetall(pending)
    assert len(entries) == 6
    for field, value in entries.items():
        if kind == "missing":
            client.hdel(pending, field)
        else:
            client.hset(pending, field, GARBAGE[kind](value))
        assert everything(repository) == before
        client.hset(pending, field, value)
    client.hset(pending, "of nothing", "x")
    client.hset(pending, b"\xff", GARBAGE.get(kind, bytes)(b"x"))
    assert everything(repository) == before
    assert repository.reindex(THREAD) == 3
    assert client.hgetall(pending) == entries
    assert everything(repository) == before


@pytest.mark.parametrize("field", ["value", "encoding", "task_path"])
def test_a_damaged_record_is_not_copied(repository: CheckpointRepository, client: Any, prefix: str, field: str) -> None:
    keys = namespace_keys(prefix, THREAD, "")
    record = keys.write("00002:task:0:items")
    for damaged in (b"!!", b"\xff", None):
        client.hdel(record, field)
        if damaged is not None:
            client.hset(record, field, damaged)
        assert repository.reindex(THREAD) == 3
        if (field, damaged) in {("encoding", b"!!"), ("task_path", b"!!")}:  # any text will do
            assert repository.get(THREAD)
            continue
        for read in (lambda: repository.get(THREAD), lambda: list(repository.list(THREAD))):
            with pytest.raises(CorruptRecord) as raised:
                read()
            assert raised.value.key == record


@pytest.mark.parametrize("kind", [*GARBAGE, "missing"])
def test_damaged_channel_values(repository: CheckpointRepository, client: Any, prefix: str, kind: str) -> None:
    before = everything(repository)
    keys = namespace_keys(prefix, THREAD, "")
    fields = set(client.hgetall(keys.values)) - {b"generation"}
    assert fields == {b"constant:i1", b"counter:i1", b"counter:i2", b"counter:i3"}
    for field in fields:
        value = client.hget(keys.values, field)
        assert value is not None
        if kind == "missing":
            client.hdel(keys.values, field)
        else:
            client.hset(keys.values, field, GARBAGE[kind](value))
        after = everything(repository)
        client.hset(keys.values, field, value)
        assert not differences(before, after)
        assert {error.key for error in errors(after)} == {keys.values}
        assert isinstance(after["list"], CorruptRecord)
    assert everything(repository) == before


def sorted_sets(keys: NamespaceKeys) -> list[str]:
    return [keys.checkpoints, keys.writes, keys.namespaces]


@pytest.mark.parametrize("kind", ["string", "hash", "list", "set", "sorted set"])
def test_keys_of_another_type(repository: CheckpointRepository, client: Any, prefix: str, kind: str) -> None:
    before = everything(repository)
    keys = namespace_keys(prefix, THREAD, "")
    for key in [*records(client, prefix), keys.values, keys.pending, *sorted_sets(keys)]:
        saved = {name: client.dump(name) for name in client.scan_iter(f"{prefix}:*")}
        right = client.type(key)
        client.delete(key)
        if ":pending_write:" in key:
            client.delete(keys.pending)
        match kind:
            case "string":
                client.set(key, b"garbage")
            case "hash":
                client.hset(key, "garbage", "1")
            case "list":
                client.rpush(key, "garbage")
            case "set":
                client.sadd(key, "garbage")
            case "sorted set":
                client.zadd(key, {"garbage": 1})
        wrong = client.type(key) != right
        after = everything(repository)
        # All of them: what is derived follows what was read.
        client.delete("nothing", *client.scan_iter(f"{prefix}:*"))
        for name, dump in saved.items():
            client.restore(name, 0, dump)
        if wrong:
            assert errors(after), key
            assert {error.key for error in errors(after)} == {key}
            assert not differences(before, after), key
    assert everything(repository) == before


def test_index_members_that_are_no_text(repository: CheckpointRepository, client: Any, prefix: str) -> None:
    before = everything(repository)
    keys = namespace_keys(prefix, THREAD, "")
    for key, member in [
        (keys.checkpoints, b"\xff\xfe"),
        (keys.writes, b"00001:\xff"),
        (keys.namespaces, b"\xff"),
    ]:
        client.zadd(key, {member: 1 if key == keys.namespaces else 0})
        after = everything(repository)
        assert errors(after), key
        assert {error.key for error in errors(after)} == {key}
        assert not differences(before, after)
        client.zrem(key, member)
    assert everything(repository) == before


@pytest.mark.parametrize(
    ("member", "score"), [(b"\xff", 9e15), (b"\xff", 0), ("later", "inf"), ("earlier", "-inf"), ("never", "1e300")]
)
def test_members_of_the_index_of_threads(
    repository: CheckpointRepository, client: Any, prefix: str, member: str | bytes, score: float | str
) -> None:
    by_time, by_name, _ = thread_index_keys(prefix)
    before = list(repository.list_threads())
    client.zadd(by_time, {member: score})
    client.zadd(by_name, {member: 0})
    name = member if isinstance(member, str) else ""
    for read in (
        lambda: list(repository.list_threads()),
        lambda: list(repository.list_threads(after=before[0]) if score in (0, "-inf") else repository.list_threads()),
        lambda: list(repository.list()),
        lambda: list(repository.list_threads(prefix=name) if name else repository.list()),
    ):
        with pytest.raises(CorruptRecord) as raised:
            read()
        assert raised.value.key == by_time
    client.zrem(by_time, member)
    client.zrem(by_name, member)
    assert list(repository.list_threads()) == before


@pytest.mark.parametrize(
    "member", ["00001", "00001:", "00001:task", "00001:task:x:items", "00001:task:0:items:x", "zzz"]
)
def test_index_members_without_a_record_are_dropped(
    repository: CheckpointRepository, client: Any, prefix: str, member: str
) -> None:
    before = everything(repository)
    keys = namespace_keys(prefix, THREAD, "")
    client.zadd(keys.writes, {member: 0})
    client.zadd(keys.checkpoints, {member + "x": 0})
    client.delete(keys.head)
    assert everything(repository) == before
    assert not client.zscore(keys.checkpoints, member + "x")


def test_indexes_that_are_gone_are_rebuilt(repository: CheckpointRepository, client: Any, prefix: str) -> None:
    before = everything(repository)
    keys = namespace_keys(prefix, THREAD, "")
    client.delete(keys.head, *sorted_sets(keys), *client.keys(f"{prefix}:thread-index:*"), f"{prefix}:run-index:run")
    assert repository.get(THREAD, checkpoint_id="00001")
    assert repository.reindex(THREAD) == 3
    assert everything(repository) == before
    assert not audit(client, prefix).problems
    assert [thread.thread_id for thread in repository.list_threads()] == [THREAD]
    repository.delete_runs(["run"])
    assert repository.get(THREAD) is None


def test_a_deleted_value_is_reported_and_supplied(repository: CheckpointRepository, client: Any, prefix: str) -> None:
    keys = namespace_keys(prefix, THREAD, "")
    client.hdel(keys.values, "constant:i1")
    with pytest.raises(CorruptRecord, match="constant") as raised:
        repository.get(THREAD)
    assert raised.value.key == keys.values
    following = chain(THREAD, 4)[3]
    with pytest.raises(MissingChannels) as missing:
        repository.put(following)
    assert missing.value.channels == {"constant"}
    assert repository.get(THREAD, checkpoint_id="00003") is None
    asked: list[list[str]] = []

    def supply(names: Any) -> dict[str, Any]:
        asked.append(sorted(names))
        return {"constant": payload(b"constant")}

    repository.put(following, supply=supply)
    assert asked == [["constant"]]
    # The others are whole again as well.
    assert all(saved.channels["constant"].payload == payload(b"constant") for saved in repository.list(THREAD))
    assert len(list(repository.list(THREAD))) == 4


def test_pruning_does_not_count_checkpoints_that_are_gone(
    repository: CheckpointRepository, client: Any, prefix: str
) -> None:
    keys = namespace_keys(prefix, THREAD, "")
    # As redis-om deletes.
    client.delete(keys.checkpoint("00002"), keys.head)
    repository.prune([THREAD])
    assert [saved.checkpoint_id for saved in repository.list(THREAD)] == ["00001", "00000"]  # "delta" is rebuilt
    assert not audit(client, prefix).problems


@pytest.mark.parametrize("operation", ["prune", "delete_runs", "delete_thread", "copy_thread", "reindex"])
def test_operations_on_damaged_records_say_so_or_work(
    repository: CheckpointRepository, client: Any, prefix: str, operation: str
) -> None:
    # The names of fields and keys go into further requests.
    reported: list[tuple[str | None, str]] = []
    for key in records(client, prefix):
        for field in client.hkeys(key):
            saved = {name: client.dump(name) for name in client.scan_iter(f"{prefix}:*")}
            client.hset(key, field, b"\xff\xfe\x80")
            try:
                match operation:
                    case "prune":
                        repository.prune([THREAD])
                    case "delete_runs":
                        repository.delete_runs(["run"])
                    case "delete_thread":
                        repository.delete_thread(THREAD)
                    case "copy_thread":
                        repository.copy_thread(THREAD, "copy")
                    case "reindex":
                        repository.reindex(THREAD)
            except CorruptRecord as error:
                reported.append((error.key, key))
            client.delete("nothing", *client.scan_iter(f"{prefix}:*"))
            for name, dump in saved.items():
                client.restore(name, 0, dump)
    assert all(named == damaged for named, damaged in reported)


def test_a_thread_is_deleted_with_records_that_are_no_hashes(
    repository: CheckpointRepository, client: Any, prefix: str
) -> None:
    keys = namespace_keys(prefix, THREAD, "")
    for key in (keys.checkpoint("00001"), keys.write("00001:task:0:items")):
        client.delete(key)
        client.set(key, "text")
    repository.delete_thread(THREAD)
    assert not list(client.scan_iter(f"{prefix}:*"))
