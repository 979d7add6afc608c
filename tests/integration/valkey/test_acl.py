"""The least permissions that Statekeep can do with: those that docs/key-schema.md lists, and no more."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from statekeep import (
    AccessDenied,
    CacheRepository,
    Channel,
    Checkpoint,
    CheckpointRepository,
    Conflict,
    DeleteItem,
    GetItem,
    ItemRepository,
    ListItems,
    LogRepository,
    Payload,
    PendingWrite,
    PutItem,
    aconnect,
    connect,
)
from statekeep.repositories.valkey import requests
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.repositories.valkey.logs.keys import log_keys
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .item_kinds import INDEX, texts

DOCUMENT = Path(__file__).parents[3] / "docs" / "key-schema.md"
SOURCES = Path(requests.__file__).parent


def documented(what: str) -> list[str]:
    """The words of the ACL rule in the document that starts with the comment ``# what``."""
    [block] = re.findall(rf"```text\n# {what}.*?\n(.*?)```", DOCUMENT.read_text("utf-8"), re.DOTALL)
    return str(block).replace("\\\n", " ").split()


@pytest.fixture(params=["standalone", "cluster"])
def url(
    request: pytest.FixtureRequest, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster, prefix: str
) -> Iterator[str]:
    """The URL of a server with the documented user, whose keys start with ``prefix``."""
    is_cluster = request.param == "cluster"
    nodes = list(valkey_cluster.nodes.values()) if is_cluster else [valkey_server]
    name, password = f"user-{uuid.uuid4().hex}", uuid.uuid4().hex
    replaced = {"statekeep": name, ">PASSWORD": f">{password}", "~statekeep:*": f"~{prefix}:*"}
    words = [replaced.get(word, word) for word in documented("the user") + documented("clients")]
    assert words[:3] == ["ACL", "SETUSER", name]
    assert f"~{prefix}:*" in words
    for node in nodes:
        with node.client() as client:
            client.execute_command(*words)
    address = (valkey_cluster if is_cluster else valkey_server).url
    yield address.replace("://", f"://{name}:{password}@")
    for node in nodes:
        with node.client() as client:
            client.execute_command("ACL", "DELUSER", name)


def refused(url: str, server: ValkeyServer | ValkeyCluster) -> set[str]:
    """What the servers did not let the user of the URL do, also what its client did not care about."""
    user = url.partition("://")[2].partition(":")[0]
    found: set[str] = set()
    for node in server.nodes.values() if isinstance(server, ValkeyCluster) else [server]:
        with node.client(decode_responses=True) as client:
            found |= {entry["object"] for entry in client.acl_log() if entry["username"] == user}
    return found


def checkpoint(name: str, **fields: Any) -> Checkpoint:
    return Checkpoint(**{"thread_id": "t", "checkpoint_id": name, **fields})


def write(channel: str, idx: int = 0) -> PendingWrite:
    return PendingWrite(task_id="task", idx=idx, channel=channel, payload=Payload(encoding="json", data=b"1"))


def use_everything(keep: CheckpointRepository, raw: Any, prefix: str) -> None:
    """Each operation, and each script at least once."""
    value = Channel.of(1, Payload(encoding="json", data=b"[]"))
    keep.put(checkpoint("1", metadata={"run_id": "a"}, channels={"c": value}))
    keep.put_writes("t", "1", [write("c"), write("d", -1)])
    keep.put_writes("t", "1", [write("e", -1)])
    keep.put(checkpoint("2", parent_id="1", metadata={"run_id": "b"}, channels={"c": Channel.replayed(2)}))
    keep.put(checkpoint("3", parent_id="2", metadata={"run_id": "b"}, channels={"c": Channel.replayed(3)}))
    keep.put(checkpoint("4", parent_id="3", channels={"c": Channel.of(1, Payload(encoding="json", data=b"other"))}))
    keep.put(checkpoint("5", parent_id="4", channels={"c": Channel.earlier(1)}))
    keep.put(checkpoint("1", namespace="sub", metadata={"parents": {"": "1"}}))
    assert keep.get("t", checkpoint_id="1") is not None
    assert len(list(keep.list("t"))) == 6
    assert len(list(keep.list("t", metadata={"run_id": "b"}))) == 2
    assert len(list(keep.list())) == 6
    assert len(list(keep.list(metadata={"run_id": "b"}))) == 2
    assert len(list(keep.list(metadata={"step": 1}))) == 0
    assert len(list(keep.list(metadata={"parents": {"": "1"}}))) == 1
    [history] = keep.ancestors("t", ["c"], checkpoint_id="3").values()
    assert len(history.writes) == 1
    assert [thread.thread_id for thread in keep.list_threads(prefix="t")] == ["t"]
    assert [thread.thread_id for thread in keep.list_threads()] == ["t"]
    keep.copy_thread("t", "u")
    assert len(list(keep.list("u"))) == 6
    assert {name: found.basis for name, found in keep.measure(["t", "u"]).items()} == {"t": "memory", "u": "memory"}
    assert keep.expire("u", 500)
    assert keep.expire("u", None)
    keep.delete_runs(["b"])
    keep.prune(["u"], keep=1)
    raw.delete(f"{prefix}:checkpoint:{{t}}::5", f"{prefix}:pending_write:{{t}}::1:task:0")
    assert [found.checkpoint_id for found in keep.list("t", namespace="")][-1] == "1"
    raw.delete(f"{prefix}:head:{{t}}:")
    newest = keep.get("t")
    assert newest is not None
    assert newest.checkpoint_id == "4"
    assert keep.reindex("t") >= 3
    keep.delete_thread("t")
    keep.delete_thread("u")
    assert list(keep.list_threads()) == []


