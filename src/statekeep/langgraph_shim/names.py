"""The names of langgraph-checkpoint-aws: where they are here, or why they are not.

``docs/langgraph-checkpoint-aws.md`` has them as a table for people.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NoReturn

from ..domain import Unsupported
from ..lazy import unknown

_DEFERRED: Final = (
    'is not here, as it has no use: a put is one round trip, and LangGraph\'s durability="exit" puts at the end only'
)
_DYNAMODB: Final = (
    "is not here; there is no backend for DynamoDB. Use {} on ElastiCache or MemoryDB, or langgraph-checkpoint-aws"
)

ABSENT: Final[Mapping[str, str]] = {
    "AsyncBatchFlushable": _DEFERRED,
    "DeferredCheckpointSaver": _DEFERRED,
    "DynamoDBSaver": _DYNAMODB.format("ValkeySaver"),
    "DynamoDBStore": _DYNAMODB.format("ValkeyStore"),
    "PendingWrite": "of the deferred saver is not here; statekeep.PendingWrite is what a repository stores",
    "SDK_USER_AGENT": "is not here; Statekeep names itself in the user agent of boto3, and to CLIENT LIST",
    "SyncBatchFlushable": _DEFERRED,
}
"""What is not here, and why or what to use."""


class MissingName(Unsupported, ImportError):
    """A name of langgraph-checkpoint-aws that is not here.

    The message says why, and what to use.
    """


def missing(module: str) -> Callable[[str], NoReturn]:
    """Make a function that says why a module, given by its ``__name__``, lacks a name."""
    refuse = unknown(module)

    def find(name: str) -> NoReturn:
        if name in ABSENT:
            raise MissingName(f"{name} of langgraph-checkpoint-aws {ABSENT[name]}")
        refuse(name)

    return find
