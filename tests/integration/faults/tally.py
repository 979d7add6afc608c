"""Counts of what was injected, done and found, for the end of a test run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

PROPERTY = "faults"
"""Name of the property of a test report that carries its counts, also from the workers of pytest-xdist."""


@define
class Tally:
    """The counts of one test.

    Attributes:
        seed: repeats the test.
        wanted: kinds of faults that must have been injected at least once.
        faults: how many were, by kind.
        operations: how many were ``acknowledged``, ``unacknowledged`` (an error, or no answer before a death), and how
            many results of reading were ``checked``.
        violations: sentences about what must not be.
    """

    seed: str
    wanted: set[str] = field(factory=set)
    faults: Counter[str] = field(factory=Counter)
    operations: Counter[str] = field(factory=Counter)
    violations: list[str] = field(factory=list)

    def check(self) -> None:
        """Fail if there are violations, or faults that never came about."""
        assert not self.violations, "\n".join([f"FAULT_SEED={self.seed}", *self.violations[:20]])
        missing = {kind for kind in self.wanted if not self.faults[kind]}
        assert not missing, f"FAULT_SEED={self.seed}: never injected: {', '.join(sorted(missing))}"
        assert self.operations["acknowledged"], f"FAULT_SEED={self.seed}: nothing was ever acknowledged"

    def as_property(self) -> dict[str, Any]:
        """What a report can carry."""
        return {
            "seed": self.seed,
            "faults": dict(self.faults),
            "operations": dict(self.operations),
            "violations": len(self.violations),
        }


def summary(reports: Sequence[Any]) -> list[str]:
    """Lines about the reports that carry counts; none if no report does."""
    found: list[Mapping[str, Any]] = [
        value
        for report in reports
        if getattr(report, "when", None) == "teardown"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if not found:
        return []
    faults: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    for one in found:
        faults.update(one["faults"])
        operations.update(one["operations"])
    return [
        f"seeds: {', '.join(sorted({one['seed'] for one in found}))} (set FAULT_SEED to repeat one)",
        "injected: " + ", ".join(f"{kind} {count}" for kind, count in sorted(faults.items())),
        "operations: " + ", ".join(f"{kind} {count}" for kind, count in sorted(operations.items())),
        f"violations: {sum(one['violations'] for one in found)}",
    ]
