"""Tallies of this process's state machines.

They count examples, operations, faults, and divergences that were found.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any


@dataclasses.dataclass
class Tally:
    """Counts of one kind of machine on one kind of backend.

    Attributes:
        examples: sequences of operations, those that a failure is minimized by too.
        operations: calls of each method of the repository.
        faults: faults on purpose, such as restarts of the server.
        divergences: the checks that failed, by name.
    """

    examples: int = 0
    operations: Counter[str] = dataclasses.field(default_factory=Counter)
    faults: Counter[str] = dataclasses.field(default_factory=Counter)
    divergences: Counter[str] = dataclasses.field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the counts of another one."""
        self.examples += other.examples
        self.operations += other.operations
        self.faults += other.faults
        self.divergences += other.divergences


Tallies = dict[tuple[str, str], Tally]
"""By machine and backend."""

_tallies: Tallies = {}


def tally(machine: str, backend: str) -> Tally:
    """Return the tally of a machine on a backend, to read it or to add to it.

    Args:
        machine: ``"checkpoints"``, ``"items"`` or ``"cache"``.
        backend: the ``name`` that the machine was made with.

    Example:
        >>> from contextlib import nullcontext
        >>> from hypothesis import settings
        >>> from hypothesis.stateful import run_state_machine_as_test
        >>> from statekeep.repositories.memory import MemoryCacheEntries
        >>> from statekeep.testing.machines.cache import cache_machine_for
        >>> machine = cache_machine_for(lambda: nullcontext(MemoryCacheEntries()), name="an example")
        >>> run_state_machine_as_test(machine, settings=settings(max_examples=2))
        >>> tally("cache", "an example").operations["get"] > 0
        True
    """
    return _tallies.setdefault((machine, backend), Tally())


def tallies() -> Tallies:
    """Return all tallies of this process."""
    return _tallies


@contextmanager
def uncounted() -> Iterator[None]:
    """Keep no tallies of new names within the block.

    It is for backends that are wrong on purpose.
    """
    before = set(_tallies)
    try:
        yield
    finally:
        for place in set(_tallies) - before:
            del _tallies[place]


def dump(found: Tallies) -> list[dict[str, Any]]:
    """Return tallies in a form that processes of pytest-xdist can send."""
    return [
        {"place": place, **{name: _plain(value) for name, value in vars(one).items()}} for place, one in found.items()
    ]


def _plain(value: int | Counter[str]) -> int | dict[str, int]:
    return value if isinstance(value, int) else dict(value)


def load(into: Tallies, dumped: Iterable[Mapping[str, Any]]) -> None:
    """Add tallies that :func:`dump` returned."""
    for one in dumped:
        counts = {name: Counter(one[name]) for name in ("operations", "faults", "divergences")}
        machine, backend = one["place"]
        into.setdefault((machine, backend), Tally()).add(Tally(one["examples"], **counts))


def table(found: Tallies) -> list[str]:
    r"""Return the lines of a table, one for each machine and backend.

    >>> print("\n".join(table({("cache", "memory"): Tally(20, Counter(get=1000), Counter(), Counter())})))
    machine  backend  examples  operations  faults  divergences
    cache    memory         20       1,000       0            0
    """
    rows = [["machine", "backend", "examples", "operations", "faults", "divergences"]]
    for (machine, backend), one in sorted(found.items()):
        numbers = (one.examples, one.operations.total(), one.faults.total(), len(one.divergences))
        rows.append([machine, backend, *(f"{number:,}" for number in numbers)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
