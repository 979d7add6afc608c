"""The framework's own names, and what there is of them without it."""

from __future__ import annotations

from typing import Any

from ...domain import MissingDependency

_missing: ImportError | None = None
try:
    from crewai.flow.async_feedback.types import PendingFeedbackContext as PendingFeedbackContext
    from crewai.flow.persistence.base import FlowPersistence as FlowPersistence
    from crewai.state.provider.core import BaseProvider as BaseProvider
except ModuleNotFoundError as error:
    if error.name != "crewai":
        raise
    # Without the framework the module can be imported, but nothing can be made of it.
    _missing = error
    BaseProvider = FlowPersistence = object
    PendingFeedbackContext = Any


def check_installed() -> None:
    """Raise `MissingDependency` unless the framework is there."""
    if _missing is not None:
        raise MissingDependency("crewai", "crewai") from _missing
