"""Writes of checkpoints and pending writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Any, Final

from ....domain import ANY, Channel, Checkpoint, MissingChannels, PendingWrite
from ...checkpoint_backend import EARLY_TTL, ExpectedHead, Supply, overtaken
from ...operation import Operation
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
    record = keys.checkpoint(checkpoint.checkpoint_id)
    # No checkpoint has the empty id, so without a parent the script finds nothing there.
    parent = keys.checkpoint(checkpoint.parent_id or "")
    fields = encode_checkpoint(checkpoint)
    ttl = str(settings.ttl_ms)

    everywhere: Sequence[str] = thread_index_keys(settings.prefix)
    times: Any = None
    ended: Sequence[bytes] = ()
    run_id = str(fields[SENT_FIELDS.index("run_id")])
    run = [run_key(settings.prefix, run_id)] if run_id else []
    if settings.cluster:
        # First, so that a death in between leaves an index entry without a checkpoint, which readers skip.
        reply = yield from _touch(settings, checkpoint.thread_id, run_id)
        times, ended = reply[:2], reply[2:]
        everywhere, run = [], []
    began = monotonic()

    channels = checkpoint.channels
    in_pieces, known = _split(settings, keys, channels)
    early: Sequence[str] = settings.early_writes.take(keys, checkpoint.checkpoint_id)
    is_expecting = expected_head is not ANY
    expected = [str(expected_head or "")] if is_expecting else []
    while True:
        call = Call(
            script("checkpoints/put", behind="expect_head" if is_expecting else None),
            [*keys.derived, record, parent, *early, *everywhere, *run],
            [str(len(early)), ttl, *fields, *encode_channels(channels, in_pieces, as_it_is=as_it_is), *expected],
        )
        positions = yield call
        if positions and positions[0] == -2:
            early = list(dict.fromkeys(keys.write(decode_text(name, keys.writes)) for name in positions[1:]))
            continue
        if positions and positions[0] == -4:
            yield from rebuild_head(keys)
            continue
        if not positions or positions[0] == -1:
            settings.recent_ids.put(keys, checkpoint.checkpoint_id)
            for name, value in known.items():
                settings.known_values.note(keys.values, encode_part(name), value)
            if settings.cluster and monotonic() - began > PATIENCE:
                yield from _touch(settings, checkpoint.thread_id, run_id)
            _, is_evicted, *here = positions or (-1, 0)
            if is_evicted:
                report_index(keys.checkpoints, checkpoint.thread_id)
            yield from drop_ended(settings, here or ended)
            return
        try:
            if positions[0] == -3:
                newest = decode_text(positions[1], keys.head)
                raise overtaken(checkpoint, None if expected_head is ANY else expected_head, newest or None)
            names = list(channels)
            missing = [names[position] for position in positions]
            # Of a value given, pieces are gone that were there when this process saw it last: now all are sent.
            in_pieces |= {name: whole(in_pieces[name]) for name in missing if name in in_pieces}
            missing = [name for name in missing if name not in in_pieces]
            if not missing:
                continue
            if supply is None:
                raise MissingChannels(missing, key=keys.values)
            channels = channels | _supplied(channels, missing, supply)
        except BaseException:
            if times is not None and None not in times:  # the thread was not updated after all
                yield Call(
                    script("checkpoints/touch_thread"),
                    thread_index_keys(settings.prefix),
                    [checkpoint.thread_id, ttl, *times],
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


def _touch(settings: CheckpointSettings, thread_id: str, run_id: str) -> Operation[Any]:
    """Enter a thread into the indexes that are in other slots.

    Returns what ``touch_thread`` says.
    """
    reply = yield Call(
        script("checkpoints/touch_thread"), thread_index_keys(settings.prefix), [thread_id, str(settings.ttl_ms)]
    )
    if run_id:
        yield from add_run(settings, run_id, thread_id)
    return reply


def _supplied(channels: dict[str, Channel], missing: Sequence[str], supply: Supply) -> dict[str, Channel]:
    """Return the missing channels with the payloads supplied for them, or empty."""
    payloads = supply(missing)
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
    records = [keys.write(member(checkpoint_id, write)) for write in writes]
    behind = yield Call(
        script("checkpoints/put_writes"),
        [*keys.derived, keys.checkpoint(checkpoint_id), *records],
        [
            str(settings.ttl_ms),
            str(ms_of(EARLY_TTL)),
            *(argument for write in writes for argument in encode_write(write)),
        ],
    )
    if isinstance(behind, int):
        settings.early_writes.note(keys, checkpoint_id, records)
    elif behind:
        run_id, *others = [decode_text(name, keys.writes) for name in behind]
        if run_id:
            yield from add_run(settings, run_id, thread_id)
        if others:
            yield from refresh(settings, keys, checkpoint_id, others)
