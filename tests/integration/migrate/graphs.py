"""Graphs that run before on another saver, and after on one of Statekeep's."""

from __future__ import annotations

import operator
from collections import Counter
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Send, interrupt


class State(TypedDict, total=False):
    log: Annotated[list[str], operator.add]
    messages: Annotated[list[Any], add_messages]
    data: Any


def thread(thread_id: str, **more: Any) -> Any:
    return {"configurable": {"thread_id": thread_id, **more}}


def questions(ran: Counter[str]) -> Any:
    """A node that asks two questions; what is before it does not run again when they are answered."""

    def prepare(state: State) -> State:
        ran["prepare"] += 1
        return {"log": ["prepared"], "messages": [HumanMessage("hello", id="1")], "data": {"bytes": b"\x00\xff"}}

    def ask(state: State) -> State:
        ran["ask"] += 1
        return {"log": [interrupt("first?"), interrupt("second?")], "messages": [AIMessage("bye", id="2")]}

    builder = StateGraph(State).add_node("prepare", prepare).add_node("ask", ask)
    return builder.add_edge(START, "prepare").add_edge("prepare", "ask").add_edge("ask", END)


def fan_out(ran: Counter[str], broken: set[str]) -> Any:
    """Tasks side by side, one of which fails as long as it is broken."""

    def work(state: Any) -> State:
        ran[state["name"]] += 1
        if state["name"] in broken:
            raise RuntimeError(f"{state['name']} is broken")
        return {"log": [state["name"]]}

    def send(state: State) -> list[Send]:
        return [Send("work", {"name": name}) for name in ("c", "a", "b")]

    builder = StateGraph(State).add_node("start", lambda state: {"log": ["start"]}).add_node("work", work)
    builder.add_edge(START, "start").add_conditional_edges("start", send, ["work"])
    return builder.add_edge("work", END)


def nested(ran: Counter[str]) -> Any:
    """A graph in a graph, which asks."""

    def inner_first(state: State) -> State:
        ran["inner"] += 1
        return {"log": ["inner"]}

    inner = StateGraph(State).add_node("first", inner_first)
    inner.add_node("ask", lambda state: {"log": [interrupt("inside?")]})
    inner.add_edge(START, "first").add_edge("first", "ask").add_edge("ask", END)
    outer = StateGraph(State).add_node("before", lambda state: {"log": ["before"]})
    outer.add_node("inside", inner.compile()).add_node("after", lambda state: {"log": ["after"]})
    outer.add_edge(START, "before").add_edge("before", "inside").add_edge("inside", "after")
    return outer.add_edge("after", END)


def append(left: list[Any], right: list[Any]) -> list[Any]:
    return left + [one for some in right for one in some]


class Growing(TypedDict, total=False):
    often: Annotated[list[Any], DeltaChannel(append, snapshot_frequency=3)]
    seldom: Annotated[list[Any], DeltaChannel(append, snapshot_frequency=1000)]
    count: int


def growing() -> Any:
    """A graph whose state is rebuilt from what ancestors wrote."""

    def grow(state: Growing) -> Growing:
        count = state.get("count", 0)
        return {"often": [count], "seldom": [f"s{count}"], "count": count + 1}

    def again(state: Growing) -> str:
        return "grow" if state["count"] % 5 else END

    builder = StateGraph(Growing).add_node("grow", grow)
    return builder.add_edge(START, "grow").add_conditional_edges("grow", again, ["grow", END])


def snapshot(found: Any) -> Any:
    """What a user sees of a state."""
    tasks = [
        (task.id, task.name, tuple(task.path), task.error, tuple((one.value, one.id) for one in task.interrupts))
        for task in found.tasks
    ]
    places = [_place(config) for config in (found.config, found.parent_config)]
    return found.values, found.metadata, found.created_at, *places, found.next, tasks


def _place(config: Any) -> Any:
    names = ("thread_id", "checkpoint_ns", "checkpoint_id")
    return None if config is None else [config["configurable"].get(name) for name in names]


def without_tasks(states: list[Any]) -> list[Any]:
    """Leave out what langgraph-checkpoint-redis does not find of its own writes: those that were put before a state."""
    return [state[:-2] for state in states]


def history(graph: Any, config: Any) -> list[Any]:
    """Return all states of a thread and namespace, each read by itself.

    In listings of langgraph-checkpoint-redis objects are not made, and there are other namespaces; in those of
    langgraph-checkpoint-aws the id of a checkpoint means nothing.
    """
    namespace = config["configurable"].get("checkpoint_ns", "")
    place = thread(config["configurable"]["thread_id"], checkpoint_ns=namespace)
    listed = [found.config for found in graph.get_state_history(place)]
    chosen = [found for found in listed if found["configurable"]["checkpoint_ns"] == namespace]
    return [snapshot(graph.get_state(found)) for found in chosen]
