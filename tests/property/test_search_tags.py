"""What is pushed down to the search module never excludes what a filter accepts."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from statekeep.domain.filters import checked, matches
from statekeep.domain.json_values import normalize
from statekeep.repositories.valkey.items.search import query as search_query

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, 1e20, 10**20, 2**53, 2**53 + 1, float(2**53), 1e308, 10**400]),
    st.sampled_from(["", "a", "1", "true", "é", "\ud800"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["x", "y", "$z"]), inner, max_size=2),
    max_leaves=4,
)
FIELDS = st.sampled_from(["x", "y", "z", ""])
NAMES = FIELDS | st.just("$eq")
OPERATORS = st.dictionaries(
    st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]),
    SCALARS | VALUES | st.sampled_from([float("inf"), float("nan")]),
    min_size=1,
    max_size=2,
)
CONDITIONS = SCALARS | OPERATORS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from("xy"), SCALARS)


def carries(value: Any, tag: str) -> bool:
    """Whether the module finds a value by a tag, in the form in which ``search_command`` asks for it."""
    return bool({tag, search_query.ANY_ATTRIBUTE} & set(search_query.attribute_tags(value)))


@given(st.dictionaries(NAMES, VALUES) | VALUES, st.dictionaries(FIELDS, CONDITIONS, max_size=2), st.booleans())
@example({"x": 1}, {"x": 1.0}, False)
@example({"x": 10**20}, {"x": {"$eq": 1e20}}, True)
@example({}, {"x": None}, True)
@example({"x": -0.0}, {"x": 0}, False)
def test_nothing_that_matches_is_excluded(value: Any, filter: dict[str, Any], many: bool) -> None:
    if many and isinstance(value, dict):
        value = value | {f"field{number}": number for number in range(search_query.MOST_ATTRIBUTES)}
    stored, wanted = normalize(value, "value"), checked(filter)
    if matches(stored, wanted):
        assert all(carries(stored, tag) for tag in search_query.pushed_down(wanted))


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.data())
def test_a_value_is_found_by_its_own_fields(value: dict[str, Any], data: st.DataObject) -> None:
    """As the one above, with filters that do match."""
    names = data.draw(st.sets(st.sampled_from(sorted(value)))) - {"$eq"}
    equal = {
        name: value[name] if data.draw(st.booleans()) else {"$eq": value[name]}
        for name in names
        if not isinstance(value[name], dict)
    }
    stored, wanted = normalize(value, "value"), checked({name: equal[name] for name in equal if clean(equal[name])})
    assert matches(stored, wanted)
    assert all(carries(stored, tag) for tag in search_query.pushed_down(wanted))


def clean(condition: Any) -> bool:
    """Whether nothing in a condition looks like an operator without being one."""
    return "$z" not in repr(condition)


LABELS = st.text("ab.%:", min_size=1, max_size=3) | st.text(st.characters(codec="utf-8"), min_size=1)


@given(st.lists(LABELS, max_size=4), st.lists(LABELS, max_size=2) | st.integers(0, 4))
@example(["a", "b"], ["a.b"])
@example(["a.b"], ["a"])
def test_tags_say_what_is_below_what(namespace: list[str], prefix: list[str] | int) -> None:
    prefix = namespace[:prefix] if isinstance(prefix, int) else prefix
    below = namespace[: len(prefix)] == prefix
    assert (search_query.namespace_tag(prefix) in search_query.namespace_tags(namespace)) is below
