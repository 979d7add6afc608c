"""Open repositories by URL."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, Unpack

from attrs import evolve, frozen

from ..domain import InvalidInput, Serializer, Unsupported, VectorIndex
from ..domain.model import plain_text
from .connection import AsyncConnection, Backends, Connection
from .encrypted_metadata import Encrypt, encrypting
from .faces import closing_on_error
from .memory_url import check_memory_url
from .options import ConnectOptions, ValkeyOptions
from .process.notices import aws_logger, notice
from .records.known_values import BYTES as VALUE_CACHE
from .validation import count, indexed_names, unit_or_none

PREFIX: Final = "statekeep"


@frozen
class _Request:
    """Arguments of :func:`connect`."""

    url: str
    prefix: str
    ttl: float | None
    refresh_on_read: bool
    index: VectorIndex | Any
    unit: int | None
    value_cache: int
    index_metadata: Collection[str]
    clock: Callable[[], float] | None
    options: Mapping[str, Any]


def _open_memory(request: _Request) -> Backends:
    from .memory import MemoryCacheEntries, MemoryCheckpoints, MemoryItems, MemoryLogs

    check_memory_url(request.url, request.options)
    life: Any = {"ttl": request.ttl, "clock": request.clock or time.time}
    return Backends(
        MemoryCheckpoints(**life, refresh_on_read=request.refresh_on_read),
        MemoryItems(**life, refresh_on_read=request.refresh_on_read, index=request.index, unit=request.unit),
        MemoryCacheEntries(**life),
        MemoryLogs(**life, refresh_on_read=request.refresh_on_read),
    )


def _open_valkey(request: _Request) -> Backends:
    from .valkey import ValkeyCacheEntries, ValkeyCheckpoints, ValkeyItems, ValkeyLogs, open_client

    life: Any = {"prefix": request.prefix, "ttl": request.ttl}
    client = open_client(request.url, **request.options)
    try:
        return Backends(
            ValkeyCheckpoints(
                client,
                **life,
                refresh_on_read=request.refresh_on_read,
                value_cache=request.value_cache,
                index_metadata=request.index_metadata,
            ),
            ValkeyItems(
                client, **life, refresh_on_read=request.refresh_on_read, index=request.index, unit=request.unit
            ),
            ValkeyCacheEntries(client, **life),
            ValkeyLogs(client, **life, refresh_on_read=request.refresh_on_read),
        )
    except BaseException:
        client.close()
        raise


def _open_agentcore(request: _Request) -> Backends:
    from .agentcore.url import open_both

    if request.unit is not None:
        raise Unsupported("AgentCore Memory cannot write several items as one, so it has no unit of namespaces")
    options = _aws_options(request, "agentcore://", {"prefix": _OF_NO_USE, "index_metadata": _OF_NO_USE})
    if isinstance(request.index, VectorIndex):
        _without_effect("agentcore://", "embed of index", "the service embeds by itself; the fields count")
    if request.ttl is not None:
        why = "events live as long as the memory's eventExpiryDuration; items have it"
        _without_effect("agentcore://", "ttl of checkpoints", why)
    options |= {"index": request.index, "value_cache": request.value_cache}
    return Backends(*open_both(request.url, request.ttl, request.refresh_on_read, **options))


def _open_bedrock_sessions(request: _Request) -> Backends:
    from .bedrock_sessions.url import open_url

    useless = {
        "prefix": _OF_NO_USE,
        "ttl": "a session lives for 30 days",
        "refresh_on_read": _OF_NO_USE,
        "index": _OF_NO_USE,
        "unit": "it has no items",
        "value_cache": _OF_NO_USE,
        "index_metadata": _OF_NO_USE,
    }
    return Backends(open_url(request.url, **_aws_options(request, "bedrock-sessions://", useless)))


_OF_NO_USE: Final = "it is of no use there"


def _aws_options(request: _Request, scheme: str, useless: Mapping[str, str]) -> dict[str, Any]:
    """Return the options for an AWS service, and log those that are of no use there.

    Args:
        request: what was asked for.
        scheme: of the URL.
        useless: arguments that the service has no use for, and why.
    """
    for name, why in useless.items():
        if getattr(request, name) != _DEFAULTS[name]:
            _without_effect(scheme, name, why)
    options = {name: value for name, value in request.options.items() if name not in _OF_VALKEY}
    if len(options) == len(request.options):
        return options
    from .aws.settings import with_defaults
    from .valkey.client.url import PARAMETERS as OF_VALKEY
    from .valkey.client.url import Settings

    settings = Settings().read("", {name: request.options[name] for name in request.options.keys() - options})
    timeouts: dict[str, Any] = {}
    for name in request.options.keys() & OF_VALKEY.keys() & _OF_VALKEY:
        attribute = OF_VALKEY[name][0]
        if attribute in _TIMEOUTS and not options.get("client"):
            timeouts[_TIMEOUTS[attribute]] = settings.values[attribute]
        elif attribute in settings.values:
            _without_effect(scheme, name, _OF_NO_USE)
    if timeouts:
        options["config"] = with_defaults(options.get("config"), timeouts)
    return options


_DEFAULTS: Final[Mapping[str, Any]] = {
    "prefix": PREFIX,
    "ttl": None,
    "refresh_on_read": False,
    "index": None,
    "unit": None,
    "value_cache": VALUE_CACHE,
    "index_metadata": (),
}

_OF_VALKEY: Final = ValkeyOptions.__optional_keys__ - {"client"}

_TIMEOUTS: Final = {
    "request_timeout": "read_timeout",
    "connect_timeout": "connect_timeout",
    "pool_size": "max_pool_connections",
}
"""Settings of Valkey's clients that AWS clients have, and their names there."""


