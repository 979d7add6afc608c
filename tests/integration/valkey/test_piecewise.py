"""Command by command, reading scripts answer as they do in one piece."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from statekeep import Channel, Checkpoint, CheckpointRepository, GetItem, ItemRepository, ListItems, PutItem
from statekeep.repositories.operation import run
from statekeep.repositories.valkey import ValkeyCheckpoints, ValkeyItems, client_for
from statekeep.repositories.valkey.checkpoints.piecewise import PIECEWISE as CHECKPOINTS
from statekeep.repositories.valkey.items.piecewise import PIECEWISE as ITEMS
from statekeep.repositories.valkey.piecewise import Piecewise
from statekeep.repositories.valkey.requests import Call, Reply, Request
from statekeep.testing.servers import ValkeyServer

from .valkey_kinds import chain, payload, write

WRITING = {"refresh", "apply", "extend_expiry", "sweep", "unlist", "forget"}


class Compared:
    """A client that answers in both ways, and says if they differ."""

    cluster = False

    def __init__(self, client: Any, piecewise: Mapping[str, Piecewise]) -> None:
        self.client = client
        self.piecewise = piecewise
        self.names: set[str] = set()

    def execute(self, request: Request) -> Reply:
        reply = self.client.execute(request)
        name = request.script.name if isinstance(request, Call) else ""
        if isinstance(request, Call) and name in self.piecewise and name not in WRITING:
            self.names.add(name)
            operation = self.piecewise[name](request.keys, request.args)
            assert operation is not None
            assert run(operation, self.client.execute) == self.but_for_pages(name, reply)
        return reply

    @staticmethod
    def but_for_pages(name: str, reply: Reply) -> Reply:
        # What is expected on a page is read afterwards.
        return [*reply[:2], []] if name == "page" else reply


@pytest.fixture
def raw(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


def read(checkpoints: CheckpointRepository, thread_id: str) -> None:
    for namespace in ("", "sub", "none"):
        checkpoints.get(thread_id, namespace=namespace)
        checkpoints.get(thread_id, namespace=namespace, checkpoint_id="00001")
        checkpoints.ancestors(thread_id, ["items", "counter", "é"], namespace=namespace)
    list(checkpoints.list(thread_id))
    list(checkpoints.list(thread_id, metadata={"step": 1}))
    list(checkpoints.list(thread_id, namespace="sub", limit=1))


@pytest.mark.parametrize("ttl", [None, 1000])
def test_checkpoints(raw: Any, prefix: str, ttl: float | None) -> None:
    compared: Any = Compared(client_for(raw), CHECKPOINTS)
    keep = CheckpointRepository(ValkeyCheckpoints(compared, prefix=prefix, ttl=ttl))
    for thread_id in ("t", "{é}:%"):
        read(keep, thread_id)
        for checkpoint in [*chain(thread_id, 3, run_id="r"), *chain(thread_id, 2, namespace="sub")]:
            keep.put(checkpoint)
            keep.put_writes(thread_id, checkpoint.checkpoint_id, [write("task", 0), write("é", -1, b"x" * 60_000)])
        last = Checkpoint(
            thread_id=thread_id,
            checkpoint_id="00003",
            parent_id="00002",
            channels={"items": Channel.replayed(1), "é": Channel.empty("v"), "n": Channel.of(1.5, payload(b""))},
        )
        keep.put(last)
        read(keep, thread_id)
        # What ended, and what others deleted.
        expiry, writes = next(raw.scan_iter(f"{prefix}:expiry-index:*:"), None), f"{prefix}:pending_write:*:00002:*"
        if expiry is not None:
            raw.zadd(expiry, {"w00002:task:0:items": 1})
        raw.delete(next(raw.scan_iter(writes)))
        read(keep, thread_id)
    assert compared.names == {"get", "records", "page", "ids", "writes", "fields", "lineage", "steps"}


def test_items(raw: Any, prefix: str) -> None:
    compared: Any = Compared(client_for(raw), ITEMS)
    items = ItemRepository(ValkeyItems(compared, prefix=prefix))
    for number in range(6):
        items.put(("a", str(number % 3)), f"k{number}", number)
    assert len(items.search(("a",), limit=3)) == 3
    assert len(items.search((), limit=9)) == 6
    assert compared.names == {"below"}


def test_listings_of_items(raw: Any, prefix: str) -> None:
    compared: Any = Compared(client_for(raw), ITEMS)
    items = ItemRepository(ValkeyItems(compared, prefix=prefix))
    for number in (3, 1, 4, 0, 5, 9, 2, 6):
        items.put(("n",), f"{number // 4}{number}", number, ttl=1000 if number % 2 else None)
    # What should have ended, although the server keeps its record.
    raw.zadd(f"{prefix}:item-ends:{{n}}", {"11": 1})
    for reverse in (False, True):
        for beginning in ("", "0", "1", "x"):
            for limit in (None, 1, 2, 3):
                list(items.keys(("n",), prefix=beginning, reverse=reverse, limit=limit))
                list(items.list(("n",), prefix=beginning, reverse=reverse, limit=limit, order="updated"))
    assert list(items.keys(("nobody",))) == []
    assert list(items.list(("nobody",), order="updated")) == []
    assert compared.names == {"live", "by_time"}


class InPieces:
    """A client that answers scripts command by command where that can be done."""

    cluster = False

    def __init__(self, client: Any) -> None:
        self.client = client
        self.count = 0

    def execute(self, request: Request) -> Reply:
        operation = None
        if isinstance(request, Call) and not request.is_whole and request.script.name in ITEMS:
            operation = ITEMS[request.script.name](request.keys, request.args)
        if operation is None:
            return self.client.execute(request)
        self.count += 1
        return run(operation, self.client.execute)


def test_listings_in_batches(raw: Any, prefix: str) -> None:
    whole = ItemRepository(ValkeyItems(client_for(raw), prefix=prefix))
    pieces: Any = InPieces(client_for(raw))
    items = ItemRepository(ValkeyItems(pieces, prefix=prefix))
    whole.batch([PutItem(namespace=("n",), key=f"{n:02}", value=n, ttl=1000) for n in (3, 1, 4, 15, 9, 2, 6)])
    raw.delete(f"{prefix}:item:{{n}}:09")  # by others
    queries: list[dict[str, Any]] = [
        {},
        {"limit": 0},
        {"limit": 2, "reverse": True},
        {"prefix": "0", "after": "03"},
        {"order": "updated", "limit": 3},
        {"order": "updated", "reverse": True, "prefix": "0"},
    ]
    for query in queries:
        for _ in range(2):
            batch: list[GetItem | ListItems] = [
                GetItem(namespace=("n",), key="04"),
                ListItems(namespace=("n",), **query),
            ]
            assert items.batch(batch) == whole.batch(batch)
    assert pieces.count > len(queries)
