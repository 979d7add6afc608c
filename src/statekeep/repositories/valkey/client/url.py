"""Address and settings of a Valkey server, from a URL and keywords.

======================================  ==========================================================
URL                                     server
======================================  ==========================================================
``valkey://user:pass@host:port/db``     one server
``valkeys://...``                       the same over TLS
``valkey+cluster://h1:p1,h2:p2``        a cluster; any of its nodes will do
``valkeys+cluster://...``               the same over TLS
``valkey+sentinel://h1,h2/service/db``  the primary that sentinels name, at ``h1`` and ``h2``
``valkeys+sentinel://...``              the same over TLS, sentinels included
``unix:///path?db=N``                   one server, through a unix socket; also ``valkey+unix://``
======================================  ==========================================================

``redis`` for ``valkey`` is the same. User and password are percent-encoded. Each keyword of :func:`target` may be a
query parameter, too.
"""

from __future__ import annotations

import logging
import math
import re
import socket
import ssl
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import field, frozen

from ....domain import InvalidInput, Unsupported
from ....domain.model import plain_text
from ....domain.shown import shown
from ...options import CredentialProvider, Driver
from ...process.notices import notice, valkey_logger
from ...validation import seconds
from .valkey_py_options import FALSE, TRUE, settle

Kind = Literal["server", "cluster", "unix", "sentinel"]

SCHEMES: Final[Mapping[str, tuple[bool, Kind]]] = {
    # by scheme: whether TLS is used, and what is there
    "valkey": (False, "server"),
    "redis": (False, "server"),
    "valkeys": (True, "server"),
    "rediss": (True, "server"),
    "valkey+cluster": (False, "cluster"),
    "redis+cluster": (False, "cluster"),
    "valkeys+cluster": (True, "cluster"),
    "rediss+cluster": (True, "cluster"),
    "valkey+sentinel": (False, "sentinel"),
    "redis+sentinel": (False, "sentinel"),
    "valkeys+sentinel": (True, "sentinel"),
    "rediss+sentinel": (True, "sentinel"),
    "unix": (False, "unix"),
    "valkey+unix": (False, "unix"),
    "redis+unix": (False, "unix"),
}

PORT: Final = 6379
SENTINEL_PORT: Final = 26379


@frozen(kw_only=True)
class Target:
    """A server or cluster, credentials and settings. ``repr`` hides the password.

    Attributes:
        service: of sentinels; without it ``addresses`` are those of the server, or of a ``cluster``.
        tls: encrypt connections.
        database: number of the database.
        username: user to log in as, if not the one of the URL.
        password: its password, if not the one of the URL.
        sentinel_username: user to log in as at sentinels.
        sentinel_password: its password.
        credential_provider: a function that returns user and password; a keyword only.
        client: ``glide`` or ``valkey-py``. Without it, valkey-py for one server, glide for a cluster.
        client_name: as ``CLIENT LIST`` shows it.
        tls_ca_certs: file with the authorities to trust; those of the system without it.
        tls_cert: file with the client's certificate.
        tls_key: file with the certificate's key.
        tls_insecure: do not check the server's certificate.
        tls_ca_data: certificates of the authorities to trust: a folder of files with some, or some as text.
        tls_check_hostname: check that the certificate is the host's.
        tls_min_version: oldest version of TLS.
        tls_ciphers: ciphers, as OpenSSL lists them.
        keepalive: have TCP ask whether the other end is still there.
        keepalive_options: how, as options of the socket; a keyword only.
        pool_size: connections of valkey-py at most; glide always needs one.
        pool_timeout: seconds that a request waits for its turn while all connections are busy.
        request_timeout: seconds for one attempt.
        connect_timeout: seconds for connecting.
        deadline: seconds for which a request is tried again while the server is away.
        slow_request: seconds from which on the logger ``statekeep.valkey`` warns of a request that took so long.
    """

    addresses: tuple[tuple[str, int], ...] = ()
    service: str | None = None
    unix_socket: str | None = None
    cluster: bool = False
    tls: bool = False
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    credential_provider: CredentialProvider | None = field(default=None, repr=lambda found: "..." if found else "None")
    client: Driver | None = None
    client_name: str = "statekeep"
    tls_ca_certs: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_insecure: bool = False
    tls_ca_data: str | None = field(default=None, repr=False)
    tls_check_hostname: bool = True
    tls_min_version: ssl.TLSVersion | None = None
    tls_ciphers: str | None = None
    keepalive: bool = False
    keepalive_options: Mapping[int, int | bytes] | None = None
    pool_size: int = 10
    pool_timeout: float = math.inf
    request_timeout: float = 5.0
    connect_timeout: float = 2.0
    deadline: float = 10.0
    slow_request: float | None = None

    def __str__(self) -> str:
        """Return the address, without credentials."""
        if self.unix_socket is not None:
            return self.unix_socket
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.addresses)
        return hosts if self.service is None else f"{self.service} of {hosts}"

    @property
    def only_valkey_py(self) -> str | None:
        """Something that glide cannot do, if it is asked for."""
        if self.service is not None:
            return "+sentinel"
        if not self.tls_check_hostname:
            return "ssl_check_hostname"
        if self.tls_min_version is not None:
            return "ssl_min_version"
        return None if self.tls_ciphers is None else "ssl_ciphers"

    @property
    def attempt(self) -> float:
        """Longest time of one attempt in seconds: no longer than ``deadline``."""
        return min(self.request_timeout, self.deadline) if self.deadline else self.request_timeout


