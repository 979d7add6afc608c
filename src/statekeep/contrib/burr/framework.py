"""The framework's own names, and what there is of them without it."""

from __future__ import annotations

from typing import Any

from ...domain import MissingDependency

_missing: ImportError | None = None
try:
    from burr.core.persistence import AsyncBaseStatePersister as AsyncBaseStatePersister
    from burr.core.persistence import BaseStatePersister as BaseStatePersister
    from burr.core.persistence import PersistedStateData as PersistedStateData
    from burr.core.state import State as State
except ModuleNotFoundError as error:
    if error.name != "burr":
        raise
    # Without the framework the module can be imported, but no persister can be made.
    _missing = error
    AsyncBaseStatePersister = BaseStatePersister = object
    PersistedStateData = State = Any


def check_installed() -> None:
    """Raise `MissingDependency` unless the framework is there."""
    if _missing is not None:
        raise MissingDependency("apache-burr", "burr") from _missing
