"""Attempts, retries and the bound on concurrent requests, with drivers that do as they are told."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice

import glide_shared
import pytest
import valkey.exceptions

from statekeep.domain import Unavailable
from statekeep.repositories.valkey.client import clock
from statekeep.repositories.valkey.client import retry as attempts
from statekeep.repositories.valkey.client.clock import within
from statekeep.repositories.valkey.client.retry import AsyncLimiter, SyncLimiter
from statekeep.repositories.valkey.requests import Commands, Reply, Request

from ...interruption import strike_everywhere

pytestmark = pytest.mark.anyio

GET = Commands([["GET", "k"]])


class Driver:
    """Takes its time, and fails as often as it is told."""

    cluster = False
    server = "db.example:6379"
    patience = 60.0
    error: Exception = valkey.exceptions.ConnectionError("refused")

    def __init__(self, *, limit: int = 2, seconds: float = 0.0, failures: float = 0) -> None:
        self.limit = limit
        self.seconds = seconds
        self.failures = failures
        self.calls = 0
        self.active = 0
        self.most = 0
        self.lock = threading.Lock()

    def begin(self) -> bool:
        with self.lock:
            self.calls += 1
            self.active += 1
            self.most = max(self.most, self.active)
            self.failures -= 1
            return self.failures >= 0

    def end(self, fails: bool) -> Reply:
        with self.lock:
            self.active -= 1
        if fails:
            raise self.error
        return [b"x"]


class SyncDriver(Driver):
    def perform(self, request: Request) -> Reply:
        fails = self.begin()
        time.sleep(self.seconds)
        return self.end(fails)

    def close(self) -> None: ...


class AsyncDriver(Driver):
    async def perform(self, request: Request) -> Reply:
        fails = self.begin()
        await asyncio.sleep(self.seconds)
        return self.end(fails)

    async def close(self) -> None: ...


async def test_retries_until_it_succeeds() -> None:
    sync, asynchronous = SyncDriver(failures=4), AsyncDriver(failures=4)
    assert SyncLimiter(sync, 5).execute(GET) == [b"x"]
    assert await AsyncLimiter(asynchronous, 5).execute(GET) == [b"x"]
    assert sync.calls == asynchronous.calls == 5


async def test_a_cluster_client_that_was_redirected_tries_again() -> None:
    sync, asynchronous = SyncDriver(failures=1), AsyncDriver(failures=1)
    sync.error = asynchronous.error = glide_shared.exceptions.RequestError("- Moved: 12728 127.0.0.1:24564")
    sync.cluster = asynchronous.cluster = True
    assert SyncLimiter(sync, 5).execute(GET) == [b"x"]
    assert await AsyncLimiter(asynchronous, 5).execute(GET) == [b"x"]


async def test_retries_until_the_deadline_with_growing_pauses() -> None:
    for deadline, least, most in ((0.5, 5, 12), (0, 1, 1)):
        sync, asynchronous = SyncDriver(failures=1e9), AsyncDriver(failures=1e9)
        began = time.monotonic()
        with pytest.raises(Unavailable) as caught:
            SyncLimiter(sync, deadline).execute(GET)
        assert deadline <= time.monotonic() - began < deadline + 0.3
        assert isinstance(caught.value.__cause__, valkey.exceptions.ConnectionError)
        began = time.monotonic()
        with pytest.raises(Unavailable):
            await AsyncLimiter(asynchronous, deadline).execute(GET)
        assert deadline <= time.monotonic() - began < deadline + 0.3
        assert least <= sync.calls <= most
        assert least <= asynchronous.calls <= most


async def test_a_long_queue_that_moves_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    # The last of them waits for twice the deadline, and each answer comes in a tenth of it, also on a busy machine.
    monkeypatch.setattr(attempts, "SLACK", 0.5)
    asynchronous = AsyncDriver(seconds=0.05)
    limiter = AsyncLimiter(asynchronous, 0.5)
    assert await asyncio.gather(*(limiter.execute(GET) for _ in range(40))) == [[b"x"]] * 40
    assert asynchronous.most == 2

    sync = SyncDriver(seconds=0.05)
    blocking = SyncLimiter(sync, 0.5)
    with ThreadPoolExecutor(40) as threads:
        assert list(threads.map(blocking.execute, [GET] * 40)) == [[b"x"]] * 40
    assert sync.most == 2


async def test_a_queue_that_stands_still_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "SLACK", 0.1)
    limiter = AsyncLimiter(AsyncDriver(seconds=60), 0.1)
    stuck = [asyncio.ensure_future(limiter.execute(GET)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="all 2 connections"):
        await asyncio.wait_for(limiter.execute(GET), 5)
    for task in stuck:
        task.cancel()
    await asyncio.wait(stuck)

    blocking = SyncLimiter(SyncDriver(seconds=0.6), 0.1)
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(blocking.execute, GET) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable, match="all 2 connections"):
            blocking.execute(GET)
        assert [future.result() for future in futures] == [[b"x"]] * 2
    assert blocking.execute(GET) == [b"x"]


async def test_cancelled_waiters_leave_no_trace() -> None:
    limiter = AsyncLimiter(AsyncDriver(seconds=0.01), 5)
    for round_ in range(20):
        tasks = [asyncio.ensure_future(limiter.execute(GET)) for _ in range(10)]
        await asyncio.sleep(0.002 * (round_ % 8))
        for task in tasks[round_ % 3 :: 2]:
            task.cancel()
        await asyncio.wait(tasks, timeout=5)
        assert all(task.done() for task in tasks)
    assert await asyncio.gather(*(limiter.execute(GET) for _ in range(10))) == [[b"x"]] * 10


async def test_a_queue_that_moves_too_slowly_for_the_pool_timeout() -> None:
    limiter = AsyncLimiter(AsyncDriver(seconds=0.3), 5, pool_timeout=0.1)
    began = time.monotonic()
    found = await asyncio.gather(*(limiter.execute(GET) for _ in range(3)), return_exceptions=True)
    assert [isinstance(each, Unavailable) for each in found] == [False, False, True]
    assert time.monotonic() - began < 0.55
    assert await limiter.execute(GET) == [b"x"]

    blocking = SyncLimiter(SyncDriver(seconds=0.3), 5, pool_timeout=0.1)
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(blocking.execute, GET) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Unavailable, match="all 2 connections"):
            blocking.execute(GET)
        assert [future.result() for future in futures] == [[b"x"]] * 2
    assert blocking.execute(GET) == [b"x"]


class BlockingDriver(AsyncDriver):
    """Blocks the event loop in its first calls, which fail, or answer after the block."""

    blocks: float = 1

    async def perform(self, request: Request) -> Reply:
        fails = self.begin()
        loop = asyncio.get_running_loop()
        if self.calls <= self.blocks:
            loop.call_soon(time.sleep, 0.6)
        await asyncio.sleep(0.01)
        return self.end(fails)


async def test_an_attempt_in_which_the_loop_was_blocked_is_followed_by_one_more() -> None:
    for deadline in (0, 0.2):
        driver = BlockingDriver(failures=1)
        assert await AsyncLimiter(driver, deadline).execute(GET) == [b"x"]
        assert driver.calls == 2
    driver = BlockingDriver(failures=1e9)
    driver.blocks = 1e9
    with pytest.raises(Unavailable):
        await AsyncLimiter(driver, 0).execute(GET)
    assert driver.calls == 2  # and no more than one


def test_an_attempt_in_which_the_process_was_frozen_is_followed_by_one_more() -> None:
    driver = SyncDriver(seconds=0.2, failures=1)
    driver.patience = 0.1
    assert SyncLimiter(driver, 0).execute(GET) == [b"x"]
    driver = SyncDriver(seconds=0.2, failures=1e9)
    driver.patience = 0.1
    with pytest.raises(Unavailable):
        SyncLimiter(driver, 0).execute(GET)
    assert driver.calls == 2


async def test_a_queue_behind_a_blocked_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "SLACK", 0.2)
    for pool_timeout in (60, 0.2):
        limiter = AsyncLimiter(AsyncDriver(seconds=0.01), 0.2, pool_timeout)
        asking = [asyncio.ensure_future(limiter.execute(GET)) for _ in range(10)]
        await asyncio.sleep(0)
        time.sleep(1)  # noqa: ASYNC251
        assert await asyncio.gather(*asking) == [[b"x"]] * 10


async def test_an_answer_that_arrived_while_the_loop_was_blocked_is_read() -> None:
    for seconds in (0.01, 0.3):
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=ours)
        answer = b"x" * 1_000_000
        threading.Thread(target=theirs.sendall, args=[answer], daemon=True).start()
        async with within(seconds):
            asyncio.get_running_loop().call_soon(time.sleep, 0.6)
            await asyncio.sleep(0)
            assert await reader.readexactly(len(answer)) == answer
        with pytest.raises(TimeoutError):
            async with within(seconds):
                await reader.read(1)
        writer.close()
        theirs.close()


async def test_the_clock_of_a_loop_that_lost_a_tick_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception of a signal handler may lose it."""
    monkeypatch.setattr(clock, "RENEWAL", 0.2)
    with clock.loop_clock() as here:
        for handle in asyncio.get_running_loop()._scheduled:  # type: ignore[attr-defined]
            handle.cancel()
        began = here.time()
        await asyncio.sleep(0.5)
        here.time()
        await asyncio.sleep(0.3)
        assert 0.3 < here.time() - began < 0.75


