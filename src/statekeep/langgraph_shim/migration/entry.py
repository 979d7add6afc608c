"""Migration: from any saver, store or cache of LangGraph to Statekeep."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from langgraph.cache.base import BaseCache
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.store.base import BaseStore

from ...repositories.cache import AsyncCacheRepository, CacheRepository
from ...repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from ...repositories.connection import AsyncConnection, Connection
from ...repositories.items import AsyncItemRepository, ItemRepository
from ...repositories.operation import Operation, Page, arun, named, run
from ...repositories.validation import function_or_none, texts
from ..cache.base import Cache
from ..checkpoint.base import Saver
from ..store.base import Store
from .readers.choice import readers_of
from .records import migrated_entries, migrated_items
from .report import MigrationReport, Progress, Tally, Verify, checked_since, checked_verify
from .source import PeerSource, Readers
from .target import Target, check_kinds, lacks, target_of
from .threads import migrated_threads

MigrationSource = BaseCheckpointSaver[Any] | BaseStore | BaseCache[Any] | PeerSource
"""A saver, a store or a cache, or what :func:`open_source` returned."""

MigrationTarget = (
    Connection
    | AsyncConnection
    | CheckpointRepository
    | AsyncCheckpointRepository
    | ItemRepository
    | AsyncItemRepository
    | CacheRepository
    | AsyncCacheRepository
    | Saver
    | Store
    | Cache[Any]
)
"""A connection or a repository of Statekeep, or a saver, a store or a cache over one."""


def migrate(
    source: MigrationSource,
    target: MigrationTarget,
    *,
    threads: Iterable[str] | None = None,
    since: dt.datetime | MigrationReport | None = None,
    verify: Verify = "sample",
    progress: Progress | None = None,
) -> MigrationReport:
    """Bring what a saver, a store or a cache of LangGraph keeps into Statekeep.

    Threads come with all namespaces and checkpoints, oldest first, with their ids, parents, times, metadata, versions
    and values of channels, and pending writes. Items come with their values, cache entries with theirs. What ends in
    the source ends at the same time in the target, where the source can tell; else the TTL of the target holds. The
    target's index makes the vectors of items.

    The savers, stores and caches of langgraph-checkpoint-postgres, -sqlite, -redis and -aws (on Valkey) are read from
    their database by the connection that they have; others by LangGraph's interface, which tells nothing of TTLs, of
    the paths of tasks and of the positions of writes, and reads each checkpoint of a long thread by itself. Serialized
    values are moved as they are, encrypted ones and pickles included, so give the target the serializer that the source
    has. Two things are serialized anew: what langgraph-checkpoint-redis wrote, and objects that come by LangGraph's
    interface; with the serializer of the target if it is a saver, else with that of the source.

    The source is never changed. It may be written to meanwhile: pass the report as ``since`` to a second migration. You
    may repeat a migration, also one that was cut off: what the target has already is left alone. What was deleted in
    the source stays in the target, and so does a value of an item that was put there later than in the source. Of the
    threads some 20 checkpoints are in memory at once, and their ids.

    Args:
        source: a saver, a store or a cache of LangGraph, or what :func:`open_source` returned.
        target: a connection, a repository of the same kind, or a saver, store or cache of Statekeep.
        threads: only these threads, for a saver that cannot list them; they are then gone through in this order.
        since: only what may have changed since a time, or since the migration whose report this is: checkpoints that
            are newer, those that they were made from, the newest of each namespace, and items that were put later.
        verify: ``"sample"`` reads back each tenth thread and each tenth page of items and compares; ``"all"`` all of
            them; ``None`` nothing.
        progress: function that gets the counts so far, after each checkpoint and each page.

    Returns:
        Counts of what was read, and of what was written.

    Raises:
        InvalidInput: an argument is wrong, or a checkpoint can only be read with a serializer that was not given.
        Unsupported: the source is a cache that cannot be listed, or the target keeps nothing of a kind that there is.
        VerificationFailed: something differs. All was migrated.
        StatekeepError: reading or writing failed; a note says at which thread or namespace.

    Example:
        >>> import statekeep
        >>> from langgraph.checkpoint.memory import InMemorySaver
        >>> from langgraph.graph import StateGraph
        >>> from statekeep.langgraph_shim import RepositorySaver
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> old, config = InMemorySaver(), {"configurable": {"thread_id": "t"}}
        >>> builder.compile(checkpointer=old).invoke(1, config)
        2
        >>> with statekeep.connect("memory:") as keep:
        ...     first, second = migrate(old, keep), migrate(old, keep)
        ...     graph = builder.compile(checkpointer=RepositorySaver(keep.checkpoints))
        ...     graph.get_state(config).values, first.checkpoints_put, second.written
        (2, 3, 0)
    """
    return run(
        named("migrate", _migrated(source, target, threads, since, verify, progress)), lambda ask: ask.blocking()
    )


async def amigrate(
    source: MigrationSource,
    target: MigrationTarget,
    *,
    threads: Iterable[str] | None = None,
    since: dt.datetime | MigrationReport | None = None,
    verify: Verify = "sample",
    progress: Progress | None = None,
) -> MigrationReport:
    """Bring what a saver, a store or a cache keeps into Statekeep.

    For asyncio code. See :func:`migrate`.

    A source that answers blocking code only gets worker threads.

    Example:
        >>> import asyncio, statekeep
        >>> from langgraph.store.memory import InMemoryStore
        >>> async def main() -> int:
        ...     store = InMemoryStore()
        ...     await store.aput(("users", "ada"), "theme", {"dark": True})
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         return (await amigrate(store, keep)).items_put
        >>> asyncio.run(main())
        1
    """
    return await arun(
        named("migrate", _migrated(source, target, threads, since, verify, progress)), lambda ask: ask.awaiting()
    )


def _migrated(
    source: Any, target: Any, threads: Any, since: Any, verify: Any, progress: Any
) -> Operation[MigrationReport]:
    place = target_of(target)
    readers = readers_of(source, place.serde)
    check_kinds(readers, place)
    chosen = None if threads is None else list(dict.fromkeys(texts("threads", _listed(threads))))
    start, tally = checked_since(since), Tally(function_or_none("progress", progress), checked_verify(verify))
    yield from _check_room(readers, place)
    if readers.checkpoints is not None and place.checkpoints is not None:
        yield from migrated_threads(readers.checkpoints, place.checkpoints, chosen, start, tally)
    if readers.items is not None and place.items is not None:
        yield from migrated_items(readers.items, place.items, start, tally)
    if readers.cache is not None and place.cache is not None:
        yield from migrated_entries(readers.cache, place.cache, tally)
    return tally.result()


def _listed(threads: Any) -> Any:
    return list(threads) if isinstance(threads, Iterable) and not isinstance(threads, str | bytes) else threads


def _check_room(readers: Readers, place: Target) -> Operation[None]:
    """Refuse a connection that cannot keep what the source has.

    A repository takes its kind, and no other.
    """
    if not place.takes_all:
        return
    for kind, reader, room in (("items", readers.items, place.items), ("cache entries", readers.cache, place.cache)):
        if reader is not None and room is None:
            page: Page[Any] = yield from reader.page(None)
            if page.items:
                raise lacks(kind)
