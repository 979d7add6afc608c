"""Checks what is stored of items against each other: what every operation must leave behind, whoever dies when."""

from __future__ import annotations

import json
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from attrs import define, field, frozen

from statekeep.domain.items import Namespace
from statekeep.repositories.valkey.items.keys import ItemKeys, clock_key, item_keys, namespace_index_keys
from statekeep.repositories.valkey.items.plan import sequence_key
from statekeep.repositories.valkey.keys import decode_namespace as decoded_namespace
from statekeep.repositories.valkey.keys import decode_part, encode_part, namespace_of_ordered, ordered

Hash = Mapping[str, bytes]
Scores = Mapping[str, float]

KEPT = {"item-call": 200_000, "item-deletion": 120_000}
"""For how many milliseconds is kept what is kept for a while."""

PLACED = {"item", "item-index", "item-recency", "item-expiry", "item-sequence", *KEPT}
COLLECTED = {"item-vector", "item-vector-index"}


@define
class ItemAudit:
    """What is stored of items under a prefix.

    Attributes:
        problems: sentences about what does not fit.
        items: how many records there are.
        vectors: how many records of vectors.
        announced: entries of the indexes of namespaces above for which there is no item there.
        orphans: vectors that a former value left, which no reader shows.
        idle: namespaces of the index that have no item.
        left: all keys but those that are kept for a while, and the one that stays for ever.
    """

    problems: list[str] = field(factory=list)
    items: int = 0
    vectors: int = 0
    announced: set[tuple[str, str]] = field(factory=set)
    orphans: set[str] = field(factory=set)
    idle: set[Namespace] = field(factory=set)
    left: set[str] = field(factory=set)


def audit_items(
    client: Any, prefix: str, *, expired: bool = False, cluster: bool = False, cut: bool = False
) -> ItemAudit:
    """Check everything of items under ``prefix``.

    Args:
        client: of a server, or a cluster, that nobody writes to.
        prefix: of the keys.
        expired: indexes may name what has ended.
        cluster: the server is, or was taken for, a cluster: indexes above may say that items end a minute later.
        cut: operations were cut off: vectors may be left of former values, or longer. In a cluster, indexes above may
            name what is not there, say that it was put later, and say that it ends later.
    """
    return _Auditor(client, prefix, expired, cluster, cut).run()


@frozen
class _Item:
    namespace: Namespace
    key: str
    time: float
    """Microseconds."""
    end: float
    """Milliseconds."""
    created: float
    """Microseconds."""
    record: Hash


