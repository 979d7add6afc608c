"""What a user does with a graph, step by step, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

import hypothesis.strategies as st
from attrs import define, field, frozen
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from . import observation
from .building import World, build, written
from .plans import CHANNELS, Plan

Durability = Literal["sync", "async", "exit"]
Kind = Literal["begin", "go on", "answer", "answer one", "replay", "answer there", "update", "copy", "go to"]

STEPS = 14
"""Supersteps that a run may take."""


@frozen
class Action:
    """One call, or two.

    Attributes:
        kind: ``begin`` with new input; ``go on`` after an interrupt or a failure; ``answer`` all questions or one;
            ``replay`` from an earlier checkpoint; ``answer there``: replay with an answer; ``update`` the state at a
            checkpoint and go on from there; ``copy`` a checkpoint and go on; ``go to`` a node.
        place: which checkpoint of the history, from the newest; beyond the last one it is counted anew.
        node: who an update is from, where to go, who is broken: the number of a node.
        channels: what is put in or updated.
        broken: the node is broken during this action.
        goes_on: runs after an update or a copy.
        durability: as for ``invoke``.
        awaited: the async methods are called.
        reopened: with a saver that is new, over what is stored.
    """

    kind: Kind
    place: int = 0
    node: int = 0
    channels: tuple[str, ...] = ()
    broken: bool = False
    goes_on: bool = True
    durability: Durability = "async"
    awaited: bool = False
    reopened: bool = False


_KINDS: list[Kind] = ["begin", "go on", "answer", "answer", "answer", "answer one", "replay", "answer there"]
_KINDS += ["update", "update", "copy", "go to"]

_ACTIONS = st.builds(
    Action,
    st.sampled_from(_KINDS),
    place=st.integers(0, 6),
    node=st.integers(0, 9),
    channels=st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True).map(tuple),
    broken=st.sampled_from([False, False, False, True]),
    goes_on=st.booleans(),
    durability=st.sampled_from(["sync", "async", "exit"]),
    awaited=st.booleans(),
    reopened=st.sampled_from([False, False, True]),
)

SCRIPTS = st.lists(_ACTIONS, min_size=3, max_size=8)

CLOSING = [Action("answer", channels=("log",)), Action("go on"), Action("begin", channels=("log", "delta"))]
"""Actions that depend on the newest checkpoints alone."""


@define
class Player:
    """Plays a script on one saver.

    Attributes:
        plan: of the graph.
        open: makes a saver; each one sees what those before stored.
        runner: of the event loop in which async methods run.
        thread_id: the thread on which it plays.
    """

    plan: Plan
    open: Callable[[], BaseCheckpointSaver[str]]
    runner: asyncio.Runner
    world: World = field(factory=World, init=False)
    saver: BaseCheckpointSaver[str] = field(init=False)
    graph: Any = field(init=False)
    thread_id: str = field(default="thread 1", init=False)
    _count: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._reopen()

    def _reopen(self) -> None:
        self.saver = self.open()
        self.graph = build(self.plan, self.saver, self.world)

    def play(self, action: Action) -> dict[str, Any]:
        """Act, and return all that can be seen afterwards."""
        if action.reopened:
            self._reopen()
        breakable = self.plan.breakable
        if action.broken and breakable:
            self.world.broken = breakable[action.node % len(breakable)]
        names = observation.Names()
        outcome = observation.outcome(names, lambda: self._act(action))
        self.world.broken = None
        return {"outcome": outcome, "runs": dict(self.world.runs), **self.look()}

    def look(self) -> dict[str, Any]:
        """Return all that can be seen of the thread."""
        return observation.thread(self.graph, self.saver, self._config)

    @property
    def _config(self) -> Any:
        return {"configurable": {"thread_id": self.thread_id}}

    def _act(self, action: Action) -> Any:
        self._count += 1
        history = list(self.graph.get_state_history(self._config))
        newest = history[0] if history else None
        chosen = history[action.place % len(history)] if history else None
        then = chosen.config if chosen else self._config
        node = self.plan.nodes[action.node % len(self.plan.nodes)].name
        match action.kind:
            case "go on":
                return self._invoke(action, None, self._config)
            case "answer" | "answer one" if newest is not None and newest.interrupts:
                return self._invoke(action, self._answers(newest, one=action.kind == "answer one"), self._config)
            case "answer there" if chosen is not None and chosen.interrupts:
                return self._invoke(action, self._answers(chosen, one=bool(action.node % 2)), then)
            case "replay" if history:
                return self._invoke(action, None, then)
            case "update" if history:
                values = self._values(action)
                config = self._update(action, then, values, node if action.node % 2 else None)
                return self._invoke(action, None, config) if action.goes_on else None
            case "copy" if history:
                config = self._update(action, then, None, "__copy__")
                return self._invoke(action, None, config) if action.goes_on else None
            case "go to" if history:
                return self._invoke(action, Command(goto=node, update=self._update_once(action)), self._config)
        return self._invoke(action, self._values(action), self._config)

    def _values(self, action: Action) -> dict[str, Any]:
        return written(action.channels, 0, f"user{self._count}", {}, resets=False)

    def _update_once(self, action: Action) -> dict[str, Any]:
        """Return values, without that of ``last`` if one is pending.

        Two are an error, and LangGraph raises it without waiting for the writes that it has begun to store.
        """
        values = self._values(action)
        found = self.saver.get_tuple(self._config)
        if found and any(write[:2] == (observation.NULL_TASK, "last") for write in found.pending_writes or []):
            values.pop("last", None)
        return values

    def _answers(self, state: Any, *, one: bool) -> Command[Any]:
        asked = sorted(state.interrupts, key=lambda item: str(item.value))
        if one:
            asked = asked[:1]
        is_alone = len(state.next) == 1 and not any(task.error for task in state.tasks)
        if one and is_alone and len(state.interrupts) == 1:
            # Without an id: were there more tasks, the first one that asks would get it, whichever that happens to be.
            return Command(resume=f"!{self._count}")
        return Command(resume={item.id: f"!{self._count}{item.value.partition(' ')[0]}" for item in asked})

    def _invoke(self, action: Action, given: Any, config: Any) -> Any:
        config = {**config, "recursion_limit": STEPS}
        if action.awaited:
            return self.runner.run(self.graph.ainvoke(given, config, durability=action.durability))
        return self.graph.invoke(given, config, durability=action.durability)

    def _update(self, action: Action, config: Any, values: Any, node: str | None) -> Any:
        if action.awaited:
            return self.runner.run(self.graph.aupdate_state(config, values, as_node=node))
        return self.graph.update_state(config, values, as_node=node)
