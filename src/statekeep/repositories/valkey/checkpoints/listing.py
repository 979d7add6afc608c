"""Listing checkpoints and threads, page by page."""

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
from .settings import Settings
from .threads import SCAN, list_namespaces, list_threads

PAGE = 20
"""Checkpoints read at once: their values may be large."""


@frozen
class Round:
    """A way through all threads. One that is updated meanwhile moves to the front, so the front is looked at again.

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
class Place:
    """How far a listing has come.

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
    settings: Settings, query: CheckpointQuery, place: Place | None
) -> Operation[Page[SavedCheckpoint]]:
    """One page of checkpoints, newest first."""
    if place is None:
        place = Place(query.limit, last_thread=query.thread_id is not None)
    while place.left != 0:
        if place.ready:
            size = PAGE if place.left is None else min(PAGE, place.left)
            found = yield from read(settings, place.thread_id, place.ready[:size], place.reply)
            # What was listed by a filter may have been replaced since.
            found = [checkpoint for checkpoint in found if query.matches(checkpoint.metadata)]
            left = None if place.left is None else place.left - len(found)
            place = evolve(place, ready=place.ready[size:], reply=None, left=left)
            if found:
                return Page(found, _unless_ended(place))
        elif place.bounds:
            place = yield from _find(settings, query, place)
        elif place.queue or (query.thread_id is not None and not place.thread_id):
            place = yield from _begin_thread(settings, query, place)
        elif not place.last_thread:
            place = yield from _more_threads(settings, place)
        else:
            break
    return Page(())


def _unless_ended(place: Place) -> Place | None:
    ended = place.left == 0 or not (place.ready or place.bounds or place.queue or not place.last_thread)
    return None if ended else place


def _more_threads(settings: Settings, place: Place) -> Operation[Place]:
    """Fill the queue again."""
    page = yield from list_threads(settings, "", place.after, None)
    if place.round is None and page.cursor is None:
        return evolve(place, queue=page.items, last_thread=True)
    this = place.round or Round(set(), page.items[0].updated_at)
    if place.after is None and page.items:
        this = evolve(this, newest=page.items[0].updated_at)
    queue = [thread for thread in page.items if thread.thread_id not in this.seen]
    this.seen.update(thread.thread_id for thread in queue)
    this = evolve(this, found=this.found or bool(queue))
    if page.cursor is not None and (this.until is None or page.items[-1].updated_at > this.until):
        return evolve(place, queue=queue, after=page.cursor, round=this)
    following = evolve(this, until=this.newest, found=False)
    return evolve(place, queue=queue, after=None, last_thread=not this.found, round=following)


def _begin_thread(settings: Settings, query: CheckpointQuery, place: Place) -> Operation[Place]:
    """Go on to the next thread."""
    thread_id = query.thread_id if query.thread_id is not None else place.queue[0].thread_id
    place = evolve(place, thread_id=thread_id, queue=place.queue[1:])
    if query.checkpoint_id is not None:
        if query.before is not None and query.checkpoint_id >= query.before:
            return place
        if query.namespace is not None:
            namespaces = [query.namespace]
        else:
            namespaces = yield from list_namespaces(settings, thread_id)
        return evolve(place, ready=[Ref(namespace, query.checkpoint_id) for namespace in namespaces])
    return (yield from _find_newest(settings, query, place))


def _find_newest(settings: Settings, query: CheckpointQuery, place: Place) -> Operation[Place]:
    """Find the first checkpoints of the thread; they come at once if they are those that this process knows of."""
    # Most threads have just the root namespace: its ids come with the list of namespaces.
    namespace = query.namespace or ""
    keys, step = settings.keys(place.thread_id, namespace), _step(query, place)
    expected = () if query.metadata else settings.newest.before(keys, query.before, step)
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
            return evolve(place, bounds=dict.fromkeys(namespaces, top))
    place = yield from _choose(settings, query, evolve(place, bounds={namespace: top}), {namespace: ids})
    if query.before is None and not query.metadata:
        settings.newest.listed(keys, [ref.checkpoint_id for ref in place.ready], whole=not place.bounds)
    return evolve(place, reply=reply or None)


def _step(query: CheckpointQuery, place: Place) -> int:
    if query.metadata:
        return SCAN
    return PAGE if place.left is None else min(PAGE, place.left)


def _find(settings: Settings, query: CheckpointQuery, place: Place) -> Operation[Place]:
    """Find the next checkpoints of the thread in its namespaces' indexes."""
    found: dict[str, Sequence[bytes]] = {}
    for namespaces in chunks(list(place.bounds)):
        indexes = [settings.keys(place.thread_id, namespace).checkpoints for namespace in namespaces]
        bounds = [place.bounds[namespace] for namespace in namespaces]
        reply = yield Call(script("checkpoints/ids"), indexes, [str(_step(query, place)), *bounds])
        found.update(zip(namespaces, reply, strict=True))
    return (yield from _choose(settings, query, place, found))


def _choose(
    settings: Settings, query: CheckpointQuery, place: Place, found: dict[str, Sequence[bytes]]
) -> Operation[Place]:
    """Merge the namespaces' ids, newest first, and keep those whose metadata fits."""
    step = _step(query, place)
    keys = {namespace: settings.keys(place.thread_id, namespace) for namespace in sorted(found)}
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
    return evolve(place, ready=refs, bounds=bounds)


def _fits(query: CheckpointQuery, metadata: bytes | None, key: str) -> bool:
    if metadata is None:
        return True
    try:
        return query.matches(tagged_json.loads(metadata.decode()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptRecord(f"metadata is damaged: {error}", key=key) from error