class Interrupt(BaseException):
    """Comes from a signal handler."""


def test_an_interrupt_loses_no_slot() -> None:
    """Wherever it comes, also while others wait for the only one."""
    limiter = SyncLimiter(SyncDriver(limit=1), 5, pool_timeout=0.001)
    struck = strike_everywhere(
        lambda: limiter.execute(GET), lambda: limiter.execute(GET), Interrupt, "client/retry.py", "test_retry.py"
    )
    assert struck > 10

    taken = limiter._slots
    held: list[None] = []
    held.extend(islice(taken.now, 1))

    def wait() -> None:
        with suppress(Unavailable):
            limiter.execute(GET)

    assert strike_everywhere(wait, lambda: None, Interrupt, "client/retry.py") > 10
    taken.give(None)
    assert limiter.execute(GET) == [b"x"]


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning")
def test_an_interrupt_of_an_event_loop_loses_no_slot() -> None:
    loop = asyncio.new_event_loop()
    limiter = AsyncLimiter(AsyncDriver(limit=1), 5, pool_timeout=0.2)

    async def crowd() -> None:
        for outcome in await asyncio.gather(*(limiter.execute(GET) for _ in range(3)), return_exceptions=True):
            if isinstance(outcome, Interrupt):  # who waits meanwhile may give up
                raise outcome

    def act() -> None:
        loop.run_until_complete(crowd())

    def check() -> None:
        if others := asyncio.all_tasks(loop):
            loop.run_until_complete(asyncio.wait(others))
        assert limiter._free == [None]
        assert not limiter._waiting
        assert loop.run_until_complete(limiter.execute(GET)) == [b"x"]

    assert strike_everywhere(act, check, Interrupt, "client/retry.py", "test_retry.py") > 20
    loop.close()
