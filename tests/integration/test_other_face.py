"""The other face of a connection: the same repositories, blocking and for asyncio."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep import AsyncConnection, Checkpoint, ClientClosed, Connection, Payload, Unsupported, WrongEventLoop
from statekeep.repositories.connection import Backends
from statekeep.repositories.valkey import ValkeyCheckpoints, ValkeyItems, client_for
from statekeep.testing.aws import AwsEmulator
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.anyio

KEYS: Any = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
N, K = ("a|b", "ü:*"), "{k}\0%"

Options = dict[str, Any]
Opened = tuple[str, Options]


@pytest.fixture(
    params=["memory", "glide", "valkey-py", "glide cluster", "valkey-py cluster", "embedded", "agentcore", "bedrock"]
)
def opened(request: pytest.FixtureRequest, prefix: str, tmp_path: Path) -> Iterator[Opened]:
    """A URL and options."""
    kind = request.param
    if kind in ("agentcore", "bedrock"):
        with AwsEmulator() as aws:
            service = f"agentcore://{aws.memory_id}" if kind == "agentcore" else "bedrock-sessions://"
            yield f"{service}?region=us-east-1&endpoint_url={aws.endpoint_url}", KEYS
    elif kind == "memory":
        yield "memory:", {"ttl": 60}
    elif kind == "embedded":
        yield f"embedded:{tmp_path}/here", {"ttl": 60}
    else:
        client, _, shape = kind.partition(" ")
        server = request.getfixturevalue("valkey_cluster" if shape else "valkey_server")
        yield server.url, {"client": client, "prefix": prefix, "ttl": 60}


def new_thread(keep: Connection) -> str:
    backend: Any = keep.checkpoints.backend
    return str(backend.create_thread()) if hasattr(backend, "create_thread") else "t"


async def use(blocking: Connection, awaiting: AsyncConnection) -> None:
    """Write with one, and read with the other."""
    thread = await asyncio.to_thread(new_thread, blocking)
    await asyncio.to_thread(blocking.checkpoints.put, Checkpoint(thread_id=thread, checkpoint_id="1"))
    await awaiting.checkpoints.put(Checkpoint(thread_id=thread, checkpoint_id="2", parent_id="1"))
    seen = [saved.checkpoint_id async for saved in awaiting.checkpoints.list(thread)]
    assert seen == ["2", "1"]
    assert [saved.checkpoint_id for saved in await asyncio.to_thread(list, blocking.checkpoints.list(thread))] == seen
    assert awaiting.has_items == blocking.has_items
    if not blocking.has_items:
        for keep in (blocking, awaiting):
            with pytest.raises(Unsupported):
                keep.items  # noqa: B018
        return
    stored = await asyncio.to_thread(blocking.items.put, N, K, {"by": "thread"})
    assert await awaiting.items.get(N, K) == stored
    stored = await awaiting.items.put(N, K, {"by": "task"}, expected=stored.version)
    assert await asyncio.to_thread(blocking.items.get, N, K) == stored
    if isinstance(blocking.checkpoints.backend, ValkeyCheckpoints):
        assert stored.expires_at is not None  # both have the options
        entry = Payload(encoding="json", data=b"1")
        await asyncio.to_thread(blocking.cache.set, {(N, K): entry})
        assert (await awaiting.cache.get([(N, K)]))[N, K].payload == entry


def test_of_a_blocking_connection(opened: Opened) -> None:
    url, options = opened
    with statekeep.connect(url, **options) as keep:
        asyncio.run(use(keep, keep.asyncio))
        asyncio.run(use(pickled(keep), keep.asyncio))


async def test_of_an_asyncio_connection(opened: Opened) -> None:
    url, options = opened
    async with statekeep.aconnect(url, **options) as keep:
        await use(keep.blocking, keep)
        await use(keep.blocking.asyncio.blocking, copy(keep))


def pickled(keep: Connection) -> Connection:
    """A copy of a connection, the other face of which is that of the copy."""
    if "memory" in repr(keep).lower():
        return keep
    other: Connection = pickle.loads(pickle.dumps(keep))
    assert other.checkpoints.backend is not keep.checkpoints.backend
    assert other.asyncio.checkpoints.backend is other.checkpoints.backend
    return other


def end(keep: Connection | AsyncConnection) -> None:
    if isinstance(keep, Connection):
        keep.close()
    else:
        asyncio.run(keep.close())


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
@pytest.mark.parametrize("ended", [lambda keep: keep, lambda keep: keep.asyncio], ids=["blocking", "asyncio"])
def test_opened_when_used_and_closed_as_one(
    client: Any, ended: Callable[[Connection], Connection | AsyncConnection], valkey_server: ValkeyServer, prefix: str
) -> None:
    def connections() -> int:
        with valkey_server.client() as admin:
            return sum(one["name"] == prefix for one in admin.client_list())

    async def main() -> None:
        assert await keep.asyncio.items.get(N, K) is None
        assert connections() == 2

    keep = statekeep.connect(valkey_server.url, client=client, client_name=prefix)
    assert keep.asyncio is keep.asyncio
    assert connections() == 0
    assert keep.items.get(N, K) is None
    assert connections() == 1
    asyncio.run(main())
    end(ended(keep))
    with pytest.raises(ClientClosed):
        keep.items.get(N, K)
    with pytest.raises(ClientClosed):
        asyncio.run(keep.asyncio.items.get(N, K))
    end(ended(keep))


async def test_encrypted_metadata_stays_so(prefix: str, valkey_cluster: ValkeyCluster) -> None:
    class Reversing:
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            return "reversed", pickle.dumps(obj)[::-1]

        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            return pickle.loads(data[1][::-1])

    url, options = valkey_cluster.url, {"prefix": prefix, "encrypt_metadata": True, "metadata_serializer": Reversing()}
    async with statekeep.aconnect(url, **options) as keep:  # type: ignore[arg-type]
        await asyncio.to_thread(
            keep.blocking.checkpoints.put, Checkpoint(thread_id="t", checkpoint_id="1", metadata={"secret": "word"})
        )
        saved = await keep.checkpoints.get("t")
        assert saved is not None
        assert saved.metadata == {"secret": "word"}
        async with statekeep.aconnect(url, prefix=prefix) as plain:
            stored = await plain.checkpoints.get("t")
            assert stored is not None
            assert "word" not in repr(stored.metadata)


async def test_clients_that_you_made(valkey_server: ValkeyServer, prefix: str) -> None:
    import valkey.asyncio

    with valkey_server.client() as own:
        client = client_for(own)
        given = Connection(Backends(ValkeyCheckpoints(client, prefix=prefix), ValkeyItems(client, prefix=prefix)))
        await given.asyncio.items.put(N, K, 1)
        assert (await given.asyncio.items.get(N, K)) == given.items.get(N, K)
        await given.asyncio.close()
        assert own.ping()
    async with valkey.asyncio.Valkey(port=valkey_server.port) as awaited:
        client = client_for(awaited)
        other = AsyncConnection(Backends(ValkeyCheckpoints(client, prefix=prefix), ValkeyItems(client, prefix=prefix)))
        assert await asyncio.to_thread(other.blocking.items.get, N, K) == await other.items.get(N, K)
        with pytest.raises(WrongEventLoop, match="a client made from a URL"):
            other.blocking.items.get(N, K)
        other.blocking.close()
        assert await awaited.ping()
