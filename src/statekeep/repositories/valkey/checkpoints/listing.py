"""Listings of checkpoints, page by page."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence, Set
from itertools import accumulate, takewhile
from operator import itemgetter
from typing import Any, Final

from attrs import evolve, field, frozen

from ....domain import CheckpointQuery, CorruptRecord, SavedCheckpoint, Thread, tagged_json
from ....domain.lineage import run_of
from ...operation import Operation, Page
from ..chunks import Row, chunks
from ..codecs import belongs
from ..keys import decode_text, encode_part
from ..requests import Call, Commands, Reply
from ..scripts import script
from .get import Ref, read, read_fields, records_keys
from .keys import run_key, thread_index_keys
from .metadata.choice import ALL, Chosen, choose
from .metadata.index import Settled, settle
from .metadata.tags import tags_of
from .settings import CheckpointSettings
from .threads import SCAN, least_age, list_namespaces, list_threads, score_of, threads_in

PAGE = 20
"""Checkpoints read at once: their values may be large."""

FIRST = 100
"""Checkpoints of each of many threads whose metadata is read together; those behind them are read by themselves."""

FEW_THREADS = 16
"""Threads of which checkpoints are looked at together at first: the first may be all that is asked for."""

MANY_THREADS = 125
"""The same, later on."""

FILTERED_PAGES = 5
"""Pages of threads that a filtered listing reads together behind the first."""


@frozen
class Round:
    """A round through all threads.

    Those updated meanwhile move to the front, and are read again.

    Attributes:
        seen: the threads that were listed, or are in the queue; added to as the listing goes on.
        newest: when the first thread of this round was updated.
        until: where this round ends: when the first thread of the round before was updated.
        found: whether this round met threads that were not seen before.
    """

    seen: set[str]
    newest: dt.datetime
    until: dt.datetime | None = None
    found: bool = False


@frozen
class Looked:
    """The checkpoints of a thread that a filtered listing found, see :class:`Cursor`."""

    thread_id: str
    bounds: Mapping[str, str]
    ready: Sequence[Ref]


@frozen
class Cursor:
    """The position of a listing.

    Attributes:
        left: how many checkpoints may still be listed; ``None`` for all.
        thread_id: the thread being listed; empty before the first.
        bounds: per namespace that may have more, the upper limit of its ids: ``"+"``, ``"(ID"`` or ``"[ID"``.
        ready: checkpoints that were found but not handed out yet.
        reply: what the server said about these, if they were read already.
        queue: in a listing of all threads, those to come next.
        after: the thread behind which the queue is filled again.
        last_thread: whether no thread is left behind the queue.
        round: of what this listing has seen of the threads, if they take more than one page.
        chosen: how the threads of a filtered listing are found.
        width: how many of them are looked at together.
        looked: those that were, and come before the queue.
    """

    left: int | None
    thread_id: str = ""
    bounds: Mapping[str, str] = field(factory=dict)
    ready: Sequence[Ref] = ()
    reply: Reply = None
    queue: Sequence[Thread] = ()
    after: Thread | None = None
    last_thread: bool = False
    round: Round | None = None
    chosen: Chosen = ALL
    width: int = FEW_THREADS
    looked: Sequence[Looked] = ()


def list_checkpoints(
    settings: CheckpointSettings, query: CheckpointQuery, cursor: Cursor | None
) -> Operation[Page[SavedCheckpoint]]:
    """Read one page of checkpoints, newest first."""
    if cursor is None:
        cursor = Cursor(query.limit, last_thread=query.thread_id is not None)
        if query.metadata and query.thread_id is None and query.limit != 0:
            cursor = evolve(cursor, chosen=(yield from _choose_index(settings, query.metadata)))
    while cursor.left != 0:
        if cursor.ready:
            size = PAGE if cursor.left is None else min(PAGE, cursor.left)
            found = yield from read(settings, cursor.thread_id, cursor.ready[:size], cursor.reply)
            # Checkpoints listed by a filter may have been replaced since.
            found = [checkpoint for checkpoint in found if query.matches(checkpoint.metadata)]
            left = None if cursor.left is None else cursor.left - len(found)
            cursor = evolve(cursor, ready=cursor.ready[size:], reply=None, left=left)
            if found:
                return Page(found, _unless_ended(cursor))
        elif cursor.bounds:
            cursor = yield from _find(settings, query, cursor)
        elif cursor.looked:
            first, *others = cursor.looked
            cursor = evolve(
                cursor, thread_id=first.thread_id, bounds=first.bounds, ready=first.ready, looked=others, reply=None
            )
        elif cursor.queue and query.metadata and query.thread_id is None and query.checkpoint_id is None:
            cursor = yield from _look(settings, query, cursor)
        elif cursor.queue or (query.thread_id is not None and not cursor.thread_id):
            cursor = yield from _begin_thread(settings, query, cursor)
        elif not cursor.last_thread:
            cursor = yield from _more_threads(settings, query, cursor)
        else:
            break
    return Page(())


def _unless_ended(cursor: Cursor) -> Cursor | None:
    ended = cursor.left == 0 or not (
        cursor.ready or cursor.bounds or cursor.looked or cursor.queue or not cursor.last_thread
    )
    return None if ended else cursor


def _more_threads(settings: CheckpointSettings, query: CheckpointQuery, cursor: Cursor) -> Operation[Cursor]:
    """Refill the queue of threads."""
    if cursor.chosen.source is not None:
        page = yield from threads_in(settings, cursor.chosen.source, cursor.after)
    else:
        # Of those that a filter leaves out nothing is read but metadata.
        pages = FILTERED_PAGES if query.metadata and cursor.after else 1
        page = yield from list_threads(settings, "", cursor.after, None, pages=pages)
    if cursor.round is None and page.cursor is None:
        return evolve(cursor, queue=page.items, last_thread=True)
    this = cursor.round or Round(set(), page.items[0].updated_at)
    if cursor.after is None and page.items:
        this = evolve(this, newest=page.items[0].updated_at)
    queue = [thread for thread in page.items if thread.thread_id not in this.seen]
    this.seen.update(thread.thread_id for thread in queue)
    this = evolve(this, found=this.found or bool(queue))
    if page.cursor is not None and (this.until is None or page.items[-1].updated_at > this.until):
        return evolve(cursor, queue=queue, after=page.cursor, round=this)
    following = evolve(this, until=this.newest, found=False)
    return evolve(cursor, queue=queue, after=None, last_thread=not this.found, round=following)


def _choose_index(settings: CheckpointSettings, metadata: Mapping[str, Any]) -> Operation[Chosen]:
    """Find out how to come by the threads that match."""
    run_id = run_of(metadata)
    run_index = run_key(settings.prefix, run_id) if run_id else None
    by_time = thread_index_keys(settings.prefix)[0]
    return choose(settings.metadata_keys, by_time, metadata, run_index)


def _begin_thread(settings: CheckpointSettings, query: CheckpointQuery, cursor: Cursor) -> Operation[Cursor]:
    """Go on to the next thread."""
    thread_id = query.thread_id if query.thread_id is not None else cursor.queue[0].thread_id
    cursor = evolve(cursor, thread_id=thread_id, queue=cursor.queue[1:])
    if query.checkpoint_id is not None:
        if query.before is not None and query.checkpoint_id >= query.before:
            return cursor
        if query.namespace is not None:
            namespaces = [query.namespace]
        else:
            namespaces = yield from list_namespaces(settings, thread_id)
        return evolve(cursor, ready=[Ref(namespace, query.checkpoint_id) for namespace in namespaces])
    return (yield from _find_newest(settings, query, cursor))


def _find_newest(settings: CheckpointSettings, query: CheckpointQuery, cursor: Cursor) -> Operation[Cursor]:
    """Find the first checkpoints of the thread; read them too if they were guessed."""
    # Most threads have just the root namespace: its ids come with the list of namespaces.
    namespace = query.namespace or ""
    keys, step = settings.keys(cursor.thread_id, namespace), _step(query, cursor)
    expected = () if query.metadata else settings.recent_ids.before(keys, query.before, step)
    top = f"({query.before}" if query.before is not None else "+"
    ids, names, reply = yield Call(
        script("checkpoints/page"),
        [
            keys.checkpoints,
            *records_keys(keys, [keys.checkpoint(checkpoint_id) for checkpoint_id in expected]),
            *([keys.namespaces] if query.namespace is None else ()),
        ],
        [str(step), top, *map(encode_part, expected)],
    )
    if query.namespace is None:
        namespaces = sorted(decode_text(name, keys.namespaces) for name in names)
        if namespaces != [""]:
            return evolve(cursor, bounds=dict.fromkeys(namespaces, top))
    cursor = yield from _choose(settings, query, evolve(cursor, bounds={namespace: top}), {namespace: ids})
    if query.before is None and not query.metadata:
        settings.recent_ids.listed(keys, [ref.checkpoint_id for ref in cursor.ready], whole=not cursor.bounds)
    return evolve(cursor, reply=reply or None)


def _step(query: CheckpointQuery, cursor: Cursor) -> int:
    if query.metadata:
        return SCAN
    return PAGE if cursor.left is None else min(PAGE, cursor.left)


def _find(settings: CheckpointSettings, query: CheckpointQuery, cursor: Cursor) -> Operation[Cursor]:
    """Find the next checkpoints of the thread in its namespaces' indexes."""
    found: dict[str, Sequence[bytes]] = {}
    for namespaces in chunks(list(cursor.bounds)):
        indexes = [settings.keys(cursor.thread_id, namespace).checkpoints for namespace in namespaces]
        bounds = [cursor.bounds[namespace] for namespace in namespaces]
        reply = yield Call(script("checkpoints/ids"), indexes, [str(_step(query, cursor)), *bounds])
        found.update(zip(namespaces, reply, strict=True))
    return (yield from _choose(settings, query, cursor, found))


