"""The page on operating: its examples run, and it names each finding and each option."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any, Final, get_args

from statekeep.cli.app import group
from statekeep.cli.registry import COMMANDS
from statekeep.inspection import doctor
from statekeep.inspection.doctor import State
from statekeep.inspection.valkey.keyspace import KINDS, TYPES, key_of
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, Block, blocks

from .commands import ran

PAGE: Final = ROOT / "docs" / "operating.md"
TEXT: Final = PAGE.read_text("utf-8")


def first_cells(heading: str) -> list[str]:
    """The first column of the table that begins with this heading."""
    lines = TEXT[TEXT.index(f"| {heading} |") :].split("\n\n")[0].splitlines()[2:]
    return [line.split(" | ")[0].strip("| ") for line in lines]


def test_the_examples_run(valkey_server: ValkeyServer) -> None:
    namespace: dict[str, Any] = {"__name__": "a_reader"}
    found = blocks(PAGE, "python")
    assert len(found) == 2
    for block in found:
        there = block.text.replace("valkey://localhost:6379", valkey_server.url)
        exec(Block(block.language, there, block.line).compile(PAGE), namespace)  # type: ignore[arg-type]
    assert namespace["stats"].scope == "whole"


def test_each_finding_is_in_the_table() -> None:
    folder = Path(doctor.__file__).parent
    source = "".join(path.read_text("utf-8") for path in folder.rglob("*.py"))
    names = set(re.findall(r'(?:name=|ok\(|guarded\(|compared\(|yield )"([a-z ]+)"', source)) - set(get_args(State))
    listed = {re.findall(r"`([^`]+)`", cell)[0] for cell in first_cells("Finding")}
    assert listed == names


def test_each_kind_is_in_the_table() -> None:
    assert tuple(first_cells("Kind")) == KINDS
    for name in TYPES:
        key = key_of("p", f"p:{name}:{{x}}".encode())
        assert key is not None
        assert key.kind != "other keys"


def test_each_command_and_option_exists(valkey_server: ValkeyServer) -> None:
    commands = [text for text in re.findall(r"`(statekeep [^`]+)`", TEXT) if not text.startswith("statekeep.")]
    commands += [line for line in blocks(PAGE, "console")[0].text.splitlines() if line.startswith("statekeep ")]
    assert len(commands) > 12
    group_of_all = group()
    for text in commands:
        words = shlex.split(text.replace("[", "").replace("]", ""))
        assert words[1] in COMMANDS, text
        command = group_of_all.get_command(None, words[1])
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options, text
    assert ran("stats", "--url", valkey_server.url).status == 0
