"""The right answers of a repository of logs.

They are worked out the slow and obvious way.

It shares no code with any backend, and each is compared to it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from attrs import define, field, frozen

from ...domain import ANY, DEFAULT, Conflict

__all__ = ["LogOracle"]

Labels = tuple[str, ...]


@frozen
class Kept:
    """A value, and its number among all values that were ever stored."""

    number: int
    value: Any


@frozen
class Life:
    """Seconds that a log lives, and when it ends; ``None`` for ever and never."""

    ttl: float | None
    ends: dt.datetime | None


def _plain(value: Any) -> Any:
    """Return what a value comes back as: tuples are lists."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return value


@define
class LogOracle:
    """The model.

    Args:
        ttl: seconds until a log expires to which values are appended without a TTL of their own.
        clock: the time in seconds; ``None`` if it is not known, then nothing expires.
        refresh_on_read: whether reading a log starts its TTL anew where the caller does not say.
    """

    ttl: float | None = None
    clock: Callable[[], float] | None = None
    refresh_on_read: bool = False
    logs: dict[Labels, list[Kept]] = field(factory=dict)
    lives: dict[Labels, Life] = field(factory=dict)
    last_number: int = 0

    def _now(self) -> dt.datetime:
        return dt.datetime.fromtimestamp(self.clock() if self.clock else 0, dt.UTC)

    def _live(self, log: Labels, ttl: float | None) -> None:
        ends = None
        if ttl is not None:
            moment = self._now() + dt.timedelta(seconds=ttl)
            ends = moment + dt.timedelta(microseconds=-moment.microsecond % 1000)
        self.lives[log] = Life(ttl, ends)

    def expire(self) -> None:
        now = self._now()
        for log, life in list(self.lives.items()):
            if life.ends is not None and life.ends <= now:
                self._set(log, [])

    def _set(self, log: Labels, values: list[Kept]) -> None:
        if values:
            self.logs[log] = values
        else:
            self.logs.pop(log, None)
            self.lives.pop(log, None)

    def everything(self, log: Labels) -> list[Kept]:
        """Return all values of a log."""
        return list(self.logs.get(log, []))

    def append(self, log: Labels, values: Sequence[Any], ttl: Any) -> int:
        if values:
            added = [Kept(self.last_number + nth, _plain(value)) for nth, value in enumerate(values, 1)]
            self.last_number += len(values)
            self._set(log, self.everything(log) + added)
            self._live(log, self.ttl if ttl is DEFAULT else ttl)
        return len(self.everything(log))

    def _refresh(self, log: Labels, refresh: bool | None) -> None:
        if log in self.lives and (self.refresh_on_read if refresh is None else refresh):
            self._live(log, self.lives[log].ttl)

    def last(self, log: Labels, n: int, refresh: bool | None) -> list[Kept]:
        if n == 0:
            return []
        self._refresh(log, refresh)
        return self.everything(log)[-n:]

    def read(self, log: Labels, after: int, limit: int | None, refresh: bool | None) -> list[Kept]:
        if limit == 0:
            return []
        self._refresh(log, refresh)
        return [kept for kept in self.everything(log) if kept.number > after][:limit]

    def pop(self, log: Labels, n: int, first: bool) -> list[Kept]:
        there = self.everything(log)
        popped = [kept for nth, kept in enumerate(there) if (nth < n if first else len(there) - nth <= n)]
        self._set(log, [kept for kept in there if kept not in popped])
        return popped

    def trim(self, log: Labels, keep: int) -> int:
        return len(self.pop(log, max(0, len(self.everything(log)) - keep), True))

    def delete(self, log: Labels) -> int:
        return self.trim(log, 0)

    def replace(self, log: Labels, values: Sequence[Any], expected: Any, ttl: Any) -> int:
        there = self.everything(log)
        last = there[-1].number if there else None
        if expected is not ANY and expected != last:
            raise Conflict("another one is the last")
        self._set(log, [])
        return self.append(log, values, ttl)

    def restore(self, log: Labels, kept: Sequence[Kept], after: int, ends: dt.datetime | None) -> None:
        """Put values with their numbers in the place of all behind one."""
        if not kept or (ends is not None and ends <= self._now()):
            return
        self._set(log, [*(one for one in self.everything(log) if one.number <= after), *kept])
        self.lives[log] = Life(None if ends is None else (ends - self._now()).total_seconds(), ends)

    def count(self, log: Labels) -> int:
        return len(self.everything(log))

    def list(self, prefix: Labels, limit: int | None) -> list[tuple[Labels, int, dt.datetime | None]]:
        names = sorted(tuple(map(str.__str__, log)) for log in self.logs)
        found = [name for name in names if name[: len(prefix)] == prefix][:limit]
        return [(name, len(self.logs[name]), self.lives[name].ends) for name in found]
