"""One checkpoint: its channels, what changed, and what waits."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response

from ....domain.checkpoints import Channel, SavedCheckpoint
from ....domain.errors import StatekeepError
from ....inspection import (
    Differences,
    Limits,
    TaskState,
    as_tree,
    compare,
    decode,
    is_internal,
    next_nodes,
    tasks_of,
)
from ..messages import conversation
from ..site import NotThere, Page

SHOWN: Final = Limits(items=200, characters=2000, values=3000, depth=40, bytes=1024 * 1024)
"""How much of a channel is shown at first."""

BYTES: Final = 1024 * 1024
"""Bytes of channels of which much is shown; of those behind them little is."""

BRIEF: Final = Limits(items=50, characters=500, values=500, depth=20)


def found(page: Page) -> SavedCheckpoint:
    """Return the checkpoint that the address names.

    Raises:
        NotThere: there is none.
    """
    thread, id_, namespace = page.needed("thread"), page.text("id") or None, page.text("namespace")
    saved = page.keep.checkpoints.get(thread, namespace=namespace, checkpoint_id=id_)
    if saved is None:
        raise NotThere(f"Thread {thread!r} has no checkpoint {id_!r}.")
    return saved


def page(page: Page) -> Response:
    """Show a checkpoint."""
    saved = found(page)
    tasks = tasks_of(saved, BRIEF)
    place = {"thread": saved.thread_id, "id": saved.checkpoint_id, "namespace": saved.namespace}
    channels = _channels(page, place, saved)
    difference, no_difference = _difference(page, saved)
    return page.render(
        "checkpoint",
        title=f"Checkpoint {saved.checkpoint_id}",
        at="threads",
        saved=saved,
        step=saved.metadata.get("step"),
        source=saved.metadata.get("source"),
        next=next_nodes(saved),
        thread_link=page.link("thread", id=saved.thread_id, namespace=saved.namespace),
        parent_link=page.link("checkpoint", **(place | {"id": saved.parent_id})) if saved.parent_id else None,
        own=[channel for channel in channels if not channel["is_internal"]],
        internal=[channel for channel in channels if channel["is_internal"]],
        tasks=tasks,
        questions=[task for task in tasks if task.interrupts and task.state is TaskState.INTERRUPTED],
        is_newest=_is_newest(page, saved) if any(task.interrupts for task in tasks) else False,
        writes=[(write, decode(write.payload, BRIEF)) for write in saved.pending_writes],
        difference=difference,
        no_difference=no_difference,
        is_internal=is_internal,
        metadata=as_tree(saved.metadata, BRIEF),
        header=None if saved.header is None else decode(saved.header, BRIEF),
        raw_link=page.link("download", kind="record", **place),
        fork_link=page.link("confirm", action="fork", **place),
        delete_link=page.link("confirm", action="delete-checkpoint", **place),
    )


def _channels(page: Page, place: dict[str, Any], saved: SavedCheckpoint) -> list[dict[str, Any]]:
    """Return the channels for the template, with little of those behind large ones."""
    found: list[dict[str, Any]] = []
    left = BYTES
    for name, channel in saved.channels.items():
        left -= 0 if channel.payload is None else min(len(channel.payload.data), BYTES // 4)  # it is cut anyway
        limits = BRIEF if is_internal(name) or (left < 0 and found) else SHOWN
        found.append(_channel(page, place, name, channel, limits))
    return found


def _channel(page: Page, place: dict[str, Any], name: str, channel: Channel, limits: Limits) -> dict[str, Any]:
    value = None if channel.payload is None else decode(channel.payload, limits)
    return {
        "name": name,
        "version": channel.version,
        "carry": channel.carry.value,
        "value": value,
        "messages": None if value is None or is_internal(name) else conversation(value.value),
        "is_internal": is_internal(name),
        "whole": page.link("value", channel=name, **place),
    }


def _is_newest(page: Page, saved: SavedCheckpoint) -> bool:
    newest = page.keep.checkpoints.get(saved.thread_id, namespace=saved.namespace)
    return newest is not None and newest.checkpoint_id == saved.checkpoint_id


def _difference(page: Page, saved: SavedCheckpoint) -> tuple[Differences | None, str]:
    """Return what changed since the parent, or why nobody knows."""
    if saved.parent_id is None:
        return None, "It has no parent."
    try:
        parent = page.keep.checkpoints.get(saved.thread_id, namespace=saved.namespace, checkpoint_id=saved.parent_id)
    except StatekeepError as error:
        return None, f"Its parent cannot be read. {page.said(error)}"
    if parent is None:
        return None, "Its parent is not there any more."
    return compare(parent, saved), ""
