"""The index of threads, whose keys are in a slot of their own: it does not grow by threads that ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from statekeep import Checkpoint, CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.checkpoints.keys import thread_index_keys, thread_key
from statekeep.repositories.valkey.requests import Reply, Request
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .valkey_kinds import chain, write

Open = Callable[..., CheckpointRepository]


@pytest.fixture(params=["standalone", "cluster"])
def client(request: pytest.FixtureRequest) -> Iterator[Any]:
    if request.param == "standalone":
        server: ValkeyServer = request.getfixturevalue("valkey_server")
        with server.client() as client:
            yield client
    else:
        cluster: ValkeyCluster = request.getfixturevalue("valkey_cluster")
        with cluster.client() as client:
            yield client


@pytest.fixture
def open_repository(client: Any, prefix: str) -> Open:
    return lambda ttl=None: CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, ttl=ttl))


def let_end(client: Any, prefix: str) -> None:
    """Let the index say that all threads ended, and were put to a minute ago: younger ones may be of puts under way."""
    by_time, _, by_end = thread_index_keys(prefix)
    for name in client.zrange(by_time, 0, -1):
        client.zincrby(by_time, -61_000_000, name)
    for name in client.zrange(by_end, 0, -1):
        client.zadd(by_end, {name: 1})


def sizes(client: Any, prefix: str) -> list[int]:
    return [client.zcard(key) for key in thread_index_keys(prefix)]


def test_whoever_puts_drops_threads_that_ended(open_repository: Open, client: Any, prefix: str) -> None:
    brief, long, lasting = open_repository(100), open_repository(1000), open_repository()
    for number in range(250):
        brief.put(Checkpoint(thread_id=f"ended-{number}"))
    lasting.put(Checkpoint(thread_id="lasting"))
    for thread_id in ("used", "lasting too"):
        brief.put(chain(thread_id, 1)[0])
    long.put_writes("used", "00000", [write("task", 0)])
    lasting.put(chain("lasting too", 2, "nested")[1], supply=lambda names: {})
    assert sizes(client, prefix) == [253, 253, 251]
    for number in range(250):
        client.delete(thread_key(prefix, f"ended-{number}"))
    let_end(client, prefix)
    long.put(Checkpoint(thread_id="long"))
    first = sizes(client, prefix)
    assert 253 - 100 <= first[0] <= 254 - 97
    for _ in range(3):
        long.put(Checkpoint(thread_id="long"))
    by_time, by_name, by_end = thread_index_keys(prefix)
    assert client.zcard(by_time) == client.zcard(by_name) < 4 + 100
    names = {"lasting", "used", "lasting too", "long"}
    assert {name.decode() for name in client.zrange(by_time, 0, -1)} >= names
    assert {thread.thread_id for thread in long.list_threads()} == names
    assert client.zcard(by_time) == 4
    assert {name.decode() for name in client.zrange(by_end, 0, -1)} <= {"used", "long", "lasting too"}
    for thread_id in names:
        long.delete_thread(thread_id)
    assert sizes(client, prefix) == [0, 0, 0]


def test_threads_that_live_longer_are_not_looked_at_each_time(
    open_repository: Open, client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = open_repository(1000)
    for number in range(150):
        long.put(chain(f"t-{number}", 1)[0])
    let_end(client, prefix)
    index_keys = thread_index_keys(prefix)  # in a cluster, one request more
    requests: list[Request] = []
    execute = long.backend.execute

    def recording(request: Request) -> Reply:
        requests.append(request)
        return execute(request)

    monkeypatch.setattr(long.backend, "execute", recording)
    counts = []
    for _ in range(4):
        requests.clear()
        long.put(chain("long", 1)[0])
        counts.append(len([request for request in requests if getattr(request, "keys", None) != index_keys]))
    assert counts == [4, 1, 1, 1]  # a look, and the ends of 100; less than 100 are left
    assert len(list(long.list_threads())) == 151


def test_a_thread_whose_runs_were_deleted_is_not_in_the_index(open_repository: Open, client: Any, prefix: str) -> None:
    repository = open_repository()
    for checkpoint in chain("t", 3, run_id="run"):
        repository.put(checkpoint)
    for checkpoint in chain("other", 3):
        repository.put(checkpoint)
    [newest] = chain("other", 1, "nested", run_id="run")
    repository.put(newest)
    repository.delete_runs(["run"])
    by_time, by_name, _ = thread_index_keys(prefix)
    assert client.zrange(by_time, 0, -1) == client.zrange(by_name, 0, -1) == [b"other"]
