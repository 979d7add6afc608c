"""Writing items: the index and the tree first, and then the event that counts.

That event's client token is made of the event before it, and a service honours a token once. So of several writers that
saw the same event one takes effect, and the others notice it and read again. A deletion is an event like any other, so
no token comes twice.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import define, evolve, field

from ....domain import ANY, Conflict, Payload, Throttled, Unsupported
from ....domain.ids import new_moment
from ...aws import AwsCall
from ...item_backend import Action, Check, Delete, Get, ItemAction, Put
from ...operation import Operation
from ...records.framing import Record
from ...records.names import digest
from ..ids import Lane
from . import tree
from .fold import Folded, Step, fold
from .index import index_calls
from .layout import TOKENS, NamespaceLanes
from .record_writes import LAG, RecordJob, check_texts, deletion_calls, missing_of, remove_records, write_records
from .records import IndexEntry, Version, time_at, value_record, version_record
from .settings import INLINE, Settings, side_by_side
from .versions import Latest, read_latest, read_older, with_values

ATTEMPTS: Final = 500
"""Rounds of writers that overtake this one."""


@define
class _Work:
    """The part of a batch that is about one item.

    Attributes:
        steps: the actions.
        stamp: that under which the index has the key from this batch; -1 if it has not.
        spare: ids of memory records that were made for versions which did not take effect.
    """

    lane: Lane
    steps: list[Step]
    stamp: int = -1
    spare: list[str] = field(factory=list)

    @property
    def action(self) -> ItemAction:
        return self.steps[0].action

    @property
    def puts(self) -> bool:
        return any(isinstance(step.action, Put) for step in self.steps)

    @property
    def reads(self) -> bool:
        return any(isinstance(step.action, Get) for step in self.steps)

    @property
    def deletes(self) -> bool:
        return any(isinstance(step.action, Delete) for step in self.steps)

    @property
    def checks(self) -> bool:
        return any(isinstance(step.action, Check) for step in self.steps)

    @property
    def expects(self) -> bool:
        return any(not isinstance(step.action, Get) and step.action.expected is not ANY for step in self.steps)

    @property
    def moment(self) -> int:
        return max(step.moment for step in self.steps)


def apply(settings: Settings, actions: Sequence[ItemAction]) -> Operation[list[Any]]:
    """Do actions: those on one item in their order and as one.

    Different items are read and written side by side.

    Raises:
        Conflict: an expectation does not hold. Nothing was written.
        Unsupported: there are expectations, and they and the writes are about more than one item, or client tokens
            are not honoured.
        Throttled: others write to the same item all the time.
        InvalidInput: the texts of an item would become too many memory records.
    """
    works: dict[Lane, _Work] = {}
    check(actions)
    for position, action in enumerate(actions):
        lane = NamespaceLanes(action.namespace).item(action.key)
        works.setdefault(lane, _Work(lane, [])).steps.append(Step(position, action, new_moment()))
    yield from _check_expectations(settings, works.values())
    results: dict[int, Version | bool | None] = {}
    pending = list(works.values())
    for _ in range(ATTEMPTS):
        pending = yield from _attempt(settings, pending, results)
        if not pending:
            return [_shown(results[position]) for position in range(len(actions))]
    raise Throttled("others write to the item all the time; let fewer do so at once")


def check(actions: Sequence[Action]) -> None:
    """Check what can be checked before anything is written.

    Raises:
        InvalidInput: the texts of an item would become too many memory records.
    """
    for action in actions:
        if isinstance(action, Put) and action.texts:
            check_texts(action.namespace, action.texts)


def _shown(result: Version | bool | None) -> Any:
    return result.item() if isinstance(result, Version) else result


def _check_expectations(settings: Settings, works: Iterable[_Work]) -> Operation[None]:
    involved = [work for work in works if work.puts or work.deletes or work.checks]
    if not any(work.expects for work in involved):
        return
    if len(involved) > 1:
        raise Unsupported(
            "AgentCore Memory cannot check and write several items as one: pass expected with one item at a time, or "
            "write them without"
        )
    if involved[0].puts or involved[0].deletes:
        yield from _check_tokens(settings)


def _check_tokens(settings: Settings) -> Operation[None]:
    """See once whether the memory honours client tokens, which expectations rest on."""
    if settings.tokens.honoured is None:
        moment = new_moment()
        (call,) = settings.lanes.appends(TOKENS, Record({"type": "token", "stamp": moment}), time_at(moment))
        call = evolve(call, arguments={**call.arguments, "clientToken": secrets.token_hex(20)})
        first = yield call
        second = yield call
        settings.tokens.honoured = first["event"]["eventId"] == second["event"]["eventId"]
    if not settings.tokens.honoured:
        raise Unsupported("this memory does not honour client tokens, so expected cannot be kept; leave it out")


def _attempt(
    settings: Settings, works: Sequence[_Work], results: dict[int, Version | bool | None]
) -> Operation[list[_Work]]:
    """Do what is left of a batch, and return what others were faster at."""
    now = settings.now()
    # The index is written beside the reading, but only once: another attempt may not need it again.
    fresh = [work for work in works if work.puts and work.stamp < 0]
    entries = []
    for work in fresh:
        work.stamp = work.moment
        entries += index_calls(settings, work.action.namespace, IndexEntry(work.action.key, work.stamp))
    wanted = tree.branches(settings, [work.action.namespace for work in fresh])
    beside = [*entries, *tree.looks(settings, wanted)]
    found, replies = yield from read_latest(settings, [work.lane for work in works], beside)
    missing = tree.lacking(settings, wanted, replies[len(entries) :])
    reading = [number for number, work in enumerate(works) if work.reads]
    whole = yield from with_values(settings, [found[number] for number in reading])
    for number, one in zip(reading, whole, strict=True):
        found[number] = one
    try:  # before anything is written
        folded = [fold(settings, one.version, work.steps, now) for work, one in zip(works, found, strict=True)]
    except Conflict:
        yield from remove_records(settings, [one for work in works for one in work.spare])
        raise
    renewed = [work for work, one in zip(works, folded, strict=True) if one.is_renewal]
    if renewed:
        wanted = tree.branches(settings, [work.action.namespace for work in renewed])
        missing += tree.lacking(settings, wanted, (yield from side_by_side(tree.looks(settings, wanted))))
    commits, before = _commits(settings, works, found, folded)
    jobs = _record_jobs(works, found, folded, commits)
    beside = [*tree.listing_calls(settings, missing), *before]
    versions = yield from write_records(settings, list(jobs.values()), beside)
    named = dict(zip(jobs, versions, strict=True))
    commits = [(one, named.get(id(one), version)) for one, version in commits]
    marks = tree.mark_calls(settings, missing)
    done = yield from commit(settings, commits, marks)
    for branch in missing:
        branch.learn(settings)
    lost = {id(one): version for (one, version), is_done in zip(commits, done, strict=True) if not is_done}
    yield from _remove_values(settings, [version for version in lost.values() if version.value == version.nonce])
    written = {id(one): version for one, version in commits}
    left, deleted = [], []
    superfluous: list[str] = []
    for work, one, outcome in zip(works, found, folded, strict=True):
        if id(one) in lost:
            left.append(work)
            work.spare += jobs[id(one)].created if id(one) in jobs else ()
            continue
        results.update(outcome.results)
        if outcome.version is not None and outcome.version.number == 0:
            deleted.append(one)
            superfluous += written[id(one)].stale
        elif id(one) in jobs:
            superfluous += jobs[id(one)].replaced(written[id(one)])
        elif outcome.version is None and work.deletes and one.version is not None and not one.version.number:
            # A deletion was cut off, or its records could not be found yet.
            superfluous += one.version.stale if now - one.version.written < LAG else ()
    yield from erase(settings, deleted, superfluous)
    return left


def _record_jobs(
    works: Sequence[_Work],
    found: Sequence[Latest],
    folded: Sequence[Folded],
    commits: list[tuple[Latest, Version]],
) -> dict[int, RecordJob]:
    """Return what is to be done about memory records.

    Keys are the identities of what was found.

    Deletions among the commits are told which records may be left.
    """
    jobs: dict[int, RecordJob] = {}
    numbers = {id(one): number for number, (one, _) in enumerate(commits)}
    for work, one, outcome in zip(works, found, folded, strict=True):
        if outcome.version is None:
            continue
        number, previous = numbers[id(one)], one.version
        version = commits[number][1]
        old = [*previous.stale, *previous.records] if previous is not None else []
        if not version.number:
            commits[number] = (one, evolve(version, stale=tuple(dict.fromkeys([*old, *work.spare]))))
        elif outcome.is_put:
            texts = check_texts(version.namespace, outcome.texts)
            if texts or old or work.spare:
                jobs[id(one)] = RecordJob(previous, version, texts, work.spare, fresh=work.expects)
        elif outcome.is_renewal and version.records:
            jobs[id(one)] = RecordJob(previous, version, None)
    return jobs


def _commits(
    settings: Settings, works: Sequence[_Work], found: Sequence[Latest], folded: Sequence[Folded]
) -> tuple[list[tuple[Latest, Version]], list[AwsCall]]:
    """Return what is to be written, and the calls that go before it."""
    commits: list[tuple[Latest, Version]] = []
    before: list[AwsCall] = []
    for work, one, outcome in zip(works, found, folded, strict=True):
        version = outcome.version
        if version is None:
            continue
        if (outcome.is_put or outcome.is_renewal) and _is_large(version):
            version = evolve(version, value=version.nonce)
            lane = NamespaceLanes(version.namespace).value(version.nonce)
            before += settings.lanes.appends(lane, value_record(version), time_at(new_moment()))
        # Whoever removes what is deleted from the index has read it before the deletion: what is written now stays.
        was_deleted = one.version is not None and one.version.number == 0
        if outcome.is_renewal or (outcome.is_put and (version.updated > work.stamp or was_deleted)):
            work.stamp = max(version.updated, work.stamp if outcome.is_put else -1)
            before += index_calls(settings, version.namespace, IndexEntry(version.key, version.updated))
        commits.append((one, version))
    return commits, before


def _is_large(version: Version) -> bool:
    content = version.content
    size = 0 if content is None else len(content.data if isinstance(content, Payload) else content)
    return size > INLINE


def _remove_values(settings: Settings, versions: Sequence[Version]) -> Operation[None]:
    """Remove the large values of versions that did not take effect."""
    lanes = [NamespaceLanes(version.namespace).value(version.nonce) for version in versions]
    if lanes:
        yield from settings.lanes.clear(lanes)


def commit(
    settings: Settings, commits: Sequence[tuple[Latest, Version]], beside: Sequence[AwsCall] = ()
) -> Operation[list[bool]]:
    """Write the events that count, and return which took effect."""
    calls = []
    for latest, version in commits:
        (call,) = settings.lanes.appends(latest.lane, version_record(version), time_at(_later(settings, latest) * 1000))
        token = digest(str(latest.lane), latest.event_id)
        calls.append(evolve(call, arguments={**call.arguments, "clientToken": token}, used_ok=True))
    replies = yield from side_by_side([*calls, *beside])
    return [
        reply is not None and reply["event"]["payload"] == call.arguments["payload"]
        for call, reply in zip(calls, replies, strict=False)
    ]


def _later(settings: Settings, latest: Latest) -> int:
    """Return a time that is later than the newest event's, whatever the clock says.

    It is in milliseconds.
    """
    return max(settings.now(), latest.at + 1)


def erase(settings: Settings, deleted: Sequence[Latest], record_ids: Sequence[str] = ()) -> Operation[None]:
    """Remove the events that came before a deletion, their values, and memory records."""
    yield from read_older(settings, deleted)
    values: list[Lane] = []
    for one in deleted:
        if one.version is None:
            continue  # the item was put and deleted at once
        lanes = NamespaceLanes(one.version.namespace)
        own = [one.version.value] if one.version.value is not None else []
        values += [lanes.value(name) for name in dict.fromkeys([*own, *one.values])]
    gone = list(dict.fromkeys(record_ids))
    replies = yield from settings.lanes.delete(
        [(one.lane, event_id) for one in deleted for event_id in one.events], deletion_calls(settings, gone)
    )
    missing_of(gone, replies)
    if values:
        yield from settings.lanes.clear(values)
