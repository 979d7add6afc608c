"""The end of whole threads, and their sizes, key by key."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from statekeep import Channel, Checkpoint
from statekeep.domain import AccessDenied
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.operation import Operation, run
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys, run_key, thread_index_keys
from statekeep.repositories.valkey.checkpoints.upkeep import expire, measure
from statekeep.repositories.valkey.requests import Commands, Request
from statekeep.testing.servers import ValkeyServer

from .valkey_audit import audit
from .valkey_kinds import chain, payload, write

HOUR = 3600.0


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture(params=[False, True], ids=["", "small pages"])
def pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps as they are, and steps of one record."""
    if request.param:
        monkeypatch.setattr(expire, "PAGE", 1)
        monkeypatch.setattr(expire, "CHUNK", 1)
        monkeypatch.setattr(measure, "CHUNK", 1)


def opened(client: Any, prefix: str, **options: Any) -> CheckpointRepository:
    return CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, **options))


def fill(keep: CheckpointRepository, thread: str = "t") -> None:
    """Two namespaces, forks, pending writes, and some whose checkpoint is not there."""
    for namespace in ("", "n:1"):
        for checkpoint in chain(thread, 4, namespace, run_id="run"):
            keep.put(checkpoint)
        fork = Channel.of(2, payload(b"of the fork"))
        keep.put(
            Checkpoint(
                thread_id=thread,
                namespace=namespace,
                checkpoint_id="fork",
                parent_id="00001",
                channels={"counter": fork, "constant": Channel.earlier(1), "delta": Channel.replayed(1)},
                metadata={"run_id": "other"},
            )
        )
        keep.put_writes(thread, "00003", [write("a", 0), write("b", -1)], namespace=namespace)
        keep.put_writes(thread, "fork", [write("a", 0)], namespace=namespace)
        keep.put_writes(thread, "none", [write("early", 0)], namespace=namespace)


def keys_of(client: Any, prefix: str, thread: str = "t") -> dict[str, float]:
    """Each key of the thread with its end in milliseconds."""
    found: dict[str, float] = {}
    for name in client.scan_iter(f"{prefix}:*"):
        key = name.decode()
        if f"{{{thread}}}" in key:
            end = int(client.execute_command("PEXPIRETIME", key))
            found[key] = math.inf if end == -1 else float(end)
    return found


def is_sound(client: Any, prefix: str) -> bool:
    found = audit(client, prefix)
    assert found.problems == []
    return True


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("ttl", [None, 60.0, 20 * HOUR])
def test_all_keys_of_a_thread_end_together(client: Any, prefix: str, ttl: float | None) -> None:
    keep = opened(client, prefix, ttl=ttl)
    fill(keep)
    before = list(keep.list("t"))
    for life in (HOUR, 30.0, 2 * HOUR):
        assert keep.expire("t", life)
        ends = set(keys_of(client, prefix).values())
        assert len(ends) == 1
        assert is_sound(client, prefix)
        end = ends.pop()
        assert abs(end / 1000 - time.time() - life) < 20
        assert client.zscore(thread_index_keys(prefix)[2], "t") == end
        entries = client.zrange(namespace_keys(prefix, "t", "").expiry, 0, -1, withscores=True)
        assert {score for _, score in entries} == {end}
        # The values are known by their ends, so that those end which later checkpoints do not use.
        fields = {b"v" + name for name in client.hkeys(namespace_keys(prefix, "t", "").values)} - {b"vgeneration"}
        assert {name for name, _ in entries if name[:1] == b"v"} == fields
        assert list(keep.list("t")) == before
        left = client.pttl(run_key(prefix, "run"))
        assert left == -1 or left > 1000 * min(life, HOUR)


@pytest.mark.usefixtures("pages")
@pytest.mark.parametrize("ttl", [None, 60.0])
def test_all_keys_of_a_thread_last(client: Any, prefix: str, ttl: float | None) -> None:
    keep = opened(client, prefix, ttl=ttl)
    fill(keep)
    keep.expire("t", 30)
    assert keep.expire("t", None)
    assert is_sound(client, prefix)
    early = namespace_keys(prefix, "t", "").write("none:early:0:items")
    for key, end in keys_of(client, prefix).items():
        if "none:early" in key:
            assert abs(end / 1000 - time.time() - 86_400) < 60
        else:
            assert end == math.inf, key
    entries = client.zrange(namespace_keys(prefix, "t", "").expiry, 0, -1)
    assert {name[:1] for name in entries} == {b"o", b"w"} if ttl is None else {b"w"}
    assert client.pttl(early) > 0
    assert client.zscore(thread_index_keys(prefix)[2], "t") is None
    assert client.pttl(run_key(prefix, "run")) == client.pttl(run_key(prefix, "other")) == -1
    # All is as if it had been put for ever: the shortest way of a put is open again.
    keep.delete_thread("t")


