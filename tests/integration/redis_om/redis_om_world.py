"""Repositories and redis-om's models over the same keys, with the clients that redis-om takes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis
import redis.cluster
import valkey
from attrs import evolve, frozen

from statekeep import CheckpointRepository, ItemRepository
from statekeep.contrib.redis_om import model_for
from statekeep.repositories.valkey import ValkeyCheckpoints, ValkeyItems, client_for
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

if TYPE_CHECKING:
    Redis = redis.Redis[Any]  # generic to type checkers alone
else:
    Redis = redis.Redis

DATABASES = ("redis-py", "redis-py bytes", "valkey-py", "redis-py cluster", "valkey-py cluster")


@frozen
class World:
    """Repositories and redis-om's models over the same keys."""

    prefix: str
    raw: Any
    database: Any

    @property
    def fresh(self) -> World:
        """The same with a prefix of its own."""
        return evolve(self, prefix=f"t-{uuid.uuid4().hex[:12]}")

    def repository(self, *, ttl: float | None = None, prefix: str | None = None) -> CheckpointRepository:
        return CheckpointRepository(ValkeyCheckpoints(client_for(self.raw), prefix=prefix or self.prefix, ttl=ttl))

    def items(self, *, prefix: str | None = None, **options: Any) -> ItemRepository:
        return ItemRepository(ValkeyItems(client_for(self.raw), prefix=prefix or self.prefix, **options))

    def model(self, model: type, prefix: str | None = None) -> Any:
        return model_for(model, database=self.database, prefix=prefix or self.prefix)

    def hashes(self, prefix: str) -> set[str]:
        return {key.decode() for key in self.raw.scan_iter(match=f"{prefix}*", _type="HASH")}

    def all_keys(self) -> set[str]:
        return {key.decode() for key in self.raw.scan_iter(match=f"{self.prefix}:*")}


@contextmanager
def open_world(name: str, server: ValkeyServer, cluster: ValkeyCluster) -> Iterator[World]:
    """Open a world with one of the :data:`DATABASES`."""
    address: dict[str, Any] = {"host": "127.0.0.1", "port": cluster.ports[0] if "cluster" in name else server.port}
    raw: Any = cluster.client() if "cluster" in name else server.client()
    database: Any
    if name == "redis-py cluster":
        database = redis.cluster.RedisCluster(**address, decode_responses=True)
    elif name == "valkey-py cluster":
        database = valkey.ValkeyCluster(**address, decode_responses=True)
    elif name == "valkey-py":
        database = valkey.Valkey(**address, decode_responses=True)
    else:
        database = Redis(**address | {"decode_responses": "bytes" not in name})
    world = World(f"t-{uuid.uuid4().hex[:12]}", raw, database)
    # Hypothesis draws constants from modules that are loaded: none may be loaded between two examples.
    assert world.repository().get("t") is None
    assert world.items().get((), "k") is None
    yield world
    database.close()
    raw.close()


class Recorder(Redis):
    """A client of a server that pretends to have the search module; it notes what was sent."""

    def __init__(self, port: int) -> None:
        super().__init__(host="127.0.0.1", port=port, decode_responses=True)
        self.indexes: set[str] = set()
        self.sent: list[list[str]] = []

    def execute_command(self, *args: Any, **options: Any) -> Any:
        words = " ".join(map(str, args)).split(" ")
        command = words[0].upper()
        if command in ("FT.CREATE", "FT.DROPINDEX", "SET"):
            # redis-om sends the words of FT.CREATE as one, those of SET as they are.
            self.sent.append([command, *(words[1:] if command != "SET" else map(str, args[1:]))])
        if command == "FT.INFO":
            if words[1] not in self.indexes:
                raise redis.ResponseError("Unknown index name")
            return {}
        if command == "FT.CREATE":
            self.indexes.add(words[1])
            return "OK"
        if command == "FT.DROPINDEX":
            self.indexes.remove(words[1])
            return "OK"
        return super().execute_command(*args, **options)
