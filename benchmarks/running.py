"""Scripts of calls, contenders that take turns in rounds, and what all workloads of a run share."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, AsyncExitStack, ExitStack, contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self

from attrs import define, field, frozen
from rich.console import Console

from tests.integration.valkey.counting_proxy import CountingProxy

from .contenders import Contender, NotHere, Servers
from .report import Report, Table

QUICK = 10
"""Quick runs do so many times less."""
LEAST_ROUNDS = 3


@frozen
class Call:
    """One call of a method, by its blocking name; what it is measured as is ``None`` if it only prepares."""

    operation: str | None
    method: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(factory=dict)


Script = Generator[Call, Any, None]
"""Yields calls and is resumed with their results. So there is one script for blocking and for async subjects."""


class WrongAnswer(Exception):
    """What was measured did not do what it was asked for, so its time says nothing."""


def call(operation: str | None, method: str, *arguments: Any, **options: Any) -> Call:
    """Make a call."""
    return Call(operation, method, arguments, options)


def expect(holds: bool, what: str) -> None:
    """Check an answer."""
    if not holds:
        raise WrongAnswer(what)


@define
class Stopwatch:
    """Notes how many microseconds each operation took, and ends what takes longer than ``limit`` seconds in all."""

    limit: float = 300.0
    samples: dict[str, list[float]] = field(factory=lambda: defaultdict(list))
    _first: float = field(factory=time.monotonic)
    _began: int = 0

    def start(self) -> None:
        if time.monotonic() - self._first > self.limit:
            raise TimeoutError(f"not done after {self.limit:g} s")
        self._began = time.perf_counter_ns()

    def stop(self, ended: Call) -> None:
        elapsed = time.perf_counter_ns() - self._began
        if ended.operation is not None:
            self.samples[ended.operation].append(elapsed / 1000)


async def adrive(subject: Any, script: Script, meter: Any, prefix: str = "a") -> None:
    """Run a script with the methods of these names behind an ``a``. What comes lazily is read to its end."""
    answer: Any = None
    while True:
        try:
            asked = script.send(answer)
        except StopIteration:
            return
        method = getattr(subject, prefix + asked.method)
        meter.start()
        answer = method(*asked.arguments, **asked.options)
        if isinstance(answer, Iterator):
            answer = list(answer)
        elif isinstance(answer, AsyncIterator):
            answer = [item async for item in answer]
        elif prefix:
            answer = await answer
        meter.stop(asked)


def drive(subject: Any, script: Script, meter: Any) -> None:
    """As :func:`adrive` with blocking methods: there is nothing to wait for."""
    with suppress(StopIteration):
        adrive(subject, script, meter, "").send(None)


@define
class Face:
    """The blocking or the awaitable methods of whatever it opens, and an event loop for the latter."""

    name: str
    stack: ExitStack
    runner: asyncio.Runner
    async_stack: AsyncExitStack = field(factory=AsyncExitStack)

    def open(self, contender: Contender, servers: Servers, ttl: float | None = None) -> Any:
        """Open a contender until this face is left."""
        if self.name == "sync":
            return self.stack.enter_context(contender.open(servers, ttl))
        return self.wait(self.async_stack.enter_async_context(contender.aopen(servers, ttl)))

    def wait(self, awaited: Coroutine[Any, Any, Any]) -> Any:
        """Wait for it in the event loop."""
        return self.runner.run(awaited)

    def drive(self, subject: Any, script: Script, meter: Any) -> None:
        """Run a script."""
        if self.name == "sync":
            drive(subject, script, meter)
        else:
            self.wait(adrive(subject, script, meter))

    def drive_all(self, subject: Any, scripts: Sequence[Script]) -> None:
        """Run scripts at once: in threads, or as tasks of the event loop."""

        async def together() -> None:
            await asyncio.gather(*(adrive(subject, script, Stopwatch()) for script in scripts))

        if self.name == "async":
            self.wait(together())
        else:
            with ThreadPoolExecutor(len(scripts)) as workers:
                list(workers.map(lambda script: drive(subject, script, Stopwatch()), scripts))


@contextmanager
def face(name: str, closing: AbstractContextManager[None]) -> Iterator[Face]:
    """Use the ``"sync"`` or ``"async"`` methods of contenders, and close them within ``closing``."""
    with asyncio.Runner() as runner:
        made = Face(name, ExitStack(), runner)
        try:
            yield made
        finally:
            with closing, made.stack:
                made.wait(made.async_stack.aclose())


@define
class Counter:
    """Notes operation, round trips, bytes sent and bytes received of each call through a proxy."""

    proxy: CountingProxy
    counted: dict[str | None, list[tuple[int, int, int]]] = field(factory=lambda: defaultdict(list))

    def start(self) -> None:
        self.proxy.reset()

    def stop(self, ended: Call) -> None:
        self.counted[ended.operation].append((self.proxy.turns, self.proxy.sent, self.proxy.received))


@define
class Turn:
    """One contender in one round; use it in ``with``. An error ends its part in the race."""

    race: Race
    round: int
    contender: str
    watch: Stopwatch = field(factory=Stopwatch)

    @property
    def thread_id(self) -> str:
        """A name for the thread of this turn."""
        return f"thread-{self.round}"

    def note(self, operation: str, value: float) -> None:
        """Keep a value; the turn's is the median of its values."""
        self.watch.samples[operation].append(value)

    def __enter__(self) -> Self:
        gc.collect()  # what others left behind would be collected within this one's time
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, Exception):
            self.race.retire(self.contender, error)
            return True
        if error is None and self.round > 0:  # the first round only warms up
            for operation, samples in self.watch.samples.items():
                row = self.race.cells.setdefault(operation, {})
                row.setdefault(self.contender, []).append(statistics.median(samples))
        return False


