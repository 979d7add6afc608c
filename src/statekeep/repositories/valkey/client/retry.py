"""Attempts at a request: how many at a time, how often, and for how long.

A request is idempotent, so it is tried again until it succeeds or ``deadline`` seconds have passed since it began. Only
those count in which the process, and the event loop, ran; see :mod:`.clock`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import deque
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Final

from ....domain import StatekeepError, Unavailable
from ....telemetry import hook
from ...process.notices import sometimes, valkey_logger
from ..requests import Call, Commands, Divided, Reply, Request, Scan, name_of, size_of, size_of_reply
from .clock import SLICE, TICK, LoopClock, Watch, loop_clock
from .driver import AsyncDriver, SyncDriver
from .errors import MIGRATING, ErrorRule, cause_of, failure, meaning_of

FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.5

SLACK: Final = 2.0
"""Seconds beyond the deadline after which an event loop that does not answer is taken to be blocked."""

WORKERS: Final = 16
"""Threads that serve event loops with a blocking client."""

_NEVER: Final = object()


class RetryState:
    """The attempts at one request, and the time that is left for them.

    The time runs from the first attempt: a request that waits for its turn behind others, as the last of a large
    fan-out does, loses none of it.

    Args:
        request: what is tried.
        deadline: seconds for all attempts.
        timeout: seconds for one attempt, to be named in errors; ``None`` where the client was given.
        clock: that of the event loop; ``None`` for blocking code, which notices when something took longer than it can.
    """

    def __init__(
        self,
        request: Request,
        deadline: float,
        timeout: float | None = None,
        slow: float | None = None,
        *,
        clock: LoopClock | None = None,
    ) -> None:
        self._request = request
        self._timeout = timeout
        self._slow = slow
        self._failures = 0
        self.is_notable = slow is not None
        """Whether an answer may be worth a word: an attempt failed, or somebody wants to know what is slow."""
        self._deadline = deadline
        self._time = time.monotonic if clock is None else clock.time
        self._began = self._time()
        self._pause = FIRST_PAUSE

        self._is_begun = False
        self._is_extended = False
        self._attempt = (0.0, 0.0)

    def begin(self) -> None:
        """Note that an attempt begins."""
        now = self._time()
        self._attempt = (now, time.monotonic())
        if not self._is_begun:
            self._is_begun = True
            self._began = now

    @property
    def seconds(self) -> float:
        return self._time() - self._began

    def seconds_left(self, progress: float, end: float) -> float:
        """Return how many more seconds to wait for a slot, until ``end`` at the latest.

        When no other request has succeeded for long, the last one at ``progress``, it is over sooner.
        """
        return min(max(self._began, progress) + max(self._deadline, SLACK), end) - self._time()

    def left(self) -> float:
        return self._deadline - self.seconds

    def failed(self, error: Exception, server: str, *, cluster: bool, patience: float = math.inf) -> float:
        """Return seconds to pause before the next attempt, or raise the translated error.

        Args:
            error: what ended the attempt.
            server: its address, for messages.
            cluster: whether the driver is one for clusters.
            patience: seconds that a blocking attempt may take; in what it took beyond, the process did not run.
        """
        meaning = meaning_of(error, cluster=cluster)
        if meaning is None:
            raise error
        stood = self._stood(patience)
        left = self.left()
        if meaning is MIGRATING and isinstance(self._request, Call) and not self._request.is_whole:
            raise Divided(self._request) from error
        if meaning.retry and left <= 0 < stood and not self._is_extended:
            # Whatever the deadline says: it was no attempt.
            self._is_extended = True
            left = FIRST_PAUSE
        if not meaning.retry or left <= 0:
            raise self.translated(meaning, error, server) from cause_of(error)
        pause = min(self._pause * random.uniform(0.5, 1.0), left)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        self._failures += 1
        hook.count(retries=1)
        self.is_notable = True
        # Not the driver's text, which may repeat values.
        level = logging.INFO if self._failures == 1 else logging.DEBUG
        sometimes(
            valkey_logger,
            f"{server} fails",
            "%s: %s (%s); %s is tried again, for up to %.1f seconds",
            server,
            meaning.summary,
            type(cause_of(error)).__name__,
            name_of(self._request),
            left,
            otherwise=level,
        )
        return pause

    def _stood(self, patience: float) -> float:
        """Return for how many seconds of the last attempt nothing ran.

        They do not count any more.
        """
        if not self._is_begun:
            return 0.0
        began, since = self._attempt
        took = self._time() - began
        if took > patience:
            self._began += took - patience
            return took - patience
        stood = time.monotonic() - since - took
        return stood if stood > TICK else 0.0

    def rest(self, pause: float) -> None:
        """Sleep, blocking."""
        began = time.monotonic()
        time.sleep(pause)
        self._began += time.monotonic() - began - pause

    def answered(self, server: str) -> None:
        """Log that an answer came late.

        It came after failed attempts, or after so many seconds that it counts as slow.
        """
        taken = self.seconds
        if self._failures:
            valkey_logger.info(
                "%s: %s is answered after %d failed attempts and %.1f seconds",
                server,
                name_of(self._request),
                self._failures,
                taken,
            )
        if self._slow is not None and taken >= self._slow:
            valkey_logger.warning(
                "%s: slow: %s took %.3f seconds, for %d bytes sent",
                server,
                name_of(self._request),
                taken,
                size_of(self._request),
            )

    def translated(self, meaning: ErrorRule, error: Exception, server: str) -> StatekeepError:
        return failure(meaning, error, self._request, server, self.seconds, self._timeout)

    def pool_exhausted(self, server: str, limit: int) -> Unavailable:
        return Unavailable(
            f"{server}: all {limit} connections or requests of this client were busy for {self.seconds:.1f} seconds"
        )


class _Slots:
    """A semaphore that no exception of a signal handler upsets.

    It takes a tenth of the time of threading's own. A caller brings a list for its slot, and gives the slot back if it
    is in there. Taking a slot into the list is one step of the interpreter, and so is giving it back; signals are
    handled between steps.
    """

    def __init__(self, limit: int) -> None:
        queue: SimpleQueue[None] = SimpleQueue()
        for _ in range(limit):
            queue.put(None)
        self.give: Final = queue.put
        self.now: Final = iter(queue.get_nowait, _NEVER)
        """The slots that are free; it raises Empty if none is."""
        self._get: Final = queue.get

    def wait(self, held: list[None], seconds: float) -> None:
        """Take a slot, or raise Empty after some seconds."""
        held.extend(islice(iter(partial(self._get, True, seconds), _NEVER), 1))


def _counted(request: Request) -> hook.Tally | None:
    """Count an attempt if somebody observes its operation; return the counts.

    No other request of the operation is under way. Drivers count the pages of a scan, and the texts of scripts.
    """
    tally = hook.current()
    if tally is not None and not (
        isinstance(request, Scan) or (isinstance(request, Commands) and not request.commands)
    ):
        tally.round_trips += 1
        tally.sent += size_of(request)
    return tally


class SyncLimiter:
    """A blocking driver with a bound on concurrent requests, and retries.

    A request waits at most ``pool_timeout`` seconds for its turn.
    """

    def __init__(self, driver: SyncDriver, deadline: float, pool_timeout: float = math.inf) -> None:
        self.driver = driver
        self._deadline = deadline
        self._pool_timeout = pool_timeout
        self._slots = _Slots(driver.limit)
        self._progress = 0.0

    def forked(self) -> None:
        self._slots = _Slots(self.driver.limit)

    def perform(self, request: Request, state: RetryState) -> Reply:
        slots = self._slots
        held: list[None] = []
        try:
            try:
                held.extend(islice(slots.now, 1))
            except Empty:
                self._queue(slots, held, state)
            state.begin()
            tally = _counted(request) if hook.observers else None
            reply = self.driver.perform(request)
            self._progress = time.monotonic()
        finally:
            if held:
                slots.give(None)
        if tally is not None:
            tally.received += size_of_reply(reply)
        return reply

    def _queue(self, slots: _Slots, held: list[None], state: RetryState) -> None:
        end = time.monotonic() + self._pool_timeout
        while True:
            began = time.monotonic()
            once = min(max(state.seconds_left(self._progress, end), 0.001), SLICE)
            try:
                return slots.wait(held, once)
            except Empty:
                late = time.monotonic() - began - once
            if late > TICK:  # the process was frozen, and nobody could succeed
                self._progress = time.monotonic()
                end += late
            if state.seconds_left(self._progress, end) <= 0:
                raise state.pool_exhausted(self.driver.server, self.driver.limit)

    def execute(self, request: Request) -> Reply:
        driver = self.driver
        state = RetryState(request, self._deadline)
        while True:
            try:
                reply = self.perform(request, state)
            except Exception as error:
                pause = state.failed(error, driver.server, cluster=driver.cluster, patience=driver.patience)
            else:
                if state.is_notable:
                    state.answered(driver.server)
                return reply
            state.rest(pause)


class AsyncLimiter:
    """A driver of one event loop with a bound on concurrent requests, and retries.

    See :class:`SyncLimiter`.
    """

    def __init__(self, driver: AsyncDriver, deadline: float, pool_timeout: float = math.inf) -> None:
        self.driver = driver
        self._deadline = deadline
        self._pool_timeout = pool_timeout
        # Does as asyncio.Semaphore, but by single steps as those of _Slots.
        self._free: list[None] = [None] * driver.limit
        self._now = iter(self._free.pop, _NEVER)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._progress = 0.0

    async def perform(self, request: Request, state: RetryState) -> Reply:
        held: list[None] = []
        try:
            if self._waiting or not self._free:
                await self._queue(held, state)
            else:
                held.extend(islice(self._now, 1))
            state.begin()
            tally = _counted(request) if hook.observers else None
            reply = await self.driver.perform(request)
            self._progress = loop_clock().time()
        finally:
            if held:
                self._free.append(None)
                if self._waiting:
                    self._call()
        if tally is not None:
            tally.received += size_of_reply(reply)
        return reply

    def _call(self) -> None:
        # As many as there are free slots; nobody who comes later overtakes them.
        for turn, _ in zip(self._waiting, self._free, strict=False):
            if not turn.done():
                turn.set_result(None)

    async def _queue(self, held: list[None], state: RetryState) -> None:
        loop = asyncio.get_running_loop()
        end = loop_clock().time() + self._pool_timeout
        watch: Watch | None = None
        turn = loop.create_future()
        try:
            async with asyncio.timeout(None) as bound:
                watch = Watch(lambda: state.seconds_left(self._progress, end), lambda: bound.reschedule(loop.time()))
                self._waiting.append(turn)
                self._call()
                await turn
                held.extend(islice(self._now, 1))
        except TimeoutError:
            raise state.pool_exhausted(self.driver.server, self.driver.limit) from None
        finally:
            if turn in self._waiting:
                self._waiting.remove(turn)
            self._call()
            if watch is not None:
                watch.cancel()

    async def execute(self, request: Request) -> Reply:
        with loop_clock() as clock:
            state = RetryState(request, self._deadline, clock=clock)
            while True:
                try:
                    reply = await self.perform(request, state)
                except Exception as error:
                    pause = state.failed(error, self.driver.server, cluster=self.driver.cluster)
                else:
                    if state.is_notable:
                        state.answered(self.driver.server)
                    return reply
                await asyncio.sleep(pause)
