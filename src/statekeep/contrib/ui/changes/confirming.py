"""The page that asks again, and what it sends."""

from __future__ import annotations

import hmac
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode

from starlette.responses import Response

from ....domain.errors import InvalidInput
from ..guard import Csrf
from ..site import Page
from .actions import ACTIONS, Action

DAY: Final = 86_400


def _action(name: str) -> Action:
    if name not in ACTIONS:
        raise InvalidInput("there is no such action", field="action")
    return ACTIONS[name]


def confirm(page: Page) -> Response:
    """Name what goes, and ask for a word."""
    name = page.needed("action")
    action = _action(name)
    place = {need: page.needed(need) for need in action.needs}
    place |= {each: page.text(each) for each in action.optional if page.text(each)}
    return _asked(page, name, place)


def _asked(page: Page, name: str, place: dict[str, str], problem: str | None = None) -> Response:
    action = _action(name)
    cookie = page.form_cookie()
    response = page.render(
        "confirm",
        title=action.title,
        at="",
        status=200 if problem is None else 400,
        action=action,
        told=action.tell(page.keep, place),
        word=None if action.word is None else action.word(place),
        asks=[(field, label, page.form.get(field) or first(place)) for field, label, first in action.asks],
        problem=problem,
        target=page.link("change"),
        # In ASCII, so that nothing of it is shown in another form than it is sent.
        place=urlencode({"action": name, **place}, errors="surrogatepass"),
        token=page.site.csrf.token(cookie),
    )
    response.set_cookie(
        Csrf.NAME,
        cookie,
        max_age=DAY,
        path=page.root or "/",
        httponly=True,
        samesite="strict",
        secure=page.request.url.scheme == "https",
    )
    return response


def change(page: Page) -> Response:
    """Do what was asked for twice."""
    cookie = page.request.cookies.get(Csrf.NAME, "")
    if not cookie or not page.site.csrf.is_right(cookie, page.form.get("token", "")):
        return page.problem("This form is not from here, or too old. Go back and try again.", 403)
    given: dict[str, Any] = dict(parse_qsl(page.form.get("place", ""), keep_blank_values=True, max_num_fields=10))
    name = given.pop("action", "")
    action = _action(name)
    if any(not given.get(need) for need in action.needs):
        raise InvalidInput("the form does not say what to change", field="place")
    if action.word is not None and not hmac.compare_digest(
        page.form.get("word", "").strip().encode("utf-8", "surrogatepass"), action.word(given).encode()
    ):
        return _asked(page, name, given, f"Type the word {action.word(given)!r}: nothing was changed.")
    done = action.do(page.keep, given, page.form)
    return page.moved(done.place, **done.parameters, done=done.word)
