"""What blocks an event loop is refused by servers that watch for it, as LangGraph's own does with blockbuster.

Most tests watch for it, see ``tests/waiting.py``. Here each program is new, so that all is done for the first time.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from statekeep.testing.aws import AwsEmulator
from statekeep.testing.sentinels import ValkeySentinels
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

# Only the package itself is imported before: its parts may be imported where they are used first.
PROGRAM = """
import asyncio, sys
from blockbuster import blockbuster_ctx
import statekeep
from statekeep import Checkpoint, Payload, PendingWrite

async def embed(texts):
    return [[float(len(text)), 1.0] for text in texts]

def embed_blocking(texts):
    return [[float(len(text)), 1.0] for text in texts]

async def use(url, **options):
    for number, function in enumerate([embed, embed_blocking]):
        index = {"dims": 2, "embed": function, "fields": ["text"]}
        async with statekeep.aconnect(url, index=index, check=True, **options) as keep:
            await use_checkpoints(keep.checkpoints, number)
            assert (await keep.now()).tzinfo
            if keep.has_items:
                await use_items(keep.items, number)
                await use_cache(keep)
            async with statekeep.aconnect("memory:") as other:
                await statekeep.acopy(keep, other)

async def use_checkpoints(checkpoints, number):
    create = getattr(checkpoints.backend, "acreate_thread", None)
    thread = await create() if create else "t"
    await checkpoints.put(Checkpoint(thread_id=thread, checkpoint_id=str(number)))
    await checkpoints.put_writes(thread, str(number), [
        PendingWrite(task_id="t", idx=0, channel="c", payload=Payload(encoding="json", data=b"1"))
    ])
    assert (await checkpoints.get(thread)).pending_writes
    assert [saved async for saved in checkpoints.list(thread)]
    assert [found async for found in checkpoints.list_threads()]
    await checkpoints.delete_thread(thread)

async def use_items(items, number):
    await items.put(("a",), "k", {"text": "tea", "n": number})
    assert await items.get(("a",), "k")
    assert await items.search(("a",))
    assert await items.search(("a",), query="tea") is not None
    await items.delete(("a",), "k")
    try:
        await items.append(("a",), [1])
        await items.pop(("a",))
    except statekeep.Unsupported:
        pass

async def use_cache(keep):
    try:
        cache = keep.cache
    except statekeep.Unsupported:
        return
    await cache.set({((), "k"): Payload(encoding="json", data=b"1")})
    assert await cache.get([((), "k")])
    await cache.clear()

    @statekeep.cached(cache, namespace=("f",))
    async def add(x: int) -> int:
        return x + 1

    assert [await add(1), await add(1)] == [2, 2]

async def use_langgraph(url, **options):
    from langgraph.checkpoint.base import empty_checkpoint
    import statekeep.langgraph_shim as shim

    async with shim.AsyncValkeySaver.from_conn_string(url, **options) as saver:
        config = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        config = await saver.aput(config, empty_checkpoint(), {}, {})
        await saver.aput_writes(config, [("channel", 1)], "task")
        assert (await saver.aget_tuple(config)).pending_writes
        assert [found async for found in saver.alist(config)]
        await saver.adelete_thread("t")
    async with shim.AsyncValkeyStore.from_conn_string(url, **options) as store:
        await store.aput(("a",), "k", {"v": 1})
        assert await store.aget(("a",), "k")
        assert await store.asearch(("a",))
    cache = shim.ValkeyCache.from_conn_string(url, **options)
    await cache.aset({(("a",), "k"): (1, 60)})
    assert await cache.aget([(("a",), "k")])
    await cache.aclose()

async def made_by_glide(port):
    return await glide.GlideClient.create(glide.GlideClientConfiguration([glide.NodeAddress("127.0.0.1", port)]))

async def made_by_valkey_py(port):
    return valkey.asyncio.Valkey(port=port)

async def use_client(client):
    from statekeep.repositories.valkey import ValkeyItems, client_for
    items = statekeep.AsyncItemRepository(ValkeyItems(client_for(client)))
    await items.put(("a",), "k", 1)
    assert await items.get(("a",), "k")
    await (client.aclose() if hasattr(client, "aclose") else client.close())

async def main():
    with blockbuster_ctx():
        BODY

asyncio.run(main())
print("fine")
"""


def run(*body: str, before: str = "", directory: Path | None = None) -> None:
    program = f"{before}\n{PROGRAM}".replace("BODY", "\n        ".join(body))
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=100, check=False, cwd=directory
    )
    assert (ended.returncode, ended.stdout) == (0, "fine\n"), ended.stderr


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_valkey(client: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster) -> None:
    url = valkey_server.url
    run(
        f"await use({url!r}, client={client!r}, prefix={client!r})",
        f"await use({valkey_cluster.url!r}, client={client!r}, prefix={client!r})",
        f"await use_langgraph({url!r}, client={client!r})",
    )


def test_clients_that_you_made(valkey_server: ValkeyServer) -> None:
    """To import their drivers blocks; that is done before."""
    run(
        f"await use_client(await made_by_glide({valkey_server.port}))",
        f"await use_client(await made_by_valkey_py({valkey_server.port}))",
        before="import glide, valkey.asyncio",
    )


def test_savers_stores_and_caches_that_are_touched_first_in_an_event_loop(valkey_server: ValkeyServer) -> None:
    run(f"await use_langgraph({valkey_server.url!r})")


def test_sentinels() -> None:
    with ValkeySentinels() as watched:
        run(f"await use({watched.url!r})")


def test_embedded(tmp_path: Path) -> None:
    run("await use('embedded:')", "await use('embedded:here')", directory=tmp_path)


def test_aws_and_memory() -> None:
    with AwsEmulator() as aws:
        options = f"aws_access_key_id='a', aws_secret_access_key='b', endpoint_url={aws.endpoint_url!r}"
        run(
            f"await use('agentcore://{aws.memory_id}?region=us-east-1', {options})",
            f"await use('bedrock-sessions://?region=us-east-1', {options})",
            "await use('memory:')",
        )
