"""Listing checkpoints and threads, and their sizes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Final

from attrs import define, evolve, field

from ...domain import CheckpointQuery, SavedCheckpoint, Thread, ThreadMeasure
from ...domain.ids import time_of
from ..operation import Operation, Page
from ..records.checkpoints import Stored, stored
from ..records.framing import records
from .get import (
    PEEK,
    Settings,
    actors_of_thread,
    chunks,
    complete,
    newest_of,
    read_indexes,
    read_known,
    read_stored,
)
from .ids import Lane, actor_name
from .index import IndexReader, advance, open_reader
from .lanes import ABREAST, PAGE
from .layout import ThreadPlace, is_checkpoint, owner_of_threads, threads_actor
from .records import Known, known

SIZE: Final = 20
"""Checkpoints on a page: their values may be large."""


@define
class Cursor:
    """The progress of a listing.

    Attributes:
        threads: those to list after the present one.
        left: how many checkpoints may still be listed; ``None`` for all.
        thread_id: the thread that is being listed.
        readers: of its indexes.
        ready: checkpoints that were asked for by their id, and are still to be read.
    """

    threads: list[str]
    left: int | None
    thread_id: str = ""
    readers: Sequence[IndexReader] = ()
    ready: list[tuple[str, str]] = field(factory=list)


def list_checkpoints(
    settings: Settings, query: CheckpointQuery, cursor: Cursor | None
) -> Operation[Page[SavedCheckpoint]]:
    """Return a page of checkpoints, the newest first."""
    if query.limit == 0:
        return Page(())
    if cursor is None:
        if query.thread_id is not None:
            threads = [query.thread_id]
        else:
            page = yield from list_threads(settings, "", None, None)
            threads = [thread.thread_id for thread in page.items]
        cursor = Cursor(threads, query.limit)
    while True:
        if not cursor.ready and all(reader.is_read and not reader.confirmed() for reader in cursor.readers):
            if not cursor.threads:
                return Page(())
            yield from _begin(settings, query, cursor, cursor.threads.pop(0))
        place = settings.place(cursor.thread_id)
        size = SIZE if cursor.left is None else min(SIZE, cursor.left)
        refs = yield from _next(settings, query, cursor, size)
        if not refs:
            continue
        found = yield from _matching(settings, query, place, refs)
        if found:
            cursor.left = None if cursor.left is None else cursor.left - len(found)
            return Page((yield from complete(settings, place, found)), None if cursor.left == 0 else cursor)


def _matching(
    settings: Settings, query: CheckpointQuery, place: ThreadPlace, refs: Sequence[tuple[str, str]]
) -> Operation[list[Stored]]:
    """Read those of the checkpoints that are there and fulfil the query.

    The index may be ahead of them.
    """
    several = yield from read_stored(settings, place, refs)
    return [
        one
        for one in several
        if one is not None and one.head is not None and query.matches(one.head.decoded_metadata())
    ]


def _begin(settings: Settings, query: CheckpointQuery, cursor: Cursor, thread_id: str) -> Operation[None]:
    """Go on to a thread.

    Its list of namespaces and the first pages of their indexes are read.
    """
    cursor.thread_id, cursor.readers = thread_id, ()
    place = settings.place(thread_id)
    if query.checkpoint_id is not None:
        if query.before is not None and query.checkpoint_id >= query.before:
            return
        names: Sequence[str] = [query.namespace or ""]
        if query.namespace is None:
            names = sorted((yield from read_known(settings, place)).orders)
        cursor.ready = [(name, query.checkpoint_id) for name in names]
        return
    if query.namespace is not None:
        reader, _ = yield from open_reader(settings.lanes, place, query.namespace, _size(query, cursor), query.before)
        cursor.readers = [reader]
        return
    listed = yield from read_known(settings, place)
    readers = [IndexReader(name, place.index(name)) for name in sorted(listed.orders)]
    for reader in readers:
        reader.orders_are(listed.orders[reader.namespace])
    cursor.readers = readers


def _size(query: CheckpointQuery, cursor: Cursor) -> int:
    if query.metadata or query.before is not None or cursor.left is None:
        return PAGE
    return min(PAGE, cursor.left + PEEK - 1)


def _next(settings: Settings, query: CheckpointQuery, cursor: Cursor, size: int) -> Operation[list[tuple[str, str]]]:
    """Take the next checkpoints that may fulfil the query, in order.

    They are taken out of the indexes.
    """
    if cursor.ready:
        some, cursor.ready = cursor.ready[:size], cursor.ready[size:]
        return some
    found: list[tuple[str, str]] = []
    while len(found) < size:
        # The greatest of all is known when each index has confirmed one.
        yield from advance(settings.lanes, cursor.readers, 1, _size(query, cursor), query.before)
        tops = [(reader, ids[0]) for reader in cursor.readers if (ids := reader.confirmed())]
        if not tops:
            break
        greatest = max(id_ for _, id_ in tops)
        for reader, id_ in tops:
            if id_ == greatest and len(found) < size:
                indexed = reader.pop(id_)
                if query.metadata is None or any(entry.may_match(query.matches) for entry in indexed.entries):
                    found.append((reader.namespace, id_))
    return found


def list_threads(settings: Settings, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
    """Return the actor's threads, all at once: the service cannot order them.

    Each takes a few calls, of which many threads' go side by side.
    """
    if limit == 0:
        return Page(())
    sessions = yield from settings.lanes.sessions(threads_actor(settings.actor))
    threads: list[Thread] = []
    for some in chunks(sorted(sessions), ABREAST):
        lists = yield from settings.lanes.read_all(some)
        listed = [known(records, lane) for records, lane in zip(lists, some, strict=True)]
        wanted = [one for one in listed if one.thread_id is not None and one.thread_id.startswith(prefix)]
        threads += yield from _with_checkpoints(settings, wanted)
    threads = [thread for thread in threads if after is None or thread.recency < after.recency]
    threads.sort(key=attrgetter("recency"), reverse=True)
    page = threads[:limit]
    return Page(page, page[-1] if len(page) < len(threads) else None)


def every_thread(settings: Settings) -> Operation[list[tuple[str, Thread]]]:
    """Return the threads of all actors."""
    found: list[tuple[str, Thread]] = []
    for actor in (yield from _actors(settings)):
        page = yield from list_threads(evolve(settings, actor=actor), "", None, None)
        found += [(actor, thread) for thread in page.items]
    return sorted(found, key=lambda one: (*one[1].recency, one[0]), reverse=True)


def _actors(settings: Settings) -> Operation[list[str]]:
    """Return the actors that have threads.

    Lists of threads tell the text of a hashed name.
    """
    actors: set[str] = set()
    for name in (yield from settings.lanes.actors()):
        owner = owner_of_threads(name)
        if owner is not None:
            actors |= {owner} if actor_name(owner) == owner else (yield from _hashed_actors(settings, owner, name))
    return sorted(actors)


def _hashed_actors(settings: Settings, owner: str, threads: str) -> Operation[set[str]]:
    for lane in (yield from settings.lanes.sessions(threads)):
        listed = known((yield from settings.lanes.read(lane)), lane)
        if listed.thread_id is not None:
            actors = yield from actors_of_thread(settings, listed.thread_id)
            if found := {actor for actor in actors if actor_name(actor) == owner}:
                return found
    return set()


def _with_checkpoints(settings: Settings, listed: Sequence[Known]) -> Operation[list[Thread]]:
    """Return those threads that have a checkpoint."""
    readers: dict[str, list[IndexReader]] = {}
    for one in listed:
        place = settings.place(one.thread_id or "")
        readers[place.thread_id] = [IndexReader(name, place.index(name)) for name in sorted(one.orders)]
        for reader in readers[place.thread_id]:
            reader.orders_are(one.orders[reader.namespace])
    yield from advance(settings.lanes, [reader for some in readers.values() for reader in some], 1, PEEK)
    tops: dict[str, tuple[str, str]] = {}
    for thread_id, some in readers.items():
        for reader in some:
            if ids := reader.confirmed():
                tops.setdefault(thread_id, (reader.namespace, ids[0]))
    alive = yield from _alive(settings, tops)
    found = []
    for one in listed:
        thread_id = one.thread_id or ""
        if thread_id in tops and (alive[thread_id] or (yield from _has_another(settings, thread_id, readers))):
            stamp = max(one.stamp, *(reader.latest_stamp for reader in readers[thread_id]))
            found.append(Thread.trusted(thread_id=thread_id, updated_at=time_of(stamp)))
    return found


def _alive(settings: Settings, tops: Mapping[str, tuple[str, str]]) -> Operation[dict[str, bool]]:
    """Say for each thread whether the checkpoint that its index names is there."""
    lanes = [settings.place(thread_id).checkpoint(*ref) for thread_id, ref in tops.items()]
    found = yield from settings.lanes.read_all(lanes)
    return {
        thread_id: any(record.head.get("type") == "checkpoint" for record in records)
        for thread_id, records in zip(tops, found, strict=True)
    }


def _has_another(settings: Settings, thread_id: str, readers: Mapping[str, Sequence[IndexReader]]) -> Operation[bool]:
    for reader in readers[thread_id]:
        if (yield from newest_of(settings, settings.place(thread_id), reader)) is not None:
            return True
    return False


def measure(settings: Settings, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
    """Measure threads by the texts of their events."""
    found: dict[str, ThreadMeasure] = {}
    for thread_id in thread_ids:
        one = yield from _measure(settings, thread_id)
        if one is not None:
            found[thread_id] = one
    return found


def _measure(settings: Settings, thread_id: str) -> Operation[ThreadMeasure | None]:
    place = settings.place(thread_id)
    indexes, _ = yield from read_indexes(settings, place)
    named = [one for several in indexes.values() for one in several]
    # New sessions may not be listed yet; those of checkpoints and values are in the index, too.
    lanes = set((yield from settings.lanes.sessions(place.own_actor)))
    lanes |= {place.index(namespace) for namespace in indexes}
    lanes |= {place.checkpoint(one.namespace, one.checkpoint_id) for one in named}
    lanes |= {place.value(one.namespace, value) for one in named for entry in one.entries for value in entry.values}
    checkpoints = writes = size = 0
    namespaces: set[str] = set()
    for few in chunks(sorted(lanes), ABREAST):
        texts: dict[Lane, list[str]] = {}
        for lane, _, found in (yield from settings.lanes.events(few)):
            texts.setdefault(lane, []).extend(text for text in found if isinstance(text, str))
        size += sum(len(text) for found in texts.values() for text in found)
        for lane, found in texts.items():
            if lane.actor != place.own_actor or not is_checkpoint(lane):
                continue
            one = stored(records(found, str(lane))[0], str(lane))
            if one is not None:
                checkpoints += one.head is not None
                writes += len(one.writes)
                namespaces.add(one.namespace)
    if not checkpoints and not writes:
        return None
    return ThreadMeasure(
        thread_id=thread_id,
        checkpoints=checkpoints,
        pending_writes=writes,
        namespaces=len(namespaces),
        bytes=size,
        basis="lengths",
    )
