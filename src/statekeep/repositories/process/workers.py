"""Threads that run blocking calls, for event loops and for calls side by side."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from . import fork

ResultT = TypeVar("ResultT")


def running_loop() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if one does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Workers:
    """A bounded number of threads, started when they are needed. Survives a fork.

    asyncio's default threads will not do: the blocking nodes of a graph run there, and may wait for these calls.

    Args:
        most: number of threads.
        name: prefix of their names.
    """

    def __init__(self, most: int, name: str = "statekeep") -> None:
        self._most = most
        self._name = name
        self.after_fork()
        fork.follow(self)

    def after_fork(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None

    def submit(self, function: Callable[..., ResultT], *arguments: object) -> Future[ResultT]:
        """Run a function in a thread, with the context variables of the caller."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._most, thread_name_prefix=self._name)
            pool = self._pool
        context = contextvars.copy_context()
        return pool.submit(context.run, function, *arguments)

    async def run(self, function: Callable[..., ResultT], *arguments: object) -> ResultT:
        """Await a function that runs in a thread."""
        return await asyncio.wrap_future(self.submit(function, *arguments))

    def close(self) -> None:
        """Let the threads end after the calls that were submitted."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)
