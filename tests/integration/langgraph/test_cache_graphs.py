"""LangGraph graphs with a cache policy, the snippets of langgraph-checkpoint-aws, and outages while a graph runs."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

import pytest
import valkey
import valkey.asyncio
from langgraph.cache.base import BaseCache
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, StateGraph
from langgraph.types import CachePolicy, Send, interrupt

from statekeep import InvalidInput, Unavailable
from statekeep.langgraph_shim import RepositoryCache, RepositorySaver, ValkeyCache
from statekeep.repositories.cache import CacheRepository
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.memory import MemoryCacheEntries, MemoryCheckpoints
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.anyio

BACKENDS = ("memory", "embedded", "glide", "valkey-py", "glide-cluster", "valkey-py-cluster")


def made(backend: str, request: pytest.FixtureRequest, prefix: str) -> RepositoryCache[Any] | ValkeyCache[Any]:
    if backend == "memory":
        return RepositoryCache(CacheRepository(MemoryCacheEntries()))
    if backend == "embedded":
        return ValkeyCache.from_conn_string("embedded:")
    server: Any = request.getfixturevalue("valkey_cluster" if backend.endswith("-cluster") else "valkey_server")
    client: Any = backend.removesuffix("-cluster")
    return ValkeyCache.from_conn_string(server.url, client=client, prefix=prefix)


@pytest.fixture(params=BACKENDS)
def cache(request: pytest.FixtureRequest, prefix: str) -> Iterator[BaseCache[Any]]:
    with made(request.param, request, prefix) as found:
        yield found


@pytest.fixture(params=BACKENDS)
async def async_cache(request: pytest.FixtureRequest, prefix: str) -> AsyncIterator[BaseCache[Any]]:
    # What was opened in an event loop is closed in there.
    async with made(request.param, request, prefix) as found:
        yield found


class State(TypedDict, total=False):
    number: int
    square: int
    parts: list[int]


class Runs(list[int]):
    """What a node was run for."""


def squaring(runs: Runs, **policy: Any) -> Any:
    def square(state: State) -> State:
        runs.append(state["number"])
        return {"square": state["number"] ** 2}

    builder = StateGraph(State).add_node("square", square, cache_policy=CachePolicy(**policy))
    return builder.add_edge(START, "square").add_edge("square", END)


# -- hits


@pytest.mark.parametrize("ttl", [0, -1])
def test_a_ttl_of_nothing_runs_the_node_each_time(cache: BaseCache[Any], ttl: int) -> None:
    runs = Runs()
    graph = squaring(runs, ttl=ttl).compile(cache=cache)
    assert [graph.invoke({"number": 3}) for _ in range(2)] == [{"number": 3, "square": 9}] * 2
    assert runs == [3, 3]


async def test_a_ttl_of_nothing_in_an_event_loop(async_cache: BaseCache[Any]) -> None:
    runs = Runs()
    graph = squaring(runs, ttl=0).compile(cache=async_cache)
    assert [await graph.ainvoke({"number": 3}) for _ in range(2)] == [{"number": 3, "square": 9}] * 2
    assert runs == [3, 3]


def test_sync_graphs(cache: BaseCache[Any]) -> None:
    runs = Runs()
    graph = squaring(runs).compile(cache=cache)
    results = [graph.invoke({"number": number}) for number in (2, 3, 2, 2, 3)]
    assert [result["square"] for result in results] == [4, 9, 4, 4, 9]
    assert runs == [2, 3]
    updates = list(graph.stream({"number": 3}, stream_mode="updates"))
    assert updates == [{"square": {"square": 9}, "__metadata__": {"cached": True}}]
    cache.clear()
    graph.invoke({"number": 2})
    assert runs == [2, 3, 2]


async def test_async_graphs(async_cache: BaseCache[Any]) -> None:
    runs = Runs()

    async def square(state: State) -> State:
        runs.append(state["number"])
        return {"square": state["number"] ** 2}

    builder = StateGraph(State).add_node("square", square, cache_policy=CachePolicy())
    graph = builder.add_edge(START, "square").add_edge("square", END).compile(cache=async_cache)
    results = [await graph.ainvoke({"number": number}) for number in (2, 3, 2, 2, 3)]
    assert [result["square"] for result in results] == [4, 9, 4, 4, 9]
    assert runs == [2, 3]
    await async_cache.aclear()
    await asyncio.gather(*(graph.ainvoke({"number": number}) for number in range(20)))
    assert sorted(runs[2:]) == list(range(20))
    await asyncio.gather(*(graph.ainvoke({"number": number}) for number in range(20)))
    assert len(runs) == 22


async def test_both_share_entries(async_cache: BaseCache[Any]) -> None:
    runs = Runs()
    graph = squaring(runs).compile(cache=async_cache)
    assert graph.invoke({"number": 2})["square"] == 4  # sync, in the thread of a running event loop
    assert (await graph.ainvoke({"number": 2}))["square"] == 4
    assert (await graph.ainvoke({"number": 3}))["square"] == 9
    assert (await asyncio.to_thread(graph.invoke, {"number": 3}))["square"] == 9
    assert runs == [2, 3]


def test_the_ttl_of_a_policy(cache: BaseCache[Any]) -> None:
    runs = Runs()
    graph = squaring(runs, ttl=1).compile(cache=cache)
    graph.invoke({"number": 2})
    time.sleep(1.1)
    graph.invoke({"number": 2})
    assert runs == [2, 2]


def test_the_key_of_a_policy(cache: BaseCache[Any]) -> None:
    runs = Runs()
    graph = squaring(runs, key_func=lambda state: f"parity {state['number'] % 2} :{{*}}").compile(cache=cache)
    assert [graph.invoke({"number": number})["square"] for number in (2, 4, 3, 5)] == [4, 4, 9, 9]
    assert runs == [2, 3]


def test_fan_out_and_clearing_one_node(cache: BaseCache[Any]) -> None:
    runs = Runs()

    def spread(state: State) -> list[Send]:
        return [Send("part", {"number": number}) for number in range(state["number"])]

    def part(state: State) -> dict[str, Any]:
        runs.append(state["number"])
        return {}

    builder = StateGraph(State).add_node("part", part, cache_policy=CachePolicy()).add_edge("part", END)
    graph = builder.add_conditional_edges(START, spread, ["part"]).compile(cache=cache)
    graph.invoke({"number": 30})
    graph.invoke({"number": 40})
    assert sorted(runs) == list(range(40))
    graph.clear_cache(nodes=["part"])
    graph.invoke({"number": 2})
    assert len(runs) == 42


def test_functional_tasks(cache: BaseCache[Any]) -> None:
    runs = Runs()

    def doubled(x: int) -> int:
        runs.append(x)
        return 2 * x

    policy: Any = CachePolicy(ttl=60)
    double: Any = task(cache_policy=policy)(doubled)

    @entrypoint(cache=cache)
    def add(x: int) -> int:
        return int(double(x).result()) + int(double(x + 1).result())

    assert [add.invoke(1), add.invoke(1), add.invoke(2)] == [6, 6, 10]
    assert sorted(runs) == [1, 2, 3]


def test_errors_and_interrupts_are_not_cached(cache: BaseCache[Any]) -> None:
    runs = Runs()

    def ask(state: State) -> State:
        runs.append(state["number"])
        if state["number"] == 0:
            raise LookupError("no")
        interrupt("sure?")
        return {"square": 1}

    builder = StateGraph(State).add_node("ask", ask, cache_policy=CachePolicy()).add_edge(START, "ask")
    graph = builder.compile(cache=cache, checkpointer=RepositorySaver(CheckpointRepository(MemoryCheckpoints())))
    for number in (0, 0, 1, 1):
        config: Any = {"configurable": {"thread_id": f"{len(runs)}"}}
        if number:
            assert "__interrupt__" in graph.invoke({"number": number}, config)
        else:
            with pytest.raises(LookupError):
                graph.invoke({"number": number}, config)
    assert runs == [0, 0, 1, 1]


PROGRAM = """
import sys
from typing import TypedDict
from langgraph.graph import StateGraph
from langgraph.types import CachePolicy
from statekeep.langgraph_shim import ValkeyCache

