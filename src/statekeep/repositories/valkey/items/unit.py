"""Units of several namespaces, and whether the database has the same.

A program with another unit looks for items under other keys. So each compares the units: scripts that have the index of
namespaces among their keys do whenever they come to a new namespace, and a few commands go along with the first others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import define

from ....domain import InvalidInput, StatekeepError
from ....domain.items import Namespace
from ...operation import Operation
from ..requests import Arg, Ask, Call, Commands, Reply, Request
from .keys import namespace_index_keys, unit_keys

_STORED: Final = re.compile(r"otherunit:? (none|\?|[0-9]+)", re.IGNORECASE)


@define(eq=False)
class Unit:
    """The unit of a repository.

    Attributes:
        labels: namespaces with the same so many labels at the beginning are one; ``None``: each is by itself.
        is_compared: the database did not disagree; it may have been empty.
        is_certain: the database is known to agree.
    """

    labels: int | None = None
    is_compared: bool = False
    is_certain: bool = False

    @property
    def text(self) -> str:
        """The number for scripts; the empty text for none."""
        return "" if self.labels is None else str(self.labels)

    def of(self, namespace: Namespace) -> Namespace:
        """Return the labels that say which unit a namespace is in.

        >>> Unit(1).of(("a", "b")), Unit(2).of(("a",)), Unit().of(("a", "b"))
        (('a',), ('a',), ('a', 'b'))
        """
        return namespace[: self.labels]

    def compared(self, prefix: str, request: Request) -> Operation[Reply]:
        """Answer a request, and see whether the database agrees.

        That takes a round trip of its own only if the request is no list of commands, nor compares by itself.

        Args:
            prefix: of all keys.
            request: what to answer.

        Raises:
            InvalidInput: the database has items in other units.
        """
        mine, (others, marker) = namespace_index_keys(prefix, self.labels)[0], unit_keys(prefix, self.labels)
        probe: list[Sequence[Arg]] = [["GET", marker], ["ZCARD", mine], ["ZCARD", others]]
        match request:
            case Commands(commands) if commands:
                *replies, unit, here, there = yield Commands([*commands, *probe], aside=len(probe))
                self._compare(unit, here, there)
                return replies
            case Call(keys=keys) if marker in keys:
                reply = yield request
                self.is_compared = True
                return reply
            case Call() if not self.is_compared:
                self._compare(*(yield Commands(probe)))
            case Ask(command) if "FT.SEARCH" in command[:4] and not self.is_compared:
                self._compare(*(yield Commands(probe)))
        return (yield request)

    def _compare(self, unit: bytes | None, here: int, there: int) -> None:
        if there:
            raise self._refusal("none" if self.labels is not None else _number(unit))
        if here and self.labels is not None and unit not in (None, self.text.encode()):
            raise self._refusal(_number(unit))
        self.is_compared = True
        self.is_certain = bool(here)

    def refused(self, error: StatekeepError) -> InvalidInput:
        """Return what to raise when a script says that the database has another unit."""
        found = _STORED.search(str(error))
        refusal = self._refusal(found[1] if found else "?")
        refusal.__cause__ = error.__cause__
        return refusal

    def _refusal(self, stored: str) -> InvalidInput:
        there = {"none": "without a unit", "?": "with another one"}.get(stored.lower(), f"with unit={stored}")
        return InvalidInput(
            f"unit is {self.labels}, but items under this prefix were put {there}, so they have other keys; pass what "
            "they were put with, or another prefix",
            field="unit",
        )


def _number(unit: bytes | None) -> str:
    """Return what is stored as a unit; others may have written anything."""
    return unit.decode() if unit and unit.isdigit() and len(unit) < 10 else "?"