def use_all_items(items: ItemRepository, raw: Any) -> None:
    """Each operation on items, and each script at least once."""
    space = ("a", "b")
    first = items.put(space, "1", texts(9), expected=None, ttl=1000)
    items.put(space, "1", texts(2), expected=first.version, ttl=500)
    items.put(space, "2", texts(7), ttl=None)
    with pytest.raises(Conflict):
        items.put(space, "2", 1, expected=None)
    assert items.get(space, "1", refresh=True)
    keys = items.append(space, [1, 2])
    assert [item.key for item in items.list(space, reverse=True)] == ["2", "1", *keys[::-1]]
    assert list(items.keys(space, reverse=True)) == ["2", "1", *keys[::-1]]
    for query in ({}, {"reverse": True}, {"prefix": "0"}):
        by_time = [item.key for item in items.list(space, order="updated", **query)]
        assert by_time == [item.key for item in items.batch([ListItems(namespace=space, order="updated", **query)])[0]]
    assert items.pop(space)
    assert len(items.search(("a",), query="a", limit=5)) == 3
    assert len(items.search((), offset=1)) == 2
    assert items.list_namespaces() == [space]
    raw.delete(item_keys(items.backend.prefix, space).record("1"))  # type: ignore[attr-defined]
    assert len(list(items.list(space))) == 2
    assert items.reindex(space) == 2
    operations: list[Any] = [PutItem(namespace=space, key="3", value=1), DeleteItem(namespace=space, key="3")]
    items.batch([*operations, GetItem(namespace=space, key="1")])
    assert items.clear(space) == 2
    items.append(space, ["x" * 100_000, 1, 2, 3, 4, 5, 6])
    assert items.clear((), below=True) == 7
    items.append(space, ["x" * 100_000])
    assert items.pop(space)
    assert items.list_namespaces() == []


def use_the_cache(cache: CacheRepository) -> None:
    """Each operation on cache entries, and each script at least once."""
    cache.set({((name,), "k"): Payload(encoding="json", data=b"1") for name in ("a", "b")})
    entries = list(cache.list())
    assert entries == list(cache.get([(("a",), "k"), (("b",), "k")]).values())
    assert [found.basis for found in cache.list_namespaces()] == ["memory", "memory"]
    assert cache.delete([(("a",), "k")]) == cache.clear() == 1
    cache.restore(entries)
    assert cache.reindex() == cache.clear() == 2


