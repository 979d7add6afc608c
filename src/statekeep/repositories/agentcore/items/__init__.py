"""Items in AgentCore Memory: lanes of events, read by exact names."""

from .backend import AgentCoreItems

__all__ = ["AgentCoreItems"]
