"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import agentcore, caches, charts, cold, concurrency, costs, growth, network, pages, stored, stores
from .comparison import compare
from .conversations import Shape
from .environment import BUSY, environment
from .report import Report
from .scripts import conversation, fan_out, large
from .servers import started
from .suite import Suite
from .tables import print_growth, print_table, print_verdicts
from .targets import slower, verdicts

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGE = DOCS / "benchmarks.md"
LIMIT = 3600
"""Seconds after which a run that hangs is ended, with the stacks of its threads."""


def chat(suite: Suite) -> None:
    """A chat of 10 steps, messages of 200 bytes."""
    shape = Shape(steps=10, message=200)
    compare(suite, "chat", "Short chat", lambda name: conversation(name, shape), rounds=60, seconds=50, with_floor=True)


def document(suite: Suite) -> None:
    """100 steps beside a constant document of 100 KB, messages of 1 KB."""
    shape = Shape(steps=20 if suite.quick else 100, message=1000, constant=100_000)
    title = f"100 KB document, {shape.steps} steps"
    compare(suite, "document", title, lambda name: conversation(name, shape), rounds=12, seconds=90, with_floor=True)


def parallel(suite: Suite) -> None:
    """30 tasks of one step store their writes, one after the other and side by side."""
    compare(suite, "fan-out", "30 tasks in one step", fan_out, rounds=40, seconds=30, with_floor=True)
    concurrency.fan_out_at_once(suite)


def mebibyte(suite: Suite) -> None:
    """A channel of 1 MiB."""
    compare(suite, "large", "1 MiB channel", lambda name: large(name, 1 << 20), rounds=12, seconds=40, with_floor=True)


WORKLOADS: dict[str, Callable[[Suite], None]] = {
    "chat": chat,
    "document": document,
    "fan-out": parallel,
    "large": mebibyte,
    "growth": growth.growth,
    "threads": concurrency.threads,
    "runs": concurrency.runs,
    "network": network.network,
    "costs": costs.costs,
    "stored": stored.stored,
    "cold": cold.cold,
    "store": stores.store,
    "cache": caches.cache,
    "agentcore": agentcore.agentcore,
}


def _chosen(workloads: list[str]) -> list[str]:
    unknown = [name for name in workloads if name not in WORKLOADS]
    if unknown:
        raise typer.BadParameter(f"there is no workload {', '.join(unknown)}; there are {', '.join(WORKLOADS)}")
    return workloads or list(WORKLOADS)


def _finish(suite: Suite, output: Path, update: bool) -> None:
    report, console = suite.report, suite.console
    report.environment.load = (report.environment.load[0], os.getloadavg()[0])
    report.verdicts = verdicts(report)
    report.save(output / "latest.json")
    show(report, console)
    drawn = charts.charts(report)
    for name, chart in drawn.items():
        charts.draw(chart, output / f"{name}.svg")
    console.print(f"Written to {output}: latest.json{''.join(f', {name}.svg' for name in drawn)}", highlight=False)
    if update:
        publish(report, console)


def show(report: Report, console: Console) -> None:
    """Print what was compared with what was wanted."""
    print_verdicts(console, report.verdicts)
    for better, contender, operation, table in slower(report):
        console.print(f"slower than the incumbent ({better:.2f}x): {contender}: {operation}; {table}", highlight=False)
    for line in report.left_out:
        console.print(f"left out: {line}", style="yellow", highlight=False, markup=False)
    took = sum(report.seconds.values())
    console.print(f"{took:.0f} s: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in report.seconds.items()))
    if max(report.environment.load[:1]) > BUSY:
        console.print("[yellow]The machine was busy when this began: the numbers are noisy.[/]")


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


def main(
    workload: Annotated[
        list[str] | None, typer.Option(help=f"Only these, may be repeated: {', '.join(WORKLOADS)}.")
    ] = None,
    contender: Annotated[
        list[str] | None, typer.Option(help="Only those with this in their names, may be repeated: glide, aws ...")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="As many of each workload, besides one to warm up.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look in a minute or two; nothing to publish.")] = False,
    output: Annotated[Path, typer.Option(help="Folder of latest.json and the charts.")] = RESULTS,
    update: Annotated[
        bool, typer.Option("--readme", help="Update the README, its charts, and docs/benchmarks.md.")
    ] = False,
    again: Annotated[
        Path | None, typer.Option("--from", help="Measure nothing: show this latest.json, and draw its charts.")
    ] = None,
) -> None:
    """Measure Statekeep side by side with others. It starts and stops the servers that it needs, on 127.0.0.1."""
    # On a pipe as wide as the widest table.
    console = Console() if Console().is_terminal else Console(width=200)
    if again is not None:
        _again(Report.load(again), console, output, update)
        return
    names = _chosen(workload or [])
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    with started() as servers:
        report = Report(environment=environment(servers), quick=quick)
        only = tuple(part.lower() for part in contender or ())
        suite = Suite(servers, report, console, quick=quick, only=only, asked_rounds=rounds)
        for name in names:
            console.rule(name)
            began = time.monotonic()
            try:
                WORKLOADS[name](suite)
            except Exception as error:
                # The other workloads are worth their time all the same.
                console.print_exception()
                suite.fail(f"workload {name}: {type(error).__name__}: {str(error)[:200]}")
            report.seconds[name] = round(time.monotonic() - began, 1)
            report.save(output / "latest.json")  # so that an interruption loses little
        _finish(suite, output, update)
    faulthandler.cancel_dump_traceback_later()
    if suite.failures:
        console.print("[red]Not all could be measured: see above.[/]")
        raise typer.Exit(1)


def _again(report: Report, console: Console, output: Path, update: bool) -> None:
    for table in report.tables.values():
        print_table(console, table)
    if report.growth:
        print_growth(console, report.growth)
    report.verdicts = verdicts(report)
    show(report, console)
    for name, chart in charts.charts(report).items():
        charts.draw(chart, output / f"{name}.svg")
    if update:
        publish(report, console)


if __name__ == "__main__":
    typer.run(main)
