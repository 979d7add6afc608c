"""Strategies of logs, their names and values."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ...domain import Log, LogEntry
from ...domain.items import Namespace
from ...domain.logs import LARGEST_POSITION
from .checkpoints import moments, payloads
from .items import json_values
from .texts import HOSTILE_TEXTS, disguised_labels, few


def log_names() -> st.SearchStrategy[Namespace]:
    """Return names of logs, of which some are below others.

    The one without labels, some below each other, and two that look like others if their labels are only joined.
    """
    nasty = [(text,) for text in HOSTILE_TEXTS] + [("a", text) for text in HOSTILE_TEXTS]
    return disguised_labels(
        few("log names", [("a",), (), ("a", "b")], [("a.b",), ("a!",), ("a\x00b",), ("a\x01",), ("a.b", "c"), *nasty])
    )


def log_values() -> st.SearchStrategy[list[Any]]:
    """Values to be appended: what JSON can hold, and payloads.

    Example:
        >>> from hypothesis import given
        >>> import statekeep
        >>> @given(log_values())
        ... def test(values):
        ...     with statekeep.connect("memory:") as keep:
        ...         assert keep.logs.append(("log",), values) == len(values)
        >>> test()
    """
    return st.lists(json_values() | payloads(), max_size=4)


def log_entries() -> st.SearchStrategy[LogEntry]:
    """Values as they are read."""
    return st.builds(LogEntry, position=st.integers(1, LARGEST_POSITION), value=json_values() | payloads())


def logs() -> st.SearchStrategy[Log]:
    """Return logs as a listing has them."""
    return st.builds(Log, name=log_names(), count=st.integers(1, 9), expires_at=st.none() | moments())
