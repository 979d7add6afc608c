"""LangGraph's checkpointers, stores and caches over any repository.

They need ``pip install 'statekeep[langgraph]'``.

>>> import statekeep
>>> from statekeep.langgraph_shim import RepositoryCache, RepositorySaver, RepositoryStore
>>> keep = statekeep.connect("memory:")
>>> saver, store, cache = RepositorySaver(keep.checkpoints), RepositoryStore(keep.items), RepositoryCache(keep.cache)
"""

from importlib.util import find_spec as _find_spec
from typing import TYPE_CHECKING as _TYPE_CHECKING

from ..domain import Conflict as ValkeySearchIndexError
from ..domain import CorruptRecord as ValkeyDocumentParsingError
from ..domain import EmbeddingFailed as ValkeyEmbeddingGenerationError
from ..domain import InvalidInput as ValkeyTTLConfigurationError
from ..domain import InvalidInput as ValkeyValidationError
from ..domain import MissingDependency
from ..domain import StatekeepError as ValkeyStoreError
from ..domain import Unavailable as ValkeyConnectionError

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
from .checkpoint.valkey_of_actors import AgentCoreValkeySaver
from .names import missing as _missing
from .serializers import StrictSerializer
from .store.base import AsyncRepositoryStore, RepositoryStore
from .store.valkey import AsyncValkeyStore, ValkeyIndexConfig, ValkeyStore

__all__ = [
    "AgentCoreMemorySaver",
    "AgentCoreValkeySaver",
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
    "ValkeyConnectionError",
    "ValkeyDocumentParsingError",
    "ValkeyEmbeddingGenerationError",
    "ValkeyIndexConfig",
    "ValkeySaver",
    "ValkeySearchIndexError",
    "ValkeyStore",
    "ValkeyStoreError",
    "ValkeyTTLConfigurationError",
    "ValkeyValidationError",
    "valkey_available",
]

valkey_available: bool = any(map(_find_spec, ("valkey", "glide", "glide_sync")))
"""Whether a client of Valkey is installed."""

if not _TYPE_CHECKING:  # to type checkers every name would be there
    __getattr__ = _missing(__name__)
