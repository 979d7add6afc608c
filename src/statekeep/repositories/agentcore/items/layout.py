"""The lanes of items.

::

    statekeep-items:HASH-OF-NAMESPACE   statekeep-item-KEY     versions of one item; the newest counts
                                        statekeep-value-NAME   one value that is too large to be in its version
                                        statekeep-index        the keys, by the times of their puts
                                        statekeep-children     the labels directly below the namespace
                                        statekeep-child-LABEL  says that a label is among these
    statekeep-items                     statekeep-tokens       shows whether the memory honours client tokens
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from ....domain.items import Namespace
from ...records.names import digest
from ..ids import OURS, Lane, hashed_session

TOKENS: Final = Lane(f"{OURS}items", f"{OURS}tokens")
"""The lane in which a client token is tried."""

_ITEM: Final = f"{OURS}item-"


@frozen
class NamespaceLanes:
    """The lanes of one namespace."""

    namespace: Namespace

    @property
    def actor(self) -> str:
        """The actor that has this namespace's lanes only."""
        return f"{OURS}items:{digest(*self.namespace)}"

    @property
    def index(self) -> Lane:
        """The keys of the namespace."""
        return Lane(self.actor, f"{OURS}index")

    @property
    def children(self) -> Lane:
        """The labels directly below the namespace."""
        return Lane(self.actor, f"{OURS}children")

    def child(self, label: str) -> Lane:
        """Return the lane that says whether a label is among :attr:`children`."""
        return Lane(self.actor, hashed_session("child", label))

    def item(self, key: str) -> Lane:
        """Return the lane of an item."""
        return Lane(self.actor, hashed_session("item", key))

    def value(self, name: str) -> Lane:
        """Return the lane of a large value."""
        return Lane(self.actor, f"{OURS}value-{name}")


def is_item(lane: Lane) -> bool:
    """Return whether a lane of a namespace's actor is that of an item."""
    return lane.session.startswith(_ITEM)
