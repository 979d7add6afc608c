"""Hypothesis strategies of ids, payloads, metadata, checkpoints, pending writes, and of items and their filters.

Ids come from small pools, so that the things made from them meet each other; the pools hold the characters
that key patterns, hash tags, separators and escapes are made of.

Example:
    >>> from hypothesis import given
    >>> @given(checkpoints())
    ... def test(checkpoint):
    ...     assert checkpoint.thread_id in THREAD_IDS
    >>> test()
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from hypothesis import strategies as st

from ..domain import Channel, Checkpoint, Payload, PendingWrite

NASTY_TEXTS = (
    "{}", "{t}", "}{", ":", "a:b", "*", "[x]", "?", "|", "%", "%7B", "a b", " ", "\n", "\x00", "a\x00b", "..", "/", "\\",
    "'", '"', "$keep", "é", "e\u0301", "😀", "\uffff", "\U0010ffff", "x" * 1000,
)  # fmt: skip
"""Legal ids that have broken something somewhere."""

THREAD_IDS = ("t", "{t}:*", "th 😀")
NAMESPACES = ("", "plain", "sub:1", "{a}|b:*")
CHECKPOINT_IDS = ("1", "2", "3", "10", "{5}:*", "\x00", "é")
CHANNELS = ("a", "b:{}", "c*")
VERSIONS: tuple[str | int | float, ...] = (1, "1", 1.0, 2, "2|x")
TASK_IDS = ("task", "{x}:1|*")
TASK_PATHS = ("", "~a", "b:0")
RUN_IDS = ("run-1", "run *")

ITEM_NAMESPACES = ((), ("a",), ("a", "b"), ("ab",), ("a.b", "{a}*|:/%"))
ITEM_KEYS = ("", "c", "10", "9", "{a}*\x00", "\uffff", "😀")
TEXTS = ("a", "ab", "bbc", "abc", "cd")


def thread_ids() -> st.SearchStrategy[str]:
    """Ids from a small pool, see ``THREAD_IDS``."""
    return st.sampled_from(THREAD_IDS)


def namespaces() -> st.SearchStrategy[str]:
    """The root, and nested namespaces with and without ``":"``."""
    return st.sampled_from(NAMESPACES)


def checkpoint_ids() -> st.SearchStrategy[str]:
    """Ids from a small pool, whose order as text is not that as numbers."""
    return st.sampled_from(CHECKPOINT_IDS)


def payloads() -> st.SearchStrategy[Payload]:
    """Arbitrary bytes; some of them come twice, so that channels share values."""
    # Large ones are made from their size: hypothesis prints strategies, with all that they hold.
    large = st.just(5000).map(lambda size: b"y" * size)
    data = st.sampled_from([b"", b"x", b"\x00\xff{}"]) | large | st.binary(max_size=50)
    return st.builds(Payload, encoding=st.sampled_from(["json", "msgpack", "a:b|%"]), data=data)


@cache
def exact_values() -> st.SearchStrategy[Any]:
    """Whatever metadata may hold: JSON, and what JSON cannot hold."""
    # Made once: how many branches hypothesis finds in it depends on which of its parts are in a cache just then.
    text = st.text(st.characters(), max_size=10)  # with lone surrogates
    zones = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=45))])
    hashable = (
        st.none() | st.booleans() | st.integers() | st.floats() | text | st.binary(max_size=10) | st.dates()
        | st.datetimes(timezones=zones) | st.timedeltas() | st.uuids() | st.decimals(allow_nan=False)
    )  # fmt: skip
    return st.recursive(
        hashable | st.binary(max_size=5).map(bytearray) | payloads(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(text | st.just("$keep"), inner, max_size=3)
            | st.dictionaries(hashable, inner, max_size=2)
            | st.frozensets(hashable, max_size=3)
            | st.sets(hashable, max_size=3)
        ),
        max_leaves=5,
    )


@st.composite
def metadata(draw: st.DrawFn) -> dict[str, Any]:
    """Well-known keys with values from small pools, and others with any value."""
    known = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "step": st.integers(-1, 2),
                "run_id": st.sampled_from(RUN_IDS),
                "parents": st.dictionaries(st.sampled_from(NAMESPACES), checkpoint_ids(), max_size=2),
            },
        )
    )
    others: dict[str, Any] = draw(st.dictionaries(st.text(st.characters(), max_size=5), exact_values(), max_size=2))
    return others | known


def stored_channels() -> st.SearchStrategy[dict[str, Channel]]:
    """Channels that have a value or are empty: they can be put anywhere."""
    versions = st.sampled_from(VERSIONS)
    return st.dictionaries(
        st.sampled_from(CHANNELS), st.builds(Channel.of, versions, payloads()) | st.builds(Channel.empty, versions)
    )


def channels() -> st.SearchStrategy[dict[str, Channel]]:
    """Channels of every :class:`~statekeep.Carry`."""
    versions = st.sampled_from(VERSIONS)
    one = (
        st.builds(Channel.of, versions, payloads())
        | st.builds(Channel.empty, versions)
        | st.builds(Channel.earlier, versions, required=st.booleans())
        | st.builds(Channel.replayed, versions)
    )
    return st.dictionaries(st.sampled_from(CHANNELS), one)


def checkpoints(*, channels: st.SearchStrategy[dict[str, Channel]] | None = None) -> st.SearchStrategy[Checkpoint]:
    """Checkpoints whose ids, also those of parents, come from small pools.

    Args:
        channels: how to make their channels; :func:`stored_channels` if there is none.
    """
    return st.builds(
        Checkpoint,
        thread_id=thread_ids(),
        namespace=namespaces(),
        checkpoint_id=checkpoint_ids(),
        parent_id=st.none() | checkpoint_ids(),
        created_at=st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC)).map(
            lambda moment: moment.replace(fold=0)  # means nothing in UTC
        ),
        metadata=metadata(),
        header=st.none() | payloads(),
        channels=stored_channels() if channels is None else channels,
    )


def pending_writes(names: Sequence[str] = CHANNELS) -> st.SearchStrategy[PendingWrite]:
    """Writes, also special ones (``idx < 0``), of few tasks to few channels.

    Args:
        names: the channels.
    """
    return st.builds(
        PendingWrite,
        task_id=st.sampled_from(TASK_IDS),
        task_path=st.sampled_from(TASK_PATHS),
        idx=st.integers(-2, 2),
        channel=st.sampled_from([*names, "__error__"]),
        payload=payloads(),
    )


def item_namespaces() -> st.SearchStrategy[tuple[str, ...]]:
    """Namespaces of items, some of which would be one if their labels were only joined, and the one without labels."""
    return st.sampled_from(ITEM_NAMESPACES)


def item_keys() -> st.SearchStrategy[str]:
    """Keys of items, whose order by code points is neither that of numbers nor that of UTF-16."""
    return st.sampled_from(ITEM_KEYS)


@cache
def json_values() -> st.SearchStrategy[Any]:
    """Whatever an item's value may be."""
    # Two surrogates that JSON reads as one character are refused.
    text = st.text(st.characters(), max_size=10).filter(
        lambda text: not re.search("[\ud800-\udbff][\udc00-\udfff]", text)
    )
    numbers = (
        st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([2**70, 0.1, -0.0, 1e300])
    )
    return st.recursive(
        st.none() | st.booleans() | numbers | text,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
        max_leaves=5,
    )


