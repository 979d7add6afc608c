"""The address of a checkpoint, read from a ``RunnableConfig`` and checked."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping
from typing import Any

from attrs import frozen
from langchain_core.runnables import RunnableConfig

from ...domain import InvalidInput
from ...domain.model import is_plain
from ...domain.shown import shown
from ...repositories.validation import text


class WrongType(InvalidInput, TypeError):
    """An argument of a wrong type, where LangGraph's own savers raise ``TypeError``."""


def configurable(config: Any, name: str = "config") -> Mapping[str, Any]:
    """Return ``config["configurable"]``.

    Raises:
        InvalidInput: ``config`` is not a mapping that holds one.
    """
    if not isinstance(config, Mapping):
        raise InvalidInput(
            f'{name} must be a mapping such as {{"configurable": {{"thread_id": "..."}}}}, got {type(config).__name__}',
            field=name,
        )
    found = config.get("configurable")
    if not isinstance(found, Mapping):
        raise InvalidInput(
            f'{name} must have a mapping "configurable" with a "thread_id", got {shown(found)}',
            field=f"{name}.configurable",
        )
    return found


def identifier(value: Any, field: str) -> str:
    """Return a thread or run id as text.

    Integers and UUIDs become text, as in LangGraph.

    Raises:
        InvalidInput: it is missing, empty, too long, or of another type.
    """
    if isinstance(value, uuid.UUID):
        return uuid.UUID.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return int.__repr__(value)
        except ValueError:  # Python makes no text of so many digits
            raise InvalidInput(f"{field} must be shorter, got {shown(value)}", field=field) from None
    if value is None or value == "":
        raise InvalidInput(f"{field} is required: any text but the empty one", field=field)
    return text(field, value)


def identifiers(values: Any, field: str) -> list[str]:
    """Return several ids as text.

    Raises:
        WrongType: ``values`` is one text, or not a collection at all.
        InvalidInput: one of them is not an id.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Collection):
        raise WrongType(f"{field} must be a sequence of ids, got {type(values).__name__} {shown(values)}", field=field)
    return [identifier(value, field) for value in values]


def _text(found: Mapping[str, Any], key: str, name: str) -> str | None:
    value = found.get(key)
    return None if value is None else text(f"{name}.configurable.{key}", value, empty=True)


@frozen
class Address:
    """The address of a checkpoint; ``checkpoint_id`` is ``None`` for the newest."""

    thread_id: str
    namespace: str
    checkpoint_id: str | None

    @classmethod
    def of(cls, config: Any) -> Address:
        """Read the address from ``config``.

        Raises:
            InvalidInput: ``config.configurable.thread_id`` is missing, or something is too long or of a wrong type.
        """
        found = configurable(config)
        thread_id: Any = found.get("thread_id")
        namespace, checkpoint_id = found.get("checkpoint_ns", ""), found.get("checkpoint_id")
        # One look tells that nothing is wrong with most addresses.
        if type(namespace) is str and is_plain(
            thread_id, namespace or "-", "-" if checkpoint_id is None else checkpoint_id
        ):
            return cls(thread_id, namespace, checkpoint_id)
        return cls(
            identifier(thread_id, "config.configurable.thread_id"),
            _text(found, "checkpoint_ns", "config") or "",
            _text(found, "checkpoint_id", "config") or None,
        )


def config_of(thread_id: str, namespace: str, checkpoint_id: str | None) -> RunnableConfig:
    """Return the config that addresses a checkpoint."""
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": namespace, "checkpoint_id": checkpoint_id}}


def selection(config: Any) -> dict[str, str | None]:
    """Return which checkpoints a listing covers; ``None`` stands for all.

    No config, or an empty one, selects everything; one without ``checkpoint_ns`` selects all namespaces.
    """
    if config is None or config == {}:
        return {"thread_id": None, "namespace": None, "checkpoint_id": None}
    found = configurable(config)
    return {
        "thread_id": identifier(found.get("thread_id"), "config.configurable.thread_id"),
        "namespace": _text(found, "checkpoint_ns", "config"),
        "checkpoint_id": _text(found, "checkpoint_id", "config") or None,
    }


def before_id(before: Any) -> str | None:
    """Return the checkpoint id that a listing goes below, ``None`` for no bound."""
    if before is None or before == {}:
        return None
    return _text(configurable(before, "before"), "checkpoint_id", "before") or None
