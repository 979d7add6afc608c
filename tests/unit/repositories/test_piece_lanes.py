"""Versions of a value share a lane, and each is whole as long as it is needed."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.domain import CorruptRecord, Payload
from statekeep.repositories.records.checkpoints import value_of
from statekeep.repositories.records.framing import Record, records
from statekeep.repositories.records.framing import pieces as framed
from statekeep.repositories.records.piece_lanes import (
    RECORDS,
    SIZE,
    LaneValue,
    NewValue,
    PieceLane,
    Seen,
    is_in_pieces,
    lane_of,
    new_value,
    still_known,
)
from statekeep.repositories.records.pieces import Value

DAY = 86_400 * 10**9
MESSAGES = [random.Random(number).randbytes(400) for number in range(30)]


def payload(data: bytes) -> Payload:
    return Payload(encoding="raw", data=data)


class Store:
    """Lanes in a dictionary."""

    def __init__(self) -> None:
        self.lanes: dict[str, list[Record]] = {}
        self.contents: dict[str, Payload] = {}
        self.known: Value | None = None
        self.stamp = 10**18

    def put(self, data: bytes, before: Value | None, seconds: float = 1) -> NewValue:
        self.stamp += round(seconds * 10**9)
        added = new_value(f"{self.stamp}", payload(data), before, self.stamp, DAY)
        self.lanes.setdefault(lane_of(added.name), []).extend(records(framed(added.record), "here")[0])
        self.contents[added.name] = payload(data)
        self.known = added.value
        return added

    def read(self, name: str) -> Payload | None:
        stored = self.lanes.get(lane_of(name), [])
        if is_in_pieces(name):
            return PieceLane.of(stored, "here").payload(name)
        return value_of(stored[0], "here") if stored else None

    def trim(self, dead: set[str]) -> None:
        live = self.contents.keys() - dead
        for lane in {lane_of(name) for name in dead if is_in_pieces(name)}:
            needed = PieceLane.of(self.lanes[lane], "here").needed(dead, live, self.stamp)
            self.lanes[lane] = [record for record in self.lanes[lane] if record.hash in needed]


STEPS = st.lists(
    st.tuples(st.integers(0, 25), st.integers(1, 20), st.integers(0, 10), st.sets(st.integers(0, 30), max_size=6)),
    max_size=12,
)


@given(STEPS)
def test_what_stays_is_whole(steps: list[tuple[int, int, int, set[int]]]) -> None:
    store = Store()
    for first, count, back, dead in steps:
        names = list(store.contents)
        before = store.known
        if names and back:  # a fork goes on from another version, which it read
            name = names[-back % len(names)]
            before = Value(store.contents[name].data)
            if is_in_pieces(name):
                lane = PieceLane.of(store.lanes[lane_of(name)], "here")
                before = lane.known(name, store.contents[name], 10**18, Seen())
        store.put(b"".join(MESSAGES[first : first + count]), before)
        gone = {name for number, name in enumerate(store.contents) if number in dead}
        store.trim(gone)
        for name in gone:
            del store.contents[name]
            if store.known is not None and isinstance(store.known, LaneValue) and store.known.name == name:
                store.known = None
        for name, content in store.contents.items():
            assert store.read(name) == content


def test_lanes_are_bounded() -> None:
    store, data = Store(), b"".join(MESSAGES)
    for number in range(400):
        data += random.Random(number).randbytes(100 + number % 3 * 1000)
        added = store.put(data, store.known)
        assert isinstance(added.value, LaneValue) is (number > 0)
    for lane, stored in list(store.lanes.items())[1:]:
        newest = max(len(store.contents[name].data) for name in store.contents if lane_of(name) == lane)
        assert len(stored) <= RECORDS
        assert sum(len(blob) for record in stored for blob in record.blobs) <= SIZE * newest
    assert len(store.lanes) < 20


def test_a_lane_ends_when_its_first_record_is_old() -> None:
    store, data = Store(), b"".join(MESSAGES)
    stamps = []
    for number in range(40):
        data += b"%d" % number * 10
        stamps.append(store.put(data, store.known, seconds=3 * 3600).stamp)
        assert store.stamp - stamps[-1] <= DAY
    assert 6 <= len(set(stamps)) < 10


def test_what_may_have_been_deleted_is_not_relied_on() -> None:
    seen = Seen(frozenset({1, 2}), frozenset({"a"}))
    assert seen.holds(Seen(frozenset({2, 3}), frozenset()))
    assert seen.holds(Seen(frozenset({2, 3}), frozenset({"a"})))
    assert not seen.holds(Seen(frozenset({2}), frozenset({"a", "b"})))
    assert not seen.holds(Seen(frozenset({3}), frozenset({"a"})))
    assert not seen.holds(Seen())
    value = LaneValue(b"", (), {}, "lane/1", seen=seen)
    assert still_known(Value(b"x"), [], seen, "b") == Value(b"x")
    assert still_known(value, [], seen, "b") is None
    assert still_known(value, ["lane/1"], Seen(frozenset({1}), frozenset({"z"})), "b") is None
    kept = still_known(value, ["lane/1"], seen, "b")
    assert isinstance(kept, LaneValue)
    assert kept.seen.holds(Seen(frozenset({1}), frozenset({"b"})))


@pytest.mark.parametrize("field", ["type", "version", "encoding", "pieces", "stamp"])
def test_damage_is_an_error(field: str) -> None:
    store = Store()
    store.put(b"".join(MESSAGES), None)
    record = store.put(b"".join([*MESSAGES, b"more"]), store.known).record
    assert PieceLane.of([record], "here").records == [record]
    odd: tuple[Any, ...] = (None, 1.5, "", -1, [])
    for wrong in odd:
        with pytest.raises(CorruptRecord) as caught:
            PieceLane.of([Record({**record.head, field: wrong}, record.blobs)], "here")
        assert caught.value.key == "here"
    assert PieceLane.of([Record(record.head, record.blobs[:-1])], "here").payload("lane/1") is None
