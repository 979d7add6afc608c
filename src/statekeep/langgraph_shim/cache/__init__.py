"""LangGraph caches, under the module paths of ``langgraph_checkpoint_aws.cache``."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ..names import missing as _missing
from .base import RepositoryCache
from .valkey import ValkeyCache

__all__ = [
    "RepositoryCache",
    "ValkeyCache",
]

if not _TYPE_CHECKING:  # to type checkers every name would be there
    __getattr__ = _missing(__name__)
