"""Filters over JSON values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.memory import _compare_values

from statekeep.domain import InvalidInput
from statekeep.domain.filters import OPERATORS, checked, is_operators, matches

VALUE: dict[str, Any] = {
    "price": 3,
    "ratio": 0.5,
    "name": "Ada",
    "on": True,
    "off": False,
    "none": None,
    "tags": ["a", {"b": 1, "c": 2}],
    "deep": {"a": {"b": 1}, "c": [1, 2]},
    "big": 2**53 + 1,
}


@pytest.mark.parametrize(
    ("filter", "expected"),
    [
        ({}, True),
        ({"price": 3}, True),
        ({"price": 3.0}, True),
        ({"price": 4}, False),
        ({"price": "3"}, False),
        ({"on": True}, True),
        ({"on": 1}, False),
        ({"price": True}, False),
        ({"off": 0}, False),
        ({"off": False}, True),
        ({"none": None}, True),
        ({"missing": None}, True),
        ({"missing": 0}, False),
        ({"name": None}, False),
        ({"price": 3, "name": "Eve"}, False),
        ({"name": "Ada", "price": 3}, True),
        ({"big": float(2**53)}, False),
        # fields of fields: as many as are named
        ({"deep": {"a": {"b": 1}}}, True),
        ({"deep": {"a": {"b": 2}}}, False),
        ({"deep": {}}, True),
        ({"price": {}}, False),
        ({"missing": {}}, False),
        ({"deep": {"x": None}}, True),
        ({"price": {"x": None}}, False),
        ({"deep": {"a": {"b": {"$gt": 0}}}}, True),
        ({"deep": {"a": {"b": {"$gt": 1}}}}, False),
        # lists: element by element
        ({"deep": {"c": [1, 2]}}, True),
        ({"deep": {"c": [1, 2.0]}}, True),
        ({"deep": {"c": (1, 2)}}, True),
        ({"deep": {"c": [2, 1]}}, False),
        ({"deep": {"c": [1]}}, False),
        ({"deep": {"c": [1, 2, 3]}}, False),
        ({"tags": ["a", {"b": 1}]}, True),
        ({"tags": ["a", {"b": {"$lt": 2}}]}, True),
        ({"tags": ["a", {"b": {"$lt": 1}}]}, False),
        ({"tags": "a"}, False),
        ({"price": [3]}, False),
        # equality
        ({"price": {"$eq": 3}}, True),
        ({"price": {"$eq": 4}}, False),
        ({"missing": {"$eq": None}}, True),
        ({"tags": {"$eq": ["a", {"b": 1}]}}, False),
        ({"tags": {"$eq": ["a", {"c": 2, "b": 1.0}]}}, True),
        ({"tags": {"$eq": ["a", {"c": 2, "b": True}]}}, False),
        ({"price": {"$eq": {"a": 1}}}, False),
        ({"deep": {"$eq": 3}}, False),
        ({"deep": {"$eq": [1]}}, False),
        ({"tags": {"$eq": {"a": 1}}}, False),
        ({"name": {"$eq": ["A", "d", "a"]}}, False),
        ({"price": {"$ne": 3}}, False),
        ({"price": {"$ne": 3.0}}, False),
        ({"price": {"$ne": True}}, True),
        ({"missing": {"$ne": 3}}, True),
        ({"missing": {"$ne": None}}, False),
        # order
        ({"price": {"$gt": 2.5}}, True),
        ({"price": {"$gt": 3}}, False),
        ({"price": {"$gte": 3}}, True),
        ({"price": {"$gte": 3.1}}, False),
        ({"price": {"$lt": 4}}, True),
        ({"price": {"$lt": 3}}, False),
        ({"price": {"$lte": 3}}, True),
        ({"price": {"$lte": 2}}, False),
        ({"price": {"$gt": 1, "$lt": 3}}, False),
        ({"price": {"$gt": 1, "$lt": 4}}, True),
        ({"price": {"$gt": 1, "$ne": 3}}, False),
        ({"price": {"$gt": float("-inf")}}, True),
        ({"price": {"$gt": float("nan")}}, False),
        ({"price": {"$eq": float("nan")}}, False),
        ({"name": {"$gt": "Abe"}}, True),
        ({"name": {"$lt": "Abe"}}, False),
        ({"name": {"$gt": 1}}, False),
        ({"price": {"$gt": "1"}}, False),
        ({"price": {"$lt": "1"}}, False),
        ({"on": {"$gt": 0}}, False),
        ({"price": {"$gte": False}}, False),
        ({"on": {"$gte": True}}, False),
        ({"missing": {"$gt": 0}}, False),
        ({"missing": {"$lte": 0}}, False),
        ({"none": {"$lt": None}}, False),
        ({"tags": {"$gt": ["a"]}}, False),
        ({"deep": {"$lt": {}}}, False),
    ],
)
def test_conditions(filter: dict[str, Any], expected: bool) -> None:
    assert matches(VALUE, checked(filter)) is expected


@pytest.mark.parametrize("value", [None, 3, "text", ["a"], True])
def test_a_value_without_fields(value: Any) -> None:
    assert matches(value, {"price": None})
    assert matches(value, {"price": {"$ne": 1}})
    assert not matches(value, {"price": 3})
    assert matches(value, {})
    assert matches(value, None)


@pytest.mark.parametrize(
    ("filter", "message"),
    [
        ("price", "filter must be a mapping such as"),
        ([("price", 1)], "filter must be a mapping"),
        ({"price": {"$in": [1]}}, r"filter: unknown operator '\$in'; there are \$eq, \$ne, \$gt, \$gte, \$lt, \$lte"),
        ({"price": {"$gt": 1, "lt": 2}}, "unknown operator 'lt'"),
        ({"a": {"b": [{"$gt": 1}, {"c": {"$regex": "x"}}]}}, r"unknown operator '\$regex'"),
        ({"$or": [{"price": 1}]}, r"filter: '\$or' stands where a field must be; operators go behind one"),
        ({"$and": []}, "'\\$and' stands where a field must be"),
        ({"$gt": 5}, r'as in \{"price": \{"\$gt": 5\}\}'),
        ({"price": 1, "$eq": 1}, "'\\$eq' stands where a field must be"),
        ({"price": {1, 2}}, "filter.price: builtins.set is not JSON"),
        ({1: 2}, "filter: the key 1 is int"),
    ],
)
def test_bad_filters(filter: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as error:
        checked(filter)
    assert error.value.field == "filter"


def test_what_is_compared_with_may_look_like_operators() -> None:
    assert checked({"a": {"$eq": {"$in": 1}}}) == {"a": {"$eq": {"$in": 1}}}
    assert matches({"a": {"$in": 1}}, {"a": {"$eq": {"$in": 1}}})


def test_what_are_operators() -> None:
    assert is_operators({"$gt": 1})
    assert is_operators({"a": 1, "$gt": 1})
    assert not is_operators({"a": {"$gt": 1}})
    assert not is_operators({})
    assert not is_operators("$gt")
    assert not is_operators(["$gt"])


# LangGraph's store in memory compares numbers as text, and true with 1: what is asked here is what is beyond doubt.
NUMBERS = st.integers(-3, 3) | st.sampled_from([-0.5, 0.5, 1.5])
LEAVES = st.sampled_from(["", "a", "b"]) | NUMBERS
CONDITIONS = st.recursive(
    LEAVES
    | st.none()
    | st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), NUMBERS, min_size=1)
    | st.dictionaries(st.sampled_from(["$eq", "$ne"]), LEAVES, min_size=1),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=4,
)
VALUES = st.recursive(
    LEAVES | st.none(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=2),
    max_leaves=5,
)


def comparable(value: Any, condition: Any) -> bool:
    """Whether LangGraph can compare these at all: it raises where a number is expected and there is none."""
    if isinstance(condition, dict) and is_operators(condition):
        return all(name in ("$eq", "$ne") or isinstance(value, int | float) for name in condition)
    if isinstance(condition, dict):
        return not isinstance(value, dict) or all(comparable(value.get(key), part) for key, part in condition.items())
    if isinstance(condition, list):
        return not isinstance(value, list) or len(value) != len(condition) or all(map(comparable, value, condition))
    return True


@given(st.dictionaries(st.sampled_from("xyz"), VALUES), st.dictionaries(st.sampled_from("xyz"), CONDITIONS))
def test_the_same_as_langgraph(value: dict[str, Any], filter: dict[str, Any]) -> None:
    if all(comparable(value.get(key), condition) for key, condition in filter.items()):
        expected = all(_compare_values(value.get(key), condition) for key, condition in filter.items())
        assert matches(value, checked(filter)) is expected


def test_there_are_six_operators() -> None:
    assert list(OPERATORS) == ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]
