"""Threads that run blocking calls, for event loops and for calls side by side."""

from __future__ import annotations

import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

ResultT = TypeVar("ResultT")


class Workers:
    """A bounded number of threads of our own, started when they are needed.

    asyncio's default threads will not do: the blocking nodes of a graph run there, and may wait for these calls.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._renew()

    def _renew(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pid = os.getpid()

    def submit(self, function: Callable[..., ResultT], *arguments: object) -> Future[ResultT]:
        """Run a function in a thread, with the context variables of the caller."""
        if self._pid != os.getpid():  # threads do not survive a fork
            self._renew()
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._most, thread_name_prefix="statekeep-aws")
            pool = self._pool
        context = contextvars.copy_context()
        return pool.submit(context.run, function, *arguments)

    def close(self) -> None:
        """Let the threads end; what was submitted still runs."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False)
