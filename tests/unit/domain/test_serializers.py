"""The serializers that come along."""

from __future__ import annotations

import datetime as dt
import sys
from typing import Any

import pytest
from hypothesis import given
from pydantic import BaseModel

from statekeep.domain import (
    InvalidInput,
    JsonSerializer,
    MissingDependency,
    ModelSerializer,
    MsgpackSerializer,
    Payload,
    Serializer,
    dump,
    load,
)
from statekeep.testing.comparison import canonical
from statekeep.testing.strategies import exact_values


class State(BaseModel):
    step: int
    at: dt.datetime | None = None


class Other(BaseModel):
    step: int


SERIALIZERS: list[Any] = [JsonSerializer(), MsgpackSerializer(), ModelSerializer(State)]


@pytest.mark.parametrize("serializer", SERIALIZERS, ids=lambda serializer: type(serializer).__name__)
class TestEachSerializer:
    def test_fits_the_protocol(self, serializer: Any) -> None:
        assert isinstance(serializer, Serializer)

    def test_refuses_other_encodings(self, serializer: Any) -> None:
        with pytest.raises(InvalidInput, match="pickle") as caught:
            serializer.loads_typed(("pickle", b"{}"))
        assert caught.value.field == "encoding"

    def test_refuses_what_it_cannot_hold(self, serializer: Any) -> None:
        with pytest.raises(InvalidInput):
            serializer.dumps_typed(object())

    def test_damaged_bytes(self, serializer: Any) -> None:
        encoding, _ = serializer.dumps_typed(State(step=1) if isinstance(serializer, ModelSerializer) else 1)
        with pytest.raises(ValueError, match=r"."):
            serializer.loads_typed((encoding, b"\xc1{"))


@given(exact_values())
def test_json_is_exact(value: Any) -> None:
    serializer = JsonSerializer()
    assert canonical(load(serializer, dump(serializer, value))) == canonical(value)


def test_msgpack() -> None:
    serializer = MsgpackSerializer()
    assert load(serializer, dump(serializer, {"a": [1, b"\xff", None, "é"]})) == {"a": [1, b"\xff", None, "é"]}
    assert load(serializer, dump(serializer, (1,))) == [1]


def test_model() -> None:
    serializer = ModelSerializer(State)
    state = State(step=1, at=dt.datetime(2024, 1, 1, tzinfo=dt.UTC))
    payload = dump(serializer, state)
    assert payload == Payload(encoding="model+json", data=b'{"step":1,"at":"2024-01-01T00:00:00Z"}')
    assert load(serializer, payload) == state


def test_model_of_another_class() -> None:
    untyped: Any = ModelSerializer(State)
    with pytest.raises(InvalidInput, match="expected State, got Other"):
        untyped.dumps_typed(Other(step=1))


def test_stored_state_that_does_not_fit_the_model() -> None:
    with pytest.raises(InvalidInput, match="State: step") as caught:
        ModelSerializer(State).loads_typed(("model+json", b'{"step":"x"}'))
    assert caught.value.field == "step"


def test_missing_ormsgpack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ormsgpack", None)
    with pytest.raises(MissingDependency, match=r"pip install 'statekeep\[msgpack\]'"):
        MsgpackSerializer()


def test_dump_copies_what_is_not_bytes() -> None:
    class Views:
        def dumps_typed(self, obj: Any, /) -> Any:
            return "raw", memoryview(obj)

        def loads_typed(self, data: tuple[str, bytes], /) -> Any:
            return data[1]

    payload = dump(Views(), b"x")
    assert type(payload.data) is bytes
    assert load(Views(), payload) == b"x"
