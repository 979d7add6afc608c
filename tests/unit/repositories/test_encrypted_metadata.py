"""Encrypted metadata: what comes back, what can be filtered by, and what is refused."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

import statekeep
from statekeep import Checkpoint, CorruptRecord, InvalidInput, JsonSerializer, Payload
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.encrypted_metadata import ENCRYPTED, EncryptedMetadata
from statekeep.repositories.memory import MemoryCheckpoints


class Cipher:
    """A serializer that encrypts, with a key of one byte."""

    def __init__(self, key: int = 0xFF) -> None:
        self.key = key

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        encoding, data = JsonSerializer().dumps_typed(obj)
        return f"{encoding}+xor", bytes(byte ^ self.key for byte in data)

    def loads_typed(self, data: tuple[str, bytes]) -> Any:
        return JsonSerializer().loads_typed(("json", bytes(byte ^ self.key for byte in data[1])))


METADATA: dict[str, Any] = {
    "step": 3,
    "user": "ada",
    "run_id": "run-1",
    "parents": {"": "0"},
    "exact": (1, b"\xff", dt.datetime(2026, 1, 2, tzinfo=dt.UTC), Payload(encoding="x", data=b"y")),
}


def _put(keep: CheckpointRepository, checkpoint_id: str, **metadata: Any) -> None:
    keep.put(Checkpoint(thread_id="t", checkpoint_id=checkpoint_id, metadata=metadata))


def _ids(keep: CheckpointRepository, **metadata: Any) -> list[str]:
    return [saved.checkpoint_id for saved in keep.list("t", metadata=metadata)]


def test_it_comes_back_exactly() -> None:
    plain = MemoryCheckpoints()
    keep = CheckpointRepository(EncryptedMetadata(plain, Cipher(), ["step"]))
    _put(keep, "1", **METADATA)
    saved = keep.get("t")
    assert saved is not None
    assert saved.metadata == METADATA
    assert [saved.metadata for saved in keep.list("t")] == [METADATA]
    below = CheckpointRepository(plain).get("t")
    assert below is not None
    assert set(below.metadata) == {"step", "run_id", "parents", ENCRYPTED}
    assert b"ada" not in below.metadata[ENCRYPTED].data


def test_from_an_event_loop() -> None:
    async def main() -> None:
        keep = AsyncCheckpointRepository(EncryptedMetadata(MemoryCheckpoints(), Cipher()))
        await keep.put(Checkpoint(thread_id="t", metadata=METADATA))
        saved = await keep.get("t")
        assert saved is not None
        assert saved.metadata == METADATA
        assert [saved.metadata async for saved in keep.list("t", metadata={"run_id": "run-1"})] == [METADATA]
        with pytest.raises(InvalidInput):
            keep.list("t", metadata={"user": "ada"})

    asyncio.run(main())


def test_filters_look_at_readable_names_only() -> None:
    keep = CheckpointRepository(EncryptedMetadata(MemoryCheckpoints(), Cipher(), ["step", "unused"]))
    _put(keep, "1", step=1, user="ada")
    _put(keep, "2", step=2, user="ada")
    assert _ids(keep, step=1) == ["1"]
    assert _ids(keep, step=2, unused=None) == ["2"]
    for metadata in ({"user": "ada"}, {"step": 1, "user": None}):
        # At the call, before anything is read.
        with pytest.raises(
            InvalidInput, match=r"metadata: 'user' is encrypted, .* readable are parents, run_id, step,"
        ):
            keep.list("t", metadata=metadata)


def test_what_was_put_without_encryption() -> None:
    plain = MemoryCheckpoints()
    keep = CheckpointRepository(EncryptedMetadata(plain, Cipher(), ["step"]))
    _put(CheckpointRepository(plain), "1", step=1, user="ada")
    _put(keep, "2", step=1, user="grace")
    _put(CheckpointRepository(EncryptedMetadata(plain, Cipher())), "3", step=1, user="all")
    assert [saved.metadata for saved in keep.list("t")] == [
        {"step": 1, "user": name} for name in ("all", "grace", "ada")
    ]
    assert _ids(keep, step=1) == ["2", "1"]  # the step of "3" was encrypted


def test_another_key_is_an_error() -> None:
    plain = MemoryCheckpoints()
    _put(CheckpointRepository(EncryptedMetadata(plain, Cipher())), "1", user="ada")
    with pytest.raises(CorruptRecord, match="cannot decrypt the metadata of thread 't'"):
        CheckpointRepository(EncryptedMetadata(plain, Cipher(1))).get("t")


def test_nothing_to_encrypt() -> None:
    plain = MemoryCheckpoints()
    _put(CheckpointRepository(EncryptedMetadata(plain, Cipher(), ["step"])), "1", step=1)
    below = CheckpointRepository(plain).get("t")
    assert below is not None
    assert below.metadata == {"step": 1}


def test_runs_and_nested_namespaces_are_found() -> None:
    keep = CheckpointRepository(EncryptedMetadata(MemoryCheckpoints(), Cipher()))
    for number in "12":
        _put(keep, number, run_id=f"run-{number}", user="ada")
        keep.put(
            Checkpoint(thread_id="t", namespace=f"a:{number}", checkpoint_id=number, metadata={"parents": {"": number}})
        )
    keep.prune(["t"])
    assert {saved.namespace for saved in keep.list("t")} == {"", "a:2"}
    keep.delete_runs(["run-2"])
    assert list(keep.list("t", namespace="")) == []


def test_a_copy_goes_through_both() -> None:
    there = MemoryCheckpoints()
    source = CheckpointRepository(EncryptedMetadata(MemoryCheckpoints(), Cipher(), ["step"]))
    target = CheckpointRepository(EncryptedMetadata(there, Cipher(1)))
    _put(source, "1", step=1, user="ada")
    source.copy_thread("t", "u")
    statekeep.copy(source, target)
    for thread_id in "tu":
        saved, below = target.get(thread_id), CheckpointRepository(there).get(thread_id)
        assert saved is not None
        assert below is not None
        assert saved.metadata == {"step": 1, "user": "ada"}
        assert set(below.metadata) == {ENCRYPTED}


class TestRefusals:
    @pytest.mark.parametrize("readable", ["step", b"step", False, 1, None, [1]], ids=repr)
    def test_names(self, readable: Any) -> None:
        with pytest.raises(InvalidInput, match="encrypt_metadata must be true, false, or a list of names") as caught:
            EncryptedMetadata(MemoryCheckpoints(), Cipher(), readable)
        assert caught.value.field == "encrypt_metadata"

    @pytest.mark.parametrize("serializer", [JsonSerializer(), object()])
    def test_a_serializer_that_does_not_encrypt(self, serializer: Any) -> None:
        with pytest.raises(InvalidInput, match="needs a serializer that encrypts"):
            EncryptedMetadata(MemoryCheckpoints(), serializer)

    def test_a_name_that_it_needs(self) -> None:
        keep = CheckpointRepository(EncryptedMetadata(MemoryCheckpoints(), Cipher()))
        with pytest.raises(InvalidInput, match="is that of encrypted metadata"):
            _put(keep, "1", **{ENCRYPTED: 1})

    def test_metadata_that_cannot_be_stored(self) -> None:
        keep = CheckpointRepository(EncryptedMetadata(MemoryCheckpoints(), Cipher()))
        with pytest.raises(InvalidInput) as caught:
            _put(keep, "1", user=object())
        assert caught.value.field == "metadata"

    def test_what_connect_needs(self) -> None:
        with pytest.raises(InvalidInput) as caught:
            statekeep.connect("memory:", encrypt_metadata=True)
        assert caught.value.field == "metadata_serializer"
        with pytest.raises(InvalidInput, match="has no use without encrypt_metadata"):
            statekeep.connect("memory:", metadata_serializer=Cipher())
        with statekeep.connect("memory:", encrypt_metadata=True, metadata_serializer=Cipher()) as keep:
            _put(keep.checkpoints, "1", user="ada")
            assert _ids(keep.checkpoints) == ["1"]
