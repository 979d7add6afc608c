"""Stores of LlamaIndex: ``pip install 'statekeep[llama-index]'``.

Chats are logs, and values are items. ``docs/frameworks/llama-index.md`` says what they cost and what is exact.
"""

from .chats import StatekeepChatStore
from .key_values import StatekeepKVStore
from .memories import StatekeepAsyncChatStore

__all__ = ["StatekeepAsyncChatStore", "StatekeepChatStore", "StatekeepKVStore"]
