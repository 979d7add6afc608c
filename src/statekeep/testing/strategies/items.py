"""Strategies of items, their operations, filters and namespaces."""

from __future__ import annotations

import re
from enum import IntEnum
from functools import cache
from typing import Any, TypeVar

from hypothesis import strategies as st

from ...domain import (
    ANY,
    DEFAULT,
    CheckItem,
    DeleteItem,
    GetItem,
    Item,
    ListItems,
    NamespaceMatch,
    PutItem,
    SearchItem,
    VectorIndex,
)
from ...domain.items import ItemOperation, Namespace
from ..embedding import DIMS, letter_counts
from .checkpoints import moments, payloads
from .texts import HOSTILE_TEXTS, disguised, disguised_labels, few, member

_T = TypeVar("_T")

TEXTS = ("a", "ab", "bbc", "abc", "cd")
"""Texts that values may be found by."""

TTLS = (DEFAULT, DEFAULT, None, 333.333, 2003.0301)
"""Seconds. None is a sum of what state machines wait, and no example over a server whose clock runs takes as long."""

_labels = disguised(few("labels", ["a", "b", "ab"], HOSTILE_TEXTS))


class _Price(IntEnum):
    TEN = 10


_NINE = member("9")


def item_namespaces() -> st.SearchStrategy[Namespace]:
    """Return namespaces, of which some are below others.

    The one without labels, some below each other, and two that look like others if their labels are only joined.
    """
    nasty = [(text,) for text in HOSTILE_TEXTS] + [("a", text) for text in HOSTILE_TEXTS]
    return disguised_labels(
        few("item namespaces", [(), ("a",), ("a", "b"), ("ab",)], [("a.b",), ("a.b", "c"), ("a", "b.c"), *nasty])
    )


def item_keys() -> st.SearchStrategy[str]:
    """Return keys of items.

    Their order by code points is neither that of numbers nor that of UTF-16.
    """
    return disguised(few("item keys", ["c", "", "10", "9"], ["d", *HOSTILE_TEXTS], more=3))


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
    None, True, False, 0, 1, 1.0, 2.5, 10, "1", "9", "10", "é", [], [1, {"x": True}], {}, {"x": 1}, {"x": None, "y": 2},
    _Price.TEN, _NINE, {"x": _Price.TEN, "y": [_NINE]},
)  # fmt: skip


def item_values() -> st.SearchStrategy[Any]:
    """Return values with fields from a small pool.

    So :func:`filters` find some of them, and others.

    ``text`` is a text and ``parts`` are several, from ``TEXTS``.
    """
    texts = st.sampled_from(TEXTS)
    fields = {"price": st.sampled_from(_SMALL), "tags": st.sampled_from(_SMALL), "more": json_values()}
    found = {"text": texts, "title": texts, "parts": st.lists(texts, max_size=2)}
    others = json_values().filter(lambda value: not isinstance(value, dict) or not value.keys() & found.keys())
    return st.fixed_dictionaries({}, optional=fields | found) | others


def _in_short(strategy: st.SearchStrategy[_T]) -> st.SearchStrategy[_T]:
    """Return what draws the same, and of which hypothesis prints no more than a name."""

    @st.composite
    def drawn(draw: st.DrawFn) -> _T:
        return draw(strategy)

    return drawn()


@cache
def _stored_values() -> st.SearchStrategy[Any]:
    """Values, and payloads."""
    return _in_short(item_values() | payloads())


def filters() -> st.SearchStrategy[dict[str, Any]]:
    """Conditions on the fields of :func:`item_values`, and on one that is never there.

    Example:
        >>> from hypothesis import given
        >>> import statekeep
        >>> @given(item_values(), filters())
        ... def test(value, filter):
        ...     with statekeep.connect("memory:") as keep:
        ...         keep.items.put(("n",), "k", value)
        ...         assert len(keep.items.search(filter=filter)) <= 1
        >>> test()
    """
    small = st.sampled_from(_SMALL)
    operators = st.dictionaries(
        st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]), small, min_size=1, max_size=2
    )
    condition = small | operators | st.fixed_dictionaries({}, optional={"x": small | operators, "y": operators})
    return st.dictionaries(st.sampled_from(["price", "tags", "text", "no such field"]), condition, max_size=2)


def _place() -> dict[str, st.SearchStrategy[Any]]:
    return {"namespace": item_namespaces(), "key": item_keys()}


def items() -> st.SearchStrategy[Item]:
    """Items as they are read."""
    return st.builds(Item, **_item())


def search_items() -> st.SearchStrategy[SearchItem]:
    """Items as a search returns them."""
    return st.builds(SearchItem, **_item(), score=st.none() | st.floats(-1, 1))


def _item() -> dict[str, st.SearchStrategy[Any]]:
    return {
        **_place(),
        "value": _stored_values(),
        "created_at": moments(),
        "updated_at": moments(),
        "version": st.integers(1, 3),
        "expires_at": st.none() | moments(),
    }


def expectations() -> st.SearchStrategy[Any]:
    """Values of ``expected``, mostly :data:`~statekeep.ANY`."""
    return st.sampled_from([ANY, ANY, ANY, ANY, None, 1, 2])


def refreshes() -> st.SearchStrategy[bool | None]:
    """Values of ``refresh``, mostly that of the repository."""
    return st.sampled_from([None, None, True, False])


