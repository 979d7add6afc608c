"""ValkeyStore and AsyncValkeyStore as users of langgraph-checkpoint-aws know them."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import valkey
import valkey.asyncio
from langchain_core.embeddings import Embeddings
from langgraph.graph import StateGraph
from langgraph.store.base import BaseStore, GetOp, PutOp

import statekeep
from statekeep.domain import CheckItem, InvalidInput, PutItem, Unavailable, VectorIndex
from statekeep.langgraph_shim import AsyncValkeySaver, AsyncValkeyStore, ValkeyIndexConfig, ValkeySaver, ValkeyStore
from statekeep.repositories.item_backend import unit_of
from statekeep.repositories.valkey import client_from_url
from statekeep.testing.servers import ValkeyServer

from ..valkey.counting_proxy import CountingProxy

URLS = ("glide", "valkey-py")
N = ("documents", "user123")


class Words(Embeddings):
    """Vectors of which words occur."""

    WORDS = ("machine", "learning", "customer", "report", "cooking")

    def __init__(self, dims: int) -> None:
        self.dims = dims

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        counts = Counter(text.lower().split())
        found = [float(counts[word]) for word in self.WORDS]
        return [*found, 0.1, *([0.0] * (self.dims - len(found) - 1))]


class TestTheReadme:
    """Its snippets, with another import, another address and another model."""

    def test_basic_usage(self, valkey_server: ValkeyServer, prefix: str) -> None:
        embeddings = Words(1536)
        with ValkeyStore.from_conn_string(
            f"{valkey_server.url}",
            index={
                "collection_name": f"my_documents_{prefix}",
                "dims": 1536,
                "embed": embeddings,
                "fields": ["text", "author"],
                "timezone": "UTC",
                "index_type": "hnsw",
            },
            ttl={"default_ttl": 60.0},
            prefix=prefix,
        ) as store:
            store.setup()
            store.put(
                ("documents", "user123"),
                "report_1",
                {
                    "text": "Machine learning report on customer behavior analysis...",
                    "tags": ["ml", "analytics", "report"],
                    "author": "data_scientist",
                },
            )
            store.put(("documents", "user123"), "cake", {"text": "Cooking", "author": "data_scientist"})
            store.put(("documents", "user123"), "other", {"text": "Machine learning", "author": "somebody"})
            results = store.search(
                ("documents",),
                query="machine learning customer analysis",
                filter={"author": "data_scientist"},
                limit=10,
            )
            assert [item.key for item in results] == ["report_1", "cake"]
            assert results[0].score is not None
            assert results[1].score is not None
            assert results[0].score > 0.8 > results[1].score
            with valkey_server.client() as raw:
                # All of the 60 minutes are left in the millisecond in which the search began them anew.
                [left] = {(raw.pttl(key) - 1) // 60_000 for key in raw.keys(f"{prefix}:item:*")}
            assert left == 59

    @pytest.mark.parametrize(
        "index",
        [
            {
                "collection_name": "high_performance_docs",
                "dims": 768,
                "fields": ["text", "title", "summary"],
                "timezone": "America/New_York",
                "index_type": "hnsw",
                "hnsw_m": 32,
                "hnsw_ef_construction": 400,
                "hnsw_ef_runtime": 20,
            },
            {"collection_name": "exact_search_docs", "dims": 384, "fields": ["text"], "index_type": "flat"},
        ],
    )
    def test_other_indexes(self, valkey_server: ValkeyServer, prefix: str, index: Any) -> None:
        embeddings = Words(index["dims"])
        whole: Any = {**index, "embed": embeddings}
        with ValkeyStore.from_conn_string(valkey_server.url, index=whole, prefix=prefix) as store:
            store.put(N, "k", {"text": "report"})
            assert [item.key for item in store.search(N, query="report")] == ["k"]
            assert store.embeddings is embeddings
            for name, value in index.items():
                shown = store.index_fields if name == "fields" else getattr(store, name)
                assert shown == (tuple(value) if name == "fields" else value)

    def test_over_the_redis_query_engine(self, redisearch_server: ValkeyServer, prefix: str) -> None:
        index: Any = {"dims": 6, "embed": Words(6), "fields": ["text"]}
        with ValkeyStore.from_conn_string(redisearch_server.url, index=index, prefix=prefix) as store:
            while not (status := store.setup()).is_ready:
                pass
            assert (status.engine, status.algorithm) == ("redisearch", "hnsw")
            for key, text in {"one": "cooking", "two": "report", "three": "report customer"}.items():
                store.put(N, key, {"text": text, "long": " " in text})
            assert [item.key for item in store.search(N, query="report", limit=2)] == ["two", "three"]
            assert [item.key for item in store.search(N, query="report", filter={"long": True})] == ["three"]

    @pytest.mark.anyio
    async def test_async(self, valkey_server: ValkeyServer, prefix: str) -> None:
        async with AsyncValkeyStore.from_conn_string(valkey_server.url, prefix=prefix) as store:
            namespace = ("example",)
            key = "key"
            data = {"message": "Sample message", "timestamp": datetime.now().isoformat(), "status": "success"}
            await store.setup()
            await store.aput(namespace, key, data)
            result = await store.aget(namespace, key)
        assert result is not None
        assert result.value == data

    def test_options(self, valkey_server: ValkeyServer, prefix: str) -> None:
        valkey_client = valkey.Valkey.from_url(valkey_server.url)
        embeddings = Words(1536)
        index_config: ValkeyIndexConfig = {
            "collection_name": "my_documents",
            "dims": 1536,
            "embed": embeddings,
            "fields": ["text", "content"],
            "timezone": "UTC",
            "index_type": "hnsw",
            "hnsw_m": 16,
            "hnsw_ef_construction": 200,
            "hnsw_ef_runtime": 10,
        }
        store = ValkeyStore(client=valkey_client, index=index_config, ttl={"default_ttl": 60.0}, prefix=prefix)
        assert store.client is valkey_client
        assert store.ttl_config == {"default_ttl": 60.0}
        assert isinstance(store.index, VectorIndex)
        assert (store.dims, store.collection_name, store.timezone, store.index_type) == (
            1536,
            "my_documents",
            "UTC",
            "hnsw",
        )
        assert (store.hnsw_m, store.hnsw_ef_construction, store.hnsw_ef_runtime, store.distance_metric) == (
            16,
            200,
            10,
            "cosine",
        )
        store.put(N, "k", {"content": "report"})
        store.close()
        assert valkey_client.ping()
        valkey_client.close()

    @pytest.mark.parametrize(
        "options",
        [
            {"collection_name": "fast_search", "index_type": "hnsw", "hnsw_m": 8, "hnsw_ef_construction": 100},
            {"collection_name": "exact_search", "index_type": "flat"},
            {"dims": 3},
            {"embed": Words(6)},
            {"dims": None, "embed": Words(6)},
            {},
        ],
    )
    def test_an_index_without_a_model_says_what_is_missing(self, options: Any) -> None:
        missing = "dims" if options.get("dims") is None else "embed"
        with pytest.raises(InvalidInput, match=f"index: {missing} is missing") as raised:
            ValkeyStore(valkey.Valkey(), index=options)
        assert raised.value.field == missing
        complete: Any = {**options, "dims": 6, "embed": Words(6)}
        assert ValkeyStore(valkey.Valkey(), index=complete).dims == 6

    def test_pool(self, valkey_server: ValkeyServer, prefix: str) -> None:
        pool: Any = valkey.ConnectionPool.from_url(
            valkey_server.url, max_connections=20, retry_on_timeout=True, client_name=prefix
        )
        with ValkeyStore.from_pool(
            pool, index={"dims": 6, "embed": Words(6)}, ttl={"default_ttl": 1}, prefix=prefix
        ) as store:
            assert store.dims == 6
            store.put(N, "k", {})
        with valkey_server.client() as other:
            [key] = other.keys(f"{prefix}:item:*")
            assert 50 < other.ttl(key) <= 60
            assert [each for each in other.client_list() if each["name"] == prefix]
        with ValkeyStore.from_pool(pool, prefix=prefix) as again:
            assert again.get(N, "k") is not None
        pool.disconnect()

    @pytest.mark.anyio
    async def test_async_pool(self, valkey_server: ValkeyServer, prefix: str) -> None:
        pool = valkey.asyncio.ConnectionPool.from_url(valkey_server.url)
        async with AsyncValkeyStore.from_pool(pool, prefix=prefix) as store:
            await store.aput(N, "k", {})
            assert await asyncio.to_thread(store.get, N, "k") is not None
        async with valkey.asyncio.Valkey(connection_pool=pool) as client:
            assert await client.ping()
        await pool.disconnect()

    def test_paths(self) -> None:
        from statekeep.langgraph_shim.store.valkey import AsyncValkeyStore as Asynchronous
        from statekeep.langgraph_shim.store.valkey import ValkeyIndexConfig as Config
        from statekeep.langgraph_shim.store.valkey import ValkeyStore as Synchronous

        assert (Synchronous, Asynchronous, Config) == (ValkeyStore, AsyncValkeyStore, ValkeyIndexConfig)


@pytest.mark.parametrize("library", URLS)
def test_pool_options(valkey_server: ValkeyServer, prefix: str, library: Any) -> None:
    with ValkeyStore.from_conn_string(
        valkey_server.url, pool_size=3, pool_timeout=2.5, prefix=prefix, client=library
    ) as store:
        assert "pool_size=3" in repr(store)
        assert "pool_timeout=2.5" in repr(store)
        store.put(N, "k", {})
        assert len(store.search(N)) == 1
    with ValkeyStore.from_conn_string(f"{valkey_server.url}?pool_size=4&pool_timeout=7", prefix=prefix) as store:
        assert "pool_size=4" in repr(store)
        assert "pool_timeout=7.0" in repr(store)


def test_a_full_pool_is_waited_for_as_long_as_asked(prefix: str) -> None:
    with (
        ValkeyServer() as server,
        ValkeyStore.from_conn_string(
            server.url, pool_size=1, pool_timeout=0.3, client="valkey-py", prefix=prefix
        ) as store,
    ):
        store.put(N, "k", {})
        server.pause()
        began = time.monotonic()

        async def both() -> list[Any]:
            calls = (asyncio.to_thread(store.get, N, "k") for _ in range(2))
            waiting = asyncio.gather(*calls, return_exceptions=True)
            await asyncio.sleep(1.0)
            server.resume()
            return await waiting

        found = asyncio.run(both())
        assert time.monotonic() - began < 4
        [refused] = [each for each in found if isinstance(each, Exception)]
        assert isinstance(refused, Unavailable)
        assert "all 1 connections" in str(refused)


def stores_in_units(server: ValkeyServer, prefix: str) -> Iterator[ValkeyStore]:
    """Each way to make a store, with units of one label."""
    with ValkeyStore.from_conn_string(server.url, prefix=prefix, unit=1) as store:
        yield store
    pool: Any = valkey.ConnectionPool.from_url(server.url)
    with ValkeyStore.from_pool(pool, prefix=prefix, unit=1) as store:
        yield store
    pool.disconnect()
    with valkey.Valkey.from_url(server.url) as client, ValkeyStore(client, prefix=prefix, unit=1) as store:
        yield store


def test_stores_in_units(valkey_server: ValkeyServer, prefix: str) -> None:
    for number, store in enumerate(stores_in_units(valkey_server, prefix)):
        store.put(("users", "ada"), "turns", {"n": number})
    with statekeep.connect(valkey_server.url, prefix=prefix, unit=1) as keep:
        read = keep.items.get(("users", "ada"), "turns")
        assert read is not None
        assert (read.value, read.version) == ({"n": 2}, 3)
        check = CheckItem(namespace=read.namespace, key="turns", expected=read)
        _, put = keep.items.batch([check, PutItem(namespace=("users", "bob"), key="turns", value={"n": 1})])
        assert put.version == 1
    with ValkeyStore.from_conn_string(valkey_server.url, prefix=prefix) as other, pytest.raises(InvalidInput) as raised:
        other.get(("users", "ada"), "turns")
    assert raised.value.field == "unit"
    with ValkeyStore.from_conn_string("memory:", unit=1) as store:
        assert unit_of(store.client) == 1


@pytest.mark.parametrize("kind", [ValkeyStore, AsyncValkeyStore])
class TestArguments:
    @pytest.mark.parametrize("client", [None, "valkey://localhost", 3, object()])
    def test_client(self, kind: Any, client: Any) -> None:
        with pytest.raises(InvalidInput) as raised:
            kind(client)
        assert raised.value.field == "client"

    @pytest.mark.parametrize(
        ("field", "arguments"),
        [
            ("pool_size", {"pool_size": 0}),
            ("pool_timeout", {"pool_timeout": 0}),
            ("pool_timeout", {"pool_timeout": "soon"}),
            ("prefix", {"prefix": ""}),
            ("unit", {"unit": -1}),
            ("client", {"client": "hiredis"}),
            ("ttl", {"ttl": 60.0}),
            ("default_ttl", {"ttl": {"default_ttl": 0}}),
            ("index", {"index": ["text"]}),
            ("dims", {"index": {"dims": 0, "embed": len}}),
            ("dims", {"index": {"dims": "3", "embed": len}}),
            ("embed", {"index": {"dims": 3, "embed": 7}}),
            ("embed", {"index": {"dims": 3, "embed": "openai:text-embedding-3-small"}}),
            ("fields", {"index": {"dims": 3, "embed": len, "fields": []}}),
            ("fields", {"index": {"dims": 3, "embed": len, "fields": ["a["]}}),
            ("index_type", {"index": {"dims": 3, "embed": len, "index_type": "ivf"}}),
            ("distance_metric", {"index": {"dims": 3, "embed": len, "distance_metric": "hamming"}}),
            ("timezone", {"index": {"dims": 3, "embed": len, "timezone": "Mars"}}),
            ("hnsw_m", {"index": {"dims": 3, "embed": len, "hnsw_m": 3}}),
            ("hnsw_m", {"index": {"dims": 3, "embed": len, "hnsw_m": 65}}),
            ("hnsw_ef_construction", {"index": {"dims": 3, "embed": len, "hnsw_ef_construction": 99}}),
            ("hnsw_ef_runtime", {"index": {"dims": 3, "embed": len, "hnsw_ef_runtime": 501}}),
            ("ann_index_config", {"index": {"dims": 3, "embed": len, "ann_index_config": {}}}),
        ],
    )
    def test_others(self, kind: Any, field: str, arguments: Any) -> None:
        with pytest.raises(InvalidInput) as raised:
            kind.from_conn_string("valkey://127.0.0.1:1", **arguments)
        assert raised.value.field == field

    def test_a_vector_index_is_taken_as_it_is(self, kind: Any) -> None:
        index = VectorIndex(dims=6, embed=Words(6))
        assert kind(valkey.Valkey(), index=index).index is index

    def test_an_index_may_say_nothing_of_the_rest(self, kind: Any) -> None:
        store = kind(valkey.Valkey(), index={"dims": 6, "embed": Words(6), "fields": None})
        assert store.index_fields == ("$",)
        assert store.collection_name == "default"

    def test_without_an_index(self, kind: Any) -> None:
        store = kind(valkey.Valkey())
        assert store.index is store.dims is store.embeddings is store.collection_name is store.hnsw_m is None

    def test_an_option_is_read_only(self, kind: Any) -> None:
        with pytest.raises(AttributeError):
            kind(valkey.Valkey()).dims = 3

    def test_a_client_of_ours_is_taken_as_it_is(self, kind: Any, valkey_server: ValkeyServer) -> None:
        client = client_from_url(valkey_server.url)
        assert kind(client).client is client
        client.close()


def test_the_name_of_a_model(valkey_server: ValkeyServer, prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """LangGraph resolves it; here by a provider that needs no network."""
    import sys
    import types

    asked = []

    def init_embeddings(name: str) -> Embeddings:
        asked.append(name)
        return Words(6)

    langchain, module = types.ModuleType("langchain"), types.ModuleType("langchain.embeddings")
    module.init_embeddings = init_embeddings  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langchain", langchain)
    monkeypatch.setitem(sys.modules, "langchain.embeddings", module)
    from langgraph.store.base import embed

    embed._get_init_embeddings.cache_clear()
    try:
        with ValkeyStore.from_conn_string(
            valkey_server.url, index={"dims": 6, "embed": "words:five"}, prefix=prefix
        ) as store:
            store.put(N, "k", {"text": "report"})
            assert store.search(N, query="report")[0].score is not None
    finally:
        embed._get_init_embeddings.cache_clear()
    assert asked == ["words:five"]


@pytest.fixture(params=URLS)
def counted(request: pytest.FixtureRequest, valkey_server: ValkeyServer, prefix: str) -> Iterator[Any]:
    """A store behind a proxy that counts round trips; the connection is open and the server knows the scripts."""
    with ExitStack() as stack:
        proxy = stack.enter_context(CountingProxy(valkey_server.port))
        url = f"valkey://127.0.0.1:{proxy.port}"
        store = stack.enter_context(ValkeyStore.from_conn_string(url, client=request.param, prefix=prefix))
        store.batch([PutOp((prefix,), "warm", {}), PutOp((prefix, "x"), "warm", {})])
        store.batch([GetOp((prefix,), "warm")])
        store.search((prefix,))
        store.list_namespaces()
        store.batch([PutOp((prefix,), "warm", None), PutOp((prefix, "x"), "warm", None)])
        store.put((prefix,), "warm", {})
        store.delete((prefix,), "warm")
        yield store, proxy


def test_round_trips(counted: Any) -> None:
    store, proxy = counted

    def turns(call: Callable[[], Any]) -> int:
        proxy.reset()
        call()
        return int(proxy.turns)

    assert turns(lambda: store.put(N, "k", {"n": 1})) == 1
    assert turns(lambda: store.get(N, "k")) == 1
    assert turns(lambda: store.delete(N, "k")) == 1
    puts = [PutOp(("many", str(number % 3)), str(number), {"n": number}) for number in range(100)]
    gets = [GetOp(put.namespace, put.key) for put in puts]
    assert turns(lambda: store.batch(puts)) == 1
    assert turns(lambda: store.batch(gets)) == 1
    assert turns(lambda: store.batch([*gets, *puts])) == 2
    assert turns(lambda: store.search(("many", "0"), limit=10)) <= 2
    # Where to look is asked once.
    assert turns(lambda: store.search(("many",), limit=10)) <= 3
    assert turns(lambda: store.search(("many",), limit=10)) <= 2
    assert turns(store.list_namespaces) <= 2
    assert turns(lambda: store.batch([])) == 0


@pytest.mark.parametrize("library", URLS)
def test_ttls_are_the_servers(valkey_server: ValkeyServer, prefix: str, library: Any) -> None:
    with (
        ValkeyStore.from_conn_string(
            valkey_server.url, ttl={"default_ttl": 30}, prefix=prefix, client=library
        ) as store,
        valkey_server.client() as raw,
    ):

        def left() -> float:
            [key] = raw.keys(f"{prefix}:item:*")
            return float(raw.pttl(key)) / 60_000

        store.put(N, "k", {})
        assert 29 < left() <= 30
        store.put(N, "k", {}, ttl=0.5)
        assert 0.4 < left() <= 0.5
        [key] = raw.keys(f"{prefix}:item:*")
        raw.pexpire(key, 10_000)
        assert store.get(N, "k", refresh_ttl=False) is not None
        assert left() < 0.2
        assert store.get(N, "k") is not None
        assert 0.4 < left() <= 0.5
        store.put(N, "k", {}, ttl=None)
        assert left() < 0
        store.put(N, "k", {}, ttl=0.01)
        assert store.get(N, "k") is not None
        end = time.monotonic() + 5
        while store.get(N, "k", refresh_ttl=False) is not None:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert store.search(N) == []
        assert store.list_namespaces() == []


@pytest.mark.parametrize("library", URLS)
def test_a_dead_server_is_an_error_and_not_an_empty_store(prefix: str, library: Any) -> None:
    with (
        ValkeyServer(requirepass="s3cret-word") as server,
        ValkeyStore.from_conn_string(server.url, prefix=prefix, deadline=0.5, client=library) as store,
    ):
        store.put(N, "k", {})
        assert "s3cret-word" not in repr(store)
        server.kill()
        calls: list[Callable[[], Any]] = [
            lambda: store.get(N, "k"),
            lambda: store.search(N),
            lambda: store.search(N, query="k"),
            store.list_namespaces,
            lambda: store.delete(N, "k"),
            lambda: store.put(N, "k", {}),
            lambda: asyncio.run(store.aget(N, "k")),
        ]
        for call in calls:
            with pytest.raises(Unavailable) as raised:
                call()
            assert "s3cret-word" not in f"{raised.value!r} {raised.value}"


def test_a_saver_and_a_store_on_one_client(valkey_server: ValkeyServer, prefix: str) -> None:
    client = valkey.Valkey.from_url(valkey_server.url)
    saver, store = ValkeySaver(client, prefix=prefix), ValkeyStore(client, prefix=prefix)
    builder: Any = StateGraph(int)

    def add_one(number: int, *, store: BaseStore) -> int:
        store.put(("seen",), str(number), {"n": number})
        return number + 1

    builder.add_node("add_one", add_one)
    builder.set_entry_point("add_one")
    builder.set_finish_point("add_one")
    graph = builder.compile(checkpointer=saver, store=store)
    config: Any = {"configurable": {"thread_id": "t"}}
    assert graph.invoke(1, config) == 2
    assert asyncio.run(graph.ainvoke(2, config)) == 3
    saver.delete_thread("t")
    assert {item.key for item in store.search(("seen",))} == {"1", "2"}
    assert saver.get_tuple(config) is None
    client.close()


@pytest.mark.anyio
async def test_async_savers_and_stores_on_one_asyncio_client(valkey_server: ValkeyServer, prefix: str) -> None:
    client = valkey.asyncio.Valkey.from_url(valkey_server.url)
    saver, store = AsyncValkeySaver(client, prefix=prefix), AsyncValkeyStore(client, prefix=prefix)
    await store.aput(N, "k", {"text": "found"})
    [found] = await store.asearch(N)
    assert found.value == {"text": "found"}
    assert await saver.aget_tuple({"configurable": {"thread_id": "t"}}) is None
    await client.aclose()


def test_embedded_in_a_directory_survives(tmp_path: Path) -> None:
    url = f"embedded:{tmp_path / 'data'}"
    with ValkeyStore.from_conn_string(url) as store, ValkeySaver.from_conn_string(url):
        store.put(N, "k", {"n": 1})
    with ValkeyStore.from_conn_string(url) as store:
        item = store.get(N, "k")
    assert item is not None
    assert item.value == {"n": 1}


@pytest.mark.parametrize("kind", [ValkeyStore, ValkeySaver])
def test_what_cannot_be_made_leaves_no_server(tmp_path: Path, kind: Any) -> None:
    directory = tmp_path / "data"
    with kind.from_conn_string(f"embedded:{directory}") as made:
        assert "data" in repr(made)
        assert processes_in(directory)
    gone(directory)
    with pytest.raises(InvalidInput) as raised:
        kind.from_conn_string(f"embedded:{directory}", prefix="")
    assert raised.value.field == "prefix"
    gone(directory)


def processes_in(directory: Path) -> list[str]:
    """Return the processes that work in a directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if os.readlink(entry / "cwd").startswith(str(directory)):
                found.append(entry.name)
        except OSError:  # it has ended, or is another user's
            continue
    return found


def gone(directory: Path) -> None:
    end = time.monotonic() + 5
    while processes_in(directory):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_repository_sees_what_the_store_put(valkey_server: ValkeyServer, prefix: str) -> None:
    with (
        ValkeyStore.from_conn_string(valkey_server.url, prefix=prefix) as store,
        statekeep.connect(valkey_server.url, prefix=prefix) as keep,
    ):
        store.put(N, "k", {"n": 1}, ttl=1)
        store.put(N, "k", {"n": 2}, ttl=1)
        item = keep.items.get(N, "k")
        assert item is not None
        assert (item.version, item.value) == (2, {"n": 2})
        assert item.expires_at is not None
        assert 59 < (item.expires_at - item.updated_at).total_seconds() < 61
