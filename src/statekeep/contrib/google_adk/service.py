"""The part of both services that is the same: items, a connection, and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Self, TypeVar

from pydantic import ConfigDict, TypeAdapter
from pydantic_core import PydanticSerializationError, to_json

from ...domain import CorruptRecord, InvalidInput, Item
from ...domain.shown import shown
from ...repositories.connect import aconnect
from ...repositories.connection import AsyncConnection, Connection
from ...repositories.faces import closing_on_error
from ...repositories.items import AsyncItemRepository, ItemRepository
from ...repositories.validation import labels
from ..backends import item_backend
from ..owned import ClosesOwnAsync
from .framework import check_installed

T = TypeVar("T")

Keep = Connection | AsyncConnection | ItemRepository | AsyncItemRepository

REMEMBERED = 256
"""Things of a kind that a service remembers, such as sessions."""


class Service(ClosesOwnAsync):
    """A service over items.

    Args:
        keep: where they are kept: a connection, or its items.
        uri: opens a connection of its own instead.
        namespace: labels in front of an app's name.
        prefix: as for :func:`statekeep.aconnect`, with ``uri``.
        options: likewise.
    """

    def __init__(
        self,
        keep: Keep | None = None,
        *,
        uri: str | None = None,
        namespace: Sequence[str] = (),
        prefix: str = "statekeep",
        **options: Any,
    ) -> None:
        check_installed()
        self._namespace = labels("namespace", namespace)
        if (keep is None) == (uri is None):
            raise InvalidInput("give either keep or uri", field="keep")
        if uri is None:
            if options:
                raise InvalidInput(f"{min(options)} goes with uri only: a connection has its own", field=min(options))
            self._items = AsyncItemRepository(item_backend(keep))
            return
        opened = aconnect(uri, prefix=prefix, **options)
        with closing_on_error(opened.checkpoints.backend.close):
            self._items = AsyncItemRepository(item_backend(opened))
        self._own = opened

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """Open a connection for this service alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.aconnect`; it is the ``uri`` of the class.
            options: the other arguments of the class.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> import asyncio
            >>> from statekeep.contrib.google_adk import StatekeepSessionService
            >>> async def main() -> dict:
            ...     async with StatekeepSessionService.from_url("memory:", ttl=3600) as sessions:
            ...         return await sessions.get_user_state(app_name="app", user_id="ada")
            >>> asyncio.run(main())
            {}
        """
        return cls(uri=url, **options)

    def _space(self, *more: str) -> tuple[str, ...]:
        """Return the namespace of an app, or of one of its users.

        Raises:
            InvalidInput: a name is empty, too long, or no text.
        """
        return labels("app_name", (*self._namespace, *more))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r}, {shown(self._namespace, 200)})"


@cache
def adapter_of(kind: Any) -> TypeAdapter[list[Any]]:
    """Return the adapter of lists of a model.

    It has infinities in JSON, unlike the model's own. It is for lists, as a model takes no other configuration than its
    own.
    """
    return TypeAdapter(
        list[kind], config=ConfigDict(ser_json_bytes="base64", val_json_bytes="base64", ser_json_inf_nan="constants")
    )


def plain_model(kind: Any, model: Any, field: str) -> dict[str, Any]:
    """Return a model as JSON values and infinities.

    Raises:
        InvalidInput: JSON cannot hold it.
    """
    try:
        (plain,) = adapter_of(kind).dump_python([model], mode="json", exclude_none=True)
    except ValueError as error:
        raise InvalidInput(f"{field}: it cannot be made JSON: {error}", field=field) from error
    found: dict[str, Any] = plain
    return found


def decoded_model(kind: Any, text: Any, item: Item) -> Any:
    """Return a model that is stored as JSON.

    Raises:
        CorruptRecord: it is damaged.
    """
    try:
        (model,) = adapter_of(kind).validate_json(f"[{text}]")
    except ValueError as error:
        raise corrupt(item, error) from None
    return model


def json_text(value: Any, field: str) -> str:
    """Return a value as JSON, in which there may be infinities.

    Raises:
        InvalidInput: JSON cannot hold it.
    """
    try:
        return to_json(value, inf_nan_mode="constants").decode()
    except (PydanticSerializationError, UnicodeError) as error:
        raise InvalidInput(f"{field}: it cannot be made JSON: {error}", field=field) from error


def corrupt(item: Item, error: Exception) -> CorruptRecord:
    """Return the error about an item that is damaged, without what it holds."""
    return CorruptRecord(f"an item of google-adk is damaged: {type(error).__name__}", key=item.key)


def remember(memory: dict[Any, T], name: Any, value: T) -> None:
    """Remember something; forget what was remembered first if it is too much."""
    memory.pop(name, None)
    if len(memory) >= REMEMBERED:
        del memory[next(iter(memory))]
    memory[name] = value
