"""Opening clients of valkey-py, and drivers over those that users made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import valkey
import valkey.asyncio
import valkey.asyncio.cluster
import valkey.cluster
from valkey.asyncio.retry import Retry as AsyncRetry
from valkey.backoff import NoBackoff
from valkey.retry import Retry
from valkey.utils import LIBVALKEY_AVAILABLE

from .....version import VERSION
from ..url import Target

if TYPE_CHECKING:
    pass
from .base import Async, Sync, address_of
from .cluster import AsyncCluster, NodeConnection, NodeConnectionTLS, NodePool, SyncCluster
from .login import aasking, asking
from .pool import AsyncOwn, AsyncPooled, Pool, SyncOwn
from .sentinel import LONGEST_QUESTION, AsyncPrimary, AsyncPrimaryOwn, PrimaryPool, Sentinels, ato_primary, to_primary

if LIBVALKEY_AVAILABLE:
    from .pipelined import DEPTH, Connections

SHORTEST_PATIENCE: Final = 5.0

# Of one attempt: to the node that has the slot now, and to the one it moves to. By default there are 16, with pauses,
# while the slot moves; other ways through are ours, see ..errors.MIGRATING.
REDIRECTIONS: Final = 3


def _common(target: Target) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "username": target.username,
        "password": target.password,
        "client_name": target.client_name,
        "lib_name": "statekeep",
        "lib_version": VERSION,
        "socket_timeout": target.attempt,
        "socket_connect_timeout": target.connect_timeout,
    }
    if target.keepalive and target.unix_socket is None:
        settings["socket_keepalive"] = True
        settings["socket_keepalive_options"] = target.keepalive_options
    if not target.cluster:
        # As text: libvalkey, when a signal comes while it packs an integer, ends the process.
        settings["db"] = str(target.database) if target.database else 0
    return settings


def _tls(target: Target) -> dict[str, Any]:
    if not target.tls:
        return {}
    return {
        "ssl_ca_certs": target.tls_ca_certs,
        "ssl_ca_data": target.tls_ca_data,
        "ssl_certfile": target.tls_cert,
        "ssl_keyfile": target.tls_key,
        "ssl_cert_reqs": "none" if target.tls_insecure else "required",
        "ssl_check_hostname": target.tls_check_hostname and not target.tls_insecure,
        "ssl_min_version": target.tls_min_version,
        "ssl_ciphers": target.tls_ciphers,
    }


def _pool(target: Target, module: Any, sentinels: Sentinels | None) -> dict[str, Any]:
    settings = {**_common(target), **_tls(target), "max_connections": target.pool_size, "timeout": target.attempt}
    if target.unix_socket is not None:
        # Its connections have no connect timeout of their own in the blocking client.
        connection = module.UnixDomainSocketConnection
        settings["path"] = target.unix_socket
    else:
        connection = module.SSLConnection if target.tls else module.Connection
        settings["host"], settings["port"] = target.addresses[0]
    if module is valkey:
        connection = asking(to_primary(connection, sentinels), target.credential_provider)
    else:
        connection = aasking(ato_primary(connection, sentinels), target.credential_provider)
    return {**settings, "connection_class": connection}


def _sentinels(target: Target) -> Sentinels | None:
    if target.service is None:
        return None
    settings = {
        **_common(target),
        **_tls(target),
        "db": 0,
        "username": target.sentinel_username,
        "password": target.sentinel_password,
        "socket_timeout": min(target.attempt, LONGEST_QUESTION),
        "socket_connect_timeout": min(target.connect_timeout, LONGEST_QUESTION),
    }
    return Sentinels(target.addresses, target.service, settings, is_tls=target.tls)


def _patience(target: Target) -> float:
    sentinels = 0 if target.service is None else len(target.addresses)
    return target.attempt + target.connect_timeout + 1 + sentinels * 2 * LONGEST_QUESTION


def open_sync(target: Target) -> Sync:
    """Open a blocking client; the cluster client connects at once."""
    if not target.cluster:
        sentinels = _sentinels(target)
        settings = {**_pool(target, valkey, sentinels), "retry": Retry(NoBackoff(), 0)}
        del settings["timeout"]
        if sentinels is None:
            return SyncOwn(Pool(**settings), _patience(target))
        driver = SyncOwn(PrimaryPool(sentinels, **settings), _patience(target))
        driver.server = str(target)
        return driver
    node: Any = valkey.cluster.ClusterNode
    (host, port), *others = target.addresses
    node_connection, tls = NodeConnectionTLS if target.tls else NodeConnection, _tls(target)
    client = valkey.cluster.ValkeyCluster(
        # Only with a URL it takes a pool of another class.
        url=f"valkey://[{host}]:{port}" if ":" in host else f"valkey://{host}:{port}",
        startup_nodes=[node(*address) for address in others],
        cluster_error_retry_attempts=1,
        max_connections=target.pool_size,
        connection_pool_class=NodePool,
        # The cluster client drops some of these settings, such as the one about the host's name in a certificate.
        connection_class=partial(asking(node_connection, target.credential_provider), **tls),
        **_common(target),
    )
    client.ValkeyClusterRequestTTL = REDIRECTIONS
    # An attempt may have to ask for the topology, too.
    return SyncCluster(client, 2 * _patience(target))


def _own(target: Target, settings: dict[str, Any], patience: float, sentinels: Sentinels | None) -> AsyncOwn:
    server = address_of(settings)
    kind, most = settings.pop("connection_class"), settings.pop("max_connections")
    del settings["timeout"]
    connections = Connections(lambda: kind(**settings), most, target.attempt, server)
    if sentinels is None:
        return AsyncOwn(connections, server, patience, most * DEPTH)
    driver = AsyncPrimaryOwn(connections, str(target), patience, most * DEPTH)
    driver.sentinels = sentinels
    return driver


def open_async(target: Target) -> Async:
    """Make a client for the running event loop; it connects with the first request."""
    patience = _patience(target)
    if not target.cluster:
        sentinels = _sentinels(target)
        settings = {**_pool(target, valkey.asyncio, sentinels), "retry": AsyncRetry(NoBackoff(), 0)}
        if LIBVALKEY_AVAILABLE:
            return _own(target, settings, patience, sentinels)
        own = valkey.asyncio.Valkey.from_pool(valkey.asyncio.BlockingConnectionPool(**settings))
        if sentinels is None:
            return AsyncPooled(own, patience)
        following = AsyncPrimary(own, patience)
        following.sentinels, following.server = sentinels, str(target)
        return following
    nodes = [valkey.asyncio.cluster.ClusterNode(host, port) for host, port in target.addresses]
    client = valkey.asyncio.cluster.ValkeyCluster(
        startup_nodes=nodes,
        cluster_error_retry_attempts=1,
        connection_error_retry_attempts=0,
        ssl=target.tls,
        **_common(target),
        **_tls(target),
    )
    if target.credential_provider is not None:
        # It lets nobody choose the class of its connections, but hands these settings to each node that it meets.
        kind = aasking(client.connection_kwargs["connection_class"], target.credential_provider)
        client.connection_kwargs["connection_class"] = kind
        for startup_node in client.nodes_manager.startup_nodes.values():
            startup_node.connection_class = kind
    client.ValkeyClusterRequestTTL = REDIRECTIONS
    driver = AsyncCluster(client, patience)
    # Not a limit of the client: it loses count of connections that failed, and would refuse all in the end.
    driver.limit = target.pool_size
    return driver


def _waits(deadline: float) -> float:
    return max(deadline, SHORTEST_PATIENCE) + 1


def sync_driver(client: object, deadline: float) -> Sync | None:
    """Return a driver over a blocking client that the user made.

    ``None`` if it is none.
    """
    if isinstance(client, valkey.cluster.ValkeyCluster):
        return SyncCluster(client, _longest(client.get_connection_kwargs(), deadline))
    if isinstance(client, valkey.Valkey):
        return Sync(client, _longest(client.connection_pool.connection_kwargs, deadline))
    return None


def _longest(settings: Mapping[str, Any], deadline: float) -> float:
    reading = settings.get("socket_timeout") or 0.0
    return max(_waits(deadline), reading + (settings.get("socket_connect_timeout") or reading))


def async_driver(client: object, deadline: float) -> Async | None:
    """Return a driver over an asyncio client that the user made.

    ``None`` if it is none.
    """
    patience = _waits(deadline)
    if isinstance(client, valkey.asyncio.cluster.ValkeyCluster):
        return AsyncCluster(client, patience)
    return Async(client, patience) if isinstance(client, valkey.asyncio.Valkey) else None


def client_of(pool: object) -> valkey.Valkey | valkey.asyncio.Valkey | None:
    """Return a client that uses a pool and leaves it open; ``None`` if it is no pool."""
    if isinstance(pool, valkey.ConnectionPool):
        return valkey.Valkey(connection_pool=pool)
    if isinstance(pool, valkey.asyncio.ConnectionPool):
        return valkey.asyncio.Valkey(connection_pool=pool)
    return None
