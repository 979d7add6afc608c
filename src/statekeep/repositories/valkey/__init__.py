"""Valkey: records that redis-om reads too.

They go over valkey-glide and valkey-py, standalone and cluster.
"""

from .cache.backend import ValkeyCacheEntries
from .checkpoints.backend import ValkeyCheckpoints
from .client.factory import Client, client_for, client_from_pool, client_from_url, open_client
from .client.iam import IamCredentials
from .items.backend import ValkeyItems

__all__ = [
    "Client",
    "IamCredentials",
    "ValkeyCacheEntries",
    "ValkeyCheckpoints",
    "ValkeyItems",
    "client_for",
    "client_from_pool",
    "client_from_url",
    "open_client",
]
