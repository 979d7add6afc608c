"""Many requests under way on a connection of valkey-py's asyncio client."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import subprocess
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import valkey
import valkey.asyncio
from valkey.exceptions import ConnectionError, InvalidResponse, ResponseError, TimeoutError

from statekeep.repositories.valkey.client.factory import client_from_url
from statekeep.repositories.valkey.client.valkey_py.pipelined import DEPTH, Connections
from statekeep.repositories.valkey.requests import Call, Commands, Script
from statekeep.testing.servers import ValkeyServer

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("error:unclosed Connection:ResourceWarning")]

ECHO = Script("echo", "#!lua\nreturn {KEYS[1], ARGV[1]}")


@asynccontextmanager
async def opened(port: int, name: str, most: int = 4, patience: float = 5.0) -> AsyncIterator[Connections]:
    connections = Connections(lambda: valkey.asyncio.Connection(port=port, client_name=name), most, patience)
    try:
        yield connections
    finally:
        await connections.close()
        gc.collect()  # a connection that was not closed complains


def count(server: ValkeyServer, name: str) -> int:
    with server.client() as raw:
        return sum(client["name"] == name for client in raw.client_list())


def blocked(server: ValkeyServer) -> int:
    with server.client() as raw:
        info: Any = raw.info("clients")
    found: int = info["blocked_clients"]
    return found


def push(server: ValkeyServer, key: str, value: str) -> None:
    with server.client() as raw:
        raw.rpush(key, value)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110  only the server knows
            await asyncio.sleep(0.01)


async def test_everybody_gets_the_own_answer(valkey_server: ValkeyServer, prefix: str) -> None:
    """Of several commands too, errors among them, in any size, while others are cancelled."""
    dice = random.Random(7)

    async def one(number: int) -> None:
        await asyncio.sleep(dice.random() / 50)
        big = "x" * dice.choice([0, 10, 1000, 200_000])
        key = f"{prefix}:{number}"
        asking = asyncio.ensure_future(connections.ask([["SET", key, f"{number}{big}"], ["LPOP", key], ["GET", key]]))
        if number % 5 == 0:
            await asyncio.sleep(dice.random() / 200)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            return
        done, refused, got = await asking
        assert done == b"OK"
        assert isinstance(refused, ResponseError)
        assert got == f"{number}{big}".encode()

    async with opened(valkey_server.port, prefix) as connections:
        await asyncio.gather(*map(one, range(300)))


async def test_few_connections_serve_many_and_more_are_opened_under_load(
    valkey_server: ValkeyServer, prefix: str
) -> None:
    async with opened(valkey_server.port, prefix, most=2) as connections:
        for _ in range(3):
            await asyncio.gather(*(connections.ask([["PING"]]) for _ in range(DEPTH)))
        assert count(valkey_server, prefix) == 1
        for _ in range(3):
            await asyncio.gather(*(connections.ask([["PING"]]) for _ in range(10 * DEPTH)))
        await until(lambda: count(valkey_server, prefix) == 2)
        await asyncio.gather(*(connections.ask([["PING"]]) for _ in range(10 * DEPTH)))
        assert count(valkey_server, prefix) == 2
    await until(lambda: count(valkey_server, prefix) == 0)


async def test_what_takes_long_holds_up_nobody_who_may_have_another_connection(
    valkey_server: ValkeyServer, prefix: str
) -> None:
    async with opened(valkey_server.port, prefix, most=2) as connections:
        await connections.ask([["PING"]])
        long = asyncio.ensure_future(connections.ask_alone([["BLPOP", f"{prefix}:list", "0"]]))
        await until(lambda: blocked(valkey_server) == 1)
        for _ in range(2):
            # At once, so that the connection that is free has more under way than the occupied one.
            assert await asyncio.gather(*(connections.ask([["PING"]]) for _ in range(10))) == [[b"PONG"]] * 10
        other = asyncio.ensure_future(connections.ask_alone([["BLPOP", f"{prefix}:list", "0"]]))
        await until(lambda: blocked(valkey_server) == 2)
        # Both are occupied now, and this waits behind one of them.
        behind = asyncio.ensure_future(connections.ask([["PING"]]))
        push(valkey_server, f"{prefix}:list", "a")
        assert await long == [[f"{prefix}:list".encode(), b"a"]]
        for _ in range(2 * DEPTH):
            assert await connections.ask([["PING"]]) == [b"PONG"]
        assert not other.done()
        push(valkey_server, f"{prefix}:list", "b")
        assert await other == [[f"{prefix}:list".encode(), b"b"]]
        assert await behind == [b"PONG"]
        assert count(valkey_server, prefix) == 2


async def test_a_server_that_hangs_fails_all_who_wait(valkey_server: ValkeyServer, prefix: str) -> None:
    with ValkeyServer() as server:
        async with opened(server.port, prefix, patience=0.3) as connections:
            await connections.ask([["PING"]])
            server.pause()
            try:
                replies = await asyncio.gather(
                    *(connections.ask([["PING"]]) for _ in range(20)), return_exceptions=True
                )
            finally:
                server.resume()
            assert {type(reply) for reply in replies} == {TimeoutError}
            assert len(set(map(id, replies))) == 20  # each has a traceback of its own
            assert await connections.ask([["PING"]]) == [b"PONG"]


async def test_a_server_that_goes_on_answering_is_waited_for(valkey_server: ValkeyServer, prefix: str) -> None:
    async with opened(valkey_server.port, prefix, most=1, patience=0.4) as connections:
        replies = await asyncio.gather(*(connections.ask([["BLPOP", f"{prefix}:list", "0.15"]]) for _ in range(6)))
    assert replies == [[None]] * 6


@pytest.mark.parametrize("kind", ["NORMAL", "after an idle time"])
async def test_a_connection_that_breaks(kind: str, valkey_server: ValkeyServer, prefix: str) -> None:
    async with opened(valkey_server.port, prefix, most=1) as connections:
        asking = []
        await connections.ask([["PING"]])
        if kind == "NORMAL":
            asking = [asyncio.ensure_future(connections.ask([["BLPOP", f"{prefix}:list", "0"]])) for _ in range(3)]
            await until(lambda: blocked(valkey_server) == 1)
        with valkey_server.client() as raw:
            [client] = [client for client in raw.client_list() if client["name"] == prefix]
            raw.client_kill_filter(_id=client["id"])
        for outcome in await asyncio.gather(*asking, return_exceptions=True):
            assert isinstance(outcome, ConnectionError)
            assert "closed the connection" in str(outcome)
        await asyncio.sleep(0.05)
        assert await connections.ask([["PING"]]) == [b"PONG"]


async def test_a_client_bridges_broken_connections(valkey_server: ValkeyServer, prefix: str) -> None:
    client = client_from_url(valkey_server.url, client="valkey-py", client_name=prefix)

    async def one(number: int) -> None:
        for turn in range(30):
            reply = await client.aexecute(Call(ECHO, [f"{prefix}:{number}"], [str(turn)]))
            assert reply == [f"{prefix}:{number}".encode(), str(turn).encode()]

    async def kill() -> None:
        for _ in range(10):
            await asyncio.sleep(0.005)
            with valkey_server.client() as raw:
                for entry in raw.client_list():
                    if entry["name"] == prefix:
                        raw.client_kill_filter(_id=entry["id"])

    await asyncio.gather(kill(), *map(one, range(100)))
    await client.aclose()


async def test_closing_ends_what_is_under_way(valkey_server: ValkeyServer, prefix: str) -> None:
    """With an error: those who wait were not cancelled."""
    async with opened(valkey_server.port, prefix) as connections:
        await connections.ask([["PING"]])
        waiting = asyncio.ensure_future(connections.ask_alone([["BLPOP", f"{prefix}:list", "0"]]))
        await until(lambda: blocked(valkey_server) == 1)
        opening = asyncio.ensure_future(connections.ask_alone([["PING"]]))
        await asyncio.sleep(0)
        await connections.close()
        for asking in (waiting, opening, connections.ask([["PING"]])):
            with pytest.raises(ConnectionError, match="closed here"):
                await asking
    await until(lambda: count(valkey_server, prefix) == 0)


async def test_closing_ends_what_is_connecting(prefix: str) -> None:
    arrived, left = asyncio.Event(), asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.set()
        while await reader.read(1 << 16):
            pass  # a server that hangs before its first answer
        left.set()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, opened(server.sockets[0].getsockname()[1], prefix) as connections:
        asking = asyncio.ensure_future(connections.ask([["PING"]]))
        await arrived.wait()
        await connections.close()
        with pytest.raises(ConnectionError, match="closed here"):
            await asking
        gc.collect()
        await asyncio.wait_for(left.wait(), 5)


async def test_connecting_fails_for_all_who_wait(prefix: str) -> None:
    with ValkeyServer() as server:
        port = server.port
    async with opened(port, prefix) as connections:
        replies = await asyncio.gather(*(connections.ask([["PING"]]) for _ in range(20)), return_exceptions=True)
    assert {type(reply) for reply in replies} == {ConnectionError}


@pytest.mark.parametrize(
    ("answer", "error"), [(b"?what\r\n", InvalidResponse), (b"+PONG\r\n+PONG\r\n", None)], ids=["garbage", "too much"]
)
async def test_a_peer_that_talks_nonsense(answer: bytes, error: type[Exception] | None, prefix: str) -> None:
    peers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer)
        while data := await reader.read(1 << 16):
            writer.write(answer if data.endswith(b"PING\r\n") else b"+OK\r\n" * data.count(b"*"))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server, opened(server.sockets[0].getsockname()[1], prefix) as connections:
        if error is None:
            assert await connections.ask([["PING"]]) == [b"PONG"]
        else:
            with pytest.raises(error):
                await connections.ask([["PING"]])
        await asyncio.sleep(0.05)
        with suppress(InvalidResponse):
            await connections.ask([["PING"]])
        assert len(peers) == 2  # nothing more is read from the first connection


async def test_a_connection_keeps_no_context_alive(valkey_server: ValkeyServer, prefix: str) -> None:
    class Trace:
        pass

    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable")

    async def first() -> weakref.ref[Trace]:
        trace = Trace()
        variable.set(trace)
        await connections.ask([["PING"]])
        return weakref.ref(trace)

    async with opened(valkey_server.port, prefix) as connections:
        seen = await asyncio.create_task(first())
        await asyncio.sleep(0)  # the event loop itself knows the task until then
        gc.collect()
        assert seen() is None


async def test_no_request_at_all(valkey_server: ValkeyServer) -> None:
    client = client_from_url(valkey_server.url, client="valkey-py")
    assert await client.aexecute(Commands([])) == []
    await client.aclose()


def test_without_libvalkey(valkey_server: ValkeyServer) -> None:
    """As on Windows, where nobody offers it."""
    program = """
import asyncio, sys
sys.modules["libvalkey"] = None
from statekeep.repositories.valkey import client_from_url
from statekeep.repositories.valkey.requests import Ask, Call, Commands, Scan, Script

async def main():
    client = client_from_url(sys.argv[1], client="valkey-py")
    echo = Script("echo", "#!lua\\nreturn ARGV[1]")
    assert await asyncio.gather(*(client.aexecute(Call(echo, [], [str(n)])) for n in range(50))) == [
        str(n).encode() for n in range(50)
    ]
    assert await client.aexecute(Commands([["GET", "nothing"]])) == [None]
    assert await client.aexecute(Ask(["PING"])) == b"PONG"
    assert await client.aexecute(Scan("nothing*")) == []
    await client.aclose()

asyncio.run(main())
print("fine")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program, valkey_server.url], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "fine\n", "")
