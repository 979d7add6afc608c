"""Vectors as bytes, and how they are compared."""

from __future__ import annotations

import struct
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.domain import EmbeddingFailed
from statekeep.repositories.records.vectors import packed, scores


def floats(vector: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(vector) // 4}f", vector))


class Tensor:
    """What torch and others return: it can be made a list, and iterated over."""

    def __init__(self, values: Any) -> None:
        self.values = values

    def tolist(self) -> Any:
        return self.values

    def __iter__(self) -> Any:
        return iter([Tensor(value) for value in self.values])


@pytest.mark.parametrize(
    "vectors",
    [
        [[1, 2.5], [3, -4]],
        ((1, 2.5), (3, -4)),
        iter([[1, 2.5], iter([3, -4])]),
        np.array([[1, 2.5], [3, -4]]),
        np.array([[1, 2.5], [3, -4]], np.float16),
        np.array([[1, 2.5], [3, -4]], ">f8"),
        [np.array([1, 2.5]), np.array([3, -4], np.int8)],
        [[np.float32(1), np.float64(2.5)], [np.int64(3), -4]],
        [[Decimal(1), Fraction(5, 2)], [3, -4]],
        Tensor([[1, 2.5], [3, -4]]),
    ],
)
def test_vectors_of_any_kind(vectors: Any) -> None:
    found = packed(vectors, 2, 2)
    assert [floats(vector) for vector in found] == [[1.0, 2.5], [3.0, -4.0]]
    assert all(type(vector) is bytes for vector in found)


def test_the_lowest_byte_is_first() -> None:
    assert packed([[1.0, -2.0]], 1, 2) == [b"\x00\x00\x80\x3f\x00\x00\x00\xc0"]


def test_none() -> None:
    assert packed([], 0, 3) == []
    assert packed(np.zeros((0, 3)), 0, 3) == []


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (None, "must return a list of 2 vectors, got None"),
        (3, "must return a list of 2 vectors, got 3"),
        ([1.0, 2.0], "must return a list of 2 vectors, got"),
        (np.array([1.0, 2.0]), "must return a list of 2 vectors, got"),
        ([[1, 2], None], "must return a list of 2 vectors, got"),
        ([], "must return 2 vectors, one for each text, got 0"),
        ([[1, 2]], "must return 2 vectors, one for each text, got 1"),
        ([[1, 2], [3, 4], [5, 6]], "must return 2 vectors, one for each text, got 3"),
        ([[1, 2], [3]], "must return vectors of 2 numbers, as dims says, got one of 1"),
        ([[1, 2, 3], [3, 4]], "must return vectors of 2 numbers, as dims says, got one of 3"),
        ([[1, 2], []], "got one of 0"),
        ([[1, 2], ["3", "4"]], "must return vectors of numbers, got"),
        ([[1, 2], "34"], "must return vectors of numbers, got"),
        ([[1, 2], b"34"], None),
        ([[1, 2], [b"3", 4]], "must return vectors of numbers, got"),
        ([[1, 2], [True, 4]], "must return vectors of numbers, got"),
        ([[1, 2], [{}, 4]], "must return vectors of numbers, got"),
        ([[1, 2], [1j, 4]], "must return vectors of numbers, got"),
        ([[1, 2], [[3], [4]]], "must return vectors of numbers, got"),
        ([[1, 2], [[3], 4]], "must return vectors of numbers, got"),
        (np.ones((2, 2, 1)), "must return vectors of numbers, got"),
        ([[1, 2], [10**400, 4]], "must return vectors of numbers, got"),
        ([[1, 2], [None, 4]], "got NaN or infinity"),
        ([[1, 2], [float("nan"), 4]], "got NaN or infinity"),
        ([[1, 2], [float("inf"), 4]], "got NaN or infinity"),
        ([[1, 2], [1e39, 4]], "got NaN or infinity"),
        ([[1, 2], [-1e39, 4]], "got NaN or infinity"),
    ],
)
def test_what_are_no_vectors(vectors: Any, message: str | None) -> None:
    if message is None:  # bytes are a sequence of numbers
        assert floats(packed(vectors, 2, 2)[1]) == [51.0, 52.0]
        return
    with pytest.raises(EmbeddingFailed) as error:
        packed(vectors, 2, 2)
    assert message in str(error.value)
    assert str(error.value).startswith("embed ")


