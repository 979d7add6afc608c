"""How values differ."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep import Channel, Checkpoint, JsonSerializer, Payload, dump
from statekeep.inspection import ChangeKind, changes, compare, compare_channels

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text("abc", max_size=4),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from(["id", "a", "b"]), inner, max_size=3),
)


def said(before: Any, after: Any) -> list[str]:
    return [str(change) for change in changes(before, after)]


@given(JSON, JSON)
def test_there_is_a_change_if_and_only_if_they_differ(before: Any, after: Any) -> None:
    differ = json.dumps(before, sort_keys=True) != json.dumps(after, sort_keys=True)
    assert bool(said(before, after)) is differ


@given(st.lists(JSON, max_size=5), st.lists(st.integers(), min_size=1, max_size=5))
def test_a_list_that_grew_is_one_change(before: list[Any], more: list[Any]) -> None:
    [change] = changes(before, before + more)
    assert (change.kind, change.count, change.after) == (ChangeKind.APPENDED, len(more), more)


MESSAGES = [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}, {"id": "3", "text": "c"}]


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        (1, 1.0, ["changed"]),
        (1, True, ["changed"]),
        ([1], [True], ["[0]: changed"]),
        ("abc", "abcdef", ["3 characters appended"]),
        ("abc", "abd", ["changed"]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, ["a.b: changed"]),
        ({"$type": "A", "x": 1}, {"$type": "B", "x": 1}, ["changed"]),
        ([1, 2, 3], [1, 3], ["[1]: 1 item deleted"]),
        ([1, 3], [1, 2, 3], ["[1]: 1 item inserted"]),
        ([1, 2], [0, 1, 2], ["[0]: 1 item inserted"]),
        ([1, 2, 3], [1, 9, 3], ["[1]: changed"]),
        ([1, 2], [], ["[0]: 2 items deleted"]),
        (MESSAGES, MESSAGES[1:], ["[id=1]: removed"]),
        (MESSAGES, [*MESSAGES, {"id": "4"}], ["1 item appended"]),
        (
            MESSAGES,
            [MESSAGES[0], {"id": "2", "text": "x"}, MESSAGES[2], {"id": "4"}],
            ["[id=2].text: changed", "1 item appended"],
        ),
        (MESSAGES, [MESSAGES[2], MESSAGES[0], MESSAGES[1]], ["items in another order"]),
        (MESSAGES, [{"id": "0"}, *MESSAGES], ["[id=0]: added"]),
    ],
)
def test_changes_are_told(before: Any, after: Any, wanted: list[str]) -> None:
    assert said(before, after) == wanted


def channel(value: Any, version: Any = 1) -> Channel:
    return Channel.of(version, dump(JsonSerializer(), value))


def test_channels_are_compared_by_name() -> None:
    before = {
        "same": channel(1),
        "gone": channel(1),
        "n": channel([1], 1),
        "again": channel(1, 1),
        "e": Channel.empty(1),
    }
    after = {"same": channel(1), "new": channel(1), "n": channel([1, 2], 2), "again": channel(1, 2), "e": channel(1, 2)}
    found = {difference.name: difference for difference in compare_channels(before, after)}
    assert {name: difference.kind.value for name, difference in found.items()} == {
        "again": "changed",
        "e": "changed",
        "gone": "removed",
        "n": "changed",
        "new": "added",
    }
    assert found["again"].is_equal
    assert (found["e"].before, found["e"].is_equal) == (None, False)
    assert (found["n"].version_before, found["n"].version_after) == (1, 2)
    assert found["gone"].before is not None
    assert found["gone"].before.value == 1
    assert found["gone"].after is None


def test_closed_values_are_compared_by_their_bytes() -> None:
    first = {"p": Channel.of(1, Payload(encoding="pickle", data=b"a"))}
    second = {"p": Channel.of(2, Payload(encoding="pickle", data=b"b"))}
    [found] = compare_channels(first, second)
    assert [str(change) for change in found.changes] == ["changed"]
    assert not found.is_equal
    [same] = compare_channels(first, {"p": Channel.of(2, Payload(encoding="pickle", data=b"a"))})
    assert same.is_equal


def test_many_changes_are_cut() -> None:
    first = {"n": channel({f"k{number}": number for number in range(1000)})}
    second = {"n": channel({f"k{number}": -number - 1 for number in range(1000)}, 2)}
    [found] = compare_channels(first, second)
    assert len(found.changes) == 200
    assert found.is_cut


def test_metadata_are_compared_too() -> None:
    first = Checkpoint(thread_id="t", metadata={"step": 1, "at": (1,)}, channels={"n": channel(1)})
    second = Checkpoint(thread_id="t", metadata={"step": 2, "at": (1,)}, channels={"n": channel(1)})
    found = compare(first, second)
    assert (found.channels, found.same) == ((), 1)
    assert [str(change) for change in found.metadata] == ["step: changed"]
    json.dumps(found.model_dump(mode="json"))
