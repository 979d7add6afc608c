"""Threads: repeated, interrupted, continued and verified migrations."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.types import Command

import statekeep
from statekeep.domain import CorruptRecord, InvalidInput, Unavailable
from statekeep.langgraph_shim import (
    AsyncRepositorySaver,
    MigrationReport,
    RepositorySaver,
    VerificationFailed,
    amigrate,
    migrate,
)
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.memory.checkpoints import MemoryCheckpoints

from .graphs import history, questions, thread, without_tasks
from .peers import SAVERS, Peers

NASTY = ("user:42", "a}:b", "{x}", "*", "[ab]?", "ünïcode-世界", "pipe|per%cent", "sla/sh", "__empty__x", "a,b", " ")


class Counting(MemoryCheckpoints):
    """Counts what is written, and fails when told to."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.fails_at = -1

    def _count(self) -> None:
        self.writes += 1
        if self.writes == self.fails_at:
            raise Unavailable("the server is gone")

    def put(self, *args: Any, **kwargs: Any) -> Any:
        self._count()
        return super().put(*args, **kwargs)

    def put_writes(self, *args: Any, **kwargs: Any) -> Any:
        self._count()
        return super().put_writes(*args, **kwargs)


@pytest.fixture
def backend() -> Counting:
    return Counting()


@pytest.fixture
def keep(backend: Counting) -> Iterator[CheckpointRepository]:
    with CheckpointRepository(backend) as keep:
        yield keep


