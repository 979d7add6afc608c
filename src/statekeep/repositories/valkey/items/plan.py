"""Plans: the work of ``apply.lua``, and its answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from attrs import field, frozen
from pydantic_core import to_json

from ....domain import DEFAULT, Item, VectorIndex
from ....domain.items import Namespace
from ....domain.model import ANY, Ttl
from ...item_backend import EPOCH, Action, Check, Delete, Get, ItemRange, Listing, Put, Restore
from ...operation import Operation
from ...validation import ms_of
from ..calls import new_call, once
from ..codecs import encode_time, encode_value
from ..keys import encode_part
from ..requests import Arg, Call
from ..scripts import script
from .keys import Below, ItemKeys, Listed, bounds, item_keys, namespace_index_keys, unit_keys
from .leases import Announcement, Lease, Leases, announce, index_keys
from .search.query import attribute_tags, namespace_tags
from .unit import Unit
from .vectors import is_zero

_KINDS: Final[Mapping[type[Action], str]] = {Put: "put", Restore: "put", Delete: "delete", Check: "check"}

SPARE: Final = 4
"""Vectors for which keys are declared at least, to remove those of a former value."""


@frozen
class ItemSettings:
    """The settings of a repository of items."""

    prefix: str
    ttl: float | None
    refresh_on_read: bool
    cluster: bool
    index: VectorIndex | None
    kept: int
    """Milliseconds in which a call is done that must not be done twice. The answer is kept for as many more."""
    unit: Unit = field(factory=Unit)
    leases: Leases = field(factory=Leases, eq=False, repr=False)
    below: Below = field(factory=Below, eq=False, repr=False)
    listed: Listed = field(factory=Listed, eq=False, repr=False)

    @property
    def collection(self) -> str | None:
        """The encoded name of the collection of vectors, if there is one."""
        return None if self.index is None else encode_part(self.index.collection_name)

    def keys(self, namespace: Namespace) -> ItemKeys:
        """Return the keys of a namespace."""
        return item_keys(self.prefix, namespace, self.unit.labels)

    @property
    def namespace_index(self) -> tuple[str, ...]:
        """The indexes of namespaces: by name, by last put and by end."""
        return namespace_index_keys(self.prefix, self.unit.labels)

    @property
    def unit_keys(self) -> tuple[str, str]:
        """The keys that tell of other units."""
        return unit_keys(self.prefix, self.unit.labels)

    @property
    def index_keys(self) -> list[str]:
        """The indexes of namespaces, the clock, and the keys that tell of other units."""
        return [*index_keys(self.prefix, self.unit.labels), *self.unit_keys]

    def indexes(self, keys: ItemKeys) -> Sequence[str]:
        """Return the indexes of a namespace: recency, expiry, keys, and vectors if any."""
        return keys.indexes if self.index is None else (*keys.indexes, keys.vectors(self.index.collection_name))

    def documents(self, keys: ItemKeys, key: str, count: int) -> Sequence[str]:
        """Return the keys of the first vectors of an item, if it may have some."""
        if self.index is None:
            return ()
        return [keys.vector(self.index.collection_name, f"{encode_part(key)}:{ordinal}") for ordinal in range(count)]

    def call_key(self, keys: ItemKeys) -> str:
        """Return a new key for the answer to a call that must not be done twice."""
        return f"{self.prefix}:item-call:{keys.tag}:{new_call()}"

    def is_split(self, namespace: Namespace) -> bool:
        """Return whether the index of namespaces is in another slot."""
        return self.cluster and self.unit.of(namespace) != ()

    def life(self, ttl: Ttl) -> float | None:
        """Return the seconds that a put item lives."""
        return self.ttl if ttl is DEFAULT else ttl

    def refreshes(self, asked: bool | None) -> bool:
        """Return whether a read starts the TTL anew."""
        return self.refresh_on_read if asked is None else asked


@frozen
class Stored:
    """The result of a put.

    Attributes:
        left_over: vectors of the former value that are still there, as a record's ``vectors`` names them.
    """

    version: bytes
    created_at: bytes
    updated_at: bytes
    expires_at: bytes
    left_over: bytes


class Plan:
    """The keys, arguments and actions of one call.

    Args:
        settings: of the repository.
    """

    def __init__(self, settings: ItemSettings) -> None:
        self.settings = settings
        self.keys: list[str] = []
        self.args: list[Arg] = []
        self.spaces: list[dict[str, Any]] = []
        self.actions: list[dict[str, Any]] = []
        self._records: dict[str, int] = {}
        self._by_key: dict[Namespace, dict[str, int]] = {}
        self._spaces: dict[Namespace, int] = {}

    def _key(self, *keys: str) -> int:
        """Add keys; return the position of the first."""
        self.keys.extend(keys)
        return len(self.keys) - len(keys) + 1

    def _arg(self, *args: Arg) -> int:
        """Add arguments; return the position of the first, behind the plan itself."""
        self.args.extend(args)
        return len(self.args) - len(args) + 2

    def _record(self, keys: ItemKeys, key: str, documents: int) -> int:
        """Declare an item's record and its vectors: for the same item always as many."""
        record = keys.record(key)
        position = self._records.get(record)
        if position is None:
            position = self._records[record] = self._key(record, *self.settings.documents(keys, key, documents))
            self._by_key.setdefault(keys.namespace, {})[key] = position
        return position

    def _space(self, keys: ItemKeys) -> int:
        number = self._spaces.get(keys.namespace)
        if number is None:
            own = [keys.recency, keys.expiry, keys.index, keys.state, keys.sequence]
            if self.settings.index is not None:
                collection = self.settings.index.collection_name
                own += [keys.vectors(collection), keys.changes(collection)]
            self.spaces.append({"name": self._arg(keys.ordered), "first": self._key(*own)})
            number = self._spaces[keys.namespace] = len(self.spaces)
        return number

    def add(
        self, action: Action, *, documents: int = SPARE, is_known: bool = False, created: str | None = None
    ) -> None:
        """Add an action.

        Args:
            action: what to do.
            documents: keys are declared for so many records of its vectors, at least.
            is_known: whether vectors of the former value that have no keys here may be left to the caller.
            created: how the record writes the time at which the expected item was created, if otherwise than we do.
        """
        keys = self.settings.keys(action.namespace)
        if isinstance(action, Listing):
            self._list(keys, action.query)
            return
        if isinstance(action, Put):
            documents = max(documents, len(action.vectors))
        entry: dict[str, Any] = {
            "space": self._space(keys),
            "record": self._record(keys, action.key, documents),
            "key": action.key,
        }
        if self.settings.index is not None:
            entry["documents"] = documents
            if is_known:
                entry["known"] = True
        if isinstance(action, Get):
            entry["kind"] = "refresh" if self.settings.refreshes(action.refresh) else "get"
        else:
            if isinstance(action.expected, Item):
                entry["expected"] = action.expected.version
                entry["created"] = encode_time(action.expected.created_at) if created is None else created
            elif action.expected is not ANY:
                entry["expected"] = action.expected or 0
            entry["kind"] = _KINDS[type(action)]
            if isinstance(action, Put):
                self._fill(entry, action)
        self.actions.append(entry)

    def _fill(self, entry: dict[str, Any], put: Put) -> None:
        life = self.settings.life(put.ttl)
        entry["value"] = self._arg(encode_value(put.value))
        if life is not None:
            entry["life"] = ms_of(life)
            entry["ttl"] = repr(life)
        if isinstance(put, Restore):
            entry["restored"] = _restored(put)
        if put.vectors:
            entry["count"] = len(put.vectors)
            entry["data"] = self._arg(*put.vectors)
            if self.settings.index is not None and self.settings.index.distance_metric == "cosine":
                zeros = {str(at): True for at, vector in enumerate(put.vectors, 1) if is_zero(vector)}
                entry |= {"zeros": zeros} if zeros else {}
            entry["tags"] = self._arg(",".join(namespace_tags(put.namespace)), ",".join(attribute_tags(put.value)))

    def _list(self, keys: ItemKeys, query: ItemRange) -> None:
        entry: dict[str, Any] = {"kind": "list", "space": self._space(keys), "count": query.limit}
        if query.reverse:
            entry["reverse"] = True
        if query.order == "updated":
            entry["prefix"] = query.prefix
        else:
            entry["bounds"] = self._arg(*bounds(query, query.after))
        self.actions.append(entry)

    def declare_listed(self, namespace: Namespace, names: Iterable[str]) -> None:
        """Declare the records of items that a listing may have.

        Call it when all actions are added: they may declare vectors, too.
        """
        keys = self.settings.keys(namespace)
        for name in names:
            self._record(keys, name, 0)
        self.spaces[self._space(keys) - 1]["records"] = self._by_key.get(namespace, {})

    def declare(self, namespace: Namespace, base: int, count: int, documents: int) -> dict[str, Any]:
        """Declare the keys of numbers behind ``base``, for values to be appended."""
        keys = self.settings.keys(namespace)
        numbers = range(base + 1, base + count + 1)
        records = [self._record(keys, sequence_key(number), documents) for number in numbers]
        return {"base": str(base), "records": records, "documents": 0 if self.settings.index is None else documents}

    def run(self, leases: Mapping[Namespace, Lease] = MappingProxyType({}), **more: Any) -> Operation[Sequence[Any]]:
        """Call the script, with ``more`` entries of the plan.

        It is called again if the server's clock is another than ours, and if the index of namespaces has to be told
        first.

        An answer that got lost is given again when the request is repeated. The server keeps it for ``kept``
        milliseconds after the time until which it does the call at all, so a call is never done twice, also by a
        server that was halted in between.

        Args:
            leases: what the index of namespaces was told, if it was.
            more: of the plan.
        """
        told = dict(leases)
        while True:
            reply = yield from once(lambda until: self._call(until, told, more), self.settings.kept)  # noqa: B023
            if reply[0] != b"announce":
                return reply
            told |= yield from announce(self.settings, self._announcements(reply[1:]))

    def _announcements(self, reply: Sequence[Any]) -> list[Announcement]:
        """Return what the script says that the index of namespaces has to be told first."""
        namespaces = list(self._spaces)
        return [
            Announcement(self.settings.keys(namespaces[int(space) - 1]), [int(life)], int(least))
            for space, least, life in zip(reply[::3], reply[1::3], reply[2::3], strict=True)
        ]

    def _call(self, until: int, leases: Mapping[Namespace, Lease], more: Mapping[str, Any]) -> tuple[Call, str]:
        """Return the call, and the key under which its answer is kept, if it is."""
        keys, kept_under = [*self.keys], ""

        def position(*others: str) -> int:
            keys.extend(others)
            return len(keys) - len(others) + 1

        plan: dict[str, Any] = {"spaces": self.spaces, "actions": self.actions, **more}
        kinds = {action["kind"] for action in self.actions}
        first = self.settings.keys(next(iter(self._spaces)))
        # A client that lost the answer sends the call again. Doing it twice would be wrong, but for plain puts.
        if (
            {"append", "pop"} & more.keys()
            or "delete" in kinds
            or ("put" in kinds and len(kinds) > 1)
            or kinds >= {"check", "refresh"}
            or any("expected" in action for action in self.actions if action["kind"] == "put")
        ):
            kept_under = self.settings.call_key(first)
            plan["call"] = position(kept_under)
            plan |= {"until": until, "kept": self.settings.kept}
        if self.settings.collection is not None:
            plan["collection"] = self.settings.collection
        if not self.settings.is_split(first.namespace):
            plan["names"] = position(*self.settings.index_keys)
            if self.settings.unit.labels is not None:
                plan["unit"] = self.settings.unit.text
        for namespace, lease in leases.items():
            space = self.spaces[self._spaces[namespace] - 1]
            space["announced"] = [lease.until, lease.most, lease.floor]
        call = Call(
            script("items/apply", first="plan", when_full="put" not in kinds), keys, [to_json(plan), *self.args]
        )
        return call, kept_under


