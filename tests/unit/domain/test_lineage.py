"""What is kept for checkpoints that stay, whatever their chains of parents look like."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statekeep.domain import Channel, Payload, ValueSource
from statekeep.domain.lineage import NEEDS_PARENT, Link, is_under_root, root_of, run_of, with_sources

Links = dict[str, Link]

IDS = [str(n) for n in range(8)]
CHANNELS = ("a", "b")


@st.composite
def links(draw: st.DrawFn) -> Links:
    """Checkpoints by id. Most parents are just below their children; others may be missing, or in a circle."""
    carry = st.sampled_from([ValueSource.REPLAYED, ValueSource.EMPTY, ValueSource.VALUE])
    stored = {}
    for n in range(draw(st.sampled_from([6, 4, 1]))):
        parent = draw(st.sampled_from([str(n - 1), str(n - 1), None, *IDS]))
        stored[str(n)] = Link.of(parent, channels(draw(st.fixed_dictionaries(dict.fromkeys(CHANNELS, carry)))))
    return stored


def channels(carries: Mapping[str, ValueSource]) -> dict[str, Channel]:
    payload = Payload(encoding="raw", data=b"x")
    return {
        name: Channel(version=1, carry=carry, payload=payload if carry is ValueSource.VALUE else None)
        for name, carry in carries.items()
    }


many = settings(max_examples=max(200, settings().max_examples))
"""Chains of parents are cheap to try, and what is rare among them counts."""

ids = st.lists(st.sampled_from(IDS), max_size=3)


def ancestors(stored: Links, checkpoint_id: str) -> list[str]:
    """The stored ancestors of a checkpoint, the parent first. A circle ends where it closes."""
    chain = [checkpoint_id]
    while (link := stored.get(chain[-1])) is not None and link.parent_id in stored and link.parent_id not in chain:
        assert link.parent_id is not None
        chain.append(link.parent_id)
    return chain[1:]


def sources(stored: Links, checkpoint_id: str, channel: str) -> list[str]:
    """The ancestors from whose pending writes a replayed channel is rebuilt."""
    found = []
    for ancestor in ancestors(stored, checkpoint_id):
        found.append(ancestor)
        if channel in stored[ancestor].stored:
            break
    return found


def needs(stored: Links, checkpoint_id: str) -> set[str]:
    return {id_ for channel in stored[checkpoint_id].replayed for id_ in sources(stored, checkpoint_id, channel)}


@many
@given(links(), ids)
def test_what_stays_is_kept_with_all_that_it_needs_and_nothing_else(stored: Links, staying: list[str]) -> None:
    kept = with_sources(staying, stored.get)
    expected = set(staying) & stored.keys()
    while more := {id_ for one in expected for id_ in needs(stored, one)} - expected:
        expected |= more
    assert kept == expected


@many
@given(links(), ids)
def test_what_is_kept_is_closed_under_need(stored: Links, staying: list[str]) -> None:
    kept = with_sources(staying, stored.get)
    assert all(needs(stored, one) <= kept for one in kept)
    assert with_sources(kept, stored.get) == kept


@many
@given(links(), ids)
def test_nothing_but_ancestors_is_kept(stored: Links, staying: list[str]) -> None:
    alive = set(staying) & stored.keys()
    assert (
        alive <= with_sources(staying, stored.get) <= alive | {id_ for one in alive for id_ in ancestors(stored, one)}
    )


@many
@given(links(), ids, st.randoms(use_true_random=False))
def test_the_order_does_not_matter(stored: Links, staying: list[str], random: Any) -> None:
    kept = with_sources(staying, stored.get)
    shuffled = [*staying, *staying]
    random.shuffle(shuffled)
    assert with_sources(shuffled, stored.get) == kept
    backwards = {
        id_: Link(link.parent_id, [*link.stored][::-1], [*link.replayed][::-1]) for id_, link in stored.items()
    }
    assert with_sources(staying, backwards.get) == kept


@many
@given(links(), ids, ids)
def test_each_is_kept_for_itself(stored: Links, some: list[str], others: list[str]) -> None:
    apart = with_sources(some, stored.get) | with_sources(others, stored.get)
    assert with_sources([*some, *others], stored.get) == apart


@many
@given(links(), ids)
def test_deleting_the_others_changes_no_ancestors_of_what_stays(stored: Links, staying: list[str]) -> None:
    kept = with_sources(staying, stored.get)
    left = {
        id_: Link(link.parent_id if link.parent_id in kept else None, link.stored, link.replayed)
        for id_, link in stored.items()
        if id_ in kept
    }
    for one in kept:
        for channel in stored[one].replayed:
            assert sources(left, one, channel) == sources(stored, one, channel)


def counted(find: Callable[[str], Link | None], calls: list[str]) -> Callable[[str], Link | None]:
    def look(checkpoint_id: str) -> Link | None:
        calls.append(checkpoint_id)
        return find(checkpoint_id)

    return look


@many
@given(links(), ids)
def test_no_way_is_walked_twice(stored: Links, staying: list[str]) -> None:
    calls: list[str] = []
    with_sources(staying, counted(stored.get, calls))
    assert len(calls) <= len(staying) + len(stored) * (len(CHANNELS) + 2)


def test_long_chains_and_circles_end() -> None:
    size = 20_000
    for first_parent in (None, "gone", str(size - 1), "0"):
        stored = {str(n): Link(str(n - 1) if n else first_parent, (), {"a", "b"}) for n in range(size)}
        calls: list[str] = []
        assert with_sources(stored, counted(stored.get, calls)) == stored.keys()
        assert with_sources([str(size - 1)], counted(stored.get, calls)) == stored.keys()
        assert len(calls) <= 8 * size


def test_a_link_knows_channels_with_a_value_and_those_that_are_replayed() -> None:
    link = Link.of("1", channels({"a": ValueSource.VALUE, "b": ValueSource.REPLAYED, "c": ValueSource.EMPTY}))
    assert link == Link("1", {"a"}, {"b"})


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        ({"3": Link("2", (), ()), "2": Link("1", (), {"a"}), "1": Link(None, (), ())}, "3"),
        ({"3": Link("2", (), {"a"}), "2": Link("1", (), ()), "1": Link(None, {"a"}, ())}, "123"),
        ({"3": Link("2", (), {"a"}), "2": Link("1", {"a"}, ()), "1": Link(None, {"a"}, ())}, "23"),
        ({"3": Link("2", (), {"a"}), "2": Link("1", {"a"}, {"b"}), "1": Link(None, {"b"}, ())}, "123"),
        (
            {
                "3": Link("2", (), {"a"}),
                "2": Link("1", (), {"b"}),
                "1": Link("0", {"a"}, ()),
                "0": Link(None, {"b"}, ()),
            },
            "0123",
        ),
        ({"3": Link("2", (), {"a"}), "1": Link(None, {"a"}, ())}, "3"),
        ({"3": Link("3", (), {"a"})}, "3"),
        ({"3": Link("2", (), {"a"}), "2": Link("3", (), ())}, "23"),
    ],
    ids=[
        "nothing",
        "to-the-value",
        "not-beyond",
        "theirs-too",
        "another-channel-went-less-far",
        "missing",
        "its-own-parent",
        "circle",
    ],
)
def test_examples(stored: Links, kept: Collection[str]) -> None:
    assert with_sources(["3"], stored.get) == set(kept)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5) | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["run_id", "parents", "x"]), anything))
def test_any_metadata_names_a_run_and_a_root_or_none(metadata: dict[str, Any]) -> None:
    run_id, root_id = run_of(metadata), root_of(metadata)
    assert run_id is None or (run_id.encode() and run_id == metadata["run_id"])
    assert root_id is None or root_id == metadata["parents"][""]


@given(st.text(min_size=1))
def test_text_names_a_run(run_id: str) -> None:
    assert run_of({"run_id": run_id, "x": 1}) == run_id


@pytest.mark.parametrize("run_id", [None, "", 1, b"r", ["r"], "\ud800"])
def test_what_names_no_run(run_id: Any) -> None:
    assert run_of({"run_id": run_id}) is None
    assert run_of({}) is None


@pytest.mark.parametrize(
    ("parents", "root_id"),
    [
        ({"": "1", "child:2": "3"}, "1"),
        ({"child:2": "3"}, None),
        ({}, None),
        ({"": 1}, None),
        ("1", None),
        (None, None),
    ],
)
def test_roots(parents: Any, root_id: str | None) -> None:
    assert root_of({"parents": parents}) == root_id
    assert root_of({}) is None


@pytest.mark.parametrize(
    ("namespace", "expected"), [("", False), ("child", False), ("child:1", True), ("a:1|b:2", True), ("a|b", False)]
)
def test_namespaces_under_a_root(namespace: str, *, expected: bool) -> None:
    assert is_under_root(namespace) is expected


def test_a_checkpoint_that_needs_its_parent_keeps_nothing_beyond() -> None:
    needy = {str(n): Link(str(n - 1), {"a"}, {NEEDS_PARENT}) for n in range(5)}
    assert with_sources(["4"], needy.get) == {"3", "4"}
    assert with_sources(["4", "3"], needy.get) == {"2", "3", "4"}
    assert with_sources(["0"], needy.get) == {"0"}
    needy["4"] = Link("3", (), {NEEDS_PARENT, "b"})
    needy["2"] = Link("1", {"b"}, {NEEDS_PARENT})
    assert with_sources(["4"], needy.get) == {"1", "2", "3", "4"}  # 2 and 3 stay as sources, and so are whole
    needy["4"] = Link("4", (), {NEEDS_PARENT})
    assert with_sources(["4"], needy.get) == {"4"}
