"""Backends of cache entries and the oracle answer alike, whatever is done to them."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.errors import Flaky
from hypothesis.stateful import run_state_machine_as_test

from statekeep.repositories.memory import MemoryCacheEntries
from statekeep.repositories.operation import Page
from statekeep.testing.machines.cache import cache_machine_for
from statekeep.testing.tally import uncounted


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


class ListsWithoutOrder(MemoryCacheEntries):
    """Wrong: what is listed comes in any order."""

    def list(self, namespace: Any, cursor: Any) -> Any:
        page = yield from super().list(namespace, cursor)
        return Page(page.items[::-1], page.cursor)


class RestoresWhatEnded(MemoryCacheEntries):
    """Wrong: what has ended comes back for ever."""

    def restore(self, entries: Any) -> Any:
        return super().restore([entry.model_copy(update={"expires_at": None}) for entry in entries])


WRONG = [ClearsBelow, CountsTooMuch, KeepsTheFirst, ListsWithoutOrder, RestoresWhatEnded]


@pytest.mark.parametrize("wrong", WRONG)
def test_the_machine_finds_wrong_backends(wrong: type[MemoryCacheEntries]) -> None:
    machine = cache_machine_for(lambda: nullcontext(wrong()), name=f"wrong: {wrong.__name__}")
    # What is wrong among threads may be found in one run of an example, and not in the next.
    with uncounted(), pytest.raises((AssertionError, Flaky)):
        run_state_machine_as_test(
            machine, settings=settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        )
