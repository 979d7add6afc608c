"""Tables on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table as RichTable

from .report import Growth, Table, Verdict


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


def cell(table: Table, operation: str, contender: str, base: str | None = None) -> str:
    """The median, and how many times better than the baseline it is."""
    text = number(table.median(operation, contender))
    times = table.times_better(operation, contender, base)
    return text if times is None or contender == (base or table.baseline) else f"{text} ({times:.2f}x)"


def print_table(console: Console, table: Table) -> None:
    """Print medians, and how many times better than the baseline they are."""
    title = f"{table.title} ({table.unit}{', times better' if table.baseline else ''})"
    drawn = RichTable(title=title, title_justify="left")
    drawn.add_column("operation", no_wrap=True)
    contenders = table.contenders
    for contender in contenders:
        drawn.add_column(contender, justify="right", overflow="fold")
    for operation in table.cells:
        drawn.add_row(operation, *(cell(table, operation, contender) for contender in contenders))
    console.print(drawn)


def print_growth(console: Console, growth: Growth) -> None:
    """Print the medians for each length, and the exponents."""
    for operation, row in growth.cells.items():
        drawn = RichTable(title=f"{operation}, by the checkpoints of the thread (µs)", title_justify="left")
        drawn.add_column("contender")
        for size in growth.sizes:
            drawn.add_column(f"{size:,}", justify="right")
        drawn.add_column("exponent", justify="right")
        for contender in row:
            medians = growth.medians(operation, contender) or []
            exponent = growth.exponent(operation, contender)
            drawn.add_row(contender, *map(number, medians), f"{exponent:+.3f}")
        console.print(drawn)


def print_verdicts(console: Console, verdicts: list[Verdict]) -> None:
    """Print which targets were reached, of those that something was measured for."""
    measured = [verdict for verdict in verdicts if verdict.measured is not None]
    if not measured:
        return
    drawn = RichTable(title="Targets", title_justify="left")
    for heading in ("target", "wanted", "measured", "", "note"):
        drawn.add_column(heading, justify="right" if heading == "measured" else "left")
    for verdict in measured:
        word = "[green]reached[/]" if verdict.reached else "[red]missed[/]"
        drawn.add_row(verdict.target, verdict.wanted, f"{verdict.measured:.2f}", word, verdict.note)
    console.print(drawn)
    if len(measured) < len(verdicts):
        console.print(f"{len(verdicts) - len(measured)} targets were not measured.")
