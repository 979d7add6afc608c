"""Large values: more of them, and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

from ....domain.errors import InvalidInput
from ....domain.payload import Payload
from ....inspection import Limits, as_document, decode, decode_raw
from ..messages import conversation
from ..site import NotThere, Page
from . import checkpoint

LARGE: Final = Limits(items=5000, characters=200_000, values=20_000, depth=100)
"""How much of one value is shown."""

_MOST: Final = 2**40
WHOLE: Final = Limits(items=_MOST, characters=_MOST, values=_MOST, depth=100, bytes=_MOST)


def channel(page: Page) -> Response:
    """Show the value of a channel."""
    name = page.text("channel")
    saved = checkpoint.found(page)
    if name not in saved.channels or saved.channels[name].payload is None:
        raise NotThere(f"Checkpoint {saved.checkpoint_id!r} has no value in the channel {name!r}.")
    value = decode(saved.channels[name].payload or Payload(encoding="null", data=b""), LARGE)
    place = {"thread": saved.thread_id, "id": saved.checkpoint_id, "namespace": saved.namespace}
    return page.render(
        "value",
        title=f"Channel {name}",
        at="threads",
        name=name,
        value=value,
        messages=conversation(value.value),
        back=page.link("checkpoint", **place),
        whole=page.link("download", kind="value", channel=name, **place),
        raw=page.link("download", kind="raw", channel=name, **place),
    )


def download(page: Page) -> Response:
    """Answer with a file: a value as JSON, as it is stored, or a whole record."""
    kind = page.needed("kind")
    if kind not in ("value", "raw", "record"):
        raise InvalidInput("kind must be value, raw or record", field="kind")
    saved = checkpoint.found(page)
    if kind == "record":
        return _file(as_document(saved, WHOLE, raw=True), "checkpoint.json")
    name = page.text("channel")
    payload = saved.channels[name].payload if name in saved.channels else None
    if payload is None:
        raise NotThere(f"Checkpoint {saved.checkpoint_id!r} has no value in the channel {name!r}.")
    if kind == "raw":
        return _file(decode_raw(payload), "stored.json")
    return _file(decode(payload, WHOLE).model_dump(exclude_none=True), "value.json")


def _file(document: Mapping[str, Any], name: str) -> Response:
    """Answer with a file that a browser saves and never shows."""
    return Response(
        json.dumps(document, indent=1),
        media_type="application/json",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )
