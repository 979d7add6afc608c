"""JSON that loses nothing."""

from __future__ import annotations

import datetime as dt
import enum
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.domain import InvalidInput, Payload
from statekeep.domain.tagged_json import TAG, decode, dumps, encode, loads
from statekeep.testing.comparison import canonical
from statekeep.testing.contracts.checkpoints import EXACT_VALUES
from statekeep.testing.strategies import exact_values

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text().filter(lambda key: key != TAG), inner),
    max_leaves=10,
)


@given(exact_values())
def test_whatever_goes_in_comes_out(value: Any) -> None:
    text = dumps(value)
    assert canonical(loads(text)) == canonical(value)
    assert canonical(loads(text.encode())) == canonical(value)


@pytest.mark.parametrize("value", EXACT_VALUES, ids=lambda value: ascii(value)[:30])
def test_known_values(value: Any) -> None:
    for nested in (value, [value], {"key": value}, {1: value}):
        assert canonical(loads(dumps(nested))) == canonical(nested)


@given(PLAIN)
def test_plain_json_is_written_as_it_is(value: Any) -> None:
    assert json.loads(dumps(value)) == value
    assert encode(value) == value


@given(st.text(st.characters(), min_size=1))
def test_any_text(value: str) -> None:
    assert loads(dumps(value)) == value
    assert loads(dumps({value: 1})) == {value: 1}


def test_text_that_utf8_can_carry_is_not_escaped() -> None:
    assert dumps({"é": "😀"}) == '{"é":"😀"}'
    assert dumps("\ud800") == '"\\ud800"'


def test_the_order_of_keys_stays() -> None:
    assert list(loads(dumps({"b": 1, "a": (), "c": 3}))) == ["b", "a", "c"]


def test_fold() -> None:
    assert loads(dumps(dt.datetime(2024, 10, 27, 2, fold=1))).fold == 1


class Color(enum.StrEnum):
    RED = "red"


class Many(dict[str, int]):
    pass


@pytest.mark.parametrize("value", [object(), Color.RED, Many(a=1), {"deep": [(1, {object()})]}, {object(): 1}, 1j, ...])
def test_other_types_are_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="serialize it first"):
        dumps(value)


def test_other_types_can_be_serialized() -> None:
    def other(value: Any) -> Payload:
        return Payload(encoding="str", data=str(value).encode())

    assert loads(dumps({"a": (Color.RED,)}, other)) == {"a": (Payload(encoding="str", data=b"red"),)}


def test_what_contains_itself_is_refused() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(InvalidInput, match="contains itself"):
        dumps(circle)


@pytest.mark.parametrize(
    ("wrap", "levels"),
    [
        (lambda inner: [inner], 200),
        (lambda inner: {"a": inner}, 200),
        (lambda inner: (inner,), 67),
        (lambda inner: frozenset({inner}), 67),
        (lambda inner: {1: inner}, 50),
    ],
    ids=["list", "dict", "tuple", "frozenset", "dict by numbers"],
)
def test_what_can_be_written_can_be_read_wherever_that_is(wrap: Callable[[Any], Any], levels: int) -> None:
    def deep(levels: int) -> Any:
        value = None
        for _ in range(levels):
            value = wrap(value)
        return value

    def below(frames: int, call: Callable[[], Any]) -> Any:
        return call() if frames == 0 else below(frames - 1, call)

    text = dumps(deep(levels))
    assert below(400, lambda: loads(text)) == deep(levels)
    with pytest.raises(InvalidInput, match="nested deeper than 200 levels"):
        dumps(deep(levels + 1))


@pytest.mark.parametrize(
    "stored",
    [
        {TAG: ["unknown", 1]},
        {TAG: []},
        {TAG: 1},
        {TAG: ["bytes", "not base64!"]},
        {TAG: ["date", "yesterday"]},
        {TAG: ["decimal", "x"]},
        {TAG: ["tuple"]},
        {TAG: ["set", [{TAG: ["dict", []]}]]},
    ],
)
def test_damaged_tags(stored: Any) -> None:
    with pytest.raises(ValueError, match="not exact JSON"):
        decode(stored)
    with pytest.raises(ValueError, match="not exact JSON"):
        loads(json.dumps([stored]))


@pytest.mark.parametrize("text", ["", "{", b"\xff", "[1"])
def test_damaged_text(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        loads(text)
