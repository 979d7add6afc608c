"""What an item's value may be, and how it is written."""

from __future__ import annotations

import enum
import inspect
import json
import sys
from collections import OrderedDict, UserDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.domain import InvalidInput
from statekeep.domain.json_values import DEEPEST, dumps, normalize

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


class Colour(enum.StrEnum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    def __str__(self) -> str:
        return "not the text"


class Number(float):
    pass


def same(one: Any, other: Any) -> bool:
    """Equality of type and value, also of the order of keys and the sign of zero."""
    return repr(one) == repr(other)


@given(JSON)
def test_what_json_can_hold_is_read_back_as_it_is(value: Any) -> None:
    found = normalize(value, "value")
    assert same(found, value)
    assert same(json.loads(dumps(found).encode()), value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((1, [2, (3,)]), [1, [2, [3]]]),
        ({"a": MappingProxyType({"b": ()})}, {"a": {"b": []}}),
        (UserDict(a=1), {"a": 1}),
        (OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
        (Colour.RED, "red"),
        ({Colour.RED: Colour.RED}, {"red": "red"}),
        (Level.HIGH, 3),
        (Text("text"), "text"),
        (Number(1.5), 1.5),
        (-0.0, -0.0),
        (2**200, 2**200),
        (10**4299 - 1, 10**4299 - 1),
        (1 - 10**4299, 1 - 10**4299),
        ("\ud800", "\ud800"),
        ("\udc00\ud800", "\udc00\ud800"),
        ("\x00\u2028", "\x00\u2028"),
    ],
)
def test_forms_that_json_has_not(value: Any, expected: Any) -> None:
    found = normalize(value, "value")
    assert same(found, expected)
    assert type(found) is type(expected)
    assert same(json.loads(dumps(found).encode()), expected)


def test_it_is_a_copy() -> None:
    value: dict[str, Any] = {"a": [{"b": 1}]}
    found = normalize(value, "value")
    value["a"][0]["b"] = 2
    assert found == {"a": [{"b": 1}]}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, {"b": {1, 2}}]}, "value.a[1].b: builtins.set is not JSON: make it text, a number, a list or a dict"),
        (b"bytes", "value: builtins.bytes is not JSON"),
        ({"a": float("nan")}, "value.a: nan is not JSON"),
        ([float("-inf")], "value[0]: -inf is not JSON"),
        ({1: 2}, "value: the key 1 is int; JSON has text keys only"),
        ({"a": {None: 2}}, "value.a: the key None is NoneType"),
        ("\ud83d\ude00", "value: two surrogates in a row"),
        ({"a": {"\ud83d\ude00": 1}}, "value.a: two surrogates in a row"),
        ([10**4300], "value[0]: an integer of too many digits"),
        ([-(10**4300)], "value[0]: an integer of too many digits"),
        (iter([]), "value: builtins.list_iterator is not JSON"),
        ({"\ud800": object()}, "value.\\ud800: builtins.object is not JSON"),
        ({"a.b": [{"c[": object()}]}, "value.a.b[0].c[: builtins.object is not JSON"),
    ],
)
def test_what_json_cannot_hold_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        normalize(value, "value")
    assert str(error.value).startswith(message)
    assert error.value.field == "value"
    str(error.value).encode()


def test_the_field_is_the_argument() -> None:
    with pytest.raises(InvalidInput) as error:
        normalize([object()], "values[3]")
    assert error.value.field == "values"
    assert str(error.value).startswith("values[3][0]: ")


def test_what_is_not_stored_may_be_infinite() -> None:
    found = normalize({"a": (float("inf"), float("nan"))}, "filter", finite=False)
    assert repr(found) == "{'a': [inf, nan]}"
    with pytest.raises(InvalidInput):
        normalize({"a": {1}}, "filter", finite=False)


def nested(kind: str, depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value} if kind == "dict" else [value] if kind == "list" else (value,)
    return value


@pytest.mark.parametrize("kind", ["dict", "list", "tuple"])
def test_depth(kind: str) -> None:
    assert json.loads(dumps(normalize(nested(kind, DEEPEST), "value"))) == json.loads(json.dumps(nested(kind, DEEPEST)))
    for depth in (DEEPEST + 1, 100_000):
        with pytest.raises(
            InvalidInput, match=r"^values is nested deeper than 200 levels, or contains itself$"
        ) as error:
            normalize(nested(kind, depth), "values[0]")
        assert error.value.field == "values"


def test_what_contains_itself() -> None:
    value: list[Any] = []
    value += [value, value]
    with pytest.raises(InvalidInput, match="contains itself"):
        normalize(value, "value")


@pytest.mark.usefixtures("no_collection")
def test_a_stack_that_is_nearly_full() -> None:
    value = nested("list", DEEPEST)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack()) + DEEPEST // 2)
    try:
        with pytest.raises(InvalidInput, match="nested deeper"):
            normalize(value, "value")
    finally:
        sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"name": "Zoë 😀", "b": [1, 2.5, None, True]}, '{"name":"Zoë 😀","b":[1,2.5,null,true]}'),
        ("\ud800é", '"\\ud800\\u00e9"'),
        ({"\ud800": [1, 2]}, '{"\\ud800":[1,2]}'),
        ("", '""'),
        (1.0, "1.0"),
    ],
)
def test_json_is_readable(value: Any, text: str) -> None:
    assert dumps(value) == text


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        dumps([float("nan")])
