"""Fixtures of pytest for the emulator.

Put ``pytest_plugins = ["statekeep.testing.aws.fixtures"]`` into the top ``conftest.py``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from . import AwsEmulator

__all__ = ["aws_emulator"]


@pytest.fixture
def aws_emulator() -> Iterator[AwsEmulator]:
    """Yield a fresh emulator for each test.

    Use ``aws_emulator.client("bedrock-agentcore")`` and ``aws_emulator.memory_id``.
    """
    with AwsEmulator() as emulator:
        yield emulator
