"""Event loops that a task blocks, and processes that are frozen, for longer than any limit. The server is fine."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import glide
import pytest
import valkey.asyncio
import valkey.asyncio.cluster

from statekeep.repositories.valkey.client.factory import Client, client_for, client_from_url
from statekeep.repositories.valkey.client.valkey_py import factory
from statekeep.repositories.valkey.requests import Ask, Call, Commands, Reply, Script
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.anyio

ECHO = Script("echo", "#!lua\nreturn ARGV[1]")

KINDS = ["url glide", "url valkey-py", "glide", "valkey"]
LIMITS: Any = {"deadline": 0.3, "request_timeout": 0.3, "connect_timeout": 0.3}
LONG = 2.0
"""Seconds; more than all limits together."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


@asynccontextmanager
async def opened(kind: str, server: ValkeyServer | ValkeyCluster) -> AsyncIterator[Client]:
    is_cluster = isinstance(server, ValkeyCluster)
    if kind.startswith("url "):
        driver: Any = kind.removeprefix("url ")
        client = client_from_url(server.url, client=driver, pool_size=2, **LIMITS)
        yield client
        await client.aclose()
        return
    port = int(server.url.rpartition(":")[2])
    given: Any
    if kind == "glide":
        nodes = [glide.NodeAddress("127.0.0.1", port)]
        if is_cluster:
            given = await glide.GlideClusterClient.create(glide.GlideClusterClientConfiguration(nodes))
        else:
            given = await glide.GlideClient.create(glide.GlideClientConfiguration(nodes))
    elif is_cluster:
        given = valkey.asyncio.cluster.ValkeyCluster(host="127.0.0.1", port=port, socket_timeout=0.3)
    else:
        given = valkey.asyncio.Valkey(port=port, socket_timeout=0.3)
    yield client_for(given, deadline=LIMITS["deadline"])
    await (given.close() if kind == "glide" else given.aclose())


@pytest.mark.parametrize("shape", ["server", "cluster"])
@pytest.mark.parametrize("kind", KINDS)
async def test_a_blocked_loop(
    kind: str,
    shape: str,
    valkey_server: ValkeyServer,
    cluster: ValkeyCluster,
    prefix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of requests under way, those that connect, and those that wait for their turn, none fails."""
    monkeypatch.setattr(factory, "SHORTEST_PATIENCE", 0.3)  # seconds for clients without limits of their own

    async def ask(number: int) -> Reply:
        key = f"{prefix}:{number}"
        if number % 3 == 0:
            return await client.aexecute(Call(ECHO, [key], [str(number)]))
        if number % 3 == 1:
            return (await client.aexecute(Commands([["ECHO", str(number)] if shape == "server" else ["GET", key]])))[0]
        return await client.aexecute(Ask(["ECHO", str(number)], near=key))

    def answer(number: int) -> bytes | None:
        return None if number % 3 == 1 and shape == "cluster" else str(number).encode()

    async with opened(kind, valkey_server if shape == "server" else cluster) as client:
        for _ in range(2):  # at first it has to connect
            asking = [asyncio.ensure_future(ask(number)) for number in range(400)]
            await asyncio.sleep(0.001)
            time.sleep(LONG)  # noqa: ASYNC251  what is to be survived
            assert await asyncio.gather(*asking) == [answer(number) for number in range(400)]


FROZEN = """
import asyncio, sys
from concurrent.futures import ThreadPoolExecutor
from statekeep.repositories.valkey import client_from_url
from statekeep.repositories.valkey.requests import Call, Script

url, driver, face = sys.argv[1:]
client = client_from_url(url, client=driver, pool_size=1, deadline=0.3, request_timeout=0.3, connect_timeout=0.3)
request = Call(Script("return", "#!lua\\nreturn ARGV[1]"), ["k"], ["x"])

def stop():
    print("ready", flush=True)
    assert sys.stdin.readline() == "go on\\n"
    print("asking", flush=True)

async def main():
    assert await client.aexecute(request) == b"x"
    stop()
    print(await client.aexecute(request), flush=True)
    await client.aclose()

if face == "async":
    asyncio.run(main())
else:
    assert client.execute(request) == b"x"
    stop()
    with ThreadPoolExecutor(4) as threads:
        # With face "threads", all but one wait for the only connection.
        for answer in list(threads.map(client.execute, [request] * (4 if face == "threads" else 1)))[:1]:
            print(answer, flush=True)
    client.close()
"""


@pytest.mark.parametrize("face", ["sync", "async", "threads"])
@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_a_frozen_process(driver: str, face: str) -> None:
    """It is stopped while it waits for an answer, as a laptop or a Lambda function is, and its connection breaks."""
    with ValkeyServer() as server:
        command = [sys.executable, "-c", FROZEN, server.url, driver, face]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin
            assert process.stdout
            try:
                assert process.stdout.readline() == "ready\n"
                server.pause()
                process.stdin.write("go on\n")
                process.stdin.flush()
                assert process.stdout.readline() == "asking\n"
                time.sleep(0.1)
                os.kill(process.pid, signal.SIGSTOP)
                server.kill()
                server.restart()
                time.sleep(4)  # more than all limits together, and what glide may take to reconnect
                os.kill(process.pid, signal.SIGCONT)
                assert process.stdout.readline() == "b'x'\n"
                assert process.wait(20) == 0
            finally:
                process.kill()
