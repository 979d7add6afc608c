"""A state machine for backends of logs.

It does the same to a backend and to an oracle.

Example:
    >>> from contextlib import nullcontext
    >>> from hypothesis import settings
    >>> from hypothesis.stateful import run_state_machine_as_test
    >>> from statekeep.repositories.memory import MemoryLogs
    >>> machine = log_machine_for(lambda: nullcontext(MemoryLogs()))
    >>> run_state_machine_as_test(machine, settings=settings(max_examples=2))
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from ...domain import ANY, DEFAULT, Log, LogEntry
from ...repositories.logs import AsyncLogRepository, LogBackend, LogRepository
from .. import strategies as some
from ..comparison import Call, ComparingMachine, Expiry, canonical, expected_form
from ..differences import NONE, Differences
from ..faces import blocking
from ..oracles.logs import Kept, Labels, LogOracle
from ..under_way import UnderWay

__all__ = ["log_machine_for"]

MakeLogBackend = Callable[[], AbstractContextManager[LogBackend] | AbstractAsyncContextManager[LogBackend]]
"""Opens an empty backend; in an event loop of its own if it is an async context manager."""

_few = st.integers(0, 3)
_many = st.integers(0, 3) | st.just(2**70)
_ttls = st.sampled_from(some.TTLS)


class LogMachine(ComparingMachine):
    """The machine; :func:`log_machine_for` makes one for a backend."""

    kind = "logs"
    pace = 100

    def __init__(self) -> None:
        super().__init__()
        self.repository: LogRepository
        self.stepwise: LogRepository
        self.repository, self.stepwise = self.opened(
            LogRepository,
            lambda backend, portal, lazily: blocking(AsyncLogRepository(backend), portal, lazily=lazily),
        )
        self.met: set[Labels] = set()
        self.numbers: dict[Labels, dict[int, int]] = {}
        """The oracle's number of each value, by its log and position: also of those that are gone."""
        self.backups: dict[Labels, list[tuple[LogEntry, Kept]]] = {}
        """The values of each log when it had the most of them."""
        expiry = self.expiry
        self.oracle: LogOracle = LogOracle(expiry.ttl, expiry.clock, expiry.refresh_on_read) if expiry else LogOracle()

    def number_of(self, log: Labels, position: int) -> int:
        return self.numbers.get(log, {}).get(position, -1)

    def found(self, log: Labels, entries: Sequence[LogEntry]) -> list[tuple[int, Any]]:
        return [(self.number_of(log, entry.position), entry.value) for entry in entries]

    def kept(self, found: Sequence[Kept]) -> list[tuple[int, Any]]:
        return [(kept.number, kept.value) for kept in found]

    def ends(self, moment: dt.datetime | None) -> Any:
        """Return when a log ends.

        If only the backend knows what time it is, return whether.
        """
        return moment is not None if self.clock is None else moment

    def form(self, log: Log) -> Any:
        return log.name, log.count, self.ends(log.expires_at)

    def positions(self, log: Labels) -> st.SearchStrategy[int]:
        """Positions of values that are there or were, and some that never were."""
        return st.sampled_from([1, *self.numbers.get(log, {})])

    # -- writing

    @rule(log=some.log_names(), values=some.log_values(), ttl=_ttls)
    def append(self, log: Labels, values: list[Any], ttl: Any) -> None:
        self.met.add(log)
        self.compare(lambda: self.repository.append(log, values, ttl=ttl), lambda: self.oracle.append(log, values, ttl))

    @rule(log=some.log_names(), n=_many, first=st.booleans())
    def pop(self, log: Labels, n: int, first: bool) -> None:
        self.compare(
            lambda: self.found(log, self.repository.pop(log, n, first=first)),
            lambda: self.kept(self.oracle.pop(log, n, first)),
        )

    @rule(log=some.log_names(), keep=_many)
    def trim(self, log: Labels, keep: int) -> None:
        self.compare(lambda: self.repository.trim(log, keep=keep), lambda: self.oracle.trim(log, keep))

    @rule(log=some.log_names())
    def delete(self, log: Labels) -> None:
        self.compare(lambda: self.repository.delete(log), lambda: self.oracle.delete(log))

    @rule(log=some.log_names(), values=some.log_values(), ttl=_ttls, data=st.data())
    def replace(self, log: Labels, values: list[Any], ttl: Any, data: st.DataObject) -> None:
        self.met.add(log)
        there = [position for position, number in self.numbers.get(log, {}).items() if number in self._present(log)]
        last = st.just(max(there)) if there else st.none()
        expected = data.draw(st.just(ANY) | st.none() | last | self.positions(log))
        number = self.number_of(log, expected) if isinstance(expected, int) else expected
        self.compare(
            lambda: self.repository.replace(log, values, expected=expected, ttl=ttl),
            lambda: self.oracle.replace(log, values, number, ttl),
        )

    def _present(self, log: Labels) -> set[int]:
        self.oracle.expire()
        return {kept.number for kept in self.oracle.everything(log)}

    @rule(log=some.log_names(), values=some.log_values(), n=_few)
    def take_back(self, log: Labels, values: list[Any], n: int) -> None:
        """Remove the last values, and append others in their place."""
        self.pop(log, n, False)
        self.append(log, values, DEFAULT)

    @precondition(lambda self: self.backups and self.has("restore"))
    @rule(data=st.data(), part=_few, life=st.sampled_from([None, -1.0, 0.5, 5.0]))
    def restore(self, data: st.DataObject, part: int, life: float | None) -> None:
        """Put back the values that a log had, or the last of them."""
        log = data.draw(st.sampled_from(sorted(self.backups)))
        before, behind = self.backups[log][:part], self.backups[log][part:]
        after = before[-1][0].position if before else 0
        end = None if life is None else self._end_in(life)
        self.met.add(log)
        self.compare(
            lambda: self.repository.restore(log, [entry for entry, _ in behind], expires_at=end, after=after),
            lambda: self.oracle.restore(log, [kept for _, kept in behind], self.number_of(log, after), end),
        )

    def _end_in(self, seconds: float) -> dt.datetime:
        """Return a time in milliseconds.

        It is far away if only the backend knows what time it is.
        """
        if self.clock is None:
            return dt.datetime(2150 if seconds > 0 else 1970, 1, 1, tzinfo=dt.UTC)
        moment = dt.datetime.fromtimestamp(self.clock() + seconds * self.pace, dt.UTC)
        return moment + dt.timedelta(microseconds=-moment.microsecond % 1000)

    # -- reading

    @rule(log=some.log_names(), n=_many, refresh=some.refreshes())
    def last(self, log: Labels, n: int, refresh: bool | None) -> None:
        self.compare(
            lambda: self.found(log, self.repository.last(log, n, refresh=refresh)),
            lambda: self.kept(self.oracle.last(log, n, refresh)),
        )

    @rule(log=some.log_names(), limit=st.none() | _many, refresh=some.refreshes(), data=st.data())
    def read(self, log: Labels, limit: int | None, refresh: bool | None, data: st.DataObject) -> None:
        after = data.draw(st.none() | self.positions(log))
        number = 0 if after is None else self.number_of(log, after)
        self.compare(
            lambda: self.found(log, self.repository.read(log, after=after, limit=limit, refresh=refresh)),
            lambda: self.kept(self.oracle.read(log, number, limit, refresh)),
        )

    @rule(log=some.log_names())
    def count(self, log: Labels) -> None:
        self.compare(lambda: self.repository.count(log), lambda: self.oracle.count(log))
        self.compare(lambda: self.repository.measure(log).count, lambda: self.oracle.count(log))

    @rule(prefix=some.log_names(), limit=st.none() | _few)
    def list(self, prefix: Labels, limit: int | None) -> None:
        self.compare(
            lambda: [self.form(log) for log in self.repository.list(prefix=prefix, limit=limit)],
            lambda: [(name, count, self.ends(ends)) for name, count, ends in self.oracle.list(prefix, limit)],
        )

    @precondition(lambda self: len(self.under_way) < 2)
    @rule(prefix=some.log_names(), first=st.integers(0, 2))
    def begin_listing(self, prefix: Labels, first: int) -> None:
        """Begin a listing, which goes on while other rules change the logs."""

        def there() -> dict[Hashable, Any]:
            found = [(name, count, self.ends(ends)) for name, count, ends in self.oracle.list(prefix, None)]
            return {form[0]: expected_form(form) for form in found}

        self.oracle.expire()
        logs = self.stepwise.list(prefix=prefix)
        self.under_way.append(
            UnderWay(logs, there, lambda log: (log.name, canonical(self.form(log))), lambda one, other: one < other)
        )
        self.under_way[-1].go_on(first)

    # -- several at once

    @rule(log=some.log_names(), ways=st.lists(st.integers(0, 4), min_size=2, max_size=3), leaves=_few)
    def at_once(self, log: Labels, ways: Sequence[int], leaves: int) -> None:
        """Append, pop, trim, replace and read one log in several threads."""
        self.met.add(log)
        before = [f"before {nth}" for nth in range(leaves)]
        self.compare(
            lambda: self.repository.replace(log, before, ttl=None),
            lambda: self.oracle.replace(log, before, ANY, None),
        )
        calls = [self._call(log, way, f"call {nth}") for nth, way in enumerate(ways)]
        self.side_by_side(
            calls,
            lambda: [entry.value for entry in self.repository.read(log)],
            lambda oracle: [kept.value for kept in oracle.everything(log)],
        )
        self.repository.delete(log)
        self.oracle.delete(log)

    def _call(self, log: Labels, way: int, value: str) -> Call:
        repository = self.repository
        if way == 0:
            two = [value, 2]
            return Call(lambda: repository.append(log, two), lambda oracle, _: oracle.append(log, two, None))
        if way == 1:
            return _popping(lambda: repository.pop(log), lambda oracle: oracle.pop(log, 1, False))
        if way == 2:
            return _popping(lambda: repository.pop(log, 2, first=True), lambda oracle: oracle.pop(log, 2, True))
        if way == 3:
            return Call(lambda: repository.trim(log, keep=1), lambda oracle, _: oracle.trim(log, 1))
        return Call(
            lambda: repository.replace(log, [value], expected=None),
            lambda oracle, _: oracle.replace(log, [value], None, DEFAULT),
        )

    @invariant()
    def all_is_there(self) -> None:
        """Everything is there, and no position was ever another value's."""
        self.oracle.expire()
        for log in sorted(self.met):
            entries, kept = self.repository.read(log, refresh=False), self.oracle.everything(log)
            assert canonical([entry.value for entry in entries]) == expected_form([one.value for one in kept])
            if entries and len(entries) >= len(self.backups.get(log, [])):
                self.backups[log] = list(zip(entries, kept, strict=True))
            numbers = self.numbers.setdefault(log, {})
            for entry, one in zip(entries, kept, strict=True):
                if numbers.setdefault(entry.position, one.number) != one.number:
                    raise AssertionError(f"the position {entry.position} of {log} was that of another value before")
            assert sorted(numbers, key=numbers.__getitem__) == sorted(numbers), "positions do not grow"
            assert len(set(numbers.values())) == len(numbers), "a value moved"


def _popping(act: Callable[[], list[LogEntry]], expect: Callable[[LogOracle], list[Kept]]) -> Call:
    return Call(
        act,
        lambda oracle, _: [kept.value for kept in expect(oracle)],
        lambda entries: [entry.value for entry in entries],
    )


def log_machine_for(
    make_backend: MakeLogBackend,
    *,
    name: str = "",
    expiry: Expiry | None = None,
    restart: Callable[[], None] | None = None,
    differences: Differences = NONE,
) -> type[LogMachine]:
    """Return a machine over a backend, for ``run_state_machine_as_test``.

    Args:
        make_backend: opens an empty backend; called for each example.
        name: what the backend is called in summaries; the name of its class if there is none.
        expiry: how the backend was made, if it has a clock that can be set.
        restart: for backends whose records survive a restart of what keeps them: ends it and starts it again. It is
            called between any two steps.
        differences: what the backend does otherwise than the contract has it.
    """
    return LogMachine.over(make_backend, name=name, expiry=expiry, restart=restart, differences=differences)
