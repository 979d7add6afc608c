"""Sessions and memory of Google's ADK: ``pip install 'statekeep[google-adk]'``.

Both are items. ``docs/frameworks/google-adk.md`` says what they cost and what is exact.
"""

from .memory import StatekeepMemoryService
from .sessions import StatekeepSessionService

__all__ = ["StatekeepMemoryService", "StatekeepSessionService"]
