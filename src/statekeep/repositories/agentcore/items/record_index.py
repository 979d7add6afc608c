"""The index of an :class:`AgentCoreItems`: which texts become memory records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ....domain import InvalidInput, VectorIndex
from ....domain.json_values import steps
from ....domain.shown import shown
from ...validation import texts

WHOLE: Final = ("$",)
"""The paths unless others are named: the whole value."""


def index_paths(index: Any) -> tuple[str, ...] | None:
    """Return the paths of an index; ``None`` if there is none.

    Args:
        index: ``{"fields": [...]}``, of which the fields may be left out, or be none; a
            :class:`~statekeep.VectorIndex`, whose fields count; or ``None``.

    Raises:
        InvalidInput: it is something else, or a path is wrong.

    Example:
        >>> index_paths({"fields": ["text"]}), index_paths({}), index_paths(None)
        (('text',), ('$',), None)
    """
    if index is None:
        return None
    if isinstance(index, VectorIndex):
        return index.fields
    if not isinstance(index, Mapping):
        raise InvalidInput(f'index must be a mapping such as {{"fields": ["text"]}}, got {shown(index)}', field="index")
    unknown = sorted(str(name) for name in index if name != "fields")
    if unknown:
        raise InvalidInput(f"index may have fields, and no {unknown[0]}: AgentCore embeds by itself", field="index")
    found = WHOLE if index.get("fields") is None else tuple(texts("index fields", index["fields"]))
    for path in found:
        steps(path, "index")
    return found