class _Auditor:
    def __init__(self, client: Any, prefix: str, expired: bool, cluster: bool, cut: bool) -> None:
        self.client = client
        self.prefix = prefix
        self.expired = expired
        self.cluster = cluster
        self.cut = cut
        self.found = ItemAudit()
        self.items: dict[Namespace, dict[str, _Item]] = defaultdict(dict)
        self.vectors: dict[tuple[str, Namespace], dict[str, str]] = defaultdict(dict)
        self.spaces: set[Namespace] = set()
        self.clock = 0
        self.keys = {key.decode() for key in client.scan_iter(f"{prefix}:*", count=1000)}

    def say(self, problem: str) -> None:
        self.found.problems.append(problem)

    def run(self) -> ItemAudit:
        for key in sorted(self.keys):
            self._look(key)
        everywhere: set[Namespace] = set()
        for namespace in self.spaces | set(self.items):
            everywhere |= {namespace[:depth] for depth in range(len(namespace) + 1)}
        for namespace in everywhere:
            self._namespace(item_keys(self.prefix, namespace))
        for (collection, namespace), members in self.vectors.items():
            self._collection(collection, item_keys(self.prefix, namespace), members)
        self._names()
        self._created()
        return self.found

    # -- reading

    def _look(self, key: str) -> None:
        model, _, rest = key.removeprefix(f"{self.prefix}:").partition(":")
        if key == clock_key(self.prefix):
            self.clock = int(self.client.get(key))
            return
        if model not in KEPT:
            self.found.left.add(key)
        collection = ""
        if model in COLLECTED:
            collection, _, rest = rest.partition(":")
        tag, _, rest = rest.partition("}")
        if model == "item-namespace-index" and tag == "{.":
            return
        if model not in PLACED | COLLECTED or not tag.startswith("{"):
            self.say(f"nobody knows the key {key}")
            return
        namespace = decoded_namespace(tag[1:])
        if model not in {*KEPT, "item-vector"}:
            self.spaces.add(namespace)
        if model == "item":
            self._item(key, item_keys(self.prefix, namespace), decode_part(rest.removeprefix(":")))
        elif model in KEPT:
            if not 0 < self.client.pttl(key) <= KEPT[model]:
                self.say(f"{key} is kept for {self.client.pttl(key)} ms")
        elif model == "item-vector":
            self.vectors[decode_part(collection), namespace][rest.removeprefix(":")] = key
        elif model == "item-vector-index":
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
        self.items[keys.namespace][key] = _Item(
            keys.namespace, key, round(times[1] * 1_000_000), end, round(times[0] * 1_000_000), record
        )

    # -- one namespace

    def _namespace(self, keys: ItemKeys) -> None:
        own = self.items.get(keys.namespace, {})
        depth = len(keys.namespace)
        within = [item for items in self.items.values() for item in items.values()]
        below = {
            keys.member(item.namespace, item.key): item for item in within if item.namespace[:depth] == keys.namespace
        }
        self._compare(keys.index, set(self._scores(keys.index)), set(own))
        recency, expiry = self._scores(keys.recency), self._scores(keys.expiry)
        self._compare(keys.recency, set(recency), set(below))
        mortal = {member: item for member, item in below.items() if item.end < math.inf}
        if lost := set(mortal) - set(expiry):
            if not (self.cut and self.cluster and all(not member.startswith(":") for member in lost)):
                self.say(f"{keys.expiry} lacks {lost}")
        for member in set(expiry) - set(mortal):
            if member in below:
                self.say(f"{keys.expiry} says that {member} ends, which lasts")
            elif member not in recency and not self.expired:
                self.say(f"{keys.expiry} has {member}, which is not there")
        for member, item in below.items():
            above = item.namespace != keys.namespace
            score = recency.get(member, -1)
            # A conflict at the same time as another put may set back the time by as long as both took.
            if score != item.time and not (self.cut and above and score > item.time - 1_000_000):
                self.say(f"{keys.recency} says that {member} was put at {score}, not {item.time}")
            ends = expiry.get(member, math.inf)
            most = item.end + (math.inf if self.cut else 61_000) if above and self.cluster else item.end
            if not item.end <= ends <= most:
                self.say(f"{keys.expiry} says that {member} ends at {ends}, not {item.end}")
        self._lasts(keys.index, own.values())
        self._lasts(keys.recency, below.values())
        if keys.recency in self.keys and keys.expiry in self.keys and self._end(keys.expiry) < self._end(keys.recency):
            self.say(f"{keys.expiry} ends before {keys.recency}")
        self._sequence(keys, own)

    def _compare(self, index: str, members: set[str], there: set[str]) -> None:
        if hidden := there - members:
            self.say(f"{index} lacks {hidden}")
        dangling = members - there
        if not dangling or self.expired:
            return
        if self.cut and ":item-recency:" in index and all(not member.startswith(":") for member in dangling):
            self.found.announced |= {(index, member) for member in dangling}
        else:
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
        names, times, ends = (self._scores(key) for key in namespace_index_keys(self.prefix))
        alive = {ordered(namespace): list(items.values()) for namespace, items in self.items.items() if items}
        if set(names) != set(times):
            self.say(f"the indexes of namespaces differ: {set(names) ^ set(times)}")
        if not set(ends) <= set(names):
            self.say(f"namespaces that end are not in the other index: {set(ends) - set(names)}")
        if lost := set(alive) - set(names):
            self.say(f"namespaces are not in their index: {lost}")
        for name, items in alive.items():
            # In a cluster this is the time at which a put was announced.
            if times.get(name, 0) < max(item.time for item in items) - (1_000_000 if self.cluster else 0):
                self.say(f"the namespace {name!r} was last put to at {times.get(name)}, says the index")
            if ends.get(name, math.inf) < max(item.end for item in items):
                self.say(f"the namespace {name!r} ends at {ends.get(name)}, before an item")
        self.found.idle = {namespace_of_ordered(name) for name in set(names) - set(alive)}

    def _created(self) -> None:
        """No item may be created later at a time at which one was created before."""
        last = max((item.created for items in self.items.values() for item in items.values()), default=0)
        if last > self.clock and not (self.cut and self.cluster):
            self.say(f"the last item was created at {last}, after {self.clock}")

    # -- the server

    def _end(self, key: str) -> float:
        """In milliseconds since 1970."""
        end: int = self.client.execute_command("PEXPIRETIME", key)
        return math.inf if end == -1 else float(end)

    def _hash(self, key: str) -> Hash:
        return {name.decode(): value for name, value in self.client.hgetall(key).items()}

    def _scores(self, key: str) -> Scores:
        return {name.decode(): score for name, score in self.client.zrange(key, 0, -1, withscores=True)}
