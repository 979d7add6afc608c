"""A model for tests: texts become vectors that a reader can work out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

__all__ = ["DIMS", "letter_counts"]

DIMS: Final = 26
"""Length of the vectors: one number for each letter from a to z."""


def letter_counts(texts: Sequence[str]) -> list[list[float]]:
    """Return how often each letter from a to z is in each of the texts.

    Capital letters count as small ones.

    A text without such letters becomes a vector of zeros, which has no direction to compare.

    Example:
        >>> [vector] = letter_counts(["Abba!"])
        >>> vector[:3], sum(vector)
        ([2.0, 2.0, 0.0], 4.0)
        >>> import statekeep
        >>> keep = statekeep.connect("memory:", index={"dims": DIMS, "embed": letter_counts, "fields": ["text"]})
        >>> for key, text in (("1", "aaa"), ("2", "aab"), ("3", "b")):
        ...     item = keep.items.put(("n",), key, {"text": text})
        >>> [found.key for found in keep.items.search(query="b", limit=2)]
        ['3', '2']
    """
    return [[float(text.lower().count(chr(ord("a") + place))) for place in range(DIMS)] for text in texts]
