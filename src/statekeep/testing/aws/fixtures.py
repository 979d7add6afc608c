"""pytest fixtures. Use them by ``pytest_plugins = ["statekeep.testing.aws.fixtures"]`` in the top ``conftest.py``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import AwsEmulator


@pytest.fixture
def aws_emulator() -> Iterator[AwsEmulator]:
    """A fresh emulator for each test: ``aws_emulator.client("bedrock-agentcore")``, ``aws_emulator.memory_id``."""
    with AwsEmulator() as emulator:
        yield emulator
