"""Search by meaning gives the same answer with the search module, without it, and in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, Literal

import pytest
import valkey
from hypothesis import given
from hypothesis import strategies as st

from statekeep import Conflict, ItemRepository, SearchItem, VectorIndex
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.valkey import ValkeyItems
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.repositories.valkey.items.search.query import index_name
from statekeep.testing.embedding import DIMS, letter_counts
from statekeep.testing.servers import ValkeyServer

from .search_kinds import Opened, searches
from .search_responder import SearchResponder

Metric = Literal["cosine", "ip", "l2"]


def options(**changes: Any) -> VectorIndex:
    return VectorIndex(
        **{"dims": DIMS, "embed": letter_counts, "fields": ["text", "parts[*]"], "index_type": "flat", **changes}
    )


class Ports:
    """Opens repositories over ports, and closes them."""

    def __init__(self) -> None:
        self._opened = Opened()
        self.close = self._opened.close

    def __call__(self, port: int, prefix: str, index: VectorIndex | None = None, **more: Any) -> ItemRepository:
        return self._opened(f"valkey://127.0.0.1:{port}", prefix, index or options(), **more)


@pytest.fixture
def opened() -> Iterator[Ports]:
    found = Ports()
    yield found
    found.close()


@pytest.fixture
def keep(search_server: SearchResponder, prefix: str, opened: Ports) -> ItemRepository:
    """A repository that searches with the module."""
    repository = opened(search_server.port, prefix)
    repository.setup()
    return repository


def shown(found: Sequence[SearchItem]) -> list[tuple[tuple[str, ...], str, float | None]]:
    return [(item.namespace, item.key, None if item.score is None else round(item.score, 5) + 0.0) for item in found]


def asked(server: SearchResponder, command: str = "FT.SEARCH") -> int:
    return sum(words[0].upper() == command.encode() for words in server.module.commands)


TEXTS = st.text(alphabet="abc", max_size=3)
VALUES = st.fixed_dictionaries(
    {"text": TEXTS},
    optional={"parts": st.lists(TEXTS, max_size=6), "kind": st.sampled_from(["x", "y", 1, 1.0, True, None])},
)
FILTERS = st.sampled_from(
    [None, {"kind": "x"}, {"kind": 1}, {"kind": True}, {"kind": {"$ne": "x"}}, {"kind": None}, {"kind": {"$eq": "y"}}]
)
PLACES = st.sampled_from([("n",), ("n", "a"), ("n", "b"), ("nn",), ()])


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_all_engines_agree(
    metric: Metric,
    valkey_server: ValkeyServer,
    search_server: SearchResponder,
    redisearch_server: ValkeyServer,
    opened: Ports,
    prefix: str,
) -> None:
    index = options(distance_metric=metric)
    graph = options(distance_metric=metric, index_type="hnsw", collection_name="graph")
    uses = searches(redisearch_server)
    number = 0

    @given(
        puts=st.lists(st.tuples(PLACES, st.sampled_from("pqrst"), VALUES, st.booleans()), max_size=12),
        deleted=st.lists(st.tuples(PLACES, st.sampled_from("pqrst")), max_size=3),
        queries=st.lists(
            st.tuples(PLACES, st.sampled_from(["a", "ab", "c"]), FILTERS, st.integers(0, 6), st.integers(0, 3)),
            min_size=1,
            max_size=3,
        ),
    )
    def agree(puts: Any, deleted: Any, queries: Any) -> None:
        nonlocal number
        number += 1
        repositories = [
            ItemRepository(MemoryItems(index=index)),
            opened(valkey_server.port, f"{prefix}-e{number}", index),
            opened(search_server.port, f"{prefix}-m{number}", index),
            opened(redisearch_server.port, f"{prefix}-f{number}", index),
            opened(redisearch_server.port, f"{prefix}-h{number}", graph),
        ]
        for repository in repositories:
            repository.setup()
            for namespace, key, value, is_indexed in puts:
                repository.put(namespace, key, value, index=None if is_indexed else False)
            for namespace, key in deleted:
                repository.delete(namespace, key)
        for namespace, query, wanted, limit, offset in queries:
            everything, *others = (
                repository.search(namespace, query=query, filter=wanted, limit=100) for repository in repositories
            )
            scores = {(item.namespace, item.key): item.score for item in everything}
            for found in others:
                # What has equal scores is in no order with the module.
                assert sorted(map(str, shown(found))) == sorted(map(str, shown(everything)))
                assert [item.score is None for item in found] == [item.score is None for item in everything]
                numbers = [item.score for item in found if item.score is not None]
                assert all(one >= other - 1e-5 for one, other in pairwise(numbers))
            for repository in repositories:
                page = repository.search(namespace, query=query, filter=wanted, limit=limit, offset=offset)
                assert len(page) == max(0, min(limit, len(everything) - offset))
                for item, same_place in zip(page, everything[offset:], strict=False):
                    assert item.score == pytest.approx(scores[item.namespace, item.key], abs=1e-5)
                    assert item.score == pytest.approx(same_place.score, abs=1e-5)

    agree()
    assert asked(search_server) > 0
    assert searches(redisearch_server) > uses


def test_a_search_with_the_module_asks_it_once(keep: ItemRepository, search_server: SearchResponder) -> None:
    for number in range(30):
        keep.put(("n", str(number % 3)), str(number), {"text": "a" * (number % 5) + "b" * (number % 7)})
    search_server.module.commands.clear()
    assert len(keep.search(("n",), query="ab", limit=5)) == 5
    assert [words[0] for words in search_server.module.commands] == [b"FT.SEARCH"]


def test_more_candidates_are_fetched_until_there_are_enough(
    keep: ItemRepository, search_server: SearchResponder
) -> None:
    for number in range(300):
        keep.put(("n",), f"{number:03}", {"text": "a" * 20 + "b" * number, "rank": number})
    search_server.module.commands.clear()
    found = keep.search(("n",), query="a", filter={"rank": {"$gte": 290}}, limit=5)
    assert [item.value["rank"] for item in found] == [290, 291, 292, 293, 294]
    assert asked(search_server) > 1


def test_many_vectors_of_one_item_hide_no_other(keep: ItemRepository) -> None:
    keep.put(("n",), "many", {"text": "a", "parts": ["a" * count for count in range(1, 60)]})
    keep.put(("n",), "one", {"text": "ab"})
    keep.put(("n",), "two", {"text": "abb"})
    assert [item.key for item in keep.search(("n",), query="a", limit=3)] == ["many", "one", "two"]


def test_vectors_that_were_left_over_find_nothing_and_are_removed(
    keep: ItemRepository, search_server: SearchResponder, prefix: str
) -> None:
    keys = item_keys(prefix, ("n",))
    keep.put(("n",), "k", {"text": "ab"})
    keep.put(("n",), "other", {"text": "b"})
    with valkey.Valkey(port=search_server.port) as client:
        left = {**client.hgetall(keys.vector("default", "other:0")), b"updated_at": b"1.0"}
        # As if a client had died before it removed them. Both are nearer to the query than what is true.
        for member in ("k:5", "gone:0"):
            client.hset(keys.vector("default", member), mapping=left)
            client.zadd(keys.vectors("default"), {member: 0})
        assert shown(keep.search(("n",), query="b")) == [(("n",), "other", 1.0), (("n",), "k", 0.70711)]
        assert not client.exists(keys.vector("default", "gone:0"), keys.vector("default", "k:5"))
        assert client.zrange(keys.vectors("default"), 0, -1) == [b"k:0", b"other:0"]


def test_an_index_that_is_gone_is_made_again(own_search_server: SearchResponder, prefix: str, opened: Ports) -> None:
    keep = opened(own_search_server.port, prefix)
    keep.setup()
    keep.put(("n",), "k", {"text": "b"})
    with valkey.Valkey(port=own_search_server.port) as client:
        client.execute_command("FT.DROPINDEX", index_name(prefix, "default"))
        own_search_server.module.commands.clear()
        assert shown(keep.search(("n",), query="b")) == [(("n",), "k", 1.0)]
        assert asked(own_search_server, "FT.CREATE") == 1
        assert shown(keep.search(("n",), query="b")) == [(("n",), "k", 1.0)]
        client.flushall()
        keep.put(("n",), "k2", {"text": "b"})
        assert shown(keep.search(("n",), query="b")) == [(("n",), "k2", 1.0)]


def test_what_was_put_before_the_index_is_found(
    valkey_server: ValkeyServer, search_server: SearchResponder, prefix: str, opened: Ports
) -> None:
    opened(valkey_server.port, prefix).put(("n",), "k", {"text": "b"})
    search_server.module.slow_backfill = True
    keep = opened(search_server.port, prefix, kind=ValkeyItems)
    keep.setup()
    search_server.module.commands.clear()
    assert shown(keep.search(("n",), query="b")) == [(("n",), "k", 1.0)]
    assert asked(search_server) == 0
    search_server.module.finish_backfill()
    assert shown(keep.search(("n",), query="b")) == [(("n",), "k", 1.0)]
    assert asked(search_server) == 1


def test_without_setup_the_search_is_exact(search_server: SearchResponder, prefix: str, opened: Ports) -> None:
    keep = opened(search_server.port, prefix)
    keep.put(("n",), "k", {"text": "b"})
    search_server.module.commands.clear()
    assert shown(keep.search(("n",), query="b")) == [(("n",), "k", 1.0)]
    assert asked(search_server) == 0


def test_another_definition_is_reported(search_server: SearchResponder, prefix: str, opened: Ports) -> None:
    opened(search_server.port, prefix).setup()
    opened(search_server.port, prefix).setup()
    with pytest.raises(Conflict) as conflict:
        opened(search_server.port, prefix, options(distance_metric="l2")).setup()
    assert conflict.value.expected == {"distance_metric": "l2"}
    assert conflict.value.actual == {"distance_metric": "cosine"}
    with pytest.raises(Conflict, match="hnsw"):
        opened(search_server.port, prefix, options(index_type="hnsw")).setup()
    opened(search_server.port, prefix, options(distance_metric="l2", collection_name="other")).setup()


def test_collections_are_apart_and_a_new_value_removes_the_vectors_of_all(
    search_server: SearchResponder, prefix: str, opened: Ports
) -> None:
    one = opened(search_server.port, prefix)
    other = opened(search_server.port, prefix, options(collection_name="o:{ther}", distance_metric="ip"))
    plain = opened(search_server.port, prefix, VectorIndex(dims=1, embed=len, fields=["nothing"], collection_name="x"))
    one.setup()
    other.setup()
    one.put(("n",), "k", {"text": "b"})
    other.put(("n",), "k2", {"text": "bb"})
    assert shown(one.search(query="b")) == [(("n",), "k", 1.0), (("n",), "k2", None)]
    assert shown(other.search(query="b")) == [(("n",), "k2", 2.0), (("n",), "k", None)]
    plain.put(("n",), "k", {"text": "b"})
    assert shown(one.search(query="b")) == [(("n",), "k", None), (("n",), "k2", None)]
    keys = item_keys(prefix, ("n",))
    with valkey.Valkey(port=search_server.port) as client:
        assert not client.exists(keys.vector("default", "k:0"), keys.vectors("default"))


def test_an_approximate_index_is_asked_likewise(search_server: SearchResponder, prefix: str, opened: Ports) -> None:
    keep = opened(search_server.port, prefix, options(index_type="hnsw"))
    keep.setup()
    for number in range(40):
        keep.put(("n",), str(number), {"text": "ab" * (number + 1), "rank": number})
    assert len(keep.search(("n",), query="a", filter={"rank": {"$lt": 30}}, limit=30)) == 30
