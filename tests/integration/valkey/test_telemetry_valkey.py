"""What observers are told of Valkey, with each client: round trips are those that a proxy counts."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import glide
import pytest
import valkey

import statekeep
from statekeep import Channel, Checkpoint, Payload, StatekeepError
from statekeep.repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, client_for
from statekeep.telemetry import Observation, Service, observe
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .counting_proxy import CountingProxy
from .valkey_kinds import KINDS, open_repository

DRIVERS = ("glide", "valkey-py")


@pytest.fixture
def seen() -> Iterator[list[Observation]]:
    found: list[Observation] = []
    with observe(found.append):
        yield found


@pytest.fixture
def proxy(valkey_server: ValkeyServer) -> Iterator[CountingProxy]:
    with CountingProxy(valkey_server.port) as proxy:
        yield proxy


def checkpoint(number: int, size: int = 100) -> Checkpoint:
    value = Payload(encoding="raw", data=b"x" * size)
    return Checkpoint(
        thread_id="chat-1",
        checkpoint_id=f"{number:03}",
        parent_id=f"{number - 1:03}" if number else None,
        channels={"a": Channel.of(number, value)},
    )


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("awaits", [False, True])
def test_round_trips_and_bytes(
    seen: list[Observation], proxy: CountingProxy, prefix: str, driver: Any, awaits: bool
) -> None:
    url = f"valkey://127.0.0.1:{proxy.port}"
    turns: list[int] = []

    async def do(keep: statekeep.AsyncConnection) -> None:
        async def of(operation: Any) -> None:
            proxy.reset()
            await operation
            turns.append(proxy.turns)

        await keep.checkpoints.get("chat-1")  # connects, and the server learns the scripts
        await keep.items.put(("n",), "k", 1)
        seen.clear()
        for number in range(3):
            await of(keep.checkpoints.put(checkpoint(number, 5_000)))
        await of(keep.checkpoints.get("chat-1"))
        await of(keep.items.put(("n",), "k", "y" * 3_000))
        await of(keep.items.get(("n",), "k"))
        await of(keep.checkpoints.delete_thread("chat-1"))

    def blocking(keep: statekeep.Connection) -> None:
        def of(method: Any, *arguments: Any) -> None:
            proxy.reset()
            method(*arguments)
            turns.append(proxy.turns)

        keep.checkpoints.get("chat-1")
        keep.items.put(("n",), "k", 1)
        seen.clear()
        for number in range(3):
            of(keep.checkpoints.put, checkpoint(number, 5_000))
        of(keep.checkpoints.get, "chat-1")
        of(keep.items.put, ("n",), "k", "y" * 3_000)
        of(keep.items.get, ("n",), "k")
        of(keep.checkpoints.delete_thread, "chat-1")

    async def main() -> None:
        async with statekeep.aconnect(url, client=driver, prefix=prefix) as keep:
            await do(keep)

    if awaits:
        asyncio.run(main())
    else:
        with statekeep.connect(url, client=driver, prefix=prefix) as keep:
            blocking(keep)
    assert [one.round_trips for one in seen] == turns
    assert {one.retries for one in seen} == {0}
    assert {one.service for one in seen} == {Service("valkey", "127.0.0.1", proxy.port, "0")}
    put, get = seen[2], seen[3]
    assert 5_000 < put.bytes_sent < 6_500
    assert put.bytes_received < 500
    assert 5_000 < get.bytes_received < 6_500
    assert get.bytes_sent < 500
    assert 3_000 < seen[4].bytes_sent < 4_000
    assert 3_000 < seen[5].bytes_received < 4_000


@pytest.mark.parametrize("kind", KINDS)
def test_clients_of_yours(seen: list[Observation], proxy: CountingProxy, prefix: str, kind: str) -> None:
    """Blocking ones are asked in worker threads when a loop waits."""

    async def main() -> None:
        async with open_repository(kind, proxy.port, prefix=prefix) as keep:
            await keep.get("chat-1")
            seen.clear()
            proxy.reset()
            await keep.put(checkpoint(0))
            await keep.get("chat-1")

    asyncio.run(main())
    assert [one.name for one in seen] == ["checkpoints.put", "checkpoints.get"]
    assert sum(one.round_trips for one in seen) == proxy.turns
    assert {one.service for one in seen} == {Service("valkey", "127.0.0.1", proxy.port, "0")} or (
        {one.service.address for one in seen} == {"localhost"}
    )


def test_a_blocking_client_behind_the_asyncio_face(
    seen: list[Observation], valkey_server: ValkeyServer, prefix: str
) -> None:
    """Its worker threads count for the task that waits."""

    async def main(client: valkey.Valkey) -> None:
        keep = AsyncCheckpointRepository(ValkeyCheckpoints(client_for(client), prefix=prefix))
        await keep.put(checkpoint(0))
        await asyncio.gather(*(keep.get(f"chat-{number}") for number in range(20)))

    with valkey.Valkey(port=valkey_server.port) as client:
        asyncio.run(main(client))
    gets = [one for one in seen if one.name == "checkpoints.get"]
    assert len(gets) == 20
    assert {one.round_trips for one in gets} == {1}


@pytest.mark.parametrize("make", ["glide", "valkey-py"])
def test_an_asyncio_client_behind_the_blocking_face(
    seen: list[Observation], valkey_server: ValkeyServer, prefix: str, make: str
) -> None:
    """Its event loop, in another thread, counts for the thread that waits."""

    async def main() -> None:
        client: Any
        if make == "glide":
            address = glide.NodeAddress("127.0.0.1", valkey_server.port)
            client = await glide.GlideClient.create(glide.GlideClientConfiguration([address]))
        else:
            client = valkey.asyncio.Valkey(port=valkey_server.port)
        backend = ValkeyCheckpoints(client_for(client), prefix=prefix)
        await AsyncCheckpointRepository(backend).put(checkpoint(0))
        keep = CheckpointRepository(backend)
        await asyncio.gather(*(asyncio.to_thread(keep.get, "chat-1") for _ in range(5)))
        await (client.close() if make == "glide" else client.aclose())

    asyncio.run(main())
    gets = [one for one in seen if one.name == "checkpoints.get"]
    assert [(one.round_trips, one.bytes_received > 100) for one in gets] == [(1, True)] * 5


@pytest.mark.parametrize("driver", DRIVERS)
def test_tasks_and_threads_side_by_side(
    seen: list[Observation], valkey_server: ValkeyServer, prefix: str, driver: Any
) -> None:
    """Each has its own sizes, whatever else goes through the connections."""

    async def tasks() -> None:
        async with statekeep.aconnect(valkey_server.url, client=driver, prefix=prefix) as keep:
            puts = (keep.items.put(("tasks",), str(size), "x" * size, ttl=60 + size) for size in sizes)
            await asyncio.gather(*puts)
            await asyncio.gather(*(keep.items.of(str, (f"of {size}",)).put("k", "x" * size) for size in sizes))

    sizes = range(1_000, 31_000, 1_000)
    asyncio.run(tasks())
    sent = sorted(one.bytes_sent // 1_000 for one in seen[: len(sizes)])
    assert sent == [size // 1_000 for size in sizes]
    by_place = {one.place["namespace"][0]: one.bytes_sent // 1_000 for one in seen[len(sizes) :]}
    assert by_place == {f"of {size}": size // 1_000 for size in sizes}
    seen.clear()
    with statekeep.connect(valkey_server.url, client=driver, prefix=prefix) as keep:
        threads = [threading.Thread(target=keep.items.put, args=[(f"of {size}",), "k", "x" * size]) for size in sizes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {one.place["namespace"][0]: one.bytes_sent // 1_000 for one in seen} == by_place


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("awaits", [False, True])
def test_scripts_that_a_server_does_not_know(seen: list[Observation], prefix: str, driver: Any, awaits: bool) -> None:
    """They are sent again, with their text."""

    async def main(url: str) -> None:
        async with statekeep.aconnect(url, client=driver, prefix=prefix) as keep:
            await keep.items.put(("n",), "k", 1)
            await keep.items.put(("n",), "k", 1)

    with ValkeyServer() as server:
        if awaits:
            asyncio.run(main(server.url))
        else:
            with statekeep.connect(server.url, client=driver, prefix=prefix) as keep:
                keep.items.put(("n",), "k", 1)
                keep.items.put(("n",), "k", 1)
    first, second = seen
    assert (second.round_trips, second.retries) == (1, 0)
    assert first.round_trips > 1
    assert first.retries == 0
    assert first.bytes_sent > second.bytes_sent + 1_000


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("awaits", [False, True])
def test_pages_of_a_scan(seen: list[Observation], valkey_server: ValkeyServer, driver: Any, awaits: bool) -> None:
    prefix = f"scanned-{driver}-{awaits}"

    async def main() -> None:
        async with statekeep.aconnect(valkey_server.url, client=driver, prefix=prefix) as keep:
            await keep.cache.reindex()

    with valkey_server.client() as raw, raw.pipeline() as pipeline:
        for number in range(5_000):
            pipeline.hset(f"others:{number}", "a", 1)
        pipeline.execute()
    if awaits:
        asyncio.run(main())
    else:
        with statekeep.connect(valkey_server.url, client=driver, prefix=prefix) as keep:
            keep.cache.reindex()
    assert seen[0].round_trips >= 5


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("awaits", [False, True])
def test_retries(seen: list[Observation], driver: Any, awaits: bool, caplog: pytest.LogCaptureFixture) -> None:
    options: Any = {"request_timeout": 0.5, "connect_timeout": 0.5, "client": driver}

    async def main() -> None:
        async with statekeep.aconnect(server.url, deadline=60, **options) as keep:
            await keep.checkpoints.put(checkpoint(0))
            server.kill()
            restarting = asyncio.get_running_loop().run_in_executor(None, restart)
            await keep.checkpoints.put(checkpoint(1))
            await restarting

    def restart() -> None:
        failed.wait(30)
        server.restart()

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is tried again" in record.getMessage():
                failed.set()

    caplog.set_level(logging.DEBUG, "statekeep.valkey")
    failed = threading.Event()
    handler = Handler()
    logging.getLogger("statekeep.valkey").addHandler(handler)
    with ValkeyServer() as server:
        if awaits:
            asyncio.run(main())
        else:
            with statekeep.connect(server.url, deadline=60, **options) as keep:
                keep.checkpoints.put(checkpoint(0))
                server.kill()
                thread = threading.Thread(target=restart)
                thread.start()
                keep.checkpoints.put(checkpoint(1))
                thread.join()
        assert [one.error for one in seen] == [None, None]
        assert seen[0].retries == 0
        assert seen[1].retries > 0
        assert seen[1].round_trips >= 2
        server.kill()
        with statekeep.connect(server.url, deadline=0.3, **options) as keep, pytest.raises(StatekeepError):
            keep.ping()
        assert (seen[-1].name, seen[-1].error_type) == ("ping", "Unavailable")
    logging.getLogger("statekeep.valkey").removeHandler(handler)


def test_secrets_are_in_no_record(seen: list[Observation]) -> None:
    with ValkeyServer(requirepass="s3cret") as server:
        for driver in DRIVERS:
            with statekeep.connect(server.url, client=driver) as keep:  # type: ignore[arg-type]
                keep.items.put(("n",), "k", "the-secret")
        client = valkey.Valkey(port=server.port, password="s3cret", db=3)
        with client:
            CheckpointRepository(ValkeyCheckpoints(client_for(client))).ping()
    assert seen[-1].service == Service("valkey", "localhost", server.port, "3")
    assert "secret" not in f"{seen}{[one.place for one in seen]}"
    assert "s3cret" not in repr(seen)


@pytest.mark.parametrize("driver", DRIVERS)
def test_clusters(seen: list[Observation], valkey_cluster: ValkeyCluster, prefix: str, driver: Any) -> None:
    with statekeep.connect(valkey_cluster.url, client=driver, prefix=prefix) as keep:
        keep.checkpoints.put(checkpoint(0))
        keep.checkpoints.get("chat-1")
        keep.cache.reindex()
    assert [one.name for one in seen] == ["checkpoints.put", "checkpoints.get", "cache.reindex"]
    assert all(one.round_trips > 0 for one in seen)
    assert seen[2].round_trips >= 3  # each node has a page
    assert {one.service.port is not None for one in seen} == {True}


def test_embedded_servers(seen: list[Observation]) -> None:
    with statekeep.connect("embedded:") as keep:
        keep.checkpoints.get("chat-1")
    [one] = seen
    assert one.service.kind == "valkey"
    assert one.service.address is not None
    assert one.service.address.startswith("/")
    assert one.service.port is None
    assert one.round_trips >= 1
