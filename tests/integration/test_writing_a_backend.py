"""The page on backends of one's own: its examples run, and its backend keeps the contract."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fenced import ROOT, blocks

PAGE = ROOT / "docs" / "writing-a-backend.md"
SOURCE = ROOT / "examples" / "sqlite_checkpoints.py"


def write_files(directory: Path) -> None:
    """Write the blocks that begin with the name of a file, which may come in parts."""
    for path in directory.glob("*.py"):
        path.unlink()
    for block in blocks(PAGE, "python"):
        if name := re.match(r"# (\w+\.py)\n", block.text):
            with (directory / name[1]).open("a", encoding="utf-8") as file:
                file.write(block.text[name.end() :] + "\n")


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line]


def test_the_page_shows_the_whole_backend(tmp_path: Path) -> None:
    write_files(tmp_path)
    assert lines((tmp_path / SOURCE.name).read_text("utf-8")) == lines(SOURCE.read_text("utf-8"))


def test_it_is_short() -> None:
    """As the page says: lines of code, without comments and docstrings."""
    source = SOURCE.read_text("utf-8")
    nodes = [
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
    ]
    texts = [node.body[0] for node in nodes if ast.get_docstring(node)]
    told = {line for text in texts for line in range(text.lineno, (text.end_lineno or 0) + 1)}
    code = [line for number, line in enumerate(source.splitlines(), 1) if line.strip() and number not in told]
    assert len(code) < 230


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, Any] = {"__name__": "a_reader"}
    try:
        for block in blocks(PAGE, "python"):
            if not block.text.startswith("# ") and "register_assert_rewrite" not in block.text:
                exec(block.compile(PAGE), namespace)  # type: ignore[arg-type]
    finally:
        sys.modules.pop(SOURCE.stem, None)
    assert namespace["table"] == {"final": b"..."}
    assert namespace["copied"].checkpoints == 1


def contract(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the page's tests as its reader would."""
    [conftest] = [block.text for block in blocks(PAGE, "python") if "register_assert_rewrite" in block.text]
    (directory / "conftest.py").write_text(conftest, "utf-8")
    (directory / "pytest.ini").write_text("[pytest]\n", "utf-8")
    plugins = ["-p", "no:valkey", "-p", "no:langsmith_plugin", "-p", "no:xdist", "-p", "no:cacheprovider"]
    plugins += ["-p", "statekeep.testing.pytest_plugin"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugins, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.slow
def test_the_backend_keeps_the_contract(tmp_path: Path) -> None:
    write_files(tmp_path)
    run = contract(tmp_path)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-1000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed
    assert int(passed[1]) > 200
    assert re.search(r"^checkpoints  SqliteCheckpoints +\d\d +[\d,]+ +0 +0$", run.stdout, re.MULTILINE)


WRONG = {
    "a page that ends its id": ("or saved.namespace > last[1]", "or False", "between_namespaces"),
    "the last write wins": ("'IGNORE' if write.idx >= 0", "'REPLACE' if write.idx >= 0", "first_write"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_backend_does_not(name: str, tmp_path: Path) -> None:
    write_files(tmp_path)
    source = tmp_path / SOURCE.name
    right, wrong, tests = WRONG[name]
    changed = source.read_text("utf-8").replace(right, wrong)
    assert changed != source.read_text("utf-8")
    source.write_text(changed, "utf-8")
    run = contract(tmp_path, "-k", f"TestContract and {tests}")  # the state machine would minimize for minutes
    assert run.returncode == 1
    assert "FAILED test_sqlite_checkpoints.py::TestContract::" in run.stdout
