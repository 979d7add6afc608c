"""Searches by vectors that a process keeps find what is stored now, whoever put or deleted it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest
import valkey
from hypothesis import given, settings
from hypothesis import strategies as st

from statekeep import CorruptRecord, ItemRepository, PutItem, VectorIndex
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.records.known_vectors import size_of
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.testing.embedding import DIMS, letter_counts
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .counting_proxy import CountingProxy
from .item_kinds import INDEX, KINDS, open_items, texts
from .search_kinds import Opened


def options(**changes: Any) -> VectorIndex:
    return VectorIndex(
        **{"dims": DIMS, "embed": letter_counts, "fields": ["text", "parts[*]"], "index_type": "flat", **changes}
    )


@pytest.fixture
def opened() -> Iterator[Opened]:
    found = Opened()
    yield found
    found.close()


@pytest.fixture
def admin(valkey_server: ValkeyServer) -> Iterator[valkey.Valkey]:
    with valkey.Valkey(port=valkey_server.port) as client:
        yield client


TEXTS = st.text(alphabet="abc", max_size=3)
PLACES = st.sampled_from([("n",), ("n", "a"), ("n", "a:b|*{}%\0"), ()])
KEYS = st.sampled_from(["", "p", "q", "a:0", "a", "%{}:", "ü\0"])
VALUES = st.fixed_dictionaries({"text": TEXTS}, optional={"parts": st.lists(TEXTS, max_size=4)})
STEPS = st.one_of(
    st.tuples(st.just("put"), PLACES, KEYS, VALUES, st.booleans()),
    st.tuples(st.just("delete"), PLACES, KEYS),
    st.tuples(st.just("clear"), PLACES, st.booleans()),
    st.tuples(st.just("search"), PLACES, TEXTS.filter(bool), st.integers(1, 5)),
    st.tuples(st.just("trim")),
    st.tuples(st.just("lose"), PLACES),
)


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_two_processes_and_one_that_keeps_nothing_agree(
    metric: str, valkey_server: ValkeyServer, admin: valkey.Valkey, opened: Opened, prefix: str
) -> None:
    index = options(distance_metric=metric)
    number = 0

    # A search in between is what makes the difference, so there are many steps.
    @settings(max_examples=2 * settings().max_examples)
    @given(steps=st.lists(st.tuples(st.integers(0, 2), STEPS), min_size=8, max_size=30))
    def agree(steps: Any) -> None:
        nonlocal number
        number += 1
        own = f"{prefix}-{number}"
        oracle = ItemRepository(MemoryItems(index=index))
        url = f"valkey://127.0.0.1:{valkey_server.port}"
        processes = [
            opened(url, own, index),
            opened(url, own, index),
            opened(url, own, options(distance_metric=metric, vector_cache=0)),
        ]
        for who, (what, *given_) in steps:
            one = processes[who]
            match what, given_:
                case "put", (namespace, key, value, is_indexed):
                    for repository in (oracle, one):
                        repository.put(namespace, key, value, index=None if is_indexed else False)
                case "delete", (namespace, key):
                    assert oracle.delete(namespace, key) == one.delete(namespace, key)
                case "clear", (namespace, below):
                    assert oracle.clear(namespace, below=below) == one.clear(namespace, below=below)
                case "search", (namespace, query, limit):
                    wanted = oracle.search(namespace, query=query, limit=limit)
                    found = one.search(namespace, query=query, limit=limit)
                    assert [item.score for item in found] == pytest.approx([item.score for item in wanted], abs=1e-5)
                    everything = oracle.search(namespace, query=query, limit=100)
                    assert sorted(
                        (item.namespace, item.key, item.value) for item in one.search(namespace, query=query, limit=100)
                    ) == sorted((item.namespace, item.key, item.value) for item in everything)
                case "trim", ():
                    for name in admin.scan_iter(f"{own}:item-vector-changes:*"):
                        admin.ltrim(name, -2, -1)
                case "lose", (namespace,):
                    admin.delete(item_keys(own, namespace).changes("default"))

    agree()


@pytest.mark.anyio
@pytest.mark.parametrize("kind", KINDS)
async def test_a_second_search_reads_what_is_new(kind: str, valkey_server: ValkeyServer, prefix: str) -> None:
    with CountingProxy(valkey_server.port) as proxy:
        async with open_items(kind, proxy.port, prefix=prefix, index=INDEX) as keep:
            await keep.batch(
                [PutItem(namespace=("n",), key=f"{number}", value=texts(2, "abc"[number % 3])) for number in range(300)]
            )
            first = await keep.search(("n",), query="ab", limit=1)
            assert proxy.received > 20_000
            proxy.reset()
            assert await keep.search(("n",), query="ab", limit=1) == first
            # The namespaces with their changes, and the items found.
            assert proxy.turns == 2
            assert proxy.received < 3_000
            await keep.put(("n",), "new", {"texts": ["ab"]})
            proxy.reset()
            again = await keep.search(("n",), query="ab", limit=1)
            assert again[0].key == "new"
            assert proxy.turns == 4
            assert proxy.received < 3_000
            # A namespace that was not expected costs another round trip, and nothing is missed.
            await keep.put(("n", "below"), "deep", {"texts": ["ab"]})
            proxy.reset()
            assert {item.key for item in await keep.search(("n",), query="ab", limit=2)} == {"new", "deep"}
            assert proxy.turns == 5
            proxy.reset()
            assert {item.key for item in await keep.search(("n",), query="ab", limit=2)} == {"new", "deep"}
            assert proxy.turns == 2


def test_what_ended_is_not_found(
    valkey_server: ValkeyServer, admin: valkey.Valkey, opened: Opened, prefix: str
) -> None:
    keep = opened(f"valkey://127.0.0.1:{valkey_server.port}", prefix, options())
    keep.put(("n",), "ends", {"text": "a"}, ttl=100)
    keep.put(("n",), "stays", {"text": "aab"})
    assert [item.key for item in keep.search(("n",), query="a")] == ["ends", "stays"]
    keys = item_keys(prefix, ("n",))
    for name in (keys.record("ends"), keys.vector("default", "ends:0")):
        admin.pexpire(name, 1)
    while admin.exists(keys.record("ends"), keys.vector("default", "ends:0")):
        time.sleep(0.001)
    for _ in range(2):
        assert [item.key for item in keep.search(("n",), query="a")] == ["stays"]


def test_another_process_is_heard(valkey_server: ValkeyServer, opened: Opened, prefix: str) -> None:
    url = f"valkey://127.0.0.1:{valkey_server.port}"
    keep = opened(url, prefix, options())
    keep.put(("n",), "old", {"text": "a"})
    keep.put(("n",), "gone", {"text": "aab"})
    assert [item.key for item in keep.search(("n",), query="a")] == ["old", "gone"]
    program = f"""
