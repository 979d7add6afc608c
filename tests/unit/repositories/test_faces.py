"""The two faces of a repository are one in all but ``await``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest
from attrs import frozen

from statekeep.repositories.cache import AsyncCacheRepository, CacheBackend, CacheRepository
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from statekeep.repositories.items import AsyncItemRepository, ItemBackend, ItemRepository

LIFE = {"close", "__enter__", "__exit__", "__aenter__", "__aexit__"}


def methods(face: type) -> dict[str, Callable[..., Any]]:
    return {name: member for name, member in vars(face).items() if inspect.isfunction(member)}


@frozen
class Faces:
    blocking: type[Any]
    awaited: type[Any]
    backend: type[Any]
    public: int
    """How many methods there are but `close`."""


FACES = [
    Faces(CheckpointRepository, AsyncCheckpointRepository, CheckpointBackend, 11),
    Faces(ItemRepository, AsyncItemRepository, ItemBackend, 12),
    Faces(CacheRepository, AsyncCacheRepository, CacheBackend, 5),
]
APPLIED = {"get", "put", "delete", "batch"}
"""The methods of items that are one operation of a backend, `apply`."""


def names(face: type) -> list[str]:
    return sorted(set(methods(face)) - LIFE)


def public(face: type) -> set[str]:
    return {name for name in names(face) if not name.startswith("_")}


EACH = [
    pytest.param(methods(faces.blocking)[name], methods(faces.awaited)[name], id=f"{faces.blocking.__name__}.{name}")
    for faces in FACES
    for name in [*names(faces.blocking), "close"]
    if name in methods(faces.awaited)
]
Method = Callable[..., Any]


@pytest.mark.parametrize("faces", FACES, ids=lambda faces: faces.blocking.__name__)
def test_same_methods(faces: Faces) -> None:
    assert names(faces.awaited) == names(faces.blocking)
    assert len(public(faces.blocking)) == faces.public


@pytest.mark.parametrize("faces", FACES, ids=lambda faces: faces.blocking.__name__)
def test_every_operation_of_a_backend_has_a_method(faces: Faces) -> None:
    operations = {
        name
        for name, member in methods(faces.backend).items()
        if str(inspect.signature(member).return_annotation).startswith("Operation[")
    }
    if "apply" in operations:
        operations = operations - {"apply"} | APPLIED
    assert operations == public(faces.blocking)


@pytest.mark.parametrize(("blocking", "awaited"), EACH)
def test_same_signature(blocking: Method, awaited: Method) -> None:
    one, other = inspect.signature(blocking), inspect.signature(awaited)
    assert list(one.parameters.values()) == list(other.parameters.values())
    assert one.return_annotation.replace("Iterator", "AsyncIterator") == other.return_annotation or (
        one.return_annotation == other.return_annotation
    )


@pytest.mark.parametrize(("blocking", "awaited"), EACH)
def test_what_must_be_awaited(blocking: Method, awaited: Method) -> None:
    returned = inspect.signature(awaited).return_annotation
    if "Iterator" not in returned:
        assert inspect.iscoroutinefunction(awaited)
    elif awaited.__name__.startswith("_"):
        assert inspect.isasyncgenfunction(awaited)
    else:
        # Iterated over, not awaited; so bad input is refused at once, not at the first step.
        assert not inspect.iscoroutinefunction(awaited)
        assert not inspect.isasyncgenfunction(awaited)
    assert not inspect.iscoroutinefunction(blocking)


@pytest.mark.parametrize(("blocking", "awaited"), EACH)
def test_same_documentation(blocking: Method, awaited: Method) -> None:
    """It is all there once; its twin may say in a sentence what it does, and refer to it."""
    if blocking.__name__.startswith("_"):
        assert blocking.__doc__ == awaited.__doc__
        return
    assert blocking.__doc__
    assert awaited.__doc__
    if awaited.__doc__ != blocking.__doc__:
        summary, reference = awaited.__doc__.split(" See :meth:")
        assert blocking.__doc__.startswith(summary.removesuffix("."))
        assert reference == f"`{blocking.__qualname__}`."
    for parameter in list(inspect.signature(blocking).parameters)[1:]:
        assert f"{parameter}: " in blocking.__doc__, f"it does not say what {parameter} is"


def plain(method: Method) -> str:
    """The body of a method without what makes it async, and without its documentation."""
    source = inspect.getsource(method)
    for pattern, replacement in [
        (r'"""(?s:.*?)"""', ""),
        (r"\b(async|await) ", ""),
        (r"\barun\(", "run("),
        (r"\b(_?)aexecute\b", r"\1execute"),
        (r"\baclose\b", "close"),
        (r"\bAsyncIterator\b", "Iterator"),
        (r"for item in (\S+):\s+yield item", r"yield from \1"),
        (r"[\s(),]+", " "),
    ]:
        source = re.sub(pattern, replacement, source)
    return source


@pytest.mark.parametrize(("blocking", "awaited"), EACH)
def test_same_body(blocking: Method, awaited: Method) -> None:
    assert plain(blocking) == plain(awaited)
