"""Archives over real services: from each into each other one, and the same file again."""

from __future__ import annotations

import asyncio
import io
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep import Channel, Checkpoint, Connection, Payload, VectorIndex, archive
from statekeep.testing.servers import ValkeyCluster, ValkeyServer
from tests.unit.archive.test_round_trip import exported, fill

from .agentcore.emulated import Worlds

KINDS = ["glide", "valkey-py", "glide-cluster", "valkey-py-cluster"]


class Places:
    """Empty places on the services of this session."""

    def __init__(self, request: pytest.FixtureRequest, stack: ExitStack) -> None:
        self._request, self._stack = request, stack

    def open(self, kind: str, **options: Any) -> Connection:
        if kind == "memory":
            return statekeep.connect("memory:", **options)
        if kind == "agentcore":
            worlds: Worlds = self._request.getfixturevalue("worlds")
            client = worlds.client("plain")
            memory_id = worlds.emulator("plain").agentcore.create_memory()
            options |= {"client": client}
            return self._stack.enter_context(statekeep.connect(f"agentcore://{memory_id}?actor_id=ada", **options))
        client_name = kind.removesuffix("-cluster")
        server: ValkeyServer | ValkeyCluster = self._request.getfixturevalue(
            "valkey_cluster" if kind != client_name else "valkey_server"
        )
        prefix = options.pop("prefix", None) or f"t-{uuid.uuid4().hex[:12]}"
        given: Any = {"prefix": prefix, "client": client_name} | options
        return self._stack.enter_context(statekeep.connect(server.url, **given))


@pytest.fixture
def places(request: pytest.FixtureRequest) -> Iterator[Places]:
    with ExitStack() as stack:
        yield Places(request, stack)


@pytest.mark.parametrize("kind", KINDS)
def test_from_memory_and_back(places: Places, kind: str) -> None:
    old, there, back = places.open("memory"), places.open(kind), places.open("memory")
    fill(old)
    assert old.checkpoints.expire("t", 3600)
    data = exported(old)
    archive.restore(io.BytesIO(data), there)
    assert exported(there) == data
    for namespace in old.items.list_namespaces():
        assert list(there.items.list(namespace)) == list(old.items.list(namespace))
    archive.restore(io.BytesIO(exported(there)), back)
    assert exported(back) == data
    archive.restore(io.BytesIO(data), there)
    assert exported(there) == data
    # What was restored is gone on with.
    again = there.items.put(("a", "b"), "k", "next")
    assert again.version == 4
    assert again.created_at == old.items.get(("a", "b"), "k").created_at  # type: ignore[union-attr]
    there.logs.append(("chat", "ada"), ["next"])
    assert [entry.position for entry in there.logs.read(("chat", "ada"))][:3] == [1, 5, 6]
    there.checkpoints.put(
        Checkpoint(thread_id="t", checkpoint_id="7", parent_id="5", channels={"large": Channel.earlier(1)})
    )
    assert there.checkpoints.get("t").channels["large"].payload.data == b"x" * 500  # type: ignore[union-attr]


def test_from_a_server_to_a_cluster_in_event_loops(places: Places) -> None:
    one, other = places.open("valkey-py"), places.open("glide-cluster")
    fill(one)

    async def main() -> bytes:
        file = io.BytesIO()
        await archive.aexport(one.asyncio, file)
        await archive.arestore(io.BytesIO(file.getvalue()), other.asyncio)
        return file.getvalue()

    assert asyncio.run(main()) == exported(one) == exported(other)


def test_agentcore(places: Places) -> None:
    """It keeps checkpoints and items, exactly."""
    old, there, back = places.open("memory"), places.open("agentcore"), places.open("valkey-py")
    fill(old)
    assert old.checkpoints.expire("t", 3600)
    data = exported(old, kinds=["checkpoints", "items"])
    done = archive.restore(io.BytesIO(data), there)
    assert (done.threads, done.endless) == (2, 1)  # no thread ends there by itself
    text = exported(there)
    ends = [line for line in data.splitlines() if b'"id":"t","expires_at":"' in line]
    assert len(ends) == 1
    without_end = b'{"kind":"thread","id":"t","expires_at":null}'
    assert text.splitlines()[:-1] == data.replace(ends[0], without_end).splitlines()[:-1]
    archive.restore(io.BytesIO(text), back)
    assert exported(back, kinds=["checkpoints", "items"]) == text
    with pytest.raises(statekeep.Unsupported, match="the target keeps no logs"):
        archive.restore(io.BytesIO(exported(old)), there)


def test_vectors_are_made_by_the_index_of_the_target(places: Places) -> None:
    def embed(texts: list[str]) -> list[list[float]]:
        return [[float("tea" in text), 1.0] for text in texts]

    index = VectorIndex(dims=2, embed=embed, fields=("text",), index_type="flat")
    old, there = places.open("memory"), places.open("valkey-py", index=index)
    for key, text in (("a", "coffee"), ("b", "tea")):
        old.items.put(("n",), key, {"text": text})
    archive.restore(io.BytesIO(exported(old)), there)
    assert [item.key for item in there.items.search(("n",), query="tea")] == ["b", "a"]
    old.items.put(("n",), "a", {"text": "tea"})
    old.items.delete(("n",), "b")
    archive.restore(io.BytesIO(exported(old)), there)
    found = there.items.search(("n",), query="tea")
    assert sorted((item.key, round(item.score or 0, 3)) for item in found) == [("a", 1.0), ("b", 1.0)]


def test_records_of_others_are_not_touched(places: Places, valkey_server: ValkeyServer) -> None:
    mine, others, old = places.open("glide"), places.open("glide"), places.open("memory")
    fill(others)
    fill(old)
    before = exported(others)
    with valkey_server.client() as client:
        client.set("a key of somebody", "x")
        keys = {key for key in client.scan_iter() if not key.startswith(mine.items.backend.prefix.encode())}  # type: ignore[attr-defined]
    assert exported(mine).count(b"\n") == 2
    archive.restore(io.BytesIO(exported(old)), mine)
    assert exported(others) == before
    with valkey_server.client() as client:
        assert keys <= set(client.scan_iter())
        client.delete("a key of somebody")


def test_many_threads_and_a_large_value(places: Places, tmp_path: Path) -> None:
    there, back = places.open("valkey-py"), places.open("memory")
    large = Payload(encoding="raw", data=bytes(range(256)) * 40_000)
    there.checkpoints.put(Checkpoint(thread_id="large", checkpoint_id="1", channels={"c": Channel.of(1, large)}))
    there.checkpoints.put(
        Checkpoint(thread_id="large", checkpoint_id="2", parent_id="1", channels={"c": Channel.earlier(1)})
    )
    for number in range(300):
        there.checkpoints.put(Checkpoint(thread_id=f"t{number}", checkpoint_id="1"))
    there.items.put(("n",), "large", large)
    there.logs.append(("n",), [large, "x"] * 3)
    path = tmp_path / "backup.jsonl.zst"
    assert archive.export(there, path).threads == 301
    assert path.stat().st_size < len(large.data)
    archive.restore(path, back)
    assert exported(back) == exported(there)
