"""Queries of the search module, and its replies."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, Final, Literal

from attrs import frozen

from .....domain import CorruptRecord, StatekeepError, VectorIndex
from .....domain.filters import is_operators
from .....domain.items import Namespace
from .....domain.json_values import JsonValue
from .....domain.shown import shown
from ... import keys
from ...requests import Arg, Ask, Reply
from ..keys import item_keys, namespace_of_tag

MOST_NEIGHBOURS: Final = 10_000
"""Vectors that a search may ask for, unless the server is configured otherwise."""

MOST_CONDITIONS: Final = 32
"""Tags in a query at most, for its 10,240 bytes; the rest is checked afterwards."""

MOST_ATTRIBUTES: Final = 100
"""Fields of a value that become tags; with more of them it has :data:`ANY_ATTRIBUTE`."""

ANY_ATTRIBUTE: Final = "any"
"""The tag that stands for every one a value could have. No hash looks like it."""

ZERO: Final = "zero"
"""The tag of a vector of zeros in a collection that is compared by the cosine. No hash looks like it."""


@frozen
class Family:
    """A family of search modules, and what it does in its own way.

    Attributes:
        name: of the module.
        options: words that its searches end with.
        has_no_zero: the cosine with a vector of zeros is no number there, and no search is right that meets one.
        counts: it says how many vectors carry given tags, without comparing them.
        is_scripted: glide takes replies to these names for those of valkey-search. A script has no such name,
            and the same replies with RESP2 and RESP3.
    """

    name: Literal["valkey-search", "redisearch"]
    options: Sequence[str] = ()
    has_no_zero: bool = False
    counts: bool = False
    is_scripted: bool = False

    def ask(self, command: Sequence[Arg], near: str) -> Ask:
        """Return the request of a command whose reply is read."""
        return Ask(["EVAL", _SCRIPT, "0", *command] if self.is_scripted else command, near=near)


_SCRIPT: Final = "return redis.call(unpack(ARGV))"

VALKEY_SEARCH: Final = Family("valkey-search")
# By default its searches end after half a second, with what they found until then, and do not say so.
REDISEARCH: Final = Family("redisearch", ("TIMEOUT", "0"), has_no_zero=True, counts=True, is_scripted=True)

_DISTANCE: Final = "distance"

# -- keys of the vectors


def start(prefix: str, collection: str) -> str:
    """Return the beginning of the keys of a collection's vectors.

    It has no hash tag: the module refuses one in front of an index.

    >>> start("app", "notes")
    'app:item-vector:notes:'
    """
    return f"{prefix}:item-vector:{keys.encode_part(collection)}:"


_VECTOR_KEY: Final = re.compile(
    r"\{(\.|[^{}:.]+(?:\.[^{}:.]+)*)\}((?:\.[^{}:.]+)*):([^{}:.]*):(0|[1-9][0-9]{0,8})", re.ASCII
)


@frozen
class VectorKey:
    """The item of a vector, and which of its vectors it is."""

    namespace: Namespace
    key: str
    ordinal: int


def parse_key(prefix: str, collection: str, key: str, unit: int | None = None) -> VectorKey:
    """Read the key of a vector.

    Raises:
        CorruptRecord: it is not one of this collection.

    Example:
        >>> parse_key("app", "notes", "app:item-vector:notes:{users.ada}:a%3Ab:0")
        VectorKey(namespace=('users', 'ada'), key='a:b', ordinal=0)
    """
    beginning = start(prefix, collection)
    match = _VECTOR_KEY.fullmatch(key, len(beginning)) if key.startswith(beginning) else None
    if match is not None:
        tag, rest, item, ordinal = match.groups()
        parsed = VectorKey(namespace_of_tag(tag, rest), keys.decode_part(item), int(ordinal))
        member = f"{keys.encode_part(parsed.key)}:{ordinal}"
        if item_keys(prefix, parsed.namespace, unit).vector(collection, member) == key:
            return parsed
    raise CorruptRecord("this is no key of an item's vector", key=key)


# -- tags


def _tag(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def namespace_tag(namespace: Sequence[str]) -> str:
    """Return the tag of all that is at or below a namespace."""
    return _tag(".".join(map(keys.encode_part, namespace)))


def namespace_tags(namespace: Sequence[str]) -> list[str]:
    """Return the tags of a vector: of its namespace, and of all above.

    >>> namespace_tags(("a", "b")) == [namespace_tag(()), namespace_tag(("a",)), namespace_tag(("a", "b"))]
    True
    """
    return [namespace_tag(()), *map(_tag, accumulate(map(keys.encode_part, namespace), "{}.{}".format))]


def _attribute_tag(name: str, value: JsonValue) -> str | None:
    """Return the tag of a field, ``None`` if it can have none; equal values share it."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 equals 1, true does not: as JSON it looks different
    return _tag(json.dumps([name, value])) if isinstance(value, str | int | float) else None


def attribute_tags(value: JsonValue) -> list[str]:
    """Return the tags of a value: one for each top field with text, number or boolean."""
    if not isinstance(value, dict):
        return []
    found = [tag for name, item in value.items() if (tag := _attribute_tag(name, item)) is not None]
    return found if len(found) <= MOST_ATTRIBUTES else [ANY_ATTRIBUTE]


