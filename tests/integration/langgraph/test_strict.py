"""``strict``: what stored bytes may make of themselves in the program that reads them."""

from __future__ import annotations

import asyncio
import datetime as dt
import inspect
import logging
import operator
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, TypedDict

import ormsgpack
import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage, ToolMessage
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph, add_messages
from langgraph.types import Command, Send, interrupt
from pydantic import BaseModel

import statekeep
from statekeep import CorruptRecord, InvalidInput, Payload, PendingWrite
from statekeep.langgraph_shim import (
    AgentCoreMemorySaver,
    AsyncRepositorySaver,
    AsyncValkeySaver,
    RepositoryCache,
    RepositorySaver,
    StrictSerializer,
    ValkeyCache,
    ValkeySaver,
)
from statekeep.langgraph_shim.serializers import Strict
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyServer

CONFIG: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
MARKS: list[str] = []


def mark(text: str) -> str:
    """Stand for ``os.system``: it says that it was run."""
    MARKS.append(text)
    return text


class Runs:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], str], tuple[str]]:
        return mark, ("pickle",)


class Mine(BaseModel):
    """A type of a user."""

    number: int = 1


@dataclass
class Data:
    """Another one, with the first in it."""

    inner: Mine


class Kind(Enum):
    """And another one."""

    A = "a"


class Moment(dt.datetime):
    """A type that LangGraph makes by a method."""


def _ext(code: int, *parts: Any) -> Any:
    return ormsgpack.Ext(code, ormsgpack.packb(parts))


HOSTILE: dict[str, Payload] = {
    "one argument": Payload(encoding="msgpack", data=ormsgpack.packb(_ext(0, __name__, "mark", "x"))),
    "arguments": Payload(encoding="msgpack", data=ormsgpack.packb(_ext(1, __name__, "mark", ["x"]))),
    "keywords": Payload(encoding="msgpack", data=ormsgpack.packb(_ext(2, __name__, "mark", {"text": "x"}))),
    "pydantic 1": Payload(encoding="msgpack", data=ormsgpack.packb(_ext(4, __name__, "mark", {"text": "x"}))),
    "pydantic 2": Payload(encoding="msgpack", data=ormsgpack.packb(_ext(5, __name__, "mark", {"text": "x"}, "m"))),
    "nested": Payload(
        encoding="msgpack",
        data=ormsgpack.packb(
            {"a": [ormsgpack.Ext(0, ormsgpack.packb(["builtins", "set", [_ext(0, __name__, "mark", "x")]]))]},
        ),
    ),
}


@pytest.fixture(autouse=True)
def no_marks() -> None:
    MARKS.clear()


def _stored(payload: Payload) -> statekeep.Connection:
    """A thread with a write that somebody forged, and a cache entry of the same."""
    keep = statekeep.connect("memory:")
    config = RepositorySaver(keep.checkpoints).put(CONFIG, empty_checkpoint(), {}, {})
    write = PendingWrite(task_id="task", idx=0, channel="c", payload=payload)
    keep.checkpoints.put_writes("t", config["configurable"]["checkpoint_id"], [write])
    keep.cache.set({((), "k"): payload})
    return keep


@pytest.mark.parametrize("payload", HOSTILE.values(), ids=HOSTILE)
def test_stored_bytes_run_code_unless_strict(payload: Payload, caplog: pytest.LogCaptureFixture) -> None:
    keep = _stored(payload)
    assert RepositorySaver(keep.checkpoints).get_tuple(CONFIG) is not None
    assert MARKS == ["x"]  # as SECURITY.md says; if LangGraph mends it, say so there
    MARKS.clear()
    with pytest.raises(CorruptRecord) as caught:
        RepositorySaver(keep.checkpoints, strict=True).get_tuple(CONFIG)
    assert f"type '{__name__}:mark' is refused in strict mode" in str(caught.value)
    assert f"strict=['{__name__}:mark']" in str(caught.value)
    with pytest.raises(CorruptRecord):
        list(RepositorySaver(keep.checkpoints, strict=[Mine]).list(None))
    with caplog.at_level(logging.WARNING, "statekeep.cache"):
        assert RepositoryCache[Any](keep.cache, strict=True).get([((), "k")]) == {}
    assert f"type '{__name__}:mark' is refused" in caplog.text
    assert MARKS == []


def test_pickles_run_code_with_a_serializer_that_reads_them() -> None:
    keep = _stored(Payload(encoding="pickle", data=pickle.dumps(Runs())))
    assert RepositorySaver(keep.checkpoints, serde=JsonPlusSerializer(pickle_fallback=True)).get_tuple(CONFIG)
    assert MARKS == ["pickle"]
    for strict in (False, True):
        with pytest.raises(CorruptRecord, match="pickle"):
            RepositorySaver(keep.checkpoints, strict=strict).get_tuple(CONFIG)
    assert MARKS == ["pickle"]


