"""Repositories of logs: the contract of a backend, and two faces."""

from __future__ import annotations

import builtins
import datetime as dt
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Final, Protocol

from attrs import frozen

from ..domain import ANY, DEFAULT, Conflict, InvalidInput, Log, LogEntry, LogMeasure, Unsupported
from ..domain.items import Namespace, item_value
from ..domain.logs import LARGEST_POSITION, LogValue
from ..domain.model import Anything, Ttl
from ..domain.shown import shown
from .faces import Awaiting, Backend, Blocking, Pages, Repository, aiterating, awaiting, blocking, iterating
from .operation import Operation, Page, named
from .records.restored import checked_end, entries_of, stored_bytes
from .validation import boolean, boolean_or_none, count, labels, ttl_or_default

__all__ = ["AsyncLogRepository", "LogBackend", "LogRange", "LogRepository"]

PAGE: Final = 100
"""Values read at once to measure a log."""

ExpectedPosition = int | None | Anything
"""The position of the last value, ``None`` for an empty log, or :data:`~statekeep.ANY`."""


@frozen
class LogRange:
    """Values of a log that are to be read.

    Attributes:
        log: its labels.
        after: only values behind this position; 0 for all.
        limit: at most so many; ``None`` for all.
        is_last: whether these are the last ones, and not the first.
        refresh: whether the log's TTL begins anew; ``None`` for what the backend was made with.
    """

    log: Namespace
    after: int = 0
    limit: int | None = None
    is_last: bool = False
    refresh: bool | None = None


class LogBackend(Backend, Protocol):
    """The contract of a backend.

    Every operation is a generator, see :mod:`statekeep.repositories.operation`.

    The arguments are validated already, and values are JSON already, or payloads. What each operation must do is said
    by the method of the same name of :class:`LogRepository`, and proved by the contract tests in ``statekeep.testing``.

    ``restore(log, entries, after, expires_at)`` and ``measure(log)`` are optional. Without the first one the repository
    raises :class:`~statekeep.Unsupported`, without the second it reads the log.
    """

    def append(self, log: Namespace, values: Sequence[LogValue], ttl: Ttl) -> Operation[int]:
        """Store one value or more, all or none."""
        ...

    def read(self, query: LogRange) -> Operation[builtins.list[LogEntry]]:
        """Read values in their order: ``last`` and ``read``."""
        ...

    def pop(self, log: Namespace, n: int, first: bool) -> Operation[builtins.list[LogEntry]]: ...

    def trim(self, log: Namespace, keep: int) -> Operation[int]:
        """Remove all values but the last ones: ``trim``, and with 0 ``delete``."""
        ...

    def replace(
        self, log: Namespace, values: Sequence[LogValue], expected: ExpectedPosition, ttl: Ttl
    ) -> Operation[int]:
        """Store values in the place of all others, or none.

        :func:`conflict` makes the error.
        """
        ...

    def count(self, log: Namespace) -> Operation[int]: ...

    def list(self, prefix: Namespace, limit: int | None, cursor: Any) -> Operation[Page[Log]]:
        """Return one page.

        ``cursor`` is ``None`` for the first; ``limit`` holds for all pages together.
        """
        ...


def conflict(log: Namespace, expected: ExpectedPosition, last: int) -> Conflict:
    """Return the error about an expectation that does not hold.

    Args:
        log: its labels.
        expected: what was expected.
        last: the position of the last value that is there, 0 for none.
    """
    wanted = "no value" if expected is None else f"the last value at {expected}"
    there = f"it is at {last}" if last else "there is none"
    return Conflict(
        f"expected {wanted} in the log {shown(log, 200)}, but {there}; nothing was written",
        expected=expected,
        actual=last or None,
    )


def _values(values: Any) -> list[LogValue]:
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
        raise InvalidInput(f"values must be a sequence of values, got {type(values).__name__}", field="values")
    return [item_value(value, f"values[{position}]") for position, value in enumerate(values)]


