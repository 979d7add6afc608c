"""The two faces of a repository are one in all but ``await``."""

from __future__ import annotations

import inspect
import pydoc
import re
from collections.abc import Callable, Sequence
from typing import Any, get_type_hints

import anyio
import pytest
from attrs import frozen

from statekeep.domain import Payload
from statekeep.repositories.cache import AsyncCacheRepository, CacheBackend, CacheRepository
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from statekeep.repositories.faces import _aitems, _items
from statekeep.repositories.item_backend import ItemBackend
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.logs import AsyncLogRepository, LogBackend, LogRepository
from statekeep.repositories.memory.cache import MemoryCacheEntries
from statekeep.repositories.typed.items import AsyncTypedItems, TypedItems
from statekeep.repositories.typed.threads import AsyncTypedTasks, AsyncTypedThread, TypedTasks, TypedThread

LIFE = {"close", "__enter__", "__exit__", "__aenter__", "__aexit__"}


def methods(face: Any) -> dict[str, Callable[..., Any]]:
    return {name: member for name, member in [*vars(face).items(), ("close", face.close)] if inspect.isfunction(member)}


@frozen
class Faces:
    blocking: type[Any]
    awaited: type[Any]
    backend: type[Any]
    public: int
    """How many methods there are but `close`."""


FACES = [
    Faces(CheckpointRepository, AsyncCheckpointRepository, CheckpointBackend, 14),
    Faces(ItemRepository, AsyncItemRepository, ItemBackend, 15),
    Faces(CacheRepository, AsyncCacheRepository, CacheBackend, 8),
    Faces(LogRepository, AsyncLogRepository, LogBackend, 11),
]
APPLIED = {"get", "put", "delete", "batch"}
"""The methods of items that are one operation of a backend, `apply`."""

READ_AND_TRIMMED = {"last", "delete"}
"""The methods of logs that are `read` and `trim` of a backend."""


OPTIONAL: dict[type[Any], set[str]] = {
    CheckpointBackend: {"expire", "measure"},
    CacheBackend: {"list", "list_namespaces", "restore"},
    ItemBackend: {"measure", "restore"},
    LogBackend: {"measure", "restore"},
}
"""The operations that a backend need not have."""


def names(face: type) -> list[str]:
    return sorted(set(methods(face)) - LIFE)


def public(face: type) -> set[str]:
    return {name for name in names(face) if not name.startswith("_")}


TYPED = [(TypedItems, AsyncTypedItems), (TypedThread, AsyncTypedThread), (TypedTasks, AsyncTypedTasks)]

EACH = [
    pytest.param(methods(faces.blocking)[name], methods(faces.awaited)[name], id=f"{faces.blocking.__name__}.{name}")
    for faces in FACES
    for name in [*names(faces.blocking), "close"]
    if name in methods(faces.awaited)
] + [
    pytest.param(vars(blocking)[name], vars(awaited)[name], id=f"{blocking.__name__}.{name}")
    for blocking, awaited in TYPED
    for name, member in vars(blocking).items()
    if hasattr(member, "__wrapped__")
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
        for name, member in inspect.getmembers(faces.backend, inspect.isfunction)
        if str(inspect.signature(member).return_annotation).startswith("Operation[")
    }
    if "apply" in operations:
        operations = operations - {"apply"} | APPLIED
    if faces.backend is LogBackend:
        operations = operations | READ_AND_TRIMMED
    assert operations | OPTIONAL.get(faces.backend, set()) == public(faces.blocking) | {"now", "ping"}


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
    else:
        # Iterated over, not awaited; so bad input is refused at once, not at the first step.
        assert not inspect.iscoroutinefunction(awaited)
        assert not inspect.isasyncgenfunction(awaited)
    assert not inspect.iscoroutinefunction(blocking)


@pytest.mark.parametrize(("blocking", "awaited"), EACH)
def test_same_documentation(blocking: Method, awaited: Method) -> None:
    assert blocking.__doc__
    assert awaited.__doc__ == blocking.__doc__
    for parameter in list(inspect.signature(blocking).parameters)[1:]:
        assert f"{parameter}: " in blocking.__doc__, f"it does not say what {parameter} is"


