"""What was measured, as it is kept in JSON."""

from __future__ import annotations

import statistics
from pathlib import Path

from pydantic import BaseModel

from .numbers import median_exponent, ratio


class Table(BaseModel):
    """Operations by contenders.

    Attributes:
        title: what was measured.
        unit: of the values.
        baseline: the contender that the others are compared with, if there is one.
        higher_is_better: of the values.
        cells: operation -> contender -> one value for each round, in the order of the rounds.
    """

    title: str
    unit: str
    baseline: str | None = None
    higher_is_better: bool = False
    cells: dict[str, dict[str, list[float]]] = {}

    @property
    def contenders(self) -> list[str]:
        """All that have a cell, in the order in which they took their turns."""
        return list(dict.fromkeys(name for row in self.cells.values() for name in row))

    def add(self, operation: str, contender: str, value: float) -> None:
        """Append the value of one round."""
        self.cells.setdefault(operation, {}).setdefault(contender, []).append(value)

    def drop(self, contender: str) -> None:
        """Remove all cells of a contender, which failed in between."""
        for row in self.cells.values():
            row.pop(contender, None)

    def median(self, operation: str, contender: str) -> float | None:
        """Return the median over the rounds; ``None`` if it was not measured."""
        values = self.cells.get(operation, {}).get(contender)
        return statistics.median(values) if values else None

    def times_better(self, operation: str, contender: str, other: str | None = None) -> float | None:
        """Return how many times better a contender is than another, the baseline if none is named.

        ``None`` if one of them was not measured, or a value is 0.
        """
        mine = self.cells.get(operation, {}).get(contender)
        others = self.cells.get(operation, {}).get(other or self.baseline or "")
        if not mine or not others or not all(mine) or not all(others):
            return None
        return ratio(mine, others) if self.higher_is_better else ratio(others, mine)


class Growth(BaseModel):
    """How long operations take on threads of several lengths.

    Attributes:
        sizes: the lengths, in checkpoints.
        cells: operation -> contender -> for each size the medians of all rounds, in microseconds.
    """

    sizes: list[int]
    cells: dict[str, dict[str, list[list[float]]]]

    def medians(self, operation: str, contender: str) -> list[float] | None:
        """Return the median for each size; ``None`` if it was not measured."""
        rounds = self.cells.get(operation, {}).get(contender)
        return [statistics.median(values) for values in rounds] if rounds else None

    def exponent(self, operation: str, contender: str) -> float | None:
        """Return the fitted exponent; ``None`` if it was not measured."""
        rounds = self.cells.get(operation, {}).get(contender)
        return median_exponent(self.sizes, rounds) if rounds else None


class Environment(BaseModel):
    """Where and with what it was measured.

    Attributes:
        date: UTC, in ISO 8601.
        commit: of the project, ``None`` outside a clone.
        machine: the processor.
        cores: that this process may use.
        load: average over a minute before the run and after it.
        versions: of Python, the servers and the packages that take part.
    """

    date: str
    commit: str | None
    machine: str
    cores: int
    load: tuple[float, float]
    versions: dict[str, str]


class Verdict(BaseModel):
    """Whether a target was reached.

    Attributes:
        target: what is wanted of whom.
        wanted: the bound in words: ``"<= 1.5"``.
        measured: the number; ``None`` if it was not measured.
        reached: whether it is within the bound.
        note: what else is to be known, such as where the worst was met.
    """

    target: str
    wanted: str
    measured: float | None
    reached: bool
    note: str = ""


class Report(BaseModel):
    """All of a run.

    Attributes:
        environment: where it ran.
        quick: few rounds and short threads: for a look, not for publishing.
        seconds: how long each workload took.
        tables: by workload, and ``sync`` or ``async`` behind a slash where it is run with both.
        growth: over the length of threads, if it was measured.
        verdicts: the targets.
        left_out: who did not take part in what, and why.
    """

    environment: Environment
    quick: bool = False
    seconds: dict[str, float] = {}
    tables: dict[str, Table] = {}
    growth: Growth | None = None
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
