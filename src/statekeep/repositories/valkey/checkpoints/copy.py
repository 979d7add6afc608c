"""Copying a thread."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import partial
from itertools import groupby

from ....domain import Channel, Checkpoint, Payload
from ...operation import Operation
from ..chunks import CHUNK
from ..keys import decode_part, decode_text
from ..requests import Call
from ..scripts import script
from .get import Ref, read, read_writes
from .put import put, put_writes
from .records import encode_value
from .settings import CheckpointSettings
from .threads import list_namespaces

PAGE = 20
"""Checkpoints copied at once: their values may be large."""


class _Sent:
    """A memory of values sent, by channel version, so that none is sent twice.

    A channel version of which two values are about (two forks counted alike) is always sent.
    """

    def __init__(self) -> None:
        self._digests: dict[tuple[str, str, object], bytes | None] = {}

    def again(self, name: str, channel: Channel) -> bool:
        if channel.payload is None:
            return False
        version = (name, type(channel.version).__name__, channel.version)
        digest = hashlib.sha256(encode_value(channel.payload)).digest()
        if version not in self._digests:
            self._digests[version] = digest
            return False
        if self._digests[version] != digest:
            self._digests[version] = None
            return False
        return True


def copy_thread(settings: CheckpointSettings, source_id: str, target_id: str) -> Operation[None]:
    """Copy all namespaces of a thread, parents before their children."""
    if source_id == target_id:
        return
    fresh = not (yield from list_namespaces(settings, target_id))
    for namespace in (yield from list_namespaces(settings, source_id)):
        yield from _copy_checkpoints(settings, source_id, target_id, namespace, _Sent() if fresh else None)
        yield from _copy_writes(settings, source_id, target_id, namespace)


def _copy_checkpoints(
    settings: CheckpointSettings, source_id: str, target_id: str, namespace: str, sent: _Sent | None
) -> Operation[None]:
    keys = settings.keys(source_id, namespace)
    after = "-"
    while True:
        ids = yield Call(script("read"), [keys.checkpoints], ["ZRANGEBYLEX", after, "+", "LIMIT", "0", str(PAGE)])
        refs = [Ref(namespace, decode_text(name, keys.checkpoints)) for name in ids]
        for checkpoint in (yield from read(settings, source_id, refs)) if refs else ():
            payloads = {name: channel.payload for name, channel in checkpoint.channels.items() if channel.payload}
            channels = {
                name: Channel.earlier(channel.version) if sent and sent.again(name, channel) else channel
                for name, channel in checkpoint.channels.items()
            }
            values = {name: getattr(checkpoint, name) for name in Checkpoint.model_fields}
            copy = Checkpoint(**values | {"thread_id": target_id, "channels": channels})
            # Values that a copy refers to may have expired in the target since they were sent: they are sent again.
            yield from put(settings, copy, partial(_payloads, payloads), as_it_is=True)
        if len(ids) < PAGE:
            return
        after = f"({refs[-1].checkpoint_id}"


def _payloads(payloads: Mapping[str, Payload], names: Collection[str]) -> Mapping[str, Payload]:
    return {name: payloads[name] for name in names}


def _copy_writes(settings: CheckpointSettings, source_id: str, target_id: str, namespace: str) -> Operation[None]:
    keys = settings.keys(source_id, namespace)
    after = ""
    while True:
        found = yield Call(script("checkpoints/members"), [keys.writes, keys.pending], ["after", after, str(CHUNK)])
        members = [decode_text(name, keys.writes) for name in found]
        writes = yield from read_writes([(keys, name) for name in members])
        for encoded_id, group in groupby(members, key=lambda name: name.partition(":")[0]):
            own = [writes[keys, name] for name in group if (keys, name) in writes]
            yield from put_writes(settings, target_id, namespace, decode_part(encoded_id), own)
        if len(members) < CHUNK:
            return
        after = members[-1]
