"""Drivers of Valkey GLIDE that open another client when one gets no answers.

A client that gets no answers keeps its connections: it asks a peer that is gone, or a primary that is frozen and was
replaced long ago, until the system gives the connection up after many minutes. So another one is tried after a timeout.
It takes over if it gets answers from those who owe one. Else the old one stays, which serves at least the other nodes
of a cluster. Requests that are under way stay with the old client. The last of them, which holds its driver, ends it.

A client connects again with the credentials that it was made with, and cannot be told others while it tries. So one
with new ones is tried when connections fail, if there is a provider.
"""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable
from typing import Final

from attrs import evolve

from ....process.notices import sometimes, valkey_logger
from ...requests import Reply, Request
from ..credentials import alogged_in, logged_in
from ..errors import CLUSTER_DOWN, DENIED, DOWN, cause_of, meaning_of
from ..url import Target
from . import opening
from .driver import SLACK, TRIES, TRY, Address, Async, Sync

REOPEN_AFTER: Final = 1.0
"""Seconds between two trials with another client at least, whatever the timeout."""


def _is_unanswered(error: Exception) -> bool:
    from glide_shared import exceptions

    return isinstance(cause_of(error), TimeoutError | exceptions.TimeoutError)


def _needs_login(target: Target, error: Exception) -> bool:
    """Return whether the credentials may have become invalid."""
    return target.credential_provider is not None and meaning_of(error) in (DENIED, DOWN, CLUSTER_DOWN)


def _replaced(error: Exception) -> Exception:
    """Return an error after which the request is tried again, with the new client."""
    return ConnectionError(f"the client has new credentials after {type(cause_of(error)).__name__}")


def _trial(target: Target) -> float:
    """Return the seconds to wait for another client, which has to connect first."""
    return target.connect_timeout + min(target.attempt, SLACK)


def _log_takeover(server: str) -> None:
    sometimes(valkey_logger, f"{server} is back", "%s: another client took over; connections gave no answers", server)


def _nobody() -> None:
    return None


def _through(target: Target, node: Address | None) -> Target:
    # The nodes of the URL may be those that give no answers.
    return target if node is None else evolve(target, addresses=(node,))


class SyncReopening:
    """A blocking driver that opens another client when one gets no answer."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._driver = opening.open_sync(target)
        self._other: Callable[[], Sync | None] = _nobody
        self._tried = time.monotonic()
        self._lock = threading.Lock()
        self._is_closed = False
        self.cluster = self._driver.cluster
        self.limit = self._driver.limit
        self.server = self._driver.server
        self.patience = self._driver.patience + TRIES * TRY + _trial(target)

    def perform(self, request: Request) -> Reply:
        driver = self._driver
        try:
            return driver.perform(request)
        except Exception as error:
            if _is_unanswered(error):
                self._reopen(driver, request)
            elif _needs_login(self._target, error) and self._reopen(driver, request):
                raise _replaced(error) from error
            raise

    def _reopen(self, driver: Sync, request: Request) -> bool:
        """Try another client; return whether another one than ``driver`` is in use now."""
        with self._lock:
            if self._driver is not driver:
                return True
            other = self._other()
            if other is None:
                if time.monotonic() - self._tried < REOPEN_AFTER:
                    return False
                self._tried = time.monotonic()
                target = logged_in(self._target)
                living = driver.living() if self.cluster else None
                other = opening.open_sync(_through(target, living))
                self._other = weakref.ref(other)
        # All whose requests got no answer share one trial: a node that still gives none holds up nobody but its own.
        if not other.answers(request, _trial(self._target)):
            return False
        with self._lock:
            if self._driver is driver:
                self._driver, self._other = other, _nobody
                _log_takeover(self.server)
        if self._is_closed:
            self._driver.close()
        return True

    def close(self) -> None:
        self._is_closed = True
        self._driver.close()


class AsyncReopening:
    """A driver of one event loop that opens another client when one gets no answer."""

    def __init__(self, target: Target, driver: Async) -> None:
        self._target = target
        self._driver = driver
        self._other: Callable[[], Async | None] = _nobody
        self._tried = time.monotonic()
        self._lock = asyncio.Lock()
        self._is_closed = False
        self.cluster = driver.cluster
        self.limit = driver.limit
        self.server = driver.server
        self.patience = driver.patience

    async def perform(self, request: Request) -> Reply:
        driver = self._driver
        try:
            return await driver.perform(request)
        except Exception as error:
            if _is_unanswered(error):
                await self._reopen(driver, request)
            elif _needs_login(self._target, error) and await self._reopen(driver, request):
                raise _replaced(error) from error
            raise

    async def _reopen(self, driver: Async, request: Request) -> bool:
        """Try another client; return whether another one than ``driver`` is in use now."""
        async with self._lock:
            if self._driver is not driver:
                return True
            other = self._other()
            if other is None:
                if time.monotonic() - self._tried < REOPEN_AFTER:
                    return False
                self._tried = time.monotonic()
                target = await alogged_in(self._target)
                living = await driver.living() if self.cluster else None
                other = opening.open_async(_through(target, living))
                if other is None:
                    return False
                self._other = weakref.ref(other)
        # All whose requests got no answer share one trial: a node that still gives none holds up nobody but its own.
        if not await other.answers(request, _trial(self._target)):
            return False
        async with self._lock:
            if self._driver is driver:
                self._driver, self._other = other, _nobody
                _log_takeover(self.server)
        if self._is_closed:
            await self._driver.close()
        return True

    async def close(self) -> None:
        self._is_closed = True
        await self._driver.close()


def open_sync(target: Target) -> SyncReopening:
    """Make a blocking client; it connects with the first request."""
    return SyncReopening(target)


def open_async(target: Target) -> AsyncReopening | None:
    """Make a client for the running event loop; it connects with the first request.

    Returns:
        ``None`` if the asyncio client cannot work here: all its answers come through one pipe of the process, which
        the event loop reads that used glide first. As long as that one is open, no other loop can rely on it.
    """
    driver = opening.open_async(target)
    return None if driver is None else AsyncReopening(target, driver)
