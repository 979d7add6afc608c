"""The servers of a run, by their ports on 127.0.0.1."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import valkey
from attrs import frozen

from statekeep import Unsupported
from statekeep.testing.servers import ValkeyServer


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
        """Bytes that a Valkey server has in use."""
        return int(self.info(kind, "memory")["used_memory"])


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
