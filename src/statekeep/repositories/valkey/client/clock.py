"""Time in which an event loop or a process ran.

While a task blocks its event loop, or the process is frozen, no answer can be read: that time is no reason to give up.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from types import TracebackType
from typing import Final, Self, TypeVar

ResultT = TypeVar("ResultT")

TICK: Final = 0.1
"""Seconds after which a loop that stands still is noticed; no more are counted."""

RENEWAL: Final = 1.0
"""Seconds after which a tick that did not come is begun anew."""

SLICE: Final = 1.0
"""Seconds of a blocking wait, after which it is looked whether the process was frozen; no more are counted."""

LAST_LOOK: Final = 0.05
"""Seconds of an event loop, in which it reads what has arrived before anybody gives up."""


class LoopClock:
    """A clock that stands still while its event loop does.

    That is noticed while somebody waits, in a ``with`` block of it. Get one with :func:`loop_clock`.
    """

    def __init__(self) -> None:
        self._stood = 0.0
        self._due = math.inf
        self._waiting = 0
        self._tick: object = None
        self._begun = 0.0
        # Ticks keep this one, and not that of the request that happened to begin them.
        self._context = contextvars.Context()

    def time(self) -> float:
        """Return a number of seconds, as :func:`time.monotonic`."""
        now = time.monotonic()
        if now > self._due:
            self._stand(now)
            if now > self._begun + RENEWAL:  # the event loop may have lost the tick to an exception
                self._begin_tick(now, 0)
        return now - self._stood

    def __enter__(self) -> Self:
        self._waiting += 1
        if self._due == math.inf:
            now = time.monotonic()
            self._due = now + TICK
            self._begin_tick(now, TICK)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._waiting -= 1

    def _stand(self, now: float) -> None:
        self._stood += now - self._due
        self._due = now

    def _begin_tick(self, now: float, seconds: float) -> None:
        self._begun = now
        self._tick = tick = object()
        # The timer is not kept: it knows its loop, which is to be free when it is dropped.
        asyncio.get_running_loop().call_later(seconds, self._end_tick, tick, context=self._context)

    def _end_tick(self, tick: object) -> None:
        if tick is not self._tick:
            return
        now = time.monotonic()
        if now > self._due:
            self._stand(now)
        if self._waiting > 0:
            self._due = now + TICK
            self._begin_tick(now, TICK)
        else:
            self._due = math.inf


_clocks: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, LoopClock] = weakref.WeakKeyDictionary()


def loop_clock() -> LoopClock:
    """Return the clock of the running event loop."""
    loop = asyncio.get_running_loop()
    return _clocks.get(loop) or _clocks.setdefault(loop, LoopClock())


class Watch:
    """A timer that looks at what has arrived before it gives up.

    Args:
        left: returns how many seconds are left on the loop's clock; ``None`` ends the watch, nobody waits any more.
        give_up: is called once, when no time is left after the last look.
        context: for the timers; that of the caller by default.
    """

    def __init__(
        self,
        left: Callable[[], float | None],
        give_up: Callable[[], None],
        context: contextvars.Context | None = None,
    ) -> None:
        self._left = left
        self._give_up = give_up
        self._context = context
        self._is_last = False
        self._timer: asyncio.TimerHandle | None = None
        self._look()

    @property
    def is_over(self) -> bool:
        return self._timer is None

    def _look(self) -> None:
        self._timer = None
        left = self._left()
        if left is None:
            return
        if left > 0:
            self._is_last = False
        elif self._is_last:
            self._give_up()
            return
        else:
            self._is_last = True
            left = LAST_LOOK
        self._timer = asyncio.get_running_loop().call_later(left, self._look, context=self._context)

    def cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()


class within:  # noqa: N801  used as asyncio.timeout
    """Bound the time of a block, as ``asyncio.timeout`` does.

    Only seconds in which the event loop ran count.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._bound = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        self._clock = loop_clock()
        self._clock.__enter__()
        await self._bound.__aenter__()
        self._end = self._clock.time() + self._seconds
        self._watch = Watch(self._left, self._give_up)

    def _left(self) -> float:
        return self._end - self._clock.time()

    def _give_up(self) -> None:
        self._bound.reschedule(asyncio.get_running_loop().time())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        watch = self._watch
        del self._watch  # they know each other
        watch.cancel()
        self._clock.__exit__(kind, error, trace)
        await self._bound.__aexit__(kind, error, trace)  # raises TimeoutError instead of the cancellation


def wait_for(future: Future[ResultT], seconds: float) -> ResultT:
    """Return the result of a future, blocking.

    Only seconds in which the process ran count.

    Raises:
        TimeoutError: there is none yet, or it is the future's own error.
    """
    while True:
        once = min(seconds, SLICE)
        try:
            return future.result(once)
        except FutureTimeoutError:
            seconds -= once
            if future.done() or seconds <= 0:
                raise
