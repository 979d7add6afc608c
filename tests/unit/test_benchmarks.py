"""The pure parts of the benchmarks: ratios, exponents, turns, targets, and pages."""

from __future__ import annotations

import doctest
import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import pages
from benchmarks import report as reports
from benchmarks.__main__ import WORKLOADS, _finish
from benchmarks.contenders import GLIDE, INCUMBENT, VALKEY_PY
from benchmarks.report import Environment, Report, Table
from benchmarks.running import Race
from benchmarks.targets import TARGETS, verdicts
from tests.fenced import ROOT

ENVIRONMENT = Environment(
    date="2026-01-01T00:00:00+00:00",
    commit="abc",
    machine="a machine",
    load=(0.0, 0.1),
    versions={"Python": "3.11", "Valkey": "9.1", "langgraph-checkpoint-aws": "1.2"},
)
AGENT = "sync, durability async, TTL: steps a second"


def table(cells: dict[str, dict[str, list[float]]]) -> Table:
    return Table(title="Some", unit="µs", baseline=INCUMBENT, cells=cells)


def report() -> Report:
    row = {INCUMBENT: [300.0, 400.0, 900.0], GLIDE: [100.0, 200.0, 300.0], VALKEY_PY: [600.0, 400.0, 450.0]}
    made = Report(
        environment=ENVIRONMENT,
        tables={
            "chat": table({"put": row}),
            "grown": table({"put": row}),
            "agent": table({AGENT: {INCUMBENT: [10.0], GLIDE: [15.0], VALKEY_PY: [12.0]}}),
            "growth": table({"put: exponent": {GLIDE: [0.05], VALKEY_PY: [-0.01]}}),
            "stored": table({"chat of 100 steps, 200 bytes each": {INCUMBENT: [20e6], VALKEY_PY: [4e6]}}),
        },
        left_out=["somebody: was not there"],
    )
    made.verdicts = verdicts(made)
    return made


def race(*contenders: str, rounds: int = 2, seconds: float = 60) -> Race:
    return Race(
        table({}), ", async", contenders, rounds, seconds, 3, lambda name, error: failed.append((name, str(error)))
    )


failed: list[tuple[str, str]] = []


def test_examples_hold() -> None:
    outcome = doctest.testmod(reports)
    assert outcome.attempted
    assert not outcome.failed


def test_ratios_are_those_of_rounds_and_say_how_many_times_better() -> None:
    some = report().tables["chat"]
    assert some.median("put", INCUMBENT) == 400
    assert some.times_better("put", GLIDE) == 3.0  # of 3, 2 and 3; the medians alone would say 2
    assert some.times_better("put", VALKEY_PY) == 1.0
    assert some.times_better("put", VALKEY_PY, GLIDE) == 0.5
    assert report().tables["agent"].times_better(AGENT, GLIDE) == 1.5  # more is better


def test_there_is_no_ratio_of_what_was_not_measured_or_is_nothing() -> None:
    share, one = "the server's share of a core, %", {GLIDE: [1.0]}
    some = table({"put": {INCUMBENT: [0.0], **one}, "get": one, share: {INCUMBENT: [2.0], **one}})
    assert [some.times_better(operation, GLIDE) for operation in ("put", "get", "list", share)] == [None] * 4
    assert some.median("get", INCUMBENT) is None


def test_contenders_take_turns_and_the_first_round_is_not_counted() -> None:
    failed.clear()
    going, order = race("a", "b"), []
    for turn in going:
        with turn:
            order.append((turn.round, turn.contender))
            for sample in (1.0, 5.0, 3.0 + turn.round):
                turn.note("put", sample)
            if (turn.round, turn.contender) == (2, "b"):
                raise ValueError("broken")
    assert order == [(0, "b"), (0, "a"), (1, "a"), (1, "b"), (2, "b"), (2, "a")]
    assert going.table.cells == {"put, async": {"a": [4.0, 5.0]}}
    assert failed == [("b", "broken")]


def test_a_race_whose_time_is_up_ends_after_three_rounds() -> None:
    assert [turn.round for turn in race("a", rounds=9, seconds=0)] == [0, 1, 2, 3]


def test_an_interruption_ends_a_race() -> None:
    with pytest.raises(KeyboardInterrupt):
        for turn in race("a"):
            with turn:
                raise KeyboardInterrupt


def test_targets_are_reached_missed_or_not_measured() -> None:
    found = {one.target: one for one in report().verdicts}
    assert len(found) == len(TARGETS.strip().splitlines())
    for target, measured, reached, note in (
        ("Bytes stored, short chat of 100 steps", 0.2, True, ""),
        ("Bytes stored, an agent with tools", None, False, ""),
        ("Put of a 100 KB channel that grew by 1 KB, sync", 1.0, False, f"{VALKEY_PY}: put; grown"),
        ("put, valkey-py, sync", 1.0, True, f"{VALKEY_PY}: put; chat"),
        ("Steps a second of a whole agent, valkey-py, sync", 1.2, False, ""),
        ("Steps a second of a whole agent, glide, sync", 1.5, True, ""),
        ("Growth of put, 10 to 10,000 steps, exponent", 0.05, False, f"{GLIDE}: put: exponent; growth"),
    ):
        assert (found[target].measured, found[target].reached, found[target].note) == (measured, reached, note)


def test_a_saved_report_is_published_between_the_marks_of_the_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report().save(tmp_path / "some.json")
    monkeypatch.setattr(pages, "README", tmp_path / "README.md")
    monkeypatch.setattr(pages, "PAGE", tmp_path / "page.md")
    for page in (pages.README, pages.PAGE):
        page.write_text("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n", "utf-8")
    for _ in range(2):  # the second time nothing changes
        _finish(Report.load(tmp_path / "some.json"), Console(file=io.StringIO()), tmp_path, update=True)
        readme, details = pages.README.read_text("utf-8"), pages.PAGE.read_text("utf-8")
        for text in (readme, details):
            assert text.startswith("before\n<!-- bench -->\n\nOne run of")
            assert text.endswith("\n<!-- /bench -->\nafter\n")
        assert "| chat of 10 steps: `put`, µs | 400 | 450 (1.00x) | 200 (3.00x) |  |  |" in readme
        assert AGENT not in readme
        assert f"| {AGENT} | 10 | 15 (1.50x) | 12 (1.20x) |" in details
        assert f"Of {len(report().verdicts)} targets 3 were reached" in readme
        assert "| put, valkey-py, sync | >= 1 times as good | 1.00 | reached |" in details
        assert "- somebody: was not there" in details
        assert all(f"### {one.title}" in details for one in report().tables.values())
    assert Report.load(tmp_path / "latest.json") == report()
    with pytest.raises(ValueError, match="no section"):
        pages.updated("nothing", "new")


def test_the_page_lists_the_workloads() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    listed = page[page.index("| Workload |") :].partition("\n\n")[0]
    assert re.findall(r"^\| `([^`]+)` \|", listed, re.MULTILINE) == list(WORKLOADS)


def test_what_the_readme_shows_is_measured() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    assert [operation for _, operation, _ in pages.EXCERPT if f"\n| {operation} |" not in page] == []
