"""Reading checkpoints: by id, the newest, many at once."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from attrs import evolve, field, frozen

from ...domain import CorruptRecord, Payload, SavedCheckpoint, Unavailable
from ...domain.ids import time_of
from ...domain.shown import shown
from ..operation import Operation
from ..records.checkpoints import Head, Stored, decoded, stored, value_of
from ..records.framing import Record, records
from ..records.local_cache import Recent
from ..records.ordering import TEXT
from ..validation import text
from .ids import Step, checkpoint_digits, invocation_of, session_of
from .steps import ABREAST, Steps

FRAME = "statekeep/"
"""The beginning of each text of ours."""


Owner = tuple[str, str]
"""Namespace and id of a checkpoint."""


@frozen
class Settings:
    """The settings of a backend's operations.

    Attributes:
        inline: bytes up to which a channel value is stored within each checkpoint that has it.
        steps: of the service.
        recent: checkpoints that this process put or read lately.
    """

    inline: int
    steps: Steps = field(factory=Steps)
    recent: Recent = field(factory=Recent)


@frozen
class Content:
    """The content of a step.

    Attributes:
        step: the step.
        record: of a checkpoint, or of pending writes.
        values: large values of the checkpoint, by the names that channels have for them.
    """

    step: Step
    record: Record
    values: Mapping[str, Payload] = field(repr=False)


@frozen
class Group:
    """The steps of a checkpoint, as far as their ids tell.

    Two checkpoints may share the digits.
    """

    heads: Sequence[Step]
    writes: Sequence[Step]


@frozen
class Found:
    """A checkpoint that was found, without its pending writes.

    Attributes:
        head: the checkpoint.
        values: large values that came along.
        writes: the steps that may have its pending writes.
    """

    head: Head
    values: Mapping[str, Payload] = field(repr=False)
    writes: Sequence[Step]


def grouped(steps: Iterable[Step]) -> list[Group]:
    """Put together the steps of each checkpoint.

    Pending writes without a checkpoint are left out.
    """
    heads: dict[tuple[Any, ...], list[Step]] = {}
    writes: dict[tuple[str, str], list[Step]] = {}
    for step in steps:
        if step.has_writes:
            writes.setdefault(step.checkpoint, []).append(step)
        elif step.order is not None:
            heads.setdefault((step.checkpoint, step.order, None if step.order == TEXT else step.at), []).append(step)
    return [Group(several, writes.get(several[0].checkpoint, ())) for several in heads.values()]


def batches(groups: Sequence[Group]) -> Iterator[list[Group]]:
    """Sort checkpoints, the greatest id first, as far as the listing tells.

    Ids of one order are sorted by the time within them, to the millisecond, and a batch has those of one millisecond.
    Other ids are known only when they are read: then all are one batch.
    """
    orders = {step.order for group in groups for step in group.heads}
    if len(orders) == 1 and TEXT not in orders:
        newest_first = sorted(groups, key=_time, reverse=True)
        for _, batch in groupby(newest_first, key=_time):
            yield list(batch)
    elif groups:
        yield list(groups)


def _time(group: Group) -> Any:
    return group.heads[0].at


def content_of(step: Step, blocks: Sequence[Any]) -> Content | None:
    """Return what a step holds; ``None`` for one of another program.

    Raises:
        CorruptRecord: it is ours, and damaged.
    """
    texts = [block.get("text") for block in blocks]
    if not any(isinstance(text, str) and text.startswith(FRAME) for text in texts):
        return None
    where = f"step {step.id}"
    whole, partial = records(texts, where)
    main = [record for record in whole if record.head.get("type") in ("checkpoint", "writes")]
    if partial or len(main) != 1:
        raise CorruptRecord("a part of the step is missing", key=where)
    values = {
        f"{step.id}/{record.hash}": value_of(record, where) for record in whole if record.head.get("type") == "value"
    }
    return Content(step, _with_names(main[0], step), values)


def _with_names(record: Record, step: Step) -> Record:
    """Name the values of the checkpoint's own step as those of others are."""
    places = record.head.get("channels")
    if not isinstance(places, list):
        return record

    def named(entry: Any) -> Any:
        match entry:
            case [name, version, carry, {"value": str(value)} as place] if "/" not in value:
                return [name, version, carry, {**place, "value": f"{step.id}/{value}"}]
        return entry

    return evolve(record, head={**record.head, "channels": [named(entry) for entry in places]})


