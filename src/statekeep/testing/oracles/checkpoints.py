"""The right answers of a repository of checkpoints.

They are worked out the slow and obvious way.

It shares no code with any backend, and each is compared to it.
"""

from __future__ import annotations

import copy
import datetime as dt
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field

from ...domain import (
    ANY,
    Channel,
    Checkpoint,
    Conflict,
    MissingChannels,
    Payload,
    PendingWrite,
    Unsupported,
    ValueSource,
)
from ...domain.checkpoints import Version
from ..differences import NONE, Differences

__all__ = ["Oracle"]

A_DAY = 86_400.0
"""Seconds that pending writes live at most without their checkpoint."""

Place = tuple[str, str]
"""Thread and namespace."""

Owner = tuple[str, str, str]
"""Thread, namespace and checkpoint."""

Entry = tuple[str, str, str, str, Version]
"""Thread, namespace, channel, type of the version, version."""


@define
class Kept:
    """A checkpoint with resolved channels."""

    checkpoint: Checkpoint
    parent_id: str | None
    metadata: dict[str, Any]
    channels: dict[str, Channel]
    expires_at: float
    uses: set[Entry] = field(factory=set)


@define
class Oracle:
    """The model.

    Args:
        ttl: seconds until a checkpoint or write expires.
        refresh_on_read: whether ``get`` starts the time anew.
        clock: the time in seconds.
        differences: what the backend does otherwise than the contract has it.

    Attributes:
        unclear: channel versions whose shared value lost its last user. A backend may collect it at once or
            later, so what ``earlier`` gives there without a parent that has the value is not defined.
    """

    ttl: float | None = None
    refresh_on_read: bool = False
    clock: Callable[[], float] = lambda: 0.0
    differences: Differences = NONE
    checkpoints: dict[Place, dict[str, Kept]] = field(factory=dict)
    writes: dict[Owner, dict[tuple[str, int], tuple[PendingWrite, float]]] = field(factory=dict)
    shared: dict[Entry, Payload] = field(factory=dict)
    unclear: set[Entry] = field(factory=set)
    puts: dict[str, int] = field(factory=dict)
    """Thread to the number of its last put, counted over all threads."""
    _count: int = 0

    # -- reading

    def threads(self) -> set[str]:
        """Return the ids of the threads that have a checkpoint."""
        return {thread_id for (thread_id, _), kept in self.checkpoints.items() if kept}

    def get(self, thread_id: str, namespace: str, checkpoint_id: str | None) -> dict[str, Any] | None:
        stored = self.checkpoints.get((thread_id, namespace), {})
        if checkpoint_id is None:
            checkpoint_id = max(stored) if stored else None
        if checkpoint_id is None or checkpoint_id not in stored:
            return None
        if self.refresh_on_read and self.ttl is not None:
            stored[checkpoint_id].expires_at = max(stored[checkpoint_id].expires_at, self._expiry())
            self._prolong_writes((thread_id, namespace, checkpoint_id))
        return self.read(thread_id, namespace, checkpoint_id)

    def read(self, thread_id: str, namespace: str, checkpoint_id: str) -> dict[str, Any]:
        kept = self.checkpoints[thread_id, namespace][checkpoint_id]
        return {
            "thread_id": thread_id,
            "namespace": namespace,
            "checkpoint_id": checkpoint_id,
            "parent_id": kept.parent_id,
            "created_at": kept.checkpoint.created_at,
            "metadata": kept.metadata,
            "header": kept.checkpoint.header,
            "channels": kept.channels,
            "pending_writes": tuple(self.read_writes(thread_id, namespace, checkpoint_id)),
        }

    def read_writes(self, thread_id: str, namespace: str, checkpoint_id: str) -> list[PendingWrite]:
        """Return the pending writes of a checkpoint, in the order in which they are read."""
        mine = self.writes.get((thread_id, namespace, checkpoint_id), {})
        return sorted((write for write, _ in mine.values()), key=lambda w: (w.task_path, w.task_id, w.idx))

    def list_thread(
        self,
        thread_id: str,
        *,
        namespace: str | None = None,
        checkpoint_id: str | None = None,
        before: str | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """Return the checkpoints of a thread that fulfil the conditions, in order."""
        names = sorted(name for thread, name in self.checkpoints if thread == thread_id)
        ids = sorted({id_ for name in names for id_ in self.checkpoints[thread_id, name]}, reverse=True)
        return [
            self.read(thread_id, name, id_)
            for id_ in ids
            for name in names
            if id_ in self.checkpoints[thread_id, name]
            and namespace in (None, name)
            and checkpoint_id in (None, id_)
            and (before is None or id_ < before)
            and all(
                self.checkpoints[thread_id, name][id_].metadata.get(key) == value
                for key, value in (metadata or {}).items()
            )
        ]

    def ancestors(
        self, thread_id: str, namespace: str, checkpoint_id: str | None, channels: Sequence[str]
    ) -> dict[str, tuple[list[PendingWrite], Payload | None]]:
        stored = self.checkpoints.get((thread_id, namespace), {})
        if checkpoint_id is None:
            checkpoint_id = max(stored) if stored else None
        chain = [] if checkpoint_id is None else self._chain(stored, checkpoint_id)
        found = {}
        for name in channels:
            writes: list[PendingWrite] = []
            seed = None
            for id_ in chain:
                step = [w for w in self.read_writes(thread_id, namespace, id_) if w.channel == name]
                writes = step + writes
                seed = _value_of(stored[id_], name)
                if seed is not None:
                    break
            found[name] = (writes, seed)
        return found

    @staticmethod
    def _chain(stored: Mapping[str, Kept], checkpoint_id: str) -> list[str]:
        """Ids of the ancestors, the parent first. A circle ends where it closes."""
        chain = [checkpoint_id]
        while chain[-1] in stored:
            parent_id = stored[chain[-1]].parent_id
            if parent_id is None or parent_id not in stored or parent_id in chain:
                break
            chain.append(parent_id)
        return chain[1:]

    # -- writing

    def resolved(self, checkpoint: Checkpoint, name: str) -> tuple[bool, Payload | None]:
        """Return whether it is defined which value an inherited channel finds.

        With it comes that value if any.
        """
        channel = checkpoint.channels[name]
        stored = self.checkpoints.get((checkpoint.thread_id, checkpoint.namespace), {})
        if checkpoint.parent_id in stored:
            inherited = stored[checkpoint.parent_id].channels.get(name)
            if inherited is not None and _same(inherited.version, channel.version):
                if inherited.payload is not None:
                    return True, inherited.payload
                if self.differences.optional_stops_at_parent and channel.carry is ValueSource.STORED_IF_ANY:
                    return True, None
        if self.differences.replayed_finds_parents_only and channel.carry is ValueSource.REPLAYED:
            return True, None
        entry = _entry(checkpoint.thread_id, checkpoint.namespace, name, channel.version)
        found = self.shared.get(entry)
        if self.differences.forks_are_ambiguous and self._values(entry) - {found}:
            return False, found
        return entry not in self.unclear, found

    def _values(self, entry: Entry) -> set[Payload]:
        """All values that checkpoints have under a version."""
        thread_id, namespace, name, _, _ = entry
        stored = self.checkpoints.get((thread_id, namespace), {}).values()
        channels = [(kept.channels[name].version, _value_of(kept, name)) for kept in stored if name in kept.channels]
        return {
            payload
            for version, payload in channels
            if payload is not None and _entry(thread_id, namespace, name, version) == entry
        }

    def put(
        self,
        checkpoint: Checkpoint,
        supplied: Mapping[str, Payload] | None,
        expected_head: Any = ANY,
    ) -> None:
        if expected_head is not ANY:
            if self.differences.puts_cannot_expect:
                raise Unsupported("expected_head")
            newest = max(self.checkpoints.get((checkpoint.thread_id, checkpoint.namespace), {}), default=None)
            if newest not in (expected_head, checkpoint.checkpoint_id):
                raise Conflict("expected_head", expected=expected_head, actual=newest)
        channels = {}
        missing = []
        for name, channel in checkpoint.channels.items():
            if channel.carry in (ValueSource.VALUE, ValueSource.EMPTY):
                channels[name] = channel
                continue
            _, payload = self.resolved(checkpoint, name)
            if payload is not None:
                channels[name] = Channel.of(channel.version, payload)
            elif channel.carry is ValueSource.REPLAYED:
                channels[name] = channel
            elif channel.carry is ValueSource.STORED_IF_ANY:
                channels[name] = Channel.empty(channel.version)
            elif supplied is None:
                missing.append(name)
            elif name in supplied:
                channels[name] = Channel.of(channel.version, supplied[name])
            else:
                channels[name] = Channel.empty(channel.version)
        if missing:
            raise MissingChannels(missing)
        kept = Kept(checkpoint, checkpoint.parent_id, copy.deepcopy(checkpoint.metadata), channels, self._expiry())
        self._store((checkpoint.thread_id, checkpoint.namespace), checkpoint.checkpoint_id, kept)
        if self.ttl is None or self.ttl > A_DAY:
            self._prolong_writes((checkpoint.thread_id, checkpoint.namespace, checkpoint.checkpoint_id))
        self._touch(checkpoint.thread_id)

    def put_writes(self, thread_id: str, namespace: str, checkpoint_id: str, writes: Sequence[PendingWrite]) -> None:
        stored = self.checkpoints.get((thread_id, namespace), {})
        ends = self._expiry()
        if checkpoint_id not in stored:
            ends = self._early(ends)
        elif self.ttl is None:
            ends = stored[checkpoint_id].expires_at
        else:
            stored[checkpoint_id].expires_at = max(stored[checkpoint_id].expires_at, ends)
        self._add_writes((thread_id, namespace, checkpoint_id), writes, ends)

    def _add_writes(self, owner: Owner, writes: Iterable[PendingWrite], ends: float) -> None:
        mine = self.writes.setdefault(owner, {})
        for write in writes:
            key = (write.task_id, write.idx)
            if write.idx >= 0 and key in mine:
                mine[key] = (mine[key][0], max(mine[key][1], ends))
            else:
                mine[key] = (write, ends)

    def _prolong_writes(self, owner: Owner) -> None:
        mine = self.writes.get(owner, {})
        for key, (write, ends) in list(mine.items()):
            mine[key] = (write, max(ends, self._expiry()))

    def _early(self, ends: float) -> float:
        """Return when pending writes end without their checkpoint."""
        return min(ends, self.clock() + A_DAY)

    def delete(self, thread_id: str, namespace: str, checkpoint_id: str) -> bool:
        if self.differences.prunes_whole_threads_only:
            raise Unsupported("delete")
        stored = self.checkpoints.get((thread_id, namespace), {})
        if checkpoint_id not in stored:
            return False
        if checkpoint_id in self._with_needed(stored, set(stored) - {checkpoint_id}):
            raise Conflict("a later one needs it")
        self._reduce((thread_id, namespace), set(stored) - {checkpoint_id})
        return True

    def delete_thread(self, thread_id: str) -> None:
        for place in [place for place in self.checkpoints if place[0] == thread_id]:
            del self.checkpoints[place]
        for key in [key for key in self.writes if key[0] == thread_id]:
            del self.writes[key]
        self.shared = {entry: payload for entry, payload in self.shared.items() if entry[0] != thread_id}
        self.unclear = {entry for entry in self.unclear if entry[0] != thread_id}

    def delete_runs(self, run_ids: Collection[str]) -> None:
        for place, stored in self.checkpoints.items():
            self._reduce(place, {id_ for id_, kept in stored.items() if kept.metadata.get("run_id") not in run_ids})

    def prune(
        self, thread_id: str, keep: int, older_than: dt.timedelta | None = None, namespace: str | None = None
    ) -> int:
        """Prune a thread, or one namespace of it; return how many checkpoints went."""
        before = len(self.list_thread(thread_id))
        since = None if older_than is None else dt.datetime.now(dt.UTC) - older_than
        if namespace is not None:
            self._forget_late_writes(thread_id, namespace)
            self._keep((thread_id, namespace), keep, since)
        elif keep == 0 and older_than is None:
            self.delete_thread(thread_id)
        else:
            self._prune(thread_id, keep, since)
        return before - len(self.list_thread(thread_id))

    def _prune(self, thread_id: str, keep: int, since: dt.datetime | None) -> None:
        self._forget_late_writes(thread_id)
        roots = set(self.checkpoints.get((thread_id, ""), {}))
        for place in sorted(place for place in self.checkpoints if place[0] == thread_id):  # the root comes first
            stored = self.checkpoints[place]
            gone = roots - set(self.checkpoints.get((thread_id, ""), {}))
            caller = None
            if stored and ":" in place[1]:
                parents = stored[max(stored)].metadata.get("parents", {})
                caller = parents.get("") if isinstance(parents, dict) else None
            if caller in gone:
                self._reduce(place, set())
                for key in [key for key in self.writes if key[:2] == place]:
                    del self.writes[key]
            else:
                self._keep(place, keep, since)

    def _keep(self, place: Place, keep: int, since: dt.datetime | None) -> None:
        stored = self.checkpoints.get(place, {})
        young = {id_ for id_ in stored if since is not None and stored[id_].checkpoint.created_at > since}
        self._reduce(place, young | set(sorted(stored, reverse=True)[:keep]))

    def reindex(self, thread_id: str) -> int:
        self._forget_late_writes(thread_id)
        return len(self.list_thread(thread_id))

    def _forget_late_writes(self, thread_id: str, namespace: str | None = None) -> None:
        """Delete the writes of checkpoints that are gone or never came."""
        for key in list(self.writes):
            stored = self.checkpoints.get(key[:2], {})
            if (
                key[0] == thread_id
                and namespace in (None, key[1])
                and stored
                and key[2] not in stored
                and key[2] < max(stored)
            ):
                del self.writes[key]

    def copy_thread(self, source_id: str, target_id: str) -> None:
        if source_id == target_id:
            return
        for (thread_id, namespace), stored in list(self.checkpoints.items()):
            if thread_id == source_id and stored:
                self._copy_checkpoints(source_id, target_id, namespace)
                self._touch(target_id)
        for (thread_id, namespace, checkpoint_id), mine in list(self.writes.items()):
            if thread_id == source_id and mine:
                self.put_writes(target_id, namespace, checkpoint_id, [write for write, _ in mine.values()])

    def _copy_checkpoints(self, source_id: str, target_id: str, namespace: str) -> None:
        stored = self.checkpoints[source_id, namespace]
        for checkpoint_id, kept in stored.items():
            for name, channel in kept.channels.items():
                if channel.payload is None:
                    continue
                # Which of several values becomes the shared one in the target is not defined.
                ours = _entry(source_id, namespace, name, channel.version)
                theirs = _entry(target_id, namespace, name, channel.version)
                there = self.shared.get(theirs, channel.payload)
                if ours in self.unclear or self.shared.get(ours) != channel.payload or there != channel.payload:
                    self.unclear.add(theirs)
            double = Kept(kept.checkpoint, kept.parent_id, copy.deepcopy(kept.metadata), kept.channels, self._expiry())
            self._store((target_id, namespace), checkpoint_id, double)

    def measure(self, thread_id: str) -> tuple[int, int, int, float | None] | None:
        """Return the numbers of checkpoints, writes and namespaces, and the last end."""
        kept = {place: stored for place, stored in self.checkpoints.items() if place[0] == thread_id and stored}
        written = {owner: mine for owner, mine in self.writes.items() if owner[0] == thread_id and mine}
        ends = [one.expires_at for stored in kept.values() for one in stored.values()]
        checkpoints = len(ends)
        ends += [end for mine in written.values() for _, end in mine.values()]
        if not ends:
            return None
        spaces = {name for _, name in kept} | {name for _, name, _ in written}
        return checkpoints, len(ends) - checkpoints, len(spaces), None if math.inf in ends else max(ends)

    def expire_thread(self, thread_id: str, ttl: float | None) -> bool:
        """Set when all of a thread ends."""
        if self.measure(thread_id) is None:
            return False
        end = math.inf if ttl is None else self.clock() + ttl
        for place, stored in self.checkpoints.items():
            for kept in stored.values() if place[0] == thread_id else ():
                kept.expires_at = end
        for owner, mine in self.writes.items():
            is_stored = owner[2] in self.checkpoints.get(owner[:2], {})
            for key, (write, _) in list(mine.items()) if owner[0] == thread_id else ():
                mine[key] = (write, end if is_stored else self._early(end))
        return True

    def expire(self) -> None:
        """Forget expired checkpoints."""
        now = self.clock()
        for place, stored in self.checkpoints.items():
            for checkpoint_id in [id_ for id_, kept in stored.items() if kept.expires_at <= now]:
                self._drop(place, checkpoint_id)
        for mine in self.writes.values():
            for key in [key for key, (_, expires_at) in mine.items() if expires_at <= now]:
                del mine[key]

    # -- the parts

    def _expiry(self) -> float:
        return math.inf if self.ttl is None else self.clock() + self.ttl

    def _touch(self, thread_id: str) -> None:
        self._count += 1
        self.puts[thread_id] = self._count

    def _store(self, place: Place, checkpoint_id: str, kept: Kept) -> None:
        for name, channel in kept.channels.items():
            if channel.payload is not None:
                entry = _entry(*place, name, channel.version)
                if self.shared.setdefault(entry, channel.payload) == channel.payload:
                    kept.uses.add(entry)
        stored = self.checkpoints.setdefault(place, {})
        old = stored.get(checkpoint_id)
        stored[checkpoint_id] = kept
        if old is not None:
            self._forget_unused(place, old.uses)

    def _drop(self, place: Place, checkpoint_id: str) -> None:
        gone = self.checkpoints[place].pop(checkpoint_id)
        self._forget_unused(place, gone.uses)

    def _forget_unused(self, place: Place, entries: Collection[Entry]) -> None:
        for entry in entries:
            if not any(entry in kept.uses for kept in self.checkpoints[place].values()):
                del self.shared[entry]
                self.unclear.add(entry)

    def _reduce(self, place: Place, wanted: set[str]) -> None:
        """Delete all but ``wanted`` and what these are rebuilt from.

        Replayed channels of kept ones are rebuilt from ancestors.
        """
        stored = self.checkpoints.get(place, {})
        gone = set(stored) - self._with_needed(stored, wanted)
        for checkpoint_id in gone:
            self._drop(place, checkpoint_id)
            self.writes.pop((*place, checkpoint_id), None)
        for kept in stored.values():
            if kept.parent_id in gone:
                kept.parent_id = None

    def _with_needed(self, stored: Mapping[str, Kept], wanted: set[str]) -> set[str]:
        while True:
            needed = set(wanted)
            for checkpoint_id in wanted:
                for name, channel in stored[checkpoint_id].channels.items():
                    if channel.carry is not ValueSource.REPLAYED:
                        continue
                    for ancestor_id in self._chain(stored, checkpoint_id):
                        needed.add(ancestor_id)
                        if _value_of(stored[ancestor_id], name) is not None:
                            break
            if needed == wanted:
                return wanted
            wanted = needed


def _entry(thread_id: str, namespace: str, name: str, version: Version) -> Entry:
    return (thread_id, namespace, name, type(version).__name__, version)


def _same(one: Version, other: Version) -> bool:
    return type(one) is type(other) and one == other


def _value_of(kept: Kept, name: str) -> Payload | None:
    return kept.channels[name].payload if name in kept.channels else None
