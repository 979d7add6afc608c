"""Vectors of items on servers with the search module (valkey-search): its commands, its replies, and its index.

An item's vectors are one HASH each, beside the item's record: ``vector``, ``updated_at`` of the item that it was made
of, and two lists of tags, ``namespaces`` and ``attributes``. The module finds the vectors that are near a query and
carry given tags. A tag is a short hash of what could not stand in a query as it is, such as a namespace. What is found
by tags may be too much, never too little: whoever searches checks each item again.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from attrs import field, frozen

from ...domain import Conflict, CorruptRecord, InvalidInput, StatekeepError, VectorIndex
from ...domain.filters import is_operators
from ...domain.items import Namespace
from ...domain.json_values import JsonValue
from ...domain.shown import shown
from ..operation import Operation
from . import keys
from .failures import IndexExists
from .item_keys import item_keys, namespace_of
from .requests import Arg, Ask, Commands, Reply

MOST_NEIGHBOURS: Final = 10_000
"""How many vectors a search may ask for, unless the server is configured otherwise."""

MOST_CONDITIONS: Final = 32
"""How many tags a query names at most: it must stay below 10,240 bytes. What is left out is checked afterwards."""

MOST_ATTRIBUTES: Final = 100
"""How many fields of a value become tags; a value with more of them has the tag :data:`ANY_ATTRIBUTE` instead."""

ANY_ATTRIBUTE: Final = "any"
"""Stands for every tag that a value could have. No hash looks like it."""

_DISTANCE: Final = "distance"

# -- keys of the vectors


def start(prefix: str, collection: str) -> str:
    """What the keys of a collection's vectors begin with. No hash tag: the module refuses one in front of an index.

    >>> start("app", "notes")
    'app:item-vector:notes:'
    """
    return f"{prefix}:item-vector:{keys.part(collection)}:"


_PLACE: Final = re.compile(r"\{(\.|[^{}:.]+(?:\.[^{}:.]+)*)\}:([^{}:.]*):(0|[1-9][0-9]{0,8})", re.ASCII)


@frozen
class Place:
    """Whose vector it is, and which of them."""

    namespace: Namespace
    key: str
    ordinal: int


def parse_key(prefix: str, collection: str, key: str) -> Place:
    """Read the key of a vector.

    Raises:
        CorruptRecord: it is not one of this collection.

    Example:
        >>> parse_key("app", "notes", "app:item-vector:notes:{users.ada}:a%3Ab:0")
        Place(namespace=('users', 'ada'), key='a:b', ordinal=0)
    """
    beginning = start(prefix, collection)
    match = _PLACE.fullmatch(key, len(beginning)) if key.startswith(beginning) else None
    if match is not None:
        tag, item, ordinal = match.groups()
        place = Place(namespace_of(tag), keys.unpart(item), int(ordinal))
        member = f"{keys.part(place.key)}:{ordinal}"
        if item_keys(prefix, place.namespace).vector(collection, member) == key:
            return place
    raise CorruptRecord("this is no key of an item's vector", key=key)


# -- tags


def _tag(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def namespace_tag(namespace: Sequence[str]) -> str:
    """The tag of all that is at or below a namespace."""
    return _tag(".".join(map(keys.part, namespace)))


def namespace_tags(namespace: Sequence[str]) -> list[str]:
    """The tags of a vector: of its namespace, and of all that it is below.

    >>> namespace_tags(("a", "b")) == [namespace_tag(()), namespace_tag(("a",)), namespace_tag(("a", "b"))]
    True
    """
    return [namespace_tag(()), *map(_tag, accumulate(map(keys.part, namespace), "{}.{}".format))]


def _attribute_tag(name: str, value: JsonValue) -> str | None:
    """The tag of a field; ``None`` if it can have none. Values that are equal have the same."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 equals 1, true does not: as JSON it looks different
    return _tag(json.dumps([name, value])) if isinstance(value, str | int | float) else None


def attribute_tags(value: JsonValue) -> list[str]:
    """The tags of an item's value: one for each of its own fields that holds text, a number, true or false."""
    if not isinstance(value, dict):
        return []
    found = [tag for name, item in value.items() if (tag := _attribute_tag(name, item)) is not None]
    return found if len(found) <= MOST_ATTRIBUTES else [ANY_ATTRIBUTE]


