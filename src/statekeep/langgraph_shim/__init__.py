"""LangGraph's checkpointers over any Statekeep repository (``pip install 'statekeep[langgraph]'``).

>>> import statekeep
>>> from statekeep.langgraph_shim import RepositorySaver
>>> saver = RepositorySaver(statekeep.connect("memory:").checkpoints)
"""

from ..domain import MissingDependency

try:
    import langgraph.checkpoint.base  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingDependency("langgraph-checkpoint", "langgraph") from error

from .checkpoint.valkey import AsyncValkeySaver, ValkeySaver
from .savers import AsyncRepositorySaver, RepositorySaver

__all__ = ["AsyncRepositorySaver", "AsyncValkeySaver", "RepositorySaver", "ValkeySaver"]
