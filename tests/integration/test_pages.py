"""Every page of the documentation: its Python runs, its commands exist, its data can be read.

A page needs no test of its own. It runs from top to bottom, one block after the other, with a server at
``localhost:6379``, emulators in the place of AWS, and an empty directory to work in. Pages that expect something else
of their readers are in `APART`, with the test that runs them; those of frameworks run in the frameworks' environments.
"""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

from statekeep.testing.servers import ValkeyServer
from tests.fenced import ROOT, blocks, run_page

from .agentcore.emulated import Worlds

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted(DOCS.rglob("*.md"))]
PAGES = [page for page in PAGES if DOCS / "reference" / "api" not in page.parents]  # `make docs` writes them
WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]

APART = {
    "README.md": "tests/integration/test_readme.py",  # each of its blocks is a program of its own
    "docs/migrating.md": "tests/integration/migrate/test_migrating_document.py",
    "docs/key-schema.md": "tests/integration/valkey/test_key_schema.py",
    "docs/writing-a-backend.md": "tests/integration/test_writing_a_backend.py",
}
LANGUAGES = {"python", "console", "json", "sh", "text", "toml", "yaml", "diff", "mermaid", "ini"}


def path_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def runner_of(page: Path) -> str | None:
    """Return the module of tests that runs a page, if it is not this one."""
    if page.parent.name == "frameworks":
        return f"tests/contrib/test_{page.stem.replace('-', '_')}.py"
    return APART.get(path_of(page))


HERE = [page for page in WITH_PYTHON if runner_of(page) is None]
ELSEWHERE = [page for page in WITH_PYTHON if runner_of(page) is not None]


@pytest.mark.parametrize("page", HERE, ids=path_of)
def test_python_runs(
    page: Path, valkey_server: ValkeyServer, worlds: Worlds, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    worlds.set_environment(monkeypatch)
    run_page(page, valkey_server)


@pytest.mark.parametrize("page", ELSEWHERE, ids=path_of)
def test_other_tests_run_the_rest(page: Path) -> None:
    module = ROOT / str(runner_of(page))
    source = module.read_text("utf-8")
    assert page.name in source
    assert re.search(r"\brun_page\(|\brun_block\(|\bexec\(|\bsubprocess\.run\(", source)


def test_there_are_no_others() -> None:
    assert {path_of(page) for page in ELSEWHERE} >= APART.keys()
    assert ROOT / "docs" / "typed.md" in HERE


@pytest.mark.parametrize("page", PAGES, ids=path_of)
def test_blocks_are_of_a_known_language(page: Path) -> None:
    text = page.read_text("utf-8")
    assert {block.language for block in blocks(page)} <= LANGUAGES
    # A fence without a language, or one that blocks() does not see, would be run by nobody.
    fences = re.findall(r"^ *(?:```|~~~).*$", text, re.MULTILINE)
    assert len(fences) == 2 * len(re.findall(r"^```[\w{][^\n]*\n.*?^```$", text, re.MULTILINE | re.DOTALL))
    assert not re.search(r"^ +```(python|py)\b|^```(py|python3|pycon)\b|^~~~", text, re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=path_of)
def test_data_can_be_read(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block.text)
    for block in blocks(page, "toml"):
        tomllib.loads(block.text)


@pytest.mark.parametrize("page", PAGES, ids=path_of)
def test_commands_exist(page: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    makefile = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    frameworks = re.search(r"^FRAMEWORKS := (.*)$", makefile, re.MULTILINE)
    assert phony
    assert frameworks
    targets = {*phony[1].split(), *(f"check-{name}" for name in frameworks[1].split())}
    text = page.read_text("utf-8")
    lines = [
        line for language in ("console", "sh") for block in blocks(page, language) for line in block.text.splitlines()
    ]
    for command in [*lines, *re.findall(r"`(make [^`]+)`", text)]:
        words = shlex.split(command, comments=True)
        if words[:1] == ["make"]:
            named = {word for word in words[1:] if re.fullmatch(r"[a-z][a-z-]*", word)}
            assert named <= targets, command
        if words[:2] == ["pip", "install"] and (extras := re.search(r"'?statekeep\[([\w,-]+)\]", command)):
            assert {*extras[1].split(",")} <= project["optional-dependencies"].keys(), command
