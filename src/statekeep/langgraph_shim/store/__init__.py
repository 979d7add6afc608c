"""LangGraph stores, under the module paths of ``langgraph_checkpoint_aws.store``."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ..names import missing as _missing
from .base import AsyncRepositoryStore, RepositoryStore
from .valkey import AsyncValkeyStore, ValkeyIndexConfig, ValkeyStore

__all__ = [
    "AsyncRepositoryStore",
    "AsyncValkeyStore",
    "RepositoryStore",
    "ValkeyIndexConfig",
    "ValkeyStore",
]

if not _TYPE_CHECKING:  # to type checkers every name would be there
    __getattr__ = _missing(__name__)