def _without_effect(scheme: str, name: str, why: str) -> None:
    notice(aws_logger, logging.WARNING, f"{scheme} {name}", f"{name} has no effect with {scheme}: {why}")


_OPENERS: Final[Mapping[str, Callable[[_Request], Backends]]] = {
    "memory": _open_memory,
    "embedded": _open_valkey,
    "valkey": _open_valkey,
    "valkeys": _open_valkey,
    "redis": _open_valkey,
    "rediss": _open_valkey,
    "unix": _open_valkey,
    "agentcore": _open_agentcore,
    "bedrock-sessions": _open_bedrock_sessions,
}
"""Functions that open URLs, by scheme. They read the part behind a ``+`` themselves."""

_FORMS: Final = (
    "memory:, embedded:, embedded:DIR, valkey://, valkeys://, valkey+cluster://, valkeys+cluster://, "
    "valkey+sentinel://, unix://, "
    "redis://, rediss://, agentcore:// or bedrock-sessions://"
)


def _open(
    url: str,
    prefix: str,
    ttl: float | None,
    refresh_on_read: bool,
    index: VectorIndex | Mapping[str, Any] | None,
    unit: int | None,
    value_cache: int,
    index_metadata: Collection[str],
    clock: Callable[[], float] | None,
    options: Mapping[str, Any],
) -> Backends:
    if not isinstance(url, str):
        raise InvalidInput(f"url must be text, got {type(url).__name__}", field="url")
    url = plain_text(url)
    scheme, colon, _ = url.partition(":")
    opener = _OPENERS.get(scheme.partition("+")[0].lower()) if colon else None
    if opener is None:
        # The URL is not shown: without a scheme it may begin with a password.
        raise InvalidInput(f"url must start with {_FORMS}", field="url")
    if clock is not None and opener is not _open_memory:
        raise InvalidInput("clock goes with memory: only; a server has its own", field="clock")
    if opener is not _open_agentcore or (isinstance(index, Mapping) and "embed" in index):
        index = VectorIndex.of(index)
    count("value_cache", value_cache)
    names, unit = indexed_names(index_metadata), unit_or_none(unit)
    request = _Request(url, prefix, ttl, refresh_on_read, index, unit, value_cache, names, clock, options)
    return opener(request)


def _encrypting(backends: Backends, encrypt: Encrypt, serializer: Serializer | None) -> Backends:
    if encrypt is False and serializer is not None:
        raise InvalidInput("metadata_serializer has no use without encrypt_metadata", field="metadata_serializer")
    try:
        return evolve(backends, checkpoints=encrypting(backends.checkpoints, serializer, encrypt))
    except BaseException:
        backends.checkpoints.close()
        raise


