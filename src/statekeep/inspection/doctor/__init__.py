"""The doctor: is the service as Statekeep needs it, and if not, what to do."""

from .examination import aexamine, examine
from .finding import Finding, State

__all__ = ["Finding", "State", "aexamine", "examine"]
