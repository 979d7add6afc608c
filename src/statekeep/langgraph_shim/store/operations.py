"""A batch of LangGraph's store as an operation.

Its requests are functions of a repository.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

from attrs import frozen
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    validate_op_namespace,
)

from ... import domain
from ...domain import ANY, DeleteItem, GetItem, InvalidInput, NamespaceMatch, PutItem
from ...domain.filters import checked
from ...domain.json_values import normalize, steps
from ...domain.model import Default, Ttl, is_plain_place, plain_text
from ...domain.shown import shown
from ...repositories.operation import Operation
from ...repositories.validation import boolean_or_none, count, text, texts
from .values import as_json

Search = dict[str, Any]
"""Arguments of a repository's ``search``."""

Listing = dict[str, Any]
"""Arguments of a repository's ``list_namespaces``."""

Write = PutItem | DeleteItem


@frozen
class Plan:
    """A batch, checked, by the positions of its operations.

    Of the writes of one item only the last one is there, with its position.
    """

    total: int
    gets: Mapping[int, GetItem]
    searches: Mapping[int, Search]
    listings: Mapping[int, Listing]
    writes: Mapping[int, Write]


def batch(ops: Iterable[Op], zone: tzinfo | None) -> Operation[list[Result]]:
    """Do several operations; reads see what was there before the writes.

    All are checked before the first one is done. The reads of single items are one batch of the repository, and so
    are the writes, of which each item gets only the last one.

    Args:
        ops: LangGraph's ``GetOp``, ``SearchOp``, ``ListNamespacesOp`` and ``PutOp``.
        zone: the time zone of the results; ``None`` for UTC.
    """
    return (yield from perform(planned(ops), zone))


def planned(ops: Iterable[Op]) -> Plan:
    """Check the operations of a batch.

    Raises:
        InvalidInput: an argument is wrong.
    """
    gets: dict[int, GetItem] = {}
    searches: dict[int, Search] = {}
    listings: dict[int, Listing] = {}
    writes: dict[tuple[tuple[str, ...], str], tuple[int, Write]] = {}
    total = 0
    for position, op in enumerate(ops):
        total += 1
        match op:
            case GetOp():
                gets[position] = _get(op)
            case SearchOp():
                searches[position] = _search(op)
            case ListNamespacesOp():
                listings[position] = _listing(op)
            case PutOp():
                write = _write(op)
                writes[write.namespace, write.key] = position, write
            case _:
                raise InvalidInput(
                    "ops must be GetOp, SearchOp, ListNamespacesOp or PutOp of langgraph.store.base, "
                    f"got {type(op).__name__}",
                    field="ops",
                )
    return Plan(total, gets, searches, listings, dict(writes.values()))


def perform(plan: Plan, zone: tzinfo | None) -> Operation[list[Result]]:
    """Do what :func:`planned` has checked."""
    results: list[Result] = [None] * plan.total
    if plan.gets:
        found = yield lambda keep: keep.batch(list(plan.gets.values()))
        for position, item in zip(plan.gets, found, strict=True):
            results[position] = None if item is None else Item(**_fields(item, zone))
    for position, search in plan.searches.items():
        hits = yield lambda keep, search=search: keep.search(**search)
        results[position] = [SearchItem(**_fields(hit, zone), score=hit.score) for hit in hits]
    for position, listing in plan.listings.items():
        results[position] = yield lambda keep, listing=listing: keep.list_namespaces(**listing)
    if plan.writes:
        yield lambda keep: keep.batch(list(plan.writes.values()))
    return results


def clear(namespace: tuple[str, ...], below: bool) -> Operation[int]:
    """Delete all items of a namespace; return how many.

    Those of the namespaces below it go, too, if ``below`` says so.
    """
    count: int = yield lambda keep: keep.clear(namespace, below=below)
    return count


