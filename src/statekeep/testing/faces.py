"""One face of a repository behind the other, so that a test is written once."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final, TypeVar, overload

from anyio.from_thread import BlockingPortal

from ..repositories.cache import AsyncCacheRepository, CacheRepository
from ..repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from ..repositories.items import AsyncItemRepository, ItemRepository
from ..repositories.logs import AsyncLogRepository, LogRepository

__all__ = ["awaited", "blocking", "watched"]

ItemT = TypeVar("ItemT")
RepositoryT = TypeVar("RepositoryT")

_ASYNC: Final[dict[type[Any], type[Any]]] = {
    CheckpointRepository: AsyncCheckpointRepository,
    ItemRepository: AsyncItemRepository,
    CacheRepository: AsyncCacheRepository,
    LogRepository: AsyncLogRepository,
}
_BLOCKING: Final = {awaited: blocking for blocking, awaited in _ASYNC.items()}


@overload
def awaited(repository: CheckpointRepository) -> AsyncCheckpointRepository: ...
@overload
def awaited(repository: ItemRepository) -> AsyncItemRepository: ...
@overload
def awaited(repository: CacheRepository) -> AsyncCacheRepository: ...
@overload
def awaited(repository: LogRepository) -> AsyncLogRepository: ...
def awaited(repository: Any) -> Any:
    """Return a blocking repository that is called as its async twin is.

    It blocks the event loop.

    Args:
        repository: what answers.

    Example:
        >>> import asyncio, statekeep
        >>> items = awaited(statekeep.connect("memory:").items)
        >>> asyncio.run(items.put(("n",), "k", 1)).version
        1
    """

    def forward(name: str, *, is_awaited: bool) -> Callable[..., Any]:
        method = getattr(repository, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return method(*args, **kwargs)

        def iterate(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
            return _awaited(method(*args, **kwargs))  # bad input is refused here, before the first step

        return call if is_awaited else iterate

    face = _ASYNC[type(repository)]
    return _forwarding(face(repository.backend), face, forward)


@overload
def blocking(
    repository: AsyncCheckpointRepository, portal: BlockingPortal, *, lazily: bool = ...
) -> CheckpointRepository: ...
@overload
def blocking(repository: AsyncItemRepository, portal: BlockingPortal, *, lazily: bool = ...) -> ItemRepository: ...
@overload
def blocking(repository: AsyncCacheRepository, portal: BlockingPortal, *, lazily: bool = ...) -> CacheRepository: ...
@overload
def blocking(repository: AsyncLogRepository, portal: BlockingPortal, *, lazily: bool = ...) -> LogRepository: ...
def blocking(repository: Any, portal: BlockingPortal, *, lazily: bool = False) -> Any:
    """Return an async repository that is called as its blocking twin is.

    Args:
        repository: what answers.
        portal: to the event loop in which ``repository`` lives.
        lazily: whether listings are read step by step, which takes longer, and not to their end at once.
    """

    def forward(name: str, *, is_awaited: bool) -> Callable[..., Any]:
        method = getattr(repository, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            return portal.call(lambda: method(*args, **kwargs))

        def iterate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            items = method(*args, **kwargs)
            return _stepwise(items, portal) if lazily else iter(portal.call(_collected, items))

        return call if is_awaited else iterate

    face = type(repository)
    return _forwarding(_BLOCKING[face](repository.backend), face, forward)


def watched(repository: RepositoryT, note: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> RepositoryT:
    """Have each method of a blocking repository replaced.

    It is replaced by what ``note`` makes of its name and of itself.
    """
    for name in operations_of(type(repository)):
        setattr(repository, name, note(name, getattr(repository, name)))
    return repository


def operations_of(face: type[Any]) -> list[str]:
    """Return the names of the operations of a repository."""
    return [
        name
        for name, method in vars(face).items()
        if inspect.isfunction(method) and name != "close" and not name.startswith("_")
    ]


def _forwarding(twin: Any, async_face: type[Any], forward: Callable[..., Callable[..., Any]]) -> Any:
    """Give ``twin`` what ``forward`` makes of the name of each method."""
    for name, method in inspect.getmembers(async_face, inspect.isfunction):
        if not name.startswith("_"):
            setattr(twin, name, forward(name, is_awaited=inspect.iscoroutinefunction(method)))
    return twin


async def _awaited(items: Iterator[ItemT]) -> AsyncIterator[ItemT]:
    for item in items:
        yield item


def _stepwise(items: AsyncIterator[Any], portal: BlockingPortal) -> Iterator[Any]:
    while (item := portal.call(_next, items)) is not None:
        yield item


async def _next(items: AsyncIterator[Any]) -> Any:
    return await anext(items, None)


async def _collected(items: AsyncIterator[ItemT]) -> list[ItemT]:
    return [item async for item in items]
