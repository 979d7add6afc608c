"""The framework's own names, and what there is of them without it."""

from __future__ import annotations

from typing import Final

from ...domain import MissingDependency

_missing: ImportError | None = None
try:
    from llama_index.core.base.llms.types import ChatMessage as ChatMessage
    from llama_index.core.storage.chat_store.base import BaseChatStore as BaseChatStore
    from llama_index.core.storage.chat_store.base_db import AsyncDBChatStore as AsyncDBChatStore
    from llama_index.core.storage.chat_store.base_db import MessageStatus as MessageStatus
    from llama_index.core.storage.kvstore.types import BaseKVStore as BaseKVStore
except ImportError as error:
    # Without the framework the module can be imported, but nothing can be made of it.
    _missing = error
    AsyncDBChatStore = BaseChatStore = BaseKVStore = ChatMessage = object

    class MessageStatus:  # type: ignore[no-redef]
        """The names that defaults of arguments need."""

        ACTIVE, ARCHIVED = "active", "archived"


COLLECTION: Final = "data"
"""The collection of a key-value store if none is named, as in the framework."""


def check_installed() -> None:
    """Raise `MissingDependency` unless the framework is there."""
    if _missing is not None:
        raise MissingDependency("llama-index-core", "llama-index") from _missing
