"""valkey-py as a driver: blocking and asyncio, one server and cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import valkey
import valkey.asyncio
import valkey.asyncio.cluster
import valkey.cluster
from valkey.asyncio.retry import Retry as AsyncRetry
from valkey.backoff import NoBackoff
from valkey.client import NEVER_DECODE
from valkey.exceptions import (
    ConnectionError,
    NoScriptError,
    ReadOnlyError,
    ResponseError,
    SlotNotCoveredError,
    TimeoutError,
    ValkeyClusterException,
    ValkeyError,
)
from valkey.retry import Retry
from valkey.utils import LIBVALKEY_AVAILABLE

from .drivers import joined, plain, version
from .failures import Refused
from .requests import Arg, Ask, Call, Commands, Reply, Request, Scan
from .url import Target

if TYPE_CHECKING:
    from .multiplexed import Connections

# The reply as bytes, also of a client that was made with decode_responses=True.
RAW: Final[dict[str, Any]] = {NEVER_DECODE: True}

# More at a time would only open more connections, where the pool has no limit of its own.
MOST: Final = 64

SCAN_COUNT: Final = "1000"

SHORTEST_PATIENCE: Final = 5.0

# Seconds for which a connection that answered is taken to be as it was left.
FIT: Final = 1.0


def _plainly(command: Sequence[Arg]) -> list[Arg]:
    """Make valkey-py return the reply of a command as it came.

    It converts replies by the command's name (HGETALL to dict, EXPIRE to bool). A trailing space makes the name one
    that it does not know there; when the command is packed or routed, the space is dropped.
    """
    name = command[0].decode() if isinstance(command[0], bytes) else command[0]
    return [f"{name} ", *command[1:]]


def _reply(reply: Any) -> Reply:
    if isinstance(reply, Exception):
        raise reply
    return reply


def _replies(commands: Sequence[Sequence[Arg]], replies: Sequence[Any]) -> list[Reply]:
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, ValkeyError):
            raise Refused(reply, command) from reply
        if isinstance(reply, Exception):  # of a signal handler: pipelines take it for a reply
            raise reply
    return [plain(reply) for reply in replies]


def _scan(cursor: Arg, pattern: str) -> list[Arg]:
    return ["SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT, "TYPE", "HASH"]


def _forsake_idle(pool: Any) -> None:
    """Close the connections of a pool of the user's that nobody uses at the moment; they connect again when needed."""
    if isinstance(pool, valkey.BlockingConnectionPool):
        # Its own method would close those that others use, too.
        with pool.pool.mutex:
            for connection in pool.pool.queue:
                if connection is not None:
                    connection.disconnect()
    else:
        pool.disconnect(inuse_connections=False)


def _where(kwargs: dict[str, Any]) -> str:
    return str(kwargs.get("path") or f"{kwargs.get('host', 'localhost')}:{kwargs.get('port', 6379)}")


def _limit(client: Any) -> int:
    if client.connection is not None or getattr(client, "single_connection_client", False):
        return 1
    return min(int(client.connection_pool.max_connections), MOST)


def _seen(task: asyncio.Task[Any]) -> None:
    # Nobody waits for the outcome after a cancellation, and asyncio would report an error as lost.
    if not task.cancelled():
        task.exception()


class _Topology:
    """Makes up for what cluster clients do to their tables of nodes."""

    def __init__(self, client: Any, make_node: Callable[[str, int], Any]) -> None:
        self._client = client
        self._make_node = make_node
        self._nodes = {node.name: node for node in client.nodes_manager.startup_nodes.values()}

    @contextmanager
    def kept(self) -> Iterator[None]:
        try:
            yield
        except (AttributeError, IndexError, KeyError) as error:
            # They rebuild the tables without a lock; other threads and tasks may find them half built.
            raise ConnectionError(f"the cluster's topology is being read: {error!r}") from error
        except ValkeyClusterException:
            self._recall()
            raise

    def _recall(self) -> None:
        # They forget each node that fails, and after an outage of all they would ask none any more.
        self._nodes |= {node.name: node for node in self._client.get_nodes()}
        startup = self._client.nodes_manager.startup_nodes
        for name, node in self._nodes.items():
            if name not in startup:
                startup[name] = self._make_node(node.host, node.port)