@pytest.mark.parametrize("lc", [1, 2])
def test_objects_in_json_are_refused(lc: int) -> None:
    name = __name__.split(".")
    text = '{"a": {"lc": %d, "type": "constructor", "id": %s, "kwargs": {"text": "x"}}}'
    hostile = ("json", (text % (lc, str([*name, "mark"]).replace("'", '"'))).encode())
    with pytest.raises(CorruptRecord, match="mark"):
        StrictSerializer(["x:y"]).loads_typed(hostile)
    assert StrictSerializer().loads_typed(("json", b'{"lc": 1, "type": "constructor"}'))["lc"] == 1
    assert MARKS == []


OWN: tuple[tuple[Any, list[type | str]], ...] = (
    (Mine(number=2), [Mine]),
    ([Data(Mine())], [Mine, Data]),
    ({"a": Kind.A}, [f"{__name__}:Kind"]),
    ((Data(Mine()),), [f"{__name__}:Mine", f"{__name__}:Data"]),
)


@pytest.mark.parametrize(("value", "allowed"), OWN)
def test_own_types_are_refused_until_they_are_allowed(value: Any, allowed: list[type | str]) -> None:
    stored = StrictSerializer().dumps_typed(value)
    for number in range(len(allowed)):
        with pytest.raises(CorruptRecord, match="allow it with strict="):
            StrictSerializer(allowed[:number]).loads_typed(stored)
    found = StrictSerializer(allowed).loads_typed(stored)
    assert found == (list(value) if isinstance(value, tuple) else value)


def test_what_is_made_by_a_method_is_refused_without_a_hint() -> None:
    stored = StrictSerializer().dumps_typed(Moment(2024, 1, 1))
    with pytest.raises(CorruptRecord, match="Moment") as caught:
        StrictSerializer([Moment]).loads_typed(stored)
    assert "allow" not in str(caught.value)


def test_what_langgraph_allows_for_a_graph_is_allowed_too() -> None:
    """With LANGGRAPH_STRICT_MSGPACK it adds the types of the graph's state."""
    saver = RepositorySaver(statekeep.connect("memory:").checkpoints, strict=True)
    serde = saver.with_allowlist([(__name__, "Mine")]).serde
    assert isinstance(serde, StrictSerializer)
    assert serde.loads_typed(serde.dumps_typed(Mine())) == Mine()
    with pytest.raises(CorruptRecord):
        serde.loads_typed(serde.dumps_typed(Kind.A))


# -- the keyword

MAKERS: tuple[Callable[..., Any], ...] = (
    RepositorySaver, AsyncRepositorySaver, RepositoryCache, ValkeySaver, AsyncValkeySaver, ValkeyCache,
    AgentCoreMemorySaver,
    ValkeySaver.from_conn_string, AsyncValkeySaver.from_conn_string, ValkeyCache.from_conn_string,
    ValkeySaver.from_pool, AsyncValkeySaver.from_pool, ValkeyCache.from_pool,
)  # fmt: skip


@pytest.mark.parametrize("make", MAKERS, ids=lambda make: make.__qualname__)
def test_whatever_takes_a_serializer_takes_strict(make: Callable[..., Any]) -> None:
    parameter = inspect.signature(make).parameters["strict"]
    assert (parameter.default, parameter.kind) == (False, inspect.Parameter.KEYWORD_ONLY)


@contextmanager
def _opened(name: str, server: ValkeyServer, prefix: str, **options: Any) -> Iterator[Any]:
    if name.startswith("agentcore"):
        with AwsEmulator() as aws, AgentCoreMemorySaver(aws.memory_id, session=aws.session(), **options) as saver:
            yield saver
    elif name == "memory":
        yield RepositorySaver(statekeep.connect("memory:").checkpoints, **options)
    elif name == "async memory":
        yield AsyncRepositorySaver(statekeep.aconnect("memory:").checkpoints, **options)
    elif name == "valkey":
        with ValkeySaver.from_conn_string(server.url, prefix=prefix, **options) as saver:
            yield saver
    else:
        yield AsyncValkeySaver.from_conn_string(server.url, prefix=prefix, **options)


SAVERS = ("memory", "async memory", "valkey", "async valkey", "agentcore")


@pytest.mark.parametrize("name", SAVERS)
@pytest.mark.parametrize("bad", [None, 1, "yes", b"yes", ["no_module"], [1], [":x"], ["a:"], ["a:b c"]])
def test_bad_choices(name: str, bad: Any, valkey_server: ValkeyServer, prefix: str) -> None:
    with pytest.raises(InvalidInput, match="strict") as caught, _opened(name, valkey_server, prefix, strict=bad):
        pass
    assert caught.value.field == "strict"


