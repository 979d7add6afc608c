"""A server whose memory is full may evict any key: nothing that an index knows goes without a word."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from statekeep import CheckpointRepository, CorruptRecord, ItemRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, ValkeyItems, client_for
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys
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
    assert ":a" in message
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
                    assert not client.exists(keys.writes, keys.pending)
        assert whole
        assert lost
