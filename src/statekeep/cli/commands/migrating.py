"""``migrate``: what other savers, stores and caches of LangGraph keep."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...domain.errors import InvalidInput
from ..options import since_of
from ..progress import Progress
from ..run import Run
from ..status import Status

if TYPE_CHECKING:
    from ...langgraph_shim.migration import MigrationReport

Source = Annotated[
    str,
    typer.Argument(
        metavar="SOURCE",
        show_default=False,
        help="What to read: sqlite:///FILE, postgresql://, redis:// or valkey://. It is never changed.",
    ),
]
Target = Annotated[
    str | None, typer.Argument(metavar="[TARGET]", show_default=False, help="Where to write; that of --url by default.")
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--kind",
        metavar="PACKAGE",
        show_default=False,
        help="Whose data, if a server has that of several: langgraph-checkpoint-aws or langgraph-checkpoint-redis.",
    ),
]
Since = Annotated[
    str | None,
    typer.Option(
        "--since",
        metavar="TIME",
        show_default=False,
        help="Only what may have changed since: began_at of the last migration, or 2h.",
    ),
]
Verify = Annotated[str, typer.Option("--verify", metavar="HOW", help="What is read back: sample, all or none.")]


def migrate(
    run: Run,
    source: Source,
    target: Target = None,
    kind: Kind = None,
    since: Since = None,
    verify: Verify = "sample",
) -> Status:
    """Bring what another saver, store or cache of LangGraph keeps.

    Threads come with all checkpoints and pending writes, items and cache entries with their values, and with their
    ends where the source tells them. Repeat it as you like: what is there already is left alone. Programs may write
    to the source meanwhile; --since brings the rest.
    """
    from ...langgraph_shim.migration import MigrationReport, VerificationFailed, open_source
    from ...langgraph_shim.migration import migrate as bring

    if verify not in ("sample", "all", "none"):
        raise InvalidInput(f"--verify must be sample, all or none, got {verify}", field="verify")
    start: Any = None
    if since is not None:
        # As a report it leaves room for clocks that differ.
        start = MigrationReport(began_at=since_of(since, "--since", dt.datetime.now(dt.UTC)))
    how: Any = None if verify == "none" else verify
    run.hide(source)
    status = Status.OK
    differences: tuple[str, ...] = ()
    with open_source(source, kind=kind) as found, run.connect(target) as keep:
        with run.progress("Migrating") as progress:
            try:
                report = bring(found, keep, since=start, verify=how, progress=lambda so_far: _tell(progress, so_far))
            except VerificationFailed as error:
                status, report, differences = Status.FAILED, error.report, error.differences
    document = {"source": found.kind, **report.model_dump(mode="json", exclude={"place"})}
    document |= {"written": report.written, "differences": list(differences)}
    run.output.document(document, lambda: _lines(found.kind, report))
    for difference in differences:
        run.output.note(f"differs: {difference}")
    return status


def _tell(progress: Progress, so_far: MigrationReport) -> None:
    place = so_far.place if isinstance(so_far.place, str) else "/".join(so_far.place or ())
    total = so_far.of_threads if so_far.of_threads and so_far.threads < so_far.of_threads else None
    done = so_far.threads if total else so_far.threads + so_far.items + so_far.cache_entries
    progress.update(done, place, total=total)


def _lines(kind: str, report: MigrationReport) -> list[str]:
    lines = [f"from {kind}, begun at {report.began_at.isoformat(timespec='seconds')}"]
    for name in ("checkpoints", "pending_writes", "items", "cache_entries"):
        read = getattr(report, name)
        if read:
            lines.append(f"{name.replace('_', ' ')}: {read} read, {getattr(report, f'{name}_put')} written")
    if report.threads:
        lines.insert(1, f"threads: {report.threads}")
    if report.items_kept:
        lines.append(f"newer in the target, and left alone: {report.items_kept} of the items")
    if report.expiries_lost:
        lines.append(
            f"not to end as in the source, as the service cannot set it: {report.expiries_lost} of the threads"
        )
    lines.append(f"read back and compared: {report.verified}")
    return lines
