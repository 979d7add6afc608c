"""Logs, and the values of one."""

from __future__ import annotations

from itertools import islice
from typing import Final

from starlette.responses import Response

from ....domain.errors import CorruptRecord
from ....inspection import Limits
from ....inspection.labels import encode_labels
from ..messages import conversation
from ..site import Page, Sizes
from .items import decoded

PAGE: Final = 50
"""Logs, or values, of a page."""

SHOWN: Final = Limits(items=100, characters=2000, values=500, depth=40, bytes=256 * 1024)


def listing(page: Page) -> Response:
    """Show a page of logs."""
    prefix = page.labels("prefix")
    offset = page.number("offset", most=1_000_000)
    found = list(islice(page.keep.logs.list(prefix=prefix), offset, offset + PAGE + 1))
    sizes = Sizes()
    measures = sizes.measure([log.name for log in found[:PAGE]], page.keep.logs.measure)
    text = encode_labels(prefix) if prefix else ""
    return page.render(
        "logs",
        title="Logs",
        at="logs",
        prefix=text,
        rows=[
            {"log": log, "measure": measure, "href": page.link("log", name=encode_labels(log.name))}
            for log, measure in zip(found[:PAGE], measures, strict=True)
        ],
        next_page=page.link("logs", prefix=text, offset=offset + PAGE) if len(found) > PAGE else None,
    )


def one(page: Page) -> Response:
    """Show the values of a log, from the first on, or the last ones."""
    name = page.labels("name")
    place = {"name": encode_labels(name)}
    last = bool(page.text("last"))
    entries = []
    problem = None
    try:
        if last:
            entries = page.keep.logs.last(name, PAGE, refresh=False)
        else:
            after = page.number("after") or None
            entries = page.keep.logs.read(name, after=after, limit=PAGE + 1, refresh=False)
    except CorruptRecord as error:
        problem = page.said(error)
    more = len(entries) > PAGE
    rows = []
    for entry in entries[:PAGE]:
        value = decoded(entry.value, SHOWN)
        rows.append({"position": entry.position, "value": value, "messages": conversation([value])})
    return page.render(
        "log",
        title=f"Log {encode_labels(name)}",
        at="logs",
        name=name,
        rows=rows,
        problem=problem,
        last=last,
        first_link=page.link("log", **place),
        last_link=page.link("log", last=True, **place),
        next_page=page.link("log", after=entries[PAGE - 1].position, **place) if more else None,
        delete_link=page.link("confirm", action="delete-log", **place),
    )
