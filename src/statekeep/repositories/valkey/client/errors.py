"""The meaning of drivers' errors: one table for glide and valkey-py."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from attrs import field, frozen

from ....domain import (
    AccessDenied,
    ClientClosed,
    CorruptRecord,
    InvalidInput,
    QuotaExceeded,
    StatekeepError,
    Unavailable,
    Unsupported,
)
from ....domain.errors import Portable
from ..requests import Arg, Ask, Call, Commands, Request, size_of


class CommandError(Portable):
    """The failure of one command of several, with its key and the driver's error."""

    def __init__(self, error: Exception, command: Sequence[Arg]) -> None:
        super().__init__(str(error))
        self.error = error
        self.key = command[1] if len(command) > 1 else None


class IndexMissing(StatekeepError):
    """There is no search index of this name.

    Nobody made it yet, or the database was flushed.
    """


class IndexExists(StatekeepError):
    """There is a search index of this name already: another process made it."""


class IndexNotHere(StatekeepError):
    """The server has search indexes in another database only."""


class OtherUnit(StatekeepError):
    """Items are in other units of namespaces than this program assumes."""


class TooFewReplicas(Unavailable):
    """The server takes no writes: too few replicas, or an embedded one's disk is full."""


@frozen
class ErrorRule:
    """The exception for an error, and whether the same request may succeed soon."""

    error: type[StatekeepError]
    summary: str
    retry: bool = False
    advice: str = field(default="", kw_only=True)


DOWN: Final = ErrorRule(Unavailable, "the server cannot be reached", retry=True)
SLOW: Final = ErrorRule(Unavailable, "the server did not answer in time", retry=True)
LOADING: Final = ErrorRule(Unavailable, "the server is loading its data", retry=True)
BUSY: Final = ErrorRule(Unavailable, "the server is busy with a script", retry=True)
REPLICA: Final = ErrorRule(Unavailable, "the server is a replica, it takes no writes", retry=True)
NOT_WRITABLE: Final = ErrorRule(Unavailable, "the server takes no writes now", retry=True)
ALONE: Final = ErrorRule(TooFewReplicas, "the server takes no writes without its replicas", retry=True)
DISK_FULL: Final = ErrorRule(QuotaExceeded, "the disk of the server is full", retry=True)
CLUSTER_DOWN: Final = ErrorRule(Unavailable, "the cluster is down or changing", retry=True)
MIGRATING: Final = ErrorRule(Unavailable, "the slot of the keys is on its way to another node", retry=True)
CROWDED: Final = ErrorRule(Unavailable, "too many connections or requests", retry=True)
GARBLED: Final = ErrorRule(Unavailable, "the connection is broken", retry=True)
CLOSED: Final = ErrorRule(ClientClosed, "the client is closed")
DENIED: Final = ErrorRule(AccessDenied, "the server refuses the credentials or the command")
UNTRUSTED: Final = ErrorRule(
    AccessDenied,
    "a TLS certificate is refused",
    advice="check the name of the host, tls_ca_certs, tls_cert and tls_key, and the dates of the certificates",
)
FULL: Final = ErrorRule(QuotaExceeded, "the server is out of memory")
WRONG_TYPE: Final = ErrorRule(CorruptRecord, "the key holds another type of value")
NEEDS_CLUSTER: Final = ErrorRule(
    InvalidInput,
    "the server is part of a cluster",
    advice="use a cluster client, or a URL with valkey+cluster:// or valkeys+cluster://",
)
CROSS_SLOT: Final = ErrorRule(
    InvalidInput,
    "the keys of the request are in different slots of the cluster",
    advice="use a cluster client, or a URL with valkey+cluster:// or valkeys+cluster://",
)
MISCONFIGURED: Final = ErrorRule(InvalidInput, "the client's configuration does not fit the server")
NO_CLUSTER: Final = ErrorRule(
    InvalidInput, "the server is not part of a cluster", advice="use a client for one server, or a URL without +cluster"
)
NOT_SENDABLE: Final = ErrorRule(InvalidInput, "an argument cannot be sent to the server")
UNKNOWN_COMMAND: Final = ErrorRule(Unsupported, "the server does not know a command")
NO_INDEX: Final = ErrorRule(IndexMissing, "the server has no such search index", advice="call setup()")
INDEX_NOT_HERE: Final = ErrorRule(IndexNotHere, "the server makes search indexes in database 0 only")
INDEX_EXISTS: Final = ErrorRule(IndexExists, "the server has such a search index already")
OTHER_UNIT: Final = ErrorRule(OtherUnit, "items are in other units")
SCRIPT_FAILED: Final = ErrorRule(StatekeepError, "a script failed on the server")
UNEXPECTED: Final = ErrorRule(StatekeepError, "the server or its client reports an error")

