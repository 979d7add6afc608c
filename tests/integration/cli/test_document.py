"""docs/command-line.md shows what happens, and names what exists."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from statekeep.cli.registry import COMMANDS
from tests.fenced import ROOT, Block, blocks

from .conftest import Place, all_on_terminal

DOCUMENT = ROOT / "docs/command-line.md"


def commands(block: Block) -> list[tuple[list[str], str]]:
    """Return the commands of a block, each with what it prints."""
    parts = re.split(r"^\$ statekeep (.*)\n", block.text, flags=re.MULTILINE)
    assert parts[0] == ""
    return [(shlex.split(line), printed) for line, printed in zip(parts[1::2], parts[2::2], strict=True)]


def as_pattern(printed: str) -> str:
    """Trailing spaces do not count, and ``...`` is anything; ages and sizes may change widths."""
    lines = [re.escape(line.rstrip()).replace(re.escape("..."), ".*?") for line in printed.rstrip().splitlines()]
    return "\n".join(re.sub(r"(\\ )+", r"\\s+", re.sub("─+", "─+", line)) for line in lines)


def test_what_it_shows_happens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STATEKEEP_URL", "")
    names: dict[str, object] = {"__name__": "__main__"}
    shown = 0
    paths = [str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    for block in blocks(DOCUMENT):
        if block.language == "python":
            exec(block.compile(DOCUMENT), names)  # type: ignore[arg-type]
            continue
        assert block.language == "console"
        place = Place(os.environ["STATEKEEP_URL"], "statekeep")
        wanted = commands(block)
        statuses, printed = all_on_terminal(place, [arguments for arguments, _ in wanted])
        assert set(statuses) == {0}
        found = re.split(r"^status 0\r?\n", printed, flags=re.MULTILINE)
        for (arguments, expected), text in zip(wanted, found, strict=False):
            text = text.rpartition("\x1b[2K")[2]  # behind the bars of progress, which are erased
            plain = "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[\d;?]*\w", "", text).split("\n"))
            assert re.fullmatch(as_pattern(expected), plain.strip("\n").replace("\r", "")), (arguments, text)
            shown += 1
    assert shown == 7


def test_each_command_is_described() -> None:
    pages = "".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))
    lacking = [name for name in COMMANDS if not re.search(rf"(statekeep |`){re.escape(name)}\b", pages)]
    assert lacking == []


def test_options_that_are_named_exist() -> None:
    from statekeep.cli.app import made

    text = DOCUMENT.read_text("utf-8")
    known = {option for name, listed in COMMANDS.items() for one in made(name, listed).params for option in one.opts}
    named = {*re.findall(r"`[^`\n]*?(--[a-z][a-z-]+)", text), *re.findall(r"\s(--[a-z][a-z-]+)", text)}
    assert len(named) > 15
    assert named - known <= {"--install-completion"}
