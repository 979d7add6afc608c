"""Key names of items: no two namespaces and keys meet, and texts that stand for namespaces sort as these do."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statekeep.domain.model import SHORT
from statekeep.repositories.item_backend import Put
from statekeep.repositories.valkey.items.keys import ItemKeys, _item_keys, item_keys, namespace_index_keys
from statekeep.repositories.valkey.items.plan import ItemSettings, Plan, sequence_key
from statekeep.repositories.valkey.keys import decode_namespace, encode_namespace, namespace_of_ordered, ordered

CHARACTERS = st.characters(exclude_categories=["Cs"])
TRICKY = st.sampled_from(["\x00", "\x01", "\x02", ".", ":", "%", "a", "{", "}", "\uffff", "\U0010ffff"])
TEXTS = st.text(CHARACTERS) | st.text(TRICKY, max_size=4)
LABELS = TEXTS.filter(bool)
NAMESPACES = st.lists(LABELS, max_size=4).map(tuple)
Namespace = tuple[str, ...]


@given(NAMESPACES)
@example(())
@example((".",))
@example(("", "")[:0])
def test_a_namespace_comes_back(namespace: Namespace) -> None:
    assert decode_namespace(encode_namespace(namespace)) == namespace
    assert namespace_of_ordered(ordered(namespace)) == namespace
    assert encode_namespace(namespace)
    assert not set(encode_namespace(namespace)) & set("{}: \x00*")


@given(NAMESPACES, NAMESPACES)
@example(("a", "b"), ("a.b",))
@example((), (".",))
@example(("a", "b"), ("a\x00b",))
@example(("a\x00",), ("a\x01",))
def test_different_namespaces_differ_and_keep_their_order(one: Namespace, other: Namespace) -> None:
    assert (encode_namespace(one) == encode_namespace(other)) is (one == other)
    assert (ordered(one) == ordered(other)) is (one == other)
    assert (ordered(one).encode() < ordered(other).encode()) is (one < other)


@given(NAMESPACES, NAMESPACES)
@example(("a",), ("a\x00",))
@example(("a",), ("a\x01b",))
@example(("a",), ("a", "\x01"))
def test_what_is_below_stands_between_two_bounds(prefix: Namespace, namespace: Namespace) -> None:
    for found in (namespace, prefix + namespace):
        is_below = found[: len(prefix)] == prefix
        text, low = ordered(found).encode(), ordered(prefix).encode()
        assert is_below is (not prefix or low <= text < low + b"\x01")


@given(NAMESPACES, TEXTS, NAMESPACES, TEXTS)
@example(("a",), "b:c", ("a", "b"), "c")
@example(("a", "b"), "c", ("a.b",), "c")
def test_different_items_have_different_keys(one: Namespace, key: str, other: Namespace, other_key: str) -> None:
    first, second = ItemKeys("app", one), ItemKeys("app", other)
    is_same = (one, key) == (other, other_key)
    assert (first.record(key) == second.record(other_key)) is is_same
    assert (first.pk(key) == second.pk(other_key)) is is_same
    assert (first.vector("c", f"{key}") == second.vector("c", f"{other_key}")) is is_same
    mine = {first.index, first.recency, first.expiry, first.sequence, first.state, first.vectors("c")}
    theirs = {second.index, second.recency, second.expiry, second.sequence, second.state, second.vectors("c")}
    assert len(mine) == 6
    assert bool(mine & theirs) is (one == other)


@given(NAMESPACES, TEXTS)
def test_everything_of_a_namespace_is_in_one_slot(namespace: Namespace, key: str) -> None:
    keys = ItemKeys("app", namespace)
    names = [keys.index, keys.recency, keys.expiry, keys.sequence, keys.state, keys.record(key)]
    names += [keys.vectors("a{b}"), keys.vector("a{b}", "k:0")]
    # The server takes what stands between the first brace and the first one that closes behind it.
    assert {name.partition("{")[2].partition("}")[0] for name in names} == {encode_namespace(namespace)}
    assert f"app:item:{keys.pk(key)}" == keys.record(key)


def test_names() -> None:
    keys = item_keys("app", ("users", "ada.b"))
    assert keys is item_keys("app", ("users", "ada.b"))
    assert keys.record("a:1") == "app:item:{users.ada%2Eb}:a%3A1"
    assert keys.index == "app:item-index:{users.ada%2Eb}"
    assert keys.vectors("my notes") == "app:item-vector-index:my%20notes:{users.ada%2Eb}"
    assert keys.vector("my notes", "a%3A1:0") == "app:item-vector:my%20notes:{users.ada%2Eb}:a%3A1:0"
    assert item_keys("app", ()).recency == "app:item-recent:{.}"
    assert keys.former == [
        "app:item-recency:{.}", "app:item-expiry:{.}", "app:item-recency:{users}", "app:item-expiry:{users}",
        "app:item-recency:{users.ada%2Eb}", "app:item-expiry:{users.ada%2Eb}",
    ]  # fmt: skip
    assert [key.partition("{.}")[2] for key in namespace_index_keys("app")] == [":name", ":time", ":end"]


def test_keys_of_appended_values_sort_by_their_numbers() -> None:
    numbers = [0, 1, 9, 10, 2**53, 10**19]
    keys = list(map(sequence_key, numbers))
    assert {len(key) for key in keys} == {20}
    assert all(one < other for one, other in pairwise(keys))


@pytest.mark.parametrize("label", ["a", "a" * SHORT])
def test_a_plan_declares_no_key_twice(label: str) -> None:
    """Also if keys of namespaces are made anew meanwhile: the script would take one index for two."""
    plan = Plan(ItemSettings("app", None, False, False, None, 1000))
    plan.add(Put((label, "b"), "k", 1))
    _item_keys.cache_clear()
    plan.add(Put((label, "c"), "k", 1))
    plan.add(Put((label, "b"), "k", 2))
    call = next(plan.run())
    assert len(call.keys) == len(set(call.keys))
    assert [action["space"] for action in plan.actions] == [1, 2, 1]
