"""Look at what is kept: values, steps of threads, and differences.

Values are decoded without executing anything. The command line and user interfaces stand on this. Nothing here knows a
terminal or a framework. ``doctor`` examines the service behind a connection, ``stats`` counts what it keeps.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from ..lazy import lazily as _lazily

if _TYPE_CHECKING:
    from .decoding import DecodedValue, as_tree, decode, decode_raw
    from .differences import Change, ChangeKind, ChannelDifference, Differences, changes, compare, compare_channels
    from .documents import as_document
    from .limits import Limits
    from .tasks import TaskRecord, TaskState, header_of, is_internal, next_nodes, sent_to, tasks_of
    from .timeline import ChannelChange, Step, steps
else:
    __getattr__, __dir__ = _lazily(
        __name__,
        {
            "Change": ".differences",
            "ChangeKind": ".differences",
            "ChannelChange": ".timeline",
            "ChannelDifference": ".differences",
            "DecodedValue": ".decoding",
            "Differences": ".differences",
            "Limits": ".limits",
            "Step": ".timeline",
            "TaskRecord": ".tasks",
            "TaskState": ".tasks",
            "as_document": ".documents",
            "as_tree": ".decoding",
            "changes": ".differences",
            "compare": ".differences",
            "compare_channels": ".differences",
            "decode": ".decoding",
            "decode_raw": ".decoding",
            "header_of": ".tasks",
            "is_internal": ".tasks",
            "next_nodes": ".tasks",
            "sent_to": ".tasks",
            "steps": ".timeline",
            "tasks_of": ".tasks",
        },
    )

__all__ = [
    "Change",
    "ChangeKind",
    "ChannelChange",
    "ChannelDifference",
    "DecodedValue",
    "Differences",
    "Limits",
    "Step",
    "TaskRecord",
    "TaskState",
    "as_document",
    "as_tree",
    "changes",
    "compare",
    "compare_channels",
    "decode",
    "decode_raw",
    "header_of",
    "is_internal",
    "next_nodes",
    "sent_to",
    "steps",
    "tasks_of",
]
