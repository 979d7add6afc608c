"""Hypothesis strategies of everything that Statekeep keeps.

These are ids, payloads, checkpoints, items, logs, cache entries ...

There is one for each model of :mod:`statekeep.domain`, and for the texts that name them. Ids come from small pools that
stay the same throughout an example (see :func:`few`), so that the things made from them meet each other; the pools hold
the characters that key patterns, hash tags, separators and escapes are made of.

Example:
    >>> from hypothesis import given
    >>> from hypothesis import strategies as st
    >>> @given(st.lists(checkpoints()))
    ... def test(found):
    ...     assert len({checkpoint.thread_id for checkpoint in found}) <= 3
    >>> test()
"""

from .cache import cache_entries, cache_keys, cache_namespaces, cache_writes
from .checkpoints import (
    VERSIONS,
    channel_histories,
    channel_names,
    channels,
    checkpoint_ids,
    checkpoints,
    exact_values,
    metadata,
    moments,
    namespaces,
    payloads,
    pending_writes,
    prune_policies,
    queries,
    run_ids,
    saved_checkpoints,
    stored_channels,
    thread_ids,
    thread_prefixes,
    threads,
    versions,
)
from .items import (
    TEXTS,
    TTLS,
    checks,
    deletes,
    expectations,
    filters,
    gets,
    indexed,
    item_keys,
    item_namespaces,
    item_values,
    items,
    json_values,
    listings,
    namespace_matches,
    namespace_paths,
    operations,
    puts,
    refreshes,
    search_items,
    vector_indexes,
)
from .logs import log_entries, log_names, log_values, logs
from .texts import HOSTILE_TEXTS, LOOK_ALIKES, NASTY_TEXTS, disguised, few

__all__ = [
    "HOSTILE_TEXTS",
    "LOOK_ALIKES",
    "NASTY_TEXTS",
    "TEXTS",
    "TTLS",
    "VERSIONS",
    "cache_entries",
    "cache_keys",
    "cache_namespaces",
    "cache_writes",
    "channel_histories",
    "channel_names",
    "channels",
    "checkpoint_ids",
    "checkpoints",
    "checks",
    "deletes",
    "disguised",
    "exact_values",
    "expectations",
    "few",
    "filters",
    "gets",
    "indexed",
    "item_keys",
    "item_namespaces",
    "item_values",
    "items",
    "json_values",
    "listings",
    "log_entries",
    "log_names",
    "log_values",
    "logs",
    "metadata",
    "moments",
    "namespace_matches",
    "namespace_paths",
    "namespaces",
    "operations",
    "payloads",
    "pending_writes",
    "prune_policies",
    "puts",
    "queries",
    "refreshes",
    "run_ids",
    "saved_checkpoints",
    "search_items",
    "stored_channels",
    "thread_ids",
    "thread_prefixes",
    "threads",
    "vector_indexes",
    "versions",
]
