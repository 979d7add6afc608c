"""Histories, caches, stores and records of LangChain.

They need ``pip install 'statekeep[langchain]'``; ``docs/frameworks/langchain.md`` says what they cost and what is
exact.
"""

from ...domain import MissingDependency

try:
    import langchain_core  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingDependency("langchain-core", "langchain") from error

from .byte_store import StatekeepByteStore
from .chat_history import StatekeepChatMessageHistory
from .llm_cache import StatekeepLLMCache
from .record_manager import StatekeepRecordManager

__all__ = [
    "StatekeepByteStore",
    "StatekeepChatMessageHistory",
    "StatekeepLLMCache",
    "StatekeepRecordManager",
]