def read_contents(
    settings: Settings,
    thread_id: str,
    steps: Sequence[Step],
    is_wanted: Callable[[str], bool] = lambda value: True,
    referred: Container[Step] = (),
) -> Operation[list[Content]]:
    """Read steps of a listing side by side, without those that are not ours.

    Args:
        settings: of the backend.
        thread_id: the thread.
        steps: to read.
        is_wanted: whether a large value is kept, by its name. No more than 32 steps are held whole.
        referred: steps that are in no listing; one that is not there is left out.

    Raises:
        NoSession: the session was deleted meanwhile.
        Unavailable: the service does not find a step that it listed.
    """
    found: list[Content] = []
    for start in range(0, len(steps), ABREAST):
        some = steps[start : start + ABREAST]
        for step, blocks in zip(some, (yield from settings.steps.read(thread_id, some)), strict=True):
            if blocks is None:
                # No step is ever deleted but with its session.
                yield from settings.steps.session(thread_id)
                if step not in referred:
                    raise Unavailable(f"the service does not find the step {step.id}, which it listed")
                continue
            content = content_of(step, blocks)
            if content is not None:
                values = {name: value for name, value in content.values.items() if is_wanted(name)}
                found.append(evolve(content, values=values))
    return found


def read_heads(
    settings: Settings, thread_id: str, groups: Sequence[Group], *, keep_values: bool = True
) -> Operation[list[Found]]:
    """Read the checkpoints of groups, the greatest id first: one round.

    Args:
        settings: of the backend.
        thread_id: the thread.
        groups: of steps.
        keep_values: whether large values that come along are kept; they may be many.
    """
    writes = {step: group.writes for group in groups for step in group.heads}
    found: dict[Owner, list[Content]] = {}
    for content in (yield from read_contents(settings, thread_id, list(writes), lambda value: keep_values)):
        if content.record.head.get("type") == "checkpoint":
            found.setdefault(_owner(content), []).append(content)
    several = []
    for contents in found.values():
        one = stored([content.record for content in contents], f"step {contents[0].step.id}")
        assert one is not None
        assert one.head is not None
        settings.recent.saw((session_of(thread_id),), one.namespace, one.checkpoint_id, one.stamp)
        values = {name: value for content in contents for name, value in content.values.items()}
        several.append(Found(one.head, values, writes[contents[0].step]))
    several.sort(key=lambda one: one.head.namespace)
    several.sort(key=lambda one: one.head.checkpoint_id, reverse=True)
    return several


def _owner(content: Content) -> Owner:
    """Return namespace and id of the checkpoint that a record is of, in full."""
    namespace, checkpoint_id = decoded(
        content.record,
        f"step {content.step.id}",
        lambda head: (text("namespace", head["namespace"], empty=True), text("checkpoint_id", head["checkpoint_id"])),
    )
    if content.step.checkpoint != (invocation_of(namespace), checkpoint_digits(namespace, checkpoint_id)):
        raise CorruptRecord("the step holds another checkpoint", key=f"step {content.step.id}")
    return namespace, checkpoint_id


