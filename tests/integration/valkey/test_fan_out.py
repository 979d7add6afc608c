"""Many at a time on one repository: nothing fails, nothing is lost, and no more connections than configured."""

from __future__ import annotations

import asyncio
import operator
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Send

import statekeep
from statekeep.langgraph_shim import ValkeySaver
from statekeep.testing.servers import ValkeyServer

from .valkey_kinds import chain, payload, write

pytestmark = pytest.mark.anyio

POOL = 10

CLIENTS = {"valkey-py": POOL, "glide": 1}
"""How many connections each may have at most, for blocking calls and again for an event loop."""


class Connections:
    """How many connections of a name a server has seen at the same time."""

    def __init__(self) -> None:
        self.most = 0


@contextmanager
def watch(server: ValkeyServer, name: str) -> Iterator[Connections]:
    seen = Connections()
    done = threading.Event()

    def look() -> None:
        with server.client() as client:
            while not done.is_set():
                seen.most = max(seen.most, sum(entry["name"] == name for entry in client.client_list()))
                time.sleep(0.002)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


@pytest.mark.parametrize("client", CLIENTS)
def test_many_threads(valkey_server: ValkeyServer, prefix: str, client: str) -> None:
    options: Any = {"client": client, "pool_size": POOL, "client_name": prefix}
    with statekeep.connect(valkey_server.url, prefix=prefix, **options) as keep, watch(valkey_server, prefix) as seen:
        repository = keep.checkpoints
        begin = threading.Barrier(64)

        def work(number: int) -> None:
            begin.wait()
            for checkpoint in chain(f"t{number}", 3):
                repository.put(checkpoint)
                repository.put_writes(f"t{number}", checkpoint.checkpoint_id, [write(f"task {number}", 0)])
                repository.put_writes("shared", "1", [write(f"task {number}", int(checkpoint.checkpoint_id))])
            saved = repository.get(f"t{number}")
            assert saved
            assert saved.channels["counter"].payload == payload(b"2")
            assert [made.task_id for made in saved.pending_writes] == [f"task {number}"]

        with ThreadPoolExecutor(64) as pool:
            for future in [pool.submit(work, number) for number in range(64)]:
                future.result()
        repository.put(statekeep.Checkpoint(thread_id="shared", checkpoint_id="1"))
        saved = repository.get("shared")
        assert saved
        assert len(saved.pending_writes) == 64 * 3
        assert len(list(repository.list_threads())) == 65
    assert 1 <= seen.most <= CLIENTS[client]


@pytest.mark.parametrize("client", CLIENTS)
async def test_many_tasks(valkey_server: ValkeyServer, prefix: str, client: str) -> None:
    options: Any = {"client": client, "pool_size": POOL, "client_name": prefix}
    with watch(valkey_server, prefix) as seen:
        async with statekeep.aconnect(valkey_server.url, prefix=prefix, **options) as keep:
            repository = keep.checkpoints

            async def work(number: int) -> None:
                for checkpoint in chain(f"t{number}", 2):
                    await repository.put(checkpoint)
                    await repository.put_writes(f"t{number}", checkpoint.checkpoint_id, [write(f"task {number}", 0)])
                saved = await repository.get(f"t{number}")
                assert saved
                assert saved.channels["counter"].payload == payload(b"1")
                assert [made.task_id for made in saved.pending_writes] == [f"task {number}"]

            await asyncio.gather(*(work(number) for number in range(200)))
            assert len([thread async for thread in repository.list_threads()]) == 200
    assert 1 <= seen.most <= CLIENTS[client]


class State(TypedDict):
    items: list[int]
    done: Annotated[list[int], operator.add]


class Item(TypedDict):
    item: int


def graph() -> StateGraph[State]:
    def double(state: Item) -> dict[str, list[int]]:
        return {"done": [2 * state["item"]]}

    def spread(state: State) -> list[Send]:
        return [Send("double", {"item": item}) for item in state["items"]]

    made = StateGraph(State)
    made.add_node("begin", lambda state: {})
    made.add_node("double", double)
    made.add_edge(START, "begin")
    made.add_conditional_edges("begin", spread, ["double"])
    made.add_edge("double", END)
    return made


@pytest.mark.parametrize("client", CLIENTS)
async def test_parallel_sends_of_a_graph(valkey_server: ValkeyServer, prefix: str, client: str) -> None:
    options: Any = {"client": client, "pool_size": POOL, "client_name": prefix}
    items = list(range(30))
    with (
        watch(valkey_server, prefix) as seen,
        ValkeySaver.from_conn_string(valkey_server.url, prefix=prefix, **options) as saver,
    ):
        compiled: Any = graph().compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "sync"}}
        result = await asyncio.to_thread(compiled.invoke, {"items": items, "done": []}, config)
        assert result["done"] == [2 * item for item in items]
        again: Any = {"configurable": {"thread_id": "async"}}
        assert await compiled.ainvoke({"items": items, "done": []}, again) == result
        for finished in (config, again):
            tasks = [
                {task for task, channel, _ in saved.pending_writes or [] if channel == "done"}
                for saved in saver.list(finished)
            ]
            assert sorted(map(len, tasks), reverse=True)[:2] == [30, 1]  # the nodes, and the input
        await saver.aclose()
    assert 1 <= seen.most <= 2 * CLIENTS[client]