def _expected(expected: Any) -> ExpectedPosition:
    if expected is ANY or expected is None:
        found: ExpectedPosition = expected
        return found
    if isinstance(expected, int) and not isinstance(expected, bool) and 1 <= expected <= LARGEST_POSITION:
        return int.__int__(expected)
    raise InvalidInput(
        f"expected must be the position of the last value (LogEntry.position), None or ANY, got {shown(expected)}",
        field="expected",
    )


def _nothing() -> Operation[None]:
    yield from ()


class _Operations(Repository[LogBackend]):
    """The bodies of the methods: arguments in, operations out."""

    kind = "logs"

    def __init__(self, backend: LogBackend) -> None:
        super().__init__(backend)

    def _append(self, log: Sequence[str], values: Sequence[LogValue], *, ttl: Ttl = DEFAULT) -> Operation[int]:
        """Store values behind all others of a log; all or none, in one unit.

        Args:
            log: its labels from the outside in, each any text but the empty one. A log is there while it has values.
            values: each is what JSON can hold, or a :class:`~statekeep.Payload`. Tuples come back as lists; what JSON
                cannot hold (NaN, infinities, bytes, dates) is refused: make it a payload.
            ttl: seconds that the whole log lives from now on, fractions allowed; ``None`` for ever,
                :data:`~statekeep.DEFAULT` for what the repository was made with. The last append counts, be its TTL
                longer or shorter than that before. Without values it means nothing.

        Returns:
            The number of values that the log has now.

        Raises:
            InvalidInput: JSON cannot hold a value, or another argument is wrong. Nothing was written.

        Example:
            >>> import statekeep
            >>> logs = statekeep.connect("memory:").logs
            >>> logs.append(("chat", "ada"), [{"role": "user", "content": "hello"}], ttl=86_400)
            1
        """
        place, found, seconds = labels("log", log), _values(values), ttl_or_default(ttl)
        if not found:
            return named("append", self.backend.count(place))
        return self.backend.append(place, found, seconds)

    def _last(self, log: Sequence[str], n: int = 1, *, refresh: bool | None = None) -> Operation[list[LogEntry]]:
        """Return the last values of a log, in their order.

        Args:
            log: its labels.
            n: at most so many.
            refresh: whether the log's TTL begins anew, with the seconds of the last append; ``None`` for what the
                repository was made with.

        Returns:
            The values with their positions; none if there is no such log.
        """
        query = LogRange(labels("log", log), 0, count("n", n), True, boolean_or_none("refresh", refresh))
        return named("last", self._found(query))

    def _read(
        self, log: Sequence[str], *, after: int | None = None, limit: int | None = None, refresh: bool | None = None
    ) -> Operation[list[LogEntry]]:
        """Return values of a log, the first ones first.

        Args:
            log: its labels.
            after: only those behind this position, which may be that of a value that is gone by now; ``None`` for all.
            limit: at most so many; ``None`` for all.
            refresh: as for :meth:`last`.

        Returns:
            The values with their positions.

        Example:
            >>> import statekeep
            >>> logs = statekeep.connect("memory:").logs
            >>> logs.append(("events",), ["a", "b", "c"])
            3
            >>> first, second = logs.read(("events",), limit=2)
            >>> logs.trim(("events",), keep=1)
            2
            >>> [entry.value for entry in logs.read(("events",), after=second.position)]
            ['c']
        """
        query = LogRange(
            labels("log", log),
            0 if after is None else count("after", after),
            None if limit is None else count("limit", limit),
            False,
            boolean_or_none("refresh", refresh),
        )
        return named("read", self._found(query))

    def _found(self, query: LogRange) -> Operation[list[LogEntry]]:
        if query.limit == 0:
            return []
        return (yield from self.backend.read(query))

    def _pop(self, log: Sequence[str], n: int = 1, *, first: bool = False) -> Operation[list[LogEntry]]:
        """Remove the last values of a log and return them, in their order.

        The log is gone when it has no values any more.

        Args:
            log: its labels.
            n: at most so many.
            first: remove the first ones instead.
        """
        return named("pop", self._popped(labels("log", log), count("n", n), boolean("first", first)))

    def _popped(self, log: Namespace, n: int, first: bool) -> Operation[list[LogEntry]]:
        if n == 0:
            return []
        return (yield from self.backend.pop(log, n, first))

    def _trim(self, log: Sequence[str], *, keep: int) -> Operation[int]:
        """Remove all values of a log but the last ones.

        Args:
            log: its labels.
            keep: how many stay; with 0 the log is deleted.

        Returns:
            How many were removed.
        """
        return self.backend.trim(labels("log", log), count("keep", keep))

    def _replace(
        self,
        log: Sequence[str],
        values: Sequence[LogValue],
        *,
        expected: ExpectedPosition = ANY,
        ttl: Ttl = DEFAULT,
    ) -> Operation[int]:
        """Store values in the place of all that a log has; all or none, in one unit.

        They get positions behind all that the log ever had. Without values the log is deleted.

        Args:
            log: its labels.
            values: as for :meth:`append`.
            expected: compare and set: the position of the last value as you read it: then nobody has appended
                anything since, nor removed that value, nor replaced the log. What was removed at the beginning does not
                matter. ``None``: there must be no values. :data:`~statekeep.ANY`: whatever there is.
            ttl: as for :meth:`append`.

        Returns:
            The number of values that the log has now.

        Raises:
            Conflict: ``expected`` does not hold. Nothing was written.
            InvalidInput: as :meth:`append`.

        Example:
            >>> import statekeep
            >>> logs = statekeep.connect("memory:").logs
            >>> logs.append(("chat", "ada"), ["hello", "how are you?", "fine"])
            3
            >>> entries = logs.read(("chat", "ada"))
            >>> summary = f"{len(entries)} messages"
            >>> logs.replace(("chat", "ada"), [summary], expected=entries[-1].position)
            1
        """
        place, found, seconds = labels("log", log), _values(values), ttl_or_default(ttl)
        return self.backend.replace(place, found, _expected(expected), seconds)

    def _restore(
        self,
        log: Sequence[str],
        entries: Sequence[LogEntry],
        *,
        expires_at: dt.datetime | None = None,
        after: int = 0,
    ) -> Operation[None]:
        """Store values with the positions that they had when they were read.

        All are stored or none, in one unit. They replace what the log has behind ``after``: mostly everything. Values
        that are appended later get positions behind all that were restored. To restore a long log in parts, pass the
        last position of the part before as ``after``.

        Args:
            log: its labels.
            entries: as they were read, in their order. Without any nothing is done.
            expires_at: when the log ends, with all its values; ``None`` for never. If that has passed, nothing is
                done. A refresh has it live on for as long as it has left now.
            after: a position; values up to it stay.

        Raises:
            InvalidInput: something is no entry, their positions do not grow, or ``expires_at`` is none that a
                repository can keep. Nothing was written.
            Unsupported: the backend has no such operation.

        Example:
            >>> import statekeep
            >>> old, new = statekeep.connect("memory:").logs, statekeep.connect("memory:").logs
            >>> old.append(("chat", "ada"), ["hello", "how are you?"])
            2
            >>> new.restore(("chat", "ada"), old.read(("chat", "ada")))
            >>> new.read(("chat", "ada")) == old.read(("chat", "ada"))
            True
        """
        place, behind = labels("log", log), count("after", after)
        found, end = entries_of(entries, behind), checked_end("expires_at", expires_at)
        restore = getattr(self.backend, "restore", None)
        if restore is None:
            raise Unsupported(f"{type(self.backend).__name__} cannot restore logs: it has no such operation")
        return named("restore", restore(place, found, behind, end) if found else _nothing())

    def _measure(self, log: Sequence[str]) -> Operation[LogMeasure]:
        """Count the values of a log, and their bytes.

        Valkey tells what the list takes in memory, in one round trip and by a sample of its values; where ``MEMORY
        USAGE`` is forbidden, the length of the first ones tells that of all. Other backends read the log: it is the
        bytes of its values.

        Args:
            log: its labels.

        Example:
            >>> import statekeep
            >>> logs = statekeep.connect("memory:").logs
            >>> logs.append(("chat", "ada"), ["hello", "how are you?"])
            2
            >>> logs.measure(("chat", "ada"))
            LogMeasure(count=2, bytes=21, basis='lengths')
        """
        place = labels("log", log)
        measure = getattr(self.backend, "measure", None)
        return named("measure", self._measured(place) if measure is None else measure(place))

    def _measured(self, log: Namespace) -> Operation[LogMeasure]:
        found = size = position = 0
        while True:
            entries = yield from self.backend.read(LogRange(log, position, PAGE, False, refresh=False))
            found += len(entries)
            size += sum(stored_bytes(entry.value) for entry in entries)
            if len(entries) < PAGE:
                return LogMeasure(count=found, bytes=size, basis="lengths")
            position = entries[-1].position

    def _count(self, log: Sequence[str]) -> Operation[int]:
        """Return the number of values of a log, 0 if there is no such log.

        Args:
            log: its labels.
        """
        return self.backend.count(labels("log", log))

    def _delete(self, log: Sequence[str]) -> Operation[int]:
        """Delete a log with all its values.

        Args:
            log: its labels. Logs below it stay.

        Returns:
            How many values it had.
        """
        return named("delete", self.backend.trim(labels("log", log), 0))

    def _list(self, *, prefix: Sequence[str] = (), limit: int | None = None) -> Pages[Log]:
        """Iterate over logs in the order of their labels, reading page by page.

        Args:
            prefix: labels; only logs at or below them. ``()`` for all.
            limit: at most so many.

        Example:
            >>> import statekeep
            >>> logs = statekeep.connect("memory:").logs
            >>> for name in [("chat", "ada"), ("chat", "bob"), ("chats",)]:
            ...     count = logs.append(name, ["hello"])
            >>> [log.name for log in logs.list(prefix=("chat",))]
            [('chat', 'ada'), ('chat', 'bob')]
        """
        return partial(self.backend.list, labels("prefix", prefix), None if limit is None else count("limit", limit))


