"""Every client library, for one server and for a cluster, made by the user and made from a URL."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import glide
import glide_sync
import pytest
import valkey
import valkey.asyncio
import valkey.asyncio.cluster

from statekeep.domain import ClientClosed, CorruptRecord, InvalidInput, StatekeepError, Unavailable, WrongEventLoop
from statekeep.repositories.valkey.client.factory import Client, client_for, client_from_pool, client_from_url
from statekeep.repositories.valkey.requests import Call, Commands, Reply, Request, Scan, Script
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .search_responder import SearchResponder

pytestmark = pytest.mark.anyio

ECHO = Script("echo", "#!lua\nreturn {KEYS[1], ARGV[1], 7, false, {'a', {'b'}}}")
STATUS = Script("status", "#!lua\nreturn redis.call('SET', KEYS[1], ARGV[1])")
READ = Script("read", "#!lua\nreturn redis.call('HGETALL', KEYS[1])")
RETURN = Script("return", "#!lua\nreturn ARGV[1]")

BINARY = b"\xff\x00\r\n$-1"

SYNC = ["glide_sync", "valkey", "url glide", "url valkey-py", "valkey decoding", "valkey resp3", "valkey both"]
ASYNC = [f"async {kind}" for kind in ("glide", *SYNC[1:])]
OPTIONS: dict[str, dict[str, Any]] = {
    "valkey": {},
    "valkey decoding": {"decode_responses": True},
    "valkey resp3": {"protocol": 3},
    "valkey both": {"decode_responses": True, "protocol": 3},
}


class Asker:
    """Asks a client the way its kind is used: blocking or awaiting."""

    def __init__(self, client: Client, blocking: bool) -> None:
        self.client = client
        self.blocking = blocking

    async def __call__(self, request: Request) -> Reply:
        if self.blocking:
            return self.client.execute(request)
        return await self.client.aexecute(request)


def addresses(server: ValkeyServer | ValkeyCluster | SearchResponder) -> list[int]:
    return server.ports if isinstance(server, ValkeyCluster) else [server.port]


@asynccontextmanager
async def asker(kind: str, server: ValkeyServer | ValkeyCluster | SearchResponder) -> AsyncIterator[Asker]:
    """Make a client of a kind, and prove at the end that the user's own client still works."""
    awaiting = kind.startswith("async ")
    name = kind.removeprefix("async ")
    cluster = isinstance(server, ValkeyCluster)
    port = addresses(server)[0]
    if name.startswith("url "):
        client = client_from_url(server.url, client=name.removeprefix("url "))  # type: ignore[arg-type]
        try:
            yield Asker(client, not awaiting)
        finally:
            await client.aclose()
        return
    given: Any
    if name.startswith("glide"):
        package: Any = glide if awaiting else glide_sync
        configuration: Any = (package.GlideClusterClientConfiguration if cluster else package.GlideClientConfiguration)(
            [package.NodeAddress("127.0.0.1", port)], request_timeout=2000
        )
        given = (package.GlideClusterClient if cluster else package.GlideClient).create(configuration)
        given = await given if awaiting else given
    elif awaiting:
        given = (valkey.asyncio.cluster.ValkeyCluster if cluster else valkey.asyncio.Valkey)(
            host="127.0.0.1", port=port, **OPTIONS[name]
        )
    else:
        given = (valkey.ValkeyCluster if cluster else valkey.Valkey)(host="127.0.0.1", port=port, **OPTIONS[name])
    client = client_for(given)
    try:
        yield Asker(client, not awaiting)
        await client.aclose()
        client.close()
        answer = given.set("still-open", "yes")
        assert str(await answer if awaiting else answer) in ("True", "OK")
    finally:
        ended = given.aclose() if awaiting else given.close()
        if awaiting:
            await ended


@pytest.fixture(params=["standalone", "cluster"])
def server(request: pytest.FixtureRequest) -> ValkeyServer | ValkeyCluster:
    name = "valkey_server" if request.param == "standalone" else "valkey_cluster"
    found: ValkeyServer | ValkeyCluster = request.getfixturevalue(name)
    return found


