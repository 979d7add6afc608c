"""The changes: what each is called, what goes, and how it is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from ....domain.errors import InvalidInput
from ....inspection.labels import decode_labels, encode_labels
from ....inspection.printable import size
from ....repositories.connection import Connection
from .forking import fork

Place = Mapping[str, str]
"""The parameters that name what is changed."""


@frozen
class Done:
    """Where to go when it is done.

    Attributes:
        word: of :data:`statekeep.contrib.ui.site.DONE`.
        place: a page.
        parameters: of its address.
    """

    word: str
    place: str
    parameters: Mapping[str, str]


@frozen
class Action:
    """A change.

    Attributes:
        title: of the page that asks.
        button: what the button says.
        needs: parameters that name what is changed.
        word: what is to be typed, of these parameters; ``None``: nothing, as nothing goes.
        tell: says what goes, in sentences.
        do: does it, with the parameters and the answers.
        asks: fields of the form: name, label, and first value.
    """

    title: str
    button: str
    needs: tuple[str, ...]
    word: Callable[[Place], str] | None
    tell: Callable[[Connection, Place], list[str]]
    do: Callable[[Connection, Place, Mapping[str, str]], Done]
    asks: tuple[tuple[str, str, Callable[[Place], str]], ...] = ()
    optional: tuple[str, ...] = ()


def _thread_tells(keep: Connection, place: Place) -> list[str]:
    thread = place["thread"]
    measure = keep.checkpoints.measure([thread]).get(thread)
    if measure is None:
        return [f"There is no thread {thread!r}."]
    checkpoints = f"{measure.checkpoints:,} checkpoints in {measure.namespaces:,} namespaces"
    writes = f"{measure.pending_writes:,} pending writes"
    return [f"The thread {thread!r} has {checkpoints}, {writes}, {size(measure.bytes)}."]


def _delete_thread(keep: Connection, place: Place, _: Mapping[str, str]) -> Done:
    keep.checkpoints.delete_thread(place["thread"])
    return Done("deleted", "threads", {})


def _prune_thread(keep: Connection, place: Place, answers: Mapping[str, str]) -> Done:
    text = answers.get("keep", "")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1_000_000):
        raise InvalidInput("keep must be a number from 1 on", field="keep")
    keep.checkpoints.prune([place["thread"]], keep=int(text))
    return Done("pruned", "thread", {"id": place["thread"]})


def _delete_checkpoint(keep: Connection, place: Place, _: Mapping[str, str]) -> Done:
    keep.checkpoints.delete(place["thread"], place["id"], namespace=place.get("namespace", ""))
    return Done("deleted", "thread", {"id": place["thread"], "namespace": place.get("namespace", "")})


def _fork(keep: Connection, place: Place, answers: Mapping[str, str]) -> Done:
    target = answers.get("target", "")
    fork(keep.checkpoints, place["thread"], place["id"], target, namespace=place.get("namespace", ""))
    return Done("copied", "thread", {"id": target, "namespace": place.get("namespace", "")})


def _items_tell(keep: Connection, place: Place) -> list[str]:
    measure = keep.items.measure(decode_labels(place["namespace"]))
    return [
        f"The namespace {place['namespace']} has {measure.items:,} items, {size(measure.bytes)}.",
        "Those of the namespaces below it stay.",
    ]


def _clear_items(keep: Connection, place: Place, _: Mapping[str, str]) -> Done:
    keep.items.clear(decode_labels(place["namespace"]))
    return Done("cleared", "items", {})


def _delete_item(keep: Connection, place: Place, _: Mapping[str, str]) -> Done:
    keep.items.delete(decode_labels(place["namespace"]), place.get("key", ""))
    return Done("deleted", "items", {"namespace": place["namespace"]})


def _log_tells(keep: Connection, place: Place) -> list[str]:
    measure = keep.logs.measure(decode_labels(place["name"]))
    return [f"The log {place['name']} has {measure.count:,} values, {size(measure.bytes)}."]


def _delete_log(keep: Connection, place: Place, _: Mapping[str, str]) -> Done:
    keep.logs.delete(decode_labels(place["name"]))
    return Done("deleted", "logs", {})


def _cache_tells(keep: Connection, place: Place) -> list[str]:
    labels = decode_labels(place["namespace"])
    for space in keep.cache.list_namespaces():
        if space.namespace == labels:
            return [f"The namespace {encode_labels(labels)} has {space.entries:,} entries, {size(space.bytes)}."]
    return [f"The namespace {encode_labels(labels)} has no entries."]


def _clear_cache(keep: Connection, place: Place, _: Mapping[str, str]) -> Done:
    keep.cache.clear([decode_labels(place["namespace"])])
    return Done("cleared", "cache", {})


def _typed(_: Place) -> str:
    return "delete"


ACTIONS: Final[Mapping[str, Action]] = {
    "delete-thread": Action(
        "Delete a thread", "Delete this thread", ("thread",), _typed, _thread_tells, _delete_thread
    ),
    "prune-thread": Action(
        "Prune a thread",
        "Delete all but the newest checkpoints",
        ("thread",),
        _typed,
        _thread_tells,
        _prune_thread,
        asks=(("keep", "How many checkpoints of each namespace stay", lambda _: "1"),),
    ),
    "delete-checkpoint": Action(
        "Delete a checkpoint",
        "Delete this checkpoint",
        ("thread", "id"),
        _typed,
        lambda _, place: [
            f"The checkpoint {place['id']!r} of the thread {place['thread']!r}, with its pending writes."
        ],
        _delete_checkpoint,
        optional=("namespace",),
    ),
    "fork": Action(
        "Fork from here",
        "Copy to a new thread",
        ("thread", "id"),
        None,
        lambda _, place: [
            f"The thread {place['thread']!r} is copied up to the checkpoint {place['id']!r}. Nothing of it changes."
        ],
        _fork,
        asks=(("target", "Id of the new thread", lambda place: f"{place['thread']}-fork"),),
        optional=("namespace",),
    ),
    "clear-items": Action(
        "Clear a namespace of items", "Delete these items", ("namespace",), _typed, _items_tell, _clear_items
    ),
    "delete-item": Action(
        "Delete an item",
        "Delete this item",
        ("namespace",),
        _typed,
        lambda _, place: [f"The item {place.get('key', '')!r} of the namespace {place['namespace']}."],
        _delete_item,
        optional=("key",),
    ),
    "delete-log": Action("Delete a log", "Delete this log", ("name",), _typed, _log_tells, _delete_log),
    "clear-cache": Action(
        "Clear a namespace of the cache", "Delete these entries", ("namespace",), _typed, _cache_tells, _clear_cache
    ),
}
