"""Filters of ``list`` over many threads: by the indexes of metadata, and by a walk through all."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from decimal import Decimal
from typing import Any

import pytest
import valkey
from hypothesis import given, settings
from hypothesis import strategies as st

from statekeep import (
    Channel,
    Checkpoint,
    CheckpointRepository,
    InvalidInput,
    MissingChannels,
    PrunePolicy,
    aconnect,
    connect,
)
from statekeep.langgraph_shim import ValkeySaver
from statekeep.repositories.memory import MemoryCheckpoints
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.checkpoints import listing
from statekeep.repositories.valkey.checkpoints.keys import thread_index_keys
from statekeep.repositories.valkey.checkpoints.metadata import choice, index
from statekeep.repositories.valkey.checkpoints.metadata.index import tags_of_threads
from statekeep.repositories.valkey.checkpoints.metadata.tags import MetadataKeys, query_tag, tag_of
from statekeep.repositories.valkey.requests import Call, Commands, Reply, Request
from statekeep.testing import strategies as some
from statekeep.testing.servers import ValkeyCluster, ValkeyServer
from tests.small_pages import small_pages

from .counting_proxy import CountingProxy
from .valkey_kinds import KINDS, open_repository, payload, write

THREADS = 300
SERVERS = ("standalone", "cluster")


class Asking:
    """A client that keeps the requests of operations, and says it is of a cluster or not.

    Attributes:
        raw: the client.
        requests: since the last :meth:`clear`.
        most: the greatest number of values in one reply since then.
    """

    def __init__(self, client: Any, *, cluster: bool) -> None:
        self.cluster = cluster
        self.raw = client
        self._client = client_for(client)
        self.clear()

    def clear(self) -> None:
        self.requests: list[Request] = []
        self.most = 0

    def execute(self, request: Request) -> Reply:
        self.requests.append(request)
        reply = self._client.execute(request)
        self.most = max(self.most, size_of(reply))
        return reply

    async def aexecute(self, request: Request) -> Reply:
        raise AssertionError("these tests are blocking")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    @property
    def scripts(self) -> list[str]:
        return [request.script.name for request in self.requests if isinstance(request, Call)]


def size_of(reply: Reply) -> int:
    """How many values a reply has."""
    return sum(map(size_of, reply)) if isinstance(reply, list) else 1


@pytest.fixture(params=SERVERS)
def asking(request: pytest.FixtureRequest) -> Iterator[Asking]:
    """A client of a server, or of a cluster."""
    is_cluster = request.param == "cluster"
    server: Any = request.getfixturevalue("valkey_cluster" if is_cluster else "valkey_server")
    with server.client() as client:
        yield Asking(client, cluster=is_cluster)


def repository_of(client: Any, prefix: str, *names: str, **options: Any) -> CheckpointRepository:
    return CheckpointRepository(ValkeyCheckpoints(client, prefix=prefix, index_metadata=names, **options))


def made(thread_id: str, number: int = 1, namespace: str = "", **metadata: Any) -> Checkpoint:
    return Checkpoint(
        thread_id=thread_id,
        namespace=namespace,
        checkpoint_id=f"{number:03}",
        parent_id=f"{number - 1:03}" if number > 1 else None,
        metadata=metadata,
        channels={"c": Channel.of(number, payload(b"%d" % number))},
    )


def names_of(found: Any) -> list[tuple[str, str]]:
    return [(saved.thread_id, saved.checkpoint_id) for saved in found]


def age(client: Any, prefix: str, *names: str) -> None:
    """Let all threads have been put to a minute ago, also in the indexes that say so."""
    for key in (thread_index_keys(prefix)[0], *(MetadataKeys(prefix, name).whole for name in names)):
        for thread in client.zrange(key, 0, -1):
            client.zincrby(key, -61_000_000, thread)


def entries(client: Any, prefix: str, name: str) -> set[bytes]:
    """What stands in the indexes of a name, of which both say the same."""
    keys = MetadataKeys(prefix, name)
    by_value = {member[20:] + b" " + member[:20] for member in client.zrange(keys.by_value, 0, -1)}
    by_thread = set()
    for member in client.zrange(keys.by_thread, 0, -1):
        size, _, rest = member.partition(b":")
        assert len(rest) == int(size) + 20
        by_thread.add(rest[:-20] + b" " + rest[-20:])
    assert by_value == by_thread
    return by_value


def entry(thread_id: str, value: Any) -> bytes:
    return f"{thread_id} {tag_of(value)}".encode()


# -- what a filter costs


def fill(repository: CheckpointRepository, count: int = THREADS) -> None:
    for number in range(count):
        for step in (1, 2):
            repository.put(made(f"t{number}", step, user=f"user {number}", run_id=f"run {number}", step=step))


@pytest.mark.parametrize("condition", [{"user": "user 7"}, {"run_id": "run 7"}, {"user": "user 7", "step": 2}])
def test_one_of_many_threads_is_found_without_the_others(
    asking: Asking, prefix: str, condition: dict[str, Any]
) -> None:
    repository = repository_of(asking, prefix, "user")
    fill(repository)
    list(repository.list(metadata={"user": "nobody"}))  # whoever asks first looks which threads are indexed
    asking.clear()
    expected = [("t7", "002"), ("t7", "001")]
    assert names_of(repository.list(metadata=condition)) == expected[: 2 - ("step" in condition)]
    assert len(asking.requests) <= 8
    assert asking.most < 60


def test_a_filter_without_an_index_walks_in_pages(asking: Asking, prefix: str) -> None:
    repository = repository_of(asking, prefix)
    fill(repository)
    asking.clear()
    assert names_of(repository.list(metadata={"user": "user 7"})) == [("t7", "002"), ("t7", "001")]
    # Three pages of 100 threads, for each two requests that list them, and steps of 16, 32, 64 and up to 125 threads,
    # for each at most two; and the reads of what was found.
    assert len(asking.requests) <= 3 * 2 + 2 * (3 + 1 + 3) + 2
    # Of 125 threads it is metadata and primary key of up to two checkpoints each; of 100, names and times.
    assert asking.most <= 125 * 2 * 2


def test_a_walk_stops_when_the_limit_is_reached(asking: Asking, prefix: str) -> None:
    repository = repository_of(asking, prefix)
    fill(repository)
    asking.clear()
    assert names_of(repository.list(metadata={"step": 2}, limit=1)) == [("t299", "002")]
    assert len(asking.requests) <= 5
    assert asking.most <= 101 * 2


def test_a_walk_looks_at_a_bounded_number_of_checkpoints_at_once(
    asking: Asking, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SCAN", 30)
    monkeypatch.setattr(listing, "FIRST", 10)
    repository = repository_of(asking, prefix)
    for number in range(8):
        for step in range(1, 16):
            repository.put(made(f"t{number}", step, where=f"{number} {step}"))
            repository.put(made(f"t{number}", step, "child", where=f"{number} child {step}"))
    asking.clear()
    for where, expected in (("2 1", ("t2", "001")), ("5 child 15", ("t5", "015")), ("0 child 2", ("t0", "002"))):
        assert names_of(repository.list(metadata={"where": where})) == [expected]
    rows = [request for request in asking.requests if size_of_fields(request)]
    assert max(map(size_of_fields, rows)) <= 30


def size_of_fields(request: Request) -> int:
    """Of how many checkpoints a request reads metadata."""
    if isinstance(request, Call):
        return len(request.keys) if request.script.name == "fields" else 0
    if isinstance(request, Commands):
        return sum(command[0] == "HMGET" and "metadata" in command for command in request.commands)
    return 0


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_a_put_is_one_round_trip(kind: str, valkey_server: ValkeyServer, prefix: str) -> None:
    with CountingProxy(valkey_server.port) as proxy:
        async with open_repository(
            kind, proxy.port, prefix=prefix, index_metadata=["user", "team", "step"]
        ) as repository:
            await repository.put(made("warm", 1, user=1))
            await repository.put(made("warm", 2, user=1))
            for number in range(1, 4):
                proxy.reset()
                await repository.put(made("t", number, user="ada", run_id="run" if number == 2 else ""))
                assert proxy.turns == 1
            await repository.put(made("t", 3, user="bob", team=3))  # once more, by the script that looks for all
            found = [saved async for saved in repository.list(metadata={"user": "bob"})]
            assert names_of(found) == [("t", "003")]
            with valkey.Valkey(port=valkey_server.port) as client:
                expected = {entry("t", "ada"), entry("t", "bob"), entry("warm", 1)}
                assert entries(client, prefix, "user") == expected
                assert entries(client, prefix, "team") == {entry("t", 3)}


def test_a_put_in_a_cluster_takes_no_request_more(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    with valkey_cluster.client() as client:
        counts = []
        for names in ((), ("user", "team")):
            asking = Asking(client, cluster=True)
            repository = repository_of(asking, f"{prefix}{len(names)}", *names)
            for number in range(1, 4):
                repository.put(made("t", number, user="ada", run_id="run"))
            counts.append(len(asking.requests))
        assert counts == [9, 9]


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.anyio
async def test_connections_and_savers_take_the_names(
    server: str, client: Any, prefix: str, request: pytest.FixtureRequest
) -> None:
    url = request.getfixturevalue("valkey_cluster" if server == "cluster" else "valkey_server").url
    async with aconnect(url, prefix=prefix, client=client, index_metadata=["user"]) as keep:
        for number in range(20):
            await keep.checkpoints.put(made(f"t{number}", user=number))
        assert names_of([one async for one in keep.checkpoints.list(metadata={"user": 3})]) == [("t3", "001")]
        backend: Any = keep.checkpoints.backend
        assert list(backend.index_metadata) == ["user"]
    with connect(url, prefix=prefix, client=client, index_metadata=["user", "user"]) as blocking:
        assert names_of(blocking.checkpoints.list(metadata={"user": 4})) == [("t4", "001")]
    with ValkeySaver.from_conn_string(url, prefix=prefix, client=client, index_metadata=["user"]) as saver:
        config: Any = {"configurable": {"thread_id": "of a graph", "checkpoint_ns": ""}}
        empty: Any = {"v": 4, "id": "1", "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
        saver.put(config, empty, {"source": "input", "user": "eve"}, {})  # type: ignore[typeddict-unknown-key]
        [found] = saver.list(None, filter={"user": "eve"})
        assert found.config["configurable"]["thread_id"] == "of a graph"


@pytest.mark.parametrize("names", ["user", [""], [1], [str(number) for number in range(17)], None])
@pytest.mark.parametrize("url", ["memory:", "valkey://localhost:1", "agentcore://notes-Ab12Cd34Ef?region=us-west-2"])
def test_names_are_checked(url: str, names: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        connect(url, index_metadata=names)
    assert caught.value.field == "index_metadata"


# -- which threads are found


def others_of(asking: Asking, prefix: str) -> CheckpointRepository:
    """A repository that knows of no index, as those of earlier versions."""
    return repository_of(asking, prefix)


def test_what_was_put_before_there_was_an_index_is_found(asking: Asking, prefix: str) -> None:
    for number in range(150):
        others_of(asking, prefix).put(made(f"old{number}", user=number % 140))
    repository = repository_of(asking, prefix, "user")
    for number in range(150):
        repository.put(made(f"new{number}", user=number))
    expected = [("new7", "001"), ("old147", "001"), ("old7", "001")]
    assert names_of(repository.list(metadata={"user": 7})) == expected
    # A thread goes on that was there before: what it has from then is not in the index.
    repository.put(made("old7", 2, user=0))
    assert names_of(repository.list(metadata={"user": 7})) == [("old7", "001"), *expected[:2]]


def test_a_walk_fills_an_index(asking: Asking, prefix: str) -> None:
    for number in range(150):
        others_of(asking, prefix).put(made(f"t{number}", user=number))
    client = asking.raw
    age(client, prefix)
    repository = repository_of(asking, prefix, "user")
    assert names_of(repository.list(metadata={"user": 7})) == [("t7", "001")]
    assert len(entries(client, prefix, "user")) == 150
    assert not client.exists(MetadataKeys(prefix, "user").rest)
    asking.clear()
    assert names_of(repository.list(metadata={"user": 7})) == [("t7", "001")]
    assert len(asking.requests) <= 8


@pytest.mark.parametrize("number", [1, 2])
def test_what_others_put_without_an_index_is_found(asking: Asking, prefix: str, number: int) -> None:
    repository = repository_of(asking, prefix, "user")
    for other in range(20):
        repository.put(made(f"t{other}", user=other))
    assert names_of(repository.list(metadata={"user": 7})) == [("t7", "001")]
    others_of(asking, prefix).put(made("t3", number, user=7))
    expected = [("t3", f"{number:03}"), ("t7", "001")]
    assert names_of(repository.list(metadata={"user": 7})) == expected
    repository.put(made("t3", 3, user="other"))
    assert names_of(repository.list(metadata={"user": 7})) == expected
    others_of(asking, prefix).put(made("other", user=7))
    assert names_of(repository.list(metadata={"user": 7})) == [("other", "001"), *expected]


def test_times_in_the_future_hide_nothing(asking: Asking, prefix: str) -> None:
    repository = repository_of(asking, prefix, "user")
    for number in range(3):
        repository.put(made(f"t{number}", user=number))
    asking.raw.zadd(thread_index_keys(prefix)[0], {"t0": 2e15})  # the clock was wrong
    assert names_of(repository.list(metadata={"user": 0})) == [("t0", "001")]
    others_of(asking, prefix).put(made("t1", 2, user=0))
    assert names_of(repository.list(metadata={"user": 0})) == [("t0", "001"), ("t1", "002")]


def test_reindex_fills_an_index(asking: Asking, prefix: str) -> None:
    client = asking.raw
    others_of(asking, prefix).put(made("t", 1, user="ada"))
    others_of(asking, prefix).put(made("t", 2, "child", user="bob"))
    age(client, prefix)
    repository = repository_of(asking, prefix, "user", "team")
    assert list(repository.list(metadata={"team": 1})) == []
    client.zadd(MetadataKeys(prefix, "user").by_value, {tag_of("eve") + "t": 0})
    client.zadd(MetadataKeys(prefix, "user").by_thread, {"1:t" + tag_of("eve"): 0})
    assert repository.reindex("t") == 2
    assert entries(client, prefix, "user") == {entry("t", "ada"), entry("t", "bob")}
    for name in ("user", "team"):
        assert client.zrange(MetadataKeys(prefix, name).whole, 0, -1) == [b"t"]
        assert not client.exists(MetadataKeys(prefix, name).rest)
    others_of(asking, prefix).put(made("t", 3, user="eve"))
    assert names_of(repository.list(metadata={"user": "eve"})) == [("t", "003")]


def test_records_that_others_stored_are_found_after_reindex(asking: Asking, prefix: str) -> None:
    repository = repository_of(asking, prefix, "user")
    repository.put(made("t", 1, user="ada"))
    start = f"{prefix}:checkpoint:{{t}}::"
    record = asking.raw.hgetall(f"{start}001")
    record |= {b"pk": b"{t}::002", b"checkpoint_id": b"002", b"metadata": b'{"user":"eve"}'}
    asking.raw.hset(f"{start}002", mapping=record)
    assert list(repository.list(metadata={"user": "eve"})) == []
    assert repository.reindex("t") == 2
    assert names_of(repository.list(metadata={"user": "eve"})) == [("t", "002")]


def test_a_put_that_is_under_way_in_a_cluster_is_not_overlooked(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    """The indexes hear of it before it is done; what comes in between must not forget it."""
    with valkey_cluster.client() as client:
        asking = Asking(client, cluster=True)
        repository = repository_of(asking, prefix, "user")
        repository.put(made("t", 1, user="ada"))
        backend = repository.backend
        for between in (
            lambda: repository.reindex("t"),
            lambda: repository.prune(["t"], keep=1),
            lambda: list(repository.list(metadata={"user": "bob"})),
        ):
            operation = backend.put(made("t", 2, user="bob"), None)
            request = next(operation)
            while not (isinstance(request, Call) and request.script.name in ("put", "put_next")):
                request = operation.send(backend.execute(request))
            between()
            with pytest.raises(StopIteration):
                while True:
                    request = operation.send(backend.execute(request))
            assert names_of(repository.list(metadata={"user": "bob"})) == [("t", "002")]
            repository.put(made("t", 2, user="ada"))


def test_a_put_that_stored_nothing_is_taken_back(asking: Asking, prefix: str) -> None:
    repository = repository_of(asking, prefix, "user")
    client = asking.raw
    for number in range(3):
        repository.put(made(f"t{number}", user=number))
    whole = client.zrange(MetadataKeys(prefix, "user").whole, 0, -1, withscores=True)
    lacking = Checkpoint(
        thread_id="t1", checkpoint_id="002", metadata={"user": 5}, channels={"gone": Channel.earlier(1)}
    )
    with pytest.raises(MissingChannels):
        repository.put(lacking)
    assert client.zrange(MetadataKeys(prefix, "user").whole, 0, -1, withscores=True) == whole
    assert list(repository.list(metadata={"user": 5})) == []
    assert names_of(repository.list(metadata={"user": 1})) == [("t1", "001")]
    assert not client.exists(MetadataKeys(prefix, "user").rest)


def test_conditional_puts_are_indexed(asking: Asking, prefix: str) -> None:
    repository = repository_of(asking, prefix, "user", "team")
    repository.put(made("t", 1, user="ada"), expected_head=None)
    repository.put(made("t", 2, user="bob", team=1, run_id="r"), expected_head="001")
    assert entries(asking.raw, prefix, "user") == {entry("t", "ada"), entry("t", "bob")}
    assert entries(asking.raw, prefix, "team") == {entry("t", 1)}


def test_filters_and_deletions_work_on_a_full_server(prefix: str) -> None:
    with ValkeyServer(maxmemory_policy="noeviction") as server, server.client() as client:
        old, repository = repository_of(client_for(client), prefix), repository_of(client_for(client), prefix, "user")
        for number in range(130):
            old.put(made(f"t{number}", user=number))
        repository.put(made("t7", 2, user="ada"))
        client.config_set("maxmemory", "1")
        assert names_of(repository.list(metadata={"user": 7})) == [("t7", "001")]
        assert names_of(repository.list(metadata={"user": "ada"})) == [("t7", "002")]
        repository.prune(["t7"], keep=1)
        assert list(repository.list(metadata={"user": 7})) == []
        repository.delete_thread("t7")
        assert list(repository.list(metadata={"user": "ada"})) == []
        assert repository.reindex("t8") == 1
        assert names_of(repository.list(metadata={"user": 8})) == [("t8", "001")]


# -- what goes


def deletions(repository: CheckpointRepository) -> dict[str, tuple[Callable[[], Any], set[bytes]]]:
    """What to do with a thread of three checkpoints, and what is left in the index."""
    ada, bob, eve = (entry("t", name) for name in ("ada", "bob", "eve"))
    return {
        "delete_thread": (lambda: repository.delete_thread("t"), set()),
        "prune all": (lambda: repository.prune(["t"], keep=0), set()),
        "prune": (lambda: repository.prune(["t"], keep=1), {eve}),
        "prune a namespace": (lambda: repository.prune(["t"], keep=2, namespace=""), {bob, eve}),
        "delete": (lambda: repository.delete("t", "002"), {ada, eve}),
        "delete_runs": (lambda: repository.delete_runs(["run 1", "run 2"]), {eve}),
        "delete all runs": (lambda: repository.delete_runs(["run 1", "run 2", "run 3"]), set()),
        "replace": (lambda: repository.put(made("t", 2, user="ada")), {ada, eve}),
    }


@pytest.mark.parametrize("operation", deletions(None))  # type: ignore[arg-type]
@pytest.mark.parametrize("tags", [1, 10])
def test_indexes_forget_what_is_deleted(
    asking: Asking, prefix: str, operation: str, tags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "TAGS", tags)
    repository = repository_of(asking, prefix, "user", "team")
    client = asking.raw
    for number, user in enumerate(("ada", "bob", "eve"), 1):
        repository.put(made("t", number, user=user, run_id=f"run {number}"))
        repository.put(made("u", number, user=user))
    if operation != "delete_thread":
        age(client, prefix, "user", "team")  # in a cluster, what was put just now stays
    act, expected = deletions(repository)[operation]
    act()
    if operation == "replace":
        age(client, prefix, "user", "team")
        repository.reindex("t")
    others = {entry("u", name) for name in ("ada", "bob", "eve")}
    assert entries(client, prefix, "user") == expected | others
    for user in ("ada", "bob", "eve"):
        repository.put(made("u", 4, user="nobody"))
        found = {saved.thread_id for saved in repository.list(metadata={"user": user})}
        assert found == {"u", "t"} if entry("t", user) in expected else {"u"}
    repository.delete_thread("t")
    repository.delete_thread("u")
    left = {key.decode().removeprefix(f"{prefix}:") for key in client.scan_iter(f"{prefix}:*")}
    # What was pruned stays in the index of its run.
    assert {key for key in left if not key.startswith("run-index:")} <= {"metadata-index:{threads}:until"}


def test_copies_are_indexed(asking: Asking, prefix: str) -> None:
    repository = repository_of(asking, prefix, "user")
    repository.put(made("t", 1, user="ada"))
    repository.put(made("t", 2, "child", user="bob"))
    repository.copy_thread("t", "copy")
    for user, checkpoint_id in (("ada", "001"), ("bob", "002")):
        found = names_of(repository.list(metadata={"user": user}))
        assert sorted(found) == [("copy", checkpoint_id), ("t", checkpoint_id)]


def test_threads_that_ended_go_from_the_indexes(asking: Asking, prefix: str) -> None:
    client = asking.raw
    brief = repository_of(asking, prefix, "user", ttl=0.2)
    lasting = repository_of(asking, prefix, "user")
    for number in range(30):
        brief.put(made(f"t{number}", user=number))
    lasting.put(made("lasting", user=7))
    time.sleep(0.3)
    assert names_of(lasting.list(metadata={"user": 7})) == [("lasting", "001")]
    age(client, prefix, "user")
    assert [thread.thread_id for thread in lasting.list_threads()] == ["lasting"]
    assert entries(client, prefix, "user") == {entry("lasting", 7)}
    assert client.zrange(MetadataKeys(prefix, "user").whole, 0, -1) == [b"lasting"]


def test_values_that_ended_in_a_thread_that_goes_on(asking: Asking, prefix: str) -> None:
    client = asking.raw
    brief = repository_of(asking, prefix, "user", ttl=0.2)
    lasting = repository_of(asking, prefix, "user")
    brief.put(made("t", 1, user="gone"))
    lasting.put(made("t", 2, user="here"))
    time.sleep(0.3)
    age(client, prefix, "user")
    # The first one finds out that the record is gone; the second that the thread is named for nothing.
    for _ in range(2):
        assert list(lasting.list(metadata={"user": "gone"})) == []
    assert entries(client, prefix, "user") == {entry("t", "here")}


def test_a_checkpoint_that_is_refreshed_stays_in_the_index(asking: Asking, prefix: str) -> None:
    repository = repository_of(asking, prefix, "user", ttl=1.0, refresh_on_read=True)
    repository.put(made("t", user="ada", run_id="run"))
    began = time.monotonic()
    while time.monotonic() - began < 1.6:
        time.sleep(0.2)
        repository.put_writes("t", "001", [write("task", 0)])
    for condition in ({"user": "ada"}, {"run_id": "run"}):
        assert names_of(repository.list(metadata=condition)) == [("t", "001")]


def test_threads_that_are_put_to_meanwhile_are_not_forgotten(asking: Asking, prefix: str) -> None:
    """A put comes between any two requests of a deletion, and is found after each that follows."""
    client = asking.raw
    for turn in range(1, 100):
        name = f"{prefix}-{turn}"
        repository = repository_of(asking, name, "user")
        for number in range(1, 3):
            repository.put(made("t", number, user="ada"))
        age(client, name, "user")
        operation = repository.backend.prune(["t"], PrunePolicy(keep=1))
        request = next(operation)
        count = 0
        with suppress(StopIteration):
            while True:
                reply = repository.backend.execute(request)
                count += 1
                if count == turn:
                    repository.put(made("t", 3, user="eve"))
                if count >= turn:
                    assert names_of(repository.list(metadata={"user": "eve"})) == [("t", "003")]
                request = operation.send(reply)
        if count < turn:
            assert turn > 5
            return
        assert names_of(repository.list(metadata={"user": "eve"})) == [("t", "003")]


# -- values


NUMBERS = [0, -0.0, 1, True, 1.0, Decimal(1), Decimal("1.0"), 2.5, Decimal("2.5"), 10**400, Decimal(10) ** 400]
NUMBERS += [
    float("inf"),
    Decimal("inf"),
    10**320,
    10**320 - 1,
    Decimal(10) ** 320,
    1e300,
    int(1e300),
    Decimal(int(1e300)),
]


def test_equal_values_have_one_tag() -> None:
    for one in NUMBERS:
        for other in NUMBERS:
            assert one != other or tag_of(one) == tag_of(other)
    distinct: list[Any] = [0, 1, 2.5, "1", "", float("inf"), 10**319, "é", "\ud800", "user:1"]
    assert len({tag_of(value) for value in distinct}) == len(distinct)
    assert {len(tag_of(value)) for value in distinct} == {20}
    untagged: list[Any] = [None, [], {}, b"x", ("a",)]
    assert [tag_of(value) for value in untagged] == [""] * 5


class Anything:
    """Equal to all."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return True


