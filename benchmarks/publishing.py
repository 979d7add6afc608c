"""What becomes of a report: lines on the terminal, charts, and sections of pages."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from . import charts, pages
from .environment import BUSY
from .report import Report
from .tables import print_growth, print_table, print_verdicts
from .targets import slower

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGE = DOCS / "benchmarks.md"


def show_all(report: Report, console: Console) -> None:
    """Print the tables, as the run that measured them did."""
    for table in report.tables.values():
        print_table(console, table)
    if report.growth:
        print_growth(console, report.growth)


def conclude(report: Report, console: Console) -> None:
    """Print what was compared with what was wanted, and what is missing."""
    print_verdicts(console, report.verdicts)
    for better, contender, operation, table in slower(report):
        console.print(f"slower than the incumbent ({better:.2f}x): {contender}: {operation}; {table}", highlight=False)
    for line in report.left_out:
        console.print(f"left out: {line}", style="yellow", highlight=False, markup=False)
    took = sum(report.seconds.values())
    console.print(f"{took:.0f} s: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in report.seconds.items()))
    if report.environment.load[0] > BUSY:
        console.print("[yellow]The machine was busy when this began: the numbers are noisy.[/]")


def draw(report: Report, console: Console, folder: Path) -> None:
    """Draw all charts into a folder, if matplotlib is there."""
    drawn = charts.charts(report)
    try:
        for name, chart in drawn.items():
            charts.draw(chart, folder / f"{name}.svg")
    except ImportError as error:
        console.print(f"No charts: {error}. `make bench` installs what draws them.", style="yellow", markup=False)
        return
    console.print(f"Written to {folder}: latest.json{''.join(f', {name}.svg' for name in drawn)}", highlight=False)


def publish(report: Report, console: Console) -> None:
    """Write the README's section and its charts, and all numbers into the page on the benchmarks."""
    drawn = charts.charts(report)
    pictures = [name for name in pages.SHOWN if name in drawn]
    for name in pictures:
        charts.draw(drawn[name], DOCS / f"benchmarks-{name}.svg")
    links = [f"docs/benchmarks-{name}.svg" for name in pictures]
    for page, section in ((README, pages.summary(report, links)), (PAGE, pages.details(report))):
        page.write_text(pages.updated(page.read_text("utf-8"), section), "utf-8")
    console.print(f"Updated {README.name}, {PAGE.relative_to(ROOT)}, {', '.join(links)}", highlight=False)
