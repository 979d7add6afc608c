"""Clients over one that the user made: it is never closed or changed."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import NoReturn, TypeVar

from ....domain import WrongEventLoop
from ....domain.shown import once_made
from ....telemetry.records import Service
from ...process import fork as forks
from ...process.copies import refuse
from ...process.workers import Workers, running_loop
from ..requests import Reply, Request
from .clock import wait_for
from .driver import AsyncDriver, SyncDriver, closed, service_at
from .retry import SLACK, WORKERS, AsyncLimiter, SyncLimiter

ResultT = TypeVar("ResultT")


class _UserClient:
    service: Service
    """The server, for observers."""

    def __reduce__(self) -> NoReturn:
        refuse(
            "a client or pool that you made, and savers, stores, caches and repositories around it,",
            "make them from a URL (from_conn_string, statekeep.connect): a copy then opens connections of its own",
        )


class UserSyncClient(_UserClient):
    """A client over the user's blocking one. Worker threads serve event loops."""

    def __init__(self, driver: SyncDriver, deadline: float) -> None:
        self.cluster = driver.cluster
        self.service = service_at(driver.server, getattr(driver, "database", None))
        self.deadline = deadline
        self._limiter = SyncLimiter(driver, deadline)
        self._workers = Workers(min(WORKERS, driver.limit))
        self._is_closed = False
        forks.follow(self)

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._limiter.driver.server!r})"

    def after_fork(self) -> None:
        self._limiter.forked()

    def execute(self, request: Request) -> Reply:
        if self._is_closed:
            raise closed(self._limiter.driver.server)
        return self._limiter.execute(request)

    async def aexecute(self, request: Request) -> Reply:
        if self._is_closed:
            raise closed(self._limiter.driver.server)
        return await self._workers.run(self._limiter.execute, request)

    def close(self) -> None:
        self._is_closed = True
        self._workers.close()

    async def aclose(self) -> None:
        self.close()


class UserAsyncClient(_UserClient):
    """A client over the user's asyncio one, which belongs to one event loop.

    That loop serves other threads while it runs.
    """

    def __init__(self, driver: AsyncDriver, deadline: float, loop: asyncio.AbstractEventLoop | None) -> None:
        self.cluster = driver.cluster
        self.service = service_at(driver.server, getattr(driver, "database", None))
        self._driver = driver
        self.deadline = deadline
        self._limiter: AsyncLimiter | None = None
        self._loop = loop or running_loop()
        self._is_closed = False

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._driver.server!r})"

    def execute(self, request: Request) -> Reply:
        if self._is_closed:
            raise closed(self._driver.server)
        loop = self._loop
        if loop is None or not loop.is_running():
            raise WrongEventLoop(
                "this client is asynchronous and its event loop is not running; use the async methods (ainvoke, aput "
                "...), or a blocking client, or a URL, which serves both"
            )
        if loop is running_loop():
            raise WrongEventLoop(
                "a blocking call from the event loop's own thread would wait for itself; use the async methods "
                "(ainvoke, aput ...), or a client made from a URL, which serves both"
            )
        future = asyncio.run_coroutine_threadsafe(self._execute(request), loop)
        return _wait(future, self.deadline + self._driver.patience + SLACK)

    async def aexecute(self, request: Request) -> Reply:
        if self._is_closed:
            raise closed(self._driver.server)
        loop = asyncio.get_running_loop()
        if self._loop is None:
            self._loop = loop
        if self._loop is not loop:
            raise WrongEventLoop(
                "this client belongs to another event loop; make one client for each loop, or use a URL, which opens "
                "one for each loop"
            )
        return await self._execute(request)

    async def _execute(self, request: Request) -> Reply:
        if self._limiter is None:
            self._limiter = AsyncLimiter(self._driver, self.deadline)
        return await self._limiter.execute(request)

    def close(self) -> None:
        self._is_closed = True

    async def aclose(self) -> None:
        self._is_closed = True


def _wait(future: Future[ResultT], seconds: float) -> ResultT:
    try:
        return wait_for(future, seconds)
    except FutureTimeoutError:
        if future.done():  # the request's own error
            raise
        raise WrongEventLoop(
            f"the event loop of this client did not answer for {seconds:.0f} seconds; is it waiting for this thread?"
        ) from None
    finally:
        future.cancel()
