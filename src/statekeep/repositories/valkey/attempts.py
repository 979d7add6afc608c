"""Attempts at a request: how many at a time, how often, and for how long.

A request is idempotent, so it is tried again until it succeeds or ``deadline`` seconds have passed since it began.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Final

from ...domain import StatekeepError, Unavailable
from .divided import Divided, divisible
from .drivers import AsyncDriver, SyncDriver
from .failures import MIGRATING, Meaning, cause_of, failure, meaning_of
from .requests import Reply, Request

FIRST_PAUSE: Final = 0.01
LONGEST_PAUSE: Final = 0.5

SLACK: Final = 2.0
"""Seconds beyond the deadline after which an event loop that does not answer is taken to be blocked."""

WORKERS: Final = 16
"""Threads that serve event loops with a blocking client."""


class Attempts:
    """The attempts at one request, and the time that is left for them.

    The time runs from the first attempt: a request that waits for its turn behind others, as the last of a large
    fan-out does, loses none of it.
    """

    def __init__(self, request: Request, deadline: float) -> None:
        self._request = request
        self._began = time.monotonic()
        self._deadline = deadline
        self._pause = FIRST_PAUSE

        self._is_begun = False

    def begin(self) -> None:
        """Note that an attempt begins."""
        if not self._is_begun:
            self._is_begun = True
            self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def patience(self, progress: float, end: float) -> float:
        """Return for how many more seconds to wait for a slot: until ``end`` at the latest.

        When no other request has succeeded for long, the last one at ``progress``, it is over sooner.
        """
        return min(max(self._began, progress) + max(self._deadline, SLACK), end) - time.monotonic()

    def left(self) -> float:
        return self._deadline - self.seconds

    def failed(self, error: Exception, server: str, *, cluster: bool) -> float:
        """Return how many seconds to pause before the next attempt, or raise what the error means."""
        meaning = meaning_of(error, cluster=cluster)
        if meaning is None:
            raise error
        left = self.left()
        if meaning is MIGRATING and (call := divisible(self._request)):
            raise Divided(call) from error
        if not meaning.retry or left <= 0:
            raise self.translated(meaning, error, server) from cause_of(error)
        pause = min(self._pause * random.uniform(0.5, 1.0), left)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause

    def translated(self, meaning: Meaning, error: Exception, server: str) -> StatekeepError:
        return failure(meaning, error, self._request, server, self.seconds)

    def crowded(self, server: str, limit: int) -> Unavailable:
        return Unavailable(
            f"{server}: all {limit} connections or requests of this client were busy for {self.seconds:.1f} seconds"
        )


def _slots(limit: int) -> SimpleQueue[None]:
    """A semaphore that takes a tenth of the time of threading's own."""
    slots: SimpleQueue[None] = SimpleQueue()
    for _ in range(limit):
        slots.put(None)
    return slots


class SyncSide:
    """A blocking driver with a bound on concurrent requests, and retries.

    A request waits at most ``pool_timeout`` seconds for its turn.
    """

    def __init__(self, driver: SyncDriver, deadline: float, pool_timeout: float = math.inf) -> None:
        self.driver = driver
        self._deadline = deadline
        self._pool_timeout = pool_timeout
        self._slots = _slots(driver.limit)
        self._progress = 0.0

    def forked(self) -> None:
        self._slots = _slots(self.driver.limit)

    def perform(self, request: Request, attempt: Attempts) -> Reply:
        slots = self._slots
        try:
            slots.get_nowait()
        except Empty:
            self._queue(slots, attempt)
        attempt.begin()
        try:
            reply = self.driver.perform(request)
            self._progress = time.monotonic()
        finally:
            slots.put(None)
        return reply

    def _queue(self, slots: SimpleQueue[None], attempt: Attempts) -> None:
        end = time.monotonic() + self._pool_timeout
        while True:
            try:
                return slots.get(timeout=max(attempt.patience(self._progress, end), 0.001))
            except Empty:
                if attempt.patience(self._progress, end) <= 0:
                    raise attempt.crowded(self.driver.server, self.driver.limit) from None

    def execute(self, request: Request) -> Reply:
        attempt = Attempts(request, self._deadline)
        while True:
            try:
                return self.perform(request, attempt)
            except Exception as error:
                pause = attempt.failed(error, self.driver.server, cluster=self.driver.cluster)
            time.sleep(pause)


class AsyncSide:
    """A driver of one event loop with a bound on concurrent requests, and retries; see :class:`SyncSide`."""

    def __init__(self, driver: AsyncDriver, deadline: float, pool_timeout: float = math.inf) -> None:
        self.driver = driver
        self._deadline = deadline
        self._pool_timeout = pool_timeout
        self._slots = asyncio.Semaphore(driver.limit)
        self._progress = 0.0

    async def perform(self, request: Request, attempt: Attempts) -> Reply:
        if self._slots.locked():
            await self._queue(attempt)
        else:
            await self._slots.acquire()
        attempt.begin()
        try:
            reply = await self.driver.perform(request)
            self._progress = time.monotonic()
        finally:
            self._slots.release()
        return reply

    async def _queue(self, attempt: Attempts) -> None:
        loop = asyncio.get_running_loop()
        end = time.monotonic() + self._pool_timeout
        timer: asyncio.TimerHandle | None = None

        def look() -> None:
            nonlocal timer
            patience = attempt.patience(self._progress, end)
            if patience > 0:
                timer = loop.call_later(patience, look)
            else:
                bound.reschedule(loop.time())

        try:
            # Waiting in one piece keeps the place in the queue.
            async with asyncio.timeout(None) as bound:
                look()
                await self._slots.acquire()
        except TimeoutError:
            raise attempt.crowded(self.driver.server, self.driver.limit) from None
        finally:
            if timer is not None:
                timer.cancel()

    async def execute(self, request: Request) -> Reply:
        attempt = Attempts(request, self._deadline)
        while True:
            try:
                return await self.perform(request, attempt)
            except Exception as error:
                pause = attempt.failed(error, self.driver.server, cluster=self.driver.cluster)
            await asyncio.sleep(pause)


class Workers:
    """Runs blocking calls for event loops, in threads of our own.

    asyncio's default threads will not do: the blocking nodes of a graph run there, and may wait for these calls.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    async def run(self, function: Callable[[Request], Reply], request: Request) -> Reply:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="statekeep")
            pool = self._pool
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(pool, context.run, function, request)

    def forked(self) -> None:
        self._lock = threading.Lock()
        self._pool = None

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)
