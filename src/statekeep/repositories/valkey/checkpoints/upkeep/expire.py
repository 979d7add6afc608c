"""The end of whole threads, set in steps of some hundred records.

No step leaves something behind that ends before what needs it. Records come first, and what they share lives at least
as long. At last that is made to end no later than they do, if nobody else changed the namespace since it was looked at;
otherwise it is looked at again.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Final

from attrs import define, field

from ....checkpoint_backend import EARLY_TTL
from ....operation import Operation
from ....validation import ms_of
from ...chunks import CHUNK, chunks
from ...keys import decode_part, decode_text
from ...requests import Arg, Call, Commands
from ...scripts import script
from ..keys import NamespaceKeys, run_key, thread_index_keys, thread_key
from ..restore import restore_indexes
from ..settings import CheckpointSettings
from ..threads import list_namespaces

PAGE: Final = 200
"""Checkpoints, and pending writes, in one step; of a write its checkpoint's key is needed, too."""

ATTEMPTS: Final = 5
"""Looks at a namespace that others put to all the time. What it shares ends later then than its records."""

NAMESPACES: Final = 4000
"""Namespaces of a thread whose ends are compared in one script; the index of more is not shortened."""


@define
class _End:
    """When a thread is to end, and what was found of it.

    Attributes:
        ttl_ms: milliseconds from now; 0 for never.
        at: when, in milliseconds since 1970; 0 for never. It is known when the server has said what time it is.
        early: when pending writes end whose checkpoint is not there.
        runs: of the checkpoints.
        count: of records.
    """

    ttl_ms: int
    at: int | None = None
    early: int = 0
    runs: set[str] = field(factory=set)
    count: int = 0

    def begin(self, now: int) -> None:
        if self.at is None:
            self.at = now + self.ttl_ms if self.ttl_ms else 0
            self.early = now + min(self.ttl_ms or ms_of(EARLY_TTL), ms_of(EARLY_TTL))


def expire(settings: CheckpointSettings, thread_id: str, ttl: float | None) -> Operation[bool]:
    """Set when a thread ends; return whether there is one."""
    end = _End(ms_of(ttl))
    names: Collection[str] = yield from list_namespaces(settings, thread_id)
    if not (yield from _end_namespaces(settings, thread_id, names, end)):
        names = (yield from restore_indexes(settings, thread_id)).namespaces
        yield from _end_namespaces(settings, thread_id, names, end, is_complete=True)
    if not end.count:
        return False
    yield from _end_thread(settings, thread_id, end)
    yield from _keep_runs(settings, thread_id, end)
    return True


def _end_namespaces(
    settings: CheckpointSettings, thread_id: str, names: Collection[str], end: _End, *, is_complete: bool = False
) -> Operation[bool]:
    """Set when namespaces end; return whether the indexes know all of the thread.

    Args:
        settings: of the repository.
        thread_id: the thread.
        names: those that are known.
        end: when.
        is_complete: whether the indexes were made anew.
    """
    # The root is looked at in any case: if it has something, and is not known, the list was evicted.
    for namespace in sorted({"", *names}):
        before = end.count
        is_known = yield from _end_namespace(settings.keys(thread_id, namespace), end, is_complete)
        if not is_complete and (not is_known or (end.count > before and namespace not in names)):
            return False
    return True