def connect(
    url: str,
    *,
    prefix: str = PREFIX,
    ttl: float | None = None,
    refresh_on_read: bool = False,
    index: VectorIndex | Mapping[str, Any] | None = None,
    unit: int | None = None,
    value_cache: int = VALUE_CACHE,
    index_metadata: Collection[str] = (),
    clock: Callable[[], float] | None = None,
    check: bool = False,
    encrypt_metadata: Encrypt = False,
    metadata_serializer: Serializer | None = None,
    **options: Unpack[ConnectOptions],
) -> Connection:
    """Open repositories for blocking code.

    Args:
        url: ``memory:`` (in this process, gone when it is closed), ``embedded:`` or ``embedded:DIR`` (a Valkey
            server of our own, in memory or in a directory), ``valkey://user:password@host:port/db``,
            ``valkeys://`` (TLS), ``valkey+cluster://host:port,host:port``, ``valkeys+cluster://``,
            ``valkey+sentinel://host:port,host:port/service/db``, ``valkeys+sentinel://``, ``unix:///path``;
            ``redis://`` and ``rediss://`` mean ``valkey://`` and ``valkeys://``;
            ``agentcore://MEMORY_ID?region=us-west-2&actor_id=ada`` (Amazon Bedrock AgentCore Memory, no logs and
            no cache entries);
            ``bedrock-sessions://?region=us-west-2`` (sessions of Amazon Bedrock, checkpoints only: a thread is a
            session, see :class:`~statekeep.repositories.bedrock_sessions.BedrockSessionCheckpoints`).
        prefix: first part of all keys in Valkey.
        ttl: lifetime of a record in seconds, fractions allowed; ``None`` for ever.
        refresh_on_read: start the TTL of a checkpoint, item or log anew when it is read.
        index: make items findable by meaning: a :class:`~statekeep.VectorIndex`, or its options as a mapping. With
            ``agentcore://`` the service embeds: ``{"fields": [...]}`` is enough.
        unit: of items, in Valkey and in memory: namespaces that begin with the same so many labels are one unit. A
            ``batch`` with expectations may be about all of them, and they share a slot of a cluster. All programs that
            share a prefix must pass the same. ``None``: each namespace is a unit by itself.
        value_cache: bytes of long values of channels that this process keeps, so that a put on Valkey or AgentCore
            stores and sends what is new in them; 0 stores and sends them whole.
        index_metadata: names in metadata by whose values ``checkpoints.list`` finds few of many threads fast, on
            Valkey; see :class:`~statekeep.repositories.valkey.ValkeyCheckpoints`.
        clock: for ``memory:``, a function that returns the time in seconds since 1970.
        check: ask the server for a sign of life now, and not with the first use: raises as :meth:`Connection.ping`.
        encrypt_metadata: encrypt the metadata of checkpoints: ``True``, or a list of names that stay readable, by which
            alone ``list`` can filter then; see :class:`~statekeep.repositories.encrypted_metadata.EncryptedMetadata`.
        metadata_serializer: encrypts and decrypts it.
        options: of the client, see :class:`~statekeep.repositories.options.ConnectOptions`. For Valkey: ``pool_size``;
            ``pool_timeout``, ``request_timeout``, ``connect_timeout``, ``deadline`` and ``slow_request`` in seconds;
            ``client`` (``"glide"`` or ``"valkey-py"``), ``client_name``, ``username``, ``password``, ``tls_ca_certs``,
            ``tls_cert``, ``tls_key``, ``tls_insecure``. Most may stand in the URL's query too. For ``agentcore://``:
            arguments of :class:`~statekeep.repositories.agentcore.AgentCoreCheckpoints` and
            :class:`~statekeep.repositories.agentcore.AgentCoreItems`, and fields of
            :class:`~statekeep.repositories.aws.AwsSettings`; for ``bedrock-sessions://``: ``inline`` and the latter.

    Raises:
        InvalidInput: the URL or an option is wrong.
        Unsupported: ``unit`` with ``agentcore://``.
        MissingDependency: the driver, or numpy for ``index``, is not installed.

    Example:
        >>> with connect("memory:", ttl=3600) as keep:
        ...     list(keep.checkpoints.list())
        []
    """
    backends = _open(url, prefix, ttl, refresh_on_read, index, unit, value_cache, index_metadata, clock, options)
    keep = Connection(_encrypting(backends, encrypt_metadata, metadata_serializer))
    if check:
        with closing_on_error(keep.close):
            keep.ping()
    return keep


def aconnect(
    url: str,
    *,
    prefix: str = PREFIX,
    ttl: float | None = None,
    refresh_on_read: bool = False,
    index: VectorIndex | Mapping[str, Any] | None = None,
    unit: int | None = None,
    value_cache: int = VALUE_CACHE,
    index_metadata: Collection[str] = (),
    clock: Callable[[], float] | None = None,
    check: bool = False,
    encrypt_metadata: Encrypt = False,
    metadata_serializer: Serializer | None = None,
    **options: Unpack[ConnectOptions],
) -> AsyncConnection:
    """Open repositories for asyncio code.

    See :func:`connect` for arguments and errors.

    The connection is made on first use. With ``check``, that is when you enter ``async with``.

    Example:
        >>> import asyncio
        >>> async def main() -> None:
        ...     async with aconnect("memory:") as keep:
        ...         print(await keep.checkpoints.get("t"))
        >>> asyncio.run(main())
        None
    """
    backends = _open(url, prefix, ttl, refresh_on_read, index, unit, value_cache, index_metadata, clock, options)
    return AsyncConnection(_encrypting(backends, encrypt_metadata, metadata_serializer), check=check)
