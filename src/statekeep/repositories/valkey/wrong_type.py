"""Find the key behind WRONGTYPE: a script's error does not name it."""

from __future__ import annotations

from collections.abc import Mapping

from ...domain import CorruptRecord
from ..operation import Operation
from .requests import Call, Commands, Request


def locate_wrong_type(
    prefix: str, types: Mapping[str, bytes], request: Request, error: CorruptRecord
) -> Operation[CorruptRecord]:
    """Return the error of a request with the key that made it a WRONGTYPE.

    That key holds another type than Statekeep put there.
    """
    if isinstance(request, Call):
        keys = list(dict.fromkeys(request.keys))
        there = yield Commands([("TYPE", key) for key in keys])
        for key, found in zip(keys, there, strict=True):
            expected = types.get(key.removeprefix(f"{prefix}:").partition(":")[0])
            if expected is not None and found not in (expected, b"none"):
                error.key = key
                break
    return error
