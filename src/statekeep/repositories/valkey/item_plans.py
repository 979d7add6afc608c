"""Plans: what ``scripts/items/apply.lua`` is to do, and what it answers."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen

from ...domain import DEFAULT, VectorIndex
from ...domain.items import ANY, Namespace, Ttl
from ...domain.json_values import dumps
from ..items import Action, Get, Put
from ..ttl import ms_of
from .item_keys import ItemKeys, item_keys, namespace_index_keys, ordered
from .keys import part
from .requests import Arg, Call, script
from .search_module import attribute_tags, namespace_tags

SPARE: Final = 4
"""For how many vectors keys are declared at least: those of an item's former value are removed in the same call."""


@frozen
class Settings:
    """What the operations of a repository have in common."""

    prefix: str
    ttl: float | None
    refresh_on_read: bool
    cluster: bool
    index: VectorIndex | None

    @property
    def collection(self) -> str | None:
        """The encoded name of the collection of vectors, if there is one."""
        return None if self.index is None else part(self.index.collection_name)

    def keys(self, namespace: Namespace) -> ItemKeys:
        """The keys of a namespace."""
        return item_keys(self.prefix, namespace)

    def indexes(self, keys: ItemKeys) -> list[str]:
        """The indexes of a namespace: recency, expiry, that of its keys, and that of its vectors if there are any."""
        vectors = [] if self.index is None else [keys.vectors(self.index.collection_name)]
        return [keys.recency, keys.expiry, keys.index, *vectors]

    def is_split(self, namespace: Namespace) -> bool:
        """Whether the indexes of the namespaces above this one live in other slots."""
        return self.cluster and namespace != ()

    def life(self, ttl: Ttl) -> float | None:
        """The seconds that a put item lives."""
        return self.ttl if ttl is DEFAULT else ttl

    def refreshes(self, asked: bool | None) -> bool:
        """Whether a read lets what it finds live anew."""
        return self.refresh_on_read if asked is None else asked


@frozen
class Stored:
    """What came of a put.

    Attributes:
        left_over: vectors of the former value that are still there, as a record's ``vectors`` names them.
    """

    version: bytes
    created_at: bytes
    updated_at: bytes
    expires_at: bytes
    left_over: bytes


