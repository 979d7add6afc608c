"""Pieces of the command line: texts, options, lanes, and the list of commands."""

from __future__ import annotations

import datetime as dt
import inspect
import io
import json
import logging
import re
from importlib import import_module
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.cli.app import application, made
from statekeep.cli.lanes import Lanes
from statekeep.cli.options import duration_of, limit_of, since_of
from statekeep.cli.output import Column, Output
from statekeep.cli.registry import COMMANDS
from statekeep.cli.run import Common, Run
from statekeep.domain import InvalidInput
from statekeep.inspection.labels import decode_labels, encode_labels
from statekeep.inspection.printable import duration, json_printable, printable, redacted, size

HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\u200b\ufeff\ud800-\udfff]")
ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
def test_printable_texts_are_harmless_and_others_stay(text: str) -> None:
    shown = printable(text)
    assert not HARMFUL.search(shown)
    shown.encode()
    if shown != text:
        assert any(printable(character) != character for character in text)


@given(
    st.recursive(ANY_TEXT | st.integers() | st.none(), lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner))
)
def test_harmless_json_means_the_same(value: Any) -> None:
    shown = json_printable(json.dumps(value, ensure_ascii=False))
    assert not HARMFUL.search(shown)
    assert json.loads(shown) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        "valkey://ada:s3cret@host:1/0",
        "valkey+cluster://:s3cret@h1,h2",
        "unix:///path?password=s3cret&db=1",
        "valkey+sentinel://h/main?sentinel_password=s3cret",
        "no answer of 'rediss://x:s3cret@h'",
        "the password is s3cret",
        "it is s3%63ret, as in a URL",
    ],
)
def test_secrets_are_taken_out(text: str) -> None:
    urls = [text, "valkey://ada:s3%63ret@host"]
    hidden = redacted(text, *urls)
    assert "s3cret" not in hidden
    assert "s3%63ret" not in hidden
    assert "***" in hidden


def test_what_is_no_secret_stays() -> None:
    assert redacted("no answer of valkey://db:6379/0 (thread a@b)", "valkey://db:6379/0") == (
        "no answer of valkey://db:6379/0 (thread a@b)"
    )
    assert (
        redacted("write scheme://user:password@host", "valkey://ada:s3cret@db") == "write scheme://user:password@host"
    )
    assert redacted("a password that is short", "valkey://:a@db") == "a password that is short"


@given(st.lists(st.text(min_size=1), max_size=5))
def test_namespaces_come_back_from_their_texts(labels: list[str]) -> None:
    assert decode_labels(encode_labels(labels)) == tuple(labels)


@pytest.mark.parametrize("text", ["a//b", "/a", "a/", "[1]", '["a"', '[""]', "[null]"])
def test_texts_that_are_no_namespace(text: str) -> None:
    with pytest.raises(InvalidInput, match="NAMESPACE"):
        decode_labels(text)


@pytest.mark.parametrize("text", ["", "d", "1", "1 d", "-1d", "1d 2h", "1y", "1e3s"])
def test_texts_that_are_no_duration(text: str) -> None:
    with pytest.raises(InvalidInput, match="--older-than"):
        duration_of(text, "--older-than")


def test_durations_and_times() -> None:
    assert duration_of("2w", "x") == dt.timedelta(weeks=2)
    assert duration_of("1.5h30s", "x") == dt.timedelta(hours=1, minutes=30, seconds=30)
    now = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    assert since_of("2026-04-01", "x", now) == dt.datetime(2026, 4, 1).astimezone()
    assert since_of("2026-04-01T00:00+02:00", "x", now) == dt.datetime(2026, 3, 31, 22, tzinfo=dt.UTC)
    with pytest.raises(InvalidInput, match="--since must be a duration such as 12h"):
        since_of("yesterday", "--since", now)
    for far in ("99999999d", "9" * 30 + "w", "0001-01-01T00:00+14:00", "9999-12-31T23:00-02:00"):
        with pytest.raises(InvalidInput, match="--since must be a time of the years 1 to 9999"):
            since_of(far, "--since", now)
    with pytest.raises(InvalidInput, match="--older-than must be at most 999999999 days"):
        duration_of("9" * 30 + "w", "--older-than")
    with pytest.raises(InvalidInput, match="--limit"):
        limit_of(-1)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (3661, "1h 1m"), (86_400 * 3 + 5, "3d"), (-61, "-1m 1s")]
)
def test_durations_for_people(seconds: int, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_960, "1.0 MB")])
def test_sizes_for_people(count: int, text: str) -> None:
    assert size(count) == text


