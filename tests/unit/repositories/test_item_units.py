"""Units of several namespaces: keys, the comparison of units, and who takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import statekeep
from statekeep import CheckItem, InvalidInput, PutItem, Unsupported
from statekeep.domain import StatekeepError
from statekeep.domain.items import Namespace
from statekeep.repositories.item_backend import unit_of
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.valkey.items.keys import item_keys, namespace_index_keys, place_of, unit_keys
from statekeep.repositories.valkey.items.search.query import VectorKey, parse_key
from statekeep.repositories.valkey.items.unit import Unit
from statekeep.repositories.valkey.keys import encode_namespace
from statekeep.repositories.valkey.requests import Ask, Call, Commands, Request
from statekeep.repositories.valkey.scripts import script
from statekeep.testing.strategies import item_keys as some_keys
from statekeep.testing.strategies import item_namespaces

UNITS = st.none() | st.integers(0, 4)


def tag(key: str) -> str:
    return key.partition("{")[2].partition("}")[0]


@given(namespace=item_namespaces(), key=some_keys(), unit=UNITS)
def test_keys_say_their_place(namespace: Namespace, key: str, unit: int | None) -> None:
    keys = item_keys("app", namespace, unit)
    names = [keys.record(key), *keys.indexes, keys.state, keys.sequence, keys.vectors("c"), keys.changes("c")]
    names.append(keys.vector("c", "k:0"))
    assert {tag(name) for name in names} == {encode_namespace(namespace[:unit])}
    for name in names:
        assert place_of(name.removeprefix("app:"))["namespace"] == namespace
    assert place_of(keys.record(key).removeprefix("app:")) == {"namespace": namespace, "key": key}
    assert parse_key("app", "c", keys.vector("c", "k:0"), unit) == VectorKey(namespace, "k", 0)
    assert keys.encoded == encode_namespace(namespace)
    assert keys.record(key) == f"app:item:{keys.pk(key)}"


@given(one=item_namespaces(), other=item_namespaces(), unit=UNITS)
def test_namespaces_of_a_unit_share_a_hash_tag(one: Namespace, other: Namespace, unit: int | None) -> None:
    is_one = Unit(unit).of(one) == Unit(unit).of(other)
    assert (tag(item_keys("app", one, unit).index) == tag(item_keys("app", other, unit).index)) is is_one
    assert (item_keys("app", one, unit).index == item_keys("app", other, unit).index) is (one == other)


def test_keys_without_a_unit_are_as_before() -> None:
    keys = item_keys("app", ("users", "ada.b"))
    assert keys.record("k") == "app:item:{users.ada%2Eb}:k"
    assert keys.former
    assert item_keys("app", ("users", "ada.b"), 1).former == []
    assert namespace_index_keys("app")[0] == "app:item-namespace-index:{.}:name" == unit_keys("app", 1)[0]
    assert namespace_index_keys("app", 1)[0] == unit_keys("app")[0]
    assert place_of(unit_keys("app", 1)[1].removeprefix("app:")) == {}
    assert place_of(namespace_index_keys("app", 1)[1].removeprefix("app:")) == {}


# -- the comparison

GET = Commands([["HGET", "k", "f"]])
MARKER = unit_keys("app", 1)[1]
CALL = Call(script("items/rows"), ["k"], [])
TELLING = Call(script("items/names"), ["k", MARKER], [])
SEARCH = Ask(["FT.SEARCH", "index", "*"])
PING = Ask(["PING"])


def sent(unit: Unit, request: Request, probe: Sequence[Any]) -> list[Request]:
    """The requests that it takes to answer one."""
    found: list[Request] = []
    operation = unit.compared("app", request)
    reply: Any = None
    answer: Any = None
    try:
        while True:
            found.append(operation.send(reply))
            commands = found[-1].commands if isinstance(found[-1], Commands) else []
            reply = [b"reply"] * (len(commands) - 3) + [*probe] if len(commands) >= 3 else [b"reply"]
    except StopIteration as stop:
        answer = stop.value
    assert answer == [b"reply"]
    return found


@pytest.mark.parametrize(("request_", "count"), [(GET, 1), (CALL, 2), (TELLING, 1), (SEARCH, 2), (PING, 1)], ids=str)
def test_the_first_requests(request_: Request, count: int) -> None:
    unit = Unit(1)
    assert len(sent(unit, request_, [b"1", 1, 0])) == count
    assert unit.is_compared is (request_ is not PING)
    assert unit.is_certain is (request_ not in (PING, TELLING))
    if not unit.is_certain:
        assert len(sent(unit, request_, [b"1", 1, 0])) == 1


def test_an_empty_database_is_looked_at_again() -> None:
    unit = Unit()
    for _ in range(2):
        (probed,) = sent(unit, GET, [None, 0, 0])
        assert isinstance(probed, Commands)
        assert len(probed.commands) == 4
        assert not unit.is_certain
    assert len(sent(unit, CALL, [None, 0, 0])) == 1
    with pytest.raises(InvalidInput, match="unit=2"):
        sent(unit, GET, [b"2", 0, 1])


@pytest.mark.parametrize(
    ("labels", "probe", "words"),
    [
        (None, [b"2", 0, 1], "unit is None, .* with unit=2,"),
        (None, [None, 3, 1], "with another one"),
        (1, [None, 0, 1], "unit is 1, .* without a unit"),
        (1, [b"2", 1, 0], "with unit=2,"),
        (1, [None, 1, 0], None),
        (1, [b"2", 0, 0], None),
        (0, [b"0", 1, 0], None),
        (None, [b"2", 1, 0], None),
    ],
)
def test_what_is_refused(labels: int | None, probe: Sequence[Any], words: str | None) -> None:
    if words is None:
        assert len(sent(Unit(labels), GET, probe)) == 1
        return
    with pytest.raises(InvalidInput, match=words) as caught:
        sent(Unit(labels), GET, probe)
    assert caught.value.field == "unit"


@pytest.mark.parametrize(
    ("text", "words"), [("OTHERUNIT 3", "unit=3"), ("otherunit: none", "without"), ("OTHERUNIT ?", "another one")]
)
def test_errors_of_scripts(text: str, words: str) -> None:
    assert words in str(Unit(1).refused(StatekeepError(f"host:1: items are in other units: ResponseError: {text}")))


# -- who takes a unit


def test_memory() -> None:
    with statekeep.connect("memory:", unit=1) as keep:
        assert unit_of(keep.items.backend) == 1
        check = CheckItem(namespace=("a",), key="k", expected=None)
        keep.items.batch([check, PutItem(namespace=("a", "b"), key="k", value=1)])
        with pytest.raises(InvalidInput, match="same unit=1 labels"):
            keep.items.batch([check, PutItem(namespace=("b",), key="k", value=1)])
        assert keep.items.list_namespaces() == [("a", "b")]
    with statekeep.connect("memory:", unit=0) as keep:
        keep.items.batch([check, PutItem(namespace=("b",), key="k", value=1)])


@pytest.mark.parametrize("bad", [-1, 1.0, True, "1", ()])
def test_bad_units(bad: Any) -> None:
    for make in (
        lambda: MemoryItems(unit=bad),
        lambda: statekeep.connect("memory:", unit=bad),
        lambda: statekeep.connect("valkey://localhost:1", unit=bad),
        lambda: statekeep.aconnect("agentcore://memory-1?region=us-east-1", unit=bad),
    ):
        with pytest.raises(InvalidInput) as caught:
            make()
        assert caught.value.field == "unit"


def test_agentcore_has_no_units() -> None:
    with pytest.raises(Unsupported, match="unit"):
        statekeep.connect("agentcore://memory-1?region=us-east-1", unit=1)
