"""Ids, keys and metadata of subclasses of ``str`` and ``int``, such as members of enums, are plain wherever kept."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import numpy
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, StateGraph, add_messages
from langgraph.store.base import GetOp, Item, PutOp

import statekeep
from statekeep import Checkpoint
from statekeep.langgraph_shim import RepositoryCache, RepositorySaver, ValkeyCache
from statekeep.testing.servers import ValkeyServer
from statekeep.testing.strategies.texts import Disguised, member

from .savers import BACKENDS, Backends
from .stores import StoreBackends

DISGUISES = [Disguised, member]
SAVERS = (*BACKENDS, "agentcore, plain")


class Tier(enum.IntEnum):
    GOLD = 1


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def config(thread_id: Any, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": "", **more}}


def graph() -> Any:
    builder = StateGraph(State).add_node("answer", lambda state: {"messages": [AIMessage("yes")]})
    return builder.add_edge(START, "answer")


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("backend", SAVERS)
def test_a_thread(backend: str, disguise: Callable[[str], str], request: pytest.FixtureRequest, prefix: str) -> None:
    with Backends(request, prefix).sync(backend) as saver:
        answering = graph().compile(checkpointer=saver)
        for thread in (disguise("a b"), "a b", disguise("a b")):
            answering.invoke({"messages": [HumanMessage("?")]}, config(thread))
        assert len(answering.get_state(config("a b")).values["messages"]) == 6
        assert {str.__str__(item.config["configurable"]["thread_id"]) for item in saver.list(None)} == {"a b"}
        saver.copy_thread(disguise("a b"), disguise("c"))
        saver.prune([disguise("a b")], strategy=disguise("keep_latest"))
        assert len(list(saver.list(config("a b")))) == 1
        saver.delete_thread(disguise("a b"))
        assert saver.get_tuple(config("a b")) is None
        assert len(answering.get_state(config("c")).values["messages"]) == 6


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("backend", SAVERS)
def test_a_checkpoint_and_its_writes(
    backend: str, disguise: Callable[[str], str], request: pytest.FixtureRequest, prefix: str
) -> None:
    with Backends(request, prefix).sync(backend) as saver:
        made: Any = {**empty_checkpoint(), "id": disguise("1"), "channel_values": {disguise("c"): 1}}
        made["channel_versions"] = {disguise("c"): disguise("v")}
        put = saver.put(config("t"), made, {"run_id": disguise("r")}, {disguise("c"): disguise("v")})
        saver.put_writes(put, [(disguise("__error__"), "first")], disguise("task"), disguise("path"))
        saver.put_writes(put, [(disguise("__error__"), "last")], disguise("task"), disguise("path"))
        found = saver.get_tuple(config("t", checkpoint_id=disguise("1")))
        assert found is not None
        assert found.checkpoint["channel_values"] == {"c": 1}
        assert found.pending_writes == [("task", "__error__", "last")]
        texts = [found.config["configurable"]["checkpoint_id"], *found.checkpoint["channel_versions"].popitem()]
        metadata: Any = found.metadata
        texts += [*found.pending_writes[0][:2], metadata["run_id"]]
        assert [type(text) for text in texts] == [str] * len(texts)
        saver.delete_for_runs([disguise("r")])
        assert saver.get_tuple(config("t")) is None


FILTERS: list[dict[str, Any]] = [
    {"tier": 1}, {"tier": Tier.GOLD}, {"tier": 1.0}, {"tier": True}, {"kind": "fact"}, {"kind": member("fact")},
    {"kind": Disguised("fact"), member("tier"): Tier.GOLD}, {"score": 0.5}, {"all": [Tier.GOLD, "x"]},
    {"all": [1, member("x")]}, {"none": None}, {"tier": 2}, {"kind": member("rule")}, {"kind": Tier.GOLD},
    {"all": (1, "x")}, {"$or": [{"tier": 1}]}, {"tier": {"$gt": 0}}, {"$gt": 5},
]  # fmt: skip


@pytest.mark.parametrize("backend", [*SAVERS, "sessions, plain"])
def test_filters_find_what_those_of_langgraph_find(backend: str, request: pytest.FixtureRequest, prefix: str) -> None:
    def found(saver: Any) -> list[int]:
        where = config("t", tier=Tier.GOLD, kind=member("fact"), score=0.5)
        saver.put(where, empty_checkpoint(), {"source": "input", "all": [1, "x"]}, {})
        return [len(list(saver.list(config("t"), filter=wanted))) for wanted in FILTERS]

    serde = JsonPlusSerializer(allowed_msgpack_modules=[(__name__, "Tier")])
    with Backends(request, prefix).sync(backend, serde=serde) as saver:
        counts = found(saver)
        assert counts == found(InMemorySaver(serde=serde))
        assert set(counts) == {0, 1}
        [saved] = saver.list(config("t"))
        metadata: Any = saved.metadata
        assert (type(metadata["tier"]), type(metadata["kind"])) == (int, str)


def test_what_was_stored_as_an_object_is_found_by_it() -> None:
    """As former versions stored members of an ``IntEnum``."""
    serde = JsonPlusSerializer(allowed_msgpack_modules=[(__name__, "Tier")])
    keep = statekeep.connect("memory:").checkpoints
    with RepositorySaver(keep, serde=serde) as saver:
        saver.put(config("t"), empty_checkpoint(), {}, {})
        [stored] = keep.list("t")
        fields = {name: getattr(stored, name) for name in Checkpoint.model_fields}
        keep.put(Checkpoint(**fields | {"metadata": {"tier": statekeep.dump(serde, Tier.GOLD)}}))
        for wanted in (Tier.GOLD, Disguised("x")):
            assert len(list(saver.list(config("t"), filter={"tier": wanted}))) == (wanted is Tier.GOLD)


def test_numbers_of_numpy_in_metadata() -> None:
    with RepositorySaver(statekeep.connect("memory:").checkpoints, strict=True) as saver:
        saver.put(config("t", temperature=numpy.float64(0.5), tier=Tier.GOLD), empty_checkpoint(), {}, {})
        found = saver.get_tuple(config("t"))
        assert found is not None
        metadata: Any = found.metadata
        assert (metadata["temperature"], type(metadata["temperature"]), type(metadata["tier"])) == (0.5, float, int)


@pytest.mark.parametrize("disguise", DISGUISES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_store(backend: str, disguise: Callable[[str], str], request: pytest.FixtureRequest, prefix: str) -> None:
    with StoreBackends(request, prefix).sync_store(backend) as store:
        space, key = ("mem", disguise("x y")), disguise("k")
        store.put(space, key, {"kind": disguise("fact"), "tier": Tier.GOLD})
        for item in (store.get(("mem", "x y"), "k"), store.get(space, key), store.batch([GetOp(space, key)])[0]):
            assert isinstance(item, Item)
            assert (item.namespace, item.key, item.value) == (("mem", "x y"), "k", {"kind": "fact", "tier": 1})
            assert type(item.value["kind"]) is type(item.key) is type(item.namespace[1]) is str
        assert store.list_namespaces(prefix=space) == [("mem", "x y")]
        assert [item.key for item in store.search(space, filter={"kind": disguise("fact"), "tier": Tier.GOLD})] == ["k"]
        store.batch([PutOp(space, disguise("other"), {})])
        store.delete(space, disguise("other"))
        store.delete(space, key)
        assert store.search(("mem",)) == []


@pytest.mark.anyio
@pytest.mark.parametrize("disguise", DISGUISES)
async def test_an_async_store(disguise: Callable[[str], str], request: pytest.FixtureRequest, prefix: str) -> None:
    async with StoreBackends(request, prefix).async_store("valkey-py") as store:
        await store.aput(("n",), disguise("k"), {})
        found = await store.aget(("n",), "k")
        assert found is not None
        assert found == await store.aget(("n",), disguise("k"))
        await store.adelete(("n",), disguise("k"))
        assert await store.aget(("n",), "k") is None


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_cache(disguise: Callable[[str], str], valkey_server: ValkeyServer, prefix: str) -> None:
    url = valkey_server.url
    on_valkey: ValkeyCache[str]
    again: ValkeyCache[str]
    in_memory: RepositoryCache[str]
    with (
        ValkeyCache.from_conn_string(url, prefix=disguise(f"{prefix}:")) as on_valkey,
        ValkeyCache.from_conn_string(url, prefix=prefix) as again,
        RepositoryCache(statekeep.connect("memory:").cache) as in_memory,
    ):
        pairs: list[tuple[Any, Any]] = [(on_valkey, again), (in_memory, in_memory)]
        for cache, reader in pairs:
            place = ((disguise("n"),), disguise("k"))
            cache.set({place: ("x", 60), disguise("text"): ("y", None)})
            assert reader.get([(("n",), "k"), "text"]) == {(("n",), "k"): "x", "text": "y"}
            assert cache.get([place, disguise("text")]) == {place: "x", "text": "y"}
            cache.clear([(disguise("n"),)])
            assert reader.get([(("n",), "k"), "text"]) == {"text": "y"}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_urls_and_prefixes(disguise: Callable[[str], str], valkey_server: ValkeyServer, prefix: str) -> None:
    options: Any = {"client": disguise("valkey-py"), "client_name": disguise("me")}
    with (
        statekeep.connect(disguise(valkey_server.url), prefix=disguise(prefix), **options) as one,
        statekeep.connect(valkey_server.url, prefix=prefix) as other,
    ):
        one.items.put(("n",), "k", 1)
        assert other.items.get(("n",), "k") is not None
        assert type(one.items.backend.prefix) is str  # type: ignore[attr-defined]
