"""Histories of chats over logs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, Unpack

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from ...domain import DEFAULT, CorruptRecord, InvalidInput, LogEntry, Payload, Serializer, dump, load
from ...domain.model import Ttl
from ...domain.shown import shown
from ...repositories.connect import connect
from ...repositories.faces import closing_on_error
from ...repositories.logs import AsyncLogRepository, LogRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import labels, text, ttl_or_default
from ..backends import KeepsLogs, log_backend
from ..serializers import checked_serializer
from ..shielding import shielded
from .connected import Connected
from .messages import dict_of, message_of


class StatekeepChatMessageHistory(Connected, BaseChatMessageHistory):
    """The messages of a conversation.

    It implements ``BaseChatMessageHistory`` over a log, in both faces. Use it in several tasks, threads and processes
    at once: each method is one unit. A coroutine that changes the history and is cancelled comes to its end first, so
    nothing is changed behind your back.

    Args:
        session_id: names the conversation; any text but the empty one.
        keep: where it is kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``logs``. You close it.
        namespace: labels in front of the session's id.
        ttl: seconds that the conversation is kept after the last messages were added, fractions allowed; ``None`` for
            ever, :data:`~statekeep.DEFAULT` for what the connection was made with.
        serializer: serializes each message, as LangChain's ``message_to_dict`` makes a dict of it; ``None`` for
            JSON, in which Python's own types come back as they were.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no logs.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     history = StatekeepChatMessageHistory("ada", keep)
        ...     history.add_user_message("hello")
        ...     [message.content for message in history.messages]
        ['hello']
    """

    def __init__(
        self,
        session_id: str,
        keep: KeepsLogs,
        *,
        namespace: Sequence[str] = ("langchain", "history"),
        ttl: Ttl = DEFAULT,
        serializer: Serializer | None = None,
    ) -> None:
        super().__init__()
        self.session_id = text("session_id", session_id)
        self._log = labels("namespace", (*labels("namespace", namespace), self.session_id))
        self._ttl = ttl_or_default(ttl)
        self._serializer = checked_serializer(serializer)
        backend = log_backend(keep)
        self._logs, self._alogs = LogRepository(backend), AsyncLogRepository(backend)

    @classmethod
    def from_url(
        cls,
        session_id: str,
        url: str,
        *,
        namespace: Sequence[str] = ("langchain", "history"),
        ttl: float | None = None,
        serializer: Serializer | None = None,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this history alone, which :meth:`close` closes.

        For many conversations share one connection instead.

        Args:
            session_id: as for the class.
            url: as for :func:`statekeep.connect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            serializer: as for the class.
            prefix: as for :func:`statekeep.connect`.
            refresh_on_read: reading the history starts its TTL anew.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no logs.

        Example:
            >>> with StatekeepChatMessageHistory.from_url("ada", "memory:") as history:
            ...     history.add_ai_message("hello")
            ...     history.messages[0].type
            'ai'
        """
        keep = connect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.close):
            history = cls(session_id, keep, namespace=namespace, serializer=serializer)
        history._own = keep
        return history

    @property
    def messages(self) -> list[BaseMessage]:
        """The messages in their order: one round trip.

        Whoever sets it replaces them all, in one round trip, too.

        Raises:
            InvalidInput: a message was stored with another serializer; or one that is set is wrong.
            CorruptRecord: something in the log is no message.
        """
        return [self._message(entry) for entry in self._logs.read(self._log)]

    @messages.setter
    def messages(self, messages: Sequence[BaseMessage]) -> None:
        self._logs.replace(self._log, self._values(messages), ttl=self._ttl)

    async def aget_messages(self) -> list[BaseMessage]:
        """Return the messages in their order: one round trip. Raises as :attr:`messages`."""
        return [self._message(entry) for entry in await self._alogs.read(self._log)]

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Add messages behind all others, all or none: one round trip.

        Without messages it does nothing.

        Args:
            messages: of LangChain's own classes.

        Raises:
            InvalidInput: the serializer cannot write one, or LangChain could not read it back. Nothing was added.
        """
        if values := self._values(messages):
            self._logs.append(self._log, values, ttl=self._ttl)

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """As :meth:`add_messages`.

        Args:
            messages: as for that.
        """
        if values := self._values(messages):
            await shielded(self._alogs.append(self._log, values, ttl=self._ttl))

    def clear(self) -> None:
        """Remove all messages: one round trip."""
        self._logs.delete(self._log)

    async def aclear(self) -> None:
        """Remove all messages: one round trip."""
        await shielded(self._alogs.delete(self._log))

    def _values(self, messages: Sequence[BaseMessage]) -> list[Payload]:
        if isinstance(messages, str | BaseMessage) or not isinstance(messages, Sequence):
            raise InvalidInput(
                f"messages must be a sequence of messages, got {type(messages).__name__}", field="messages"
            )
        return [
            dump(self._serializer, dict_of(message, f"messages[{number}]"), "a message")
            for number, message in enumerate(messages)
        ]

    def _message(self, entry: LogEntry) -> BaseMessage:
        value = entry.value
        try:
            return message_of(load(self._serializer, value) if isinstance(value, Payload) else value)
        except InvalidInput:
            raise  # it says which serializer is needed
        except Exception as error:
            raise CorruptRecord(
                f"position {entry.position} of the log {shown(self._log)} is no message: {error}", key=self.session_id
            ) from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.session_id!r}, {self._logs!r})"
