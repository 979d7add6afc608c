"""Listings and deletions of few records on a page, so that little data takes many pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from statekeep.repositories.agentcore import listing as agentcore_listing
from statekeep.repositories.memory import checkpoints as memory_checkpoints
from statekeep.repositories.memory import items as memory_items
from statekeep.repositories.memory import logs as memory_logs
from statekeep.repositories.valkey.checkpoints import delete as deletion
from statekeep.repositories.valkey.checkpoints import listing, threads
from statekeep.repositories.valkey.checkpoints.metadata import choice, index
from statekeep.repositories.valkey.items import listing as item_listing
from statekeep.repositories.valkey.items import namespaces as item_namespaces
from statekeep.repositories.valkey.items import ranges as item_ranges
from statekeep.repositories.valkey.items.search import comparison
from statekeep.repositories.valkey.items.search import nearest as item_search
from statekeep.repositories.valkey.logs import listing as log_listing

SIZES = (
    (memory_checkpoints, "_PAGE"),
    (memory_checkpoints, "_PAGE_OF_THREADS"),
    (memory_items, "_PAGE"),
    (memory_logs, "_PAGE"),
    (agentcore_listing, "SIZE"),
    (deletion, "CHUNK"),
    (deletion, "NAMESPACES"),
    (deletion, "SCAN"),
    (listing, "PAGE"),
    (listing, "SCAN"),
    (listing, "FIRST"),
    (choice, "SCAN"),
    (index, "TAGS"),
    (index, "SETTLED"),
    (threads, "SCAN"),
    (threads, "THREADS"),
    (item_listing, "PAGE"),
    (item_ranges, "PAGE"),
    (item_ranges, "KEYS"),
    (item_listing, "FEW"),
    (item_namespaces, "NAMES"),
    (item_search, "PAGE"),
    (log_listing, "SIZE"),
    (comparison, "MEMBERS"),
    (comparison, "NAMESPACES"),
    (comparison, "TAIL"),
)


@contextmanager
def small_pages(size: int = 2) -> Iterator[None]:
    """Within the block, each page of the backends in memory and in Valkey has so few records."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in SIZES:
            assert getattr(module, name) > size
            patch.setattr(module, name, size)
        yield
