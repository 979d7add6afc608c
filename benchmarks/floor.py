"""The least that a checkpoint can cost: the same bytes in one round trip through the same client."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import glide
import glide_sync
import valkey
import valkey.asyncio
from attrs import frozen
from glide_shared.config import GlideClientConfiguration, NodeAddress

from .calls import Script, call
from .counting import Traffic
from .savers import FLOORS, GLIDE, VALKEY_PY, Contender
from .servers import Servers

INDEX = "floor-index"
FRAME = 120
"""Bytes that the two commands of a write send besides the value, about."""

_NOISE = os.urandom(1 << 22)
_WRITES = ("put", "put_writes")


def replay(traffic: Sequence[Traffic], thread_id: str) -> Script:
    """Write and read as many bytes as a contender did: a value and its place in an index, or a value.

    Listings and deletions are left out.

    Args:
        traffic: of the contender.
        thread_id: begins the keys.
    """
    for size in {one.received for one in traffic if one.asked.method == "get_tuple"}:
        yield call(None, "write", f"{thread_id}-{size}", _NOISE[:size])
    for number, one in enumerate(traffic):
        if one.asked.method in _WRITES:
            yield call(one.asked.operation, "write", f"{thread_id}-put-{number}", _NOISE[: max(one.sent - FRAME, 1)])
        elif one.asked.method == "get_tuple":
            yield call(one.asked.operation, "read", f"{thread_id}-{one.received}")
    yield call(None, "clear")


@frozen
class _ValkeyPy:
    client: Any

    def write(self, key: str, value: bytes) -> None:
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.set(key, value).zadd(INDEX, {key: 0}).execute()

    def read(self, key: str) -> bytes:
        found: bytes = self.client.get(key)
        return found

    def clear(self) -> None:
        self.client.delete(INDEX, *self.client.zrange(INDEX, 0, -1))


@frozen
class _AsyncValkeyPy:
    client: Any

    async def awrite(self, key: str, value: bytes) -> None:
        async with self.client.pipeline(transaction=False) as pipeline:
            await pipeline.set(key, value).zadd(INDEX, {key: 0}).execute()

    async def aread(self, key: str) -> bytes:
        found: bytes = await self.client.get(key)
        return found

    async def aclear(self) -> None:
        await self.client.delete(INDEX, *await self.client.zrange(INDEX, 0, -1))


def _batch(kind: Any, key: str, value: bytes) -> Any:
    batch = kind(is_atomic=False)
    batch.set(key, value)
    batch.zadd(INDEX, {key: 0.0})
    return batch


@frozen
class _Glide:
    client: Any

    def write(self, key: str, value: bytes) -> None:
        self.client.exec(_batch(glide_sync.Batch, key, value), raise_on_error=True)

    def read(self, key: str) -> bytes:
        found: bytes = self.client.get(key)
        return found

    def clear(self) -> None:
        self.client.delete([INDEX, *self.client.zrange(INDEX, glide_sync.RangeByIndex(0, -1))])


@frozen
class _AsyncGlide:
    client: Any

    async def awrite(self, key: str, value: bytes) -> None:
        await self.client.exec(_batch(glide.Batch, key, value), raise_on_error=True)

    async def aread(self, key: str) -> bytes:
        found: bytes = await self.client.get(key)
        return found

    async def aclear(self) -> None:
        await self.client.delete([INDEX, *await self.client.zrange(INDEX, glide.RangeByIndex(0, -1))])


def _configuration(kind: type[Any], servers: Servers) -> Any:
    return kind([NodeAddress("127.0.0.1", servers.valkey_port)], request_timeout=5000)


@contextlib.contextmanager
def _glide(servers: Servers) -> Iterator[_Glide]:
    client = glide_sync.GlideClient.create(_configuration(glide_sync.GlideClientConfiguration, servers))
    try:
        yield _Glide(client)
    finally:
        client.close()


@contextlib.asynccontextmanager
async def _async_glide(servers: Servers) -> AsyncIterator[_AsyncGlide]:
    client = await glide.GlideClient.create(_configuration(GlideClientConfiguration, servers))
    try:
        yield _AsyncGlide(client)
    finally:
        await client.close()


@contextlib.contextmanager
def _valkey_py(servers: Servers) -> Iterator[_ValkeyPy]:
    with valkey.Valkey.from_url(servers.valkey_url) as client:
        yield _ValkeyPy(client)


@contextlib.asynccontextmanager
async def _async_valkey_py(servers: Servers) -> AsyncIterator[_AsyncValkeyPy]:
    async with valkey.asyncio.Valkey.from_url(servers.valkey_url) as client:
        yield _AsyncValkeyPy(client)


FLOOR = {
    GLIDE: Contender(FLOORS[GLIDE], "valkey", _glide, _async_glide),
    VALKEY_PY: Contender(FLOORS[VALKEY_PY], "valkey", _valkey_py, _async_valkey_py),
}
"""By the contender whose bytes they send."""
