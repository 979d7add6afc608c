"""An exception of a signal handler (Ctrl-C, the time limit of a task queue) comes in the midst of a request."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import libvalkey
import pytest
import valkey
import valkey.asyncio
import valkey.cluster

from statekeep.repositories.valkey.client.factory import Client, client_for, client_from_url
from statekeep.repositories.valkey.client.valkey_py import factory
from statekeep.repositories.valkey.client.valkey_py.cluster import SyncCluster
from statekeep.repositories.valkey.requests import Ask, Call, Commands, Request, Scan, Script
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from ...interruption import strike, strike_everywhere

# What an interrupted frame held is closed when the exception is forgotten.
pytestmark = [
    pytest.mark.filterwarnings("ignore:[Uu]nclosed:ResourceWarning"),
    pytest.mark.filterwarnings("ignore:coroutine .* was never awaited:RuntimeWarning"),
    # In a finalizer of another client, which happens to run meanwhile.
    pytest.mark.filterwarnings("ignore:Exception ignored in.*__del__:pytest.PytestUnraisableExceptionWarning"),
]

BLOCKING = ("statekeep", "site-packages/valkey")
# Also where the event loop has read data and passes it on, or writes. What else it loses by an interrupt is beyond us.
AWAITING = (*BLOCKING, *(f"selector_events.py:_SelectorSocketTransport.{name}" for name in ("_read_ready", "write")))
RECEIVING = ("selector_events.py:_SelectorSocketTransport._read_ready", "pipelined.py:Connection.data_received")


class Interrupt(BaseException):
    """Comes from a signal handler."""


class Limit(Exception):
    """Comes from a signal handler that thinks of no better class."""


class Wait:
    """Requests of Alice, whose answer takes some time, and of others. Their keys are in one slot."""

    def __init__(self, prefix: str) -> None:
        self.put = Commands([["SET", f"{{{prefix}}}{name}", name] for name in ("bob", "carol")])
        self.alice = Ask(["BLPOP", f"{{{prefix}}}alice", "0.01"], prefix)
        self.bob = Commands([["GET", f"{{{prefix}}}bob"]])
        self.carol = Commands([["GET", f"{{{prefix}}}carol"]])


def count(server: ValkeyServer, name: str) -> int:
    with server.client() as raw:
        return sum(client["name"] == name for client in raw.client_list())


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.parametrize("error", [Interrupt, Limit])
def test_nobody_gets_the_answer_to_an_interrupted_request(
    valkey_server: ValkeyServer, prefix: str, error: type[BaseException]
) -> None:
    """And the only connection, and the only slot, are there for the next request."""
    wait = Wait(prefix)
    client = client_from_url(
        f"{valkey_server.url}?client=valkey-py", pool_size=1, pool_timeout=1, deadline=0, client_name=prefix
    )
    client.execute(wait.put)

    def check() -> None:
        assert client.execute(wait.bob) == [b"bob"]

    assert strike_everywhere(lambda: client.execute(wait.alice), check, error, *BLOCKING) > 50
    gc.collect()
    until(lambda: count(valkey_server, prefix) == 1)
    client.close()


@pytest.mark.parametrize("error", [Interrupt, Limit])
def test_what_was_half_connected_is_closed(prefix: str, error: type[BaseException]) -> None:
    """It has not logged in, or not chosen the database: what is written next would land elsewhere."""
    put = Commands([["SET", prefix, "x"]])
    with ValkeyServer(requirepass="secret") as server:
        clients: list[Client] = []

        def begin() -> None:
            clients.append(client_from_url(f"{server.url}/5?client=valkey-py", pool_size=1, deadline=0))
            clients[-1].execute(put)

        def check() -> None:
            client = clients.pop() if clients else client_from_url(f"{server.url}/5?client=valkey-py", deadline=0)
            assert client.execute(put) == [b"OK"]
            client.close()

        assert strike_everywhere(begin, check, error, *BLOCKING, stride=5) > 50
        check()
        with server.client(db=0) as elsewhere, server.client(db=5) as here:
            assert elsewhere.dbsize() == 0
            assert here.dbsize() == 1


@pytest.mark.parametrize("kind", ["url", "given"])
def test_a_cluster_is_usable_after_interrupts(
    valkey_cluster: ValkeyCluster, prefix: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of valkey-py, whose pools lose count when they are interrupted."""
    wait = Wait(prefix)
    host, port = "127.0.0.1", valkey_cluster.ports[0]
    given: Any = None
    if kind == "given":
        given = valkey.cluster.ValkeyCluster(host, port)
        client = client_for(given, deadline=0)
    else:
        client = client_from_url(
            f"{valkey_cluster.url}?client=valkey-py", pool_size=1, pool_timeout=1, deadline=0, client_name=prefix
        )
        # Another thread may ask before this is called.
        monkeypatch.setattr(SyncCluster, "_forsake", lambda self: None)
    client.execute(wait.put)

    def check() -> None:
        assert client.execute(wait.bob) == [b"bob"]

    assert strike_everywhere(lambda: client.execute(wait.alice), check, Interrupt, *BLOCKING, stride=5) > 20
    client.close()
    if given is not None:
        given.close()
        given.disconnect_connection_pools()


