"""A reply that belongs to another request is an error, and never data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve

from statekeep import CacheRepository, CheckpointRepository, CorruptRecord, GetItem, ItemRepository, LogRepository
from statekeep.repositories.valkey import ValkeyCacheEntries, ValkeyCheckpoints, ValkeyItems, ValkeyLogs, client_for
from statekeep.repositories.valkey.cache.keys import keys_of
from statekeep.repositories.valkey.logs.keys import log_keys
from statekeep.repositories.valkey.requests import Call, Commands
from statekeep.testing.servers import ValkeyServer

from .valkey_kinds import chain, payload, write

NAMES = ("alice", "bob")


class Crossed:
    """A client whose server answers as if Bob had been asked for where Alice was."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.cluster = False
        self.swaps: dict[str, str] = {"alice": "bob"}

    def execute(self, request: Any) -> Any:
        match request:
            case Call(_, keys, args):
                request = evolve(request, keys=[self._swapped(key) for key in keys], args=args)
            case Commands(commands):
                request = Commands([[name, self._swapped(str(key)), *rest] for name, key, *rest in commands])
        return self._client.execute(request)

    async def aexecute(self, request: Any) -> Any:
        return self.execute(request)

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass

    def _swapped(self, key: str) -> str:
        for one, other in self.swaps.items():
            key = key.replace(one, other)
        return key


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client_for(client)


@pytest.mark.parametrize(
    "read",
    [
        lambda it: it.get("alice"),
        lambda it: it.get("alice", checkpoint_id="00001"),
        lambda it: list(it.list("alice")),
        lambda it: list(it.list("alice", metadata={"step": 1})),
        lambda it: list(it.list("alice", metadata={"who": "alice"})),
        lambda it: list(it.list("alice", checkpoint_id="00000")),
        lambda it: it.ancestors("alice", ["items"]),
        lambda it: it.copy_thread("alice", "copy"),
    ],
)
def test_checkpoints_of_another_thread(client: Any, prefix: str, read: Callable[[CheckpointRepository], Any]) -> None:
    repository = CheckpointRepository(ValkeyCheckpoints(client, prefix=prefix))
    for name in NAMES:
        for checkpoint in chain(name, 2, who=name):
            repository.put(checkpoint)
            repository.put_writes(name, checkpoint.checkpoint_id, [write("task", 0), write("task", 1, b"x" * 100_000)])
    crossed = CheckpointRepository(ValkeyCheckpoints(Crossed(client), prefix=prefix))
    with pytest.raises(CorruptRecord) as raised:
        read(crossed)
    assert raised.value.key is not None
    assert "alice" in raised.value.key
    assert repository.get("copy") is None


@pytest.mark.parametrize(
    "read",
    [
        lambda it: it.get(("alice",), "k"),
        lambda it: it.get(("alice",), "k", refresh=True),
        lambda it: list(it.list(("alice",))),
        lambda it: it.search(("alice",)),
        lambda it: it.batch([GetItem(namespace=("alice",), key=key) for key in "kl"]),
    ],
)
def test_items_of_another_namespace(client: Any, prefix: str, read: Callable[[ItemRepository], Any]) -> None:
    items = ItemRepository(ValkeyItems(client, prefix=prefix))
    for name in NAMES:
        items.put((name,), "k", name, ttl=100)
        items.put((name,), "l", name)
    crossed = ItemRepository(ValkeyItems(Crossed(client), prefix=prefix))
    with pytest.raises(CorruptRecord) as raised:
        read(crossed)
    assert raised.value.key is not None
    assert "alice" in raised.value.key


def test_cache_entries_of_another_namespace(client: Any, prefix: str, caplog: pytest.LogCaptureFixture) -> None:
    cache = CacheRepository(ValkeyCacheEntries(client, prefix=prefix))
    places = {name: ((name,), "k") for name in NAMES}
    cache.set({place: payload(name.encode()) for name, place in places.items()})
    alice, bob = (keys_of(prefix, place).record("k") for place in places.values())
    crossed = Crossed(client)
    crossed.swaps = {alice: bob}
    assert CacheRepository(ValkeyCacheEntries(crossed, prefix=prefix)).get([places["alice"]]) == {}
    assert "damaged" in caplog.text
    assert alice in caplog.text


def test_logs_of_others(client: Any, prefix: str) -> None:
    logs = LogRepository(ValkeyLogs(client, prefix=prefix))
    for name in NAMES:
        logs.append((name,), [f"{name}'s own"])
    crossed = Crossed(client)
    crossed.swaps = {log_keys(prefix, ("alice",)).values: log_keys(prefix, ("bob",)).values}
    others = LogRepository(ValkeyLogs(crossed, prefix=prefix))
    for read in (others.last, others.read, others.pop):
        with pytest.raises(CorruptRecord, match="another log"):
            read(("alice",))
