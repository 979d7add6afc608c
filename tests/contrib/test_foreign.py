"""How suites of others are run: with a made-up one."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.contrib.foreign.__main__ import unpack

FOREIGN = Path(__file__).parent / "foreign"

TESTS = """
import pytest
from boxes import Box


@pytest.mark.parametrize("number", [1, 2])
def test_each_has_boxes_of_its_own(number):
    box = Box()
    assert box.count() == 0
    box.put(number)
    assert Box().count() == 1


def test_a_private_thing():
    assert Box()._things == []


class TestMore:
    def test_what_would_hang(self):
        raise SystemExit("was run")
"""

SUITE = """
from foreign.suite import Suite, connection


class Ours:
    def put(self, value):
        connection().logs.append(("box",), [value])

    def count(self):
        return connection().logs.count(("box",))


SUITE = Suite(
    distribution="boxes",
    modules=["test_boxes.py"],
    replacements=lambda: {"boxes.Box": Ours},
    cannot={"test_boxes.py::test_a_private_thing": "private"},
    left_out={"test_boxes.py::TestMore::test_what_would_hang": "hangs"},
)
"""


def run(folder: Path, suite: str, boxes: str = "class Box: _things = []") -> tuple[int, str]:
    for name, text in {"boxes": boxes, "test_boxes": TESTS, "made_up": suite}.items():
        (folder / f"{name}.py").write_text(text)
    command = [
        "-c",
        str(FOREIGN / "pytest.ini"),
        "--rootdir",
        str(folder),
        "-p",
        "foreign.plugin",
        "--suite",
        "made_up",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *command, "test_boxes.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FOREIGN.parent), str(folder), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_our_class_is_in_the_place_of_theirs(tmp_path: Path) -> None:
    code, output = run(tmp_path, SUITE)
    assert code == 0, output
    assert re.search(r"2 passed, 1 deselected, 1 xfailed", output), output
    assert "test_a_private_thing - private" in output
    assert "2 tests used classes of Statekeep, 2 of them passed" in output


def test_a_listed_test_that_holds_fails_the_run(tmp_path: Path) -> None:
    name = "test_boxes.py::test_each_has_boxes_of_its_own"
    code, output = run(tmp_path, SUITE.replace("cannot={", f"cannot={{{name!r}: 'not so', "))
    assert code == 1, output
    assert output.count("[XPASS(strict)] not so") >= 2, output


@pytest.mark.parametrize("where", ["cannot", "left_out"])
def test_a_listed_test_that_is_gone_fails_the_run(tmp_path: Path, where: str) -> None:
    code, output = run(tmp_path, SUITE.replace(f"{where}={{", f"{where}={{'test_boxes.py::test_gone': 'gone', "))
    assert code == 4, output
    assert "listed, but not in the suite any more: test_boxes.py::test_gone" in output


def test_a_class_that_is_gone_fails_the_run(tmp_path: Path) -> None:
    code, output = run(tmp_path, SUITE, boxes="class Crate: pass")
    assert code == 4, output
    assert "there is no boxes.Box any more" in output


def test_only_tests_are_unpacked(tmp_path: Path) -> None:
    for name in ("x-1/tests/a/test_a.py", "x-1/src/x.py", "x-1/tests.py", "x-1/setup.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    with tarfile.open(tmp_path / "x-1.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "x-1", "x-1")
    unpack(tmp_path / "x-1.tar.gz", tmp_path / "suites" / "x-1")
    found = [path for path in (tmp_path / "suites").rglob("*") if path.is_file()]
    assert [path.relative_to(tmp_path / "suites").as_posix() for path in found] == ["x-1/tests/a/test_a.py"]
