"""LangGraph's checkpointers, stores and caches over any repository.

They need ``pip install 'statekeep[langgraph]'``.

>>> import statekeep
>>> from statekeep.langgraph_shim import RepositoryCache, RepositorySaver, RepositoryStore
>>> keep = statekeep.connect("memory:")
>>> saver, store, cache = RepositorySaver(keep.checkpoints), RepositoryStore(keep.items), RepositoryCache(keep.cache)
"""

from ..domain import MissingDependency

try:
    import langgraph.checkpoint.base  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingDependency("langgraph-checkpoint", "langgraph") from error

from ..repositories.bedrock_sessions import AsyncBedrockAgentRuntimeSessionClient, BedrockAgentRuntimeSessionClient
from .cache.base import RepositoryCache
from .cache.valkey import ValkeyCache
from .checkpoint.agentcore import AgentCoreMemorySaver
from .checkpoint.base import AsyncRepositorySaver, RepositorySaver
from .checkpoint.bedrock_sessions import AsyncBedrockSessionSaver, BedrockSessionSaver
from .checkpoint.valkey import AsyncValkeySaver, ValkeySaver
from .serializers import StrictSerializer
from .store.base import AsyncRepositoryStore, RepositoryStore
from .store.valkey import AsyncValkeyStore, ValkeyIndexConfig, ValkeyStore

__all__ = [
    "AgentCoreMemorySaver",
    "AsyncBedrockAgentRuntimeSessionClient",
    "AsyncBedrockSessionSaver",
    "AsyncRepositorySaver",
    "AsyncRepositoryStore",
    "AsyncValkeySaver",
    "AsyncValkeyStore",
    "BedrockAgentRuntimeSessionClient",
    "BedrockSessionSaver",
    "RepositoryCache",
    "RepositorySaver",
    "RepositoryStore",
    "StrictSerializer",
    "ValkeyCache",
    "ValkeyIndexConfig",
    "ValkeySaver",
    "ValkeyStore",
]
