"""Backends of cache entries and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import anyio
import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.repositories.cache import AsyncCacheRepository, CacheRepository
from statekeep.repositories.memory import MemoryCacheEntries
from statekeep.testing.cache_machine import cache_machine_for
from statekeep.testing.comparison import Clock, Expiry
from tests.backends import RUNS
from tests.cache_backends import BACKENDS

TTL = 10.05


@pytest.mark.parametrize(("name", "face"), RUNS)
def test_backend_and_oracle_agree(name: str, face: str, request: pytest.FixtureRequest) -> None:
    # Hypothesis draws constants from the modules that are loaded, so none may be loaded between two examples.
    with BACKENDS[name].open(request, f"t-{uuid.uuid4().hex[:12]}") as backend:
        CacheRepository(backend).clear()
        anyio.run(AsyncCacheRepository(backend).get, [((), "k")])
    open_backend: Callable[..., Any] = BACKENDS[name].open if face == "blocking" else BACKENDS[name].aopen
    machine = cache_machine_for(lambda: open_backend(request, f"t-{uuid.uuid4().hex[:12]}"))
    run_state_machine_as_test(machine, settings=settings())


def test_expiry_and_oracle_agree() -> None:
    clock = Clock()
    machine = cache_machine_for(
        lambda: nullcontext(MemoryCacheEntries(ttl=TTL, clock=clock)), expiry=Expiry(clock, TTL)
    )
    run_state_machine_as_test(machine, settings=settings())


class ClearsBelow(MemoryCacheEntries):
    """Wrong: namespaces below are cleared, too."""

    def clear(self, namespaces: Any) -> Any:
        if namespaces:
            below = [name for name in self._namespaces for each in namespaces if name[: len(each)] == each]
            namespaces = list(dict.fromkeys(below))
        return super().clear(namespaces)


class CountsTooMuch(MemoryCacheEntries):
    """Wrong: what is not there counts as deleted."""

    def delete(self, keys: Any) -> Any:
        yield from super().delete(keys)
        return len(keys)


class KeepsTheFirst(MemoryCacheEntries):
    """Wrong: what is there stays."""

    def set(self, entries: Any) -> Any:
        return super().set([write for write in entries if (write.namespace, write.key) not in self._entries])


@pytest.mark.parametrize("wrong", [ClearsBelow, CountsTooMuch, KeepsTheFirst])
def test_the_machine_finds_wrong_backends(wrong: type[MemoryCacheEntries]) -> None:
    machine = cache_machine_for(lambda: nullcontext(wrong()))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        )