def pushed_down(filter: Mapping[str, JsonValue] | None) -> list[str]:
    """Return the tags of every value that fulfils a filter of ``filters.checked``.

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
    """Return the name of the index over a collection's vectors.

    >>> index_name("app", "notes")
    'app:item-vector:notes:index'
    """
    return f"{start(prefix, collection)}index"


def zero_index_name(prefix: str, collection: str) -> str:
    """Return the name of the index over a collection's vectors of zeros.

    >>> zero_index_name("app", "notes")
    'app:item-vector:notes:zero-index'
    """
    return f"{start(prefix, collection)}zero-index"


def conditions(namespace: Sequence[str], tags: Sequence[str]) -> str:
    """Return the query of all vectors at or below a namespace that carry tags."""
    found = [f"@namespaces:{{{namespace_tag(namespace)}}}"] if namespace else []
    found += [f"@attributes:{{{tag}|{ANY_ATTRIBUTE}}}" for tag in tags[:MOST_CONDITIONS]]
    return f"({' '.join(found)})" if found else "*"


def tagged_command(name: str, query: str, most: int, family: Family) -> list[Arg]:
    """Return the command that counts vectors, and names some of them.

    Args:
        name: of the index.
        query: see :func:`conditions`.
        most: how many keys are wanted.
        family: of the module.
    """
    return ["FT.SEARCH", name, query, "NOCONTENT", "LIMIT", "0", str(most), *family.options, "DIALECT", "2"]


def search_command(
    prefix: str,
    index: VectorIndex,
    vector: bytes,
    namespace: Sequence[str],
    tags: Sequence[str],
    k: int,
    *,
    cluster: bool = False,
    family: Family = VALKEY_SEARCH,
) -> list[Arg]:
    """Return the command that finds the vectors nearest to a query.

    Args:
        prefix: of all keys.
        index: its options.
        vector: the query: as many 32-bit floats as the index says, the lowest byte first.
        namespace: only vectors of items at or below it.
        tags: only vectors of items with all of these, see :func:`pushed_down`.
        k: how many; at most :data:`MOST_NEIGHBOURS` are looked for.
        cluster: whether several nodes hold the vectors. One that cannot answer is an error then, not left out.
        family: of the module.
    """
    most = max(1, min(k, MOST_NEIGHBOURS))
    effort = f" EF_RUNTIME {index.hnsw_ef_runtime}" if index.index_type == "hnsw" else ""
    command: list[Arg] = [
        *("FT.SEARCH", index_name(prefix, index.collection_name)),
        f"{conditions(namespace, tags)}=>[KNN {most} @vector $vector{effort} AS {_DISTANCE}]",
        *("PARAMS", "2", "vector", vector),
        *("RETURN", "1", _DISTANCE),
        *("LIMIT", "0", str(most)),
        *family.options,
        *("DIALECT", "2"),
    ]
    # By default the module takes what the nodes that answered have found for all there is.
    return [*command, "ALLSHARDS", "CONSISTENT"] if cluster else command


# -- replies


@frozen
class Found:
    """The vectors that a search found.

    Attributes:
        total: how many vectors fulfil the conditions, at most as many as were asked for.
        candidates: key and distance of each, the nearest first.
        is_whole: whether all distances are numbers. If not, some that are nearer may be missing.
    """

    total: int
    candidates: Sequence[tuple[str, float]]
    is_whole: bool = True


def not_understood(what: str, reply: Reply) -> StatekeepError:
    """Return the error of a reply of an unknown form."""
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
            return _found(total, [_candidate(pairs[at], pairs[at + 1]) for at in range(0, len(pairs), 2)])
    raise not_understood("FT.SEARCH", reply)


def tagged(reply: Reply) -> tuple[int, list[str]]:
    """Read the reply to :func:`tagged_command`.

    Returns:
        How many there are, and the keys of some.

    Raises:
        StatekeepError: it is no such reply.
    """
    match reply:
        case [int(total), *found] if all(isinstance(key, bytes) for key in found):
            return total, [keys.decode_text(key, repr(key)) for key in found]
    raise not_understood("FT.SEARCH", reply)


def _found(total: int, candidates: list[tuple[str, float]]) -> Found:
    if any(math.isnan(distance) for _, distance in candidates):
        return Found(total, candidates, is_whole=False)
    # Redis gives no order to what is all that there is.
    return Found(total, sorted(candidates, key=lambda found: found[1]))


def _candidate(key: Reply, fields: Reply) -> tuple[str, float]:
    if not isinstance(key, bytes):
        raise not_understood("FT.SEARCH", key)
    distance: Any = fields_of(fields).get(_DISTANCE)
    try:
        return keys.decode_text(key, repr(key)), float(distance)
    except (TypeError, ValueError) as error:
        raise not_understood("FT.SEARCH", fields) from error


def score(metric: str, distance: float) -> float:
    """Return the score of a distance, as ``vectors.scores``.

    It is higher for nearer vectors.

    >>> score("cosine", 0.25), score("ip", -2.0), score("l2", 4.0)
    (0.75, 3.0, -4.0)
    """
    return 0.0 - distance if metric == "l2" else 1.0 - distance


def fields_of(reply: Reply) -> dict[str, Any]:
    """Return a mapping from names and values that alternate, in any depth of lists."""
    if not isinstance(reply, list):
        return {}
    found: dict[str, Any] = {}
    position = 0
    while position < len(reply):
        name = reply[position]
        if not isinstance(name, bytes):
            raise not_understood("FT.INFO", reply)
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


def text_of(value: Any) -> str:
    """Return a value of a reply as text, to be shown."""
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
