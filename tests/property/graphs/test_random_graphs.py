"""Random graphs do the same on our savers as on LangGraph's InMemorySaver: results, states, histories, replays."""

from __future__ import annotations

import asyncio
import copy
import uuid
from collections.abc import Callable, Iterable, Iterator
from itertools import permutations
from typing import Any, cast

import pytest
from attrs import evolve
from hypothesis import Phase, example, given, settings
from langgraph.channels.named_barrier_value import NamedBarrierValue
from langgraph.channels.topic import Topic
from langgraph.checkpoint.base import CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import StateGraph

from statekeep.langgraph_shim import BedrockSessionSaver, RepositorySaver
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.memory import MemoryCheckpoints

from ..kinds import QUICK
from .mistakes import MISTAKES, WritesWithoutPath
from .observation import NULL_TASK, Names, differences, stored, thread
from .plans import PLANS, Node, Plan
from .savers import KINDS, DelayedSaver, Open, Storages, storages
from .scripts import CLOSING, SCRIPTS, Action, Player

SHARES = {"memory": 0.5, "agentcore": 0.1, "sessions": 0.1}
"""Examples of a kind, as a part of the profile's number."""

SLOW = {"agentcore", "sessions"}
"""Kinds whose services are emulated."""

SHARE = 0.2
"""Of the other kinds."""


PARALLEL = (
    Plan(tuple(Node(name, writes=("deltas",)) for name in "abc"), start=("c", "a", "b")),
    [Action("begin", channels=("log",))] * 8,
)
"""Tasks that write one delta channel: it is rebuilt in the order of their paths, or else of their random ids."""


@pytest.fixture(autouse=True)
def channels_that_hand_out_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    """LangGraph's own go on changing the list, or set, that a saver is given and may not have serialized yet."""
    for channel in (Topic, NamedBarrierValue):
        live: Callable[[Any], Any] = channel.checkpoint
        monkeypatch.setattr(channel, "checkpoint", lambda self, live=live: copy.copy(live(self)))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def check(found: Any, wanted: Any, after: object) -> None:
    if lines := differences(found, wanted):
        raise AssertionError("\n".join([f"{len(lines)} differences after {after}", *lines[:20]]))


def play_both(expected: Player, found: Player, script: list[Action]) -> None:
    for action in script:
        wanted = expected.play(action)
        check(found.play(action), wanted, action)


def compare(plan: Plan, script: list[Action], make: Storages, runner: asyncio.Runner) -> None:
    """Play a script on both; then copy the thread of ours, prune the copy and go on there.

    A thread that cannot be pruned goes on in another one, which has as little.
    """
    oracle = InMemorySaver()
    expected, found = Player(plan, lambda: oracle, runner), Player(plan, make(), runner)
    play_both(expected, found, script)

    found.saver.copy_thread(found.thread_id, "thread 2")
    found.thread_id = "thread 2"
    check(found.look(), expected.look(), "copying")
    if plan.has_calls_in_kept_graphs:
        return
    if isinstance(found.saver, BedrockSessionSaver):
        found.thread_id = found.saver.continue_thread(found.thread_id)
    else:
        found.saver.prune([found.thread_id])
    check(without_past(found.look()), without_past(expected.look()), "pruning")
    if has_strays(expected):
        return
    for action in CLOSING:
        wanted = without_past(expected.play(action))
        check(without_past(found.play(action)), wanted, f"pruning and {action}")


def has_strays(player: Player) -> bool:
    """Whether a delta channel will have a value from another branch as soon as it is written, unless that is pruned.

    A resume from a checkpoint that has children stores its writes there; on a branch that has not written the channel
    yet, LangGraph leaves them out of its own run, and replays them with the first write.
    """
    branches: dict[str, dict[str, CheckpointTuple]] = {}
    for found in player.saver.list({"configurable": {"thread_id": player.thread_id}}):
        place = found.config["configurable"]
        branches.setdefault(place["checkpoint_ns"], {})[place["checkpoint_id"]] = found
    for checkpoints in branches.values():
        newest = checkpoints[max(checkpoints)]
        ancestor: CheckpointTuple | None = newest
        while ancestor and ancestor.parent_config:
            ancestor = checkpoints.get(ancestor.parent_config["configurable"]["checkpoint_id"])
            for _, channel, _ in (ancestor and ancestor.pending_writes) or []:
                if channel.startswith("delta") and channel not in newest.checkpoint["channel_versions"]:
                    return True
    return False


def without_past(seen: dict[str, Any]) -> Any:
    """What does not tell whether there are earlier checkpoints, whose ids are counted too."""
    now = seen.get("now")
    if isinstance(now, dict):
        now = {name: now[name] for name in ("values", "next", "metadata")}
        now["tasks"] = [
            {
                "path": task["path"],
                "error": task["error"],
                "result": task["result"],
                "values": task["state"] and task["state"]["values"],
                "questions": [question for _, question, _ in task["interrupts"][1:]],
            }
            for task in seen["now"]["tasks"]
        ]
    return {"outcome": seen.get("outcome"), "runs": seen.get("runs"), "now": now}


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_does_the_same(kind: str, request: pytest.FixtureRequest, prefix: str, runner: asyncio.Runner) -> None:
    assert settings.default is not None
    examples = max(1, round(settings.default.max_examples * SHARES.get(kind, SHARE)))
    with storages(kind, request, prefix, runner) as make:
        plan, actions = PARALLEL

        @settings(max_examples=examples)
        @example(plan, actions[: 3 if QUICK and kind in SLOW else None])
        @given(PLANS, SCRIPTS)
        def agree(plan: Plan, script: list[Action]) -> None:
            compare(plan, script, make, runner)

        agree()


