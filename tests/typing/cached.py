"""The types of functions that ``cached`` decorated. Read by mypy alone."""

from __future__ import annotations

from typing import assert_type

import statekeep
from statekeep import cached

keep = statekeep.connect("memory:")


@cached(keep.cache)
def add(a: int, b: int = 1) -> int:
    return a + b


@cached(keep.cache, ttl=1)
async def fetch(url: str) -> bytes:
    return url.encode()


class Weather:
    @cached(keep.cache)
    def at(self, city: str) -> str:
        return city

    @cached(keep.cache)
    async def later(self, city: str) -> str:
        return city


def blocking(weather: Weather) -> None:
    assert_type(add(1), int)
    assert_type(add(1, b=2), int)
    assert_type(add.invalidate(1, b=2), bool)
    assert_type(add.clear(), int)
    assert_type(weather.at("london"), str)
    assert_type(Weather.at(weather, city="london"), str)
    assert_type(Weather.at.invalidate(weather, "london"), bool)
    add("1")  # type: ignore[arg-type]
    add.invalidate()  # type: ignore[call-arg]
    add.invalidate(1, c=2)  # type: ignore[call-arg]
    weather.at(1)  # type: ignore[arg-type]
    weather.at.invalidate("london")  # type: ignore[attr-defined]


async def awaiting(weather: Weather) -> None:
    assert_type(await fetch("a"), bytes)
    assert_type(await fetch.invalidate("a"), bool)
    assert_type(await fetch.clear(), int)
    assert_type(await weather.later("london"), str)
    assert_type(await Weather.later.invalidate(weather, "london"), bool)
    await fetch(1)  # type: ignore[arg-type]
