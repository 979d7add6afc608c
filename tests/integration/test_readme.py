"""What the README shows works, and what it names exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep.cli.app import made
from statekeep.cli.registry import COMMANDS
from statekeep.repositories.valkey.client.url import PARAMETERS, SCHEMES, Target, target
from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, Block, blocks

from .agentcore.emulated import Worlds

README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
DOCUMENTS = [README, ROOT / "CHANGELOG.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of the first table under a heading that has this first column."""
    lines = TEXT[TEXT.index(f"| {heading} |") :].splitlines()[2:]
    table = []
    for line in lines:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@pytest.mark.parametrize("block", blocks(README, "python"), ids=lambda block: f"line {block.line}")
def test_python_runs(
    block: Block, valkey_server: ValkeyServer, worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    worlds.set_environment(monkeypatch)
    port = str(valkey_server.port)
    there = block.text.replace("localhost:6379", f"127.0.0.1:{port}").replace('"localhost"', '"127.0.0.1"')
    there = there.replace("port=6379", f"port={port}")
    assert "6379" not in there.replace(port, "")
    exec(Block(block.language, there, block.line).compile(README), {"__name__": "__main__"})  # type: ignore[arg-type]


def test_all_blocks_are_of_a_known_language() -> None:
    assert {block.language for block in blocks(README)} == {"python", "console", "diff"}


def test_each_line_on_the_command_line_names_what_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
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


def test_the_table_of_extras_is_complete() -> None:
    table = {names(first)[0]: brings for first, brings, _ in rows("Extra")}
    assert table.keys() == PROJECT["optional-dependencies"].keys()
    for extra, brings in table.items():
        required = {re.split(r"[\[><=; ]", package)[0] for package in PROJECT["optional-dependencies"][extra]}
        if extra == "valkey":
            required -= {"valkey"}  # in its place where there is no glide
        for package in required - {"statekeep"}:
            assert package in brings, extra


def test_the_table_of_urls_is_complete_and_right() -> None:
    shown = [url for first, _ in rows("URL") for url in names(first)]
    assert {url.partition(":")[0] for url in shown} >= {name for name in SCHEMES if not name.endswith("+unix")}
    for url in shown:
        if url.startswith("agentcore:"):
            with statekeep.connect(url.replace("MEMORY_ID", "notes-Ab12Cd34Ef").replace("REGION", "us-west-2")) as keep:
                assert "actor_id='ACTOR'" in repr(keep)
        elif url.startswith("bedrock-sessions:"):
            with statekeep.connect(url.replace("REGION", "us-west-2")) as keep:
                assert "region='us-west-2'" in repr(keep)
        elif "://" in url:
            real = url.replace("host:port/db", "host:6379/1").replace(":port", ":6379").replace("=N", "=2")
            real = real.replace("/SERVICE/db", "/main/1").replace("+sentinel://...", "+sentinel://host/main")
            real = real.removesuffix("...") + ("host" if real.endswith(("://", "://...")) else "")
            assert target(real).tls is real.startswith(("valkeys", "rediss"))


def test_the_table_of_parameters_is_complete_and_its_defaults_are_right() -> None:
    table = rows("Parameter")
    aliases = re.search(r"valkey-py's names (.*?) mean what they mean there", TEXT, re.DOTALL)
    assert aliases
    assert {*names(aliases[1])} | {name for first, *_ in table for name in names(first)} == PARAMETERS.keys()
    defaults: Any = Target()
    shown = {name: default for first, _, default in table for name in names(first)}
    for name in ("client_name", "db", "pool_size", "request_timeout", "connect_timeout", "deadline", "tls_insecure"):
        default = str(getattr(defaults, PARAMETERS[name][0])).lower().removesuffix(".0")
        assert shown[name].strip("`") == default, name


def test_the_table_of_errors_is_complete_and_right() -> None:
    errors = {
        name: kind
        for name in statekeep.__all__
        if isinstance(kind := getattr(statekeep, name), type) and issubclass(kind, statekeep.StatekeepError)
    }
    shown = rows("Error")
    assert {name for first, _ in shown for name in names(first) if name in errors} == errors.keys() - {"StatekeepError"}
    for first, _ in shown:
        if base := re.search(r"\(an? `(\w+)`\)", first):
            assert base[1] in {kind.__name__ for kind in errors[names(first)[0]].__mro__}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", document.read_text("utf-8"))
    for link in links:
        assert "://" in link or (document.parent / link).exists(), link


def test_files_that_are_named_exist() -> None:
    named = {*re.findall(r"\b(?:examples|docs|tests|src)/[\w/.-]+\.\w+", TEXT)}
    assert {"examples/file_digest.py", "examples/typed_state.py"} <= named
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_there_is_a_place_for_the_numbers() -> None:
    assert re.search(r"^<!-- bench -->\n(.*\n)*<!-- /bench -->$", TEXT, re.MULTILINE)
