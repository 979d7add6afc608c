"""LangGraph's methods as operations: one body for blocking code and event loops.

They run the operations of a backend, see :mod:`statekeep.repositories.operation`, and check the arguments that a
repository would check.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from ...domain import InvalidInput, PrunePolicy, SavedCheckpoint, Serializer
from ...domain.model import plain_text
from ...domain.shown import shown
from ...repositories.checkpoints import CheckpointBackend
from ...repositories.encrypted_metadata import EncryptedMetadata
from ...repositories.operation import Operation, nested
from ...repositories.records.id_order import check_order
from ...repositories.validation import texts
from ...telemetry import hook
from .config import Address, WrongType, before_id, config_of, identifier, identifiers, selection
from .convert import (
    attach_sends,
    lacks_sends,
    supplied,
    to_domain,
    to_history,
    to_tuple,
    writes_to_domain,
)
from .metadata import conditions
from .retention import Retention


def put(
    backend: CheckpointBackend,
    serde: Serializer,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    retention: Retention | None,
) -> Operation[RunnableConfig]:
    """Store a checkpoint; returns its config."""
    stored = to_domain(serde, config, checkpoint, metadata, new_versions)
    check_order(stored)
    values = checkpoint["channel_values"]
    yield from backend.put(stored, lambda names: supplied(serde, values, names))
    if retention is not None and retention.is_due(stored):
        yield from retention.apply(backend, stored.thread_id)
    return config_of(stored.thread_id, stored.namespace, stored.checkpoint_id)


def put_writes(
    backend: CheckpointBackend,
    serde: Serializer,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
) -> Operation[None]:
    """Store what a task wrote."""
    address = Address.of(config)
    checkpoint_id = address.checkpoint_id
    if checkpoint_id is None:
        field = "config.configurable.checkpoint_id"
        raise InvalidInput(f"{field} is required: the checkpoint that the writes belong to", field=field)
    pending = writes_to_domain(serde, writes, task_id, task_path)
    yield from backend.put_writes(address.thread_id, address.namespace, checkpoint_id, pending)


def get(backend: CheckpointBackend, serde: Serializer, config: RunnableConfig) -> Operation[CheckpointTuple | None]:
    """Read one checkpoint."""
    address = Address.of(config)
    saved = yield from backend.get(address.thread_id, address.namespace, address.checkpoint_id)
    return None if saved is None else (yield from complete(backend, serde, saved))


def complete(
    backend: CheckpointBackend, serde: Serializer, saved: SavedCheckpoint, page: Sequence[SavedCheckpoint] = ()
) -> Operation[CheckpointTuple]:
    """Deserialize a checkpoint.

    One of an old format needs its parent, which is read if it is not on the same page.
    """
    found = to_tuple(serde, saved)
    if lacks_sends(found):
        place = (saved.thread_id, saved.namespace, saved.parent_id)
        near = [one for one in page if (one.thread_id, one.namespace, one.checkpoint_id) == place]
        parent = near[0] if near else (yield from _read(backend, place))
        attach_sends(serde, found, parent)
    return found


def _read(backend: CheckpointBackend, place: tuple[str, str, str | None]) -> Operation[SavedCheckpoint | None]:
    """Read a checkpoint for another one, which may have been listed.

    Then the read is an operation of its own: a listing's is its page.
    """
    operation = nested(backend.get(*place))
    if hook.observers and hook.current() is None:
        with hook.watching("checkpoints.get", backend, {"thread_id": place[0], "namespace": place[1]}):
            return (yield from operation)
    return (yield from operation)


def query(
    backend: CheckpointBackend,
    serde: Serializer,
    config: RunnableConfig | None,
    filter: Mapping[str, Any] | None,
    before: RunnableConfig | None,
    limit: int | None,
) -> dict[str, Any]:
    """Check the arguments of a listing; returns those of a repository's ``list``."""
    if isinstance(backend, EncryptedMetadata) and isinstance(filter, Mapping):
        backend.check_filter(filter, "filter")
    return {
        **selection(config),
        "before": before_id(before),
        "limit": limit,
        "metadata": conditions(serde, filter),
    }


def delete_thread(backend: CheckpointBackend, thread_id: str) -> Operation[None]:
    """Delete a thread."""
    yield from backend.delete_thread(identifier(thread_id, "thread_id"))


def delete_for_runs(backend: CheckpointBackend, run_ids: Sequence[str]) -> Operation[None]:
    """Delete the checkpoints of runs."""
    yield from nested(backend.delete_runs(identifiers(run_ids, "run_ids")))


def copy_thread(backend: CheckpointBackend, source_thread_id: str, target_thread_id: str) -> Operation[None]:
    """Copy a thread."""
    source = identifier(source_thread_id, "source_thread_id")
    target = identifier(target_thread_id, "target_thread_id")
    yield from backend.copy_thread(source, target)


def prune(backend: CheckpointBackend, thread_ids: Sequence[str], policy: PrunePolicy) -> Operation[None]:
    """Delete old checkpoints."""
    yield from backend.prune(identifiers(thread_ids, "thread_ids"), policy)


def policy_of(strategy: str, keep: int | None, older_than: dt.timedelta | float | None) -> PrunePolicy:
    """Return the policy that a strategy of pruning stands for.

    Raises:
        InvalidInput: there is no such strategy, or it does not go with the numbers.
    """
    strategy = plain_text(strategy) if isinstance(strategy, str) else strategy
    if strategy not in ("keep_latest", "delete"):
        raise InvalidInput(f'strategy must be "keep_latest" or "delete", got {shown(strategy)}', field="strategy")
    if strategy == "delete":
        for name, value in (("keep", keep), ("older_than", older_than)):
            if value is not None:
                raise InvalidInput(f'{name} goes with strategy="keep_latest": "delete" keeps nothing', field=name)
        return PrunePolicy(keep=0)
    policy = PrunePolicy(keep=1 if keep is None else keep, older_than=older_than)
    if policy.is_deletion:
        raise InvalidInput('keep must be 1 or more without older_than; strategy="delete" deletes threads', field="keep")
    return policy


def get_delta_channel_history(
    backend: CheckpointBackend, serde: Serializer, config: RunnableConfig, channels: Sequence[str]
) -> Operation[Mapping[str, DeltaChannelHistory]]:
    """Read what rebuilds delta channels."""
    if isinstance(channels, str | bytes):
        raise WrongType("channels must be a sequence of names, not one text", field="channels")
    if not channels:
        return {}
    address = Address.of(config)
    names = texts("channels", channels, empty=True)
    histories = yield from nested(backend.ancestors(address.thread_id, address.namespace, address.checkpoint_id, names))
    return {name: to_history(serde, histories[name], name, address) for name in names}
