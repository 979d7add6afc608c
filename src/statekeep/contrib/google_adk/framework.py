"""The framework's own names, and what there is of them without it."""

from __future__ import annotations

from typing import Any

from ...domain import MissingDependency

_missing: ImportError | None = None
try:
    from google.adk.errors import StaleSessionError as StaleSessionError
    from google.adk.errors.already_exists_error import AlreadyExistsError as AlreadyExistsError
    from google.adk.errors.session_not_found_error import SessionNotFoundError as SessionNotFoundError
    from google.adk.events.event import Event as Event
    from google.adk.memory.base_memory_service import BaseMemoryService as BaseMemoryService
    from google.adk.memory.base_memory_service import SearchMemoryResponse as SearchMemoryResponse
    from google.adk.memory.memory_entry import MemoryEntry as MemoryEntry
    from google.adk.sessions.base_session_service import BaseSessionService as BaseSessionService
    from google.adk.sessions.base_session_service import GetSessionConfig as GetSessionConfig
    from google.adk.sessions.base_session_service import ListSessionsResponse as ListSessionsResponse
    from google.adk.sessions.session import Session as Session
    from google.adk.sessions.state import State as State
except ImportError as error:
    # Without the framework the module can be imported, but no service can be made.
    _missing = error
    BaseSessionService = BaseMemoryService = object
    AlreadyExistsError = SessionNotFoundError = StaleSessionError = Exception
    Event = GetSessionConfig = ListSessionsResponse = MemoryEntry = SearchMemoryResponse = Any
    Session = State = Any


def check_installed() -> None:
    """Raise `MissingDependency` unless the framework is there."""
    if _missing is not None:
        raise MissingDependency("google-adk", "google-adk") from _missing
