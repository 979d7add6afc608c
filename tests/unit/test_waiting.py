"""The watchdog of the tests: it finds what makes an event loop wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockingError

import statekeep
from statekeep.repositories.operation import Operation, arun

from ..waiting import SOURCES

pytestmark = pytest.mark.anyio


def ours(source: str) -> dict[str, Any]:
    """Run code as if it were a module of the package."""
    names: dict[str, Any] = {"time": time, "Path": Path, "asyncio": asyncio}
    exec(compile(source, f"{SOURCES}/made_up.py", "exec"), names)
    return names


@pytest.mark.parametrize("blocking", ["time.sleep(0.001)", "Path('.').stat()"])
async def test_it_refuses_what_blocks(blocking: str) -> None:
    awaited = ours(f"async def awaited(): {blocking}")["awaited"]
    with pytest.raises(BlockingError):
        await awaited()


async def test_it_refuses_a_blocking_method_that_a_coroutine_calls() -> None:
    names = ours(
        "def put(): time.sleep(0.001)\nasync def aput(): put()\nasync def aput_apart():\n await asyncio.to_thread(put)"
    )
    with pytest.raises(BlockingError):
        await names["aput"]()
    await names["aput_apart"]()


async def test_it_refuses_what_the_loop_calls() -> None:
    ended = asyncio.get_running_loop().create_future()
    callback = ours("""
def callback(ended):
    try:
        time.sleep(0.001)
    except Exception as error:
        ended.set_result(error)
""")["callback"]
    asyncio.get_running_loop().call_soon(callback, ended)
    assert isinstance(await asyncio.wait_for(ended, 5), BlockingError)


async def test_it_refuses_what_makes_things_blocking(monkeypatch: pytest.MonkeyPatch) -> None:
    check = ours("def check(url, options): time.sleep(0.001)")["check"]
    monkeypatch.setattr("statekeep.repositories.connect.check_memory_url", check)
    with pytest.raises(BlockingError):
        statekeep.aconnect("memory:")


async def test_it_allows_what_the_test_asked_for() -> None:
    put: Callable[[], None] = ours("def put(): time.sleep(0.001)")["put"]
    put()

    async def execute(request: Any) -> None:
        put()

    def operation() -> Operation[None]:
        yield "request"

    await arun(operation(), execute)
    time.sleep(0.001)  # noqa: ASYNC251 - not by Statekeep
