"""LangGraph stores over every backend, on their own and in real graphs."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import AsyncGenerator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.config import get_store
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.base import BaseStore, GetOp, ListNamespacesOp, PutOp, SearchOp
from langgraph.types import Send

from statekeep.domain import InvalidInput, WrongEventLoop
from statekeep.langgraph_shim import AsyncRepositoryStore, RepositoryStore

from .savers import BACKENDS
from .stores import StoreBackends

N = ("notes", "ada")


@pytest.fixture
def backends(request: pytest.FixtureRequest, prefix: str) -> StoreBackends:
    return StoreBackends(request, prefix)


@pytest.fixture(params=[*BACKENDS, "agentcore, plain"])
def store(request: pytest.FixtureRequest, backends: StoreBackends) -> Iterator[RepositoryStore]:
    with backends.sync_store(request.param) as store:
        yield store


@pytest.fixture(params=BACKENDS)
async def async_store(
    request: pytest.FixtureRequest, backends: StoreBackends
) -> AsyncGenerator[AsyncRepositoryStore, None]:
    async with backends.async_store(request.param) as store:
        yield store


def test_clear(store: RepositoryStore) -> None:
    for namespace in (N, (*N, "old"), ("notes", "adam"), ("notes",)):
        store.put(namespace, "k", {"n": 1})
    assert store.clear(N) == 1
    assert store.list_namespaces() == [("notes",), (*N, "old"), ("notes", "adam")]
    assert store.clear(("notes", "ada"), below=True) == 1
    assert asyncio.run(store.aclear(("notes",), below=True)) == 2
    assert store.search(()) == []
    for bad in ("notes", ("",), None):
        with pytest.raises(InvalidInput, match="namespace"):
            store.clear(bad)  # type: ignore[arg-type]


@pytest.mark.anyio
async def test_clear_in_an_event_loop(async_store: AsyncRepositoryStore) -> None:
    for namespace in (N, (*N, "old"), ("notes",)):
        await async_store.aput(namespace, "k", {"n": 1})
    assert await async_store.aclear(N, below=True) == 2
    assert await async_store.aclear(N) == 0
    assert [item.namespace for item in await async_store.asearch(())] == [("notes",)]
    with pytest.raises(WrongEventLoop):
        async_store.clear(N)


def everything() -> list[Any]:
    """A batch in which each operation would see another result if it came later."""
    return [
        GetOp(N, "k"),
        PutOp(N, "k", {"n": 2}),
        SearchOp(("notes",), filter={"n": {"$lt": 5}}),
        ListNamespacesOp(max_depth=1),
        PutOp(("notes", "bob"), "k", {"n": 3}),
        PutOp(("gone",), "k", None),
        GetOp(("gone",), "k"),
    ]


def expect(found: list[Any]) -> None:
    assert found[0].value == {"n": 1}
    assert [(item.namespace, item.value, item.score) for item in found[2]] == [(N, {"n": 1}, None)]
    assert found[3] == [("gone",), ("notes",)]
    assert found[6].value == {"n": 9}
    assert found[1] is found[4] is found[5] is None


def test_a_batch(store: RepositoryStore) -> None:
    store.batch([PutOp(N, "k", {"n": 1}), PutOp(("gone",), "k", {"n": 9})])
    created = store.get(N, "k")
    expect(store.batch(everything()))
    assert {(item.namespace, item.value["n"]) for item in store.search(())} == {(N, 2), (("notes", "bob"), 3)}
    assert store.list_namespaces() == [N, ("notes", "bob")]
    item = store.get(N, "k")
    assert item is not None
    assert created is not None
    assert item.created_at == created.created_at == created.updated_at < item.updated_at


@pytest.mark.anyio
async def test_a_batch_async(async_store: AsyncRepositoryStore) -> None:
    await async_store.abatch([PutOp(N, "k", {"n": 1}), PutOp(("gone",), "k", {"n": 9})])
    expect(await async_store.abatch(everything()))
    assert {(item.namespace, item.value["n"]) for item in await async_store.asearch(())} == {
        (N, 2),
        (("notes", "bob"), 3),
    }
    assert await async_store.alist_namespaces() == [N, ("notes", "bob")]


def test_a_batch_over_many_namespaces(store: RepositoryStore) -> None:
    places = [((f"n{number % 30}", "{x}"), str(number)) for number in range(300)]
    assert store.batch(PutOp(namespace, key, {"key": key}) for namespace, key in places) == [None] * 300
    found: list[Any] = store.batch([GetOp(*place) for place in [*places, (("n1",), "1")]])
    assert [(item.namespace, item.key, item.value["key"]) for item in found[:-1]] == [
        (namespace, key, key) for namespace, key in places
    ]
    assert found[-1] is None
    assert len(store.list_namespaces()) == 30
    assert store.batch([PutOp(*place, None) for place in places]) == [None] * 300
    assert store.search(()) == []
    assert store.list_namespaces() == []


def test_odd_names_never_collide(store: RepositoryStore) -> None:
    places = [
        (("a",), "b:c"),
        (("a", "b"), "c"),
        (("a:b",), "c"),
        (("a",), "b/c"),
        (("a/b",), "c"),
        (("a|b", "*"), "c"),
        (("*",), "c"),
        (("{a}",), "c"),
        (("{", "a"), "}"),
        (("😀", "%2F"), "%"),
        (("x" * 1000,), "y" * 1000),
        (("a",), ""),
        (("A",), ""),
    ]
    for number, (namespace, key) in enumerate(places):
        store.put(namespace, key, {"n": number})
    for number, (namespace, key) in enumerate(places):
        item = store.get(namespace, key)
        assert item is not None
        assert (item.namespace, item.key, item.value) == (namespace, key, {"n": number})
    assert len(store.search((), limit=100)) == len(places)
    assert {item.key for item in store.search(("a",))} == {"b:c", "c", "b/c", ""}
    assert set(store.list_namespaces()) == {namespace for namespace, _ in places}


def test_twenty_writers_of_one_item(store: RepositoryStore) -> None:
    barrier = threading.Barrier(20)

    def write(number: int) -> None:
        barrier.wait(30)
        store.put(N, "k", {"writer": number, "again": [number] * 50})

    with ThreadPoolExecutor(20) as threads:
        list(threads.map(write, range(20)))
    [item] = store.search(N)
    assert item.value["again"] == [item.value["writer"]] * 50


@pytest.mark.anyio
async def test_twenty_writers_of_one_namespace(async_store: AsyncRepositoryStore) -> None:
    await asyncio.gather(*(async_store.aput(N, str(number), {"n": number}) for number in range(20)))
    found = await asyncio.gather(*(async_store.aget(N, str(number)) for number in range(20)))
    assert [item.value["n"] for item in found if item is not None] == list(range(20))
    assert len(await async_store.asearch(N, limit=100)) == 20


@pytest.mark.anyio
async def test_a_cancelled_put_breaks_nothing(async_store: AsyncRepositoryStore) -> None:
    for number in range(10):
        task = asyncio.ensure_future(async_store.aput(N, "k", {"n": number}))
        await asyncio.sleep(0.0003 * number)
        task.cancel()
        await asyncio.wait([task])
    await async_store.aput(N, "k", {"n": "last"})
    item = await async_store.aget(N, "k")
    assert item is not None
    assert item.value == {"n": "last"}


# -- by meaning


def vectors(texts: list[str]) -> list[list[float]]:
    return [[float(text.count("a")), float(text.count("b")), 1.0] for text in texts]


async def async_vectors(texts: list[str]) -> list[list[float]]:
    await asyncio.sleep(0)
    return vectors(texts)


INDEX: Any = {"dims": 3, "embed": vectors, "fields": ["text"], "timezone": "Asia/Tokyo", "index_type": "flat"}


def fill() -> list[PutOp]:
    return [
        PutOp(("docs", "x"), "a", {"text": "aaaa", "kind": "letter"}),
        PutOp(("docs", "y"), "b", {"text": "bbbb", "kind": "letter"}),
        PutOp(("docs", "y"), "ab", {"text": "aabb", "kind": "word"}),
        PutOp(("docsx",), "a", {"text": "aaaa"}),
        PutOp(("docs", "x"), "not", {"text": "aaaa"}, index=False),
    ]


@pytest.mark.parametrize("backend", BACKENDS)
def test_search_by_meaning(backend: str, backends: StoreBackends) -> None:
    with backends.sync_store(backend, index=INDEX) as store:
        store.setup()
        store.setup()
        store.batch(fill())
        found = store.search(("docs",), query="aaaa")
        assert [item.key for item in found] == ["a", "ab", "b", "not"]
        assert found[0].score == pytest.approx(1.0, abs=1e-5)
        assert found[3].score is None
        assert [item.score for item in found[:3]] == sorted((item.score for item in found[:3]), reverse=True)  # type: ignore[type-var]
        assert str(found[0].updated_at.tzinfo) == "Asia/Tokyo"
        assert [item.key for item in store.search(("docs",), query="a", filter={"kind": "letter"}, limit=1)] == ["a"]
        assert [item.key for item in store.search(("docs",), query="b", limit=1, offset=1)] == ["ab"]
        store.put(("docs", "x"), "a", {"text": "b"})
        assert [item.key for item in store.search(("docs",), query="aaaa")] == ["ab", "a", "b", "not"]
        store.delete(("docs", "y"), "ab")
        assert [item.key for item in store.search(("docs",), query="aaaa")] == ["a", "b", "not"]


@pytest.mark.anyio
@pytest.mark.parametrize("backend", BACKENDS)
async def test_search_by_meaning_async(backend: str, backends: StoreBackends) -> None:
    async with backends.async_store(backend, index={**INDEX, "embed": async_vectors}) as store:
        await store.setup()
        await store.abatch(fill())
        found = await store.asearch(("docs",), query="aaaa", limit=2)
        assert [item.key for item in found] == ["a", "ab"]
        assert await asyncio.to_thread(store.search, ("docs",), query="aaaa", limit=2) == found


# -- in graphs


class State(TypedDict, total=False):
    user: str
    log: Annotated[list[str], operator.add]


def remember(state: State, *, store: BaseStore) -> State:
    """A sync node that is given the store."""
    before = store.search(("memories", state["user"]))
    store.put(("memories", state["user"]), str(len(before)), {"text": f"visit {len(before)}"})
    return {"log": [item.value["text"] for item in before]}


def count(state: State) -> State:
    """A sync node that asks for the store."""
    return {"log": [f"{len(get_store().search(('memories',)))} in all"]}


def read(state: State, runtime: Runtime) -> State:
    """A sync node that finds the store in its runtime."""
    assert runtime.store is not None
    item = runtime.store.get(("memories", state["user"]), "0")
    return {"log": [item.value["text"] if item else "nothing"]}


async def aremember(state: State, *, store: BaseStore) -> State:
    before = await store.asearch(("memories", state["user"]))
    await store.aput(("memories", state["user"]), str(len(before)), {"text": f"visit {len(before)}"})
    return {"log": [item.value["text"] for item in before]}


async def acount(state: State) -> State:
    return {"log": [f"{len(await get_store().asearch(('memories',)))} in all"]}


async def aread(state: State, runtime: Runtime) -> State:
    assert runtime.store is not None
    item = await runtime.store.aget(("memories", state["user"]), "0")
    return {"log": [item.value["text"] if item else "nothing"]}


def chain(*nodes: Any) -> Any:
    builder = StateGraph(State)
    last = START
    for node in nodes:
        builder.add_node(node.__name__, node)
        builder.add_edge(last, node.__name__)
        last = node.__name__
    return builder


EXPECTED = [
    ("ada", ["1 in all", "visit 0"]),
    ("ada", ["visit 0", "2 in all", "visit 0"]),
    ("bob", ["3 in all", "visit 0"]),
]


def test_invoke(store: RepositoryStore) -> None:
    graph = chain(remember, count, read).compile(store=store)
    for user, log in EXPECTED:
        assert graph.invoke({"user": user, "log": []})["log"] == log


@pytest.mark.anyio
@pytest.mark.parametrize("nodes", [(remember, count, read), (aremember, acount, aread)], ids=["sync", "async"])
async def test_ainvoke(async_store: AsyncRepositoryStore, nodes: Any) -> None:
    graph = chain(*nodes).compile(store=async_store)
    for user, log in EXPECTED:
        assert (await graph.ainvoke({"user": user, "log": []}))["log"] == log


@pytest.mark.anyio
@pytest.mark.parametrize("nodes", [(remember, count, read), (aremember, acount, aread)], ids=["sync", "async"])
async def test_a_sync_store_in_ainvoke(store: RepositoryStore, nodes: Any) -> None:
    graph = chain(*nodes).compile(store=store)
    for user, log in EXPECTED:
        assert (await graph.ainvoke({"user": user, "log": []}))["log"] == log


@pytest.mark.anyio
async def test_an_async_store_in_invoke(async_store: AsyncRepositoryStore) -> None:
    graph = chain(remember, count, read).compile(store=async_store)
    for user, log in EXPECTED:
        assert (await asyncio.to_thread(graph.invoke, {"user": user, "log": []}))["log"] == log


@pytest.mark.anyio
async def test_an_async_node_may_not_block_its_loop(async_store: AsyncRepositoryStore) -> None:
    async def careless(state: State, *, store: BaseStore) -> State:
        store.put(N, "k", {})
        return {}

    with pytest.raises(WrongEventLoop):
        await chain(careless).compile(store=async_store).ainvoke({"user": "ada", "log": []})
    assert await async_store.asearch(()) == []


def fan_out(node: Any) -> Any:
    builder: Any = StateGraph(State)
    builder.add_node("note", node)
    builder.add_conditional_edges(START, lambda state: [Send("note", number) for number in range(20)], ["note"])
    return builder


def note(number: int, *, store: BaseStore) -> State:
    store.put(N, str(number), {"n": number})
    return {"log": [str(number)]}


async def anote(number: int, *, store: BaseStore) -> State:
    await store.aput(N, str(number), {"n": number})
    return {"log": [str(number)]}


def test_twenty_tasks_put_at_once(store: RepositoryStore) -> None:
    fan_out(note).compile(store=store).invoke({"log": []}, {"max_concurrency": 20})
    assert {item.value["n"] for item in store.search(N, limit=100)} == set(range(20))


@pytest.mark.anyio
@pytest.mark.parametrize("node", [note, anote])
async def test_twenty_tasks_put_at_once_async(async_store: AsyncRepositoryStore, node: Any) -> None:
    await fan_out(node).compile(store=async_store).ainvoke({"log": []})
    assert {item.value["n"] for item in await async_store.asearch(N, limit=100)} == set(range(20))


@pytest.mark.anyio
async def test_a_subgraph_has_the_store_of_its_parent(async_store: AsyncRepositoryStore) -> None:
    inner = chain(remember).compile()
    graph = StateGraph(State)
    graph.add_node("inner", inner)
    graph.add_edge(START, "inner")
    await graph.compile(store=async_store).ainvoke({"user": "ada", "log": []})
    assert await async_store.alist_namespaces() == [("memories", "ada")]
