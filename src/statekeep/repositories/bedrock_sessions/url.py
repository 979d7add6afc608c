"""Opening checkpoints in Bedrock sessions by a URL."""

from __future__ import annotations

from typing import Any, Final

from ...domain import InvalidInput
from ..aws import AwsSettings, open_client
from ..aws.errors import BEDROCK_SESSIONS
from ..aws.url import with_query
from .backend import INLINE, BedrockSessionCheckpoints

SCHEME: Final = "bedrock-sessions://"


def open_checkpoints(*, inline: int = INLINE, **options: Any) -> BedrockSessionCheckpoints:
    """Return a backend over a client that it makes, or over one of the user's.

    Args:
        inline: of :class:`BedrockSessionCheckpoints`.
        options: fields of :class:`~statekeep.repositories.aws.AwsSettings`.

    Raises:
        InvalidInput: an argument is wrong, or no region is known.
        MissingDependency: boto3 is not installed.
    """
    client = open_client(BEDROCK_SESSIONS, AwsSettings(**options))
    try:
        return BedrockSessionCheckpoints(client, inline=inline)
    except BaseException:
        client.close()
        raise


def open_url(url: str, **options: Any) -> BedrockSessionCheckpoints:
    """Return a backend for ``bedrock-sessions://?region=...``.

    Args:
        url: the URL. Its query may have ``region``, ``profile`` and ``endpoint_url``.
        options: as for :func:`open_checkpoints`, each of them here or in the query.

    Raises:
        InvalidInput: the URL or an option is wrong, or something is given twice.
        MissingDependency: boto3 is not installed.
    """
    host, _, query = url.removeprefix(SCHEME).partition("?")
    if not url.startswith(SCHEME) or host:
        raise InvalidInput(
            f"url must look like {SCHEME}?region=us-west-2; sessions are named by the thread_id", field="url"
        )
    return open_checkpoints(**with_query(SCHEME, query, options))
