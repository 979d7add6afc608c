"""Options of valkey-py's ``from_url`` that have no use here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from ....domain import InvalidInput
from ...process.notices import notice, valkey_logger

_TRIED_AGAIN: Final = "each request is tried again until its deadline; deadline=0 means one attempt"
_TEXT: Final = "records are decoded as they were encoded, and text is UTF-8"
_FOLLOWED: Final = "changes of the cluster are followed, and the nodes of the URL are not forgotten"
_UNCACHED: Final = "nothing is cached on the client's side"
_FASTEST: Final = "the client's fastest way to read and write is used"
_POOLED: Final = "connections are pooled as pool_size and pool_timeout say"
_NAMED: Final = "servers are told Statekeep's name and version; client_name is for your own"

WITHOUT_EFFECT: Final[Mapping[str, tuple[str, tuple[object, ...]]]] = {
    # name: (what is done instead, values that ask for nothing else)
    "retry": (_TRIED_AGAIN, ()),
    "retry_on_timeout": (_TRIED_AGAIN, ("true",)),
    "retry_on_error": (_TRIED_AGAIN, ()),
    "cluster_error_retry_attempts": (_TRIED_AGAIN, ()),
    "connection_error_retry_attempts": (_TRIED_AGAIN, ()),
    "health_check_interval": (
        "a connection that lay idle is looked at before it is used, and a request that fails is tried again",
        ("0",),
    ),
    "decode_responses": (_TEXT, ("false",)),
    "encoding": (_TEXT, ("utf-8", "utf8")),
    "encoding_errors": (_TEXT, ("strict",)),
    "charset": (_TEXT, ("utf-8", "utf8")),
    "errors": (_TEXT, ("strict",)),
    "protocol": ("valkey-py speaks RESP2 and glide RESP3, with the same results", ("2", "3")),
    "parser_class": (_FASTEST, ()),
    "command_packer": (_FASTEST, ()),
    "encoder_class": (_FASTEST, ()),
    "socket_read_size": (_FASTEST, ()),
    "socket_type": ("connections are streams of TCP", ("0", "1")),
    "lib_name": (_NAMED, ()),
    "lib_version": (_NAMED, ()),
    "queue_class": (_POOLED, ()),
    "single_connection_client": (_POOLED, ("false",)),
    "auto_close_connection_pool": (_POOLED, ("true",)),
    "cache_enabled": (_UNCACHED, ("false",)),
    "client_cache": (_UNCACHED, ()),
    "cache_max_size": (_UNCACHED, ()),
    "cache_ttl": (_UNCACHED, ()),
    "cache_policy": (_UNCACHED, ()),
    "cache_deny_list": (_UNCACHED, ()),
    "cache_allow_list": (_UNCACHED, ()),
    "read_from_replicas": ("primaries answer all reads", ("false",)),
    "require_full_coverage": (_FOLLOWED, ()),
    "dynamic_startup_nodes": (_FOLLOWED, ()),
    "reinitialize_steps": (_FOLLOWED, ()),
}

_IN_THE_URL: Final = "write it into the URL"
_YOUR_CLIENT: Final = "make a client of valkey-py with it, and pass that instead of a URL"
_NO_OCSP: Final = "clients of URLs do not ask for the state of certificates; make a client of valkey-py, and pass that"

REFUSED: Final[Mapping[str, tuple[str, tuple[object, ...]]]] = {
    # name: (what to do instead, values that ask for nothing)
    "host": (_IN_THE_URL, ()),
    "port": (_IN_THE_URL, ()),
    "path": (_IN_THE_URL, ()),
    "unix_socket_path": (_IN_THE_URL, ()),
    "startup_nodes": (_IN_THE_URL, ()),
    "connection_class": (_YOUR_CLIENT, ()),
    "connection_pool": (_YOUR_CLIENT, ()),
    "connection_pool_class": (_YOUR_CLIENT, ()),
    "valkey_connect_func": (_YOUR_CLIENT, ()),
    "address_remap": (_YOUR_CLIENT, ()),
    "ssl_password": ("decrypt the key (openssl pkey -in KEY -out DECRYPTED), and name that file", ()),
    "ssl_validate_ocsp": (_NO_OCSP, ("false",)),
    "ssl_validate_ocsp_stapled": (_NO_OCSP, ("false",)),
    "ssl_ocsp_context": (_NO_OCSP, ()),
    "ssl_ocsp_expected_cert": (_NO_OCSP, ()),
}
"""Options whose loss would be worse than an error: it may mean another server, or less security."""

TRUE: Final = ("1", "true", "yes", "on")
"""Texts for true, in lower case."""
FALSE: Final = ("0", "false", "no", "off")
"""Texts for false, in lower case."""


def _asks_for(value: Any, ordinary: tuple[object, ...]) -> bool:
    """Return whether a value is one of those that ask for nothing special."""
    text = str(value).lower() if isinstance(value, str | int) else None
    if text in ordinary:
        return True
    return (text in TRUE and "true" in ordinary) or (text in FALSE and "false" in ordinary)


def settle(name: str, value: Any) -> bool:
    """Deal with an option that has no use here; return whether it is one.

    Those without effect are logged by ``statekeep.valkey``, once per process and name, unless the value asks for what
    is done anyway.

    Raises:
        InvalidInput: the option cannot be done without.
    """
    if name in WITHOUT_EFFECT:
        instead, ordinary = WITHOUT_EFFECT[name]
        if not _asks_for(value, ordinary):
            notice(valkey_logger, logging.WARNING, name, f"{name} has no effect: {instead}")
        return True
    if name in REFUSED:
        instead, ordinary = REFUSED[name]
        if not _asks_for(value, ordinary):
            raise InvalidInput(f"{name} cannot be used with a URL: {instead}", field=name)
        return True
    return False
