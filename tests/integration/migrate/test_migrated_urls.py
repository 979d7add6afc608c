"""Databases behind URLs: what is in them, and what is wrong with them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import statekeep
from statekeep.domain import AccessDenied, InvalidInput, Unavailable, Unsupported
from statekeep.langgraph_shim import (
    RepositoryCache,
    RepositorySaver,
    RepositoryStore,
    migrate,
    migrate_urls,
    open_source,
)
from statekeep.testing.servers import ValkeyServer

from .graphs import history, questions, thread, without_tasks
from .peers import CACHES, URLS, Peers


@pytest.mark.parametrize("kind", URLS)
def test_all_that_is_there(kind: str, peers: Peers) -> None:
    graph = questions(Counter()).compile(checkpointer=peers.saver(kind))
    graph.invoke({"log": ["in"]}, thread("t"))
    peers.store(kind).put(("a", "b"), "k", {"v": 1})
    if kind in CACHES:
        peers.cache(kind).set({(("c", "d"), "k"): ("cached", None)})
    before = peers.contents(kind)
    with open_source(peers.url(kind)) as source, statekeep.connect("memory:") as keep:
        assert source.kind == f"langgraph-checkpoint-{kind}"
        assert (source.has_checkpoints, source.has_items, source.has_cache) == (True, True, kind in CACHES)
        report = migrate(source, keep, verify="all")
        assert (report.threads, report.items_put, report.cache_entries_put) == (1, 1, int(kind in CACHES))
        new = questions(Counter()).compile(checkpointer=RepositorySaver(keep.checkpoints))
        states = history(new, thread("t")), history(graph, thread("t"))
        ours, theirs = map(without_tasks, states) if kind == "redis" else states
        assert ours == theirs
        found = RepositoryStore(keep.items).get(("a", "b"), "k")
        assert found is not None
        assert found.value == {"v": 1}
        if kind in CACHES:
            assert RepositoryCache(keep.cache).get([(("c", "d"), "k")]) == {(("c", "d"), "k"): "cached"}
        assert migrate(source, keep, since=report).written == 0
    assert peers.contents(kind) == before


def test_urls_on_both_sides(peers: Peers, valkey_server: ValkeyServer) -> None:
    peers.store("aws").put(("a",), "k", {"v": 1})
    told: list[Any] = []
    report = migrate_urls(peers.url("aws"), valkey_server.url, verify="all", progress=told.append)
    assert (report.items_put, told[-1]) == (1, report)
    assert migrate_urls(peers.url("aws"), valkey_server.url).written == 0
    with statekeep.connect(valkey_server.url) as keep:
        assert keep.items.get(("a",), "k") is not None
    # Statekeep's own keys are none of theirs.
    with pytest.raises(InvalidInput, match="nothing of"):
        open_source(valkey_server.url)


def test_data_of_two_packages(peers: Peers) -> None:
    client = peers.redis_client()
    peers.store("redis").put(("a",), "k", {"v": 1})
    from langgraph_checkpoint_aws import ValkeyStore

    ValkeyStore(client).put(("b",), "k", {"v": 2})
    client.set("langgraph:foreign", "text")
    client.hset("langgraph:hash", "field", "value")
    with pytest.raises(InvalidInput, match="choose a kind") as caught:
        open_source(peers.url("redis"))
    assert caught.value.field == "kind"
    with statekeep.connect("memory:") as keep:
        for kind, namespace in (("langgraph-checkpoint-aws", ("b",)), ("langgraph-checkpoint-redis", ("a",))):
            with open_source(peers.url("redis"), kind=kind) as source:
                assert migrate(source, keep).items_put == 1
            assert keep.items.get(namespace, "k") is not None


def test_what_is_wrong(peers: Peers, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="no file"):
        open_source(f"sqlite:///{tmp_path}/none.db")
    with pytest.raises(InvalidInput, match="sqlite:///relative"):
        open_source("sqlite://file.db")
    with pytest.raises(InvalidInput, match="url must begin with") as caught:
        open_source("mysql://secret@host")
    assert "secret" not in str(caught.value)
    with pytest.raises(InvalidInput) as caught:
        open_source(peers.url("aws"), kind="langgraph-checkpoint-sqlite")
    assert caught.value.field == "kind"
    with pytest.raises(InvalidInput, match="nothing of"):
        open_source(peers.url("aws"))
    with pytest.raises(InvalidInput, match="nothing of"):
        open_source(peers.url("postgres"))
    with pytest.raises(Unavailable):
        open_source("redis://127.0.0.1:1")
    with pytest.raises(Unavailable):
        open_source("postgresql://postgres@127.0.0.1:1/postgres")
    with ValkeyServer(requirepass="right") as server, pytest.raises(AccessDenied):
        open_source(f"valkey://:wrong@127.0.0.1:{server.port}")


def test_a_target_that_keeps_no_items(peers: Peers) -> None:
    from statekeep.repositories.checkpoints import CheckpointRepository
    from statekeep.repositories.connection import Backends, Connection
    from statekeep.repositories.memory.checkpoints import MemoryCheckpoints

    questions(Counter()).compile(checkpointer=peers.saver("sqlite")).invoke({"log": []}, thread("t"))
    peers.store("sqlite").put(("a",), "k", {"v": 1})
    with Connection(Backends(MemoryCheckpoints())) as keep, open_source(peers.url("sqlite")) as source:
        with pytest.raises(Unsupported, match="nothing was migrated"):
            migrate(source, keep)
        assert list(keep.checkpoints.list_threads()) == []
        assert migrate(source, CheckpointRepository(keep.checkpoints.backend)).threads == 1


def test_a_database_full_of_other_keys(peers: Peers) -> None:
    """Some look like theirs."""
    questions(Counter()).compile(checkpointer=peers.saver("aws")).invoke({"log": []}, thread("t"))
    store = peers.store("aws")
    for number in range(250):
        store.put(("n",), str(number), {"v": number})
    client = peers.valkey_client()
    with client.pipeline() as pipe:
        for number in range(3000):
            pipe.set(f"foreign:{number}", "x")
            pipe.hset(f"langgraph:foreign{number}", "field", "x")
        pipe.rpush("thread:{foreign}:x", *range(2500))
        pipe.rpush("thread:foreign", "x")
        pipe.rpush("thread:{odd}:", "1", "2")
        pipe.set("checkpoint:{odd}::1", "text")
        pipe.set("checkpoint:{odd}::2", '{"thread_id":"another"}')
        pipe.set("thread:{text}:", "x")
        pipe.execute()
    with open_source(peers.url("aws")) as source, statekeep.connect("memory:") as keep:
        report = migrate(source, keep, verify="all")
        assert (report.threads, report.items_put) == (1, 250)


def test_checkpoints_that_ended_before_their_thread(peers: Peers) -> None:
    graph = questions(Counter()).compile(checkpointer=peers.saver("aws"))
    graph.invoke({"log": []}, thread("t"))
    newest = graph.get_state(thread("t")).config["configurable"]["checkpoint_id"]
    assert peers.valkey_client().delete(f"checkpoint:{{t}}::{newest}") == 1
    with statekeep.connect("memory:") as keep:
        report = migrate(peers.saver("aws"), keep, verify="all")
        assert (report.threads, report.checkpoints) == (1, 2)