def use_all_logs(logs: LogRepository, raw: Any) -> None:
    """Each operation on logs, and each script at least once."""
    logs.append(("chat", "ada"), [1, 2, 3, 4], ttl=1000)
    logs.append(("chat", "ada"), [5], ttl=None)
    logs.append(("chat", "ada"), [6])
    first = logs.read(("chat", "ada"), limit=1, refresh=True)[0].position
    assert [entry.value for entry in logs.read(("chat", "ada"), after=first)] == [2, 3, 4, 5, 6]
    assert len(logs.pop(("chat", "ada"), 1)) == len(logs.pop(("chat", "ada"), first=True)) == 1
    assert logs.trim(("chat", "ada"), keep=2) == 2
    assert logs.replace(("chat", "ada"), ["x" * 100_000], expected=logs.last(("chat", "ada"))[0].position) == 1
    assert logs.count(("chat", "ada")) == 1
    assert len(list(logs.list())) == 1
    raw.delete(log_keys(logs.backend.prefix, ("chat", "ada")).values)  # type: ignore[attr-defined]
    assert list(logs.list()) == []
    logs.append(("chat", "ada"), ["x" * 100_000])
    assert len(logs.pop(("chat", "ada"))) == 1
    assert logs.delete(("chat", "ada")) == 0


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
@pytest.mark.parametrize("ttl", [None, 1000.0])
def test_items(
    url: str, client: Any, ttl: float | None, prefix: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    server = valkey_cluster if "cluster" in url else valkey_server
    with connect(url, client=client, prefix=prefix, ttl=ttl, index=INDEX) as keep, server.client() as raw:
        use_all_items(keep.items, raw)
        use_the_cache(keep.cache)
        use_all_logs(keep.logs, raw)
    assert refused(url, server) == set()


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
@pytest.mark.parametrize("ttl", [None, 1000.0])
def test_blocking_clients(
    url: str, client: Any, ttl: float | None, prefix: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    server = valkey_cluster if "cluster" in url else valkey_server
    with (
        connect(
            url, client=client, prefix=prefix, ttl=ttl, refresh_on_read=True, index_metadata=["run_id", "step"]
        ) as keep,
        server.client() as raw,
    ):
        use_everything(keep.checkpoints, raw, prefix)
    assert refused(url, server) == set()


@pytest.mark.anyio
@pytest.mark.parametrize("client", ["glide", "valkey-py"])
async def test_asyncio_clients(
    url: str, client: Any, prefix: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    async with aconnect(url, client=client, prefix=prefix, ttl=1000) as keep:
        await keep.checkpoints.put(checkpoint("1"))
        await keep.checkpoints.put_writes("t", "1", [write("c")])
        found = await keep.checkpoints.get("t")
        assert found is not None
        assert found.pending_writes == (write("c"),)
        assert [thread.thread_id async for thread in keep.checkpoints.list_threads()] == ["t"]
        assert await keep.checkpoints.reindex("t") == 1
        await keep.checkpoints.delete_thread("t")
    assert refused(url, valkey_cluster if "cluster" in url else valkey_server) == set()


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_other_keys_are_refused(
    url: str, client: Any, prefix: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    with connect(url, client=client, prefix=f"{prefix}-other") as keep:
        with pytest.raises(AccessDenied) as caught:
            keep.checkpoints.put(checkpoint("1"))
        with pytest.raises(AccessDenied):
            keep.checkpoints.get("t")
    assert refused(url, valkey_cluster if "cluster" in url else valkey_server)
    password = url.partition("@")[0].rpartition(":")[2]
    assert password not in str(caught.value) + repr(keep)


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_sizes_without_the_permission_are_lengths(
    url: str, client: Any, prefix: str, valkey_server: ValkeyServer, valkey_cluster: ValkeyCluster
) -> None:
    server = valkey_cluster if "cluster" in url else valkey_server
    user = url.partition("://")[2].partition(":")[0]
    for node in server.nodes.values() if isinstance(server, ValkeyCluster) else [server]:
        with node.client() as admin:
            admin.execute_command("ACL", "SETUSER", user, "-memory|usage")
    with connect(url, client=client, prefix=prefix) as keep:
        for name in ("t", "u"):
            keep.checkpoints.put(checkpoint("1", thread_id=name, header=Payload(encoding="json", data=bytes(3000))))
        assert [found.basis for found in keep.checkpoints.measure(["t", "u"]).values()] == ["lengths", "lengths"]
        assert keep.checkpoints.measure(["t"])["t"].bytes >= 3000
        keep.cache.set({((name,), "k"): Payload(encoding="json", data=bytes(3000)) for name in ("a", "b")})
        spaces = list(keep.cache.list_namespaces())
        assert [(found.entries, found.basis, found.bytes) for found in spaces] == [(1, "lengths", 4000)] * 2
    assert refused(url, server) == {"memory|usage"}


def test_the_document_lists_what_is_used() -> None:
    """The rule names each command that the scripts and operations use, and none that they do not."""
    used = {"EVAL", "EVALSHA", "SCRIPT|LOAD", "SCAN"}
    for path in SOURCES.rglob("*.lua"):
        used |= set(re.findall(r"\bcall\('([A-Z]+)'", path.read_text("utf-8")))
    for path in SOURCES.rglob("*.py"):
        if "client" not in path.parts:
            text = path.read_text("utf-8")
            used |= {name.replace(" ", "|") for name in re.findall(r"""\("([A-Z]+ [A-Z]+)", key""", text)}
            used |= set(
                re.findall(
                    r"""(?:Commands\(\s*\[\(|script\("[a-z/]*read"\), [^\n]*?\], \[|arguments = \[)"([A-Z]+)""", text
                )
            )
            if path.parent.name == "items" or path.name == "comparison.py":
                used |= set(re.findall(r"""\["([A-Z]+)",""", text))
    rule = {word.removeprefix("+").upper() for word in documented("the user") if word.startswith("+")}
    assert used == rule
