"""Measure put, put_writes, get and list beside langgraph-checkpoint-aws: ``python -m benchmarks [--rounds N]``."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Annotated, Any

import typer
from langgraph.checkpoint.base import BaseCheckpointSaver
from rich.console import Console
from rich.table import Table

from statekeep.testing.servers import ValkeyServer

from .latency import delayed
from .savers import INCUMBENT, NAMES, savers
from .threads import chat, config

Times = dict[str, list[float]]

SHAPES = {
    "short chat": {"steps": 10, "constant": 0, "message": 200},
    "100 KB document": {"steps": 10, "constant": 100_000, "message": 1000},
}


def timed(times: list[float], call: Callable[[], Any]) -> Any:
    """Call, and note how many microseconds it took."""
    began = time.perf_counter()
    result = call()
    times.append((time.perf_counter() - began) * 1e6)
    return result


def conversation(saver: BaseCheckpointSaver[Any], thread_id: str, shape: dict[str, int], times: Times) -> None:
    """Write a thread as the loop of LangGraph does, and read it."""
    parent = None
    for step in chat(saver, **shape):
        here = config(thread_id, parent)
        stored = timed(times["put"], lambda: saver.put(here, step.checkpoint, step.metadata, step.new_versions))  # noqa: B023
        for task in ("task-1", "task-2"):
            timed(times["put_writes"], lambda: saver.put_writes(stored, step.writes, task, "~__pregel_pull, model"))  # noqa: B023
        parent = step.checkpoint["id"]
    for _ in range(5):
        timed(times["get (4 pending writes)"], lambda: saver.get_tuple(config(thread_id)))
    for _ in range(2):
        timed(times["list(limit=10)"], lambda: list(saver.list(config(thread_id), limit=10)))


def fan_out(saver: BaseCheckpointSaver[Any], thread_id: str, times: Times) -> None:
    """Thirty tasks of one superstep store their writes; then the checkpoint is read with them."""
    [step] = chat(saver, 1, constant=0, message=200)
    stored = saver.put(config(thread_id), step.checkpoint, step.metadata, step.new_versions)
    timed(times["get (no pending writes)"], lambda: saver.get_tuple(config(thread_id)))
    for task in range(30):
        timed(times["put_writes"], lambda: saver.put_writes(stored, step.writes, f"task-{task}", f"~push, {task:010}"))  # noqa: B023
    for _ in range(5):
        timed(times["get (60 pending writes)"], lambda: saver.get_tuple(config(thread_id)))


def measure(url: str, rounds: int, results: dict[str, dict[str, Times]]) -> None:
    """Let the savers take turns, so that the machine's moods are spread over all. The first round warms up."""
    with savers(url) as candidates:
        for round_ in range(rounds + 1):
            for name, saver in candidates.items():
                for shape, numbers in SHAPES.items():
                    times: Times = results[shape][name] if round_ else defaultdict(list)
                    conversation(saver, f"{shape}-{round_}", numbers, times)
                times = results["30 tasks in one step"][name] if round_ else defaultdict(list)
                fan_out(saver, f"fan-out-{round_}", times)


def stored_bytes(name: str) -> int:
    """What 100 steps take on a server of their own."""
    with ValkeyServer() as server, savers(server.url) as candidates:
        client: Any = server.client()
        before = client.info("memory")["used_memory"]
        conversation(candidates[name], "long", {"steps": 100, "constant": 100_000, "message": 1000}, defaultdict(list))
        size = int(client.info("memory")["used_memory"] - before)
        client.close()
    return size


def main(
    rounds: Annotated[int, typer.Option(help="More rounds, less noise.")] = 20,
    round_trip: Annotated[float, typer.Option(help="Milliseconds of network in the second measurement.")] = 1.0,
) -> None:
    """Print medians in microseconds, and how many times faster than the incumbent they are."""
    console = Console()
    with ValkeyServer() as server:
        results = new_results()
        measure(server.url, rounds, results)
        report(console, results, "on loopback")
        port = int(server.url.rpartition(":")[2])
        with delayed(port, round_trip / 1000) as far:
            results = new_results()
            measure(f"valkey://127.0.0.1:{far}", max(rounds // 4, 1), results)
            report(console, results, f"{round_trip:g} ms away")
    table = Table("saver", "bytes", title="Stored: 100 steps, 100 KB constant, messages growing 1 KB per step")
    for name in NAMES:
        table.add_row(name, f"{stored_bytes(name):,}")
    console.print(table)


def new_results() -> dict[str, dict[str, Times]]:
    """By shape, saver and operation."""
    return defaultdict(lambda: defaultdict(lambda: defaultdict(list)))


def report(console: Console, results: dict[str, dict[str, Times]], where: str) -> None:
    """Print a table for each shape."""
    for shape, by_name in results.items():
        table = Table("operation", *by_name, title=f"{shape}, {where}: median in microseconds (times faster)")
        for operation in by_name[INCUMBENT]:
            base = statistics.median(by_name[INCUMBENT][operation])
            medians = [statistics.median(times[operation]) for times in by_name.values()]
            table.add_row(operation, *(f"{median:,.0f} ({base / median:.2f}x)" for median in medians))
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
