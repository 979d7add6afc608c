"""``logs``: values one behind the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from ...domain.errors import InvalidInput
from ...inspection.labels import decode_labels, encode_labels, named
from ...inspection.printable import size
from ..options import Limit, Raw, limit_of
from ..output import Column
from ..run import Run
from ..status import Status
from .items import as_json, bytes_of, ends_in, left, limits_of_rows, raw_json, short

LOGS: Final = (
    Column("log"),
    Column("count", "values", right=True),
    Column("bytes", show=size, right=True),
    Column("ttl", "ends in", ends_in, right=True),
)
ENTRIES: Final = (
    Column("position", right=True),
    Column("bytes", show=size, right=True),
    Column("value", show=short),
)

LogText = Annotated[
    str | None,
    typer.Argument(
        metavar="[LOG]",
        show_default=False,
        help="Name of a log to show, such as chat/ada; without one, logs are listed.",
    ),
]
LogStart = Annotated[
    str, typer.Option("--prefix", metavar="LABELS", show_default=False, help="List logs at or below these labels.")
]
After = Annotated[
    int | None, typer.Option("--after", metavar="POSITION", show_default=False, help="Only values behind this one.")
]
Last = Annotated[bool, typer.Option("--last", help="The last values, not the first.")]
NoCounts = Annotated[bool, typer.Option("--no-bytes", help="List logs without asking for the bytes of each.")]


def logs(
    run: Run,
    log: LogText = None,
    prefix: LogStart = "",
    after: After = None,
    last: Last = False,
    raw: Raw = False,
    no_bytes: NoCounts = False,
    limit: Limit = 100,
) -> int:
    """List logs with their values and bytes, or show the values of one."""
    most = limit_of(limit)
    if log is None:
        if after is not None or last or raw:
            raise InvalidInput("--after, --last and --raw go with the name of a log", field="log")
        return _list(run, decode_labels(prefix, "--prefix"), no_bytes, most)
    if prefix:
        raise InvalidInput("--prefix lists logs, so it does not go with the name of one", field="prefix")
    if after is not None and last:
        raise InvalidInput("--after and --last do not go together", field="last")
    return _show(run, decode_labels(log, "LOG"), after, last, raw, most)


def _list(run: Run, prefix: tuple[str, ...], no_bytes: bool, most: int | None) -> int:
    with run.connect() as keep:
        now = keep.now()

        def rows() -> Iterator[dict[str, Any]]:
            for found in keep.logs.list(prefix=prefix, limit=most):
                yield {
                    **_named(found.name),
                    "count": found.count,
                    "bytes": None if no_bytes else keep.logs.measure(found.name).bytes,
                    "expires_at": found.expires_at,
                    "ttl": left(found.expires_at, now),
                }

        columns = [column for column in LOGS if not (no_bytes and column.name == "bytes")]
        count = run.output.rows(columns, rows())
    if not count:
        run.output.note(f"no logs at or below {encode_labels(prefix)}" if prefix else "no logs")
        return Status.FOUND_NOTHING
    return Status.OK


PAGE: Final = 500
"""Values that are read at once."""


def _show(run: Run, log: tuple[str, ...], after: int | None, last: bool, raw: bool, most: int | None) -> int:
    with run.connect() as keep:

        def entries() -> Iterator[Any]:
            if last:
                yield from keep.logs.last(log, keep.logs.count(log) if most is None else most, refresh=False)
                return
            behind, left_over = after, most
            while left_over is None or left_over > 0:
                page = PAGE if left_over is None else min(PAGE, left_over)
                found = keep.logs.read(log, after=behind, limit=page, refresh=False)
                yield from found
                if len(found) < page:
                    return
                behind = found[-1].position
                left_over = None if left_over is None else left_over - len(found)

        limits = limits_of_rows(run)
        rows = (
            {
                "position": entry.position,
                "bytes": bytes_of(entry.value),
                "value": raw_json(entry.value) if raw else as_json(entry.value, limits),
            }
            for entry in entries()
        )
        count = run.output.rows(ENTRIES, rows)
    if not count:
        behind = "" if after is None else f" behind position {after}"
        run.output.note(f"no values in the log {encode_labels(log)}{behind}")
        return Status.FOUND_NOTHING
    return Status.OK


def _named(log: tuple[str, ...]) -> dict[str, Any]:
    found = named(log)
    return {"log": found["namespace"], "labels": found["labels"]}