@pytest.mark.parametrize("kind", SYNC + ASYNC)
async def test_requests_and_raw_replies(kind: str, server: ValkeyServer | ValkeyCluster, prefix: str) -> None:
    async with asker(kind, server) as ask:
        assert ask.client.cluster is isinstance(server, ValkeyCluster)

        call = await ask(Call(ECHO, [f"{prefix}:{{k}}"], [BINARY]))
        assert call == [f"{prefix}:{{k}}".encode(), BINARY, 7, None, [b"a", [b"b"]]]
        assert await ask(Call(STATUS, [f"{prefix}:status"], ["täxt"])) == b"OK"
        assert await ask(Call(RETURN, [f"{prefix}:x"], [""])) == b""

        keys = [f"{prefix}:hash:{number}" for number in range(20)]
        replies = await ask(Commands([["HSET", key, "a", BINARY, b"\xfe", "2"] for key in keys]))
        assert replies == [2] * 20
        replies = await ask(
            Commands(
                [
                    ["HGETALL", keys[0]],
                    ["HMGET", keys[1], "a", "none"],
                    ["EXPIRE", keys[2], "100"],
                    ["EXISTS", f"{prefix}:none"],
                    ["GET", f"{prefix}:none"],
                    ["SET", f"{prefix}:text", BINARY],
                    ["ZADD", f"{prefix}:z", "1.5", "a", "2", "b"],
                    ["ZRANGE", f"{prefix}:z", "0", "-1", "WITHSCORES"],
                    ["ZSCORE", f"{prefix}:z", "a"],
                    ["ZRANGE", f"{prefix}:z", "[b", "[b", "BYLEX"],
                    ["HGETALL", f"{prefix}:none"],
                    ["UNLINK", keys[19]],
                    ["SMEMBERS", f"{prefix}:none"],
                    [b"TYPE", keys[3].encode()],
                ]
            )
        )
        flat = [flatten(reply) for reply in replies]
        assert flat == [
            [b"a", BINARY, b"\xfe", b"2"],
            [BINARY, None],
            [1],
            [0],
            [None],
            [b"OK"],
            [2],
            [b"a", b"1.5", b"b", b"2"],
            [b"1.5"],
            [b"b"],
            [],
            [1],
            [],
            [b"hash"],
        ]
        assert await ask(Call(READ, [keys[0]], [])) == [b"a", BINARY, b"\xfe", b"2"]
        assert await ask(Commands([])) == []

        found = await ask(Scan(f"{prefix}:hash:*"))
        assert sorted(found) == sorted(key.encode() for key in keys[:19])
        assert await ask(Scan(f"{prefix}:text*")) == []


def flatten(reply: Reply) -> list[Any]:
    """RESP3 nests the pairs of ZRANGE WITHSCORES."""
    if not isinstance(reply, list):
        return [reply]
    return [leaf for item in reply for leaf in flatten(item)]


@pytest.mark.parametrize("kind", SYNC + ASYNC)
async def test_wrong_type_names_the_key(kind: str, server: ValkeyServer | ValkeyCluster, prefix: str) -> None:
    async with asker(kind, server) as ask:
        key = f"{prefix}:text"
        await ask(Call(STATUS, [key], ["x"]))
        with pytest.raises(CorruptRecord) as caught:
            await ask(Call(READ, [key], []))
        assert caught.value.key == key
        assert caught.value.__cause__ is not None
        with pytest.raises(CorruptRecord) as caught:
            await ask(Commands([["HGETALL", f"{prefix}:none"], ["HGETALL", key], ["HGETALL", f"{prefix}:no"]]))
        assert caught.value.key == key
        assert caught.value.__cause__ is not None
        assert await ask(Commands([["GET", key]])) == [b"x"]


@pytest.mark.parametrize("kind", SYNC + ASYNC)
async def test_scripts_are_loaded_again(kind: str, server: ValkeyServer | ValkeyCluster, prefix: str) -> None:
    async with asker(kind, server) as ask:
        request = Call(Script("fresh", f"#!lua\nreturn '{uuid.uuid4()}'"), [f"{prefix}:k"], [])
        first = await ask(request)
        nodes = [server] if isinstance(server, ValkeyServer) else server.nodes.values()
        for node in nodes:
            with node.client() as raw:
                raw.execute_command("SCRIPT", "FLUSH")
        assert await ask(request) == first


@pytest.mark.parametrize("kind", ["url glide", "url valkey-py", "async url glide", "async url valkey-py"])
async def test_an_error_of_a_script_is_clear(kind: str, valkey_server: ValkeyServer, prefix: str) -> None:
    async with asker(kind, valkey_server) as ask:
        for request in (
            Call(Script("bad", "#!lua\nerror('nonsense')"), [f"{prefix}:k"], []),
            Commands([["NONSENSE", f"{prefix}:k"]]),
        ):
            with pytest.raises(StatekeepError) as caught:
                await ask(request)
            assert caught.value.__cause__ is not None
            assert not isinstance(caught.value, Unavailable)


