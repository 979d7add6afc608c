"""Random graphs do the same on our savers as on LangGraph's InMemorySaver: results, states, histories, replays."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from langgraph.checkpoint.memory import InMemorySaver

from .observation import differences
from .plans import PLANS, Plan
from .savers import KINDS, Storages, storages
from .scripts import SCRIPTS, Action, Player

SHARES = {"memory": 1.0, "agentcore": 0.25}
"""Examples of each kind, as a part of the profile's number."""


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


def compare(plan: Plan, script: list[Action], make: Storages, runner: asyncio.Runner) -> None:
    """Play a script on both."""
    oracle = InMemorySaver()
    expected, found = Player(plan, lambda: oracle, runner), Player(plan, make(), runner)
    for action in script:
        wanted = expected.play(action)
        if lines := differences(found.play(action), wanted):
            raise AssertionError("\n".join([f"{len(lines)} differences after {action}", *lines[:20]]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_does_the_same(
    kind: str, request: pytest.FixtureRequest, prefix: str, runner: asyncio.Runner
) -> None:
    examples = max(1, round(settings.default.max_examples * SHARES.get(kind, 0.5)))
    with storages(kind, request, prefix, runner) as make:

        @settings(max_examples=examples)
        @given(PLANS, SCRIPTS)
        def check(plan: Plan, script: list[Action]) -> None:
            compare(plan, script, make, runner)

        check()
