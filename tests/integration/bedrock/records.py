"""Records for tests of Bedrock sessions, and the backend behind a repository."""

from __future__ import annotations

import random

from statekeep.domain import Payload, PendingWrite
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.checkpoints import CheckpointRepository


def backend(keep: CheckpointRepository) -> BedrockSessionCheckpoints:
    assert isinstance(keep.backend, BedrockSessionCheckpoints)
    return keep.backend


def letters(size: int, seed: object = 0) -> Payload:
    """A value that does not get smaller."""
    return Payload(encoding="bytes", data=random.Random(str(seed)).randbytes(size))


def write(value: str, task: str = "task", idx: int = 0) -> PendingWrite:
    return PendingWrite(task_id=task, idx=idx, channel="c", payload=Payload(encoding="json", data=value.encode()))
