"""Entries before an entry: all of them are found, in few steps, however long the history is."""

from __future__ import annotations

from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.contrib.pydantic_ai.ancestors import BLOCK, FIRST, Place, behind, depths, packed, unpacked


def steps_from(depth: int) -> int:
    """Return in how many steps everything before an entry is found, of which it takes that all is found."""
    seen, new, steps = {depth}, {depth}, 0
    while new := {each for known in new for each in depths(known)} - seen:
        seen |= new
        steps += 1
    assert seen == set(range(1, depth + 1))
    return steps


@pytest.mark.parametrize(
    ("depth", "steps"),
    [(1, 0), (2, 1), (BLOCK, 1), (BLOCK + 1, 2), (BLOCK**2, 2), (BLOCK**2 + 1, 3), (20_000, 3)],
)
def test_all_are_found_in_few_steps(depth: int, steps: int) -> None:
    assert steps_from(depth) == steps


@given(st.integers(1, 5000))
def test_any_history_is_found(depth: int) -> None:
    assert steps_from(depth) <= 3
    assert len(depths(depth)) <= 3 * (BLOCK - 1)
    assert list(depths(depth)) == sorted(depths(depth), reverse=True)


def test_a_chain_names_the_entries_of_its_depths() -> None:
    place: Place = FIRST
    for number in range(1, 3000):
        assert (place.depth, list(place.near())) == (number, [f"={each}" for each in depths(number)])
        assert list(place.near(number - 3)) == [f"={each}" for each in depths(number) if each > number - 3]
        place = behind(place, f"{number}")


@given(st.text() | st.uuids().map(str) | st.uuids().map(lambda uuid: str(uuid).upper()))
def test_ids_are_packed_and_come_back(name: str) -> None:
    assert unpacked(packed(name)) == name


def test_uuids_are_short() -> None:
    assert len(packed(str(uuid4()))) == 22


@pytest.mark.parametrize("text", ["", "a", "AZjD9o8_fyeh-T4vetHD1", "AZjD9o8_fyeh-T4vetHD1A00"])
def test_what_was_not_packed_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        unpacked(text)
