"""How much of a value is shown."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Final

from pydantic import Field

from ..domain.model import Model

CUT: Final = "$cut"
"""The key of a mark that says what is left out."""

TYPE: Final = "$type"
"""The key of the name of a value's type, where JSON has none such."""


class Limits(Model):
    """How much of a value is shown.

    Where something is left out, a mark says so: ``{"$cut": "940 more items"}``.

    Example:
        >>> Limits(items=10).depth
        40
    """

    depth: Annotated[int, Field(ge=1, le=100, description="Levels of nested lists and objects.")] = 40
    items: Annotated[int, Field(ge=1, description="Items of one list, and keys of one object.")] = 1000
    characters: Annotated[int, Field(ge=1, description="Characters of one text, and bytes of one byte string.")] = (
        20_000
    )
    values: Annotated[int, Field(ge=1, description="Values in all, lists and objects included.")] = 200_000
    bytes: Annotated[int, Field(ge=1, description="Bytes of JSON that are looked at.")] = 8 * 1024 * 1024


class Cutter:
    """Cuts one value down to limits, and knows whether it had to.

    Args:
        limits: how much is shown.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.left = limits.values
        self.was_cut = False

    def mark(self, what: str, **more: Any) -> dict[str, Any]:
        """Return the mark that stands for what is left out."""
        self.was_cut = True
        return {CUT: what, **more}

    def text(self, text: str) -> Any:
        """Return a text, or its beginning with a mark."""
        most = self.limits.characters
        if len(text) <= most:
            return text
        return self.mark(f"a text of {len(text):,} characters", begins=text[:most])

    def bytes(self, data: bytes | memoryview, kind: str = "bytes") -> dict[str, Any]:
        """Return bytes as base64, perhaps only the first of them."""
        size, most = len(data), self.limits.characters
        found: dict[str, Any] = {TYPE: kind, "size": size}
        if size > most:
            found |= self.mark(f"{size - most:,} more bytes")
        return found | {"base64": base64.b64encode(data[:most]).decode("ascii")}

    def listed(self, items: list[Any], more: int) -> list[Any]:
        """Return a list with a mark behind it if there are more items."""
        return [*items, self.mark(f"{more:,} more items")] if more else items

    def mapping(self, pairs: list[tuple[Any, Any]], more: int) -> dict[str, Any]:
        """Return an object, of pairs of shown values.

        One whose keys JSON cannot have, or that might be taken for a mark, is ``{"$type": "dict", ...}``.
        """
        if not all(isinstance(key, str) for key, _ in pairs):
            return {TYPE: "dict", "pairs": self.listed([[key, value] for key, value in pairs], more)}
        found = dict(pairs)
        if any(key.startswith("$") for key in found):
            found = {TYPE: "dict", "value": found}
        return found | self.mark(f"{more:,} more keys") if more else found

    def fields(self, kind: str, fields: Any) -> dict[str, Any]:
        """Return an object of a class.

        Its fields stand beside the name of the class, if they are a mapping by names.
        """
        if (
            isinstance(fields, dict)
            and (TYPE not in fields)
            and not any(key.startswith("$") and key != CUT for key in fields)
        ):
            return {TYPE: kind, **fields}
        return {TYPE: kind, "value": fields}