_DEFAULT: Final = Target()


def embedded_target(url: str, settings: Settings) -> Target:
    """Return the target for an embedded server at ``unix:///path``.

    It has no password and no TLS, so that settings of these mean nothing.
    """
    mute = ("username", "password", "sentinel", "credential", "tls")
    values = {name: value for name, value in settings.values.items() if not name.startswith(mute)}
    return Target(unix_socket=unquote(urlsplit(url).path), **values)


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidInput(f"{name} must be non-empty text", field=name)
    return plain_text(value)


def _word(name: str, value: Any) -> str:
    text = _text(name, value)
    # The server refuses the others in names of clients.
    if not all("!" <= character <= "~" for character in text):
        raise InvalidInput(f"{name} must be printable ASCII without spaces", field=name)
    return text


def _secret(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InvalidInput(f"{name} must be text", field=name)
    return plain_text(value)


def _provider(name: str, value: Any) -> CredentialProvider:
    # One of valkey-py is an object with this method.
    function = getattr(value, "get_credentials", value)
    if not callable(function):
        raise InvalidInput(f"{name} must be a function that returns a user and a password", field=name)
    found: CredentialProvider = function
    return found


def _driver(name: str, value: Any) -> Driver:
    if value == "glide":
        return "glide"
    if value == "valkey-py":
        return "valkey-py"
    raise InvalidInput(f"{name} must be 'glide' or 'valkey-py', got {shown(value)}", field=name)


_SERVICE: Final = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)  # as sentinels have it
_MOST: Final = 2**31 - 1
_DIGITS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


def _integer(least: int) -> Callable[[str, Any], int]:
    def convert(name: str, value: Any) -> int:
        number = int(value) if isinstance(value, str) and _DIGITS.fullmatch(value) else value
        if type(number) is not int or not least <= number <= _MOST:
            raise InvalidInput(f"{name} must be an integer from {least} to {_MOST}, got {shown(value)}", field=name)
        return number

    return convert


def _seconds(*, zero: bool) -> Callable[[str, Any], float]:
    def convert(name: str, value: Any) -> float:
        try:
            number = float(value) if isinstance(value, str) else value
        except ValueError:
            number = value
        return seconds(name, number, zero=zero)

    return convert


