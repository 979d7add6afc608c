"""Telemetry: what each operation took, told to functions of yours.

:func:`observe` registers one. ``statekeep.contrib.opentelemetry`` makes spans and metrics of it.
"""

from .hook import Observing, observe
from .records import Beginning, Observation, Service

__all__ = ["Beginning", "Observation", "Observing", "Service", "observe"]