@pytest.mark.parametrize("kind", ["url glide", "url valkey-py", "async url glide", "async url valkey-py"])
async def test_one_round_trip(kind: str, prefix: str) -> None:
    with ValkeyServer() as server, Proxy(server.port) as proxy:
        client = client_from_url(f"valkey://127.0.0.1:{proxy.port}", client=kind.split()[-1])  # type: ignore[arg-type]
        ask = Asker(client, not kind.startswith("async"))
        call = Call(ECHO, [f"{prefix}:k"], ["x"])
        commands = Commands([["HSET", f"{prefix}:{number}", "a", "b"] for number in range(50)])
        await ask(call)
        await ask(commands)
        for request in (call, commands):
            before = proxy.turns
            await ask(request)
            assert proxy.turns == before + 1
        await client.aclose()


class Proxy:
    """Counts how often the direction turns from answers to requests: the round trips of a client."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.turns = 0
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream, downstream = await asyncio.open_connection("127.0.0.1", self._target)
        state = {"asking": False}

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, asking: bool) -> None:
            try:
                while data := await source.read(65536):
                    if asking and not state["asking"]:
                        self.turns += 1
                    state["asking"] = asking
                    sink.write(data)
                    await sink.drain()
            finally:
                sink.close()

        await asyncio.gather(pump(reader, downstream, True), pump(upstream, writer, False), return_exceptions=True)


def connections(server: ValkeyServer, name: str) -> int:
    with server.client() as raw:
        return sum(client["name"] == name for client in raw.client_list())


def highest(server: ValkeyServer, name: str, work: Callable[[], None]) -> int:
    """Do some work and return the most connections of that name that there were meanwhile."""
    seen = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            seen[0] = max(seen[0], connections(server, name))
            time.sleep(0.005)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return seen[0]


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_64_threads_share_10_connections(driver: Any, valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_from_url(valkey_server.url, client=driver, pool_size=10, client_name=prefix)

    def work() -> None:
        with ThreadPoolExecutor(64) as threads:
            for number, reply in enumerate(threads.map(one, range(640))):
                assert reply[1] == str(number).encode()

    def one(number: int) -> Reply:
        return client.execute(Call(ECHO, [f"{prefix}:{number}"], [str(number)]))

    assert 0 < highest(valkey_server, prefix, work) <= 10
    client.close()


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
@pytest.mark.parametrize("count", [200, 1500])
def test_tasks_share_10_connections(driver: Any, count: int, valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_from_url(valkey_server.url, client=driver, pool_size=10, client_name=prefix)

    async def one(number: int) -> Reply:
        reply = await client.aexecute(Commands([["SET", f"{prefix}:{number}", str(number)]]))
        assert reply == [b"OK"]
        return await client.aexecute(Commands([["GET", f"{prefix}:{number}"]]))

    async def main() -> None:
        replies = await asyncio.gather(*(one(number) for number in range(count)))
        assert replies == [[str(number).encode()] for number in range(count)]
        assert await asyncio.to_thread(connections, valkey_server, prefix) > 0
        await client.aclose()

    assert highest(valkey_server, prefix, lambda: asyncio.run(main())) <= 10


@pytest.mark.parametrize("blocking", [True, False])
def test_a_small_pool_of_the_user_is_enough(blocking: bool, valkey_server: ValkeyServer, prefix: str) -> None:
    settings: dict[str, Any] = {"port": valkey_server.port, "max_connections": 3, "client_name": prefix}

    async def tasks(pool: Any) -> None:
        client = client_from_pool(pool)
        requests = [Call(ECHO, [f"{prefix}:{number}"], [str(number)]) for number in range(100)]
        replies = await asyncio.gather(*map(client.aexecute, requests))
        assert [reply[1] for reply in replies] == [str(number).encode() for number in range(100)]
        await client.aclose()

    async def asynchronous() -> None:
        pool = valkey.asyncio.ConnectionPool(**settings)
        await tasks(pool)
        own = valkey.asyncio.Valkey(connection_pool=pool)
        assert await own.ping()
        await pool.disconnect()

    def synchronous() -> None:
        make: Any = valkey.ConnectionPool
        pool = make(**settings)
        asyncio.run(tasks(pool))
        assert valkey.Valkey(connection_pool=pool).ping()
        pool.disconnect()

    assert 0 < highest(valkey_server, prefix, synchronous if blocking else lambda: asyncio.run(asynchronous())) <= 3


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_two_event_loops_at_once(driver: Any, valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_from_url(valkey_server.url, client=driver)
    both = threading.Barrier(2)

    async def main(name: str) -> None:
        for number in range(100):
            reply = await client.aexecute(Call(ECHO, [f"{prefix}:{name}"], [str(number)]))
            assert reply[1] == str(number).encode()
            if number == 10:
                # The first loop is blocked and the second has to get along without it.
                await asyncio.to_thread(both.wait, 10)

    with ThreadPoolExecutor(2) as threads:
        for future in [threads.submit(asyncio.run, main(name)) for name in "ab"]:
            future.result(30)
    client.close()


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_a_second_loop_outlives_and_ignores_the_first(driver: Any, valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_from_url(valkey_server.url, client=driver)
    request = Call(ECHO, [f"{prefix}:k"], ["x"])
    first = asyncio.new_event_loop()
    first.run_until_complete(client.aexecute(request))

    async def second() -> None:
        for _ in range(20):
            assert (await asyncio.wait_for(client.aexecute(request), 5))[1] == b"x"
        first.run_in_executor(None, int).cancel()
        first.call_soon(first.stop)
        await asyncio.to_thread(end_first)
        for _ in range(20):
            assert (await asyncio.wait_for(client.aexecute(request), 5))[1] == b"x"

    def end_first() -> None:
        first.run_forever()
        first.run_until_complete(first.shutdown_asyncgens())
        first.run_until_complete(first.shutdown_default_executor())
        first.close()

    asyncio.run(second())
    client.close()


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_one_loop_after_another_leaves_no_connection(driver: Any, valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_from_url(valkey_server.url, client=driver, client_name=prefix)

    async def main() -> None:
        assert (await client.aexecute(Call(ECHO, [f"{prefix}:k"], ["x"])))[1] == b"x"

    for _ in range(5):
        asyncio.run(main())
    gc.collect()
    wait_until(lambda: connections(valkey_server, prefix) == 0)
    client.execute(Call(ECHO, [f"{prefix}:k"], ["x"]))
    assert connections(valkey_server, prefix) == 1
    client.close()
    wait_until(lambda: connections(valkey_server, prefix) == 0)


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def run(program: str, *arguments: object) -> None:
    """Run a program that forks in a process of its own: a fork of the test process would copy its threads' locks."""
    common = """
import asyncio, gc, os, signal, socket, sys, threading, time
import valkey
from statekeep.domain import Unavailable
from statekeep.repositories.valkey import client_for, client_from_url
from statekeep.repositories.valkey.requests import Call, Commands, Script

RETURN = Script("return", "#!lua\\nreturn ARGV[1]")

def fork():
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # what hangs is a failure
    return child

def call(text):
    return Call(RETURN, ["k"], [text])
"""
    command = [sys.executable, "-W", "ignore:This process:DeprecationWarning", "-c", common + program]
    command += map(str, arguments)
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "fine\n", "")


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_fork(driver: Any, valkey_server: ValkeyServer) -> None:
    program = """
client = client_from_url(sys.argv[1], client=sys.argv[2])

async def ask(text):
    return await client.aexecute(call(text))

loop = asyncio.new_event_loop()
assert client.execute(call("a")) == b"a"
assert loop.run_until_complete(ask("b")) == b"b"
assert asyncio.run(ask("b")) == b"b"  # with glide, worker threads serve the second loop
time.sleep(0.1)
children = []
for number in range(3):
    child = fork()
    if child == 0:
        mine = str(number)
        for _ in range(20):
            assert client.execute(call(mine)) == mine.encode()
        new = asyncio.new_event_loop()
        assert new.run_until_complete(ask(mine)) == mine.encode()
        assert asyncio.run(ask(mine)) == mine.encode()
        client.close()
        os._exit(0)
    children.append(child)
for _ in range(20):
    assert client.execute(call("c")) == b"c"
    assert loop.run_until_complete(ask("d")) == b"d"
for child in children:
    assert os.waitpid(child, 0)[1] == 0
assert client.execute(call("e")) == b"e"
assert loop.run_until_complete(ask("f")) == b"f"
client.close()
loop.run_until_complete(loop.shutdown_asyncgens())
loop.close()
print("fine")
"""
    run(program, valkey_server.url, driver)


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_fork_in_an_event_loop(driver: Any, valkey_server: ValkeyServer) -> None:
    program = """
client = client_from_url(sys.argv[1], client=sys.argv[2])

async def main():
    assert await client.aexecute(call("a")) == b"a"
    child = fork()
    if child == 0:
        began = time.monotonic()
        assert client.execute(call("b")) == b"b"
        client.close()  # does not wait for a loop that runs only in the parent
        late = time.monotonic() - began > 1
        gc.collect()  # would take connections out of the loop that the parent runs
        os._exit(late)
    for _ in range(20):
        assert await client.aexecute(call("c")) == b"c"
    assert os.waitpid(child, 0)[1] == 0
    assert await asyncio.wait_for(client.aexecute(call("d")), 5) == b"d"
    await client.aclose()

asyncio.run(main())
print("fine")
"""
    run(program, valkey_server.url, driver)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files of a process")
