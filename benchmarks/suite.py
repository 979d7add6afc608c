"""What all workloads of a run share: the servers, the options, and the report that grows."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, field
from rich.console import Console

from .report import Report, Table
from .savers import Contender
from .servers import NotHere, Servers
from .tables import print_table

QUICK = 10
"""Quick runs do so many times less."""


@define
class Suite:
    """A run.

    Attributes:
        servers: that are up.
        report: what was measured so far.
        console: where it is printed.
        quick: few rounds, short threads.
        only: parts of the names of the contenders that take part, in small letters; empty for all.
        asked_rounds: how many rounds each workload has, instead of its own number.
        failures: what Statekeep, or the suite itself, failed at.
    """

    servers: Servers
    report: Report
    console: Console
    quick: bool = False
    only: tuple[str, ...] = ()
    asked_rounds: int | None = None
    failures: list[str] = field(factory=list, init=False)

    def rounds(self, full: int) -> int:
        """How many rounds to run of a workload that has ``full`` of them."""
        return self.asked_rounds or (max(full // QUICK, 3) if self.quick else full)

    def seconds(self, full: float) -> float:
        """How long to go on beginning rounds."""
        return full / QUICK if self.quick else full

    def chosen(self, contenders: Sequence[Contender]) -> list[Contender]:
        """Those of them that take part."""
        return [contender for contender in contenders if self.takes(contender.name)]

    def takes(self, name: str) -> bool:
        """Whether a contender of this name takes part."""
        return not self.only or any(part in name.lower() for part in self.only)

    def leave_out(self, contender: str, what: str, error: Exception) -> None:
        """Say that a contender does not take part in something, and why."""
        if isinstance(error, NotHere | ImportError):
            line = f"{contender}: {error}"
        else:
            line = f"{contender}, {what}: {type(error).__name__}: {str(error)[:200]}"
            if contender.startswith("Statekeep"):
                self.fail(line)
                return
        self._say(line)

    def fail(self, line: str) -> None:
        """Say that something did not work that should, and remember it for the exit status."""
        self.failures.append(line)
        self._say(line)

    def _say(self, line: str) -> None:
        if line not in self.report.left_out:
            self.report.left_out.append(line)
            self.console.print(f"left out: {line}", style="yellow", highlight=False, markup=False)

    def publish(self, key: str, table: Table) -> None:
        """Keep a table, and print it."""
        if table.cells:
            self.report.tables[key] = table
            print_table(self.console, table)