def pushed_down(filter: Mapping[str, JsonValue] | None) -> list[str]:
    """The tags without which no value fulfils a filter that :func:`~statekeep.domain.filters.checked` returned.

    >>> pushed_down({"price": {"$gt": 3, "$eq": 4}, "tags": ["a"]}) == attribute_tags({"price": 4.0})
    True
    """
    found: dict[str, None] = {}
    for name, condition in (filter or {}).items():
        wanted = condition
        if isinstance(condition, dict) and is_operators(condition):
            wanted = condition.get("$eq")
        tag = _attribute_tag(name, wanted)
        if tag is not None:
            found[tag] = None
    return list(found)


# -- commands


def index_name(prefix: str, collection: str) -> str:
    """The name of the index over a collection's vectors.

    >>> index_name("app", "notes")
    'app:item-vector:notes:index'
    """
    return f"{start(prefix, collection)}index"


def create_command(prefix: str, index: VectorIndex) -> list[Arg]:
    """Make the index."""
    options = ["TYPE", "FLOAT32", "DIM", str(index.dims), "DISTANCE_METRIC", index.distance_metric.upper()]
    if index.index_type == "hnsw":
        options += ["M", str(index.hnsw_m), "EF_CONSTRUCTION", str(index.hnsw_ef_construction)]
        options += ["EF_RUNTIME", str(index.hnsw_ef_runtime)]
    tags = ["TAG", "SEPARATOR", ",", "CASESENSITIVE"]
    vector = ["VECTOR", index.index_type.upper(), str(len(options)), *options]
    return [
        *("FT.CREATE", index_name(prefix, index.collection_name)),
        *("ON", "HASH", "PREFIX", "1", start(prefix, index.collection_name)),
        *("SCHEMA", "namespaces", *tags, "attributes", *tags, "vector", *vector),
    ]


def search_command(
    prefix: str,
    index: VectorIndex,
    vector: bytes,
    namespace: Sequence[str],
    tags: Sequence[str],
    k: int,
    *,
    cluster: bool = False,
) -> list[Arg]:
    """Find the vectors that are nearest to a query, without their fields.

    Args:
        prefix: of all keys.
        index: its options.
        vector: the query: as many 32-bit floats as the index says, the lowest byte first.
        namespace: only vectors of items at or below it.
        tags: only vectors of items with all of these, see :func:`pushed_down`.
        k: how many; at most :data:`MOST_NEIGHBOURS` are looked for.
        cluster: whether several nodes hold the vectors. One that cannot answer is an error then, not left out.
    """
    most = max(1, min(k, MOST_NEIGHBOURS))
    conditions = [f"@namespaces:{{{namespace_tag(namespace)}}}"] if namespace else []
    conditions += [f"@attributes:{{{tag}|{ANY_ATTRIBUTE}}}" for tag in tags[:MOST_CONDITIONS]]
    effort = f" EF_RUNTIME {index.hnsw_ef_runtime}" if index.index_type == "hnsw" else ""
    which = f"({' '.join(conditions)})" if conditions else "*"
    command: list[Arg] = [
        *("FT.SEARCH", index_name(prefix, index.collection_name)),
        f"{which}=>[KNN {most} @vector $vector{effort} AS {_DISTANCE}]",
        *("PARAMS", "2", "vector", vector),
        *("RETURN", "1", _DISTANCE),
        *("LIMIT", "0", str(most)),
        *("DIALECT", "2"),
    ]
    # By default the module takes what the nodes that answered have found for all there is.
    return [*command, "ALLSHARDS", "CONSISTENT"] if cluster else command


# -- replies


@frozen
class Found:
    """What a search found.

    Attributes:
        total: how many vectors fulfil the conditions, at most as many as were asked for.
        candidates: key and distance of each, the nearest first.
    """

    total: int
    candidates: Sequence[tuple[str, float]]


def _strange(what: str, reply: Reply) -> StatekeepError:
    return StatekeepError(f"this is no reply to {what}: {shown(reply, 200)}")


