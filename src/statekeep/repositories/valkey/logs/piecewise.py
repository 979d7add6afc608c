"""Stand-ins for the reading scripts of logs; see ``valkey/piecewise.py``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from ...operation import Operation
from ..piecewise import Args, Keys, Piecewise, server_ms
from ..requests import Call, Commands, Reply
from ..scripts import script


def _read(keys: Keys, args: Args) -> Operation[Reply]:
    log = keys[0]
    if keys[1:]:
        _, life, ends = keys
        (ttl,) = yield Commands([["GET", life]])
        if ttl and ttl.isdigit() and len(ttl) <= 16:
            # The index that has to know the end comes before the keys that live until then.
            now = yield from server_ms(log)
            yield Commands([["ZADD", ends, "XX", "GT", str(now + int(ttl)), args[3]]])
            yield Commands([["PEXPIREAT", key, str(now + int(ttl)), "GT"] for key in (log, life)])
    # A script with one key goes where its key is.
    return (yield Call(script("logs/read"), [log], args, is_whole=True))


def _later(keys: Keys, args: Args) -> Operation[Reply]:
    """Leave it to a later listing to tidy up an index."""
    yield from ()
    return []


PIECEWISE: Final[Mapping[str, Piecewise]] = {"read": _read, "forget": _later}
"""The stand-ins by name of the script."""