from statekeep import connect
from statekeep.testing.embedding import DIMS, letter_counts
index = {{"dims": DIMS, "embed": letter_counts, "fields": ["text", "parts[*]"], "index_type": "flat"}}
with connect({url!r}, prefix={prefix!r}, index=index) as keep:
    keep.items.put(("n",), "old", {{"text": "b"}})
    keep.items.put(("n",), "new", {{"text": "a"}})
    keep.items.delete(("n",), "gone")
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    found = keep.search(("n",), query="a")
    assert [(item.key, item.value) for item in found] == [("new", {"text": "a"}), ("old", {"text": "b"})]


def test_a_server_that_lacks_the_last_changes_is_noticed(
    valkey_server: ValkeyServer, admin: valkey.Valkey, opened: Opened, prefix: str
) -> None:
    keep = opened(f"valkey://127.0.0.1:{valkey_server.port}", prefix, options())
    for key in ("one", "other"):
        keep.put(("n",), key, {"text": "a"})
    assert len(keep.search(("n",), query="a")) == 2
    state = {name: admin.dump(name) for name in admin.scan_iter(f"{prefix}:*")}
    keep.put(("n",), "one", {"no": "text"})
    assert [item.score is None for item in keep.search(("n",), query="a")] == [False, True]
    for name, data in state.items():
        admin.restore(name, 0, data, replace=True)  # type: ignore[arg-type]
    assert [item.score for item in keep.search(("n",), query="a")] == pytest.approx([1, 1])


