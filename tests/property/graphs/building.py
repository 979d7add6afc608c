"""Makes LangGraph's graphs of plans. What a node does depends on nothing but the plan, its state and the answers."""

from __future__ import annotations

import operator
import threading
import time
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypedDict

from attrs import define, field
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.channels.delta import DeltaChannel
from langgraph.channels.ephemeral_value import EphemeralValue
from langgraph.channels.topic import Topic
from langgraph.channels.untracked_value import UntrackedValue
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.pregel._task_status import CONTROL_WRITES
from langgraph.types import Command, Overwrite, RetryPolicy, Send, interrupt

from .plans import CHANNELS, SHARED, Node, Plan

PATIENCE = 60.0  # seconds that a node may have to wait for its siblings


class Broken(Exception):
    """A node fails until it is mended."""


class Flaky(Exception):
    """An attempt fails; the next one may not."""


@define
class World:
    """What nodes know beside their state.

    Attributes:
        runs: how often each node ran.
        broken: the node that fails.
    """

    runs: Counter[str] = field(factory=Counter)
    broken: str | None = None
    _attempts: Counter[tuple[str, str]] = field(factory=Counter)
    _steps: dict[str, tuple[Any, Any]] = field(factory=dict)
    _lock: threading.Lock = field(factory=threading.Lock)

    def enter(self, name: str, config: RunnableConfig) -> None:
        """Note that a node runs, and in which step of which run."""
        call = config["configurable"]["__pregel_call"].keywords
        with self._lock:
            self.runs[name] += 1
            self._steps[name] = (call["futures"](), call["schedule_task"].__self__)

    def attempt(self, node: Node, config: RunnableConfig) -> None:
        """Fail, as often as the plan says for each task."""
        key = (node.name, config["configurable"]["__pregel_task_id"])
        with self._lock:
            self._attempts[key] += 1
            number = self._attempts[key]
        if number <= node.failures:
            raise Flaky(f"{node.name}, attempt {number}")

    def fail(self, name: str) -> None:
        """Fail when all other tasks of the step have ended, in the graphs around as well.

        LangGraph stores what tasks wrote until one of them fails, so what is stored would be a matter of chance.
        """
        deadline = time.monotonic() + PATIENCE
        parts = name.split("_")
        for depth in range(len(parts), 0, -1):
            futures, loop = self._steps["_".join(parts[:depth])]
            while not _is_alone(futures, loop):
                if time.monotonic() > deadline:
                    raise AssertionError(f"tasks beside {name} do not end")
                time.sleep(0.001)
        raise Broken(name)


def _is_alone(futures: Any, loop: Any) -> bool:
    """Whether no other task of a step runs, or will.

    Those that an earlier run has finished do not run again, unless the step is one of the past that is replayed.
    """
    stored = {task for task, channel, _ in list(loop.checkpoint_pending_writes) if channel not in CONTROL_WRITES}
    finished_before = stored - set(loop._written_task_ids)  # read later than the writes, which are noted there first
    if loop.is_replaying:
        finished_before = set()
    scheduled = len(set(loop.tasks) - finished_before)
    return scheduled == 1 or (futures.counter <= 1 and len(futures.done) + futures.counter >= scheduled)


# -- state


def _later(old: Any, new: Any) -> Any:
    return new


def _extended(state: list[Any], writes: Sequence[list[Any]]) -> list[Any]:
    return [*state, *(item for write in writes for item in write)]


def _annotations(depth: int) -> dict[str, Any]:
    return {
        "log": Annotated[list[str], operator.add],
        "total": Annotated[int, operator.add],
        # In an inner graph an error would come up while other tasks of the outer one run.
        "last": Annotated[str, _later] if depth else str,
        "items": Annotated[dict[str, Any], operator.or_],
        "messages": Annotated[list[AnyMessage], add_messages],
        "topic": Annotated[list[str], Topic(str)],
        "topics": Annotated[list[str], Topic(str, accumulate=True)],
        "fleeting": Annotated[str, EphemeralValue(str, guard=False)],
        "untracked": Annotated[str, UntrackedValue(str, guard=False)],
        "delta": Annotated[list[str], DeltaChannel(_extended, snapshot_frequency=2)],
        "deltas": Annotated[list[str], DeltaChannel(_extended, snapshot_frequency=1000)],
    }


def key_of(channel: str, depth: int) -> str:
    """The name of a channel in graphs so deep within others."""
    return channel if channel in SHARED or depth == 0 else f"{channel}{depth}"


