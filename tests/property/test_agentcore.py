"""Checkpoints in the emulated AgentCore Memory and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import Carry, Channel, Checkpoint, Payload
from statekeep.repositories.agentcore.checkpoints import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import CheckpointBackend
from statekeep.testing.aws import AgentCoreRules, AwsEmulator
from statekeep.testing.machine import CheckpointMachine
from statekeep.testing.oracle import Oracle


class AgentCoreOracle(Oracle):
    """Leaves undefined what this backend does not look for, as that would read a whole namespace at each put.

    That is the value of a ``replayed`` channel anywhere but in the parent; the value of a channel that the parent has
    without one, if it may be without; and which of several values a version has that forks stored.
    """

    def resolved(self, checkpoint: Checkpoint, name: str) -> tuple[bool, Payload | None]:
        is_clear, payload = super().resolved(checkpoint, name)
        channel = checkpoint.channels[name]
        stored = self.checkpoints.get((checkpoint.thread_id, checkpoint.namespace), {})
        parent = stored.get(checkpoint.parent_id or "")
        inherited = parent.channels.get(name) if parent is not None else None
        is_same = inherited is not None and _is_version(inherited, channel)
        if inherited is not None and is_same and inherited.payload is not None:
            return is_clear, payload
        if payload is not None and (
            channel.carry is Carry.REPLAYED or (channel.carry is not Carry.EARLIER and is_same)
        ):
            return False, payload
        others = [kept.channels[name] for kept in stored.values() if name in kept.channels]
        found = [other.payload for other in others if other.payload is not None and _is_version(other, channel)]
        return is_clear and all(one == payload for one in found), payload


def _is_version(one: Channel, other: Channel) -> bool:
    return type(one.version) is type(other.version) and one.version == other.version


def agentcore_machine(make: Callable[[], Any]) -> type[CheckpointMachine]:
    class AgentCoreMachine(CheckpointMachine):
        make_backend = staticmethod(make)
        expiry = None

        def __init__(self) -> None:
            super().__init__()
            self.oracle = AgentCoreOracle()

    return AgentCoreMachine


@pytest.mark.parametrize(
    ("face", "rules"),
    [
        ("blocking", AgentCoreRules()),
        ("async", AgentCoreRules(page_size=2, trailing_token=True, token_life=1e9)),
    ],
    ids=["blocking", "async, small pages"],
)
def test_agentcore_and_oracle_agree(face: str, rules: AgentCoreRules) -> None:
    with AwsEmulator(agentcore=rules) as aws:
        boto_client = aws.client("bedrock-agentcore")

        def made() -> CheckpointBackend:
            client = open_client("bedrock-agentcore", client=boto_client)
            return AgentCoreCheckpoints(client, aws.agentcore.create_memory(), inline=1000, grace=0)

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

        machine = agentcore_machine(opened if face == "blocking" else aopened)
        # Each step lists all threads, and each call goes over HTTP.
        run_state_machine_as_test(machine, settings=settings(stateful_step_count=20))
