"""Items in the emulated AgentCore Memory and the oracle answer alike, but for what the backend declares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from attrs import evolve
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.aws import open_client
from statekeep.testing.aws import AgentCoreRules, AwsEmulator
from statekeep.testing.comparison import Clock, Expiry
from statekeep.testing.differences import Differences
from statekeep.testing.machines.items import item_machine_for
from statekeep.testing.tally import tally
from tests.integration.agentcore.emulated import hurry

from .kinds import QUICK
from .test_agentcore import PATIENT
from .test_agentcore import WORLDS as CHECKPOINT_WORLDS

DECLARED = Differences(batches_are_not_atomic=True, unsupported={"append", "pop"})

# The service forgets client tokens before the events of items end.
WORLDS = CHECKPOINT_WORLDS | {"agentcore, small pages": ("async", AgentCoreRules(page_size=2, trailing_token=True), [])}

RUNS = [name for name in WORLDS if not (QUICK and "," in name)]  # quick runs: the plain one

TTL = 1005.0
RENEWAL = 700.0
DAYS = 3
PACE = 100
"""Seconds of the service for each second of the items: events end after 2,592, and no two reads are 1,200 apart."""


class SharedClock(Clock):
    """The clock of a backend; that of the service goes with it, faster."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self.advance = advance

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "now" and "advance" in vars(self):
            self.advance((value - self.now) * PACE)
        super().__setattr__(name, value)

    def nanoseconds(self) -> int:
        return round(self.now * 1_000_000) * 1000


@pytest.mark.parametrize("expires", [False, True], ids=["", "expiry"])
@pytest.mark.parametrize("world", RUNS)
def test_agentcore_and_oracle_agree(world: str, expires: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)
    face, rules, faults = WORLDS[world]
    with AwsEmulator(agentcore=rules, faults=faults) as aws:
        boto_client = aws.client("bedrock-agentcore", config=PATIENT)
        # Oracles are copied with their clock, and with what its methods are bound to, but for functions.
        clock = SharedClock(lambda seconds: aws.clock.advance(seconds))  # noqa: PLW0108

        def made() -> AgentCoreItems:
            client = open_client("bedrock-agentcore", client=boto_client)
            if not expires:
                return AgentCoreItems(client, aws.agentcore.create_memory())
            memory_id = aws.agentcore.create_memory(event_expiry_days=DAYS)
            backend = AgentCoreItems(client, memory_id, ttl=TTL, renewal=RENEWAL, event_expiry_days=DAYS)
            backend._settings = evolve(backend._settings, clock=clock.nanoseconds)
            return backend

        @contextmanager
        def opened() -> Iterator[AgentCoreItems]:
            backend = made()
            yield backend
            backend.close()

        @asynccontextmanager
        async def aopened() -> AsyncIterator[AgentCoreItems]:
            backend = made()
            yield backend
            await backend.aclose()

        name = f"{world}, expiry" if expires else world
        machine = item_machine_for(
            opened if face == "blocking" else aopened,
            name=name,
            expiry=Expiry(clock, TTL) if expires else None,
            differences=DECLARED,
        )
        # Each step lists all that is there, and each call goes over HTTP.
        examples = 4 if QUICK else settings().max_examples
        run_state_machine_as_test(machine, settings=settings(max_examples=examples, stateful_step_count=20))
        tally("items", name).faults += aws.totals.faults
