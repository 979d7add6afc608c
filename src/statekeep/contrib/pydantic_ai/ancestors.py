"""The entries before an entry, so that a history is read in few steps.

A history is a chain: each entry names its parent. Read so, a thousand entries are a thousand round trips. So an entry
also names some of those before it. Its *depth* is the number of entries up to itself, and :func:`depths` says which
ones it names: all of its own block of 32, the ends of the blocks of its own block of blocks, and so on. All that are
named name others: from one entry, the 32 before it are known at once, 1,024 in two steps, 32,768 in three. An entry
names 31 others for each of these steps at most.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from functools import lru_cache
from typing import Final
from uuid import UUID

from attrs import frozen

BLOCK: Final = 32
"""Entries of a block, and blocks of a block of blocks."""


@lru_cache(4096)
def depths(depth: int) -> tuple[int, ...]:
    """Return the depths of the entries that one of this depth names, nearest first.

    >>> depths(4), depths(34), depths(1 + 3 * 1024)
    ((3, 2, 1), (33, 32), (3072, 2048, 1024))
    """
    found: list[int] = []
    last, step = depth - 1, 1
    while last > 0:
        begin = last // (step * BLOCK) * (step * BLOCK)
        found += range(last, begin, -step)
        last, step = begin, step * BLOCK
    return tuple(found)


@frozen
class Place:
    """An entry's place in its history.

    Attributes:
        depth: how many entries there are up to it; 1 for the first.
        line: ids of entries before it, each :func:`packed`, in the order of :func:`depths`.
    """

    depth: int
    line: Sequence[str]

    def near(self, above: int = 0) -> Sequence[str]:
        """Return the packed ids of those whose depths are greater than ``above``."""
        if not above:
            return self.line
        return [name for depth, name in zip(depths(self.depth), self.line, strict=True) if depth > above]


FIRST: Final = Place(1, ())
"""The place of the first entry of a history."""


def behind(parent: Place, name: str) -> Place:
    """Return the place of the entry after another.

    Args:
        parent: the place of the other.
        name: the id of the other.

    >>> behind(behind(FIRST, "a"), "b").line
    ('=b', '=a')
    """
    names = dict(zip(depths(parent.depth), parent.line, strict=True)) | {parent.depth: packed(name)}
    return Place(parent.depth + 1, tuple(names[depth] for depth in depths(parent.depth + 1)))


def packed(name: str) -> str:
    """Return an id for a line: a UUID takes 22 characters there instead of 36.

    >>> packed("0198c3f6-8f3f-7f27-a1f9-3e2f7ad1c3d4"), packed("first")
    ('AZjD9o8_fyeh-T4vetHD1A', '=first')
    """
    try:
        uuid = UUID(name)
    except ValueError:
        return f"={name}"
    return urlsafe_b64encode(uuid.bytes)[:22].decode() if str(uuid) == name else f"={name}"


def unpacked(text: str) -> str:
    """Return the id that :func:`packed` packed.

    Raises:
        ValueError: it packed no such thing.

    >>> unpacked(packed("0198c3f6-8f3f-7f27-a1f9-3e2f7ad1c3d4")), unpacked("=first")
    ('0198c3f6-8f3f-7f27-a1f9-3e2f7ad1c3d4', 'first')
    """
    if text.startswith("="):
        return text[1:]
    try:
        return str(UUID(bytes=urlsafe_b64decode(f"{text}==")))
    except binascii.Error as error:
        raise ValueError(f"no id: {text!r:.80}") from error