def read_rest(
    settings: Settings,
    thread_id: str,
    writes: Iterable[Step],
    values: Mapping[str, tuple[str, str]],
) -> Operation[tuple[dict[Owner, list[Record]], dict[str, Payload]]]:
    """Read pending writes and large values side by side, each step once: one round.

    Args:
        settings: of the backend.
        thread_id: the thread.
        writes: steps of pending writes.
        values: names of values, each with its namespace and channel.

    Returns:
        The records of pending writes by checkpoint, and the values by name.

    Raises:
        CorruptRecord: a value is gone.
        NoSession: the whole session is.
    """
    sources = dict.fromkeys(
        Step(value.partition("/")[0], invocation_of(namespace), time_of(0)) for value, (namespace, _) in values.items()
    )
    records_: dict[Owner, list[Record]] = {}
    found: dict[str, Payload] = {}
    wanted = [*dict.fromkeys(writes), *sources]
    for content in (yield from read_contents(settings, thread_id, wanted, values.__contains__, sources)):
        if content.record.head.get("type") == "writes":
            records_.setdefault(_owner(content), []).append(content.record)
        else:
            found |= content.values
    for value, (_, channel) in values.items():
        if value not in found:
            raise CorruptRecord(f"the value of channel {shown(channel)} is gone", key=f"step {value.partition('/')[0]}")
    return records_, found


def complete(settings: Settings, thread_id: str, found: Sequence[Found]) -> Operation[list[Stored]]:
    """Read the pending writes of checkpoints: one round."""
    records_, _ = yield from read_rest(settings, thread_id, [step for one in found for step in one.writes], {})
    return [_with_writes(settings, thread_id, one.head, records_) for one in found]


def saved(settings: Settings, thread_id: str, found: Sequence[Found]) -> Operation[list[SavedCheckpoint]]:
    """Read the pending writes and large values of checkpoints: one round."""
    values = {name: value for one in found for name, value in one.values.items()}
    lacking = {
        channel.value: (one.head.namespace, name)
        for one in found
        for name, channel in one.head.channels.items()
        if channel.value is not None and channel.value not in values
    }
    writes = [step for one in found for step in one.writes]
    records_, more = yield from read_rest(settings, thread_id, writes, lacking)
    values |= more
    return [_with_writes(settings, thread_id, one.head, records_).saved(thread_id, values) for one in found]


def _with_writes(settings: Settings, thread_id: str, head: Head, records_: Mapping[Owner, Sequence[Record]]) -> Stored:
    owner = (head.namespace, head.checkpoint_id)
    own = stored(records_.get(owner, ()), f"checkpoint {shown(head.checkpoint_id)}")
    if own is not None:
        settings.recent.saw((session_of(thread_id),), *owner, own.stamp)
    return Stored(*owner, head, own.writes if own is not None else ())


def find(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str, steps: Sequence[Step]
) -> Operation[Found | None]:
    """Read a checkpoint out of a listing: one round."""
    key = (invocation_of(namespace), checkpoint_digits(namespace, checkpoint_id))
    groups = [group for group in grouped(steps) if group.heads[0].checkpoint == key]
    for one in (yield from read_heads(settings, thread_id, groups)):
        if (one.head.namespace, one.head.checkpoint_id) == (namespace, checkpoint_id):
            return one
    return None


def newest(settings: Settings, thread_id: str, namespace: str, steps: Sequence[Step]) -> Operation[Found | None]:
    """Read the newest checkpoint of a namespace out of a listing.

    One round, unless steps of other programs are in the way.
    """
    for batch in batches(grouped(steps)):
        for one in (yield from read_heads(settings, thread_id, batch, keep_values=len(batch) == 1)):
            if one.head.namespace == namespace:
                return one
    return None


def get(
    settings: Settings, thread_id: str, namespace: str, checkpoint_id: str | None
) -> Operation[SavedCheckpoint | None]:
    """Read one checkpoint.

    The listing, the checkpoint, and then pending writes and large values side by side.
    """
    session = session_of(thread_id)
    steps = yield from settings.steps.listing(thread_id, invocation_of(namespace))
    if checkpoint_id is None:
        found = yield from newest(settings, thread_id, namespace, steps)
    else:
        found = yield from find(settings, thread_id, namespace, checkpoint_id, steps)
    if found is None:
        return None
    settings.recent.keep((session,), namespace, found.head.checkpoint_id, found.head.channels)
    [one] = yield from saved(settings, thread_id, [found])
    return one
