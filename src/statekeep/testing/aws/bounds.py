"""Validators of rules: numbers within their bounds."""

from __future__ import annotations

from typing import Any

from attrs import Attribute

from ...domain.errors import InvalidInput


def not_negative(_: Any, attribute: Attribute[Any], value: float) -> None:
    """Refuse a number below zero, and what is no number."""
    if not value >= 0:
        raise InvalidInput(f"{attribute.name} must not be negative, got {value!r}", field=attribute.name)


def positive(_: Any, attribute: Attribute[Any], value: int | None) -> None:
    """Refuse a count below one; ``None`` stands for no limit."""
    if value is not None and value < 1:
        raise InvalidInput(f"{attribute.name} must be at least 1 or None, got {value!r}", field=attribute.name)