def _fields(item: domain.Item, zone: tzinfo | None) -> dict[str, Any]:
    return {
        "namespace": item.namespace,
        "key": item.key,
        "value": item.value,
        "created_at": _local(item.created_at, zone),
        "updated_at": _local(item.updated_at, zone),
    }


def _local(time: datetime, zone: tzinfo | None) -> datetime:
    return time if zone is None else time.astimezone(zone)


# From LangGraph's operations to ours


def _labels(op: Op, field: str, value: Any) -> tuple[str, ...]:
    # A text would pass for a sequence of labels, each of one character.
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise InvalidInput(f"{field} must be a tuple of labels, got {type(value).__name__} {shown(value)}", field=field)
    validate_op_namespace(op)
    return tuple(value)


def key_of(value: Any) -> str:
    """Return a key as text; what is no text is made one, as in LangGraph.

    Raises:
        InvalidInput: no text can be made of it.
    """
    try:
        return plain_text(value) if isinstance(value, str) else str(value)
    except Exception as error:
        raise InvalidInput(
            f"key must be text, or have one: {type(error).__name__} with {shown(value)}", field="key"
        ) from error


def _get(op: GetOp) -> GetItem:
    namespace = _labels(op, "namespace", op.namespace)
    key = key_of(op.key)
    make = GetItem.trusted if is_plain_place(namespace, key) else GetItem
    return make(namespace=namespace, key=key, refresh=boolean_or_none("refresh_ttl", op.refresh_ttl))


def _search(op: SearchOp) -> Search:
    return {
        "namespace_prefix": _labels(op, "namespace_prefix", op.namespace_prefix),
        "filter": None if op.filter is None else checked(op.filter) or None,
        "query": None if op.query is None else text("query", op.query, empty=True, is_id=False),
        "limit": count("limit", op.limit),
        "offset": count("offset", op.offset),
        "refresh": boolean_or_none("refresh_ttl", op.refresh_ttl),
    }


def _listing(op: ListNamespacesOp) -> Listing:
    matches = [
        NamespaceMatch(where=condition.match_type, path=_labels(op, "path", condition.path))
        for condition in op.match_conditions or ()
    ]
    if op.max_depth is not None and not count("max_depth", op.max_depth):
        raise InvalidInput("max_depth must be None or an integer >= 1, got 0", field="max_depth")
    return {
        "matches": matches,
        "max_depth": op.max_depth,
        "limit": count("limit", op.limit),
        "offset": count("offset", op.offset),
    }


def _write(op: PutOp) -> Write:
    namespace = _labels(op, "namespace", op.namespace)
    key = key_of(op.key)
    are_plain = is_plain_place(namespace, key)
    if op.value is None:
        delete = DeleteItem.trusted if are_plain else DeleteItem
        return delete(namespace=namespace, key=key, expected=ANY)
    if not isinstance(op.value, Mapping):
        raise InvalidInput(
            f"value must be a mapping with text keys, or None to delete, got {type(op.value).__name__}", field="value"
        )
    index: Any = op.index
    if index is not None and index is not False:
        for path in texts("index", index):
            steps(path, "index")
    ttl, value = _seconds(op.ttl), normalize(op.value, "value", other=as_json)
    put = PutItem.trusted if are_plain else PutItem
    return put(namespace=namespace, key=key, value=value, ttl=ttl, expected=ANY, index=index)


def _seconds(ttl: Any) -> Ttl:
    if isinstance(ttl, Default):
        return ttl
    found = minutes("ttl", ttl)
    return None if found is None else found * 60


_LONGEST: Final = sys.float_info.max / 60


def minutes(field: str, value: Any) -> float | None:
    """Return a number of minutes: ``None``, or one > 0 that is finite in seconds, too.

    Raises:
        InvalidInput: it is anything else; ``field`` is named.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST:
        raise InvalidInput(f"{field} must be None or a number of minutes > 0, got {shown(value)}", field=field)
    return float(value)
