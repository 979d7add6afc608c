"""LangGraph caches, under the module paths of ``langgraph_checkpoint_aws.cache``."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ...lazy import lazily as _lazily
from ..names import missing as _missing

# To type checkers a `__getattr__` would be every name; anyone else imports what is asked for, and nothing more.
if _TYPE_CHECKING:
    from .base import RepositoryCache
    from .valkey import ValkeyCache
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "RepositoryCache": ".base",
            "ValkeyCache": ".valkey",
        },
        _missing(__name__),
    )

__all__ = [
    "RepositoryCache",
    "ValkeyCache",
]
