"""The cache: its namespaces, and entries with their ends."""

from __future__ import annotations

from itertools import islice
from typing import Final

from starlette.responses import Response

from ....domain.errors import CorruptRecord
from ....inspection.labels import encode_labels
from ..markup import brief
from ..site import Page
from .items import SHORT, decoded

PAGE: Final = 100
"""Namespaces, or entries, of a page."""


def namespaces(page: Page) -> Response:
    """Show the namespaces of the cache."""
    offset = page.number("offset", most=1_000_000)
    found = list(islice(page.keep.cache.list_namespaces(), offset, offset + PAGE + 1))
    return page.render(
        "cache",
        title="Cache",
        at="cache",
        rows=[
            {"space": space, "href": page.link("cache/entries", namespace=encode_labels(space.namespace))}
            for space in found[:PAGE]
        ],
        next_page=page.link("cache", offset=offset + PAGE) if len(found) > PAGE else None,
    )


def entries(page: Page) -> Response:
    """Show the entries of a namespace."""
    labels = page.labels("namespace")
    offset = page.number("offset", most=1_000_000)
    found = []
    problem = None
    try:
        for entry in islice(page.keep.cache.list(labels), offset, offset + PAGE + 1):
            found.append(entry)  # noqa: PERF402 - those before a damaged one are kept
    except CorruptRecord as error:
        problem = page.said(error)
    text = encode_labels(labels)
    return page.render(
        "entries",
        title=f"Cache entries in {text}",
        at="cache",
        labels=labels,
        rows=[(entry, brief(decoded(entry.payload, SHORT))) for entry in found[:PAGE]],
        problem=problem,
        next_page=page.link("cache/entries", namespace=text, offset=offset + PAGE) if len(found) > PAGE else None,
        clear_link=page.link("confirm", action="clear-cache", namespace=text),
    )
