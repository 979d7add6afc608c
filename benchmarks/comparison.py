"""Let contenders run a script in turns, blocking and async."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from functools import partial
from typing import Any

from .calls import Script, adrive, drive
from .counting import traffic
from .floor import FLOOR, replay
from .race import Race
from .report import Table
from .savers import INCUMBENT, SAVERS, Contender
from .servers import Servers
from .suite import Suite

Scripts = dict[str, Callable[[str], Script]]
"""By the contender that runs it."""


def open_all(suite: Suite, stack: ExitStack, contenders: Sequence[Contender], servers: Servers) -> dict[str, Any]:
    """Open all that can be opened."""
    opened = {}
    for contender in contenders:
        try:
            opened[contender.name] = stack.enter_context(contender.open(servers))
        except Exception as error:
            suite.leave_out(contender.name, "opening", error)
    return opened


async def aopen_all(
    suite: Suite, stack: AsyncExitStack, contenders: Sequence[Contender], servers: Servers
) -> dict[str, Any]:
    """As :func:`open_all`, with awaitable methods."""
    opened = {}
    for contender in contenders:
        try:
            opened[contender.name] = await stack.enter_async_context(contender.aopen(servers))
        except Exception as error:
            suite.leave_out(contender.name, "opening (async)", error)
    return opened


def race(suite: Suite, table: Table, contenders: Sequence[str], rounds: int, seconds: float) -> Race:
    """A race whose results go into a table."""

    def failed(contender: str, error: Exception) -> None:
        table.drop(contender)
        suite.leave_out(contender, table.title, error)

    return Race(contenders, suite.rounds(rounds), suite.seconds(seconds), table.add, failed)


def floors(suite: Suite, contenders: Sequence[Contender], script: Callable[[str], Script], servers: Servers) -> Scripts:
    """The scripts that send what the contenders send, for each that has a floor."""
    scripts: Scripts = {}
    for contender in contenders:
        if contender.name in FLOOR:
            try:
                counted = traffic(servers, contender, script)
            except Exception as error:
                suite.leave_out(contender.name, "counting bytes", error)
                continue
            scripts[FLOOR[contender.name].name] = partial(replay, counted)
    return scripts


def compare(  # noqa: PLR0913 - all that tells one comparison from another, by keywords
    suite: Suite,
    key: str,
    title: str,
    script: Callable[[str], Script],
    *,
    rounds: int,
    seconds: float,
    contenders: Sequence[Contender] = SAVERS,
    servers: Servers | None = None,
    with_floor: bool = False,
    baseline: str = INCUMBENT,
) -> None:
    """Measure the calls of a script, blocking and async, and publish both tables.

    Args:
        suite: the run.
        key: of the tables, ``/sync`` and ``/async`` follow.
        title: of the tables.
        script: by the id of the thread that it may use.
        rounds: how many.
        seconds: after which no new round begins, for either table.
        contenders: who takes part, if the run's options let them.
        servers: those of the run unless others are given.
        with_floor: let the floors of the clients take part.
        baseline: with whom they are compared.
    """
    servers = servers or suite.servers
    chosen = suite.chosen(contenders)
    scripts: Scripts = {contender.name: script for contender in chosen}
    if with_floor:
        scripts |= floors(suite, chosen, script, servers)
        chosen += [floor for floor in FLOOR.values() if floor.name in scripts]

    table = Table(title=title, unit="µs", baseline=baseline)
    with ExitStack() as stack:
        subjects = open_all(suite, stack, chosen, servers)
        for turn in race(suite, table, list(subjects), rounds, seconds):
            with turn:
                drive(subjects[turn.contender], scripts[turn.contender](turn.thread_id), turn.watch)
    suite.publish(f"{key}/sync", table)

    async def awaiting(table: Table) -> None:
        async with AsyncExitStack() as stack:
            subjects = await aopen_all(suite, stack, chosen, servers)
            for turn in race(suite, table, list(subjects), rounds, seconds):
                with turn:
                    await adrive(subjects[turn.contender], scripts[turn.contender](turn.thread_id), turn.watch)

    table = Table(title=f"{title}, async", unit="µs", baseline=baseline)
    asyncio.run(awaiting(table))
    suite.publish(f"{key}/async", table)
