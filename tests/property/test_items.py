"""Backends of items and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from attrs import evolve
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.domain import ANY, Item, Payload, Unsupported
from statekeep.repositories.item_backend import Check, Delete, Get, Listing, Put
from statekeep.repositories.memory import MemoryItems
from statekeep.testing.comparison import Clock, Expiry
from statekeep.testing.differences import Differences
from statekeep.testing.machines.items import INDEX, item_machine_for
from statekeep.testing.tally import uncounted

from .kinds import QUICK

TTL = 1005.0


class TakesAnything(MemoryItems):
    """Wrong: what is expected means nothing."""

    def apply(self, actions: Any) -> Any:
        return super().apply(
            [evolve(action, expected=ANY) if isinstance(action, Put) else action for action in actions]
        )


class ComparesVersionsAlone(MemoryItems):
    """Wrong: an item that was put again passes for the one that was deleted."""

    def apply(self, actions: Any) -> Any:
        def version(expected: Any) -> Any:
            return expected.version if isinstance(expected, Item) else expected

        return super().apply(
            [
                evolve(action, expected=version(action.expected)) if isinstance(action, Put | Delete) else action
                for action in actions
            ]
        )


class LetsChecksPass(MemoryItems):
    """Wrong: a check means nothing."""

    def apply(self, actions: Any) -> Any:
        checks = [isinstance(action, Check) for action in actions]
        plain = [
            Get(action.namespace, action.key, refresh=False) if is_check else action
            for action, is_check in zip(actions, checks, strict=True)
        ]
        results = yield from super().apply(plain)
        return [None if is_check else result for result, is_check in zip(results, checks, strict=True)]


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


class SkipsNothing(MemoryItems):
    """Wrong: an offset means nothing."""

    def list(self, query: Any, cursor: Any) -> Any:
        return super().list(evolve(query, offset=0), cursor)


class ListsByKeyAlone(MemoryItems):
    """Wrong: there is one order."""

    def list(self, query: Any, cursor: Any) -> Any:
        return super().list(evolve(query, order="key"), cursor)


class NamesMore(MemoryItems):
    """Wrong: the keys are not those of the items."""

    def keys(self, query: Any, cursor: Any) -> Any:
        return super().keys(evolve(query, prefix=query.prefix[:-1]), cursor)


class ListsBeforeItWrites(MemoryItems):
    """Wrong: a listing shows what was there before the batch."""

    def apply(self, actions: Any) -> Any:
        listings = yield from super().apply([action for action in actions if isinstance(action, Listing)])
        others = yield from super().apply([action for action in actions if not isinstance(action, Listing)])
        return [listings.pop(0) if isinstance(action, Listing) else others.pop(0) for action in actions]


class KeepsPayloadsAsText(MemoryItems):
    """Wrong: a payload is JSON."""

    def _put(self, put: Put, stored: Any, now: Any) -> Any:
        value = {"encoding": put.value.encoding} if isinstance(put.value, Payload) else put.value
        return super()._put(evolve(put, value=value), stored, now)


WRONG: list[type[MemoryItems]] = [
    TakesAnything,
    ComparesVersionsAlone,
    LetsChecksPass,
    KeepsVectors,
    PrefixesOfText,
    SkipsTheLast,
    NeverRefreshes,
    SkipsNothing,
    ListsByKeyAlone,
    NamesMore,
    ListsBeforeItWrites,
    KeepsPayloadsAsText,
]


# These take the longest to find.
SUBTLE = [
    ComparesVersionsAlone,
    LetsChecksPass,
    ListsBeforeItWrites,
    ListsByKeyAlone,
    NamesMore,
    PrefixesOfText,
    SkipsNothing,
]


@pytest.mark.parametrize("wrong", [wrong for wrong in WRONG if not (QUICK and wrong in SUBTLE)])
def test_the_machine_finds_wrong_backends(wrong: type[MemoryItems]) -> None:
    clock = Clock()
    machine = item_machine_for(
        lambda: nullcontext(wrong(ttl=TTL, clock=clock, index=INDEX)),
        expiry=Expiry(clock, TTL),
        name=f"wrong: {wrong.__name__}",
    )
    with uncounted(), pytest.raises(AssertionError):
        run_state_machine_as_test(
            machine, settings=settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        )


class DoesLess(MemoryItems):
    """A backend that declares what it cannot do."""

    def search(self, query: Any) -> Any:
        raise Unsupported("items cannot be searched")

    def append(self, namespace: Any, puts: Any) -> Any:
        raise Unsupported("keys are not made here")

    def pop(self, namespace: Any) -> Any:
        raise Unsupported("nothing is popped here")

    def list_namespaces(self, query: Any) -> Any:
        raise Unsupported("namespaces cannot be listed")


def test_the_machine_takes_what_is_declared() -> None:
    declared = Differences(unsupported={"search", "append", "pop", "list_namespaces"})
    machine = item_machine_for(lambda: nullcontext(DoesLess()), name="does less", differences=declared)
    with uncounted():
        run_state_machine_as_test(machine, settings=settings(max_examples=5))
