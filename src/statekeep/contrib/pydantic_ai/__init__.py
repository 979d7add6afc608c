"""Conversations of Pydantic AI: ``pip install 'statekeep[pydantic-ai]'``.

They are items. ``docs/frameworks/pydantic-ai.md`` says what they cost and what is exact.
"""

from .store import StatekeepConversationStore

__all__ = ["StatekeepConversationStore"]