def indexed() -> st.SearchStrategy[Any]:
    """Values of ``index``, mostly that of the repository."""
    return st.sampled_from([None, None, False, ["title"]])


def namespaces_of_unit(namespace: Namespace, unit: int | None) -> st.SearchStrategy[Namespace]:
    """Return namespaces that are one unit with this one.

    Args:
        namespace: one of them.
        unit: how many labels they have in common; ``None`` for all.

    Example:
        >>> from hypothesis import given
        >>> @given(namespaces_of_unit(("a", "b"), 1))
        ... def test(namespace):
        ...     assert namespace[:1] == ("a",)
        >>> test()
    """
    if unit is None or len(namespace) < unit:
        return st.just(namespace)
    return st.just(namespace) | item_namespaces().map(lambda others: namespace[:unit] + others)


def gets(namespaces: st.SearchStrategy[Namespace] | None = None) -> st.SearchStrategy[GetItem]:
    """Return reads of items.

    Args:
        namespaces: where; :func:`item_namespaces` if there is none.
    """
    place = _place() if namespaces is None else _place() | {"namespace": namespaces}
    return st.builds(GetItem, **place, refresh=refreshes())


def puts(
    namespaces: st.SearchStrategy[Namespace] | None = None, expected: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[PutItem]:
    """Return puts of items, some with a TTL.

    Args:
        namespaces: where; :func:`item_namespaces` if there is none.
        expected: what is expected to be there; :func:`expectations` if there is none.
    """
    place = _place() if namespaces is None else _place() | {"namespace": namespaces}
    return st.builds(
        PutItem,
        **place,
        value=_stored_values(),
        ttl=st.sampled_from(TTLS),
        expected=expectations() if expected is None else expected,
        index=indexed(),
    )


def deletes(
    namespaces: st.SearchStrategy[Namespace] | None = None, expected: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[DeleteItem]:
    """Return deletions of items; the arguments are those of :func:`puts`."""
    place = _place() if namespaces is None else _place() | {"namespace": namespaces}
    return st.builds(DeleteItem, **place, expected=expectations() if expected is None else expected)


def checks(namespaces: st.SearchStrategy[Namespace] | None = None) -> st.SearchStrategy[CheckItem]:
    """Return conditions on items, as parts of a batch.

    Args:
        namespaces: where; :func:`item_namespaces` if there is none.
    """
    place = _place() if namespaces is None else _place() | {"namespace": namespaces}
    return st.builds(CheckItem, **place, expected=st.sampled_from([None, None, 1, 2]))


def listings(namespaces: st.SearchStrategy[Namespace] | None = None) -> st.SearchStrategy[ListItems]:
    """Return listings that are parts of a batch.

    Args:
        namespaces: where; :func:`item_namespaces` if there is none.
    """
    parts = {
        "namespace": item_namespaces() if namespaces is None else namespaces,
        "prefix": st.just("") | item_keys().map(lambda key: key[:1]),
        "limit": st.integers(0, 4) | st.just(100),
        "reverse": st.booleans(),
        "refresh": refreshes(),
    }
    by_key = st.builds(ListItems, **parts, after=st.none() | item_keys(), order=st.just("key"))
    return _in_short(by_key | st.builds(ListItems, **parts, order=st.just("updated")))


def operations(
    namespaces: st.SearchStrategy[Namespace] | None = None, expected: st.SearchStrategy[Any] | None = None
) -> st.SearchStrategy[list[ItemOperation]]:
    """Return batches; those with expectations must be of one namespace.

    The arguments are those of :func:`puts`. If ``expected`` is given, there are no :func:`checks`.

    Example:
        >>> from hypothesis import given, strategies as st
        >>> import statekeep
        >>> @given(operations(st.just(("n",)), st.just(statekeep.ANY)))
        ... def test(operations):
        ...     with statekeep.connect("memory:") as keep:
        ...         assert len(keep.items.batch(operations)) == len(operations)
        >>> test()
    """
    single: st.SearchStrategy[ItemOperation]
    single = gets(namespaces) | puts(namespaces, expected) | deletes(namespaces, expected) | listings(namespaces)
    return _in_short(st.lists(single | checks(namespaces) if expected is None else single, max_size=5))


def namespace_paths() -> st.SearchStrategy[Namespace]:
    """Labels to look for in namespaces; ``"*"`` stands for any one."""
    ends = st.builds(lambda found, length: found[-length:], item_namespaces(), st.integers(1, 2))
    return st.lists(_labels | st.just("*"), max_size=2).map(tuple) | ends


def namespace_matches() -> st.SearchStrategy[NamespaceMatch]:
    """Conditions on namespaces."""
    return st.builds(NamespaceMatch, where=st.sampled_from(["prefix", "suffix"]), path=namespace_paths())


def vector_indexes() -> st.SearchStrategy[VectorIndex]:
    """Return options of vector search over :func:`item_values`.

    The vectors can be worked out by hand.
    """
    fields = [("text", "parts[*]"), ("title",), ("$",)]
    return st.builds(
        VectorIndex,
        dims=st.just(DIMS),
        embed=st.just(letter_counts),
        fields=st.sampled_from(fields),
        distance_metric=st.sampled_from(["cosine", "ip", "l2"]),
        index_type=st.sampled_from(["flat", "hnsw"]),
    )
