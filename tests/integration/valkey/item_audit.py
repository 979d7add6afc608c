"""Checks what is stored of items against each other: what every operation must leave behind, whoever dies when."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping, Set
from itertools import pairwise
from typing import Any

from attrs import define, field, frozen

from statekeep.domain.items import Namespace
from statekeep.repositories.valkey.items.keys import (
    ItemKeys,
    clock_key,
    item_keys,
    namespace_index_keys,
    namespace_of_tag,
    unit_keys,
)
from statekeep.repositories.valkey.items.plan import sequence_key
from statekeep.repositories.valkey.keys import decode_part, encode_part, namespace_of_ordered, ordered

Hash = Mapping[str, bytes]
Scores = Mapping[str, float]

KEPT = {"item-call": 200_000}
"""For how many milliseconds is kept what is kept for a while."""

PLACED = {"item", "item-index", "item-recent", "item-ends", "item-state", "item-sequence", *KEPT}
FORMER = {"item-recency", "item-expiry", "item-deletion"}
"""Keys of earlier versions, which nobody reads any more."""
COLLECTED = {"item-vector", "item-vector-index", "item-vector-changes"}


@define
class ItemAudit:
    """What is stored of items under a prefix.

    Attributes:
        problems: sentences about what does not fit.
        items: how many records there are.
        vectors: how many records of vectors.
        orphans: vectors that a former value left, which no reader shows.
        idle: namespaces of the index that have no item.
        left: all keys but those that are kept for a while, and the one that stays for ever.
    """

    problems: list[str] = field(factory=list)
    items: int = 0
    vectors: int = 0
    orphans: set[str] = field(factory=set)
    idle: set[Namespace] = field(factory=set)
    left: set[str] = field(factory=set)


def audit_items(
    client: Any,
    prefix: str,
    *,
    expired: bool = False,
    cut: bool = False,
    former: bool = False,
    unit: int | None = None,
) -> ItemAudit:
    """Check everything of items under ``prefix``.

    Args:
        client: of a server, or a cluster, that nobody writes to.
        prefix: of the keys.
        expired: indexes may name what has ended.
        cut: operations were cut off: vectors may be left of former values, or longer.
        former: earlier versions put items: nobody may have written the state of their namespaces yet.
        unit: that of the repositories.
    """
    return _Auditor(client, prefix, expired, cut, former, unit).run()


@frozen
class _Item:
    namespace: Namespace
    key: str
    time: float
    """Microseconds."""
    end: float
    """Milliseconds."""
    record: Hash


class _Auditor:
    def __init__(self, client: Any, prefix: str, expired: bool, cut: bool, former: bool, unit: int | None) -> None:
        self.client = client
        self.prefix = prefix
        self.expired = expired
        self.cut = cut
        self.former = former
        self.unit = unit
        self.found = ItemAudit()
        self.items: dict[Namespace, dict[str, _Item]] = defaultdict(dict)
        self.vectors: dict[tuple[str, Namespace], dict[str, str]] = defaultdict(dict)
        self.spaces: set[Namespace] = set()
        self.keys = {key.decode() for key in client.scan_iter(f"{prefix}:*", count=1000)}

    def say(self, problem: str) -> None:
        self.found.problems.append(problem)

    def run(self) -> ItemAudit:
        for key in sorted(self.keys):
            self._look(key)
        for namespace in self.spaces | set(self.items):
            self._namespace(item_keys(self.prefix, namespace, self.unit))
        for (collection, namespace), members in self.vectors.items():
            self._collection(collection, item_keys(self.prefix, namespace, self.unit), members)
        self._names()
        return self.found

    # -- reading

    def _look(self, key: str) -> None:
        model, _, rest = key.removeprefix(f"{self.prefix}:").partition(":")
        if key == clock_key(self.prefix):
            return
        if model in FORMER:
            return
        if key == unit_keys(self.prefix, self.unit)[1]:
            if self.unit is None or self.client.get(key) != str(self.unit).encode():
                self.say(f"{key} says {self.client.get(key)!r}, not {self.unit}")
            return
        if model not in KEPT and (model != "item-state" or self.client.pttl(key) < 0):
            self.found.left.add(key)
        collection = ""
        if model in COLLECTED:
            collection, _, rest = rest.partition(":")
        tag, _, rest = rest.partition("}")
        if key in namespace_index_keys(self.prefix, self.unit):
            return
        labels, _, rest = rest.partition(":")
        if model not in PLACED | COLLECTED or not tag.startswith("{"):
            self.say(f"nobody knows the key {key}")
            return
        namespace = namespace_of_tag(tag[1:], labels)
        if model not in {*KEPT, "item-vector"}:
            self.spaces.add(namespace)
        if model == "item":
            self._item(key, item_keys(self.prefix, namespace, self.unit), decode_part(rest))
        elif model in KEPT:
            if not 0 < self.client.pttl(key) <= KEPT[model]:
                self.say(f"{key} is kept for {self.client.pttl(key)} ms")
        elif model == "item-vector":
            self.vectors[decode_part(collection), namespace][rest] = key
        elif model in {"item-vector-index", "item-vector-changes"}:
            self.vectors.setdefault((decode_part(collection), namespace), {})

    def _item(self, name: str, keys: ItemKeys, key: str) -> None:
        record = self._hash(name)
        end = self._end(name)
        if not record:
            return  # it ended meanwhile
        self.found.items += 1
        if name != keys.record(key) or (record["pk"], record["namespace"], record["item_key"]) != (
            keys.pk(key).encode(),
            keys.encoded.encode(),
            key.encode(),
        ):
            self.say(f"{name} says that it is {record['pk']!r}")
        json.loads(record["value"])
        times = float(record["created_at"]), float(record["updated_at"])
        if times[0] > times[1] or int(record["version"]) < 1 or (record["version"] == b"1" and times[0] != times[1]):
            self.say(f"{name} has times {times} and version {record['version']!r}")
        if ("ttl" in record, "expires_at" in record) != (end < math.inf, end < math.inf):
            self.say(f"{name} ends at {end}, but it has the fields {set(record)}")
        if end < math.inf and round(float(record["expires_at"]) * 1000) != end:
            self.say(f"{name} ends at {end}, not at {record['expires_at']!r}")
        self.items[keys.namespace][key] = _Item(keys.namespace, key, round(times[1] * 1_000_000), end, record)

    # -- one namespace

    def _namespace(self, keys: ItemKeys) -> None:
        own = self.items.get(keys.namespace, {})
        recency, expiry = self._scores(keys.recency), self._scores(keys.expiry)
        self._compare(keys.index, set(self._scores(keys.index)), set(own))
        self._compare(keys.recency, set(recency), set(own))
        mortal = {key: item for key, item in own.items() if item.end < math.inf}
        if lost := set(mortal) - set(expiry):
            self.say(f"{keys.expiry} lacks {lost}")
        for key in set(expiry) - set(mortal):
            if key in own:
                self.say(f"{keys.expiry} says that {key} ends, which lasts")
            elif key not in recency and not self.expired:
                self.say(f"{keys.expiry} has {key}, which is not there")
        for key, item in own.items():
            if recency.get(key, -1) != item.time:
                self.say(f"{keys.recency} says that {key} was put at {recency.get(key)}, not {item.time}")
            if expiry.get(key, math.inf) != item.end:
                self.say(f"{keys.expiry} says that {key} ends at {expiry.get(key)}, not {item.end}")
        for key in (keys.index, keys.recency) if self.former else (keys.index, keys.recency, keys.state):
            self._lasts(key, own.values())
        if keys.recency in self.keys and keys.expiry in self.keys and self._end(keys.expiry) < self._end(keys.recency):
            self.say(f"{keys.expiry} ends before {keys.recency}")
        if not self.former:
            self._state(keys, own)
        self._sequence(keys, own)

    def _state(self, keys: ItemKeys, own: Mapping[str, _Item]) -> None:
        """No item may be created later at a time at which one was created before."""
        state = self._hash(keys.state)
        if own and int(state.get("last", b"0")) < max(item.time for item in own.values()):
            self.say(f"{keys.state} has {state}, before the last put")
        if mortal := [item.end for item in own.values() if item.end < math.inf]:
            if "ends" not in state:
                self.say(f"{keys.state} does not say that something ends")
            if (most := float(state.get("most", b"-1"))) and most < max(mortal):
                self.say(f"{keys.state} says that all ends by {most}")
        if len(own) > len(mortal) and float(state.get("most", b"-1")):
            self.say(f"{keys.state} does not say that something lasts")
        if state and not own and self._end(keys.state) == math.inf and not (self.expired or self.cut):
            self.say(f"{keys.state} is left of no item")

    def _compare(self, index: str, members: set[str], there: set[str]) -> None:
        if hidden := there - members:
            self.say(f"{index} lacks {hidden}")
        dangling = members - there
        if not dangling or self.expired:
            return
        self.say(f"{index} has {dangling}, which is not there")

    def _lasts(self, key: str, items: Any) -> None:
        """What items share must not end before they do."""
        latest = max((item.end for item in items), default=0.0)
        if latest and self._end(key) < latest:
            self.say(f"{key} ends at {self._end(key)}, before an item that needs it, at {latest}")

    def _sequence(self, keys: ItemKeys, own: Mapping[str, _Item]) -> None:
        if keys.sequence not in self.keys:
            return
        end = self._end(keys.sequence)
        number = int(self.client.get(keys.sequence) or 0)
        if not own and end == math.inf and not self.expired:
            self.say(f"{keys.sequence} is left of no item")
        if end < math.inf and not number:
            return  # it ended meanwhile
        last = max((key for key in own if re.fullmatch("[0-9]{20}", key)), default="")
        if last > sequence_key(number):
            self.say(f"{keys.sequence} is {number}, before {last}")

    # -- vectors

    def _changes(self, name: str, own: Mapping[str, _Item], wanted: Set[str]) -> None:
        end = self._end(name)
        changes = [entry.decode().partition(" ")[::2] for entry in self.client.lrange(name, 0, -1)]
        numbers = [int(number) for number, _ in changes]
        if any(one >= other for one, other in pairwise(numbers)):
            self.say(f"{name} has numbers that do not grow: {numbers}")
        if changes and not own and end == math.inf and not self.expired:
            self.say(f"{name} is left of no item")
        if (silent := wanted - {decode_part(key) for _, key in changes}) and not self.former:
            self.say(f"{name} lacks {silent}")

    def _collection(self, collection: str, keys: ItemKeys, documents: Mapping[str, str]) -> None:
        own = self.items.get(keys.namespace, {})
        index = keys.vectors(collection)
        members = set(self._scores(index))
        wanted: dict[str, _Item] = {}
        for item in own.values():
            for token in item.record.get("vectors", b"").decode().split():
                name, _, count = token.rpartition(":")
                if decode_part(name) == collection:
                    wanted |= {f"{encode_part(item.key)}:{place}": item for place in range(int(count))}
        self._changes(keys.changes(collection), own, {item.key for item in wanted.values()})
        there = {member: fields for member, key in documents.items() if (fields := self._hash(key))}
        self.found.vectors += len(there)
        if lost := set(wanted) - set(there):
            self.say(f"vectors are not there: {lost} of {keys.encoded}")
        for member in sorted(set(there) - set(wanted)):
            owner = own.get(decode_part(member.rpartition(":")[0]))
            if self.cut and (owner is None or owner.record["updated_at"] != there[member]["updated_at"]):
                self.found.orphans.add(documents[member])
            else:
                self.say(f"{documents[member]} is a vector of no item")
        if hidden := set(there) - members:
            self.say(f"{index} lacks {hidden}")
        if (dangling := members - set(there)) and not self.expired:
            self.say(f"{index} has {dangling}, which is not there")
        for member in set(wanted) & set(there):
            item = wanted[member]
            if there[member]["updated_at"] != item.record["updated_at"]:
                self.say(f"the vector {documents[member]} is of another version of its item")
            end = self._end(documents[member])
            if end != item.end and not (self.cut and end > item.end):
                self.say(f"the vector {documents[member]} ends at {end}, not {item.end}")
        self._lasts(index, [wanted[member] for member in set(wanted) & set(there)])

    # -- namespaces

    def _names(self) -> None:
        names, times, ends = (self._scores(key) for key in namespace_index_keys(self.prefix, self.unit))
        alive = {ordered(namespace): list(items.values()) for namespace, items in self.items.items() if items}
        if set(names) != set(times):
            self.say(f"the indexes of namespaces differ: {set(names) ^ set(times)}")
        if not set(ends) <= set(names):
            self.say(f"namespaces that end are not in the other index: {set(ends) - set(names)}")
        if lost := set(alive) - set(names):
            self.say(f"namespaces are not in their index: {lost}")
        for name, items in alive.items():
            if times.get(name, 0) < max(item.time for item in items):
                self.say(f"the namespace {name!r} was last put to at {times.get(name)}, says the index")
            if ends.get(name, math.inf) < max(item.end for item in items):
                self.say(f"the namespace {name!r} ends at {ends.get(name)}, before an item")
        self.found.idle = {namespace_of_ordered(name) for name in set(names) - set(alive)}

    # -- the server

    def _end(self, key: str) -> float:
        """In milliseconds since 1970."""
        end: int = self.client.execute_command("PEXPIRETIME", key)
        return math.inf if end == -1 else float(end)

    def _hash(self, key: str) -> Hash:
        return {name.decode(): value for name, value in self.client.hgetall(key).items()}

    def _scores(self, key: str) -> Scores:
        return {name.decode(): score for name, score in self.client.zrange(key, 0, -1, withscores=True)}