def _choose(
    settings: CheckpointSettings, query: CheckpointQuery, cursor: Cursor, found: dict[str, Sequence[bytes]]
) -> Operation[Cursor]:
    """Merge the namespaces' ids, newest first; keep those whose metadata matches."""
    refs, bounds = _merge(settings, cursor.thread_id, found, _step(query, cursor))
    if query.metadata:
        records = [settings.keys(cursor.thread_id, ref.namespace).checkpoint(ref.checkpoint_id) for ref in refs]
        table = yield from read_fields(records, METADATA)
        refs = [ref for ref, key, row in zip(refs, records, table, strict=True) if _fits(query, key, row)]
    return evolve(cursor, ready=refs, bounds=bounds)


def _merge(
    settings: CheckpointSettings, thread_id: str, found: Mapping[str, Sequence[bytes]], step: int
) -> tuple[list[Ref], dict[str, str]]:
    """Return the newest checkpoints of a thread, and the bounds behind them.

    Args:
        settings: of the repository.
        thread_id: the thread.
        found: up to ``step`` of the newest ids of each namespace.
        step: how many to return.
    """
    keys = {namespace: settings.keys(thread_id, namespace) for namespace in sorted(found)}
    merged = [(name, namespace) for namespace in keys for name in found[namespace]]
    if len(keys) > 1:
        # UTF-8 sorts as the text does, so bytes can be compared as they are.
        merged.sort(key=itemgetter(0), reverse=True)
    refs = [Ref(namespace, decode_text(name, keys[namespace].checkpoints)) for name, namespace in merged[:step]]
    counts = Counter(ref.namespace for ref in refs)
    # Every namespace goes on behind the last of all: what is put meanwhile into one of them must not come too late.
    bounds = {
        namespace: f"{'[' if namespace > refs[-1].namespace else '('}{refs[-1].checkpoint_id}"
        for namespace, ids in found.items()
        if not counts[namespace] == len(ids) < step
    }
    return refs, bounds


