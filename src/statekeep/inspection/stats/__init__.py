"""Statistics: bytes by kind of record, and the largest threads and namespaces."""

from .models import KindStats, NamespaceStats, Scope, Stats, ThreadStats
from .survey import Survey

__all__ = ["KindStats", "NamespaceStats", "Scope", "Stats", "Survey", "ThreadStats"]
