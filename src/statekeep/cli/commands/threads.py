"""``threads``: which threads there are."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from itertools import islice, takewhile
from typing import Annotated, Any, Final

import typer

from ...domain.checkpoints import Thread
from ...domain.errors import Unsupported
from ...inspection.printable import duration, size
from ..options import Limit, limit_of, since_of
from ..output import Column
from ..run import Run
from ..status import Status

TOGETHER: Final = 50
"""Threads that are measured with one question."""

Prefix = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only threads whose id begins with this.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="Only what was updated since: 12h, 30d, or 2026-05-01T12:00Z."),
]
Brief = Annotated[bool, typer.Option("--brief", help="Ids and times alone: no question for each thread.")]


def _ttl(expires_in: float | None) -> str:
    return "never" if expires_in is None else duration(max(expires_in, 0))


def _columns(brief: bool, now: dt.datetime) -> list[Column]:
    ids = [
        Column("thread_id", "thread"),
        Column("updated_at", "age", lambda when: duration(now - when), right=True),
    ]
    if brief:
        return ids
    return [
        *ids,
        Column("checkpoints", right=True),
        Column("pending_writes", "writes", right=True),
        Column("bytes", show=size, right=True),
        Column("ttl", "ends in", _ttl, right=True),
    ]


def threads(run: Run, prefix: Prefix = "", since: Since = None, limit: Limit = 20, brief: Brief = False) -> Status:
    """List threads, the most recently updated first.

    Lines hold id, time of the last update, checkpoints, pending writes, bytes, and seconds until the last record ends.
    """
    most = limit_of(limit)
    with run.connect() as keep:
        now = keep.now()
        found = keep.checkpoints.list_threads(prefix=prefix, limit=None if most is None else most + 1)
        if since is not None:
            first = since_of(since, "--since", now)
            found = takewhile(lambda thread: thread.updated_at >= first, found)
        measured = _Measured(run, keep.checkpoints, brief, now)
        count = run.output.rows(_columns(brief, now), measured.rows(islice(found, most)))
        if not count:
            run.output.note("no threads")
            return Status.FOUND_NOTHING
        if run.output.is_terminal and next(found, None) is not None:
            run.output.note(f"there are more; --limit 0 shows all, --limit {2 * limit} twice as many")
    return Status.OK


class _Measured:
    """Threads with their sizes, some with each question."""

    def __init__(self, run: Run, checkpoints: Any, brief: bool, now: dt.datetime) -> None:
        self._run = run
        self._checkpoints = checkpoints
        self._brief = brief
        self._now = now

    def rows(self, threads: Iterator[Thread]) -> Iterator[Mapping[str, Any]]:
        while page := list(islice(threads, TOGETHER)):
            measures = self._measures(page)
            for thread in page:
                row: dict[str, Any] = {"thread_id": thread.thread_id, "updated_at": thread.updated_at}
                if not self._brief:
                    row |= self._size(measures.get(thread.thread_id))
                yield row

    def _measures(self, page: list[Thread]) -> Mapping[str, Any]:
        if self._brief:
            return {}
        try:
            found: Mapping[str, Any] = self._checkpoints.measure([thread.thread_id for thread in page])
        except Unsupported as error:
            self._brief = True
            self._run.output.note(f"sizes are not shown: {error}")
            return {}
        return found

    def _size(self, measure: Any) -> dict[str, Any]:
        """Return the size of a thread; nothing of one that was deleted meanwhile."""
        if measure is None:
            return dict.fromkeys(("checkpoints", "pending_writes", "namespaces", "bytes", "basis", "expires_at", "ttl"))
        ends = measure.expires_at
        return {
            "checkpoints": measure.checkpoints,
            "pending_writes": measure.pending_writes,
            "namespaces": measure.namespaces,
            "bytes": measure.bytes,
            "basis": measure.basis,
            "expires_at": ends,
            "ttl": None if ends is None else round((ends - self._now).total_seconds(), 3),
        }
