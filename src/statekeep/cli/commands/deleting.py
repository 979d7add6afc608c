"""``delete`` and ``prune``: what need not be kept."""

from __future__ import annotations

import datetime as dt
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Final

import typer

from ...domain.checkpoints import PrunePolicy
from ...domain.errors import InvalidInput
from ...inspection.printable import counted, duration
from ..options import Yes, duration_of
from ..run import Run
from ..status import Status

if TYPE_CHECKING:
    from ...repositories.connection import Connection

SHOWN: Final = 5
"""Threads that a question names."""

TOGETHER: Final = 50
"""Threads that are looked for with one question."""

Threads = Annotated[list[str] | None, typer.Argument(metavar="[THREAD]...", show_default=False, help="Ids of threads.")]
Prefix = Annotated[str | None, typer.Option("--prefix", metavar="TEXT", help="All threads whose id begins with this.")]
All = Annotated[bool, typer.Option("--all", help="All threads.")]
Keep = Annotated[
    int | None,
    typer.Option(
        "--keep", metavar="N", show_default=False, help="The newest so many of each namespace stay: 1 by default."
    ),
]
OlderThan = Annotated[
    str | None,
    typer.Option("--older-than", metavar="TIME", help="Only what is so old goes: 12h, 30d, 2w. All else by default."),
]


def delete(
    run: Run, threads: Threads = None, prefix: Prefix = None, everything: All = False, yes: Yes = False
) -> Status:
    """Delete threads with all that they have.

    Each thread is deleted for itself. If this is stopped, repeat it.
    """
    with run.connect() as keep:
        found, missing = _chosen(run, keep, threads or [], prefix, everything)
        if not found:
            return Status.FOUND_NOTHING
        run.confirm(f"Delete {_named(found)}?", yes)
        with run.progress("Deleting threads", len(found)) as progress:
            for thread in found:
                keep.checkpoints.delete_thread(thread)
                progress.advance(thread)
    count = len(found)
    run.output.document({"deleted": count, "missing": missing}, lambda: [f"{counted(count, 'thread')} deleted"])
    return Status.FOUND_NOTHING if missing else Status.OK


def prune(
    run: Run,
    threads: Threads = None,
    prefix: Prefix = None,
    everything: All = False,
    keep: Keep = None,
    older_than: OlderThan = None,
    yes: Yes = False,
) -> Status:
    """Delete old checkpoints of threads, and keep the newest.

    Checkpoints from which a kept one is rebuilt are kept, too. With --keep 0 --older-than 30d, threads go that were not
    used for so long. Each thread is pruned for itself. If this is stopped, repeat it: what is done is done fast.
    """
    if keep is None and older_than is None:
        raise InvalidInput("say what to keep: --keep N, or --older-than 30d, or both", field="keep")
    if keep is not None and keep < 0:
        raise InvalidInput(f"--keep must be 0 or more, got {keep}", field="keep")
    age = None if older_than is None else duration_of(older_than, "--older-than")
    policy = PrunePolicy(keep=1 if keep is None else keep, older_than=age)
    deleted = 0
    with run.connect() as connection:
        found, missing = _chosen(run, connection, threads or [], prefix, everything)
        if not found:
            return Status.FOUND_NOTHING
        run.confirm(f"{_policy(policy)} Prune {_named(found)}?", yes)
        with run.progress("Pruning threads", len(found)) as progress:
            for thread in found:
                deleted += connection.checkpoints.prune([thread], policy)
                progress.advance(thread)
    count = len(found)
    run.output.document(
        {"threads": count, "deleted": deleted, "missing": missing},
        lambda: [f"{counted(deleted, 'checkpoint')} deleted, of {counted(count, 'thread')}"],
    )
    return Status.FOUND_NOTHING if missing else Status.OK


def _policy(policy: PrunePolicy) -> str:
    newest = f"The newest {policy.keep} of each namespace stay" if policy.keep else "Nothing stays"
    if policy.older_than is None:
        return f"{newest}; all else goes."
    return f"{newest} for its number; what is older than {duration(policy.older_than or dt.timedelta())} goes."


def _named(threads: list[str]) -> str:
    if len(threads) == 1:
        return f"thread {threads[0]!r}"
    some = ", ".join(map(repr, threads[:SHOWN]))
    return f"{len(threads)} threads ({some}{', ...' if len(threads) > SHOWN else ''})"


def _chosen(
    run: Run, keep: Connection, given: list[str], prefix: str | None, everything: bool
) -> tuple[list[str], list[str]]:
    """Return the threads that are meant, and those that are not there, and say so."""
    if bool(given) + (prefix is not None) + everything != 1:
        raise InvalidInput("say which threads: their ids, or --prefix TEXT, or --all", field="threads")
    if prefix == "":
        raise InvalidInput("--prefix must not be empty; say --all if you mean all threads", field="prefix")
    if not given:
        found = []
        with run.progress("Looking for threads") as progress:
            for thread in keep.checkpoints.list_threads(prefix=prefix or ""):
                found.append(thread.thread_id)
                progress.advance()
        if not found:
            run.output.note("no threads")
        return found, []
    wanted = iter(dict.fromkeys(given))
    there: list[str] = []
    missing: list[str] = []
    while page := list(islice(wanted, TOGETHER)):
        measures = keep.checkpoints.measure(page)
        for thread_id in page:
            (there if thread_id in measures else missing).append(thread_id)
    for thread_id in missing:
        run.output.note(f"there is no thread {thread_id!r}")
    return there, missing
