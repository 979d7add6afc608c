"""How operations slow down as a thread grows: threads of several lengths take turns, so that only length differs."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from .calls import Script, Stopwatch, call, drive, expect
from .comparison import open_all, race
from .conversations import SNAPSHOT_EVERY, config, log
from .report import Growth, Table
from .savers import INCUMBENT, SAVERS
from .scripts import check, deletion, put, put_writes
from .suite import Suite
from .tables import print_growth

SIZES = (10, 100, 1_000, 10_000)
FRESH = 100
"""Threads up to this length are made anew for each round: a few checkpoints more would change them."""

LONG = 1_000
"""The length whose numbers make a table of their own."""

HISTORY = "delta channel history"

Ids = list[str]


def extend(thread_id: str, ids: Ids, size: int) -> Script:
    """Bring a thread to so many checkpoints; each has a pending write, as LangGraph leaves it."""
    for step in log(len(ids), size):
        yield put(None, thread_id, ids[-1] if ids else None, step)
        yield put_writes(None, thread_id, step, "task-1")
        ids.append(step.checkpoint_id)


def anew(thread_id: str, ids: Ids, size: int) -> Script:
    """Make a thread of this length instead of the one that is there."""
    yield call(None, "delete_thread", thread_id)
    ids.clear()
    yield from extend(thread_id, ids, size)


def measured(thread_id: str, ids: Ids) -> Script:
    """Go on with a thread for three steps, and read it."""
    for step in log(len(ids), len(ids) + 3):
        yield put("put", thread_id, ids[-1], step)
        ids.append(step.checkpoint_id)
        for _ in range(3):
            found = yield call("get latest", "get_tuple", config(thread_id))
            check(found, step, pending=0)
        yield put_writes("put_writes", thread_id, step, "task-1")
        yield put_writes("put_writes", thread_id, step, "task-2")
        old = ids[len(ids) // 2]
        found = yield call("get by id, 1 pending write", "get_tuple", config(thread_id, old))
        expect(found is not None and found.checkpoint["id"] == old, "not the checkpoint that was asked for")
    listed = yield call("list(10)", "list", config(thread_id), limit=10)
    expect([one.checkpoint["id"] for one in listed] == ids[:-11:-1], "wrong list")


def history(thread_id: str, ids: Ids) -> Script:
    """Rebuild a delta channel just before its next snapshot, when the walk back is longest."""
    last = (len(ids) - 2) // SNAPSHOT_EVERY * SNAPSHOT_EVERY - 1
    wanted = config(thread_id, ids[last])
    for _ in range(2):
        found = yield call(HISTORY, "get_delta_channel_history", config=wanted, channels=["events"])
        expect(len(found["events"]["writes"]) == SNAPSHOT_EVERY - 1, "writes of the channel are missing")


def growth(suite: Suite) -> None:
    """Measure threads of 10 to 10,000 checkpoints, and publish exponents; those of 1,000 make a table of their own."""
    sizes = SIZES[:3] if suite.quick else SIZES
    times: dict[tuple[str, str], dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    table = Table(title=f"Thread of {LONG:,} checkpoints", unit="µs", baseline=INCUMBENT)

    def note(size: int, contender: str, watch: Stopwatch) -> None:
        for operation, samples in watch.samples.items():
            median = statistics.median(samples)
            if operation != HISTORY:
                times[operation, contender][size].append(median)
            if size == LONG:
                table.add(operation, contender, median)

    with ExitStack() as stack:
        chosen = {contender.name: contender for contender in suite.chosen(SAVERS)}
        subjects = open_all(suite, stack, list(chosen.values()), suite.servers)
        ids: dict[tuple[str, int], Ids] = defaultdict(list)
        going = race(suite, table, list(subjects), rounds=30, seconds=180)
        for turn in going:
            with turn:
                subject, name = subjects[turn.contender], turn.contender
                for size in sizes:
                    thread_id, there = f"{size}-checkpoints", ids[name, size]
                    watch = Stopwatch()
                    run = partial(drive, subject, meter=watch)
                    if size <= FRESH:
                        run(anew(thread_id, there, size))
                    else:
                        run(extend(thread_id, there, size))
                    run(measured(thread_id, there))
                    if size == LONG:
                        run(history(thread_id, there))
                    if turn.counts:
                        note(size, name, watch)
                if not turn.counts:
                    chosen[name].settle(suite.servers)
        finished = [name for name in subjects if name not in going.retired]
        for name in finished:
            drive(subjects[name], deletion(*(f"{size}-checkpoints" for size in sizes)), Stopwatch())
    suite.publish("long", table)
    if finished:
        suite.report.growth = Growth(sizes=list(sizes), cells=_cells(times, finished, sizes))
        print_growth(suite.console, suite.report.growth)


def _cells(
    times: dict[tuple[str, str], dict[int, list[float]]], contenders: Sequence[str], sizes: Sequence[int]
) -> dict[str, dict[str, list[list[float]]]]:
    cells: dict[str, Any] = {}
    for operation, contender in times:
        if contender in contenders:
            row = cells.setdefault(operation, {})
            row[contender] = [times[operation, contender][size] for size in sizes]
    return cells
