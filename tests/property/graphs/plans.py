"""Random graphs, as plain values that hypothesis can draw, show and shrink; ``building`` makes graphs of them."""

from __future__ import annotations

from typing import Literal

import hypothesis.strategies as st
from attrs import evolve, frozen

Leave = Literal["edges", "route", "sends", "command"]

CHANNELS = (
    "log",  # lists, added
    "total",  # numbers, added
    "last",  # one value; two tasks of a step that write it are an error
    "items",  # dicts, merged
    "messages",  # LangGraph's, merged by id
    "topic",  # emptied with each step
    "topics",  # a topic that is not
    "fleeting",  # gone after the next step
    "untracked",  # never stored
    "delta",  # rebuilt from writes, with a snapshot at every second update
    "deltas",  # without any snapshot
)
SHARED = ("items", "messages")
"""What a graph and the graphs within have in common; writing it twice changes nothing."""

NAMES = "abcde"


@frozen
class Node:
    """One node.

    Attributes:
        name: unique in the whole graph; nodes of an inner graph begin with the name of the outer node.
        writes: channels.
        questions: how many interrupts it makes, one after the other.
        failures: so many attempts of each task fail before one succeeds.
        resets: writes to channels that are deltas replace the value instead of adding to it; in an inner graph, those
            of one node at most.
        inner: a graph that runs as this node, which then does nothing else.
        keeps: the inner graph goes on, from call to call, with the state that it had.
        leave: how its successors are found: all of ``targets``; one of them by the state; several tasks of the first
            one; or one of them as the node itself says.
        targets: successors; an empty text stands for the end.
        width: how many tasks ``sends`` makes.
    """

    name: str
    writes: tuple[str, ...] = ()
    questions: int = 0
    failures: int = 0
    resets: bool = False
    inner: Plan | None = None
    keeps: bool = False
    leave: Leave = "edges"
    targets: tuple[str, ...] = ("",)
    width: int = 1


@frozen
class Plan:
    """A graph.

    Attributes:
        nodes: in the order in which edges lead, but for those of ``route`` that lead back.
        start: successors of the start.
        joins: (earlier nodes, node): it runs when all the others have run.
        before: nodes before which every run is interrupted.
        after: nodes after which it is.
    """

    nodes: tuple[Node, ...]
    start: tuple[str, ...]
    joins: tuple[tuple[tuple[str, ...], str], ...] = ()
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()

    @property
    def breakable(self) -> list[str]:
        """Nodes that may be broken for a while: those of which a step never has two tasks."""
        several = {node.targets[0] for node in self.nodes if node.leave == "sends"}
        found = []
        for node in self.nodes:
            if node.name in several:
                continue
            found += node.inner.breakable if node.inner is not None else [node.name]
        return found

    @property
    def has_calls_in_kept_graphs(self) -> bool:
        """Whether a graph that keeps its state has others within.

        What these have stored may belong to a step of the outermost graph that is pruned, although the graph around
        them would still go on from there. LangGraph's own savers prune it, too.
        """
        inner = [(node.keeps, node.inner) for node in self.nodes if node.inner is not None]
        return any(
            (keeps and any(node.inner is not None for node in plan.nodes)) or plan.has_calls_in_kept_graphs
            for keeps, plan in inner
        )


@st.composite
def _nodes(draw: st.DrawFn, prefix: str, depth: int) -> tuple[Node, ...]:
    count = draw(st.integers(2, 5 if depth == 0 else 3))
    names = [f"{prefix}{letter}" for letter in NAMES[:count]]
    nodes = []
    for place, name in enumerate(names):
        later = [*names[place + 1 :], ""]
        node = Node(
            name,
            writes=tuple(draw(st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=4, unique=True))),
            questions=draw(st.sampled_from([0, 0, 0, 1, 2])),
            failures=draw(st.sampled_from([0, 0, 0, 0, 1, 2])),
            resets=draw(st.sampled_from([False, False, False, True])),
            leave=draw(st.sampled_from(["edges", "edges", "route", "sends", "command"])),
            targets=tuple(draw(st.lists(st.sampled_from(later), min_size=1, max_size=2, unique=True))),
        )
        if node.leave == "sends":
            node = evolve(node, targets=node.targets[:1], width=draw(st.integers(1, 3)))
            if node.targets == ("",):
                node = evolve(node, leave="edges")
        if node.leave in ("route", "command") and depth == 0:  # perhaps back again; a run has a limit of steps
            node = evolve(node, targets=(*node.targets, draw(st.sampled_from(names))))
        if depth < 2 and draw(st.sampled_from([False] * (3 + 3 * depth) + [True])):
            node = evolve(node, inner=draw(_plans(f"{name}_", depth + 1)), keeps=draw(st.booleans()))
            if node.leave == "command":
                node = evolve(node, leave="route")
        nodes.append(node)
    several = {node.targets[0] for node in nodes if node.leave == "sends"}
    if depth:
        nodes = _without_clashes(nodes, several)
    return tuple(_forgetful(node) if node.name in several else node for node in nodes)


def _without_clashes(nodes: list[Node], several: set[str]) -> list[Node]:
    """Let one task of a step reset a channel: two are an error, which would end tasks of the graph around it."""
    allowed = next((node.name for node in nodes if node.resets and node.name not in several), None)
    return [evolve(node, resets=node.name == allowed) for node in nodes]


def _forgetful(node: Node) -> Node:
    """Tasks of one step must not share a state that is kept: what comes of it is a matter of chance."""
    if node.inner is None:
        return node
    return evolve(node, keeps=False, inner=evolve(node.inner, nodes=tuple(map(_forgetful, node.inner.nodes))))


@st.composite
def _plans(draw: st.DrawFn, prefix: str = "", depth: int = 0) -> Plan:
    nodes = draw(_nodes(prefix, depth))
    names = [node.name for node in nodes]
    some = st.lists(st.sampled_from(names), max_size=1)
    joins = []
    if len(names) > 2 and draw(st.booleans()):
        joins.append(((names[0], names[1]), names[-1]))
    return Plan(
        nodes,
        start=tuple(draw(st.lists(st.sampled_from(names[:3]), min_size=1, max_size=3, unique=True))),
        joins=tuple(joins),
        before=tuple(draw(some)) if draw(st.integers(0, 3)) == 3 else (),
        after=tuple(draw(some)) if draw(st.integers(0, 3)) == 3 else (),
    )


PLANS = _plans()
