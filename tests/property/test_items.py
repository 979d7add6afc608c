"""Backends of items and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import anyio
import pytest
from attrs import evolve
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import ANY
from statekeep.repositories.items import AsyncItemRepository, ItemBackend, ItemRepository, Put
from statekeep.repositories.memory import MemoryItems
from statekeep.testing.comparison import Clock, Expiry
from statekeep.testing.item_machine import INDEX, ItemMachine, item_machine_for
from tests.backends import ITEM_BACKENDS, RUNS

TTL = 1005.0


def expiring(*, refresh_on_read: bool) -> tuple[Callable[[], AbstractContextManager[ItemBackend]], Expiry]:
    clock = Clock()

    def make() -> AbstractContextManager[ItemBackend]:
        return nullcontext(MemoryItems(ttl=TTL, refresh_on_read=refresh_on_read, clock=clock, index=INDEX))

    return make, Expiry(clock, TTL, refresh_on_read)


def check(machine: type[ItemMachine]) -> None:
    run_state_machine_as_test(machine, settings=settings())


@pytest.mark.parametrize(("name", "face"), RUNS)
def test_backend_and_oracle_agree(name: str, face: str, request: pytest.FixtureRequest) -> None:
    check_backend(name, face, INDEX, request)


def test_a_backend_without_an_index_and_the_oracle_agree(request: pytest.FixtureRequest) -> None:
    check_backend("valkey-py", "blocking", None, request)


def check_backend(name: str, face: str, index: Any, request: pytest.FixtureRequest) -> None:
    # Hypothesis draws constants from the modules that are loaded, so none may be loaded between two examples.
    with ITEM_BACKENDS[name].open(request, f"t-{uuid.uuid4().hex[:12]}", index=index) as backend:
        keep = ItemRepository(backend)
        keep.setup()
        keep.put(("n",), "k", {"text": "a"})
        anyio.run(lambda: AsyncItemRepository(backend).search(query="a"))
        keep.clear(("n",))
    open_backend: Callable[..., Any] = ITEM_BACKENDS[name].open if face == "blocking" else ITEM_BACKENDS[name].aopen
    check(item_machine_for(lambda: open_backend(request, f"t-{uuid.uuid4().hex[:12]}", index=index)))


@pytest.mark.parametrize("refresh_on_read", [False, True])
def test_expiry_and_oracle_agree(*, refresh_on_read: bool) -> None:
    make, expiry = expiring(refresh_on_read=refresh_on_read)
    check(item_machine_for(make, expiry=expiry))


class TakesAnything(MemoryItems):
    """Wrong: what is expected means nothing."""

    def apply(self, actions: Any) -> Any:
        return super().apply(
            [evolve(action, expected=ANY) if isinstance(action, Put) else action for action in actions]
        )


class KeepsVectors(MemoryItems):
    """Wrong: a put without vectors leaves those of before."""

    def _put(self, put: Put, stored: Any, now: Any) -> Any:
        vectors = put.vectors or (stored.vectors if stored else ())
        return super()._put(evolve(put, vectors=vectors), stored, now)


class PrefixesOfText(MemoryItems):
    """Wrong: a label finds those that begin with it."""

    def search(self, query: Any) -> Any:
        found = yield from super().search(evolve(query, prefix=(), offset=0, limit=1000))
        wanted = "/".join(query.prefix)
        return [item for item in found if "/".join(item.namespace).startswith(wanted)][query.offset :][: query.limit]


class SkipsTheLast(MemoryItems):
    """Wrong: `after` is among the results."""

    def list(self, query: Any, cursor: Any) -> Any:
        after = None if query.after is None else query.after[:-1]
        return super().list(evolve(query, after=after), cursor)


class NeverRefreshes(MemoryItems):
    """Wrong: searches start no time anew."""

    def search(self, query: Any) -> Any:
        return super().search(evolve(query, refresh=False))


WRONG: list[type[MemoryItems]] = [TakesAnything, KeepsVectors, PrefixesOfText, SkipsTheLast, NeverRefreshes]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_machine_finds_wrong_backends(wrong: type[MemoryItems]) -> None:
    clock = Clock()
    machine = item_machine_for(lambda: nullcontext(wrong(ttl=TTL, clock=clock, index=INDEX)), expiry=Expiry(clock, TTL))
    with pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        )
