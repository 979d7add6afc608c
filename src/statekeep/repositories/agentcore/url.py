"""Opening checkpoints and items in AgentCore Memory, by a memory's id or a URL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from ...domain import InvalidInput
from ..aws import AwsSettings, open_client
from ..aws.errors import AGENTCORE
from ..aws.url import PARAMETERS, with_query
from .backend import AgentCoreCheckpoints, checked_memory_id
from .items import AgentCoreItems

SCHEME: Final = "agentcore://"

BackendT = TypeVar("BackendT", AgentCoreCheckpoints, AgentCoreItems)

_PARAMETERS: Final = {**PARAMETERS, "actor_id": "actor_id"}
_OF_CHECKPOINTS: Final = ("actor_id", "inline", "grace", "renewal", "value_cache", "progress")
_OF_ITEMS_ALONE: Final = ("event_expiry_days", "index", "hierarchical_search")
_OF_ITEMS: Final = (*_OF_ITEMS_ALONE, "renewal", "ttl", "refresh_on_read")


def open_checkpoints(memory_id: str, **options: Any) -> AgentCoreCheckpoints:
    """Return a backend over a client that it makes, or over one of the user's.

    Args:
        memory_id: the memory's id or ARN.
        options: of :class:`AgentCoreCheckpoints`, and fields of :class:`~statekeep.repositories.aws.AwsSettings`.

    Raises:
        InvalidInput: an argument is wrong, or no region is known.
        MissingDependency: boto3 is not installed.
    """
    return _opened(AgentCoreCheckpoints, _OF_CHECKPOINTS, memory_id, options)


def open_items(memory_id: str, **options: Any) -> AgentCoreItems:
    """Return a backend of items, as :func:`open_checkpoints` does one of checkpoints.

    Args:
        memory_id: the memory's id or ARN.
        options: of :class:`AgentCoreItems`, and fields of :class:`~statekeep.repositories.aws.AwsSettings`.

    Raises:
        InvalidInput: an argument is wrong, or no region is known.
        MissingDependency: boto3 is not installed.
    """
    return _opened(AgentCoreItems, _OF_ITEMS, memory_id, options)


def _opened(make: Callable[..., BackendT], names: Sequence[str], memory_id: str, options: dict[str, Any]) -> BackendT:
    checked_memory_id(memory_id)  # before a client is made, which takes longer
    own = {name: options.pop(name) for name in names if name in options}
    client = open_client(AGENTCORE, AwsSettings(**options))
    try:
        return make(client, memory_id, **own)
    except BaseException:
        client.close()
        raise


def open_url(url: str, **options: Any) -> AgentCoreCheckpoints:
    """Return a backend for ``agentcore://MEMORY_ID?region=...``.

    The memory may be given by its ARN, too.

    Args:
        url: the URL. Its query may have ``region``, ``profile``, ``endpoint_url`` and ``actor_id``.
        options: as for :func:`open_checkpoints`, each of them here or in the query.

    Raises:
        InvalidInput: the URL or an option is wrong, or something is given twice.
        MissingDependency: boto3 is not installed.
    """
    # No message shows a part of the URL before it is known that there are no credentials in it.
    if not url.startswith(SCHEME):
        raise InvalidInput(f"url must look like {SCHEME}MEMORY_ID?region=us-west-2", field="url")
    memory_id, _, query = url.removeprefix(SCHEME).partition("?")
    checked_memory_id(unquote(memory_id))
    return open_checkpoints(unquote(memory_id), **with_query(SCHEME, query, options, _PARAMETERS))


def open_both(
    url: str, ttl: float | None, refresh_on_read: bool, **options: Any
) -> tuple[AgentCoreCheckpoints, AgentCoreItems]:
    """Return the backends of checkpoints and of items for a URL, over one client.

    Args:
        url: as for :func:`open_url`.
        ttl: of items, in seconds; ``None`` for ever.
        refresh_on_read: whether reading an item starts its TTL anew.
        options: as for :func:`open_url`, and those of :class:`AgentCoreItems`.

    Raises:
        InvalidInput: as :func:`open_url`, or an option of items is wrong.
        MissingDependency: boto3 is not installed.
    """
    own: dict[str, Any] = {name: options.pop(name) for name in _OF_ITEMS_ALONE if name in options}
    if "renewal" in options:
        own["renewal"] = options["renewal"]
    checkpoints = open_url(url, **options)
    client = checkpoints._client  # noqa: SLF001 - both are made here
    try:
        items = AgentCoreItems(client, checkpoints.memory_id, ttl=ttl, refresh_on_read=refresh_on_read, **own)
    except BaseException:
        checkpoints.close()
        raise
    return checkpoints, items
