"""Values in messages: bounded, whatever they are."""

from __future__ import annotations

from typing import Any

import pytest

from statekeep.domain.shown import shown


@pytest.mark.parametrize(
    "value",
    [
        None, True, 1, -1.5, "", "text", "it's", b"x", bytearray(b"x"), [], [1], (), (1,), (1, "a"), {},
        {"a": [1, (2,)]}, set(), {1}, frozenset(), frozenset({1}), ..., str, "\ud800", 2**64,
    ],
)  # fmt: skip
def test_small_values_are_shown_as_they_are(value: Any) -> None:
    assert shown(value) == repr(value)


class _Broken:
    def __repr__(self) -> str:
        raise RuntimeError("broken")


class _Deep:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __repr__(self) -> str:
        return f"Deep({self.inner!r})"


def _nested(depth: int, make: Any) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = make(value)
    return value


def _circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "start"),
    [
        ("x" * 10**7, "'xxxx"),
        (b"x" * 10**7, "b'xxxx"),
        ([0] * 10**7, "[0, 0, 0"),
        (_nested(100_000, lambda inner: [inner]), "[[[["),
        (_nested(100_000, lambda inner: (inner,)), "(((("),
        (_nested(100_000, lambda inner: {"a": inner}), "{'a': {'a'"),
        (_circle(), "[[[["),
        ([["x" * 10**6] * 1000] * 1000, "[['xxx"),
        (10**10_000, "an integer of 33220 bits"),
        ([10**10_000], "[an integer of 33220 bits]"),
        (_Broken(), "<_Broken whose repr raises RuntimeError>"),
        ([_Broken()], "[<_Broken whose repr raises RuntimeError>]"),
        (_nested(100_000, _Deep), "<_Deep whose repr raises RecursionError>"),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 50 else "",
)
def test_hostile_values_are_cut(value: Any, start: str) -> None:
    text = shown(value)
    assert text.startswith(start)
    assert len(text) <= 80


def test_no_more_is_looked_at_than_is_shown() -> None:
    class Watched(list[Any]):
        seen = 0

        def __iter__(self) -> Any:
            for item in super().__iter__():
                Watched.seen += 1
                yield item

    shown(Watched(range(10**6)))
    assert Watched.seen < 80
