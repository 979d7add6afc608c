"""``doctor``: is the service as Statekeep needs it."""

from __future__ import annotations

from typing import Annotated

import typer

from ...domain.errors import InvalidInput, StatekeepError
from ..output import Column
from ..run import Run
from ..status import Status

COLUMNS = (Column("state"), Column("name", "check"), Column("found"), Column("advice", "what to do"))

Write = Annotated[
    bool, typer.Option("--write", help="On AWS, try what cannot be tried without writing; it is deleted at once.")
]


def doctor(run: Run, write: Write = False) -> int:
    """Check the service, its settings and your permissions, and say what to do.

    Exit status 1 if there is a problem. A warning is none, nor is what a managed service does not show.
    """
    from ...inspection.doctor import examine
    from ...inspection.doctor.general import libraries, unreachable

    try:
        with run.connect() as keep, run.progress("Examining"):
            findings = examine(keep, write=write)
    except InvalidInput as error:
        if error.field == "url":
            raise  # a wrong use, and no finding
        findings = [*libraries(), unreachable(error)]
    except StatekeepError as error:
        # Such as a driver that is not installed, or an embedded server that does not start.
        findings = [*libraries(), unreachable(error)]
    run.output.rows(COLUMNS, (finding.model_dump() for finding in findings))
    counts = {state: sum(finding.state == state for finding in findings) for state in ("problem", "warning", "unknown")}
    run.output.note(_summary(counts))
    return Status.FAILED if counts["problem"] else Status.OK


def _summary(counts: dict[str, int]) -> str:
    texts = [f"{count} {state}{'s' if count > 1 and state != 'unknown' else ''}" for state, count in counts.items()]
    return ", ".join(text for text, count in zip(texts, counts.values(), strict=True) if count) or "all is well"
