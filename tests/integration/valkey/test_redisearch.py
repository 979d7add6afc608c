"""Search by meaning with the Redis query engine: the same answers as by comparing all vectors."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import pytest

from statekeep import Conflict, InvalidInput, ItemRepository, PutItem, SearchItem, SearchStatus, VectorIndex
from statekeep.repositories.memory import MemoryItems
from statekeep.repositories.process import notices
from statekeep.repositories.valkey import ValkeyItems
from statekeep.repositories.valkey.client.url_client import UrlClient
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.repositories.valkey.items.search.query import index_name, zero_index_name
from statekeep.repositories.valkey.requests import Ask
from statekeep.testing.servers import ValkeyServer

from .search_kinds import Opened, searches

N = ("n",)


def numbers(texts: Sequence[str]) -> list[list[float]]:
    """The vectors that the texts spell."""
    return [[float(number) for number in text.split()] for text in texts]


def options(**changes: Any) -> VectorIndex:
    return VectorIndex(**{"dims": 2, "embed": numbers, "fields": ["at"], "index_type": "flat", **changes})


@pytest.fixture
def opened() -> Iterator[Opened]:
    found = Opened()
    yield found
    found.close()


def ranked(found: Sequence[SearchItem]) -> list[tuple[str, float | None]]:
    return [(item.key, None if item.score is None else round(item.score, 4) + 0.0) for item in found]


def fill(repository: ItemRepository, count: int, seed: int = 1) -> None:
    source = random.Random(seed)
    repository.batch(
        [
            PutItem(
                namespace=N,
                key=str(number),
                value={"at": f"{source.uniform(-1, 1)} {source.uniform(-1, 1)}", "half": number % 2},
            )
            for number in range(count)
        ]
    )


@pytest.mark.parametrize("index_type", ["flat", "hnsw"])
@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_pages_and_filters_are_those_of_the_exact_comparison(
    metric: Literal["cosine", "ip", "l2"], index_type: str, redisearch_server: ValkeyServer, prefix: str, opened: Opened
) -> None:
    index = options(distance_metric=metric, index_type=index_type, hnsw_ef_runtime=500)
    keep, exact = opened(redisearch_server.url, prefix, index), ItemRepository(MemoryItems(index=index))
    keep.setup()
    for repository in (keep, exact):
        fill(repository, 300)
    asked = searches(redisearch_server)
    for query in ("1 0.3", "-0.2 -1"):
        for options_of_search in (
            {"limit": 10},
            {"limit": 7, "offset": 95},
            {"limit": 400},
            {"limit": 5, "filter": {"half": 1}},
            {"limit": 200, "filter": {"half": {"$eq": 0}}},
            {"limit": 3, "offset": 299},
            {"limit": 3, "offset": 300},
        ):
            want = ranked(exact.search(N, query=query, **options_of_search))
            found = ranked(keep.search(N, query=query, **options_of_search))
            assert [score for _, score in found] == pytest.approx([score for _, score in want], abs=2e-4)
            assert len({key for key, _ in found}) == len(want)
    assert searches(redisearch_server) > asked


@pytest.mark.parametrize("index_type", ["flat", "hnsw"])
def test_a_vector_of_zeros_is_neither_near_nor_far(
    index_type: str, redisearch_server: ValkeyServer, prefix: str, opened: Opened
) -> None:
    keep = opened(redisearch_server.url, prefix, options(index_type=index_type, fields=["at", "too"]))
    keep.setup()
    for number in range(20):
        keep.put(N, f"zero{number}", {"at": "0 0" if number % 2 else "-0.0 0"})
    keep.put(N, "near", {"at": "1 0"})
    keep.put(N, "far", {"at": "-1 0"})
    keep.put(N, "both", {"at": "-1 0", "too": "0 0"})
    found = ranked(keep.search(N, query="1 0", limit=30))
    assert found[0] == ("near", 1.0)
    assert found[1] == ("both", 0.0)
    assert [score for _, score in found[2:]] == [0.0] * 20 + [-1.0]
    assert ranked(keep.search(N, query="1 0", limit=3)) == [("near", 1.0), ("both", 0.0), ("zero19", 0.0)]
    assert ranked(keep.search(N, query="0 0", limit=2)) == [("both", 0.0), ("far", 0.0)]
    # What is put anew is what it is now.
    keep.put(N, "zero19", {"at": "1 0"})
    keep.put(N, "near", {"at": "0 0"})
    assert ranked(keep.search(N, query="1 0", limit=2)) == [("zero19", 1.0), ("near", 0.0)]


def test_a_vector_of_zeros_without_its_tag(redisearch_server: ValkeyServer, prefix: str, opened: Opened) -> None:
    """As it was stored before the tag was."""
    keep = opened(redisearch_server.url, prefix, options())
    keep.setup()
    for key, at in {"zero": "0 0", "near": "1 0", "far": "-1 0"}.items():
        keep.put(N, key, {"at": at})
    with redisearch_server.client() as client:
        client.hset(item_keys(prefix, N).vector("default", "zero:0"), "attributes", "")
    assert ranked(keep.search(N, query="1 0")) == [("near", 1.0), ("zero", 0.0), ("far", -1.0)]


def test_more_than_the_server_finds(redisearch_server: ValkeyServer, prefix: str, opened: Opened) -> None:
    with redisearch_server.client() as client:
        client.execute_command("FT.CONFIG", "SET", "MAXSEARCHRESULTS", "20")
    keep, exact = opened(redisearch_server.url, prefix, options()), ItemRepository(MemoryItems(index=options()))
    keep.setup()
    for repository in (keep, exact):
        fill(repository, 60)
    for limit, offset in ((5, 0), (19, 0), (20, 0), (21, 0), (60, 0), (10, 45)):
        want = exact.search(N, query="1 1", limit=limit, offset=offset)
        assert ranked(keep.search(N, query="1 1", limit=limit, offset=offset)) == ranked(want)


def test_an_index_that_is_gone_is_made_again(redisearch_server: ValkeyServer, prefix: str, opened: Opened) -> None:
    keep = opened(redisearch_server.url, prefix, options())
    keep.setup()
    keep.put(N, "k", {"at": "1 0"})
    keep.put(N, "zero", {"at": "0 0"})
    want = [("k", 1.0), ("zero", 0.0)]
    with redisearch_server.client() as client:
        for name in (index_name(prefix, "default"), zero_index_name(prefix, "default")):
            client.execute_command("FT.DROPINDEX", name)
            assert ranked(keep.search(N, query="1 0")) == want
            assert name.encode() in client.execute_command("FT._LIST")
            assert ranked(keep.search(N, query="1 0")) == want
        client.flushall()
        keep.put(N, "k2", {"at": "1 0"})
        assert ranked(keep.search(N, query="1 0")) == [("k2", 1.0)]


def test_what_was_put_before_the_index_is_found(redisearch_server: ValkeyServer, prefix: str, opened: Opened) -> None:
    """Whether the index holds it yet or not."""
    fill(opened(redisearch_server.url, prefix, options()), 3000)
    keep = opened(redisearch_server.url, prefix, options(), ValkeyItems)
    exact = ItemRepository(MemoryItems(index=options()))
    fill(exact, 3000)
    want = ranked(exact.search(N, query="1 1", limit=20))
    keep.setup()
    assert ranked(keep.search(N, query="1 1", limit=20)) == want
    while not keep.backend._module.is_ready:  # type: ignore[attr-defined]
        assert ranked(keep.search(N, query="1 1", limit=20)) == want
    assert ranked(keep.search(N, query="1 1", limit=20)) == want


def test_the_expired_that_are_still_listed_hide_nothing(
    redisearch_server: ValkeyServer, prefix: str, opened: Opened
) -> None:
    keep = opened(redisearch_server.url, prefix, options())
    keep.setup()
    with redisearch_server.client() as client:
        client.execute_command("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        for number in range(30):
            keep.put(N, f"short{number}", {"at": "1 0"}, ttl=0.001)
        keep.put(N, "long", {"at": "1 1"})
        while client.exists(*(item_keys(prefix, N).record(f"short{number}") for number in range(30))):
            pass
        assert ranked(keep.search(N, query="1 0", limit=3)) == [("long", 0.7071)]


def test_setup_says_what_is_active(
    redisearch_server: ValkeyServer,
    valkey_server: ValkeyServer,
    prefix: str,
    opened: Opened,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notices, "_given", set())
    caplog.set_level(logging.INFO, "statekeep.valkey")
    hnsw = options(index_type="hnsw")
    ready = SearchStatus(engine="redisearch", algorithm="hnsw")
    for _ in range(2):
        assert opened(redisearch_server.url, prefix, hnsw).setup() in (
            ready,
            ready.model_copy(update={"is_ready": False}),
        )
    no_module = SearchStatus(engine="exact", reason="the server has no search module")
    plain = opened(valkey_server.url, prefix, hnsw)
    assert [plain.setup(), plain.setup()] == [no_module, no_module]
    assert opened(valkey_server.url, f"{prefix}f", options()).setup() == no_module
    infos = [record.message for record in caplog.records if "search by meaning" in record.message]
    assert len(infos) == 5
    assert infos[0].startswith("search by meaning in the collection 'default': redisearch (hnsw")
    assert (
        infos[2:]
        == ["search by meaning in the collection 'default': exact comparison: the server has no search module"] * 3
    )
    (warning,) = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.startswith("index_type is 'hnsw', but all vectors are compared with each query: the server has no")


def test_without_an_index_there_is_no_search(valkey_server: ValkeyServer, prefix: str, opened: Opened) -> None:
    status = opened(valkey_server.url, prefix, None).setup()
    assert (status.engine, str(status)) == (None, "no search by meaning: there is no index")


def test_an_empty_index(redisearch_server: ValkeyServer, prefix: str, opened: Opened) -> None:
    for number, index in enumerate((options(), options(index_type="hnsw"), options(distance_metric="l2"))):
        keep = opened(redisearch_server.url, f"{prefix}{number}", index)
        keep.setup()
        assert keep.search(N, query="1 0", limit=100, offset=3) == []
        keep.put(N, "k", {"other": 1})
        assert ranked(keep.search(query="1 0")) == [("k", None)]


@pytest.mark.parametrize("filter", [None, {"half": 1}])
def test_what_a_graph_does_not_lead_to_is_found(
    filter: Any, redisearch_server: ValkeyServer, prefix: str, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = opened(redisearch_server.url, prefix, options(index_type="hnsw"))
    keep.setup()
    fill(keep, 20)
    want = ranked(keep.search(N, query="1 0", filter=filter, limit=50))
    execute = UrlClient.execute

    def shortened(client: UrlClient, request: Any) -> Any:
        reply = execute(client, request)
        is_knn = isinstance(request, Ask) and any("KNN" in word for word in request.command if isinstance(word, str))
        return [reply[0] - 1, *reply[3:]] if is_knn else reply

    monkeypatch.setattr(UrlClient, "execute", shortened)
    assert ranked(keep.search(N, query="1 0", filter=filter, limit=50)) == want
    assert None not in [score for _, score in want]


def test_other_databases_are_compared_one_by_one(redisearch_server: ValkeyServer, prefix: str, opened: Opened) -> None:
    url = f"{redisearch_server.url}/1"
    other = opened(url, f"{prefix}-1", options())
    status = other.setup()
    assert status == SearchStatus(engine="exact", reason="the Redis query engine makes indexes in database 0 only")
    other.put(N, "k", {"at": "1 0"})
    assert ranked(other.search(query="1 0")) == [("k", 1.0)]
    # The module would take its vectors for those of database 0.
    opened(redisearch_server.url, prefix, options()).setup()
    with pytest.raises(InvalidInput, match="prefix must be another one than in database 0") as error:
        opened(url, prefix, options()).setup()
    assert error.value.field == "prefix"


def test_another_definition_is_reported(redisearch_server: ValkeyServer, prefix: str, opened: Opened) -> None:
    hnsw = options(index_type="hnsw")
    opened(redisearch_server.url, prefix, hnsw).setup()
    opened(redisearch_server.url, prefix, hnsw).setup()
    for changes in ({"hnsw_m": 9}, {"hnsw_ef_construction": 300}):
        with pytest.raises(Conflict) as conflict:
            opened(redisearch_server.url, prefix, hnsw.model_copy(update=changes)).setup()
        assert conflict.value.expected == changes
    with pytest.raises(Conflict, match="'hnsw', not 'flat'"):
        opened(redisearch_server.url, prefix, options()).setup()
    with redisearch_server.client() as client:
        client.execute_command("FT.DROPINDEX", index_name(prefix, "default"))
        client.execute_command(
            *("FT.CREATE", index_name(prefix, "default"), "PREFIX", "1", f"{prefix}:", "SCHEMA", "namespaces", "TAG")
        )
        with pytest.raises(Conflict, match="prefixes is"):
            opened(redisearch_server.url, prefix, options()).setup()