METADATA: Final = ("metadata", "pk")


def _fits(query: CheckpointQuery, key: str, row: Row) -> bool:
    metadata, pk = row
    if metadata is None or not belongs(pk, key):
        return True  # reading it finds out what it is
    return query.matches(_decoded(metadata, key))


def _decoded(metadata: bytes, key: str) -> dict[str, Any]:
    try:
        decoded = tagged_json.loads(metadata.decode())
        if not isinstance(decoded, dict):
            raise ValueError("it is no object")
    except (ValueError, RecursionError) as error:
        raise CorruptRecord(f"metadata is damaged: {error}", key=key) from error
    return decoded


# -- many threads


def _look(settings: CheckpointSettings, query: CheckpointQuery, cursor: Cursor) -> Operation[Cursor]:
    """Look at the metadata of the next threads' newest checkpoints together."""
    threads = cursor.queue[: cursor.width]
    top = f"({query.before}" if query.before is not None else "+"
    found = yield from _newest_ids(settings, [thread.thread_id for thread in threads], query.namespace, top)
    merged = [_merge(settings, thread.thread_id, found[thread.thread_id], FIRST) for thread in threads]
    sizes = accumulate(len(refs) for refs, _ in merged)
    count = max(1, sum(1 for _ in takewhile(lambda size: size <= SCAN, sizes)))
    threads, merged = threads[:count], merged[:count]
    records = [
        settings.keys(thread.thread_id, ref.namespace).checkpoint(ref.checkpoint_id)
        for thread, (refs, _) in zip(threads, merged, strict=True)
        for ref in refs
    ]
    looked: list[Looked] = []
    seen: list[tuple[Thread, list[str], list[Row]]] = []
    rows = yield from _read_anywhere(settings, records)
    at = 0
    for thread, (refs, bounds) in zip(threads, merged, strict=True):
        own = list(zip(refs, records[at : at + len(refs)], rows[at : at + len(refs)], strict=True))
        at += len(refs)
        ready = [ref for ref, key, row in own if _fits(query, key, row)]
        if ready or bounds:
            looked.append(Looked(thread.thread_id, bounds, ready))
        if refs and not bounds:
            seen.append((thread, [key for _, key, _ in own], [row for _, _, row in own]))
    if query.namespace is None and query.before is None:
        yield from _teach(settings, cursor.chosen, seen, {thread.thread_id for thread in looked})
    width = min(max(2 * count, FEW_THREADS), MANY_THREADS)
    return evolve(cursor, queue=cursor.queue[len(threads) :], looked=looked, width=width)


