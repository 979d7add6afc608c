"""One emulator and client for each module, and a memory for each test.

Modules that need another kind of service have fixtures of these names.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from statekeep.testing.aws import AwsEmulator

from .emulated import ONE_ATTEMPT, Memory


@pytest.fixture(scope="module")
def aws() -> Iterator[AwsEmulator]:
    with AwsEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def boto_client(aws: AwsEmulator) -> Any:
    return aws.client("bedrock-agentcore", config=ONE_ATTEMPT)


@pytest.fixture
def memory(aws: AwsEmulator) -> Memory:
    return Memory(aws, aws.agentcore.create_memory())
