"""Sessions of the OpenAI Agents SDK: ``pip install 'statekeep[openai-agents]'``.

A session is a log. ``docs/frameworks/openai-agents.md`` says what it costs and what is exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Self, Unpack

from ..domain import DEFAULT, InvalidInput, LogEntry, MissingDependency, Payload, Serializer, dump, load
from ..domain.model import Ttl
from ..domain.shown import shown
from ..repositories.connect import aconnect
from ..repositories.connection import AsyncConnection
from ..repositories.faces import closing_on_error
from ..repositories.logs import AsyncLogRepository
from ..repositories.options import ConnectOptions
from ..repositories.validation import count, labels, text, ttl_or_default
from .owned import ClosesOwnAsync
from .shielding import shielded

if TYPE_CHECKING:
    from agents.items import TResponseInputItem
    from agents.memory import SessionSettings

__all__ = ["StatekeepSession"]


class StatekeepSession(ClosesOwnAsync):
    """The history of a conversation, for ``Runner.run(..., session=)``.

    It implements the protocol ``agents.memory.Session``. Use it in asyncio code, also in several tasks and processes at
    once: each method is one unit. A method that changes the history and is cancelled comes to its end first, so nothing
    is changed behind your back.

    Args:
        session_id: names the conversation; any text but the empty one.
        keep: where it is kept: a connection of :func:`statekeep.aconnect`, or its ``logs``. You close it.
        namespace: labels in front of the session's id.
        ttl: seconds that the conversation is kept after the last items were added, fractions allowed; ``None`` for
            ever, :data:`~statekeep.DEFAULT` for what the connection was made with.
        session_settings: ``SessionSettings`` or a mapping of its fields; its ``limit`` holds where none is given.
        serializer: serializes each item, as one that encrypts does; ``None``: they are kept as JSON.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no logs.
        MissingDependency: openai-agents is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> int:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         session = StatekeepSession("ada", keep)
        ...         await session.add_items([{"role": "user", "content": "hello"}])
        ...         return len(await session.get_items())
        >>> asyncio.run(main())
        1
    """

    session_id: str
    session_settings: SessionSettings | None

    def __init__(
        self,
        session_id: str,
        keep: AsyncConnection | AsyncLogRepository,
        *,
        namespace: Sequence[str] = ("openai-agents",),
        ttl: Ttl = DEFAULT,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
        serializer: Serializer | None = None,
    ) -> None:
        self.session_id = text("session_id", session_id)
        self.session_settings = _settings(session_settings)
        self._log = labels("namespace", (*labels("namespace", namespace), self.session_id))
        self._ttl = ttl_or_default(ttl)
        if serializer is not None and not isinstance(serializer, Serializer):
            raise InvalidInput(
                f"serializer must have dumps_typed and loads_typed, got {type(serializer).__name__}", field="serializer"
            )
        self._serializer = serializer
        self._logs = _logs(keep)

    @classmethod
    def from_url(
        cls,
        session_id: str,
        url: str,
        *,
        namespace: Sequence[str] = ("openai-agents",),
        ttl: float | None = None,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
        serializer: Serializer | None = None,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this session alone, which :meth:`close` closes.

        For many conversations share one connection instead.

        Args:
            session_id: as for the class.
            url: as for :func:`statekeep.aconnect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            session_settings: as for the class.
            serializer: as for the class.
            prefix: as for :func:`statekeep.aconnect`.
            refresh_on_read: reading the history starts its TTL anew.
            options: as for :func:`statekeep.aconnect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no logs.

        Example:
            >>> import asyncio
            >>> async def main() -> list[str]:
            ...     async with StatekeepSession.from_url("ada", "memory:") as session:
            ...         await session.add_items([{"role": "user", "content": "hello"}])
            ...         return [item["content"] for item in await session.get_items()]
            >>> asyncio.run(main())
            ['hello']
        """
        keep = aconnect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.checkpoints.backend.close):
            session = cls(
                session_id, keep, namespace=namespace, session_settings=session_settings, serializer=serializer
            )
        session._own = keep
        return session

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the last items, in their order: one round trip.

        Args:
            limit: at most so many; ``None`` for that of the settings, or all. None are returned if it is 0 or less.

        Raises:
            InvalidInput: an item was stored with a serializer, and the session has none.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        if limit is None:
            return [self._item(entry) for entry in await self._logs.read(self._log)]
        n = count("limit", max(limit, 0) if isinstance(limit, int) and not isinstance(limit, bool) else limit)
        return [self._item(entry) for entry in await self._logs.last(self._log, n)]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Add items behind all others, all or none: one round trip.

        Without items it does nothing.

        Args:
            items: what JSON can hold, unless the session has a serializer.

        Raises:
            InvalidInput: JSON cannot hold an item. Nothing was added.
        """
        if items:
            serializer = self._serializer
            values = list(items) if serializer is None else [dump(serializer, item, "an item") for item in items]
            await shielded(self._logs.append(self._log, values, ttl=self._ttl))

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove the last item and return it, ``None`` if there is none: one round trip."""
        popped = await shielded(self._logs.pop(self._log))
        return self._item(popped[0]) if popped else None

    async def clear_session(self) -> None:
        """Remove all items: one round trip."""
        await shielded(self._logs.delete(self._log))

    def _item(self, entry: LogEntry) -> Any:
        value = entry.value
        if not isinstance(value, Payload):
            return value
        if self._serializer is None:
            raise InvalidInput(
                f"the session {shown(self.session_id)} has items in the encoding {shown(value.encoding)}: give the "
                "serializer that made them",
                field="serializer",
            )
        return load(self._serializer, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session_id!r}, {self._logs!r})"


def _logs(keep: Any) -> AsyncLogRepository:
    if isinstance(keep, AsyncConnection):
        return keep.logs
    if isinstance(keep, AsyncLogRepository):
        return keep
    raise InvalidInput(
        f"keep must be a connection of statekeep.aconnect, or its logs, got {type(keep).__name__}", field="keep"
    )


def _settings(settings: Any) -> SessionSettings:
    try:
        from agents.memory import SessionSettings
    except ImportError as error:
        raise MissingDependency("openai-agents", "openai-agents") from error
    if settings is None:
        return SessionSettings()
    if isinstance(settings, SessionSettings):
        return settings
    if not isinstance(settings, Mapping):
        raise InvalidInput(
            f"session_settings must be SessionSettings or a mapping, got {type(settings).__name__}",
            field="session_settings",
        )
    known = [field.name for field in fields(SessionSettings)]
    if unknown := settings.keys() - set(known):
        raise InvalidInput(
            f"session_settings has no field {shown(min(unknown, key=str))}; there are {', '.join(known)}",
            field="session_settings",
        )
    try:
        return SessionSettings(**settings)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"session_settings are wrong: {error}", field="session_settings") from error