_SMALL: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    1.0,
    2.5,
    10,
    "1",
    "9",
    "10",
    "é",
    [],
    [1, {"x": True}],
    {},
    {"x": 1},
    {"x": None, "y": 2},
)


def item_values() -> st.SearchStrategy[Any]:
    """Values with fields from a small pool, so that :func:`filters` find some of them, and others.

    ``text`` is a text and ``parts`` are several, from ``TEXTS``.
    """
    texts = st.sampled_from(TEXTS)
    fields = {"price": st.sampled_from(_SMALL), "tags": st.sampled_from(_SMALL), "more": json_values()}
    found = {"text": texts, "title": texts, "parts": st.lists(texts, max_size=2)}
    others = json_values().filter(lambda value: not isinstance(value, dict) or not value.keys() & found.keys())
    return st.fixed_dictionaries({}, optional=fields | found) | others


def filters() -> st.SearchStrategy[dict[str, Any]]:
    """Conditions on the fields of :func:`item_values`, and on one that is never there."""
    small = st.sampled_from(_SMALL)
    operators = st.dictionaries(
        st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), small, min_size=1, max_size=2
    )
    condition = small | operators | st.fixed_dictionaries({}, optional={"x": small | operators, "y": operators})
    return st.dictionaries(st.sampled_from(["price", "tags", "text", "no such field"]), condition, max_size=2)
