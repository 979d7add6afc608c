"""The workloads of the benchmarks run: in this process's memory, and on a server."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen
from rich.console import Console

from benchmarks.agent import agent, run
from benchmarks.contenders import CACHES, IN_MEMORY, INDEXED, SAVERS, STORES, VALKEY_PY, Contender, Servers
from benchmarks.report import Environment, Report, Table
from benchmarks.running import Script, Stopwatch, Suite, compare, drive
from benchmarks.savers import threads, traffic
from benchmarks.scripts import Shape, conversation, fan_out
from benchmarks.stores import cluster, entries, items, many
from statekeep.testing.servers import ValkeyServer


@pytest.fixture
def suite(valkey_server: ValkeyServer, tmp_path: Path) -> Suite:
    servers = Servers(tmp_path, valkey_server.port, "not for tests")
    console = Console(file=io.StringIO())
    return Suite(servers, Report(environment=Environment.here()), console, quick=True, asked_rounds=1)


def named(contenders: tuple[Contender, ...], name: str) -> Contender:
    return next(contender for contender in contenders if contender.name == name)


@pytest.mark.parametrize(
    ("script", "contenders"),
    [
        (lambda name: conversation(name, Shape(steps=12, message=10, before=3, constant=10)), SAVERS),
        (fan_out, SAVERS),
        (items, STORES),
        (entries, CACHES),
    ],
    ids=["conversation", "fan_out", "items", "entries"],
)
def test_scripts_run_blocking_and_async(
    suite: Suite, script: Callable[[str], Script], contenders: tuple[Contender, ...]
) -> None:
    some = Table(title="Some", unit="µs")
    both = [named(contenders, name) for name in (IN_MEMORY, VALKEY_PY)]
    compare(suite, some, script, both, rounds=1, seconds=0)
    assert suite.report.left_out == []
    blocking = {operation for operation in some.cells if not operation.endswith(", async")}
    assert some.cells.keys() == blocking | {f"{operation}, async" for operation in blocking}
    assert all(row.keys() == {IN_MEMORY, VALKEY_PY} for row in some.cells.values())


def test_an_agent_runs_and_its_round_trips_are_counted(suite: Suite) -> None:
    contender = named(SAVERS, VALKEY_PY)
    with contender.open(suite.servers) as saver:
        drive(agent(saver), run("of-an-agent"), Stopwatch())
    counted = traffic(suite.servers, contender, fan_out).counted
    assert {trips for trips, _, _ in counted["put_writes"]} == {1}
    assert all(sent > 200 for _, sent, _ in counted["put_writes"])


def test_what_costs_no_time_to_measure(suite: Suite) -> None:
    suite.only = ("valkey-py",)
    threads(suite)
    many(suite)
    cluster(suite)
    assert suite.failures == suite.report.left_out == []
    assert suite.report.tables["threads"].cells.keys() >= {
        "memory of a thread, bytes",
        "list(10) of all threads",
        "list by a step that one of all threads has",
        "list of all",
        "put",
    }
    assert all(VALKEY_PY + INDEXED in row for row in suite.report.tables["threads"].cells.values())
    assert suite.report.tables["many"].cells.keys() >= {"list_namespaces, all", "search below, one matches"}
    assert suite.report.tables["cluster"].median("put", VALKEY_PY)


def test_who_answers_wrongly_or_is_not_there_is_left_out(suite: Suite) -> None:
    class Forgetful:
        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    @frozen
    class Bad:
        name: str

        def open(self, servers: Servers, ttl: float | None) -> AbstractContextManager[Any]:
            return nullcontext(Forgetful())

        def aopen(self, servers: Servers, ttl: float | None) -> Any:
            raise RuntimeError("no async")

    some = Table(title="Fan", unit="µs")
    bad: Any = Bad("somebody")
    compare(suite, some, fan_out, [bad, named(SAVERS, "langgraph-checkpoint-redis")], rounds=1, seconds=0)
    assert not any(some.cells.values())
    assert "somebody, Fan: WrongAnswer: not the checkpoint that was asked for" in suite.report.left_out
    assert "somebody, opening (async): RuntimeError: no async" in suite.report.left_out
    assert any(line.startswith("langgraph-checkpoint-redis: ") for line in suite.report.left_out)
    assert suite.failures == []
