"""What blocks an event loop is refused by servers that watch for it, as LangGraph's own does with blockbuster."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from statekeep.testing.aws import AwsEmulator
from statekeep.testing.sentinels import ValkeySentinels
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.skipif(importlib.util.find_spec("blockbuster") is None, reason="needs blockbuster")

# Only the package itself is imported before: its parts may be imported where they are used first.
COMMON = """
import asyncio, sys
from blockbuster import blockbuster_ctx
import statekeep
from statekeep import Checkpoint, Payload, PendingWrite

async def use(keep):
    for number in range(2):
        await keep.checkpoints.put(Checkpoint(thread_id="t", checkpoint_id=str(number)))
        assert await keep.checkpoints.get("t")
        assert [saved async for saved in keep.checkpoints.list("t")]
        await keep.checkpoints.delete_thread("t")
        if not keep.has_items:
            continue
        await keep.items.put(("a",), "k", {"n": number})
        assert await keep.items.get(("a",), "k")
        assert await keep.items.search(("a",))
        await keep.items.delete(("a",), "k")
        try:
            await keep.items.append(("a",), [1])
        except statekeep.Unsupported:
            continue
        await keep.items.pop(("a",))
        await keep.cache.set({((), "k"): Payload(encoding="json", data=b"1")})
        assert await keep.cache.get([((), "k")])
        await keep.cache.clear()
"""

URLS = """
async def main():
    with blockbuster_ctx():
        options = dict(option.split("=", 1) for option in sys.argv[2:])
        async with statekeep.aconnect(sys.argv[1], **options) as keep:
            await use(keep)

asyncio.run(main())
print("fine")
"""

LANGGRAPH = """
from langgraph.checkpoint.base import empty_checkpoint
from statekeep.langgraph_shim import AsyncValkeySaver, AsyncValkeyStore, ValkeyCache

async def main():
    url, client = sys.argv[1:]
    with blockbuster_ctx():
        async with AsyncValkeySaver.from_conn_string(url, client=client) as saver:
            config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
            config = await saver.aput(config, empty_checkpoint(), {}, {})
            await saver.aput_writes(config, [("channel", 1)], "task")
            assert (await saver.aget_tuple(config)).pending_writes
            assert [found async for found in saver.alist(config)]
            await saver.adelete_thread("t")
        async with AsyncValkeyStore.from_conn_string(url, client=client) as store:
            await store.aput(("a",), "k", {"v": 1})
            assert await store.aget(("a",), "k")
            assert await store.asearch(("a",))
        cache = ValkeyCache.from_conn_string(url, client=client)
        await cache.aset({(("a",), "k"): (1, 60)})
        assert await cache.aget([(("a",), "k")])
        await cache.aclose()

asyncio.run(main())
print("fine")
"""

GIVEN = """
import glide, valkey.asyncio

async def main():
    from statekeep.repositories.valkey import ValkeyItems, client_for
    port = int(sys.argv[1].rpartition(":")[2])
    if sys.argv[2] == "glide":
        client = await glide.GlideClient.create(glide.GlideClientConfiguration([glide.NodeAddress("127.0.0.1", port)]))
    else:
        client = valkey.asyncio.Valkey(port=port)
    with blockbuster_ctx():
        items = statekeep.AsyncItemRepository(ValkeyItems(client_for(client)))
        await items.put(("a",), "k", 1)
        assert await items.get(("a",), "k")
    await (client.close() if sys.argv[2] == "glide" else client.aclose())

asyncio.run(main())
print("fine")
"""


def run(program: str, *arguments: str, directory: Path | None = None) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COMMON + program, *arguments],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=directory,
    )
    assert (ended.returncode, ended.stdout) == (0, "fine\n"), ended.stderr


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
@pytest.mark.parametrize("shape", ["server", "cluster"])
def test_valkey(client: str, shape: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster) -> None:
    run(URLS, (valkey_server if shape == "server" else valkey_cluster).url, f"client={client}", f"prefix={client}")


def test_sentinels() -> None:
    with ValkeySentinels() as watched:
        run(URLS, watched.url)


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
@pytest.mark.parametrize("program", [LANGGRAPH, GIVEN], ids=["langgraph", "given"])
def test_other_ways_to_valkey(client: str, program: str, valkey_server: ValkeyServer) -> None:
    run(program, valkey_server.url, client)


@pytest.mark.parametrize("url", ["embedded:", "embedded:here"])
def test_embedded(url: str, tmp_path: Path) -> None:
    run(URLS, url, directory=tmp_path)


def test_agentcore() -> None:
    with AwsEmulator() as aws:
        run(
            URLS,
            f"agentcore://{aws.memory_id}?region=us-east-1&endpoint_url={aws.endpoint_url}",
            "aws_access_key_id=a",
            "aws_secret_access_key=b",
        )


def test_memory() -> None:
    run(URLS, "memory:")
