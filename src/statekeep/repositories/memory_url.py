"""The URL of the memory backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..domain import InvalidInput

MEMORY: Final = "memory:"


def check_memory_url(url: str, options: Mapping[str, Any]) -> None:
    """Refuse what is no URL of ``memory:``, and what would be wrong in another one.

    A client's options mean nothing here, but a typing error should show before a server takes the place of ``memory:``.

    Args:
        url: the URL, which begins with ``memory:``.
        options: of a client.

    Raises:
        InvalidInput: something stands behind the ``:``, or an option is wrong or unknown.
    """
    rest, _, query = url[len(MEMORY) :].partition("?")
    if rest:
        raise InvalidInput("memory: takes nothing behind its ':' but parameters", field="url")
    if query or options:
        from .valkey.client.url import Settings

        Settings().read(query, options)
