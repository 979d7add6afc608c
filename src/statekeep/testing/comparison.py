"""The base of the state machines.

It has a backend, an oracle, and the comparison of their answers.
"""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
import itertools
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, AbstractContextManager, ExitStack
from typing import Any, ClassVar, Final, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from attrs import frozen
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ..domain import Channel, Payload, Unsupported
from ..domain.errors import Portable
from .differences import NONE, Differences
from .faces import watched
from .tally import tally
from .under_way import UnderWay

__all__ = ["Clock", "Expiry"]

RepositoryT = TypeVar("RepositoryT")

MOST_RESTARTS = 3
"""In one example: each takes as long as hundreds of other steps."""


@dataclasses.dataclass
class Clock:
    """A clock that stands until it is moved; ``now`` is in seconds since the epoch."""

    now: float = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass(frozen=True)
class Expiry:
    """The settings of the backend, so that the oracle expects the same.

    Args:
        clock: what the backend was given as its clock.
        ttl: seconds.
        refresh_on_read: whether ``get`` starts the time anew.
    """

    clock: Clock
    ttl: float
    refresh_on_read: bool = False


def canonical(value: Any) -> Any:
    """Return a form that is equal only for equal values of equal types.

    NaN equals itself; keys have no order.

    Example:
        >>> canonical(1) == canonical(1.0), canonical(float("nan")) == canonical(float("nan"))
        (False, True)
    """
    return _canonical(value, lambda value: value)


def expected_form(value: Any) -> Any:
    """Return the form of a value that was given to a repository.

    It comes back as one of a builtin type.

    Example:
        >>> from enum import IntEnum
        >>> expected_form(IntEnum("Tier", ["GOLD"]).GOLD) == canonical(1)
        True
    """
    return _canonical(value, _undisguised)


