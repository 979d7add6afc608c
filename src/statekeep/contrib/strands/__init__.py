"""Storage and sessions of Strands Agents: ``pip install 'statekeep[strands]'``.

Both are items. ``docs/frameworks/strands.md`` says what they cost and what is exact.
"""

from .sessions import StatekeepSessionRepository
from .storage import StatekeepStorage

__all__ = ["StatekeepSessionRepository", "StatekeepStorage"]
