"""Copying between repositories: what is sent, what is held, what is told, and what happens when it is cut off."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
import time
from collections.abc import Iterator
from typing import Any

import pytest

import statekeep
from statekeep import (
    Channel,
    Checkpoint,
    CheckpointRepository,
    CopyProgress,
    CorruptRecord,
    InvalidInput,
    ItemRepository,
    Payload,
    PendingWrite,
    Unavailable,
    Unsupported,
)
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.connection import Backends
from statekeep.repositories.copy import PARENTS, _windows
from statekeep.repositories.memory import MemoryCheckpoints, MemoryItems
from statekeep.repositories.valkey.logs.keys import log_keys
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.embedding import DIMS, letter_counts
from statekeep.testing.servers import ValkeyServer
from tests.small_pages import small_pages

from .valkey_kinds import payload


def chain(keep: CheckpointRepository, thread_id: str, count: int, *, size: int = 10, namespace: str = "") -> None:
    """Checkpoints, each the parent of the next, with a value that never changes and one that always does."""
    for number in range(count):
        keep.put(
            Checkpoint(
                thread_id=thread_id,
                namespace=namespace,
                checkpoint_id=f"{number:05}",
                parent_id=f"{number - 1:05}" if number else None,
                channels={
                    "constant": Channel.earlier(1) if number else Channel.of(1, payload(b"x" * size)),
                    "counter": Channel.of(number, payload(b"%d" % number)),
                },
            )
        )
        write = PendingWrite(task_id="task", idx=0, channel="c", payload=payload(b"%d" % number))
        keep.put_writes(thread_id, f"{number:05}", [write], namespace=namespace)


def everything(keep: CheckpointRepository) -> list[Any]:
    return [saved for thread in keep.list_threads() for saved in keep.list(thread.thread_id)]


class Puts(MemoryCheckpoints):
    """Notes what is put, and may fail once."""

    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__()
        self.checkpoints: list[Checkpoint] = []
        self.fails_at = fails_at

    def put(self, checkpoint: Checkpoint, supply: Any, *expected: Any) -> Any:
        if len(self.checkpoints) == self.fails_at:
            self.fails_at = None
            raise Unavailable("gone")
        self.checkpoints.append(checkpoint)
        return super().put(checkpoint, supply, *expected)


@pytest.fixture
def source() -> Iterator[CheckpointRepository]:
    with CheckpointRepository(MemoryCheckpoints()) as repository:
        yield repository


def test_long_threads_come_oldest_first_and_send_each_value_once(source: CheckpointRepository) -> None:
    for thread_id, count in (("long", 95), ("short", 3), ("long", 95)):
        chain(source, thread_id, count)
    chain(source, "long", 30, namespace="n")
    target = Puts()
    done = statekeep.copy(source, CheckpointRepository(target))
    assert (done.threads, done.checkpoints, done.pending_writes) == (2, 128, 128)
    assert everything(CheckpointRepository(target)) == everything(source)
    places = [(put.thread_id, put.checkpoint_id, put.namespace) for put in target.checkpoints]
    assert len(set(places)) == len(places) == 128
    assert [place[0] for place in places] == ["short"] * 3 + ["long"] * 125
    assert [id_ for _, id_, namespace in places[3:] if namespace == ""] == [f"{number:05}" for number in range(95)]
    sent = [put for put in target.checkpoints if put.channels["constant"].payload is not None]
    assert len(sent) == 3  # one for each thread and namespace


def test_threads_keep_their_order(source: CheckpointRepository) -> None:
    for thread_id in ("a", "b", "c", "a"):
        source.put(Checkpoint(thread_id=thread_id))
    target = CheckpointRepository(MemoryCheckpoints())
    statekeep.copy(source, target)
    assert [thread.thread_id for thread in target.list_threads()] == ["a", "c", "b"]


def test_a_thread_that_is_updated_while_threads_are_listed_is_copied() -> None:
    class Busy(MemoryCheckpoints):
        """The oldest thread is updated after the first page of each listing."""

        def list_threads(self, prefix: str, after: Any, limit: int | None) -> Any:
            page = yield from super().list_threads(prefix, after, limit)
            if after is None:
                yield from super().put(Checkpoint(thread_id="a"), None)
            return page

    source, target = CheckpointRepository(Busy()), CheckpointRepository(MemoryCheckpoints())
    with small_pages():
        for thread_id in "abcdefg":
            source.put(Checkpoint(thread_id=thread_id))
        assert statekeep.copy(source, target).threads == 7
    assert {saved.thread_id for saved in target.list()} == set("abcdefg")


def test_forks_with_one_version_keep_their_values(source: CheckpointRepository) -> None:
    source.put(Checkpoint(thread_id="t", checkpoint_id="1"))
    for fork in ("2a", "2b"):
        channels = {"a": Channel.of(2, payload(fork.encode()))}
        source.put(Checkpoint(thread_id="t", checkpoint_id=fork, parent_id="1", channels=channels))
        channels = {"a": Channel.earlier(2)}
        source.put(Checkpoint(thread_id="t", checkpoint_id=f"3{fork}", parent_id=fork, channels=channels))
    target = CheckpointRepository(MemoryCheckpoints())
    statekeep.copy(source, target)
    assert everything(target) == everything(source)


def test_what_the_target_lost_meanwhile_is_sent(source: CheckpointRepository) -> None:
    chain(source, "t", 5)
    target = CheckpointRepository(MemoryCheckpoints())

    def lose(progress: CopyProgress) -> None:
        if progress.checkpoints == 3:
            target.delete_thread("t")

    statekeep.copy(source, target, progress=lose)
    assert [saved.channels["constant"].payload for saved in target.list("t")] == [payload(b"x" * 10)] * 2


def test_a_copy_that_was_cut_off_is_repeated(source: CheckpointRepository) -> None:
    for thread_id in ("a", "b"):
        chain(source, thread_id, 25)
    target = Puts(fails_at=30)
    with pytest.raises(Unavailable) as caught:
        statekeep.copy(source, CheckpointRepository(target))
    assert any("thread 'b'" in note for note in caught.value.__notes__)
    assert len(list(CheckpointRepository(target).list())) == 30
    statekeep.copy(source, CheckpointRepository(target))
    assert everything(CheckpointRepository(target)) == everything(source)


def test_what_is_put_meanwhile_makes_nothing_else_be_left_out(source: CheckpointRepository) -> None:
    chain(source, "t", 60)
    before = everything(source)
    target = CheckpointRepository(MemoryCheckpoints())

    def more(progress: CopyProgress) -> None:
        if progress.checkpoints == 1:
            for number in range(60, 120):
                source.put(Checkpoint(thread_id="t", checkpoint_id=f"{number:05}"))

    statekeep.copy(source, target, progress=more)
    assert {saved.checkpoint_id for saved in before} <= {saved.checkpoint_id for saved in target.list("t")}


def test_progress(source: CheckpointRepository) -> None:
    chain(source, "a", 2)
    chain(source, "b", 1)
    told: list[CopyProgress] = []
    done = statekeep.copy(source, CheckpointRepository(MemoryCheckpoints()), progress=told.append)
    assert told[0] == CopyProgress(of_threads=2)
    assert [one.place for one in told[1:]] == ["a"] * 4 + ["b"] * 3
    assert [one.checkpoints for one in told] == [0, 0, 1, 2, 2, 2, 3, 3]
    assert done == told[-1] == CopyProgress(threads=2, of_threads=2, checkpoints=3, pending_writes=3, place="b")


def test_a_value_is_stored_once_in_agentcore(source: CheckpointRepository) -> None:
    chain(source, "t", 10, size=50_000)
    with AwsEmulator() as aws:
        client = open_client("bedrock-agentcore", client=aws.client("bedrock-agentcore"))
        target = CheckpointRepository(AgentCoreCheckpoints(client, aws.memory_id))
        aws.reset_totals()
        statekeep.copy(source, target)
        assert aws.totals.request_bytes < 150_000
        assert everything(target) == everything(source)


def test_connections() -> None:
    with statekeep.connect("memory:") as old, statekeep.connect("embedded:") as new:
        chain(old.checkpoints, "t", 3)
        for number in range(250):
            old.items.put(("n", f"{number % 3}"), f"{number}", {"number": number}, ttl=1000 if number % 2 else None)
        done = statekeep.copy(old, new)
        assert (done.threads, done.checkpoints, done.namespaces, done.items) == (1, 3, 3, 250)
        assert done.of_namespaces == 3
        assert everything(new.checkpoints) == everything(old.checkpoints)
        for namespace in old.items.list_namespaces():
            for one, other in zip(old.items.list(namespace), new.items.list(namespace), strict=True):
                assert (one.key, one.value, other.version) == (other.key, other.value, 1)
                assert (one.expires_at is None) is (other.expires_at is None)
                if one.expires_at is not None and other.expires_at is not None:
                    assert abs(one.expires_at - other.expires_at) < dt.timedelta(seconds=1)
        again = statekeep.copy(old, new)
        assert (again.checkpoints, again.items) == (3, 0)
        new.items.put(("n", "0"), "0", {"number": True})
        old.items.put(("n", "0"), "0", {"number": 1})
        assert statekeep.copy(old.items, new.items).items == 1
        item = new.items.get(("n", "0"), "0")
        assert item is not None
        assert item.value["number"] is not True


def test_connections_that_keep_no_items() -> None:
    with AwsEmulator() as aws, statekeep.connect("memory:") as memory:
        with statekeep.connect("bedrock-sessions://", session=aws.session()) as sessions:
            chain(memory.checkpoints, "t", 3)
            with pytest.raises(statekeep.Unsupported, match="and no items"):
                statekeep.copy(memory, sessions)
            assert everything(sessions.checkpoints) == []
            backend: Any = sessions.checkpoints.backend
            chain(sessions.checkpoints, backend.create_thread(), 2)
            assert statekeep.copy(sessions, memory).checkpoints == 2
            assert len(everything(memory.checkpoints)) == 5
        assert (memory.has_items, sessions.has_items) == (True, False)


@pytest.mark.parametrize("kinds", [["logs", "items"], ["checkpoints"], []])
def test_some_kinds_of_records(kinds: list[str]) -> None:
    with statekeep.connect("memory:") as old, statekeep.connect("memory:") as new:
        chain(old.checkpoints, "t", 1)
        old.items.put(("n",), "k", 1)
        old.logs.append(("n",), [1])
        done = statekeep.copy(old, new, kinds=iter(kinds))
        found = {
            "checkpoints": len(everything(new.checkpoints)),
            "items": len(list(new.items.list(("n",)))),
            "logs": len(list(new.logs.list())),
        }
    assert found == {kind: int(kind in kinds) for kind in found} == done.model_dump(include=set(found))


def test_a_target_keeps_the_kinds_that_are_asked_for() -> None:
    with AwsEmulator() as aws, statekeep.connect("memory:") as memory:
        with statekeep.connect("agentcore://" + aws.memory_id, session=aws.session()) as agentcore:
            memory.items.put(("n",), "k", 1)
            memory.logs.append(("n",), [1])
            with pytest.raises(statekeep.Unsupported):
                statekeep.copy(memory, agentcore)
            assert statekeep.copy(memory, agentcore, kinds=["checkpoints", "items"]).items == 1
            assert agentcore.items.get(("n",), "k") is not None


def test_items_are_found_by_the_index_of_the_target() -> None:
    index = {"dims": DIMS, "embed": letter_counts, "fields": ["text"]}
    with statekeep.connect("memory:") as old, statekeep.connect("memory:", index=index) as new:
        for text in ("aaa", "bbb"):
            old.items.put(("n",), text, {"text": text})
        statekeep.copy(old.items, new.items)
        assert [item.key for item in new.items.search(query="b")] == ["bbb", "aaa"]


def test_items_that_ended_meanwhile_are_not_copied() -> None:
    past = dt.datetime.now(dt.UTC).timestamp() - 1000
    source = ItemRepository(MemoryItems(clock=lambda: past))
    source.put(("n",), "k", 1, ttl=10)
    target = ItemRepository(MemoryItems())
    assert statekeep.copy(source, target).items == 0
    assert target.list_namespaces() == []


def test_bad_arguments(source: CheckpointRepository) -> None:
    items = ItemRepository(MemoryItems())
    other = CheckpointRepository(MemoryCheckpoints())
    memory, another = statekeep.connect("memory:"), statekeep.connect("memory:")
    untyped: Any = statekeep.copy
    calls: list[tuple[str, tuple[Any, Any], dict[str, Any]]] = [
        ("source", ("memory:", other), {}),
        ("target", (source, None), {}),
        ("target", (source, items), {}),
        ("target", (source, source), {}),
        ("target", (source, CheckpointRepository(source.backend)), {}),
        ("source", (statekeep.connect("memory:"), other), {}),
        ("source", (statekeep.AsyncCheckpointRepository(source.backend), other), {}),
        ("progress", (source, other), {"progress": 1}),
        ("kinds", (source, other), {"kinds": ["checkpoints"]}),
        *(("kinds", (memory, another), {"kinds": kinds}) for kinds in ("items", ["items", "cache"], [None], 1)),
    ]
    for field, arguments, more in calls:
        with pytest.raises(InvalidInput) as caught:
            untyped(*arguments, **more)
        assert caught.value.field == field


def test_windows_are_whole_and_bounded() -> None:
    ids = [f"{number:03}" for number in range(99, -1, -1) for _ in range(1 + number % 3)]
    windows = list(_windows(ids))
    assert windows[-1][0] is None
    assert windows[0][1] == "000"
    for (before, last), (_, following) in itertools.pairwise(windows):
        assert before is not None
        assert following == before
        assert 20 <= sum(last <= id_ < before for id_ in ids) <= 22
    assert PARENTS > 2 * 22


# -- logs


def fill_logs(keep: statekeep.Connection) -> None:
    keep.logs.append(("chat", "ada"), [{"n": 1}, 2.0, "x" * 100_000, Payload(encoding="raw", data=b"\0\xff")], ttl=1000)
    for number in range(150):
        keep.logs.append(("many", f"{number}"), [number])
    keep.logs.append((), [None])
    keep.logs.append(("ended",), [1], ttl=0.001)


def all_logs(keep: statekeep.Connection) -> dict[Any, Any]:
    return {log.name: [entry.value for entry in keep.logs.read(log.name)] for log in keep.logs.list()}


def test_logs_come_with_values_and_ends(valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(valkey_server.url, prefix=prefix) as old, statekeep.connect("memory:", ttl=5) as new:
        fill_logs(old)
        time.sleep(0.01)
        # One that is another in the target.
        new.logs.append(("many", "7"), ["else"])
        seen: list[CopyProgress] = []
        assert statekeep.copy(old, new, progress=seen.append).logs == 152
        assert [progress.logs for progress in seen if progress.place == ("chat", "ada")] == [1, 2]
        assert all_logs(new) == all_logs(old)
        assert len(all_logs(new)) == 152
        ends = {log.name: log.expires_at for log in old.logs.list()}
        for log in new.logs.list():
            expected = ends[log.name]
            assert (log.expires_at is None) is (expected is None)
            if log.expires_at is not None and expected is not None:
                assert abs(log.expires_at - expected) < dt.timedelta(seconds=1)
        # Once more, and back: what is there already is left alone.
        positions = [entry.position for entry in new.logs.read(("many", "7"))]
        assert statekeep.copy(old, new).logs == 0
        assert [entry.position for entry in new.logs.read(("many", "7"))] == positions
        assert statekeep.copy(new.logs, old.logs).logs == 0
        old.logs.append(("many", "7"), ["more"])
        assert statekeep.copy(old.logs, new.logs).logs == 1
        assert all_logs(new) == all_logs(old)


def test_logs_that_the_target_cannot_keep() -> None:
    with statekeep.connect("memory:") as old:
        # As that of a service that keeps none.
        target = statekeep.Connection(Backends(MemoryCheckpoints(), MemoryItems()))
        chain(old.checkpoints, "t", 1)
        assert statekeep.copy(old, target).checkpoints == 1
        old.logs.append(("log",), [1])
        with pytest.raises(Unsupported, match="no logs"):
            statekeep.copy(old, target)
        with pytest.raises(InvalidInput):
            statekeep.copy(old.logs, old.items)  # type: ignore[type-var]
        with pytest.raises(InvalidInput):
            statekeep.copy(old.logs, old.logs)
        assert statekeep.copy(target, old).threads == 1


def test_a_copy_of_logs_in_asyncio_code() -> None:
    async def main() -> None:
        async with statekeep.aconnect("memory:") as old, statekeep.aconnect("memory:") as new:
            await old.logs.append(("log",), [1, 2])
            assert (await statekeep.acopy(old, new)).logs == 1
            assert [entry.value for entry in await new.logs.read(("log",))] == [1, 2]

    asyncio.run(main())


def test_an_error_names_the_log(valkey_server: ValkeyServer, prefix: str) -> None:
    with statekeep.connect(valkey_server.url, prefix=prefix) as old, statekeep.connect("memory:") as new:
        old.logs.append(("chat", "ada"), [1])
        with valkey_server.client() as client:
            client.rpush(log_keys(prefix, ("chat", "ada")).values, "text")
        with pytest.raises(CorruptRecord) as caught:
            statekeep.copy(old, new)
        assert any("while log ('chat', 'ada') was copied" in note for note in caught.value.__notes__)
