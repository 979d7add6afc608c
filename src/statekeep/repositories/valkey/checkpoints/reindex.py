"""Rebuilding of all that is derived from a thread's records."""

from __future__ import annotations

from ...operation import Operation
from ..keys import decode_text
from ..requests import Call
from ..scripts import script
from .delete import collect, remove_late_writes
from .get import add_run
from .indexes import rebuild_head
from .keys import thread_index_keys
from .restore import index_thread, restore_indexes
from .settings import CheckpointSettings
from .threads import find_thread


def reindex(settings: CheckpointSettings, thread_id: str) -> Operation[int]:
    """Rebuild indexes and heads of a thread; return how many checkpoints it has."""
    restored = yield from restore_indexes(settings, thread_id)
    for namespace in sorted(restored.namespaces):
        keys = settings.keys(thread_id, namespace)
        indexed = yield Call(script("read"), [keys.checkpoints], ["ZRANGE", "0", "-1"])
        yield from remove_late_writes(settings, keys, [decode_text(name, keys.checkpoints) for name in indexed])
        if (yield from rebuild_head(keys, replace=True)) is not None:
            values = yield Call(script("read"), [keys.values], ["HKEYS"])
            yield from collect(keys, {decode_text(name, keys.values) for name in values} - {"generation"})
    for run_id in sorted(restored.runs):
        yield from add_run(settings, run_id, thread_id)
    if restored.checkpoints and (yield from find_thread(settings, thread_id)) is None:
        yield Call(
            script("checkpoints/touch_thread"), thread_index_keys(settings.prefix), [thread_id, str(settings.ttl_ms)]
        )
    yield from index_thread(settings, thread_id)
    return restored.checkpoints