def test_the_largest_and_the_smallest() -> None:
    largest = float(np.finfo(np.float32).max)
    assert floats(packed([[largest, 1e-60, 1e-45]], 1, 3)[0]) == [largest, 0.0, pytest.approx(1.4e-45, rel=0.01)]


# -- scores

FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
SMALL = st.floats(-100, 100, width=32)


def reference(metric: str, one: list[float], other: list[float]) -> float:
    """As the definition says, number by number."""
    if metric == "l2":
        return -sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
    product = sum(a * b for a, b in zip(one, other, strict=True))
    if metric == "ip":
        return product
    lengths = sum(a * a for a in one) ** 0.5 * sum(b * b for b in other) ** 0.5
    return product / lengths if lengths else 0.0


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@given(st.lists(st.lists(SMALL, min_size=5, max_size=5), min_size=2, max_size=8))
def test_scores_are_those_of_the_definition(metric: str, vectors: list[list[float]]) -> None:
    query, *others = packed(vectors, len(vectors), 5)
    found = scores(metric, query, others)
    assert found.dtype == np.float32
    expected = [reference(metric, vectors[0], other) for other in vectors[1:]]
    assert found.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@given(st.lists(st.lists(FLOATS, min_size=3, max_size=3), min_size=2, max_size=5))
def test_scores_are_numbers_and_equal_for_equal_vectors(metric: str, vectors: list[list[float]]) -> None:
    query, *others = packed(vectors, len(vectors), 3)
    found = scores(metric, query, [*others, *others[::-1], query, query])
    assert not np.isnan(found).any()
    assert found[: len(others)].tolist() == found[len(others) : -2][::-1].tolist()
    assert found[-1] == found[-2]
    if metric == "cosine":
        assert (np.abs(found) <= 1).all()
        assert found[-1] == (1.0 if any(vectors[0]) else 0.0)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("cosine", [1.0, 0.0, -1.0, 0.0]), ("ip", [4.0, 0.0, -2.0, 0.0]), ("l2", [0.0, -8.0, -9.0, -4.0])],
)
def test_the_nearest_has_the_highest_score(metric: str, expected: list[float]) -> None:
    query, *others = packed([[2, 0], [2, 0], [0, 2], [-1, 0], [0, 0]], 5, 2)
    assert scores(metric, query, others).tolist() == expected


@pytest.mark.parametrize(("metric", "expected"), [("cosine", 0.0), ("ip", 0.0), ("l2", -1.0)])
def test_a_query_of_zeros(metric: str, expected: float) -> None:
    query, other = packed([[0, 0], [1, 0]], 2, 2)
    assert scores(metric, query, [other]).tolist() == [expected]


def test_scores_that_32_bits_cannot_hold() -> None:
    large, small = packed([[3e38, 3e38], [-3e38, -3e38]], 2, 2)
    assert scores("ip", large, [large, small]).tolist() == [float("inf"), float("-inf")]
    assert scores("l2", large, [large, small]).tolist() == [0.0, float("-inf")]
    assert scores("cosine", large, [large, small]).tolist() == [1.0, -1.0]


def test_differences_that_32_bits_would_lose() -> None:
    query, near, far = packed([[10_000, 1], [10_000, 1.001], [10_000, 1.002]], 3, 2)
    one, other = scores("l2", query, [near, far]).tolist()
    assert one == pytest.approx(-1e-6, rel=1e-3)
    assert other == pytest.approx(-4e-6, rel=1e-3)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_no_vectors(metric: str) -> None:
    assert scores(metric, bytes(8), []).tolist() == []
