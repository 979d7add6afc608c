"""The command line: ``python -m benchmarks``."""

from __future__ import annotations

import faulthandler
import os
import time
from collections.abc import Callable, Collection
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from . import agent, agentcore, cold, savers, stores
from .contenders import SAVERS, started
from .pages import BUSY, PAGE, README, ROOT, publish, targets
from .report import Environment, Report
from .running import Suite
from .targets import verdicts

RESULTS = ROOT / "benchmarks" / "results"
LIMIT = 3600
"""Seconds after which a run that hangs is ended, with the stacks of its threads."""

WORKLOADS: dict[str, Callable[[Suite], None]] = {
    "agent": agent.whole,
    "processes": agent.processes,
    **{key: partial(savers.compared, key=key) for key in savers.COMPARED},
    "network": savers.network,
    "growth": savers.growth,
    "threads": savers.threads,
    "costs": savers.costs,
    "stored": savers.stored,
    "cold": cold.cold,
    "store": stores.store,
    "wide": stores.wide,
    "many": stores.many,
    "cluster": stores.cluster,
    "meaning": stores.meaning,
    "recall": stores.recall,
    "cache": stores.cache,
    "agentcore": agentcore.agentcore,
}
CONTENDERS = (*(contender.name for contender in SAVERS), *agentcore.OPEN)


def _check(workloads: Collection[str], contenders: Collection[str], update: bool) -> None:
    """Find mistakes before minutes are spent."""
    for name in workloads:
        if name not in WORKLOADS:
            raise typer.BadParameter(f"there is no workload {name!r}; there are {', '.join(WORKLOADS)}")
    for part in contenders:
        if not any(part in name.lower() for name in CONTENDERS):
            raise typer.BadParameter(f"no contender has {part!r} in its name; there are {'; '.join(CONTENDERS)}")
    if update and (contenders or {*WORKLOADS} - {*workloads}):
        raise typer.BadParameter("the pages need a run of all workloads and contenders")


def main(
    workload: Annotated[
        list[str] | None, typer.Option(help=f"Only these, may be repeated: {', '.join(WORKLOADS)}.")
    ] = None,
    contender: Annotated[
        list[str] | None, typer.Option(help="Only those with this in their names, may be repeated: glide, aws ...")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="As many of each workload, besides one to warm up.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A look in two minutes; nothing to publish.")] = False,
    output: Annotated[Path, typer.Option(help="Folder of latest.json.")] = RESULTS,
    update: Annotated[bool, typer.Option("--readme", help="Update the README and docs/benchmarks.md.")] = False,
    again: Annotated[
        Path | None,
        typer.Option("--from", exists=True, dir_okay=False, help="Measure nothing: show this latest.json."),
    ] = None,
) -> None:
    """Measure Statekeep side by side with others. It starts and stops the servers that it needs, on 127.0.0.1."""
    console = Console(soft_wrap=True)
    if again is not None:
        report = Report.load(again)
        _check(report.seconds, (), update)
        for table in report.tables.values():
            console.print(table.plain(), highlight=False, markup=False)
        _finish(report, console, output, update)
        return
    names = workload or list(WORKLOADS)
    only = tuple(part.lower() for part in contender or ())
    _check(names, only, update)
    faulthandler.dump_traceback_later(LIMIT, exit=True)
    with started() as servers:
        report = Report(
            environment=Environment.here(Valkey=servers.info("valkey", "server")["valkey_version"]), quick=quick
        )
        suite = Suite(servers, report, console, quick=quick, only=only, asked_rounds=rounds)
        for name in names:
            _run(suite, name)
            report.save(output / "latest.json")  # so that an interruption loses little
        report.environment.load = (report.environment.load[0], os.getloadavg()[0])
    _finish(report, console, output, update)
    faulthandler.cancel_dump_traceback_later()
    if suite.failures:
        console.print("[red]Not all could be measured: see above.[/]")
        raise typer.Exit(1)


def _run(suite: Suite, name: str) -> None:
    suite.console.rule(name)
    began = time.monotonic()
    try:
        WORKLOADS[name](suite)
    except Exception as error:
        # The other workloads are worth their time all the same.
        suite.console.print_exception()
        suite.leave_out(f"workload {name}", error, "as a whole")
    suite.report.seconds[name] = round(time.monotonic() - began, 1)


def _finish(report: Report, console: Console, output: Path, update: bool) -> None:
    report.verdicts = verdicts(report)
    report.save(output / "latest.json")
    console.print(f"\n{targets(verdict for verdict in report.verdicts if verdict.measured is not None)}", markup=False)
    for line in report.left_out:
        console.print(f"left out: {line}", style="yellow", highlight=False, markup=False)
    took = sum(report.seconds.values())
    console.print(f"{took:.0f} s: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in report.seconds.items()))
    if report.environment.load[0] > BUSY:
        console.print("[yellow]The machine was busy when this began: the numbers are noisy.[/]")
    if update:
        publish(report)
        console.print(f"Updated {README.relative_to(ROOT)} and {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    typer.run(main)
