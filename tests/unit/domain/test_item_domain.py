"""Items, operations on them, and conditions on namespaces."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from statekeep.domain import (
    ANY,
    DEFAULT,
    CheckItem,
    DeleteItem,
    GetItem,
    InvalidInput,
    Item,
    ListItems,
    NamespaceMatch,
    PutItem,
    SearchItem,
    TypedItem,
    TypedSearchItem,
)
from statekeep.domain.items import checked_expected

NOW = dt.datetime(2026, 1, 2, 3, 4, 5, 6000, dt.UTC)


def item(**changes: Any) -> Item:
    values = {"namespace": ("a",), "key": "k", "value": 1, "created_at": NOW, "updated_at": NOW, "version": 1}
    return Item(**{**values, **changes})


def test_an_item() -> None:
    found = item(namespace=["users", "ada"], key="", value={"a": [1]}, version=3)
    assert found.namespace == ("users", "ada")
    assert found.expires_at is None
    assert item(expires_at=NOW).expires_at == NOW
    assert item(namespace=()).namespace == ()
    with pytest.raises(ValueError, match="frozen"):
        found.key = "other"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"namespace": "users"}, "namespace"),
        ({"namespace": ("",)}, "namespace"),
        ({"namespace": ("a", 3)}, "namespace"),
        ({"namespace": None}, "namespace"),
        ({"namespace": ("\ud800",)}, "namespace"),
        ({"key": 3}, "key"),
        ({"key": None}, "key"),
        ({"key": "\ud800"}, "key"),
        ({"version": 0}, "version"),
        ({"version": True}, "version"),
        ({"version": "1"}, "version"),
        ({"created_at": dt.datetime(2026, 1, 2)}, "created_at"),
        ({"updated_at": None}, "updated_at"),
        ({"expires_at": dt.datetime(2026, 1, 2)}, "expires_at"),
        ({"score": 1.0}, "score"),
    ],
)
def test_what_is_no_item(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        item(**changes)
    assert error.value.field == field
    str(error.value).encode()


def test_a_found_item() -> None:
    values = item().model_dump()
    assert SearchItem(**values).score is None
    assert SearchItem(**values, score=-0.5).score == -0.5


def test_operations() -> None:
    put = PutItem(namespace=["n"], key="k", value=(1, {"a": ()}))
    assert (put.namespace, put.value, put.ttl, put.expected, put.index) == (("n",), [1, {"a": []}], DEFAULT, ANY, None)
    assert PutItem(namespace=(), key="", value=None, expected=None).expected is None
    assert GetItem(namespace=("n",), key="k").refresh is None
    assert DeleteItem(namespace=("n",), key="k").expected is ANY
    assert DeleteItem(namespace=("n",), key="k", expected=3).expected == 3
    listing = ListItems(namespace=["n"])
    assert (listing.namespace, listing.prefix, listing.after, listing.limit) == (("n",), "", None, 100)
    assert (listing.reverse, listing.order, listing.refresh) == (False, "key", None)
    assert CheckItem(namespace=("n",), key="k", expected=None).expected is None
    assert CheckItem(namespace=("a",), key="k", expected=item()).expected == item()


@pytest.mark.parametrize(
    ("kind", "values", "field", "message"),
    [
        (PutItem, {"value": {1}}, "value", "value: builtins.set is not JSON"),
        (PutItem, {"value": {"a": float("nan")}}, "value", "value.a: nan is not JSON"),
        (PutItem, {"value": 1, "expected": 0}, "expected", "must be a version"),
        (PutItem, {"value": 1, "expect": 1}, "expect", "Extra inputs"),
        (PutItem, {}, "value", "Field required"),
        (DeleteItem, {"expected": "1"}, "expected", "must be a version"),
        (PutItem, {"value": 1, "expected": item()}, "expected", "an item of the same namespace and key"),
        (PutItem, {"value": 1, "expected": item(), "key": 1}, "key", "string"),
        (DeleteItem, {"expected": item()}, "expected", "an item of the same namespace and key"),
        (DeleteItem, {"value": 1}, "value", "Extra inputs"),
        (CheckItem, {}, "expected", "Field required"),
        (CheckItem, {"expected": ANY}, "expected", "must not be ANY"),
        (CheckItem, {"expected": True}, "expected", "must be a version"),
        (CheckItem, {"expected": item(), "key": "other"}, "expected", "an item of the same namespace and key"),
        (CheckItem, {"expected": ANY, "key": 1}, "key", "string"),
        (GetItem, {"refresh": "perhaps"}, "refresh", "boolean"),
        (ListItems, {"limit": -1}, "limit", "greater than or equal to 0"),
        (ListItems, {"limit": 1001}, "limit", "less than or equal to 1000"),
        (ListItems, {"limit": True}, "limit", "integer"),
        (ListItems, {"limit": None}, "limit", "integer"),
        (ListItems, {"reverse": 1}, "reverse", "boolean"),
        (ListItems, {"prefix": None}, "prefix", "string"),
        (ListItems, {"order": "time"}, "order", "'key' or 'updated'"),
        (ListItems, {"order": "updated", "after": "k"}, "after", 'goes with order="key" alone'),
        (GetItem, {"namespace": "n"}, "namespace", "tuple"),
        (GetItem, {"key": None}, "key", "string"),
    ],
)
def test_bad_operations(kind: type[Any], values: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InvalidInput) as error:
        kind(**{"namespace": ("n",), **({} if kind is ListItems else {"key": "k"}), **values})
    assert error.value.field == field
    assert message in str(error.value)


def test_a_typed_item_is_expected_without_its_value() -> None:
    typed = dict(item()) | {"value": object(), "version": 3}
    for read in (TypedItem[Any](**typed), TypedSearchItem[Any](**typed, score=1.0)):
        for found in (
            checked_expected(read, ("a",), "k"),
            PutItem(namespace=("a",), key="k", value=1, expected=read).expected,
        ):
            assert type(found) is Item
            assert found == item(value=None, version=3)
        with pytest.raises(InvalidInput, match="expected must be an item of the same namespace and key"):
            checked_expected(read, ("a",), "other")
    with pytest.raises(InvalidInput, match="a TypedItem, None or ANY"):
        checked_expected(TypedItem[Any](**typed | {"version": 10**5000}), ("a",), "k")


def test_expectations() -> None:
    read = item()
    for right in (ANY, None, 1, 2**70, read, SearchItem(**dict(read))):
        assert checked_expected(right, ["a"], "k") is right
    for wrong in (0, -1, True, 1.0, "1", "any", DEFAULT, [1], dict(read), item(version=10**5000)):
        with pytest.raises(InvalidInput, match="expected must be a version") as error:
            checked_expected(wrong, ("a",), "k")
        assert error.value.field == "expected"
    for namespace, key in ((("a",), "other"), (("a", "k"), "k")):
        with pytest.raises(InvalidInput, match="expected must be an item of the same namespace and key") as error:
            checked_expected(read, namespace, key)
        assert error.value.field == "expected"


def test_markers_say_what_they_are() -> None:
    assert repr(ANY) == "ANY"
    assert repr(DEFAULT) == "DEFAULT"


@pytest.mark.parametrize(
    ("where", "path", "namespace", "holds"),
    [
        ("prefix", ("a",), ("a",), True),
        ("prefix", ("a",), ("a", "b"), True),
        ("prefix", ("a", "b"), ("a",), False),
        ("prefix", ("user",), ("users",), False),
        ("prefix", ("b",), ("a", "b"), False),
        ("prefix", ("*", "b"), ("a", "b", "c"), True),
        ("prefix", ("*", "b"), ("a", "c", "b"), False),
        ("prefix", ("a", "*"), ("a",), False),
        ("prefix", ("*",), (), False),
        ("prefix", ("a*",), ("ab",), False),
        ("prefix", (), (), True),
        ("prefix", (), ("a",), True),
        ("suffix", ("b",), ("a", "b"), True),
        ("suffix", ("a",), ("a", "b"), False),
        ("suffix", ("a", "b"), ("a", "b"), True),
        ("suffix", ("a", "b"), ("b",), False),
        ("suffix", ("a", "*"), ("x", "a", "y"), True),
        ("suffix", ("*", "*"), ("y",), False),
        ("suffix", (), ("a",), True),
        ("suffix", (), (), True),
        ("suffix", ("*",), ("*",), True),
    ],
)
def test_conditions_on_namespaces(where: Any, path: tuple[str, ...], namespace: tuple[str, ...], holds: bool) -> None:
    assert NamespaceMatch(where=where, path=path).holds(namespace) is holds
    assert NamespaceMatch(where=where, path=path).holds(list(namespace)) is holds


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"where": "middle", "path": ("a",)}, "where"),
        ({"where": "prefix", "path": "a"}, "path"),
        ({"where": "prefix", "path": ("",)}, "path"),
        ({"where": "prefix"}, "path"),
    ],
)
def test_bad_conditions_on_namespaces(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as error:
        NamespaceMatch(**values)
    assert error.value.field == field