class Sync:
    """A ``valkey.Valkey``.

    An exception that a signal handler raises in the midst of a request may have it give back a connection that owes an
    answer, which would be taken for that to the next request.
    """

    cluster = False

    def __init__(self, client: valkey.Valkey) -> None:
        self._client: Any = client
        self.limit = _limit(client)
        self.server = _where(client.connection_pool.connection_kwargs)

    def perform(self, request: Request) -> Reply:
        try:
            return self._answer(request)
        except (ValkeyError, Refused):
            raise
        except BaseException:
            self._forsake()
            raise

    def _forsake(self) -> None:
        if self._client.connection is not None:
            self._client.connection.disconnect()
        _forsake_idle(self._client.connection_pool)

    def _answer(self, request: Request) -> Reply:
        match request:
            case Call(script, keys, args):
                try:
                    return self._evaluate("EVALSHA", script.sha, str(len(keys)), *keys, *args)
                except NoScriptError:
                    return self._evaluate("EVAL", script.source, str(len(keys)), *keys, *args)
            case Commands(commands):
                return self._commands(commands)
            case Scan(pattern):
                return list(self._scan(self._client, pattern))
            case Ask(command, near):
                return plain(self._ask(command, near))

    def _evaluate(self, *command: Arg) -> Reply:
        return plain(self._client.execute_command(*command, **RAW))

    def _ask(self, command: Sequence[Arg], near: str) -> Any:
        return self._client.execute_command(*_plainly(command), **RAW)

    def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        with self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*_plainly(command), **RAW)
            replies = pipeline.execute(raise_on_error=False)
        return _replies(commands, replies)

    def _scan(self, node: Any, pattern: str) -> dict[bytes, None]:
        found: dict[bytes, None] = {}
        cursor: bytes = b"0"
        while True:
            cursor, keys = self._scan_on(node, _scan(cursor, pattern))
            found.update(dict.fromkeys(keys))
            if cursor == b"0":
                return found

    def _scan_on(self, node: Any, command: Sequence[Arg]) -> Reply:
        return plain(node.execute_command(*_plainly(command), **RAW))

    def close(self) -> None:
        self._client.close()
        self._client.connection_pool.disconnect()


class _Pool(valkey.ConnectionPool):
    """Connections of a client that nobody else uses.

    There is no queue to wait in and no limit, because no more requests are under way than there may be connections. A
    connection is looked at only if it may have been closed since it was used last.

    The pool knows only the connections that lie in it. One that was taken out comes back by a single step, after its
    answers were read; whatever ends a request before, in whichever place, leaves a connection that nobody gets again.
    """

    def reset(self) -> None:
        super().reset()
        self._idle: list[tuple[Any, float]] = []  # with the time at which each was known to be as it should
        self._doubted = 0.0
        self._is_closed = False

    def get_connection(self, command_name: str, *keys: Any, **options: Any) -> Any:
        try:
            connection, known = self._idle.pop()
        except IndexError:
            connection, known = self.connection_class(**self.connection_kwargs), 0.0
        if self._doubted < known > time.monotonic() - FIT:
            return connection
        try:
            connection.connect()
            try:
                if connection.can_read():
                    raise ConnectionError("an answer that nobody waits for")
            except ConnectionError:
                connection.disconnect()
                connection.connect()
        except BaseException:
            self.drop(connection)
            raise
        return connection

    def release(self, connection: Any) -> None:
        if self._is_closed:
            connection.disconnect()
        else:
            self._idle.append((connection, time.monotonic()))

    def drop(self, connection: Any) -> None:
        """Close a connection that is not as it should be."""
        # If the server has gone, it has closed all of them.
        self._doubted = time.monotonic()
        connection.disconnect()

    def disconnect(self, inuse_connections: bool = True) -> None:
        # Those in use are closed when they come back.
        self._is_closed = self._is_closed or inuse_connections
        while self._idle:
            with suppress(IndexError):  # another thread took it
                self._idle.pop()[0].disconnect()


def _received(connection: Any) -> Any:
    try:
        return connection.read_response(disable_decoding=True)
    except ResponseError as error:
        return error.with_traceback(None)  # otherwise it would hold on to whoever keeps it


class SyncOwn(Sync):
    """Connections that were opened here."""

    def __init__(self, pool: _Pool) -> None:
        self._client = pool
        self.limit = min(pool.max_connections, MOST)
        self.server = _where(pool.connection_kwargs)

    def perform(self, request: Request) -> Reply:
        return self._answer(request)

    def _evaluate(self, *command: Arg) -> Reply:
        [reply] = self._exchange([command])
        return _reply(reply)

    def _ask(self, command: Sequence[Arg], near: str) -> Any:
        return self._evaluate(*command)

    def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        return _replies(commands, self._exchange(commands) if commands else [])

    def _scan_on(self, node: Any, command: Sequence[Arg]) -> Reply:
        return self._evaluate(*command)

    def _exchange(self, commands: Sequence[Sequence[Arg]]) -> list[Any]:
        # What execute_command and pipelines do, without their retries, which are made elsewhere.
        pool = self._client
        connection = pool.get_connection("")
        try:
            # In one piece: what comes in several may be answered in several.
            packed = [piece for command in commands for piece in connection.pack_command(*command)]
            connection.send_packed_command([b"".join(packed)])
            replies = [_received(connection) for _ in commands]
        except BaseException:
            pool.drop(connection)
            raise
        pool.release(connection)
        return replies

    def close(self) -> None:
        self._client.disconnect()


