"""Drivers over the cluster clients."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import valkey
import valkey.asyncio
import valkey.asyncio.cluster
import valkey.cluster
from valkey.exceptions import (
    ConnectionError,
    ReadOnlyError,
    ResponseError,
    SlotNotCoveredError,
    TimeoutError,
    ValkeyClusterException,
)

from ...requests import Arg, Reply, Request, Scan
from ..clock import within
from ..driver import as_resp2, joined
from .base import MOST, RAW, Async, Sync, disconnect_idle, raw_command, replies_of
from .pool import Pool


def _seen(task: asyncio.Task[Any]) -> None:
    # Nobody waits for the outcome after a cancellation, and asyncio would report an error as lost.
    if not task.cancelled():
        task.exception()


class _Topology:
    """A guard of the table of nodes, which cluster clients damage."""

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


class _Owing:
    """A connection that counts what it owes.

    That is answers, and the end of what was begun in order to connect.
    """

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


class NodeConnection(_Owing, valkey.Connection):
    """A connection to a node, without TLS."""


class NodeConnectionTLS(_Owing, valkey.SSLConnection):
    """A connection to a node, with TLS."""


class NodePool(Pool):
    """Connections to a node of a cluster.

    The cluster's client gives them back whatever happened to them.
    """

    def release(self, connection: Any) -> None:
        if connection.owed or self._is_closed:
            connection.disconnect()
        else:
            self._idle.append((connection, 0.0))


class SyncCluster(Sync):
    """A ``valkey.cluster.ValkeyCluster``."""

    cluster = True

    def __init__(self, client: valkey.cluster.ValkeyCluster, patience: float) -> None:
        self._client = client
        self.patience = patience
        self._topology = _Topology(client, valkey.cluster.ClusterNode)
        kwargs = self._client.get_connection_kwargs()
        self.limit = min(int(kwargs.get("max_connections") or MOST), MOST)
        self.server = ",".join(sorted(node.name for node in self._client.get_nodes()))
        self.database = 0

    def _forsake(self) -> None:
        for node in self._client.get_nodes():
            if node.valkey_connection is not None:
                disconnect_idle(node.valkey_connection.connection_pool)

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
            return self._client.execute_command(*raw_command(command), target_nodes=node, **RAW)
        except (SlotNotCoveredError, ReadOnlyError):
            # Such a command is never redirected, so that nothing else tells the client that its tables are old.
            self._client.nodes_manager.initialize()
            raise

    def close(self) -> None:
        self._client.close()
        self._client.disconnect_connection_pools()


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
        self.database = 0

    def _idle(self) -> Iterator[Any]:
        for node in self._client.nodes_manager.nodes_cache.values():
            yield from node._free

    async def _answer(self, request: Request) -> Reply:
        with self._topology.kept():
            return await super()._answer(request)

    async def _scan(self, node: Any, pattern: str) -> dict[bytes, None]:
        async with within(self.patience):
            await self._client.initialize()
        found: dict[bytes, None] = {}
        for primary in self._client.get_primaries():
            found.update(await super()._scan(primary, pattern))
        return found

    async def _ask(self, command: Sequence[Arg], near: str) -> Reply:
        async with within(self.patience):
            await self._client.initialize()
            try:
                node = self._client.get_node_from_key(near)
                return as_resp2(await self._client.execute_command(*raw_command(command), target_nodes=node, **RAW))
            except (SlotNotCoveredError, ReadOnlyError):
                # Such a command is never redirected, so that nothing else tells the client that its tables are old.
                await self._client._reset_for_reinitialize()
                raise

    async def _commands(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        # Cancelled in its midst, a cluster pipeline loses the connections that it uses.
        task = asyncio.ensure_future(self._pipeline(commands))
        task.add_done_callback(_seen)
        async with within(self.patience):
            return await joined(task)

    async def _pipeline(self, commands: Sequence[Sequence[Arg]]) -> list[Reply]:
        async with self._client.pipeline() as pipeline:
            for command in commands:
                pipeline.execute_command(*raw_command(command), **RAW)
            replies = await pipeline.execute(raise_on_error=False)
        for index, command in enumerate(commands):
            if isinstance(replies[index], (ConnectionError, TimeoutError)):
                # The pipeline does not read the topology again after such an error; a single command does.
                replies[index] = await self._client.execute_command(*raw_command(command), **RAW)
        return replies_of(commands, replies)

    async def close(self) -> None:
        await self._client.aclose()
