"""Valkey: records that redis-om reads too.

They go over valkey-glide and valkey-py, standalone and cluster.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ...lazy import lazily as _lazily

# To type checkers a `__getattr__` would be every name; anyone else imports what is asked for, and nothing more.
if _TYPE_CHECKING:
    from .cache.backend import ValkeyCacheEntries
    from .checkpoints.backend import ValkeyCheckpoints
    from .client.factory import Client, client_for, client_from_pool, client_from_url, open_client
    from .client.iam import IamCredentials
    from .items.backend import ValkeyItems
    from .logs.backend import ValkeyLogs
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "Client": ".client.factory",
            "IamCredentials": ".client.iam",
            "ValkeyCacheEntries": ".cache.backend",
            "ValkeyCheckpoints": ".checkpoints.backend",
            "ValkeyItems": ".items.backend",
            "ValkeyLogs": ".logs.backend",
            "client_for": ".client.factory",
            "client_from_pool": ".client.factory",
            "client_from_url": ".client.factory",
            "open_client": ".client.factory",
        },
    )

__all__ = [
    "Client",
    "IamCredentials",
    "ValkeyCacheEntries",
    "ValkeyCheckpoints",
    "ValkeyItems",
    "ValkeyLogs",
    "client_for",
    "client_from_pool",
    "client_from_url",
    "open_client",
]