class _Owing:
    """A connection that counts what it owes: answers, and the end of what was begun in order to connect."""

    owed = 0

    def connect(self) -> None:
        self.owed += 1
        super().connect()  # type: ignore[misc]
        self.owed -= 1

    def send_command(self, *args: Any, **kwargs: Any) -> None:
        self.owed += 1
        super().send_command(*args, **kwargs)  # type: ignore[misc]

    def pack_commands(self, commands: Sequence[Sequence[Arg]]) -> Any:
        self.owed += len(commands)
        return super().pack_commands(commands)  # type: ignore[misc]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            reply = super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ResponseError:
            self.owed -= 1
            raise
        self.owed -= 1
        return reply


class _NodeConnection(_Owing, valkey.Connection): ...


class _NodeConnectionTLS(_Owing, valkey.SSLConnection):
    def __init__(self, **settings: Any) -> None:
        # The cluster client drops this setting, and then any name that an authority certified would do.
        is_checked = settings["ssl_cert_reqs"] != "none"
        super().__init__(ssl_check_hostname=is_checked, **settings)  # type: ignore[no-untyped-call]


class _NodePool(_Pool):
    """Connections to a node of a cluster. The cluster's client gives them back whatever happened to them."""

    def release(self, connection: Any) -> None:
        if connection.owed or self._is_closed:
            connection.disconnect()
        else:
            self._idle.append((connection, 0.0))


class SyncCluster(Sync):
    """A ``valkey.cluster.ValkeyCluster``."""

    cluster = True

    def __init__(self, client: valkey.cluster.ValkeyCluster) -> None:
        self._client = client
        self._topology = _Topology(client, valkey.cluster.ClusterNode)
        kwargs = self._client.get_connection_kwargs()
        self.limit = min(int(kwargs.get("max_connections") or MOST), MOST)
        self.server = ",".join(sorted(node.name for node in self._client.get_nodes()))

    def _forsake(self) -> None:
        for node in self._client.get_nodes():
            if node.valkey_connection is not None:
                _forsake_idle(node.valkey_connection.connection_pool)

    def _answer(self, request: Request) -> Reply:
        with self._topology.kept():
            if isinstance(request, Scan):
                # Nodes that failed are missing in its table, and their keys would be in the answer.
                self._client.nodes_manager.initialize()
                found: dict[bytes, None] = {}
                for node in self._client.get_primaries():
                    found.update(self._scan(self._client.get_valkey_connection(node), request.pattern))
                return list(found)
            return super()._answer(request)

    def _ask(self, command: Sequence[Arg], near: str) -> Any:
        try:
            node = self._client.get_node_from_key(near)
            return self._client.execute_command(*_plainly(command), target_nodes=node, **RAW)
        except (SlotNotCoveredError, ReadOnlyError):
            # Such a command is never redirected, so that nothing else tells the client that its tables are old.
            self._client.nodes_manager.initialize()
            raise

    def close(self) -> None:
        self._client.close()
        self._client.disconnect_connection_pools()


