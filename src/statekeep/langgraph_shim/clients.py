"""Clients for the classes on Valkey: the user's, or one that a URL opens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from ..repositories.valkey import Client, client_for, open_client

MadeT = TypeVar("MadeT")


def carrier(client: Any, deadline: float) -> Client:
    """Return a client for requests: ours as it is, one of the user's wrapped.

    Raises:
        InvalidInput: it is neither.
    """
    return client if isinstance(client, Client) else client_for(client, deadline=deadline)


def opened(make: Callable[[Client], MadeT], conn_string: str, **options: Any) -> MadeT:
    """Open a client for a URL and return ``make(client)``.

    If that fails, the client is closed.

    Args:
        make: gets the client, and owns it if it succeeds.
        conn_string: the URL.
        options: of the connection. ``None`` stands for "not given", so that the URL may say it.

    Raises:
        InvalidInput: an argument is wrong.
        MissingDependency: no client library is installed.
    """
    client = open_client(conn_string, **options)
    try:
        return make(client)
    except BaseException:
        client.close()
        raise
