"""Threads of LangGraph: what is said without the graph is what the graph says."""

from __future__ import annotations

import operator
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt

from statekeep.inspection import next_nodes, steps
from statekeep.langgraph_shim import RepositorySaver

from .conftest import Place


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    messages: Annotated[list[AnyMessage], add_messages]


def logging(name: str) -> Any:
    return lambda state: {"log": [name]}


def ask(state: State) -> State:
    return {"log": [interrupt({"question": "go on?"})]}


def fail(state: State) -> State:
    raise RuntimeError("broken \x1b[31m")


def a_line() -> Any:
    builder: Any = StateGraph(State).add_node("a", logging("a")).add_node("b", logging("b"))
    return builder.add_edge(START, "a").add_edge("a", "b").add_edge("b", END)


def a_diamond() -> Any:
    builder: Any = StateGraph(State)
    for name in "abcd":
        builder.add_node(name, logging(name))
    builder.add_edge(START, "a").add_edge("a", "b").add_edge("a", "c").add_edge(["b", "c"], "d")
    return builder.add_edge("d", END)


def a_fan_out() -> Any:
    builder: Any = StateGraph(State).add_node("plan", logging("plan")).add_node("work", logging("work"))
    builder.add_node("end", logging("end"))
    builder.add_edge(START, "plan")
    builder.add_conditional_edges("plan", lambda state: [Send("work", {"n": n}) for n in range(3)], ["work"])
    return builder.add_edge("work", "end").add_edge("end", END)


def a_question() -> Any:
    builder: Any = (
        StateGraph(State).add_node("ask", ask).add_node("beside", logging("beside")).add_node("b", logging("b"))
    )
    builder.add_edge(START, "ask").add_edge(START, "beside")
    return builder.add_edge("ask", "b").add_edge("b", END)


def a_failure() -> Any:
    builder: Any = StateGraph(State).add_node("fail", fail).add_node("beside", logging("beside"))
    return builder.add_edge(START, "fail").add_edge(START, "beside")


def a_nested_graph() -> Any:
    inner = StateGraph(State).add_node("ask", ask).add_edge(START, "ask").add_edge("ask", END).compile()
    builder: Any = StateGraph(State).add_node("inner", inner).add_node("after", logging("after"))
    return builder.add_edge(START, "inner").add_edge("inner", "after").add_edge("after", END)


def chat() -> Any:
    def answer(state: State) -> State:
        return {"messages": [AIMessage("yes", id="a1")]}

    builder: Any = StateGraph(State)
    return builder.add_node("answer", answer).add_edge(START, "answer").add_edge("answer", END)


GRAPHS = [a_line, a_diamond, a_fan_out, a_question, a_failure, a_nested_graph, chat]
CONFIG: Any = {"configurable": {"thread_id": "t"}}


def ran(place: Place, make: Callable[[], Any], keep: Any) -> Any:
    graph = make().compile(checkpointer=RepositorySaver(keep.checkpoints))
    try:
        graph.invoke({"log": ["start"], "messages": [HumanMessage("hello", id="h1")]}, CONFIG, durability="sync")
    except RuntimeError:
        assert make is a_failure
    return graph


@pytest.mark.parametrize("make", GRAPHS)
def test_the_nodes_that_run_next_are_those_of_the_graph(valkey: Place, make: Callable[[], Any]) -> None:
    with valkey.connect() as keep:
        graph = ran(valkey, make, keep)
        history = list(graph.get_state_history(CONFIG))
        assert len(history) > 1
        saved = {found.checkpoint_id: found for found in keep.checkpoints.list("t", namespace="")}
        for state in history:
            checkpoint_id = state.config["configurable"]["checkpoint_id"]
            assert sorted(next_nodes(saved[checkpoint_id])) == sorted(task.name for task in state.tasks), state.metadata
            assert saved[checkpoint_id].metadata["step"] == state.metadata["step"]


def test_a_question_waits_until_it_is_answered(valkey: Place) -> None:
    with valkey.connect() as keep:
        graph = ran(valkey, a_question, keep)
        newest = valkey.run("show", "t", "--json").json_lines[0]
        assert newest["is_waiting"]
        states = {task["node"]: task["state"] for task in newest["tasks"]}
        assert states == {"ask": "interrupted", "beside": "done"}
        [asking] = [task for task in newest["tasks"] if task["node"] == "ask"]
        assert asking["interrupts"][0]["value"] == {"question": "go on?"}
        assert 'ask asks: {"question": "go on?"}' in valkey.run("show", "t").stdout
        graph.invoke(Command(resume="yes"), CONFIG)
        assert not any(step["is_waiting"] for step in valkey.run("show", "t", "--json").json_lines)
        assert "asks" not in valkey.run("show", "t").stdout