class Async:
    """A ``valkey.asyncio.Valkey``. See :class:`Sync`; cancelling a request does no harm."""

    cluster = False

    def __init__(self, client: valkey.asyncio.Valkey, patience: float) -> None:
        self._client: Any = client
        self.patience = patience
        self.limit = _limit(client)
        self.server = _where(client.connection_pool.connection_kwargs)

    async def perform(self, request: Request) -> Reply:
        try:
            return await self._answer(request)
        except (ValkeyError, Refused, asyncio.CancelledError):
            raise
        except BaseException:
            self._forsake()
            raise

    def _forsake(self) -> None:
        if self._client.connection is not None:
            self._client.connection._close()
        for connection in self._client.connection_pool._available_connections:
            connection._close()

    async def _answer(self, request: Request) -> Reply:
        match request:
            case Call(script, keys, args):
                try:
                    return await self._evaluate("EVALSHA", script.sha, str(len(keys)), *keys, *args)
                except NoScriptError:
                    return await self._evaluate("EVAL", script.source, str(len(keys)), *keys, *args)
            case Commands(commands):
                return await self._commands(commands)
            case Scan(pattern):
                return list(await self._scan(self._client, pattern))
            case Ask(command, near):
                return await self._ask(command, near)

    # Clients made without socket_timeout would wait for ever for a server that hangs, hence the timeouts.

    async def _evaluate(self, *command: Arg) -> Reply:
        async with asyncio.timeout(self.patience):
            return plain(await self._client.execute_command(*command, **RAW))

    async def _ask(self, command: Sequence[Arg], near: str) -> Reply:
        async with asyncio.timeout(self.patience):
            return plain(await self._client.execute_command(*_plainly(command), **RAW))

    async def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        async with asyncio.timeout(self.patience), self._client.pipeline(transaction=False) as pipeline:
            for command in commands:
                pipeline.execute_command(*_plainly(command), **RAW)
            replies = await pipeline.execute(raise_on_error=False)
        return _replies(commands, replies)

    async def _scan(self, node: Any, pattern: str) -> dict[bytes, None]:
        found: dict[bytes, None] = {}
        cursor: bytes = b"0"
        while True:
            cursor, keys = await self._scan_on(node, _scan(cursor, pattern))
            found.update(dict.fromkeys(keys))
            if cursor == b"0":
                return found

    async def _scan_on(self, node: Any, command: Sequence[Arg]) -> Reply:
        async with asyncio.timeout(self.patience):
            return plain(await node.execute_command(*_plainly(command), **RAW))

    async def close(self) -> None:
        await self._client.aclose()
        await self._client.connection_pool.disconnect()


class AsyncOwn(Async):
    """Connections that were opened here, for one event loop. They look after hanging servers themselves."""

    def __init__(self, connections: Connections, server: str, patience: float, limit: int) -> None:
        self._client = connections
        self.server = server
        self.patience = patience
        self.limit = limit

    async def perform(self, request: Request) -> Reply:
        return await self._answer(request)

    async def _evaluate(self, *command: Arg) -> Reply:
        [reply] = await self._client.ask([command])
        return _reply(reply)

    async def _ask(self, command: Sequence[Arg], near: str) -> Reply:
        [reply] = await self._client.ask_alone([command])
        return _reply(reply)

    async def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        return _replies(commands, await self._client.ask(commands) if commands else [])

    async def _scan_on(self, node: Any, command: Sequence[Arg]) -> Reply:
        return await self._evaluate(*command)

    async def close(self) -> None:
        await self._client.close()


class AsyncCluster(Async):
    """A ``valkey.asyncio.cluster.ValkeyCluster``."""

    cluster = True

    def __init__(self, client: valkey.asyncio.cluster.ValkeyCluster, patience: float) -> None:
        self._client = client
        kwargs = client.get_connection_kwargs()
        self._topology = _Topology(
            client, lambda host, port: valkey.asyncio.cluster.ClusterNode(host, port, **client.connection_kwargs)
        )
        self.patience = patience
        self.limit = min(int(kwargs.get("max_connections") or MOST), MOST)
        self.server = ",".join(sorted(client.nodes_manager.startup_nodes))

    def _forsake(self) -> None:
        for node in self._client.nodes_manager.nodes_cache.values():
            for connection in node._free:
                connection._close()

    async def _answer(self, request: Request) -> Reply:
        with self._topology.kept():
            return await super()._answer(request)

    async def _scan(self, node: Any, pattern: str) -> dict[bytes, None]:
        async with asyncio.timeout(self.patience):
            await self._client.initialize()
        found: dict[bytes, None] = {}
        for primary in self._client.get_primaries():
            found.update(await super()._scan(primary, pattern))
        return found

    async def _ask(self, command: Sequence[Arg], near: str) -> Reply:
        async with asyncio.timeout(self.patience):
            await self._client.initialize()
            try:
                node = self._client.get_node_from_key(near)
                return plain(await self._client.execute_command(*_plainly(command), target_nodes=node, **RAW))
            except (SlotNotCoveredError, ReadOnlyError):
                # Such a command is never redirected, so that nothing else tells the client that its tables are old.
                await self._client._reset_for_reinitialize()
                raise

    async def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        # Cancelled in its midst, a cluster pipeline loses the connections that it uses.
        task = asyncio.ensure_future(self._pipeline(commands))
        task.add_done_callback(_seen)
        async with asyncio.timeout(self.patience):
            return await joined(task)

    async def _pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        async with self._client.pipeline() as pipeline:
            for command in commands:
                pipeline.execute_command(*_plainly(command), **RAW)
            replies = await pipeline.execute(raise_on_error=False)
        for index, command in enumerate(commands):
            if isinstance(replies[index], (ConnectionError, TimeoutError)):
                # The pipeline does not read the topology again after such an error; a single command does.
                replies[index] = await self._client.execute_command(*_plainly(command), **RAW)
        return _replies(commands, replies)

    async def close(self) -> None:
        await self._client.aclose()


