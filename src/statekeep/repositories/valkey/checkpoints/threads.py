"""Threads: their index, and their namespaces."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from ....domain import CorruptRecord, Thread
from ....domain.shown import shown
from ...operation import Operation, Page
from ..chunks import chunks
from ..keys import decode_text
from ..requests import Arg, Call, Commands
from ..scripts import script
from .keys import run_key, thread_index_keys, thread_key
from .metadata.choice import Source
from .metadata.index import forget_threads
from .settings import CheckpointSettings

SCAN = 1000
"""Checkpoints whose metadata is read in one step of a filtered listing."""

THREADS = 100
"""Threads read in one step."""

PREFIXED_THREADS = 10_000
"""Threads in one page of a prefix; each page sorts all that have the prefix."""

GRACE_US = 60_000_000
"""Microseconds for which a thread without checkpoints stays indexed: a put may come."""


def least_age(settings: CheckpointSettings) -> int:
    """Return the microseconds before indexes of metadata are mended by a thread.

    In a cluster, they hear of a put before it is done.
    """
    return GRACE_US if settings.cluster else 0


EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def list_namespaces(settings: CheckpointSettings, thread_id: str) -> Operation[list[str]]:
    """Return the namespaces of a thread, in order."""
    key = thread_key(settings.prefix, thread_id)
    names = yield Call(script("read"), [key], ["ZRANGE", "0", "-1"])
    return sorted(decode_text(name, key) for name in names)


def list_threads(
    settings: CheckpointSettings, prefix: str, after: Thread | None, limit: int | None, *, pages: int = 1
) -> Operation[Page[Thread]]:
    """Read one page of threads, the most recently updated first; or several together."""
    if limit == 0:
        return Page(())
    while True:
        if prefix:
            candidates, last = yield from _threads_with_prefix(settings, prefix, after, limit)
        else:
            candidates, last = yield from _recent_threads(
                settings, after, pages * THREADS if limit is None else min(limit, THREADS)
            )
        alive = yield from _alive(settings, candidates)
        if alive or last:
            return Page(alive, None if last or not candidates else candidates[-1])
        after = candidates[-1]


def _thread(settings: CheckpointSettings, name: bytes, score: bytes) -> Thread:
    key = thread_index_keys(settings.prefix)[0]
    thread_id = decode_text(name, key)
    try:
        updated_at = EPOCH + dt.timedelta(microseconds=round(float(score)))
    except (ValueError, OverflowError) as error:
        raise CorruptRecord(f"not a time of thread {shown(thread_id)}: {shown(score)}", key=key) from error
    return Thread.trusted(thread_id=thread_id, updated_at=updated_at)


def score_of(thread: Thread) -> int:
    """Return the score of a thread in the index by time: microseconds since 1970."""
    return (thread.updated_at - EPOCH) // dt.timedelta(microseconds=1)


def _recent_threads(
    settings: CheckpointSettings, after: Thread | None, size: int
) -> Operation[tuple[list[Thread], bool]]:
    top = "+inf" if after is None else str(score_of(after))
    offset, found = 0, list[Thread]()
    # One more shows whether there are more; before it comes the last one, if nobody was as late as that.
    count = size + 1 if after is None else size + 2
    while True:
        arguments = ["ZREVRANGEBYSCORE", top, "-inf", "WITHSCORES", "LIMIT", str(offset), str(count)]
        reply = yield Call(script("read"), thread_index_keys(settings.prefix)[:1], arguments)
        threads = [_thread(settings, name, score) for name, score in chunks(reply, 2)]
        found += [thread for thread in threads if after is None or _order(thread) < _order(after)]
        if len(found) > size:
            return found[:size], False
        if len(threads) < count:
            return found, True
        offset += len(threads)


def _order(thread: Thread) -> tuple[dt.datetime, str]:
    return thread.updated_at, thread.thread_id


def _threads_with_prefix(
    settings: CheckpointSettings, prefix: str, after: Thread | None, limit: int | None
) -> Operation[tuple[list[Thread], bool]]:
    by_name = thread_index_keys(settings.prefix)[1]
    # No UTF-8 text has a byte 0xFF.
    names = _members(by_name, f"[{prefix}", b"(" + prefix.encode() + b"\xff", 0)
    size = PREFIXED_THREADS if limit is None else min(limit, PREFIXED_THREADS)
    found, _ = yield from _latest(settings, [names], after, size + 1)
    return found[:size], len(found) <= size


def _members(key: str, low: Arg, high: Arg, cut: int) -> Callable[[], Operation[Sequence[bytes]]]:
    """Return a reader of the names of threads in an index.

    Each call reads some, and none at the end.

    Args:
        key: of the index, whose members have the score 0.
        low: the least member, for ZRANGEBYLEX.
        high: the greatest.
        cut: the number of bytes of a member before the name.
    """
    start: Arg | None = low

    def following() -> Operation[Sequence[bytes]]:
        nonlocal start
        if start is None:
            return ()
        members = yield Call(script("read"), [key], ["ZRANGEBYLEX", start, high, "LIMIT", "0", str(SCAN)])
        start = b"(" + members[-1] if len(members) == SCAN else None
        return [member[cut:] for member in members]

    return following


def _latest(
    settings: CheckpointSettings,
    readers: Iterable[Callable[[], Operation[Sequence[bytes]]]],
    after: Thread | None,
    count: int,
) -> Operation[tuple[list[Thread], list[str]]]:
    """Return the last updated of some threads, and those that no index has.

    However many there are, no more than ``count`` and one page are in memory, and of the others as many.
    """
    by_time = thread_index_keys(settings.prefix)[0]
    found: dict[str, Thread] = {}
    gone: list[str] = []
    for reader in readers:
        while names := (yield from reader()):
            scores = yield Call(script("read"), [by_time], ["ZMSCORE", *names])
            for name, score in zip(names, scores, strict=True):
                if score is not None:
                    thread = _thread(settings, name, score)
                    if after is None or _order(thread) < _order(after):
                        found[thread.thread_id] = thread
                elif len(gone) < count:
                    gone.append(decode_text(name, by_time))
            if len(found) > count:
                found = {thread.thread_id: thread for thread in heapq.nlargest(count, found.values(), key=_order)}
    return sorted(found.values(), key=_order, reverse=True), gone


def threads_in(settings: CheckpointSettings, source: Source, after: Thread | None) -> Operation[Page[Thread]]:
    """Read one page of the threads that an index names, the last updated first."""
    readers = [_members(*some) for some in source.ranges]
    if source.run:
        readers.append(_members_of_set(source.run))
    found, gone = yield from _latest(settings, readers, after, PREFIXED_THREADS + 1)
    if gone and source.keys is not None:
        yield from forget_threads(settings.metadata_keys, thread_index_keys(settings.prefix)[0], gone)
    is_last = len(found) <= PREFIXED_THREADS
    found = found[:PREFIXED_THREADS]
    return Page(found, None if is_last else found[-1])


def _members_of_set(key: str) -> Callable[[], Operation[Sequence[bytes]]]:
    is_read = False

    def following() -> Operation[Sequence[bytes]]:
        nonlocal is_read
        if is_read:
            return ()
        is_read = True
        names: Sequence[bytes] = yield Call(script("read"), [key], ["SMEMBERS"])
        return names

    return following


def _alive(settings: CheckpointSettings, threads: Sequence[Thread]) -> Operation[list[Thread]]:
    """Return the threads that have checkpoints, and drop the others from the index."""
    if not threads:
        return []
    counts: list[int] = []
    for chunk in chunks(threads):
        counts += yield Commands(
            [("ZCOUNT", thread_key(settings.prefix, thread.thread_id), "1", "1") for thread in chunk]
        )
    dead = [thread for thread, count in zip(threads, counts, strict=True) if not count]
    yield from drop_threads(settings, dead, GRACE_US)
    return [thread for thread, count in zip(threads, counts, strict=True) if count]


def drop_threads(settings: CheckpointSettings, threads: Sequence[Thread], age_us: int) -> Operation[None]:
    """Drop threads from the index.

    Those updated since, or within ``age_us`` microseconds, stay.
    """
    for chunk in chunks(threads):
        pairs = [argument for thread in chunk for argument in (thread.thread_id, str(score_of(thread)))]
        yield Call(script("checkpoints/unindex_threads"), thread_index_keys(settings.prefix), [str(age_us), *pairs])
        yield from forget_metadata(settings, [thread.thread_id for thread in chunk])


def forget_metadata(settings: CheckpointSettings, thread_ids: Sequence[str]) -> Operation[None]:
    """Let the indexes of metadata forget threads that are gone."""
    yield from forget_threads(settings.metadata_keys, thread_index_keys(settings.prefix)[0], thread_ids)


def drop_ended(settings: CheckpointSettings, ended: Sequence[bytes]) -> Operation[None]:
    """Drop threads that have ended from the index; note when the others will.

    Args:
        settings: of the repository.
        ended: names of threads that may have ended, each with the time of its last update.
    """
    threads: list[Thread] = []
    for name, score in chunks(ended, 2):
        with suppress(CorruptRecord):  # a listing says so; here it is none of the caller's
            threads.append(_thread(settings, name, score))
    if not threads:
        return
    keys = [thread_key(settings.prefix, thread.thread_id) for thread in threads]
    counts = yield Commands([("ZCOUNT", key, "1", "1") for key in keys])
    yield from drop_threads(
        settings, [thread for thread, count in zip(threads, counts, strict=True) if not count], GRACE_US
    )
    alive = [(thread, key) for thread, key, count in zip(threads, keys, counts, strict=True) if count]
    if not alive:
        return
    ends = yield Commands([("PEXPIRETIME", key) for _, key in alive])
    by_end = thread_index_keys(settings.prefix)[2]
    yield Commands(
        [
            ("ZADD", by_end, "XX", str(end), thread.thread_id) if end > 0 else ("ZREM", by_end, thread.thread_id)
            for (thread, _), end in zip(alive, ends, strict=True)
            if end != -2
        ]
    )


def find_thread(settings: CheckpointSettings, thread_id: str) -> Operation[Thread | None]:
    """Return the thread's entry in the index."""
    score = yield Call(script("read"), thread_index_keys(settings.prefix)[:1], ["ZSCORE", thread_id])
    return None if score is None else _thread(settings, thread_id.encode(), score)


def threads_of_run(settings: CheckpointSettings, run_id: str) -> Operation[list[str]]:
    """Return the threads in which a run put checkpoints."""
    key = run_key(settings.prefix, run_id)
    names = yield Call(script("read"), [key], ["SMEMBERS"])
    return sorted(decode_text(name, key) for name in names)