@pytest.mark.parametrize("make", [valkey.ConnectionPool, valkey.BlockingConnectionPool])
@pytest.mark.parametrize("single", [False, True])
def test_a_client_of_the_user_gives_nobody_the_answer_to_an_interrupted_request(
    valkey_server: ValkeyServer, prefix: str, make: Any, single: bool
) -> None:
    wait = Wait(prefix)
    pool = make(port=valkey_server.port, max_connections=500)
    with valkey.Valkey(connection_pool=pool, single_connection_client=single) as given:
        client = client_for(given, deadline=0)
        client.execute(wait.put)

        def check() -> None:
            assert client.execute(wait.bob) == [b"bob"]

        assert strike_everywhere(lambda: client.execute(wait.alice), check, Interrupt, *BLOCKING, stride=3) > 20
    pool.disconnect()


def test_an_interrupt_leaves_the_connections_alone_that_others_use(valkey_server: ValkeyServer, prefix: str) -> None:
    """Only what lies idle in the pool of a user's client is closed."""
    pool = valkey.BlockingConnectionPool(port=valkey_server.port, client_name=prefix)
    mine, others = pool.get_connection(""), pool.get_connection("")
    pool.release(mine)
    client = client_for(valkey.Valkey(connection_pool=pool), deadline=0)
    others.send_command("ECHO", "still here")
    assert strike(lambda: client.execute(Commands([["GET", prefix]])), Interrupt, 0, "packages/valkey/")
    assert others.read_response() == b"still here"
    until(lambda: count(valkey_server, prefix) == 1)
    pool.release(others)
    pool.disconnect()


@pytest.mark.parametrize("error", [KeyboardInterrupt, Limit])
@pytest.mark.parametrize("kind", ["url", "url receiving", "cluster", "given", "given cluster"])
def test_an_event_loop_that_goes_on_after_an_interrupt(
    valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str, kind: str, error: type[BaseException]
) -> None:
    """Some exceptions leave the loop, which runs again later; of others it makes the outcome of a task."""
    wait = Wait(prefix)
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)
    asked: list[tuple[asyncio.Task[Any], Any]] = []
    given: Any = None

    async def open_client() -> Client:
        nonlocal given
        options: dict[str, Any] = {"pool_size": 1, "deadline": 0, "request_timeout": 1, "client_name": prefix}
        if kind.startswith("url"):
            return client_from_url(f"{valkey_server.url}?client=valkey-py", **options)
        if kind == "cluster":
            return client_from_url(f"{valkey_cluster.url}?client=valkey-py", **options)
        if kind == "given":
            given = valkey.asyncio.Valkey(port=valkey_server.port)
        else:
            given = valkey.asyncio.cluster.ValkeyCluster("127.0.0.1", valkey_cluster.ports[0])
        return client_for(given, deadline=0)

    def ask_all() -> None:
        for request, answer in (wait.carol, [b"carol"]), (wait.alice, None), (wait.bob, [b"bob"]):
            asked.append((loop.create_task(client.aexecute(request)), answer))
        for task, _ in asked:
            # The exception may come to the loop, or the client may make another one of it.
            with suppress(Exception):
                loop.run_until_complete(task)

    def check() -> None:
        for _ in range(9):
            with suppress(KeyboardInterrupt):  # it may pass from one of the client's tasks to another
                loop.call_soon(loop.stop)  # the loop may still know that it was to stop
                loop.run_forever()
                return loop.run_until_complete(ask_again())
        raise AssertionError("the loop is interrupted for ever")

    async def ask_again() -> None:
        tasks = {task for task, _ in asked}
        async with asyncio.timeout(20):
            assert await client.aexecute(wait.bob) == [b"bob"]
            for task in tasks:
                if kind != "url receiving":  # there, nobody waits for ever
                    task.cancel()
            if tasks:
                await asyncio.wait(tasks)
        for task, answer in asked:
            if not task.cancelled() and task.exception() is None:
                assert task.result() == answer
        asked.clear()

    client = loop.run_until_complete(open_client())
    loop.run_until_complete(client.aexecute(wait.put))
    struck = strike_everywhere(
        ask_all,
        check,
        error,
        *(RECEIVING if kind == "url receiving" else AWAITING),
        stride=1 if kind == "url receiving" else 13,
    )
    assert struck > 10
    loop.run_until_complete(client.aclose())
    if given is not None:
        loop.run_until_complete(given.aclose())
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()