def test_a_failure_is_shown_with_its_task(valkey: Place) -> None:
    with valkey.connect() as keep:
        ran(valkey, a_failure, keep)
    ended = valkey.run("show", "t")
    assert "fail failed: RuntimeError('broken \\x1b[31m')" in ended.stdout.replace("\\\\", "\\")
    assert "\x1b" not in ended.stdout


def test_nested_graphs_are_shown_if_asked_for(valkey: Place) -> None:
    with valkey.connect() as keep:
        ran(valkey, a_nested_graph, keep)
    root = valkey.run("show", "t", "--json").json_lines
    everything = valkey.run("show", "t", "--all-namespaces", "--json").json_lines
    assert {step["namespace"] for step in root} == {""}
    [nested] = {step["namespace"] for step in everything} - {""}
    assert nested.startswith("inner:")
    assert len(valkey.run("show", "t", "--namespace", nested, "--json").json_lines) == len(everything) - len(root)


def test_messages_are_compared_by_their_ids(valkey: Place) -> None:
    with valkey.connect() as keep:
        graph = ran(valkey, chat, keep)
        graph.update_state(CONFIG, {"messages": [AIMessage("no", id="a1")]})
        before, after = [saved.checkpoint_id for saved in keep.checkpoints.list("t", limit=2)][::-1]
    found = valkey.run("diff", "t", before, after, "--json").json
    [messages] = [channel for channel in found["channels"] if channel["name"] == "messages"]
    [change] = messages["changes"]
    assert (change["path"], change["before"], change["after"]) == ("[id=a1].content", "yes", "no")


class Trap:
    """Its pickle would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (open, (str(self.path), "w"))


def test_nothing_is_executed_to_be_shown(valkey: Place, tmp_path: Path) -> None:
    import statekeep

    trap = tmp_path / "trap"
    serde = JsonPlusSerializer(pickle_fallback=True)
    # As LangGraph writes objects, of a class that exists: reading them would call it.
    import ormsgpack

    harmful = ormsgpack.packb(ormsgpack.Ext(0, ormsgpack.packb(("pathlib", "Path.touch", str(trap)))))
    called = ormsgpack.packb(ormsgpack.Ext(1, ormsgpack.packb(("builtins", "open", (str(trap), "w")))))
    open_ext = JsonPlusSerializer().loads_typed(("msgpack", called))
    open_ext.close()
    assert trap.exists()  # so it is a trap
    trap.unlink()
    payloads = {
        "pickle": statekeep.Payload(encoding="pickle", data=pickle.dumps(Trap(trap))),
        "called": statekeep.Payload(encoding="msgpack", data=called),
        "harmful": statekeep.Payload(encoding="msgpack", data=harmful),
        "secret": statekeep.Payload(encoding="msgpack+aes", data=b"\x00" * 64),
        "unknown": statekeep.Payload(encoding="\x1b[31m", data=b"\x00"),
        "damaged": statekeep.Payload(encoding="msgpack", data=b"\xc1"),
    }
    assert serde.dumps_typed(Trap(trap))[0] == "pickle"
    channels = {name: statekeep.Channel.of(1, payload) for name, payload in payloads.items()}
    with valkey.connect() as keep:
        keep.checkpoints.put(statekeep.Checkpoint(thread_id="t", checkpoint_id="1", channels=channels))
        keep.checkpoints.put(
            statekeep.Checkpoint(thread_id="t", checkpoint_id="2", channels={"n": channels["pickle"]}, parent_id="1")
        )
    for arguments in [("show", "t", "--state"), ("show", "t", "-c", "1"), ("diff", "t", "1", "2"), ("show", "t")]:
        for form in ([], ["--json"]):
            ended = valkey.run(*arguments, *form)
            assert ended.status == 0
            assert "\x1b" not in ended.stdout
    assert not trap.exists()
    shown = valkey.run("show", "t", "-c", "1", "--json").json["channels"]
    assert shown["called"]["value"] == {"$type": "builtins.open", "args": [str(trap), "w"]}
    assert shown["pickle"]["problem"] == "a pickle, which would have to be executed"
    assert len(shown["pickle"]["sha256"]) == 64
    assert "encrypted with 'aes'" in shown["secret"]["problem"]
    assert "does not know" in shown["unknown"]["problem"]
    assert "damaged" in shown["damaged"]["problem"]


def test_sizes_of_steps_add_up(valkey: Place) -> None:
    """What is new in all steps of a line is each stored value once."""
    with valkey.connect() as keep:
        ran(valkey, a_line, keep)
        found = list(keep.checkpoints.list("t"))
        stored = {
            (name, channel.version): len(channel.payload.data)
            for saved in found
            for name, channel in saved.channels.items()
            if channel.payload is not None
        }
        shown = list(steps(found))
    assert sum(step.bytes_new for step in shown) == sum(stored.values())
    for step, saved in zip(shown, found, strict=True):
        sizes = [len(c.payload.data) for c in saved.channels.values() if c.payload is not None]
        assert step.bytes_new + step.bytes_reused == sum(sizes)
