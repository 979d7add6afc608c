"""Values that grow are stored and sent in pieces, each of them once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import pytest
import valkey
from langgraph.checkpoint.base import empty_checkpoint

from statekeep import Channel, Checkpoint, Payload, PrunePolicy, connect
from statekeep.domain import CorruptRecord, InvalidInput, MissingChannels
from statekeep.langgraph_shim import AgentCoreValkeySaver, AsyncValkeySaver, ValkeySaver
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.testing.servers import ValkeyServer

from .counting_proxy import CountingProxy
from .valkey_audit import audit

KB = 1000


@pytest.fixture
def proxy(valkey_server: ValkeyServer) -> Iterator[CountingProxy]:
    with CountingProxy(valkey_server.port) as proxy:
        yield proxy


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


def open_at(port: int, prefix: str, **options: Any) -> CheckpointRepository:
    return CheckpointRepository(ValkeyCheckpoints(client_for(valkey.Valkey(port=port)), prefix=prefix, **options))


@pytest.fixture
def keep(proxy: CountingProxy, prefix: str) -> Iterator[CheckpointRepository]:
    with open_at(proxy.port, prefix) as keep:
        for checkpoint in chat(2, 1, "warm"):
            keep.put(checkpoint)
        keep.get("warm")
        list(keep.list("warm", limit=1))
        keep.delete_thread("warm")
        yield keep


def payload(data: bytes) -> Payload:
    return Payload(encoding="raw", data=data)


def chat(steps: int, size: int, thread_id: str = "t") -> Iterator[Checkpoint]:
    """Checkpoints of a list of messages that grows, with its length in front."""
    source = random.Random(steps)
    messages = b""
    for step in range(steps):
        messages += source.randbytes(size)
        yield Checkpoint(
            thread_id=thread_id,
            checkpoint_id=f"{step:05}",
            parent_id=f"{step - 1:05}" if step else None,
            channels={"messages": Channel.of(step, payload(b"%05d" % step + messages))},
        )


def after(checkpoint: Checkpoint, number: int, channel: Channel) -> Checkpoint:
    return Checkpoint(
        thread_id=checkpoint.thread_id,
        checkpoint_id=f"{number:05}",
        parent_id=checkpoint.checkpoint_id,
        channels={"messages": channel},
    )


def values_key(prefix: str) -> str:
    return f"{prefix}:channel-values:{{t}}:"


def pieces_at(client: Any, prefix: str) -> list[bytes]:
    return sorted(name for name in client.hkeys(values_key(prefix)) if name.startswith(b"="))


@pytest.mark.parametrize(("steps", "size", "part"), [(100, 200, 0.2), (100, KB, 0.1), (1000, KB, 0.03)])
def test_what_is_new_is_sent_and_stored(
    keep: CheckpointRepository, proxy: CountingProxy, client: Any, prefix: str, steps: int, size: int, part: float
) -> None:
    sent, whole = [], 0
    for checkpoint in chat(steps, size):
        proxy.reset()
        keep.put(checkpoint)
        sent.append(proxy.sent)
        assert proxy.turns == 1
        whole += len(checkpoint.channels["messages"].payload.data)  # type: ignore[union-attr]
    stored = sum(client.memory_usage(key, samples=0) for key in client.scan_iter(f"{prefix}:*"))
    print(f"stored {stored / whole:.3f}, sent {sum(sent) / whole:.3f}, put {median(sent[90:110])}")
    assert stored < part * whole
    assert median(sent[90:110]) <= 6 * KB

    last = list(chat(steps, size))[-1]
    with open_at(proxy.port, prefix) as other:
        other.ping()
        proxy.reset()
        saved = other.get("t")
        assert proxy.turns == 1
        assert saved
        assert saved.channels == last.channels
    audit(client, prefix)


def test_every_version_is_read_and_each_piece_once(
    keep: CheckpointRepository, proxy: CountingProxy, prefix: str
) -> None:
    put = list(chat(60, KB))
    for checkpoint in put:
        keep.put(checkpoint)
    assert [saved.channels for saved in keep.list("t")] == [checkpoint.channels for checkpoint in reversed(put)]
    with open_at(proxy.port, prefix) as other:
        other.ping()
        proxy.reset()
        assert len(list(other.list("t", limit=10))) == 10
        assert proxy.turns == 2
        assert proxy.received < 160 * KB  # of 550 KB
    history = keep.ancestors("t", ["messages"], checkpoint_id="00059")["messages"]
    assert history.seed == put[58].channels["messages"].payload


def test_two_programs_take_turns(proxy: CountingProxy, prefix: str) -> None:
    sent = []
    with open_at(proxy.port, prefix) as one, open_at(proxy.port, prefix) as two:
        for step, checkpoint in enumerate(chat(100, KB)):
            keep = (one, two)[step % 2]
            keep.get("t")
            proxy.reset()
            keep.put(checkpoint)
            sent.append(proxy.sent)
            assert proxy.turns == 1
    assert median(sent[80:]) <= 6 * KB


def test_pieces_that_others_deleted_are_sent_again(
    keep: CheckpointRepository, proxy: CountingProxy, client: Any, prefix: str
) -> None:
    *before, last = chat(30, KB)
    for checkpoint in before:
        keep.put(checkpoint)
    client.hdel(values_key(prefix), *pieces_at(client, prefix))
    with pytest.raises(CorruptRecord, match="is gone"):
        keep.get("t")
    proxy.reset()
    keep.put(last)
    assert proxy.turns == 3  # a wrong guess, what is missing, all of it
    saved = keep.get("t")
    assert saved
    assert saved.channels == last.channels


def test_an_unchanged_value_that_lacks_a_piece_is_supplied(
    keep: CheckpointRepository, client: Any, prefix: str
) -> None:
    checkpoints = list(chat(30, KB))
    for checkpoint in checkpoints:
        keep.put(checkpoint)
    last = checkpoints[-1]
    given = last.channels["messages"].payload
    assert given
    keep.put(after(last, 30, Channel.earlier(29)))
    client.hdel(values_key(prefix), pieces_at(client, prefix)[0])
    with pytest.raises(MissingChannels):
        keep.put(after(last, 31, Channel.earlier(29)))
    keep.put(after(last, 31, Channel.earlier(29)), supply=lambda names: dict.fromkeys(names, given))
    for number in (29, 30, 31):  # those that refer to it are healed, too
        saved = keep.get("t", checkpoint_id=f"{number:05}")
        assert saved
        assert saved.channels["messages"].payload == given
    keep.put(after(last, 32, Channel.earlier(29)))
    keep.prune(["t"], PrunePolicy(keep=1))
    saved = keep.get("t")
    assert saved
    assert saved.channels["messages"].payload == given


def test_an_unchanged_value_brings_its_pieces(keep: CheckpointRepository, client: Any, prefix: str) -> None:
    checkpoints = list(chat(30, KB))
    for checkpoint in checkpoints:
        keep.put(checkpoint)
    last = checkpoints[-1]
    keep.put(after(last, 30, Channel.earlier(29)))
    # Of another version than its parent has: the manifest says which pieces it has.
    keep.put(after(last, 31, Channel.earlier(20)))
    keep.prune(["t"], PrunePolicy(keep=1))
    saved = keep.get("t")
    assert saved
    assert saved.channels["messages"].payload == checkpoints[20].channels["messages"].payload
    assert sum(client.hstrlen(values_key(prefix), name) for name in pieces_at(client, prefix)) < 22 * KB
    audit(client, prefix)
    keep.delete_thread("t")
    assert not list(client.scan_iter(f"{prefix}:*{{t}}*"))


@pytest.mark.parametrize(
    "damage",
    [lambda value: value[:-1], lambda value: value[1:], lambda value: value + b"1", lambda value: value[::-1], None],
    ids=["end", "start", "longer", "reversed", "gone"],
)
def test_damage_is_an_error(
    keep: CheckpointRepository, client: Any, prefix: str, damage: Callable[[bytes], bytes] | None
) -> None:
    for checkpoint in chat(5, KB):
        keep.put(checkpoint)
    good = keep.get("t")
    pieces = client.hget(values_key(prefix), "messages:i4").partition(b"\n")[0].split()
    assert len(pieces) > 1
    for field in [b"messages:i4", *pieces]:
        value = client.hget(values_key(prefix), field)
        if damage is None:
            client.hdel(values_key(prefix), field)
        else:
            client.hset(values_key(prefix), field, damage(value))
        with pytest.raises(CorruptRecord) as raised:
            keep.get("t")
        assert raised.value.key == values_key(prefix)
        client.hset(values_key(prefix), field, value)
    assert keep.get("t") == good


def test_no_cache_no_pieces(proxy: CountingProxy, client: Any, prefix: str) -> None:
    with open_at(proxy.port, prefix, value_cache=0) as keep:
        for checkpoint in chat(5, KB):
            keep.put(checkpoint)
    assert not pieces_at(client, prefix)
    with pytest.raises(InvalidInput, match="value_cache"):
        open_at(proxy.port, prefix, value_cache=-1)


@pytest.mark.parametrize("value_cache", [0, 1_000_000])
def test_a_connection_has_the_cache_it_is_given(
    valkey_server: ValkeyServer, client: Any, prefix: str, value_cache: int
) -> None:
    with connect(valkey_server.url, prefix=prefix, value_cache=value_cache) as keep:
        for checkpoint in chat(5, KB):
            keep.checkpoints.put(checkpoint)
    assert bool(pieces_at(client, prefix)) == bool(value_cache)
    for url in (valkey_server.url, "memory:"):
        with pytest.raises(InvalidInput, match="value_cache"):
            connect(url, value_cache=-1)


@pytest.mark.parametrize("value_cache", [0, 1_000_000])
@pytest.mark.parametrize("kind", [ValkeySaver, AsyncValkeySaver, AgentCoreValkeySaver])
def test_a_saver_has_the_cache_it_is_given(
    kind: Any, valkey_server: ValkeyServer, client: Any, prefix: str, value_cache: int
) -> None:
    saver = kind.from_conn_string(valkey_server.url, prefix=prefix, value_cache=value_cache)
    config: Any = {"configurable": {"thread_id": "t", "checkpoint_ns": "", "actor_id": "ada"}}
    texts: list[str] = []
    for version in range(1, 6):
        texts.append("".join(map(chr, range(33 * version, 33 * version + 1000))))
        checkpoint = empty_checkpoint() | {"channel_values": {"a": texts}, "channel_versions": {"a": version}}
        config = saver.put(config, checkpoint, {}, {"a": version})
        config["configurable"]["actor_id"] = "ada"
    asyncio.run(saver.aclose())
    [values] = client.scan_iter(f"{prefix}:*channel-values:*")
    assert any(name.startswith(b"=") for name in client.hkeys(values)) == bool(value_cache)


def test_actors_share_one_cache(valkey_server: ValkeyServer, prefix: str) -> None:
    with AgentCoreValkeySaver.from_conn_string(valkey_server.url, prefix=prefix) as saver:
        assert saver._backend_of("ada").value_cache is saver._backend_of("bob").value_cache
