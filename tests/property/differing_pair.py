"""A pair of backends that differ. Its machine ends with an AssertionError, and this program with status 0 if so."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import Any

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from statekeep.repositories.memory import MemoryCacheEntries
from statekeep.testing.machines.cache import cache_machine_for
from statekeep.testing.pairs import paired


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


def is_found() -> bool:
    """Whether the machine notices."""
    machine = cache_machine_for(lambda: nullcontext(MemoryCacheEntries()), name="wrong: pair")
    pair = paired(machine, lambda: nullcontext(ForgetsToDelete()))
    try:
        run_state_machine_as_test(
            pair, settings=settings(max_examples=300, derandomize=True, database=None, phases=[Phase.generate])
        )
    except AssertionError:
        return True
    return False


if __name__ == "__main__":
    sys.exit(not is_found())
