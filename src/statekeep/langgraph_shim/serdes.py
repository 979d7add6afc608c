"""Serializers that users pass."""

from __future__ import annotations

from typing import Any

from ..domain import InvalidInput
from ..domain.shown import shown


def check_serde(serde: Any) -> None:
    """Accept ``None`` and what LangGraph accepts: a serializer with typed methods, or with ``dumps`` and ``loads``.

    Raises:
        InvalidInput: it is none.
    """
    if serde is not None and not all(
        callable(getattr(serde, typed, None) or getattr(serde, plain, None))
        for typed, plain in (("dumps_typed", "dumps"), ("loads_typed", "loads"))
    ):
        raise InvalidInput(
            f"serde must have dumps_typed and loads_typed, as LangGraph's JsonPlusSerializer, got {shown(serde)}",
            field="serde",
        )
