"""Servers that are dead, slow, restarting, full, in the wrong role, or that refuse us."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import glide
import glide_sync
import pytest
import valkey
import valkey.asyncio

from statekeep.domain import AccessDenied, InvalidInput, QuotaExceeded, StatekeepError, Unavailable
from statekeep.repositories.valkey.client.factory import Client, client_for, client_from_pool, client_from_url
from statekeep.repositories.valkey.client.valkey_py import base as valkey_py
from statekeep.repositories.valkey.requests import Ask, Call, Commands, Reply, Request, Scan, Script
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

pytestmark = pytest.mark.anyio

WRITE = Script("write", "#!lua\nredis.call('SET', KEYS[1], ARGV[1])\nreturn ARGV[1]")
HASH_READ = Script("hash_read", "#!lua\nreturn redis.call('HGET', KEYS[1], 'a')")
CALL = Call(WRITE, ["the-key"], ["x"])
READ = Commands([["GET", "the-key"]])
ASK = Ask(["PING"], near="the-key")

URLS = ["url glide", "url valkey-py", "async url glide", "async url valkey-py"]
KINDS = [*URLS, "glide_sync", "valkey", "async glide", "async valkey"]

DEADLINE = 0.25

RECONNECTED = 60.0
"""Seconds until which a client has connected again, however busy the machine is."""


class Asker:
    def __init__(self, client: Client, blocking: bool) -> None:
        self.client = client
        self.blocking = blocking

    async def __call__(self, request: Request) -> Reply:
        if self.blocking:
            return self.client.execute(request)
        return await self.client.aexecute(request)

    async def fails(self, request: Request, error: type[StatekeepError], seconds: float) -> StatekeepError:
        began = time.monotonic()
        with pytest.raises(error) as caught:
            await self(request)
        assert time.monotonic() - began < seconds
        assert caught.value.__cause__ is not None
        return caught.value


@asynccontextmanager
async def asker(
    kind: str, url: str, deadline: float = DEADLINE, connect_timeout: float = 0.5, **settings: Any
) -> AsyncIterator[Asker]:
    awaiting = kind.startswith("async ")
    name = kind.removeprefix("async ")
    if name.startswith("url "):
        driver: Any = name.removeprefix("url ")
        client = client_from_url(url, client=driver, deadline=deadline, connect_timeout=connect_timeout, **settings)
        try:
            yield Asker(client, not awaiting)
        finally:
            await client.aclose()
        return
    port = int(url.rpartition(":")[2])
    given: Any
    if name.startswith("glide"):
        package: Any = glide if awaiting else glide_sync
        # Without request_timeout: the client's own default is 250 milliseconds.
        given = package.GlideClient.create(package.GlideClientConfiguration([package.NodeAddress("127.0.0.1", port)]))
        given = await given if awaiting else given
    elif awaiting:
        given = valkey.asyncio.Valkey(port=port, socket_timeout=0.3)
    else:
        given = valkey.Valkey(port=port, socket_timeout=0.3)
    try:
        yield Asker(client_for(given, deadline=deadline), not awaiting)
    finally:
        ended = given.aclose() if awaiting else given.close()
        if awaiting:
            await ended


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
async def test_dead_and_back_again(kind: str, server: ValkeyServer) -> None:
    async with asker(kind, server.url) as ask:
        assert await ask(CALL) == b"x"
        server.kill()
        try:
            for request in (CALL, READ, ASK, Scan("*")):
                error = await ask.fails(request, Unavailable, DEADLINE + 3)
                assert f"127.0.0.1:{server.port}" in str(error) or f"localhost:{server.port}" in str(error)
                assert "seconds" in str(error)
        finally:
            server.restart()
        await back(ask)


async def back(ask: Asker) -> None:
    """The next call works, once glide has reconnected.

    That is after a pause of its own, which is the longer, up to seconds, the more often it has tried.
    """
    end = time.monotonic() + RECONNECTED
    for request in (CALL, READ, ASK, Scan("*")):
        while True:
            try:
                await ask(request)
                break
            except Unavailable:
                if time.monotonic() > end:
                    raise
    assert await ask(CALL) == b"x"
    assert await ask(READ) == [b"x"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_is_bridged(kind: str, server: ValkeyServer) -> None:
    async with asker(kind, server.url, deadline=10) as ask:
        await ask(CALL)
        server.restart()  # a connection that was idle breaks
        assert await ask(READ) == [None]
        server.kill()
        timer = threading.Timer(0.3, server.restart)
        timer.start()
        try:
            assert await ask(CALL) == b"x"
            assert await ask(READ) == [b"x"]
        finally:
            timer.join()


@pytest.mark.parametrize("kind", KINDS)
async def test_slow_and_quick_again(kind: str, server: ValkeyServer) -> None:
    async with asker(kind, server.url) as ask:
        await ask(CALL)
        server.pause()
        try:
            await ask.fails(CALL, Unavailable, DEADLINE + 2)
            await ask.fails(READ, Unavailable, DEADLINE + 2)
        finally:
            server.resume()
        await back(ask)


async def test_a_client_without_timeout_does_not_hang(server: ValkeyServer) -> None:
    own = valkey.asyncio.Valkey(port=server.port, socket_timeout=None)
    driver = valkey_py.Async(own, patience=0.3)
    await driver.perform(CALL)
    server.pause()
    try:
        for request in (CALL, READ, ASK, Scan("*")):
            with pytest.raises(TimeoutError):
                await driver.perform(request)
    finally:
        server.resume()
    assert await driver.perform(CALL) == b"x"
    await own.aclose()


@pytest.mark.parametrize("kind", URLS)
async def test_no_server_at_all(kind: str) -> None:
    async with asker(kind, "valkey://127.0.0.1:1") as ask:
        error = await ask.fails(CALL, Unavailable, DEADLINE + 3)
        assert "127.0.0.1:1" in str(error)
        assert error.key == "the-key"
    async with asker(kind, "valkey+cluster://127.0.0.1:1,127.0.0.1:2") as ask:
        error = await ask.fails(CALL, Unavailable, DEADLINE + 6)
        assert "127.0.0.1:1,127.0.0.1:2" in str(error)


@pytest.mark.parametrize("kind", URLS)
async def test_deadline_0_is_one_attempt(kind: str, server: ValkeyServer) -> None:
    async with asker(kind, server.url, deadline=0) as ask:
        await ask(CALL)
        with server.client() as raw:
            raw.execute_command("REPLICAOF", "127.0.0.1", "1")
            try:
                raw.execute_command("CONFIG", "RESETSTAT")
                await ask.fails(CALL, Unavailable, 1)
                calls = raw.info("commandstats")["cmdstat_evalsha"]
            finally:
                raw.execute_command("REPLICAOF", "NO", "ONE")
        assert calls["calls"] + calls["rejected_calls"] == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_a_replica_and_then_a_primary(kind: str, server: ValkeyServer) -> None:
    async with asker(kind, server.url) as ask:
        await ask(CALL)
        with server.client() as raw:
            raw.execute_command("REPLICAOF", "127.0.0.1", "1")
            try:
                error = await ask.fails(CALL, Unavailable, DEADLINE + 2)
                assert "replica" in str(error)
                await ask.fails(Commands([["SET", "the-key", "x"]]), Unavailable, DEADLINE + 2)
            finally:
                raw.execute_command("REPLICAOF", "NO", "ONE")
        assert await ask(CALL) == b"x"


@pytest.mark.parametrize("kind", KINDS)
async def test_out_of_memory(kind: str, server: ValkeyServer) -> None:
    async with asker(kind, server.url, deadline=30) as ask:
        await ask(CALL)
        with server.client() as raw:
            raw.config_set("maxmemory", "1")
            try:
                await ask.fails(CALL, QuotaExceeded, 2)
                error = await ask.fails(Commands([["GET", "a"], ["SET", "b", "x"]]), QuotaExceeded, 2)
                assert error.key == "b"
            finally:
                raw.config_set("maxmemory", "0")
        assert await ask(CALL) == b"x"


@pytest.mark.parametrize("kind", KINDS)
async def test_a_busy_server(kind: str, server: ValkeyServer) -> None:
    loop_forever = "local i = 0 while true do i = i + 1 end"
    async with asker(kind, server.url) as ask:
        await ask(CALL)
        with server.client() as raw, server.client() as other:
            raw.config_set("busy-reply-threshold", "50")

            def run() -> None:
                with pytest.raises(valkey.ResponseError):
                    other.eval(loop_forever, 0)

            thread = threading.Thread(target=run)
            thread.start()
            try:
                await asyncio.sleep(0.1)
                await ask.fails(CALL, Unavailable, DEADLINE + 2)
                await ask.fails(READ, Unavailable, DEADLINE + 2)
            finally:
                raw.script_kill()
                thread.join()
        await back(ask)


@pytest.mark.parametrize("kind", URLS)
@pytest.mark.parametrize("who", ["", "ada:wr0ng@", ":wr0ng@"])
async def test_wrong_credentials(kind: str, who: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ValkeyServer(requirepass="s3cret") as server:
        url = f"valkey://{who}127.0.0.1:{server.port}"
        async with asker(kind, url, deadline=30) as ask:
            for request in (CALL, READ, ASK, Scan("*")):
                error = await ask.fails(request, AccessDenied, 3)
                shown = f"{error!r} {error} {error.__cause__!r} {ask.client!r} {caplog.text}"
                assert "wr0ng" not in shown
                assert "s3cret" not in shown
        async with asker(kind, server.url) as ask:
            assert await ask(CALL) == b"x"
            assert "s3cret" not in f"{ask.client!r} {caplog.text}"


@pytest.mark.parametrize("kind", URLS)
async def test_a_user_with_too_few_permissions(kind: str, server: ValkeyServer) -> None:
    with server.client() as raw:
        raw.execute_command("ACL", "SETUSER", "ada", "on", ">pass word/@", "~mine", "+@all")
    url = f"valkey://ada:pass%20word%2F%40@127.0.0.1:{server.port}"
    async with asker(kind, url, deadline=30) as ask:
        assert await ask(Call(WRITE, ["mine"], ["x"])) == b"x"
        assert (await ask.fails(CALL, AccessDenied, 2)).key == "the-key"
        error = await ask.fails(Commands([["GET", "mine"], ["GET", "theirs"]]), AccessDenied, 2)
        assert error.key == "theirs"
        undeclared = Script("undeclared", "#!lua\nreturn redis.call('SET', 'theirs', 'x')")
        await ask.fails(Call(undeclared, ["mine"], []), AccessDenied, 2)


@pytest.mark.parametrize("rule", ["-client|setname", "-cluster|slots"])
@pytest.mark.parametrize("kind", URLS)
async def test_a_user_who_may_not_connect_to_a_cluster(
    kind: str, rule: str, valkey_cluster: ValkeyCluster, prefix: str
) -> None:
    url = f"valkey+cluster://{prefix}:pw@127.0.0.1:{valkey_cluster.ports[0]}"
    nodes = [node.client() for node in valkey_cluster.nodes.values()]
    for node in nodes:
        node.execute_command("ACL", "SETUSER", prefix, "on", ">pw", "~*", "+@all", rule)
    async with asker(kind, url, deadline=30, connect_timeout=2) as ask:
        for request in (CALL, READ, ASK, Scan("*")):
            await ask.fails(request, AccessDenied, 5)
    for node in nodes:
        node.execute_command("ACL", "DELUSER", prefix)
        node.close()


async def test_a_user_who_may_not_set_the_clients_name(server: ValkeyServer) -> None:
    with server.client() as raw:
        raw.execute_command("ACL", "SETUSER", "eve", "on", ">pw", "~*", "+@all", "-client|setname")
    drivers: list[Any] = ["glide", "valkey-py"]
    for driver in drivers:
        client = client_from_url(f"valkey://eve:pw@127.0.0.1:{server.port}", client=driver, deadline=30)
        await Asker(client, False).fails(CALL, AccessDenied, 5)
        await client.aclose()


@pytest.mark.parametrize("driver", ["valkey-py"])
async def test_a_cluster_client_of_a_single_server_gets_advice(driver: Any, server: ValkeyServer) -> None:
    client = client_from_url(server.url.replace("://", "+cluster://"), client=driver, deadline=30)
    for blocking in (True, False):
        error = await Asker(client, blocking).fails(CALL, InvalidInput, 5)
        assert "without +cluster" in str(error)
    await client.aclose()


@pytest.mark.parametrize("kind", URLS)
async def test_a_database_that_does_not_exist(kind: str, server: ValkeyServer) -> None:
    async with asker(kind, f"{server.url}/999", connect_timeout=2) as ask:
        await ask.fails(CALL, InvalidInput, 4)


@pytest.mark.parametrize("blocking", [True, False])
async def test_a_pool_that_others_exhaust(blocking: bool, server: ValkeyServer) -> None:
    pool: Any
    if blocking:
        make: Any = valkey.ConnectionPool
        pool = make(port=server.port, max_connections=1)
        taken = pool.get_connection("PING")
    else:
        pool = valkey.asyncio.ConnectionPool(port=server.port, max_connections=1)
        taken = await pool.get_connection("PING")
    ask = Asker(client_from_pool(pool, deadline=1.5), blocking)

    async def give_back() -> None:
        await asyncio.sleep(0.2)
        await pool.release(taken)

    if blocking:
        timer = threading.Timer(0.2, pool.release, [taken])
        timer.start()
        assert await ask(CALL) == b"x"
        timer.join()
        pool.disconnect()
        return
    task = asyncio.create_task(give_back())
    assert await ask(CALL) == b"x"
    await task
    await pool.disconnect()


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
async def test_a_slow_server_does_not_block_the_event_loop(driver: Any, server: ValkeyServer) -> None:
    client = client_from_url(server.url, client=driver, deadline=0.5)
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - began)

    server.pause()
    watcher = asyncio.create_task(watch())
    await asyncio.sleep(0.02)
    try:
        with pytest.raises(Unavailable):
            await client.aexecute(CALL)  # has to connect first
        await asyncio.sleep(0.05)  # for the watcher to look at the clock after a loop that was blocked to the end
    finally:
        server.resume()
        watcher.cancel()
    assert 0 < longest < 0.4  # this machine may be busy
    await client.aclose()


@pytest.mark.parametrize("kind", URLS)
async def test_a_cluster_that_was_gone_as_a_whole(kind: str, valkey_cluster: ValkeyCluster, prefix: str) -> None:
    # Requests to every node fail, so that valkey-py forgets them all; this needs a cluster without replicas.
    async with asker(kind, valkey_cluster.url, deadline=20, request_timeout=0.3) as ask:
        keys = [f"{prefix}:{number}" for number in range(12)]
        await ask(Commands([["HSET", key, "a", "b"] for key in keys]))
        for node in valkey_cluster.nodes.values():
            node.pause()
        try:
            reads = [Call(HASH_READ, [key], []) for key in keys]
            if ask.blocking:
                asking = [asyncio.create_task(asyncio.to_thread(ask.client.execute, read)) for read in reads]
            else:
                asking = [asyncio.create_task(ask(read)) for read in reads]
            await asyncio.sleep(1)
            assert not any(task.done() for task in asking)
        finally:
            for node in valkey_cluster.nodes.values():
                node.resume()
        assert await asyncio.gather(*asking) == [b"b"] * 12
        assert sorted(await ask(Scan(f"{prefix}:*"))) == sorted(key.encode() for key in keys)
        await asyncio.to_thread(valkey_cluster._until, valkey_cluster._healthy)


@pytest.mark.parametrize("dies", [True, False])
@pytest.mark.parametrize("kind", URLS)
@pytest.mark.slow
async def test_a_cluster_that_fails_over(kind: str, dies: bool, cluster: ValkeyCluster) -> None:
    # The URL names only the node that is lost.
    url = f"valkey+cluster://127.0.0.1:{cluster.primary_of('the-key')}"
    async with asker(kind, url, deadline=20, request_timeout=1) as ask:
        keys = [f"key-{number}" for number in range(30)]
        write = Commands([["SET", key, "x"] for key in keys])
        await ask(write)
        primary = cluster.primary_of("the-key")
        if dies:
            cluster.kill(primary)
        else:
            cluster.nodes[primary].pause()
        try:
            # The deadline is longer than the cluster takes to promote the replica.
            assert await ask(CALL) == b"x"
            assert await ask(write) == [b"OK"] * 30
            assert await ask(Commands([["GET", "the-key"], *(["GET", key] for key in keys)])) == [b"x"] * 31
        finally:
            if dies:
                cluster.nodes[primary].restart()
            else:
                cluster.nodes[primary].resume()
        await asyncio.to_thread(cluster._until, lambda: cluster.role(primary) == "slave")
        await asyncio.to_thread(cluster._until, cluster._healthy)


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster(primaries=3, replicas=1, node_timeout=500) as cluster:
        yield cluster
