"""From a URL to repositories."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from attrs import frozen

from ..domain import InvalidInput, VectorIndex
from .cache import AsyncCacheRepository, CacheBackend, CacheRepository
from .checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from .items import AsyncItemRepository, ItemBackend, ItemRepository

SCHEMES = (
    "memory:, embedded:, embedded:DIR, valkey://, valkeys://, valkey+cluster://, valkeys+cluster://, unix://, "
    "redis:// or rediss://"
)


@frozen
class Backends:
    """Where each kind of record is kept."""

    checkpoints: CheckpointBackend
    items: ItemBackend
    cache: CacheBackend


class Connection:
    """The repositories behind one URL, for blocking code; a context manager, or closed with :meth:`close`.

    Attributes:
        checkpoints: checkpoints and pending writes.
        items: JSON values under namespaces and keys, for longer than one thread.
        cache: serialized values under namespaces and keys, for a while.
    """

    def __init__(self, backends: Backends) -> None:
        self.checkpoints = CheckpointRepository(backends.checkpoints)
        self.items = ItemRepository(backends.items)
        self.cache = CacheRepository(backends.cache)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.checkpoints.backend!r})"

    def close(self) -> None:
        """Close what was opened. Idempotent."""
        self.checkpoints.close()
        self.items.close()
        self.cache.close()

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
        items: JSON values under namespaces and keys, for longer than one thread.
        cache: serialized values under namespaces and keys, for a while.
    """

    def __init__(self, backends: Backends) -> None:
        self.checkpoints = AsyncCheckpointRepository(backends.checkpoints)
        self.items = AsyncItemRepository(backends.items)
        self.cache = AsyncCacheRepository(backends.cache)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.checkpoints.backend!r})"

    async def close(self) -> None:
        """Close what was opened. Idempotent."""
        await self.checkpoints.close()
        await self.items.close()
        await self.cache.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


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
        raise InvalidInput(f"url must start with {SCHEMES}; got {url.partition(':')[0]!r:.40}", field="url")
    if clock is not None:
        raise InvalidInput("clock goes with memory: only; a server has its own", field="clock")
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


def connect(
    url: str,
    *,
    prefix: str = "statekeep",
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
            ``unix:///path``; ``redis://`` and ``rediss://`` mean ``valkey://`` and ``valkeys://``.
        prefix: what all keys in Valkey start with.
        ttl: seconds that what is stored lives, fractions allowed; ``None`` for ever.
        refresh_on_read: reading a checkpoint or item starts its TTL anew.
        index: makes items findable by meaning: a :class:`~statekeep.VectorIndex`, or its options as a mapping.
        clock: for ``memory:``, returns the time in seconds since 1970.
        options: of the client: ``pool_size``, ``pool_timeout``, ``request_timeout`` and ``connect_timeout`` and ``deadline`` in
            seconds, ``client`` (``"glide"`` or ``"valkey-py"``), ``client_name``, ``username``, ``password``,
            ``tls_ca_certs``, ``tls_cert``, ``tls_key``, ``tls_insecure``. Most may stand in the URL's query too.

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
    prefix: str = "statekeep",
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