def test_a_thread_that_lasts_again_is_put_to_in_the_shortest_way(client: Any, prefix: str) -> None:
    keep = opened(client, prefix)
    first, second, third = chain("t", 3)
    keep.put(first)
    keep.put(second)
    keep.expire("t", HOUR)
    keep.expire("t", None)
    assert client.exists(namespace_keys(prefix, "t", "").expiry) == 0
    keep.put(third)
    assert is_sound(client, prefix)


def interrupted(
    keep: CheckpointRepository, operation: Operation[Any], at: int, act: Callable[[], object], *, ends: bool = False
) -> bool:
    """Act before a request of an operation; return whether it has so many.

    Args:
        keep: answers the requests.
        operation: to run.
        at: the number of the request.
        act: what to do.
        ends: whether the operation is cut off there.
    """
    reply: Any = None
    number = 0
    try:
        while True:
            request: Request = operation.send(reply)
            if number == at:
                act()
                if ends:
                    operation.close()
                    return True
            reply = keep.backend.execute(request)
            number += 1
    except StopIteration:
        return number > at


LATER = chain("t", 5)[-1]
LONG = {"ttl": 9 * HOUR, "refresh_on_read": True}
Open = Callable[..., CheckpointRepository]

OTHERS: dict[str, Callable[[Open], object]] = {
    "put for ever": lambda other: other().put(LATER),
    "put for long": lambda other: other(**LONG).put(LATER),
    "put briefly": lambda other: other(ttl=50.0).put(LATER),
    "put again": lambda other: other().put(chain("t", 3)[-1]),
    "write": lambda other: other().put_writes("t", "00003", [write("c", 0), write("b", -1, b"new")]),
    "write for long": lambda other: other(**LONG).put_writes("t", "fork", [write("d", 0)]),
    "write early": lambda other: other().put_writes("t", "later", [write("c", 0)]),
    "read for long": lambda other: other(**LONG).get("t"),
    "read fork for long": lambda other: other(**LONG).get("t", checkpoint_id="fork"),
    "delete": lambda other: other().delete("t", "00000"),
    "new namespace": lambda other: other().put(chain("t", 1, "new")[0]),
}
"""What other processes may do meanwhile."""


@pytest.mark.parametrize("life", [None, 100.0])
@pytest.mark.parametrize("act", OTHERS)
def test_others_put_and_read_meanwhile(
    client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch, act: str, life: float | None
) -> None:
    """Whenever they do it, nothing ends that a record needs."""
    monkeypatch.setattr(expire, "PAGE", 2)
    monkeypatch.setattr(expire, "CHUNK", 2)
    keep = opened(client, prefix)
    at, goes_on = 0, True
    while goes_on:
        keep.delete_thread("t")
        for checkpoint in chain("t", 4, run_id="run"):
            keep.put(checkpoint)
        keep.put(Checkpoint(thread_id="t", checkpoint_id="fork", parent_id="00001",
                            channels={"constant": Channel.earlier(1)}))  # fmt: skip
        keep.put_writes("t", "00003", [write("a", 0), write("b", -1)])
        operation = keep.backend.expire("t", life)  # type: ignore[attr-defined]
        goes_on = interrupted(keep, operation, at, lambda: OTHERS[act](partial(opened, client, prefix)))
        assert is_sound(client, prefix), at
        assert all(keep.get("t", checkpoint_id=saved.checkpoint_id) for saved in keep.list("t"))
        # What they did is over; so all can end now.
        assert keep.expire("t", 200.0)
        assert is_sound(client, prefix), at
        ends = set(keys_of(client, prefix).values())
        assert len(ends) == 1, at
        assert math.inf not in ends, at
        at += 1
    assert at > 8


@pytest.mark.parametrize("life", [None, 100.0])
def test_what_is_cut_off_can_be_repeated(
    client: Any, prefix: str, monkeypatch: pytest.MonkeyPatch, life: float | None
) -> None:
    monkeypatch.setattr(expire, "PAGE", 2)
    keep = opened(client, prefix, ttl=None if life else 10.0)
    at, goes_on = 0, True
    while goes_on:
        keep.delete_thread("t")
        fill(keep)
        operation = keep.backend.expire("t", life)  # type: ignore[attr-defined]
        goes_on = interrupted(keep, operation, at, lambda: None, ends=True)
        assert is_sound(client, prefix), at
        assert len(list(keep.list("t"))) == 10
        assert keep.expire("t", life)
        assert is_sound(client, prefix), at
        ends = keys_of(client, prefix)
        assert len({end for key, end in ends.items() if "none:early" not in key}) == 1, at
        at += 1
    assert at > 8