def test_only_plain_values_are_looked_up() -> None:
    class Text(str):
        __slots__ = ()

    assert query_tag("a") == tag_of("a")
    assert [query_tag(value) for value in (None, [1], Decimal(1), Text("a"), Anything())] == [""] * 5


_values = st.sampled_from([None, "", "a", "1", 0, 1, 1.0, True, False, 0.5, Decimal(1), Decimal("0.5"), [1], "\ud800"])
_values |= some.exact_values()


def test_indexes_find_what_memory_finds(valkey_server: ValkeyServer, prefix: str) -> None:
    names = st.dictionaries(st.sampled_from(["user", "run_id"]), _values)
    numbers = itertools.count()

    condition = st.fixed_dictionaries({"user": _values}) | st.fixed_dictionaries({"run_id": _values})
    condition |= st.fixed_dictionaries({"user": _values, "run_id": _values})

    @given(st.lists(st.tuples(st.sampled_from("tuvw"), names)), condition, st.sets(st.integers(0, 5)))
    @settings(max_examples=100)
    def check(puts: list[tuple[str, dict[str, Any]]], condition: dict[str, Any], without: set[int]) -> None:
        own = f"{prefix}-{next(numbers)}"
        indexed, plain = repository_of(driver, own, "user"), repository_of(driver, own)
        expected = CheckpointRepository(MemoryCheckpoints())
        for number, (thread_id, metadata) in enumerate(puts):
            checkpoint = Checkpoint(thread_id=thread_id, checkpoint_id=f"{number:03}", metadata=metadata)
            (plain if number in without else indexed).put(checkpoint)
            expected.put(checkpoint)
        for _ in range(2):  # the first time they are filled
            found = sorted(names_of(indexed.list(metadata=condition)))
            assert found == sorted(names_of(expected.list(metadata=condition)))

    with valkey_server.client() as client:
        driver = client_for(client)
        check()


def test_many_threads_in_small_pages(asking: Asking, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "FEW_CANDIDATES", 1000)
    repository = repository_of(asking, prefix, "user")
    for number in range(25):
        (repository if number % 5 else others_of(asking, prefix)).put(made(f"t{number}", user=number % 2))
    expected = [(f"t{number}", "001") for number in reversed(range(25)) if number % 2]
    with small_pages():
        assert names_of(repository.list(metadata={"user": 1})) == expected
        assert names_of(repository.list(metadata={"user": 1}, limit=3)) == expected[:3]
        assert names_of(repository.list(metadata={"user": 1}, namespace="")) == expected
        assert names_of(repository.list(metadata={"user": 1}, checkpoint_id="001")) == expected
        assert names_of(repository.list(metadata={"user": 1}, before="001")) == []
    [(_, tags)] = run(asking, tags_of_threads(MetadataKeys(prefix, "user"), ["t1"]))
    assert tags == [tag_of(1)]


def run(asking: Asking, operation: Any) -> Any:
    """Run an operation."""
    request = next(operation)
    while True:
        try:
            request = operation.send(asking.execute(request))
        except StopIteration as end:
            return end.value
