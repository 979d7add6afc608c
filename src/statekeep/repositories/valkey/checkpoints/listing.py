"""Listings of checkpoints, page by page."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter

from attrs import evolve, field, frozen

from ....domain import CheckpointQuery, CorruptRecord, SavedCheckpoint, Thread, tagged_json
from ...operation import Operation, Page
from ..chunks import chunks
from ..codecs import belongs
from ..keys import decode_text, encode_part
from ..requests import Call, Reply
from ..scripts import script
from .get import Ref, read, read_fields, records_keys
from .settings import CheckpointSettings
from .threads import SCAN, list_namespaces, list_threads

PAGE = 20
"""Checkpoints read at once: their values may be large."""


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


def list_checkpoints(
    settings: CheckpointSettings, query: CheckpointQuery, cursor: Cursor | None
) -> Operation[Page[SavedCheckpoint]]:
    """Read one page of checkpoints, newest first."""
    if cursor is None:
        cursor = Cursor(query.limit, last_thread=query.thread_id is not None)
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
        elif cursor.queue or (query.thread_id is not None and not cursor.thread_id):
            cursor = yield from _begin_thread(settings, query, cursor)
        elif not cursor.last_thread:
            cursor = yield from _more_threads(settings, cursor)
        else:
            break
    return Page(())


def _unless_ended(cursor: Cursor) -> Cursor | None:
    ended = cursor.left == 0 or not (cursor.ready or cursor.bounds or cursor.queue or not cursor.last_thread)
    return None if ended else cursor


def _more_threads(settings: CheckpointSettings, cursor: Cursor) -> Operation[Cursor]:
    """Refill the queue of threads."""
    page = yield from list_threads(settings, "", cursor.after, None)
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
    step = _step(query, cursor)
    keys = {namespace: settings.keys(cursor.thread_id, namespace) for namespace in sorted(found)}
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
    if query.metadata:
        records = [keys[ref.namespace].checkpoint(ref.checkpoint_id) for ref in refs]
        table = yield from read_fields(records, ["metadata", "pk"])
        refs = [
            ref
            for ref, key, [metadata, pk] in zip(refs, records, table, strict=True)
            if not belongs(pk, key) or _fits(query, metadata, key)  # reading it finds out what it is
        ]
    return evolve(cursor, ready=refs, bounds=bounds)


def _fits(query: CheckpointQuery, metadata: bytes | None, key: str) -> bool:
    if metadata is None:
        return True
    try:
        return query.matches(tagged_json.loads(metadata.decode()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptRecord(f"metadata is damaged: {error}", key=key) from error
