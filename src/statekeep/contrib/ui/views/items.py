"""Items by namespace, one item, and searches."""

from __future__ import annotations

import json
from itertools import islice
from typing import Any, Final

from starlette.responses import Response

from ....domain.errors import CorruptRecord, InvalidInput
from ....domain.items import Item
from ....domain.payload import Payload
from ....inspection import Limits, as_tree, decode
from ....inspection.labels import encode_labels
from ..markup import brief
from ..site import NotThere, Page, Sizes
from .values import LARGE

PAGE: Final = 50
"""Items, or namespaces, of a page."""

SHORT: Final = Limits(items=20, characters=200, values=60, depth=6, bytes=64 * 1024)


def decoded(value: Any, limits: Limits) -> Any:
    """Return the value of an item, a log or a cache entry as JSON."""
    if isinstance(value, Payload):
        found = decode(value, limits)
        return found.value if found.problem is None else {"not decoded": found.problem, "sha256": found.sha256}
    return as_tree(value, limits)


def listing(page: Page) -> Response:
    """Show the namespaces at or below one, or its items, or what is found in it."""
    labels = page.labels("namespace")
    query, text = page.text("q"), page.text("filter")
    conditions = _conditions(text)
    has_index = _has_index(page)
    if query and not has_index:
        raise InvalidInput("there is no index to search by meaning: open the connection with one", field="q")
    is_search = bool(query or page.text("below"))
    offset = page.number("offset", most=100_000)
    items: list[Any] = []
    problem = None
    try:
        if is_search:
            items = page.keep.items.search(
                labels, query=query or None, filter=conditions, limit=PAGE + 1, offset=offset, refresh=False
            )
        else:
            after = page.text("after") or None
            listed = page.keep.items.list(labels, filter=conditions, after=after, limit=PAGE + 1, refresh=False)
            for item in islice(listed, PAGE + 1):
                items.append(item)
    except CorruptRecord as error:
        problem = page.said(error)
    spaces, more_spaces, are_measured = ([], None, True) if is_search else _namespaces(page, labels)
    place = {"namespace": encode_labels(labels), "q": query, "filter": text, "below": page.text("below")}
    more = len(items) > PAGE
    next_page = None
    if more:
        forward = {"offset": offset + PAGE} if is_search else {"after": items[PAGE - 1].key}
        next_page = page.link("items", **place, **forward)
    return page.render(
        "items",
        title=f"Items in {encode_labels(labels)}" if labels else "Items",
        at="items",
        labels=labels,
        path=[
            (label, page.link("items", namespace=encode_labels(labels[: at + 1]))) for at, label in enumerate(labels)
        ],
        query=query,
        filter=text,
        below=page.text("below"),
        has_index=has_index,
        is_search=is_search,
        rows=[_row(page, item, is_search) for item in items[:PAGE]],
        spaces=spaces,
        more_spaces=more_spaces,
        are_measured=are_measured,
        problem=problem,
        next_page=next_page,
        clear_link=page.link("confirm", action="clear-items", namespace=encode_labels(labels)) if labels else None,
    )


def _conditions(text: str) -> dict[str, Any] | None:
    if not text:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidInput('the filter must be a JSON object, such as {"age": {"$gt": 3}}', field="filter")
    return found


def _has_index(page: Page) -> bool:
    backend = page.keep.items.backend
    return backend.index is not None or bool(getattr(backend, "embeds", False))


def _namespaces(page: Page, labels: tuple[str, ...]) -> tuple[list[dict[str, Any]], str | None, bool]:
    """Return the namespaces at or below one, with their sizes as far as there is time."""
    offset = page.number("spaces", most=1_000_000)
    listed = page.keep.items.list_namespaces(prefix=labels, limit=PAGE + 1, offset=offset)
    # A label * stands for any in a prefix.
    found = [each for each in listed[:PAGE] if each[: len(labels)] == labels]
    sizes = Sizes(60.0) if page.text("sizes") else Sizes()
    measures = sizes.measure(found, page.keep.items.measure)
    more = None
    if len(listed) > PAGE:
        more = page.link("items", namespace=encode_labels(labels), spaces=offset + PAGE)
    rows = [
        {"labels": each, "href": page.link("items", namespace=encode_labels(each)), "measure": measure}
        for each, measure in zip(found, measures, strict=True)
    ]
    return rows, more, sizes.are_all


def _row(page: Page, item: Item, is_search: bool) -> dict[str, Any]:
    return {
        "item": item,
        "score": getattr(item, "score", None) if is_search else None,
        "value": brief(decoded(item.value, SHORT)),
        "href": page.link("item", namespace=encode_labels(item.namespace), key=item.key),
    }


def one(page: Page) -> Response:
    """Show an item."""
    labels, key = page.labels("namespace"), page.text("key")
    item = page.keep.items.get(labels, key, refresh=False)
    if item is None:
        raise NotThere(f"There is no item {key!r} in {encode_labels(labels)}.")
    place = {"namespace": encode_labels(labels), "key": key}
    return page.render(
        "item",
        title=f"Item {key}",
        at="items",
        item=item,
        value=decoded(item.value, LARGE),
        back=page.link("items", namespace=encode_labels(labels)),
        delete_link=page.link("confirm", action="delete-item", **place),
    )