def candidates(reply: Reply) -> Found:
    """Read the reply to :func:`search_command`.

    Raises:
        StatekeepError: it is no such reply.
        CorruptRecord: a key is no text.
    """
    match reply:
        # glide makes a mapping of the second form.
        case [int(total), list() as pairs] | [int(total), *pairs] if len(pairs) % 2 == 0:
            return Found(total, [_candidate(pairs[at], pairs[at + 1]) for at in range(0, len(pairs), 2)])
    raise _strange("FT.SEARCH", reply)


def _candidate(key: Reply, fields: Reply) -> tuple[str, float]:
    if not isinstance(key, bytes):
        raise _strange("FT.SEARCH", key)
    distance: Any = _fields(fields).get(_DISTANCE)
    try:
        return keys.text(key, repr(key)), float(distance)
    except (TypeError, ValueError) as error:
        raise _strange("FT.SEARCH", fields) from error


def score(metric: str, distance: float) -> float:
    """The score of a distance: as :func:`statekeep.repositories.vectors.scores` has it, higher for nearer ones.

    >>> score("cosine", 0.25), score("ip", -2.0), score("l2", 4.0)
    (0.75, 3.0, -4.0)
    """
    return 0.0 - distance if metric == "l2" else 1.0 - distance


def _fields(reply: Reply) -> dict[str, Any]:
    """Names and values that follow each other, in any depth of lists that belongs to neither."""
    if not isinstance(reply, list):
        return {}
    found: dict[str, Any] = {}
    position = 0
    while position < len(reply):
        name = reply[position]
        if not isinstance(name, bytes):
            raise _strange("FT.INFO", reply)
        text = name.decode("utf-8", "backslashreplace").lower()
        following = reply[position + 1] if position + 1 < len(reply) else None
        # The first version has this one without a value.
        if text == "casesensitive" and following not in (b"0", b"1", 0, 1):
            found[text] = b"1"
            position += 1
        else:
            found[text] = following
            position += 2
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


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
    if _text(attribute.get("type")).upper() != "TAG":
        return _text(attribute.get("type"))
    case = " CASESENSITIVE" if _text(attribute.get("casesensitive")) == "1" else ""
    return f"TAG SEPARATOR {_text(attribute.get('separator'))}{case}"


def _vector_definition(attribute: Mapping[str, Any]) -> dict[str, Any]:
    # Version 1.1 has all of it side by side, the others have it in two lists within each other.
    options = {**attribute, **_fields(attribute.get("index"))}
    algorithm = options.get("algorithm")
    if isinstance(algorithm, list):
        options |= _fields(algorithm)
        algorithm = options.get("name")
    dims = options.get("dimensions", options.get("dim"))
    return {
        "index_type": _text(algorithm).lower(),
        "dims": _number(dims),
        "distance_metric": _text(options.get("distance_metric")).lower(),
        "data_type": _text(options.get("data_type")),
        "hnsw_m": _number(options.get("m")),
        "hnsw_ef_construction": _number(options.get("ef_construction")),
    }


def _number(value: Any) -> int | str | None:
    text = None if value is None else _text(value)
    return int(text) if text is not None and text.isascii() and text.isdigit() else text


