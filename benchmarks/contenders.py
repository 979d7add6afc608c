"""The savers, stores and caches that are compared, and the servers that they need."""

from __future__ import annotations

import contextlib
import inspect
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import uuid4

import valkey
from attrs import field, frozen

from statekeep import Unsupported
from statekeep.testing.servers import ValkeyServer

INCUMBENT = "langgraph-checkpoint-aws"
REDIS = "langgraph-checkpoint-redis"
VALKEY_PY = "Statekeep, valkey-py"
GLIDE = "Statekeep, glide"
INDEXED = ", index_metadata"
IN_MEMORY = "LangGraph, memory"
SQLITE = "LangGraph, SQLite"

POOL = 256
"""Connections at most: langgraph-checkpoint-aws fails when it runs out of them."""


class NotHere(Exception):
    """A contender needs what is not there; the message says what."""


@frozen
class Servers:
    """Where contenders keep their data: a directory, and ports, or why there is no such server.

    ``redis`` is a Valkey server, too, with the Redis query engine and JSON. Neither keeps anything on disk.
    """

    directory: Path
    valkey: int | str
    redis: int | str

    def port(self, kind: str) -> int:
        """Return the port of ``"valkey"`` or ``"redis"``, or raise ``NotHere``."""
        found: int | str = getattr(self, kind)
        if isinstance(found, str):
            raise NotHere(found)
        return found

    def behind(self, **ports: int) -> Servers:
        """The same servers through proxies."""
        return Servers(self.directory, ports.get("valkey", self.valkey), ports.get("redis", self.redis))

    def info(self, kind: str, section: str) -> Any:
        """Ask a Valkey server about itself."""
        with valkey.Valkey(port=self.port(kind)) as client:
            return client.info(section)

    def cpu_seconds(self, kind: str | None) -> float:
        """Seconds of the processors that a server has used; not a number without a server."""
        if kind is None:
            return float("nan")
        info = self.info(kind, "cpu")
        return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])

    def used_memory(self, kind: str) -> int:
        """Bytes that a server has in use, but for those of its connections."""
        info = self.info(kind, "memory")
        return int(info["used_memory"]) - int(info["mem_clients_normal"])


