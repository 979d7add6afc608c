"""Indexes of metadata: which threads have a checkpoint with some value under a name.

They are where the index of threads is, so the request that notes a thread there notes its values, too. They may name
too many threads, never too few: a listing looks at the checkpoints themselves. What an index does not know, because it
was put before there was one, or by others that keep none, is found out by the times of the threads' last updates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from attrs import field, frozen

from ...operation import Operation
from ...validation import indexed_names
from ..chunks import chunks
from ..keys import encode_part
from ..requests import Arg, Call, Commands
from ..scripts import script

TAG_SIZE: Final = 20
"""Characters of a tag."""

_DIGITS: Final = 320
"""Numbers with more decimal digits share one tag: to write them out may take long."""

_HUGE: Final = 10**_DIGITS

TAGS: Final = 10
"""Tags of each thread that are read in one step."""

SETTLED: Final = 100
"""Threads that a script settles at most."""

SCAN: Final = 1000
"""Threads of which a script looks whether an index knows them."""

FEW_CANDIDATES: Final = 100
"""Threads that an index may name, however few there are; more only if that leaves out three of four."""

MOST_CANDIDATES: Final = 10_000
"""Threads that an index may name: they are sorted by time."""


@frozen
class MetadataKeys:
    """The indexes of one name.

    Attributes:
        name: of metadata.
        by_value: tag and thread id of each value of a thread.
        by_thread: the same, by thread.
        whole: threads of which all is in the index, with the time of their last update then.
        rest: other threads, as far as readers found them.
        until: of all names, the time up to which readers looked for those.
    """

    prefix: str
    name: str
    by_value: str = field(init=False)
    by_thread: str = field(init=False)
    whole: str = field(init=False)
    rest: str = field(init=False)
    until: str = field(init=False)

    def __attrs_post_init__(self) -> None:
        start = f"{self.prefix}:metadata-index:{{threads}}"
        for part, kind in (("by_value", "value"), ("by_thread", "thread"), ("whole", "whole"), ("rest", "rest")):
            object.__setattr__(self, part, f"{start}:{encode_part(self.name)}:{kind}")
        object.__setattr__(self, "until", f"{start}:until")

    @property
    def written(self) -> tuple[str, str, str]:
        """The keys of which a put writes to."""
        return self.by_value, self.by_thread, self.whole


def metadata_keys(prefix: str, names: Any) -> tuple[MetadataKeys, ...]:
    """Return the keys of the names that are to be indexed.

    Raises:
        InvalidInput: they are no sequence of texts, or too many; ``field`` is ``index_metadata``.
    """
    return tuple(MetadataKeys(prefix, name) for name in indexed_names(names))


# -- tags


def tag_of(value: Any) -> str:
    """Return the tag of a value in metadata, ``""`` if it has none; values that are equal share it.

    >>> tag_of(1) == tag_of(1.0) == tag_of(True) == tag_of(Decimal(1)) != tag_of("1")
    True
    >>> tag_of([1])
    ''
    """
    if isinstance(value, str):
        text = f"s{value}"
    elif isinstance(value, int | float | Decimal):
        text = _text_of_number(value)
    else:
        return ""
    data = text.encode(errors="surrogatepass")
    return hashlib.blake2b(data, digest_size=TAG_SIZE // 2).hexdigest()


def _text_of_number(number: int | float | Decimal) -> str:
    if isinstance(number, Decimal):
        if number.is_nan():
            return "nan"
        if number.is_finite() and number.adjusted() >= _DIGITS:
            return "huge"
        if not number.is_finite() or number != number.to_integral_value():
            return f"f{float(number)!r}"  # no other float can be equal to it
    elif isinstance(number, float) and not number.is_integer():
        return f"f{number!r}"  # infinity, too
    whole = int(number)
    return "huge" if abs(whole) >= _HUGE else f"i{whole:x}"


def query_tag(value: Any) -> str:
    """Return the tag that every value has that equals one, ``""`` if nothing says so."""
    # What others have made may equal anything.
    return tag_of(value) if type(value) in (str, int, float, bool) else ""


def tags_of(indexes: Sequence[MetadataKeys], metadata: Mapping[str, Any]) -> list[str]:
    """Return the tag of each indexed name."""
    return [tag_of(metadata.get(keys.name)) for keys in indexes]


# -- what is in the indexes


@frozen
class Settled:
    """What an index is to know of a thread.

    Attributes:
        thread_id: the thread.
        seen: the time of its last update when it was looked at; empty: it was not in the index of threads.
        found: tags of values that it has.
        gone: tags of values that it has not.
    """

    thread_id: str
    seen: Arg
    found: Collection[str] = ()
    gone: Collection[str] = ()


def settle(keys: MetadataKeys, by_time: str, threads: Iterable[Settled], least_age: int) -> Operation[None]:
    """Make an index know of threads what was seen, unless they were updated since.

    Args:
        keys: of the index.
        by_time: the index of threads by time.
        threads: what was seen. Of ``gone`` tags there are at most some hundreds.
        least_age: microseconds for which a thread must have been left alone.
    """
    for some in chunks(list(threads), SETTLED):
        arguments: list[Arg] = [str(least_age)]
        for thread in some:
            arguments += [thread.thread_id, thread.seen, str(len(thread.found)), str(len(thread.gone))]
            arguments += [*thread.found, *thread.gone]
        yield Call(
            script("checkpoints/settle_metadata"),
            [by_time, keys.by_value, keys.by_thread, keys.whole, keys.rest],
            arguments,
        )


def add_tags(keys: MetadataKeys, thread_id: str, tags: Sequence[str]) -> Operation[None]:
    """Let an index name a thread for some tags."""
    beginning = _beginning(thread_id)
    yield Commands(
        [
            ["ZADD", keys.by_value, *(word for tag in tags for word in ("0", f"{tag}{thread_id}"))],
            ["ZADD", keys.by_thread, *(word for tag in tags for word in ("0", f"{beginning}{tag}"))],
        ]
    )


def _beginning(thread_id: str) -> str:
    """Return what the members of the index by thread begin with: no other thread's do."""
    return f"{len(thread_id.encode())}:{thread_id}"


