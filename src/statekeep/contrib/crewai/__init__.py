"""State of CrewAI's flows and runs: ``pip install 'statekeep[crewai]'``.

A flow is a thread, and a field of its state is a channel. ``docs/frameworks/crewai.md`` says what it costs and what is
exact.
"""

from .flows import StatekeepFlowPersistence
from .provider import StatekeepProvider

__all__ = ["StatekeepFlowPersistence", "StatekeepProvider"]
