"""The same graph, before on another package's saver and after on Statekeep's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

import statekeep
from statekeep.langgraph_shim import RepositorySaver, migrate
from statekeep.repositories.connection import Connection

from .graphs import fan_out, growing, history, nested, questions, snapshot, thread, without_tasks
from .peers import SAVERS, Peers, unique


@pytest.fixture(params=SAVERS)
def kind(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def old(kind: str, peers: Peers) -> BaseCheckpointSaver[Any]:
    return peers.saver(kind)


@pytest.fixture
def keep(request: pytest.FixtureRequest, kind: str, prefix: str) -> Iterator[Connection]:
    """One package's data goes to a server, the others' into memory: what is read does not depend on it."""
    url = request.getfixturevalue("valkey_server").url if kind in ("sqlite", "aws") else "memory:"
    options: Any = {} if url == "memory:" else {"prefix": prefix}
    with statekeep.connect(url, **options) as keep:
        yield keep


def moved(old: BaseCheckpointSaver[Any], keep: Connection) -> RepositorySaver:
    report = migrate(old, keep.checkpoints, verify="all")
    assert report.checkpoints == report.checkpoints_put > 0
    assert report.verified == report.checkpoints
    return RepositorySaver(keep.checkpoints)


def assert_alike(kind: str, found: list[Any], expected: list[Any]) -> None:
    if kind == "redis":
        found, expected = without_tasks(found), without_tasks(expected)
    assert found == expected


def test_questions_are_answered_after_the_move(kind: str, old: BaseCheckpointSaver[Any], keep: Connection) -> None:
    ran: Counter[str] = Counter()
    builder, config = questions(ran), thread(unique("q"))
    before = builder.compile(checkpointer=old)
    before.invoke({"log": ["in"]}, config)
    before.invoke(Command(resume="one"), config)
    expected, state = history(before, config), snapshot(before.get_state(config))

    after = builder.compile(checkpointer=moved(old, keep))
    assert_alike(kind, history(after, config), expected)
    assert_alike(kind, [snapshot(after.get_state(config))], [state])
    assert [one.value for one in after.get_state(config).interrupts] == ["second?"]
    result = after.invoke(Command(resume="two"), config)
    assert result["log"] == ["in", "prepared", "one", "two"]
    assert [message.content for message in result["messages"]] == ["hello", "bye"]
    assert result["data"] == {"bytes": b"\x00\xff"}
    assert ran["prepare"] == 1


def test_tasks_that_were_done_are_not_done_again(kind: str, old: BaseCheckpointSaver[Any], keep: Connection) -> None:
    ran: Counter[str] = Counter()
    broken = {"b"}
    # One task after the other: the one that fails is the last.
    builder, config = fan_out(ran, broken), thread(unique("f")) | {"max_concurrency": 1}
    before = builder.compile(checkpointer=old)
    with pytest.raises(RuntimeError):
        before.invoke({"log": []}, config)
    expected = before.get_state(config)

    after = builder.compile(checkpointer=moved(old, keep))
    assert after.get_state(config).next == ("work",)
    if kind != "redis":
        assert expected.next == ("work",)
    broken.clear()
    assert after.invoke(None, config)["log"] == ["start", "c", "a", "b"]
    assert ran == {"a": 1, "b": 2, "c": 1}


def test_graphs_in_graphs(kind: str, old: BaseCheckpointSaver[Any], keep: Connection) -> None:
    ran: Counter[str] = Counter()
    builder, config = nested(ran), thread(unique("n"))
    before = builder.compile(checkpointer=old)
    before.invoke({"log": ["in"]}, config)
    inside = before.get_state(config, subgraphs=True).tasks[0].state
    expected = [*history(before, config), snapshot(inside), *history(before, inside.config)]

    after = builder.compile(checkpointer=moved(old, keep))
    found = after.get_state(config, subgraphs=True).tasks[0].state
    assert_alike(kind, [*history(after, config), snapshot(found), *history(after, found.config)], expected)
    assert len(expected) == 7
    result = after.invoke(Command(resume="yes"), config)
    assert result["log"][-3:] == ["inner", "yes", "after"]
    assert ran["inner"] == 1


def test_forks_and_time_travel(kind: str, old: BaseCheckpointSaver[Any], keep: Connection) -> None:
    ran: Counter[str] = Counter()
    builder, config = questions(ran), thread(unique("x"))
    before = builder.compile(checkpointer=old)
    before.invoke({"log": ["in"]}, config)
    start = list(before.get_state_history(config))[-1]
    fork = before.update_state(start.config, {"log": ["forked"]}, as_node="__start__")
    expected = history(before, config)

    saver = moved(old, keep)
    after = builder.compile(checkpointer=saver)
    assert_alike(kind, history(after, config), expected)
    assert_alike(kind, [snapshot(after.get_state(fork))], [snapshot(before.get_state(fork))])
    again = [found for found in after.get_state_history(config) if found.next == ("ask",)][-1]
    after.invoke(None, again.config)
    assert ran["prepare"] == 1


def test_delta_channels(kind: str, old: BaseCheckpointSaver[Any], keep: Connection) -> None:
    builder, config = growing(), thread(unique("d"))
    before = builder.compile(checkpointer=old)
    before.invoke({"count": 0}, config)
    states = [found[0] for found in history(before, config)]

    saver = moved(old, keep)
    after = builder.compile(checkpointer=saver)
    if kind != "redis":  # it finds only some of the writes that it has
        assert [found[0] for found in history(after, config)] == states
    assert after.get_state(config).values["often"] == [0, 1, 2, 3, 4]
    saver.prune([config["configurable"]["thread_id"]])
    assert after.get_state(config).values["often"] == [0, 1, 2, 3, 4]
    assert after.invoke({"count": 6}, config)["seldom"][:5] == ["s0", "s1", "s2", "s3", "s4"]
