"""The routing of requests to operations, by the templates of the service model.

A template is a path of literal segments and labels, ``/memories/{memoryId}/events``; a greedy label, ``{path+}``, may
span several; behind a question mark there may be parameters that a request must have, ``?type=list``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, unquote

from attrs import frozen

_LABEL = re.compile(r"\{(\w+)(\+?)\}")


@frozen
class Route:
    """One operation's method and template."""

    operation: Any
    method: str
    path: re.Pattern[str]
    labels: Sequence[str]
    query: Mapping[str, list[str]]
    rank: tuple[Any, ...]

    def match(self, method: str, path: str, query: Mapping[str, list[str]]) -> dict[str, str] | None:
        """Return the labels of a request, or ``None`` if it is for another operation."""
        if method != self.method or any(query.get(name) != values for name, values in self.query.items()):
            return None
        found = self.path.fullmatch(path)
        # Percent-encoded slashes are part of a label, so the path is split first and decoded then.
        return {name: unquote(found[n]) for n, name in enumerate(self.labels, 1)} if found else None


def route(operation: Any) -> Route:
    """Make the route of a ``botocore.model.OperationModel``."""
    template, _, query = operation.http["requestUri"].partition("?")
    pattern, labels, rank = "", [], []
    for segment in template.strip("/").split("/"):
        found = _LABEL.fullmatch(segment)
        if found:
            labels.append(found[1])
            pattern += "/(.+)" if found[2] else "/([^/]+)"
            rank.append(2 if found[2] else 1)
        else:
            pattern += f"/{re.escape(segment)}"
            rank.append(0)
    asked = parse_qs(query, keep_blank_values=True)
    return Route(
        operation=operation,
        method=operation.http["method"],
        path=re.compile(pattern + "/?"),
        labels=labels,
        query=asked,
        rank=(-len(asked), rank),
    )


class Router:
    """Finds the operation of a request among those of one service."""

    def __init__(self, operations: Iterable[Any]) -> None:
        # What is literal comes before what is a label.
        self._routes = sorted(map(route, operations), key=lambda found: found.rank)

    def find(self, method: str, path: str, query: Mapping[str, list[str]]) -> tuple[Any, dict[str, str]] | None:
        """Return the operation and its labels, if there is one."""
        for candidate in self._routes:
            labels = candidate.match(method, path, query)
            if labels is not None:
                return candidate.operation, labels
        return None