def test_many_changes_and_many_deletions_are_read_anew(
    valkey_server: ValkeyServer, admin: valkey.Valkey, opened: Opened, prefix: str
) -> None:
    url = f"valkey://127.0.0.1:{valkey_server.port}"
    keep, other = opened(url, prefix, options()), opened(url, prefix, options())

    def put(first: int, last: int) -> None:
        numbers = range(first, last)
        other.batch([PutItem(namespace=("n",), key=f"{number}", value={"text": "b"}) for number in numbers])

    changes = item_keys(prefix, ("n",)).changes("default")
    other.put(("n",), "near", {"text": "a"})
    assert [item.key for item in keep.search(("n",), query="a", limit=1)] == ["near"]
    for step in range(0, 2400, 400):
        put(step, step + 400)
    assert 1000 <= cast(int, admin.llen(changes)) <= 2000
    other.put(("n",), "nearer", {"text": "aa"})
    found = keep.search(("n",), query="aa", limit=3000)
    assert len(found) == 2402
    assert {item.key for item in found[:2]} == {"near", "nearer"}
    other.clear(("n",))
    assert keep.search(("n",), query="aa") == []
    assert admin.exists(changes) == 0
    other.put(("n",), "again", {"text": "a"})
    assert [item.key for item in keep.search(("n",), query="aa")] == ["again"]


def test_a_small_cache_gives_the_same_answers(valkey_server: ValkeyServer, opened: Opened, prefix: str) -> None:
    url = f"valkey://127.0.0.1:{valkey_server.port}"
    sizes = (0, size_of(64, DIMS), 2 * size_of(64, DIMS), 10**9)
    some = [opened(url, prefix, options(vector_cache=size)) for size in sizes]
    for number in range(90):
        some[0].put(("n", f"{number % 3}"), f"{number}", {"text": "ab"[number % 2] * (1 + number // 30)})
    wanted = some[0].search(("n",), query="aab", limit=40)
    for _ in range(2):
        for keep in some:
            found = keep.search(("n",), query="aab", limit=40)
            assert [item.score for item in found] == pytest.approx([item.score for item in wanted])
            assert keep.search(("n", "1"), query="aab") == some[0].search(("n", "1"), query="aab")


@pytest.mark.anyio
async def test_many_namespaces_are_read_together(valkey_server: ValkeyServer, prefix: str) -> None:
    with CountingProxy(valkey_server.port) as proxy:
        async with open_items(KINDS[0], proxy.port, prefix=prefix, index=INDEX) as keep:
            await keep.batch([PutItem(namespace=("n", f"{number}"), key="k", value=texts(1)) for number in range(250)])
            for turns in (11, 5):
                proxy.reset()
                assert (await keep.search(("n",), query="a", limit=1))[0].key == "k"
                # The namespaces; of each hundred what changed and, at first, names and vectors; the item.
                assert proxy.turns == turns


def test_in_a_cluster_each_slot_is_asked(valkey_cluster: ValkeyCluster, opened: Opened, prefix: str) -> None:
    keep, other = opened(valkey_cluster.url, prefix, options()), opened(valkey_cluster.url, prefix, options())
    for number in range(12):
        keep.put(("n", f"{number}"), "k", {"text": "a" * number + "b"})
    for _ in range(2):
        assert [item.namespace for item in keep.search(("n",), query="b", limit=2)] == [("n", "0"), ("n", "1")]
    other.put(("n", "7"), "k", {"text": "b"})
    other.delete(("n", "0"), "k")
    assert [item.namespace for item in keep.search(("n",), query="b", limit=2)] == [("n", "7"), ("n", "1")]


@pytest.mark.parametrize("entry", [b"", b"x", b"12", b"-1 a", b"1 a{", b"\xff", b"9" * 40 + b" a"])
def test_a_damaged_change_is_named(
    entry: bytes, valkey_server: ValkeyServer, admin: valkey.Valkey, opened: Opened, prefix: str
) -> None:
    keep = opened(f"valkey://127.0.0.1:{valkey_server.port}", prefix, options())
    keep.put(("n",), "k", {"text": "a"})
    keep.search(("n",), query="a")
    changes = item_keys(prefix, ("n",)).changes("default")
    admin.rpush(changes, entry)
    with pytest.raises(CorruptRecord) as caught:
        keep.search(("n",), query="a")
    assert caught.value.key == changes
    # A put goes on with a number that is greater than all before.
    keep.put(("n",), "other", {"text": "ab"})
    admin.lrem(changes, 1, entry)  # type: ignore[arg-type]
    assert {item.key for item in keep.search(("n",), query="a")} == {"k", "other"}
