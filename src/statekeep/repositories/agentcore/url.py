"""Opening checkpoints in AgentCore Memory by a URL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from ...domain import InvalidInput
from ...domain.shown import shown
from ..aws import AwsSettings, open_client
from ..aws.errors import AGENTCORE
from .backend import AgentCoreCheckpoints, checked_memory_id

SCHEME: Final = "agentcore://"

PARAMETERS: Final[Mapping[str, str]] = {
    "region": "region_name",
    "region_name": "region_name",
    "profile": "credentials_profile_name",
    "credentials_profile_name": "credentials_profile_name",
    "endpoint_url": "endpoint_url",
    "actor_id": "actor_id",
}
"""Parameters of a URL's query, and their keywords."""

_OF_CHECKPOINTS: Final = ("actor_id", "inline", "grace", "renewal", "progress")


def open_checkpoints(memory_id: str, **options: Any) -> AgentCoreCheckpoints:
    """Return a backend over a client that it makes, or over one of the user's.

    Args:
        memory_id: the memory's id or ARN.
        options: of :class:`AgentCoreCheckpoints`, and fields of :class:`~statekeep.repositories.aws.AwsSettings`.

    Raises:
        InvalidInput: an argument is wrong, or no region is known.
        MissingDependency: boto3 is not installed.
    """
    checked_memory_id(memory_id)  # before a client is made, which takes longer
    own = {name: options.pop(name) for name in _OF_CHECKPOINTS if name in options}
    client = open_client(AGENTCORE, AwsSettings(**options))
    try:
        return AgentCoreCheckpoints(client, memory_id, **own)
    except BaseException:
        client.close()
        raise


def open_url(url: str, **options: Any) -> AgentCoreCheckpoints:
    """Return a backend for ``agentcore://MEMORY_ID?region=...``; the memory may be given by its ARN, too.

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
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise InvalidInput("url: its query must look like ?region=us-west-2&actor_id=ada", field="url") from None
    for name, value in pairs:
        keyword = PARAMETERS.get(name)
        if keyword is None:
            raise InvalidInput(f"url: agentcore:// takes {', '.join(PARAMETERS)}; not {shown(name)}", field=name)
        if keyword in options:
            raise InvalidInput(f"{keyword} is given twice", field=keyword)
        options[keyword] = value
    return open_checkpoints(unquote(memory_id), **options)