@contextlib.contextmanager
def started() -> Iterator[Servers]:
    """Start what can be started on this machine, and stop it in the end."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="statekeep-bench-"))
        server = stack.enter_context(ValkeyServer())
        redis: int | str
        try:
            redis = stack.enter_context(ValkeyServer(search="redisearch")).port
        except Unsupported as missing:
            redis = f"no server with search and JSON: {missing}"
        yield Servers(Path(directory), server.port, redis)


@contextlib.contextmanager
def alone(servers: Servers, kind: str) -> Iterator[Servers]:
    """Start one more Valkey server, for whoever wants to measure the memory that it takes."""
    servers.port(kind)
    with ValkeyServer(search="redisearch" if kind == "redis" else None) as server:
        yield servers.behind(**{kind: server.port})


Arguments = Callable[[Servers, float | None], tuple[str, dict[str, Any]]]


@frozen
class Contender:
    """Something that is compared with others; it is imported when it is opened.

    Attributes:
        name: in all tables.
        server: ``"valkey"`` or ``"redis"``; ``None`` if it has its data in this process or in a file.
        paths: module and name, ``"module:Name"``, of the class with blocking methods and of that with awaitable ones.
        arguments: of ``from_conn_string``, by the servers and a TTL in seconds; ``None`` if there is no such method.
        setup: whether ``setup`` comes first.
        options: of a class without ``from_conn_string``.
    """

    name: str
    server: str | None
    paths: tuple[str, str]
    arguments: Arguments | None = None
    setup: bool = False
    options: dict[str, Any] = field(factory=dict)

    def _made(self, path: str, servers: Servers, ttl: float | None) -> Any:
        module, _, name = path.partition(":")
        made = getattr(import_module(module), name)
        if self.arguments is None:
            return contextlib.nullcontext(made(**self.options))
        where, options = self.arguments(servers, ttl)
        return made.from_conn_string(where, **options)

    @contextlib.contextmanager
    def open(self, servers: Servers, ttl: float | None = None) -> Iterator[Any]:
        """Open it with blocking methods."""
        with self._made(self.paths[0], servers, ttl) as subject:
            if self.setup:
                subject.setup()
            yield subject

    @contextlib.asynccontextmanager
    async def aopen(self, servers: Servers, ttl: float | None = None) -> AsyncIterator[Any]:
        """Open it with awaitable methods."""
        opened = self._made(self.paths[1], servers, ttl)
        async with contextlib.AsyncExitStack() as stack:
            is_async = hasattr(opened, "__aenter__")
            subject = await stack.enter_async_context(opened) if is_async else stack.enter_context(opened)
            if self.setup and inspect.isawaitable(made := subject.setup()):
                await made
            yield subject


def _valkey(servers: Servers, **options: Any) -> tuple[str, dict[str, Any]]:
    return f"valkey://127.0.0.1:{servers.port('valkey')}", options


def _statekeep(client: str, kind: str, async_kind: str, named: str = "", **more: Any) -> Contender:
    options = {"client": client, "pool_size": POOL, "prefix": f"bench-{client}-{len(more)}", **more}

    def arguments(servers: Servers, ttl: float | None) -> tuple[str, dict[str, Any]]:
        return _valkey(servers, **options, **({} if ttl is None else {"ttl_seconds": ttl}))

    paths = f"statekeep.langgraph_shim:{kind}", f"statekeep.langgraph_shim:{async_kind}"
    return Contender(f"Statekeep, {client}{named}", "valkey", paths, arguments)


def _aws(kind: str, async_kind: str, arguments: Arguments) -> Contender:
    paths = f"langgraph_checkpoint_aws:{kind}", f"langgraph_checkpoint_aws:{async_kind}"
    return Contender(INCUMBENT, "valkey", paths, arguments)


def _in_memory(path: str, **options: Any) -> Contender:
    return Contender(IN_MEMORY, None, (path, path), options=options)


def _redis(servers: Servers, ttl: float | None) -> tuple[str, dict[str, Any]]:
    minutes = None if ttl is None else {"default_ttl": ttl / 60, "refresh_on_read": False}
    return f"redis://127.0.0.1:{servers.port('redis')}", {"ttl": minutes}


def _package(module: str, kind: str) -> tuple[str, str]:
    module = f"langgraph.checkpoint.{module}"
    return f"{module}:{kind}Saver", f"{module}.aio:Async{kind}Saver"


SAVERS = (
    _aws("ValkeySaver", "AsyncValkeySaver", lambda servers, ttl: _valkey(servers, pool_size=POOL, ttl_seconds=ttl)),
    _statekeep("valkey-py", "ValkeySaver", "AsyncValkeySaver"),
    _statekeep("glide", "ValkeySaver", "AsyncValkeySaver"),
    Contender(REDIS, "redis", _package("redis", "Redis"), _redis, setup=True),
    _in_memory("langgraph.checkpoint.memory:InMemorySaver"),
    Contender(SQLITE, None, _package("sqlite", "Sqlite"), lambda servers, _: (f"{servers.directory}/{uuid4()}", {})),
)
AGENTS = tuple(saver for saver in SAVERS if saver.name != SQLITE)
"""Those that run whole agents."""

KEEPERS = (*AGENTS, _statekeep("valkey-py", "ValkeySaver", "AsyncValkeySaver", INDEXED, index_metadata=["step"]))
"""Those that keep many threads."""

# Without pool_size, which the stores and caches of langgraph-checkpoint-aws take but fail with.
STORES = (
    _aws("ValkeyStore", "AsyncValkeyStore", lambda servers, _: _valkey(servers)),
    _statekeep("valkey-py", "ValkeyStore", "AsyncValkeyStore"),
    _statekeep("glide", "ValkeyStore", "AsyncValkeyStore"),
    _in_memory("langgraph.store.memory:InMemoryStore"),
)
CACHES = (
    _aws("ValkeyCache", "ValkeyCache", lambda servers, _: _valkey(servers, ttl_seconds=3600)),
    _statekeep("valkey-py", "ValkeyCache", "ValkeyCache"),
    _statekeep("glide", "ValkeyCache", "ValkeyCache"),
    _in_memory("langgraph.cache.memory:InMemoryCache"),
)


def indexed(index: dict[str, Any]) -> tuple[Contender, ...]:
    """The stores that search by meaning without the search module."""
    statekeep = _statekeep("valkey-py", "ValkeyStore", "AsyncValkeyStore", index=index)
    return statekeep, _in_memory("langgraph.store.memory:InMemoryStore", index=index)