def _undisguised(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return bytes.__bytes__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else value


_PLAIN: Final = frozenset({bool, bytes, float, int, str, type(None)})


def _canonical(value: Any, seen: Callable[[Any], Any]) -> Any:
    value = seen(value)
    kind = type(value).__name__
    if type(value) in _PLAIN:
        return kind, repr(value)
    if isinstance(value, Mapping):
        pairs = ((_canonical(key, seen), _canonical(item, seen)) for key, item in value.items())
        return kind, sorted(pairs, key=lambda pair: repr(pair[0]))
    if isinstance(value, (list, tuple)):
        return kind, [_canonical(item, seen) for item in value]
    if isinstance(value, (set, frozenset)):
        return kind, sorted((_canonical(item, seen) for item in value), key=repr)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return kind, repr(value.astimezone(dt.UTC)), str(value.utcoffset())
    if isinstance(value, Channel):
        return kind, _canonical(value.version, seen), value.carry.name, _canonical(value.payload, seen)
    if isinstance(value, Payload):
        return kind, _canonical(value.encoding, seen), _canonical(value.data, seen)
    return kind, repr(value)


class DeclaredUnsupported(Portable):
    """The backend raised ``Unsupported`` where its ``Differences`` say so."""


def outcome(do: Callable[[], Any], form: Callable[[Any], Any] = canonical) -> Any:
    """Return the result in its canonical form, or the type of the exception."""
    try:
        return form(do())
    except DeclaredUnsupported:
        raise
    except Exception as error:
        return type(error)


@frozen
class Answer:
    """The result of a call, or its error."""

    result: Any = None
    error: Exception | None = None

    @classmethod
    def of(cls, act: Callable[[], Any]) -> Answer:
        try:
            return cls(act())
        except Exception as error:
            return cls(error=error)

    def again(self) -> Any:
        """Return or raise it."""
        if self.error is not None:
            raise self.error
        return self.result


@frozen
class Call:
    """One of several calls at once.

    Attributes:
        act: calls the repository.
        expect: does the same to an oracle, and may learn from what the repository answered: ``None`` if it raised.
        form: makes of what the repository returned what the oracle returns.
    """

    act: Callable[[], Any]
    expect: Callable[[Any, Any], Any]
    form: Callable[[Any], Any] = lambda result: result

    def formed(self, answer: Answer) -> Any:
        """Return the repository's answer in the form to compare."""
        return outcome(lambda: self.form(answer.again()))

    def expected(self, oracle: Any, answer: Answer) -> Any:
        """Return an oracle's answer in the form to compare."""
        return outcome(lambda: self.expect(oracle, answer.result), expected_form)


class ComparingMachine(RuleBasedStateMachine):
    """A state machine over a backend and an oracle.

    Its subclasses make the ``oracle``.

    Attributes:
        make_backend: opens an empty backend; in an event loop of its own if it is an async context manager.
        expiry: how the backend was made, if it has a clock that can be set.
        restart: ends what keeps the records, and starts it again with what it had.
        differences: what the backend is known to do otherwise.
        kind: what the machine is called in summaries.
        name: what the backend is called in summaries.
        pace: how much longer than it says each wait is.
    """

    make_backend: ClassVar[Callable[[], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]]]
    expiry: ClassVar[Expiry | None] = None
    restart: ClassVar[staticmethod[[], None] | None] = None
    differences: ClassVar[Differences] = NONE
    kind: ClassVar[str]
    name: ClassVar[str] = ""
    pace: ClassVar[int] = 1
    oracle: Any
    repository: Any

    @classmethod
    def over(
        cls,
        make_backend: Callable[[], AbstractContextManager[Any] | AbstractAsyncContextManager[Any]],
        *,
        name: str,
        expiry: Expiry | None,
        restart: Callable[[], None] | None,
        differences: Differences = NONE,
    ) -> type[Self]:
        """Return the machine over a backend."""
        found = {
            "make_backend": staticmethod(make_backend),
            "expiry": expiry,
            "restart": None if restart is None else staticmethod(restart),
            "differences": differences,
            "name": name,
        }
        return type(f"{cls.__name__}For", (cls,), found)

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.clock = self.expiry.clock if self.expiry else None
        self.backend_name = self.name
        self.calls: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.under_way: list[UnderWay] = []

    def opened(
        self, blocking: Callable[[Any], RepositoryT], through: Callable[[Any, BlockingPortal, bool], RepositoryT]
    ) -> tuple[RepositoryT, RepositoryT]:
        """Open a backend, and return repositories over it.

        They are called as blocking ones are.

        The second one lists step by step; with the first one, listings may be read to their end at once.

        Args:
            blocking: makes one of the backend.
            through: makes one of a backend that lives in an event loop, of the portal to that loop, and of whether it
                lists step by step.
        """
        opening = type(self).make_backend()
        if not isinstance(opening, AbstractContextManager):  # a nullcontext is of both kinds
            portal = self.stack.enter_context(start_blocking_portal("asyncio"))
            backend = self.stack.enter_context(portal.wrap_async_context_manager(opening))
            made = (through(backend, portal, False), through(backend, portal, True))
        else:
            backend = self.stack.enter_context(opening)
            made = (blocking(backend), blocking(backend))
        self.backend_name = self.name or type(backend).__name__
        return watched(made[0], self._noted), watched(made[1], self._noted)

    def _noted(self, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls[name] += 1
            if name not in self.differences.unsupported:
                return method(*args, **kwargs)
            try:
                method(*args, **kwargs)
            except Unsupported:
                raise DeclaredUnsupported(name) from None
            raise AssertionError(f"{name} is declared as unsupported, but it answers")

        return call

    def can(self, name: str) -> bool:
        """Return whether the backend has an operation."""
        return name not in self.differences.unsupported

    def has(self, name: str) -> bool:
        """Return whether the backend has a method that it need not have."""
        return hasattr(self.repository.backend, name)

    def teardown(self) -> None:
        error = sys.exception()
        failed = isinstance(error, Exception) and not isinstance(error, HypothesisException)
        with self.stack:
            try:
                if error is None:
                    self.at_the_end()
            except Exception:
                failed = True
                raise
            finally:
                mine = tally(self.kind, self.backend_name)
                mine.examples += 1
                mine.operations += self.calls
                mine.faults += self.faults
                if failed:
                    mine.divergences[_check_of(sys.exception())] += 1

    def at_the_end(self) -> None:
        """Read listings to their end.

        If the server was never restarted, see that all is there after it is.
        """
        for listing in self.under_way:
            listing.go_on(None)
        if self.restart is not None and not self.faults["restart"]:
            self.restart_the_server()
            self.all_is_there()

    def all_is_there(self) -> None:
        """Compare listings of everything. An invariant of each machine."""
        raise NotImplementedError

    def compare(self, actual: Callable[[], Any], expected: Callable[[], Any]) -> None:
        """Do both, and compare results or exception types."""
        self.oracle.expire()
        try:
            got = outcome(actual)
        except DeclaredUnsupported:
            return
        want = outcome(expected, expected_form)
        assert got == want

    # -- time and the server

    # With a ttl of 10.05 no sum of these is one: what happens in the very moment of expiry is not compared.
    @precondition(lambda self: self.clock is not None)
    @rule(seconds=st.sampled_from([0.7, 3.1, 9.6, 11.3]))
    def wait(self, seconds: float) -> None:
        assert self.clock is not None
        self.clock.now += seconds * self.pace
        self.oracle.expire()

    @precondition(lambda self: self.restart is not None and self.faults["restart"] < MOST_RESTARTS)
    @rule()
    def restart_the_server(self) -> None:
        assert self.restart is not None
        self.restart()
        self.faults["restart"] += 1

    # -- listings that go on while things change

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), count=st.integers(1, 4) | st.none())
    def go_on_listing(self, data: st.DataObject, count: int | None) -> None:
        position = data.draw(st.integers(0, len(self.under_way) - 1))
        self.oracle.expire()
        self.under_way[position].go_on(count)
        if self.under_way[position].is_over:
            del self.under_way[position]

    @invariant()
    def look_at_listings(self) -> None:
        for listing in self.under_way:
            self.oracle.expire()
            listing.look()

    # -- several at once

    def side_by_side(
        self, calls: Sequence[Call], after: Callable[[], Any], expected_after: Callable[[Any], Any]
    ) -> list[Answer]:
        """Make calls at once.

        What they return, and what is there then, must be as if one had come after the other.

        The oracle does not learn of them: undo them, so that nothing later depends on which one was first.

        Args:
            calls: what to do.
            after: what there is after them.
            expected_after: what there is after them, according to an oracle.
        """
        self.oracle.expire()
        start = threading.Barrier(len(calls))

        def answer(call: Call) -> Answer:
            start.wait()
            return Answer.of(call.act)

        with ThreadPoolExecutor(len(calls)) as pool:
            answers = list(pool.map(answer, calls))
        got = [call.formed(answer) for call, answer in zip(calls, answers, strict=True)]
        there = canonical(after())
        for order in itertools.permutations(range(len(calls))):
            trial = copy.deepcopy(self.oracle)
            if all(got[at] == calls[at].expected(trial, answers[at]) for at in order):
                if expected_form(expected_after(trial)) == there:
                    return answers
        raise AssertionError(f"as if in no order: {got}, and then: {there}")


def _check_of(error: BaseException | None) -> str:
    """Name the rule or check in which an error was raised."""
    frames = traceback.extract_tb(error.__traceback__ if error else None)
    names = [frame.name for frame in frames if not frame.name.startswith(("<", "_")) and frame.name != "compare"]
    ours = [frame.name for frame in frames if "testing" in frame.filename and frame.name in names]
    return (ours or names or ["?"])[0]
