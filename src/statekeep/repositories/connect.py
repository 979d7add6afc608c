"""From a URL to repositories."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from attrs import frozen

from ..domain import InvalidInput, Unsupported, VectorIndex
from ..domain.shown import once_made
from .cache import AsyncCacheRepository, CacheBackend, CacheRepository
from .checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from .items import AsyncItemRepository, ItemBackend, ItemRepository

PREFIX = "statekeep"
SCHEMES = (
    "memory:, embedded:, embedded:DIR, valkey://, valkeys://, valkey+cluster://, valkeys+cluster://, unix://, "
    "redis://, rediss:// or agentcore://"
)


RepositoryT = TypeVar("RepositoryT")


@frozen
class Backends:
    """Where each kind of record is kept; ``None`` where it cannot be."""

    checkpoints: CheckpointBackend
    items: ItemBackend | None
    cache: CacheBackend | None


class Connection:
    """The repositories behind one URL, for blocking code; a context manager, or closed with :meth:`close`.

    Attributes:
        checkpoints: checkpoints and pending writes.
    """

    def __init__(self, backends: Backends) -> None:
        self.checkpoints = CheckpointRepository(backends.checkpoints)
        self._items = None if backends.items is None else ItemRepository(backends.items)
        self._cache = None if backends.cache is None else CacheRepository(backends.cache)

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.checkpoints.backend!r})"

    @property
    def keeps_items(self) -> bool:
        """Whether there are :attr:`items`."""
        return self._items is not None

    @property
    def items(self) -> ItemRepository:
        """JSON values under namespaces and keys, for longer than one thread.

        Raises:
            Unsupported: the URL's service keeps none.
        """
        return _kept(self._items, "items", self)

    @property
    def cache(self) -> CacheRepository:
        """Serialized values under namespaces and keys, for a while.

        Raises:
            Unsupported: the URL's service keeps none.
        """
        return _kept(self._cache, "cache entries", self)

    def close(self) -> None:
        """Close what was opened. Idempotent."""
        for repository in (self.checkpoints, self._items, self._cache):
            if repository is not None:
                repository.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncConnection:
    """The repositories behind one URL, for asyncio code; an async context manager, or closed with :meth:`close`.

    Attributes:
        checkpoints: checkpoints and pending writes.
    """

    def __init__(self, backends: Backends) -> None:
        self.checkpoints = AsyncCheckpointRepository(backends.checkpoints)
        self._items = None if backends.items is None else AsyncItemRepository(backends.items)
        self._cache = None if backends.cache is None else AsyncCacheRepository(backends.cache)

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.checkpoints.backend!r})"

    @property
    def keeps_items(self) -> bool:
        """Whether there are :attr:`items`."""
        return self._items is not None

    @property
    def items(self) -> AsyncItemRepository:
        """JSON values under namespaces and keys, for longer than one thread.

        Raises:
            Unsupported: the URL's service keeps none.
        """
        return _kept(self._items, "items", self)

    @property
    def cache(self) -> AsyncCacheRepository:
        """Serialized values under namespaces and keys, for a while.

        Raises:
            Unsupported: the URL's service keeps none.
        """
        return _kept(self._cache, "cache entries", self)

    async def close(self) -> None:
        """Close what was opened. Idempotent."""
        for repository in (self.checkpoints, self._items, self._cache):
            if repository is not None:
                await repository.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _kept(repository: RepositoryT | None, what: str, connection: object) -> RepositoryT:
    if repository is None:
        raise Unsupported(f"{connection!r} keeps checkpoints, and no {what}")
    return repository


def _open(
    url: str,
    prefix: str,
    ttl: float | None,
    refresh_on_read: bool,
    index: Any,
    clock: Callable[[], float] | None,
    options: dict[str, Any],
) -> Backends:
    if not isinstance(url, str):
        raise InvalidInput(f"url must be text, got {type(url).__name__}", field="url")
    life: dict[str, Any] = {"ttl": ttl}
    reading: dict[str, Any] = {"refresh_on_read": refresh_on_read}
    vectors = VectorIndex.of(index)
    if url == "memory:":
        from .memory import MemoryCacheEntries, MemoryCheckpoints, MemoryItems

        if options:
            raise InvalidInput(f"memory: takes no {', '.join(sorted(options))}", field=min(options))
        life["clock"] = clock or time.time
        return Backends(
            MemoryCheckpoints(**life, **reading),
            MemoryItems(**life, **reading, index=vectors),
            MemoryCacheEntries(**life),
        )
    if ":" not in url or url.startswith("memory"):
        # Not shown: what has no scheme may begin with a password.
        raise InvalidInput(f"url must start with {SCHEMES}", field="url")
    if clock is not None:
        raise InvalidInput("clock goes with memory: only; a server has its own", field="clock")
    if url.startswith("agentcore:"):
        return _open_agentcore(url, {"prefix": prefix, **life, **reading, "index": vectors}, options)
    from .valkey import ValkeyCacheEntries, ValkeyCheckpoints, ValkeyItems, open_client

    client = open_client(url, **options)
    try:
        life["prefix"] = prefix
        return Backends(
            ValkeyCheckpoints(client, **life, **reading),
            ValkeyItems(client, **life, **reading, index=vectors),
            ValkeyCacheEntries(client, **life),
        )
    except BaseException:
        client.close()
        raise


_OF_VALKEY = {"prefix": PREFIX, "ttl": None, "refresh_on_read": False, "index": None}


def _open_agentcore(url: str, settings: Mapping[str, Any], options: dict[str, Any]) -> Backends:
    from .agentcore.url import open_url

    for name, value in settings.items():
        if value != _OF_VALKEY[name]:
            reason = "events live as long as the memory's eventExpiryDuration" if name == "ttl" else "it has no use"
            raise InvalidInput(f"agentcore:// takes no {name}: {reason}", field=name)
    return Backends(open_url(url, **options), None, None)


def connect(
    url: str,
    *,
    prefix: str = PREFIX,
    ttl: float | None = None,
    refresh_on_read: bool = False,
    index: VectorIndex | Mapping[str, Any] | None = None,
    clock: Callable[[], float] | None = None,
    **options: Any,
) -> Connection:
    """Open repositories for blocking code.

    Args:
        url: ``memory:`` (in this process, gone when it is closed), ``embedded:`` or ``embedded:DIR`` (a Valkey
            server of our own, in memory or in a directory), ``valkey://user:password@host:port/db``,
            ``valkeys://`` (TLS), ``valkey+cluster://host:port,host:port``, ``valkeys+cluster://``,
            ``unix:///path``; ``redis://`` and ``rediss://`` mean ``valkey://`` and ``valkeys://``;
            ``agentcore://MEMORY_ID?region=us-west-2&actor_id=ada`` (Amazon Bedrock AgentCore Memory, checkpoints only).
        prefix: what all keys in Valkey start with.
        ttl: seconds that what is stored lives, fractions allowed; ``None`` for ever.
        refresh_on_read: reading a checkpoint or item starts its TTL anew.
        index: makes items findable by meaning: a :class:`~statekeep.VectorIndex`, or its options as a mapping.
        clock: for ``memory:``, returns the time in seconds since 1970.
        options: of the client: ``pool_size``, ``pool_timeout``, ``request_timeout`` and ``connect_timeout`` and ``deadline`` in
            seconds, ``client`` (``"glide"`` or ``"valkey-py"``), ``client_name``, ``username``, ``password``,
            ``tls_ca_certs``, ``tls_cert``, ``tls_key``, ``tls_insecure``. Most may stand in the URL's query too.
            Those of ``agentcore://`` are the arguments of
            :class:`~statekeep.repositories.agentcore.AgentCoreCheckpoints` and the fields of
            :class:`~statekeep.repositories.aws.AwsSettings`.

    Raises:
        InvalidInput: the URL or an option is wrong.
        MissingDependency: the driver, or numpy for ``index``, is not installed.

    Example:
        >>> with connect("memory:", ttl=3600) as keep:
        ...     list(keep.checkpoints.list())
        []
    """
    return Connection(_open(url, prefix, ttl, refresh_on_read, index, clock, options))


def aconnect(
    url: str,
    *,
    prefix: str = PREFIX,
    ttl: float | None = None,
    refresh_on_read: bool = False,
    index: VectorIndex | Mapping[str, Any] | None = None,
    clock: Callable[[], float] | None = None,
    **options: Any,
) -> AsyncConnection:
    """Open repositories for asyncio code; arguments and errors as :func:`connect`. Connects on first use.

    Example:
        >>> import asyncio
        >>> async def main() -> None:
        ...     async with aconnect("memory:") as keep:
        ...         print(await keep.checkpoints.get("t"))
        >>> asyncio.run(main())
        None
    """
    return AsyncConnection(_open(url, prefix, ttl, refresh_on_read, index, clock, options))
