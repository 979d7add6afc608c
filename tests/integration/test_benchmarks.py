"""The scripts of the benchmarks run: in this process's memory and on a server, with the floor beside them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks.caches import CACHES, entries
from benchmarks.calls import Script
from benchmarks.comparison import compare
from benchmarks.conversations import Shape
from benchmarks.counting import traffic
from benchmarks.environment import environment
from benchmarks.report import Report
from benchmarks.savers import FLOORS, GLIDE, MEMORY, SAVERS, VALKEY_PY, Contender
from benchmarks.scripts import conversation, fan_out, large, run_of_graph
from benchmarks.servers import Servers
from benchmarks.stores import STORES, items
from benchmarks.suite import Suite
from statekeep.testing.servers import ValkeyServer


@pytest.fixture
def suite(valkey_server: ValkeyServer, tmp_path: Path) -> Suite:
    servers = Servers(valkey_server, "not for tests", tmp_path, valkey_server.port)
    return Suite(servers, Report(environment=environment(servers)), Console(file=io.StringIO()), asked_rounds=1)


def of(contenders: tuple[Contender, ...], *names: str) -> list[Contender]:
    return [contender for contender in contenders if contender.name in names]


@pytest.mark.parametrize(
    ("script", "contenders"),
    [
        (lambda name: conversation(name, Shape(steps=12, message=10, constant=10)), SAVERS),
        (fan_out, SAVERS),
        (lambda name: large(name, 100), SAVERS),
        (lambda name: run_of_graph(name, 2), SAVERS),
        (items, STORES),
        (entries, CACHES),
    ],
    ids=["conversation", "fan_out", "large", "run_of_graph", "items", "entries"],
)
def test_scripts_run_in_memory(
    suite: Suite, script: Callable[[str], Script], contenders: tuple[Contender, ...]
) -> None:
    compare(suite, "some", "Some", script, rounds=1, seconds=0, contenders=of(contenders, MEMORY), baseline=MEMORY)
    assert suite.report.left_out == []
    blocking, awaiting = suite.report.tables["some/sync"], suite.report.tables["some/async"]
    assert blocking.cells.keys() == awaiting.cells.keys()
    assert blocking.contenders == awaiting.contenders == [MEMORY]


def test_statekeep_is_measured_beside_the_floor(suite: Suite) -> None:
    ours = of(SAVERS, GLIDE, VALKEY_PY)
    compare(suite, "fan", "Fan", fan_out, rounds=1, seconds=0, contenders=ours, with_floor=True, baseline=GLIDE)
    assert suite.report.left_out == []
    for key in ("fan/sync", "fan/async"):
        assert set(suite.report.tables[key].contenders) == {GLIDE, VALKEY_PY, *FLOORS.values()}


def test_traffic_is_counted(suite: Suite) -> None:
    [contender] = of(SAVERS, VALKEY_PY)
    counted = traffic(suite.servers, contender, fan_out)
    assert {one.turns for one in counted if one.asked.method == "put_writes"} == {1}
    assert all(one.sent > 200 for one in counted if one.asked.method == "put_writes")


def test_who_answers_wrongly_is_left_out(suite: Suite) -> None:
    class Forgetful:
        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: None

    class Opened:
        def __enter__(self) -> Forgetful:
            return Forgetful()

        def __exit__(self, *_: object) -> None:
            pass

    def fails(_: Servers) -> Any:
        raise RuntimeError("no async")

    bad = Contender("somebody", None, lambda _: Opened(), fails)
    compare(suite, "fan", "Fan", fan_out, rounds=1, seconds=0, contenders=[bad], baseline="somebody")
    assert suite.report.tables == {}
    assert suite.report.left_out == [
        "somebody, Fan: WrongAnswer: not the checkpoint that was asked for",
        "somebody, opening (async): RuntimeError: no async",
    ]
    assert suite.failures == []
