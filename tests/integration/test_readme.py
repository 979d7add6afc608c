"""What the README shows works, and what it names exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from statekeep.cli.app import made
from statekeep.cli.registry import COMMANDS
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, Block, blocks, run_block

from .agentcore.emulated import Worlds

README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize("block", blocks(README, "python"), ids=lambda block: f"line {block.line}")
def test_python_runs(
    block: Block, valkey_server: ValkeyServer, worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    worlds.set_environment(monkeypatch)
    run_block(block, README, valkey_server, {"__name__": "__main__"})


def test_all_blocks_are_of_a_known_language() -> None:
    assert {block.language for block in blocks(README)} == {"python", "console", "diff"}


def test_each_line_on_the_command_line_names_what_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile.replace("\\\n", " "), re.MULTILINE)
    assert phony
    lines = [line for block in blocks(README, "console") for line in block.text.splitlines()]
    assert "make demo" in lines
    assert "make test" in lines
    for command in [*lines, *re.findall(r"`(make [^`]+)`", TEXT)]:
        words = command.partition("#")[0].split()
        if words[0] == "statekeep":
            listed = COMMANDS[words[1]]
            options = {option for one in made(words[1], listed).params for option in one.opts}
            assert {word for word in words if word.startswith("-")} <= options, command
        elif words[0] == "export":
            assert words[1].startswith("STATEKEEP_URL="), command
        elif words[0] == "make":
            assert {word for word in words[1:] if "=" not in word} <= {*phony[1].split()}, command
            assert all(word.startswith("PYTHON=") for word in words[1:] if "=" in word), command
        else:
            assert words[:2] == ["pip", "install"], command
            extras = re.fullmatch(r"'statekeep\[(.+)\]'", words[2])
            assert extras, command
            assert {*extras[1].split(",")} <= PROJECT["optional-dependencies"].keys(), command


def test_files_that_are_named_exist() -> None:
    named = {*re.findall(r"\b(?:examples|docs|tests|src)/[\w/.-]+\.\w+", TEXT)}
    assert {"docs/start.md", "docs/guarantees.md"} <= named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_it_is_read_in_three_minutes() -> None:
    assert TEXT.count("\n") <= 200


def test_there_is_a_place_for_the_numbers() -> None:
    assert re.search(r"^<!-- bench -->\n(.*\n)*<!-- /bench -->$", TEXT, re.MULTILINE)
