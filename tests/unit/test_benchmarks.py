"""The pure parts of the benchmarks: medians, ratios, exponents, turns, targets, and what is made of a report."""

from __future__ import annotations

import doctest
import re
from pathlib import Path
from typing import Any

import pytest

from benchmarks import charts, numbers, pages, postgres, tables
from benchmarks.postgres import NoPostgres, PostgresServer
from benchmarks.race import Race
from benchmarks.report import Environment, Growth, Report, Table
from benchmarks.savers import FLOORS, GLIDE, INCUMBENT, VALKEY_PY
from benchmarks.targets import slower, verdicts
from benchmarks.workloads import WORKLOADS
from tests.fenced import ROOT

ENVIRONMENT = Environment(
    date="2026-01-01T00:00:00+00:00",
    commit=None,
    machine="a machine",
    cores=2,
    load=(0.0, 0.1),
    versions={"Python": "3.11", "Valkey": "9.1", "langgraph-checkpoint-aws": "1.2"},
)


def table(cells: dict[str, dict[str, list[float]]], **more: Any) -> Table:
    return Table(**{"title": "Some", "unit": "µs", "baseline": INCUMBENT, "cells": cells, **more})


def report() -> Report:
    row = {INCUMBENT: [300.0, 400.0, 900.0], GLIDE: [100.0, 200.0, 300.0], VALKEY_PY: [600.0, 400.0, 450.0]}
    cells = {"put": {**row, FLOORS[GLIDE]: [80.0, 100.0, 150.0]}, "get latest": row}
    flat = [[5.0, 5.0], [5.0, 5.5], [5.0, 5.0]]
    return Report(
        environment=ENVIRONMENT,
        tables={
            "document/sync": table(cells),
            "runs": table(
                {"runs of a graph": {INCUMBENT: [10.0], GLIDE: [15.0], VALKEY_PY: [25.0]}}, higher_is_better=True
            ),
            "stored": table(
                {"100 KB document, 100 steps": {INCUMBENT: [20e6], GLIDE: [5e6], VALKEY_PY: [5e6]}}, unit="bytes"
            ),
        },
        growth=Growth(sizes=[10, 100, 1000], cells={"put": {GLIDE: flat, INCUMBENT: [[1.0], [10.0], [100.0]]}}),
        left_out=["somebody: was not there"],
    )


@pytest.mark.parametrize("module", [numbers, tables], ids=lambda module: module.__name__)
def test_examples_hold(module: Any) -> None:
    outcome = doctest.testmod(module)
    assert outcome.attempted
    assert not outcome.failed


def test_ratios_are_those_of_rounds_and_say_how_many_times_better() -> None:
    some = report().tables["document/sync"]
    assert some.median("put", INCUMBENT) == 400
    assert some.times_better("put", GLIDE) == 3.0  # of 3, 2 and 3; the medians alone would say 2
    assert some.times_better("put", VALKEY_PY) == 1.0
    assert some.times_better("put", FLOORS[GLIDE], GLIDE) == 2.0
    assert report().tables["runs"].times_better("runs of a graph", VALKEY_PY) == 2.5


def test_there_is_no_ratio_of_what_was_not_measured_or_is_nothing() -> None:
    some = table({"put": {INCUMBENT: [0.0], GLIDE: [1.0]}, "get": {GLIDE: [1.0]}})
    assert some.times_better("put", GLIDE) is None
    assert some.times_better("get", GLIDE) is None
    assert some.times_better("list", GLIDE) is None
    assert some.median("get", INCUMBENT) is None


def test_exponents_are_fitted_to_each_round() -> None:
    growth = report().growth
    assert growth
    assert growth.exponent("put", INCUMBENT) == pytest.approx(1)
    assert growth.exponent("put", GLIDE) == pytest.approx(0, abs=0.001)
    assert growth.exponent("put", VALKEY_PY) is None
    assert growth.medians("put", GLIDE) == [5.0, 5.25, 5.0]


def test_a_report_comes_back_from_json(tmp_path: Path) -> None:
    path = tmp_path / "results" / "latest.json"
    report().save(path)
    assert Report.load(path) == report()


def test_contenders_take_turns_and_the_first_round_is_not_counted() -> None:
    noted: list[tuple[str, str, float]] = []
    failed: list[tuple[str, str]] = []
    race = Race(
        ["a", "b"],
        rounds=2,
        seconds=60,
        note=lambda *numbers: noted.append(numbers),
        failed=lambda name, error: failed.append((name, str(error))),
    )
    order = []
    for turn in race:
        with turn:
            order.append((turn.round, turn.contender))
            turn.watch.samples["put"] += [1.0, 5.0, 3.0 + turn.round]
            if (turn.round, turn.contender) == (1, "b"):
                raise ValueError("broken")
    assert order == [(0, "b"), (0, "a"), (1, "a"), (1, "b"), (2, "a")]
    assert noted == [("put", "a", 4.0), ("put", "a", 5.0)]
    assert failed == [("b", "broken")]


