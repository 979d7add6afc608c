"""A client may die between any two requests, send a request twice, and others may come in between."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve, frozen

from statekeep import CheckItem, Conflict, DeleteItem, GetItem, Item, ItemRepository, PutItem
from statekeep.repositories.item_backend import Delete, Get, Put
from statekeep.repositories.operation import Operation
from statekeep.repositories.valkey import ValkeyItems
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.repositories.valkey.items.leases import index_keys
from statekeep.repositories.valkey.keys import ordered
from statekeep.repositories.valkey.requests import Call, Request
from statekeep.testing.servers import ValkeyServer

from .item_audit import ItemAudit, audit_items
from .item_kinds import INDEX, Killed, Watched, texts

SPACE = ("a", "b")
SPACE_NAME = ordered(SPACE)
TTL = 1000.0


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture(params=[False, True], ids=["standalone", "cluster"])
def cluster(request: pytest.FixtureRequest) -> bool:
    """Whether the requests are those for a cluster; the server takes both kinds."""
    found: bool = request.param
    return found


def check(client: Any, prefix: str, *, cut: bool = False) -> ItemAudit:
    found = audit_items(client, prefix, cut=cut)
    assert not found.problems, "\n".join(found.problems)
    return found


def prepare(items: ItemRepository) -> None:
    items.put(SPACE, "old", texts(7), ttl=TTL)
    items.put(SPACE, "lasting", texts(2), ttl=None)
    items.put(("a",), "other", texts(1))
    items.append(("a", "log"), [texts(1), texts(6)], ttl=None)


OPERATIONS: dict[str, Callable[[ItemRepository], Any]] = {
    "put new": lambda items: items.put(SPACE, "new", texts(3), ttl=TTL),
    "put new with many vectors": lambda items: items.put(("new", "place"), "new", texts(9), ttl=None),
    "put update": lambda items: items.put(SPACE, "old", texts(8, "b"), ttl=None),
    "put fewer vectors": lambda items: items.put(SPACE, "old", texts(1, "b"), ttl=TTL),
    "put without vectors": lambda items: items.put(SPACE, "old", "no texts", ttl=500),
    "put that ends sooner": lambda items: items.put(SPACE, "lasting", texts(1), ttl=5),
    "put new if there is none": lambda items: items.put(SPACE, "new", texts(3), ttl=TTL, expected=None),
    "put if unchanged": lambda items: items.put(SPACE, "old", texts(3), ttl=TTL, expected=1),
    "delete": lambda items: items.delete(SPACE, "old"),
    "delete if unchanged": lambda items: items.delete(SPACE, "old", expected=1),
    "append": lambda items: items.append(("a", "log"), [texts(5), texts(1)]),
    "append new": lambda items: items.append(("a", "log 2"), [texts(1), texts(6)], ttl=TTL),
    "pop": lambda items: items.pop(("a", "log")),
    "clear": lambda items: items.clear(SPACE),
    "clear below": lambda items: items.clear(("a",), below=True),
    "refresh": lambda items: items.get(SPACE, "old", refresh=True),
    "refresh all": lambda items: items.search((), refresh=True, limit=100),
    "batch": lambda items: items.batch(
        [
            GetItem(namespace=SPACE, key="old"),
            PutItem(namespace=SPACE, key="old", value=texts(2, "b")),
            DeleteItem(namespace=SPACE, key="lasting"),
            GetItem(namespace=SPACE, key="lasting"),
            PutItem(namespace=("a",), key="other", value=1),
            PutItem(namespace=(), key="root", value=texts(1)),
        ]
    ),
    "checked batch": lambda items: items.batch(
        [
            PutItem(namespace=SPACE, key="new", value=texts(6), ttl=TTL),
            CheckItem(namespace=SPACE, key="old", expected=1),
            DeleteItem(namespace=SPACE, key="lasting"),
            CheckItem(namespace=SPACE, key="lasting", expected=None),
        ]
    ),
    "get and put": lambda items: items.batch(
        [GetItem(namespace=SPACE, key="new"), PutItem(namespace=SPACE, key="new", value=1)]
    )[0],
    "reindex": lambda items: items.reindex(SPACE),
}


def contents(items: ItemRepository) -> dict[tuple[Any, str], Any]:
    """All items, as every way of reading shows them."""
    found = {(item.namespace, item.key): item.value for item in items.search((), limit=1000)}
    by_query = {(item.namespace, item.key): item.value for item in items.search((), query="aaa", limit=1000)}
    by_key = {(space, item.key): item.value for space in items.list_namespaces() for item in items.list(space)}
    for (space, key), value in found.items():
        item = items.get(space, key)
        assert item is not None
        assert item.value == value
    assert found == by_query == by_key
    # Keys of appended values begin with the time.
    ranks = {key: str(rank) for rank, key in enumerate(sorted(key for _, key in found if key.isdecimal()))}
    return {(space, ranks.get(key, key)): value for (space, key), value in found.items()}


def opened(client: Any, prefix: str, cluster: bool, **options: Any) -> tuple[ItemRepository, Watched]:
    watched = Watched(client, cluster=cluster, **options)
    return ItemRepository(ValkeyItems(watched, prefix=prefix, ttl=TTL, index=INDEX)), watched


@pytest.mark.parametrize("name", OPERATIONS)
def test_dying_between_two_requests(client: Any, prefix: str, cluster: bool, name: str) -> None:
    operation = OPERATIONS[name]
    whole, watched = opened(client, f"{prefix}-whole", cluster)
    prepare(whole)
    before = contents(whole)
    watched.requests.clear()
    operation(whole)
    count = len(watched.requests)
    after = contents(whole)
    check(client, f"{prefix}-whole")

    for place in range(count):
        own = f"{prefix}-{place}"
        plain, _ = opened(client, own, cluster)
        prepare(plain)
        mortal, _ = opened(client, own, cluster, dies_after=place)
        with pytest.raises(Killed):
            operation(mortal)
        check(client, own, cut=True)
        seen = contents(plain)
        for (space, key), value in seen.items():
            known = [state[space, key] for state in (before, after) if (space, key) in state]
            assert value in known
        assert set(seen) >= set(before) & set(after)
        # Reading has removed vectors that were left.
        assert check(client, own, cut=True).orphans == set()
        try:
            operation(plain)
        except Conflict:
            assert "if " in name  # it had been done
        if name not in ("append", "append new", "pop"):  # they do it once more
            assert contents(plain) == after
        check(client, own, cut=True)


@pytest.mark.parametrize("name", OPERATIONS)
def test_sending_each_request_twice(client: Any, prefix: str, cluster: bool, name: str) -> None:
    """A client that lost an answer asks again, and gets the same one."""
    operation = OPERATIONS[name]
    results: list[Any] = []
    for repeats in (False, True):
        own = f"{prefix}-{repeats}"
        plain, _ = opened(client, own, cluster)
        prepare(plain)
        before = contents(plain)
        twice, _ = opened(client, own, cluster, repeats=repeats)
        results.append((_outline(operation(twice)), before, contents(plain)))
        check(client, own)
    if (name.startswith("put") and " if " not in name) or (name == "batch" and cluster):
        assert results[0][1:] == results[1][1:]  # the version may have been counted up twice
    else:
        assert results[0] == results[1]


def _outline(result: Any) -> Any:
    """A result without what differs each time."""
    if isinstance(result, Item):
        key = "number" if result.key.isdecimal() else result.key
        return (result.namespace, key, result.value, result.version)
    if isinstance(result, list):
        return [_outline(one) for one in result]
    return len(result) if isinstance(result, str) else result


# -- others in between


@frozen
class Running:
    """An operation that goes on request by request."""

    operation: Operation[Any]
    requests: list[Request]

    @classmethod
    def begin(cls, operation: Operation[Any]) -> Running:
        return cls(operation, [next(operation)])

    def step(self, client: Watched) -> bool:
        """Answer a request; returns whether there is another."""
        try:
            self.requests.append(self.operation.send(client.execute(self.requests[-1])))
        except (StopIteration, Conflict):
            return False
        return True


def some_operations(backend: ValkeyItems, source: random.Random) -> Iterator[Operation[Any]]:
    vector = b"\0" * 12
    while True:
        match source.randrange(9):
            case 0:
                yield backend.apply([Delete(SPACE, "k")])
            case 1:
                yield backend.apply([Put(SPACE, "k", 1, expected=source.choice([None, 1, 2, 3]))])
            case 2:
                yield backend.append(SPACE, [Put(SPACE, "", 1, vectors=[vector] * source.randrange(6))] * 2)
            case 3:
                yield backend.pop(SPACE)
            case 4:
                yield backend.apply([Get(SPACE, "k", refresh=True)])
            case 5:
                yield backend.clear(SPACE[:1], below=True)
            case _:
                vectors = [vector] * source.randrange(7)
                yield backend.apply([Put(SPACE, "k", 1, source.choice([None, 500.0, 1000.0]), vectors=vectors)])


@pytest.mark.parametrize("seed", range(60))
def test_any_order_of_requests(client: Any, prefix: str, cluster: bool, seed: int) -> None:
    source = random.Random(seed)
    backend = ValkeyItems(Watched(client, cluster=cluster), prefix=prefix, index=INDEX)
    operations = some_operations(backend, source)
    client_of = backend.client
    assert isinstance(client_of, Watched)
    running: list[Running] = []
    for _ in range(12):
        running.append(Running.begin(next(operations)))
        for _ in range(source.randrange(8)):
            one = source.choice(running) if running else None
            if one is not None and not one.step(client_of):
                running.remove(one)
    while running:
        one = source.choice(running)
        if not one.step(client_of):
            running.remove(one)
    found = check(client, prefix)
    assert found.orphans == set()
    items = ItemRepository(backend)
    assert len(contents(items)) == found.items


def until_apply(running: Running, client: Watched) -> None:
    """Go on until the next request puts or deletes the item itself."""
    while not (isinstance(running.requests[-1], Call) and running.requests[-1].script.name == "apply"):
        assert running.step(client)


def to_the_end(running: Running, client: Watched) -> None:
    while running.step(client):
        pass


@pytest.mark.parametrize("ttl", [None, 1000.0])
@pytest.mark.parametrize("appends", [False, True])
def test_a_put_for_which_readers_did_not_wait(client: Any, prefix: str, ttl: float | None, appends: bool) -> None:
    """Between announcement and put there may be as much time as the deadline."""
    watched = Watched(client, cluster=True)
    backend = ValkeyItems(watched, prefix=prefix)
    items = ItemRepository(backend)
    put = Put(SPACE, "k", "slow", ttl)
    slow = Running.begin(backend.append(SPACE, [put]) if appends else backend.apply([put]))
    until_apply(slow, watched)
    names, times, ends, _ = index_keys(prefix)
    assert client.zcard(names) == 1
    assert items.list_namespaces() == []
    assert items.search() == []
    assert client.zcard(names) == 1
    # Two minutes go by: the lease is over, and who lists finds that nothing is there.
    late = evolve_lease(slow.requests[-1], 120_000_000)
    for key, by in ((times, 120_000_000), (ends, 120_000)):
        for name in client.zrange(key, 0, -1):
            client.zincrby(key, -by, name)
    assert items.list_namespaces() == []
    assert items.search() == []
    assert client.zcard(names) == client.zcard(times) == client.zcard(ends) == 0
    slow.requests[-1] = late
    to_the_end(slow, watched)
    assert [item.value for item in items.search()] == [item.value for item in items.search(("a",))] == ["slow"]
    assert items.list_namespaces() == [SPACE]
    check(client, prefix)


def evolve_lease(request: Request, us: int) -> Request:
    """As it would be if it had been made that long ago."""
    assert isinstance(request, Call)
    if isinstance(request.args[0], str):
        *args, until, most, floor = request.args
        return evolve(request, args=[*args, str(int(until) - us), str(int(most) and int(most) - us // 1000), floor])
    plan = json.loads(request.args[0])
    for space in plan["spaces"]:
        until, most, floor = space["announced"]
        space["announced"] = [until - us, most and most - us // 1000, floor]
    return evolve(request, args=[json.dumps(plan), *request.args[1:]])


@pytest.mark.parametrize("first", ["lasting", "ending"])
def test_a_namespace_with_what_lasts_is_not_forgotten(client: Any, prefix: str, first: str) -> None:
    """Whoever announced what, and whoever came first, others forget what has ended when they announce."""
    watched = Watched(client, cluster=True)
    backend = ValkeyItems(watched, prefix=prefix)
    lasting = Running.begin(backend.apply([Put(SPACE, "lasting", 1, None)]))
    ending = Running.begin(ValkeyItems(watched, prefix=prefix).apply([Put(SPACE, "ending", 2, 0.01)]))
    for running in (lasting, ending) if first == "lasting" else (ending, lasting):
        until_apply(running, watched)
    for running in (ending, lasting) if first == "lasting" else (lasting, ending):
        to_the_end(running, watched)
    ends = index_keys(prefix)[2]
    for name in client.zrange(ends, 0, -1):
        client.zincrby(ends, -1_000_000_000, name)
    time.sleep(0.02)
    items = ItemRepository(backend)
    items.put(("other",), "k", 3)
    assert items.list_namespaces() == [SPACE, ("other",)]
    assert [item.value for item in items.search()] == [3, 1]


def test_what_ends_later_than_was_announced_is_announced_again(client: Any, prefix: str) -> None:
    watched = Watched(client, cluster=True)
    items = ItemRepository(ValkeyItems(watched, prefix=prefix))
    items.put(SPACE, "k", 1, ttl=5)
    ends = index_keys(prefix)[2]
    [(_, first)] = client.zrange(ends, 0, -1, withscores=True)
    items.put(SPACE, "k", 1, ttl=5)
    assert client.zrange(ends, 0, -1, withscores=True)[0][1] == first
    items.put(SPACE, "k", 1, ttl=5000)
    [(_, second)] = client.zrange(ends, 0, -1, withscores=True)
    assert second > first + 4_900_000
    # A refresh moves the end to where it was not told of.
    state = item_keys(prefix, SPACE).state
    client.hset(state, "most", int(first))
    client.zadd(ends, {SPACE_NAME: first})
    assert items.get(SPACE, "k", refresh=True)
    assert client.zscore(ends, SPACE_NAME) > first + 4_900_000
    items.put(SPACE, "k", 1)
    assert client.zcard(ends) == 0
    check(client, prefix)


def test_what_others_deleted_is_not_missed(client: Any, prefix: str, cluster: bool) -> None:
    items, watched = opened(client, prefix, cluster)
    for number in range(300):
        items.put(SPACE, f"{number:03}", texts(1))
    client.delete(*(f"{prefix}:item:{{a.b}}:{number:03}" for number in range(0, 300, 2)))
    watched.requests.clear()
    assert [item.key for item in items.search((), limit=10)] == [f"{number:03}" for number in range(299, 279, -2)]
    found = items.search((), limit=5, offset=15)
    assert [item.key for item in found] == [f"{number:03}" for number in range(269, 259, -2)]
    assert len(items.search((), query="a", limit=200)) == 150
    # One request for many that are gone, not one for each.
    assert len(watched.requests) < 40
    assert len(list(items.list(SPACE))) == 150
    assert items.reindex(SPACE) == 150
    assert len(items.search((), limit=1000)) == 150


def test_deletions_and_reads_go_on_when_memory_is_full() -> None:
    with ValkeyServer(maxmemory_policy="noeviction") as server, server.client() as client:
        for cluster in (False, True):
            items, _ = opened(client, f"full-{cluster}", cluster)
            prepare(items)
            client.config_set("maxmemory", "1")
            try:
                assert items.get(SPACE, "old", refresh=True)
                assert len(contents(items)) == 5
                assert items.delete(SPACE, "old")
                assert items.pop(("a", "log"))
                assert items.clear(SPACE) == 1
                assert len(contents(items)) == 2
            finally:
                client.config_set("maxmemory", "0")
            check(client, f"full-{cluster}")
