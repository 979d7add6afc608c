"""Throttling, conflicts, errors, cut connections and slow answers of the emulated AgentCore Memory."""

from __future__ import annotations

import random
import time
from typing import Any

import pytest
from botocore.config import Config

from statekeep.domain import Conflict, Throttled, Unavailable
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.testing.aws import AwsEmulator, Fault, conflict, cut_after, cut_before, server_error, slow, throttle
from statekeep.testing.faces import awaited

from ..agentcore.emulated import hurry
from .crews import Face, under, writers
from .tally import Tally
from .work import Keeps

KINDS = ("throttled", "conflict", "server error", "cut before", "cut after", "slow")


def _faults(source: random.Random) -> list[Fault]:
    """Some of each kind, each for all operations or for those that write."""
    rate = source.uniform(0.01, 0.08)
    of: tuple[str, ...] = source.choice([(), ("CreateEvent", "DeleteEvent")])
    return [
        throttle(*of, rate=rate),
        conflict(rate=rate),
        server_error(*of, rate=rate),
        cut_before(*of, rate=rate),
        cut_after(*of, rate=rate),
        slow(0.4, *of, rate=rate),  # longer than the client waits
    ]


def _kind(call: Any) -> str | None:
    """Which fault hit a recorded call."""
    for name in call.faults:
        if name in KINDS:
            return str(name)
    return {429: "throttled", 409: "conflict", 500: "server error"}.get(call.status)


@pytest.mark.slow
@pytest.mark.parametrize("attempts", [1, 8])
@pytest.mark.parametrize("face", ["blocking", "async"])
def test_faults_of_the_service(
    face: Face,
    attempts: int,
    source: random.Random,
    tally: Tally,
    factor: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hurry(monkeypatch)
    tally.wanted = set(KINDS)
    crew = writers(source, tally, ["checkpoints"])
    for writer in crew:
        writer.refusals = (Unavailable, Throttled, Conflict)
    config = Config(
        read_timeout=0.2, max_pool_connections=16, retries={"mode": "standard", "total_max_attempts": attempts}
    )
    with AwsEmulator(seed=source.randrange(1000)) as aws, aws.record() as calls:

        def inject() -> None:
            end = time.monotonic() + 60 * factor
            for _ in range(3 * factor):
                aws.faults = _faults(source)
                time.sleep(source.uniform(0.5, 1.0))
            while not set(KINDS) <= {_kind(call) for call in list(calls)}:
                assert time.monotonic() < end, "some kind of fault never came about"
                aws.faults = _faults(source)
                time.sleep(0.3)
            aws.faults = []

        def keeps(client: Any) -> Keeps:
            # Small values are stored within checkpoints, large ones beside them;
            # nothing is old enough to be left alone.
            backend = AgentCoreCheckpoints(client, aws.memory_id, inline=600, grace=0)
            if face == "async":
                return Keeps(AsyncCheckpointRepository(backend))
            return Keeps(awaited(CheckpointRepository(backend)))

        under(
            inject,
            crew,
            lambda: open_client("bedrock-agentcore", session=aws.session(), config=config),
            keeps,
            face,
            source,
        )
        tally.faults.update(kind for call in calls if (kind := _kind(call)))
