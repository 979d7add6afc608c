"""Vectors as bytes, and exact comparison of them with numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ...domain import EmbeddingFailed
from ...domain.shown import shown

FLOAT = np.dtype("<f4")
"""Little-endian 32-bit floats, as the search module wants them."""

Scores = npt.NDArray[np.float32]


def packed(vectors: Any, count: int, dims: int) -> list[bytes]:
    r"""Return vectors as bytes.

    Args:
        vectors: the result of an embedding function: a sequence of sequences of numbers.
        count: how many there must be.
        dims: of how many numbers each.

    Raises:
        EmbeddingFailed: there are fewer or more, of another length, or of other things than finite numbers.

    Example:
        >>> packed([[1, 0]], 1, 2)
        [b'\x00\x00\x80?\x00\x00\x00\x00']
    """
    try:
        rows = [list(vector.tolist() if hasattr(vector, "tolist") else vector) for vector in vectors]
    except TypeError as error:
        raise EmbeddingFailed(f"embed must return a list of {count} vectors, got {shown(vectors)}") from error
    if len(rows) != count:
        raise EmbeddingFailed(f"embed must return {count} vectors, one for each text, got {len(rows)}")
    found = []
    for row in rows:
        if len(row) != dims:
            raise EmbeddingFailed(f"embed must return vectors of {dims} numbers, as dims says, got one of {len(row)}")
        if any(isinstance(number, str | bytes | bool) for number in row):
            raise EmbeddingFailed(f"embed must return vectors of numbers, got {shown(row)}")
        try:
            with np.errstate(over="ignore"):
                vector = np.array(row, dtype=np.float64).astype(FLOAT)
        except (TypeError, ValueError, OverflowError) as error:
            raise EmbeddingFailed(f"embed must return vectors of numbers, got {shown(row)}") from error
        if vector.ndim != 1:
            raise EmbeddingFailed(f"embed must return vectors of numbers, got {shown(row)}")
        if not np.isfinite(vector).all():
            raise EmbeddingFailed(
                "embed must return vectors of finite numbers that 32 bits can hold, got NaN or infinity"
            )
        found.append(vector.tobytes())
    return found


def scores(metric: str, query: bytes, vectors: Sequence[bytes]) -> Scores:
    """Compare vectors with a query; the greater the score, the nearer.

    Args:
        metric: ``cosine``, ``ip`` (inner product) or ``l2`` (minus the squared distance).
        query: a vector as bytes.
        vectors: others, of the same length.

    Returns:
        One score for each of ``vectors``. The cosine with a vector of zeros is 0.

    Example:
        >>> one, other = packed([[1, 0], [0, 2]], 2, 2)
        >>> scores("cosine", one, [one, other]).tolist()
        [1.0, 0.0]
    """
    if not vectors:
        return np.zeros(0, np.float32)
    rows = np.frombuffer(b"".join(vectors), FLOAT).reshape(len(vectors), -1)
    return exact_scores(metric, np.frombuffer(query, FLOAT), rows)


def exact_scores(metric: str, query: npt.NDArray[np.float32], rows: npt.NDArray[np.float32]) -> Scores:
    """Compare the rows of a matrix with a query as :func:`scores` does."""
    # In 64 bits, and rounded at the end: equal vectors get equal scores, wherever in the matrix they stand.
    matrix, wanted = rows.astype(np.float64), query.astype(np.float64)
    if metric == "l2":
        found = -np.square(matrix - wanted).sum(axis=1)
    else:
        found = matrix @ wanted
    if metric == "cosine":
        lengths = np.linalg.norm(matrix, axis=1) * np.linalg.norm(wanted)
        found = np.divide(found, lengths, out=np.zeros(len(lengths)), where=lengths > 0)
    with np.errstate(over="ignore"):
        rounded: Scores = found.astype(np.float32)
    return rounded


def are_finite(vectors: Sequence[bytes]) -> list[bool]:
    """Return for each vector whether all its numbers are finite.

    Args:
        vectors: as bytes, of one length.

    Example:
        >>> are_finite([*packed([[1, 0]], 1, 2), bytes([0, 0, 192, 127, 0, 0, 0, 0])])
        [True, False]
    """
    if not vectors:
        return []
    matrix = np.frombuffer(b"".join(vectors), FLOAT).reshape(len(vectors), -1)
    return [bool(row.all()) for row in np.isfinite(matrix)]
