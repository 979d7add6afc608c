"""Logs in this process."""

from __future__ import annotations

import builtins
import datetime as dt
import json
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from operator import attrgetter

from attrs import define, evolve, frozen

from ...domain import ANY, DEFAULT, Log, LogEntry, Payload
from ...domain.items import Namespace
from ...domain.json_values import dumps
from ...domain.logs import LogValue
from ...domain.model import Ttl
from ...domain.shown import once_made
from ..logs import ExpectedPosition, LogRange, conflict
from ..operation import Page
from .at_once import AtOnce, at_once
from .ends import EPOCH, MICROSECOND, end_of

_PAGE = 100


@frozen
class _Stored:
    """A value at its position.

    JSON is kept as text, so that nobody can change it from outside.
    """

    position: int
    content: str | Payload

    def entry(self) -> LogEntry:
        value = self.content if isinstance(self.content, Payload) else json.loads(self.content)
        return LogEntry.trusted(position=self.position, value=value)


@define
class _Log:
    """A log with its values in their order; there are some, or it is not kept."""

    values: builtins.list[_Stored]
    ttl: float | None = None
    expires_at: dt.datetime | None = None


@frozen
class _Cursor:
    """The place where a listing goes on: behind a name, with so many at most."""

    after: Namespace
    limit: int | None


class MemoryLogs(AtOnce):
    """A backend that keeps logs in this process.

    They are gone when it ends. Threads may share it.

    Args:
        ttl: seconds, with fractions, after which a log expires to which values were appended without a ``ttl`` of
            their own; ``None`` for never.
        refresh_on_read: whether reading a log starts its TTL anew where the caller does not say.
        clock: returns the time in seconds since the epoch.

    Raises:
        InvalidInput: ``ttl`` is no number of seconds greater than 0.

    Example:
        >>> from statekeep.repositories.logs import LogRepository
        >>> repository = LogRepository(MemoryLogs(ttl=3600))
        >>> repository.append(("chat", "ada"), ["hello"])
        1
    """

    def __init__(
        self, *, ttl: float | None = None, refresh_on_read: bool = False, clock: Callable[[], float] = time.time
    ) -> None:
        super().__init__(ttl, clock)
        self.refresh_on_read = refresh_on_read
        self._logs: dict[Namespace, _Log] = {}
        self._position = 0
        """The last one that was given to any value."""

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}(ttl={self.ttl!r}, refresh_on_read={self.refresh_on_read!r})"

    def _live(self, name: Namespace, now: dt.datetime) -> _Log | None:
        """Return a log, unless it has expired."""
        found = self._logs.get(name)
        if found is not None and found.expires_at is not None and found.expires_at <= now:
            del self._logs[name]
            return None
        return found

    def _keep(self, name: Namespace, values: builtins.list[_Stored]) -> None:
        """Leave these values in a log; it goes with its last one."""
        if values:
            self._logs[name].values = values
        else:
            del self._logs[name]

    def _store(self, name: Namespace, values: Sequence[LogValue], ttl: Ttl, now: dt.datetime) -> int:
        """Add values to a log, and start its TTL anew."""
        contents = [value if isinstance(value, Payload) else dumps(value) for value in values]
        first = max((now - EPOCH) // MICROSECOND, self._position + 1)
        self._position = first + len(contents) - 1
        log = self._logs.setdefault(name, _Log([]))
        log.values += [_Stored(first + offset, content) for offset, content in enumerate(contents)]
        log.ttl = self.ttl if ttl is DEFAULT else ttl
        log.expires_at = end_of(log.ttl, now)
        return len(log.values)

    @at_once
    def append(self, log: Namespace, values: Sequence[LogValue], ttl: Ttl) -> int:
        with self._lock:
            now = self._now()
            self._live(log, now)
            return self._store(log, values, ttl, now)

    @at_once
    def read(self, query: LogRange) -> builtins.list[LogEntry]:
        with self._lock:
            now = self._now()
            found = self._live(query.log, now)
            if found is None:
                return []
            if self.refresh_on_read if query.refresh is None else query.refresh:
                found.expires_at = end_of(found.ttl, now)
            values, limit = found.values, len(found.values) if query.limit is None else query.limit
            begin = bisect_right(values, query.after, key=attrgetter("position"))
            begin = max(begin, len(values) - limit) if query.is_last else begin
            return [stored.entry() for stored in values[begin : begin + limit]]

    @at_once
    def pop(self, log: Namespace, n: int, first: bool) -> builtins.list[LogEntry]:
        with self._lock:
            found = self._live(log, self._now())
            if found is None:
                return []
            cut = min(n, len(found.values)) if first else max(0, len(found.values) - n)
            before, behind = found.values[:cut], found.values[cut:]
            popped, left = (before, behind) if first else (behind, before)
            self._keep(log, left)
            return [stored.entry() for stored in popped]

    @at_once
    def trim(self, log: Namespace, keep: int) -> int:
        with self._lock:
            found = self._live(log, self._now())
            if found is None:
                return 0
            removed = max(0, len(found.values) - keep)
            self._keep(log, found.values[removed:])
            return removed

    @at_once
    def replace(self, log: Namespace, values: Sequence[LogValue], expected: ExpectedPosition, ttl: Ttl) -> int:
        with self._lock:
            now = self._now()
            found = self._live(log, now)
            last = found.values[-1].position if found else 0
            if expected is not ANY and (expected or 0) != last:
                raise conflict(log, expected, last)
            self._logs.pop(log, None)
            return self._store(log, values, ttl, now) if values else 0

    @at_once
    def restore(self, log: Namespace, entries: Sequence[LogEntry], after: int, expires_at: dt.datetime | None) -> None:
        with self._lock:
            now = self._now()
            if expires_at is not None and expires_at <= now:
                return
            self._live(log, now)
            found = self._logs.setdefault(log, _Log([]))
            kept = found.values[: bisect_right(found.values, after, key=attrgetter("position"))]
            found.values = kept + [
                _Stored(entry.position, entry.value if isinstance(entry.value, Payload) else dumps(entry.value))
                for entry in entries
            ]
            found.expires_at = expires_at
            found.ttl = None if expires_at is None else (expires_at - now).total_seconds()
            self._position = max(self._position, entries[-1].position)

    @at_once
    def count(self, log: Namespace) -> int:
        with self._lock:
            found = self._live(log, self._now())
            return len(found.values) if found else 0

    @at_once
    def list(self, prefix: Namespace, limit: int | None, cursor: _Cursor | None) -> Page[Log]:
        left = limit if cursor is None else cursor.limit
        with self._lock:
            now = self._now()
            names = sorted(
                name
                for name in builtins.list(self._logs)
                if name[: len(prefix)] == prefix and (cursor is None or name > cursor.after) and self._live(name, now)
            )
            size = _PAGE if left is None else min(_PAGE, left)
            page = [
                Log.trusted(name=name, count=len(log.values), expires_at=log.expires_at)
                for name in names[:size]
                for log in (self._logs[name],)
            ]
        is_last = len(names) <= size or size == left
        at = None if is_last else _Cursor(names[size - 1], left)
        return Page(page, at if at is None or left is None else evolve(at, limit=left - size))