def plain(method: Method) -> str:
    """The body of a method without what makes it async, and without its documentation."""
    source = inspect.getsource(method)
    for pattern, replacement in [
        (r'"""(?s:.*?)"""', ""),
        (r"\b(async|await) ", ""),
        (r"\b(_?)a(run|execute|close|items)\b", r"\1\2"),
        (r"\bAsyncIterator\b", "Iterator"),
        (r"for item in (\S+):\s+yield item", r"yield from \1"),
        (r"[\s(),]+", " "),
    ]:
        source = re.sub(pattern, replacement, source)
    return source


@pytest.mark.parametrize(("blocking", "awaited"), EACH)
def test_same_body(blocking: Any, awaited: Any) -> None:
    if blocking.__name__ == "close":
        assert plain(blocking) == plain(awaited)
    else:
        assert blocking.__wrapped__ is awaited.__wrapped__


def test_pages_are_read_alike() -> None:
    assert plain(_items) == plain(_aitems)


@pytest.mark.parametrize("face", [face for faces in FACES for face in (faces.blocking, faces.awaited)])
def test_a_method_is_described_as_if_it_were_written_by_hand(face: type) -> None:
    for name, method in methods(face).items():
        if name == "close":
            continue
        body = vars(method)["__wrapped__"]
        assert method.__name__ == method.__code__.co_name == name
        assert (method.__qualname__, method.__module__) == (f"{face.__name__}.{name}", face.__module__)
        assert method.__doc__ == body.__doc__
        shown, of_body = inspect.signature(method), inspect.signature(body)
        assert shown.parameters == of_body.parameters
        assert of_body.return_annotation in (
            f"Operation[{shown.return_annotation}]",
            re.sub("^(Async)?Iterator", "Pages", shown.return_annotation),
        )
        assert f"{name}{shown}".partition(" ->")[0] in pydoc.plain(pydoc.render_doc(method))
        hints = get_type_hints(method)
        assert hints.keys() == inspect.signature(method).parameters.keys() - {"self"} | {"return"}
        assert ("Iterator[" in str(hints["return"])) == ("Iterator[" in shown.return_annotation)
        assert "Generator" not in str(hints["return"])


def test_a_subclass_may_extend_a_method() -> None:
    class Louder(CacheRepository):
        def clear(self, namespaces: Sequence[Sequence[str]] | None = None) -> int:
            return super().clear(namespaces) + 100

        empty = CacheRepository.clear

    class AsyncLouder(AsyncCacheRepository):
        async def clear(self, namespaces: Sequence[Sequence[str]] | None = None) -> int:
            return await super().clear(namespaces) + 100

    entries = {((), "a"): Payload(encoding="json", data=b"1")}
    louder = Louder(MemoryCacheEntries())
    louder.set(entries)
    assert louder.clear() == 101
    louder.set(entries)
    assert louder.empty() == 1
    assert CacheRepository.clear.__qualname__ == Louder.empty.__qualname__ == "CacheRepository.clear"
    assert Louder.clear.__qualname__.endswith("Louder.clear")

    async def main() -> int:
        async with AsyncLouder(MemoryCacheEntries()) as cache:
            await cache.set(entries)
            return await cache.clear()

    assert anyio.run(main) == 101


def test_a_misspelt_keyword_is_refused_by_name() -> None:
    cache: Any = CacheRepository(MemoryCacheEntries())
    with pytest.raises(TypeError, match="unexpected keyword argument 'key'"):
        cache.get(key=[])


def test_a_coroutine_has_the_name_of_its_method() -> None:
    coroutine = AsyncCacheRepository(MemoryCacheEntries()).reindex()
    assert repr(coroutine).startswith("<coroutine object AsyncCacheRepository.reindex ")
    coroutine.close()


@pytest.mark.parametrize(("blocking", "awaited"), EACH)
def test_wrong_arguments_are_told_by_the_name_of_the_method(blocking: Method, awaited: Method) -> None:
    for method in (blocking, awaited):
        with pytest.raises(TypeError, match=rf"^([A-Z]\w+\.)?{method.__name__}\(\) got an unexpected keyword argument"):
            if inspect.iscoroutinefunction(method):
                method(object(), nonsense=1).send(None)
            else:
                method(object(), nonsense=1)
        assert "_" not in method.__qualname__.partition(".")[0]
