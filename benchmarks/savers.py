"""Savers asked directly: short and long threads, at a distance, at what cost, and as threads or their number grow."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

from tests.integration.valkey.counting_proxy import CountingProxy

from .agent import agent, run
from .contenders import AGENTS, INCUMBENT, KEEPERS, SAVERS, Contender, Servers, alone
from .report import Table, exponent
from .running import Counter, Script, Stopwatch, Suite, call, compare, drive, expect
from .scripts import Shape, chat, check, config, conversation, deletion, fan_out, written

CHAT = Shape(steps=10, message=200)
GROWN = Shape(steps=10, message=1000, before=100)
LARGE = Shape(steps=4, message=200, constant=1 << 20)
ROUND_TRIP = 0.001  # seconds
COUNTED = ("round trips", "bytes sent", "bytes received")
SERVED = tuple(saver for saver in SAVERS if saver.server)


COMPARED: dict[str, tuple[str, Callable[[str], Script], int, float]] = {
    "chat": ("Chat of 10 steps, messages of 200 bytes", partial(conversation, shape=CHAT), 100, 35),
    "grown": ("10 more steps in a chat of 100 messages of 1 KB", partial(conversation, shape=GROWN), 40, 35),
    "large": ("4 steps beside an unchanged channel of 1 MiB", partial(conversation, shape=LARGE), 20, 20),
    "fan-out": ("30 tasks of one step", fan_out, 50, 20),
}
"""Titles, scripts, rounds, and seconds for those of each face."""


def compared(suite: Suite, key: str) -> None:
    """Let all savers run the same script."""
    title, script, rounds, seconds = COMPARED[key]
    table = Table(title=title, unit="µs", baseline=INCUMBENT)
    compare(suite, table, script, SAVERS, rounds, seconds)
    suite.publish(key, table)


def network(suite: Suite) -> None:
    """The short chat with a network in between, where round trips decide."""
    table = Table(title="Chat of 10 steps, 1 ms away", unit="µs", baseline=INCUMBENT)
    with ExitStack() as stack:
        behind = {
            kind: stack.enter_context(CountingProxy(suite.servers.port(kind), ROUND_TRIP / 2)).port
            for kind in ("valkey", "redis")
            if isinstance(getattr(suite.servers, kind), int)
        }
        chat = partial(conversation, shape=CHAT)
        compare(suite, table, chat, SERVED, rounds=20, seconds=20, servers=suite.servers.behind(**behind))
    suite.publish("network", table)


def traffic(servers: Servers, contender: Contender, script: Callable[[str], Script]) -> Counter:
    """Count what each operation of a script sends and gets.

    The script runs once before, so that connections are open and the server knows the scripts.
    """
    assert contender.server is not None
    with CountingProxy(servers.port(contender.server)) as proxy:
        with contender.open(servers.behind(**{contender.server: proxy.port})) as subject:
            drive(subject, script("first"), Counter(proxy))
            counter = Counter(proxy)
            drive(subject, script("second"), counter)
    return counter


def costs(suite: Suite) -> None:
    """Count round trips and bytes, and measure the time of processors."""
    table = Table(title="Costs of an operation, chat of 10 steps", unit="what each row says", baseline=INCUMBENT)
    for name, contender in suite.chosen(SERVED).items():
        with suite.trying(name, "counting bytes"):
            counted = traffic(suite.servers, contender, partial(conversation, shape=CHAT)).counted
            long = traffic(suite.servers, contender, partial(conversation, shape=GROWN)).counted
            for operation in filter(None, counted):
                for what, values in zip(COUNTED, zip(*counted[operation], strict=True), strict=True):
                    table.add(f"{operation}: {what}", name, statistics.median(values))
            sent = statistics.median(sent for _, sent, _ in long["put"])
            table.add("put at step 100 of 1 KB: bytes sent", name, sent)
    chosen, repeats = suite.chosen(SAVERS), 20 if suite.quick else 100
    for turn in suite.race(table, chosen, rounds=20, seconds=40):
        with turn:
            for operation, here, there in _processors(suite.servers, chosen[turn.contender], repeats):
                turn.note(f"{operation}: client CPU, µs", here)
                if not math.isnan(there):
                    turn.note(f"{operation}: server CPU, µs", there)
    suite.publish("costs", table)


def _processors(servers: Servers, contender: Contender, repeats: int) -> Iterator[tuple[str, float, float]]:
    """Microseconds of the client and the server for each operation. Alone, so that no other client is counted."""
    # As long as the chat of the other tables: what is measured is not how messages grow.
    steps = list(chat(Shape(steps=repeats, message=200)))
    for step in steps:
        values: dict[str, Any] = step.checkpoint["channel_values"]
        values["messages"] = values["messages"][-CHAT.steps :]
    thread = "processors"

    with contender.open(servers) as saver:
        run = partial(drive, saver, meter=Stopwatch())
        run(conversation("warm-up", Shape(steps=2, message=200)))
        for operation, script in (
            ("put", written(thread, steps, [], ())),
            ("put_writes", (one for one in written(thread, steps, [], ("task-1",)) if one.method == "put_writes")),
            ("get latest", (call(None, "get_tuple", config(thread)) for _ in steps)),
            ("get by id", (call(None, "get_tuple", config(thread, steps[repeats // 2].checkpoint_id)) for _ in steps)),
            ("list(10)", (call(None, "list", config(thread), limit=10) for _ in steps)),
        ):
            before, server_before = time.process_time(), servers.cpu_seconds(contender.server)
            run(script)
            used, there = time.process_time() - before, servers.cpu_seconds(contender.server) - server_before
            yield operation, used * 1e6 / repeats, there * 1e6 / repeats
        run(deletion(thread))


def stored(suite: Suite) -> None:
    """Compare what a server of its own takes. In this process's memory it is not to be had exactly."""
    table = Table(title="Stored", unit="bytes of the server's memory", baseline=INCUMBENT)
    many = 100 if suite.quick else 1_000
    for what, fill in (
        ("chat of 100 steps, 200 bytes each", partial(_fill, shape=Shape(steps=100, message=200))),
        (f"{many:,} messages of 1 KB, a step each", partial(_fill, shape=Shape(steps=many, message=1000))),
        ("an agent of 10 steps with 2 tools each", _run),
    ):
        for name, kind, contender in _served(suite):
            with ExitStack() as stack:
                stack.enter_context(suite.trying(name, f"storing {what}"))
                servers = stack.enter_context(alone(suite.servers, kind))
                saver = stack.enter_context(contender.open(servers))
                _run(saver, "first")  # scripts take memory, too
                before = servers.used_memory(kind)
                fill(saver, "second")
                table.add(what, name, servers.used_memory(kind) - before)
    suite.publish("stored", table)


