"""GitHub's workflows fit the project, and actionlint finds nothing wrong with them."""

from __future__ import annotations

import platform
import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text("utf-8").replace("\\\n", " ")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def workflow(name: str) -> Any:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text("utf-8"))


def frameworks() -> list[str]:
    found = re.search(r"^FRAMEWORKS := (.*)$", MAKEFILE, re.MULTILINE)
    assert found
    return found[1].split()


PROGRAM = Path(sysconfig.get_path("scripts")) / "actionlint"
with_actionlint = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64"), reason="actionlint is installed on Linux on x86-64 alone"
)


@with_actionlint
def test_actionlint_finds_nothing() -> None:
    done = subprocess.run(
        [PROGRAM, "-no-color", *WORKFLOWS], capture_output=True, text=True, check=False, timeout=60, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr


@with_actionlint
def test_actionlint_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "ci.yml"
    wrong.write_text(WORKFLOWS[0].read_text("utf-8").replace("matrix.python", "matrix.snake"), "utf-8")
    done = subprocess.run([PROGRAM, "-no-color", wrong], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "snake" in done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_targets_of_make_exist(path: Path) -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    targets = {*phony[1].split(), *(f"check-{name}" for name in frameworks())}
    named = set()
    for line in re.findall(r"\bmake +([^\n]*)", path.read_text("utf-8")):
        line = re.sub(r"\w+=(\$\{\{.*?\}\}|\S*)", "", line)
        named |= {word for word in line.split() if re.fullmatch(r"[a-z][a-z-]*[a-z]", word)}
    assert named <= targets


def test_every_python_of_the_classifiers_is_tested() -> None:
    prefix = "Programming Language :: Python :: 3."
    claimed = [
        one.removeprefix("Programming Language :: Python :: ")
        for one in PROJECT["classifiers"]
        if one.startswith(prefix)
    ]
    assert workflow("ci")["jobs"]["test"]["strategy"]["matrix"]["python"] == claimed
    assert f">={claimed[0]}" == PROJECT["requires-python"]


def test_every_framework_is_tested() -> None:
    assert workflow("ci")["jobs"]["frameworks"]["strategy"]["matrix"]["framework"] == frameworks()
    assert set(frameworks()) <= PROJECT["optional-dependencies"].keys()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_nobody_has_more_rights_than_needed(path: Path) -> None:
    found = workflow(path.stem)
    assert found["permissions"] == {"contents": "read"}
    for name, job in found["jobs"].items():
        assert job["timeout-minutes"] > 0, name
        assert {right for right, value in job.get("permissions", {}).items() if value == "write"} <= {
            "release": {"id-token", "attestations", "contents"},
            "nightly": {"issues"},
        }.get(path.stem, set())


def test_ci_runs_what_the_workflow_runs() -> None:
    commands = (ROOT / ".ci" / "run").read_text("utf-8")
    workflow_text = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    for target, command in (("check", "make --keep-going check"), ("test", "make test")):
        assert re.search(rf"make --jobs=2 --keep-going( \w+)* {target}\b", commands)
        assert command in workflow_text


@pytest.mark.parametrize("path", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_every_file_can_be_read(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text("utf-8")), dict)
