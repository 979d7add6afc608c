"""What this process knows of checkpoints that it put or read lately, so that most puts need not read anything."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Final

from attrs import frozen

from .records import StoredChannel

LIFE: Final = 300.0
"""Seconds for which it is believed: others may have deleted the thread meanwhile."""

BYTES: Final = 32 * 1024 * 1024
"""Bytes of small channel values that are kept."""

FACTS: Final = 10_000
"""Facts of the lists of threads, namespaces and runs that are kept."""

_CHANNEL: Final = 300
"""Bytes of a channel without its value, about."""

Channels = Mapping[str, StoredChannel]


@frozen
class _Entry:
    channels: Channels
    size: int
    until: float


class Recent:
    """Channels of checkpoints, and facts about threads, for a while. Safe to share by threads.

    Args:
        clock: returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._channels: OrderedDict[tuple[str, str, str], _Entry] = OrderedDict()
        self._facts: OrderedDict[tuple[str, Hashable], float] = OrderedDict()
        self._size = 0

    def channels(self, thread_id: str, namespace: str, checkpoint_id: str) -> Channels | None:
        """Return the channels of a checkpoint, ``None`` if they are not known."""
        with self._lock:
            entry = self._channels.get((thread_id, namespace, checkpoint_id))
            return entry.channels if entry is not None and entry.until > self._clock() else None

    def keep(self, thread_id: str, namespace: str, checkpoint_id: str, channels: Channels) -> None:
        """Keep the channels of a checkpoint that is stored."""
        size = sum(_CHANNEL + (len(one.payload.data) if one.payload else 0) for one in channels.values())
        place = (thread_id, namespace, checkpoint_id)
        with self._lock:
            self._drop(place)
            self._channels[place] = _Entry(channels, size, self._clock() + LIFE)
            self._size += size
            while self._size > BYTES:
                self._drop(next(iter(self._channels)))

    def knows(self, thread_id: str, fact: Hashable) -> bool:
        """Whether a fact about a thread was stored."""
        with self._lock:
            return self._facts.get((thread_id, fact), 0.0) > self._clock()

    def learn(self, thread_id: str, fact: Hashable) -> None:
        """A fact about a thread is stored."""
        with self._lock:
            self._facts.pop((thread_id, fact), None)
            self._facts[thread_id, fact] = self._clock() + LIFE
            while len(self._facts) > FACTS:
                self._facts.popitem(last=False)

    def forget(self, thread_id: str) -> None:
        """Forget all about a thread."""
        with self._lock:
            for place in [place for place in self._channels if place[0] == thread_id]:
                self._drop(place)
            for key in [key for key in self._facts if key[0] == thread_id]:
                del self._facts[key]

    def _drop(self, place: tuple[str, str, str]) -> None:
        entry = self._channels.pop(place, None)
        if entry is not None:
            self._size -= entry.size
