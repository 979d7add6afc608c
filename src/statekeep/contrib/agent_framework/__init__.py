"""Microsoft's Agent Framework: ``pip install 'statekeep[agent-framework]'``.

Checkpoints of workflows, the history of conversations, and sessions. ``docs/frameworks/agent-framework.md`` says what
they cost and what is exact.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ...lazy import lazily as _lazily

# The framework warns whoever imports sessions, which are experimental there: import only what is asked for.
if _TYPE_CHECKING:
    from .checkpoints import StatekeepCheckpointStorage
    from .history import StatekeepHistoryProvider
    from .sessions import StatekeepSessionStore
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "StatekeepCheckpointStorage": ".checkpoints",
            "StatekeepHistoryProvider": ".history",
            "StatekeepSessionStore": ".sessions",
        },
    )

__all__ = ["StatekeepCheckpointStorage", "StatekeepHistoryProvider", "StatekeepSessionStore"]
