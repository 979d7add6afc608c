"""Seeds, lengths and counts of the tests with faults."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Iterator

import pytest

from .tally import PROPERTY, Tally

_SESSION_SEED = os.environ.get("FAULT_SEED") or str(secrets.randbelow(10**9))

_FACTORS = {"quick": 1, "ci": 4, "nightly": 100}


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Tally]:
    """Counts, which are checked and reported when the test ends."""
    tally = Tally(_SESSION_SEED)
    yield tally
    request.node.user_properties.append((PROPERTY, tally.as_property()))
    tally.check()


@pytest.fixture
def source(request: pytest.FixtureRequest) -> random.Random:
    """Of all that is random in a test. Threads and processes still run as they like."""
    return random.Random(f"{_SESSION_SEED} {request.node.name}")


@pytest.fixture
def factor() -> int:
    """How many times as long as in a quick run."""
    return _FACTORS.get(os.environ.get("HYPOTHESIS_PROFILE", "quick"), 1)
