"""From a URL to repositories."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from ..domain import InvalidInput
from .checkpoints import AsyncCheckpointRepository, CheckpointBackend, CheckpointRepository

SCHEMES = (
    "memory:, embedded:, embedded:DIR, valkey://, valkeys://, valkey+cluster://, valkeys+cluster://, unix://, "
    "redis:// or rediss://"
)


class Connection:
    """The repositories behind one URL, for blocking code; a context manager, or closed with :meth:`close`.

    Attributes:
        checkpoints: checkpoints and pending writes.
    """

    def __init__(self, checkpoints: CheckpointBackend) -> None:
        self.checkpoints = CheckpointRepository(checkpoints)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.checkpoints.backend!r})"

    def close(self) -> None:
        """Close what was opened. Idempotent."""
        self.checkpoints.close()

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

    def __init__(self, checkpoints: CheckpointBackend) -> None:
        self.checkpoints = AsyncCheckpointRepository(checkpoints)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.checkpoints.backend!r})"

    async def close(self) -> None:
        """Close what was opened. Idempotent."""
        await self.checkpoints.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


def _checkpoints(
    url: str,
    prefix: str,
    ttl: float | None,
    refresh_on_read: bool,
    clock: Callable[[], float] | None,
    options: dict[str, Any],
) -> CheckpointBackend:
    if not isinstance(url, str):
        raise InvalidInput(f"url must be text, got {type(url).__name__}", field="url")
    if url == "memory:":
        from .memory import MemoryCheckpoints

        if options:
            raise InvalidInput(f"memory: takes no {', '.join(sorted(options))}", field=min(options))
        return MemoryCheckpoints(ttl=ttl, refresh_on_read=refresh_on_read, clock=clock or time.time)
    if ":" not in url or url.startswith("memory"):
        raise InvalidInput(f"url must start with {SCHEMES}; got {url.partition(':')[0]!r:.40}", field="url")
    if clock is not None:
        raise InvalidInput("clock goes with memory: only; a server has its own", field="clock")
    from .valkey import ValkeyCheckpoints, open_client

    client = open_client(url, **options)
    try:
        return ValkeyCheckpoints(client, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read)
    except BaseException:
        client.close()
        raise


def connect(
    url: str,
    *,
    prefix: str = "statekeep",
    ttl: float | None = None,
    refresh_on_read: bool = False,
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
        refresh_on_read: reading a checkpoint starts its TTL anew.
        clock: for ``memory:``, returns the time in seconds since 1970.
        options: of the client: ``pool_size``, ``request_timeout`` and ``connect_timeout`` and ``deadline`` in
            seconds, ``client`` (``"glide"`` or ``"valkey-py"``), ``client_name``, ``username``, ``password``,
            ``tls_ca_certs``, ``tls_cert``, ``tls_key``, ``tls_insecure``. Most may stand in the URL's query too.

    Raises:
        InvalidInput: the URL or an option is wrong.
        MissingDependency: the driver is not installed.

    Example:
        >>> with connect("memory:", ttl=3600) as keep:
        ...     list(keep.checkpoints.list())
        []
    """
    return Connection(_checkpoints(url, prefix, ttl, refresh_on_read, clock, options))


def aconnect(
    url: str,
    *,
    prefix: str = "statekeep",
    ttl: float | None = None,
    refresh_on_read: bool = False,
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
    return AsyncConnection(_checkpoints(url, prefix, ttl, refresh_on_read, clock, options))
