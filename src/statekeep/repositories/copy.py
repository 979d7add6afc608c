"""Copies of all records, from one repository to another."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from attrs import define, field, frozen

from ..domain import (
    ANY,
    Channel,
    Checkpoint,
    CheckpointQuery,
    InvalidInput,
    Item,
    Log,
    LogEntry,
    Payload,
    PutItem,
    SavedCheckpoint,
    StatekeepError,
    Thread,
)
from ..domain.items import ItemValue, Namespace
from ..domain.json_values import dumps
from ..domain.model import Model
from ..telemetry import hook
from .checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository, Supply
from .connection import AsyncConnection, Connection
from .item_backend import Get, ItemRange, NamespaceQuery
from .items import AsyncItemRepository, ItemRepository
from .logs import AsyncLogRepository, LogRange, LogRepository
from .operation import Operation, Page, arun, named, run
from .validation import function_or_none, some_of

KINDS: Final = ("checkpoints", "items", "logs")

WINDOW: Final = 20
"""Checkpoints in memory at once; their values may be large."""

PARENTS: Final = 1000
"""Checkpoints of a thread whose digests are kept, so that children need not send equal values."""

SLACK: Final = dt.timedelta(seconds=1)
"""Tolerated difference of equal expiries: two servers have two clocks."""


class CopyProgress(Model):
    """Progress of a copy, and in the end its result.

    Attributes:
        threads: threads that were copied.
        of_threads: how many there were when the copy began.
        checkpoints: checkpoints that were put.
        pending_writes: pending writes of these checkpoints.
        namespaces: namespaces of items that were copied.
        of_namespaces: how many there were when the copy of items began.
        items: items that were put; those that the target had already are not counted.
        logs: logs that were copied; those that the target had already are not counted.
        place: the thread, the namespace, or the log that is being copied; ``None`` before the first.
    """

    threads: int = 0
    of_threads: int = 0
    checkpoints: int = 0
    pending_writes: int = 0
    namespaces: int = 0
    of_namespaces: int = 0
    items: int = 0
    logs: int = 0
    place: str | Namespace | None = None


Progress = Callable[[CopyProgress], object]


@frozen
class Step:
    """An operation of one of the two repositories."""

    repository: Any
    operation: Operation[Any]


@define
class _Report:
    """Counts that are told to the caller as they grow."""

    tell: Progress | None
    so_far: CopyProgress = field(factory=CopyProgress)

    def add(self, *, place: str | Namespace | None = None, **more: int) -> None:
        """Count more, and perhaps name the place that is being copied now."""
        fields = {name: getattr(self.so_far, name) + number for name, number in more.items()}
        if place is not None:
            fields["place"] = place
        self.so_far = self.so_far.model_copy(update=fields)
        if self.tell is not None:
            self.tell(self.so_far)


@contextmanager
def _at(what: str, place: str | Namespace) -> Iterator[None]:
    """Name the thread or namespace in errors."""
    try:
        yield
    except StatekeepError as error:
        error.add_note(
            f"while {what} {place!r} was copied; what was copied before is there, and a copy may be repeated"
        )
        raise


# -- checkpoints


def _values(saved: Checkpoint) -> dict[str, tuple[str, Any, bytes]]:
    """Return version and digest of each value, by channel.

    A version is its type and value.
    """
    found = {}
    for name, channel in saved.channels.items():
        if channel.payload is not None:
            digest = hashlib.blake2b(channel.payload.encoding.encode() + b"\x00" + channel.payload.data, digest_size=16)
            found[name] = (type(channel.version).__name__, channel.version, digest.digest())
    return found


@define
class Known:
    """Versions and digests of the values that a thread's last copied checkpoints have."""

    _found: OrderedDict[tuple[str, str], dict[str, tuple[str, Any, bytes]]] = field(factory=OrderedDict)

    def lighter(self, saved: SavedCheckpoint) -> Checkpoint:
        """Return a checkpoint to put, without values that its parent in the target has."""
        mine = _values(saved)
        of_parent = self._found.get((saved.namespace, saved.parent_id or ""), {})
        channels = {
            name: Channel.earlier(channel.version) if name in mine and mine[name] == of_parent.get(name) else channel
            for name, channel in saved.channels.items()
        }
        self._found[saved.namespace, saved.checkpoint_id] = mine
        if len(self._found) > PARENTS:
            self._found.popitem(last=False)
        fields = {name: getattr(saved, name) for name in Checkpoint.model_fields}
        return Checkpoint.trusted(**(fields | {"channels": channels}))


