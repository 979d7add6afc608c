"""Valkey: records that redis-om reads too, over valkey-glide and valkey-py, standalone and cluster."""

from .cache_entries import ValkeyCacheEntries
from .checkpoints import ValkeyCheckpoints
from .client import Client, client_for, client_from_pool, client_from_url
from .items import ValkeyItems
from .open import open_client

__all__ = [
    "Client",
    "ValkeyCacheEntries",
    "ValkeyCheckpoints",
    "ValkeyItems",
    "client_for",
    "client_from_pool",
    "client_from_url",
    "open_client",
]
