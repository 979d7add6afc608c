"""Values as JSON: what serializers of their own read, and what nobody can."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep import JsonSerializer, Payload, dump
from statekeep.inspection import Limits, as_tree, decode, decode_raw
from statekeep.inspection import msgpack as reader

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary(max_size=300)
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(KEYS, inner, max_size=20))


def decoded(value: Any, **limits: Any) -> Any:
    payload = Payload(encoding="msgpack", data=ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS))
    found = decode(payload, Limits(**limits))
    assert found.problem is None
    return found.value


@given(VALUES)
def test_msgpack_is_read_as_by_its_own_library(value: Any) -> None:
    assert json.dumps(decoded(value)) == json.dumps(as_tree(value))


@given(VALUES)
def test_exact_json_is_read_as_it_was(value: Any) -> None:
    found = decode(dump(JsonSerializer(), value))
    assert found.problem is None
    assert json.dumps(found.value) == json.dumps(as_tree(value))


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_called_damaged(data: bytes) -> None:
    for encoding in ("msgpack", "json", "model+json", "type+json"):
        found = decode(Payload(encoding=encoding, data=data))
        json.dumps(found.value)
        assert (found.problem is None) or found.problem.startswith("damaged: ")
        assert (found.sha256 is None) is (found.problem is None)


@given(VALUES, st.data())
def test_msgpack_that_was_cut_off_is_damaged(value: Any, data: st.DataObject) -> None:
    whole = ormsgpack.packb(value)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert decode(Payload(encoding="msgpack", data=cut)).problem is not None
    assert decode(Payload(encoding="msgpack", data=whole + b"\x00")).problem is not None


@pytest.mark.parametrize(
    ("value", "limits", "shown"),
    [
        ([1, 2, 3, 4], {"items": 2}, [1, 2, {"$cut": "2 more items"}]),
        ({"a": 1, "b": 2}, {"items": 1}, {"a": 1, "$cut": "1 more keys"}),
        (["x" * 10], {"characters": 4}, [{"$cut": "a text of 10 characters", "begins": "xxxx"}]),
        ([[["deep"]]], {"depth": 2}, [[{"$cut": "a list of 1, deeper than 2 levels"}]]),
        ([[1, 2], [3, 4]], {"values": 3}, [[1, {"$cut": "1 more items"}], {"$cut": "1 more items"}]),
        ({1: 2}, {}, {"$type": "dict", "pairs": [[1, 2]]}),
        ({"$type": "mine"}, {}, {"$type": "dict", "value": {"$type": "mine"}}),
        ({"$cut": 1, "a": 2}, {}, {"$type": "dict", "value": {"$cut": 1, "a": 2}}),
        (math.inf, {}, {"$type": "float", "value": "inf"}),
        (
            b"12345",
            {"characters": 3},
            {"$type": "bytes", "size": 5, "$cut": "2 more bytes", "base64": base64.b64encode(b"123").decode()},
        ),
    ],
)
def test_what_is_left_out_is_marked(value: Any, limits: dict[str, int], shown: Any) -> None:
    if limits != {"values": 3}:  # the order of counting is a matter of taste
        assert as_tree(value, Limits(**limits)) == shown
    assert decoded(value, **limits) == shown
    payload = Payload(encoding="msgpack", data=ormsgpack.packb(value, option=ormsgpack.OPT_NON_STR_KEYS))
    assert decode(payload, Limits(**limits)).is_cut is bool(limits)


def test_a_long_text_is_not_decoded_as_a_whole() -> None:
    found = decoded(["é" * 100_000, "after"], characters=10)
    assert found == [{"$cut": "a text of 200,000 bytes", "begins": "é" * 10}, "after"]


def test_json_that_is_too_large_is_read_from_its_beginning() -> None:
    payload = dump(JsonSerializer(), {"a": list(range(1000)), "b": 1})
    found = decode(payload, Limits(bytes=20))
    assert found.is_cut
    assert found.value["begins"]["a"][:3] == [0, 1, 2]
    assert "more bytes of JSON" in found.value["$cut"]


def test_reading_ends_after_so_much_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "WORK", 1000)
    found = decoded({"a": list(range(5000)), "b": [1]}, items=10)
    assert found == {"a": [*range(10), {"$cut": "4,990 more items"}], "$cut": "1 more keys"}


def test_depth_is_bounded_for_any_input() -> None:
    assert decode(Payload(encoding="msgpack", data=b"\x91" * 100_000)).problem == ("damaged: 'the bytes end too early'")
    assert decode(Payload(encoding="json", data=b"[" * 100_000)).problem is not None
    whole = Payload(encoding="json", data=b"[" * 100_000 + b"]" * 100_000)
    assert decode(whole).problem == "nested too deeply to be shown"
    assert decode(whole, Limits(bytes=10**9)).problem == "nested too deeply to be shown"
    nested: Any = []
    for _ in range(150):
        nested = [nested]
    assert decode(dump(JsonSerializer(), nested)).is_cut
    inner = b"\x01"
    for _ in range(200):
        inner = b"\x93\xa1m\xa1N" + inner
        inner = b"\xc9" + len(inner).to_bytes(4, "big") + b"\x00" + inner
    found = decode(Payload(encoding="msgpack", data=inner))
    assert found.problem is None
    assert "deeper than 40 levels" in json.dumps(found.value)


@pytest.mark.parametrize(
    ("code", "content", "shown"),
    [
        (0, ["m", "Color", "red"], {"$type": "m.Color", "value": "red"}),
        (1, ["m", "Point", [1, 2]], {"$type": "m.Point", "args": [1, 2]}),
        (2, ["m", "Data", {"a": 1}], {"$type": "m.Data", "a": 1}),
        (3, ["datetime", "datetime", "2026", "fromisoformat"], {"$type": "datetime.datetime", "value": "2026"}),
        (4, ["m", "Old", {"a": 1}], {"$type": "m.Old", "a": 1}),
        (5, ["m", "New", {"a": 1}, "model_validate_json"], {"$type": "m.New", "a": 1}),
        (5, ["m", "New", {"$type": 1}, "x"], {"$type": "m.New", "value": {"$type": "dict", "value": {"$type": 1}}}),
        (
            6,
            ["<i8", [1], "C", b"\x01"],
            {
                "$type": "numpy.ndarray",
                "dtype": "<i8",
                "shape": [1],
                "order": "C",
                "data": {"$type": "bytes", "size": 1, "base64": "AQ=="},
            },
        ),
        (7, [1], {"$type": "langgraph.checkpoint.serde.types._DeltaSnapshot", "value": [1]}),
    ],
)
def test_objects_of_langgraph_are_named(code: int, content: Any, shown: Any) -> None:
    assert decoded(ormsgpack.Ext(code, ormsgpack.packb(content))) == shown


@pytest.mark.parametrize(
    ("code", "data"), [(0, b""), (0, b"\x90"), (0, b"\x93\x01\x02\x03"), (8, b"x"), (127, b"x"), (2, b"\xc1")]
)
def test_other_extensions_are_shown_as_bytes(code: int, data: bytes) -> None:
    assert decoded([ormsgpack.Ext(code, data), 1]) == [
        {"code": code, "$type": "msgpack.extension", "size": len(data), "base64": base64.b64encode(data).decode()},
        1,
    ]


@pytest.mark.parametrize(
    ("encoding", "problem"),
    [
        ("pickle", "a pickle, which would have to be executed"),
        ("msgpack+aes", "encrypted with 'aes', to which only the program has the key"),
        ("zip", "an encoding that Statekeep does not know"),
        ("a+b", "an encoding that Statekeep does not know"),
    ],
)
def test_closed_values_are_named_by_size_and_hash(encoding: str, problem: str) -> None:
    found = decode(Payload(encoding=encoding, data=b"abc"))
    assert (found.value, found.size, found.problem) == (None, 3, problem)
    assert found.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_small_encodings() -> None:
    assert decode(Payload(encoding="null", data=b"")).value is None
    assert decode(Payload(encoding="null", data=b"")).problem is None
    assert decode(Payload(encoding="bytearray", data=b"x")).value == {"$type": "bytearray", "size": 1, "base64": "eA=="}
    assert decode(Payload(encoding="model+json", data=b'{"$keep":["tuple",[]]}')).value == {
        "$type": "dict",
        "value": {"$keep": ["tuple", []]},
    }
    assert decode_raw(Payload(encoding="null", data=b"")) == {"encoding": "null", "size": 0, "base64": ""}


def test_payloads_within_values_are_decoded_too() -> None:
    inner = Payload(encoding="json", data=b"[1]")
    about = {"$type": "payload", "encoding": "json", "size": 3, "value": [1]}
    assert as_tree({"p": inner}) == {"p": about}
    assert decode(dump(JsonSerializer(), [inner])).value == [about]
    closed = as_tree(Payload(encoding="pickle", data=b"."))
    assert closed["problem"].startswith("a pickle")


def test_a_number_with_very_many_digits_is_not_called_damaged() -> None:
    found = decode(Payload(encoding="json", data=b"9" * 5000))
    assert found.problem == "it has a number of too many digits to be shown"
