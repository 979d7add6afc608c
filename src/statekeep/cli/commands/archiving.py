"""``export`` and ``import``: everything into one file, and back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from ...domain.errors import InvalidInput
from ...inspection.labels import encode_labels
from ...inspection.printable import counted, size
from ..options import kinds_option
from ..progress import Progress
from ..run import Run
from ..status import Status

if TYPE_CHECKING:
    from ...archive import ArchiveProgress

STREAM: Final = "-"

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        show_default=False,
        help="A path; compressed if it ends with .gz or .zst. - for standard output or input.",
    ),
]
Kinds = Annotated[list[str] | None, kinds_option("checkpoints, items, logs or cache")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with a file that was cut off.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that is there.")]
Check = Annotated[bool, typer.Option("--check", help="Only read the file, and say whether it is whole.")]

_NAMES: Final = {
    "threads": ("thread", "threads"),
    "checkpoints": ("checkpoint", "checkpoints"),
    "pending_writes": ("pending write", "pending writes"),
    "items": ("item", "items"),
    "logs": ("log", "logs"),
    "entries": ("value of logs", "values of logs"),
    "cache_entries": ("cache entry", "cache entries"),
}


def export(
    run: Run, file: File, kinds: Kinds = None, resume: Resume = False, overwrite: Overwrite = False
) -> Status | None:
    """Write all records into a file, as JSON lines that `statekeep import` reads.

    Equal records make equal files, whatever service they are in. If this is stopped, go on with --resume.
    """
    from ...archive import export as export_all

    if file == STREAM and run.common.as_json:
        raise InvalidInput("--json cannot go with -, as standard output is the archive", field="json")
    with run.connect() as keep, run.progress("Exporting threads") as progress:
        done = export_all(
            keep, file, kinds=kinds or None, resume=resume, overwrite=overwrite, progress=_threads(progress)
        )
    _say(run, "exported", done, to_stderr=file == STREAM)
    return Status.OK


def restore(run: Run, file: File, kinds: Kinds = None, check: Check = False) -> Status | None:
    """Store what `statekeep export` wrote, exactly, in any service.

    Records with the same ids are replaced, all others stay. What has ended is left out. If this is stopped, repeat it.
    """
    from ...archive import restore as restore_all
    from ...archive import verify

    total = None if file == STREAM or not Path(file).is_file() else Path(file).stat().st_size
    if check:
        with run.progress("Checking bytes", total) as progress:
            done = verify(file, progress=_bytes(progress))
        _say(run, "found, and the file is whole", done)
        return Status.OK
    with run.connect() as keep, run.progress("Importing bytes", total) as progress:
        done = restore_all(file, keep, kinds=kinds or None, progress=_bytes(progress))
    _say(run, "imported", done)
    if done.endless:
        run.output.note(
            f"{counted(done.endless, 'thread is', 'threads are')} to end some day, and this service cannot do that"
        )
    return Status.OK


def _place(done: ArchiveProgress) -> str:
    return encode_labels(done.place) if isinstance(done.place, tuple) else done.place or ""


def _threads(progress: Progress) -> Callable[[ArchiveProgress], None]:
    def tell(done: ArchiveProgress) -> None:
        progress.update(done.threads, _place(done), total=done.of_threads)

    return tell


def _bytes(progress: Progress) -> Callable[[ArchiveProgress], None]:
    def tell(done: ArchiveProgress) -> None:
        progress.update(done.bytes, _place(done))

    return tell


def _say(run: Run, what: str, done: ArchiveProgress, *, to_stderr: bool = False) -> None:
    counts: dict[str, Any] = {name: getattr(done, name) for name in (*_NAMES, "ended", "endless", "bytes")}
    shown = ", ".join(counted(counts[name], *words) for name, words in _NAMES.items() if counts[name]) or "nothing"
    ended = f"; ended and left out: {done.ended}" if done.ended else ""
    text = f"{shown} {what}, {size(done.bytes)} of the file{ended}"
    if to_stderr:
        run.output.note(text)
    else:
        run.output.document(counts, lambda: [text])
