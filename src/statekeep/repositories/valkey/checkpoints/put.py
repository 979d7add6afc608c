"""Writes of checkpoints and pending writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final

from attrs import frozen

from ....domain import ANY, Channel, Checkpoint, MissingChannels, PendingWrite
from ...checkpoint_backend import EARLY_TTL, ExpectedHead, Supply, overtaken
from ...operation import Operation
from ...process.notices import healed
from ...records import pieces
from ...records.pieces import Value, whole
from ...validation import ms_of
from ..keys import decode_text, encode_part
from ..losses import report_index
from ..requests import Call
from ..scripts import script
from .get import add_run, refresh
from .indexes import rebuild_head
from .keys import NamespaceKeys, run_key, thread_index_keys
from .metadata.tags import tags_of
from .recent_ids import LastPut, encode_following, last_put
from .records import SENT_FIELDS, encode_channels, encode_checkpoint, encode_write, member
from .settings import CheckpointSettings
from .threads import drop_ended

PATIENCE: Final = 30.0
"""Seconds after which a put enters its thread again. Readers drop one without checkpoints when it is a minute old."""


def put(
    settings: CheckpointSettings,
    checkpoint: Checkpoint,
    supply: Supply | None,
    expected_head: ExpectedHead = ANY,
    *,
    as_it_is: bool = False,
) -> Operation[None]:
    """Store a checkpoint in one script call; in a cluster, indexes take one each.

    Args:
        settings: of the repository.
        checkpoint: what to store.
        supply: returns the payloads of ``earlier`` channels that are not stored.
        expected_head: the checkpoint that must be the newest.
        as_it_is: do not look for values of ``replayed`` channels, which a copy must not find in its new place.
    """
    keys = settings.keys(checkpoint.thread_id, checkpoint.namespace)
    fields = encode_checkpoint(checkpoint)
    run_id = str(fields[_RUN_ID])
    everywhere: Sequence[str] = thread_index_keys(settings.prefix)
    if run_id:
        everywhere = (*everywhere, run_key(settings.prefix, run_id))
    tags = tags_of(settings.metadata_keys, checkpoint.metadata) if settings.metadata_keys else []
    if tags:
        everywhere = (*everywhere, *settings.metadata_written)
    times: Any = None
    ended: Sequence[bytes] = ()
    if settings.cluster:
        # First, so that a death in between leaves an index entry without a checkpoint, which readers skip.
        reply = yield from _touch(settings, checkpoint.thread_id, run_id, tags)
        times, ended = reply[:2], reply[2:]
        everywhere = ()
    began = monotonic()

    in_pieces, known = _split(settings, keys, checkpoint.channels)
    sent = _Sent(settings, keys, checkpoint, fields, everywhere, tags, in_pieces, as_it_is)
    here = None
    if expected_head is ANY and not settings.ttl_ms:
        here = yield from _put_next(sent)
    if here is None:
        here = yield from _put_anywhere(sent, supply, expected_head, times)

    settings.recent_ids.put(keys, checkpoint.checkpoint_id)
    for name, value in known.items():
        settings.known_values.note(keys.values, encode_part(name), value)
    if settings.cluster and monotonic() - began > PATIENCE:
        yield from _touch(settings, checkpoint.thread_id, run_id, tags)
    if here or ended:
        yield from drop_ended(settings, here or ended)


_RUN_ID: Final = SENT_FIELDS.index("run_id")

_BEFORE_TOKENS: Final = 14
"""The number of arguments of ``put_next.lua`` before the tokens."""


@frozen
class _Sent:
    """A checkpoint, and how it is sent.

    Attributes:
        settings: of the repository.
        keys: of its namespace.
        checkpoint: what to store.
        fields: of its record, see :data:`SENT_FIELDS`.
        everywhere: keys of indexes of threads, runs and metadata, if they are where the namespace is.
        tags: for the indexes of metadata.
        in_pieces: values that are not sent whole.
        as_it_is: see :func:`put`.
    """

    settings: CheckpointSettings
    keys: NamespaceKeys
    checkpoint: Checkpoint
    fields: Sequence[str | bytes]
    everywhere: Sequence[str]
    tags: Sequence[str]
    in_pieces: Mapping[str, Value]
    as_it_is: bool


def _put_next(sent: _Sent) -> Operation[Sequence[bytes] | None]:
    """Store a checkpoint that follows the one put last, if nothing came between.

    Returns threads that may have ended; ``None`` if nothing was stored.
    """
    settings, keys, checkpoint = sent.settings, sent.keys, sent.checkpoint
    checkpoint_id, parent_id = checkpoint.checkpoint_id, checkpoint.parent_id
    last = settings.last_puts.known.get(keys)
    if last is None or last.checkpoint_id != parent_id or checkpoint_id <= parent_id:
        return None
    if (keys, checkpoint_id) in settings.early_writes.known:
        return None
    following = encode_following(last, checkpoint.channels, sent.in_pieces, as_it_is=sent.as_it_is)
    if following is None:
        return None
    created_at, run_id, step, metadata, encoding, header = sent.fields
    pk = keys.checkpoint_pk(checkpoint_id)
    generation = last.generation + 1
    optional = ["step", step] if step else []
    if run_id:
        optional += ["run_id", run_id]
    last_token = _BEFORE_TOKENS + len(following.looked_for)
    everywhere = sent.everywhere
    length = yield Call(
        script("checkpoints/put_next"),
        [*keys.shared, f"{keys.prefix}:checkpoint:{pk}", *everywhere[:2], *everywhere[3:]],
        [
            *(str(last.generation), str(last.length), str(last_token), str(last_token + 2 + len(following.words))),
            *(keys.thread_id, keys.namespace, checkpoint_id, pk, parent_id, following.channels),
            *(created_at, metadata, encoding, header),
            *following.looked_for,
            *("generation", str(generation), *following.words),
            *optional,
            *(sent.tags if everywhere else ()),
        ],
    )
    if length < 0:
        settings.last_puts.known.pop(keys, None)
        return None
    listed, parts, absent = following.listed, following.pieces, following.absent
    settings.last_puts.note(keys, LastPut(checkpoint_id, generation, length, listed, parts, absent))
    return ()


def _put_anywhere(
    sent: _Sent, supply: Supply | None, expected_head: ExpectedHead, times: Any
) -> Operation[Sequence[bytes]]:
    """Store a checkpoint wherever it belongs.

    Args:
        sent: the checkpoint.
        supply: see :func:`put`.
        expected_head: likewise.
        times: when the thread was updated, and when before, if that was noted apart.

    Returns threads that may have ended.
    """
    settings, keys, checkpoint = sent.settings, sent.keys, sent.checkpoint
    record = keys.checkpoint(checkpoint.checkpoint_id)
    # No checkpoint has the empty id, so without a parent the script finds nothing there.
    parent = keys.checkpoint(checkpoint.parent_id or "")
    ttl = str(settings.ttl_ms)
    channels, in_pieces = checkpoint.channels, sent.in_pieces
    early: Sequence[str] = settings.early_writes.take(keys, checkpoint.checkpoint_id)
    is_expecting = expected_head is not ANY
    # Behind all others, for what runs in front takes its own away.
    last = [*(sent.tags if sent.everywhere else ()), *([str(expected_head or "")] if is_expecting else ())]
    while True:
        encoded = encode_channels(channels, in_pieces, as_it_is=sent.as_it_is)
        positions = yield Call(
            script("checkpoints/put", behind="expect_head" if is_expecting else None),
            [*keys.derived, record, parent, *early, *sent.everywhere],
            [str(len(early)), ttl, *sent.fields, *encoded, *last],
        )
        if positions and positions[0] == -2:
            early = list(dict.fromkeys(keys.write(decode_text(name, keys.writes)) for name in positions[1:]))
            continue
        if positions and positions[0] == -4:
            yield from rebuild_head(keys)
            continue
        if positions and positions[0] == -3:
            _, generation, length, listed = positions
            if listed.isascii():  # as all that is not damaged
                put_last = last_put(checkpoint.checkpoint_id, int(generation), length, listed.decode())
                settings.last_puts.note(keys, put_last)
            return ()
        if not positions or positions[0] == -1:
            _, is_evicted, *ended = positions or (-1, 0)
            if is_evicted:
                report_index(keys.checkpoints, checkpoint.thread_id)
            return ended
        try:
            if positions[0] == -5:
                newest = decode_text(positions[1], keys.head)
                raise overtaken(checkpoint, None if expected_head is ANY else expected_head, newest or None)
            names = list(channels)
            missing = [names[position] for position in positions]
            # Of a value given, pieces are gone that were there when this process saw it last: now all of them are sent.
            in_pieces = {**in_pieces, **{name: whole(in_pieces[name]) for name in missing if name in in_pieces}}
            missing = [name for name in missing if name not in in_pieces]
            if not missing:
                continue
            if supply is None:
                raise MissingChannels(missing, key=keys.values)
            channels = channels | _supplied(checkpoint, channels, missing, supply)
        except BaseException:
            if times is not None and None not in times:  # the thread was not updated after all
                yield Call(
                    script("checkpoints/touch_thread"),
                    (*thread_index_keys(settings.prefix), *settings.metadata_written),
                    [checkpoint.thread_id, ttl, *times, *sent.tags],
                )
            raise


def _split(
    settings: CheckpointSettings, keys: NamespaceKeys, channels: Mapping[str, Channel]
) -> tuple[dict[str, Value], dict[str, Value]]:
    """Put values together of pieces of those that are known.

    Returns those that consist of pieces, and all long ones.
    """
    in_pieces: dict[str, Value] = {}
    known: dict[str, Value] = {}
    for name, channel in channels.items():
        if channel.payload is not None and len(channel.payload.data) >= pieces.SHORTEST:
            value = settings.known_values.split(keys.values, encode_part(name), channel.payload.data)
            known[name] = value
            if value.pieces:
                in_pieces[name] = value
    return in_pieces, known


def _touch(settings: CheckpointSettings, thread_id: str, run_id: str, tags: Sequence[str]) -> Operation[Any]:
    """Enter a thread into the indexes that are in other slots.

    Returns what ``touch_thread`` says.
    """
    reply = yield Call(
        script("checkpoints/touch_thread"),
        (*thread_index_keys(settings.prefix), *settings.metadata_written),
        [thread_id, str(settings.ttl_ms), *tags],
    )
    if run_id:
        yield from add_run(settings, run_id, thread_id)
    return reply


def _supplied(
    checkpoint: Checkpoint, channels: dict[str, Channel], missing: Sequence[str], supply: Supply
) -> dict[str, Channel]:
    """Return the missing channels with the payloads supplied for them, or empty."""
    payloads = supply(missing)
    healed(checkpoint.thread_id, checkpoint.checkpoint_id, [name for name in missing if name in payloads])
    return {
        name: Channel.of(channels[name].version, payloads[name])
        if name in payloads
        else Channel.empty(channels[name].version)
        for name in missing
    }


def put_writes(
    settings: CheckpointSettings, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]
) -> Operation[None]:
    """Store pending writes in one script call."""
    if not writes:
        return
    keys = settings.keys(thread_id, namespace)
    members = [member(checkpoint_id, write) for write in writes]
    records = list(map(keys.write, members))
    sent: list[str | bytes] = []
    for name, write in zip(members, writes, strict=True):
        sent += encode_write(name, write)
    rest = _alike(writes) if len(set(records)) == len(records) else ()
    if rest:
        rest = (thread_id, namespace, checkpoint_id, *rest)
    behind = yield Call(
        script("checkpoints/put_writes"),
        [*keys.derived, keys.checkpoint(checkpoint_id), *records],
        [str(settings.ttl_ms), str(ms_of(EARLY_TTL)), str(len(sent) + 4 if rest else 0), *sent, *rest],
    )
    if isinstance(behind, int):
        settings.early_writes.note(keys, checkpoint_id, records)
    elif behind:
        run_id, *others = [decode_text(name, keys.writes) for name in behind]
        if run_id:
            yield from add_run(settings, run_id, thread_id)
        if others:
            yield from refresh(settings, keys, checkpoint_id, others)


MOST_ALIKE: Final = 500
"""Pending writes at most that ``put_writes.lua`` stores in the short way."""


def _alike(writes: Sequence[PendingWrite]) -> Sequence[str]:
    """Return in clear text what records of writes hold besides keys and values.

    That is for ordinary writes of one task; for others nothing, and the script finds it out from the keys.
    """
    task_id, task_path = writes[0].task_id, writes[0].task_path
    texts = [task_id, task_path]
    for write in writes:
        if write.idx < 0 or write.task_id != task_id or write.task_path != task_path:
            return ()
        texts += (str(write.idx), write.channel, write.payload.encoding)
    return texts if len(writes) <= MOST_ALIKE else ()
