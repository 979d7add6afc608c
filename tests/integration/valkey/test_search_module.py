"""The search module's commands through every client: setting up the index, searching, and what the server refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
import valkey
from valkey.exceptions import ResponseError

from statekeep.domain import Conflict, CorruptRecord, StatekeepError, VectorIndex
from statekeep.domain.filters import checked
from statekeep.repositories.operation import Operation, arun, run
from statekeep.repositories.records.vectors import packed, scores
from statekeep.repositories.valkey.client.errors import IndexExists, IndexMissing
from statekeep.repositories.valkey.client.factory import Client, client_from_url
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.repositories.valkey.items.search import index as module
from statekeep.repositories.valkey.items.search import query as search_query
from statekeep.repositories.valkey.requests import Ask
from statekeep.testing.servers import ValkeyCluster, ValkeyServer

from .search_responder import SearchResponder
from .test_clients import ASYNC, SYNC, asker

pytestmark = pytest.mark.anyio


def vectors_of(texts: Sequence[str]) -> list[list[float]]:
    return [[float(len(text)), 1.0] for text in texts]


def options(**changes: Any) -> VectorIndex:
    return VectorIndex(**{"dims": 2, "embed": vectors_of, "index_type": "flat", **changes})


VALUES: dict[str, Any] = {
    "one": {"kind": "a", "rank": 1, "vector": [1.0, 0.0]},
    "two": {"kind": "a", "rank": 2, "vector": [1.0, 1.0]},
    "three": {"kind": "b", "rank": 1, "vector": [0.0, 3.0]},
    "four": {"kind": "b", "rank": True, "vector": [-1.0, 0.5]},
}


def put(
    client: Any, prefix: str, index: VectorIndex, namespace: tuple[str, ...], key: str, value: Any, vector: bytes
) -> None:
    fields = {
        "vector": vector,
        "namespaces": ",".join(search_query.namespace_tags(namespace)),
        "attributes": ",".join(search_query.attribute_tags(value)),
        "updated_at": "now",
    }
    client.hset(item_keys(prefix, namespace).vector(index.collection_name, f"{key}:0"), mapping=fields)


def store(server: SearchResponder, prefix: str, index: VectorIndex, namespace: tuple[str, ...] = ("n",)) -> None:
    with valkey.Valkey(port=server.port) as client:
        for key, value in VALUES.items():
            (vector,) = packed([value["vector"]], 1, 2)
            put(client, prefix, index, namespace, key, value, vector)


def search(
    prefix: str, index: VectorIndex, query: Sequence[float], namespace: tuple[str, ...], filter: Any, k: int
) -> Operation[list[tuple[str, float]]]:
    (vector,) = packed([query], 1, 2)
    tags = search_query.pushed_down(checked(filter))
    found = search_query.candidates((yield Ask(search_query.search_command(prefix, index, vector, namespace, tags, k))))
    assert found.total == len(found.candidates)
    return [
        (
            search_query.parse_key(prefix, index.collection_name, key).key,
            search_query.score(index.distance_metric, distance),
        )
        for key, distance in found.candidates
    ]


@pytest.fixture
def client(search_server: SearchResponder) -> Any:
    found = client_from_url(search_server.url, client="valkey-py")
    yield found
    found.close()


@pytest.mark.parametrize("kind", SYNC + ASYNC)
async def test_every_client_sets_up_and_searches(kind: str, search_server: SearchResponder, prefix: str) -> None:
    index = options()
    async with asker(kind, search_server) as ask:
        found = await arun(module.setup(prefix, index, False), ask)
        assert found == module.Index(search_query.index_name(prefix, "default"), is_ready=True)
        store(search_server, prefix, index)
        everything = await arun(search(prefix, index, [1, 0], (), {}, 10), ask)
        assert [key for key, _ in everything] == ["one", "two", "three", "four"]
        assert everything[0][1] == 1.0
        assert await arun(search(prefix, index, [1, 0], ("m",), {}, 10), ask) == []
        assert [key for key, _ in await arun(search(prefix, index, [0, 1], ("n",), {"kind": "a"}, 10), ask)] == [
            "two",
            "one",
        ]
        assert await arun(module.setup(prefix, index, False), ask) == found
        assert await arun(module.ready(found.name or "", False), ask) is True

        with pytest.raises(IndexExists, match="such a search index already"):
            await ask(Ask(module.create_command(prefix, index)))
        with pytest.raises(IndexMissing, match=r"no such search index.*call setup\(\)") as missing:
            await ask(Ask(["FT.INFO", f"{prefix}-none"], near="the name"))
        assert missing.value.key == "the name"
        with pytest.raises(StatekeepError, match=r"Invalid:? query string syntax") as strange:
            await ask(Ask(["FT.SEARCH", search_query.index_name(prefix, "default"), "*"]))
        assert type(strange.value) is StatekeepError


@pytest.mark.parametrize("kind", SYNC + ASYNC)
async def test_a_server_without_the_module(kind: str, valkey_server: ValkeyServer, prefix: str) -> None:
    async with asker(kind, valkey_server) as ask:
        assert await arun(module.setup(prefix, options(), False), ask) == module.NO_MODULE


@pytest.mark.parametrize("kind", SYNC + ASYNC)
async def test_a_question_is_answered_by_the_primary_of_a_slot(
    kind: str, valkey_cluster: ValkeyCluster, prefix: str
) -> None:
    async with asker(kind, valkey_cluster) as ask:
        found = set()
        with valkey.ValkeyCluster(port=valkey_cluster.ports[0], host="127.0.0.1") as client:
            for number in range(12):
                near = f"{prefix}:{number}"
                primary = client.get_node_from_key(f"{{{near}}}:key")
                with valkey.Valkey(port=primary.port) as of_node:
                    expected = of_node.execute_command("CLUSTER MYID")
                for _ in range(2):
                    assert await ask(Ask(["CLUSTER", "MYID"], near=near)) == expected
                found.add(expected)
        assert len(found) == 3
        assert await arun(module.setup(prefix, options(), True), ask) == module.NO_MODULE


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
@pytest.mark.parametrize("index_type", ["flat", "hnsw"])
def test_scores_are_those_of_exact_search(
    metric: str, index_type: str, search_server: SearchResponder, client: Client, prefix: str
) -> None:
    index = options(distance_metric=metric, index_type=index_type)
    run(module.setup(prefix, index, False), client.execute)
    store(search_server, prefix, index)
    found = run(search(prefix, index, [0.5, 0.25], (), {}, 10), client.execute)
    rows = packed([value["vector"] for value in VALUES.values()], 4, 2)
    exact = scores(metric, packed([[0.5, 0.25]], 1, 2)[0], rows)
    assert dict(found) == pytest.approx(dict(zip(VALUES, map(float, exact), strict=True)), abs=1e-6)
    ranks = [score for _, score in found]
    assert ranks == sorted(ranks, reverse=True)


def test_filters_are_pushed_down(search_server: SearchResponder, client: Client, prefix: str) -> None:
    index = options()
    run(module.setup(prefix, index, False), client.execute)
    store(search_server, prefix, index, ("users", "ada"))
    store(search_server, prefix, index, ("user",))

    def keys(namespace: tuple[str, ...], filter: Any, k: int = 100) -> list[str]:
        return sorted(key for key, _ in run(search(prefix, index, [1, 0], namespace, filter, k), client.execute))

    assert keys(("users",), {}) == sorted(VALUES)
    assert keys(("users", "ada"), {"kind": "b"}) == ["four", "three"]
    assert keys(("users", "ada"), {"rank": 1.0, "kind": "a"}) == ["one"]
    assert keys(("users", "ada"), {"rank": {"$eq": True}}) == ["four"]
    assert keys(("users", "ada"), {"rank": {"$gt": 1}}) == sorted(VALUES)
    assert len(keys((), {})) == 8
    assert len(keys((), {}, 5)) == 5


def test_more_than_ten_are_found(search_server: SearchResponder, client: Client, prefix: str) -> None:
    index = options()
    run(module.setup(prefix, index, False), client.execute)
    for number in range(10):
        store(search_server, prefix, index, (str(number),))
    assert len(run(search(prefix, index, [1, 0], (), {}, 40), client.execute)) == 40


def test_a_value_of_many_fields_is_found_by_each(search_server: SearchResponder, client: Client, prefix: str) -> None:
    index = options()
    run(module.setup(prefix, index, False), client.execute)
    value = {f"field{number}": number for number in range(search_query.MOST_ATTRIBUTES + 1)}
    with valkey.Valkey(port=search_server.port) as raw:
        (vector,) = packed([[1, 0]], 1, 2)
        put(raw, prefix, index, (), "many", value, vector)
    assert run(search(prefix, index, [1, 0], (), {"field77": 77}, 9), client.execute) == [("many", 1.0)]
    assert run(search(prefix, index, [1, 0], (), value, 9), client.execute) == [("many", 1.0)]


def test_another_index_is_a_conflict(search_server: SearchResponder, client: Client, prefix: str) -> None:
    index = options(index_type="hnsw", hnsw_m=8, fields=["a", "b"])
    run(module.setup(prefix, index, False), client.execute)
    for changes in ({"hnsw_ef_runtime": 99}, {"fields": ["b", "a"]}, {"timezone": "Europe/Berlin"}):
        run(module.setup(prefix, index.model_copy(update=changes), False), client.execute)

    name = search_query.index_name(prefix, "default")
    indexes: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ({"hnsw_m": 9}, {"hnsw_m": 9}, {"hnsw_m": 8}),
        ({"hnsw_ef_construction": 300}, {"hnsw_ef_construction": 300}, {"hnsw_ef_construction": 200}),
        ({"index_type": "flat"}, {"index_type": "flat"}, {"index_type": "hnsw"}),
    ]
    for changes, expected, actual in indexes:
        with pytest.raises(Conflict, match=f"another collection_name, or drop the index with FT.DROPINDEX {name}") as e:
            run(module.setup(prefix, index.model_copy(update=changes), False), client.execute)
        assert (e.value.key, e.value.expected, e.value.actual) == (name, expected, actual)
        assert f"is {next(iter(actual.values()))!r}, not {next(iter(expected.values()))!r}" in str(e.value)

    key = module.definition_key(prefix, "default")
    definitions: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
        ({"dims": 3}, {"dims": 3}, {"dims": 2}),
        ({"distance_metric": "l2"}, {"distance_metric": "l2"}, {"distance_metric": "cosine"}),
        ({"fields": ("a",)}, {"fields": ["a"]}, {"fields": ["a", "b"]}),
    ]
    for update, expected, actual in definitions:
        with pytest.raises(Conflict, match="use another collection_name, and put the items again") as e:
            run(module.setup(prefix, index.model_copy(update=update), False), client.execute)
        assert (e.value.key, e.value.expected, e.value.actual) == (key, expected, actual)

    run(module.setup(prefix, index.model_copy(update={"collection_name": "other", "dims": 3}), False), client.execute)
    client.execute(Ask(["FT.DROPINDEX", name]))
    run(module.setup(prefix, index.model_copy(update={"hnsw_m": 9}), False), client.execute)


def test_somebody_elses_index_is_a_conflict(search_server: SearchResponder, client: Client, prefix: str) -> None:
    index = options()
    command = module.create_command(prefix, index)
    command[6] = "other:"
    client.execute(Ask(command))
    with pytest.raises(Conflict, match="prefixes is"):
        run(module.setup(prefix, index, False), client.execute)


def test_damaged_definitions(search_server: SearchResponder, client: Client, prefix: str) -> None:
    with valkey.Valkey(port=search_server.port) as raw:
        for text in ("{", "[]", "", b"\xff"):
            raw.set(module.definition_key(prefix, "default"), text)
            with pytest.raises(CorruptRecord, match="no definition of vectors") as e:
                run(module.setup(prefix, options(), False), client.execute)
            assert e.value.key == module.definition_key(prefix, "default")


def test_vectors_that_were_there_before_the_index(search_server: SearchResponder, client: Client, prefix: str) -> None:
    index = options()
    store(search_server, prefix, index)
    search_server.module.slow_backfill = True
    found = run(module.setup(prefix, index, False), client.execute)
    assert found.name is not None
    assert not found.is_ready
    assert run(search(prefix, index, [1, 0], (), {}, 10), client.execute) == []
    store(search_server, prefix, index, ("later",))
    assert len(run(search(prefix, index, [1, 0], (), {}, 10), client.execute)) == 4
    assert run(module.ready(found.name, False), client.execute) is False
    search_server.module.finish_backfill()
    assert run(module.ready(found.name, False), client.execute) is True
    assert len(run(search(prefix, index, [1, 0], (), {}, 10), client.execute)) == 8


def test_a_flushed_database_has_no_index(own_search_server: SearchResponder, prefix: str) -> None:
    index = options()
    with valkey.Valkey(port=own_search_server.port) as raw:
        other = client_from_url(f"{own_search_server.url}/1", client="valkey-py")
        client = client_from_url(own_search_server.url, client="valkey-py")
        for one in (client, other):
            run(module.setup(prefix, index, False), one.execute)
        raw.flushdb()
        with pytest.raises(IndexMissing):
            run(search(prefix, index, [1, 0], (), {}, 10), client.execute)
        assert run(search(prefix, index, [1, 0], (), {}, 10), other.execute) == []
        run(module.setup(prefix, index, False), client.execute)
        assert run(search(prefix, index, [1, 0], (), {}, 10), client.execute) == []
        raw.flushall()
        with pytest.raises(IndexMissing):
            run(search(prefix, index, [1, 0], (), {}, 10), other.execute)
        client.close()
        other.close()


async def test_many_set_up_at_once(search_server: SearchResponder, prefix: str) -> None:
    clients = [client_from_url(search_server.url, client="valkey-py") for _ in range(8)]
    found = await asyncio.gather(*(arun(module.setup(prefix, options(), False), one.aexecute) for one in clients))
    assert found == [module.Index(search_query.index_name(prefix, "default"))] * 8
    for one in clients:
        await one.aclose()


def test_the_responder_is_a_server(search_server: SearchResponder, prefix: str) -> None:
    """It must not be the reason why a test passes."""
    with valkey.Valkey(port=search_server.port, protocol=3) as client:
        with client.pipeline(transaction=False) as pipeline:
            for number in range(50):
                pipeline.execute_command("FT._LIST" if number % 7 == 3 else "ECHO", *[str(number)] * (number % 7 != 3))
            replies = pipeline.execute()
        assert [reply for number, reply in enumerate(replies) if number % 7 != 3] == [
            str(number).encode() for number in range(50) if number % 7 != 3
        ]
        assert all(isinstance(reply, list) for number, reply in enumerate(replies) if number % 7 == 3)

        big = b"\r\n$5\r\n" * 300_000
        client.hset(f"{prefix}:big", mapping={"a": big, "b": ""})
        assert client.hgetall(f"{prefix}:big") == {b"a": big, b"b": b""}
        assert client.execute_command("COMMAND LIST", "FILTERBY", "PATTERN", "GET") == [b"get"]

        def refused(*command: Any) -> str:
            with pytest.raises(ResponseError) as error:
                client.execute_command(*command)
            return str(error.value)

        index = options()
        create: Any = module.create_command(prefix, index)
        name = search_query.index_name(prefix, "default")
        client.execute_command(*create)
        assert refused(*create) == f"Index {name} in database 0 already exists."
        assert refused("FT.SEARCH", f"{name}x", "*") == f"Index with name '{name}x' not found in database 0"
        query: Any = search_query.search_command(prefix, index, bytes(8), ("n",), ["ab"], 3)
        assert client.execute_command(*query) == [0]
        assert "does not match index's expected size (8)" in refused(*query[:6], bytes(4), *query[7:])
        assert "Unexpected parameter" in refused(*query, "NOCONTENT")
        assert "Invalid filter expression" in refused(*query[:2], query[2].replace("{ab|any}", "{a-b}"), *query[3:])
        assert "not indexed as a tag field" in refused(*query[:2], query[2].replace("attributes", "none"), *query[3:])
        assert "Value out of range" in refused(*query[:2], query[2].replace("KNN 3", "KNN 10001"), *query[3:])
        assert "too long" in refused(*query[:2], query[2].replace("ab", "a" * 10_240), *query[3:])
        assert "hash tag" in refused("FT.CREATE", "x", *create[2:6], "a:{b}:", *create[7:])
        assert "unknown command" in refused("FT.ALTER", name)
        assert search_server.module.commands[-1] == [b"FT.ALTER", name.encode()]
