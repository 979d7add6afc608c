"""Changes of the indexes of metadata, other than those by a put."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

from attrs import frozen

from ....operation import Operation
from ...chunks import chunks
from ...requests import Arg, Call, Commands
from ...scripts import script
from .tags import TAG_SIZE, MetadataKeys

TAGS: Final = 10
"""Tags of each thread that are read in one step."""

SETTLED: Final = 100
"""Threads that a script settles at most."""


ANY_TIME: Final = "*"


@frozen
class Settled:
    """The values of a thread that an index is to know.

    Attributes:
        thread_id: the thread.
        seen: the time of its last update when it was looked at; empty: it was not in the index of threads;
            :data:`ANY_TIME`: the same whenever that was, and there may be others.
        found: tags of values that it has.
        gone: tags of values that it has not.
    """

    thread_id: str
    seen: Arg
    found: Collection[str] = ()
    gone: Collection[str] = ()


def settle(keys: MetadataKeys, by_time: str, threads: Iterable[Settled], least_age: int) -> Operation[None]:
    """Make an index know of threads what was seen, unless they were updated since.

    Args:
        keys: of the index.
        by_time: the index of threads by time.
        threads: what was seen. Of ``gone`` tags there are at most some hundreds.
        least_age: microseconds for which a thread must have been left alone.
    """
    for some in chunks(list(threads), SETTLED):
        arguments: list[Arg] = [str(least_age)]
        for thread in some:
            arguments += [thread.thread_id, thread.seen, str(len(thread.found)), str(len(thread.gone))]
            arguments += [*thread.found, *thread.gone]
        yield Call(
            script("checkpoints/settle_metadata"),
            [by_time, keys.by_value, keys.by_thread, keys.whole, keys.rest],
            arguments,
        )


def _beginning(thread_id: str) -> str:
    """Return what the members of the index by thread begin with: no other thread's do."""
    return f"{len(thread_id.encode())}:{thread_id}"


def tags_of_threads(
    keys: MetadataKeys, thread_ids: Sequence[str], *, size: int = TAGS
) -> Operation[list[tuple[str, list[str]]]]:
    """Read tags of threads: up to ``size`` of each."""
    names = [_beginning(thread_id).encode() for thread_id in thread_ids]
    replies = yield Commands(
        [["ZRANGEBYLEX", keys.by_thread, b"[" + name, b"(" + name + b"\xff", "LIMIT", "0", str(size)] for name in names]
    )
    return [
        (thread_id, [member[-TAG_SIZE:].decode(errors="replace") for member in members])
        for thread_id, members in zip(thread_ids, replies, strict=True)
    ]


def forget_threads(indexes: Sequence[MetadataKeys], by_time: str, thread_ids: Sequence[str]) -> Operation[None]:
    """Let the indexes forget threads, unless the index of threads has them."""
    for keys in indexes:
        left = list(thread_ids)
        while left:
            found: list[tuple[str, list[str]]] = []
            for some in chunks(left, SETTLED):
                found += yield from tags_of_threads(keys, some)
            yield from settle(keys, by_time, [Settled(thread_id, "", gone=tags) for thread_id, tags in found], 0)
            left = [thread_id for thread_id, tags in found if len(tags) == TAGS]
            if left:
                scores = yield Call(script("read"), [by_time], ["ZMSCORE", *left])
                left = [thread_id for thread_id, score in zip(left, scores, strict=True) if score is None]
