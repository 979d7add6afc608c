"""Strategies of cache entries and their keys."""

from __future__ import annotations

from hypothesis import strategies as st

from ...domain import CacheEntry, Payload
from ...domain.cache import CacheKey
from ...domain.items import Namespace
from .checkpoints import moments, payloads
from .items import TTLS
from .texts import HOSTILE_TEXTS, disguised, disguised_labels, few


def cache_namespaces() -> st.SearchStrategy[Namespace]:
    """Return namespaces, of which some are below others.

    The one without labels, some below each other, and two that look like others if their labels are only joined.
    """
    nasty = [(text,) for text in HOSTILE_TEXTS] + [("a", text) for text in HOSTILE_TEXTS]
    return disguised_labels(
        few("cache namespaces", [("a",), (), ("a", "b")], [("a.b",), ("index",), ("a.b", "c"), *nasty])
    )


def cache_keys() -> st.SearchStrategy[CacheKey]:
    """Namespaces and keys, some of which are one if they are only joined."""
    keys = few("cache keys", ["k", ""], ["b:k", "hash", "schema", *HOSTILE_TEXTS])
    return st.tuples(cache_namespaces(), disguised(keys))


def cache_writes() -> st.SearchStrategy[dict[CacheKey, tuple[Payload, float | None]]]:
    """Entries to be set: payloads and the seconds that they live.

    Example:
        >>> from hypothesis import given
        >>> import statekeep
        >>> @given(cache_writes())
        ... def test(entries):
        ...     with statekeep.connect("memory:") as keep:
        ...         keep.cache.set(entries)
        ...         assert keep.cache.get(list(entries)).keys() == entries.keys()
        >>> test()
    """
    return st.dictionaries(cache_keys(), st.tuples(payloads(), st.sampled_from(TTLS)), max_size=4)


def cache_entries() -> st.SearchStrategy[CacheEntry]:
    """Entries as they are read."""
    return st.builds(
        lambda place, **fields: CacheEntry(namespace=place[0], key=place[1], **fields),
        cache_keys(),
        payload=payloads(),
        created_at=moments(),
        expires_at=st.none() | moments(),
    )