def test_a_race_whose_time_is_up_ends_after_three_rounds() -> None:
    race = Race(["a"], rounds=9, seconds=0, note=lambda *_: None, failed=lambda *_: None)
    assert [turn.round for turn in race] == [0, 1, 2, 3]


def test_an_interruption_ends_a_race() -> None:
    race = Race(["a"], rounds=1, seconds=60, note=lambda *_: None, failed=lambda *_: None)
    with pytest.raises(KeyboardInterrupt):
        for turn in race:
            with turn:
                raise KeyboardInterrupt


def test_targets_are_reached_missed_or_not_measured() -> None:
    found = {verdict.target: verdict for verdict in verdicts(report())}
    reached = found[f"{GLIDE}: put, 100 KB, times faster than the incumbent"]
    assert (reached.measured, reached.wanted, reached.reached) == (3.0, ">= 2.5", True)
    floor = found[f"{GLIDE}: put, 100 KB, times the floor"]
    assert (floor.measured, floor.wanted, floor.reached) == (2.0, "<= 1.5", False)
    absent = found[f"{GLIDE}: put_writes, short chat, times the floor"]
    assert (absent.measured, absent.reached) == (None, False)
    stored = found["bytes stored of 100 steps with 100 KB, share of the incumbent's"]
    assert (stored.measured, stored.reached) == (0.25, True)
    runs = [found[f"{name}: async runs at once in a second, times more"] for name in (GLIDE, VALKEY_PY)]
    assert [(one.measured, one.reached) for one in runs] == [(1.5, False), (2.5, True)]
    grown = found[f"{GLIDE}: put, exponent from 10 to 1,000 steps"]
    assert grown.reached


def test_the_worst_operation_is_named() -> None:
    slow = report()
    slow.tables["store/async"] = table({"get": {INCUMBENT: [10.0], GLIDE: [40.0]}})
    worst = next(one for one in verdicts(slow) if one.target == f"{GLIDE}: the worst operation, times faster")
    assert (worst.measured, worst.reached, worst.note) == (0.25, False, "get; store/async")
    assert slower(slow) == [(0.25, GLIDE, "get", "store/async")]


def test_the_readme_is_updated_between_its_marks_only() -> None:
    text = "before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n"
    section = pages.summary(report(), ["docs/benchmarks-growth.svg"])
    updated = pages.updated(text, section)
    assert updated.startswith("before\n<!-- bench -->\n")
    assert updated.endswith("\n<!-- /bench -->\nafter\n")
    assert "old" not in updated
    assert "| put, 100 KB document | 400 | 450 (1.00x) | 200 (3.00x) |" in updated
    assert "(docs/benchmarks-growth.svg)" in updated
    assert "Some: 25 are done in a second with valkey-py, 10 with langgraph-checkpoint-aws" in " ".join(updated.split())
    assert pages.updated(updated, section) == updated
    with pytest.raises(ValueError, match="no section"):
        pages.updated("nothing", section)


def test_all_tables_are_on_the_page() -> None:
    full = report()
    full.verdicts = verdicts(full)
    text = pages.details(full)
    for name in ("document/sync", "runs", "stored"):
        assert all(f"\n| {operation} | " in text for operation in full.tables[name].cells)
    assert "| put, µs by checkpoints | 10 | 100 | 1,000 | exponent |" in text
    assert f"| {INCUMBENT} | 1 | 10 | 100 | +1.000 |" in text
    assert f"| {GLIDE}: put, 100 KB, times the floor | <= 1.5 | 2.00 | missed |  |" in text
    assert "- somebody: was not there" in text


def test_charts_have_the_medians() -> None:
    made = charts.charts(report())
    assert set(made) == {"blocking", "throughput", "stored", "growth"}
    bars, lines = made["blocking"], made["growth"]
    assert isinstance(bars, charts.Bars)
    assert bars.rows["put"] == {INCUMBENT: 400, VALKEY_PY: 450, GLIDE: 200}
    assert isinstance(lines, charts.Lines)
    assert lines.panels == {"put": {INCUMBENT: [1.0, 10.0, 100.0], GLIDE: [5.0, 5.25, 5.0]}}


def test_the_page_lists_the_workloads() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    table = page[page.index("| Workload |") :].partition("\n\n")[0]
    assert re.findall(r"^\| `([^`]+)` \|", table, re.MULTILINE) == list(WORKLOADS)


@pytest.mark.parametrize("name", ["blocking", "growth"])
def test_charts_are_drawn(name: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="only the benchmarks need it")
    chart = charts.charts(report())[name]
    charts.draw(chart, tmp_path / "one.svg")
    charts.draw(chart, tmp_path / "two.svg")
    drawn = (tmp_path / "one.svg").read_text("utf-8")
    assert "langgraph-checkpoint-aws" in drawn
    assert drawn == (tmp_path / "two.svg").read_text("utf-8")


def test_a_machine_without_postgres_is_told_from_one_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(postgres, "PLACES", "/nowhere/*/bin")
    with pytest.raises(NoPostgres, match="postgres is neither on the PATH nor in /nowhere"):
        PostgresServer()
