"""Repositories over each of the four client libraries, in one form."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import glide
import glide_sync
import valkey
import valkey.asyncio

from statekeep import Channel, Checkpoint, Payload, PendingWrite
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.testing.faces import awaited

KINDS = ("glide sync", "glide async", "valkey-py", "valkey.asyncio")


def payload(data: bytes) -> Payload:
    return Payload(encoding="raw", data=data)


def write(task: str, idx: int, data: bytes = b"w", channel: str = "items", path: str = "") -> PendingWrite:
    return PendingWrite(task_id=task, task_path=path, idx=idx, channel=channel, payload=payload(data))


def chain(thread_id: str, count: int, namespace: str = "", **metadata: Any) -> list[Checkpoint]:
    """Checkpoints, each the parent of the next, with a value that never changes and one that always does."""
    found: list[Checkpoint] = []
    for number in range(count):
        found.append(
            Checkpoint(
                thread_id=thread_id,
                namespace=namespace,
                checkpoint_id=f"{number:05}",
                parent_id=found[-1].checkpoint_id if found else None,
                metadata={"step": number, **metadata},
                header=payload(b"header %d" % number),
                channels={
                    "constant": Channel.earlier(1) if found else Channel.of(1, payload(b"constant")),
                    "counter": Channel.of(number + 1, payload(b"%d" % number)),
                },
            )
        )
    return found


@asynccontextmanager
async def open_repository(kind: str, port: int, **options: Any) -> AsyncIterator[AsyncCheckpointRepository]:
    """A repository over a client of a kind, called as the async face is."""
    if kind == "glide sync":
        addresses = [glide_sync.NodeAddress("127.0.0.1", port)]
        blocking = glide_sync.GlideClient.create(glide_sync.GlideClientConfiguration(addresses, request_timeout=5000))
        try:
            yield awaited(CheckpointRepository(ValkeyCheckpoints(client_for(blocking), **options)))
        finally:
            blocking.close()
    elif kind == "glide async":
        client = await glide.GlideClient.create(
            glide.GlideClientConfiguration([glide.NodeAddress("127.0.0.1", port)], request_timeout=5000)
        )
        try:
            yield AsyncCheckpointRepository(ValkeyCheckpoints(client_for(client), **options))
        finally:
            await client.close()
    elif kind == "valkey-py":
        with valkey.Valkey(port=port) as given:
            yield awaited(CheckpointRepository(ValkeyCheckpoints(client_for(given), **options)))
    else:
        async with valkey.asyncio.Valkey(port=port) as awaiting:
            yield AsyncCheckpointRepository(ValkeyCheckpoints(client_for(awaiting), **options))
