"""Values are put together of pieces of their former versions."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.repositories.records import pieces
from statekeep.repositories.records.known_values import KnownValues
from statekeep.repositories.records.pieces import FAN, MOST, Value, name_of, split, whole

ALPHABETS = st.sampled_from([b"ab", b"abc]}", bytes(range(256))])


@st.composite
def histories(draw: st.DrawFn) -> list[bytes]:
    """Versions of a value: each is the one before with some parts replaced, or something else."""
    alphabet = draw(ALPHABETS)
    texts = st.lists(st.sampled_from(alphabet), max_size=300).map(bytes)
    versions = [draw(texts)]
    for _ in range(draw(st.integers(0, 12))):
        now = versions[-1]
        for _ in range(draw(st.integers(0, 3))):
            start = draw(st.integers(0, len(now)))
            end = draw(st.integers(start, len(now)))
            now = now[:start] + draw(texts) + now[end:]
        versions.append(draw(st.one_of(st.just(now), st.just(now + now), texts)))
    return versions


@given(histories(), st.integers(1, 64))
def test_what_is_put_together_is_the_value(versions: list[bytes], shortest: int) -> None:
    stored: dict[str, bytes] = {}
    value: Value | None = None
    for data in versions:
        before = value
        value = split(data, before, shortest)
        assert value.data == data
        known = {piece.name for piece in before.pieces} if before else set()
        names = [piece.name for piece in value.pieces]
        assert set(names) <= known | value.new.keys(), "a piece is neither known nor given"
        assert all(name == name_of(body) for name, body in value.new.items())
        stored |= value.new
        if value.pieces:
            assert b"".join(stored[name] for name in names) == data
            assert [len(stored[name]) for name in names] == [piece.length for piece in value.pieces]
            assert whole(value).new == {name: stored[name] for name in names}
            assert len(names) <= MOST
            assert all(piece.length for piece in value.pieces)


@given(st.binary(max_size=500), st.binary(max_size=500))
def test_a_first_version_a_short_one_and_an_equal_one_stay_as_they_are(first: bytes, other: bytes) -> None:
    assert split(first, None, 1) == Value(first)
    assert split(first, Value(other), 501) == Value(first)
    assert split(first, Value(first), 1) == Value(first)


@pytest.mark.parametrize("end", [b"x", b"]"])
@pytest.mark.parametrize("size", [3000, 10_000, 50_000])
def test_only_the_beginning_of_a_value_changed(size: int, end: bytes) -> None:
    """It has the same length, so nothing is appended."""
    body = random.Random(1).randbytes(size) + end
    value = split(b"0" + body, None)
    for number in range(1, 5):
        data = b"%d" % number + body
        value = split(data, value)
        assert value.data == data
        assert len(value.pieces) > 1
        stored = whole(value).new
        assert b"".join([stored[piece.name] for piece in value.pieces]) == data


def test_what_has_nothing_of_the_former_version_stays_whole() -> None:
    source = random.Random(1)
    encrypted = [source.randbytes(100_000) for _ in range(3)]
    value = split(encrypted[0], None)
    for data in encrypted[1:]:
        value = split(data, value)
        assert value == Value(data)


def grown(kind: str, steps: int, size: int) -> list[bytes]:
    """Versions of a list of messages, with its length in front as serializers write it, or a bracket at its end."""
    source = random.Random(kind)
    messages: list[bytes] = []
    versions = []
    for step in range(steps):
        messages.append(source.randbytes(size))
        if kind == "trim":
            messages = messages[-40:]
        elif kind == "edit" and step:
            messages[source.randrange(step)] = source.randbytes(size)
        elif kind == "replace" and step % 2:
            messages[-2:] = messages[-1:]
        body = b"".join(messages)
        versions.append(b"[" + body + b"]" if kind == "bracket" else b"%05d" % len(messages) + body)
    return versions


@pytest.mark.parametrize(
    ("kind", "steps", "size", "times"),
    [
        ("append", 100, 200, 13),
        ("append", 100, 1000, 18),
        ("append", 1000, 1000, 90),
        ("bracket", 100, 1000, 18),
        ("replace", 200, 1000, 20),
        ("trim", 200, 1000, 9),
        ("edit", 200, 1000, 7),
    ],
)
def test_so_many_times_fewer_bytes(kind: str, steps: int, size: int, times: int) -> None:
    value: Value | None = None
    full = new = 0
    sent = []
    for data in grown(kind, steps, size):
        value = split(data, value)
        own = sum(map(len, value.new.values())) if value.pieces else len(data)
        sent.append(own + 22 * len(value.pieces))
        full += len(data)
        new += own
        assert max((piece.length for piece in value.pieces), default=0) <= max(len(data) // FAN, 2048) * 2
    assert full / new > times
    if kind != "edit":
        assert sorted(sent[-10:])[5] <= 6 * size


@pytest.mark.parametrize("ends", [(b"", b""), (b"[", b"]")], ids=["open", "in brackets"])
def test_what_was_only_appended_to_is_not_searched(ends: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    source = random.Random(7)
    body = source.randbytes(100_000)
    value = Value(ends[0] + body + ends[1])
    for _ in range(3):  # the first time pieces are cut, the second time merged
        body += source.randbytes(1000)
        value = split(ends[0] + body + ends[1], value)
    monkeypatch.setattr(pieces._Cut, "kept", None)
    for size in (1000, 3000, 20_000):
        body += source.randbytes(size)
        data = ends[0] + body + ends[1]
        before, value = value, split(data, value)
        assert whole(value).new.keys() == {piece.name for piece in value.pieces}
        assert b"".join(whole(value).new[piece.name] for piece in value.pieces) == data
        assert {piece.name for piece in value.pieces} <= {piece.name for piece in before.pieces} | value.new.keys()
        assert sum(map(len, value.new.values())) < size + 100


def test_known_values_are_bounded_and_share_their_bytes() -> None:
    known = KnownValues(100_000)
    data = [random.Random(number).randbytes(30_000) for number in range(5)]
    for number, body in enumerate(data):
        known.note("place", str(number), Value(body))
    longer = [known.split("place", str(number), body + b"more") for number, body in enumerate(data)]
    assert [bool(value.pieces) for value in longer] == [False, False, True, True, True]
    held = known._known["place", "4"]
    assert held.data is data[4]
    assert not held.new
    known.note("place", "4", Value(b"short"))
    assert not known.split("place", "4", data[4] + b"more").pieces


def test_nothing_is_known_without_a_limit() -> None:
    known = KnownValues(0)
    known.note("place", "channel", Value(b"x" * 10_000))
    assert not known.split("place", "channel", b"x" * 10_001).pieces
