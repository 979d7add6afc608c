"""The observers of operations, and the counts of the operation that runs here.

Which operation that is, a context variable says: it goes with tasks, with the threads that serve event loops, and with
those that call AWS. While nobody observes, :data:`observers` is empty, and to see that is all that an operation does.
"""

from __future__ import annotations

import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar, Token
from types import TracebackType
from typing import Any, Final, Self

from ..domain.errors import InvalidInput
from .records import NOWHERE, Beginning, Observation, service_of

logger: Final = logging.getLogger("statekeep.telemetry")

Observer = Callable[[Observation], object]
"""Is called when an operation has ended."""

Begin = Callable[[Beginning], Observer | None]
"""Is called when an operation begins; returns what is called at its end, or ``None``."""

observers: tuple[Observing, ...] = ()
"""Those that observe. Read it as an attribute of this module: it is replaced."""

_has_beginnings = False
"""Whether one of them is told when operations begin."""

_lock = threading.Lock()


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)


class Tally:
    """The counts of one operation."""

    __slots__ = ("received", "retries", "round_trips", "sent")

    def __init__(self) -> None:
        self.round_trips = self.retries = self.sent = self.received = 0

    def add(self, round_trips: int = 0, retries: int = 0, sent: int = 0, received: int = 0) -> None:
        """Add to the counts. Threads may do so at the same time."""
        with _lock:
            self.round_trips += round_trips
            self.retries += retries
            self.sent += sent
            self.received += received


_current: Final[ContextVar[Tally | None]] = ContextVar("statekeep.telemetry", default=None)

_UNOBSERVED: Final = Tally()
"""Stands for what observers do themselves: an observer that used a repository would call itself for ever."""

current: Final = _current.get
"""Returns the counts of the operation that runs here; ``None`` if nobody observes it."""


def count(round_trips: int = 0, retries: int = 0, sent: int = 0, received: int = 0) -> None:
    """Add to the counts of the operation that runs here, if somebody observes it."""
    if observers and (tally := current()) is not None:
        tally.add(round_trips, retries, sent, received)


class Observing:
    """An observer that is told of operations until you end it.

    As a context manager it ends with the block. :func:`observe` makes one.

    Example:
        >>> import statekeep
        >>> watching = statekeep.observe(print)
        >>> watching.end()
    """

    def __init__(self, observer: Observer | None, began: Begin | None) -> None:
        self.observer = observer
        self.began = began
        self.is_ended = False
        self._met: set[type[Exception]] = set()

    def end(self) -> None:
        """Tell the observer of no more operations. Idempotent.

        Operations that it was told of when they began still end for it.
        """
        self.is_ended = True
        with _lock:
            _replace(tuple(one for one in observers if one is not self))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def failed(self, error: Exception, name: str) -> None:
        """Log what the observer raised, once for each kind of error."""
        if type(error) not in self._met:
            self._met.add(type(error))
            logger.error(
                "an observer failed at %s; it is not told again of a %s that this one raises",
                name,
                type(error).__name__,
                exc_info=error,
            )


def _replace(now: tuple[Observing, ...]) -> None:
    global observers, _has_beginnings
    _has_beginnings = any(one.began is not None for one in now)
    observers = now


