"""Lua scripts say which shared functions they use."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path

import pytest

from statekeep.repositories.valkey import scripts
from statekeep.repositories.valkey.scripts import FUNCTION, script, uses, with_used
from statekeep.version import VERSION

ROOT = Path(scripts.__file__).parent
FILES = sorted(path.relative_to(ROOT) for path in ROOT.rglob("*.lua"))
SHARED = "local a = 1\n-- use: two\nlocal function one()\n  two()\nend\nlocal function two()\nend\n"


def called(text: str) -> set[str]:
    """The functions that a Lua text calls."""
    return set(re.findall(r"(?<![.:\w])(\w+)\(", re.sub(r"--.*", "", text)))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_scripts_say_what_they_use(path: Path) -> None:
    commons = {ROOT / "common.lua", ROOT / path.parent / "common.lua"}
    shared = {function["name"] for file in commons if file.exists() for function in FUNCTION.finditer(file.read_text())}
    text = (ROOT / path).read_text()
    functions = {function["name"]: function[0] for function in FUNCTION.finditer(text)}
    if path.name == "common.lua":
        for name, source in functions.items():
            assert set(uses(source)) == called(source) & shared - {name}, name
    else:
        assert set(uses(text)) == called(text) & shared - functions.keys()
        for name in set(uses(text)):
            assert f"local function {name}(" in script(path.with_suffix("").as_posix()).source


def test_only_what_is_used_is_sent_along() -> None:
    assert with_used(SHARED, "return 1") == "local a = 1\nreturn 1"
    assert with_used(SHARED, "-- use: two\nreturn two()") == "local a = 1\nlocal function two()\nend\nreturn two()"
    assert with_used(SHARED, "-- use: one\none()").count("local function") == 2


def test_a_name_that_no_shared_function_has_is_an_error() -> None:
    with pytest.raises(LookupError, match="'tow'"):
        with_used(SHARED, "-- use: one, tow\n")


def test_all_files_are_read_on_import() -> None:
    assert set(scripts._TEXTS) == {path.with_suffix("").as_posix() for path in FILES}


def test_the_version_is_that_of_the_package() -> None:
    assert metadata.version("statekeep") == VERSION