@pytest.mark.parametrize("strict", [True, [Mine], []])
@pytest.mark.parametrize("name", SAVERS)
def test_a_serializer_of_the_user_and_strict(
    name: str, strict: Strict, valkey_server: ValkeyServer, prefix: str
) -> None:
    serde = JsonPlusSerializer()
    with (
        pytest.raises(InvalidInput, match="strict and serde") as caught,
        _opened(name, valkey_server, prefix, strict=strict, serde=serde),
    ):
        pass
    assert caught.value.field == "strict"


def test_caches_refuse_both_too(valkey_server: ValkeyServer) -> None:
    with pytest.raises(InvalidInput, match="strict and serde"):
        RepositoryCache[Any](statekeep.connect("memory:").cache, strict=True, serde=JsonPlusSerializer())
    with pytest.raises(InvalidInput, match="strict and serde"):
        ValkeyCache[Any].from_conn_string(valkey_server.url, strict=True, serde=JsonPlusSerializer())
    with ValkeyCache[Any].from_conn_string(valkey_server.url, strict=[Mine]) as cache:
        cache.set({((), "k"): (Mine(number=7), 60)})
        assert cache.get([((), "k")]) == {((), "k"): Mine(number=7)}


# -- graphs


class State(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    seen: Annotated[list[int], operator.add]
    mine: Mine


class Inner(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]


def _graph(saver: Any) -> Any:
    def ask(state: State) -> Any:
        answer = interrupt({"question": "how many?"})
        call: Any = {"name": "tool", "args": {"n": answer}, "id": "1"}
        return {"messages": [AIMessage("calling", tool_calls=[call])], "mine": Mine(number=answer)}

    def spread(state: State) -> list[Send]:
        return [Send("work", {"seen": [number]}) for number in range(state["mine"].number)]

    def work(state: State) -> State:
        return {"seen": state["seen"], "messages": [ToolMessage("done", tool_call_id="1")]}

    def nested(state: Inner) -> Any:
        interrupt("sure?")
        return Command(goto=END, update={"messages": [AIMessage("bye")]})

    inner: Any = StateGraph(Inner)
    inner.add_node("nested", nested)
    inner.add_edge(START, "nested")
    builder: Any = StateGraph(State)
    builder.add_node("ask", ask)
    builder.add_node("work", work)
    builder.add_node("inner", inner.compile())
    builder.add_edge(START, "ask")
    builder.add_conditional_edges("ask", spread, ["work"])
    builder.add_edge("work", "inner")
    return builder.compile(checkpointer=saver)


def _thread() -> Any:
    return {"configurable": {"thread_id": "graph"}}


STEPS: tuple[Any, ...] = ({"messages": [HumanMessage("hi")]}, Command(resume=3), Command(resume=True))


@pytest.mark.parametrize("name", ["memory", "valkey", "agentcore"])
def test_a_graph_with_messages_interrupts_sends_and_a_nested_graph(
    name: str, valkey_server: ValkeyServer, prefix: str
) -> None:
    with _opened(name, valkey_server, prefix, strict=[Mine]) as saver:
        graph = _graph(saver)
        *_, result = [graph.invoke(step, _thread()) for step in STEPS]
        _check(result)
        assert len(list(graph.get_state_history(_thread()))) > 3


@pytest.mark.parametrize("name", ["async memory", "async valkey"])
def test_the_same_in_an_event_loop(name: str, valkey_server: ValkeyServer, prefix: str) -> None:
    async def main() -> None:
        with _opened(name, valkey_server, prefix, strict=[Mine]) as made:
            async with made as saver:
                graph = _graph(saver)
                *_, result = [await graph.ainvoke(step, _thread()) for step in STEPS]
                _check(result)

    asyncio.run(main())


def _check(result: Any) -> None:
    assert [type(message) for message in result["messages"]] == [
        HumanMessage, AIMessage, ToolMessage, ToolMessage, ToolMessage, AIMessage,
    ]  # fmt: skip
    assert (sorted(result["seen"]), result["mine"]) == ([0, 1, 2], Mine(number=3))


def test_a_graph_with_a_type_that_is_not_allowed_says_so(valkey_server: ValkeyServer, prefix: str) -> None:
    with _opened("valkey", valkey_server, prefix, strict=True) as saver:
        graph = _graph(saver)
        graph.invoke(STEPS[0], _thread())
        with pytest.raises(CorruptRecord, match=rf"channel 'mine' .*strict=\['{__name__}:Mine'\]"):
            graph.invoke(STEPS[1], _thread())
            graph.invoke(STEPS[2], _thread())
    with _opened("valkey", valkey_server, prefix, strict=[Mine]) as saver:
        _check(_graph(saver).invoke(STEPS[2], _thread()))