@given(st.lists(st.integers(0, 30), max_size=30))
def test_each_step_has_a_mark_and_each_branch_ends(parents: list[int]) -> None:
    """A tree: step n comes from step parents[n] of those before it."""
    lanes = Lanes()
    drawn = []
    for step in range(len(parents), -1, -1):
        parent = None if step == 0 else str(parents[step - 1] % step)
        drawn.append(lanes.draw(str(step), parent))
    assert all(line.count("●") == 1 for line in drawn)
    tips = len(parents) + 1 - len({parents[step - 1] % step for step in range(1, len(parents) + 1)})
    assert sum(line.count("╯") + line.count("┴") for line in drawn) == tips - 1
    assert lanes._wanted == []


def test_a_free_lane_is_used_again() -> None:
    lanes = Lanes()
    steps = [("9", "7"), ("8", "7"), ("7", "5"), ("6", "5"), ("5", None), ("other", None)]
    assert [lanes.draw(*step) for step in steps] == ["●", "│ ●", "●─╯", "│ ●", "●─╯", "●"]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_their_docstrings_say(name: str) -> None:
    listed = COMMANDS[name]
    module, _, function = listed.place.partition(":")
    command = getattr(import_module(f"statekeep.cli.commands.{module}"), function)
    docstring = inspect.getdoc(command)
    assert docstring
    assert docstring.splitlines()[0] == listed.help
    options = {option for parameter in made(name, listed).params for option in parameter.opts}
    if not listed.raw:
        assert options >= {"--url", "--key-prefix", "--json", "--debug"}


@pytest.mark.parametrize("debug", [False, True])
def test_whatever_an_error_says_secrets_are_not_shown(debug: bool, capsys: pytest.CaptureFixture[str]) -> None:
    def command(run: Run) -> int:
        logging.getLogger("statekeep.test").warning("s3cret\x1b[31m")
        raise RuntimeError("the driver said: s3cret, and redis://ada:0ther-s3cret@host")

    assert Run(Common("valkey://ada:s3cret@host", debug=debug)).call(command) == 1
    shown = capsys.readouterr().err
    assert "warning: ***\\x1b[31m" in shown
    assert "the driver said: ***, and redis://***@host" in shown
    assert "s3cret" not in shown
    assert "0ther" not in shown
    assert ("Traceback" in shown) is debug
    assert "a fault of Statekeep: RuntimeError" in shown


def test_options_of_the_command_stand_above_those_before_it() -> None:
    outer = Common("a", "b", as_json=True)
    assert Common("c").over(outer) == Common("c", "b", as_json=True)
    assert Common().over(None) == Common()


def test_the_application_is_one_of_typer() -> None:
    assert application().info.name == "statekeep"


COLUMNS = [Column("id"), Column("bytes", show=size, right=True), Column("when")]


def printed(rows: list[dict[str, Any]], **options: Any) -> str:
    stream = io.StringIO()
    assert Output(stdout=stream, stderr=io.StringIO(), **options).rows(COLUMNS, rows) == len(rows)
    return stream.getvalue()


def test_lines_have_a_row_each_whatever_is_in_them() -> None:
    when = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
    rows: list[dict[str, Any]] = [
        {"id": "a\tb\nc", "bytes": 1500, "when": when, "more": [1]},
        {"id": True, "bytes": 1.5, "when": None},
    ]
    assert printed(rows) == "a\\tb\\nc\t1500\t2026-05-01T00:00:00.000+00:00\nyes\t1.5\t-\n"
    first, second = (json.loads(line) for line in printed(rows, as_json=True).splitlines())
    assert first == {"id": "a\tb\nc", "bytes": 1500, "when": "2026-05-01T00:00:00+00:00", "more": [1]}
    assert second["when"] is None


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_long_table_is_printed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("statekeep.cli.output.PAGE", 2)
    monkeypatch.setenv("COLUMNS", "80")
    terminal = Terminal()
    rows = [{"id": f"[red]{number}[/red]", "bytes": number * 1000, "when": "\x1b[2J"} for number in range(5)]
    assert Output(stdout=terminal, stderr=Terminal()).rows(COLUMNS, rows) == 5
    shown = terminal.getvalue()
    assert shown.count("bytes") == 3
    assert "[red]4[/red]" in shown
    assert "4.0 kB" in shown
    assert "\\x1b[2J" in shown
