"""How often each operation on items goes to the server and back, on every client library."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from typing import Any, TypeVar

import pytest
import valkey

from statekeep import (
    CheckItem,
    DeleteItem,
    GetItem,
    ItemRepository,
    ListItems,
    NamespaceMatch,
    PutItem,
    VectorIndex,
)
from statekeep.repositories.items import AsyncItemRepository
from statekeep.repositories.valkey import ValkeyItems, client_for
from statekeep.repositories.valkey.items.keys import clock_key
from statekeep.repositories.valkey.requests import Call, Commands, Scan
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .counting_proxy import CountingProxy
from .item_kinds import INDEX, KINDS, Watched, open_items, texts
from .search_responder import SearchResponder

pytestmark = pytest.mark.anyio

ResultT = TypeVar("ResultT")
DIMS = 384


class Turns:
    """A repository behind a proxy that counts."""

    def __init__(self, proxy: CountingProxy, items: AsyncItemRepository) -> None:
        self.proxy = proxy
        self.items = items

    async def of(self, operation: Awaitable[ResultT]) -> tuple[int, ResultT]:
        """Run an operation; return how many round trips it took, and its result."""
        self.proxy.reset()
        result = await operation
        return self.proxy.turns, result


@pytest.fixture(scope="module")
def proxy(valkey_server: ValkeyServer) -> Iterator[CountingProxy]:
    with CountingProxy(valkey_server.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def filled(valkey_server: ValkeyServer) -> Iterator[str]:
    """The prefix of keys under which there are 100 items in one namespace, 100 below another, and 100 namespaces."""
    prefix = "item-round-trips"
    with valkey.Valkey(port=valkey_server.port) as client:
        items = ItemRepository(ValkeyItems(client_for(client), prefix=prefix))
        items.batch([PutItem(namespace=("one",), key=f"{n:03}", value={"n": n, "odd": n % 2}) for n in range(100)])
        items.batch(
            [PutItem(namespace=("many", f"space {n % 7}"), key=f"{n:03}", value={"n": n}) for n in range(100)],
        )
        items.batch([PutItem(namespace=("names", f"{n:03}", "x"), key="k", value=n) for n in range(100)])
        yield prefix


async def warm(items: AsyncItemRepository) -> None:
    """Afterwards the connection is open and the server knows the scripts."""
    space = ("warm",)
    await items.put(space, "k", 1, ttl=1000, expected=None)
    await items.batch([GetItem(namespace=space, key="k")] * 50)
    await items.get(space, "k", refresh=True)
    await items.batch([PutItem(namespace=space, key="k", value=1)])
    assert [item.key async for item in items.list(space)] == ["k"]
    assert [key async for key in items.keys(space)] == ["k"]
    assert [item.key async for item in items.list(space, order="updated")] == ["k"]
    await items.search(space)
    await items.search(())
    await items.list_namespaces(prefix=space)
    await items.append(space, [1])
    await items.pop(space)
    await items.clear(space)


@pytest.fixture(params=KINDS)
async def turns(request: pytest.FixtureRequest, proxy: CountingProxy, filled: str) -> AsyncIterator[Turns]:
    async with open_items(request.param, proxy.port, prefix=filled) as items:
        await warm(items)
        yield Turns(proxy, items)


@pytest.fixture
def space(prefix: str) -> tuple[str, ...]:
    """A namespace that no other test uses."""
    return ("own", prefix)


async def collect(listing: AsyncIterator[ResultT]) -> list[ResultT]:
    return [item async for item in listing]


async def test_one_item(turns: Turns, space: tuple[str, ...]) -> None:
    assert await turns.of(turns.items.get(space, "k")) == (1, None)
    count, first = await turns.of(turns.items.put(space, "k", {"a": 1}))
    assert count == 1
    assert await turns.of(turns.items.get(space, "k")) == (1, first)
    count, second = await turns.of(turns.items.put(space, "k", 2, expected=1, ttl=1000))
    assert (count, second.version) == (1, 2)
    count, read = await turns.of(turns.items.get(space, "k", refresh=True))
    assert read is not None
    assert read.expires_at
    assert count == 1
    check = CheckItem(namespace=space, key="k", expected=read)
    count, [_, other] = await turns.of(turns.items.batch([check, PutItem(namespace=space, key="other", value=1)]))
    assert (count, other.version) == (1, 1)
    assert await turns.of(turns.items.batch([check, GetItem(namespace=space, key="other")])) == (1, [None, other])
    assert await turns.of(turns.items.delete(space, "k", expected=2)) == (1, True)
    assert await turns.of(turns.items.delete(space, "k")) == (1, False)


async def test_restores_and_measures(turns: Turns, space: tuple[str, ...]) -> None:
    items = [await turns.items.put((*space, str(n % 3)), f"k{n}", n) for n in range(50)]
    await turns.items.clear(space, below=True)
    assert await turns.of(turns.items.restore(items)) == (1, 50)
    assert await turns.of(turns.items.restore(items)) == (1, 50)
    assert await turns.of(turns.items.restore([])) == (0, 0)
    assert (await turns.of(turns.items.get(items[7].namespace, "k7")))[1] == items[7]
    count, measure = await turns.of(turns.items.measure((*space, "0")))
    assert (count, measure.items, measure.basis) == (2, 17, "memory")
    assert (await turns.of(turns.items.measure((*space, "none"))))[0] == 1


@pytest.mark.parametrize("number", [1, 10, 500])
async def test_batches(turns: Turns, space: tuple[str, ...], number: int) -> None:
    places = [((*space, str(n % 5)), f"k{n}") for n in range(number)]
    puts = [PutItem(namespace=namespace, key=key, value=key, ttl=1000) for namespace, key in places]
    gets = [GetItem(namespace=namespace, key=key) for namespace, key in places]
    count, stored = await turns.of(turns.items.batch(puts))
    assert (count, [item.value for item in stored]) == (1, [key for _, key in places])
    assert await turns.of(turns.items.batch(gets)) == (1, stored)
    refreshing = [GetItem(namespace=namespace, key=key, refresh=True) for namespace, key in places]
    count, found = await turns.of(turns.items.batch(refreshing))
    assert (count, [item.value for item in found]) == (1, [key for _, key in places])
    deletes = [DeleteItem(namespace=namespace, key=key) for namespace, key in places]
    assert await turns.of(turns.items.batch(deletes)) == (1, [True] * number)
    assert await turns.of(turns.items.batch([])) == (0, [])


async def test_append_and_pop(turns: Turns, space: tuple[str, ...]) -> None:
    count, [first] = await turns.of(turns.items.append(space, ["first"]))
    assert count == 2
    count, keys = await turns.of(turns.items.append(space, list(range(500))))
    assert count == 1
    assert [first, *keys] == sorted([first, *keys])
    count, last = await turns.of(turns.items.pop(space))
    assert last is not None
    assert (count, last.key, last.value) == (2, keys[-1], 499)
    assert (await turns.of(turns.items.append(space, [1, 2])))[0] == 1
    await turns.items.clear(space)
    assert await turns.of(turns.items.pop(space)) == (1, None)


async def test_search_without_a_query(turns: Turns) -> None:
    # At first one more, to learn which namespaces are below.
    for prefix, trips in ((("one",), 2), (("many",), 3)):
        count, found = await turns.of(turns.items.search(prefix, limit=10))
        assert [item.key for item in found] == [f"{n:03}" for n in range(99, 89, -1)]
        assert count == trips
        count, found = await turns.of(turns.items.search(prefix, limit=10, offset=50))
        assert [item.key for item in found] == [f"{n:03}" for n in range(49, 39, -1)]
        assert count == 2
    count, found = await turns.of(turns.items.search(("one",), filter={"odd": 1, "n": {"$lt": 50}}, limit=5))
    assert [item.key for item in found] == ["049", "047", "045", "043", "041"]
    assert count == 2
    assert await turns.of(turns.items.search(("nobody",))) == (1, [])


async def test_a_page_of_a_listing(turns: Turns) -> None:
    count, found = await turns.of(collect(turns.items.list(("one",), limit=10)))
    assert [item.key for item in found] == [f"{n:03}" for n in range(10)]
    assert count == 2
    count, found = await turns.of(collect(turns.items.list(("one",), prefix="09", reverse=True)))
    assert [item.key for item in found] == [f"{n:03}" for n in range(99, 89, -1)]
    assert count == 2


async def test_a_listing_by_time_and_one_with_an_offset(turns: Turns) -> None:
    count, found = await turns.of(collect(turns.items.list(("one",), order="updated", reverse=True, limit=10)))
    assert [item.key for item in found] == [f"{n:03}" for n in range(99, 89, -1)]
    assert count == 2
    count, found = await turns.of(collect(turns.items.list(("one",), order="updated", prefix="09", limit=3)))
    assert [item.key for item in found] == ["090", "091", "092"]
    assert count == 2
    for order in ("key", "updated"):
        query: Any = {"order": order, "offset": 50, "limit": 10}
        count, found = await turns.of(collect(turns.items.list(("one",), **query)))
        assert [item.key for item in found] == [f"{n:03}" for n in range(50, 60)]
        assert count == 2
    odd = turns.items.list(("one",), filter={"odd": 1}, order="updated", limit=5)
    count, found = await turns.of(collect(odd))
    assert [item.value["n"] for item in found] == [1, 3, 5, 7, 9]
    assert count == 2


async def test_listings_in_batches(turns: Turns, space: tuple[str, ...]) -> None:
    await turns.items.batch([PutItem(namespace=space, key=f"{n:03}", value=n) for n in range(120)])
    listings = [
        ListItems(namespace=space, limit=120),
        ListItems(namespace=space, order="updated", reverse=True, limit=5),
        ListItems(namespace=("one",), prefix="09"),
    ]
    count, found = await turns.of(turns.items.batch([GetItem(namespace=space, key="007"), *listings]))
    assert [len(part) for part in found[1:]] == [120, 5, 10]
    assert count == 2
    assert await turns.of(turns.items.batch([GetItem(namespace=space, key="007"), *listings])) == (1, found)
    put = PutItem(namespace=space, key="119", value="again")
    count, found = await turns.of(turns.items.batch([put, *listings]))
    item, first, last, _ = found
    assert first[-1] == last[0] == item
    assert count == 1
    await turns.items.put(space, "120", 120)
    count, found = await turns.of(turns.items.batch([listings[1]]))
    assert found[0][0].key == "120"
    assert count == 2
    await turns.items.clear(space)


async def test_keys_are_one_round_trip_and_no_values(turns: Turns, space: tuple[str, ...]) -> None:
    received = []
    for size in (10, 20_000):
        value = "x" * size
        puts = [PutItem(namespace=space, key=f"{n:03}", value=value, ttl=1000 if n % 2 else None) for n in range(200)]
        await turns.items.batch(puts)
        count, found = await turns.of(collect(turns.items.keys(space)))
        assert found == [f"{n:03}" for n in range(200)]
        assert count == 1
        received.append(turns.proxy.received)
        assert turns.proxy.sent < 1000
    assert received[0] == received[1] < 5000
    assert (await turns.of(collect(turns.items.keys(space, prefix="09", limit=3, reverse=True))))[0] == 1
    assert (await turns.of(collect(turns.items.keys((*space, "nobody")))))[0] == 1
    await turns.items.clear(space)


async def test_namespaces(turns: Turns) -> None:
    count, found = await turns.of(turns.items.list_namespaces(prefix=("many",)))
    assert found == [("many", f"space {n}") for n in range(7)]
    assert count == 2
    count, found = await turns.of(turns.items.list_namespaces(prefix=("many",), max_depth=1, limit=5))
    assert (count, found) == (2, [("many",)])
    assert await turns.of(turns.items.list_namespaces(prefix=("nobody",))) == (1, [])


def test_requests_for_many(valkey_server: ValkeyServer, filled: str) -> None:
    """The proxy may count a pipeline twice that is sent in several packets, so these are counted here."""
    with valkey.Valkey(port=valkey_server.port) as client:
        watched = Watched(client)
        items = ItemRepository(ValkeyItems(watched, prefix=filled))
        assert items.list_namespaces(prefix=("names",)) == [("names", f"{n:03}", "x") for n in range(100)]
        assert len(watched.requests) == 2
        match = NamespaceMatch(where="prefix", path=("names", "*", "x"))
        assert len(items.list_namespaces(matches=[match], limit=50)) == 50
        assert len(watched.requests) == 4
        assert len(items.search((), limit=300)) == 300
        assert len(watched.requests) == 7
        assert len(items.search((), limit=100, offset=100)) == 100
        assert len(watched.requests) == 10


def test_requests_with_vectors(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        watched = Watched(client)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix, index=INDEX))

        def count(operation: Any) -> int:
            watched.requests.clear()
            operation()
            return len(watched.requests)

        for number in (3, 4, 2, 0, 6, 6):
            assert count(lambda: items.put(("n",), "k", texts(number), ttl=1000)) == 1  # noqa: B023
        # Keys are declared for the vectors that it will have. If it has more, they are asked for.
        assert count(lambda: items.put(("n",), "k", texts(5), ttl=1000)) == 2
        assert count(lambda: items.get(("n",), "k", refresh=True)) == 2
        assert count(lambda: items.delete(("n",), "k")) == 2


def many_dimensions(found: Any) -> list[list[float]]:
    return [[random.Random(f"{text} {place}").gauss(0, 1) for place in range(DIMS)] for text in found]


@pytest.mark.parametrize("engine", ["exact", "module"])
def test_search_with_a_query(valkey_server: ValkeyServer, prefix: str, engine: str, record_property: Any) -> None:
    index = VectorIndex(dims=DIMS, embed=many_dimensions, fields=["text"], index_type="flat")
    with SearchResponder(valkey_server.port) as responder:
        with valkey.Valkey(port=responder.port if engine == "module" else valkey_server.port) as client:
            watched = Watched(client)
            items = ItemRepository(ValkeyItems(watched, prefix=prefix, index=index))
            items.setup()
            for first in range(0, 1000, 200):
                numbers = range(first, first + 200)
                values = [(f"{n:04}", {"text": f"t{n}", "even": n % 2 == 0}) for n in numbers]
                items.batch([PutItem(namespace=("docs", key[-1]), key=key, value=value) for key, value in values])
            items.search(("docs",), query="t500")
            watched.requests.clear()
            began = time.perf_counter()
            found = items.search(("docs",), query="t500", limit=10)
            record_property("milliseconds", (time.perf_counter() - began) * 1000)
            assert (found[0].key, len(found)) == ("0500", 10)
            assert found[0].score == pytest.approx(1)
            # Without the module: the namespaces and what changed there, then the items.
            assert len(watched.requests) == 2
            watched.requests.clear()
            filtered = items.search(("docs",), query="t501", limit=10, filter={"even": False})
            assert filtered[0].key == "0501"
            assert len(watched.requests) == 2


def use_everything(items: ItemRepository) -> None:
    for number in range(30):
        items.put(("a", f"{number % 3}"), f"k{number}", texts(number % 7), ttl=1000 if number % 2 else None)
    items.put(("a", "0"), "k0", texts(2), expected=1)
    items.put(("a", "0"), "k0", texts(9))
    items.put(("a", "0"), "k0", 1)
    assert items.get(("a", "1"), "k1", refresh=True)
    assert len(items.search(("a",), query="aaa", limit=5)) == 5
    assert len(items.search(("a",), offset=3, limit=3)) == 3
    assert len(list(items.list(("a", "1"), refresh=True))) == 10
    assert len(items.list_namespaces()) == 3
    items.append(("b",), [1, 2, 3])
    assert items.pop(("b",))
    assert items.clear(("a", "1")) == 10
    assert items.clear(("a", "2"), below=True) == 10
    assert items.delete(("a", "0"), "k0")


def test_no_operation_walks_the_keyspace_or_watches(prefix: str) -> None:
    with ValkeyServer() as server, valkey.Valkey(port=server.port) as client:
        items = ItemRepository(ValkeyItems(client_for(client), prefix=prefix, index=INDEX))
        items.setup()
        client.config_resetstat()
        use_everything(items)
        used = {name.removeprefix("cmdstat_").upper() for name in client.info("commandstats")}
        assert {"EVALSHA", "HSET", "ZADD", "HMGET"} <= used
        forbidden = {"KEYS", "SCAN", "SSCAN", "HSCAN", "ZSCAN", "WATCH", "MULTI", "EXEC", "HGETALL", "FLUSHDB", "SORT"}
        assert used & forbidden == set()
        # The walk of `reindex` shows that the statistics would tell.
        items.reindex(("a", "0"))
        assert "cmdstat_scan" in client.info("commandstats")


def test_cut_namespaces_are_not_all_read(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        watched = Watched(client)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix))
        spaces: list[tuple[str, ...]] = [("big", f"{n % 2}", f"{n:04}", "x") for n in range(3000)]
        spaces += [(), ("big",), ("big", "\0"), ("big", "\1"), ("big\0",), ("big\1", "a"), ("bih", "a", "b")]
        for first in range(0, len(spaces), 500):
            items.batch([PutItem(namespace=space, key="k", value=1) for space in spaces[first : first + 500]])
        for depth, most in ((1, 4), (2, 8), (3, 20)):
            watched.requests.clear()
            assert items.list_namespaces(max_depth=depth) == sorted({space[:depth] for space in spaces})
            assert len(watched.requests) <= most
        watched.requests.clear()
        assert items.list_namespaces(limit=3, offset=1) == sorted(spaces)[1:4]
        names, sizes = watched.requests
        assert isinstance(names, Call)
        assert isinstance(sizes, Call)
        assert len(sizes.keys) == 3 * 14
        assert items.list_namespaces(limit=1000) == sorted(spaces)[:1000]
        watched.requests.clear()
        found = items.list_namespaces(max_depth=2, prefix=("big", "*"), suffix=("2998", "x"))
        assert found == [("big", "0")]
        assert items.list_namespaces(max_depth=1, suffix=("2999", "x")) == [("big",)]
        assert items.list_namespaces(max_depth=1, offset=1, limit=2) == [("big",), ("big\0",)]


def test_clearing_below(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        watched = Watched(client)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix))
        for number, trips in ((1, 3), (100, 3), (101, 5), (600, 14)):
            items.batch([PutItem(namespace=("a", str(n)), key="k", value=n) for n in range(number)])
            watched.requests.clear()
            assert items.clear(("a",), below=True) == number
            assert len(watched.requests) == trips
        items.append(("a",), list(range(500)))
        watched.requests.clear()
        assert items.clear(("a",), below=True) == 500
        assert len(watched.requests) == 3 + 3
        assert items.clear(("a",), below=True) == 0
        assert len(watched.requests) == 3 + 3 + 1


def test_requests_are_bounded(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        watched = Watched(client)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix, index=INDEX))
        for first in range(0, 3000, 1000):
            items.batch([PutItem(namespace=("n",), key=f"{n:05}", value=texts(1)) for n in range(first, first + 1000)])
        assert len(list(items.list(("n",)))) == 3000
        assert len(items.search(("n",), limit=3000)) == 3000
        assert len(items.search(("n",), limit=3, offset=2990)) == 3
        watched.requests.clear()
        assert len(items.search(("n",), limit=300, offset=100)) == 300
        assert len(watched.requests) == 2
        assert len(items.search(("n",), query="a", limit=3000)) == 3000
        assert items.clear(("n",)) == 3000
        calls = [request for request in watched.requests if isinstance(request, Call)]
        pipelines = [request for request in watched.requests if isinstance(request, Commands)]
        assert not any(isinstance(request, Scan) for request in watched.requests)
        assert max(len(request.commands) for request in pipelines) <= 1000
        # A record and the keys of four vectors for each of 500 actions.
        assert max(len(call.keys) for call in calls) <= 500 * 5 + 20
        assert [key for key in client.scan_iter(f"{prefix}:*") if b":item-call:" not in key] == [
            clock_key(prefix).encode()
        ]


@pytest.mark.parametrize("cluster", [False, True])
def test_refreshing_reads_of_what_never_ends_are_plain_reads(
    cluster: bool, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str
) -> None:
    with valkey_cluster.client() if cluster else valkey_server.client() as client:
        others = ItemRepository(ValkeyItems(client_for(client), prefix=prefix))
        watched = Watched(client, cluster=cluster)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix, refresh_on_read=True))
        others.put(("n",), "lasts", 1)
        others.put(("n",), "ends", 2, ttl=1000)

        def requests(*names: str) -> int:
            watched.requests.clear()
            found = items.batch([GetItem(namespace=("n",), key=name) for name in names])
            assert [item and item.key for item in found] == [None if name == "none" else name for name in names]
            return len(watched.requests)

        assert requests("lasts") == requests("none") == requests("lasts", "none") == 1
        # Somebody else put an item that ends, which is found out only now. From then on a script is asked at once.
        assert requests("lasts", "ends") == 2
        assert requests("lasts", "ends") == requests("ends") == requests("lasts") == 1
        # One whose own items end does so from the beginning.
        items = ItemRepository(ValkeyItems(watched, prefix=prefix, refresh_on_read=True, ttl=1000))
        # In a cluster it has to ask first whether items are in other units.
        assert requests("ends") == (2 if cluster else 1)
        assert requests("ends") == 1


def test_many_namespaces_are_looked_at_together(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        watched = Watched(client)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix))
        items.batch([PutItem(namespace=(f"{n:03}",), key="k", value=1) for n in range(300)])
        items.batch([PutItem(namespace=(f"{n:03}", "x"), key="k", value=1, ttl=0.001) for n in range(300)])
        time.sleep(0.01)
        watched.requests.clear()
        assert items.list_namespaces(limit=200) == [(f"{n:03}",) for n in range(200)]
        assert [type(request) for request in watched.requests[:2]] == [Call, Call]


CLUSTER_TURNS = {
    "get": 1,
    "put": 2,
    "put again": 1,
    "compare and set": 1,
    "refresh": 1,
    "delete": 1,
    "append": 2,
    "append again": 1,
    "pop": 2,
    "search": 3,
    "search again": 2,
    "search of one": 2,
    "list": 2,
    "namespaces": 2,
}
"""In a namespace of three labels: the index of namespaces is in another slot, and told once a minute."""


def test_requests_in_a_cluster(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    with valkey_cluster.client() as client:
        watched = Watched(client, cluster=True)
        items = ItemRepository(ValkeyItems(watched, prefix=prefix))
        space = ("a", "b", "c")
        found: dict[str, int] = {}

        def count(name: str, operation: Any) -> None:
            watched.requests.clear()
            operation()
            found[name] = len(watched.requests)

        count("put", lambda: items.put(space, "k", 1, ttl=1000))
        count("put again", lambda: items.put(space, "k", 1, ttl=1000))
        count("compare and set", lambda: items.put(space, "k", 1, ttl=1000, expected=2))
        count("get", lambda: items.get(space, "k"))
        count("refresh", lambda: items.get(space, "k", refresh=True))
        count("search", lambda: items.search(("a",)))
        count("search again", lambda: items.search(("a",)))
        count("search of one", lambda: items.search(space))
        count("list", lambda: list(items.list(space)))
        count("namespaces", items.list_namespaces)
        count("delete", lambda: items.delete(space, "k"))
        count("append", lambda: items.append(space, [1, 2], ttl=1000))
        count("append again", lambda: items.append(space, [1, 2], ttl=1000))
        count("pop", lambda: items.pop(space))
        assert found == CLUSTER_TURNS