def difference(info: Reply, prefix: str, index: VectorIndex) -> Difference | None:
    """Compare an index with the one that :func:`create_command` makes.

    ``hnsw_ef_runtime`` does not count: each search says it.

    Args:
        info: the reply to ``FT.INFO``.
        prefix: of all keys.
        index: its options.

    Raises:
        StatekeepError: ``info`` is no such reply.
    """
    found = _fields(info)
    if "attributes" not in found:
        raise _strange("FT.INFO", info)
    definition = _fields(found.get("index_definition"))
    attributes = {}
    for attribute in map(_fields, found["attributes"] or []):
        # A field may be indexed under another name, which queries would have to use.
        if attribute.get("identifier") == attribute.get("attribute"):
            attributes[_text(attribute.get("identifier"))] = attribute
    actual: dict[str, Any] = {
        "key_type": _text(definition.get("key_type")),
        "prefixes": [_text(item) for item in definition.get("prefixes") or []],
        "namespaces": _tag_definition(attributes.get("namespaces", {})),
        "attributes": _tag_definition(attributes.get("attributes", {})),
        **_vector_definition(attributes.get("vector", {})),
    }
    expected: dict[str, Any] = {
        "key_type": "HASH",
        "prefixes": [start(prefix, index.collection_name)],
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
    """Whether an index holds all vectors that were there before it, by the reply to ``FT.INFO``."""
    found = _fields(info)
    if "backfill_in_progress" not in found:
        raise _strange("FT.INFO", info)
    return _text(found["backfill_in_progress"]) == "0"


# -- the index, and the definition of a collection


def definition_key(prefix: str, collection: str) -> str:
    """Where it is written what the vectors of a collection are, for servers with the module and without.

    >>> definition_key("app", "notes")
    'app:item-vector-definition:notes'
    """
    return f"{prefix}:item-vector-definition:{keys.part(collection)}"


def _definition(index: VectorIndex) -> dict[str, Any]:
    return {"dims": index.dims, "distance_metric": index.distance_metric, "fields": sorted(set(index.fields))}


def settle_definition(prefix: str, index: VectorIndex) -> Operation[None]:
    """Write down what the vectors of the collection are, or see that this is what is written: one round trip.

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
    """What a server offers for vector search.

    Attributes:
        name: of the module's index; ``None``: there is none, and vectors are compared one by one.
        is_ready: whether it holds all vectors already. A search of one that does not would overlook some.
        reason: why there is none, for people.
    """

    name: str | None
    is_ready: bool = field(default=True, kw_only=True)
    reason: str = field(default="", kw_only=True)


NO_MODULE: Final = Index(None, reason="the server has no search module")
ONE_NODE: Final = Index(
    None, reason="the search module sees one node of the cluster only; it must be loaded with --use-coordinator"
)

# Not COMMAND INFO: what it says of a command with keys, glide cannot read.
LIST_SEARCH: Final = ("COMMAND", "LIST", "FILTERBY", "PATTERN", "FT.SEARCH")

_COORDINATOR: Final = re.compile(rb"search_coordinator_server_listening_port:[1-9]")


def setup(prefix: str, index: VectorIndex, cluster: bool) -> Operation[Index]:
    """Make the index of a collection if the server can have one. Idempotent; several processes may do so at once.

    Raises:
        Conflict: there is an index of this name with other options, or the collection holds other vectors.
        InvalidInput: the module takes no such prefix.
    """
    yield from settle_definition(prefix, index)
    name = index_name(prefix, index.collection_name)
    # The answers must be those of one node: others may hear of a new index somewhat later.
    if not (yield Ask(LIST_SEARCH, near=name)):
        return NO_MODULE
    if cluster and not _COORDINATOR.search((yield Ask(["INFO", "SEARCH"], near=name))):
        return ONE_NODE
    if {"{", "}"} & set(prefix):
        raise InvalidInput(
            f"prefix must be without braces where there is a search module, got {shown(prefix)}", field="prefix"
        )
    if name.encode() not in (yield Ask(["FT._LIST"], near=name)):
        try:
            yield Ask(create_command(prefix, index), near=name)
        except IndexExists:
            pass  # another process was faster; whether it made the same is seen below
    info = yield Ask(["FT.INFO", name], near=name)
    found = difference(info, prefix, index)
    if found is not None:
        raise Conflict(
            f"the search index was made with other options: {found}; use another collection_name, or drop the index "
            f"with FT.DROPINDEX {name} and call setup() again, which loses no vectors",
            key=name,
            expected=found.expected,
            actual=found.actual,
        )
    return Index(name, is_ready=(yield from ready(name, cluster)) if cluster else is_ready(info))


def ready(name: str, cluster: bool) -> Operation[bool]:
    """Ask whether an index holds all vectors that were there before it: one round trip.

    Raises:
        IndexMissing: there is no such index.
    """
    return is_ready((yield Ask(["FT.INFO", name, "CLUSTER"] if cluster else ["FT.INFO", name], near=name)))


def near(namespace: Iterable[str]) -> str:
    """Which node of a cluster to ask for a search: the load of different namespaces is on different ones."""
    return ".".join(map(keys.part, namespace))