def observe(observer: Observer | None = None, *, began: Begin | None = None) -> Observing:
    """Have a function called at the end of each operation of this process.

    An operation is a call of a repository's method, blocking or awaited, typed items and threads included, and each
    page of a listing. The savers, stores and caches for LangGraph, ``copy`` and ``cached`` are made of such operations.

    The function runs where the operation ran, in its thread or event loop and in its context, before the caller goes
    on: be quick. What it raises is logged, once for each kind of error, and hurts nobody. Operations of its own are not
    observed.

    Args:
        observer: called with an :class:`~statekeep.telemetry.Observation`.
        began: instead of ``observer``, called with a :class:`~statekeep.telemetry.Beginning` before the operation
            begins; returns the function that is called at its end, or ``None``. What it sets in context variables
            holds while the operation runs, if that function resets it.

    Returns:
        A handle: call its ``end()``, or use it in ``with``.

    Raises:
        InvalidInput: not exactly one of the two is given, or it is no function, or is ``async``.

    Example:
        >>> import statekeep
        >>> def tell(done: statekeep.telemetry.Observation) -> None:
        ...     print(done.name, done.service.kind, done.error_type)
        >>> with statekeep.connect("memory:") as keep, statekeep.observe(tell):
        ...     keep.items.clear(("notes",))
        items.clear memory None
        0
    """
    given = [(name, function) for name, function in (("observer", observer), ("began", began)) if function is not None]
    if len(given) != 1:
        raise InvalidInput("give one of observer and began", field="observer")
    [(name, function)] = given
    if not callable(function) or inspect.iscoroutinefunction(function):
        kind = "an async function" if callable(function) else type(function).__name__
        raise InvalidInput(f"{name} must be a blocking function, got {kind}", field=name)
    observing = Observing(observer, began)
    with _lock:
        _replace((*observers, observing))
    return observing


class watching:  # noqa: N801  used as a function
    """Tell observers of the operation that runs in a ``with`` block.

    Enter it only if there are :data:`observers`.

    Args:
        name: of the operation.
        backend: that runs it.
        place: what users named.
        batch: how many records it is about, if it may be several.
    """

    __slots__ = (
        "_backend",
        "_batch",
        "_ended",
        "_name",
        "_observers",
        "_place",
        "_since",
        "_started",
        "_tally",
        "_token",
    )

    _token: Token[Tally | None]

    def __init__(
        self, name: str, backend: object, place: Mapping[str, Any] = NOWHERE, batch: int | None = None
    ) -> None:
        self._name = name
        self._backend = backend
        self._place = place
        self._batch = batch

    def __enter__(self) -> None:
        self._observers = () if current() is _UNOBSERVED else observers
        if not self._observers:
            return
        self._started = time.time_ns()
        self._ended = self._begin() if _has_beginnings else ()
        self._tally = Tally()
        self._token = _current.set(self._tally)
        self._since = time.perf_counter()

    def _begin(self) -> Sequence[tuple[Observing, Observer]]:
        """Tell that the operation begins; return what to call at its end, the last first."""
        found: list[tuple[Observing, Observer]] = []
        beginning = Beginning(
            name=self._name,
            service=service_of(self._backend),
            started_ns=self._started,
            batch=self._batch,
            place=self._place,
        )
        token = _current.set(_UNOBSERVED)
        try:
            for one in self._observers:
                try:
                    ended = None if one.began is None else one.began(beginning)
                except Exception as error:
                    one.failed(error, self._name)
                else:
                    if ended is not None:
                        found.insert(0, (one, ended))
        finally:
            _current.reset(token)
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._observers:
            return
        seconds = time.perf_counter() - self._since
        tally = self._tally
        token = self._token
        # A coroutine that nobody finished is closed somewhere else, in another context.
        is_elsewhere = current() is not tally
        inside = _current.set(_UNOBSERVED)
        try:
            self._tell(
                Observation(
                    name=self._name,
                    service=service_of(self._backend),
                    started_ns=self._started,
                    batch=self._batch,
                    place=self._place,
                    seconds=seconds,
                    round_trips=tally.round_trips,
                    retries=tally.retries,
                    bytes_sent=tally.sent,
                    bytes_received=tally.received,
                    error=error,
                )
            )
        finally:
            _current.reset(inside if is_elsewhere else token)

    def _tell(self, observation: Observation) -> None:
        for one, ended in self._ended:
            try:
                ended(observation)
            except Exception as error:
                one.failed(error, self._name)
        for one in self._observers:
            if one.observer is not None and not one.is_ended:
                try:
                    one.observer(observation)
                except Exception as error:
                    one.failed(error, self._name)
