"""The numbers of a report for the README, and all of them for the page on the benchmarks."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Sequence

from .environment import BUSY
from .report import Growth, Report, Table, Verdict
from .savers import FLOORS, GLIDE, INCUMBENT, VALKEY_PY
from .tables import cell, number
from .targets import slower

SECTION = re.compile(r"(?<=^<!-- bench -->\n).*?(?=^<!-- /bench -->$)", re.MULTILINE | re.DOTALL)

SHOWN = ("blocking", "async", "growth")
"""The charts of the README."""

WIDTH = 120
"""Of the lines of the pages."""

WORKLOADS = {"chat": "short chat", "document": "100 KB document", "fan-out": "30 tasks"}
FACES = {"sync": ("blocking", FLOORS[VALKEY_PY]), "async": ("async", FLOORS[VALKEY_PY])}


def updated(text: str, section: str) -> str:
    """Return a page with another section between its marks.

    Raises:
        ValueError: the marks are not there, or more than once.
    """
    made, count = SECTION.subn(lambda _: f"\n{section}\n\n", text)
    if count != 1:
        raise ValueError("the page has no section between <!-- bench --> and <!-- /bench -->")
    return made


def summary(report: Report, pictures: Sequence[str]) -> str:
    """Return what the README shows.

    Args:
        report: a run of all workloads.
        pictures: the charts, by their paths from the README.
    """
    parts = [
        _wrapped(
            f"{_where(report)} Times are medians in microseconds, with how many times faster than"
            " langgraph-checkpoint-aws that is. The floor sends the same bytes in one round trip through the same"
            " client."
        ),
        *(_face(report, face) for face in FACES),
        *(f"![{_caption(picture)}]({picture})" for picture in pictures),
        *(_wrapped(sentence(report)) for sentence in (_growth, _stored, _throughput, _targets)),
    ]
    return "\n\n".join(part for part in parts if part)


def details(report: Report) -> str:
    """Return all tables of a run."""
    versions = ", ".join(f"{name} {version}" for name, version in report.environment.versions.items())
    load = " and ".join(f"{load:.1f}" for load in report.environment.load)
    parts = [
        _wrapped(
            f"{_where(report)} Commit {report.environment.commit or 'unknown'}, load of the machine before and after:"
            f" {load}."
        ),
        _wrapped(f"Versions: {versions}."),
        "### Targets",
        _verdicts(report.verdicts),
    ]
    if worse := slower(report):
        parts.append("Slower than langgraph-checkpoint-aws:")
        parts.append(
            _lines(f"{better:.2f}x: {name}, {operation} ({table})" for better, name, operation, table in worse)
        )
    if report.left_out:
        parts.append("Left out:")
        parts.append(_lines(report.left_out))
    for table in report.tables.values():
        compared = f", and how many times better than {table.baseline}" if table.baseline else ""
        parts += [f"### {table.title}", f"In {table.unit}{compared}.", _markdown(table, table.contenders)]
    if report.growth:
        parts.append("### Growth")
        parts += [_grown(report.growth, operation) for operation in report.growth.cells]
    return "\n\n".join(parts)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, WIDTH, break_long_words=False, break_on_hyphens=False)


def _where(report: Report) -> str:
    place, versions = report.environment, report.environment.versions
    warning = "**A quick run, to be measured again.** " if report.quick else ""
    if place.load[0] > BUSY:
        warning += "**The machine was busy with other work: to be measured again.** "
    return (
        f"{warning}One run of `make bench` on {place.date[:10]},"
        f" {place.cores} cores ({place.machine}), Python {versions['Python']}, Valkey {versions['Valkey']} on loopback,"
        f" langgraph-checkpoint-aws {versions['langgraph-checkpoint-aws']}."
    )


def _caption(picture: str) -> str:
    return picture.rpartition("/")[2].removesuffix(".svg").removeprefix("benchmarks-")


def _face(report: Report, face: str) -> str:
    """One table of the workloads that matter most."""
    name, floor = FACES[face]
    columns = (INCUMBENT, VALKEY_PY, GLIDE, floor)
    rows = [
        [f"{operation}, {label}", *(cell(table, operation, column) for column in columns)]
        for workload, label in WORKLOADS.items()
        if (table := report.tables.get(f"{workload}/{face}"))
        for operation in table.cells
    ]
    return _rows([name, *columns], rows) if rows else ""


def _rows(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _lines(entries: Iterable[str]) -> str:
    return "\n".join(f"- {entry}" for entry in entries)


def _markdown(table: Table, contenders: Sequence[str]) -> str:
    rows = [[operation, *(cell(table, operation, name) for name in contenders)] for operation in table.cells]
    return _rows(["operation", *contenders], rows)


def _grown(growth: Growth, operation: str) -> str:
    rows = []
    for name in growth.cells[operation]:
        exponent = growth.exponent(operation, name)
        rows.append([name, *map(number, growth.medians(operation, name) or []), f"{exponent:+.3f}"])
    sizes = [f"{size:,}" for size in growth.sizes]
    return _rows([f"{operation}, µs by checkpoints", *sizes, "exponent"], rows)


def _verdicts(verdicts: Sequence[Verdict]) -> str:
    rows = [
        [
            verdict.target,
            verdict.wanted,
            "" if verdict.measured is None else f"{verdict.measured:.2f}",
            "not measured" if verdict.measured is None else "reached" if verdict.reached else "missed",
            verdict.note,
        ]
        for verdict in verdicts
    ]
    return _rows(["target", "wanted", "measured", "", "note"], rows)


def _growth(report: Report) -> str:
    growth = report.growth
    if not growth:
        return ""
    exponents = [
        f"{operation} {exponent:+.2f}"
        for operation in ("get latest", "put", "put_writes", "list(10)")
        if (exponent := growth.exponent(operation, VALKEY_PY)) is not None
    ]
    return (
        f"From {growth.sizes[0]:,} to {growth.sizes[-1]:,} checkpoints in a thread, times grow with its length"
        f" to the power of: {', '.join(exponents)} (valkey-py)."
    )


def _pair(table: Table | None, operation: str) -> tuple[float, float] | None:
    mine = table.median(operation, VALKEY_PY) if table else None
    others = table.median(operation, INCUMBENT) if table else None
    return None if mine is None or others is None else (mine, others)


def _stored(report: Report) -> str:
    pair = _pair(report.tables.get("stored"), "100 KB document, 100 steps")
    if pair is None:
        return ""
    mine, others = (number(size / 1e6) for size in pair)
    return (
        "100 steps with a constant channel of 100 KB and messages that grow by 1 KB per step take"
        f" {mine} MB of the server's memory, against {others} MB."
    )


def _throughput(report: Report) -> str:
    table = report.tables.get("runs")
    pair = _pair(table, "runs of a graph")
    if pair is None or table is None:
        return ""
    mine, others = map(number, pair)
    times = number(table.times_better("runs of a graph", VALKEY_PY))
    return (
        f"{table.title}: {mine} are done in a second with valkey-py, {others} with langgraph-checkpoint-aws;"
        f" round by round that is {times} times as many."
    )


def _targets(report: Report) -> str:
    measured = [verdict for verdict in report.verdicts if verdict.measured is not None]
    if not measured:
        return ""
    reached = sum(verdict.reached for verdict in measured)
    return f"Of {len(measured)} targets {reached} were reached: see [all numbers](docs/benchmarks.md)."