@pytest.fixture(params=SAVERS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def old(kind: str, peers: Peers) -> BaseCheckpointSaver[Any]:
    return peers.saver(kind)


def ask(saver: Any, *names: str) -> Any:
    graph = questions(Counter()).compile(checkpointer=saver)
    for name in names:
        graph.invoke({"log": [name]}, thread(name))
    return graph


def test_a_second_migration_writes_nothing(
    kind: str, old: BaseCheckpointSaver[Any], peers: Peers, backend: Counting, keep: CheckpointRepository
) -> None:
    ask(old, *(f"t{number}" for number in range(12)))
    before = None if kind == "memory" else peers.contents(kind)
    first = migrate(old, keep, verify="all")
    assert (first.threads, first.of_threads) == (12, 12)
    writes = backend.writes
    second = migrate(old, keep, verify="all")
    assert (backend.writes, second.written) == (writes, 0)
    assert (second.checkpoints, second.pending_writes, second.verified) == (
        first.checkpoints,
        first.pending_writes,
        first.checkpoints,
    )
    if before is not None:
        assert peers.contents(kind) == before


def test_threads_keep_their_order(old: BaseCheckpointSaver[Any], keep: CheckpointRepository) -> None:
    ask(old, "b", "c", "a")
    migrate(old, keep)
    assert [found.thread_id for found in keep.list_threads()] == ["a", "c", "b"]


def test_nasty_ids(kind: str, old: BaseCheckpointSaver[Any], keep: CheckpointRepository) -> None:
    # langgraph-checkpoint-redis finds no writes of ids with odd characters itself, but its records are there.
    names = [*NASTY, *(["nul\x00"] if kind in ("memory", "sqlite", "aws") else [])]
    for name in names:
        config: Any = {"configurable": {"thread_id": name, "checkpoint_ns": "a:b|c"}}
        checkpoint: Any = empty_checkpoint() | {"channel_values": {"x": name}, "channel_versions": {"x": 1}}
        put = old.put(config, checkpoint, {}, {"x": 1})
        old.put_writes(put, [("x", name), ("y", [name])], "task:{1}*", "pa/th")
    report = migrate(old, keep, verify="all")
    assert (report.threads, report.checkpoints, report.pending_writes) == (len(names), len(names), 2 * len(names))
    new = RepositorySaver(keep)
    for name in names:
        found = new.get_tuple({"configurable": {"thread_id": name, "checkpoint_ns": "a:b|c"}})
        assert found is not None
        assert found.checkpoint["channel_values"] == {"x": name}
        assert found.pending_writes == [("task:{1}*", "x", name), ("task:{1}*", "y", [name])]


def test_since(kind: str, old: BaseCheckpointSaver[Any], backend: Counting, keep: CheckpointRepository) -> None:
    """The source is written to after the first migration, also without a new checkpoint."""
    graph = ask(old, "answered", "quiet", "new writes")
    first = migrate(old, keep)
    graph.invoke(Command(resume="one"), thread("answered"))
    graph.invoke({"log": ["x"]}, thread("another"))
    newest = old.get_tuple(thread("new writes"))
    assert newest is not None
    old.put_writes(newest.config, [("log", ["late"])], "late task")
    writes = backend.writes
    second = migrate(old, keep, since=MigrationReport.model_validate_json(first.model_dump_json()), verify="all")
    assert 0 < backend.writes - writes <= second.written
    assert second.threads == 4
    new = questions(Counter()).compile(checkpointer=RepositorySaver(keep))
    for name in ("answered", "quiet", "another"):
        ours, theirs = history(new, thread(name)), history(graph, thread(name))
        assert without_tasks(ours) == without_tasks(theirs)
        assert kind == "redis" or ours == theirs
    found = RepositorySaver(keep).get_tuple(thread("new writes"))
    assert found is not None
    assert ("late task", "log", ["late"]) in (found.pending_writes or ())
    assert migrate(old, keep, since=second).written == 0


def test_since_a_time_reads_little(peers: Peers, keep: CheckpointRepository) -> None:
    old = peers.saver("sqlite")
    graph = ask(old, "t")
    for number in range(30):
        graph.update_state(thread("t"), {"log": [str(number)]}, as_node="prepare")
    migrate(old, keep)
    report = migrate(old, keep, since=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    assert (report.checkpoints, report.written) == (2, 0)  # the newest, and that which it was made from
    newest = old.get_tuple(thread("t"))
    assert newest is not None
    assert newest.parent_config is not None
    for config in (newest.config, newest.parent_config):
        old.put_writes(config, [("log", ["late"]), ("__interrupt__", "i")], "late task")
    report = migrate(old, keep, since=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1), verify="all")
    assert (report.checkpoints_put, report.pending_writes_put) == (0, 4)


def test_a_source_that_is_written_to_meanwhile(peers: Peers, keep: CheckpointRepository) -> None:
    old = peers.saver("sqlite")
    graph = ask(old, *(f"t{number}" for number in range(6)))
    other = peers.saver("sqlite")
    busy = questions(Counter()).compile(checkpointer=other)

    def progress(report: MigrationReport) -> None:
        if report.place is not None and report.checkpoints % 3 == 0:
            busy.invoke({"log": ["more"]}, thread(f"t{report.checkpoints % 6}"))
            busy.invoke({"log": ["more"]}, thread(f"new {report.checkpoints}"))

    first = migrate(old, keep, progress=progress)
    migrate(old, keep, since=first, verify="all")
    new = questions(Counter()).compile(checkpointer=RepositorySaver(keep))
    threads = {found.config["configurable"]["thread_id"] for found in old.list(None)}
    assert len(threads) > 6
    for name in threads:
        assert history(new, thread(name)) == history(graph, thread(name))


@pytest.mark.parametrize("fails_at", [1, 2, 7])
def test_a_target_that_fails_half_way(
    fails_at: int, peers: Peers, backend: Counting, keep: CheckpointRepository
) -> None:
    old = peers.saver("sqlite")
    graph = ask(old, "a", "b", "c")
    backend.fails_at = fails_at
    with pytest.raises(Unavailable) as caught:
        migrate(old, keep)
    assert "may be repeated" in caught.value.__notes__[0]
    migrate(old, keep, verify="all")
    new = questions(Counter()).compile(checkpointer=RepositorySaver(keep))
    for name in ("a", "b", "c"):
        assert history(new, thread(name)) == history(graph, thread(name))
    assert migrate(old, keep).written == 0


def test_verification_finds_what_is_wrong(peers: Peers) -> None:
    class Forgetful(MemoryCheckpoints):
        def put_writes(self, thread_id: str, namespace: str, checkpoint_id: str, writes: Any) -> Any:
            return super().put_writes(thread_id, namespace, checkpoint_id, ())

    class Wrong(MemoryCheckpoints):
        def put(self, checkpoint: Any, *args: Any, **kwargs: Any) -> Any:
            return super().put(checkpoint.model_copy(update={"metadata": {"step": 99}}), *args, **kwargs)

    old = peers.saver("sqlite")
    ask(old, "t")
    with pytest.raises(VerificationFailed, match="pending write") as caught:
        migrate(old, CheckpointRepository(Forgetful()), verify="all")
    assert caught.value.report.threads == 1
    with pytest.raises(VerificationFailed, match="metadata") as caught:
        migrate(old, CheckpointRepository(Wrong()))
    assert all("thread 't'" in line for line in caught.value.differences)
    assert migrate(old, CheckpointRepository(Wrong()), verify=None).verified == 0


def test_long_threads(peers: Peers, keep: CheckpointRepository) -> None:
    """Longer than a window, with a value that stays: it is sent once."""
    old = peers.saver("sqlite")
    graph = ask(old, "t")
    for number in range(50):
        graph.update_state(thread("t"), {"log": [str(number)]}, as_node="prepare")
    report = migrate(old, keep, verify="all")
    assert report.checkpoints > 50
    new = questions(Counter()).compile(checkpointer=RepositorySaver(keep))
    assert history(new, thread("t")) == history(graph, thread("t"))


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "redis"])
def test_paths_of_tasks(kind: str, peers: Peers, keep: CheckpointRepository) -> None:
    """They are the order of writes, which the ids of tasks are not."""
    old = peers.saver(kind)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    put = old.put(config, empty_checkpoint(), {}, {})
    old.put_writes(put, [("x", 1), ("__error__", "e"), ("y", 2)], "task a", "path 2")
    old.put_writes(put, [("x", 3)], "task b", "path 1")
    migrate(old, keep, verify="all")
    saved = keep.get("t")
    assert saved is not None
    assert [(write.task_path, write.task_id, write.idx, write.channel) for write in saved.pending_writes] == [
        ("path 1", "task b", 0, "x"),
        ("path 2", "task a", -1, "__error__"),
        ("path 2", "task a", 0, "x"),
        ("path 2", "task a", 2, "y"),
    ]


