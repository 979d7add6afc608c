"""A copy of a thread, up to one of its checkpoints."""

from __future__ import annotations

from ....domain.checkpoints import SavedCheckpoint
from ....domain.errors import Conflict, InvalidInput
from ....repositories.checkpoints import CheckpointRepository
from ....repositories.copy import Known, supplier


def fork(
    checkpoints: CheckpointRepository, source: str, checkpoint_id: str, target: str, *, namespace: str = ""
) -> int:
    """Copy a checkpoint and all that it was made from to a new thread.

    A run that goes on there goes on from this checkpoint. Nested graphs that ran under a copied checkpoint come, too.
    Pending writes of the checkpoint itself come if nothing was made from it yet: else they belong to what came next.

    Args:
        checkpoints: the repository.
        source: the thread.
        checkpoint_id: the last one that is copied.
        target: the new thread.
        namespace: of the checkpoint.

    Returns:
        How many checkpoints were copied.

    Raises:
        InvalidInput: there is no such checkpoint.
        Conflict: the target is there already. Nothing was written.

    Example:
        >>> import statekeep
        >>> keep = statekeep.connect("memory:").checkpoints
        >>> for name, parent in [("1", None), ("2", "1"), ("3", "2")]:
        ...     keep.put(statekeep.Checkpoint(thread_id="t", checkpoint_id=name, parent_id=parent))
        >>> fork(keep, "t", "2", "u"), [saved.checkpoint_id for saved in keep.list("u")]
        (2, ['2', '1'])
    """
    if not target or target == source:
        raise InvalidInput("the new thread needs an id of its own", field="target")
    last = checkpoints.get(source, namespace=namespace, checkpoint_id=checkpoint_id)
    if last is None:
        raise InvalidInput(f"thread {source!r} has no checkpoint {checkpoint_id!r}", field="id")
    if checkpoints.measure([target]):
        raise Conflict(f"there is a thread {target!r} already")
    chain = [checkpoint_id]
    parent = last.parent_id
    is_continued = False
    # Ids are collected before anything is copied: children refer to values of their parents, which come first.
    nested: list[tuple[str, str]] = []
    saved: SavedCheckpoint | None
    wanted = {checkpoint_id}
    for saved in checkpoints.list(source):
        if saved.namespace == namespace:
            is_continued = is_continued or saved.parent_id == checkpoint_id
            if saved.checkpoint_id == parent:
                chain.append(saved.checkpoint_id)
                wanted.add(saved.checkpoint_id)
                parent = saved.parent_id
        elif _parent_of(saved, namespace) is not None:
            nested.append((saved.namespace, saved.checkpoint_id))
    while parent is not None and (saved := checkpoints.get(source, namespace=namespace, checkpoint_id=parent)):
        # One whose id is not smaller than that of its child.
        if saved.checkpoint_id in wanted:
            break
        chain.append(saved.checkpoint_id)
        wanted.add(saved.checkpoint_id)
        parent = saved.parent_id
    known = Known()
    count = 0
    for id_ in reversed(chain):
        count += _copied(checkpoints, source, target, namespace, id_, known, id_ != checkpoint_id or not is_continued)
    # What ran under the last checkpoint belongs to what came next, unless it waits there.
    under = wanted if not is_continued else wanted - {checkpoint_id}
    for inner, id_ in reversed(nested):
        found = checkpoints.get(source, namespace=inner, checkpoint_id=id_)
        if found is not None and _parent_of(found, namespace) in under:
            count += _copied(checkpoints, source, target, inner, id_, known, True)
    return count


def _parent_of(saved: SavedCheckpoint, namespace: str) -> str | None:
    """Return the checkpoint of a namespace under which a nested one ran."""
    parents = saved.metadata.get("parents")
    found = parents.get(namespace) if isinstance(parents, dict) else None
    return found if isinstance(found, str) else None


def _copied(
    checkpoints: CheckpointRepository,
    source: str,
    target: str,
    namespace: str,
    checkpoint_id: str,
    known: Known,
    with_writes: bool,
) -> int:
    saved = checkpoints.get(source, namespace=namespace, checkpoint_id=checkpoint_id)
    if saved is None:  # it was deleted meanwhile
        return 0
    lighter = known.lighter(saved).model_copy(update={"thread_id": target})
    checkpoints.put(lighter, supply=supplier(saved))
    if with_writes and saved.pending_writes:
        checkpoints.put_writes(target, checkpoint_id, saved.pending_writes, namespace=namespace)
    return 1
