"""Whatever is stored is the same after it was copied from one backend to another, and back."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import statekeep
from statekeep import Channel, Checkpoint, CheckpointRepository, ItemRepository, PendingWrite, PutItem
from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.agentcore.backend import AgentCoreCheckpoints
from statekeep.repositories.aws import open_client
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend
from statekeep.repositories.item_backend import ItemBackend
from statekeep.repositories.items import AsyncItemRepository
from statekeep.repositories.memory import MemoryCheckpoints, MemoryItems
from statekeep.repositories.valkey import ValkeyCheckpoints, ValkeyItems, client_from_url
from statekeep.testing import strategies as some
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.comparison import canonical
from statekeep.testing.servers import ValkeyServer
from tests.small_pages import small_pages

from .kinds import SERVED

Make = Callable[[], CheckpointBackend]


@contextmanager
def agentcore() -> Iterator[Make]:
    with AwsEmulator() as aws:
        boto_client = aws.client("bedrock-agentcore")

        def make() -> CheckpointBackend:
            client = open_client("bedrock-agentcore", client=boto_client)
            return AgentCoreCheckpoints(client, aws.agentcore.create_memory(), inline=1000)

        yield make


@contextmanager
def valkey(server: ValkeyServer) -> Iterator[Make]:
    client = client_from_url(server.url)
    try:
        yield lambda: ValkeyCheckpoints(client, prefix=f"t-{uuid.uuid4().hex[:12]}")
    finally:
        client.close()


@pytest.fixture
def worlds(valkey_server: ValkeyServer) -> Iterator[dict[str, Make]]:
    with ExitStack() as stack:
        yield {
            "memory": MemoryCheckpoints,
            "valkey": stack.enter_context(valkey(valkey_server)),
            "agentcore": stack.enter_context(agentcore()),
        }


@st.composite
def histories(draw: Any) -> tuple[list[Checkpoint], list[tuple[int, list[PendingWrite]]]]:
    """Checkpoints, most of them children that inherit channels, and pending writes of some."""
    found: list[Checkpoint] = []
    for one in draw(st.lists(some.checkpoints(), min_size=1, max_size=7)):
        delta = {"delta": Channel.replayed(f"delta {len(found)}")}
        fields: dict[str, Any] = {"channels": one.channels | delta}
        if found and draw(st.booleans()):
            parent = draw(st.sampled_from(found))
            inherited = {
                name: Channel.earlier(channel.version) if channel.payload is not None else channel
                for name, channel in parent.channels.items()
                if name != "delta"
            }
            fields = {
                "thread_id": parent.thread_id,
                "namespace": parent.namespace,
                "parent_id": parent.checkpoint_id,
                "channels": inherited | one.channels | delta,
            }
        found.append(one.model_copy(update=fields))
    writes = st.tuples(st.integers(0, len(found) - 1), st.lists(some.pending_writes(), min_size=1, max_size=3))
    return found, draw(st.lists(writes, max_size=4))


def everything(keep: CheckpointRepository) -> Any:
    threads = [thread.thread_id for thread in keep.list_threads()]
    return canonical([[dict(saved) for saved in keep.list(thread_id)] for thread_id in threads])


@pytest.mark.parametrize(("one", "other"), [("memory", "valkey"), ("memory", "agentcore"), ("valkey", "agentcore")])
def test_checkpoints_are_the_same_after_a_copy(one: str, other: str, worlds: dict[str, Make]) -> None:
    @settings(max_examples=SERVED, suppress_health_check=list(HealthCheck))
    @given(histories())
    def copied(history: Any) -> None:
        checkpoints, writes = history
        there, here, back = (CheckpointRepository(worlds[name]()) for name in (one, other, one))
        supply = {name: some_payload for put in checkpoints for name, some_payload in _payloads(put).items()}
        for put in checkpoints:
            there.put(put, supply=lambda names: {name: supply[name] for name in names if name in supply})
        for at, pending in writes:
            to = checkpoints[at]
            there.put_writes(to.thread_id, to.checkpoint_id, pending, namespace=to.namespace)
        before = everything(there)
        done = statekeep.copy(there, here)
        assert everything(here) == before
        assert statekeep.copy(there, here) == done
        assert everything(here) == before
        one_face, other_face = AsyncCheckpointRepository(here.backend), AsyncCheckpointRepository(back.backend)
        anyio.run(lambda: statekeep.acopy(one_face, other_face))
        assert everything(back) == before == everything(there)

    with small_pages():
        copied()


def _payloads(checkpoint: Checkpoint) -> dict[str, Any]:
    return {name: channel.payload for name, channel in checkpoint.channels.items() if channel.payload is not None}


@pytest.fixture
def item_worlds(valkey_server: ValkeyServer) -> Iterator[dict[str, Callable[[], ItemBackend]]]:
    client = client_from_url(valkey_server.url)
    with AwsEmulator() as aws:
        boto_client = aws.client("bedrock-agentcore")
        yield {
            "memory": MemoryItems,
            "valkey": lambda: ValkeyItems(client, prefix=f"t-{uuid.uuid4().hex[:12]}"),
            "agentcore": lambda: AgentCoreItems(
                open_client("bedrock-agentcore", client=boto_client), aws.agentcore.create_memory()
            ),
        }
    client.close()


@pytest.mark.parametrize(("one", "other"), [("memory", "valkey"), ("memory", "agentcore"), ("valkey", "agentcore")])
def test_items_are_the_same_after_a_copy(
    one: str, other: str, item_worlds: dict[str, Callable[[], ItemBackend]]
) -> None:
    def known(keep: ItemRepository) -> Any:
        """What a copy carries; ends to a second, as the clocks of two servers may tell them."""
        found = sorted(keep.search(limit=10_000), key=lambda item: (item.namespace, item.key))
        return [
            (item.namespace, item.key, canonical(item.value), None if item.expires_at is None else item.expires_at)
            for item in found
        ]

    def alike(one: Any, other: Any) -> bool:
        return len(one) == len(other) and all(
            a[:3] == b[:3] and (a[3] is b[3] if None in (a[3], b[3]) else abs((a[3] - b[3]).total_seconds()) < 1)
            for a, b in zip(one, other, strict=True)
        )

    @settings(max_examples=SERVED, suppress_health_check=list(HealthCheck))
    @given(st.lists(some.puts(expected=st.just(statekeep.ANY)), max_size=12))
    def copied(puts: list[PutItem]) -> None:
        there, here, back = (ItemRepository(item_worlds[name]()) for name in (one, other, one))
        there.batch(puts)
        before = known(there)
        assert statekeep.copy(there, here).items == len(before)
        assert alike(known(here), before)
        assert statekeep.copy(there, here).items == 0
        assert {item.version for item in here.search(limit=10_000)} <= {1}
        one_face, other_face = AsyncItemRepository(here.backend), AsyncItemRepository(back.backend)
        anyio.run(lambda: statekeep.acopy(one_face, other_face))
        assert alike(known(back), before)

    with small_pages():
        copied()
