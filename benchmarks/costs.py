"""What an operation costs besides time: round trips, bytes, and seconds of the client's and the server's processors."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import valkey

from .calls import Script, Stopwatch, adrive, call, drive
from .comparison import race
from .conversations import Shape, Step, chat, config
from .counting import traffic
from .report import Table
from .savers import INCUMBENT, SAVERS, Contender
from .scripts import conversation, deletion, fan_out, put, put_writes
from .suite import Suite

SHORT = Shape(steps=10, message=200)
DOCUMENT = Shape(steps=20, message=1000, constant=100_000)
REPEATS = 100
THREAD = "processors"


def costs(suite: Suite) -> None:
    """Count round trips and bytes, then measure CPU time; exact numbers need no rounds."""
    _network(suite)
    _processors(suite)
    _async_processors(suite)


def _network(suite: Suite) -> None:
    # A server that answers the beginning of a large request before its end was sent would be counted twice.
    for key, title, script, many_packets in (
        ("costs/chat", "short chat", lambda thread: conversation(thread, SHORT), False),
        ("costs/document", "100 KB document, 20 steps", lambda thread: conversation(thread, DOCUMENT), True),
        ("costs/fan-out", "30 tasks in one step", fan_out, False),
    ):
        trips = Table(title=f"Round trips of an operation, {title}", unit="round trips", baseline=INCUMBENT)
        sent = Table(title=f"Sent by an operation, {title}", unit="bytes", baseline=INCUMBENT)
        received = Table(title=f"Received by an operation, {title}", unit="bytes", baseline=INCUMBENT)
        for contender in suite.chosen(SAVERS):
            if contender.server is None:
                continue
            try:
                counted = traffic(suite.servers, contender, script)
            except Exception as error:
                suite.leave_out(contender.name, trips.title, error)
                continue
            by_operation: dict[str, list[tuple[int, int, int]]] = defaultdict(list)
            for one in counted:
                if one.asked.operation is not None:
                    by_operation[one.asked.operation].append((one.turns, one.sent, one.received))
            for operation, numbers in by_operation.items():
                for table, values in zip((trips, sent, received), zip(*numbers, strict=True), strict=True):
                    table.add(operation, contender.name, statistics.median(values))
        if not many_packets:
            suite.publish(f"{key}/round trips", trips)
        suite.publish(f"{key}/sent", sent)
        suite.publish(f"{key}/received", received)


def _blocks(thread_id: str) -> Iterable[tuple[str, Callable[[], Script]]]:
    """The same operation many times over, on a short chat."""
    steps: Sequence[Step] = list(chat(Shape(steps=REPEATS, message=200)))
    # As long as the thread of the other tables: what is measured is not how messages grow.
    for step in steps:
        values: dict[str, Any] = step.checkpoint["channel_values"]
        values["messages"] = values["messages"][-SHORT.steps :]

    def puts() -> Script:
        parent = None
        for step in steps:
            yield put(None, thread_id, parent, step)
            parent = step.checkpoint_id

    def writes() -> Script:
        for step in steps:
            yield put_writes(None, thread_id, step, "task-1")

    def reads() -> Script:
        for _ in range(REPEATS):
            yield call(None, "get_tuple", config(thread_id))

    def listings() -> Script:
        for _ in range(REPEATS):
            yield call(None, "list", config(thread_id), limit=10)

    return (
        ("put", puts),
        ("get latest", reads),
        ("put_writes", writes),
        ("get latest, 2 pending writes", reads),
        ("list(10)", listings),
    )


def _processors(suite: Suite) -> None:
    client = Table(title="CPU time of the client for an operation, short chat", unit="µs", baseline=INCUMBENT)
    server = Table(title="CPU time of the server for an operation, short chat", unit="µs", baseline=INCUMBENT)
    chosen = {contender.name: contender for contender in suite.chosen(SAVERS)}
    going = race(suite, client, list(chosen), rounds=24, seconds=40)
    with suite.servers.valkey.client() as probe:
        for turn in going:
            with turn:
                spent = _spent(suite, chosen[turn.contender], probe)
                for operation, (here, there) in spent.items():
                    turn.watch.samples[operation].append(here)
                    if turn.counts and there is not None:
                        server.add(operation, turn.contender, there)
    for name in going.retired:
        server.drop(name)
    suite.publish("costs/client cpu", client)
    suite.publish("costs/server cpu", server)


def _spent(suite: Suite, contender: Contender, probe: Any) -> dict[str, tuple[float, float | None]]:
    """Microseconds of the client and of Valkey for each operation. Alone, so that no other client is counted."""
    spent: dict[str, tuple[float, float | None]] = {}
    with contender.open(suite.servers) as subject:
        run = partial(drive, subject, meter=Stopwatch())
        run(conversation("warm-up", Shape(steps=2, message=200)))
        for operation, script in _blocks(THREAD):
            before, server_before = time.process_time(), _server_seconds(probe)
            run(script())
            used, server_used = time.process_time() - before, _server_seconds(probe) - server_before
            there = server_used * 1e6 / REPEATS if contender.server == "valkey" else None
            spent[operation] = (used * 1e6 / REPEATS, there)
        run(deletion(THREAD))
    return spent


def _async_processors(suite: Suite) -> None:
    table = Table(title="CPU time of the client for an operation, short chat, async", unit="µs", baseline=INCUMBENT)
    chosen = {contender.name: contender for contender in suite.chosen(SAVERS)}
    for turn in race(suite, table, list(chosen), rounds=24, seconds=40):
        with turn:
            for operation, spent in asyncio.run(_async_spent(suite, chosen[turn.contender])).items():
                turn.watch.samples[operation].append(spent)
    suite.publish("costs/client cpu async", table)


async def _async_spent(suite: Suite, contender: Contender) -> dict[str, float]:
    """As :func:`_spent`, of the client alone."""
    spent: dict[str, float] = {}
    async with contender.aopen(suite.servers) as subject:
        run = partial(adrive, subject, meter=Stopwatch())
        await run(conversation("warm-up", Shape(steps=2, message=200)))
        for operation, script in _blocks(THREAD):
            before = time.process_time()
            await run(script())
            spent[operation] = (time.process_time() - before) * 1e6 / REPEATS
        await run(deletion(THREAD))
    return spent


def _server_seconds(probe: valkey.Valkey) -> float:
    info: Any = probe.info("cpu")
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
