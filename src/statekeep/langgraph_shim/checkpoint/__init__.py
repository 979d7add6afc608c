"""Checkpointers, where ``langgraph_checkpoint_aws.checkpoint`` has them."""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ..names import missing as _missing
from .agentcore import AgentCoreMemorySaver
from .base import AsyncRepositorySaver, RepositorySaver
from .valkey import AsyncValkeySaver, ValkeySaver
from .valkey_of_actors import AgentCoreValkeySaver

__all__ = [
    "AgentCoreMemorySaver",
    "AgentCoreValkeySaver",
    "AsyncRepositorySaver",
    "AsyncValkeySaver",
    "RepositorySaver",
    "ValkeySaver",
]

if not _TYPE_CHECKING:  # to type checkers every name would be there
    __getattr__ = _missing(__name__)
