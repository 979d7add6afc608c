"""Which key holds another type of value than Statekeep put there: a script's error does not say."""

from __future__ import annotations

from ...domain import CorruptRecord
from ..operation import Operation
from .requests import Call, Commands, Request

TYPES = {
    "checkpoint": b"hash",
    "pending_write": b"hash",
    "head": b"hash",
    "channel-values": b"hash",
    "checkpoint-index": b"zset",
    "pending_write-index": b"zset",
    "expiry-index": b"zset",
    "namespace-index": b"zset",
    "thread-index": b"zset",
    "run-index": b"set",
}
"""What the server calls the type of a key, by the name behind the prefix."""


def named(prefix: str, request: Request, error: CorruptRecord) -> Operation[CorruptRecord]:
    """Let an error that a request met say which of its keys is the wrong one."""
    if isinstance(request, Call):
        keys = list(dict.fromkeys(request.keys))
        types = yield Commands([("TYPE", key) for key in keys])
        for key, found in zip(keys, types, strict=True):
            expected = TYPES.get(key.removeprefix(f"{prefix}:").partition(":")[0])
            if expected is not None and found not in (expected, b"none"):
                error.key = key
                break
    return error
