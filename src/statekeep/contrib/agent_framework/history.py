"""Histories of conversations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Self, Unpack

from ...domain import DEFAULT, InvalidInput, LogEntry, Payload, Serializer, dump, load
from ...domain.items import Namespace
from ...domain.model import Ttl
from ...repositories.connect import aconnect
from ...repositories.faces import closing_on_error
from ...repositories.logs import AsyncLogRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import boolean, count, labels, text, ttl_or_default
from ..backends import KeepsLogs, log_backend
from ..owned import ClosesOwnAsync
from ..serializers import checked_serializer
from ..shielding import shielded
from .framework import HistoryProvider, Message, check_installed, filter_new_messages


class StatekeepHistoryProvider(ClosesOwnAsync, HistoryProvider):  # type: ignore[misc]
    """The history of conversations, for ``Agent(..., context_providers=[...])``.

    It is an ``agent_framework.HistoryProvider`` over logs, one for each session. Use it in asyncio code, also in
    several tasks and processes at once.

    Args:
        keep: where it is kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``logs``. You close it.
        source_id: names the provider. Those of different names keep histories of their own of the same session.
        namespace: labels in front of the source's and the session's id.
        ttl: seconds that a session's history is kept after the last messages were saved, fractions allowed; ``None``
            for ever, :data:`~statekeep.DEFAULT` for what the connection was made with.
        max_messages: keep at most the last so many of a session; ``None`` for all. With 0 nothing is saved or returned.
        skip_excluded: do not return messages that a compaction has excluded.
        serializer: serializes each message, as one that encrypts does; ``None``: they are kept as JSON.
        load_messages: return the history to the agent; else it is only kept, such as for an audit.
        store_inputs: keep what comes in.
        store_context_messages: keep what other providers add.
        store_context_from: of these only; ``None`` for all.
        store_outputs: keep what the agent answers.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no logs.
        MissingDependency: agent-framework-core is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> from agent_framework import Message
        >>> async def main() -> list[str]:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         history = StatekeepHistoryProvider(keep)
        ...         await history.save_messages("ada", [Message("user", ["hello"])])
        ...         return [message.text for message in await history.get_messages("ada")]
        >>> asyncio.run(main())
        ['hello']
    """

    def __init__(
        self,
        keep: KeepsLogs,
        *,
        source_id: str = "statekeep",
        namespace: Sequence[str] = ("agent-framework", "history"),
        ttl: Ttl = DEFAULT,
        max_messages: int | None = None,
        skip_excluded: bool = False,
        serializer: Serializer | None = None,
        load_messages: bool = True,
        store_inputs: bool = True,
        store_context_messages: bool = False,
        store_context_from: set[str] | None = None,
        store_outputs: bool = True,
    ) -> None:
        check_installed()
        super().__init__(
            text("source_id", source_id),
            load_messages=boolean("load_messages", load_messages),
            store_inputs=boolean("store_inputs", store_inputs),
            store_context_messages=boolean("store_context_messages", store_context_messages),
            store_context_from=store_context_from,
            store_outputs=boolean("store_outputs", store_outputs),
        )
        self.max_messages = None if max_messages is None else count("max_messages", max_messages)
        self.skip_excluded = boolean("skip_excluded", skip_excluded)
        self._namespace = labels("namespace", (*labels("namespace", namespace), source_id))
        self._ttl = ttl_or_default(ttl)
        self._serializer = checked_serializer(serializer)
        self._logs = AsyncLogRepository(log_backend(keep))

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        source_id: str = "statekeep",
        namespace: Sequence[str] = ("agent-framework", "history"),
        ttl: float | None = None,
        max_messages: int | None = None,
        skip_excluded: bool = False,
        serializer: Serializer | None = None,
        load_messages: bool = True,
        store_inputs: bool = True,
        store_context_messages: bool = False,
        store_context_from: set[str] | None = None,
        store_outputs: bool = True,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this provider alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.aconnect`.
            source_id: as for the class, and so all others that are not named here.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            max_messages: as for the class.
            skip_excluded: as for the class.
            serializer: as for the class.
            load_messages: as for the class.
            store_inputs: as for the class.
            store_context_messages: as for the class.
            store_context_from: as for the class.
            store_outputs: as for the class.
            prefix: as for :func:`statekeep.aconnect`.
            refresh_on_read: returning the history starts its TTL anew.
            options: as for :func:`statekeep.aconnect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no logs.

        Example:
            >>> import asyncio
            >>> async def main() -> int:
            ...     async with StatekeepHistoryProvider.from_url("memory:", max_messages=100) as history:
            ...         return len(await history.get_messages("ada"))
            >>> asyncio.run(main())
            0
        """
        keep = aconnect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.checkpoints.backend.close):
            history = cls(
                keep,
                source_id=source_id,
                namespace=namespace,
                max_messages=max_messages,
                skip_excluded=skip_excluded,
                serializer=serializer,
                load_messages=load_messages,
                store_inputs=store_inputs,
                store_context_messages=store_context_messages,
                store_context_from=store_context_from,
                store_outputs=store_outputs,
            )
        history._own = keep
        return history

    async def get_messages(
        self, session_id: str | None, *, state: dict[str, Any] | None = None, **kwargs: Any
    ) -> list[Message]:
        """Return the messages of a session, in their order: one round trip.

        Args:
            session_id: the session.
            state: not used.
            kwargs: not used.

        Raises:
            InvalidInput: messages were stored with a serializer, and the provider has none.
        """
        log = self._log(session_id)
        if self.max_messages is None:
            found = self._messages(await self._logs.read(log))
        else:
            found = self._messages(await self._logs.last(log, self.max_messages))
        if self.skip_excluded:
            return [message for message in found if not message.additional_properties.get("_excluded", False)]
        return found

    async def save_messages(
        self,
        session_id: str | None,
        messages: Sequence[Message],
        *,
        state: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Add messages behind those that are there, all or none: two round trips.

        Those that the history ends with are not added again, as the framework's own providers do it. One round trip
        more removes what ``max_messages`` excludes.

        Args:
            session_id: the session.
            messages: what to add.
            state: not used.
            kwargs: not used.

        Raises:
            InvalidInput: a message cannot be serialized. Nothing was added.
        """
        log = self._log(session_id)
        if messages and self.max_messages != 0:
            values = [dump(self._serializer, message.to_dict(), "a message") for message in messages]
            await shielded(self._added(log, list(messages), values))

    async def _added(self, log: Namespace, messages: list[Message], values: list[Payload]) -> None:
        # Of a longer history only the end counts.
        there = self._messages(await self._logs.last(log, len(messages)))
        new = len(filter_new_messages(there, messages))
        if new:
            length = await self._logs.append(log, values[-new:], ttl=self._ttl)
            if self.max_messages is not None and length > self.max_messages:
                await self._logs.trim(log, keep=self.max_messages)

    async def clear(self, session_id: str | None) -> None:
        """Remove all messages of a session: one round trip.

        Args:
            session_id: the session.
        """
        await shielded(self._logs.delete(self._log(session_id)))

    def _log(self, session_id: Any) -> Namespace:
        return labels("session_id", (*self._namespace, text("session_id", session_id)))

    def _messages(self, entries: Iterable[LogEntry]) -> list[Message]:
        return [Message.from_dict(self._plain(entry.value)) for entry in entries]

    def _plain(self, value: Any) -> Any:
        if not isinstance(value, Payload):
            raise InvalidInput("the log has values that no history provider saved", field="namespace")
        return load(self._serializer, value)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.source_id!r}, {self._logs!r})"