def test_chosen_threads(old: BaseCheckpointSaver[Any], keep: CheckpointRepository) -> None:
    ask(old, "a", "b", "c")
    assert migrate(old, keep, threads=["c", "b", "none"], verify="all").threads == 3
    assert [found.thread_id for found in keep.list_threads()] == ["b", "c"]


class Cipher:
    """Each encryption has other bytes, as with a nonce."""

    def __init__(self) -> None:
        self._calls = 0

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        self._calls += 1
        return "turned", self._calls.to_bytes(4) + plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "turned"
        return ciphertext[:0:-1][:-3]


@pytest.mark.parametrize("kind", ["sqlite", "aws", "postgres"])
def test_encrypted_checkpoints(kind: str, peers: Peers, backend: Counting, keep: CheckpointRepository) -> None:
    serde = EncryptedSerializer(Cipher())
    old = peers.saver(kind, serde=serde)
    graph = ask(old, "t")
    target = RepositorySaver(keep, serde=serde)
    migrate(old, target, verify="all")
    new = questions(Counter()).compile(checkpointer=target)
    assert history(new, thread("t")) == history(graph, thread("t"))
    saved = keep.get("t")
    assert saved is not None
    assert {write.payload.encoding.partition("+")[2] for write in saved.pending_writes} == {"turned"}
    writes = backend.writes
    assert migrate(old, target, verify="all").written == 0
    assert backend.writes == writes


class Odd:
    """msgpack holds none of it, so it is pickled."""

    def __init__(self, value: int) -> None:
        self.value = value

    __slots__ = ("value",)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Odd) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


def test_pickles(peers: Peers, keep: CheckpointRepository) -> None:
    serde = JsonPlusSerializer(pickle_fallback=True)
    old = peers.saver("sqlite", serde=serde)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
    checkpoint: Any = empty_checkpoint() | {"channel_values": {"x": Odd(1)}, "channel_versions": {"x": 1}}
    put = old.put(config, checkpoint, {}, {"x": 1})
    old.put_writes(put, [("x", Odd(2))], "task")
    migrate(old, keep, verify="all")
    found = RepositorySaver(keep, serde=serde).get_tuple(config)
    assert found is not None
    assert found.checkpoint["channel_values"] == {"x": Odd(1)}
    assert found.pending_writes == [("task", "x", Odd(2))]
    with pytest.raises((InvalidInput, CorruptRecord), match="pickle"):
        migrate(peers.saver("sqlite"), CheckpointRepository(MemoryCheckpoints()))