def _served(suite: Suite, contenders: Sequence[Contender] = AGENTS) -> Iterator[tuple[str, str, Contender]]:
    """Those whose server tells the memory that it uses, and its kind."""
    for name, contender in suite.chosen(contenders).items():
        if contender.server:
            yield name, contender.server, contender


def _run(saver: Any, thread_id: str) -> None:
    drive(agent(saver), run(thread_id), Stopwatch())


def _fill(saver: Any, thread_id: str, shape: Shape) -> None:
    drive(saver, written(thread_id, chat(shape), []), Stopwatch(limit=60))


SIZES = (10, 100, 1_000, 10_000)
FRESH = 100
"""Threads up to this length are made anew for each round: a few checkpoints more would change them."""


def _extended(thread_id: str, ids: list[str], size: int) -> Script:
    """Bring a thread to so many checkpoints; each has a pending write, as LangGraph leaves it."""
    if size <= FRESH:
        yield call(None, "delete_thread", thread_id)
        ids.clear()
    steps = chat(Shape(steps=size - len(ids), message=200), len(ids), growing=False)
    yield from written(thread_id, steps, ids, ("task-1",))


def _measured(thread_id: str, ids: list[str]) -> Script:
    """Go on with a thread for three steps, and read it."""
    for step in list(chat(Shape(steps=3, message=200), len(ids), growing=False)):
        yield from written(thread_id, [step], ids)
        for _ in range(3):
            found = yield call("get latest", "get_tuple", config(thread_id))
            check(found, step, pending=4)
        old = ids[len(ids) // 2]
        found = yield call("get by id", "get_tuple", config(thread_id, old))
        expect(found is not None and found.checkpoint["id"] == old, "not the checkpoint that was asked for")
    listed = yield call("list(10)", "list", config(thread_id), limit=10)
    expect([one.checkpoint["id"] for one in listed] == ids[:-11:-1], "wrong list")


def growth(suite: Suite) -> None:
    """Measure threads of 10 to 10,000 checkpoints, which take turns, so that only length differs."""
    sizes = SIZES[:3] if suite.quick else SIZES
    table = Table(title="Growth of a thread", unit="µs, and the exponent of each operation", baseline=INCUMBENT)
    ids: dict[tuple[str, int], list[str]] = defaultdict(list)
    with suite.face("sync") as opened:
        subjects = suite.open(opened, SAVERS)
        for turn in suite.race(table, subjects, rounds=30, seconds=100):
            with turn:
                for size in sizes:
                    thread_id, there = f"{size}-checkpoints", ids[turn.contender, size]
                    watch = Stopwatch()
                    drive(subjects[turn.contender], _extended(thread_id, there, size), Stopwatch())
                    drive(subjects[turn.contender], _measured(thread_id, there), watch)
                    for operation, samples in watch.samples.items():
                        turn.note(f"{operation}, {size:,} checkpoints", statistics.median(samples))
    for operation in dict.fromkeys(row.partition(", ")[0] for row in table.cells):
        cells = [table.cells[f"{operation}, {size:,} checkpoints"] for size in sizes]
        for name in cells[0]:
            for values in zip(*(row[name] for row in cells), strict=True):
                table.add(f"{operation}: exponent", name, exponent(sizes, values))
    suite.publish("growth", table)


def threads(suite: Suite) -> None:
    """Fill 100,000 threads; list all, the newest, and one by its metadata; read one and go on with it."""
    count = 1_000 if suite.quick else 100_000
    table = Table(title=f"{count:,} threads", unit="µs", baseline=INCUMBENT)
    for name, kind, contender in _served(suite, KEEPERS):
        ids: list[str] = []
        with ExitStack() as stack:
            stack.enter_context(suite.trying(name, f"filling {table.title}"))
            servers = stack.enter_context(alone(suite.servers, kind))
            saver = stack.enter_context(contender.open(servers))
            before = servers.used_memory(kind)
            drive(saver, _filled(count, ids), Stopwatch(limit=75))
            table.add("memory of a thread, bytes", name, (servers.used_memory(kind) - before) / count)
            for what, script in (
                ("listing the newest", _newest(ids)),
                ("filtering by metadata", _filtered(ids)),
                ("going on with one", _one(ids)),
                ("listing all", _listed(ids)),
            ):
                with suite.trying(name, f"{table.title}, {what}"):
                    watch = Stopwatch(limit=60)
                    drive(saver, script, watch)
                    for operation, samples in watch.samples.items():
                        table.add(operation, name, statistics.median(samples))
    suite.publish("threads", table)


def _filled(count: int, ids: list[str]) -> Script:
    for step in chat(Shape(steps=count, message=200), growing=False):
        one: list[str] = []
        yield from written(f"of-many-{len(ids)}", [step], one, ())
        ids += one


def _newest(ids: list[str]) -> Script:
    for _ in range(20):
        listed = yield call("list(10) of all threads", "list", None, limit=10)
        expect([one.checkpoint["id"] for one in listed] == ids[:-11:-1], "wrong list")


def _filtered(ids: list[str]) -> Script:
    """Each thread has one checkpoint, whose step no other has; all have the same source."""
    for turn in range(4):
        number = random.randrange(len(ids))
        name = "list by a step that one of all threads has" + ("" if turn else ", the first time")
        listed = yield call(name, "list", None, filter={"step": number})
        expect([one.checkpoint["id"] for one in listed] == [ids[number]], "not the one of this step")
    for _ in range(4):
        listed = yield call("list(10) by a source that all have", "list", None, filter={"source": "loop"}, limit=10)
        expect([one.checkpoint["id"] for one in listed] == ids[:-11:-1], "wrong list")


def _listed(ids: list[str]) -> Script:
    listed = yield call("list of all", "list", None)
    expect({one.checkpoint["id"] for one in listed} >= set(ids), "not all")


def _one(ids: list[str]) -> Script:
    for step in chat(Shape(steps=200, message=200), len(ids), growing=False):
        number = random.randrange(len(ids))
        thread_id = f"of-many-{number}"
        found = yield call("get latest", "get_tuple", config(thread_id))
        expect(found is not None and found.checkpoint["id"] == ids[number], "not the newest of the thread")
        one = [ids[number]]
        yield from written(thread_id, [step], one, ())
        ids[number] = one[-1]
