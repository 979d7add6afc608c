"""What was measured, as it is kept in JSON, and as a table of a page."""

from __future__ import annotations

import datetime as dt
import math
import os
import platform
import statistics
import subprocess
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from pydantic import BaseModel

PACKAGES = (
    *(
        "statekeep",
        "langgraph",
        *(f"langgraph-checkpoint{end}" for end in ("", "-aws", "-redis", "-sqlite")),
    ),
    *("valkey-glide", "valkey-glide-sync", "valkey", "redis", "pydantic", "boto3"),
)
MORE_IS_BETTER = "a second"
"""Ends the names of operations whose values are rates."""
NEITHER = ("%", "exponent")


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median of the ratios of each round: what slows a machine for a while slows both of a round.

    Example:
        >>> ratio([10, 20, 40], [5, 10, 5])
        2.0
    """
    return statistics.median(over / under for over, under in zip(numerators, denominators, strict=True))


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of a straight line through the points on logarithmic axes, by least squares.

    Example:
        >>> exponent([10, 100, 1000], [7, 7, 7]), round(exponent([10, 100, 1000], [1, 100, 10_000]), 3)
        (0.0, 2.0)
    """
    logarithms = [math.log(size) for size in sizes], [math.log(value) for value in values]
    return statistics.linear_regression(*logarithms).slope


def number(value: float | None) -> str:
    """Three digits or more, the thousands apart.

    Example:
        >>> number(1234.5), number(12.345), number(0.5), number(3.0), number(None)
        ('1,234', '12.3', '0.50', '3', '')
    """
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def rows(lines: Sequence[Sequence[str]]) -> str:
    """Make a table of Markdown; its first line is the heading."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (lines[0], ["---"] * len(lines[0]), *lines[1:]))


class Table(BaseModel):
    """Operations by contenders, with one value for each round, in the order of the rounds."""

    title: str
    unit: str
    baseline: str | None = None
    cells: dict[str, dict[str, list[float]]] = {}

    def add(self, operation: str, contender: str, value: float) -> None:
        """Append the value of one round."""
        self.cells.setdefault(operation, {}).setdefault(contender, []).append(value)

    def median(self, operation: str, contender: str) -> float | None:
        """Return the median over the rounds; ``None`` if it was not measured."""
        values = self.cells.get(operation, {}).get(contender)
        return statistics.median(values) if values else None

    def times_better(self, operation: str, contender: str, other: str | None = None) -> float | None:
        """Return how many times better a contender is than another, the baseline if none is named.

        ``None`` if one of them was not measured, a value is not above 0, or neither more nor less is better.
        """
        row = self.cells.get(operation, {})
        mine, others = row.get(contender), row.get(other or self.baseline or "")
        if not mine or not others or min(*mine, *others) <= 0 or operation.endswith(NEITHER):
            return None
        return ratio(mine, others) if operation.endswith(MORE_IS_BETTER) else ratio(others, mine)

    def lines(self, columns: Sequence[str] = (), operations: Sequence[str] = ()) -> list[list[str]]:
        """Medians, and how many times better than the baseline they are; all of them, or those that are named."""
        there = dict.fromkeys(name for row in self.cells.values() for name in row)
        names = [name for name in columns or there if name in there]
        cells = [[row, *(self.cell(row, name) for name in names)] for row in operations or self.cells]
        return [["", *names], *cells]

    def cell(self, operation: str, contender: str) -> str:
        """Return a median, and how many times better than the baseline it is; nothing if it was not measured."""
        text, times = number(self.median(operation, contender)), self.times_better(operation, contender)
        return text if times is None or contender == self.baseline else f"{text} ({times:.2f}x)"

    def plain(self) -> str:
        """Return it for a terminal."""
        lines = self.lines()
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        padded = (map(str.rjust, line, widths) for line in lines)
        return "\n".join(["", f"{self.title}, in {self.unit}", *map("  ".join, padded)])


class Environment(BaseModel):
    """Where and with what it was measured: the load is that of a minute before the run and after it."""

    date: str
    commit: str
    machine: str
    load: tuple[float, float]
    versions: dict[str, str]

    @classmethod
    def here(cls, **servers: str) -> Environment:
        """Describe this process's surroundings; the load after the run is still to be filled in."""
        versions = {"Python": platform.python_version(), **servers}
        there = {found.metadata["Name"]: found.version for found in metadata.distributions()}
        versions |= {package: there.get(package, "not installed") for package in PACKAGES}
        command = ["git", "describe", "--always", "--dirty"]
        found = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
        models = Path("/proc/cpuinfo").read_text("utf-8").splitlines() if Path("/proc/cpuinfo").exists() else []
        model = next((line.partition(":")[2].strip() for line in models if line.startswith("model name")), None)
        return cls(
            date=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            commit=found.stdout.strip() or "unknown",
            machine=f"{os.cpu_count()} cores ({model or platform.processor() or platform.machine()})",
            load=(os.getloadavg()[0],) * 2,
            versions=versions,
        )


class Verdict(BaseModel):
    """Whether a target was reached; the note says of whom the number is, where several were measured."""

    target: str
    wanted: str
    measured: float | None
    reached: bool
    note: str = ""


class Report(BaseModel):
    """All of a run: tables and seconds by workload, and who did not take part in what, and why."""

    environment: Environment
    quick: bool = False
    seconds: dict[str, float] = {}
    tables: dict[str, Table] = {}
    verdicts: list[Verdict] = []
    left_out: list[str] = []

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=1) + "\n", "utf-8")

    @classmethod
    def load(cls, path: Path) -> Report:
        """Read what :meth:`save` wrote."""
        return cls.model_validate_json(path.read_text("utf-8"))
