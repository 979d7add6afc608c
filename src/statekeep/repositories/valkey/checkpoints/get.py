"""Reads of checkpoints: by id, the newest, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, groupby
from typing import Final

from attrs import frozen

from ....domain import CorruptRecord, PendingWrite, SavedCheckpoint
from ...operation import Operation
from ..chunks import CHUNK, Row, chunks
from ..keys import decode_text, encode_part
from ..requests import Call, Reply
from ..scripts import script
from .indexes import adopt_checkpoints, adopt_writes, rebuild_head
from .keys import NamespaceKeys, run_key
from .records import (
    READ_FIELDS,
    WRITE_FIELDS,
    decode_checkpoint,
    decode_lines,
    decode_values,
    decode_write,
    known_values,
    member,
    value_fields,
)
from .settings import CheckpointSettings

CHANNELS: Final = READ_FIELDS.index("channels")
PK: Final = READ_FIELDS.index("pk")

NOTHING: Final[Row] = [None] * len(READ_FIELDS)
"""The row of a record that is not there."""

Writes = dict[tuple[NamespaceKeys, str], list[PendingWrite]]
"""Pending writes by the encoded id of their checkpoint."""


@frozen
class Ref:
    """The name of a checkpoint within its thread."""

    namespace: str
    checkpoint_id: str


def read_writes(
    members: Sequence[tuple[NamespaceKeys, str]],
) -> Operation[dict[tuple[NamespaceKeys, str], PendingWrite]]:
    """Read pending writes by index members; the index forgets those that are gone."""
    if not members:
        return {}
    writes, _ = yield from read_writes_and_values(members, members[0][0], ())
    return writes


def read_writes_and_values(
    members: Sequence[tuple[NamespaceKeys, str]], keys: NamespaceKeys, fields: Sequence[str]
) -> Operation[tuple[dict[tuple[NamespaceKeys, str], PendingWrite], Sequence[bytes | None]]]:
    """Read pending writes, and fields of a values hash in the same round trip."""
    found: dict[tuple[NamespaceKeys, str], PendingWrite] = {}
    gone: list[tuple[NamespaceKeys, str]] = []
    values: Sequence[bytes | None] = ()
    for chunk in list(chunks(members)) or [()]:
        records = [ref.write(name) for ref, name in chunk]
        flat, stored = yield Call(script("checkpoints/writes"), [keys.values, *records], () if values else fields)
        values = values or stored
        for ref, row in zip(chunk, chunks(flat, len(WRITE_FIELDS)), strict=True):
            write = decode_write(*ref, row)
            if write is None:
                gone.append(ref)
            else:
                found[ref] = write
    for owner, refs in groupby(gone, key=lambda ref: ref[0]):
        yield from adopt_writes(owner, [name for _, name in refs])
    return found, values


def get(
    settings: CheckpointSettings, thread_id: str, namespace: str, checkpoint_id: str | None
) -> Operation[SavedCheckpoint | None]:
    """Read one checkpoint: one round trip."""
    keys = settings.keys(thread_id, namespace)
    record, encoded_id = keys.head, ""
    if checkpoint_id is not None:
        record, encoded_id = keys.checkpoint(checkpoint_id), encode_part(checkpoint_id)
    while True:
        reply = yield Call(
            script("checkpoints/get"),
            [keys.values, keys.checkpoints, keys.writes, keys.expiry, keys.pending, record],
            [encoded_id],
        )
        if not isinstance(reply, int):
            break
        # The copy of the newest is made anew, until it is there or there is no checkpoint.
        if checkpoint_id is not None or not reply or (yield from rebuild_head(keys)) is None:
            return None
    row, stored, lines, bare = reply
    if not encoded_id:
        encoded_id = decode_text(row[PK] or b"", record).rpartition(":")[2]
    fields = value_fields(row[CHANNELS], record)
    values = decode_values(fields, stored, keys)
    for channel, value in known_values(fields, stored, values, keys):
        settings.known_values.note(keys.values, channel, value)
    writes: Writes = {}
    if lines or bare:
        writes = yield from _pending_writes([(keys, [encoded_id], lines, bare)])
    found = decode_checkpoint(keys, record, encoded_id, row, values, writes.get((keys, encoded_id), ()))
    if settings.refresh_on_read and settings.ttl_ms:
        names = [member(found.checkpoint_id, write) for write in found.pending_writes]
        yield from refresh(settings, keys, found.checkpoint_id, names)
    return found


def _pending_writes(
    groups: Sequence[tuple[NamespaceKeys, Sequence[str], bytes, Sequence[bytes]]],
) -> Operation[Writes]:
    """Decode pending writes from what scripts returned about them.

    Only what they could not say is read from records: of programs that kept no copies, or where something is damaged.

    Args:
        groups: keys of a namespace, encoded ids of checkpoints, lines, and members of pending writes without a line.
    """
    found: Writes = {}
    bare_refs: list[tuple[NamespaceKeys, str]] = []
    for keys, encoded_ids, lines, bare in groups:
        try:
            for encoded_id, writes in decode_lines(lines, encoded_ids).items():
                found[keys, encoded_id] = writes
        except (CorruptRecord, ValueError):
            bare = yield Call(script("checkpoints/members"), [keys.writes, keys.pending], ["of", *encoded_ids])
        bare_refs += [(keys, decode_text(name, keys.writes)) for name in bare]
    if bare_refs:
        for (keys, name), write in (yield from read_writes(bare_refs)).items():
            found.setdefault((keys, name.partition(":")[0]), []).append(write)
    return found


def refresh(
    settings: CheckpointSettings, keys: NamespaceKeys, checkpoint_id: str, members: Sequence[str]
) -> Operation[None]:
    """Let a checkpoint and its pending writes live for another TTL."""
    for chunk in list(chunks(members)) or [[]]:
        records = [keys.checkpoint(checkpoint_id), *map(keys.write, chunk)]
        run = yield Call(
            script("checkpoints/refresh"), [*keys.derived, *records], [checkpoint_id, str(settings.ttl_ms), *chunk]
        )
        if run:
            yield from add_run(settings, decode_text(run, keys.checkpoint(checkpoint_id)), keys.thread_id)


def add_run(settings: CheckpointSettings, run_id: str, thread_id: str) -> Operation[None]:
    """Extend the index of a run to the life of a checkpoint put or refreshed now."""
    yield Call(script("checkpoints/add_run"), [run_key(settings.prefix, run_id)], [thread_id, str(settings.ttl_ms)])


def records_keys(keys: NamespaceKeys, records: Sequence[str]) -> list[str]:
    """Return the keys that a read of checkpoints of a namespace takes."""
    return [keys.values, keys.writes, keys.expiry, keys.pending, *records]


def read(
    settings: CheckpointSettings, thread_id: str, refs: Sequence[Ref], reply: Reply = None
) -> Operation[list[SavedCheckpoint]]:
    """Read checkpoints of a thread in the order given, without those that are gone.

    One round trip, or none if ``reply`` is what ``records.lua`` says about them.
    """
    wanted: dict[str, dict[str, int]] = {}
    for position, ref in enumerate(refs):
        wanted.setdefault(ref.namespace, {})[ref.checkpoint_id] = position
    groups: list[tuple[NamespaceKeys, dict[str, int], list[str], list[str]]] = []
    call_keys: list[str] = []
    call_args: list[str] = []
    for namespace, positions in sorted(wanted.items()):
        keys = settings.keys(thread_id, namespace)
        encoded_ids = [encode_part(checkpoint_id) for checkpoint_id in positions]
        records = [keys.checkpoint(checkpoint_id) for checkpoint_id in positions]
        groups.append((keys, positions, encoded_ids, records))
        call_keys += records_keys(keys, records)
        call_args += [str(len(records)), *encoded_ids]
    if reply is None:
        reply = yield Call(script("checkpoints/records"), call_keys, call_args)

    writes = yield from _pending_writes(
        [
            (keys, encoded_ids, lines, bare)
            for (keys, _, encoded_ids, _), (_, _, lines, bare) in zip(groups, reply, strict=True)
        ]
    )
    found: list[SavedCheckpoint | None] = [None] * len(refs)
    for (keys, positions, encoded_ids, records), (table, stored, _, _) in zip(groups, reply, strict=True):
        listed = [value_fields(row[CHANNELS], record) for record, row in zip(records, table, strict=True)]
        values = decode_values(list(dict.fromkeys(chain.from_iterable(listed))), stored, keys)
        gone: list[str] = []
        for (checkpoint_id, position), encoded_id, record, row in zip(
            positions.items(), encoded_ids, records, table, strict=True
        ):
            if row == NOTHING:
                gone.append(checkpoint_id)
                continue
            found[position] = decode_checkpoint(
                keys, record, encoded_id, row, values, writes.get((keys, encoded_id), ())
            )
        if gone:
            yield from adopt_checkpoints(keys, gone)
            # If the newest is among them, the copy of it stays: after an eviction that is all there is of it.
            [[held]] = yield from read_fields([keys.head], ["checkpoint_id"])
            if held is None:
                yield from rebuild_head(keys)
    return [saved for saved in found if saved is not None]


def read_fields(keys_of_records: Sequence[str], fields: Sequence[str]) -> Operation[list[Row]]:
    """Read some fields of records of one thread."""
    found: list[Row] = []
    for chunk in chunks(keys_of_records, 2 * CHUNK):
        flat = yield Call(script("checkpoints/fields"), chunk, fields)
        found += chunks(flat, len(fields))
    return found
