"""Clients for the classes on Valkey: the user's, or one that a URL opens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..repositories.faces import closing_on_error
from ..repositories.memory_url import MEMORY, check_memory_url
from ..repositories.valkey import Client, client_for, open_client
from .faces import Awaiting, Faces

MadeT = TypeVar("MadeT", bound=Faces)


def carrier(client: Any, deadline: float) -> Client:
    """Return a client for requests: ours as it is, one of the user's wrapped.

    Raises:
        InvalidInput: it is neither.
    """
    return client if isinstance(client, Client) else client_for(client, deadline=deadline)


def opened(
    make: Callable[[Any], MadeT],
    conn_string: str,
    memory: Callable[[], object],
    options: Mapping[str, Any],
    *,
    check: bool,
) -> MadeT:
    """Open a client for a URL and return ``make(client)``.

    If that fails, the client is closed.

    Args:
        make: gets the client, or the backend in memory, and owns it if it succeeds.
        conn_string: the URL.
        memory: makes the backend for ``memory:``.
        options: of the connection. ``None`` stands for "not given", so that the URL may say it.
        check: ask for a sign of life; what serves event loops alone asks when it is entered.

    Raises:
        InvalidInput: an argument is wrong.
        MissingDependency: no client library is installed.
        Unavailable: ``check``, and no answer until the deadline.
        AccessDenied: ``check``, and the credentials are wrong.
    """
    if isinstance(conn_string, str) and conn_string[: len(MEMORY)].lower() == MEMORY:
        check_memory_url(conn_string, options)
        return make(memory())
    client = open_client(conn_string, **options)
    with closing_on_error(client.close):
        made = make(client)
        if isinstance(made, Awaiting):
            made.checks_on_entry = check
        elif check:
            made.ping()
    return made
