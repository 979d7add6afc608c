"""The numbers of a report for the README."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .report import Report, Table
from .savers import FLOORS, GLIDE, INCUMBENT, VALKEY_PY
from .tables import cell, number

SECTION = re.compile(r"(?<=^<!-- bench -->\n).*?(?=^<!-- /bench -->$)", re.MULTILINE | re.DOTALL)


def section(report: Report, pictures: Sequence[str]) -> str:
    """Return the text between the marks.

    Args:
        report: a run of all workloads.
        pictures: paths of the charts from the README, in their order.
    """
    where = report.environment
    versions = where.versions
    parts = [
        (
            f"Medians of one run of `make bench` on {where.cores} cores ({where.machine}; Python {versions['Python']},"
            f" Valkey {versions['Valkey']} on loopback, langgraph-checkpoint-aws {versions['langgraph-checkpoint-aws']}) in"
            " microseconds, and how many times faster than langgraph-checkpoint-aws that is. The floor sends the same bytes"
            " in one round trip through the same client."
        )
    ]
    if report.quick:
        parts.insert(0, "**From a quick run.**")
    parts += [
        _table(report, key, heading, contenders)
        for key, heading, contenders in (
            ("chat/sync", "short chat, blocking", (INCUMBENT, VALKEY_PY, GLIDE, FLOORS[VALKEY_PY])),
            ("chat/async", "short chat, async", (INCUMBENT, VALKEY_PY, GLIDE, FLOORS[GLIDE])),
            ("document/sync", "100 KB document, blocking", (INCUMBENT, VALKEY_PY, GLIDE, FLOORS[VALKEY_PY])),
            ("document/async", "100 KB document, async", (INCUMBENT, VALKEY_PY, GLIDE, FLOORS[GLIDE])),
            ("fan-out/sync", "30 tasks in one step, blocking", (INCUMBENT, VALKEY_PY, GLIDE, FLOORS[VALKEY_PY])),
        )
        if key in report.tables
    ]
    parts += [f"![{_caption(picture)}]({picture})" for picture in pictures]
    parts += [
        sentence for sentence in (_growth(report), _stored(report), _throughput(report), _targets(report)) if sentence
    ]
    return "\n" + "\n\n".join(parts) + "\n\n"


def updated(text: str, report: Report, pictures: Sequence[str]) -> str:
    """Return the README's text with the section replaced.

    Raises:
        ValueError: the marks are not there.
    """
    made, count = SECTION.subn(lambda _: section(report, pictures), text)
    if count != 1:
        raise ValueError("the README has no section between <!-- bench --> and <!-- /bench -->")
    return made


def _caption(picture: str) -> str:
    return picture.rpartition("/")[2].removesuffix(".svg").removeprefix("benchmarks-")


def _table(report: Report, key: str, heading: str, contenders: Sequence[str]) -> str:
    table = report.tables[key]
    there = [name for name in contenders if name in table.contenders]
    lines = [f"| {heading} | {' | '.join(there)} |", f"|{'---|' * (len(there) + 1)}"]
    lines += [
        f"| {operation} | {' | '.join(cell(table, operation, name) for name in there)} |" for operation in table.cells
    ]
    return "\n".join(lines)


def _growth(report: Report) -> str:
    if not report.growth:
        return ""
    growth = report.growth
    exponents = [
        f"{operation} {exponent:+.2f}"
        for operation in ("get latest", "put", "put_writes", "list(10)")
        if (exponent := growth.exponent(operation, GLIDE)) is not None
    ]
    return (
        f"From {growth.sizes[0]:,} to {growth.sizes[-1]:,} checkpoints in a thread, times grow with its length to the power"
        f" of: {', '.join(exponents)} (glide)."
    )


def _stored(report: Report) -> str:
    table = report.tables.get("stored")
    operation = "100 KB document, 100 steps"
    mine, others = _pair(table, operation)
    if mine is None or others is None:
        return ""
    return (
        "100 steps with a constant channel of 100 KB and messages that grow by 1 KB per step take"
        f" {number(mine / 1e6)} MB of the server's memory, against {number(others / 1e6)} MB."
    )


def _throughput(report: Report) -> str:
    table = report.tables.get("runs")
    mine, others = _pair(table, "runs of a graph")
    if mine is None or others is None or table is None:
        return ""
    return f"{table.title}: {number(mine)} are done in a second with glide, {number(others)} with langgraph-checkpoint-aws."


def _pair(table: Table | None, operation: str) -> tuple[float | None, float | None]:
    return (table.median(operation, GLIDE), table.median(operation, INCUMBENT)) if table else (None, None)


def _targets(report: Report) -> str:
    measured = [verdict for verdict in report.verdicts if verdict.measured is not None]
    missed = [verdict for verdict in measured if not verdict.reached]
    if not measured:
        return ""
    text = f"Of {len(measured)} targets {len(measured) - len(missed)} were reached."
    if missed:
        listed = "; ".join(f"{one.target}: {one.measured:.2f} ({one.wanted})" for one in missed)
        text += f" Missed: {listed}."
    return text
