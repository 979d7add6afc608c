"""Repositories of cache entries over each of the four client libraries, and a check of what they stored."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast
from zlib import crc32

from statekeep import Payload
from statekeep.repositories.cache import AsyncCacheRepository, CacheRepository
from statekeep.repositories.valkey import ValkeyCacheEntries, ValkeyCheckpoints
from statekeep.repositories.valkey.client.user_client import UserSyncClient
from statekeep.testing.faces import awaited

from .valkey_kinds import KINDS, open_repository

__all__ = ["KINDS", "entries", "open_cache", "problems"]


@asynccontextmanager
async def open_cache(kind: str, port: int, **options: Any) -> AsyncIterator[AsyncCacheRepository]:
    """A repository over a client of a kind, called as the async face is."""
    async with open_repository(kind, port) as checkpoints:
        client = cast(ValkeyCheckpoints, checkpoints.backend).client
        backend = ValkeyCacheEntries(client, **options)
        yield awaited(CacheRepository(backend)) if isinstance(client, UserSyncClient) else AsyncCacheRepository(backend)


def entries(count: int, namespace: tuple[str, ...] = ("n",), data: bytes = b"v") -> dict[Any, Payload]:
    return {(namespace, f"k{number}"): Payload(encoding="raw", data=data) for number in range(count)}


def problems(client: Any, prefix: str, *, others_deleted: bool = False) -> list[str]:
    """What does not fit together of the keys of cache entries, as docs/key-schema.md describes them.

    Args:
        client: of valkey-py, of a server that nobody writes to.
        prefix: of the keys.
        others_deleted: records may be missing that an index knows.
    """
    found: list[str] = []
    keys = {key.decode() for key in client.scan_iter(f"{prefix}:*", count=1000)}
    ends = {key: client.execute_command("PEXPIRETIME", key) for key in keys}
    records: dict[str, dict[str, str]] = defaultdict(dict)
    for key in keys:
        kind, shard, rest = key.removeprefix(f"{prefix}:").split(":", 2) if key.count(":") > 2 else ("", "", "")
        if kind == "cache_entry":
            name, _, _ = rest.partition(":")
            if shard != f"{{{crc32(rest.encode()) % 64:02x}}}":
                found.append(f"{key} is in the wrong shard")
            records[f"{prefix}:cache_entry-index:{shard}:{name}"][client.hget(key, "item_key").decode()] = key
    indexes = {key for key in keys if key.startswith(f"{prefix}:cache_entry-index:")}
    for index in indexes | set(records):
        members = {member.decode(): score for member, score in client.zrange(index, 0, -1, withscores=True)}
        for member, key in records[index].items():
            end = math.inf if ends[key] == -1 else ends[key]
            if members.get(member) != end:
                found.append(f"{key} ends at {end}, and in its index at {members.get(member)}")
        if not others_deleted and (lost := set(members) - set(records[index])):
            found.append(f"{index} has {lost} without records")
        _, _, shard, name = index.removeprefix(prefix).split(":", 3)
        namespaces = f"{prefix}:cache_namespace-index:{shard}"
        last = max(members.values(), default=None)
        if client.zscore(namespaces, name) != last:
            found.append(f"{namespaces} has {name} until {client.zscore(namespaces, name)}, not {last}")
        if last is not None and ends.get(index) != (-1 if last == math.inf else last):
            found.append(f"{index} ends at {ends.get(index)}, not {last}")
    for key in keys - indexes:
        if key.startswith(f"{prefix}:cache_namespace-index:"):
            shard = key.rpartition(":")[2]
            last = 0.0
            for name, score in client.zrange(key, 0, -1, withscores=True):
                last = max(last, score)
                if f"{prefix}:cache_entry-index:{shard}:{name.decode()}" not in indexes:
                    found.append(f"{key} has {name!r}, of which there is nothing")
            if ends[key] != (-1 if last == math.inf else last):
                found.append(f"{key} ends at {ends[key]}, not {last}")
    return found
