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
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.operation import Operation, run

pytestmark = pytest.mark.anyio


class Slow(MemoryItems):
    """Blocks, as it must not in an event loop."""

    def __init__(self, block: Callable[[], object]) -> None:
        super().__init__()
        self.block = block

    def ping(self) -> Operation[None]:
        yield "ping"

    def execute(self, request: Any) -> None:
        self.block()

    async def aexecute(self, request: Any) -> None:
        self.block()


@pytest.mark.parametrize("block", [lambda: time.sleep(0.001), lambda: Path(__file__).stat()], ids=["sleep", "stat"])
async def test_it_refuses_what_blocks(block: Callable[[], object]) -> None:
    with pytest.raises(BlockingError):
        await AsyncItemRepository(Slow(block)).ping()
    assert await asyncio.to_thread(ItemRepository(Slow(block)).ping) >= 0


async def test_it_allows_what_was_asked_for() -> None:
    assert ItemRepository(Slow(lambda: time.sleep(0.001))).ping() > 0
    time.sleep(0.001)  # noqa: ASYNC251 - not by Statekeep


async def test_it_refuses_a_blocking_method_that_a_coroutine_calls() -> None:
    blocking = Slow(lambda: time.sleep(0.001))

    class Confused(MemoryItems):
        def ping(self) -> Operation[None]:
            yield "ping"

        async def aexecute(self, request: Any) -> None:
            run(blocking.ping(), blocking.execute)

    with pytest.raises(BlockingError):
        await AsyncItemRepository(Confused()).ping()


async def test_it_refuses_what_makes_things_blocking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statekeep.repositories.connect.check_memory_url", lambda url, options: time.sleep(0.001))
    with pytest.raises(BlockingError):
        statekeep.aconnect("memory:")
