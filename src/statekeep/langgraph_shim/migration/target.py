"""Targets of a migration: places that keep threads, items or cache entries."""

from __future__ import annotations

from typing import Any

from attrs import frozen

from ...domain import InvalidInput, Serializer, Unsupported
from ...repositories.cache import AsyncCacheRepository, CacheRepository
from ...repositories.checkpoints import AsyncCheckpointRepository, CheckpointRepository
from ...repositories.connection import AsyncConnection, Connection
from ...repositories.items import AsyncItemRepository, ItemRepository
from ..cache.base import Cache
from ..checkpoint.base import Saver
from ..checkpoint.of_actors import SaverOfActors
from ..store.base import Store
from .records import EntryTarget, ItemTarget
from .source import Readers
from .threads import ThreadTarget


@frozen
class Target:
    """The places of a target; ``None``: it has none for this kind.

    Attributes:
        serde: serializes what cannot be moved as it is; ``None`` for LangGraph's own.
        takes_all: whether all that the source has is to be brought; else only what there is a place for.
    """

    checkpoints: ThreadTarget | None = None
    items: ItemTarget | None = None
    cache: EntryTarget | None = None
    serde: Serializer | None = None
    takes_all: bool = False


def target_of(value: Any) -> Target:
    """Return the places of what a user passed.

    That is a repository, a connection, or a saver, store or cache of Statekeep's.

    Raises:
        InvalidInput: it is something else.
    """
    match value:
        case Connection() | AsyncConnection():
            backends = value.backends
            return Target(
                _threads(value.checkpoints),
                value.items if value.has_items else None,
                None if backends.cache is None else value.cache,
                takes_all=True,
            )
        case CheckpointRepository() | AsyncCheckpointRepository():
            return Target(_threads(value))
        case ItemRepository() | AsyncItemRepository():
            return Target(items=value)
        case CacheRepository() | AsyncCacheRepository():
            return Target(cache=value)
        case SaverOfActors():
            raise InvalidInput(
                f"target {type(value).__name__} keeps the threads of many actors: pass the repository of one, "
                'such as statekeep.connect("agentcore://MEMORY_ID?actor_id=...").checkpoints',
                field="target",
            )
        case Saver():
            backend = value._backend  # noqa: SLF001 - the saver's own kin
            return Target(ThreadTarget(backend, backend), serde=value.serde)
        case Store():
            return Target(items=value._sync)  # noqa: SLF001
        case Cache():
            return Target(cache=value._sync, serde=value.serde)  # noqa: SLF001
    raise InvalidInput(
        "target must be a repository or a connection of Statekeep, or a saver, store or cache over one, "
        f"got {type(value).__name__}",
        field="target",
    )


def _threads(repository: CheckpointRepository | AsyncCheckpointRepository) -> ThreadTarget:
    return ThreadTarget(repository.backend, repository.executor)


def check_kinds(readers: Readers, target: Target) -> None:
    """Refuse a target for nothing of what the source has.

    Raises:
        InvalidInput: they have no kind of record in common.
    """
    kinds = [kind for kind in ("checkpoints", "items", "cache") if getattr(readers, kind) is not None]
    if not any(getattr(target, kind) is not None for kind in kinds):
        raise InvalidInput(
            f"target must be of the kind of source, which has {' and '.join(kinds) or 'nothing'}", field="target"
        )


def lacks(kind: str) -> Unsupported:
    """Return the error for a target that cannot keep what the source has."""
    return Unsupported(f"the source has {kind}, and the target keeps none; nothing was migrated")
