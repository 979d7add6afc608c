"""Checkpoints in emulated sessions of Bedrock and the oracle answer alike, but for what the backend declares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.repositories.aws import open_client
from statekeep.repositories.bedrock_sessions import BedrockSessionCheckpoints
from statekeep.repositories.checkpoints import CheckpointBackend
from statekeep.testing.aws import AwsEmulator, Fault, SessionRules, cut_after, throttle
from statekeep.testing.differences import Differences
from statekeep.testing.machines.checkpoints import machine_for
from statekeep.testing.tally import tally
from tests.integration.agentcore.emulated import PATIENT, hurry
from tests.integration.bedrock.named import NamedThreads

from .kinds import QUICK

DECLARED = Differences(unsupported={"delete_runs", "prune"})
"""The service deletes no steps."""

WORLDS: dict[str, tuple[str, SessionRules, list[Fault]]] = {
    "sessions": ("blocking", SessionRules(), []),
    "sessions, small pages, late listings": ("async", SessionRules(page_size=2, list_lag=1.0), []),
    "sessions, faults": ("blocking", SessionRules(), [throttle(rate=0.02), cut_after(rate=0.02)]),
}

RUNS = [name for name in WORLDS if not (QUICK and "faults" in name)]


@pytest.mark.parametrize("world", RUNS)
def test_sessions_and_oracle_agree(world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    face, rules, faults = WORLDS[world]
    with AwsEmulator(bedrock_sessions=rules, faults=faults) as aws:
        boto_client = aws.client("bedrock-agent-runtime", config=PATIENT)

        def made() -> NamedThreads:
            aws.bedrock_sessions.delete_sessions()
            client = open_client("bedrock-agent-runtime", client=boto_client)
            return NamedThreads(BedrockSessionCheckpoints(client, inline=1000))

        @contextmanager
        def opened() -> Iterator[CheckpointBackend]:
            backend = made()
            yield backend
            backend.close()

        @asynccontextmanager
        async def aopened() -> AsyncIterator[CheckpointBackend]:
            backend = made()
            yield backend
            await backend.aclose()

        machine = machine_for(opened if face == "blocking" else aopened, name=world, differences=DECLARED)
        # Each step lists all threads, and each call goes over HTTP.
        examples = 8 if QUICK else settings().max_examples
        run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=20))
        tally("checkpoints", world).faults += aws.totals.faults
