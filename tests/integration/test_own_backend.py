"""The page on backends of one's own: its examples run, and its backend keeps the contract."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fenced import ROOT, blocks

PAGE = ROOT / "docs" / "own-backend.md"


def write_files(directory: Path) -> None:
    """Write the blocks that begin with the name of a file."""
    for block in blocks(PAGE, "python"):
        if name := re.match(r"# (\w+\.py)\n", block.text):
            (directory / name[1]).write_text(block.text, "utf-8")


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    namespace: dict[str, Any] = {"__name__": "own_backend"}
    try:
        for block in blocks(PAGE, "python"):
            if not block.text.startswith("# "):
                exec(block.compile(PAGE), namespace)  # type: ignore[arg-type]
    finally:
        sys.modules.pop("compressed", None)
    assert namespace["table"] == {"final": b"..."}
    assert "keep" in namespace


def contract(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the page's tests as its reader would."""
    (directory / "conftest.py").write_text(
        'import pytest\n\npytest.register_assert_rewrite("statekeep.testing.checkpoints")\n', "utf-8"
    )
    (directory / "pytest.ini").write_text("[pytest]\n", "utf-8")
    plugins = ["-p", "no:valkey", "-p", "no:langsmith_plugin", "-p", "no:xdist", "-p", "no:cacheprovider"]
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
    assert int(passed[1]) > 50


@pytest.mark.slow
def test_a_backend_that_forgets_to_decompress_does_not(tmp_path: Path) -> None:
    write_files(tmp_path)
    source = tmp_path / "compressed.py"
    right = source.read_text("utf-8")
    wrong = right.replace("writes = tuple(map(original_write, saved.pending_writes))", "writes = saved.pending_writes")
    assert wrong != right
    source.write_text(wrong, "utf-8")
    run = contract(tmp_path, "-k", "TestContract and writes")  # the state machine would minimize for minutes
    assert run.returncode == 1
    assert "FAILED test_compressed.py::TestContract::" in run.stdout