NO_CREDENTIALS: Final = ErrorRule(AccessDenied, "the credential provider failed")

CLASSES: Final[dict[str, ErrorRule]] = {
    "statekeep.repositories.valkey.client.credentials.ProviderFailed": NO_CREDENTIALS,
    "valkey.exceptions.ValkeyError": UNEXPECTED,
    "valkey.exceptions.ConnectionError": DOWN,
    "valkey.exceptions.TimeoutError": SLOW,
    "valkey.exceptions.AuthenticationError": DENIED,
    "valkey.exceptions.AuthorizationError": DENIED,
    "valkey.exceptions.AuthenticationWrongNumberOfArgsError": DENIED,
    "valkey.exceptions.NoPermissionError": DENIED,
    "valkey.exceptions.BusyLoadingError": LOADING,
    "valkey.exceptions.InvalidResponse": GARBLED,
    "valkey.exceptions.ResponseError": UNEXPECTED,
    "valkey.exceptions.DataError": NOT_SENDABLE,
    "valkey.exceptions.PubSubError": UNEXPECTED,
    "valkey.exceptions.WatchError": UNEXPECTED,
    "valkey.exceptions.NoScriptError": UNEXPECTED,
    "valkey.exceptions.OutOfMemoryError": FULL,
    "valkey.exceptions.ExecAbortError": UNEXPECTED,
    "valkey.exceptions.ReadOnlyError": REPLICA,
    "valkey.exceptions.ModuleError": UNEXPECTED,
    "valkey.exceptions.LockError": UNEXPECTED,
    "valkey.exceptions.LockNotOwnedError": UNEXPECTED,
    "valkey.exceptions.ChildDeadlockedError": UNEXPECTED,
    "valkey.exceptions.ValkeyClusterException": UNEXPECTED,
    "valkey.exceptions.ClusterError": CLUSTER_DOWN,
    "valkey.exceptions.ClusterDownError": CLUSTER_DOWN,
    "valkey.exceptions.MasterDownError": CLUSTER_DOWN,
    "valkey.exceptions.AskError": MIGRATING,
    "valkey.exceptions.MovedError": CLUSTER_DOWN,
    "valkey.exceptions.TryAgainError": MIGRATING,
    "valkey.exceptions.ClusterCrossSlotError": CROSS_SLOT,
    "valkey.exceptions.SlotNotCoveredError": CLUSTER_DOWN,
    "valkey.exceptions.MaxConnectionsError": CROWDED,
    "glide_shared.exceptions.GlideError": UNEXPECTED,
    "glide_shared.exceptions.ClosingError": DOWN,
    "glide_shared.exceptions.RequestError": UNEXPECTED,
    "glide_shared.exceptions.TimeoutError": SLOW,
    "glide_shared.exceptions.ExecAbortError": UNEXPECTED,
    "glide_shared.exceptions.ConnectionError": DOWN,
    "glide_shared.exceptions.ConfigurationError": MISCONFIGURED,
    "glide_shared.exceptions.CircuitBreakerError": DOWN,
    "glide_shared.exceptions.RdmaError": UNEXPECTED,
    "glide_shared.exceptions.LoggerError": UNEXPECTED,
    "builtins.TimeoutError": SLOW,
    "builtins.OSError": DOWN,
}
"""Every exception class of the drivers; the most derived one that is listed counts."""

