"""Checkpointers, where ``langgraph_checkpoint_aws.checkpoint`` has them."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ...lazy import lazily as _lazily
from ..names import missing as _missing

# To type checkers a `__getattr__` would be every name; anyone else imports what is asked for, and nothing more.
if _TYPE_CHECKING:
    from .agentcore import AgentCoreMemorySaver
    from .base import AsyncRepositorySaver, RepositorySaver
    from .valkey import AsyncValkeySaver, ValkeySaver
    from .valkey_of_actors import AgentCoreValkeySaver
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "AgentCoreMemorySaver": ".agentcore",
            "AgentCoreValkeySaver": ".valkey_of_actors",
            "AsyncRepositorySaver": ".base",
            "AsyncValkeySaver": ".valkey",
            "RepositorySaver": ".base",
            "ValkeySaver": ".valkey",
        },
        _missing(__name__),
    )

__all__ = [
    "AgentCoreMemorySaver",
    "AgentCoreValkeySaver",
    "AsyncRepositorySaver",
    "AsyncValkeySaver",
    "RepositorySaver",
    "ValkeySaver",
]