@pytest.mark.parametrize("kind", ["cluster", "given", "given single", "given blocking", "given cluster", "pooled"])
def test_an_exception_of_the_event_loop_is_not_raised_in_the_next_request(
    valkey_server: ValkeyServer,
    valkey_cluster: ValkeyCluster,
    prefix: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It strikes where the loop reads; asyncio keeps it with the connection, which lies idle."""
    wait = Wait(prefix)
    port = valkey_server.port

    async def main() -> None:
        given: Any = None
        if kind == "cluster":
            client = client_from_url(f"{valkey_cluster.url}?client=valkey-py", pool_size=1)
        elif kind == "pooled":
            monkeypatch.setattr(factory, "LIBVALKEY_AVAILABLE", False)
            client = client_from_url(f"{valkey_server.url}?client=valkey-py", pool_size=1, deadline=0)
        else:
            makers: dict[str, Callable[[], Any]] = {
                "given": lambda: valkey.asyncio.Valkey(port=port),
                "given single": lambda: valkey.asyncio.Valkey(port=port, single_connection_client=True),
                "given blocking": lambda: valkey.asyncio.Valkey.from_pool(
                    valkey.asyncio.BlockingConnectionPool(port=port)
                ),
                "given cluster": lambda: valkey.asyncio.cluster.ValkeyCluster("127.0.0.1", valkey_cluster.ports[0]),
            }
            given = makers[kind]()
            client = client_for(given, deadline=0)
        await client.aexecute(wait.put)
        loop = asyncio.get_running_loop()
        readers = [one for one in gc.get_objects() if type(one) is asyncio.StreamReader and vars(one)["_loop"] is loop]
        assert readers
        for reader in readers:
            reader.set_exception(Limit())
        assert await client.aexecute(wait.bob) == [b"bob"]
        await client.aclose()
        if given is not None:
            await given.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["url", "cluster", "given", "given blocking", "given cluster"])
def test_nobody_gets_the_answer_to_a_cancelled_request(
    valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str, kind: str
) -> None:
    """Cancelled after any number of turns of the event loop."""
    wait = Wait(prefix)

    async def main() -> None:
        given: Any = None
        if kind == "url":
            client = client_from_url(f"{valkey_server.url}?client=valkey-py", pool_size=1)
        elif kind == "cluster":
            client = client_from_url(f"{valkey_cluster.url}?client=valkey-py")
        else:
            if kind == "given cluster":
                given = valkey.asyncio.cluster.ValkeyCluster("127.0.0.1", valkey_cluster.ports[0])
            else:
                pools = {
                    "given": valkey.asyncio.ConnectionPool,
                    "given blocking": valkey.asyncio.BlockingConnectionPool,
                }
                given = valkey.asyncio.Valkey.from_pool(pools[kind](port=valkey_server.port))
            client = client_for(given)
        await client.aexecute(wait.put)
        for turns in range(20):
            asking = asyncio.create_task(client.aexecute(wait.alice))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            assert await client.aexecute(wait.bob) == [b"bob"]
        await client.aclose()
        if given is not None:
            await given.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("kind", ["one server", "cluster"])
def test_libvalkey_is_given_text_only(
    valkey_server: ValkeyServer,
    valkey_cluster: ValkeyCluster,
    prefix: str,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """When a signal is pending while it packs an integer, it ends the process."""
    packed: list[type] = []
    pack = libvalkey.pack_command

    def noted(command: tuple[Any, ...]) -> bytes:
        packed.extend(map(type, command))
        return pack(command)

    monkeypatch.setattr(libvalkey, "pack_command", noted)
    url = f"{valkey_server.url}/5" if kind == "one server" else valkey_cluster.url
    client = client_from_url(f"{url}?client=valkey-py")
    key = f"{{{prefix}}}"
    requests: list[Request] = [
        Call(Script(f"text {prefix}", f"#!lua\n-- {prefix}\nreturn KEYS[1]"), [key], ["x"]),
        Commands([["SET", key, "x"], ["DEL", key]]),
        Scan(f"{prefix}*"),
        Ask(["PING"], prefix),
    ]

    async def main() -> None:
        for request in requests:
            await client.aexecute(request)
        await client.aclose()

    for request in requests:
        client.execute(request)
    asyncio.run(main())
    assert set(packed) == {str, bytes}
