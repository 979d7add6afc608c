"""Channels whose versions are the digests of their values.

A value that did not change is neither sent nor stored again, whoever put it.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Final

from attrs import frozen

from ...domain import Channel, Checkpoint, Payload
from ..checkpoint_backend import Supply
from ..process import fork

SHORT: Final = 1024
"""Bytes up to which a value is sent without asking whether it is stored."""

THREADS: Final = 1024
"""The number of threads of which it is remembered what was seen last."""

Digests = frozenset[tuple[str, str]]
"""Names of channels, each with the digest of its value."""


@frozen
class DigestedChannels:
    """The channels of a checkpoint, and what its put may be asked for.

    Attributes:
        channels: with their values, or as those of earlier checkpoints.
        supply: returns the values that are not stored after all.
        digests: of all of them.
    """

    channels: dict[str, Channel]
    supply: Supply
    digests: Digests


def digest_of(payload: Payload) -> str:
    """Return the version of a channel that has this value.

    >>> digest_of(Payload(encoding="json", data=b"1"))[:8]
    '5e91f633'
    """
    return hashlib.sha256(b"%b\0%b" % (payload.encoding.encode(), payload.data)).hexdigest()


def digested(values: Mapping[str, Payload], seen: Digests | None) -> DigestedChannels:
    """Return values as channels of a checkpoint.

    Args:
        values: by channel.
        seen: what the thread's last checkpoint has, as far as this process knows. A guess: what is not stored after all
            is sent when it is asked for. ``None``: nothing is known; then it is asked for long values, as that is
            worth a round trip.
    """
    digests = {name: digest_of(payload) for name, payload in values.items()}

    def is_sent(name: str, digest: str) -> bool:
        return len(values[name].data) <= SHORT if seen is None else (name, digest) not in seen

    def supply(names: Collection[str]) -> dict[str, Payload]:
        return {name: values[name] for name in names}

    channels = {
        name: Channel.of(digest, values[name]) if is_sent(name, digest) else Channel.earlier(digest)
        for name, digest in digests.items()
    }
    return DigestedChannels(channels, supply, frozenset(digests.items()))


def digests_of(checkpoint: Checkpoint) -> Digests:
    """Return the digests of a checkpoint that was read or put."""
    return frozenset(
        (name, channel.version) for name, channel in checkpoint.channels.items() if isinstance(channel.version, str)
    )


@frozen
class Sighting:
    """The checkpoint of a thread that this process saw last.

    Attributes:
        checkpoint_id: its id.
        digests: of its channels.
    """

    checkpoint_id: str
    digests: Digests


class Sightings:
    """The checkpoints that this process saw last, of the threads that were used last.

    Program threads may share it, and a forked process begins anew. So does a copy.

    Args:
        most: how many are remembered.
    """

    def __init__(self, most: int = THREADS) -> None:
        self._most = most
        self.after_fork()
        fork.follow(self)

    def after_fork(self) -> None:
        """Begin anew: another program thread may have held the lock at the fork."""
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, Sighting] = OrderedDict()

    def __reduce__(self) -> tuple[type[Sightings], tuple[int]]:
        return type(self), (self._most,)

    def get(self, thread_id: str) -> Sighting | None:
        """Return what was seen last of a thread."""
        with self._lock:
            return self._seen.get(thread_id)

    def note(self, checkpoint: Checkpoint) -> None:
        """Note a checkpoint that was read or put."""
        sighting = Sighting(checkpoint.checkpoint_id, digests_of(checkpoint))
        with self._lock:
            self._seen.pop(checkpoint.thread_id, None)
            self._seen[checkpoint.thread_id] = sighting
            if len(self._seen) > self._most:
                self._seen.popitem(last=False)

    def forget(self, thread_id: str) -> None:
        """Forget what was seen of a thread."""
        with self._lock:
            self._seen.pop(thread_id, None)
