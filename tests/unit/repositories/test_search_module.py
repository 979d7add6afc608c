"""The search module's keys, tags, commands and replies, as its documentation and its own source have them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from valkey.exceptions import ResponseError

from statekeep.domain import Conflict, CorruptRecord, InvalidInput, StatekeepError, Unavailable, VectorIndex
from statekeep.domain.filters import checked
from statekeep.repositories.operation import run
from statekeep.repositories.valkey.client.driver import as_resp2
from statekeep.repositories.valkey.client.errors import IndexExists, IndexMissing, IndexNotHere, failure, meaning_of
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.repositories.valkey.items.search import index as module
from statekeep.repositories.valkey.items.search import query as search_query
from statekeep.repositories.valkey.keys import encode_part
from statekeep.repositories.valkey.requests import Ask, Commands

NASTY = ["a.b", "a:b", "{x}", "*", "é 😀", "%2E", ".", ":", "x" * 1000, "\n", "a,b", "|", "0"]


def options(**changes: Any) -> VectorIndex:
    return VectorIndex(**{"dims": 3, "embed": lambda texts: [], **changes})


def vector_key(prefix: str, collection: str, namespace: tuple[str, ...], key: str, ordinal: int) -> str:
    return item_keys(prefix, namespace).vector(collection, f"{encode_part(key)}:{ordinal}")


# -- keys


@pytest.mark.parametrize("namespace", [(), ("a",), ("a", "b"), ("a.b",), *((label, "b") for label in NASTY), (*NASTY,)])
@pytest.mark.parametrize("key", ["", "k", *NASTY])
def test_keys_are_read_back(namespace: tuple[str, ...], key: str) -> None:
    for collection in ("default", "a:{b}"):
        found = vector_key("app", collection, namespace, key, 12)
        assert found.startswith(search_query.start("app", collection))
        assert search_query.parse_key("app", collection, found) == search_query.VectorKey(namespace, key, 12)


def test_keys_are_all_different() -> None:
    namespaces = [(), ("a",), ("a", "b"), ("a.b",), ("a", "b", "c"), ("a.b", "c"), ("a", "b.c")]
    found = {vector_key("p", "c", namespace, key, 0) for namespace in namespaces for key in ["", *NASTY]}
    assert len(found) == len(namespaces) * (len(NASTY) + 1)


def test_what_keys_look_like() -> None:
    assert vector_key("app", "n:1", ("users", "ada.l"), "a/b", 0) == ("app:item-vector:n%3A1:{users.ada%2El}:a%2Fb:0")
    assert vector_key("app", "default", (), "", 3) == "app:item-vector:default:{.}::3"
    # In front of the hash tag, so that the index of a cluster may have it as its prefix.
    assert "{" not in search_query.start("app", "{n}")


@pytest.mark.parametrize(
    "key",
    [
        "",
        "app:item-vector:c:",
        "app:item-vector:c:index",
        "other:item-vector:c:{a}:k:0",
        "app:item-vector:other:{a}:k:0",
        "app:item-vector:c:{a}:k",
        "app:item-vector:c:{a}:k:",
        "app:item-vector:c:{a}:k:x",
        "app:item-vector:c:{a}:k:-1",
        "app:item-vector:c:{a}:k:01",
        "app:item-vector:c:{a}:k:0:0",
        "app:item-vector:c:{a}:k:0\n",
        "app:item-vector:c:{}:k:0",
        "app:item-vector:c:{a.}:k:0",
        "app:item-vector:c:{.a}:k:0",
        "app:item-vector:c:{a}:k.l:0",
        "app:item-vector:c:{a}:%:0",
        "app:item-vector:c:{a}:%ff:0",
        "app:item-vector:c:{a}:%61:0",
        "app:item-vector:c:{%2e}:k:0",
        "app:item-vector:c:{a b}:k:0",
        "app:item-vector:c:{é}:k:0",
        "app:item-vector:c:a:k:0",
        "app:item-vector:c:{a}:k:٣",
    ],
)
def test_keys_of_others(key: str) -> None:
    with pytest.raises(CorruptRecord) as error:
        search_query.parse_key("app", "c", key)
    if "%ff" not in key:
        assert error.value.key == key


# -- tags


def test_tags_of_namespaces() -> None:
    tags = search_query.namespace_tags(("users", "ada", "notes"))
    assert tags == [
        search_query.namespace_tag(namespace)
        for namespace in [(), ("users",), ("users", "ada"), ("users", "ada", "notes")]
    ]
    assert search_query.namespace_tags(()) == [search_query.namespace_tag(())]
    assert (
        len({search_query.namespace_tag(path) for path in [(), ("a",), ("a", "b"), ("a.b",), ("b", "a"), ("a", "b.")]})
        == 6
    )
    for tag in tags:
        assert len(tag) == 20
        assert tag.isalnum()
        assert tag.islower() or tag.isdigit()


@pytest.mark.parametrize(
    ("tags", "text"),
    [
        (search_query.namespace_tags(()), b""),
        (search_query.namespace_tags(("users", "a.b"))[1:2], b"users"),
        (search_query.namespace_tags(("users", "a.b"))[2:], b"users.a%2Eb"),
        (search_query.attribute_tags({"kind": "n\u00f6te"}), rb'["kind", "n\u00f6te"]'),
        (search_query.attribute_tags({"price": 1.0}), b'["price", 1]'),
        (search_query.attribute_tags({"x": 0.1}), b'["x", 0.1]'),
        (search_query.attribute_tags({"on": True}), b'["on", true]'),
    ],
)
def test_tags_stay_the_same_for_ever(tags: list[str], text: bytes) -> None:
    """They are stored."""
    assert tags == [hashlib.blake2b(text, digest_size=10).hexdigest()]


def test_tags_of_values() -> None:
    def tag(value: Any, name: str = "a") -> str:
        (found,) = search_query.attribute_tags({name: value})
        return found

    assert tag(1) == tag(1.0) == tag(True + 0)
    assert tag(0) == tag(-0.0)
    assert tag(10**20) == tag(1e20)
    different = [1, "1", True, False, 0, "", 0.5, "true", 2**53 + 1, 2**53, "a", float("inf"), "\ud800"]
    assert len({tag(value) for value in different}) == len(different)
    assert tag("x", "a") != tag("x", "b")
    assert tag("b", "a") != tag("a", "b")
    assert search_query.attribute_tags({"a": None, "b": [1], "c": {"d": 1}}) == []
    assert search_query.attribute_tags({"b": 2, "n": None, "a": "x"}) == [tag(2, "b"), tag("x")]
    for value in (None, 1, "text", ["a"], [{"a": 1}], True):
        assert search_query.attribute_tags(value) == []


def test_a_value_of_many_fields_has_one_tag() -> None:
    fields = {str(number): number for number in range(search_query.MOST_ATTRIBUTES)}
    assert len(search_query.attribute_tags(fields)) == search_query.MOST_ATTRIBUTES
    assert len(search_query.attribute_tags({**fields, "list": [], "none": None})) == search_query.MOST_ATTRIBUTES
    assert search_query.attribute_tags({**fields, "more": 1}) == [search_query.ANY_ATTRIBUTE]


@pytest.mark.parametrize(
    ("filter", "value"),
    [
        ({"a": 1}, {"a": 1}),
        ({"a": 1.0, "b": "x"}, {"a": 1, "b": "x"}),
        ({"a": {"$eq": "x"}}, {"a": "x"}),
        ({"a": {"$eq": 1, "$gt": 0}}, {"a": 1}),
        ({"a": True}, {"a": True}),
        ({"a": None}, {}),
        ({"a": {"$eq": None}}, {}),
        ({"a": {"$ne": 1}}, {}),
        ({"a": {"$gt": 1, "$lte": 3}}, {}),
        ({"a": {"b": 1}}, {}),
        ({"a": {}}, {}),
        ({"a": [1]}, {}),
        ({"a": {"$eq": [1]}}, {}),
        ({"a": {"$eq": {"b": 1}}}, {}),
        ({}, {}),
    ],
)
def test_what_is_pushed_down(filter: dict[str, Any], value: dict[str, Any]) -> None:
    assert search_query.pushed_down(checked(filter)) == search_query.attribute_tags(value)


def test_no_filter_pushes_nothing_down() -> None:
    assert search_query.pushed_down(None) == []


# -- commands


TAG_FIELDS = "namespaces TAG SEPARATOR , CASESENSITIVE attributes TAG SEPARATOR , CASESENSITIVE"


def test_the_index_of_type_hnsw() -> None:
    index = options(hnsw_m=8, hnsw_ef_construction=150, hnsw_ef_runtime=20, distance_metric="ip", collection_name="n.1")
    assert " ".join(map(str, module.create_command("app", index))) == (
        "FT.CREATE app:item-vector:n%2E1:index ON HASH PREFIX 1 app:item-vector:n%2E1: SCHEMA "
        f"{TAG_FIELDS} vector VECTOR HNSW 12 TYPE FLOAT32 DIM 3 DISTANCE_METRIC IP "
        "M 8 EF_CONSTRUCTION 150 EF_RUNTIME 20"
    )


@pytest.mark.parametrize("metric", ["cosine", "ip", "l2"])
def test_the_index_of_type_flat(metric: str) -> None:
    command = module.create_command("app", options(index_type="flat", distance_metric=metric))
    assert " ".join(map(str, command)) == (
        "FT.CREATE app:item-vector:default:index ON HASH PREFIX 1 app:item-vector:default: SCHEMA "
        f"{TAG_FIELDS} vector VECTOR FLAT 6 TYPE FLOAT32 DIM 3 DISTANCE_METRIC {metric.upper()}"
    )
    assert command.index("TAG") == 9


def test_a_search() -> None:
    vector = bytes(range(12))
    users = search_query.namespace_tag(("users",))
    conditions = "@attributes:{t1|any} @attributes:{t2|any}"
    assert search_query.search_command("app", options(hnsw_ef_runtime=33), vector, ("users",), ["t1", "t2"], 25) == [
        "FT.SEARCH",
        "app:item-vector:default:index",
        f"(@namespaces:{{{users}}} {conditions})=>[KNN 25 @vector $vector EF_RUNTIME 33 AS distance]",
        "PARAMS",
        "2",
        "vector",
        vector,
        "RETURN",
        "1",
        "distance",
        "LIMIT",
        "0",
        "25",
        "DIALECT",
        "2",
    ]


@pytest.mark.parametrize(
    ("namespace", "tags", "which"),
    [
        ((), [], "*"),
        ((), ["t"], "(@attributes:{t|any})"),
        (("a",), [], f"(@namespaces:{{{search_query.namespace_tag(('a',))}}})"),
    ],
)
def test_the_conditions_of_a_search(namespace: tuple[str, ...], tags: list[str], which: str) -> None:
    command = search_query.search_command("app", options(index_type="flat"), b"v", namespace, tags, 5)
    assert command[2] == f"{which}=>[KNN 5 @vector $vector AS distance]"


def test_a_search_of_a_cluster_leaves_no_node_out() -> None:
    command = search_query.search_command("app", options(), b"v", (), [], 5, cluster=True)
    assert command[:-2] == search_query.search_command("app", options(), b"v", (), [], 5)
    assert command[-2:] == ["ALLSHARDS", "CONSISTENT"]


@pytest.mark.parametrize(("k", "asked"), [(0, "1"), (1, "1"), (10_000, "10000"), (10_001, "10000")])
def test_how_many_are_asked_for(k: int, asked: str) -> None:
    command = search_query.search_command("app", options(), b"v", (), [], k)
    assert command[command.index("LIMIT") : command.index("LIMIT") + 3] == ["LIMIT", "0", asked]
    assert f"[KNN {asked} @vector" in str(command[2])


def test_a_query_has_its_limits() -> None:
    tags = search_query.pushed_down({str(number): number for number in range(3000)})
    query = str(search_query.search_command("p", options(hnsw_ef_runtime=500), b"v", ("a",), tags, 10_000)[2])
    assert len(query) < 10_240 / 4
    assert query.count("@attributes") == search_query.MOST_CONDITIONS


# -- replies


def answered(*hits: tuple[bytes, bytes]) -> list[Any]:
    reply: list[Any] = [len(hits)]
    for key, distance in hits:
        reply += [key, [b"distance", distance]]
    return reply


HITS = [(b"p:one", b"0"), (b"p:two", b"1.6400001049"), (b"p:three", b"2.5e+38")]
FOUND = search_query.Found(3, [("p:one", 0.0), ("p:two", 1.6400001049), ("p:three", 2.5e38)])


@pytest.mark.parametrize(
    "reply",
    [
        answered(*HITS),
        # As glide has it, with RESP2 and with RESP3.
        [3, {key: {b"distance": distance} for key, distance in HITS}],
        [3, {key: {b"distance": float(distance)} for key, distance in HITS}],
        [3, {key: [b"distance", distance] for key, distance in HITS}],
    ],
)
def test_what_a_search_found(reply: Any) -> None:
    assert search_query.candidates(as_resp2(reply)) == FOUND


@pytest.mark.parametrize("reply", [[0], [0, {}], [0, []]])
def test_what_a_search_did_not_find(reply: Any) -> None:
    assert search_query.candidates(as_resp2(reply)) == search_query.Found(0, [])


def test_more_are_there_than_were_sent() -> None:
    assert search_query.candidates([7, *answered(HITS[0])[1:]]) == search_query.Found(7, [("p:one", 0.0)])


def test_distances_that_are_no_finite_numbers() -> None:
    found = search_query.candidates(answered((b"a", b"inf"), (b"b", b"-inf"), (b"c", b"nan")))
    assert repr([distance for _, distance in found.candidates]) == "[inf, -inf, nan]"


@pytest.mark.parametrize(
    "reply",
    [
        None,
        b"OK",
        [],
        [b"1"],
        [1, b"key"],
        [1, b"key", [b"distance", b"0"], b"other"],
        [1, b"key", b"fields"],
        [1, b"key", []],
        [1, b"key", [b"other", b"0"]],
        [1, b"key", [b"distance", b"far"]],
        [1, b"key", [b"distance", None]],
        [1, 3, [b"distance", b"0"]],
        [1, [b"key"]],
    ],
)
def test_what_is_no_reply_to_a_search(reply: Any) -> None:
    with pytest.raises(StatekeepError, match=r"this is no reply to FT\.\w+: "):
        search_query.candidates(reply)


def test_a_key_that_is_no_text() -> None:
    with pytest.raises(CorruptRecord):
        search_query.candidates(answered((b"p:\xff", b"0")))


@pytest.mark.parametrize(
    ("metric", "distance", "score"),
    [
        ("cosine", 0.0, 1.0),
        ("cosine", 1.0, 0.0),
        ("cosine", 2.0, -1.0),
        ("ip", -11.0, 12.0),
        ("ip", 3.5, -2.5),
        ("l2", 0.0, 0.0),
        ("l2", 25.0, -25.0),
    ],
)
def test_scores(metric: str, distance: float, score: float) -> None:
    assert repr(search_query.score(metric, distance)) == repr(score)


# -- FT.INFO, as versions 1.0, 1.1, 1.2 and main of valkey-search write it

TAGS = ("namespaces", "attributes")


def tag_1_0(name: str) -> list[Any]:
    """Without a value after CASESENSITIVE."""
    return [b"identifier", name.encode(), b"attribute", name.encode(), b"user_indexed_memory", 0, b"type", b"TAG",
            b"SEPARATOR", b",", b"CASESENSITIVE", b"size", b"0"]  # fmt: skip


def tag_1_2(name: str) -> list[Any]:
    return [*tag_1_0(name)[:11], b"1", b"size", b"0"]


NAMED = [b"identifier", b"vector", b"attribute", b"vector", b"user_indexed_memory", 0, b"type", b"VECTOR"]
HNSW = [b"name", b"HNSW", b"m", 16, b"ef_construction", 200, b"ef_runtime", 10]
FLAT = [b"name", b"FLAT", b"block_size", 1024]


def vector_1_2(algorithm: list[Any]) -> list[Any]:
    return [*NAMED, b"index", [b"capacity", 10240, b"dimensions", 3, b"distance_metric", b"COSINE", b"size", b"0",
                               b"data_type", b"FLOAT32", b"algorithm", algorithm]]  # fmt: skip


def vector_1_1(algorithm: list[Any]) -> list[Any]:
    more = [b"block_size", 1024] if algorithm is FLAT else [b"M", 16, b"ef_construction", 200, b"ef_runtime", 10]
    return [*NAMED, b"algorithm", algorithm[1], b"data_type", b"FLOAT32", b"dim", 3, b"distance_metric", b"COSINE",
            *more, b"capacity", 10240, b"size", b"0"]  # fmt: skip


def info(tag: Callable[[str], list[Any]] = tag_1_2, vector: Any = None, backfill: Any = b"0") -> list[Any]:
    attributes = [*map(tag, TAGS), vector or vector_1_2(HNSW)]
    definition = [b"key_type", b"HASH", b"prefixes", [b"app:item-vector:default:"], b"default_score", b"1"]
    return [b"index_name", b"app:item-vector:default:index", b"index_options", [], b"index_definition", definition,
            b"attributes", attributes, b"num_docs", 0, b"num_terms", b"0", b"num_records", b"0",
            b"hash_indexing_failures", b"0", b"backfill_in_progress", backfill, b"backfill_complete_percent",
            b"1.000000", b"mutation_queue_size", b"0", b"recent_mutations_queue_delay", b"0 sec", b"state", b"ready",
            b"language", b"english"]  # fmt: skip


def mapped(value: Any) -> Any:
    """As glide has it: names and values as mappings, in any depth."""
    if isinstance(value, list) and value and isinstance(value[0], bytes) and len(value) % 2 == 0:
        return {name: mapped(item) for name, item in zip(value[::2], value[1::2], strict=True)}
    return [mapped(item) for item in value] if isinstance(value, list) else value


VERSIONS = {
    "1.0": (tag_1_0, vector_1_2),
    "1.1": (tag_1_2, vector_1_1),
    "1.2": (tag_1_2, vector_1_2),
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("algorithm", [HNSW, FLAT], ids=["hnsw", "flat"])
@pytest.mark.parametrize("form", ["lists", "mappings"])
def test_our_index_is_recognized(version: str, algorithm: list[Any], form: str) -> None:
    tag, vector = VERSIONS[version]
    reply = info(tag, vector(algorithm))
    reply = as_resp2(mapped(reply)) if form == "mappings" else reply
    index = options(index_type=algorithm[1].decode().lower())
    assert module.difference(reply, "app", index) is None
    assert module.is_ready(reply)
    # What a search says itself does not count, nor what only an index of type hnsw has.
    assert module.difference(reply, "app", index.model_copy(update={"hnsw_ef_runtime": 99})) is None
    expected = {"hnsw_m": 9} if algorithm is HNSW else None
    found = module.difference(reply, "app", index.model_copy(update={"hnsw_m": 9}))
    assert (found and found.expected) == expected
    other = "hnsw" if algorithm is FLAT else "flat"
    found = module.difference(reply, "app", index.model_copy(update={"index_type": other}))
    assert found is not None
    assert found.expected["index_type"] == other


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("changes", "expected", "actual"),
    [
        ({"dims": 4}, {"dims": 4}, {"dims": 3}),
        ({"distance_metric": "l2"}, {"distance_metric": "l2"}, {"distance_metric": "cosine"}),
        ({"hnsw_m": 20}, {"hnsw_m": 20}, {"hnsw_m": 16}),
        ({"hnsw_ef_construction": 100}, {"hnsw_ef_construction": 100}, {"hnsw_ef_construction": 200}),
        (
            {"collection_name": "x"},
            {"prefixes": ["app:item-vector:x:"]},
            {"prefixes": ["app:item-vector:default:"]},
        ),
    ],
)
def test_other_options_are_a_difference(
    version: str, changes: dict[str, Any], expected: dict[str, Any], actual: dict[str, Any]
) -> None:
    tag, vector = VERSIONS[version]
    found = module.difference(info(tag, vector(HNSW)), "app", options(**changes))
    assert found == module.Difference(expected, actual)
    (name,) = expected
    assert str(found) == f"{name} is {actual[name]!r}, not {expected[name]!r}"


def replaced(reply: Any, old: Any, new: Any) -> Any:
    if isinstance(reply, list):
        return [replaced(item, old, new) for item in reply]
    return new if reply == old and type(reply) is type(old) else reply


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        (b"HASH", b"JSON", "key_type"),
        (b"app:item-vector:default:", b"app:", "prefixes"),
        (b"FLOAT32", b"FLOAT64", "data_type"),
        (b",", b"|", "namespaces"),
        (b"1", b"0", "namespaces"),
        (b"TAG", b"TEXT", "attributes"),
        (b"attributes", b"others", None),
        (b"vector", b"embedding", "dims"),
        (b"VECTOR", b"NUMERIC", None),
    ],
)
def test_an_index_of_others(old: bytes, new: bytes, name: str | None) -> None:
    reply = replaced(info(), old, new)
    if old == b"attributes":
        with pytest.raises(StatekeepError, match=r"no reply to FT\.INFO"):
            module.difference(reply, "app", options())
    elif name is None:
        assert module.difference(reply, "app", options()) is None
    else:
        found = module.difference(reply, "app", options())
        assert found is not None
        assert name in found.expected


def test_a_field_under_another_name_is_missing() -> None:
    vector = vector_1_2(HNSW)
    vector[3] = b"embedding"
    found = module.difference(info(vector=vector), "app", options())
    assert found is not None
    assert found.actual["dims"] is None


def test_more_fields_do_no_harm() -> None:
    reply = info()
    reply[reply.index(b"attributes") + 1] += [tag_1_2("more"), [b"identifier", b"n", b"type", b"NUMERIC"]]
    assert module.difference(reply, "app", options()) is None


@pytest.mark.parametrize("reply", [None, b"OK", [], [1, 2], [b"index_name", b"x"], {}])
def test_what_is_no_description_of_an_index(reply: Any) -> None:
    with pytest.raises(StatekeepError, match=r"no reply to FT\.INFO"):
        module.difference(reply, "app", options())
    with pytest.raises(StatekeepError, match=r"no reply to FT\.INFO"):
        module.is_ready(reply)


@pytest.mark.parametrize(("backfill", "ready"), [(b"0", True), (0, True), (b"1", False), (1, False)])
def test_whether_an_index_is_complete(backfill: Any, ready: bool) -> None:
    assert module.is_ready(info(backfill=backfill)) is ready
    whole = [b"mode", b"CLUSTER", b"index_name", b"i", b"backfill_in_progress", backfill, b"state", b"ready"]
    assert module.is_ready(whole) is ready


def test_an_index_of_redis() -> None:
    """Redis 8 says more of it than version 2.10, whose own replies the integration tests read."""
    complete = [b"index_name", b"i", b"indexing", 0, b"percent_indexed", b"1"]
    assert module.is_ready(complete)
    assert not module.is_ready([*complete[:3], 1, b"percent_indexed", b"0.5"])
    status = b"background indexing status"
    assert module.is_ready([*complete, b"Index Errors", [b"indexing failures", 0, status, b"OK"]])
    assert not module.is_ready([*complete, b"Index Errors", [b"indexing failures", 0, status, b"OOM failure"]])


# -- errors


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Index with name 'app:loading:index' not found in database 0", IndexMissing),
        ("Index: with name 'app:oom:index' not found in database 0", IndexMissing),
        ("Index with name 'i' not found", IndexMissing),
        ("Index name not found.", IndexMissing),
        ("Index app:moved:index in database 0 already exists.", IndexExists),
        ("Index: i in database 3 already exists.", IndexExists),
        ("BUSYGROUP Consumer Group name already exists", StatekeepError),
        ("Search operation cancelled due to timeout", Unavailable),
        ("Search: operation cancelled due to timeout", Unavailable),
        ("Index or slot consistency check failed", Unavailable),
        ("Index: or slot consistency check failed", Unavailable),
        ("Unable: to contact all cluster members", Unavailable),
        ("Communication error between nodes found.", Unavailable),
        ("Inconsistent: index state error found.", Unavailable),
        ("Invalid filter expression: `x`. Unexpected character", StatekeepError),
        ("app:oom:index: no such index", IndexMissing),
        ("Unknown index name", IndexMissing),
        ("Unknown: index name script: 0c1f, on @user_script:1.", IndexMissing),
        ("SEARCH_INDEX_NOT_FOUND Index not found: app:loading:index", IndexMissing),
        ("Index already exists", IndexExists),
        ("Index: already exists", IndexExists),
        ("Cannot create index on db != 0", IndexNotHere),
        ("Timeout limit was reached", Unavailable),
    ],
)
def test_what_the_module_reports(text: str, kind: type[StatekeepError]) -> None:
    error = ResponseError(text)
    meaning = meaning_of(error)
    assert meaning is not None
    found = failure(meaning, error, Ask(["FT.INFO", "x"], near="the index"), "host:1", 0)
    assert type(found) is kind
    assert found.key == "the index"
    assert meaning.retry is (kind is Unavailable)
    assert failure(meaning, error, Ask(["FT._LIST"]), "host:1", 0).key is None


# -- setting up


class Server:
    """Answers what setup() asks, by the first word or two."""

    def __init__(self, **answers: Any) -> None:
        self.stored: bytes | None = None
        self.asked: list[tuple[str, ...]] = []
        self.near: set[str] = set()
        self.answers: dict[str, Any] = {
            "COMMAND": [b"FT.SEARCH"],
            "INFO": b"# search_coordinator\r\nsearch_coordinator_server_listening_port:26673\r\n",
            "FT._LIST": [],
            "FT.CREATE": b"OK",
            "FT.INFO": info(),
            **answers,
        }

    def __call__(self, request: Any) -> Any:
        if isinstance(request, Commands):
            (_, key, text, nx), get = request.commands
            assert (key, nx, get) == ("app:item-vector-definition:default", "NX", ["GET", key])
            self.asked.append(("SET", "GET"))
            made = self.stored is None
            self.stored = text.encode() if self.stored is None and isinstance(text, str) else self.stored
            return [b"OK" if made else None, self.stored]
        assert isinstance(request, Ask)
        self.asked.append(tuple(map(str, request.command[: 1 if request.command[0] == "FT.CREATE" else None])))
        self.near.add(request.near)
        answer = (
            self.answers[" ".join(self.asked[-1])]
            if " ".join(self.asked[-1]) in self.answers
            else (self.answers[self.asked[-1][0]])
        )
        if isinstance(answer, Exception):
            raise answer
        return answer


NAME = "app:item-vector:default:index"
LIST = ("COMMAND", "LIST", "FILTERBY", "PATTERN", "FT.*")


def test_a_new_index() -> None:
    server = Server()
    assert run(module.setup("app", options(), False), server) == module.Index(NAME)
    assert server.asked == [("SET", "GET"), LIST, ("FT._LIST",), ("FT.CREATE",), ("FT.INFO", NAME)]
    assert server.near == {NAME}
    assert server.stored == b'{"dims": 3, "distance_metric": "cosine", "fields": ["$"]}'


def test_an_index_that_is_there() -> None:
    server = Server(**{"FT._LIST": [b"other", NAME.encode()], "FT.INFO": info(backfill=b"1")})
    assert run(module.setup("app", options(), False), server) == module.Index(NAME, is_ready=False)
    assert server.asked == [("SET", "GET"), LIST, ("FT._LIST",), ("FT.INFO", NAME)]


def test_another_process_was_faster() -> None:
    server = Server(**{"FT.CREATE": IndexExists("it is there")})
    assert run(module.setup("app", options(), False), server) == module.Index(NAME)
    assert server.asked[-1] == ("FT.INFO", NAME)
    with pytest.raises(Conflict, match="hnsw_m is 16, not 9"):
        run(module.setup("app", options(hnsw_m=9), False), server)


def test_no_module() -> None:
    server = Server(COMMAND=[])
    found = run(module.setup("app", options(), False), server)
    assert found == module.NO_MODULE
    assert (found.name, found.reason) == (None, "the server has no search module")
    assert server.asked == [("SET", "GET"), LIST]
    # Vectors are compared one by one then, and still must be of one kind.
    with pytest.raises(Conflict, match="dims is 3, not 4"):
        run(module.setup("app", options(dims=4), False), server)


def test_a_cluster() -> None:
    complete = [b"mode", b"CLUSTER", b"index_name", NAME.encode(), b"backfill_in_progress", b"1"]
    server = Server(**{f"FT.INFO {NAME} CLUSTER": complete})
    assert run(module.setup("app", options(), True), server) == module.Index(NAME, is_ready=False)
    assert server.asked == [
        ("SET", "GET"),
        LIST,
        ("INFO", "SEARCH"),
        ("FT._LIST",),
        ("FT.CREATE",),
        ("FT.INFO", NAME),
        ("FT.INFO", NAME, "CLUSTER"),
    ]
    assert server.near == {NAME}
    assert run(module.ready(NAME, True), server) is False


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"# search_index_stats\r\nsearch_number_of_indexes:0\r\n",
        b"search_coordinator_server_listening_port:0\r\n",
    ],
)
def test_a_cluster_whose_nodes_know_nothing_of_each_other(text: bytes) -> None:
    server = Server(INFO=text)
    found = run(module.setup("app", options(), True), server)
    assert found == module.ONE_NODE
    assert found.name is None
    assert "--use-coordinator" in found.reason
    assert ("FT.CREATE",) not in server.asked


REDISEARCH = [b"FT.SEARCH", b"FT.TAGVALS", b"FT._LIST"]


def test_redis_in_a_cluster_is_not_asked() -> None:
    server = Server(COMMAND=REDISEARCH)
    assert run(module.setup("app", options(), True), server) == module.ALONE_ONLY
    assert server.asked == [("SET", "GET"), LIST]


@pytest.mark.parametrize(
    ("text", "most"),
    [(b"search_max_search_results:7\r\n", 7), (b"search_max_search_results:9999999\r\n", 10_000), (b"", 10_000)],
)
def test_redis_says_how_much_a_search_finds(text: bytes, most: int) -> None:
    definition = [b"key_type", b"HASH", b"prefixes", [b"app:item-vector:default:"]]
    tags = [[b"identifier", name.encode(), b"attribute", name.encode(), b"type", b"TAG", b"SEPARATOR", b",",
             b"CASESENSITIVE"] for name in TAGS]  # fmt: skip
    vector = [b"identifier", b"vector", b"attribute", b"vector", b"type", b"VECTOR", b"algorithm", b"FLAT",
              b"data_type", b"FLOAT32", b"dim", 3, b"distance_metric", b"L2"]  # fmt: skip
    found = [b"index_definition", definition, b"attributes", [*tags, vector], b"indexing", 0]
    server = Server(COMMAND=REDISEARCH, INFO=text, EVAL=found)
    index = options(index_type="flat", distance_metric="l2")
    there = run(module.setup("app", index, False), server)
    assert there == module.Index(NAME, family=search_query.REDISEARCH, most=most)


def test_a_search_of_redis_has_no_end_of_time() -> None:
    command = search_query.search_command("app", options(), b"", (), (), 3, family=search_query.REDISEARCH)
    assert command[-4:] == ["TIMEOUT", "0", "DIALECT", "2"]
    assert search_query.search_command("app", options(), b"", (), (), 3)[-4:] == ["0", "3", "DIALECT", "2"]


def test_errors_are_not_taken_for_answers() -> None:
    for name in ("COMMAND", "FT._LIST", "FT.CREATE", "FT.INFO"):
        with pytest.raises(Unavailable):
            run(module.setup("app", options(), False), Server(**{name: Unavailable("gone")}))
    with pytest.raises(Unavailable):
        run(module.setup("app", options(), True), Server(INFO=Unavailable("gone")))


def test_a_prefix_that_the_module_refuses() -> None:
    with pytest.raises(InvalidInput, match="prefix must be without braces") as error:
        run(module.setup("{app}", options(), False), lambda request: (
            [None, b'{"dims": 3, "distance_metric": "cosine", "fields": ["$"]}']
            if isinstance(request, Commands) else [b"FT.SEARCH"]
        ))  # fmt: skip
    assert error.value.field == "prefix"


def test_the_definition_of_a_collection() -> None:
    server = Server()
    index = options(fields=["b", "a", "b"], distance_metric="ip")
    run(module.settle_definition("app", index), server)
    assert server.stored == b'{"dims": 3, "distance_metric": "ip", "fields": ["a", "b"]}'
    run(module.settle_definition("app", options(fields=["a", "b"], distance_metric="ip", index_type="flat")), server)
    with pytest.raises(Conflict) as error:
        run(module.settle_definition("app", options(fields=["a"], dims=4)), server)
    assert error.value.key == "app:item-vector-definition:default"
    assert error.value.expected == {"dims": 4, "distance_metric": "cosine", "fields": ["a"]}
    assert error.value.actual == {"dims": 3, "distance_metric": "ip", "fields": ["a", "b"]}
    assert "the collection 'default'" in str(error.value)


@pytest.mark.parametrize("stored", [b"", b"{", b"3", b"[]", b"\xff\xfe", b'"dims"'])
def test_a_damaged_definition(stored: bytes) -> None:
    server = Server()
    server.stored = stored
    with pytest.raises(CorruptRecord) as error:
        run(module.settle_definition("app", options()), server)
    assert error.value.key == "app:item-vector-definition:default"


def test_a_definition_that_expired_in_between() -> None:
    with pytest.raises(CorruptRecord):
        run(module.settle_definition("app", options()), lambda request: [None, None])