def _windows(ids: Sequence[str]) -> Iterator[tuple[str | None, str]]:
    """Cut a thread, whose ids are listed newest first, into windows, oldest first.

    Yields for each the id before which it begins and its last id. Checkpoints of one id are in one window.
    """
    end = len(ids)
    for at in range(len(ids) - 1, -1, -1):
        if at == 0 or (end - at >= WINDOW and ids[at] != ids[at - 1]):
            yield (ids[at - 1] if at else None), ids[end - 1]
            end = at


def _copied_checkpoints(
    source: CheckpointRepository | AsyncCheckpointRepository,
    target: CheckpointRepository | AsyncCheckpointRepository,
    report: _Report,
) -> Operation[None]:
    found = yield from thread_ids(source)
    report.add(of_threads=len(found))
    for thread_id in found:
        with _at("thread", thread_id):
            report.add(place=thread_id)
            yield from _copied_thread(source, target, thread_id, report)
            report.add(threads=1)


def thread_ids(source: Any) -> Operation[list[str]]:
    """Return the ids of all threads.

    The last updated one is the last, as in the target later.

    A thread that is updated meanwhile moves to the front and may be overlooked, so the front is read again.
    """
    rounds: list[list[str]] = []
    seen: set[str] = set()
    until: dt.datetime | None = None
    while True:
        page: Page[Thread] = yield Step(source, source.backend.list_threads("", None, None))
        newest = page.items[0].updated_at if page.items else None
        is_whole = page.cursor is None
        found = [thread.thread_id for thread in page.items]
        while page.cursor is not None and (until is None or not page.items or page.items[-1].updated_at > until):
            page = yield Step(source, source.backend.list_threads("", page.cursor, None))
            found += [thread.thread_id for thread in page.items]
        rounds.append([thread_id for thread_id in dict.fromkeys(found) if thread_id not in seen])
        seen.update(found)
        if is_whole or not rounds[-1]:
            return [thread_id for one in rounds for thread_id in reversed(one)]
        until = newest


def _copied_thread(source: Any, target: Any, thread_id: str, report: _Report) -> Operation[None]:
    """Put the oldest checkpoints first: a child refers to values of its parent."""
    known = Known()
    query = CheckpointQuery(thread_id=thread_id)
    page: Page[SavedCheckpoint] = yield Step(source, source.backend.list(query, None))
    if page.cursor is None:
        yield from _put(target, page.items, known, report)
        return
    ids = [saved.checkpoint_id for saved in page.items]
    while page.cursor is not None:
        page = yield Step(source, source.backend.list(query, page.cursor))
        ids += [saved.checkpoint_id for saved in page.items]
    for before, last in _windows(ids):
        window = yield from _read(source, thread_id, before, last)
        yield from _put(target, window, known, report)


def _read(source: Any, thread_id: str, before: str | None, last: str) -> Operation[list[SavedCheckpoint]]:
    """Read a window of a thread, with checkpoints that were put into it meanwhile."""
    window: list[SavedCheckpoint] = []
    query = CheckpointQuery(thread_id=thread_id, before=before)
    cursor: Any = None
    while True:
        page: Page[SavedCheckpoint] = yield Step(source, source.backend.list(query, cursor))
        window += [saved for saved in page.items if saved.checkpoint_id >= last]
        cursor = page.cursor
        if cursor is None or (len(page.items) and page.items[-1].checkpoint_id < last):
            return window


def _put(target: Any, newest_first: Sequence[SavedCheckpoint], known: Known, report: _Report) -> Operation[None]:
    backend: CheckpointBackend = target.backend
    for saved in reversed(newest_first):
        yield Step(target, backend.put(known.lighter(saved), supplier(saved)))
        writes = saved.pending_writes
        if writes:
            yield Step(target, backend.put_writes(saved.thread_id, saved.namespace, saved.checkpoint_id, writes))
        report.add(checkpoints=1, pending_writes=len(writes))


def supplier(saved: SavedCheckpoint) -> Supply:
    """Supply values anew, in case the target lost those of the parent."""
    payloads = {name: channel.payload for name, channel in saved.channels.items() if channel.payload is not None}
    return lambda names: {name: payloads[name] for name in names}


# -- items


def _copied_items(source: Any, target: Any, report: _Report) -> Operation[None]:
    every = NamespaceQuery((), None, None, 0)
    namespaces: list[Namespace] = yield Step(source, source.backend.list_namespaces(every))
    report.add(of_namespaces=len(namespaces))
    for namespace in namespaces:
        with _at("namespace", namespace):
            report.add(place=namespace)
            query = ItemRange(namespace, prefix="", after=None, reverse=False, limit=None, refresh=False)
            page: Page[Item] = yield Step(source, source.backend.list(query, None))
            yield from _put_items(target, namespace, page.items, report)
            while page.cursor is not None:
                page = yield Step(source, source.backend.list(query, page.cursor))
                yield from _put_items(target, namespace, page.items, report)
            report.add(namespaces=1)


