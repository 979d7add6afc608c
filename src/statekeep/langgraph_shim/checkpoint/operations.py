"""What LangGraph's methods do, written once.

Each operation yields functions of a repository (``lambda keep: keep.get(...)``), which are called with the
sync face or awaited on the async one; see :mod:`statekeep.repositories.operation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from ...domain import InvalidInput, SavedCheckpoint, Serializer
from ...domain.shown import shown
from ...repositories.operation import Operation
from . import metadata as _metadata
from .config import Address, WrongType, before_id, config_of, identifier, identifiers, selection
from .convert import (
    attach_sends,
    channel_values,
    lacks_sends,
    supplied,
    to_domain,
    to_history,
    to_tuple,
    writes_to_domain,
)

_KEEP = {"keep_latest": 1, "delete": 0}


def put(
    serde: Serializer,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
) -> Operation[RunnableConfig]:
    """Store a checkpoint; returns its config."""
    stored = to_domain(serde, config, checkpoint, metadata, new_versions)
    values = channel_values(checkpoint)
    yield lambda keep: keep.put(stored, supply=lambda names: supplied(serde, values, names))
    return config_of(stored.thread_id, stored.namespace, stored.checkpoint_id)


def put_writes(
    serde: Serializer, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
) -> Operation[None]:
    """Store what a task wrote."""
    address = Address.of(config)
    checkpoint_id = address.checkpoint_id
    if checkpoint_id is None:
        field = "config.configurable.checkpoint_id"
        raise InvalidInput(f"{field} is required: the checkpoint that the writes belong to", field=field)
    pending = writes_to_domain(serde, writes, task_id, task_path)
    yield lambda keep: keep.put_writes(address.thread_id, checkpoint_id, pending, namespace=address.namespace)


def get_tuple(serde: Serializer, config: RunnableConfig) -> Operation[CheckpointTuple | None]:
    """Read one checkpoint."""
    address = Address.of(config)
    saved = yield lambda keep: keep.get(
        address.thread_id, namespace=address.namespace, checkpoint_id=address.checkpoint_id
    )
    return None if saved is None else (yield from complete(serde, saved))


def complete(serde: Serializer, saved: SavedCheckpoint) -> Operation[CheckpointTuple]:
    """Deserialize a checkpoint. Only one of an old format reads anything more, its parent."""
    found = to_tuple(serde, saved)
    if lacks_sends(found):
        parent = yield lambda keep: keep.get(saved.thread_id, namespace=saved.namespace, checkpoint_id=saved.parent_id)
        attach_sends(serde, found, parent)
    return found


def listing(
    serde: Serializer,
    config: RunnableConfig | None,
    filter: Mapping[str, Any] | None,
    before: RunnableConfig | None,
    limit: int | None,
) -> Callable[[Any], Any]:
    """Check the arguments; the result opens the listing on a repository."""
    query = {
        **selection(config),
        "before": before_id(before),
        "limit": limit,
        "metadata": _metadata.pack(serde, filter, "filter") if filter else None,
    }
    return lambda keep: keep.list(**query)


def delete_thread(thread_id: str) -> Operation[None]:
    """Delete a thread."""
    thread = identifier(thread_id, "thread_id")
    yield lambda keep: keep.delete_thread(thread)


def delete_for_runs(run_ids: Sequence[str]) -> Operation[None]:
    """Delete the checkpoints of runs."""
    runs = identifiers(run_ids, "run_ids")
    yield lambda keep: keep.delete_runs(runs)


def copy_thread(source_thread_id: str, target_thread_id: str) -> Operation[None]:
    """Copy a thread."""
    source = identifier(source_thread_id, "source_thread_id")
    target = identifier(target_thread_id, "target_thread_id")
    yield lambda keep: keep.copy_thread(source, target)


def prune(thread_ids: Sequence[str], strategy: str) -> Operation[None]:
    """Delete old checkpoints."""
    threads = identifiers(thread_ids, "thread_ids")
    keep = checkpoints_kept(strategy)
    yield lambda repository: repository.prune(threads, keep=keep)


def checkpoints_kept(strategy: str) -> int:
    """Return how many checkpoints of a namespace a strategy of pruning keeps.

    Raises:
        InvalidInput: there is no such strategy.
    """
    keep = _KEEP.get(strategy) if isinstance(strategy, str) else None
    if keep is None:
        raise InvalidInput(f'strategy must be "keep_latest" or "delete", got {shown(strategy)}', field="strategy")
    return keep


def get_delta_channel_history(
    serde: Serializer, config: RunnableConfig, channels: Sequence[str]
) -> Operation[Mapping[str, DeltaChannelHistory]]:
    """Read what rebuilds delta channels."""
    if isinstance(channels, str | bytes):
        raise WrongType("channels must be a sequence of names, not one text", field="channels")
    if not channels:
        return {}
    address = Address.of(config)
    histories = yield lambda keep: keep.ancestors(
        address.thread_id, channels, namespace=address.namespace, checkpoint_id=address.checkpoint_id
    )
    return {name: to_history(serde, histories[name], name, address) for name in channels}
