"""Listing checkpoints and threads."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from operator import attrgetter
from typing import Final

from attrs import define, field

from ...domain import CheckpointQuery, SavedCheckpoint, Thread
from ...domain.ids import time_of
from ..aws import AwsCall
from ..operation import Operation, Page
from ..records.ordering import TEXT, order_and_time
from .get import Found, Group, Settings, batches, find, grouped, read_heads, saved
from .ids import Step, invocation_of
from .steps import ABREAST, PAGE, NoSession

SIZE: Final = 20
"""Checkpoints on a page: their values may be large."""


@define
class Cursor:
    """The progress of a listing.

    Attributes:
        threads: those to list after the present one.
        left: how many checkpoints may still be listed; ``None`` for all.
        thread_id: the thread that is being listed.
        batches: of its checkpoints, those that are not read yet.
        ready: checkpoints that are read, but for their pending writes and large values.
    """

    threads: list[str]
    left: int | None
    thread_id: str = ""
    batches: list[list[Group]] = field(factory=list)
    ready: list[Found] = field(factory=list)


def list_checkpoints(
    settings: Settings, query: CheckpointQuery, cursor: Cursor | None
) -> Operation[Page[SavedCheckpoint]]:
    """Return a page of checkpoints, the newest first."""
    if query.limit == 0:
        return Page(())
    if cursor is None:
        threads = [query.thread_id] if query.thread_id is not None else (yield from _every_thread(settings))
        cursor = Cursor(threads, query.limit)
        is_first = query.thread_id is not None
    else:
        is_first = False
    while True:
        try:
            some = yield from _next(settings, query, cursor)
            page = yield from saved(settings, cursor.thread_id, some)
        except NoSession:
            if is_first:
                raise
            # It was deleted meanwhile.
            cursor.batches, cursor.ready = [], []
            continue
        if not page:
            return Page(())
        cursor.left = None if cursor.left is None else cursor.left - len(page)
        return Page(page, None if cursor.left == 0 else cursor)


def _next(settings: Settings, query: CheckpointQuery, cursor: Cursor) -> Operation[list[Found]]:
    """Take the next checkpoints, in order, of the next thread that has some.

    None at the end.
    """
    size = SIZE if cursor.left is None else min(SIZE, cursor.left)
    if cursor.ready:
        # They were read for the page before: the session may be deleted since.
        yield from settings.steps.session(cursor.thread_id)
    while True:
        wanted = size - len(cursor.ready)
        while len(cursor.ready) < size and cursor.batches:
            yield from _read_on(settings, query, cursor, wanted)
            # Few fulfil the query: read more at a time.
            wanted = min(2 * wanted, ABREAST)
        if cursor.ready or not cursor.threads:
            some, cursor.ready = cursor.ready[:size], cursor.ready[size:]
            return some
        yield from _begin(settings, query, cursor, cursor.threads.pop(0))


def _every_thread(settings: Settings) -> Operation[list[str]]:
    page = yield from list_threads(settings, "", None, None)
    return [thread.thread_id for thread in page.items]


def _begin(settings: Settings, query: CheckpointQuery, cursor: Cursor, thread_id: str) -> Operation[None]:
    """Go on to a thread: read its listing."""
    cursor.thread_id, cursor.batches = thread_id, []
    invocation = None if query.namespace is None else invocation_of(query.namespace)
    steps = yield from settings.steps.listing(thread_id, invocation)
    if query.checkpoint_id is not None and query.namespace is not None:
        one = yield from find(settings, thread_id, query.namespace, query.checkpoint_id, steps)
        cursor.ready = [one] if one is not None and _fits(query, one) else []
        return
    cursor.batches = list(batches([group for group in grouped(steps) if _may_fit(query, group.heads[0])]))


def _may_fit(query: CheckpointQuery, step: Step) -> bool:
    """Return whether a checkpoint may fulfil a query.

    The id of its step tells that much.
    """
    if step.order == TEXT:
        return True
    for text in (query.before, query.checkpoint_id):
        if text is not None:
            order, moment = order_and_time(text, time.time_ns())
            if order == step.order and (step.at > moment or (text is query.checkpoint_id and step.at != moment)):
                return False
    return True


def _read_on(settings: Settings, query: CheckpointQuery, cursor: Cursor, wanted: int) -> Operation[None]:
    """Read the heads of so many checkpoints, of one batch at least."""
    groups: list[Group] = []
    while cursor.batches and (not groups or len(groups) + len(cursor.batches[0]) <= wanted):
        groups += cursor.batches.pop(0)
    found = yield from read_heads(settings, cursor.thread_id, groups, keep_values=len(groups) <= SIZE)
    cursor.ready += [one for one in found if _fits(query, one)]


def _fits(query: CheckpointQuery, found: Found) -> bool:
    head = found.head
    return (
        query.namespace in (None, head.namespace)
        and query.checkpoint_id in (None, head.checkpoint_id)
        and (query.before is None or head.checkpoint_id < query.before)
        and (query.metadata is None or query.matches(head.decoded_metadata()))
    )


def list_threads(settings: Settings, prefix: str, after: Thread | None, limit: int | None) -> Operation[Page[Thread]]:
    """Return the threads of the account, the most recently updated first.

    The service lists all its sessions, whoever made them, and says nothing of their content: one more call for each
    until ``limit`` are found, and another one for each that looks like ours.
    """
    if limit == 0:
        return Page(())
    sessions = yield from _sessions(settings)
    found: list[Thread] = []
    for start in range(0, len(sessions), ABREAST):
        some = sessions[start : start + ABREAST]
        # No thread is newer than the last change of its session.
        if limit is not None and len(found) > limit and found[limit].updated_at > some[0][0]:
            break
        wanted = {session: changed for changed, session in some if session.startswith(prefix)}
        threads = yield from _threads(settings, wanted)
        found += [one for one in threads if after is None or one.recency < after.recency]
        found.sort(key=attrgetter("recency"), reverse=True)
    page = found[:limit]
    return Page(page, page[-1] if len(page) < len(found) else None)


def _sessions(settings: Settings) -> Operation[list[tuple[datetime, str]]]:
    """Return all sessions with the times of their last changes, the latest first."""
    found: list[tuple[datetime, str]] = []
    token: dict[str, str] = {}
    while True:
        reply = yield AwsCall("ListSessions", {"maxResults": PAGE} | token)
        found += [(one["lastUpdatedAt"], one["sessionId"]) for one in reply["sessionSummaries"]]
        if not reply.get("nextToken"):
            return sorted(found, reverse=True)
        token = {"nextToken": reply["nextToken"]}


def _threads(settings: Settings, sessions: Mapping[str, datetime]) -> Operation[list[Thread]]:
    """Return those of the sessions that have a checkpoint.

    Args:
        settings: of the backend.
        sessions: with the times of their last changes. A stamp that is later is of a clock that is ahead.
    """
    found = []
    for session, steps in zip(sessions, (yield from settings.steps.listings(list(sessions))), strict=True):
        groups = sorted(grouped(steps or ()), key=lambda group: max(step.put_at for step in group.heads), reverse=True)
        # One that was deleted meanwhile is no thread.
        with suppress(NoSession):
            for group in groups:
                # The id looks like one of ours; the content tells.
                if heads := (yield from read_heads(settings, session, [group], keep_values=False)):
                    stamp = max(one.head.stamp for one in heads)
                    updated_at = min(time_of(stamp), sessions[session].astimezone(UTC))
                    found.append(Thread.trusted(thread_id=session, updated_at=updated_at))
                    break
    return found


def count_checkpoints(settings: Settings, thread_id: str) -> Operation[int]:
    """Return how many checkpoints a thread has. Reads all of them."""
    groups = grouped((yield from settings.steps.listing(thread_id)))
    total = 0
    for start in range(0, len(groups), ABREAST):
        found = yield from read_heads(settings, thread_id, groups[start : start + ABREAST], keep_values=False)
        total += len({(one.head.namespace, one.head.checkpoint_id) for one in found})
    return total
