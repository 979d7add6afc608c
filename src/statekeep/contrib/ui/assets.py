"""The style sheet and the script."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

TYPES: Final = {"style.css": "text/css", "live.js": "text/javascript"}


@cache
def _read(name: str) -> bytes:
    return (files(__package__) / "static" / name).read_bytes()


@cache
def mark(name: str) -> str:
    """Return a mark of a file's content, which stands in its address.

    Browsers keep the file until it changes.

    Args:
        name: of the file.
    """
    return hashlib.sha256(_read(name)).hexdigest()[:12]


async def asset(request: Request) -> Response:
    """Answer with a file."""
    name = request.path_params["name"]
    if name not in TYPES:
        return Response("There is no such file.", 404, media_type="text/plain")
    return Response(_read(name), media_type=TYPES[name], headers={"Cache-Control": "max-age=31536000, immutable"})
