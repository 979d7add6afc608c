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
EXCERPT = (
    ("agent", "sync, durability sync: steps a second", "an agent, sync: steps a second"),
    ("agent", "async, durability sync: steps a second", "an agent, async: steps a second"),
    ("chat", "put", "chat of 10 steps: `put`, µs"),
    ("chat", "put_writes", "`put_writes`, µs"),
    ("chat", "get latest", "read the newest, µs"),
    ("stored", "1,000 messages of 1 KB, a step each", "1,000 messages of 1 KB: bytes stored"),
    ("stored", "an agent of 10 steps with 2 tools each", "an agent of 10 steps: bytes stored"),
)
"""What the README shows: tables and operations, and how it names them."""


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
    """Return what the README shows: a few rows, good ones and bad ones."""
    reached = sum(verdict.reached for verdict in report.verdicts)
    parts = [_wrapped(f"{_where(report)} In brackets: how many times better than {INCUMBENT}.")]
    if lines := list(_excerpt(report)):
        parts.append(rows([["", *COLUMNS], *lines]))
    parts.append(
        _wrapped(f"Of {len(report.verdicts)} targets {reached} were reached: see [all numbers](docs/benchmarks.md).")
    )
    return "\n\n".join(parts)


def _excerpt(report: Report) -> Iterable[list[str]]:
    for key, operation, name in EXCERPT:
        table = report.tables.get(key)
        if table is not None and operation in table.cells:
            yield [name, *(table.cell(operation, contender) for contender in COLUMNS)]


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
