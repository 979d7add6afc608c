"""Ids of threads that are made of labels."""

from __future__ import annotations

from collections.abc import Iterable


def thread_id_of(labels: Iterable[str]) -> str:
    """Join labels to the id of a thread; no other labels make the same.

    >>> thread_id_of(["burr", "", "a/b"])
    'burr//a%2Fb'
    """
    return "/".join(label.replace("%", "%25").replace("/", "%2F") for label in labels)


def labels_of(thread_id: str) -> list[str]:
    """Return the labels that :func:`thread_id_of` joined.

    >>> labels_of("burr//a%2Fb")
    ['burr', '', 'a/b']
    """
    return [label.replace("%2F", "/").replace("%25", "%") for label in thread_id.split("/")]
