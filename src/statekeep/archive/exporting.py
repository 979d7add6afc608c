"""The bodies of exports: operations of the source, and work on the file."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import define, field, frozen

from ..domain import CacheEntry, CheckpointQuery, Item, Log, LogEntry, Payload, SavedCheckpoint, Unsupported
from ..domain.items import Namespace
from ..repositories.copy import Step, thread_ids
from ..repositories.item_backend import ItemRange, NamespaceQuery
from ..repositories.logs import LogRange
from ..repositories.operation import Operation, Page
from . import lines
from .files import Output
from .report import Report, at
from .spool import Place, Spool

PAGE_BYTES: Final = 4 << 20
"""About how many bytes of items or values of logs are read at once."""

FIRST_PAGE: Final = 16
"""How many of them are read before it is known how large they are."""

LARGEST_PAGE: Final = 500

MEASURED: Final = 100
"""Threads that are asked at once when they end."""

_DONE: Final = "exported; the file has what came before it, and an export that resumes it goes on there"


@frozen
class Local:
    """Work on files, which must not hold up an event loop."""

    do: Callable[[], Any]


def write_all(
    parts: Mapping[str, Any], output: Output, report: Report, kinds: tuple[str, ...], unit: tuple[int, Any]
) -> Operation[None]:
    """Write what is behind a unit, and the end."""
    if unit == (-1, None):
        yield Local(lambda: output.write(lines.header_line(kinds)))
    bodies: dict[str, Callable[..., Operation[None]]] = {
        "checkpoints": _checkpoints,
        "items": _items,
        "logs": _logs,
        "cache": _cache,
    }
    for number, kind in enumerate(lines.KINDS):
        if kind in kinds and number >= unit[0]:
            after = unit[1] if number == unit[0] else None
            yield from bodies[kind](parts[kind], output, report, after)
    yield Local(lambda: _end(output, report))


def _end(output: Output, report: Report) -> None:
    output.write(lines.end_line(report.counts.found(), output.digest.hexdigest()))
    output.finish()


# -- checkpoints


def _checkpoints(source: Any, output: Output, report: Report, after: str | None) -> Operation[None]:
    found = sorted((yield from thread_ids(source)))
    report.of_threads = len(found)
    left = [thread_id for thread_id in found if after is None or thread_id > after]
    for start in range(0, len(left), MEASURED):
        some = left[start : start + MEASURED]
        ends = yield from _ends(source, some)
        for thread_id in some:
            with at("thread", thread_id, _DONE):
                yield from _thread(source, output, report, thread_id, ends.get(thread_id))


def _ends(source: Any, thread_ids: Sequence[str]) -> Operation[dict[str, dt.datetime | None]]:
    """Return when threads end, if the service can have them end."""
    if not thread_ids or not _can_end(source):
        return {}
    found = yield Step(source, source._measure(thread_ids))  # noqa: SLF001 - the body of both faces
    # A thread is told for how long it lives, so after a restore it ends some milliseconds later than before. In whole
    # seconds that is the same.
    return {
        thread_id: measure.expires_at and measure.expires_at.replace(microsecond=0)
        for thread_id, measure in found.items()
    }


def _can_end(source: Any) -> bool:
    """Return whether the service can have a thread end.

    Others would read all of it to say that it does not.
    """
    if not hasattr(source.backend, "measure"):
        return False
    # Whoever cannot says so before the first request, which nobody answers.
    operation = source._expire(f"none-{uuid.uuid4()}", None)  # noqa: SLF001 - the body of both faces
    try:
        next(operation, None)
    except Unsupported:
        return False
    finally:
        operation.close()
    return True


@define
class _Spooled:
    """A thread whose checkpoints were read newest first, and are written oldest first.

    Attributes:
        values: where the line of each value is, by its digest.
        checkpoints: id, namespace, where the lines are, and the digests of the values that they name.
    """

    spool: Spool
    values: dict[str, Place] = field(factory=dict)
    checkpoints: list[tuple[str, str, Place, tuple[str, ...]]] = field(factory=list)
    pending_writes: int = 0

    def add(self, page: Sequence[SavedCheckpoint]) -> None:
        """Write checkpoints into the spool, each value once."""
        known: dict[int, str] = {}
        for saved in page:
            digests = {
                name: self._digest(channel.payload, known)
                for name, channel in saved.channels.items()
                if channel.payload is not None
            }
            text = [lines.checkpoint_line(saved, digests)]
            named = dict.fromkeys(digests[name] for name in sorted(digests))
            for write in saved.pending_writes:
                digest = self._digest(write.payload, known)
                named[digest] = None
                text.append(lines.write_line(write, digest))
            self.pending_writes += len(saved.pending_writes)
            place = self.spool.add(b"".join(text))
            self.checkpoints.append((saved.checkpoint_id, saved.namespace, place, tuple(named)))

    def _digest(self, payload: Payload, known: dict[int, str]) -> str:
        # Checkpoints of a page mostly share the payloads that did not change.
        digest = known.get(id(payload))
        if digest is None:
            digest = known[id(payload)] = lines.digest_of(payload)
            if digest not in self.values:
                self.values[digest] = self.spool.add(lines.value_line(digest, payload))
        return digest

    def write(self, output: Output, first: bytes) -> None:
        """Write the thread behind its first line.

        Each value comes before the first line that names it.
        """
        output.write(first)
        written: set[str] = set()
        for _, _, place, digests in sorted(self.checkpoints, key=lambda one: one[:2]):
            for digest in digests:
                if digest not in written:
                    written.add(digest)
                    self._copy(self.values[digest], output)
            self._copy(place, output)
        output.end_unit()

    def _copy(self, place: Place, output: Output) -> None:
        for piece in self.spool.read(place):
            output.write(piece)


def _thread(
    source: Any, output: Output, report: Report, thread_id: str, expires_at: dt.datetime | None
) -> Operation[None]:
    with Spool() as spool:
        spooled = _Spooled(spool)
        query = CheckpointQuery(thread_id=thread_id)
        page: Page[SavedCheckpoint] = yield Step(source, source.backend.list(query, None))
        yield Local(partial(spooled.add, page.items))
        while page.cursor is not None:
            page = yield Step(source, source.backend.list(query, page.cursor))
            yield Local(partial(spooled.add, page.items))
        if not spooled.checkpoints:
            return  # deleted meanwhile
        first = lines.thread_line(thread_id, expires_at)
        yield Local(lambda: spooled.write(output, first))
        report.add(thread_id, threads=1, checkpoints=len(spooled.checkpoints), pending_writes=spooled.pending_writes)


# -- items


def _size(count: int, read: int) -> int:
    """Return how many to read at once, if so many had so many bytes."""
    return max(1, min(LARGEST_PAGE, 4 * count, PAGE_BYTES * count // max(1, read)))


def _items(source: Any, output: Output, report: Report, after: tuple[Namespace, str] | None) -> Operation[None]:
    every = NamespaceQuery((), None, None, 0)
    namespaces: list[Namespace] = yield Step(source, source.backend.list_namespaces(every))
    for namespace in sorted(namespaces):
        if after is None or namespace >= after[0]:
            key = after[1] if after is not None and namespace == after[0] else None
            with at("namespace", namespace, _DONE):
                yield from _namespace(source, output, report, namespace, key)


def _namespace(source: Any, output: Output, report: Report, namespace: Namespace, after: str | None) -> Operation[None]:
    size = FIRST_PAGE
    while True:
        query = ItemRange(namespace, prefix="", after=after, reverse=False, limit=size, refresh=False)
        found: list[Item] = []
        page: Page[Item] = yield Step(source, source.backend.list(query, None))
        found += page.items
        while page.cursor is not None:
            page = yield Step(source, source.backend.list(query, page.cursor))
            found += page.items
        text = [lines.item_line(item) for item in found]
        if found:
            yield Local(partial(_write_units, output, text))
            report.add(namespace, items=len(found))
        if len(found) < size:
            return
        after, size = found[-1].key, _size(len(found), sum(map(len, text)))


def _write_units(output: Output, text: Sequence[bytes]) -> None:
    for each in text:
        output.write(each)
        output.end_unit()


def _write_spooled(output: Output, spool: Spool, place: Place) -> None:
    _write_units(output, [b"".join(spool.read(place))])


# -- logs


def _logs(source: Any, output: Output, report: Report, after: Namespace | None) -> Operation[None]:
    page: Page[Log] = yield Step(source, source.backend.list((), None, None))
    while True:
        for log in page.items:
            if after is None or log.name > after:
                with at("log", log.name, _DONE):
                    yield from _log(source, output, report, log)
        if page.cursor is None:
            return
        page = yield Step(source, source.backend.list((), None, page.cursor))


def _log(source: Any, output: Output, report: Report, log: Log) -> Operation[None]:
    position, size, is_begun = 0, FIRST_PAGE, False
    while True:
        query = LogRange(log.name, after=position, limit=size, refresh=False)
        found: list[LogEntry] = yield Step(source, source.backend.read(query))
        text = [lines.entry_line(entry) for entry in found]
        if found:
            first = b"" if is_begun else lines.log_line(log.name, log.expires_at)
            yield Local(partial(output.write, first + b"".join(text)))
            report.add(log.name, logs=0 if is_begun else 1, entries=len(found))
            is_begun = True
        if len(found) < size:
            break
        position, size = found[-1].position, _size(len(found), sum(map(len, text)))
    yield Local(output.end_unit)


# -- the cache


def _cache(source: Any, output: Output, report: Report, after: tuple[Namespace, str] | None) -> Operation[None]:
    """Write all entries. They come in no order, so they are put in order here."""
    pages = source._list(None)  # noqa: SLF001 - the body of both faces
    with Spool() as spool:
        places: list[tuple[Namespace, str, Place]] = []

        def add(entries: Sequence[CacheEntry]) -> None:
            places.extend((one.namespace, one.key, spool.add(lines.cache_line(one))) for one in entries)

        page: Page[CacheEntry] = yield Step(source, pages(None))
        yield Local(partial(add, page.items))
        while page.cursor is not None:
            page = yield Step(source, pages(page.cursor))
            yield Local(partial(add, page.items))
        ordered = sorted(places)
        last = after
        for namespace, key, place in ordered:
            if last is not None and (namespace, key) <= last:
                continue  # written before, or listed twice
            last = (namespace, key)
            yield Local(partial(_write_spooled, output, spool, place))
            report.add(namespace, cache_entries=1)
