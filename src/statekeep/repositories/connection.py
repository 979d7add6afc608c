"""Connections: the repositories behind one URL, in both faces."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from functools import cached_property
from operator import attrgetter
from typing import Any, Generic, Self, TypeVar

from attrs import frozen

from ..domain import Unsupported
from ..domain.shown import once_made
from .cache import AsyncCacheRepository, CacheBackend, CacheRepository
from .checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from .faces import aclosing_on_error
from .item_backend import ItemBackend
from .items import AsyncItemRepository, ItemRepository
from .logs import AsyncLogRepository, LogBackend, LogRepository

T = TypeVar("T")
CheckpointsT = TypeVar("CheckpointsT", bound=CheckpointRepository | AsyncCheckpointRepository)
ItemsT = TypeVar("ItemsT", bound=ItemRepository | AsyncItemRepository)
CacheT = TypeVar("CacheT", bound=CacheRepository | AsyncCacheRepository)
LogsT = TypeVar("LogsT", bound=LogRepository | AsyncLogRepository)


@frozen
class Backends:
    """A backend for each kind of record; ``None`` if the service keeps none."""

    checkpoints: CheckpointBackend
    items: ItemBackend | None = None
    cache: CacheBackend | None = None
    logs: LogBackend | None = None


class _Repositories(Generic[CheckpointsT, ItemsT, CacheT, LogsT]):
    """Common part of both connections."""

    def __init__(
        self, checkpoints: CheckpointsT, items: ItemsT | None, cache: CacheT | None, logs: LogsT | None
    ) -> None:
        self.checkpoints = checkpoints
        self._items = items
        self._cache = cache
        self._logs = logs

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.checkpoints.backend!r})"

    @property
    def backends(self) -> Backends:
        """The backends that both faces share."""
        others = (self._items, self._cache, self._logs)
        return Backends(self.checkpoints.backend, *(_map(attrgetter("backend"), other) for other in others))

    @property
    def has_items(self) -> bool:
        """Whether there are :attr:`items`."""
        return self._items is not None

    @property
    def items(self) -> ItemsT:
        """JSON values under namespaces and keys, for longer than one thread.

        Raises:
            Unsupported: the URL's service keeps none.
        """
        if self._items is None:
            raise Unsupported(f"{self._keeper} keeps checkpoints, and no items")
        return self._items

    @property
    def cache(self) -> CacheT:
        """Serialized values under namespaces and keys, for a while.

        Raises:
            Unsupported: the URL's service keeps none.
        """
        if self._cache is None:
            raise Unsupported(f"{self._keeper} keeps {self._kept}, and no cache entries")
        return self._cache

    @property
    def has_logs(self) -> bool:
        """Whether there are :attr:`logs`."""
        return self._logs is not None

    @property
    def logs(self) -> LogsT:
        """Values one behind the other, such as the messages of a conversation.

        Raises:
            Unsupported: the URL's service keeps none.
        """
        if self._logs is None:
            raise Unsupported(f"{self._keeper} keeps {self._kept}, and no logs")
        return self._logs

    @property
    def _keeper(self) -> str:
        return type(self.checkpoints.backend).__name__

    @property
    def _kept(self) -> str:
        return "checkpoints and items" if self.has_items else "checkpoints"


class Connection(_Repositories[CheckpointRepository, ItemRepository, CacheRepository, LogRepository]):
    """Repositories behind one URL, for blocking code.

    Use it as a context manager, or call :meth:`close`.

    Attributes:
        checkpoints: checkpoints and pending writes.
    """

    def __init__(self, backends: Backends) -> None:
        super().__init__(
            CheckpointRepository(backends.checkpoints),
            _map(ItemRepository, backends.items),
            _map(CacheRepository, backends.cache),
            _map(LogRepository, backends.logs),
        )

    @cached_property
    def asyncio(self) -> AsyncConnection:
        """The same repositories for asyncio code.

        Both are one connection: they read and write the same, have the same options, and closing one closes the other.
        The clients of event loops are opened with their first requests. With a client that you made there is no other:
        a blocking one serves event loops from worker threads.

        Example:
            >>> import asyncio, statekeep
            >>> with statekeep.connect("memory:") as keep:
            ...     item = keep.items.put(("notes",), "tea", 1)
            ...     asyncio.run(keep.asyncio.items.get(("notes",), "tea")).value
            1
        """
        return AsyncConnection(self.backends)

    def ping(self) -> float:
        """As :meth:`CheckpointRepository.ping`."""
        return self.checkpoints.ping()

    def now(self) -> dt.datetime:
        """As :meth:`CheckpointRepository.now`."""
        return self.checkpoints.now()

    def close(self) -> None:
        """Close all repositories. Idempotent."""
        for repository in (self.checkpoints, self._items, self._cache, self._logs):
            if repository is not None:
                repository.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncConnection(
    _Repositories[AsyncCheckpointRepository, AsyncItemRepository, AsyncCacheRepository, AsyncLogRepository]
):
    """Repositories behind one URL, for asyncio code.

    Use it as an async context manager, or await :meth:`close`.

    Attributes:
        checkpoints: checkpoints and pending writes.
    """

    def __init__(self, backends: Backends, *, check: bool = False) -> None:
        self._check = check
        super().__init__(
            AsyncCheckpointRepository(backends.checkpoints),
            _map(AsyncItemRepository, backends.items),
            _map(AsyncCacheRepository, backends.cache),
            _map(AsyncLogRepository, backends.logs),
        )

    @cached_property
    def blocking(self) -> Connection:
        """The same repositories for blocking code, such as that of worker threads.

        Both are one connection, as :attr:`Connection.asyncio` says. In a running event loop its methods block the loop.
        With an asyncio client that you made, which belongs to its event loop, they raise
        :class:`~statekeep.WrongEventLoop` in there; in other threads they have that loop answer.

        Example:
            >>> import asyncio, statekeep
            >>> async def main() -> int:
            ...     async with statekeep.aconnect("memory:") as keep:
            ...         await keep.items.put(("notes",), "tea", 1)
            ...         return (await asyncio.to_thread(keep.blocking.items.get, ("notes",), "tea")).value
            >>> asyncio.run(main())
            1
        """
        return Connection(self.backends)

    async def ping(self) -> float:
        """As :meth:`CheckpointRepository.ping`."""
        return await self.checkpoints.ping()

    async def now(self) -> dt.datetime:
        """As :meth:`CheckpointRepository.now`."""
        return await self.checkpoints.now()

    async def close(self) -> None:
        """Close all repositories. Idempotent."""
        for repository in (self.checkpoints, self._items, self._cache, self._logs):
            if repository is not None:
                await repository.close()

    async def __aenter__(self) -> Self:
        if self._check:
            async with aclosing_on_error(self.close):
                await self.ping()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _map(make: Callable[[Any], T], backend: object) -> T | None:
    return None if backend is None else make(backend)