class LogRepository(_Operations, Blocking[LogBackend]):
    """Logs, for blocking code.

    Get one from :func:`statekeep.connect`, or build it over a backend. It may be shared by threads.

    Args:
        backend: where the logs are kept.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     keep.logs.append(("chat", "ada"), ["hello", "how are you?"])
        ...     [entry.value for entry in keep.logs.last(("chat", "ada"), 10)]
        2
        ['hello', 'how are you?']
    """

    append = blocking(_Operations._append)
    last = blocking(_Operations._last)
    read = blocking(_Operations._read)
    pop = blocking(_Operations._pop)
    trim = blocking(_Operations._trim)
    replace = blocking(_Operations._replace)
    restore = blocking(_Operations._restore)
    measure = blocking(_Operations._measure)
    count = blocking(_Operations._count)
    delete = blocking(_Operations._delete)
    list = iterating(_Operations._list)


class AsyncLogRepository(_Operations, Awaiting[LogBackend]):
    """Logs, for asyncio code.

    Get one from :func:`statekeep.aconnect`, or build it over a backend. It may be shared by tasks.

    Args:
        backend: where the logs are kept.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> list[str]:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         await keep.logs.append(("chat", "ada"), ["hello", "how are you?"])
        ...         return [entry.value for entry in await keep.logs.last(("chat", "ada"), 10)]
        >>> asyncio.run(main())
        ['hello', 'how are you?']
    """

    append = awaiting(_Operations._append)
    last = awaiting(_Operations._last)
    read = awaiting(_Operations._read)
    pop = awaiting(_Operations._pop)
    trim = awaiting(_Operations._trim)
    replace = awaiting(_Operations._replace)
    restore = awaiting(_Operations._restore)
    measure = awaiting(_Operations._measure)
    count = awaiting(_Operations._count)
    delete = awaiting(_Operations._delete)
    list = aiterating(_Operations._list)
