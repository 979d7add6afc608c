"""The kinds of repositories, their machines and their backends."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from typing import Any

import anyio
from attrs import frozen
from hypothesis import settings

from statekeep.domain import Checkpoint
from statekeep.repositories.cache import AsyncCacheRepository, CacheRepository
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.logs import AsyncLogRepository, LogRepository
from statekeep.repositories.memory import MemoryCacheEntries, MemoryCheckpoints, MemoryItems, MemoryLogs
from statekeep.repositories.valkey import ValkeyCacheEntries, ValkeyCheckpoints, ValkeyItems, ValkeyLogs
from statekeep.testing.machines.cache import cache_machine_for
from statekeep.testing.machines.checkpoints import machine_for
from statekeep.testing.machines.items import INDEX, item_machine_for
from statekeep.testing.machines.logs import log_machine_for
from tests.backends import BACKENDS, CACHE_BACKENDS, ITEM_BACKENDS, LOG_BACKENDS, Backend

QUICK = os.environ.get("HYPOTHESIS_PROFILE", "quick") == "quick"

SERVED = 6 if QUICK else settings().max_examples
"""Examples over a server. The runs over all clients act on the same operations, so that they add up."""


def prefix() -> str:
    return f"t-{uuid.uuid4().hex[:12]}"


def _use_checkpoints(backend: Any) -> None:
    keep = CheckpointRepository(backend)
    keep.put(Checkpoint(thread_id="t"))
    anyio.run(AsyncCheckpointRepository(backend).get, "t")
    keep.delete_thread("t")


def _use_items(backend: Any) -> None:
    keep = ItemRepository(backend)
    keep.setup()
    keep.put(("n",), "k", {"text": "a"})
    anyio.run(lambda: AsyncItemRepository(backend).search(query="a"))
    keep.clear(("n",))


def _use_cache(backend: Any) -> None:
    CacheRepository(backend).clear()
    anyio.run(AsyncCacheRepository(backend).get, [((), "k")])


def _use_logs(backend: Any) -> None:
    LogRepository(backend).replace(("n",), [1])
    anyio.run(AsyncLogRepository(backend).delete, ("n",))


@frozen
class Kind:
    """One kind of repository.

    Attributes:
        face: what users hold.
        machine_for: makes the machine.
        use: does something through both faces.
        backends: all of them, but those over an embedded server.
        memory: makes the one that takes a clock.
        valkey: makes the one over a client.
        ttl: seconds.
        options: what each is made with.
        share: of the examples in quick runs; less for a kind whose operations are few and plain.
    """

    face: type[Any]
    machine_for: Callable[..., type[Any]]
    use: Callable[[Any], None]
    backends: dict[str, Backend[Any]]
    memory: Callable[..., Any]
    valkey: Callable[..., Any]
    ttl: float
    options: dict[str, Any]
    share: float = 1.0

    def examples(self, count: int) -> int:
        """How many to run, of the number for every kind."""
        return round(count * self.share) if QUICK else count


KINDS = {
    "checkpoints": Kind(
        CheckpointRepository, machine_for, _use_checkpoints, BACKENDS, MemoryCheckpoints, ValkeyCheckpoints, 10.05, {}
    ),
    "items": Kind(
        ItemRepository,
        item_machine_for,
        _use_items,
        ITEM_BACKENDS,
        MemoryItems,
        ValkeyItems,
        1005.0,
        {"index": INDEX},
    ),
    "cache": Kind(
        CacheRepository,
        cache_machine_for,
        _use_cache,
        CACHE_BACKENDS,
        MemoryCacheEntries,
        ValkeyCacheEntries,
        10.05,
        {},
    ),
    "logs": Kind(LogRepository, log_machine_for, _use_logs, LOG_BACKENDS, MemoryLogs, ValkeyLogs, 1005.0, {}, 0.25),
}
