"""A survey of any service, by listing all records.

The lengths of their values are added up.

Where there is no way to look into the service, as with AWS, it is the only way; it reads everything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Final

from attrs import frozen

from ...domain import CheckpointQuery, Item, Log, LogEntry, Payload, SavedCheckpoint, Thread, Unsupported
from ...domain.checkpoints import encoded_metadata
from ...domain.items import ItemValue, Namespace
from ...domain.json_values import dumps
from ...repositories.item_backend import ItemRange, NamespaceQuery
from ...repositories.logs import LogRange
from ...repositories.operation import Operation, Page
from .sums import Sums

PAGE: Final = 500
"""Entries of a log that are read at once."""


@frozen
class Step:
    """An operation of one of the backends."""

    backend: Any
    operation: Operation[Any]


def survey(sums: Sums, backends: Any, sample: int | None) -> Operation[None]:
    """Look at all threads, namespaces of items and logs.

    Args:
        sums: where they are counted.
        backends: of a connection.
        sample: threads, namespaces and logs to look at, of each so many; ``None`` for all.
    """
    sums.is_sample = False
    yield from _unless_impossible(sums, "threads", _threads(sums, backends.checkpoints, sample))
    if backends.items is not None:
        yield from _unless_impossible(sums, "items", _items(sums, backends.items, sample))
    if backends.logs is not None:
        yield from _unless_impossible(sums, "logs", _logs(sums, backends.logs, sample))
    if backends.cache is not None:
        yield from _unless_impossible(sums, "cache entries", _cache(sums, backends.cache, sample))
    sums.is_done = True


def _unless_impossible(sums: Sums, what: str, part: Operation[None]) -> Operation[None]:
    try:
        yield from part
    except Unsupported as error:
        sums.missing.append(f"{what}: {error}")


def _threads(sums: Sums, backend: Any, sample: int | None) -> Operation[None]:
    looked, after = 0, None
    while True:
        page: Page[Thread] = yield Step(backend, backend.list_threads("", after, None))
        for thread in page.items:
            if sample is not None and looked >= sample:
                sums.is_sample = True
                return
            yield from _thread(sums, backend, thread.thread_id)
            looked += 1
        after = page.cursor
        if after is None:
            return


def _thread(sums: Sums, backend: Any, thread_id: str) -> Operation[None]:
    """Count a thread; a value that several checkpoints have counts once."""
    place, seen = {"thread_id": thread_id}, set[Any]()
    cursor: Any = None
    while True:
        page: Page[SavedCheckpoint] = yield Step(backend, backend.list(CheckpointQuery(thread_id=thread_id), cursor))
        for saved in page.items:
            sums.looked += 1
            header = len(saved.header.data) if saved.header is not None else 0
            sums.add("checkpoints", place, header + len(encoded_metadata(saved)))
            for version, size in _values(saved):
                if version not in seen:
                    seen.add(version)
                    sums.add("values", place, size)
            for write in saved.pending_writes:
                sums.looked += 1
                sums.add("pending writes", place, len(write.payload.data))
        cursor = page.cursor
        if cursor is None:
            return


def _values(saved: SavedCheckpoint) -> Iterator[tuple[Any, int]]:
    for name, channel in saved.channels.items():
        if channel.payload is not None:
            size = len(channel.payload.data)
            yield (saved.namespace, name, type(channel.version).__name__, str(channel.version), size), size


def _items(sums: Sums, backend: Any, sample: int | None) -> Operation[None]:
    found: list[Namespace] = yield Step(backend, backend.list_namespaces(NamespaceQuery((), None, None, 0)))
    if sample is not None and len(found) > sample:
        sums.is_sample, found = True, found[:sample]
    for namespace in found:
        query = ItemRange(namespace, prefix="", after=None, reverse=False, limit=None, refresh=False)
        yield from _pages(sums, backend, partial(backend.list, query), _count_item)


def _count_item(sums: Sums, item: Item) -> None:
    sums.add("items", {"namespace": item.namespace}, _size(item.value))


def _logs(sums: Sums, backend: Any, sample: int | None) -> Operation[None]:
    looked = 0
    cursor: Any = None
    while True:
        page: Page[Log] = yield Step(backend, backend.list((), None, cursor))
        for log in page.items:
            if sample is not None and looked >= sample:
                sums.is_sample = True
                return
            looked += 1
            yield from _log(sums, backend, log.name)
        cursor = page.cursor
        if cursor is None:
            return


def _log(sums: Sums, backend: Any, name: Namespace) -> Operation[None]:
    after = 0
    while True:
        query = LogRange(name, after=after, limit=PAGE, refresh=False)
        entries: list[LogEntry] = yield Step(backend, backend.read(query))
        for entry in entries:
            sums.looked += 1
            sums.add("logs", {"log": name}, _size(entry.value))
        if len(entries) < PAGE:
            return
        after = entries[-1].position


def _cache(sums: Sums, backend: Any, sample: int | None) -> Operation[None]:
    if not hasattr(backend, "list"):
        raise Unsupported("this backend does not list cache entries")

    def count(sums: Sums, entry: Any) -> None:
        sums.add("cache entries", {"namespace": entry.namespace}, len(entry.payload.data), of_cache=True)

    yield from _pages(sums, backend, partial(backend.list, None), count)


def _pages(
    sums: Sums, backend: Any, read: Callable[[Any], Operation[Page[Any]]], count: Callable[[Sums, Any], None]
) -> Operation[None]:
    cursor: Any = None
    while True:
        page: Page[Any] = yield Step(backend, read(cursor))
        for record in page.items:
            sums.looked += 1
            count(sums, record)
        cursor = page.cursor
        if cursor is None:
            return


def _size(value: ItemValue) -> int:
    return len(value.data) if isinstance(value, Payload) else len(dumps(value).encode(errors="surrogatepass"))
