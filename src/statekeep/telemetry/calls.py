"""Calls of repositories' methods: their names, and what their arguments say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Sized
from typing import Any, Final

from .hook import watching

_PLACES: Final = ("thread_id", "namespace", "log")
_BATCHES: Final = ("operations", "writes", "keys", "entries", "values")
_ALONE: Final = ("ping", "now")
"""Operations that are not about one kind of records."""


class Call:
    """A method, as observers are told of it.

    Args:
        body: of the method; its first parameter is the repository.
    """

    def __init__(self, body: Callable[..., Any]) -> None:
        self._name = body.__name__.removeprefix("_")
        code = body.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        positions = {name: position - 1 for position, name in enumerate(names)}
        self._places = [(name, positions[name]) for name in _PLACES if name in positions]
        self._checkpoint = positions.get("checkpoint")
        self._batch = next(((name, positions[name]) for name in _BATCHES if name in positions), None)

    def watching(self, repository: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> watching:
        """Return the context manager that tells observers of a call."""
        name = self._name if self._name in _ALONE or not repository.kind else f"{repository.kind}.{self._name}"
        return watching(name, repository.backend, self._place(repository, args, kwargs), self._size(args, kwargs))

    def _place(self, repository: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        place: dict[str, Any] = {}
        for name, position in self._places:
            value = args[position] if position < len(args) else kwargs.get(name)
            if value is not None:
                place[name] = value
        if not self._places:
            # Typed items and threads are about one place; a checkpoint says where it goes.
            about = repository
            if self._checkpoint is not None and not hasattr(about, "thread_id"):
                about = args[self._checkpoint] if self._checkpoint < len(args) else kwargs.get("checkpoint")
            for name in ("thread_id", "namespace"):
                if (value := getattr(about, name, None)) is not None:
                    place[name] = value
        return place

    def _size(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int | None:
        if self._batch is None:
            return None
        name, position = self._batch
        given = args[position] if position < len(args) else kwargs.get(name)
        return len(given) if isinstance(given, Sized) and not isinstance(given, str | bytes) else None
