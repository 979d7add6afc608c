"""Writers at work side by side over one client, while somebody else injects faults."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from statekeep.domain import Unavailable
from statekeep.repositories.cache import AsyncCacheRepository, CacheRepository
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.valkey import Client, ValkeyCacheEntries, ValkeyCheckpoints, ValkeyItems
from statekeep.testing.faces import awaited

from ..valkey.cache_kinds import problems
from ..valkey.item_audit import audit_items
from ..valkey.valkey_audit import audit
from .model import Model
from .tally import Tally
from .work import PARTS, Keeps, Part, Writer

Face = Literal["blocking", "async"]

CREW = 3
PAUSES = [0.0, 0.0, 0.002]
"""Seconds that a writer may pause between two operations."""

PATIENCE = 60.0
"""Seconds after which a writer that does not get on is taken to hang."""


def keeps_of(client: Client, face: Face, prefix: str = "k") -> Keeps:
    """Repositories over a client of Valkey; each has a prefix of its own, which begins with ``prefix``."""
    checkpoints = ValkeyCheckpoints(client, prefix=f"{prefix}-checkpoints", index_metadata=["step", "run_id"])
    items = ValkeyItems(client, prefix=f"{prefix}-items", unit=1)
    cache = ValkeyCacheEntries(client, prefix=f"{prefix}-cache")
    if face == "async":
        return Keeps(AsyncCheckpointRepository(checkpoints), AsyncItemRepository(items), AsyncCacheRepository(cache))
    return Keeps(
        awaited(CheckpointRepository(checkpoints)), awaited(ItemRepository(items)), awaited(CacheRepository(cache))
    )


def audit_all(client: Any, tally: Tally, prefix: str = "k") -> None:
    """Check that the stored keys fit together.

    Args:
        client: of valkey-py, of a server or cluster that nobody writes to.
        tally: gets what does not.
        prefix: as for :func:`keeps_of`.
    """
    found = audit(client, f"{prefix}-checkpoints").problems
    found += audit_items(client, f"{prefix}-items", cut=True, unit=1).problems
    found += problems(client, f"{prefix}-cache")
    tally.violations += [f"audit: {line}" for line in found]


def writers(
    source: random.Random, tally: Tally, parts: Sequence[Part] = PARTS, *, is_lossy: bool = False
) -> list[Writer]:
    """Some writers with seeds of their own."""
    return [Writer(f"writer {number}", str(source.random()), parts, Model(is_lossy), tally) for number in range(CREW)]


async def _work(writer: Writer, keeps: Keeps, stop: threading.Event, pause: Callable[[], float]) -> None:
    while not stop.is_set():
        if not await asyncio.wait_for(writer.step(keeps), PATIENCE):
            await asyncio.sleep(0.005)  # nobody asks a dead server without a pause
        await asyncio.sleep(pause())
    # The same client goes on working as soon as the server does.
    for _ in range(20):
        if await asyncio.wait_for(writer.step(keeps), PATIENCE):
            return
        await asyncio.sleep(0.2)
    writer.tally.violations.append(f"{writer.name}: the client does not recover")


def under(
    injector: Callable[[], None],
    crew: Sequence[Writer],
    open_client: Callable[[], Any],
    open_keeps: Callable[[Any], Keeps],
    face: Face,
    source: random.Random,
) -> None:
    """Let writers work while ``injector`` runs, and check with the same client what they find at the end.

    Args:
        injector: injects faults, blocking; when it returns all is well again.
        crew: the writers.
        open_client: makes the client that all of them share.
        open_keeps: makes their repositories over it.
        face: ``async`` for tasks in one event loop, ``blocking`` for threads.
        source: of chance.
    """
    stop = threading.Event()
    failures: list[BaseException] = []
    client = open_client()
    keeps = open_keeps(client)
    chances = {writer.name: random.Random(source.random()) for writer in crew}

    async def work(these: Sequence[Writer]) -> None:
        async with asyncio.TaskGroup() as group:
            for writer in these:
                chance = chances[writer.name]
                group.create_task(_work(writer, keeps, stop, partial(chance.choice, PAUSES)))
        for writer in these:
            await _verified(writer, keeps)
        if face == "async":
            await client.aclose()

    def run(these: Sequence[Writer]) -> None:
        try:
            asyncio.run(work(these))
        except BaseException as error:
            failures.append(error)

    groups = [crew] if face == "async" else [[writer] for writer in crew]
    threads = [threading.Thread(target=run, args=(group,)) for group in groups]
    for thread in threads:
        thread.start()
    try:
        injector()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        client.close()
    if failures:
        raise failures[0]


async def _verified(writer: Writer, keeps: Keeps) -> None:
    for attempt in range(5):
        try:
            await writer.verify(keeps)
            return
        except Unavailable:
            if attempt == 4:
                raise
            await asyncio.sleep(0.2)
