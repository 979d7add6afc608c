"""Hosts, origins and tokens that are let in; and the headers of every answer."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Sequence
from http.cookies import CookieError, SimpleCookie
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...domain.errors import InvalidInput

LOCAL: Final = ("localhost", "127.0.0.1", "[::1]")

POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)

HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with no-referrer, browsers send forms with the origin null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

COOKIE: Final = "statekeep_ui"

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]/@\s]+)(?::\d{1,5})?")


def checked_hosts(hosts: Sequence[str] | None) -> frozenset[str] | None:
    """Return names of hosts as they are compared.

    Args:
        hosts: without ports; ``None`` for any.

    Raises:
        InvalidInput: something is no name.
    """
    if hosts is None:
        return None
    if isinstance(hosts, str) or not all(isinstance(host, str) and name_of(host) == host.lower() for host in hosts):
        raise InvalidInput("hosts must be names without ports, such as ['example.com'], or None", field="hosts")
    return frozenset(host.lower() for host in hosts)


def name_of(host: str) -> str | None:
    """Return the name in a ``Host`` header, without the port; ``None`` if it is none.

    >>> name_of("LocalHost:8000"), name_of("[::1]:80"), name_of("a@b")
    ('localhost', '[::1]', None)
    """
    found = _HOST.fullmatch(host)
    return None if found is None else found[1].lower()


class Tokens:
    """Compares tokens in constant time.

    Args:
        token: the right one.
    """

    def __init__(self, token: str) -> None:
        self._token = hashlib.sha256(token.encode()).digest()
        self.cookie = hmac.new(token.encode(), b"statekeep ui", hashlib.sha256).hexdigest()
        """What the cookie holds: not the token, and the same after a restart."""

    def is_right(self, token: str) -> bool:
        """Return whether a token is the right one."""
        # Digests: to compare texts of different lengths would tell the length.
        given = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        return hmac.compare_digest(given, self._token)

    def is_cookie(self, value: str) -> bool:
        """Return whether a cookie was set by :attr:`cookie`."""
        return hmac.compare_digest(value.encode("utf-8", "surrogatepass"), self.cookie.encode())


class Csrf:
    """Tokens of forms: only a page of ours can have one for a browser's cookie."""

    NAME: Final = "statekeep_form"

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def token(self, cookie: str) -> str:
        """Return the token of forms for a browser that has a cookie."""
        return hmac.new(self._key, cookie.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def is_right(self, cookie: str, token: str) -> bool:
        """Return whether a form came from a page of ours."""
        return hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self.token(cookie).encode())


def cookie_of(headers: Headers, name: str) -> str:
    """Return a cookie; ``""`` if there is none."""
    try:
        found = SimpleCookie("; ".join(headers.getlist("cookie"))).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


class Guard:
    """Refuses what a page of another site may have sent, and who has no token.

    Args:
        inner: the application.
        hosts: names that may be asked for; ``None`` for any.
        tokens: compares tokens; ``None``: nobody needs one.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] | None, tokens: Tokens | None) -> None:
        self._inner = app
        self._hosts = hosts
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":  # there are no web sockets here
            await send({"type": "websocket.close", "code": 1008})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        headers = Headers(scope=scope)
        refused = self._refused(scope, headers) or self._unknown(scope, headers)
        await (refused or self._inner)(scope, receive, with_headers)

    def _refused(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse other hosts and other origins."""
        host = headers.getlist("host")
        name = name_of(host[0]) if len(host) == 1 else None
        if name is None or (self._hosts is not None and name not in self._hosts):
            return _plain("This host is not served here. Say --host, or hosts=, if it is to be.", 421)
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host[0].lower():
            return _plain("Requests of other origins are refused.", 403)
        site = headers.get("sec-fetch-site", "none")
        if site not in ("none", "same-origin"):
            is_visit = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
            if scope["method"] not in ("GET", "HEAD") or not is_visit:
                return _plain("Requests of other sites are refused.", 403)
        return None

    def _unknown(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse who has no token, and remember who comes with one in the link."""
        if self._tokens is None:
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer" and self._tokens.is_right(given.strip()):
            return None
        if self._tokens.is_cookie(cookie_of(headers, COOKIE)):
            return None
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        tokens = [value for name, value in query if name == "token"]
        if scope["method"] == "GET" and len(tokens) == 1 and self._tokens.is_right(tokens[0]):
            root = scope.get("root_path", "")
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            # Not what the request said, but below here: no path is taken for a host.
            path = root + "/" + scope["path"].removeprefix(root).lstrip("/")
            response = RedirectResponse(path + (f"?{rest}" if rest else ""), 303)
            response.set_cookie(
                COOKIE,
                self._tokens.cookie,
                path=root or "/",
                httponly=True,
                samesite="lax",
                secure=scope.get("scheme") == "https",
            )
            return response
        return _plain("Open the link with the token that `statekeep ui` printed.", 401)


def _plain(text: str, status: int) -> Response:
    return PlainTextResponse(text + "\n", status)