def test_loops_that_threads_serve_are_freed(valkey_server: ValkeyServer) -> None:
    program = """
client = client_from_url(sys.argv[1], client="glide")

def ask_in_a_new_loop():
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(client.aexecute(call("a"))) == b"a"
    return loop

def files():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

first, second = ask_in_a_new_loop(), ask_in_a_new_loop()  # threads serve all but the first
before = files()
for _ in range(20):
    ask_in_a_new_loop()
for _ in range(100):  # the threads end when they are told to, and no sooner
    if files() <= before:
        break
    time.sleep(0.1)
assert files() <= before, (before, files())
for loop in (second, first):
    assert loop.run_until_complete(client.aexecute(call("b"))) == b"b"
client.close()
first.run_until_complete(first.shutdown_asyncgens())
for loop in (second, first):
    loop.close()
print("fine")
"""
    run(program, valkey_server.url)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts the open files of a process")
@pytest.mark.parametrize("shape", ["server", "cluster"])
def test_loops_that_nobody_closes_are_freed(
    shape: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    """Nor those that were closed without finishing what was begun in them."""
    program = """
client = client_from_url(sys.argv[1], client="valkey-py")

def ask_in_a_new_loop():
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(client.aexecute(call("a"))) == b"a"
    return loop

def files():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))

kept = ask_in_a_new_loop()
before = files()
for number in range(20):
    loop = ask_in_a_new_loop()
    if number % 2:
        loop.close()
del loop
assert files() <= before, (before, files())
gc.collect()
assert kept.run_until_complete(client.aexecute(call("b"))) == b"b"
assert files() <= before  # over the connection of before
client.close()
kept.run_until_complete(kept.shutdown_asyncgens())
assert files() < before
kept.close()
print("fine")
"""
    run(program, (valkey_server if shape == "server" else valkey_cluster).url)


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_clients_that_nobody_closes(driver: Any, valkey_server: ValkeyServer) -> None:
    program = """
url, driver = sys.argv[1:]
port = int(url.rpartition(":")[2])

def connections():
    with valkey.Valkey(port=port) as raw:
        return sum(each["name"] == "lost" for each in raw.client_list())

async def lose():
    client = client_from_url(url, client=driver, client_name="lost")
    for number in range(20):
        # In a cycle, so that everything is collected at once, in no order.
        client.itself = client
        assert await client.aexecute(call("a")) == b"a"
        assert client.execute(call("b")) == b"b"
        client = client_from_url(url, client=driver, client_name="lost")

async def main():
    await lose()
    assert connections() > 0
    deadline = time.monotonic() + 30
    while connections():
        assert time.monotonic() < deadline
        gc.collect()
        await asyncio.sleep(0.01)
    last = client_from_url(url, client=driver)
    assert await last.aexecute(call("c")) == b"c"
    # A child collects what it inherited and leaves the parent's connection alone.
    await lose()
    child = fork()
    if child == 0:
        gc.collect()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert await last.aexecute(call("d")) == b"d"

asyncio.run(main())
kept = client_from_url(url, client=driver)
loop = asyncio.new_event_loop()
assert kept.execute(call("e")) == b"e"
assert loop.run_until_complete(kept.aexecute(call("f"))) == b"f"
print("fine")
"""
    run(program, valkey_server.url, driver)


def test_fork_while_other_threads_are_at_work(valkey_server: ValkeyServer, prefix: str) -> None:
    program = """
def ask_in_a_child(client):
    child = fork()
    if child == 0:
        assert client.execute(call("a")) == b"a"
        assert asyncio.run(client.aexecute(call("b"))) == b"b"
        os._exit(0)
    return child

url, prefix = sys.argv[1:]
port = int(url.rpartition(":")[2])
made = client_for(valkey.Valkey(port=port, max_connections=1), deadline=1)
opened = client_from_url(url, client="valkey-py", pool_size=1, deadline=1)
for client in (made, opened):
    # One worker thread, one connection: both are lost in the child, and the connection is in use.
    assert asyncio.run(client.aexecute(call("a"))) == b"a"
    busy = threading.Thread(target=client.execute, args=[Commands([["BLPOP", prefix, "0.8"]])])
    busy.start()
    time.sleep(0.3)
    child = ask_in_a_child(client)
    busy.join()
    assert os.waitpid(child, 0)[1] == 0
    assert client.execute(call("c")) == b"c"

# A server that does not answer: the thread waits for it with the client's lock in its hands.
def fails():
    try:
        connecting.execute(call("a"))
    except Unavailable:
        return
    raise AssertionError

with socket.create_server(("127.0.0.1", 0)) as silent:
    url = f"valkey+cluster://127.0.0.1:{silent.getsockname()[1]}?client=valkey-py&deadline=0.5"
    connecting = client_from_url(url)
    thread = threading.Thread(target=fails)
    thread.start()
    time.sleep(0.2)
    child = fork()
    if child == 0:
        fails()
        os._exit(0)
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
print("fine")
"""
    run(program, valkey_server.url, prefix)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts the threads of a process")
@pytest.mark.parametrize("shape", ["server", "cluster"])
def test_a_child_has_nothing_of_its_parents_clients(
    shape: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    """By itself glide makes them anew in native code, whose locks a thread of the parent may hold."""
    program = """
clients = [client_from_url(sys.argv[1], client="glide") for _ in range(3)]
for client in clients:
    assert client.execute(call("a")) == b"a"
clients.pop().close()
child = fork()
if child == 0:
    assert len(os.listdir("/proc/self/task")) == 1
    assert clients[0].execute(call("b")) == b"b"
    gc.collect()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
for client in clients:
    assert client.execute(call("c")) == b"c"
    client.close()
print("fine")
"""
    run(program, (valkey_server if shape == "server" else valkey_cluster).url)


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_drivers_are_imported_with_the_client(driver: Any, valkey_server: ValkeyServer) -> None:
    """A child of a fork waits for ever for a module that a thread of its parent was importing."""
    program = """
url, driver = sys.argv[1:]
client = client_from_url(url, client=driver)
names = {"glide": ("glide", "glide_sync"), "valkey-py": ("libvalkey", "valkey.asyncio.cluster")}[driver]
assert all(name in sys.modules for name in names)
before = set(sys.modules)
assert client.execute(call("a")) == b"a"
assert asyncio.run(client.aexecute(call("b"))) == b"b"
client.close()
new = {name for name in set(sys.modules) - before if name.startswith(("glide", "statekeep", "valkey"))}
assert not new, new
print("fine")
"""
    run(program, valkey_server.url, driver)


@pytest.mark.parametrize("kind", ["async glide", "async valkey"])
async def test_an_asyncio_client_serves_other_threads(kind: str, valkey_server: ValkeyServer, prefix: str) -> None:
    request = Call(ECHO, [f"{prefix}:k"], ["x"])
    async with asker(kind, valkey_server) as ask:
        assert (await ask(request))[1] == b"x"
        assert (await asyncio.to_thread(ask.client.execute, request))[1] == b"x"
        with pytest.raises(WrongEventLoop, match="use the async methods"):
            ask.client.execute(request)
        with pytest.raises(WrongEventLoop, match="another event loop"):
            await asyncio.to_thread(asyncio.run, ask.client.aexecute(request))
        assert (await ask(request))[1] == b"x"


def test_an_asyncio_client_without_its_loop(valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_for(valkey.asyncio.Valkey(port=valkey_server.port))
    with pytest.raises(WrongEventLoop, match="not running"):
        client.execute(Call(ECHO, [f"{prefix}:k"], ["x"]))


@pytest.mark.parametrize("kind", ["async url glide", "async url valkey-py", "async glide", "async valkey"])
@pytest.mark.parametrize("topology", ["standalone", "cluster"])
async def test_cancellation_leaves_the_client_usable(
    kind: str, topology: str, request: pytest.FixtureRequest, prefix: str
) -> None:
    server: Any = request.getfixturevalue("valkey_server" if topology == "standalone" else "valkey_cluster")
    async with asker(kind, server) as ask:
        keys = [f"{prefix}:{number}" for number in range(10)]
        await ask(Commands([["SET", key, key] for key in keys]))
        for round_ in range(30):
            tasks: list[asyncio.Task[Any]] = []
            for key in keys:
                both: list[Request] = [Commands([["GET", key], ["GET", keys[0]]]), Call(ECHO, [key], [key])]
                tasks.extend(asyncio.ensure_future(ask(question)) for question in both)
            await asyncio.sleep(0.0005 * (round_ % 6))
            for task in tasks[::2] if round_ % 2 else tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=10)
            for task in tasks:
                assert task.done()
                assert task.cancelled() or task.exception() is None
        replies = await asyncio.gather(*(ask(Commands([["GET", key]])) for key in keys))
        assert replies == [[key.encode()] for key in keys]
        replies = await asyncio.gather(*(ask(Call(ECHO, [key], [key])) for key in keys))
        assert [reply[1] for reply in replies] == [key.encode() for key in keys]


async def test_cancelled_cluster_pipelines_lose_no_connection(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    own = valkey.asyncio.cluster.ValkeyCluster(host="127.0.0.1", port=valkey_cluster.ports[0], max_connections=3)
    client = client_for(own, deadline=2)
    key = f"{prefix}:{{k}}"
    await client.aexecute(Commands([["SET", key, "x"]]))
    for _ in range(3):
        task = asyncio.ensure_future(client.aexecute(Commands([["SET", key, "x"], ["BLPOP", f"{key}:none", "0.3"]])))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
    replies = await asyncio.gather(*(client.aexecute(Commands([["SET", key, "y"], ["GET", key]])) for _ in range(3)))
    assert replies == [[b"OK", b"y"]] * 3
    await own.aclose()


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
async def test_after_close_the_error_says_so(driver: Any, valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_from_url(valkey_server.url, client=driver, client_name=prefix)
    request = Call(ECHO, [f"{prefix}:k"], ["x"])
    client.execute(request)
    await client.aexecute(request)
    await client.aclose()
    await client.aclose()
    client.close()
    wait_until(lambda: connections(valkey_server, prefix) == 0)
    with pytest.raises(ClientClosed, match="closed"):
        client.execute(request)
    with pytest.raises(ClientClosed, match="closed"):
        await client.aexecute(request)


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
async def test_sync_close_in_the_loop_closes_all(driver: Any, valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_from_url(valkey_server.url, client=driver, client_name=prefix)
    await client.aexecute(Call(ECHO, [f"{prefix}:k"], ["x"]))
    client.close()
    for _ in range(100):
        if connections(valkey_server, prefix) == 0:
            break
        await asyncio.sleep(0.01)
    assert connections(valkey_server, prefix) == 0


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
def test_sync_close_at_the_end_of_the_loop_closes_all(
    driver: Any, server: ValkeyServer | ValkeyCluster, prefix: str
) -> None:
    # As `with ValkeySaver.from_conn_string(...)` in a coroutine does. A connection that is left open warns when it is
    # collected, which is an error here.
    async def main() -> None:
        client = client_from_url(server.url, client=driver, client_name=prefix)
        for _ in range(3):
            await client.aexecute(Call(ECHO, [f"{prefix}:k"], ["x"]))
        client.execute(Call(ECHO, [f"{prefix}:k"], ["x"]))
        client.close()

    asyncio.run(main())
    nodes = [server] if isinstance(server, ValkeyServer) else list(server.nodes.values())
    wait_until(lambda: not any(connections(node, prefix) for node in nodes))
    gc.collect()


async def test_worker_threads_see_the_context(valkey_server: ValkeyServer, prefix: str) -> None:
    who = contextvars.ContextVar("who", default="nobody")
    seen: list[str] = []

    class Spy(valkey.Valkey):
        def execute_command(self, *args: Any, **options: Any) -> Any:
            seen.append(who.get())
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]

    who.set("me")
    with Spy(port=valkey_server.port) as own:
        client = client_for(own)
        await client.aexecute(Call(ECHO, [f"{prefix}:k"], ["x"]))
        await client.aclose()
    assert set(seen) == {"me"}


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
@pytest.mark.parametrize("name", [None, "my-app"])
async def test_connections_are_named(driver: Any, name: str | None, prefix: str) -> None:
    with ValkeyServer() as server:
        client = client_from_url(server.url, client=driver, client_name=name)
        client.execute(Call(ECHO, [f"{prefix}:k"], ["x"]))
        await client.aexecute(Call(ECHO, [f"{prefix}:k"], ["x"]))
        with server.client() as raw:
            mine = [entry for entry in raw.client_list() if "statekeep" in entry["lib-name"]]
        assert [entry["name"] for entry in mine] == [name or "statekeep"] * 2
        await client.aclose()


@pytest.mark.parametrize("is_cluster", [False, True])
async def test_keepalive(
    is_cluster: bool, prefix: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    options: Any = {"socket_keepalive": True, "socket_keepalive_options": {socket.TCP_KEEPIDLE: 77}}
    asked: list[tuple[Any, ...]] = []

    class Watched(socket.socket):
        def setsockopt(self, *args: Any) -> None:
            asked.append(args)
            super().setsockopt(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "socket", Watched)
        server = valkey_cluster if is_cluster else valkey_server
        client = client_from_url(server.url, client="valkey-py", **options)
        for ask in (lambda: client.execute(Call(ECHO, [f"{prefix}:k"], ["x"])), None):
            asked.clear()
            assert ask() if ask else await client.aexecute(Call(ECHO, [f"{prefix}:k"], ["x"]))
            assert (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1) in asked
            assert (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77) in asked
        await client.aclose()


@pytest.mark.parametrize("driver", ["glide", "valkey-py"])
async def test_databases_and_unix_sockets(driver: Any, prefix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("s") / "v.sock"
    with ValkeyServer(unixsocket=str(path)) as server:
        for url in (f"unix://{path}?db=3", f"valkey+unix://{path}?db=3", f"{server.url}/3", f"{server.url}?db=3"):
            client = client_from_url(url, client=driver)
            key = f"{prefix}:{uuid.uuid4()}"
            assert client.execute(Commands([["SET", key, "x"]])) == [b"OK"]
            assert await client.aexecute(Commands([["GET", key]])) == [b"x"]
            await client.aclose()
            with server.client(db=3) as raw:
                assert raw.get(key) == b"x"


async def test_a_standalone_client_in_a_cluster_gets_advice(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    url = valkey_cluster.url.replace("+cluster", "")
    requests = [Call(STATUS, [f"{prefix}:{number}"], ["x"]) for number in range(30)]
    drivers: list[Any] = ["glide", "valkey-py"]
    for driver in drivers:
        client = client_from_url(url, client=driver)
        with pytest.raises(InvalidInput, match=r"valkey\+cluster://"):
            for request in requests:
                client.execute(request)
        with pytest.raises(InvalidInput, match=r"valkey\+cluster://"):
            for request in requests:
                await client.aexecute(request)
        await client.aclose()


async def test_keys_in_different_slots_are_refused(valkey_cluster: ValkeyCluster, prefix: str) -> None:
    request = Call(ECHO, [f"{prefix}:{number}" for number in range(30)], ["x"])
    for kind in ("url glide", "url valkey-py", "async url glide", "async url valkey-py"):
        async with asker(kind, valkey_cluster) as ask:
            with pytest.raises(StatekeepError, match="slot") as caught:
                await ask(request)
            assert not isinstance(caught.value, Unavailable)


@pytest.mark.parametrize("wrong", [None, "valkey://localhost", object(), {"host": "x"}])
def test_what_is_no_client_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidInput, match=r"glide\.GlideClient") as caught:
        client_for(wrong)
    assert caught.value.field == "client"
    with pytest.raises(InvalidInput) as caught:
        client_from_pool(wrong)
    assert caught.value.field == "pool"


def test_a_client_passes_through_and_a_pipeline_does_not(valkey_server: ValkeyServer) -> None:
    with valkey_server.client() as raw:
        client = client_for(raw)
        assert client_for(client) is client
        with pytest.raises(InvalidInput, match="Pipeline"):
            client_for(raw.pipeline())
        for bad in (-1, float("nan"), True, "10"):
            with pytest.raises(InvalidInput) as caught:
                client_for(raw, deadline=bad)  # type: ignore[arg-type]
            assert caught.value.field == "deadline"


def test_repr_shows_no_password(valkey_server: ValkeyServer) -> None:
    own: Any = valkey.Valkey(port=valkey_server.port, password="s3cret")
    other = valkey.asyncio.Valkey(port=valkey_server.port, password="s3cret")
    for client in (client_for(own), client_for(other), client_from_url("valkey://u:s3cret@localhost")):
        assert "s3cret" not in repr(client)
        assert "localhost" in repr(client)


def test_nothing_is_printed(valkey_server: ValkeyServer, prefix: str) -> None:
    program = f"""
import asyncio
from statekeep.repositories.valkey import client_from_url
from statekeep.repositories.valkey.requests import Call, Commands, Script

client = client_from_url({valkey_server.url!r}, client="glide")
call = Call(Script("fresh", "#!lua\\nreturn '{uuid.uuid4()}'"), [{prefix!r}], [])

async def main():
    await client.aexecute(Commands([["SCRIPT", "FLUSH"]]))
    await client.aexecute(call)

client.execute(call)
asyncio.run(main())
client.close()
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert (ended.stdout, ended.stderr) == ("", "")
