"""Calls of a cached function that are under way: equal ones share one."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from attrs import frozen


@frozen
class Outcome:
    """The end of a call: a value, or the error that the function raised."""

    value: Any = None
    error: BaseException | None = None

    def result(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.value


_led: ContextVar[frozenset[tuple[int, str]]] = ContextVar("statekeep calls under way", default=frozenset())
"""The calls of which this code is a part: to wait for one of them would be to wait for itself."""


class InFlight:
    """Calls of one function that are under way in this process, by key."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._futures: dict[str, Future[Outcome | None]] = {}
        self._process = os.getpid()

    def join(self, key: str) -> tuple[Future[Outcome | None], bool]:
        """Return a future of the outcome, and whether the caller must :meth:`finish` it.

        An outcome of ``None`` means that the call was cancelled: join again.
        """
        if self._process != os.getpid():
            self._begin()  # nobody in a child process would ever finish the calls of its parent
        with self._lock:
            future = self._futures.get(key)
            if future is not None:
                return future, False
            future = self._futures[key] = Future()
            future.set_running_or_notify_cancel()  # so that nobody who waits can cancel it for the others
            return future, True

    def finish(self, key: str, outcome: Outcome | None) -> None:
        """Hand the outcome to all callers that wait."""
        with self._lock:
            future = self._futures.pop(key)
        future.set_result(outcome)

    def is_part_of(self, key: str) -> bool:
        return (id(self), key) in _led.get()

    @contextmanager
    def leading(self, key: str) -> Iterator[None]:
        token = _led.set(_led.get() | {(id(self), key)})
        try:
            yield
        finally:
            try:
                _led.reset(token)
            except ValueError:
                pass  # a coroutine that nobody waits for any more is closed wherever it is found
