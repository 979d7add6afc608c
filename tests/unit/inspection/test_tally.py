"""Sums in bounded memory."""

from __future__ import annotations

import random

from statekeep.inspection.stats.tally import MOST_BYTES, Tally


def test_exact_as_long_as_there_are_few() -> None:
    tally = Tally[str]()
    chance = random.Random(1)
    sums: dict[str, int] = {}
    for _ in range(1000):
        name, size = f"thread-{chance.randrange(50)}", chance.randrange(1000)
        sums[name] = sums.get(name, 0) + size
        tally.add(name, size)
    assert tally.slack == 0
    assert {name: size for name, _, size in tally.largest(100)} == sums
    assert sum(keys for _, keys, _ in tally.largest(100)) == 1000
    assert tally.largest(3)[0][2] == max(sums.values())


def test_many_names_take_bounded_memory() -> None:
    """The sums that are left are right to within the slack, and the largest is found."""
    tally = Tally[str](most=100)
    chance = random.Random(2)
    sums: dict[str, int] = {}
    for number in range(20_000):
        name = "whale" if number % 100 == 0 else f"thread-{chance.randrange(5000)}"
        size = 500 if name == "whale" else 1 + chance.randrange(10)
        sums[name] = sums.get(name, 0) + size
        tally.add(name, size)
        assert len(tally) <= 100
    largest = tally.largest(10)
    assert largest[0][0] == "whale"
    assert tally.slack > 0
    for name, _, size in largest:
        assert sums[name] - tally.slack <= size <= sums[name]


def test_long_names_take_bounded_memory() -> None:
    tally = Tally[str]()
    for number in range(10):
        tally.add(f"{number}", number, length=MOST_BYTES // 4)
        assert len(tally) <= 5
    assert tally.largest(1)[0][0] == "9"
