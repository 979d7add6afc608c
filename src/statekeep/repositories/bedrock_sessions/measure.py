"""Sizes of threads: all steps of each are read."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from ...domain import ThreadMeasure
from ..operation import Operation
from ..records.checkpoints import stored
from .get import FRAME, Settings, content_of
from .steps import ABREAST, NoSession


def measure(settings: Settings, thread_ids: Sequence[str]) -> Operation[dict[str, ThreadMeasure]]:
    """Measure threads by the texts of their steps.

    A session that is not there has no measure.
    """
    found: dict[str, ThreadMeasure] = {}
    for thread_id in thread_ids:
        with suppress(NoSession):
            one = yield from _measure(settings, thread_id)
            if one is not None:
                found[thread_id] = one
    return found


def _measure(settings: Settings, thread_id: str) -> Operation[ThreadMeasure | None]:
    steps = yield from settings.steps.listing(thread_id)
    checkpoints: set[tuple[str, str]] = set()
    writes: set[tuple[str, str, str, int]] = set()
    size = 0
    for start in range(0, len(steps), ABREAST):
        some = steps[start : start + ABREAST]
        for step, blocks in zip(some, (yield from settings.steps.read(thread_id, some)), strict=True):
            content = None if blocks is None else content_of(step, blocks)
            one = None if content is None else stored([content.record], f"step {step.id}")
            if one is None:
                continue
            texts = [block.get("text") for block in blocks or ()]
            size += sum(len(text) for text in texts if isinstance(text, str) and text.startswith(FRAME))
            owner = (one.namespace, one.checkpoint_id)
            if one.head is not None:
                checkpoints.add(owner)
            writes.update((*owner, write.task_id, write.idx) for write in one.writes)
    if not checkpoints and not writes:
        return None
    return ThreadMeasure(
        thread_id=thread_id,
        checkpoints=len(checkpoints),
        pending_writes=len(writes),
        namespaces=len({namespace for namespace, *_ in [*checkpoints, *writes]}),
        bytes=size,
        basis="lengths",
    )
