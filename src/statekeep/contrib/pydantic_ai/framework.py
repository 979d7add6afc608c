"""The framework's own names, and what there is of them without it."""

from __future__ import annotations

from typing import Any

from ...domain import MissingDependency

_missing: ImportError | None = None
try:
    from pydantic_ai.conversation_store import ConversationConflict as ConversationConflict
    from pydantic_ai.conversation_store import ConversationEntry as ConversationEntry
    from pydantic_ai.conversation_store import ConversationRecord as ConversationRecord
    from pydantic_ai.conversation_store import ConversationStore as ConversationStore
    from pydantic_ai.messages import ModelMessage as ModelMessage
except ImportError as error:
    # Without the framework the module can be imported, but no store can be made.
    _missing = error
    ConversationStore = object
    ConversationConflict = ConversationEntry = ConversationRecord = ModelMessage = Any


def check_installed() -> None:
    """Raise `MissingDependency` unless the framework is there."""
    if _missing is not None:
        raise MissingDependency("pydantic-ai-slim", "pydantic-ai") from _missing
