"""The framework's own names, and what there is of them without it."""

from __future__ import annotations

from ...domain import MissingDependency, StatekeepError

_missing: ImportError | None = None
try:
    from strands.session import SessionRepository as SessionRepository
    from strands.types.exceptions import SessionException as SessionException
    from strands.types.exceptions import StorageError as StorageError
except ImportError as error:
    # Without the framework the module can be imported, but nothing can be made of it, nor raised by that.
    _missing = error
    SessionRepository = object
    SessionException = StorageError = StatekeepError


def check_installed() -> None:
    """Raise `MissingDependency` unless the framework is there."""
    if _missing is not None:
        raise MissingDependency("strands-agents", "strands") from _missing
