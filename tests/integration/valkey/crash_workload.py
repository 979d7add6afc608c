"""What the process does that the tests of crashes kill."""

from __future__ import annotations

import hashlib
import os
import random
from functools import cache
from multiprocessing.connection import Connection

import valkey

from statekeep import Channel, Checkpoint, SavedCheckpoint
from statekeep.repositories.checkpoints import CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for

from .valkey_kinds import payload, write

WRITES = 5
INDEXED = ("number", "run_id")


@cache
def _entry(number: int) -> bytes:
    return random.Random(number).randbytes(600)


def checkpoint(thread_id: str, number: int, parent: str | None, namespace: str = "") -> Checkpoint:
    """A checkpoint whose header is a checksum of its channels, and whose number says what they are."""
    source = random.Random(f"{thread_id} {number}")
    values = {"constant": f"constant of {thread_id}".encode(), "counter": b"%d" % number}
    values |= {f"channel {index}": source.randbytes(source.randrange(2000)) for index in range(4)}
    # A log that grows, and loses its oldest entries: it is stored in pieces.
    values["log"] = b"".join(_entry(one) for one in range(max(0, number - 20), number + 4))
    channels = {name: Channel.of(number, payload(value)) for name, value in values.items() if name != "constant"}
    channels["constant"] = Channel.earlier(1) if parent else Channel.of(1, payload(values["constant"]))
    return Checkpoint(
        thread_id=thread_id,
        namespace=namespace,
        checkpoint_id=f"{number:08}",
        parent_id=parent,
        metadata={"number": number, "run_id": f"run {number % 3}"},
        header=payload(checksum(values)),
        channels=channels,
    )


def checksum(values: dict[str, bytes]) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(values):
        digest.update(name.encode() + b"\0" + values[name] + b"\0")
    return digest.digest()


def is_whole(saved: SavedCheckpoint) -> bool:
    """Whether a checkpoint is as it was made, and its pending writes are all there or none."""
    values = {name: channel.payload.data for name, channel in saved.channels.items() if channel.payload}
    return (
        len(values) == 7
        and saved.header == payload(checksum(values))
        and values["counter"] == b"%d" % saved.metadata["number"]
        and saved.checkpoint_id == f"{saved.metadata['number']:08}"
        and len(saved.pending_writes) in (0, WRITES)
    )


def write_for_ever(port: int, prefix: str, thread_id: str, ready: Connection) -> None:
    """Put checkpoints and pending writes behind those that are there, until somebody ends this process."""
    client = client_for(valkey.Valkey(port=port))
    repository = CheckpointRepository(ValkeyCheckpoints(client, prefix=prefix, index_metadata=INDEXED))
    newest = repository.get(thread_id)
    parent = newest.checkpoint_id if newest else None
    number = int(parent or 0)
    ready.send(os.getpid())
    while True:
        number += 1
        made = checkpoint(thread_id, number, parent)
        repository.put(made)
        repository.put_writes(thread_id, made.checkpoint_id, [write("task", index) for index in range(WRITES)])
        parent = made.checkpoint_id


def delete_for_ever(port: int, prefix: str, thread_id: str, ready: Connection) -> None:
    """Fill a thread, copy it, prune the copy, delete both, and so on."""
    client = client_for(valkey.Valkey(port=port))
    repository = CheckpointRepository(ValkeyCheckpoints(client, prefix=prefix, index_metadata=INDEXED))
    ready.send(os.getpid())
    while True:
        parent = None
        for number in range(1, 9):
            made = checkpoint(thread_id, number, parent)
            repository.put(made)
            repository.put_writes(thread_id, made.checkpoint_id, [write("task", index) for index in range(WRITES)])
            parent = made.checkpoint_id
        repository.copy_thread(thread_id, f"{thread_id} copied")
        repository.delete_runs(["run 1"])
        repository.prune([f"{thread_id} copied"], keep=2)
        repository.delete_thread(thread_id)
        repository.delete_thread(f"{thread_id} copied")
