"""Charts of a report, drawn with matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from .report import Report, Table
from .savers import FLOORS, GLIDE, IN_MEMORY, INCUMBENT, MEMORY, POSTGRES, SQLITE, VALKEY_PY
from .tables import number

COLOURS = {
    INCUMBENT: "#8a8f98",
    GLIDE: "#0b6e99",
    VALKEY_PY: "#54b3d6",
    MEMORY: "#5a9e6f",
    IN_MEMORY: "#a8d5b5",
    SQLITE: "#d9a441",
    POSTGRES: "#b5651d",
    FLOORS[GLIDE]: "#d4d7dc",
    FLOORS[VALKEY_PY]: "#e6e8eb",
}
WIDTH = 8.0  # inches


@frozen
class Bars:
    """A chart of horizontal bars.

    Attributes:
        title: above it.
        unit: of the values.
        rows: label -> contender -> value; groups from top to bottom.
        scale: ``"linear"`` or ``"log"``.
    """

    title: str
    unit: str
    rows: Mapping[str, Mapping[str, float]]
    scale: str = "linear"


@frozen
class Lines:
    """Charts of lines side by side, with logarithmic axes.

    Attributes:
        title: above them.
        sizes: the x axis.
        panels: label -> contender -> values.
    """

    title: str
    sizes: Sequence[int]
    panels: Mapping[str, Mapping[str, Sequence[float]]]


Chart = Bars | Lines


def charts(report: Report) -> dict[str, Chart]:
    """Return the charts that a report has the numbers for, by the name of their files."""
    made: dict[str, Chart] = {}
    savers = (INCUMBENT, VALKEY_PY, GLIDE)
    for key, name, contenders in (
        ("document/sync", "blocking", (*savers, SQLITE, POSTGRES, FLOORS[VALKEY_PY])),
        ("document/async", "async", (*savers, SQLITE, POSTGRES, FLOORS[VALKEY_PY])),
    ):
        if table := report.tables.get(key):
            operations = [operation for operation in table.cells if operation != "delete_thread"]
            title = f"{table.title.removesuffix(', async')}, {name}: median time of a call, less is better"
            if rows := _rows(table, operations, contenders):
                made[name] = Bars(title, "µs", rows, "log")
    if table := report.tables.get("runs"):
        rows = _rows(table, table.cells, (INCUMBENT, VALKEY_PY, GLIDE, SQLITE, POSTGRES))
        if rows:
            made["throughput"] = Bars(f"{table.title}: done in a second, more is better", "runs per second", rows)
    if table := report.tables.get("stored"):
        rows = _rows(table, table.cells, (INCUMBENT, VALKEY_PY, SQLITE, POSTGRES))
        megabytes = {label: {name: value / 1e6 for name, value in row.items()} for label, row in rows.items()}
        if rows:
            made["stored"] = Bars("What is stored, less is better", "MB", megabytes)
    if growth := report.growth:
        contenders = (INCUMBENT, VALKEY_PY, GLIDE, IN_MEMORY, SQLITE, POSTGRES)
        panels: dict[str, dict[str, list[float]]] = {
            operation: {name: medians for name in contenders if (medians := growth.medians(operation, name))}
            for operation in ("put", "put_writes", "get latest", "list(10)")
            if operation in growth.cells
        }
        made["growth"] = Lines("Median time of a call by the length of the thread, µs", growth.sizes, panels)
    return made


def _rows(table: Table, operations: Any, contenders: Sequence[str]) -> dict[str, dict[str, float]]:
    rows = {
        operation: {name: value for name in contenders if (value := table.median(operation, name)) is not None}
        for operation in operations
    }
    return {operation: row for operation, row in rows.items() if row}


def draw(chart: Chart, path: Path) -> None:
    """Draw a chart into a file, whose ending says the format: ``.svg`` or ``.png``.

    Raises:
        ImportError: matplotlib is not installed.
    """
    import matplotlib as mpl

    mpl.use("Agg")
    settings: Any = {
        "svg.fonttype": "none",  # text stays text
        "svg.hashsalt": "statekeep",  # the same chart is the same file
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "figure.dpi": 100,
    }
    with mpl.rc_context(settings):
        figure = _bars(chart) if isinstance(chart, Bars) else _lines(chart)
        path.parent.mkdir(parents=True, exist_ok=True)
        metadata = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, facecolor="white", metadata=metadata)


def _bars(chart: Bars) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    names = list(dict.fromkeys(name for row in chart.rows.values() for name in row))
    count = sum(len(row) + 1 for row in chart.rows.values())
    figure = Figure(figsize=(WIDTH, 1.0 + 0.17 * count), layout="constrained")
    axes = figure.add_subplot()
    axes.set_xscale(chart.scale)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    place, ticks = 0.0, []
    for row in chart.rows.values():
        ticks.append(place + (len(row) - 1) / 2)
        for name, value in row.items():
            axes.barh(place, value, height=0.9, color=COLOURS.get(name, "#444444"))
            axes.annotate(
                number(value), (value, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=7
            )
            place += 1
        place += 1
    axes.set_yticks(ticks, list(chart.rows))
    axes.invert_yaxis()
    axes.set_xlabel(chart.unit + (", logarithmic" if chart.scale == "log" else ""))
    axes.margins(x=0.12, y=0.01)
    figure.suptitle(chart.title, fontsize=10)
    _legend(figure, names)
    return figure


def _lines(chart: Lines) -> Any:
    from matplotlib.figure import Figure
    from matplotlib.ticker import StrMethodFormatter

    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    first: Any = None
    columns = 2 if len(chart.panels) > 1 else 1
    rows = -(-len(chart.panels) // columns)
    for place, (label, lines) in enumerate(chart.panels.items(), 1):
        # One scale for all, so that flat lines look flat everywhere.
        axes = figure.add_subplot(rows, columns, place, sharey=first)
        first = first or axes
        for name, values in lines.items():
            axes.plot(chart.sizes, values, marker="o", markersize=3, color=COLOURS.get(name, "#444444"))
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
        axes.set_title(label)
        axes.grid(visible=True, which="major", linewidth=0.4, color="#dddddd")
        axes.set_xticks(list(chart.sizes), [f"{size:,}" for size in chart.sizes])
        if place > len(chart.panels) - columns:
            axes.set_xlabel("checkpoints")
    figure.suptitle(chart.title, fontsize=10)
    _legend(figure, list(dict.fromkeys(name for lines in chart.panels.values() for name in lines)))
    return figure


def _legend(figure: Any, names: Sequence[str]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=COLOURS.get(name, "#444444"), label=name) for name in names]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
