"""A cache of checkpoints that this process put or read lately.

It saves most puts a read.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Final

from attrs import frozen

from ...domain.ids import new_stamp
from ..process import fork
from .checkpoints import GREATEST_STAMP, StoredChannel
from .names import digest

LIFE: Final = 300.0
"""Seconds of trust: others may have deleted the thread meanwhile."""

BYTES: Final = 32 * 1024 * 1024
"""Bytes of checkpoints' channels that are kept, with small values, names and ids."""

REGISTERED: Final = 10_000
"""Entries of the lists of threads, namespaces and runs that are kept."""

LONGEST_KEY: Final = 1024
"""Characters of an entry's key and its thread at most.

Longer ones are looked up each time.
"""

_CHANNEL: Final = 300
"""Bytes of a channel or checkpoint without its value, name and ids, about."""

Channels = Mapping[str, StoredChannel]

Thread = tuple[str, ...]
"""Texts that stand for a thread: its id, and whatever else tells it from others."""


@frozen
class _Entry:
    channels: Channels
    size: int
    until: float


class Recent:
    """Channels of checkpoints, and entries of lists, for a while.

    It also has stamps that are ahead of this machine's clock.

    Threads may share it, and a forked process goes on with a copy.

    Args:
        clock: returns seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.after_fork()
        fork.follow(self)

    def after_fork(self) -> None:
        """Begin anew.

        Another thread may have held the lock at the fork, in the middle of a change.
        """
        self._lock = threading.Lock()
        self._channels: OrderedDict[tuple[Thread, str, str], _Entry] = OrderedDict()
        self._registered: OrderedDict[tuple[Thread, tuple[str, ...]], float] = OrderedDict()
        self._ahead: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._size = 0

    def __reduce__(self) -> tuple[type[Recent], tuple[Callable[[], float]]]:
        return type(self), (self._clock,)  # what is not known is read

    def channels(self, thread: Thread, namespace: str, checkpoint_id: str) -> Channels | None:
        """Return the channels of a checkpoint, ``None`` if they are not known."""
        with self._lock:
            entry = self._channels.get((thread, namespace, checkpoint_id))
            return entry.channels if entry is not None and entry.until > self._clock() else None

    def keep(self, thread: Thread, namespace: str, checkpoint_id: str, channels: Channels) -> None:
        """Keep the channels of a checkpoint that is stored."""
        place = (thread, namespace, checkpoint_id)
        size = _CHANNEL + _texts(*thread, namespace, checkpoint_id)
        for name, one in channels.items():
            size += _CHANNEL + _texts(name) + (len(one.payload.data) if one.payload else 0)
        with self._lock:
            self._drop(place)
            self._channels[place] = _Entry(channels, size, self._clock() + LIFE)
            self._size += size
            while self._size > BYTES:
                self._drop(next(iter(self._channels)))

    def knows(self, thread: Thread, entry: tuple[str, ...]) -> bool:
        """Return whether the lists have an entry of this key about a thread."""
        with self._lock:
            return self._registered.get((thread, entry), 0.0) > self._clock()

    def learn(self, thread: Thread, entry: tuple[str, ...]) -> None:
        """Remember that the lists have an entry of this key about a thread."""
        if _texts(*thread, *entry) > LONGEST_KEY:
            return
        with self._lock:
            self._registered.pop((thread, entry), None)
            self._registered[thread, entry] = self._clock() + LIFE
            while len(self._registered) > REGISTERED:
                self._registered.popitem(last=False)

    def saw(self, thread: Thread, namespace: str, checkpoint_id: str, stamp: int) -> None:
        """Remember the greatest stamp that was read of a checkpoint.

        One that is not ahead of this machine's clock is of no use.
        """
        if stamp < time.time_ns():
            return
        place = (digest(*thread), digest(namespace, checkpoint_id))
        with self._lock:
            self._ahead[place] = max(stamp, self._ahead.pop(place, 0))
            while len(self._ahead) > REGISTERED:
                self._ahead.popitem(last=False)

    def next_stamp(self, thread: Thread, namespace: str, checkpoint_id: str) -> int:
        """Return a stamp for what is put now.

        It is greater than those that this process read of the checkpoint: the clock of another machine may be ahead,
        and yet what is put later has to count as the later one.
        """
        stamp = new_stamp()
        if not self._ahead:
            return stamp
        place = (digest(*thread), digest(namespace, checkpoint_id))
        with self._lock:
            last = self._ahead.pop(place, -1)
            if last >= stamp:
                stamp = min(last + 1, GREATEST_STAMP)
                self._ahead[place] = stamp
        return stamp

    def forget_channels(self, thread: Thread) -> None:
        """Forget the channels of a thread's checkpoints."""
        with self._lock:
            for place in [place for place in self._channels if place[0] == thread]:
                self._drop(place)

    def forget(self, thread: Thread) -> None:
        """Forget all about a thread."""
        self.forget_channels(thread)
        with self._lock:
            for key in [key for key in self._registered if key[0] == thread]:
                del self._registered[key]
            if self._ahead:
                name = digest(*thread)
                self._ahead = OrderedDict((place, last) for place, last in self._ahead.items() if place[0] != name)

    def _drop(self, place: tuple[Thread, str, str]) -> None:
        entry = self._channels.pop(place, None)
        if entry is not None:
            self._size -= entry.size


def _texts(*texts: str) -> int:
    return sum(map(len, texts))
