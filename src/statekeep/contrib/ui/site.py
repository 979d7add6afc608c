"""Links, parameters, templates, and time for sizes: all pages share them."""

from __future__ import annotations

import datetime as dt
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl, urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ...domain.errors import InvalidInput, Portable, StatekeepError, Unsupported
from ...inspection.labels import decode_labels, encode_labels
from ...inspection.printable import duration, size, visible
from ...repositories.connection import Connection
from . import assets, markup
from .guard import Csrf

T = TypeVar("T")

PATIENCE: Final = 0.1
"""Seconds that a page spends on sizes; the others are not shown until they are asked for."""


class NotThere(Portable):
    """There is no such record."""


def _finalized(value: Any) -> Any:
    """Return a value of an expression in a template, in which all can be seen."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


class Site:
    """The things that all pages of an application share.

    Args:
        keep: the connection.
        write: whether something may be changed.
        hide: takes secrets out of messages.
    """

    def __init__(self, keep: Connection, *, write: bool, hide: Callable[[str], str]) -> None:
        self.keep = keep
        self.write = write
        self.hide = hide
        self.csrf = Csrf()
        self.environment = Environment(
            loader=PackageLoader(__package__),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_finalized,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {
            "size": size,
            "duration": duration,
            "labels": encode_labels,
            "shown": markup.shown,
            "tree": markup.tree,
            "brief": markup.brief,
        }

    def form(self, body: bytes) -> dict[str, str]:
        """Read the body of a form."""
        try:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50))
        except ValueError:  # it is none
            return {}

    def places(self) -> list[tuple[str, str, str]]:
        """Return what there is to look at: name, path, and title."""
        found = [("threads", "threads", "Threads")]
        if self.keep.has_items:
            found.append(("items", "items", "Items"))
        if self.keep.has_logs:
            found.append(("logs", "logs", "Logs"))
        if self.has_cache:
            found.append(("cache", "cache", "Cache"))
        return found

    @property
    def has_cache(self) -> bool:
        """Whether the service keeps cache entries."""
        try:
            return self.keep.cache is not None
        except Unsupported:
            return False


class Page:
    """One request for a page, and its answer.

    Args:
        site: what all pages share.
        request: the request.
        form: the fields of its body.
    """

    def __init__(self, site: Site, request: Request, form: Mapping[str, str]) -> None:
        self.site = site
        self.keep = site.keep
        self.request = request
        self.form = form
        self.root = request.scope.get("root_path", "").rstrip("/")

    # -- what was asked for

    def text(self, name: str, default: str = "") -> str:
        """Return a parameter of the address."""
        return self.request.query_params.get(name, default)

    def needed(self, name: str) -> str:
        """Return a parameter that the page needs."""
        found = self.text(name)
        if not found:
            raise InvalidInput(f"the address of this page needs {name}=", field=name)
        return found

    def number(self, name: str, default: int = 0, most: int = 2**53) -> int:
        """Return a parameter that is a number."""
        text = self.text(name)
        if not text:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 16:
            raise InvalidInput(f"{name} must be a number, got {text[:40]!r}", field=name)
        return min(int(text), most)

    def labels(self, name: str) -> tuple[str, ...]:
        """Return a parameter that is a namespace."""
        return decode_labels(self.text(name), name)

    # -- the answer

    def link(self, place: str, **parameters: Any) -> str:
        """Return the address of a page of ours.

        Args:
            place: its path without the first slash.
            parameters: those that are neither empty nor ``None`` are in it.
        """
        given = [(name, value) for name, value in parameters.items() if value not in (None, "", False)]
        query = urlencode([(name, "1" if value is True else value) for name, value in given], errors="surrogatepass")
        return f"{self.root}/{place}" + (f"?{query}" if query else "")

    def now(self) -> dt.datetime:
        """Return the time of this host: to ask the service is a round trip, and may fail."""
        return dt.datetime.now(dt.UTC)

    def when(self, at: dt.datetime | None) -> Markup:
        """Show how long ago something was, or in how long it is."""
        if at is None:
            return Markup("never")
        seconds = (self.now() - at).total_seconds()
        text = f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"
        return Markup('<time datetime="{}" title="{}">{}</time>').format(
            at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S.%f %Z}", text
        )

    def render(self, template: str, *, title: str, at: str, status: int = 200, **values: Any) -> Response:
        """Answer with a page.

        Args:
            template: its file, without the end.
            title: of the page.
            at: which of :meth:`Site.places` it belongs to.
            status: of HTTP.
            values: of the template.
        """
        text = self.site.environment.get_template(f"{template}.html").render(
            page=self,
            title=title,
            at=at,
            link=self.link,
            when=self.when,
            places=self.site.places(),
            write=self.site.write,
            style=f"{self.root}/static/style.css?v={assets.mark('style.css')}",
            script=f"{self.root}/static/live.js?v={assets.mark('live.js')}",
            done=DONE.get(self.text("done")),
            **values,
        )
        return HTMLResponse(text.encode("utf-8", "backslashreplace"), status)

    def problem(self, message: str, status: int) -> Response:
        """Answer with a page that says what is wrong."""
        return self.render("problem", title="Not shown", at="", status=status, message=self.site.hide(message))

    def said(self, error: StatekeepError) -> str:
        """Return what a page says of an error that leaves a part of it out."""
        return self.site.hide(f"{type(error).__name__}: {error}")

    def moved(self, place: str, **parameters: Any) -> Response:
        """Send the browser to another page."""
        return RedirectResponse(self.link(place, **parameters), 303)

    def form_cookie(self) -> str:
        """Return the cookie that forms of this browser belong to: its own, or a new one."""
        return self.request.cookies.get(Csrf.NAME) or secrets.token_urlsafe(24)


DONE: Final = {
    "deleted": "Deleted.",
    "pruned": "Pruned.",
    "cleared": "Cleared.",
    "copied": "Copied. This is the new thread.",
}
"""What a page says when something was done. Words of the address are never shown."""


class Sizes:
    """Measures a few of many things, as long as there is time.

    Args:
        seconds: how long.
    """

    def __init__(self, seconds: float = PATIENCE) -> None:
        self._end = time.monotonic() + seconds
        self.are_all = True
        """Whether there was time for all."""
        self.problem: StatekeepError | None = None
        """Why nothing is measured."""

    def measure(self, things: Iterable[T], ask: Callable[[T], Any]) -> list[Any]:
        """Return the measures of things, ``None`` of those that there was no time for.

        Args:
            things: to be measured.
            ask: measures one.
        """
        return [self._one(thing, ask) for thing in things]

    def _one(self, thing: T, ask: Callable[[T], Any]) -> Any:
        if self.problem is not None:
            return None
        if time.monotonic() >= self._end:
            self.are_all = False
            return None
        try:
            return ask(thing)
        except StatekeepError as error:
            self.problem = error
            return None


def chunks(values: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces.

    >>> [list(piece) for piece in chunks([1, 2, 3], 2)]
    [[1, 2], [3]]
    """
    for start in range(0, len(values), most):
        yield values[start : start + most]
