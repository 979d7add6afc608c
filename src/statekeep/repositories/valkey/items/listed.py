"""The keys of listings in a batch.

A script reads no record whose key it was not given. So the first call names those that the listing had the last time.
If others are there now, the script does nothing but say which, and is called again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ....domain import Unsupported
from ....domain.items import Namespace
from ...item_backend import Action, Listing
from ...operation import Operation
from ..chunks import chunks
from ..keys import decode_text
from .plan import ItemSettings
from .read import sweep

PATIENT: Final = 2
"""Calls that ask for more keys before these are looked at: others may have deleted records, and left their entries."""


class ListedKeys:
    """The keys that the listings of some actions may have.

    Attributes:
        by_namespace: the keys.
    """

    def __init__(self, settings: ItemSettings, actions: Sequence[Action]) -> None:
        self._settings = settings
        self._actions = actions
        self._calls = 0
        self.by_namespace: dict[Namespace, dict[str, None]] = {}
        for action in actions:
            if isinstance(action, Listing):
                self._add(action.namespace, settings.listed.guess(action.query))

    def _add(self, namespace: Namespace, keys: Iterable[str]) -> None:
        self.by_namespace.setdefault(namespace, {}).update(dict.fromkeys(keys))

    def learn(self, reply: Sequence[Any]) -> Operation[None]:
        """Add what the script asks for.

        Args:
            reply: numbers of actions, each with the keys that it lacks.
        """
        self._calls += 1
        for number, missing in chunks(reply, 2):
            keys = self._settings.keys(self._actions[int(number) - 1].namespace)
            names = [decode_text(key, keys.index) for key in missing]
            self._add(keys.namespace, names)
            if self._calls > PATIENT:
                yield from sweep(self._settings, keys, names)


def too_far(actions: Sequence[Action], number: int) -> Unsupported:
    """Return the error about a listing that would take a script too long."""
    error = Unsupported(
        "a listing in a batch would look at more than 20,000 entries of an index in one unit; list it by itself"
    )
    error.place = {"namespace": actions[number - 1].namespace}
    return error
