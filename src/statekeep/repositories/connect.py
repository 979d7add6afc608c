"""Open repositories by URL."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Self, TypeVar, Unpack

from attrs import frozen

from ..domain import InvalidInput, Unsupported, VectorIndex
from ..domain.shown import once_made
from .cache import AsyncCacheRepository, CacheBackend, CacheRepository
from .checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository
from .item_backend import ItemBackend
from .items import AsyncItemRepository, ItemRepository
from .options import ConnectOptions

PREFIX: Final = "statekeep"

T = TypeVar("T")
CheckpointsT = TypeVar("CheckpointsT", bound=CheckpointRepository | AsyncCheckpointRepository)
ItemsT = TypeVar("ItemsT", bound=ItemRepository | AsyncItemRepository)
CacheT = TypeVar("CacheT", bound=CacheRepository | AsyncCacheRepository)


@frozen
class Backends:
    """A backend for each kind of record; ``None`` if the service keeps none."""

    checkpoints: CheckpointBackend
    items: ItemBackend | None = None
    cache: CacheBackend | None = None


class _Repositories(Generic[CheckpointsT, ItemsT, CacheT]):
    """Common part of both connections."""

    def __init__(self, checkpoints: CheckpointsT, items: ItemsT | None, cache: CacheT | None) -> None:
        self.checkpoints = checkpoints
        self._items = items
        self._cache = cache

    @once_made
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.checkpoints.backend!r})"

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
            raise Unsupported(f"{self!r} keeps checkpoints, and no items")
        return self._items

    @property
    def cache(self) -> CacheT:
        """Serialized values under namespaces and keys, for a while.

        Raises:
            Unsupported: the URL's service keeps none.
        """
        if self._cache is None:
            raise Unsupported(f"{self!r} keeps checkpoints, and no cache entries")
        return self._cache


class Connection(_Repositories[CheckpointRepository, ItemRepository, CacheRepository]):
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
        )

    def close(self) -> None:
        """Close all repositories. Idempotent."""
        for repository in (self.checkpoints, self._items, self._cache):
            if repository is not None:
                repository.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AsyncConnection(_Repositories[AsyncCheckpointRepository, AsyncItemRepository, AsyncCacheRepository]):
    """Repositories behind one URL, for asyncio code.

    Use it as an async context manager, or await :meth:`close`.

    Attributes:
        checkpoints: checkpoints and pending writes.
    """

    def __init__(self, backends: Backends) -> None:
        super().__init__(
            AsyncCheckpointRepository(backends.checkpoints),
            _map(AsyncItemRepository, backends.items),
            _map(AsyncCacheRepository, backends.cache),
        )

    async def close(self) -> None:
        """Close all repositories. Idempotent."""
        for repository in (self.checkpoints, self._items, self._cache):
            if repository is not None:
                await repository.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _map(make: Callable[[Any], T], backend: object) -> T | None:
    return None if backend is None else make(backend)


@frozen
class _Request:
    """Arguments of :func:`connect`."""

    url: str
    prefix: str
    ttl: float | None
    refresh_on_read: bool
    index: VectorIndex | None
    clock: Callable[[], float] | None
    options: Mapping[str, Any]


def _open_memory(request: _Request) -> Backends:
    from .memory import MemoryCacheEntries, MemoryCheckpoints, MemoryItems

    if request.options:
        raise InvalidInput(f"memory: takes no {', '.join(sorted(request.options))}", field=min(request.options))
    life: Any = {"ttl": request.ttl, "clock": request.clock or time.time}
    return Backends(
        MemoryCheckpoints(**life, refresh_on_read=request.refresh_on_read),
        MemoryItems(**life, refresh_on_read=request.refresh_on_read, index=request.index),
        MemoryCacheEntries(**life),
    )


def _open_valkey(request: _Request) -> Backends:
    from .valkey import ValkeyCacheEntries, ValkeyCheckpoints, ValkeyItems, open_client

    life: Any = {"prefix": request.prefix, "ttl": request.ttl}
    client = open_client(request.url, **request.options)
    try:
        return Backends(
            ValkeyCheckpoints(client, **life, refresh_on_read=request.refresh_on_read),
            ValkeyItems(client, **life, refresh_on_read=request.refresh_on_read, index=request.index),
            ValkeyCacheEntries(client, **life),
        )
    except BaseException:
        client.close()
        raise


def _open_agentcore(request: _Request) -> Backends:
    from .agentcore.url import open_url

    _refuse(request, "agentcore://", "events live as long as the memory's eventExpiryDuration")
    return Backends(open_url(request.url, **request.options))


def _open_bedrock_sessions(request: _Request) -> Backends:
    from .bedrock_sessions.url import open_url

    _refuse(request, "bedrock-sessions://", "a session lives for 30 days")
    return Backends(open_url(request.url, **request.options))


def _refuse(request: _Request, scheme: str, why_no_ttl: str) -> None:
    """Refuse the arguments that are of no use to checkpoints in an AWS service."""
    for name, default in (("prefix", PREFIX), ("ttl", None), ("refresh_on_read", False), ("index", None)):
        if getattr(request, name) != default:
            reason = why_no_ttl if name == "ttl" else "it has no use"
            raise InvalidInput(f"{scheme} takes no {name}: {reason}", field=name)


_OPENERS: Final[Mapping[str, Callable[[_Request], Backends]]] = {
    "memory": _open_memory,
    "embedded": _open_valkey,
    "valkey": _open_valkey,
    "valkeys": _open_valkey,
    "redis": _open_valkey,
    "rediss": _open_valkey,
    "unix": _open_valkey,
    "agentcore": _open_agentcore,
    "bedrock-sessions": _open_bedrock_sessions,
}
"""Functions that open URLs, by scheme. They read the part behind a ``+`` themselves."""

_FORMS: Final = (
    "memory:, embedded:, embedded:DIR, valkey://, valkeys://, valkey+cluster://, valkeys+cluster://, unix://, "
    "redis://, rediss://, agentcore:// or bedrock-sessions://"
)


def _open(
    url: str,
    prefix: str,
    ttl: float | None,
    refresh_on_read: bool,
    index: VectorIndex | Mapping[str, Any] | None,
    clock: Callable[[], float] | None,
    options: Mapping[str, Any],
) -> Backends:
    if not isinstance(url, str):
        raise InvalidInput(f"url must be text, got {type(url).__name__}", field="url")
    request = _Request(url, prefix, ttl, refresh_on_read, VectorIndex.of(index), clock, options)
    scheme, colon, _ = url.partition(":")
    opener = _OPENERS.get(scheme.partition("+")[0].lower()) if colon else None
    if opener is None or (opener is _open_memory and url != "memory:"):
        # The URL is not shown: without a scheme it may begin with a password.
        raise InvalidInput(f"url must start with {_FORMS}", field="url")
    if clock is not None and opener is not _open_memory:
        raise InvalidInput("clock goes with memory: only; a server has its own", field="clock")
    return opener(request)


def connect(
    url: str,
    *,
    prefix: str = PREFIX,
    ttl: float | None = None,
    refresh_on_read: bool = False,
    index: VectorIndex | Mapping[str, Any] | None = None,
    clock: Callable[[], float] | None = None,
    **options: Unpack[ConnectOptions],
) -> Connection:
    """Open repositories for blocking code.

    Args:
        url: ``memory:`` (in this process, gone when it is closed), ``embedded:`` or ``embedded:DIR`` (a Valkey
            server of our own, in memory or in a directory), ``valkey://user:password@host:port/db``,
            ``valkeys://`` (TLS), ``valkey+cluster://host:port,host:port``, ``valkeys+cluster://``,
            ``unix:///path``; ``redis://`` and ``rediss://`` mean ``valkey://`` and ``valkeys://``;
            ``agentcore://MEMORY_ID?region=us-west-2&actor_id=ada`` (Amazon Bedrock AgentCore Memory, checkpoints only);
            ``bedrock-sessions://?region=us-west-2`` (sessions of Amazon Bedrock, checkpoints only: a thread is a
            session, see :class:`~statekeep.repositories.bedrock_sessions.BedrockSessionCheckpoints`).
        prefix: first part of all keys in Valkey.
        ttl: lifetime of a record in seconds, fractions allowed; ``None`` for ever.
        refresh_on_read: start the TTL of a checkpoint or item anew when it is read.
        index: make items findable by meaning: a :class:`~statekeep.VectorIndex`, or its options as a mapping.
        clock: for ``memory:``, a function that returns the time in seconds since 1970.
        options: of the client, see :class:`~statekeep.repositories.options.ConnectOptions`. For Valkey: ``pool_size``;
            ``pool_timeout``, ``request_timeout``, ``connect_timeout`` and ``deadline`` in seconds; ``client``
            (``"glide"`` or ``"valkey-py"``), ``client_name``, ``username``, ``password``, ``tls_ca_certs``,
            ``tls_cert``, ``tls_key``, ``tls_insecure``. Most may stand in the URL's query too. For ``agentcore://``:
            arguments of :class:`~statekeep.repositories.agentcore.AgentCoreCheckpoints` and fields of
            :class:`~statekeep.repositories.aws.AwsSettings`; for ``bedrock-sessions://``: ``inline`` and the latter.

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
    **options: Unpack[ConnectOptions],
) -> AsyncConnection:
    """Open repositories for asyncio code.

    See :func:`connect` for arguments and errors.

    The connection is made on first use.

    Example:
        >>> import asyncio
        >>> async def main() -> None:
        ...     async with aconnect("memory:") as keep:
        ...         print(await keep.checkpoints.get("t"))
        >>> asyncio.run(main())
        None
    """
    return AsyncConnection(_open(url, prefix, ttl, refresh_on_read, index, clock, options))
