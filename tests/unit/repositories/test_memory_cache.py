"""Cache entries in memory: what is theirs alone, such as the clock and what they hold on to."""

from __future__ import annotations

import asyncio
import datetime as dt
from typing import Any

import pytest

import statekeep
from statekeep import CacheRepository, InvalidInput, Payload
from statekeep.repositories.memory import MemoryCacheEntries
from statekeep.testing.comparison import Clock

ONE = Payload(encoding="raw", data=b"1")
K = (("n",), "k")


def test_the_clock_of_a_connection() -> None:
    clock = Clock(1_800_000_000.0005)
    with statekeep.connect("memory:", ttl=1.5, clock=clock) as keep:
        keep.cache.set({K: ONE, (("n",), "ever"): (ONE, None)})
        entry = keep.cache.get([K])[K]
        assert entry.created_at == dt.datetime.fromtimestamp(clock.now, dt.UTC)
        # To the millisecond, and never too early.
        assert entry.expires_at == dt.datetime.fromtimestamp(1_800_000_001.501, dt.UTC)
        clock.now = 1_800_000_001.5009
        assert set(keep.cache.get([K])) == {K}
        clock.now = 1_800_000_001.5011
        assert keep.cache.get([K]) == {}
        assert keep.cache.clear() == 1


def test_the_async_connection() -> None:
    async def main() -> int:
        async with statekeep.aconnect("memory:") as keep:
            await keep.cache.set({K: ONE})
            return await keep.cache.clear([("n",)])

    assert asyncio.run(main()) == 1


def test_what_ended_is_let_go() -> None:
    clock = Clock()
    backend = MemoryCacheEntries(clock=clock)
    keep = CacheRepository(backend)
    for number in range(2000):
        keep.set({(("n",), f"{number % 10}"): (ONE, 1000)})
    assert len(backend._ends) < 200
    keep.set({((f"n{number}",), "k"): (ONE, 5) for number in range(1000)})
    clock.now += 6
    assert keep.get([K]) == {}
    assert (len(backend._entries), len(backend._namespaces)) == (10, 1)
    keep.set({((f"n{number}",), "k"): (ONE, 500) for number in range(1000)})
    keep.clear()
    assert (len(backend._entries), len(backend._namespaces)) == (0, 0)
    assert len(backend._ends) <= 100
    keep.set({((f"n{number}",), "k"): (ONE, 500) for number in range(1000)})
    keep.delete([((f"n{number}",), "k") for number in range(1000)])
    assert len(backend._ends) <= 100


def test_an_old_end_does_not_end_a_new_entry() -> None:
    clock = Clock()
    keep = CacheRepository(MemoryCacheEntries(clock=clock))
    keep.set({K: (ONE, 5)})
    keep.set({K: (ONE, 10)})
    clock.now += 6
    assert set(keep.get([K])) == {K}
    keep.set({K: (ONE, 5)})
    keep.delete([K])
    keep.set({K: ONE})
    clock.now += 60
    assert set(keep.get([K])) == {K}


@pytest.mark.parametrize("ttl", [0, -1, True, float("nan"), float("inf"), "1"])
def test_wrong_ttls(ttl: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        MemoryCacheEntries(ttl=ttl)
    assert caught.value.field == "ttl"