def _switch(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if value.lower() in TRUE:
            return True
        if value.lower() in FALSE:
            return False
    raise InvalidInput(f"{name} must be true or false, got {shown(value)}", field=name)


def _no_certificate_checks(name: str, value: Any) -> bool:
    if value in ("none", ssl.CERT_NONE):
        return True
    # For a client, "optional" is another word for it.
    if value in ("required", "optional", ssl.CERT_REQUIRED, ssl.CERT_OPTIONAL):
        return False
    raise InvalidInput(f"{name} must be 'required' or 'none', got {shown(value)}", field=name)


def _file(name: str, value: Any) -> str:
    try:
        path = Path(value)
        with path.open("rb"):
            return str(path)
    except (OSError, TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be a readable file: {error}", field=name) from error


def _certificates(name: str, value: Any) -> str:
    try:
        text = ssl.DER_cert_to_PEM_cert(value) if isinstance(value, bytes) else value
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, TypeError, ValueError) as error:
        raise InvalidInput(
            f"{name} must be certificates, PEM as text or one in DER as bytes: {error}", field=name
        ) from None
    return str(text)


def _folder_of_certificates(name: str, value: Any) -> str:
    try:
        texts = [path.read_text("ascii", "ignore") for path in sorted(Path(value).iterdir()) if path.is_file()]
    except (OSError, TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be a readable directory: {error}", field=name) from error
    return _certificates(name, "\n".join(text for text in texts if "-----BEGIN CERTIFICATE-----" in text))


def _tls_version(name: str, value: Any) -> ssl.TLSVersion:
    versions = {version.name: version for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)}
    if value not in (*versions, *versions.values()):
        raise InvalidInput(f"{name} must be one of {', '.join(versions)}, or of ssl.TLSVersion", field=name)
    return versions[value] if isinstance(value, str) else ssl.TLSVersion(value)


def _ciphers(name: str, value: Any) -> str:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers(value)
    except (ssl.SSLError, TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be a list of ciphers as OpenSSL has it: {error}", field=name) from None
    return str(value)


def _socket_options(name: str, value: Any) -> Mapping[int, int | bytes]:
    if isinstance(value, Mapping) and all(isinstance(option, int) for option in value):
        return dict(value)
    raise InvalidInput(f"{name} must be a mapping from options of a TCP socket to their values", field=name)


PARAMETERS: Final[dict[str, tuple[str, Callable[[str, Any], Any]]]] = {
    # name in the URL or keyword: (attribute of Target, how it is read)
    "db": ("database", _integer(0)),
    "username": ("username", _text),
    "password": ("password", _secret),
    "credential_provider": ("credential_provider", _provider),
    "sentinel_username": ("sentinel_username", _text),
    "sentinel_password": ("sentinel_password", _secret),
    "client": ("client", _driver),
    "client_name": ("client_name", _word),
    "pool_size": ("pool_size", _integer(1)),
    "pool_timeout": ("pool_timeout", _seconds(zero=False)),
    "request_timeout": ("request_timeout", _seconds(zero=False)),
    "connect_timeout": ("connect_timeout", _seconds(zero=False)),
    "deadline": ("deadline", _seconds(zero=True)),
    "slow_request": ("slow_request", _seconds(zero=False)),
    "tls_ca_certs": ("tls_ca_certs", _file),
    "tls_cert": ("tls_cert", _file),
    "tls_key": ("tls_key", _file),
    "tls_insecure": ("tls_insecure", _switch),
    # valkey-py's names
    "max_connections": ("pool_size", _integer(1)),
    "timeout": ("pool_timeout", _seconds(zero=False)),
    "socket_timeout": ("request_timeout", _seconds(zero=False)),
    "socket_connect_timeout": ("connect_timeout", _seconds(zero=False)),
    "socket_keepalive": ("keepalive", _switch),
    "socket_keepalive_options": ("keepalive_options", _socket_options),
    "ssl": ("tls", _switch),
    "ssl_ca_certs": ("tls_ca_certs", _file),
    "ssl_ca_path": ("tls_ca_data", _folder_of_certificates),
    "ssl_ca_data": ("tls_ca_data", _certificates),
    "ssl_certfile": ("tls_cert", _file),
    "ssl_keyfile": ("tls_key", _file),
    "ssl_cert_reqs": ("tls_insecure", _no_certificate_checks),
    "ssl_check_hostname": ("tls_check_hostname", _switch),
    "ssl_min_version": ("tls_min_version", _tls_version),
    "ssl_ciphers": ("tls_ciphers", _ciphers),
}


_MALFORMED: Final = "url is malformed; user and password must be percent-encoded"


class Settings:
    """Settings without contradictions: ``values`` of :class:`Target`, by name."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self._said_by: dict[str, str] = {}

    def read(self, query: str, keywords: Mapping[str, Any] | None) -> Self:
        """Add those of a URL's query and of keywords.

        ``None`` values of keywords are as if absent.

        Raises:
            InvalidInput: a parameter is wrong, unknown or contradicts another; ``field`` names it.
        """
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError:
            raise InvalidInput(_MALFORMED, field="url") from None
        for name, value in pairs:
            self.say(name, value, "the URL")
        for name, value in (keywords or {}).items():
            if value is not None:
                self.say(name, value, "the keywords")
            elif name == "ssl_cert_reqs":  # which asks valkey-py to check none
                instead = "certificates are checked; 'none' would turn that off"
                notice(valkey_logger, logging.WARNING, name, f"{name}=None has no effect: {instead}")
        return self

    def say(self, name: str, value: Any, where: str) -> None:
        if settle(name, value):
            return
        try:
            attribute, read = PARAMETERS[name]
        except KeyError:
            known = ", ".join(PARAMETERS)
            if "@" in str(value):  # behind an unencoded "?" it may be a part of the password
                raise InvalidInput(
                    f"unknown parameter in {where}; percent-encode a '?' in the password", field="url"
                ) from None
            raise InvalidInput(f"unknown parameter {shown(name)} in {where}; known are {known}", field=name) from None
        value = read(name, value)
        if self.values.setdefault(attribute, value) != value:
            raise InvalidInput(f"{name} in {where} contradicts {self._said_by[attribute]}", field=name)
        self._said_by.setdefault(attribute, f"{name} in {where}")


def _address(text: str, usual: int) -> tuple[str, int]:
    # No message shows the text: of a URL whose password is not percent-encoded it may be a part of the password.
    hint = "the URL must be scheme://user:password@host:port with user and password percent-encoded"
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise InvalidInput(f"an IPv6 address is written [address]:port; {hint}", field="url")
        port = rest[1:] if rest else ""
    else:
        host, colon, port = text.partition(":")
        if colon and not port:
            raise InvalidInput(f"the port is missing behind ':'; {hint}", field="url")
        if ":" in port:
            raise InvalidInput(f"an IPv6 address is written [address]:port; {hint}", field="url")
    if not port:
        return unquote(host) or "localhost", usual
    if not (_DIGITS.fullmatch(port) and 0 < int(port) < 65536):
        raise InvalidInput(f"the port must be a number from 1 to 65535; {hint}", field="url")
    return unquote(host) or "localhost", int(port)


def target(url: str, keywords: Mapping[str, Any] | None = None) -> Target:
    """Read a URL and keywords.

    Args:
        url: see the table above.
        keywords: the same parameters as in the query of the URL, see :data:`PARAMETERS`; ``None`` is as if absent.

    Raises:
        InvalidInput: the URL or a parameter is wrong, unknown or contradicts another; ``field`` names it.
        Unsupported: there are no unix sockets on this platform.

    Example:
        >>> target("valkey://ada:s3cret@db.example:6380/2?pool_size=4")  # doctest: +ELLIPSIS
        Target(addresses=(('db.example', 6380),), ..., database=2, username='ada', ..., pool_size=4, ...)
    """
    if not isinstance(url, str):
        raise InvalidInput(f"url must be text, got {type(url).__name__}", field="url")
    url = plain_text(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InvalidInput(_MALFORMED, field="url") from None
    if parts.scheme not in SCHEMES or not url[len(parts.scheme) :].startswith("://"):
        raise InvalidInput(f"url must start with one of {', '.join(f'{name}://' for name in SCHEMES)}", field="url")
    if parts.fragment:
        raise InvalidInput("url must have no '#' part; percent-encode a '#' in the password", field="url")
    tls, kind = SCHEMES[parts.scheme]

    settings = Settings()
    settings.say("ssl", tls, "the scheme (valkeys:// means TLS)")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    if username:
        settings.say("username", unquote(username), "the URL")
    if password:
        settings.say("password", unquote(password), "the URL")
    path = unquote(parts.path)
    service: str | None = None
    addresses: tuple[tuple[str, int], ...] = ()
    if kind == "unix":
        if not hasattr(socket, "AF_UNIX"):
            raise Unsupported("there are no unix sockets on this platform; use valkey://host:port")
        if hosts or len(path) < 2:
            raise InvalidInput("the URL of a unix socket is unix:///path, with an absolute path", field="url")
    else:
        usual = SENTINEL_PORT if kind == "sentinel" else PORT
        addresses = tuple(_address(host, usual) for host in hosts.split(","))
        if len(addresses) > 1 and kind == "server":
            raise InvalidInput("several hosts need a URL with +cluster:// or +sentinel://", field="url")
        number = path.strip("/")
        if kind == "sentinel":
            service, _, number = path.removeprefix("/").partition("/")
            if not _SERVICE.fullmatch(service):
                # Not shown: behind an unencoded "/" it is a part of the password.
                raise InvalidInput(
                    "the URL of a service is valkey+sentinel://user:password@host:port,host:port/SERVICE/DB, with the "
                    "name that the sentinels know; percent-encode a '/' in the password",
                    field="url",
                )
        if number:
            if not (number.isascii() and number.isdecimal()):
                # Not shown: behind an unencoded "/" it is a part of the password.
                raise InvalidInput(
                    "the path of the URL must be the number of the database; percent-encode a '/' in the password",
                    field="db",
                )
            settings.say("db", number, "the URL")
    values = settings.read(parts.query, keywords).values
    is_unix, is_cluster = kind == "unix", kind == "cluster"
    socket_path = path if is_unix else None
    found = Target(addresses=addresses, service=service, unix_socket=socket_path, cluster=is_cluster, **values)
    _check(found)
    return found


def _check(found: Target) -> None:
    if found.cluster and found.database:
        raise InvalidInput("db must be 0 in a cluster", field="db")
    for name in () if found.service else ("sentinel_username", "sentinel_password"):
        if getattr(found, name) is not None:
            raise InvalidInput(f"{name} needs a URL with +sentinel://", field=name)
    for name in ("username", "password") if found.credential_provider else ():
        if getattr(found, name) is not None:
            raise InvalidInput(f"{name} cannot be given beside credential_provider, which brings it", field=name)
    if found.username and found.password is None:
        raise InvalidInput("password is missing; username alone cannot log in", field="password")
    for name, (attribute, _) in () if found.tls else PARAMETERS.items():
        if attribute.startswith("tls_") and getattr(found, attribute) != getattr(_DEFAULT, attribute):
            raise InvalidInput(f"{name} needs a URL with TLS: valkeys:// or valkeys+cluster://", field=name)
    if (found.tls_cert is None) != (found.tls_key is None):
        missing = "tls_key" if found.tls_key is None else "tls_cert"
        raise InvalidInput(f"{missing} is missing; tls_cert and tls_key go together", field=missing)
