"""A server whose memory is full may evict any key: nothing that an index knows goes without a word."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from statekeep import Checkpoint, CheckpointRepository, CorruptRecord, ItemRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, ValkeyItems, client_for
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys, thread_index_keys
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.testing.servers import ValkeyServer

from .valkey_audit import audit
from .valkey_kinds import chain, payload, write

THREAD = "t"
LARGE = b"x" * 100_000
"""A pending write of this size is kept in its record alone."""


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.fixture
def repository(client: Any, prefix: str) -> CheckpointRepository:
    repository = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix))
    fill(repository, THREAD)
    return repository


def fill(repository: CheckpointRepository, thread_id: str) -> None:
    for checkpoint in chain(thread_id, 3, run_id="run"):
        repository.put(checkpoint)
        repository.put_writes(
            thread_id, checkpoint.checkpoint_id, [write("task", 0, b"done"), write("task", 1, LARGE), write("task", -1)]
        )


def losses(caplog: pytest.LogCaptureFixture) -> list[str]:
    assert {record.levelno for record in caplog.records} <= {logging.WARNING}
    return [record.getMessage() for record in caplog.records if record.name == "statekeep.valkey"]


def test_a_pending_write_that_is_gone_is_reported(
    repository: CheckpointRepository, client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = namespace_keys(prefix, THREAD, "")
    client.delete(keys.write("00002:task:1:items"))
    saved = repository.get(THREAD)
    assert saved
    assert [made.idx for made in saved.pending_writes] == [-1, 0]
    [message] = losses(caplog)
    assert "1 pending writes" in message
    assert keys.writes in message
    assert "00002:task:1:items" in message
    assert "maxmemory-policy" in message
    assert repository.get(THREAD) == saved
    assert len(losses(caplog)) == 1  # the index has forgotten it


def test_checkpoints_that_are_gone_are_reported_and_the_newest_stays(
    repository: CheckpointRepository, client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = namespace_keys(prefix, THREAD, "")
    before = repository.get(THREAD)
    client.delete(keys.checkpoint("00002"))
    assert [saved.checkpoint_id for saved in repository.list(THREAD)] == ["00001", "00000"]
    [message] = losses(caplog)
    assert "1 checkpoints" in message
    assert "'00002'" in message
    assert repository.get(THREAD) == before  # from its copy, and not an older one


def test_the_newest_that_is_gone_with_its_copy_is_reported(
    repository: CheckpointRepository, client: Any, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = namespace_keys(prefix, THREAD, "")
    client.delete(keys.checkpoint("00002"), keys.head)
    saved = repository.get(THREAD)
    assert saved
    assert saved.checkpoint_id == "00001"
    [message] = losses(caplog)
    assert "'00002'" in message


def test_what_ended_or_was_deleted_is_not_reported(client: Any, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    repository = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, ttl=0.2))
    lasting = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix))
    fill(lasting, THREAD)
    for checkpoint in chain(THREAD, 5)[3:]:
        repository.put(checkpoint)
        repository.put_writes(THREAD, checkpoint.checkpoint_id, [write("task", 0, LARGE)])
    keys = namespace_keys(prefix, THREAD, "")
    while client.exists(keys.checkpoint("00004")):
        time.sleep(0.01)
    saved = lasting.get(THREAD)
    assert saved
    assert saved.checkpoint_id == "00002"
    assert len(list(lasting.list(THREAD))) == 3
    lasting.prune([THREAD])
    lasting.delete_thread(THREAD)
    assert lasting.get(THREAD) is None
    assert losses(caplog) == []


def readings(repository: CheckpointRepository) -> dict[str, Any]:
    return {
        "get": repository.get(THREAD),
        "by id": repository.get(THREAD, checkpoint_id="00001"),
        "list": list(repository.list(THREAD)),
        "ancestors": repository.ancestors(THREAD, ["items"]),
    }


@pytest.mark.parametrize("first", ["get", "by id", "list", "ancestors", "put_writes", "copy", "prune"])
def test_an_index_of_pending_writes_that_is_gone_is_made_anew(
    repository: CheckpointRepository, client: Any, prefix: str, first: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = namespace_keys(prefix, THREAD, "")
    before = readings(repository)
    members = client.zrange(keys.writes, 0, -1)
    assert len(members) == 9
    client.delete(keys.writes)
    match first:
        case "get":
            assert repository.get(THREAD) == before["get"]
        case "by id":
            assert repository.get(THREAD, checkpoint_id="00001") == before["by id"]
        case "list":
            assert list(repository.list(THREAD)) == before["list"]
        case "ancestors":
            assert repository.ancestors(THREAD, ["items"]) == before["ancestors"]
        case "put_writes":
            repository.put_writes(THREAD, "00002", [write("task", 0, b"again")])  # the first one stays
        case "copy":
            repository.copy_thread(THREAD, "copy")
            copies = [saved.pending_writes for saved in repository.list("copy")]
            assert copies == [saved.pending_writes for saved in before["list"]]
        case "prune":
            repository.prune([THREAD])
            repository.delete_thread(THREAD)
            assert not client.keys(f"{prefix}:pending_write:*")
            return
    assert client.zrange(keys.writes, 0, -1) == members
    assert readings(repository) == before
    assert not audit(client, prefix).problems
    assert losses(caplog) == []


def test_an_index_that_is_made_anew_ends_with_what_it_names(client: Any, prefix: str) -> None:
    repository = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, ttl=100))
    fill(repository, THREAD)
    keys = namespace_keys(prefix, THREAD, "")
    client.delete(keys.writes)
    repository.get(THREAD)
    assert 0 < client.pttl(keys.writes) <= 100_000
    assert abs(client.pttl(keys.writes) - client.pttl(keys.pending)) < 1000


@pytest.mark.parametrize("ttl", [None, 1000])
def test_an_index_that_is_made_anew_by_a_write_lasts_as_long_as_before(
    client: Any, prefix: str, ttl: float | None
) -> None:
    fill(CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, ttl=ttl)), THREAD)
    keys = namespace_keys(prefix, THREAD, "")
    client.delete(keys.writes)
    brief = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, ttl=1))
    brief.put_writes(THREAD, "00001", [write("another", 0)])
    left = client.pttl(keys.writes)
    assert left == -1 if ttl is None else left > 900_000
    assert not audit(client, prefix).problems


def left(client: Any, prefix: str) -> set[str]:
    """The keys that may still hold something of a thread."""
    return {key.decode() for key in client.scan_iter(f"{prefix}:*")} - {
        *thread_index_keys(prefix),
        *(key.decode() for key in client.scan_iter(f"{prefix}:run-index:*")),
    }


NESTED = "of:1"


@pytest.fixture(params=[None, 1000])
def nested(request: pytest.FixtureRequest, client: Any, prefix: str) -> CheckpointRepository:
    """A thread with a nested namespace, and pending writes in both."""
    repository = CheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix, ttl=request.param))
    fill(repository, THREAD)
    for checkpoint in chain(THREAD, 3, NESTED):
        repository.put(checkpoint)
        repository.put_writes(THREAD, checkpoint.checkpoint_id, [write("task", 0)], namespace=NESTED)
    return repository


def evicted(prefix: str, what: str) -> list[str]:
    """The keys of a kind, of both namespaces."""
    root, nested = namespace_keys(prefix, THREAD, ""), namespace_keys(prefix, THREAD, NESTED)
    kinds = {
        "namespaces": [root.namespaces],
        "checkpoints": [root.checkpoints, nested.checkpoints],
        "checkpoints of a nested namespace": [nested.checkpoints],
        "writes": [root.writes, nested.writes],
        "pending": [root.pending, nested.pending],
        "expiry": [root.expiry, nested.expiry],
        "head": [root.head, nested.head],
        "values": [root.values, nested.values],
        "all derived": [*root.derived, *nested.derived],
        "newest": [root.checkpoint("00002"), nested.checkpoint("00002")],
    }
    del kinds["all derived"][1], kinds["all derived"][7]  # channel values are data
    kinds["namespaces and head"] = [root.namespaces, root.head]
    kinds["checkpoints and head"] = [*kinds["checkpoints"], root.head, nested.head]
    return kinds[what]


KINDS_OF_KEYS = [
    *(
        "namespaces",
        "checkpoints",
        "checkpoints of a nested namespace",
        "writes",
        "pending",
        "expiry",
        "head",
        "values",
    ),
    *("all derived", "newest", "namespaces and head", "checkpoints and head"),
]


@pytest.mark.parametrize("deletion", ["delete_thread", "prune"])
@pytest.mark.parametrize("what", KINDS_OF_KEYS)
def test_a_thread_is_deleted_whatever_was_evicted(
    nested: CheckpointRepository, client: Any, prefix: str, what: str, deletion: str
) -> None:
    client.delete(*evicted(prefix, what))
    if deletion == "delete_thread":
        nested.delete_thread(THREAD)
    else:
        nested.prune([THREAD], keep=0)
    assert left(client, prefix) == set()
    assert nested.get(THREAD) is None
    assert nested.get(THREAD, checkpoint_id="00001") is None
    assert list(nested.list_threads()) == []


@pytest.mark.parametrize("what", ["namespaces", "checkpoints", "newest"])
def test_a_thread_is_deleted_if_it_went_on_after_an_eviction(
    nested: CheckpointRepository, client: Any, prefix: str, what: str
) -> None:
    client.delete(*evicted(prefix, what))
    nested.put(chain(THREAD, 4)[3])
    nested.put_writes(THREAD, "00003", [write("task", 0)])
    nested.put(chain(THREAD, 5)[4])
    nested.delete_thread(THREAD)
    assert left(client, prefix) == set()


@pytest.mark.parametrize("what", ["namespaces", "checkpoints"])
def test_an_index_that_was_gone_is_reported_by_the_next_put(
    nested: CheckpointRepository, client: Any, prefix: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    client.delete(*evicted(prefix, what))
    nested.put(chain(THREAD, 4)[3])
    nested.put(chain(THREAD, 5)[4])
    [message] = losses(caplog)
    assert namespace_keys(prefix, THREAD, "").checkpoints in message
    assert "reindex('t')" in message
    assert nested.reindex(THREAD) == 8
    assert len(list(nested.list(THREAD))) == 8
    assert not audit(client, prefix).problems


@pytest.mark.parametrize("what", ["checkpoints", "newest", "all derived"])
@pytest.mark.parametrize("wanted", ["", NESTED])
def test_a_smaller_id_is_not_the_newest_after_an_eviction(
    nested: CheckpointRepository, client: Any, prefix: str, what: str, wanted: str
) -> None:
    keys = namespace_keys(prefix, THREAD, wanted)
    before = nested.get(THREAD, namespace=wanted)
    client.delete(*(key for key in evicted(prefix, what) if key != keys.head))
    list(nested.list(THREAD, namespace=wanted))
    fork = Checkpoint(thread_id=THREAD, namespace=wanted, checkpoint_id="00001a", parent_id="00001")
    nested.put(fork)
    assert before
    assert (after := nested.get(THREAD, namespace=wanted))
    assert after.checkpoint_id == before.checkpoint_id == "00002"
    assert after.channels == before.channels
    nested.put(chain(THREAD, 4, wanted)[3])
    assert (newest := nested.get(THREAD, namespace=wanted))
    assert newest.checkpoint_id == "00003"


@pytest.mark.parametrize("what", ["checkpoints", "newest"])
def test_a_prune_keeps_the_newest_whatever_was_evicted(
    nested: CheckpointRepository, client: Any, prefix: str, what: str
) -> None:
    before = nested.get(THREAD)
    client.delete(*evicted(prefix, what))
    nested.prune([THREAD])
    assert (after := nested.get(THREAD))
    assert after.checkpoint_id == "00002"
    assert after.channels == (before and before.channels)
    kept = [saved.checkpoint_id for saved in nested.list(THREAD, namespace="")]
    assert kept == (["00001"] if what == "newest" else ["00002"])
    nested.delete_runs(["run"])
    assert nested.get(THREAD) is None


def test_items_that_are_gone_are_reported(client: Any, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    items = ItemRepository(ValkeyItems(client_for(client), prefix=prefix))
    space = ("users", "ada")
    for key in ("a", "b", "c"):
        items.put(space, key, 1)
    items.put(space, "short", 1, ttl=0.01)
    items.delete(space, "c")
    time.sleep(0.05)
    assert [item.key for item in items.list(space)] == ["a", "b"]
    assert losses(caplog) == []
    keys = item_keys(prefix, space)
    client.delete(keys.record("a"))
    assert [item.key for item in items.list(space)] == ["b"]
    [message] = losses(caplog)
    assert "1 items" in message
    assert "'a'" in message
    assert [item.key for item in items.list(space)] == ["b"]
    assert len(losses(caplog)) == 1


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_full_server_that_evicts(policy: str, caplog: pytest.LogCaptureFixture) -> None:
    """What is read is whole, or is not there at all, or is an error, or was logged.

    Nothing tells that there were pending writes if their index and their copies were both evicted.
    """
    threads = [f"t{number}" for number in range(120)]
    with ValkeyServer(maxmemory="12mb", maxmemory_policy=policy) as server, server.client() as client:
        repository = CheckpointRepository(ValkeyCheckpoints(client_for(client)))
        for thread_id in threads:
            for checkpoint in chain(thread_id, 2):
                repository.put(checkpoint, supply=lambda names: {name: payload(b"constant") for name in names})
                size = 70_000 if thread_id.endswith("7") else 20_000
                repository.put_writes(
                    thread_id, checkpoint.checkpoint_id, [write("task", idx, b"x" * size) for idx in range(4)]
                )
        assert client.info("stats")["evicted_keys"] > 100
        whole = lost = 0
        for thread_id in threads:
            for checkpoint_id in ("00000", "00001"):
                caplog.clear()
                try:
                    saved = repository.get(thread_id, checkpoint_id=checkpoint_id)
                except CorruptRecord:
                    lost += 1
                    continue
                if saved is None or losses(caplog):
                    lost += 1
                elif len(saved.pending_writes) == 4:
                    whole += 1
                else:
                    keys = namespace_keys("statekeep", thread_id, "")
                    members = [*client.zrange(keys.writes, 0, -1), *client.hkeys(keys.pending)]
                    assert not [name for name in members if name.startswith(f"{checkpoint_id}:".encode())]
        assert whole
        assert lost
