"""The numbers of a report for the README, and all of them for the page on the benchmarks."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable
from pathlib import Path

from .contenders import GLIDE, IN_MEMORY, INCUMBENT, REDIS, VALKEY_PY
from .report import Report, Verdict, rows

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PAGE = ROOT / "docs" / "benchmarks.md"
SECTION = re.compile(r"(?<=^<!-- bench -->\n).*?(?=^<!-- /bench -->$)", re.MULTILINE | re.DOTALL)
BUSY = 1.0
"""Load of the minute before a run from which the machine counts as busy: what ended in that minute is still in it."""
COLUMNS = (INCUMBENT, VALKEY_PY, GLIDE, REDIS, IN_MEMORY)


def updated(text: str, section: str) -> str:
    """Return a page with another section between its marks.

    Raises:
        ValueError: the marks are not there, or more than once.
    """
    made, count = SECTION.subn(lambda _: f"\n{section}\n\n", text)
    if count != 1:
        raise ValueError("the page has no section between <!-- bench --> and <!-- /bench -->")
    return made


def publish(report: Report) -> None:
    """Write the README's section, and all numbers into the page on the benchmarks."""
    for page, section in ((README, summary(report)), (PAGE, details(report))):
        page.write_text(updated(page.read_text("utf-8"), section), "utf-8")


def summary(report: Report) -> str:
    """Return what the README shows."""
    reached = sum(verdict.reached for verdict in report.verdicts)
    parts = [
        _wrapped(f"{_where(report)} In brackets: how many times better than {INCUMBENT}."),
        *_excerpt(report, "agent", "steps a second"),
        *_excerpt(report, "stored", ""),
        *_excerpt(report, "chat", ""),
        _wrapped(f"Of {len(report.verdicts)} targets {reached} were reached: see [all numbers](docs/benchmarks.md)."),
    ]
    return "\n\n".join(parts)


def _excerpt(report: Report, key: str, ending: str) -> Iterable[str]:
    if table := report.tables.get(key):
        operations = [operation for operation in table.cells if operation.endswith(ending)]
        yield f"{table.title}, in {ending or table.unit}:"
        yield rows(table.lines(COLUMNS, operations))


def details(report: Report) -> str:
    """Return all tables of a run."""
    versions = ", ".join(f"{name} {version}" for name, version in report.environment.versions.items())
    load = " and ".join(f"{load:.1f}" for load in report.environment.load)
    took = ", ".join(f"{name} {seconds:.0f}" for name, seconds in report.seconds.items())
    parts = [
        _wrapped(
            f"{_where(report)} Commit {report.environment.commit}, load of the machine before and after:"
            f" {load}. Seconds: {took}."
        ),
        _wrapped(f"Versions: {versions}."),
        "### Targets",
        targets(report.verdicts),
    ]
    if report.left_out:
        parts += ["Left out:", "\n".join(f"- {line}" for line in report.left_out)]
    for table in report.tables.values():
        compared = f", and how many times better than {table.baseline}" if table.baseline else ""
        parts += [f"### {table.title}", f"In {table.unit}{compared}.", rows(table.lines())]
    return "\n\n".join(parts)


def targets(verdicts: Iterable[Verdict]) -> str:
    """Return the table of targets."""
    lines = [["target", "wanted", "measured", "", "worst of"]]
    for one in verdicts:
        outcome = "not measured" if one.measured is None else "reached" if one.reached else "missed"
        measured = "" if one.measured is None else f"{one.measured:,.{0 if one.measured > 100 else 2}f}"
        lines.append([one.target, one.wanted, measured, outcome, one.note])
    return rows(lines)


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _where(report: Report) -> str:
    place, versions = report.environment, report.environment.versions
    warning = "**A quick run, to be measured again.** " if report.quick else ""
    if place.load[0] > BUSY:
        warning += "**The machine was busy with other work: to be measured again.** "
    return (
        f"{warning}One run of `make bench` on {place.date[:10]},"
        f" {place.machine}, Python {versions['Python']}, Valkey {versions['Valkey']} on loopback,"
        f" {INCUMBENT} {versions[INCUMBENT]}."
    )
