"""The list of threads."""

from __future__ import annotations

import datetime as dt
import hashlib
from itertools import islice
from typing import Any, Final

from starlette.responses import PlainTextResponse, Response

from ....domain.checkpoints import Thread
from ....domain.errors import InvalidInput
from ..site import Page, Sizes, chunks

PAGE: Final = 50
"""Threads of a page."""

PATIENCE: Final = {"some": 1.0, "all": 60.0}
"""Seconds for sizes. Without any, a page is there at once, and its script asks for some."""

TOGETHER: Final = 10
"""Threads that are measured with one question."""


def listing(page: Page) -> Response:
    """Show a page of threads, the most recently updated first."""
    found = _found(page)
    more = len(found) > PAGE
    threads = found[:PAGE]
    sizes = Sizes(PATIENCE.get(page.text("sizes"), 0.0))
    measures: dict[str, Any] = {}
    for measured in sizes.measure(
        list(chunks([thread.thread_id for thread in threads], TOGETHER)), page.keep.checkpoints.measure
    ):
        measures |= measured or {}
    after = _after_parameters(threads[-1]) if more else {}
    prefix = page.text("prefix")
    return page.render(
        "threads",
        title="Threads",
        at="threads",
        prefix=prefix,
        rows=[(thread, measures.get(thread.thread_id)) for thread in threads],
        are_all_measured=sizes.are_all,
        problem=None if sizes.problem is None else page.said(sizes.problem),
        with_sizes=page.link("threads", prefix=prefix, sizes="all", **_given(page)),
        fill=page.link("threads", prefix=prefix, sizes="some", **_given(page)),
        next_page=page.link("threads", prefix=prefix, **after) if more else None,
        is_first=not page.text("after"),
        state=page.link("threads/state", prefix=prefix),
        mark=_mark(threads),
    )


def state(page: Page) -> Response:
    """Answer with a mark that changes when the first page does."""
    return PlainTextResponse(_mark(_found(page)[:PAGE]))


def _found(page: Page) -> list[Thread]:
    found = page.keep.checkpoints.list_threads(prefix=page.text("prefix"), after=_after(page), limit=PAGE + 1)
    return list(islice(found, PAGE + 1))


def _given(page: Page) -> dict[str, str]:
    return {name: page.text(name) for name in ("after", "at")}


def _after_parameters(thread: Thread) -> dict[str, str]:
    return {"after": thread.thread_id, "at": thread.updated_at.isoformat()}


def _after(page: Page) -> Thread | None:
    if not page.text("after"):
        return None
    try:
        at = dt.datetime.fromisoformat(page.text("at"))
    except ValueError:
        raise InvalidInput("at must be a time", field="at") from None
    return Thread(thread_id=page.text("after"), updated_at=at)


def _mark(threads: list[Thread]) -> str:
    text = "\n".join(f"{thread.thread_id}\0{thread.updated_at.isoformat()}" for thread in threads)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
