"""Leases in a cluster, where the index of namespaces is in another slot.

That index is told until when items will be put to a namespace before any is. Until then they are put in one script,
which refuses what was not announced: an item that is there is always found from above.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from ....domain.items import Namespace
from ....domain.model import SHORT
from ...operation import Operation
from ...validation import ms_of
from ..requests import Call
from ..scripts import script
from .keys import ItemKeys, clock_key, namespace_index_keys

if TYPE_CHECKING:
    from .plan import ItemSettings

SECONDS: Final = 60.0
"""How long a lease lasts: ``GRACE`` of ``common.lua``."""

REMEMBERED: Final = 4096
"""Namespaces whose leases are remembered."""


@frozen
class Lease:
    """A promise to the index of namespaces.

    Attributes:
        until: when items are put, in microseconds of the server's clock.
        most: by when they end, in milliseconds of that clock; 0 for never.
        floor: a time in microseconds before which nothing is put to a new namespace.
    """

    until: int
    most: int
    floor: int


@define
class Leases:
    """Leases that run, as far as this process knows.

    A wrong guess costs round trips, no more.
    """

    _ends: dict[Namespace, float] = field(factory=dict)

    def is_running(self, namespace: Namespace) -> bool:
        """Return whether a namespace has one."""
        return self._ends.get(namespace, 0.0) > monotonic()

    def note(self, namespace: Namespace, end: float) -> None:
        """Note until when one lasts, by the clock of this process."""
        if len(self._ends) >= REMEMBERED or sum(map(len, namespace)) > SHORT:
            self._ends.clear()
        self._ends[namespace] = end


def index_keys(prefix: str, unit: int | None = None) -> list[str]:
    """Return the index of namespaces, and the clock."""
    return [*namespace_index_keys(prefix, unit), clock_key(prefix)]


@frozen
class Announcement:
    """Puts that the index of namespaces is told of.

    Attributes:
        keys: of the namespace.
        lives: milliseconds that the items live, 0 for ever.
        least: a time in microseconds that must be in the lease.
    """

    keys: ItemKeys
    lives: Sequence[int]
    least: int = 0


def announce(
    settings: ItemSettings, announcements: Sequence[Announcement], seconds: float = SECONDS
) -> Operation[dict[Namespace, Lease]]:
    """Tell the index of namespaces that items are put to some for a while.

    Args:
        settings: of the repository.
        announcements: one for each namespace.
        seconds: how long the leases last.
    """
    began = monotonic()
    args = [settings.unit.text, str(ms_of(seconds))]
    for one in announcements:
        life = 0 if 0 in one.lives else max(one.lives, default=0)
        args += [one.keys.ordered, str(one.least), str(life)]
    reply = yield Call(script("items/announce"), settings.index_keys, args)
    settings.unit.is_certain = True
    leases: dict[Namespace, Lease] = {}
    for one, until, most, floor in zip(announcements, reply[::3], reply[1::3], reply[2::3], strict=True):
        leases[one.keys.namespace] = Lease(int(until), int(most), int(floor))
        settings.leases.note(one.keys.namespace, began + seconds)
    return leases
