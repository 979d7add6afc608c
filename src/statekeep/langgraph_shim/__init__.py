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
from ..lazy import lazily as _lazily

try:
    import langgraph.checkpoint.base  # noqa: F401
except ModuleNotFoundError as error:
    raise MissingDependency("langgraph-checkpoint", "langgraph") from error

from .names import missing as _missing

# To type checkers a `__getattr__` would be every name; anyone else imports what is asked for, and nothing more.
if _TYPE_CHECKING:
    from ..repositories.bedrock_sessions import AsyncBedrockAgentRuntimeSessionClient, BedrockAgentRuntimeSessionClient
    from .cache.base import RepositoryCache
    from .cache.valkey import ValkeyCache
    from .checkpoint.agentcore import AgentCoreMemorySaver
    from .checkpoint.base import AsyncRepositorySaver, RepositorySaver
    from .checkpoint.bedrock_sessions import AsyncBedrockSessionSaver, BedrockSessionSaver
    from .checkpoint.valkey import AsyncValkeySaver, ValkeySaver
    from .checkpoint.valkey_of_actors import AgentCoreValkeySaver
    from .migration import (
        MigrationReport,
        MigrationSource,
        MigrationTarget,
        PeerSource,
        VerificationFailed,
        amigrate,
        migrate,
        migrate_urls,
        open_source,
    )
    from .serializers import StrictSerializer
    from .store.agentcore import AgentCoreMemoryStore
    from .store.base import AsyncRepositoryStore, RepositoryStore
    from .store.valkey import AsyncValkeyStore, ValkeyIndexConfig, ValkeyStore
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "AgentCoreMemorySaver": ".checkpoint.agentcore",
            "AgentCoreMemoryStore": ".store.agentcore",
            "AgentCoreValkeySaver": ".checkpoint.valkey_of_actors",
            "AsyncBedrockAgentRuntimeSessionClient": "..repositories.bedrock_sessions",
            "AsyncBedrockSessionSaver": ".checkpoint.bedrock_sessions",
            "AsyncRepositorySaver": ".checkpoint.base",
            "AsyncRepositoryStore": ".store.base",
            "AsyncValkeySaver": ".checkpoint.valkey",
            "AsyncValkeyStore": ".store.valkey",
            "BedrockAgentRuntimeSessionClient": "..repositories.bedrock_sessions",
            "BedrockSessionSaver": ".checkpoint.bedrock_sessions",
            "MigrationReport": ".migration",
            "MigrationSource": ".migration",
            "MigrationTarget": ".migration",
            "PeerSource": ".migration",
            "RepositoryCache": ".cache.base",
            "RepositorySaver": ".checkpoint.base",
            "RepositoryStore": ".store.base",
            "StrictSerializer": ".serializers",
            "ValkeyCache": ".cache.valkey",
            "ValkeyIndexConfig": ".store.valkey",
            "ValkeySaver": ".checkpoint.valkey",
            "ValkeyStore": ".store.valkey",
            "VerificationFailed": ".migration",
            "amigrate": ".migration",
            "migrate": ".migration",
            "migrate_urls": ".migration",
            "open_source": ".migration",
        },
        _missing(__name__),
    )

__all__ = [
    "AgentCoreMemorySaver",
    "AgentCoreMemoryStore",
    "AgentCoreValkeySaver",
    "AsyncBedrockAgentRuntimeSessionClient",
    "AsyncBedrockSessionSaver",
    "AsyncRepositorySaver",
    "AsyncRepositoryStore",
    "AsyncValkeySaver",
    "AsyncValkeyStore",
    "BedrockAgentRuntimeSessionClient",
    "BedrockSessionSaver",
    "MigrationReport",
    "MigrationSource",
    "MigrationTarget",
    "PeerSource",
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
    "VerificationFailed",
    "amigrate",
    "migrate",
    "migrate_urls",
    "open_source",
    "valkey_available",
]

valkey_available: bool = any(map(_find_spec, ("valkey", "glide", "glide_sync")))
"""Whether a client of Valkey is installed."""
