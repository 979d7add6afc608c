"""``items``, ``item`` and ``namespaces``: JSON values under namespaces and keys."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ...domain.errors import InvalidInput
from ...inspection.labels import decode_labels, named
from ...inspection.printable import duration, size
from ..options import Full, Limit, NamespaceText, Raw, limit_of
from ..output import Column
from ..run import Run
from ..status import Status
from ..vectors import Collection, Embed, index_of
from .show import limits_of

if TYPE_CHECKING:
    import datetime as dt

    from ...domain import Item
    from ...inspection import Limits

SHORT: Final = 60
"""Characters of a value in a table."""

FIRST: Final = 500
"""Results of a search at most, where all are asked for: it is no listing."""

Filter = Annotated[
    str | None,
    typer.Option("--filter", metavar="JSON", show_default=False, help='Conditions on the value: {"age": {"$gt": 3}}.'),
]
Query = Annotated[
    str | None,
    typer.Option(
        "--query",
        "-q",
        metavar="TEXT",
        show_default=False,
        help="Search at and below the namespace by meaning. In Valkey say --embed, too.",
    ),
]
KeyStart = Annotated[str, typer.Option("--prefix", metavar="TEXT", help="Only keys that begin with it.")]
KeysOnly = Annotated[bool, typer.Option("--keys", help="Keys alone; no value is read.")]
Below = Annotated[bool, typer.Option("--below", help="Items of the namespaces below, too, the newest first.")]
Newest = Annotated[bool, typer.Option("--newest", help="The last put first, instead of the order of keys.")]
KeyText = Annotated[str, typer.Argument(metavar="KEY", show_default=False, help="Key of the item, as it is.")]
Start = Annotated[
    str | None,
    typer.Argument(
        metavar="[PREFIX]", show_default=False, help="Only namespaces at or below this one, such as users/ada."
    ),
]
Depth = Annotated[
    int | None,
    typer.Option("--depth", metavar="N", min=1, show_default=False, help="Cut deeper namespaces to N labels."),
]
NoCounts = Annotated[bool, typer.Option("--no-counts", help="Do not count the items of each namespace.")]


def items(
    run: Run,
    namespace: NamespaceText,
    query: Query = None,
    embed: Embed = None,
    collection: Collection = "default",
    filter: Filter = None,
    prefix: KeyStart = "",
    keys: KeysOnly = False,
    below: Below = False,
    newest: Newest = False,
    limit: Limit = 100,
) -> int:
    """List the items of a namespace, or search in it.

    Values are shown as JSON, and more of them with --json. Nothing is executed, and no TTL begins anew.
    """
    labels, most = decode_labels(namespace), limit_of(limit)
    _check(query, embed, filter, prefix, keys, below, newest)
    conditions = _conditions(filter)
    options = _index(run, embed, collection, query)
    with run.connect(**options) as keep:
        now, limits = keep.now(), limits_of_rows(run)
        if keys:
            found = ({**named(labels), "key": key} for key in keep.items.keys(labels, prefix=prefix, limit=most))
            count = run.output.rows((Column("key"),), found)
        elif query is not None or below:
            some = keep.items.search(labels, query=query, filter=conditions, limit=most or FIRST)
            columns = COLUMNS if query is None else (*COLUMNS[:2], Column("score", right=True), *COLUMNS[2:])
            count = run.output.rows(columns, ({**_row(item, now, limits), "score": item.score} for item in some))
        else:
            listed = keep.items.list(
                labels,
                prefix=prefix,
                filter=conditions,
                limit=most,
                order="updated" if newest else "key",
                reverse=newest,
            )
            count = run.output.rows(COLUMNS[1:], (_row(item, now, limits) for item in listed))
    if not count:
        run.output.note(f"no items in {named(labels)['namespace']}")
        return Status.FOUND_NOTHING
    return Status.OK


def _check(
    query: str | None, embed: str | None, filter: str | None, prefix: str, keys: bool, below: bool, newest: bool
) -> None:
    """Refuse options that mean nothing together."""
    if embed is not None and query is None:
        raise InvalidInput("--embed goes with --query", field="embed")
    if keys and (query is not None or filter is not None or below or newest):
        raise InvalidInput("--keys reads no values, so it goes with --prefix and --limit alone", field="keys")
    if prefix and (query is not None or below):
        raise InvalidInput("--prefix goes with a listing of one namespace, not with --query or --below", field="prefix")
    if newest and query is not None:
        raise InvalidInput("--query sorts by nearness, so --newest means nothing", field="newest")


def _conditions(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"--filter must be a JSON object: {error}", field="filter") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"--filter must be a JSON object, got {type(found).__name__}", field="filter")
    return found


def _index(run: Run, embed: str | None, collection: str, query: str | None) -> dict[str, Any]:
    """Return the options of a connection that searches by meaning."""
    if query is None:
        return {}
    if (run.common.url or "").startswith("agentcore:"):
        if embed is not None:
            raise InvalidInput("AgentCore makes the vectors by itself: leave out --embed", field="embed")
        return {"index": {"fields": []}}
    if embed is None:
        raise InvalidInput(
            "--query needs --embed MODULE:NAME, which makes a vector of the text; what is found by words alone, "
            "--filter finds",
            field="embed",
        )
    with run.connect() as keep:
        return {"index": index_of(keep, embed, collection)}


def left(expires_at: dt.datetime | None, now: dt.datetime) -> float | None:
    """Return the seconds until something ends; ``None`` if it never does."""
    return None if expires_at is None else round(max(0.0, (expires_at - now).total_seconds()), 3)


def _row(item: Item, now: dt.datetime, limits: Limits) -> dict[str, Any]:
    return {
        **named(item.namespace),
        "key": item.key,
        "version": item.version,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
        "expires_at": item.expires_at,
        "ttl": left(item.expires_at, now),
        "bytes": bytes_of(item.value),
        "value": as_json(item.value, limits),
    }


def as_json(value: Any, limits: Limits) -> Any:
    """Return a value of an item or a log as JSON, payloads decoded."""
    from ...domain import Payload
    from ...inspection import as_tree, decode

    if isinstance(value, Payload):
        return decode(value, limits).model_dump(exclude_none=True)
    return as_tree(value, limits)


def limits_of_rows(run: Run) -> Limits:
    """Return how much of the values of a listing is shown."""
    from ...inspection import Limits

    return Limits() if run.output.as_json else Limits(items=SHORT, characters=SHORT, values=SHORT, bytes=100 * SHORT)


def raw_json(value: Any) -> Any:
    """Return a value of an item or a log as it is stored, payloads in base64."""
    from ...domain import Payload
    from ...inspection import decode_raw

    return decode_raw(value) if isinstance(value, Payload) else value


def bytes_of(value: Any) -> int:
    """Return the bytes of a value as it is stored."""
    from ...domain import Payload
    from ...domain.json_values import dumps

    return len(value.data) if isinstance(value, Payload) else len(dumps(value).encode())


def short(value: Any) -> str:
    """Return the beginning of a value's JSON."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= SHORT else f"{text[: SHORT - 1]}…"


