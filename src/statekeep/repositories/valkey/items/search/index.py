"""The index of the search module over items' vectors.

An item's vectors are one HASH each, beside the item's record: ``vector``, ``updated_at`` of the item that it was made
of, and two lists of tags, ``namespaces`` and ``attributes``. The module finds the vectors that are near a query and
carry given tags. A tag is a short hash of what could not stand in a query as it is, such as a namespace. What is found
by tags may be too much, never too little: a search checks each item again.

Two families of modules are known, valkey-search and the Redis query engine. :class:`~.search_query.Family` says what
each does in its own way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import evolve, field, frozen

from .....domain import Conflict, CorruptRecord, InvalidInput, VectorIndex
from .....domain.shown import shown
from .....domain.vector_index import SearchStatus
from ....operation import Operation
from ... import keys
from ...client.errors import IndexExists, IndexNotHere
from ...requests import Arg, Ask, Commands, Reply
from .query import (
    MOST_NEIGHBOURS,
    REDISEARCH,
    VALKEY_SEARCH,
    ZERO,
    Family,
    fields_of,
    index_name,
    not_understood,
    start,
    text_of,
    zero_index_name,
)

_TAGS: Final = ("TAG", "SEPARATOR", ",", "CASESENSITIVE")


def _filter(index: VectorIndex, family: Family) -> str:
    """Return what a vector must fulfil to be in the index, if anything."""
    return f"!contains(@attributes, '{ZERO}')" if family.has_no_zero and index.distance_metric == "cosine" else ""


def create_command(prefix: str, index: VectorIndex, family: Family = VALKEY_SEARCH) -> list[Arg]:
    """Return the command that makes the index."""
    only = _filter(index, family)
    options = ["TYPE", "FLOAT32", "DIM", str(index.dims), "DISTANCE_METRIC", index.distance_metric.upper()]
    if index.index_type == "hnsw":
        options += ["M", str(index.hnsw_m), "EF_CONSTRUCTION", str(index.hnsw_ef_construction)]
        options += ["EF_RUNTIME", str(index.hnsw_ef_runtime)]
    vector = ["VECTOR", index.index_type.upper(), str(len(options)), *options]
    return [
        *("FT.CREATE", index_name(prefix, index.collection_name)),
        *("ON", "HASH", "PREFIX", "1", start(prefix, index.collection_name)),
        *(("FILTER", only) if only else ()),
        *("SCHEMA", "namespaces", *_TAGS, "attributes", *_TAGS, "vector", *vector),
    ]


def create_zero_command(prefix: str, index: VectorIndex) -> list[Arg]:
    """Return the command that makes the index of vectors of zeros."""
    return [
        *("FT.CREATE", zero_index_name(prefix, index.collection_name)),
        *("ON", "HASH", "PREFIX", "1", start(prefix, index.collection_name)),
        *("FILTER", f"contains(@attributes, '{ZERO}')"),
        *("SCHEMA", "namespaces", *_TAGS, "attributes", *_TAGS),
    ]


@frozen
class Difference:
    """Options that are not as they should be.

    Attributes:
        expected: what this repository has.
        actual: what is there.
    """

    expected: Mapping[str, Any]
    actual: Mapping[str, Any]

    def __str__(self) -> str:
        return ", ".join(f"{name} is {self.actual[name]!r}, not {self.expected[name]!r}" for name in self.expected)


def _difference(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> Difference | None:
    names = [name for name in expected if expected[name] != actual.get(name)]
    if not names:
        return None
    return Difference({name: expected[name] for name in names}, {name: actual.get(name) for name in names})


def _tag_definition(attribute: Mapping[str, Any]) -> str:
    if text_of(attribute.get("type")).upper() != "TAG":
        return text_of(attribute.get("type"))
    case = " CASESENSITIVE" if text_of(attribute.get("casesensitive")) == "1" else ""
    return f"TAG SEPARATOR {text_of(attribute.get('separator'))}{case}"


def _vector_definition(attribute: Mapping[str, Any]) -> dict[str, Any]:
    # Version 1.1 has all of it side by side, the others have it in two lists within each other.
    options = {**attribute, **fields_of(attribute.get("index"))}
    algorithm = options.get("algorithm")
    if isinstance(algorithm, list):
        options |= fields_of(algorithm)
        algorithm = options.get("name")
    dims = options.get("dimensions", options.get("dim"))
    return {
        "index_type": text_of(algorithm).lower(),
        "dims": _number(dims),
        "distance_metric": text_of(options.get("distance_metric")).lower(),
        "data_type": text_of(options.get("data_type")),
        "hnsw_m": _number(options.get("m")),
        "hnsw_ef_construction": _number(options.get("ef_construction")),
    }


def _number(value: Any) -> int | str | None:
    text = None if value is None else text_of(value)
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def difference(info: Reply, prefix: str, index: VectorIndex, family: Family = VALKEY_SEARCH) -> Difference | None:
    """Compare an index with the one that :func:`create_command` makes.

    ``hnsw_ef_runtime`` does not count: each search says it.

    Args:
        info: the reply to ``FT.INFO``.
        prefix: of all keys.
        index: its options.
        family: of the module.

    Raises:
        StatekeepError: ``info`` is no such reply.
    """
    found = fields_of(info)
    if "attributes" not in found:
        raise not_understood("FT.INFO", info)
    definition = fields_of(found.get("index_definition"))
    attributes = {}
    for attribute in map(fields_of, found["attributes"] or []):
        # A field may be indexed under another name, which queries would have to use.
        if attribute.get("identifier") == attribute.get("attribute"):
            attributes[text_of(attribute.get("identifier"))] = attribute
    actual: dict[str, Any] = {
        "key_type": text_of(definition.get("key_type")),
        "prefixes": [text_of(item) for item in definition.get("prefixes") or []],
        "filter": text_of(definition.get("filter", "")),
        "namespaces": _tag_definition(attributes.get("namespaces", {})),
        "attributes": _tag_definition(attributes.get("attributes", {})),
        **_vector_definition(attributes.get("vector", {})),
    }
    expected: dict[str, Any] = {
        "key_type": "HASH",
        "prefixes": [start(prefix, index.collection_name)],
        "filter": _filter(index, family),
        "namespaces": "TAG SEPARATOR , CASESENSITIVE",
        "attributes": "TAG SEPARATOR , CASESENSITIVE",
        "index_type": index.index_type,
        "dims": index.dims,
        "distance_metric": index.distance_metric,
        "data_type": "FLOAT32",
    }
    if index.index_type == "hnsw":
        expected |= {"hnsw_m": index.hnsw_m, "hnsw_ef_construction": index.hnsw_ef_construction}
    return _difference(expected, actual)


def is_ready(info: Reply) -> bool:
    """Return whether an index holds all vectors older than it, by ``FT.INFO``."""
    found = fields_of(info)
    under_way = found.get("backfill_in_progress", found.get("indexing"))
    if under_way is None:
        raise not_understood("FT.INFO", info)
    # Redis ends early without memory for more, and then lacks vectors for ever.
    status = fields_of(found.get("index errors")).get("background indexing status", b"OK")
    return text_of(under_way) == "0" and text_of(status) == "OK"


# -- the index, and the definition of a collection


def definition_key(prefix: str, collection: str) -> str:
    """Return the key of a collection's definition, with the module or without.

    >>> definition_key("app", "notes")
    'app:item-vector-definition:notes'
    """
    return f"{prefix}:item-vector-definition:{keys.encode_part(collection)}"


def _definition(index: VectorIndex) -> dict[str, Any]:
    return {"dims": index.dims, "distance_metric": index.distance_metric, "fields": sorted(set(index.fields))}


def settle_definition(prefix: str, index: VectorIndex) -> Operation[None]:
    """Write the definition of a collection, or check it: one round trip.

    Raises:
        Conflict: other vectors are in the collection.
        CorruptRecord: something else is written there.
    """
    key = definition_key(prefix, index.collection_name)
    expected = _definition(index)
    text = json.dumps(expected, ensure_ascii=False)
    _, stored = yield Commands([["SET", key, text, "NX"], ["GET", key]])
    try:
        actual = json.loads(stored)
    except (TypeError, ValueError) as error:
        raise CorruptRecord("this is no definition of vectors", key=key) from error
    if not isinstance(actual, dict):
        raise CorruptRecord("this is no definition of vectors", key=key)
    found = _difference(expected, actual)
    if found is not None:
        raise Conflict(
            f"the vectors of the collection {index.collection_name!r} were made with other options: {found}; use "
            "another collection_name, and put the items again",
            key=key,
            expected=found.expected,
            actual=found.actual,
        )


@frozen
class Index:
    """The vector search that a server offers.

    Attributes:
        name: of the module's index; ``None``: there is none, and vectors are compared one by one.
        is_ready: whether it holds all vectors already. A search of one that does not would overlook some.
        reason: why there is none, for people.
        family: of the module.
        zero: name of the index of vectors of zeros, if the module has no place for them among the others.
        most: how many vectors a search can find.
    """

    name: str | None
    is_ready: bool = field(default=True, kw_only=True)
    reason: str = field(default="", kw_only=True)
    family: Family = field(default=VALKEY_SEARCH, kw_only=True)
    zero: str | None = field(default=None, kw_only=True)
    most: int = field(default=MOST_NEIGHBOURS, kw_only=True)


def status(there: Index, index: VectorIndex) -> SearchStatus:
    """Return what a server offers, for users."""
    if there.name is None:
        return SearchStatus(engine="exact", reason=there.reason)
    return SearchStatus(engine=there.family.name, algorithm=index.index_type, is_ready=there.is_ready)


NO_MODULE: Final = Index(None, reason="the server has no search module")
ONE_NODE: Final = Index(
    None, reason="the search module sees one node of the cluster only; it must be loaded with --use-coordinator"
)

ALONE_ONLY: Final = Index(None, reason="the Redis query engine is used on one server, not in a cluster")
DATABASE_0: Final = Index(None, reason="the Redis query engine makes indexes in database 0 only")

# Not COMMAND INFO: what it says of a command with keys, glide cannot read.
LIST_SEARCH: Final = ("COMMAND", "LIST", "FILTERBY", "PATTERN", "FT.*")

_OF_REDISEARCH: Final = "FT.TAGVALS"
"""A command that valkey-search does not have."""

_MOST_RESULTS: Final = re.compile(rb"search_max_search_results:([0-9]+)")

_COORDINATOR: Final = re.compile(rb"search_coordinator_server_listening_port:[1-9]")


def setup(prefix: str, index: VectorIndex, cluster: bool) -> Operation[Index]:
    """Make the index of a collection if the server can; idempotent, also concurrently.

    Raises:
        Conflict: there is an index of this name with other options, or the collection holds other vectors.
        InvalidInput: the module takes no such prefix.
    """
    yield from settle_definition(prefix, index)
    name = index_name(prefix, index.collection_name)
    # The answers must be those of one node: others may hear of a new index somewhat later.
    known = {text_of(command).upper() for command in (yield Ask(LIST_SEARCH, near=name))}
    if "FT.SEARCH" not in known:
        return NO_MODULE
    family = REDISEARCH if _OF_REDISEARCH in known else VALKEY_SEARCH
    make = _setup_redisearch if family is REDISEARCH else _setup_valkey_search
    there, info = yield from make(prefix, index, cluster)
    if there.name is None:
        return there
    found = difference(info, prefix, index, family)
    if found is not None:
        raise Conflict(
            f"the search index was made with other options: {found}; use another collection_name, or drop the index "
            f"with FT.DROPINDEX {name} and call setup() again, which loses no vectors",
            key=name,
            expected=found.expected,
            actual=found.actual,
        )
    return there


def _setup_valkey_search(prefix: str, index: VectorIndex, cluster: bool) -> Operation[tuple[Index, Reply]]:
    name = index_name(prefix, index.collection_name)
    if cluster and not _COORDINATOR.search((yield Ask(["INFO", "SEARCH"], near=name))):
        return ONE_NODE, None
    if {"{", "}"} & set(prefix):
        raise InvalidInput(
            f"prefix must be without braces where there is a search module, got {shown(prefix)}", field="prefix"
        )
    if name.encode() not in (yield Ask(["FT._LIST"], near=name)):
        yield from _make(create_command(prefix, index), name)
    info = yield Ask(["FT.INFO", name], near=name)
    return Index(name, is_ready=(yield from ready(name, cluster)) if cluster else is_ready(info)), info


def _setup_redisearch(prefix: str, index: VectorIndex, cluster: bool) -> Operation[tuple[Index, Reply]]:
    if cluster:
        return ALONE_ONLY, None
    name = index_name(prefix, index.collection_name)
    limit = _MOST_RESULTS.search((yield Ask(["INFO", "SEARCH"], near=name)))
    most = min(MOST_NEIGHBOURS, int(limit[1])) if limit else MOST_NEIGHBOURS
    try:
        # Also if it is there: that it is not of another database, nothing else tells.
        yield from _make(create_command(prefix, index, REDISEARCH), name)
    except IndexNotHere:
        if name.encode() in (yield Ask(["FT._LIST"], near=name)):
            raise InvalidInput(
                f"prefix must be another one than in database 0, whose search index would take these vectors in, "
                f"got {shown(prefix)}",
                field="prefix",
            ) from None
        return DATABASE_0, None
    zero = None
    if _filter(index, REDISEARCH):
        zero = zero_index_name(prefix, index.collection_name)
        yield from _make(create_zero_command(prefix, index), name)
    info = yield REDISEARCH.ask(["FT.INFO", name], name)
    there = Index(name, is_ready=False, family=REDISEARCH, zero=zero, most=most)
    is_whole = is_ready(info) and (zero is None or (yield from ready(zero, cluster, REDISEARCH)))
    return evolve(there, is_ready=is_whole), info


def _make(command: list[Arg], near: str) -> Operation[None]:
    try:
        yield Ask(command, near=near)
    except IndexExists:
        pass  # another process was faster; whether it made the same is seen afterwards


def all_ready(there: Index, cluster: bool) -> Operation[Index]:
    """Return what the server offers, and whether it holds all vectors by now.

    Raises:
        IndexMissing: there is no such index any more.
    """
    for name in filter(None, (there.name, there.zero)):
        if not (yield from ready(name, cluster, there.family)):
            return there
    return evolve(there, is_ready=True)


def ready(name: str, cluster: bool, family: Family = VALKEY_SEARCH) -> Operation[bool]:
    """Ask whether an index holds all vectors older than it: one round trip.

    Raises:
        IndexMissing: there is no such index.
    """
    return is_ready((yield family.ask(["FT.INFO", name, "CLUSTER"] if cluster else ["FT.INFO", name], name)))


def near(namespace: Iterable[str]) -> str:
    """Choose the node of a cluster for a search; namespaces spread over the nodes."""
    return ".".join(map(keys.encode_part, namespace))
