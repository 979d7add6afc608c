"""Whole threads.

Making, deleting and copying them, and going on from one that takes no more steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Final

from attrs import evolve

from ...domain import Conflict, CorruptRecord, InvalidInput, Payload, QuotaExceeded
from ...domain.lineage import is_under_root, root_of, with_sources
from ..aws import AwsCall
from ..operation import Operation
from ..records.checkpoints import Head, decoded, stamp_of, stored
from .get import Content, Found, Settings, batches, complete, grouped, read_contents, read_heads, read_rest
from .ids import Step, checkpoint_digits, invocation_of, region_of, session_of
from .models import CreateSessionRequest
from .put import put_writes, store
from .steps import STEPS, no_session

_ARGUMENTS: Final = {"session_metadata": "metadata", "encryption_key_arn": "encryption_key"}
"""Our names of fields of a request."""

SIDE_BY_SIDE: Final = 8
"""Steps that are read at once: each may be large."""


def create_thread(
    metadata: Mapping[str, str] | None, tags: Mapping[str, str] | None, encryption_key: str | None
) -> Operation[str]:
    """Make a session, and return its id: one call.

    Raises:
        InvalidInput: an argument is wrong; ``field`` names it.
    """
    try:
        request = CreateSessionRequest(session_metadata=metadata, tags=tags, encryption_key_arn=encryption_key)
    except InvalidInput as error:
        name = _ARGUMENTS.get(error.field or "", error.field)
        raise InvalidInput(f"{name}: {error}", field=name) from None
    reply = yield AwsCall("CreateSession", request.arguments())
    return str(reply["sessionId"])


def delete_thread(settings: Settings, thread_id: str, here: Callable[[], str | None]) -> Operation[None]:
    """End a session and delete it: two calls. One that is not there is no error.

    Args:
        settings: of the backend.
        thread_id: the thread.
        here: returns the client's region.

    Raises:
        InvalidInput: the session is in another region, where it stays.
    """
    session = session_of(thread_id)
    where = {"sessionIdentifier": thread_id}
    # One that is ended or expired already can be deleted as it is.
    with suppress(Conflict):
        yield AwsCall("EndSession", where, missing_ok=True)
    found = yield AwsCall("DeleteSession", where, missing_ok=True)
    if found is None and region_of(thread_id) not in (None, here()):
        raise no_session(thread_id)
    settings.steps.recollection.forget(session)
    settings.recent.forget((session,))


def steps_left(settings: Settings, thread_id: str) -> Operation[int]:
    """Return how many steps a session may still have: one call."""
    return STEPS - len((yield from settings.steps.listing(thread_id)))


def copy_thread(settings: Settings, source_id: str, target_id: str) -> Operation[None]:
    """Copy all steps of a thread in the order in which they were put.

    A call to read each, and one to write it.
    """
    if session_of(source_id, "source_thread_id") == session_of(target_id, "target_thread_id"):
        return
    yield from settings.steps.check_active(target_id, "target_thread_id")
    listed = yield from settings.steps.listing(source_id, name="source_thread_id")
    listed = [step for step in listed if step.has_writes or step.order is not None]
    left = yield from steps_left(settings, target_id)
    if len(listed) > left:
        raise QuotaExceeded(
            f"the copy has {len(listed)} steps, and the session {target_id} has {left} left of its {STEPS:,}; nothing "
            "was copied"
        )
    moved: dict[str, str] = {}
    waiting: list[Found] = []
    for some in _in_order(listed):
        contents = yield from read_contents(settings, source_id, some)
        for content in sorted(contents, key=_stamp):
            one = stored([content.record], f"step {content.step.id}")
            assert one is not None
            if one.head is None:
                yield from put_writes(settings, target_id, one.namespace, one.checkpoint_id, one.writes)
                continue
            # Clocks differ: a value may be in a step that seems to be a later one. The order of the stamps stays.
            waiting.append(Found(_put_now(settings, target_id, one.head), content.values, ()))
            waiting = yield from _store_some(settings, target_id, waiting, moved)
    for found in waiting:
        value = next(iter(_lacking(found, moved)))
        raise CorruptRecord("a value is gone", key=f"step {value.partition('/')[0]}")


def _put_now(settings: Settings, thread_id: str, head: Head) -> Head:
    """Return a checkpoint as one that is put into a thread now."""
    stamp = settings.recent.next_stamp((session_of(thread_id),), head.namespace, head.checkpoint_id)
    return evolve(head, stamp=stamp)


def _stamp(content: Content) -> int:
    return decoded(content.record, f"step {content.step.id}", stamp_of)


def _in_order(steps: Sequence[Step]) -> Iterator[list[Step]]:
    """Sort steps by the time when they were put, some at a time.

    Those of one millisecond stay together.
    """
    some: list[Step] = []
    for _, of_one_time in groupby(sorted(steps, key=lambda step: step.put_at), key=lambda step: step.put_at):
        several = list(of_one_time)
        if some and len(some) + len(several) > SIDE_BY_SIDE:
            yield some
            some = []
        some += several
    if some:
        yield some


def _store_some(
    settings: Settings, target_id: str, waiting: Sequence[Found], moved: dict[str, str]
) -> Operation[list[Found]]:
    """Store the checkpoints whose values are there, and return the others."""
    left = list(waiting)
    while ready := [found for found in left if not _lacking(found, moved)]:
        for found in ready:
            yield from _store(settings, target_id, found.head, found.values, moved)
            left.remove(found)
    return left


def _lacking(found: Found, moved: Mapping[str, str]) -> set[str]:
    return found.head.values - moved.keys() - found.values.keys()


def _store(
    settings: Settings, thread_id: str, head: Head, payloads: Mapping[str, Payload], moved: dict[str, str]
) -> Operation[None]:
    """Store a checkpoint in another session.

    Args:
        settings: of the backend.
        thread_id: the session.
        head: the checkpoint.
        payloads: its large values by name, as far as they are not stored in the session.
        moved: the names that values have in the session, by their former names; is added to.
    """
    own = {value: payloads[value] for value in head.values if value not in moved}
    channels = {
        name: channel
        if channel.value is None
        else evolve(channel, value=moved.get(channel.value, channel.value.partition("/")[2]))
        for name, channel in head.channels.items()
    }
    step = yield from store(settings, thread_id, evolve(head, channels=channels), own.values())
    moved.update({value: f"{step.id}/{value.partition('/')[2]}" for value in own})


def continue_thread(settings: Settings, thread_id: str) -> Operation[str]:
    """Make a session that goes on from a thread, and return its id.

    It has the newest checkpoint of each namespace, those that their replayed channels need, and their pending writes.
    Nested graphs that ran under an earlier checkpoint are left out, as ``prune`` deletes them elsewhere: a thread that
    goes on again and again would have more and more of them.
    """
    session_of(thread_id)
    former = yield from settings.steps.session(thread_id)
    kept = yield from _to_go_on_from(settings, thread_id)
    metadata = former.get("sessionMetadata") or None
    target_id = yield from create_thread(metadata, None, former.get("encryptionKeyArn"))
    ids = {(one.head.namespace, one.head.checkpoint_id) for one in kept}
    moved: dict[str, str] = {}
    for found in sorted(kept, key=lambda one: one.head.stamp):
        head = _put_now(settings, target_id, found.head)
        [whole] = yield from complete(settings, thread_id, [found])
        wanted = {
            channel.value: (head.namespace, name)
            for name, channel in head.channels.items()
            if channel.value is not None and channel.value not in moved
        }
        _, payloads = yield from read_rest(settings, thread_id, (), wanted)
        if (head.namespace, head.parent_id) not in ids:
            head = evolve(head, parent_id=None)
        yield from _store(settings, target_id, head, payloads, moved)
        yield from put_writes(settings, target_id, head.namespace, head.checkpoint_id, whole.writes)
    return target_id


def _to_go_on_from(settings: Settings, thread_id: str) -> Operation[list[Found]]:
    """Return the checkpoints that a thread needs to go on."""
    by_invocation: dict[str, list[Step]] = {invocation_of(""): []}
    for step in (yield from settings.steps.listing(thread_id)):
        by_invocation.setdefault(step.invocation, []).append(step)
    kept: list[Found] = []
    gone: set[tuple[str, str]] = set()
    for steps in by_invocation.values():  # the root comes first
        found = yield from _newest_with_sources(settings, thread_id, steps)
        if not found:
            continue
        newest = max((one.head for one in found), key=lambda head: head.checkpoint_id)
        if newest.namespace == "":
            needed = {_digits(one.head.checkpoint_id) for one in found}
            gone = {group.heads[0].checkpoint for group in grouped(steps)} - needed
        caller = root_of(newest.decoded_metadata()) if is_under_root(newest.namespace) else None
        if caller is None or _digits(caller) not in gone:
            kept += found
    return kept


def _digits(checkpoint_id: str) -> tuple[str, str]:
    """Return what stands for a checkpoint of the root namespace in listings."""
    return invocation_of(""), checkpoint_digits("", checkpoint_id)


def _newest_with_sources(settings: Settings, thread_id: str, steps: Sequence[Step]) -> Operation[list[Found]]:
    """Return the newest checkpoint of a namespace, and its sources."""
    groups = grouped(steps)
    newest = None
    for batch in batches(groups):
        if found := (yield from read_heads(settings, thread_id, batch, keep_values=False)):
            newest = found[0]
            break
    if newest is None:
        return []
    if not newest.head.link.replayed:
        return [newest]
    several = yield from read_heads(settings, thread_id, groups, keep_values=False)
    heads = {one.head.checkpoint_id: one for one in several}
    links = {id_: one.head.link for id_, one in heads.items()}
    return [heads[id_] for id_ in with_sources([newest.head.checkpoint_id], links.get)]
