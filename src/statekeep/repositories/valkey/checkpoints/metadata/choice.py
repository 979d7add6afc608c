"""The choice of threads that a filtered listing looks at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from ....operation import Operation
from ...requests import Arg, Call
from ...scripts import script
from .tags import TAG_SIZE, MetadataKeys, query_tag

SCAN: Final = 1000
"""Threads of which a script looks whether an index knows them."""

FEW_CANDIDATES: Final = 100
"""Threads that an index may name, however few there are; more only if that leaves out three of four."""

MOST_CANDIDATES: Final = 10_000
"""Threads that an index may name: they are sorted by time."""


@frozen
class Source:
    """Where a listing finds the threads that may match.

    Attributes:
        keys: of the index that says which; ``None``: the index of a run.
        tag: of the value.
        has_rest: whether there are threads that it lacks, which may match, too.
        run: key of the set of threads of a run.
    """

    keys: MetadataKeys | None = None
    tag: str = ""
    has_rest: bool = False
    run: str = ""

    @property
    def ranges(self) -> list[tuple[str, Arg, Arg, int]]:
        """The key, least and greatest member of indexes, and where a thread begins."""
        if self.keys is None:
            return []
        high = b"(" + self.tag.encode() + b"\xff"  # no UTF-8 text has this byte
        found: list[tuple[str, Arg, Arg, int]] = [(self.keys.by_value, f"[{self.tag}", high, TAG_SIZE)]
        return [*found, (self.keys.rest, "-", "+", 0)] if self.has_rest else found


@frozen
class Chosen:
    """How a filtered listing of all threads goes about it.

    Attributes:
        source: where the threads are named that may match; ``None``: look at all.
        is_behind: whether the indexes lack threads, which they can learn of from who looks at these.
    """

    source: Source | None
    is_behind: bool = False


ALL: Final = Chosen(None)
"""Look at all threads."""


def choose(
    indexes: Sequence[MetadataKeys], by_time: str, metadata: Mapping[str, Any], run_index: str | None
) -> Operation[Chosen]:
    """Choose the index that names the fewest threads, if one names few.

    Args:
        indexes: of the repository.
        by_time: the index of threads by time.
        metadata: the filter.
        run_index: key of the set of threads of the run that the filter names, ``None`` if it names none.
    """
    wanted = [(keys, tag) for keys in indexes if (tag := query_tag(metadata.get(keys.name)))]
    if run_index is None and not wanted:
        return ALL
    total = yield Call(script("read"), [by_time], ["ZCARD"])
    most = min(MOST_CANDIDATES, max(FEW_CANDIDATES, total // 4))
    found: list[tuple[int, Source]] = []
    is_behind = False
    if run_index is not None:
        found.append(((yield Call(script("read"), [run_index], ["SCARD"])), Source(run=run_index)))
    for keys, tag in wanted:
        named, rest = yield from _count(keys, by_time, tag)
        is_behind = is_behind or rest > 0
        found.append((named + rest, Source(keys, tag, has_rest=rest > 0)))
    count, source = min(found, key=lambda pair: pair[0])
    return Chosen(source if count <= most else None, is_behind)


def _count(keys: MetadataKeys, by_time: str, tag: str) -> Operation[tuple[int, int]]:
    """Count the threads that an index names for a tag, and those that it lacks."""
    start = b""
    while True:
        start, named, rest = yield Call(
            script("checkpoints/find_unindexed"),
            [by_time, keys.whole, keys.rest, keys.until, keys.by_value],
            [keys.name, start, str(SCAN), tag],
        )
        if not start:
            return named, rest