def _schema(depth: int) -> Any:
    fields = {key_of(name, depth): annotation for name, annotation in _annotations(depth).items()}
    return TypedDict(f"State{depth}", fields, total=False)  # type: ignore[operator]


SCHEMAS = [_schema(depth) for depth in range(3)]


def _size(value: Any) -> int:
    return value if isinstance(value, int) else 0 if value is None else len(value)


def _seen(state: Mapping[str, Any]) -> str:
    """What a node sees, in short: any difference shows in what it writes."""
    return ".".join(f"{key}{_size(state[key])}" for key in sorted(state) if state[key])


def written(channels: Sequence[str], depth: int, who: str, state: Mapping[str, Any], *, resets: bool) -> dict[str, Any]:
    """What somebody who sees a state writes to channels."""
    size = sum(_size(value) for value in state.values())
    mark = f"{who}({_seen(state)})"
    delta: Any = Overwrite([mark]) if resets else [mark]
    values: dict[str, Any] = {
        "log": [mark],
        "total": 1,
        "last": mark,
        "items": {who: size},
        # An id that replaces at every other time. LangGraph gives ids to those without, but while it stores them.
        "messages": [AIMessage(content=mark, id=f"{who} {size % 2}")],
        "topic": mark,
        "topics": [who, mark],
        "fleeting": mark,
        "untracked": mark,
        "delta": delta,
        "deltas": [mark] if resets else delta,
    }
    return {key_of(name, depth): values[name] for name in CHANNELS if name in channels}


# -- nodes


def _function(node: Node, depth: int, world: World) -> Any:
    def run(state: Any, config: RunnableConfig) -> Any:
        world.enter(node.name, config)
        if world.broken == node.name:
            world.fail(node.name)
        world.attempt(node, config)
        which = state.get("task", "")
        # Tasks of one node differ in their items, also in graphs within.
        place = zlib.crc32(repr(sorted(state.get("items", {}).items())).encode())
        answers = [interrupt(f"{node.name}{which}?{number} {place}") for number in range(node.questions)]
        who = "".join([node.name, which, *map(str, answers)])
        update = written(node.writes, depth, who, state, resets=node.resets)
        if node.leave == "command":
            return Command(update=update, goto=_choice(node, state))
        return update

    return run


def _choice(node: Node, state: Mapping[str, Any]) -> str:
    size = sum(_size(value) for value in state.values())
    return node.targets[size % len(node.targets)] or END


def _fan_out(node: Node, depth: int) -> Any:
    def sends(state: Any) -> list[Send]:
        mark = f"{node.name}({_seen(state)})"
        return [
            Send(node.targets[0], {"task": f"[{node.name}{number}]", "items": {mark: number}})
            for number in range(node.width)
        ]

    return sends


def _inner(node: Node, depth: int, world: World) -> Any:
    assert node.inner is not None
    graph = build(node.inner, True if node.keeps else None, world, depth + 1)

    def enter(state: Any, config: RunnableConfig) -> Any:
        world.enter(node.name, config)
        return state

    return RunnableLambda(enter) | graph


RETRIES = RetryPolicy(
    initial_interval=0, backoff_factor=1, max_interval=0, max_attempts=3, jitter=False, retry_on=Flaky
)


def build(plan: Plan, checkpointer: BaseCheckpointSaver[str] | bool | None, world: World, depth: int = 0) -> Any:
    """Compile a graph."""
    builder: Any = StateGraph(SCHEMAS[depth])
    for node in plan.nodes:
        does = _function(node, depth, world) if node.inner is None else _inner(node, depth, world)
        ends = tuple(target or END for target in node.targets) if node.leave == "command" else None
        builder.add_node(node.name, does, retry_policy=RETRIES, destinations=ends)
    for name in plan.start:
        builder.add_edge(START, name)
    for node in plan.nodes:
        targets = [target or END for target in node.targets]
        if node.leave == "edges":
            for target in targets:
                builder.add_edge(node.name, target)
        elif node.leave == "route":
            builder.add_conditional_edges(node.name, lambda state, node=node: _choice(node, state), targets)
        elif node.leave == "sends":
            builder.add_conditional_edges(node.name, _fan_out(node, depth), targets)
    for earlier, name in plan.joins:
        builder.add_edge(list(earlier), name)
    return builder.compile(
        checkpointer=checkpointer, interrupt_before=list(plan.before), interrupt_after=list(plan.after)
    )