TEXTUAL: Final = frozenset(
    {
        "valkey.exceptions.ClusterError",
        "valkey.exceptions.ConnectionError",
        "valkey.exceptions.ResponseError",
        "valkey.exceptions.ValkeyClusterException",
        "glide_shared.exceptions.ClosingError",
        "glide_shared.exceptions.ConnectionError",
        "glide_shared.exceptions.RequestError",
    }
)
"""Classes that stand for many things: only their text says which."""

# The drivers rewrite the server's words (in glide a colon follows the first one, and "-LOADING" is "BusyLoadingError"),
# so the text is searched in lower case for both spellings, and the first match counts.
TEXTS: Final[tuple[tuple[str, ErrorRule], ...]] = tuple(
    (pattern, meaning)
    for patterns, meaning in (
        # Before the others, because these texts repeat the name of the index, which may be any word.
        (
            (
                r"\bindex:? with name .* not found",
                r"\bindex:? name not found\b",
                r"\bno:? such index\b",
                r"\bunknown:? index name\b",
                r"\bsearch_index_not_found\b",
            ),
            NO_INDEX,
        ),
        ((r"\bindex:? .* already exists", r"\bindex:? already exists", r"\bsearch_index_exists\b"), INDEX_EXISTS),
        ((r"\bcannot:? create index on db != 0",), INDEX_NOT_HERE),
        ((r"\bwrongtype\b",), WRONG_TYPE),
        ((r"\botherunit\b",), OTHER_UNIT),
        (
            (
                r"\bnoauth\b",
                r"\bwrongpass\b",
                r"\bnoperm\b",
                r"\buser executing the script can't\b",  # in Redis 7.0
                r"\bpermissiondenied\b",
                r"authenticationfailed",
                r"authentication required",
                r"invalid username-password",
                r"password authentication failed",
                r"called without any password configured",
                r"\bacl failure\b",
                # glide does not tell why; names of clients that a server would refuse do not get through in URLs.
                r"refused to set client name",
            ),
            DENIED,
        ),
        (
            (
                r"certificate[_ ]verify[_ ]failed",
                r"invalid peer certificate",
                r"alert[_ ][a-z_ ]*(certificate|unknown[_ ]ca)",
                r"received fatal alert: \w*(certificate|unknownca)",
            ),
            UNTRUSTED,
        ),
        ((r"\boom\b", r"\bout of memory\b", r"used memory > 'maxmemory'"), FULL),
        ((r"client is closed", r"client created before fork"), CLOSED),
        ((r"\bloading\b", r"busyloadingerror"), LOADING),
        ((r"\bcrossslot\b", r"crossed slots"), CROSS_SLOT),
        ((r"cluster support disabled",), NO_CLUSTER),
        ((r"search:? operation cancelled due to timeout", r"timeout:? limit was reached"), SLOW),
        (
            (r"consistency check failed", r"inconsistent:? index state", r"communication:? error between nodes"),
            CLUSTER_DOWN,
        ),
        ((r"unable:? to contact all cluster members",), CLUSTER_DOWN),
        # A key that a script needs is not there, or has gone already; valkey-py gives up at last, without saying why.
        ((r"\btryagain\b", r"\bask:? \d+ ", r"access a non local key", r"^ttl exhausted"), MIGRATING),
        ((r"\bclusterdown\b", r"\bmasterdown\b", r"connectionnotfoundforroute"), CLUSTER_DOWN),
        ((r"\bcluster cannot be connected\b", r"reachable node", r"slot .* not covered"), CLUSTER_DOWN),
        ((r"\breadonly\b", r"read only replica"), REPLICA),
        ((r"\bmoved\b",), NEEDS_CLUSTER),
        ((r"\bmisconf\b.*(no space left|quota exceeded)",), DISK_FULL),
        ((r"\bmisconf\b",), NOT_WRITABLE),
        ((r"\bnoreplicas\b", r"notenoughreplicas"), ALONE),
        ((r"^busy\b", r"\bbusy: ", r"is busy running a script", r"\bbusy script\b"), BUSY),
        ((r"inflight requests", r"too many connections", r"max number of clients"), CROWDED),
        ((r"refused to switch database", r"db index is out of range", r"select is not allowed"), MISCONFIGURED),
        ((r"connect failed", r"ioerror", r"failed to connect", r"connection refused", r"connection in recovery"), DOWN),
        # glide's cluster client, when a node dies while it works on a request.
        ((r"broken ?pipe", r"internal sender"), DOWN),
        ((r"allconnectionsunavailable", r"all connections .*unavailable"), DOWN),
        # In the middle of a failover no node may be able to say how the cluster looks.
        ((r"no topology views",), CLUSTER_DOWN),
        ((r"unknown:? (?:sub)?command",), UNKNOWN_COMMAND),
        ((r"user_script", r"error running script", r"error compiling script"), SCRIPT_FAILED),
    )
    for pattern in patterns
)


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def meaning_of(error: BaseException, *, cluster: bool = False) -> ErrorRule | None:
    """Say what a driver's error means; ``None`` for an error that is not a driver's.

    Args:
        error: what was raised.
        cluster: the driver's client is one for clusters. When one of these is redirected more often than it puts up
            with, because a slot is on its way to another node, it tells us; it needs no advice to be a cluster client.
    """
    meaning = _meaning_of(cause_of(error))
    return CLUSTER_DOWN if cluster and meaning is NEEDS_CLUSTER else meaning