@define
class Race:
    """Iterate over it for the turns of all contenders; every other round goes the other way round.

    One round more than ``rounds`` comes first. After ``seconds`` no new one begins, once there are ``least``.
    ``failed`` is told who retired, and why. The table gets the numbers of the others; ``suffix`` ends the rows' names.
    """

    table: Table
    suffix: str
    contenders: Sequence[str]
    rounds: int
    seconds: float
    least: int
    failed: Callable[[str, Exception], None]
    cells: dict[str, dict[str, list[float]]] = field(factory=dict, init=False)
    retired: set[str] = field(factory=set, init=False)

    def retire(self, contender: str, error: Exception) -> None:
        """Give it no further turns."""
        self.retired.add(contender)
        for row in self.cells.values():
            row.pop(contender, None)
        self.failed(contender, error)

    def __iter__(self) -> Iterator[Turn]:
        began = time.monotonic()
        gc.collect()
        gc.freeze()  # so that collections within a turn look at what the turn made
        try:
            for round_ in range(self.rounds + 1):
                if round_ > self.least and time.monotonic() - began > self.seconds:
                    break
                for contender in self.contenders if round_ % 2 else reversed(self.contenders):
                    if contender not in self.retired:
                        yield Turn(self, round_, contender)
        finally:
            gc.unfreeze()
        for operation, row in self.cells.items():
            self.table.cells.setdefault(operation + self.suffix, {}).update(row)


@define
class Suite:
    """A run: its servers and options, what was measured so far, and what Statekeep or the suite itself failed at."""

    servers: Servers
    report: Report
    console: Console
    quick: bool = False
    only: tuple[str, ...] = ()
    asked_rounds: int | None = None
    failures: list[str] = field(factory=list, init=False)

    def race(self, table: Table, contenders: Iterable[str], rounds: int, seconds: float, suffix: str = "") -> Race:
        """Let contenders take turns, for so many rounds and seconds at most."""
        least, seconds = (1, seconds / QUICK) if self.quick else (LEAST_ROUNDS, seconds)
        failed = partial(self.leave_out, what=table.title + suffix)
        return Race(table, suffix, list(contenders), self.asked_rounds or rounds, seconds, least, failed)

    def chosen(self, contenders: Sequence[Contender]) -> dict[str, Contender]:
        """Those of them that take part, by name."""
        return {contender.name: contender for contender in contenders if self.takes(contender.name)}

    def takes(self, name: str) -> bool:
        """Whether a contender with this name takes part."""
        return not self.only or any(part in name.lower() for part in self.only)

    def open(
        self, face: Face, contenders: Sequence[Contender], servers: Servers | None = None, ttl: float | None = None
    ) -> dict[str, Any]:
        """Open all that can be opened."""
        opened = {}
        for name, contender in self.chosen(contenders).items():
            with self.trying(name, f"opening ({face.name})"):
                opened[name] = face.open(contender, servers or self.servers, ttl)
        return opened

    def face(self, name: str) -> AbstractContextManager[Face]:
        """Use the methods of a kind; an error on closing does not end the workload."""
        return face(name, self.trying(f"closing ({name})", "whoever it was"))

    @contextmanager
    def trying(self, contender: str, what: str) -> Iterator[None]:
        """Go on without a contender that fails."""
        try:
            yield
        except Exception as error:
            self.leave_out(contender, error, what)

    def leave_out(self, contender: str, error: Exception, what: str) -> None:
        """Say that a contender does not take part in something, and why."""
        line = f"{contender}: {error}"
        if not isinstance(error, NotHere | ImportError):
            line = f"{contender}, {what}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            if contender.startswith(("Statekeep", "workload")):
                self.failures.append(line)
        if line not in self.report.left_out:
            self.report.left_out.append(line)
            self.console.print(f"left out: {line}", style="yellow", highlight=False, markup=False)

    def publish(self, key: str, table: Table) -> None:
        """Keep a table, and print it."""
        table.cells = {operation: row for operation, row in table.cells.items() if row}
        if table.cells:
            self.report.tables[key] = table
            self.console.print(table.plain(), highlight=False, markup=False)


def compare(
    suite: Suite,
    table: Table,
    script: Callable[[str], Script],
    contenders: Sequence[Contender],
    rounds: int,
    seconds: float,
    servers: Servers | None = None,
) -> None:
    """Measure the calls of a script into a table, blocking and then async, each race for so many seconds at most."""
    for name, suffix in (("sync", ""), ("async", ", async")):
        with suite.face(name) as opened:
            subjects = suite.open(opened, contenders, servers)
            for turn in suite.race(table, subjects, rounds, seconds, suffix):
                with turn:
                    opened.drive(subjects[turn.contender], script(turn.thread_id), turn.watch)
