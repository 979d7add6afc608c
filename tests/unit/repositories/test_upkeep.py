"""Backends of users that have none of the methods for those who look after what is stored."""

from __future__ import annotations

from typing import Any

import pytest

from statekeep import Channel, Checkpoint, Payload, PendingWrite, Unsupported
from statekeep.repositories.cache import CacheBackend, CacheRepository
from statekeep.repositories.checkpoints import CheckpointBackend, CheckpointRepository
from statekeep.repositories.encrypted_metadata import EncryptedMetadata
from statekeep.repositories.memory import MemoryCacheEntries, MemoryCheckpoints
from statekeep.repositories.valkey.requests import words_of


class Only:
    """A backend that has the methods of a protocol, and no others."""

    def __init__(self, backend: Any, protocol: type[Any]) -> None:
        for name in (name for kind in protocol.__mro__ for name in vars(kind) if not name.startswith("_")):
            setattr(self, name, getattr(backend, name))


class Backwards:
    """A serializer that encrypts, after its own fashion."""

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return "backwards", bytes(byte ^ 255 for byte in obj.encode())

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return bytes(byte ^ 255 for byte in data[1]).decode()


def payload(size: int) -> Payload:
    return Payload(encoding="raw", data=bytes(size))


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_threads_are_measured_by_reading_them(is_encrypted: bool) -> None:
    backend: Any = Only(MemoryCheckpoints(ttl=60), CheckpointBackend)
    assert not hasattr(backend, "measure")
    keep = CheckpointRepository(EncryptedMetadata(backend, Backwards()) if is_encrypted else backend)
    for number in range(50):
        value = Channel.of(1, payload(10_000)) if number == 0 else Channel.earlier(1)
        own = Channel.of(number, payload(100 + number))
        keep.put(Checkpoint(thread_id="t", checkpoint_id=f"{number:02}", channels={"same": value, "own": own}))
    keep.put(Checkpoint(thread_id="t", namespace="n", header=payload(1000)))
    keep.put_writes("t", "07", [PendingWrite(task_id="task", idx=0, channel="c", payload=payload(500))])
    found = keep.measure(["none", "t"])
    assert list(found) == ["t"]
    one = found["t"]
    assert (one.checkpoints, one.pending_writes, one.namespaces, one.basis, one.expires_at) == (
        51, 1, 2, "lengths", None
    )  # fmt: skip
    values = 10_000 + sum(range(100, 150)) + 1000 + 500
    assert values <= one.bytes <= values + 51 * 10


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_their_end_cannot_be_set(is_encrypted: bool) -> None:
    backend: Any = Only(MemoryCheckpoints(), CheckpointBackend)
    keep = CheckpointRepository(EncryptedMetadata(backend, Backwards()) if is_encrypted else backend)
    keep.put(Checkpoint(thread_id="t"))
    with pytest.raises(Unsupported, match="no method expire") as caught:
        keep.expire("t", 1)
    assert caught.value.operation == "expire"
    assert keep.get("t") is not None


def test_encrypted_threads_are_measured_and_end_as_they_are_stored() -> None:
    keep = CheckpointRepository(EncryptedMetadata(MemoryCheckpoints(ttl=60), Backwards()))
    keep.put(Checkpoint(thread_id="t", metadata={"user": "ada"}))
    assert keep.measure(["t"])["t"].expires_at is not None
    assert keep.expire("t", None)
    assert keep.measure(["t"])["t"].expires_at is None


def test_entries_cannot_be_listed_or_restored() -> None:
    backend: Any = Only(MemoryCacheEntries(), CacheBackend)
    cache = CacheRepository(backend)
    calls: list[Any] = [cache.list, cache.list_namespaces, lambda: cache.restore([])]
    for call in calls:
        with pytest.raises(Unsupported, match="Only has no method"):
            call()


def test_a_subcommand_is_a_word_of_its_own() -> None:
    assert list(words_of(("MEMORY USAGE", "a key", "SAMPLES", "0"))) == ["MEMORY", "USAGE", "a key", "SAMPLES", "0"]
    assert list(words_of(("HGET", "a key", "a field"))) == ["HGET", "a key", "a field"]
    assert list(words_of((b"HGET", b"a key"))) == [b"HGET", b"a key"]
