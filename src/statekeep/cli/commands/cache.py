"""``cache``: cache entries, and their end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from ...domain.errors import InvalidInput
from ...inspection.labels import decode_labels, encode_labels, named
from ...inspection.printable import counted, size
from ..options import Limit, Yes, limit_of
from ..output import Column
from ..run import Run
from ..status import Status
from .items import as_json, ends_in, left, limits_of_rows, short

NAMESPACES: Final = (
    Column("namespace"),
    Column("entries", right=True),
    Column("bytes", show=size, right=True),
)
ENTRIES: Final = (
    Column("key"),
    Column("created_at", "created"),
    Column("ttl", "ends in", ends_in, right=True),
    Column("bytes", show=size, right=True),
    Column("value", show=short),
)

Listed = Annotated[
    str | None,
    typer.Option("--list", metavar="NAMESPACE", show_default=False, help="List the entries of a namespace."),
]
Clear = Annotated[bool, typer.Option("--clear", help="Delete all entries, or those of --namespace.")]
Namespaces = Annotated[
    list[str] | None,
    typer.Option("--namespace", metavar="NAMESPACE", show_default=False, help="To clear; may be given several times."),
]


def cache(
    run: Run,
    listed: Listed = None,
    clear: Clear = False,
    namespace: Namespaces = None,
    limit: Limit = 100,
    yes: Yes = False,
) -> int:
    """List namespaces of the cache with their entries and bytes, or clear them.

    LangGraph's ValkeyCache has the prefix langgraph:cache: say --key-prefix langgraph:cache.
    """
    most = limit_of(limit)
    if listed is not None and clear:
        raise InvalidInput("--list and --clear do not go together", field="clear")
    if namespace and not clear:
        raise InvalidInput("--namespace goes with --clear", field="namespace")
    if clear:
        return _clear(run, [decode_labels(text) for text in namespace or ()], yes)
    if listed is not None:
        return _list(run, decode_labels(listed), most)
    with run.connect() as keep:
        found = _first(keep.cache.list_namespaces(), most)
        count = run.output.rows(NAMESPACES, ({**each.model_dump(), **named(each.namespace)} for each in found))
    return _end(run, count, "no cache entries")


def _first(found: Iterator[Any], most: int | None) -> Iterator[Any]:
    from itertools import islice

    return found if most is None else islice(found, most)


def _end(run: Run, count: int, nothing: str) -> int:
    if count:
        return Status.OK
    run.output.note(nothing)
    return Status.FOUND_NOTHING


def _list(run: Run, labels: tuple[str, ...], most: int | None) -> int:
    with run.connect() as keep:
        now, limits = keep.now(), limits_of_rows(run)
        rows = (
            {
                **named(entry.namespace),
                "key": entry.key,
                "created_at": entry.created_at,
                "expires_at": entry.expires_at,
                "ttl": left(entry.expires_at, now),
                "bytes": len(entry.payload.data),
                "value": as_json(entry.payload, limits),
            }
            for entry in _first(keep.cache.list(labels), most)
        )
        count = run.output.rows(ENTRIES, rows)
    return _end(run, count, f"no cache entries in {encode_labels(labels)}")


def _clear(run: Run, namespaces: list[tuple[str, ...]], yes: bool) -> int:
    places = "".join(f" in {encode_labels(namespace)}," for namespace in namespaces).rstrip(",")
    places += f" of {run.common.key_prefix}" if run.common.key_prefix else ""
    with run.connect() as keep:
        clear = keep.cache.clear  # refuses what has no cache before anybody is asked
        run.confirm(f"Delete all cache entries{places}?", yes)
        count = clear(namespaces or None)
    run.output.document({"deleted": count}, lambda: [f"{counted(count, 'cache entry', 'cache entries')} deleted"])
    return Status.OK