def _meaning_of(error: BaseException) -> ErrorRule | None:
    for kind in type(error).__mro__:
        path = _path(kind)
        meaning = CLASSES.get(path)
        if meaning is None:
            continue
        if path in TEXTUAL:
            text = str(error).lower()
            for pattern, found in TEXTS:
                if re.search(pattern, text):
                    return found
        return meaning
    return None


def _key(error: Exception, request: Request) -> str | None:
    key: Arg | None = None
    if isinstance(error, CommandError):
        key = error.key
    elif isinstance(request, Call) and request.keys:
        key = request.keys[0]
    elif isinstance(request, Commands) and len(request.commands) == 1 + request.aside and len(request.commands[0]) > 1:
        key = request.commands[0][1]
    elif isinstance(request, Ask):
        key = request.near or None
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else key


LARGE: Final = 1_000_000
"""Bytes of a request of which a timeout may be the fault."""


def failure(
    meaning: ErrorRule, error: Exception, request: Request, server: str, seconds: float, timeout: float | None = None
) -> StatekeepError:
    """Make the exception to raise from the driver's ``error``.

    Args:
        meaning: what ``error`` means.
        error: the driver's error.
        request: what was asked.
        server: the server's address, without credentials.
        seconds: how long it was tried.
        timeout: seconds that one attempt may take; ``None`` if your own client knows.
    """
    cause = cause_of(error)
    # A driver's text can repeat the command with all its values, hence the limit.
    text = " ".join(str(cause).split())
    message = f"{server}: {meaning.summary}: {type(cause).__name__}: {text:.300}"
    if meaning.advice:
        message = f"{message}; {meaning.advice}"
    if meaning.retry:
        message = f"{message} (tried for {seconds:.1f} seconds)"
    limit = "the timeout of your client" if timeout is None else f"request_timeout, which is {timeout:g} seconds"
    if meaning in (SLOW, DOWN) and (size := size_of(request)) >= LARGE:
        message = f"{message}; the request has {size:,} bytes: store less at a time, or raise {limit}"
    elif meaning is SLOW:
        message = f"{message}; if what is read is large, raise {limit}"
    return meaning.error(message, key=_key(error, request))


def cause_of(error: BaseException) -> BaseException:
    """Return the driver's own error that says most."""
    if isinstance(error, CommandError):
        error = error.error
    if _path(type(error)) == "valkey.exceptions.ValkeyClusterException":
        # It says that no node can be reached, or is none, whatever a node answered when it was asked for the others.
        before = error.__cause__ or error.__context__
        while before is not None:
            if _meaning_of(before) in (DENIED, NO_CREDENTIALS, NO_CLUSTER, UNTRUSTED):
                return before
            before = before.__cause__ or before.__context__
    return error
