"""Matrices of vectors find what exact comparison finds, in its order."""

from __future__ import annotations

import pickle
import threading
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.repositories.records import known_vectors
from statekeep.repositories.records.known_vectors import KnownVectors, Matrix, nearest
from statekeep.repositories.records.vectors import scores

Metric = Literal["cosine", "ip", "l2"]

SCALES = st.sampled_from([1.0, 1e-30, 1e-38, 1e30, 1e4])


@given(
    metric=st.sampled_from(["cosine", "ip", "l2"]),
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 120),
    dims=st.integers(1, 40),
    scale=SCALES,
    shift=st.sampled_from([0.0, 0.0, 1e4]),
    is_coarse=st.booleans(),
    first=st.integers(1, 20),
)
def test_the_nearest_come_first(
    metric: Metric, seed: int, count: int, dims: int, scale: float, shift: float, is_coarse: bool, first: int
) -> None:
    numbers = np.random.default_rng(seed).standard_normal((count, dims))
    rows = (scale * (np.round(numbers) if is_coarse else numbers) + shift).astype(np.float32)
    matrices = [Matrix(dims, metric), Matrix(dims, metric)]
    for at, row in enumerate(rows):
        matrices[at % 2].put(f"{at}:0", b"1", row.tobytes(), 1)
    for at in range(0, count, 5):
        matrices[at % 2].drop(f"{at}:0", 1)
    exact = scores(metric, rows[0].tobytes(), [row.tobytes() for row in rows]).tolist()
    seen: list[str] = []
    last = float("inf")
    for found in nearest(matrices, rows[0].tobytes(), first):
        assert all(one.score == exact[int(one.member[:-2])] for one in found)
        assert all(one.score <= last for one in found)
        last = min([last, *(one.score for one in found)])
        seen += [one.member for one in found]
    assert sorted(seen) == sorted(f"{at}:0" for at in range(count) if at % 5)


def row(*numbers: float) -> bytes:
    return np.array(numbers, np.float32).tobytes()


def shown(matrix: Matrix) -> list[tuple[str, bytes, float]]:
    found = [one for some in nearest([matrix], row(1, 0), 1) for one in some]
    return sorted((one.member, one.stamp, one.score) for one in found)


def test_what_was_read_earlier_replaces_nothing_newer() -> None:
    matrix = Matrix(2, "ip")
    matrix.put("a:0", b"2", row(2, 0), 20)
    matrix.put("a:0", b"1", row(1, 0), 10)
    matrix.drop("a:0", 10)
    matrix.drop_value("a:0", b"1")
    assert shown(matrix) == [("a:0", b"2", 2.0)]
    matrix.put("b:0", b"3", row(3, 0), 30)
    matrix.drop("a:0", 20)
    matrix.drop("a:0", 20)
    matrix.drop_value("nobody:0", b"1")
    matrix.put("c:0", b"4", row(4, 0), 40)
    assert shown(matrix) == [("b:0", b"3", 3.0), ("c:0", b"4", 4.0)]
    assert len(matrix) == 2


def test_a_row_that_is_freed_during_a_search_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = Matrix(2, "ip")
    for number in range(4):
        matrix.put(f"{number}:0", b"1", row(number, 0), 1)
    about = Matrix.about

    def then_changes(self: Matrix, query: known_vectors.Numbers) -> object:
        found = about(self, query)
        self.drop("3:0", 1)
        self.drop("1:0", 1)
        self.put("new:0", b"2", row(9, 0), 2)
        return found

    monkeypatch.setattr(Matrix, "about", then_changes)
    assert {name for name, _, _ in shown(matrix)} <= {"0:0", "2:0", "new:0"}
    assert {name for name, _, _ in shown(matrix)} >= {"0:0", "2:0"}


def test_those_used_longest_ago_are_forgotten() -> None:
    size = known_vectors.size_of(64, 2)
    known = KnownVectors(2 * size)
    matrix = Matrix(2, "ip")
    for name in "abc":
        matrix = Matrix(2, "ip")
        matrix.put("x:0", b"1", row(1, 0), 1)
        assert known.has_room(matrix.size)
        known.keep(name, matrix)
        known.get("a")
    assert [known.get(name) is not None for name in "abc"] == [True, False, True]
    assert not known.has_room(3 * size)
    assert not KnownVectors(0).has_room(size)
    assert pickle.loads(pickle.dumps(known)).get("a") is None


def test_one_that_grows_takes_the_room_of_others() -> None:
    known = KnownVectors(4 * known_vectors.size_of(64, 2))
    matrices = {"small": Matrix(2, "ip"), "grown": Matrix(2, "ip")}
    for name, matrix in matrices.items():
        matrix.put("x:0", b"1", row(1, 0), 1)
        known.keep(name, matrix)
    there = []
    for count in (100, 200, 300):
        for number in range(count):
            matrices["grown"].put(f"{number}:0", b"1", row(1, 0), 1)
        known.keep("grown", matrices["grown"])
        there.append([name for name in matrices if known.get(name)])
    assert there == [["small", "grown"], ["grown"], []]
    known.keep("small", matrices["small"])
    assert known.get("small") is matrices["small"]


def test_threads_share_a_matrix() -> None:
    matrix = Matrix(2, "ip")
    matrix.put("stays:0", b"1", row(1e6, 0), 1)
    stop = threading.Event()

    def change(name: str) -> None:
        number = 1
        while not stop.is_set():
            number += 1
            matrix.put(f"{name}{number % 200}:0", b"1", row(number % 7, 1), number)
            matrix.drop(f"{name}{(number + 50) % 200}:0", number)

    threads = [threading.Thread(target=change, args=(name,)) for name in "pq"]
    for thread in threads:
        thread.start()
    try:
        for _ in range(200):
            found = next(nearest([matrix], row(1, 0), 5))
            assert max(found, key=lambda one: one.score).member == "stays:0"
    finally:
        stop.set()
        for thread in threads:
            thread.join()
