"""The ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...domain.errors import CorruptRecord, InvalidInput, StatekeepError, Throttled, Unavailable, Unsupported
from ...inspection.printable import redacted
from ...repositories.connection import AsyncConnection, Connection
from .assets import asset
from .changes import confirming
from .guard import LOCAL, Guard, Tokens, checked_hosts
from .site import NotThere, Page, Site
from .views import cache, checkpoint, items, logs, thread, threads, values

logger: Final = logging.getLogger("statekeep")

View = Callable[[Page], Response]

PAGES: Final[Mapping[str, View]] = {
    "/": threads.listing,
    "/threads": threads.listing,
    "/threads/state": threads.state,
    "/thread": thread.timeline,
    "/thread/state": thread.state,
    "/checkpoint": checkpoint.page,
    "/value": values.channel,
    "/download": values.download,
    "/items": items.listing,
    "/item": items.one,
    "/logs": logs.listing,
    "/log": logs.one,
    "/cache": cache.namespaces,
    "/cache/entries": cache.entries,
}

MOST: Final = 64 * 1024
"""Bytes of the body of a request: a form of ours is shorter."""


def app(
    keep: Connection | AsyncConnection,
    *,
    write: bool = False,
    token: str | None = None,
    hosts: Sequence[str] | None = LOCAL,
    urls: Sequence[str] = (),
) -> Starlette:
    """Make an ASGI application that shows what a connection keeps.

    Mount it anywhere in another application. It links to its own pages by ``root_path``, so it needs no setting for
    that. Values are decoded without executing anything, and shown as text.

    Args:
        keep: the connection. It stays yours: close it when you are done.
        write: also delete, prune, clear and copy. Each has a page of its own that asks for it again.
        token: who knows it may look. ``/?token=...`` sets a cookie; a program sends ``Authorization: Bearer ...``.
            ``None``: everybody may who reaches it.
        hosts: names of hosts that a request may ask for, with any port; others are refused, which keeps pages of
            other sites out that have their name resolve to this machine. ``None``: any. Say so only where another
            application has looked at who asks, or with a token.
        urls: whose secrets are to be in no page, such as the one that ``keep`` was made with.

    Returns:
        An application of Starlette.

    Raises:
        InvalidInput: an argument is wrong.

    Example:
        >>> import statekeep
        >>> from starlette.testclient import TestClient
        >>> keep = statekeep.connect("memory:")
        >>> keep.checkpoints.put(statekeep.Checkpoint(thread_id="chat-1"))
        >>> client = TestClient(app(keep), base_url="http://localhost")
        >>> "chat-1" in client.get("/").text
        True
    """
    if isinstance(keep, AsyncConnection):
        keep = keep.blocking
    if not isinstance(keep, Connection):
        raise InvalidInput(f"keep must be a connection, got {type(keep).__name__}", field="keep")
    if token is not None and (not isinstance(token, str) or len(token) < 16):
        raise InvalidInput("token must be a text of 16 characters or more, or None", field="token")
    tokens = None if token is None else Tokens(token)
    site = Site(keep, write=write, hide=lambda text: redacted(text, *urls))
    routes = [Route(path, _endpoint(site, view), methods=["GET"]) for path, view in PAGES.items()]
    routes.append(Route("/static/{name}", asset, methods=["GET"]))
    if write:
        routes.append(Route("/confirm", _endpoint(site, confirming.confirm), methods=["GET"]))
        routes.append(Route("/change", _endpoint(site, confirming.change), methods=["POST"]))
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, hosts=checked_hosts(hosts), tokens=tokens)],
        exception_handlers={404: _nothing(site), 405: _nothing(site)},
    )


def _endpoint(site: Site, view: View) -> Callable[[Request], Any]:
    async def answer(request: Request) -> Response:
        form = {}
        if request.method == "POST":
            body = b""
            async for chunk in request.stream():
                body += chunk
                if len(body) > MOST:
                    return Response("The form is too long.", 413, media_type="text/plain")
            form = site.form(body)
        return await run_in_threadpool(_answered, Page(site, request, form), view)

    return answer


def _answered(page: Page, view: View) -> Response:
    try:
        return view(page)
    except NotThere as error:
        return page.problem(str(error), 404)
    except StatekeepError as error:
        notes: list[str] = getattr(error, "__notes__", [])
        return page.problem("; ".join([f"{type(error).__name__}: {error}", *notes]), _status(error))
    except Exception as error:
        logger.exception("a page of the user interface failed")
        return page.problem(f"A fault of Statekeep: {type(error).__name__}. Its log says more.", 500)


def _status(error: StatekeepError) -> int:
    """Return the HTTP status of an error."""
    if isinstance(error, InvalidInput | Unsupported):
        return 400
    if isinstance(error, Unavailable | Throttled):
        return 503
    return 500 if isinstance(error, CorruptRecord) else 502


def _nothing(site: Site) -> Callable[[Request, Exception], Any]:
    async def answer(request: Request, error: Exception) -> Response:
        status = getattr(error, "status_code", 404)
        return await run_in_threadpool(Page(site, request, {}).problem, "There is no such page.", status)

    return answer
