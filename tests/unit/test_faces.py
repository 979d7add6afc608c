"""The two faces of a repository are one in all but ``await``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository

LIFE = {"close", "__enter__", "__exit__", "__aenter__", "__aexit__"}


def methods(face: type) -> dict[str, Callable[..., Any]]:
    return {name: member for name, member in vars(face).items() if inspect.isfunction(member)}


NAMES = sorted(set(methods(CheckpointRepository)) - LIFE)


def test_same_methods() -> None:
    assert sorted(set(methods(AsyncCheckpointRepository)) - LIFE) == NAMES
    assert len([name for name in NAMES if not name.startswith("_")]) == 11


def test_every_operation_of_a_backend_has_a_method() -> None:
    operations = {
        name
        for name, member in methods(CheckpointBackend).items()
        if str(inspect.signature(member).return_annotation).startswith("Operation[")
    }
    assert operations == {name for name in NAMES if not name.startswith("_")}


@pytest.mark.parametrize("name", [*NAMES, "close"])
def test_same_signature(name: str) -> None:
    blocking, awaited = methods(CheckpointRepository)[name], methods(AsyncCheckpointRepository)[name]
    one, other = inspect.signature(blocking), inspect.signature(awaited)
    assert list(one.parameters.values()) == list(other.parameters.values())
    assert one.return_annotation.replace("Iterator", "AsyncIterator") == other.return_annotation or (
        one.return_annotation == other.return_annotation
    )


@pytest.mark.parametrize("name", [*NAMES, "close"])
def test_what_must_be_awaited(name: str) -> None:
    awaited = methods(AsyncCheckpointRepository)[name]
    if name.startswith("list"):
        # Iterated over, not awaited; so bad input is refused at once, not at the first step.
        assert not inspect.iscoroutinefunction(awaited)
        assert not inspect.isasyncgenfunction(awaited)
    elif "Iterator" in inspect.signature(awaited).return_annotation:
        assert inspect.isasyncgenfunction(awaited)
    else:
        assert inspect.iscoroutinefunction(awaited)
    assert not inspect.iscoroutinefunction(methods(CheckpointRepository)[name])


@pytest.mark.parametrize("name", [*NAMES, "close"])
def test_same_documentation(name: str) -> None:
    blocking, awaited = methods(CheckpointRepository)[name], methods(AsyncCheckpointRepository)[name]
    assert blocking.__doc__ == awaited.__doc__
    if not name.startswith("_"):
        assert blocking.__doc__
        for parameter in list(inspect.signature(blocking).parameters)[1:]:
            assert f"{parameter}: " in blocking.__doc__, f"{name} does not say what {parameter} is"


def plain(method: Callable[..., Any]) -> str:
    """The body of a method without what makes it async, and without its documentation."""
    source = inspect.getsource(method).replace(method.__doc__ or "", "")
    for pattern, replacement in [
        (r"\b(async|await) ", ""),
        (r"\barun\(", "run("),
        (r"\baexecute\b", "execute"),
        (r"\baclose\b", "close"),
        (r"\bAsyncIterator\b", "Iterator"),
        (r"for item in (\S+):\s+yield item", r"yield from \1"),
        (r"[\s(),]+", " "),
    ]:
        source = re.sub(pattern, replacement, source)
    return source


@pytest.mark.parametrize("name", [*NAMES, "close"])
def test_same_body(name: str) -> None:
    assert plain(methods(CheckpointRepository)[name]) == plain(methods(AsyncCheckpointRepository)[name])