def test_objects_are_not_made(peers: Peers, keep: CheckpointRepository, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serialized values are moved as they are."""
    old = peers.saver("sqlite")
    ask(old, "t")

    def refuse(*_: object) -> None:
        raise AssertionError("something was deserialized")

    monkeypatch.setattr(JsonPlusSerializer, "loads_typed", refuse)
    migrate(old, keep, verify="all")
    monkeypatch.undo()
    assert RepositorySaver(keep).get_tuple(thread("t")) is not None


def test_savers_with_prefixes_of_their_own(peers: Peers, keep: CheckpointRepository) -> None:
    from langgraph.checkpoint.redis import RedisSaver

    old = RedisSaver(redis_client=peers.redis_client(), checkpoint_prefix="my", checkpoint_write_prefix="my_write")
    old.setup()
    ask(old, "t")
    ask(peers.saver("redis"), "other")
    report = migrate(old, keep, verify="all")
    assert (report.threads, report.pending_writes > 0) == (1, True)


def test_savers_of_the_newest_checkpoint_alone(peers: Peers, keep: CheckpointRepository) -> None:
    from langgraph.checkpoint.redis.shallow import ShallowRedisSaver

    old = ShallowRedisSaver(redis_client=peers.redis_client())
    old.setup()
    graph = ask(old, "t")
    assert migrate(old, keep, verify="all").checkpoints == 1
    new = questions(Counter()).compile(checkpointer=RepositorySaver(keep))
    assert new.get_state(thread("t")).values == graph.get_state(thread("t")).values
    new.invoke(Command(resume="one"), thread("t"))
    assert new.invoke(Command(resume="two"), thread("t"))["log"] == ["t", "prepared", "one", "two"]


@pytest.mark.parametrize("kind", ["redis", "aws"])
def test_ends_of_threads(kind: str, peers: Peers, keep: CheckpointRepository) -> None:
    ask(peers.saver(kind, ttl=600), "t")
    report = migrate(peers.saver(kind), keep)
    measuring: Any = keep
    if hasattr(measuring, "expire"):
        assert (report.expiries_set, report.expiries_lost) == (1, 0)
        ends = measuring.measure(["t"])["t"].expires_at
        assert abs(ends - dt.datetime.now(dt.UTC) - dt.timedelta(seconds=600)) < dt.timedelta(seconds=10)
        assert migrate(peers.saver(kind), keep).written == 0
    else:
        assert (report.expiries_set, report.expiries_lost) == (0, 1)
    ask(peers.saver(kind), "stays")
    assert migrate(peers.saver(kind), keep, threads=["stays"]).expiries_set == 0


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore:get_async_redis_connection will become:DeprecationWarning")
@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgres", "redis", "aws"])
async def test_savers_for_event_loops(kind: str, peers: Peers) -> None:
    async with statekeep.aconnect("memory:") as keep, peers.async_saver(kind) as old:
        graph = questions(Counter()).compile(checkpointer=old)
        await graph.ainvoke({"log": ["in"]}, thread("t"))
        expected = [found.values async for found in graph.aget_state_history(thread("t"))]
        saver = AsyncRepositorySaver(keep.checkpoints)
        report = await amigrate(old, saver, verify="all")
        assert (report.threads, report.verified) == (1, report.checkpoints_put)
        assert (await amigrate(old, keep, since=report)).written == 0
        after = questions(Counter()).compile(checkpointer=saver)
        assert [found.values async for found in after.aget_state_history(thread("t"))] == expected
        assert (await after.ainvoke(Command(resume="one"), thread("t")))["log"][-1] != "one"


def test_blocking_code_is_told_of_amigrate(keep: CheckpointRepository) -> None:
    class Awaited(InMemorySaver):
        def list(self, *args: Any, **kwargs: Any) -> Any:
            raise NotImplementedError("use alist")

    with pytest.raises(InvalidInput, match="await amigrate"):
        migrate(Awaited(), keep)


def test_wrong_arguments(keep: CheckpointRepository) -> None:
    saver: Any = InMemorySaver()
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"since": dt.datetime(2026, 1, 1)}, "since"),
        ({"verify": "some"}, "verify"),
        ({"progress": 1}, "progress"),
        ({"threads": "t"}, "threads"),
    ]
    for arguments, name in wrong:
        with pytest.raises(InvalidInput) as caught:
            migrate(saver, keep, **arguments)
        assert caught.value.field == name
    with pytest.raises(InvalidInput, match="source must be"):
        migrate(keep, keep)  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="target must be"):
        migrate(saver, saver)
    with statekeep.connect("memory:") as other, pytest.raises(InvalidInput, match="of the kind of source"):
        migrate(saver, other.items)


@pytest.mark.parametrize("kind", ["memory", "redis"])
def test_a_target_that_encrypts(kind: str, peers: Peers, backend: Counting, keep: CheckpointRepository) -> None:
    """What is serialized anew is so by its serializer."""
    old = peers.saver(kind)
    ask(old, "t")
    target = RepositorySaver(keep, serde=EncryptedSerializer(Cipher()))
    migrate(old, target, verify="all")
    saved = keep.get("t")
    assert saved is not None
    assert saved.header is not None
    assert {"msgpack+turned"} == {saved.header.encoding, *(write.payload.encoding for write in saved.pending_writes)}
    writes = backend.writes
    assert migrate(old, target, verify="all").written == 0
    assert backend.writes == writes


def test_metadata_that_the_target_encrypts(peers: Peers, backend: Counting, keep: CheckpointRepository) -> None:
    old = peers.saver("sqlite")
    graph = ask(old, "t")
    target = RepositorySaver(keep, serde=EncryptedSerializer(Cipher()), encrypt_metadata=True)
    migrate(old, target, verify="all")
    saved = keep.get("t")
    assert saved is not None
    assert "source" not in saved.metadata
    new = questions(Counter()).compile(checkpointer=target)
    assert history(new, thread("t")) == history(graph, thread("t"))
    writes = backend.writes
    assert migrate(old, target, verify="all").written == 0
    assert backend.writes == writes
