"""Listing checkpoints and threads, page by page."""

from __future__ import annotations

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter

from attrs import evolve, field, frozen

from ...domain import CheckpointQuery, CorruptRecord, SavedCheckpoint, Thread, exact_json
from ...domain.shown import shown
from ..operation import Operation, Page
from .keys import part, run_key, text, thread_index_keys, thread_key
from .reading import Ref, Settings, chunks, read, read_fields, records_keys
from .records import belongs
from .requests import Call, Commands, Reply, script

PAGE = 20
"""Checkpoints read at once: their values may be large."""

SCAN = 1000
"""Checkpoints whose metadata is looked at in one step of a filtered listing."""

THREADS = 100
"""Threads looked at in one step."""

PREFIXED_THREADS = 10_000
"""Threads of a prefix that one page may hold; each page sorts all that have the prefix."""

GRACE_US = 60_000_000
"""An index entry of a thread without checkpoints may be that of a put under way: it is left alone for so long."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


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
        [str(step), top, *map(part, expected)],
    )
    if query.namespace is None:
        namespaces = sorted(text(name, keys.namespaces) for name in names)
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
    refs = [Ref(namespace, text(name, keys[namespace].checkpoints)) for name, namespace in merged[:step]]
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
        return query.matches(exact_json.loads(metadata.decode()))
    except (ValueError, AttributeError, RecursionError) as error:
        raise CorruptRecord(f"metadata is damaged: {error}", key=key) from error


def list_namespaces(settings: Settings, thread_id: str) -> Operation[list[str]]:
    """The namespaces of a thread, in order."""
    key = thread_key(settings.prefix, thread_id)
    names = yield Call(script("read"), [key], ["ZRANGE", "0", "-1"])
    return sorted(text(name, key) for name in names)


def list_threads(settings: Settings, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
    """One page of threads, the most recently updated first."""
    if limit == 0:
        return Page(())
    while True:
        if prefix:
            candidates, last = yield from _threads_with_prefix(settings, prefix, after, limit)
        else:
            candidates, last = yield from _recent_threads(settings, after, limit)
        alive = yield from _alive(settings, candidates)
        if alive or last:
            return Page(alive, None if last or not candidates else candidates[-1])
        after = candidates[-1]


def _thread(settings: Settings, name: bytes, score: bytes) -> Thread:
    key = thread_index_keys(settings.prefix)[0]
    thread_id = text(name, key)
    try:
        updated_at = EPOCH + dt.timedelta(microseconds=round(float(score)))
    except (ValueError, OverflowError) as error:
        raise CorruptRecord(f"not a time of thread {shown(thread_id)}: {shown(score)}", key=key) from error
    return Thread.trusted(thread_id=thread_id, updated_at=updated_at)


def _score(thread: Thread) -> int:
    return (thread.updated_at - EPOCH) // dt.timedelta(microseconds=1)


def _recent_threads(
    settings: Settings, after: Thread | None, limit: int | None
) -> Operation[tuple[list[Thread], bool]]:
    size = THREADS if limit is None else min(limit, THREADS)
    top = "+inf" if after is None else str(_score(after))
    offset, found = 0, list[Thread]()
    while True:
        arguments = ["ZREVRANGEBYSCORE", top, "-inf", "WITHSCORES", "LIMIT", str(offset), str(size + 1)]
        reply = yield Call(script("read"), thread_index_keys(settings.prefix)[:1], arguments)
        threads = [_thread(settings, name, score) for name, score in chunks(reply, 2)]
        found += [thread for thread in threads if after is None or _order(thread) < _order(after)]
        if len(found) > size:
            return found[:size], False
        if len(threads) <= size:
            return found, True
        offset += len(threads)


def _order(thread: Thread) -> tuple[dt.datetime, str]:
    return thread.updated_at, thread.thread_id


def _threads_with_prefix(
    settings: Settings, prefix: str, after: Thread | None, limit: int | None
) -> Operation[tuple[list[Thread], bool]]:
    by_time, by_name = thread_index_keys(settings.prefix)
    size = PREFIXED_THREADS if limit is None else min(limit, PREFIXED_THREADS)
    found: list[Thread] = []
    start: str | bytes = f"[{prefix}"
    while True:
        # No UTF-8 text has a byte 0xFF.
        end = b"(" + prefix.encode() + b"\xff"
        names = yield Call(script("read"), [by_name], ["ZRANGEBYLEX", start, end, "LIMIT", "0", str(SCAN)])
        if names:
            scores = yield Call(script("read"), [by_time], ["ZMSCORE", *names])
            threads = [
                _thread(settings, name, score) for name, score in zip(names, scores, strict=True) if score is not None
            ]
            found += [thread for thread in threads if after is None or _order(thread) < _order(after)]
            found = heapq.nlargest(size + 1, found, key=_order)
            start = b"(" + names[-1]
        if len(names) < SCAN:
            return found[:size], len(found) <= size


def _alive(settings: Settings, threads: Sequence[Thread]) -> Operation[list[Thread]]:
    """Leave out threads that have no checkpoint any more, and let the index forget them."""
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


def drop_threads(settings: Settings, threads: Sequence[Thread], age_us: int) -> Operation[None]:
    """Let the thread index forget threads, unless they were updated since, or ``age_us`` microseconds ago at most."""
    for chunk in chunks(threads):
        pairs = [argument for thread in chunk for argument in (thread.thread_id, str(_score(thread)))]
        yield Call(script("checkpoints/drop"), thread_index_keys(settings.prefix), [str(age_us), *pairs])


def find_thread(settings: Settings, thread_id: str) -> Operation[Thread | None]:
    """The thread's entry in the index."""
    score = yield Call(script("read"), thread_index_keys(settings.prefix)[:1], ["ZSCORE", thread_id])
    return None if score is None else _thread(settings, thread_id.encode(), score)


def threads_of_run(settings: Settings, run_id: str) -> Operation[list[str]]:
    """The threads in which a run put checkpoints."""
    key = run_key(settings.prefix, run_id)
    names = yield Call(script("read"), [key], ["SMEMBERS"])
    return sorted(text(name, key) for name in names)