def _end_namespace(keys: NamespaceKeys, end: _End, is_complete: bool) -> Operation[bool]:
    """Set when a namespace ends; return whether its indexes know all that it has."""
    for _ in range(ATTEMPTS):
        state: bytes | None = None
        is_undisturbed, found = True, 0
        after_id = after_member = "-"
        while True:
            now, seen, is_incomplete, ids, members = yield Call(
                script("checkpoints/survey_ends"),
                [keys.head, keys.values, keys.checkpoints, keys.writes, keys.expiry, keys.pending],
                [after_id, after_member, str(PAGE)],
            )
            if is_incomplete and not is_complete:
                return False
            end.begin(now)
            is_undisturbed = is_undisturbed and state in (None, seen)
            state = seen
            names = [decode_text(name, keys.checkpoints) for name in ids]
            entries = [decode_text(name, keys.writes) for name in members]
            if names or entries:
                begun, state, count, *runs = yield _set_ends(keys, end, names, entries)
                is_undisturbed = is_undisturbed and begun == seen
                found += count
                end.count += count
                end.runs.update(run_id.decode(errors="replace") for run_id in runs)
            if len(names) < PAGE and len(entries) < PAGE:
                break
            after_id = f"({names[-1]}" if names else after_id
            after_member = f"({entries[-1]}" if entries else after_member
        if not found or (is_undisturbed and (yield from _settle(keys, end, state or b""))):
            break
    return True


def _set_ends(keys: NamespaceKeys, end: _End, ids: Sequence[str], members: Sequence[str]) -> Call:
    owners = [keys.checkpoint(decode_part(name.partition(":")[0])) for name in members]
    return Call(
        script("checkpoints/set_ends"),
        [*keys.derived, *map(keys.checkpoint, ids), *map(keys.write, members), *owners],
        [str(end.at), str(end.early), str(len(ids)), str(len(members)), *ids, *members],
    )


def _settle(keys: NamespaceKeys, end: _End, state: bytes) -> Operation[bool]:
    """Let what the records share end with them; return whether nobody changed them."""
    shared = [keys.values, keys.checkpoints, keys.writes, keys.expiry, keys.pending]
    fields: list[bytes] = []
    if end.at:
        # What lasts for ever up to now has no entry among those that end.
        fields = [
            name
            for name in (yield Call(script("read"), [keys.values], ["HKEYS"]))
            if name not in (b"generation", b"incomplete")
        ]
    pages: list[Sequence[bytes]] = list(chunks(fields, 2 * CHUNK)) or [()]
    for number, page in enumerate(pages, 1):
        is_last = number == len(pages)
        left = 2
        while left == 2:
            arguments: list[Arg] = [str(end.at), state, str(int(is_last)), *page]
            left, state = yield Call(script("checkpoints/settle_ends"), shared, arguments)
        if not left:
            return False
    return True


def _end_thread(settings: CheckpointSettings, thread_id: str, end: _End) -> Operation[None]:
    """Let the list of namespaces end with the last of them, and note when that is."""
    names = yield from list_namespaces(settings, thread_id)
    if len(names) > NAMESPACES:
        return
    spaces = [settings.keys(thread_id, name) for name in names]
    indexes = [key for keys in spaces for key in (keys.checkpoints, keys.writes)]
    at, count = yield Call(
        script("checkpoints/settle_thread_end"), [thread_key(settings.prefix, thread_id), *indexes], [str(end.at)]
    )
    by_end = thread_index_keys(settings.prefix)[2]
    if at == -1:
        yield Commands([("ZREM", by_end, thread_id)])
    elif at > 0 and count:
        yield Commands([("ZADD", by_end, str(at), thread_id)])


def _keep_runs(settings: CheckpointSettings, thread_id: str, end: _End) -> Operation[None]:
    """Let the indexes of runs last as long as the thread, if not longer."""
    # Somewhat longer, as a put has it.
    needed = math.ceil(end.ttl_ms * 1.25)
    for chunk in chunks(sorted(end.runs)):
        keys = [run_key(settings.prefix, run_id) for run_id in chunk]
        commands: list[Sequence[Arg]] = []
        for key, left in zip(keys, (yield Commands([("PTTL", key) for key in keys])), strict=True):
            commands.append(("SADD", key, thread_id))
            if not end.ttl_ms:
                commands.append(("PERSIST", key))
            elif left != -1:
                commands.append(("PEXPIRE", key, str(needed), "NX" if left == -2 else "GT"))
        yield Commands(commands)
