"""Paths into values: what they may be, and which texts they find."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base.embed import get_text_at_path, tokenize_path

from statekeep.domain import InvalidInput
from statekeep.domain.json_values import steps, texts_at

VALUE: dict[str, Any] = {
    "title": "T",
    "n": 1,
    "x": 1.5,
    "yes": True,
    "none": None,
    "empty": "",
    "parts": [{"text": "a", "more": {"deep": "d"}}, {"text": "b"}, "c", None, ["e", ["f"]]],
    "meta": {"b": "2", "a": {"z": 1, "é": "ü"}},
    "a[0]": "brackets",
}


@pytest.mark.parametrize(
    ("path", "found", "texts"),
    [
        ("title", ("title",), ["T"]),
        ("n", ("n",), ["1"]),
        ("x", ("x",), ["1.5"]),
        ("yes", ("yes",), ["True"]),
        ("none", ("none",), []),
        ("empty", ("empty",), [""]),
        ("missing", ("missing",), []),
        ("missing.b[0].*", ("missing", "b", "[0]", "*"), []),
        ("title.text", ("title", "text"), []),
        ("meta.b", ("meta", "b"), ["2"]),
        ("meta", ("meta",), ['{"a": {"z": 1, "é": "ü"}, "b": "2"}']),
        ("meta.*", ("meta", "*"), ["2", '{"z": 1, "é": "ü"}']),
        ("parts[0].text", ("parts", "[0]", "text"), ["a"]),
        ("parts[*].text", ("parts", "[*]", "text"), ["a", "b"]),
        ("parts.*.text", ("parts", "*", "text"), ["a", "b"]),
        ("parts[-1][0]", ("parts", "[-1]", "[0]"), ["e"]),
        ("parts[-1].*", ("parts", "[-1]", "*"), ["e", '["f"]']),
        ("parts[-5].text", ("parts", "[-5]", "text"), ["a"]),
        ("parts[-6].text", ("parts", "[-6]", "text"), []),
        ("parts[5]", ("parts", "[5]"), []),
        ("parts[3]", ("parts", "[3]"), []),
        ("meta[0]", ("meta", "[0]"), []),
        ("parts.0", ("parts", "0"), []),
        ("title[*]", ("title", "[*]"), []),
        ("title.*", ("title", "*"), []),
        ("{title,meta.a.z}", ("{title,meta.a.z}",), ["T", "1"]),
        ("{ title , none , missing }", ("{ title , none , missing }",), ["T"]),
        ("parts[*].{text,more.deep}", ("parts", "[*]", "{text,more.deep}"), ["a", "d", "b"]),
        ("{meta}.b", ("{meta}", "b"), ["2"]),
        ("parts{text}", ("parts", "{text}"), []),
        ("my field", ("my field",), []),
    ],
)
def test_paths(path: str, found: tuple[str, ...], texts: list[str]) -> None:
    assert steps(path) == found
    assert texts_at(VALUE, steps(path)) == texts


def test_the_whole_value() -> None:
    assert steps("$") == ()
    assert texts_at({"b": "é", "a": [1]}, ()) == ['{"a": [1], "b": "é"}']
    assert texts_at("text", ()) == ["text"]
    assert texts_at(None, ()) == []
    assert texts_at([], ()) == ["[]"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("", "a path must be text such as"),
        (None, "a path must be text such as"),
        (3, "a path must be text such as"),
        ("a[", "'a[' is no path; see position 1"),
        ("a[]", "see position 1"),
        ("a[x]", "see position 1"),
        ("a[1.5]", "see position 1"),
        ("a[+1]", "see position 1"),
        ("a[[0]]", "see position 1"),
        ("a[0", "see position 1"),
        ("a]", "see position 1"),
        ("{a", "see position 0"),
        ("a}", "see position 1"),
        ("{a,{b}}", "see position 0"),
        ("{}", "see position 0"),
        ("{a,}", "see position 0"),
        ("{a,.}", "see position 0"),
        ("{a[0]}", "see position 0"),
        ("a[99999999999]", "see position 1"),
    ],
)
def test_what_is_no_path(path: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        steps(path, "index")
    assert message in str(error.value)
    assert str(error.value).startswith("index: ")
    assert error.value.field == "index"


NAMES = st.sampled_from(["a", "b", "c", "é x"])
STEPS = st.one_of(NAMES, st.just("*"), st.sampled_from(["[*]", "[0]", "[1]", "[-1]", "[-2]", "[7]"]))
INNER = st.lists(NAMES, min_size=1, max_size=3).map(".".join)
LAST = st.lists(INNER, min_size=1, max_size=3).map(lambda names: "{" + ",".join(names) + "}")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from([0.5, 1e22, "", "t", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.lists(STEPS, min_size=1, max_size=4), st.none() | LAST)
def test_the_same_as_langgraph(value: Any, middle: list[str], last: str | None) -> None:
    path = ""
    for step in [*middle, *([last] if last else [])]:
        path += step if not path or step.startswith("[") else f".{step}"
    assert list(steps(path)) == tokenize_path(path)
    assert texts_at(value, steps(path)) == get_text_at_path(value, path)


@given(st.dictionaries(NAMES, VALUES))
def test_the_whole_of_a_dict_is_the_same_as_langgraph(value: dict[str, Any]) -> None:
    assert texts_at(value, steps("$")) == get_text_at_path(value, "$")


@given(st.text(alphabet="a.*[]{},0-1 $", max_size=8))
def test_any_text_is_a_path_or_refused(path: str) -> None:
    try:
        found = steps(path)
    except InvalidInput:
        return
    assert isinstance(texts_at(VALUE, found), list)
    assert path == "$" or list(found) == tokenize_path(path)
