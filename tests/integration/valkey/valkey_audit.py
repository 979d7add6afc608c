"""Checks the stored keys against each other: what every script must leave behind, whoever dies when."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from attrs import define, field

from statekeep.domain import tagged_json
from statekeep.repositories.valkey.checkpoints.keys import NamespaceKeys, namespace_keys, run_key, thread_index_keys
from statekeep.repositories.valkey.checkpoints.metadata.tags import TAG_SIZE, MetadataKeys, tag_of
from statekeep.repositories.valkey.keys import decode_part, encode_part

Hash = Mapping[str, bytes]


@define
class Audit:
    """What is stored under a prefix.

    Attributes:
        problems: sentences about what does not fit.
        unused: fields of channel values to which no checkpoint refers. They cost space, nothing else.
        checkpoints: how many records there are.
        writes: how many pending writes.
        idle: threads of the index that have no checkpoint.
    """

    problems: list[str] = field(factory=list)
    unused: set[tuple[str, str]] = field(factory=set)
    checkpoints: int = 0
    writes: int = 0
    idle: set[str] = field(factory=set)


def audit(client: Any, prefix: str, *, expired: bool = False) -> Audit:
    """Check everything under ``prefix``.

    Args:
        client: of a server that nobody writes to.
        prefix: of the keys.
        expired: indexes may name records that are not there any more.
    """
    return _Auditor(client, prefix, expired).run()


class _Auditor:
    def __init__(self, client: Any, prefix: str, expired: bool) -> None:
        self.client = client
        self.prefix = prefix
        self.expired = expired
        self.found = Audit()
        self.keys = {key.decode() for key in client.scan_iter(f"{prefix}:*", count=1000)}

    def say(self, problem: str) -> None:
        self.found.problems.append(problem)

    def run(self) -> Audit:
        namespaces: dict[str, set[str]] = defaultdict(set)
        for key in self.keys:
            model, _, rest = key.removeprefix(f"{self.prefix}:").partition(":")
            if model in ("run-index", "thread-index", "metadata-index"):
                continue
            thread, _, rest = rest.partition("}")
            names = namespaces[decode_part(thread.removeprefix("{"))]
            if model != "namespace-index":
                names.add(decode_part(rest.split(":")[1]))
        alive = set()
        for thread_id, names in namespaces.items():
            scores = dict(self._sorted_set(f"{self.prefix}:namespace-index:{{{encode_part(thread_id)}}}"))
            for name in names | set(scores):
                ids = self._namespace(namespace_keys(self.prefix, thread_id, name), scores.get(name))
                alive |= {thread_id} if ids else set()
        by_time, by_name, by_end = (dict(self._sorted_set(key)) for key in thread_index_keys(self.prefix))
        if by_time.keys() != by_name.keys():
            self.say(f"the two thread indexes differ: {by_time.keys() ^ by_name.keys()}")
        if by_end.keys() - by_time.keys():
            self.say(f"threads end that are not in the index: {by_end.keys() - by_time.keys()}")
        if lost := alive - by_time.keys():
            self.say(f"threads are not in the index: {lost}")
        self.found.idle = set(by_time) - alive
        for key in self._under(f"{self.prefix}:metadata-index:"):
            *_, name, kind = key.split(":")
            if kind == "whole":
                self._metadata(MetadataKeys(self.prefix, decode_part(name)), by_time)
        return self.found

    def _metadata(self, keys: MetadataKeys, by_time: Mapping[str, float]) -> None:
        """Threads that count as indexed must be; others may be, too."""
        by_value = {name for name, _ in self._sorted_set(keys.by_value)}
        if by_value != {
            name[-TAG_SIZE:] + name.partition(":")[2][:-TAG_SIZE] for name, _ in self._sorted_set(keys.by_thread)
        }:
            self.say(f"the two indexes of {keys.name!r} differ")
        for thread_id, score in self._sorted_set(keys.whole):
            if score != by_time.get(thread_id):
                continue
            for key in self._under(f"{self.prefix}:checkpoint:{{{encode_part(thread_id)}}}:"):
                tag = tag_of(tagged_json.loads(self._hash(key)["metadata"].decode()).get(keys.name))
                if tag and tag + thread_id not in by_value:
                    self.say(f"{key} is not in the index of {keys.name!r}")

    def _namespace(self, keys: NamespaceKeys, score: float | None) -> set[str]:
        ids = {name for name, _ in self._sorted_set(keys.checkpoints)}
        members = {name for name, _ in self._sorted_set(keys.writes)}
        ends = dict(self._sorted_set(keys.expiry))
        values = self._hash(keys.values)
        records = {key: self._hash(key) for key in self._under(f"{self.prefix}:checkpoint:{keys.encoded}:")}
        writes = {key: self._hash(key) for key in self._under(f"{self.prefix}:pending_write:{keys.encoded}:")}
        self.found.checkpoints += len(records)
        self.found.writes += len(writes)
        self._compare("checkpoint", {keys.checkpoint(name) for name in ids}, records)
        self._compare("pending write", {keys.write(name) for name in members}, writes)
        if len({keys.write(name) for name in members}) != len(members):
            self.say(f"a pending write of {keys.encoded} is in the index twice")

        used = set()
        for key, record in records.items():
            used |= self._checkpoint(keys, key, record, values, ends)
        for member in members:
            key = keys.write(member)
            if key in writes and encode_part(writes[key]["channel"].decode()) != member.rpartition(":")[2]:
                self.say(f"{key} is in the index with another channel")
            if key in writes:
                self._ends(f"w{member}", key, ends)
        self._pending(keys, members, writes)
        self.found.unused |= {(keys.values, name) for name in set(values) - used - {"generation"}}

        self._head(keys, records)
        wanted = None if not (ids or members) else float(bool(ids))
        if score != wanted and not (self.expired and score is not None):
            self.say(f"the namespace {keys.encoded} has the score {score}, not {wanted}")
        self._longest(keys, list(records), list(writes))
        return set(records)

    def _compare(self, what: str, indexed: set[str], stored: Mapping[str, Hash]) -> None:
        if hidden := set(stored) - indexed:
            self.say(f"a {what} is not in the index: {hidden}")
        if (dangling := indexed - set(stored)) and not self.expired:
            self.say(f"the index names a {what} that is not there: {dangling}")

    def _checkpoint(
        self, keys: NamespaceKeys, key: str, record: Hash, values: Hash, ends: Mapping[str, float]
    ) -> set[str]:
        checkpoint_id = record["checkpoint_id"].decode()
        if key != keys.checkpoint(checkpoint_id) or record["pk"].decode() != keys.checkpoint_pk(checkpoint_id):
            self.say(f"{key} has the id {checkpoint_id!r} and the pk {record['pk']!r}")
        self._ends(f"c{checkpoint_id}", key, ends)
        end = self._end(key)
        used = set()
        for token in record["channels"].decode().split():
            name = token.removeprefix("?")
            if token.startswith("!"):
                continue
            used.add(name)
            if name not in values:
                if name == token:
                    self.say(f"{key} needs the value {name!r}, which is gone")
            elif ends.get(f"v{name}", math.inf) < end:
                self.say(f"the value {name!r} ends before {key}")
        run_id = record.get("run_id")
        if run_id is not None and not self.client.sismember(run_key(self.prefix, run_id.decode()), keys.thread_id):
            self.say(f"{key} is not in the index of its run {run_id!r}")
        return used

    def _pending(self, keys: NamespaceKeys, members: set[str], writes: Mapping[str, Hash]) -> None:
        """Compare what is kept beside the records of pending writes with them."""
        expected = {}
        for member in members:
            if write := writes.get(keys.write(member)):
                path, encoding, value = (write[name].decode() for name in ("task_path", "encoding", "value"))
                entry = (
                    f":{encode_part(path)}:{encode_part(encoding)}:{len(value)}:{value} " if len(value) <= 65536 else ""
                )
                expected[member] = entry.encode()
        found = self._hash(keys.pending)
        if self.expired:
            found = {name: entry for name, entry in found.items() if name in expected or name not in members}
        if found != expected:
            self.say(f"{keys.pending} holds {found}, not {expected}")

    def _ends(self, entry: str, key: str, ends: Mapping[str, float]) -> None:
        """Compare a record's end with its entry in the expiry index."""
        if abs(ends.get(entry, math.inf) - self._end(key)) > 1:
            self.say(f"{key} ends at {self._end(key)}, the index says {ends.get(entry, math.inf)}")

    def _head(self, keys: NamespaceKeys, records: Mapping[str, Hash]) -> None:
        if keys.head not in self.keys:
            return
        newest = max(records, key=lambda key: records[key]["checkpoint_id"], default=None)
        if newest is None or self._hash(keys.head) != records[newest]:
            self.say(f"{keys.head} is no copy of the newest checkpoint, {newest}")
        elif self._end(keys.head) != self._end(newest):
            self.say(f"{keys.head} does not end with the newest checkpoint, {newest}")

    def _longest(self, keys: NamespaceKeys, records: list[str], writes: list[str]) -> None:
        """What records share must not end before they do."""
        of_checkpoints = max(map(self._end, records), default=0)
        of_writes = max(map(self._end, writes), default=0)
        for key, end in [
            (keys.values, of_checkpoints),
            (keys.checkpoints, of_checkpoints),
            (keys.writes, of_writes),
            (keys.pending, of_writes),
            (keys.namespaces, max(of_checkpoints, of_writes)),
        ]:
            if key in self.keys and self._end(key) < end:
                self.say(f"{key} ends at {self._end(key)}, before a record that needs it, at {end}")
        if keys.expiry in self.keys:
            shared = max(self._end(key) for key in (keys.values, keys.checkpoints, keys.writes) if key in self.keys)
            if self._end(keys.expiry) < shared:
                self.say(f"{keys.expiry} ends before what it describes")

    def _under(self, start: str) -> list[str]:
        return [key for key in self.keys if key.startswith(start)]

    def _end(self, key: str) -> float:
        """In milliseconds since 1970."""
        end: int = self.client.execute_command("PEXPIRETIME", key)
        return math.inf if end == -1 else float(end)

    def _hash(self, key: str) -> Hash:
        return {name.decode(): value for name, value in self.client.hgetall(key).items()}

    def _sorted_set(self, key: str) -> list[tuple[str, float]]:
        return [(name.decode(), score) for name, score in self.client.zrange(key, 0, -1, withscores=True)]