def _newest_ids(
    settings: CheckpointSettings, thread_ids: Sequence[str], namespace: str | None, top: str
) -> Operation[dict[str, dict[str, Sequence[bytes]]]]:
    """Read the newest ids of all namespaces of threads, or of one of each."""
    found: dict[str, dict[str, Sequence[bytes]]] = {thread_id: {} for thread_id in thread_ids}
    others = [(thread_id, namespace or "") for thread_id in thread_ids]
    if namespace is None:
        # Most threads have just the root namespace: its ids come with the list of namespaces.
        roots = [settings.keys(thread_id, "") for thread_id in thread_ids]
        if settings.cluster:
            replies = yield Commands(
                [
                    command
                    for keys in roots
                    for command in (["ZRANGE", keys.namespaces, "0", "-1"], _newest_of(keys.checkpoints, top))
                ]
            )
        else:
            names = [key for keys in roots for key in (keys.namespaces, keys.checkpoints)]
            replies = yield Call(script("checkpoints/namespaces_and_ids"), names, [str(FIRST), top])
        others = []
        for keys, listed, ids in zip(roots, replies[::2], replies[1::2], strict=True):
            for name in sorted(decode_text(text, keys.namespaces) for text in listed):
                if name:
                    others.append((keys.thread_id, name))
                else:
                    found[keys.thread_id][""] = ids
    for some in chunks(others):
        indexes = [settings.keys(*pair).checkpoints for pair in some]
        if settings.cluster:
            reply = yield Commands([_newest_of(index, top) for index in indexes])
        else:
            reply = yield Call(script("checkpoints/ids"), indexes, [str(FIRST), *[top] * len(indexes)])
        for (thread_id, name), ids in zip(some, reply, strict=True):
            found[thread_id][name] = ids
    return found


def _newest_of(index: str, top: str) -> list[str]:
    return ["ZREVRANGEBYLEX", index, top, "-", "LIMIT", "0", str(FIRST)]


def _read_anywhere(settings: CheckpointSettings, records: Sequence[str]) -> Operation[list[Row]]:
    """Read the metadata of records of any threads, 1,000 at a time."""
    if not settings.cluster:
        return (yield from read_fields(records, METADATA))
    rows: list[Row] = []
    for some in chunks(records, SCAN):
        rows += yield Commands([["HMGET", record, *METADATA] for record in some])
    return rows


def _teach(
    settings: CheckpointSettings,
    chosen: Chosen,
    seen: Sequence[tuple[Thread, Sequence[str], Sequence[Row]]],
    matching: Set[str],
) -> Operation[None]:
    """Let the indexes of metadata know what threads have.

    That is for threads that they lack, and for those that they name for nothing.

    Args:
        settings: of the repository.
        chosen: how the threads were found.
        seen: threads with all of their records, and what these hold.
        matching: those of them that match the filter.
    """
    source = chosen.source
    if source is not None:
        seen = [some for some in seen if some[0].thread_id not in matching] if source.keys is not None else []
    elif not chosen.is_behind:
        return
    settled: list[list[Settled]] = [[] for _ in settings.metadata_keys]
    for thread, records, rows in seen:
        if any(metadata is None or not belongs(pk, key) for key, (metadata, pk) in zip(records, rows, strict=True)):
            continue
        decoded = [_decoded(row[0] or b"", key) for key, row in zip(records, rows, strict=True)]
        tags = [tags_of(settings.metadata_keys, metadata) for metadata in decoded]
        for keys, of_name, found in zip(settings.metadata_keys, settled, zip(*tags, strict=True), strict=True):
            there = set(filter(None, found))
            gone = [source.tag] if source and source.keys == keys and source.tag not in there else []
            of_name.append(Settled(thread.thread_id, str(score_of(thread)), sorted(there), gone))
    by_time = thread_index_keys(settings.prefix)[0]
    for keys, of_name in zip(settings.metadata_keys, settled, strict=True):
        yield from settle(keys, by_time, of_name, least_age(settings))