def _put_items(target: Any, namespace: Namespace, items: Sequence[Item], report: _Report) -> Operation[None]:
    """Put items that the target lacks: a repeated copy makes no new versions."""
    gets = [Get(namespace, item.key, refresh=False) for item in items]
    there: list[Item | None] = yield Step(target, target.backend.apply(gets))
    now = dt.datetime.now(dt.UTC)
    puts = [
        PutItem(namespace=namespace, key=item.key, value=item.value, ttl=_left(item, now))
        for item, stored in zip(items, there, strict=True)
        if (item.expires_at is None or item.expires_at > now) and not (stored is not None and _alike(stored, item))
    ]
    if puts:
        # By the repository, which makes the vectors.
        yield Step(target, target._batch(puts))  # noqa: SLF001 - the body of both faces' batch
        report.add(items=len(puts))


def _left(item: Item | Log, now: dt.datetime) -> float | None:
    return None if item.expires_at is None else (item.expires_at - now).total_seconds()


def _alike(one: Item, other: Item) -> bool:
    return _stored(one.value) == _stored(other.value) and _end_alike(one, other)


def _end_alike(one: Item | Log, other: Item | Log) -> bool:
    if one.expires_at is None or other.expires_at is None:
        return one.expires_at is other.expires_at
    return abs(one.expires_at - other.expires_at) <= SLACK


# -- logs


def _copied_logs(source: Any, target: Any, report: _Report) -> Operation[None]:
    """Replace each log of the target that is another one."""
    page: Page[Log] = yield Step(source, source.backend.list((), None, None))
    while True:
        for log in page.items:
            with _at("log", log.name):
                report.add(place=log.name)
                yield from _copied_log(source, target, log, report)
        if page.cursor is None:
            return
        page = yield Step(source, source.backend.list((), None, page.cursor))


def _copied_log(source: Any, target: Any, log: Log, report: _Report) -> Operation[None]:
    every = LogRange(log.name, refresh=False)
    entries: list[LogEntry] = yield Step(source, source.backend.read(every))
    now = dt.datetime.now(dt.UTC)
    if not entries or (log.expires_at is not None and log.expires_at <= now):
        return
    there: list[LogEntry] = yield Step(target, target.backend.read(every))
    is_there: Page[Log] = yield Step(target, target.backend.list(log.name, 1, None))
    if [_stored(entry.value) for entry in there] == [_stored(entry.value) for entry in entries]:
        if is_there.items and is_there.items[0].name == log.name and _end_alike(is_there.items[0], log):
            return
    values = [entry.value for entry in entries]
    yield Step(target, target.backend.replace(log.name, values, ANY, _left(log, now)))
    report.add(logs=1)


def _stored(value: ItemValue) -> Payload | str:
    return value if isinstance(value, Payload) else dumps(value)


# -- the two faces


_BLOCKING: Final = (CheckpointRepository, ItemRepository, LogRepository, Connection)
_AWAITING: Final = (AsyncCheckpointRepository, AsyncItemRepository, AsyncLogRepository, AsyncConnection)

SourceT = TypeVar("SourceT", CheckpointRepository, ItemRepository, LogRepository, Connection)
AsyncSourceT = TypeVar(
    "AsyncSourceT", AsyncCheckpointRepository, AsyncItemRepository, AsyncLogRepository, AsyncConnection
)


def _copied(
    source: Any, target: Any, kinds: tuple[str, ...] | None, report: _Report, classes: tuple[type[Any], ...]
) -> Operation[CopyProgress]:
    """Copy between repositories or connections of one face."""
    *repositories, connection = classes
    pairs: list[tuple[Any, Any]] = [(source, target)]
    if isinstance(source, connection) and isinstance(target, connection):
        wanted = KINDS if kinds is None else kinds
        pairs = []
        if "checkpoints" in wanted:
            pairs.append((source.checkpoints, target.checkpoints))
        if "items" in wanted and source.has_items:
            pairs.append((source.items, target.items))
        if "logs" in wanted and source.has_logs and (target.has_logs or (yield from _has_any_log(source))):
            pairs.append((source.logs, target.logs))
    elif kinds is not None:
        raise InvalidInput("kinds goes with two connections: a repository has records of one kind", field="kinds")
    for one, other in pairs:
        _check(one, other, classes)
    for one, other in pairs:
        bodies = zip(repositories, (_copied_checkpoints, _copied_items, _copied_logs), strict=True)
        [body] = [body for kind, body in bodies if isinstance(one, kind)]
        yield from body(one, other, report)
    return report.so_far


def _name(step: Step) -> str:
    """Return the name of the method that does the same as a step."""
    name = getattr(step.operation, "__name__", "")
    return f"{step.repository.kind}.{'batch' if name == 'apply' else name}"


