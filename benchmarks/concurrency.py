"""Many runs of a graph at once: how many are done in a second, and how long single calls take meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any, TypeVar

from .calls import Script, Stopwatch, adrive, drive
from .comparison import aopen_all, open_all, race
from .conversations import Shape, chat
from .numbers import percentile
from .race import Turn
from .report import Table
from .savers import INCUMBENT, SAVERS
from .scripts import FAN_OUT, deletion, put, put_writes, run_of_graph
from .suite import Suite

THREADS = 64
RUNS = 200
QUICK_RUNS = 50
STEPS = 4
"""Of each run."""

THROUGHPUT = "runs of a graph"
PERCENTS = (50, 99)

ResultT = TypeVar("ResultT")


def _tables(title: str) -> tuple[Table, Table]:
    return (
        Table(title=title, unit="per second", baseline=INCUMBENT, higher_is_better=True),
        Table(title=f"{title}: single calls", unit="µs", baseline=INCUMBENT),
    )


def _note(turn: Turn, tables: tuple[Table, Table], watches: Sequence[Stopwatch], seconds: float) -> None:
    if not turn.counts:
        return
    throughput, calls = tables
    throughput.add(THROUGHPUT, turn.contender, len(watches) / seconds)
    samples: dict[str, list[float]] = defaultdict(list)
    for watch in watches:
        for operation, times in watch.samples.items():
            samples[operation] += times
    for operation, times in samples.items():
        for percent in PERCENTS:
            calls.add(f"{operation}, p{percent}", turn.contender, percentile(times, percent))


def _names(turn: Turn, runs: int) -> list[str]:
    return [f"{turn.thread_id}-{number}" for number in range(runs)]


def threads(suite: Suite) -> None:
    """Run graphs in 64 threads of this process, two runs in each."""
    tables = _tables(f"{THREADS} threads")
    with ExitStack() as stack:
        workers = stack.enter_context(ThreadPoolExecutor(THREADS))
        subjects = open_all(suite, stack, suite.chosen(SAVERS), suite.servers)

        def run(subject: Any, name: str) -> Stopwatch:
            watch = Stopwatch()
            drive(subject, run_of_graph(name, STEPS), watch)
            return watch

        going = race(suite, tables[0], list(subjects), rounds=15, seconds=100)
        for turn in going:
            with turn:
                subject, names = subjects[turn.contender], _names(turn, THREADS if suite.quick else 2 * THREADS)
                began = time.perf_counter()
                watches = _in_threads(workers, [partial(run, subject, name) for name in names])
                _note(turn, tables, watches, time.perf_counter() - began)
                drive(subject, deletion(*names), Stopwatch())
    _publish(suite, "threads", tables, going.retired)


def runs(suite: Suite) -> None:
    """Run 200 graphs as tasks of one event loop."""
    at_once = QUICK_RUNS if suite.quick else RUNS
    tables = _tables(f"{at_once} async runs at once")
    retired = asyncio.run(_awaiting(suite, tables, at_once))
    _publish(suite, "runs", tables, retired)


async def _awaiting(suite: Suite, tables: tuple[Table, Table], at_once: int) -> set[str]:
    async with AsyncExitStack() as stack:
        subjects = await aopen_all(suite, stack, suite.chosen(SAVERS), suite.servers)
        going = race(suite, tables[0], list(subjects), rounds=15, seconds=120)
        for turn in going:
            with turn:
                subject, names = subjects[turn.contender], _names(turn, at_once)
                watches = [Stopwatch() for _ in names]
                scripts = [run_of_graph(name, STEPS) for name in names]
                began = time.perf_counter()
                await _at_once([adrive(subject, *pair) for pair in zip(scripts, watches, strict=True)])
                _note(turn, tables, watches, time.perf_counter() - began)
                await adrive(subject, deletion(*names), Stopwatch())
    return going.retired


def _in_threads(workers: ThreadPoolExecutor, calls: Sequence[Callable[[], ResultT]]) -> list[ResultT]:
    """Wait for all, also if one fails, so that the next contender has the machine for itself."""
    futures = [workers.submit(call) for call in calls]
    wait(futures)
    return [future.result() for future in futures]


async def _at_once(calls: Sequence[Awaitable[None]]) -> None:
    """As :func:`_in_threads`, as tasks of the event loop."""
    for outcome in await asyncio.gather(*calls, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


def _publish(suite: Suite, key: str, tables: tuple[Table, Table], retired: set[str]) -> None:
    for contender in retired:
        tables[1].drop(contender)
    suite.publish(key, tables[0])
    suite.publish(f"{key}/calls", tables[1])


def fan_out_at_once(suite: Suite) -> None:
    """Let 30 tasks of one superstep store their writes at once, as LangGraph does: the time for all of them."""
    operation = f"{FAN_OUT} put_writes at once"
    table = Table(title="30 tasks side by side", unit="µs", baseline=INCUMBENT)

    def note(turn: Turn, label: str, began: float) -> None:
        turn.watch.samples[label].append((time.perf_counter() - began) * 1e6)

    with ExitStack() as stack:
        workers = stack.enter_context(ThreadPoolExecutor(FAN_OUT))
        subjects = open_all(suite, stack, suite.chosen(SAVERS), suite.servers)
        for turn in race(suite, table, list(subjects), rounds=60, seconds=25):
            with turn:
                saver = subjects[turn.contender]
                prepared, tasks = _fan(turn.thread_id)
                drive(saver, prepared(), Stopwatch())
                began = time.perf_counter()
                _in_threads(workers, [partial(drive, saver, task(), Stopwatch()) for task in tasks])
                note(turn, f"{operation}, threads", began)
                drive(saver, deletion(turn.thread_id), Stopwatch())

    async def awaiting() -> None:
        async with AsyncExitStack() as stack:
            subjects = await aopen_all(suite, stack, suite.chosen(SAVERS), suite.servers)
            for turn in race(suite, table, list(subjects), rounds=60, seconds=25):
                with turn:
                    saver = subjects[turn.contender]
                    prepared, tasks = _fan(turn.thread_id)
                    await adrive(saver, prepared(), Stopwatch())
                    began = time.perf_counter()
                    await _at_once([adrive(saver, task(), Stopwatch()) for task in tasks])
                    note(turn, f"{operation}, async", began)
                    await adrive(saver, deletion(turn.thread_id), Stopwatch())

    asyncio.run(awaiting())
    suite.publish("fan-out/at once", table)


def _fan(thread_id: str) -> tuple[Callable[[], Script], list[Callable[[], Script]]]:
    """A checkpoint, and what its tasks write."""
    [step] = chat(Shape(steps=1, message=200))

    def prepared() -> Script:
        yield put(None, thread_id, None, step)

    def task(number: int) -> Script:
        yield put_writes(None, thread_id, step, f"task-{number}")

    return prepared, [partial(task, number) for number in range(FAN_OUT)]