@pytest.mark.parametrize("evicted", ["namespaces", "checkpoints", "expiry", "head", "writes"])
def test_evicted_indexes_are_made_anew(client: Any, prefix: str, evicted: str) -> None:
    keep = opened(client, prefix, ttl=10 * HOUR)
    fill(keep)
    client.delete(getattr(namespace_keys(prefix, "t", ""), evicted))
    assert keep.expire("t", 100)
    assert is_sound(client, prefix)
    records = {key: end for key, end in keys_of(client, prefix).items() if ":checkpoint:" in key}
    assert len(records) == 10
    assert len(set(keys_of(client, prefix).values())) == 1


def test_a_short_life_leaves_nothing(client: Any, prefix: str) -> None:
    keep = opened(client, prefix)
    fill(keep)
    assert keep.expire("t", 0.001)
    time.sleep(0.05)
    assert keys_of(client, prefix) == {}
    assert not keep.expire("t", 10)
    assert keep.measure(["t"]) == {}


# -- sizes


@pytest.mark.usefixtures("pages")
def test_sizes_are_those_of_the_servers_memory(client: Any, prefix: str) -> None:
    keep = opened(client, prefix)
    fill(keep)
    large = Channel.of(9, payload(bytes(range(256)) * 4000))
    keep.put(Checkpoint(thread_id="t", checkpoint_id="large", channels={"large": large}))
    found = keep.measure(["t"])["t"]
    sizes = [client.memory_usage(key, samples=0) for key in keys_of(client, prefix)]
    assert found.bytes == sum(sizes) > 1_024_000
    assert (found.checkpoints, found.pending_writes, found.namespaces, found.basis) == (11, 8, 2, "memory")
    assert found.expires_at is None


def test_sizes_are_lengths_if_nobody_may_ask(valkey_server: ValkeyServer, prefix: str) -> None:
    rule = ("reset", "on", ">word", "~*", "&*", "+@all", "-memory|usage")
    with valkey_server.client() as admin:
        admin.execute_command("ACL", "SETUSER", f"user-{prefix}", *rule)
        with valkey_server.client(username=f"user-{prefix}", password="word") as client:
            keep = opened(client, prefix, ttl=HOUR)
            fill(keep)
            found = keep.measure(["t", "u"])["t"]
            before = found.bytes
            value = Channel.of(9, payload(bytes(10_000)))
            keep.put(Checkpoint(thread_id="t", checkpoint_id="large", channels={"large": value}))
            assert (found.checkpoints, found.pending_writes, found.namespaces, found.basis) == (10, 8, 2, "lengths")
            assert 10_000 < keep.measure(["t"])["t"].bytes - before < 10_200
        admin.execute_command("ACL", "SETUSER", f"user-{prefix}", "-pexpiretime")
        with valkey_server.client(username=f"user-{prefix}", password="word") as client:
            with pytest.raises(AccessDenied, match="pexpiretime"):
                opened(client, prefix).measure(["t"])
        admin.execute_command("ACL", "DELUSER", f"user-{prefix}")


def test_what_expired_is_not_counted(client: Any, prefix: str) -> None:
    opened(client, prefix, ttl=0.2).put(chain("t", 1)[0])
    keep = opened(client, prefix)
    keep.put(chain("t", 2)[1])
    time.sleep(0.3)
    found = keep.measure(["t"])["t"]
    assert (found.checkpoints, found.expires_at) == (1, None)
    client.delete(namespace_keys(prefix, "t", "").checkpoint("00001"))
    assert keep.measure(["t"]) == {}


def test_many_threads_take_few_requests(client: Any, prefix: str) -> None:
    keep = opened(client, prefix)
    for number in range(100):
        keep.put(Checkpoint(thread_id=f"t{number}"))
    requests: list[Request] = []

    def execute(request: Request) -> Any:
        requests.append(request)
        return keep.backend.execute(request)

    found = run(keep.backend.measure([f"t{number}" for number in range(100)]), execute)  # type: ignore[attr-defined]
    assert len(found) == 100
    assert len(requests) == 3
    assert all(isinstance(request, Commands) and len(request.commands) <= 1000 for request in requests)
