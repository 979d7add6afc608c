"""The records that observers get."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

NOWHERE: Final[Mapping[str, Any]] = {}


@frozen
class Service:
    """Where a backend keeps its records. It holds no secrets.

    A backend of yours may say so, too: give it an attribute ``service``. Without one, operations name its class.

    Attributes:
        kind: ``"valkey"``, ``"agentcore"``, ``"bedrock-sessions"``, ``"memory"``, or a word for a backend of yours.
        address: the host, or the path of a unix socket; of a cluster the first that you named, with sentinels the name
            of the service. ``None``: there is none, or it is not known before the first request.
        port: of the host.
        database: the number of the database in Valkey, the id of a memory in AgentCore.

    Example:
        >>> Service("valkey", "localhost", 6379, "0").kind
        'valkey'
    """

    kind: str
    address: str | None = None
    port: int | None = None
    database: str | None = None


@frozen(kw_only=True, slots=False)  # which is made in half of the time
class Beginning:
    """An operation that begins.

    Attributes:
        name: kind of records and method: ``"checkpoints.put"``, ``"items.search"``; ``"ping"`` and ``"now"`` alone.
        service: where the records are.
        started_ns: nanoseconds since 1970.
        batch: how many operations, writes, keys, entries or values the method was given; ``None`` if it takes one.
        place: what users named: ``thread_id``, ``namespace`` or ``log``, as far as the call has it in so many words.
            Leave it out of what others may read. ``repr`` does not show it.
    """

    name: str
    service: Service
    started_ns: int
    batch: int | None = None
    place: Mapping[str, Any] = field(default=NOWHERE, repr=False)

    @property
    def started_at(self) -> dt.datetime:
        """The time when it began, in UTC."""
        return dt.datetime.fromtimestamp(self.started_ns / 1e9, dt.UTC)


@frozen(kw_only=True, slots=False)  # which is made in half of the time
class Observation(Beginning):
    """An operation that has ended: its costs, and its error.

    But for ``place`` and ``error`` it holds no keys, values or secrets.

    Attributes:
        seconds: how long it took, your serializer's and model's work included.
        round_trips: requests that were sent: each attempt, each page of a scan, each call to AWS. A pipeline is one.
            If calls to AWS went out as one, it is the operation's whose call came first.
        retries: how many of them were attempts after the first.
        bytes_sent: of the requests: keys and arguments to Valkey, bodies to AWS.
        bytes_received: of the answers: texts from Valkey, bodies from AWS.
        error: what the operation raised; ``None``: it succeeded. Its text and traceback may name keys and values.

    Example:
        >>> import statekeep
        >>> seen = []
        >>> with statekeep.observe(seen.append), statekeep.connect("memory:") as keep:
        ...     keep.checkpoints.get("chat-1")
        >>> seen[0].name, seen[0].service.kind, seen[0].round_trips, seen[0].error
        ('checkpoints.get', 'memory', 0, None)
    """

    seconds: float
    round_trips: int = 0
    retries: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    error: BaseException | None = field(default=None, repr=lambda error: repr(error and type(error).__name__))

    @property
    def error_type(self) -> str | None:
        """The name of the error's class: ``"Unavailable"``.

        One that is neither of Statekeep nor a builtin comes with its module.
        """
        if self.error is None:
            return None
        kind = type(self.error)
        is_known = kind.__module__ == "builtins" or kind.__module__.partition(".")[0] == "statekeep"
        return kind.__qualname__ if is_known else f"{kind.__module__}.{kind.__qualname__}"


def service_of(backend: object) -> Service:
    """Return where a backend keeps its records, as far as it says so."""
    found = getattr(backend, "service", None)
    return found if isinstance(found, Service) else Service(type(backend).__name__)