class State(TypedDict):
    number: int

def count(state: State) -> State:
    print("ran")
    return {"number": state["number"] + 1}

builder = StateGraph(State).add_node("count", count, cache_policy=CachePolicy(ttl=600))
builder.set_entry_point("count").set_finish_point("count")
with ValkeyCache.from_conn_string(sys.argv[1]) as cache:
    print(builder.compile(cache=cache).invoke({"number": 1})["number"])
"""


@pytest.mark.parametrize("where", ["server", "embedded"])
def test_hits_across_processes(where: str, valkey_server: ValkeyServer, tmp_path: Path) -> None:
    url = f"embedded:{tmp_path / 'data'}" if where == "embedded" else valkey_server.url
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    said = [
        subprocess.run(
            [sys.executable, str(script), url], capture_output=True, text=True, check=True, timeout=60
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [["ran", "2"], ["2"]]
    with ValkeyCache[Any].from_conn_string(url) as cache:
        cache.clear()


# -- the README of langgraph-checkpoint-aws, with the import changed


def test_the_reference_snippets(valkey_server: ValkeyServer) -> None:
    url = valkey_server.url
    calls = []

    def invoke(prompt: str) -> str:
        calls.append(prompt)
        return prompt.upper()

    for _ in range(2):
        with ValkeyCache[Any].from_conn_string(url, ttl_seconds=3600, pool_size=10) as cache:
            cache_key = "expensive_computation_key"
            result = cache.get([cache_key])
            if not result:
                response = invoke("Your expensive prompt")
                cache.set({cache_key: (response, 3600)})
            assert cache.get([cache_key]) == {cache_key: "YOUR EXPENSIVE PROMPT"}
            cache.set({"key1": ("value1", 3600), "key2": ("value2", 1800), "key3": ("value3", 7200)})
            results = cache.get(["key1", "key2", "key3"])
            assert results == {"key1": "value1", "key2": "value2", "key3": "value3"}
    assert len(calls) == 1
    with valkey.Valkey.from_url(url) as client:
        assert client.ttl(next(iter(client.scan_iter("langgraph:cache:cache_entry:*:key2")))) in range(1790, 1801)
        again: ValkeyCache[Any] = ValkeyCache(client, prefix="langgraph:cache:", ttl=60.5, serde=None)
        assert again.get(["key1"]) == {"key1": "value1"}
        assert (again.client, again.prefix, again.ttl) == (client, "langgraph:cache:", 60.5)
        again.clear()
        assert again.get(["key1"]) == {}
        pool = valkey.ConnectionPool.from_url(url, max_connections=20)
        with ValkeyCache[Any].from_pool(pool, prefix="of:a:pool:", ttl_seconds=60) as cache:
            cache.set({"key": ("value", None)})
            assert cache.get(["key"]) == {"key": "value"}
            assert cache.ttl == 60
            cache.clear()
        pool.disconnect()


def test_prefixes(valkey_server: ValkeyServer, prefix: str) -> None:
    with valkey.Valkey(port=valkey_server.port) as client:
        client.set(f"{prefix}:cache:ns/key", "of another library")
        one: ValkeyCache[int] = ValkeyCache(client, prefix=f"{prefix}:cache:")
        same: ValkeyCache[int] = ValkeyCache(client, prefix=f"{prefix}:cache")
        other: ValkeyCache[int] = ValkeyCache(client, prefix=f"{prefix}:")
        one.set({"k": (1, None)})
        assert same.get(["k"]) == {"k": 1}
        assert other.get(["k"]) == {}
        other.clear()
        assert one.get(["k"]) == {"k": 1}
        one.clear()
        assert list(client.scan_iter(f"{prefix}*")) == [f"{prefix}:cache:ns/key".encode()]
        for wrong in ("", ":", "a::", "{a}:", None, 1):
            with pytest.raises(InvalidInput) as caught:
                ValkeyCache(client, prefix=wrong)  # type: ignore[arg-type]
            assert caught.value.field == "prefix"


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), True, "60"])
def test_wrong_default_ttls(valkey_server: ValkeyServer, ttl: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        ValkeyCache.from_conn_string(valkey_server.url, ttl_seconds=ttl)
    assert caught.value.field == "ttl_seconds"
    with valkey.Valkey(port=valkey_server.port) as client, pytest.raises(InvalidInput) as caught:
        ValkeyCache(client, ttl=ttl)
    assert caught.value.field == "ttl"


# -- clients


async def test_an_asyncio_client(valkey_server: ValkeyServer, prefix: str) -> None:
    async with valkey.asyncio.Valkey(port=valkey_server.port) as client:
        cache: ValkeyCache[int] = ValkeyCache(client, prefix=prefix)
        await cache.aset({"k": (1, None)})
        assert await cache.aget(["k"]) == {"k": 1}
        # From another thread, as a sync node of the graph would do it.
        assert await asyncio.to_thread(cache.get, ["k"]) == {"k": 1}
        await cache.aclear()
    async with ValkeyCache[int].from_conn_string(valkey_server.url, prefix=prefix) as opened:
        await opened.aset({"k": (1, None)})
        assert opened.get(["k"]) == {"k": 1}
        await opened.aclear()


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_async_methods_do_not_block_the_loop(client: Any) -> None:
    with ValkeyServer() as server:
        async with ValkeyCache[int].from_conn_string(server.url, client=client) as cache:
            await cache.aset({"k": (1, None)})
            server.pause()
            asking = asyncio.create_task(cache.aget(["k"]))
            ticks = 0
            began = time.monotonic()
            while time.monotonic() - began < 0.5:
                await asyncio.sleep(0.01)
                ticks += 1
            assert not asking.done()
            server.resume()
            assert await asking == {"k": 1}
            assert ticks > 5


def test_threads_and_loops_share_a_cache(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    with ValkeyCache[int].from_conn_string(valkey_cluster.url, prefix=prefix) as cache:

        def act(number: int) -> dict[Any, int]:
            if number % 2:
                cache.set({f"k{number}": (number, 60)})
                return cache.get([f"k{number}"])

            async def awaiting() -> dict[Any, int]:
                await cache.aset({f"k{number}": (number, 60)})
                return await cache.aget([f"k{number}"])

            return asyncio.run(awaiting())

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(act, range(24))) == [{f"k{number}": number} for number in range(24)]
        cache.clear()


# -- outages


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_a_dead_server(client: str, caplog: pytest.LogCaptureFixture) -> None:
    with ValkeyServer() as server:
        options: Any = {"client": client, "deadline": 0.2}
        async with (
            ValkeyCache[Any].from_conn_string(server.url, **options) as raising,
            ValkeyCache[Any].from_conn_string(server.url, on_error="miss", **options) as missing,
        ):
            runs = Runs()
            strict, lenient = squaring(runs).compile(cache=raising), squaring(runs).compile(cache=missing)
            assert strict.invoke({"number": 2}) == lenient.invoke({"number": 2})
            assert runs == [2]
            server.kill()
            with pytest.raises(Unavailable):
                strict.invoke({"number": 2})
            with pytest.raises(Unavailable):
                await strict.ainvoke({"number": 2})
            assert runs == [2]
            with caplog.at_level(logging.WARNING, "statekeep.cache"):
                assert lenient.invoke({"number": 2})["square"] == 4
                assert (await lenient.ainvoke({"number": 2}))["square"] == 4
            assert runs == [2, 2, 2]
            assert [record.levelname for record in caplog.records if record.name == "statekeep.cache"] == [
                "WARNING"
            ] * 4
            with pytest.raises(Unavailable):
                missing.clear()
            server.restart()
            for _ in range(20):
                # glide reconnects after a pause of its own, which may be longer than our short deadline.
                missing.set({"back": (1, None)})
                if missing.get(["back"]):
                    break
            assert missing.get(["back"]) == {"back": 1}
