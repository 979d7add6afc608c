"""A client may die at any moment, and others may write and delete at the same time."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest

from statekeep import Channel, Checkpoint, CorruptRecord, PrunePolicy
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.checkpoints import delete as deletion
from statekeep.repositories.valkey.checkpoints import put
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys, thread_index_keys
from statekeep.repositories.valkey.checkpoints.metadata.tags import MetadataKeys
from statekeep.repositories.valkey.requests import Call, Reply, Request
from statekeep.testing.servers import ValkeyServer
from tests.small_pieces import small_pieces

from .crash_workload import INDEXED, WRITES, checkpoint, delete_for_ever, is_whole, write_for_ever
from .valkey_audit import Audit, audit
from .valkey_kinds import chain, payload, write


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


def open_repository(client: Any, prefix: str, **options: Any) -> CheckpointRepository:
    return CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, **options))


# A forkserver has no threads, and forks in a moment.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([write_for_ever.__module__])


@pytest.mark.slow
@pytest.mark.parametrize("workload", [write_for_ever, delete_for_ever])
def test_killed_clients_leave_whole_checkpoints(
    valkey_server: ValkeyServer, client: Any, prefix: str, workload: Callable[..., None]
) -> None:
    repository = open_repository(client, prefix, index_metadata=INDEXED)
    source = random.Random(prefix)
    seen = set()
    for kill in range(25):
        thread_id = f"thread {kill // 5}"
        ready, sender = FORKS.Pipe(duplex=False)
        process = FORKS.Process(target=workload, args=(valkey_server.port, prefix, thread_id, sender))
        process.start()
        sender.close()
        pid = ready.recv()
        ready.close()
        time.sleep(source.uniform(0, 0.06))
        os.kill(pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL
        process.close()

        for name in (thread_id, f"{thread_id} copied"):
            found = list(repository.list(name))
            assert all(map(is_whole, found))
            newest = repository.get(name)
            assert newest == (found[0] if found else None)
            seen.add(len(found))
            if workload is write_for_ever:
                assert [int(saved.checkpoint_id) for saved in found] == list(range(len(found), 0, -1))
                # Writes are missing only where a process died before it put them.
                assert sum(len(saved.pending_writes) != WRITES for saved in found) <= kill % 5 + 1
        if kill % 5 == 4:
            _check(audit(client, prefix))
    # The kills did not all come at the same moment.
    assert len(seen) > (3 if workload is write_for_ever else 1)
    for thread in list(repository.list_threads()):
        repository.delete_thread(thread.thread_id)
    left = audit(client, prefix)
    _check(left)
    assert left.checkpoints == left.writes == 0
    assert not left.unused


def _check(found: Audit) -> None:
    assert not found.problems, "\n".join(found.problems)


class Killed(Exception):
    """The client is dead."""


class Mortal:
    """A client that dies after some requests, of which the last answer is lost."""

    def __init__(self, client: Any, cluster: bool) -> None:
        self.cluster = cluster
        self.left: float = float("inf")
        self.made = 0
        self._client = client_for(client)

    def execute(self, request: Request) -> Reply:
        self.left -= 1
        self.made += 1
        reply = self._client.execute(request)
        if self.left <= 0:
            raise Killed
        return reply

    async def aexecute(self, request: Request) -> Reply:
        raise AssertionError("these tests are blocking")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass


def _fill(repository: CheckpointRepository) -> None:
    for namespace in ("", "child", "child:1"):
        for made in chain("t", 6, namespace, run_id="run"):
            values = {name: getattr(made, name) for name in Checkpoint.model_fields}
            channels = dict(made.channels)
            if namespace == "child":
                channels["delta"] = Channel.replayed(made.metadata["step"])
                if made.metadata["step"] == 2:
                    channels["delta"] = Channel.of(2, payload(b"snapshot"))
            metadata = {**made.metadata, "parents": {"": "00002"}, "run_id": f"run {made.metadata['step'] % 2}"}
            repository.put(Checkpoint(**values | {"channels": channels, "metadata": metadata}))
            repository.put_writes("t", made.checkpoint_id, [write("task", 0), write("task", -1)], namespace=namespace)


OPERATIONS: dict[str, Callable[[CheckpointRepository], Any]] = {
    "delete_thread": lambda repository: repository.delete_thread("t"),
    "delete_runs": lambda repository: repository.delete_runs(["run 1"]),
    "delete": lambda repository: repository.delete("t", "00003"),
    "delete the newest": lambda repository: repository.delete("t", "00005", namespace="child:1"),
    "prune": lambda repository: repository.prune(["t"], keep=2),
    "copy_thread": lambda repository: repository.copy_thread("t", "copy"),
    "reindex": lambda repository: repository.reindex("t"),
    "put": lambda repository: repository.put(chain("t", 7)[6]),
    "put behind a head": lambda repository: repository.put(chain("t", 7)[6], expected_head="00005"),
    "put_writes": lambda repository: repository.put_writes("t", "00005", [write("task", 1), write("task", -1)]),
}


def _content(repository: CheckpointRepository) -> list[dict[str, Any]]:
    return [
        {name: getattr(saved, name) for name in type(saved).model_fields if name != "created_at"}
        for thread_id in ("t", "copy")
        for saved in repository.list(thread_id)
    ]


@pytest.fixture
def pieces(request: pytest.FixtureRequest) -> Iterator[None]:
    """Values as they are, or in pieces of so many bytes."""
    with small_pieces(request.param, request.param) if request.param else nullcontext():
        yield


@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(("pieces", "cluster"), [(0, False), (3, True)], indirect=["pieces"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_operations_may_end_between_any_two_requests(client: Any, prefix: str, operation: str, cluster: bool) -> None:
    mortal = Mortal(client, cluster)
    whole = CheckpointRepository(ValkeyCheckpoints(mortal, prefix=prefix, index_metadata=["step"]))
    _fill(whole)
    mortal.made = 0
    OPERATIONS[operation](whole)
    requests = mortal.made
    expected = _content(whole)
    assert requests >= 1
    for killed_at in range(1, requests + 1):
        name = f"{prefix}-{killed_at}"
        mortal = Mortal(client, cluster)
        repository = CheckpointRepository(ValkeyCheckpoints(mortal, prefix=name, index_metadata=["step"]))
        _fill(repository)
        mortal.left = killed_at
        with pytest.raises(Killed):
            OPERATIONS[operation](repository)
        mortal.left = float("inf")

        found = audit(client, name)
        _check(found)
        assert all(saved.channels["constant"].payload == payload(b"constant") for saved in repository.list())
        for namespace in ("", "child", "child:1"):
            listed = list(repository.list("t", namespace=namespace))
            assert repository.get("t", namespace=namespace) == (listed[0] if listed else None)

        OPERATIONS[operation](repository)
        assert _content(repository) == expected
        again = audit(client, name)
        _check(again)
        if operation not in ("prune", "delete_runs", "delete", "delete the newest"):
            assert not again.unused
        client.delete("nothing", *client.scan_iter(f"{name}:*"))


@pytest.mark.slow
@pytest.mark.usefixtures("pieces")
@pytest.mark.parametrize(
    ("deleting", "pieces"),
    # Smaller ones would let deletions, which read the names of all, take so long that there are few of them.
    [("delete_runs", 0), ("prune", 0), ("delete_thread", 0), ("delete_runs", 300), ("prune", 300)],
    indirect=["pieces"],
)
def test_writing_while_others_delete(valkey_server: ValkeyServer, prefix: str, deleting: str) -> None:
    with valkey_server.client(max_connections=32) as client:
        repository = open_repository(client, prefix, index_metadata=INDEXED)
        begun = time.monotonic()
        numbers = iter(range(1, 1_000_000))
        lock = threading.Lock()
        counts = {"read": 0, "puts": 0, "deletions": 0}

        def is_over() -> bool:
            # On a busy machine everybody's work takes longer than the two seconds.
            seconds = time.monotonic() - begun
            return seconds > 60 or (seconds > 2 and min(counts.values()) > 3)

        def supply(names: Any) -> Any:
            return {name: payload(b"constant of t") for name in names}

        def writer() -> None:
            parent = None
            while not is_over():
                with lock:
                    number = next(numbers)
                made = checkpoint("t", number, parent)
                repository.put(made, supply=supply)
                repository.put_writes("t", made.checkpoint_id, [write("task", index) for index in range(WRITES)])
                parent = made.checkpoint_id
                counts["puts"] += 1

        def reader() -> None:
            while not is_over():
                for saved in [repository.get("t"), *repository.list("t", limit=5)]:
                    # Writes that were deleted since the checkpoint was read are missing.
                    if saved is not None:
                        assert is_whole(saved.model_copy(update={"pending_writes": ()}))
                        counts["read"] += 1
                repository.ancestors("t", ["items", "constant"])

        def deleter() -> None:
            while not is_over():
                if deleting == "delete_runs":
                    repository.delete_runs(["run 0", "run 1"])
                elif deleting == "prune":
                    repository.prune(["t"], keep=2)
                else:
                    repository.delete_thread("t")
                counts["deletions"] += 1

        with ThreadPoolExecutor(16) as pool:
            work = [writer] * 10 + [reader] * 3 + [deleter] * 3
            for future in [pool.submit(function) for function in work]:
                future.result()
        assert min(counts.values()) > 3, counts
        # A reader's or a deleter's clean-up may be under way when a thread goes, so the indexes may name what is gone.
        _check(audit(client, prefix))
        found = list(repository.list("t"))
        assert all(is_whole(saved.model_copy(update={"pending_writes": ()})) for saved in found)
        repository.prune(["t"])
        _check(audit(client, prefix))
        assert len(list(repository.list("t"))) <= 1
        repository.delete_thread("t")
        left = audit(client, prefix)
        _check(left)
        assert left.checkpoints == left.writes == 0


class Interrupted(Mortal):
    """A client before one of whose requests somebody else puts a checkpoint."""

    def __init__(
        self, client: Any, other: CheckpointRepository, turn: int, *, cluster: bool = False, **metadata: Any
    ) -> None:
        super().__init__(client, cluster)
        self.other = other
        self.turn = turn
        self.metadata = metadata

    def execute(self, request: Request) -> Reply:
        if self.made + 1 == self.turn:
            channels = {"constant": Channel.earlier(1), "counter": Channel.earlier(2)}
            self.other.put(
                Checkpoint(
                    thread_id="t", checkpoint_id="9", parent_id="00002", channels=channels, metadata=self.metadata
                ),
                supply=lambda names: dict.fromkeys(names, payload(b"constant")),
            )
        return super().execute(request)


def test_a_value_that_a_put_needs_is_not_collected_under_it(client: Any, prefix: str) -> None:
    """A put comes between each two requests of a deletion, and refers to the value that is being collected."""
    for turn in range(20):
        name = f"{prefix}-{turn}"
        plain = open_repository(client, name)
        for made in chain("t", 3, run_id="run"):
            plain.put(made)

        interrupted = Interrupted(client, plain, turn)
        CheckpointRepository(ValkeyCheckpoints(interrupted, prefix=name)).delete_runs(["run"])
        saved = plain.get("t")
        if turn and turn <= interrupted.made:
            assert saved
            assert saved.checkpoint_id == "9"
            assert saved.channels["constant"].payload == payload(b"constant")
        else:
            assert saved is None
            assert turn in (0, *range(interrupted.made + 1, 20))
        _check(audit(client, name))


@pytest.mark.parametrize("cluster", [False, True])
@pytest.mark.parametrize("run_id", ["run", "other"])
def test_indexes_know_what_is_put_between_two_requests_of_a_deletion(
    client: Any, prefix: str, cluster: bool, run_id: str
) -> None:
    requests = 7 if cluster else 3
    for turn in range(1, requests + 2):
        name = f"{prefix}-{turn}"
        plain = open_repository(client, name)
        for made in chain("t", 3, run_id="run"):
            plain.put(made)
        interrupted = Interrupted(client, plain, turn, cluster=cluster, run_id=run_id)
        CheckpointRepository(ValkeyCheckpoints(interrupted, prefix=name)).delete_thread("t")
        assert turn <= requests or interrupted.made == requests
        # What was put before the deletion looked goes with the rest.
        expected = ["9"] if turn - cluster > 1 and turn <= requests else []
        assert [saved.checkpoint_id for saved in plain.list("t")] == expected
        assert [thread.thread_id for thread in plain.list_threads()] == (["t"] if expected else [])
        _check(audit(client, name))
        plain.delete_runs([run_id])
        assert list(plain.list("t")) == []


@pytest.mark.parametrize("cluster", [False, True])
def test_a_run_may_name_a_thread_that_is_gone_until_it_is_deleted(client: Any, prefix: str, cluster: bool) -> None:
    repository = CheckpointRepository(ValkeyCheckpoints(Mortal(client, cluster), prefix=prefix))
    backend = repository.backend
    repository.put(Checkpoint(thread_id="t", checkpoint_id="1", metadata={"run_id": "run"}))

    operation = backend.delete_thread("t")
    request = next(operation)
    with pytest.raises(StopIteration):
        while True:
            reply = backend.execute(request)
            if isinstance(request, Call) and request.script.name == "erase":
                # The first answer was lost on the way, so the client asked again.
                assert reply == [b"run"]
                reply = backend.execute(request)
                assert reply == []
            request = operation.send(reply)
    assert list(repository.list_threads()) == []
    assert [key.decode() for key in client.scan_iter(f"{prefix}:*")] == [f"{prefix}:run-index:run"]

    repository.put(Checkpoint(thread_id="t", checkpoint_id="2"))
    repository.delete_runs(["run"])
    assert [saved.checkpoint_id for saved in repository.list("t")] == ["2"]
    assert not client.exists(f"{prefix}:run-index:run")
    _check(audit(client, prefix))


@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_no_checkpoint_is_seen_without_its_pending_writes_while_its_thread_is_deleted(
    client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(deletion, "CHUNK", size)
    monkeypatch.setattr(deletion, "NAMESPACES", 2)
    repository = open_repository(client, prefix, ttl=1000)
    _fill(repository)
    operation = repository.backend.delete_thread("t")
    request = next(operation)
    seen = set()
    with pytest.raises(StopIteration):
        while True:
            request = operation.send(repository.backend.execute(request))
            found = list(repository.list("t"))
            seen.add(len(found))
            assert {len(saved.pending_writes) for saved in found} <= {2}
            _check(audit(client, prefix))
            for namespace in ("", "child", "child:1"):
                keys = namespace_keys(prefix, "t", namespace)
                indexed = {b"c" + name for name in client.zrange(keys.checkpoints, 0, -1)}
                indexed |= {b"w" + name for name in client.zrange(keys.writes, 0, -1)}
                assert {entry for entry in client.zrange(keys.expiry, 0, -1) if entry[:1] in b"cw"} == indexed
    assert len(seen) > 2
    assert not list(client.scan_iter(f"{prefix}:*"))


def test_the_audit_finds_what_is_wrong(client: Any, prefix: str) -> None:
    repository = open_repository(client, prefix, index_metadata=["step"])
    indexed = MetadataKeys(prefix, "step")
    _fill(repository)
    _check(audit(client, prefix))
    values = f"{prefix}:channel-values:{{t}}:"
    breakages: list[Callable[[], Any]] = [
        lambda: client.hdel(values, "constant:i1"),
        lambda: client.zrem(f"{prefix}:checkpoint-index:{{t}}:", "00001"),
        lambda: client.zadd(f"{prefix}:checkpoint-index:{{t}}:", {"x": 0}),
        lambda: client.zadd(f"{prefix}:pending_write-index:{{t}}:", {"x:y:0:c": 0}),
        lambda: client.hset(f"{prefix}:head:{{t}}:", "step", "9"),
        lambda: client.hset(f"{prefix}:pending-values:{{t}}:", "x:y:0:c", "z"),
        lambda: client.hdel(f"{prefix}:pending-values:{{t}}:", "00001:task:0:items"),
        lambda: client.expire(f"{prefix}:pending-values:{{t}}:", 1000),
        lambda: client.zrem(f"{prefix}:namespace-index:{{t}}", "child"),
        lambda: client.zrem(f"{prefix}:thread-index:{{threads}}:time", "t"),
        lambda: client.srem(f"{prefix}:run-index:run%201", "t"),
        lambda: client.delete(indexed.by_value, indexed.by_thread),
        lambda: client.zremrangebyrank(indexed.by_thread, 0, 0),
        lambda: client.expire(values, 1000),
        lambda: client.expire(f"{prefix}:checkpoint:{{t}}::00001", 1000),
    ]
    for break_it in breakages:
        saved = {key: client.dump(key) for key in client.scan_iter(f"{prefix}:*")}
        break_it()
        assert audit(client, prefix).problems
        client.delete(*client.scan_iter(f"{prefix}:*"))
        for key, dump in saved.items():
            client.restore(key, 0, dump)
    _check(audit(client, prefix))
    client.hset(values, "other:i1", "1")
    assert audit(client, prefix).unused == {(values, "other:i1")}
    with pytest.raises(CorruptRecord):
        client.hset(values, "constant:i1", "1")
        repository.get("t")


@pytest.mark.parametrize("pause", ["erase", "collect"])
def test_a_value_that_is_referred_to_just_now_is_not_collected(client: Any, prefix: str, pause: str) -> None:
    repository = open_repository(client, prefix)
    backend = repository.backend
    old, new = payload(b"old"), payload(b"new")
    repository.put(Checkpoint(thread_id="t", checkpoint_id="1", channels={"x": Channel.of(1, old)}))
    repository.put(Checkpoint(thread_id="t", checkpoint_id="2", channels={"x": Channel.of(2, new)}))

    operation = backend.prune(["t"], PrunePolicy(keep=1))
    request = next(operation)
    while not (isinstance(request, Call) and request.script.name == pause):
        request = operation.send(backend.execute(request))
    # The prune has seen nobody who uses the old value, and is about to go on.
    repository.put(
        Checkpoint(thread_id="t", checkpoint_id="3", channels={"x": Channel.earlier(1)}),
        supply=lambda names: {"x": old},
    )
    with pytest.raises(StopIteration):
        while True:
            request = operation.send(backend.execute(request))

    saved = repository.get("t", checkpoint_id="3")
    assert saved is not None
    assert saved.channels["x"].payload == old
    assert audit(client, prefix).problems == []


@pytest.mark.parametrize(("cluster", "last"), [(False, "erase"), (True, "erase"), (True, "unindex_threads")])
def test_a_deletion_that_is_cut_off_does_not_hide_what_was_put_meanwhile(
    client: Any, prefix: str, cluster: bool, last: str
) -> None:
    repository = CheckpointRepository(ValkeyCheckpoints(Mortal(client, cluster), prefix=prefix))
    backend = repository.backend
    repository.put(Checkpoint(thread_id="t", checkpoint_id="1"))

    operation = backend.delete_thread("t")
    request = next(operation)
    while not (isinstance(request, Call) and request.script.name == last):
        request = operation.send(backend.execute(request))
    repository.put(Checkpoint(thread_id="t", checkpoint_id="2"))
    backend.execute(request)
    operation.close()

    assert [thread.thread_id for thread in repository.list_threads()] == ["t"]
    assert [saved.checkpoint_id for saved in repository.list("t")] == ["2"]


@pytest.mark.parametrize("slow", [False, True])
def test_a_put_for_which_readers_did_not_wait(
    valkey_server: ValkeyServer, prefix: str, slow: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the index and the record there may be as much time as the deadline."""
    with valkey_server.client() as client:
        backend = ValkeyCheckpoints(Mortal(client, cluster=True), prefix=prefix)
        repository = CheckpointRepository(backend)
        (made,) = chain("t", 1, run_id="run")
        operation = backend.put(made, None)
        request = next(operation)
        while not (isinstance(request, Call) and request.script.name == "put"):
            request = operation.send(backend.execute(request))
        by_time = thread_index_keys(prefix)[0]
        client.zadd(by_time, {"t": 1.7e15})  # minutes ago
        assert list(repository.list_threads()) == []
        assert client.zcard(by_time) == 0
        repository.delete_runs(["run"])
        if slow:
            monkeypatch.setattr(put, "monotonic", lambda: time.monotonic() + put.PATIENCE + 1)
        with pytest.raises(StopIteration):
            while True:
                request = operation.send(backend.execute(request))
        assert repository.get("t") is not None
        assert [thread.thread_id for thread in repository.list_threads()] == (["t"] if slow else [])
        if slow:
            repository.delete_runs(["run"])
            assert repository.get("t") is None
