"""The framework's own names, and what there is of them without it."""

from __future__ import annotations

from typing import Any

from ...domain import MissingDependency

_missing: ImportError | None = None
try:
    from agent_framework import AgentSession as AgentSession
    from agent_framework import HistoryProvider as HistoryProvider
    from agent_framework import Message as Message
    from agent_framework import WorkflowCheckpoint as WorkflowCheckpoint
    from agent_framework._sessions import filter_new_messages as filter_new_messages
    from agent_framework._workflows._checkpoint_encoding import decode_checkpoint_value as decode_checkpoint_value
    from agent_framework._workflows._checkpoint_encoding import encode_checkpoint_value as encode_checkpoint_value
    from agent_framework.exceptions import WorkflowCheckpointException as WorkflowCheckpointException
except ModuleNotFoundError as error:
    if error.name != "agent_framework":
        raise
    # Without the framework the module can be imported, but nothing can be made of it.
    _missing = error
    HistoryProvider = object
    WorkflowCheckpointException = Exception
    AgentSession = Message = WorkflowCheckpoint = Any
    decode_checkpoint_value = encode_checkpoint_value = filter_new_messages = Any


def check_installed() -> None:
    """Raise `MissingDependency` unless the framework is there."""
    if _missing is not None:
        raise MissingDependency("agent-framework-core", "agent-framework") from _missing