def ends_in(seconds: float | None) -> str:
    """Return the seconds until something ends for people."""
    return "never" if seconds is None else duration(seconds)


COLUMNS: Final = (
    Column("namespace"),
    Column("key"),
    Column("version", right=True),
    Column("updated_at", "updated"),
    Column("ttl", "ends in", ends_in, right=True),
    Column("bytes", show=size, right=True),
    Column("value", show=short),
)


def item(run: Run, namespace: NamespaceText, key: KeyText, raw: Raw = False, full: Full = False) -> int:
    """Show one item with its value."""
    labels = decode_labels(namespace)
    with run.connect() as keep:
        found = keep.items.get(labels, key)
        if found is None:
            run.output.note(f"there is no item {key!r} in {named(labels)['namespace']}")
            return Status.FOUND_NOTHING
        row = _row(found, keep.now(), limits_of(full, people=not run.output.as_json))
    if raw:
        row["value"] = raw_json(found.value)

    def lines() -> Iterator[str]:
        for name in ("namespace", "key", "version", "created_at", "updated_at", "expires_at"):
            yield f"{name:10}  {'-' if row[name] is None else row[name]}"
        yield f"{'bytes':10}  {row['bytes']}"
        yield from json.dumps(row["value"], ensure_ascii=False, indent=2).splitlines()

    run.output.document(row, lines)
    return Status.OK


def namespaces(
    run: Run, prefix: Start = None, depth: Depth = None, no_counts: NoCounts = False, limit: Limit = 100
) -> int:
    """List the namespaces of items, with how many each has, and their bytes."""
    labels, most = decode_labels(prefix or "", "PREFIX"), limit_of(limit)
    is_counted = not no_counts and depth is None
    columns = [Column("namespace")]
    if is_counted:
        columns += [Column("items", right=True), Column("bytes", show=size, right=True)]
    with run.connect() as keep:
        # A label * stands for any in a prefix.
        listed = keep.items.list_namespaces(prefix=labels, max_depth=depth, limit=most)
        found = [namespace for namespace in listed if namespace[: len(labels)] == labels]

        def rows() -> Iterator[dict[str, Any]]:
            for namespace in found:
                row = named(namespace)
                if is_counted:
                    row |= keep.items.measure(namespace).model_dump()
                yield row

        count = run.output.rows(columns, rows())
    if not count:
        run.output.note("no namespaces" if not labels else f"no namespaces at or below {named(labels)['namespace']}")
        return Status.FOUND_NOTHING
    return Status.OK
