"""``stats``: how much is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ...domain.errors import InvalidInput
from ...inspection.labels import named
from ...inspection.printable import size
from ..output import Column
from ..run import Run
from ..status import Status

if TYPE_CHECKING:
    from ...inspection.stats import Stats

KINDS: Final = (Column("kind"), Column("keys", right=True), Column("bytes", show=size, right=True))
THREADS: Final = (Column("thread_id", "largest threads"), *KINDS[1:])
NAMESPACES: Final = (Column("namespace"), *KINDS[1:])

Sample = Annotated[
    int | None,
    typer.Option(
        "--sample",
        metavar="N",
        show_default=False,
        help="Look at about N keys of Valkey, or N threads of AWS, and estimate the rest.",
    ),
]
Largest = Annotated[int, typer.Option("--largest", metavar="N", help="Name so many of the largest threads and so on.")]


def stats(run: Run, sample: Sample = None, largest: Largest = 10) -> int:
    """Count records and bytes by kind, and name the largest threads and namespaces.

    In Valkey these are bytes of the server's memory, by MEMORY USAGE of each key that SCAN finds. Elsewhere all is
    listed, and the lengths of the values are added up. Ctrl-C shows what was found so far.
    """
    from ...inspection.stats import Survey

    if largest < 0:
        raise InvalidInput(f"--largest must be 0 or more, got {largest}", field="largest")
    with run.connect() as keep:
        survey = Survey(keep, sample=sample, largest=largest)
        status = Status.OK
        try:
            with run.progress("Looking at keys") as progress:
                survey.run(lambda done, total: progress.update(done, total=total))
        except KeyboardInterrupt:
            status = Status.INTERRUPTED
        found = survey.so_far
    _show(run, found)
    return status


def _show(run: Run, found: Stats) -> None:
    output = run.output
    if output.as_json:
        output.document(_document(found))
    else:
        output.rows(KINDS, (kind.model_dump() for kind in found.kinds))
        if found.threads:
            output.line()
            output.rows(THREADS, (thread.model_dump() for thread in found.threads))
        for title, largest in _namespaces(found):
            output.line()
            columns = (Column("namespace", f"largest {title}"), *NAMESPACES[1:])
            output.rows(columns, ({**row.model_dump(), **named(row.namespace)} for row in largest))
    for note in _notes(found):
        output.note(note)


def _namespaces(found: Stats) -> Iterator[tuple[str, Any]]:
    for title, largest in (
        ("namespaces of items", found.namespaces),
        ("namespaces of the cache", found.cache_namespaces),
        ("logs", found.logs),
    ):
        if largest:
            yield title, largest


def _document(found: Stats) -> dict[str, Any]:
    document = found.model_dump()
    for name in ("namespaces", "cache_namespaces", "logs"):
        rows = getattr(found, name)
        document[name] = [{**row.model_dump(exclude={"namespace"}), **named(row.namespace)} for row in rows]
    return document


def _notes(found: Stats) -> Iterator[str]:
    of = "" if found.of_keys is None else f" of {found.of_keys}"
    if found.scope == "partial":
        yield f"stopped: this is what {found.keys}{of} keys have, and no more"
    elif found.scope == "sample":
        yield f"estimated from {found.keys}{of} keys; what threads and namespaces have is what was seen of them"
    else:
        total = "" if found.bytes is None else f", {size(found.bytes)} in all"
        yield f"{found.keys}{of} keys were looked at{total}"
    if found.slack:
        yield f"there are very many: what one thread or namespace has may be up to {size(found.slack)} more"
    for missing in found.missing:
        yield f"not counted: {missing}"
