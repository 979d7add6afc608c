"""The same history has the same results on two backends."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.repositories.memory import MemoryCacheEntries
from statekeep.testing.machines.cache import cache_machine_for
from statekeep.testing.pairs import paired
from statekeep.testing.tally import uncounted

from .kinds import KINDS, QUICK, SERVED, prefix

PAIRS = [("memory", "valkey-py")] if QUICK else [("memory", "valkey-py"), ("memory", "glide"), ("glide", "valkey-py")]


@pytest.mark.parametrize(("one", "other"), PAIRS)
@pytest.mark.parametrize("kind", KINDS)
def test_pairs_agree(kind: str, one: str, other: str, request: pytest.FixtureRequest) -> None:
    backends, options = KINDS[kind].backends, KINDS[kind].options
    # Hypothesis draws constants from the modules that are loaded, so none may be loaded between two examples.
    with backends[other].open(request, prefix(), **options) as opened:
        KINDS[kind].use(opened)
    machine = KINDS[kind].machine_for(
        lambda: backends[one].open(request, prefix(), **options), name=f"{one}, then {other}"
    )
    pair = paired(machine, lambda: backends[other].open(request, prefix(), **options))
    run_state_machine_as_test(pair, settings=settings(max_examples=SERVED))


class ForgetsToDelete(MemoryCacheEntries):
    """Wrong: clearing leaves one entry of each namespace, and deleting the first one; both count it."""

    def clear(self, namespaces: Any) -> Any:
        places = [max(place for place in self._entries if place[0] == name) for name in set(self._namespaces)]
        kept = {place: self._entries[place] for place in places}
        count = yield from super().clear(namespaces)
        for (namespace, key), entry in kept.items():
            self._entries[namespace, key] = entry
            self._namespaces.setdefault(namespace, set()).add(key)
        return count

    def delete(self, keys: Any) -> Any:
        places = list(keys)
        kept = {place: self._entries[place] for place in places[:1] if place in self._entries}
        count = yield from super().delete(places)
        for (namespace, key), entry in kept.items():
            self._entries[namespace, key] = entry
            self._namespaces.setdefault(namespace, set()).add(key)
        return count


def test_a_pair_that_differs_is_found() -> None:
    machine = cache_machine_for(lambda: nullcontext(MemoryCacheEntries()), name="wrong: pair")
    pair = paired(machine, lambda: nullcontext(ForgetsToDelete()))
    with uncounted(), pytest.raises(AssertionError):
        run_state_machine_as_test(
            # The modules that are loaded have a say in what is drawn: it may take long to be found, but mostly does not.
            pair,
            settings=settings(max_examples=2000, derandomize=True, database=None, phases=[Phase.generate]),
        )
