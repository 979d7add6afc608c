"""Steps of a thread, and its forks."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator
from typing import Any, Final

from starlette.responses import PlainTextResponse, Response

from ....domain.checkpoints import SavedCheckpoint
from ....domain.errors import CorruptRecord
from ....inspection import Limits, Step, TaskState, decode, is_internal, steps
from ....inspection.printable import duration
from ..drawing import Forks, Point, chart, lane_picture, width_of
from ..messages import count
from ..site import NotThere, Page
from .reading import Reading

PAGE: Final = 50
"""Steps of a page."""

BRIEF: Final = Limits(items=5_000, characters=40, values=50_000, depth=4, bytes=1024 * 1024)
"""How much of a value is looked at to count messages."""

COUNTED: Final = 1024 * 1024
"""Bytes of a value, in which messages are counted."""


BETWEEN: Final = "\x1f"
"""Stands between the ids of lanes in an address."""

MOST_LANES: Final = 40


class _Steps:
    """The steps of one page, and what is known beside them."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.thread = page.needed("id")
        self.namespace = page.text("namespace")
        self.is_all = bool(page.text("all"))
        self.created: dict[tuple[str, str], dt.datetime] = {}
        self.messages: dict[tuple[str, str], int] = {}
        self.reading = Reading(
            page.keep.checkpoints,
            self.thread,
            None if self.is_all else self.namespace,
            page.text("before") or None,
            PAGE + 1,
        )

    def read(self) -> list[Step]:
        return list(steps(self._noted(self.reading), self._find))

    def _noted(self, found: Any) -> Iterator[SavedCheckpoint]:
        for saved in found:
            self._note(saved)
            yield saved

    def _note(self, saved: SavedCheckpoint) -> None:
        key = (saved.namespace, saved.checkpoint_id)
        self.created[key] = saved.created_at
        counts = [
            count(decode(channel.payload, BRIEF).value)
            for name, channel in saved.channels.items()
            if channel.payload is not None and len(channel.payload.data) <= COUNTED and not is_internal(name)
        ]
        if any(each is not None for each in counts):
            self.messages[key] = sum(each or 0 for each in counts)

    def _find(self, namespace: str, checkpoint_id: str) -> SavedCheckpoint | None:
        try:
            found = self.page.keep.checkpoints.get(self.thread, namespace=namespace, checkpoint_id=checkpoint_id)
        except CorruptRecord as error:
            self.reading.damage.append(error)
            return None
        if found is not None:
            self.created[namespace, checkpoint_id] = found.created_at
        return found

    def took(self, step: Step) -> str:
        """Return the time since the parent was made."""
        before = self.created.get((step.namespace, step.parent_id or ""))
        if before is None:
            return ""
        seconds = (step.created_at - before).total_seconds()
        if seconds < 0:
            return ""
        return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s" if seconds < 60 else duration(seconds)


def timeline(page: Page) -> Response:
    """Show a page of steps, newest first."""
    found = _Steps(page)
    mark = _first_mark(page, found)  # before the steps: what comes meanwhile makes another one
    all_steps = found.read()
    damage = found.reading.damage
    if not all_steps and not damage and not page.text("before"):
        raise NotThere(f"There is no thread {found.thread!r}, or it has nothing in this namespace.")
    shown = all_steps[:PAGE]
    lanes = page.text("lanes").split(BETWEEN)[:MOST_LANES] if page.text("before") and page.text("lanes") else []
    begun = set(lanes) - {""}
    forks = Forks(lanes)
    dots = [forks.dot(step.checkpoint_id, step.parent_id) for step in shown]
    across = width_of(dots)
    rows = [
        {
            "step": step,
            "picture": lane_picture(dot, across, is_waiting=_waits(step, begun)),
            "took": found.took(step),
            "messages": found.messages.get((step.namespace, step.checkpoint_id)),
            "changed": [change for change in step.changes if not is_internal(change.name)],
            "tasks": step.tasks if not step.children else _of_interest(step),
            "is_waiting": _waits(step, begun),
            "is_fork": len(step.children) + (step.checkpoint_id in begun) > 1,
            "href": page.link("checkpoint", thread=found.thread, id=step.checkpoint_id, namespace=step.namespace),
        }
        for step, dot in zip(shown, dots, strict=True)
    ]
    more = len(all_steps) > PAGE
    place = {"id": found.thread, "namespace": found.namespace, "all": found.is_all}
    return page.render(
        "thread",
        title=f"Thread {found.thread}",
        at="threads",
        thread=found.thread,
        namespace=found.namespace,
        is_all=found.is_all,
        rows=rows,
        chart=chart(_points(list(reversed(shown)), found)),
        damage=[page.said(error) for error in damage],
        is_cut=found.reading.is_cut,
        next_page=page.link(
            "thread", **place, before=shown[-1].checkpoint_id, lanes=BETWEEN.join(forks.wanted[:MOST_LANES])
        )
        if more
        else None,
        is_first=not page.text("before"),
        first=page.link("thread", **place),
        other=page.link("thread", id=found.thread, all=not found.is_all),
        state=page.link("thread/state", **place),
        mark=mark,
        confirm_delete=page.link("confirm", action="delete-thread", thread=found.thread),
        confirm_prune=page.link("confirm", action="prune-thread", thread=found.thread),
        states=TaskState,
    )


def _waits(step: Step, begun: set[str]) -> bool:
    return step.is_waiting and step.checkpoint_id not in begun


def _of_interest(step: Step) -> list[Any]:
    return [task for task in step.tasks if task.state in (TaskState.FAILED, TaskState.INTERRUPTED)]


def _points(shown: list[Step], found: _Steps) -> list[Point]:
    return [
        Point(
            "-" if step.step is None else str(step.step),
            step.bytes_new,
            step.bytes_reused,
            found.messages.get((step.namespace, step.checkpoint_id)),
        )
        for step in shown
    ]


def _first_mark(page: Page, found: _Steps) -> str:
    """Return the mark of a page that is kept up to date; ``""`` of another one."""
    if page.text("before"):
        return ""
    try:
        return _mark(page.keep.checkpoints, found)
    except CorruptRecord:  # the page names it
        return ""


def state(page: Page) -> Response:
    """Answer with a mark that changes when the newest step does."""
    return PlainTextResponse(_mark(page.keep.checkpoints, _Steps(page)))


def _mark(checkpoints: Any, found: _Steps) -> str:
    newest = next(checkpoints.list(found.thread, namespace=found.reading.namespace, limit=1), None)
    if newest is None:
        return "none"
    text = f"{newest.namespace}\0{newest.checkpoint_id}\0{len(newest.pending_writes)}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