def test_chance_is_no_difference(runner: asyncio.Runner) -> None:
    """Between two of LangGraph's own savers, of which one stores by and by what comes in the background."""
    assert settings.default is not None

    @settings(max_examples=max(1, round(settings.default.max_examples * SHARE)))
    @given(PLANS, SCRIPTS)
    def agree(plan: Plan, script: list[Action]) -> None:
        oracle, delayed = InMemorySaver(), DelayedSaver()
        script = [evolve(action, durability="async") for action in script]
        play_both(Player(plan, lambda: oracle, runner), Player(plan, lambda: delayed, runner), script)

    agree()


class Noticed(Exception):
    """The savers differ, as they should."""


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_noticed(mistake: type[RepositorySaver], runner: asyncio.Runner) -> None:
    is_noticed = False

    def make() -> Open:
        backend = MemoryCheckpoints()
        return lambda: mistake(CheckpointRepository(backend))

    # The same examples in every run. One that shows the mistake is enough; nobody looks for the smallest.
    # Few random ones show that paths are missing, and each only if the ids of tasks happen to be in another order.
    phases = [Phase.explicit] if mistake is WritesWithoutPath else [Phase.generate]

    @settings(max_examples=100, derandomize=True, database=None, phases=phases)
    @example(*PARALLEL)
    @given(PLANS, SCRIPTS)
    def search(plan: Plan, script: list[Action]) -> None:
        nonlocal is_noticed
        if not is_noticed:
            try:
                compare(plan, script, make, runner)
            except Exception:
                is_noticed = True
        if is_noticed:
            raise Noticed

    with pytest.raises(Noticed):
        search()


class ListsTheOldestFirst(InMemorySaver):
    """The order of checkpoints of different namespaces is that of time, and so of the load of the machine."""

    def list(self, *args: Any, **kwargs: Any) -> Iterator[CheckpointTuple]:
        return iter(list(super().list(*args, **kwargs))[::-1])


def test_what_nobody_names_is_observed_alike_in_any_order() -> None:
    one, other, inner, twin = (str(uuid.UUID(int=number)) for number in (7, 3, 9, 1))
    spaces = {
        f"child:{one}": "x",
        f"child:{other}": "y",
        f"child:{other}|grand:{inner}": "z",
        f"child:{twin}": "x",
    }

    def observed(saver: InMemorySaver, order: list[str]) -> dict[str, Any]:
        for number, space in enumerate(order):
            config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": space}}
            checkpoint = empty_checkpoint() | {"id": str(uuid.UUID(int=number + 100))}
            checkpoint |= {"channel_values": {"a": spaces[space]}, "channel_versions": {"a": 1}}
            saver.put(config, cast(Any, checkpoint), {}, {"a": 1})
        builder = StateGraph(cast(Any, int)).add_node("n", lambda x: x).set_entry_point("n").set_finish_point("n")
        return thread(builder.compile(checkpointer=saver), saver, {"configurable": {"thread_id": "t"}})

    wanted = observed(InMemorySaver(), list(spaces))
    assert len(wanted) == 1 + len(spaces)
    for order in permutations(spaces):
        for saver in (InMemorySaver(), ListsTheOldestFirst()):
            assert not differences(observed(saver, list(order)), wanted), order


@pytest.mark.parametrize("number", [0.5, 1e-5])
def test_versions_are_named_whatever_their_random_part_looks_like(number: float) -> None:
    assert Names()(f"{3:032}.{number:016}") == "<3.0>"


def test_writes_are_observed_alike_in_any_order_of_tasks() -> None:
    """But those of one task in their order."""
    one, other = (str(uuid.UUID(int=number)) for number in (7, 3))
    puts: list[tuple[str, list[tuple[str, Any]]]] = [
        (NULL_TASK, [("log", ["x"])]),
        (one, [("__resume__", ["!"])]),
        (one, [("log", ["a"]), ("total", 1), ("log", ["b"])]),
        (other, [("__interrupt__", "?")]),
    ]

    def observed(order: Iterable[tuple[str, list[tuple[str, Any]]]]) -> Any:
        saver = InMemorySaver()
        config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        config = saver.put(config, empty_checkpoint(), {}, {})
        for task_id, writes in order:
            saver.put_writes(config, writes, task_id)
        found = saver.get_tuple(config)
        assert found is not None
        return stored(Names(), found)

    wanted = observed(puts)
    assert len(wanted["writes"]) == 6
    for order in permutations(puts):
        assert not differences(observed(order), wanted), order
    assert differences(observed([*puts[:2], (one, puts[2][1][::-1]), puts[3]]), wanted)


def test_strays_are_what_langgraph_replays_and_its_own_run_did_not_have(runner: asyncio.Runner) -> None:
    oracle = InMemorySaver()
    player = Player(Plan((Node("a", writes=("delta",), questions=1),), start=("a",)), lambda: oracle, runner)
    player.play(Action("begin", channels=("log",)))
    player.play(Action("update", channels=("log",), goes_on=False))
    player.play(Action("answer there", place=1))
    assert not has_strays(player)
    player.play(Action("update", place=1, channels=("log",), goes_on=False))
    assert has_strays(player)
    seen = player.play(Action("begin", channels=("delta",)))
    assert seen["outcome"]["delta"] == ["user5()"]
    assert seen["now"]["values"]["delta"] == ["a!3a?0(log1)", "user5()"]
