"""Equal values have equal fingerprints, in every process; others have not."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import functools
import os
import pathlib
import subprocess
import sys
import uuid
from itertools import combinations
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, PrivateAttr

from statekeep import InvalidInput, Payload
from statekeep.domain.fingerprint import fingerprint
from statekeep.testing.strategies.texts import Disguised


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    RED = "RED"


class Model(BaseModel):
    a: Any = 1


class Other(BaseModel):
    a: Any = 1


class Extra(BaseModel, extra="allow"):
    a: int = 1


@dataclasses.dataclass
class Data:
    a: Any = 1


@attrs.define
class Attrs:
    a: Any = 1


class Text(str):
    __slots__ = ()


class Owned(str):
    owner: str


class Private(BaseModel):
    a: int = 1
    _tenant: str = PrivateAttr("")

    @functools.cached_property
    def made(self) -> int:
        return 1


class Bits(enum.Flag, boundary=enum.KEEP):
    ONE = 1
    TWO = 2


def owned(owner: str) -> Owned:
    text = Owned("1")
    text.owner = owner
    return text


def private(tenant: str) -> Private:
    model = Private()
    model._tenant = tenant
    return model


def with_more(owner: str) -> Data:
    data = Data()
    vars(data)["owner"] = owner
    return data


DIFFERENT: list[Any] = [
    None, True, 1, 1.0, "1", b"1", bytearray(b"1"), (1,), [1], {1}, frozenset({1}), {"a": 1}, {1: "a"}, {"1": "a"},
    {(1,): "a"}, 0, False, "", (), [], {}, set(), float("nan"), -0.0, 0.0, "\ud800", [[1], 2], [[1, 2]], [1, [2]],
    dt.date(2024, 1, 1), dt.datetime(2024, 1, 1), dt.datetime(2024, 1, 1, tzinfo=dt.UTC), dt.timedelta(1),
    decimal.Decimal(1), decimal.Decimal("1.0"), uuid.UUID(int=1), Colour.RED, Colour.BLUE, Number.ONE, Word.RED, "RED",
    Model(), Model(a=2), Other(), Extra(), Extra(b=1), Data(), Data(2), Attrs(), Attrs(2), Model, Other, int,
    pathlib.PurePosixPath("1"), pathlib.PureWindowsPath("1"), Text("1"), Payload(encoding="a", data=b""),
    Payload(encoding="b", data=b""), Data([Model(), {1, 2}]), Text("2"), Disguised("1"), Disguised("2"), owned("a"),
    owned("b"), Private(), private("a"), private("b"), with_more("a"), with_more("b"), Bits(0), Bits.ONE, Bits.TWO,
    Bits.ONE | Bits.TWO, Bits(64), Bits(65), Bits(32), Bits(96),
]  # fmt: skip

SAME: list[tuple[Any, Any]] = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: "a", 2: "b"}, {2: "b", 1: "a"}),
    ({"x": {1: {"a": 1, "b": 2}, 2: 3}}, {"x": {2: 3, 1: {"b": 2, "a": 1}}}),
    ({"a", "b", "c", "d"}, {"d", "c", "b", "a"}),
    (Model(a={"a": 1, "b": {2, 1}}), Model(a={"b": {1, 2}, "a": 1})),
    (Data({"a": 1, "b": 2}), Data({"b": 2, "a": 1})),
    (float("nan"), float("nan")),
]


def test_different_values() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert fingerprint({"x": one}) != fingerprint({"x": other}), (one, other)


@pytest.mark.parametrize(("one", "other"), SAME, ids=range(len(SAME)))
def test_the_order_is_nothing(one: Any, other: Any) -> None:
    assert fingerprint({"x": one, "y": 1}) == fingerprint({"y": 1, "x": other})


def test_cached_properties_do_not_count() -> None:
    model = Private()
    before = fingerprint({"x": model})
    assert model.made == 1
    assert fingerprint({"x": model}) == before


def test_classes_that_functions_make_cannot_be_told_apart() -> None:
    class Local:
        pass

    with pytest.raises(InvalidInput, match="Local"):
        fingerprint({"x": Local})


def test_messages_do_not_show_the_value() -> None:
    class Secret:
        def __repr__(self) -> str:
            return "hunter2"

    with pytest.raises(InvalidInput, match="Secret") as caught:
        fingerprint({"x": Secret()})
    assert "hunter2" not in str(caught.value)


def test_names_count() -> None:
    assert fingerprint({"a": 1, "b": 2}) != fingerprint({"a": 2, "b": 1})
    assert fingerprint({"a": 1}) != fingerprint({"b": 1})
    assert fingerprint({}) != fingerprint({"a": None})


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(json, json)
def test_json(one: Any, other: Any) -> None:
    assert (fingerprint({"x": one}) == fingerprint({"x": other})) == (repr(_sorted(one)) == repr(_sorted(other)))


def _sorted(value: Any) -> Any:
    """What has the same text for the same JSON, worked out in another way."""
    if isinstance(value, dict):
        return "dict", sorted(((key, _sorted(item)) for key, item in value.items()), key=repr)
    return ("list", *map(_sorted, value)) if isinstance(value, list) else value


def test_it_is_the_same_in_another_process() -> None:
    program = """
from statekeep.domain.fingerprint import fingerprint
print(fingerprint({"a": {"x", "y", "z", "w"}, "b": {1: {"k": 1, "l": 2}, "2": b"x"}}))
"""
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2", "3")
    }
    # Written down: a later version must find what this one stored.
    assert found == {"961cb3e567e5b1930db6ab270a3bdbd3acb0295f\n"}


@pytest.mark.usefixtures("no_collection")
def test_what_has_no_value() -> None:
    circle: list[Any] = []
    circle.append(circle)
    for wrong in (
        object(),
        print,
        lambda: None,
        iter(()),
        circle,
        [{"a": object()}],
        Data(object()),
        Model(a=object()),
    ):
        with pytest.raises(InvalidInput) as caught:
            fingerprint({"fine": 1, "wrong": wrong})
        assert caught.value.field == "wrong"
        assert str(caught.value).startswith("wrong: ")