def _performed(step: Step) -> Any:
    if hook.observers:
        with hook.watching(_name(step), step.repository.backend):
            return run(step.operation, step.repository.executor.execute)
    return run(step.operation, step.repository.executor.execute)


async def _aperformed(step: Step) -> Any:
    if hook.observers:
        with hook.watching(_name(step), step.repository.backend):
            return await arun(step.operation, step.repository.executor.aexecute)
    return await arun(step.operation, step.repository.executor.aexecute)


def _has_any_log(source: Any) -> Operation[bool]:
    page: Page[Log] = yield Step(source.logs, source.logs.backend.list((), 1, None))
    return bool(page.items)


def _check(source: Any, target: Any, classes: tuple[type[Any], ...]) -> None:
    repositories = classes[:-1]
    for field_name, value in (("source", source), ("target", target)):
        if not isinstance(value, repositories):
            names = ", ".join(kind.__name__ for kind in classes)
            raise InvalidInput(f"{field_name} must be one of {names}, got {type(value).__name__}", field=field_name)
    if [isinstance(source, kind) for kind in repositories] != [isinstance(target, kind) for kind in repositories]:
        raise InvalidInput(
            f"target must be of the kind of source, {type(source).__name__}, got {type(target).__name__}",
            field="target",
        )
    if source.backend is target.backend:
        raise InvalidInput("target must be another repository than source", field="target")


def _checked(kinds: Any, progress: Any) -> tuple[tuple[str, ...] | None, _Report]:
    return some_of("kinds", kinds, KINDS), _Report(function_or_none("progress", progress))


def copy(
    source: SourceT, target: SourceT, *, kinds: Iterable[str] | None = None, progress: Progress | None = None
) -> CopyProgress:
    """Copy everything from one repository to another, whatever backends they have.

    Checkpoints come with all namespaces, metadata, times, parents, channel values and pending writes. Threads are
    copied in the order in which they were updated; unchanged channel values are sent once. Records of the target with
    the same ids are replaced, but for pending writes with ``idx >= 0``, which stay.

    Items come with their values and expire when they would have expired, by the clock of this machine. The index of the
    target makes their vectors. An item that the target has already, with equal value and expiry, is left alone.

    Logs come as a whole, with values, order and expiry: one that the target has already, with other values, is
    replaced. Their values get new positions.

    You may repeat a copy, also one that was cut off. Records that are written to the source meanwhile may be missing.
    In memory are at most some 20 checkpoints, 100 items or one log at once, and the ids of all threads and of the
    checkpoints of one thread, or all namespaces.

    Not copied, as no contract offers it: pending writes of checkpoints that are not stored yet; the expiry of
    checkpoints (they get the TTL of the target); the times at which threads were updated; of items the versions, times
    of creation and update, original TTLs, and the ``index`` they were put with. Cache entries are not copied, as
    they can be made again. A ``replayed`` channel gets a value if another checkpoint of the namespace
    has one for its version, as in every put.

    Args:
        source: a repository of checkpoints, items or logs to read, or a connection, of which all are copied; one
            without items or logs can be copied to any other.
        target: the one to write; of the same kind.
        kinds: of a connection only these records: some of ``checkpoints``, ``items`` and ``logs``; all by default.
        progress: function that gets the counts so far, after each checkpoint and each page of items.

    Returns:
        Counts of everything that was copied.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the source keeps items, or has logs, and the target keeps none; nothing was copied.
        StatekeepError: reading or writing failed; a note says at which thread, namespace or log.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as old, statekeep.connect("memory:") as new:
        ...     old.checkpoints.put(statekeep.Checkpoint(thread_id="t", checkpoint_id="1"))
        ...     item = old.items.put(("users", "ada"), "theme", "dark")
        ...     copied = statekeep.copy(old, new)
        ...     new.checkpoints.get("t").checkpoint_id, new.items.get(("users", "ada"), "theme").value
        ('1', 'dark')
        >>> copied.threads, copied.checkpoints, copied.items
        (1, 1, 1)
    """
    return run(
        named("copy", _copied(source, target, *_checked(kinds, progress), _BLOCKING)),
        _performed,
    )


async def acopy(
    source: AsyncSourceT, target: AsyncSourceT, *, kinds: Iterable[str] | None = None, progress: Progress | None = None
) -> CopyProgress:
    """Copy everything between repositories in asyncio code. See :func:`copy`.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> int:
        ...     async with statekeep.aconnect("memory:") as old, statekeep.aconnect("memory:") as new:
        ...         await old.items.put(("users", "ada"), "theme", "dark")
        ...         return (await statekeep.acopy(old.items, new.items)).items
        >>> asyncio.run(main())
        1
    """
    return await arun(
        named("copy", _copied(source, target, *_checked(kinds, progress), _AWAITING)),
        _aperformed,
    )