def _restored(put: Restore) -> dict[str, Any]:
    """Return the version and the times of an item as the script takes them."""
    found: dict[str, Any] = {
        "version": put.version,
        "created": encode_time(put.created_at),
        "updated": encode_time(put.updated_at),
        "us": (put.updated_at - EPOCH) // dt.timedelta(microseconds=1),
    }
    if put.expires_at is not None:
        found["ends"] = (put.expires_at - EPOCH) // dt.timedelta(milliseconds=1)
    return found


def sequence_key(number: int) -> str:
    """Return the key of an appended value; all are of one length, so they sort."""
    return f"{number:020}"


def plan_of(
    settings: ItemSettings,
    actions: Sequence[Action],
    former: Mapping[int, int | None] | None = None,
    created: Mapping[int, str] | None = None,
    listed: Mapping[Namespace, Iterable[str]] | None = None,
) -> Plan:
    """Make a plan of these actions.

    Args:
        settings: of the repository.
        actions: what to do.
        former: by the position of an action, how many vectors its item has, as far as it is known to be more than
            :data:`SPARE`; ``None``: some that are not of this repository's collection.
        created: likewise, as for :meth:`Plan.add`.
        listed: the keys that listings in a namespace may have.
    """
    plan = _plan_of(settings, actions, former, created)
    for namespace, names in (listed or {}).items():
        plan.declare_listed(namespace, names)
    return plan


def _plan_of(
    settings: ItemSettings,
    actions: Sequence[Action],
    former: Mapping[int, int | None] | None,
    created: Mapping[int, str] | None,
) -> Plan:
    plan = Plan(settings)
    written = created or {}
    if settings.index is None:
        for position, action in enumerate(actions):
            plan.add(action, created=written.get(position))
        return plan
    documents: dict[tuple[Namespace, str], int] = {}
    for position, action in enumerate(actions):
        there = (former or {}).get(position) or 0
        count = len(action.vectors) if isinstance(action, Put) else 0
        if isinstance(action, Listing):
            continue
        item = (action.namespace, action.key)
        least = 0 if isinstance(action, Check) else SPARE
        documents[item] = max(documents.get(item, least), least, count, there)
    for position, action in enumerate(actions):
        is_known = former is not None and former.get(position, 0) is None
        count = 0 if isinstance(action, Listing) else documents[action.namespace, action.key]
        plan.add(action, documents=count, is_known=is_known, created=written.get(position))
    return plan