def tags_of_threads(
    keys: MetadataKeys, thread_ids: Sequence[str], *, size: int = TAGS
) -> Operation[list[tuple[str, list[str]]]]:
    """Read tags of threads: up to ``size`` of each."""
    names = [_beginning(thread_id).encode() for thread_id in thread_ids]
    replies = yield Commands(
        [["ZRANGEBYLEX", keys.by_thread, b"[" + name, b"(" + name + b"\xff", "LIMIT", "0", str(size)] for name in names]
    )
    return [
        (thread_id, [member[-TAG_SIZE:].decode(errors="replace") for member in members])
        for thread_id, members in zip(thread_ids, replies, strict=True)
    ]


def forget_threads(indexes: Sequence[MetadataKeys], by_time: str, thread_ids: Sequence[str]) -> Operation[None]:
    """Let the indexes forget threads, unless the index of threads has them."""
    for keys in indexes:
        left = list(thread_ids)
        while left:
            found: list[tuple[str, list[str]]] = []
            for some in chunks(left, SETTLED):
                found += yield from tags_of_threads(keys, some)
            yield from settle(keys, by_time, [Settled(thread_id, "", gone=tags) for thread_id, tags in found], 0)
            left = [thread_id for thread_id, tags in found if len(tags) == TAGS]
            if left:
                scores = yield Call(script("read"), [by_time], ["ZMSCORE", *left])
                left = [thread_id for thread_id, score in zip(left, scores, strict=True) if score is None]


# -- which threads a listing has to look at


@frozen
class Source:
    """Where a listing finds the threads that may match.

    Attributes:
        keys: of the index that says which; ``None``: the index of a run.
        tag: of the value.
        has_rest: whether there are threads that it lacks, which may match, too.
        run: key of the set of threads of a run.
    """

    keys: MetadataKeys | None = None
    tag: str = ""
    has_rest: bool = False
    run: str = ""

    @property
    def ranges(self) -> list[tuple[str, Arg, Arg, int]]:
        """The members of indexes: key, least, greatest, and at what character the thread begins."""
        if self.keys is None:
            return []
        high = b"(" + self.tag.encode() + b"\xff"  # no UTF-8 text has this byte
        found: list[tuple[str, Arg, Arg, int]] = [(self.keys.by_value, f"[{self.tag}", high, TAG_SIZE)]
        return [*found, (self.keys.rest, "-", "+", 0)] if self.has_rest else found


@frozen
class Chosen:
    """How a filtered listing of all threads goes about it.

    Attributes:
        source: where the threads are named that may match; ``None``: look at all.
        is_behind: whether the indexes lack threads, which they can learn of from who looks at these.
    """

    source: Source | None
    is_behind: bool = False


ALL: Final = Chosen(None)
"""Look at all threads."""


def choose(
    indexes: Sequence[MetadataKeys], by_time: str, metadata: Mapping[str, Any], run_index: str | None
) -> Operation[Chosen]:
    """Choose the index that names the fewest threads, if one names few.

    Args:
        indexes: of the repository.
        by_time: the index of threads by time.
        metadata: the filter.
        run_index: key of the set of threads of the run that the filter names, ``None`` if it names none.
    """
    wanted = [(keys, tag) for keys in indexes if (tag := query_tag(metadata.get(keys.name)))]
    if run_index is None and not wanted:
        return ALL
    total = yield Call(script("read"), [by_time], ["ZCARD"])
    most = min(MOST_CANDIDATES, max(FEW_CANDIDATES, total // 4))
    found: list[tuple[int, Source]] = []
    is_behind = False
    if run_index is not None:
        found.append(((yield Call(script("read"), [run_index], ["SCARD"])), Source(run=run_index)))
    for keys, tag in wanted:
        named, rest = yield from _count(keys, by_time, tag)
        is_behind = is_behind or rest > 0
        found.append((named + rest, Source(keys, tag, has_rest=rest > 0)))
    count, source = min(found, key=lambda pair: pair[0])
    return Chosen(source if count <= most else None, is_behind)


def _count(keys: MetadataKeys, by_time: str, tag: str) -> Operation[tuple[int, int]]:
    """Find the threads that an index lacks; count those that it names for a tag, and those."""
    start = b""
    while True:
        start, named, rest = yield Call(
            script("checkpoints/find_unindexed"),
            [by_time, keys.whole, keys.rest, keys.until, keys.by_value],
            [keys.name, start, str(SCAN), tag],
        )
        if not start:
            return named, rest