class Plan:
    """Collects keys, arguments and actions for one call.

    Args:
        settings: of the repository.
        time: when the puts happen, in microseconds; ``None``: now, and then the namespaces above and the index of
            namespaces are written, too.
    """

    def __init__(self, settings: Settings, time: int | None = None) -> None:
        self.settings = settings
        self.time = time
        self.keys: list[str] = []
        self.args: list[Arg] = []
        self.spaces: list[dict[str, Any]] = []
        self.actions: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}
        self._spaces: dict[Namespace, int] = {}

    def _key(self, key: str) -> int:
        if key not in self._places:
            self.keys.append(key)
            self._places[key] = len(self.keys)
        return self._places[key]

    def _arg(self, *args: Arg) -> int:
        """Returns the position of the first; the plan itself will be before all."""
        self.args.extend(args)
        return len(self.args) - len(args) + 2

    def _chain(self, keys: ItemKeys) -> Sequence[ItemKeys]:
        return keys.chain if self.time is None else (keys,)

    def _documents(self, keys: ItemKeys, key: str, count: int) -> list[int]:
        """Declare the records of an item's vectors."""
        index = self.settings.index
        if index is None:
            return []
        return [self._key(keys.vector(index.collection_name, f"{part(key)}:{place}")) for place in range(count)]

    def _space(self, keys: ItemKeys) -> int:
        if keys.namespace not in self._spaces:
            space: dict[str, Any] = {
                "name": self._arg(ordered(keys.namespace)),
                "sequence": self._key(keys.sequence),
                "chain": [[*map(self._key, self.settings.indexes(link))] for link in self._chain(keys)],
            }
            self.spaces.append(space)
            self._spaces[keys.namespace] = len(self.spaces)
        return self._spaces[keys.namespace]

    def add(self, action: Action, *, documents: int = SPARE, is_known: bool = False) -> None:
        """Add an action.

        Args:
            action: what to do.
            documents: keys are declared for so many records of its vectors, at least.
            is_known: whether vectors of the former value that have no keys here may be left to the caller.
        """
        keys = self.settings.keys(action.namespace)
        if isinstance(action, Put):
            documents = max(documents, len(action.vectors))
        entry: dict[str, Any] = {
            "space": self._space(keys),
            "record": self._key(keys.record(action.key)),
            "members": [self._arg(link.member(action.namespace, action.key)) for link in self._chain(keys)],
            "documents": self._documents(keys, action.key, documents),
        }
        if is_known or self.settings.index is None:
            entry["known"] = True
        if isinstance(action, Get):
            entry["kind"] = "refresh" if self.settings.refreshes(action.refresh) else "get"
        else:
            if action.expected is not ANY:
                entry["expected"] = action.expected or 0
            entry["kind"] = "put" if isinstance(action, Put) else "delete"
            if isinstance(action, Put):
                self._fill(entry, keys, action)
            else:
                entry["key"] = self._arg(action.key)
        self.actions.append(entry)

    def _fill(self, entry: dict[str, Any], keys: ItemKeys, put: Put) -> None:
        life = self.settings.life(put.ttl)
        first = self._arg(keys.pk(put.key), keys.place, put.key, dumps(put.value))
        entry["fields"] = [first, first + 1, first + 2, first + 3]
        entry["life"] = ms_of(life)
        entry["ttl"] = repr(life)
        entry["count"] = len(put.vectors)
        if put.vectors:
            entry["data"] = self._arg(*put.vectors)
            entry["tags"] = self._arg(",".join(namespace_tags(put.namespace)), ",".join(attribute_tags(put.value)))

    def declare(self, namespace: Namespace, base: int, count: int, documents: int) -> dict[str, Any]:
        """Declare the keys of numbers behind ``base``, for values to be appended."""
        keys = self.settings.keys(namespace)
        found = []
        for number in range(base + 1, base + count + 1):
            key = sequence_key(number)
            members = [self._arg(link.member(namespace, key)) for link in self._chain(keys)]
            vectors = self._documents(keys, key, documents)
            found.append([self._key(keys.record(key)), members, vectors, self._arg(keys.pk(key)), self._arg(key)])
        return {"base": str(base), "keys": found}

    def call(self, **more: Any) -> Call:
        """The call of the script, with ``more`` entries of the plan."""
        plan: dict[str, Any] = {"spaces": self.spaces, "actions": self.actions, **more}
        kinds = {action["kind"] for action in self.actions}
        # A client that lost the answer sends the call again. Doing it twice would be wrong, but for plain puts.
        if (
            {"append", "pop"} & more.keys()
            or "delete" in kinds
            or ("put" in kinds and len(kinds) > 1)
            or any("expected" in action for action in self.actions)
        ):
            place = next(map(self.settings.keys, self._spaces)).place
            plan["call"] = self._key(f"{self.settings.prefix}:item-call:{{{place}}}:{secrets.token_hex(12)}")
        if self.settings.collection is not None:
            plan["collection"] = self.settings.collection
        if self.time is not None:
            plan["time"] = str(self.time)
            plan["deletion"] = self._key(next(map(self.settings.keys, self._spaces)).deletion)
        else:
            positions = map(self._key, namespace_index_keys(self.settings.prefix))
            plan["names"], plan["times"], plan["ends"] = positions
        return Call(
            script("items/apply", when_full="put" not in kinds),
            self.keys,
            [json.dumps(plan, separators=(",", ":")), *self.args],
        )


def sequence_key(number: int) -> str:
    """The key of an appended value: of one length, so that it sorts by the number."""
    return f"{number:020}"


def plan_of(
    settings: Settings,
    actions: Sequence[Action],
    time: int | None = None,
    former: Mapping[int, int | None] | None = None,
) -> Plan:
    """A plan of these actions.

    Args:
        settings: of the repository.
        actions: what to do.
        time: see :class:`Plan`.
        former: by the position of an action, how many vectors its item has, as far as it is known to be more than
            :data:`SPARE`; ``None``: some that are not of this repository's collection.
    """
    plan = Plan(settings, time)
    documents: dict[tuple[Namespace, str], int] = {}
    for position, action in enumerate(actions):
        there = (former or {}).get(position) or 0
        count = len(action.vectors) if isinstance(action, Put) else 0
        place = (action.namespace, action.key)
        documents[place] = max(documents.get(place, SPARE), count, there)
    for position, action in enumerate(actions):
        is_known = former is not None and former.get(position, 0) is None
        plan.add(action, documents=documents[action.namespace, action.key], is_known=is_known)
    return plan
