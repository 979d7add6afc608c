"""The same history has the same results on two backends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.testing.pairs import paired

from . import differing_pair
from .kinds import KINDS, QUICK, SERVED, prefix

PAIRS = [("memory", "valkey-py")] if QUICK else [("memory", "valkey-py"), ("memory", "glide"), ("glide", "valkey-py")]


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_agree(kind: str, one: str, other: str, request: pytest.FixtureRequest) -> None:
    backends, options = KINDS[kind].backends, KINDS[kind].options
    # Hypothesis draws constants from the modules that are loaded, so none may be loaded between two examples.
    with backends[other].open(request, prefix(), **options) as opened:
        KINDS[kind].use(opened)
    machine = KINDS[kind].machine_for(
        lambda: backends[one].open(request, prefix(), **options), name=f"{one}, then {other}"
    )
    pair = paired(machine, lambda: backends[other].open(request, prefix(), **options))
    run_state_machine_as_test(pair, settings=settings(max_examples=SERVED))


def test_a_pair_that_differs_is_found() -> None:
    # In a process of its own: Hypothesis draws constants from the modules that are loaded, whatever tests ran before.
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", differing_pair.__name__], cwd=root, check=False, timeout=100)
    assert done.returncode == 0
