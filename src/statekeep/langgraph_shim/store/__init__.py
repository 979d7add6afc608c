"""LangGraph stores, under the module paths of ``langgraph_checkpoint_aws.store``."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ...lazy import lazily as _lazily
from ..names import missing as _missing

# To type checkers a `__getattr__` would be every name; anyone else imports what is asked for, and nothing more.
if _TYPE_CHECKING:
    from .agentcore import AgentCoreMemoryStore
    from .base import AsyncRepositoryStore, RepositoryStore
    from .valkey import AsyncValkeyStore, ValkeyIndexConfig, ValkeyStore
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "AgentCoreMemoryStore": ".agentcore",
            "AsyncRepositoryStore": ".base",
            "AsyncValkeyStore": ".valkey",
            "RepositoryStore": ".base",
            "ValkeyIndexConfig": ".valkey",
            "ValkeyStore": ".valkey",
        },
        _missing(__name__),
    )

__all__ = [
    "AgentCoreMemoryStore",
    "AsyncRepositoryStore",
    "AsyncValkeyStore",
    "RepositoryStore",
    "ValkeyIndexConfig",
    "ValkeyStore",
]