def _common(target: Target) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "username": target.username,
        "password": target.password,
        "client_name": target.client_name,
        "lib_name": "statekeep",
        "lib_version": version(),
        "socket_timeout": target.attempt,
        "socket_connect_timeout": target.connect_timeout,
    }
    if not target.cluster:
        # As text: libvalkey, when a signal comes while it packs an integer, ends the process.
        settings["db"] = str(target.database) if target.database else 0
    return settings


def _tls(target: Target) -> dict[str, Any]:
    if not target.tls:
        return {}
    return {
        "ssl_ca_certs": target.tls_ca_certs,
        "ssl_certfile": target.tls_cert,
        "ssl_keyfile": target.tls_key,
        "ssl_cert_reqs": "none" if target.tls_insecure else "required",
        "ssl_check_hostname": not target.tls_insecure,
    }


def _pool(target: Target, module: Any) -> dict[str, Any]:
    settings = {**_common(target), **_tls(target), "max_connections": target.pool_size, "timeout": target.attempt}
    if target.unix_socket is not None:
        # Its connections have no connect timeout of their own in the blocking client.
        connection = module.UnixDomainSocketConnection
        settings["path"] = target.unix_socket
    else:
        connection = module.SSLConnection if target.tls else module.Connection
        settings["host"], settings["port"] = target.addresses[0]
    return {**settings, "connection_class": connection}


def open_sync(target: Target) -> Sync:
    """Open a blocking client; the cluster client connects at once."""
    if not target.cluster:
        settings = {**_pool(target, valkey), "retry": Retry(NoBackoff(), 0)}
        del settings["timeout"]
        return SyncOwn(_Pool(**settings))
    node: Any = valkey.cluster.ClusterNode
    (host, port), *others = target.addresses
    client = valkey.cluster.ValkeyCluster(
        # Only with a URL it takes a pool of another class.
        url=f"valkey://[{host}]:{port}" if ":" in host else f"valkey://{host}:{port}",
        startup_nodes=[node(*address) for address in others],
        cluster_error_retry_attempts=1,
        max_connections=target.pool_size,
        connection_pool_class=_NodePool,
        connection_class=_NodeConnectionTLS if target.tls else _NodeConnection,
        **_common(target),
        **_tls(target),
    )
    return SyncCluster(client)


def _own(target: Target, settings: dict[str, Any], patience: float) -> AsyncOwn:
    from .multiplexed import DEPTH, Connections

    server = _where(settings)
    kind, most = settings.pop("connection_class"), settings.pop("max_connections")
    del settings["timeout"]
    connections = Connections(lambda: kind(**settings), most, target.attempt)
    return AsyncOwn(connections, server, patience, most * DEPTH)


def open_async(target: Target) -> Async:
    """Make a client for the running event loop; it connects with the first request."""
    patience = target.attempt + target.connect_timeout + 1
    if not target.cluster:
        settings = {**_pool(target, valkey.asyncio), "retry": AsyncRetry(NoBackoff(), 0)}
        if LIBVALKEY_AVAILABLE:
            return _own(target, settings, patience)
        return Async(valkey.asyncio.Valkey.from_pool(valkey.asyncio.BlockingConnectionPool(**settings)), patience)
    nodes = [valkey.asyncio.cluster.ClusterNode(host, port) for host, port in target.addresses]
    client = valkey.asyncio.cluster.ValkeyCluster(
        startup_nodes=nodes,
        cluster_error_retry_attempts=1,
        connection_error_retry_attempts=0,
        ssl=target.tls,
        **_common(target),
        **_tls(target),
    )
    driver = AsyncCluster(client, patience)
    # Not a limit of the client: it loses count of connections that failed, and would refuse all in the end.
    driver.limit = target.pool_size
    return driver


def sync_driver(client: object) -> Sync | None:
    """Return a driver over a blocking client that the user made; ``None`` if it is none."""
    if isinstance(client, valkey.cluster.ValkeyCluster):
        return SyncCluster(client)
    return Sync(client) if isinstance(client, valkey.Valkey) else None


def async_driver(client: object, deadline: float) -> Async | None:
    """Return a driver over an asyncio client that the user made; ``None`` if it is none."""
    patience = max(deadline, SHORTEST_PATIENCE) + 1
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
