"""Chats over logs: what a ``ChatMemoryBuffer`` keeps its messages in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, Unpack

from pydantic import PrivateAttr

from ...domain import DEFAULT, Conflict, LogEntry
from ...domain.items import Namespace
from ...domain.logs import LogValue
from ...domain.model import Ttl
from ...repositories.connect import connect
from ...repositories.connection import Connection
from ...repositories.faces import closing_on_error
from ...repositories.logs import AsyncLogRepository, LogRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import labels, text, ttl_or_default
from ..backends import KeepsLogs, log_backend
from ..owned import ClosesOwn
from ..shielding import shielded
from .framework import BaseChatStore, ChatMessage, check_installed
from .messages import EVERYTHING, checked_messages, dumped, dumped_of, index_of, keys_of, message_of, value_of


class StatekeepChatStore(ClosesOwn, BaseChatStore):  # type: ignore[misc]
    """Messages by key, for whatever takes a ``BaseChatStore``.

    Such is ``ChatMemoryBuffer(chat_store=)``.

    Its methods block, and those that begin with ``a`` do not. Use it in several threads, tasks, event loops and
    processes at once: each method is one unit. A method that changes something and is cancelled comes to its end first,
    so nothing is changed behind your back.

    Args:
        keep: where it is kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``logs``. You close it.
        namespace: labels in front of the keys.
        ttl: seconds that the messages of a key are kept after the last change, fractions allowed; ``None`` for ever,
            :data:`~statekeep.DEFAULT` for what the connection was made with.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no logs.
        MissingDependency: llama-index-core is not installed.

    Example:
        >>> import statekeep
        >>> from llama_index.core.llms import ChatMessage
        >>> store = StatekeepChatStore(statekeep.connect("memory:"))
        >>> store.add_message("ada", ChatMessage("hello", role="user"))
        >>> [message.content for message in store.get_messages("ada")]
        ['hello']
    """

    _logs: LogRepository = PrivateAttr()
    _alogs: AsyncLogRepository = PrivateAttr()
    _root: Namespace = PrivateAttr()
    _ttl: Ttl = PrivateAttr()
    _own: Connection | None = PrivateAttr(default=None)

    def __init__(
        self, keep: KeepsLogs, *, namespace: Sequence[str] = ("llama-index", "chats"), ttl: Ttl = DEFAULT
    ) -> None:
        check_installed()
        backend, root, seconds = log_backend(keep), labels("namespace", namespace), ttl_or_default(ttl)
        super().__init__()
        self._logs, self._alogs = LogRepository(backend), AsyncLogRepository(backend)
        self._root, self._ttl = root, seconds

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("llama-index", "chats"),
        ttl: float | None = None,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this store alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.connect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            prefix: as for :func:`statekeep.connect`.
            refresh_on_read: reading the messages of a key starts their TTL anew.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no logs.

        Example:
            >>> with StatekeepChatStore.from_url("memory:") as store:
            ...     store.get_keys()
            []
        """
        keep = connect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.close):
            store = cls(keep, namespace=namespace)
        store._own = keep
        return store

    @classmethod
    def class_name(cls) -> str:
        """Return the name of this class, for LlamaIndex."""
        return "StatekeepChatStore"

    # -- blocking

    def set_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Put messages in the place of all that the key has.

        One round trip. Without messages the key is gone.
        """
        self._logs.replace(self._log(key), _values(messages), ttl=self._ttl)

    def get_messages(self, key: str) -> list[ChatMessage]:
        """Return the messages of a key, in their order: one round trip."""
        return _messages(self._logs.read(self._log(key)))

    def add_message(self, key: str, message: ChatMessage) -> None:
        """Add a message behind all others: one round trip."""
        self._logs.append(self._log(key), _values([message]), ttl=self._ttl)

    def delete_messages(self, key: str) -> list[ChatMessage] | None:
        """Remove all messages of a key and return them: one round trip.

        ``None`` is returned if there are none.
        """
        return _messages(self._logs.pop(self._log(key), EVERYTHING)) or None

    def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Remove a message and return it.

        Two round trips, and two more whenever somebody else was faster.

        Args:
            key: of the messages.
            idx: its place among them, from 0; negative ones count from the end. ``None`` is returned if there is none.
        """
        log = self._log(key)
        while True:
            entries = self._logs.read(log)
            at = index_of(idx, len(entries))
            if at is None:
                return None
            try:
                self._logs.replace(log, _without(entries, at), expected=entries[-1].position, ttl=self._ttl)
            except Conflict:
                continue
            return _message(entries[at])

    def delete_last_message(self, key: str) -> ChatMessage | None:
        """Remove the last message and return it: one round trip.

        ``None`` is returned if there is none.
        """
        return _first(self._logs.pop(self._log(key)))

    def get_keys(self) -> list[str]:
        """Return the keys that have messages, in order."""
        return keys_of([log.name for log in self._logs.list(prefix=self._root)], self._root)

    # -- in an event loop

    async def aset_messages(self, key: str, messages: list[ChatMessage]) -> None:
        """Do as :meth:`set_messages`."""
        await shielded(self._alogs.replace(self._log(key), _values(messages), ttl=self._ttl))

    async def aget_messages(self, key: str) -> list[ChatMessage]:
        """Do as :meth:`get_messages`."""
        return _messages(await self._alogs.read(self._log(key)))

    async def async_add_message(self, key: str, message: ChatMessage) -> None:
        """Do as :meth:`add_message`."""
        await shielded(self._alogs.append(self._log(key), _values([message]), ttl=self._ttl))

    async def adelete_messages(self, key: str) -> list[ChatMessage] | None:
        """Do as :meth:`delete_messages`."""
        return _messages(await shielded(self._alogs.pop(self._log(key), EVERYTHING))) or None

    async def adelete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Do as :meth:`delete_message`."""
        log = self._log(key)
        while True:
            entries = await self._alogs.read(log)
            at = index_of(idx, len(entries))
            if at is None:
                return None
            rest, last = _without(entries, at), entries[-1].position
            try:
                await shielded(self._alogs.replace(log, rest, expected=last, ttl=self._ttl))
            except Conflict:
                continue
            return _message(entries[at])

    async def adelete_last_message(self, key: str) -> ChatMessage | None:
        """Do as :meth:`delete_last_message`."""
        return _first(await shielded(self._alogs.pop(self._log(key))))

    async def aget_keys(self) -> list[str]:
        """Do as :meth:`get_keys`."""
        return keys_of([log.name async for log in self._alogs.list(prefix=self._root)], self._root)

    def _log(self, key: str) -> Namespace:
        return labels("key", (*self._root, text("key", key)))


def _values(messages: Any) -> list[LogValue]:
    return [value_of(dumped(message)) for message in checked_messages(messages)]


def _message(entry: LogEntry) -> ChatMessage:
    return message_of(dumped_of(entry), entry)


def _messages(entries: Sequence[LogEntry]) -> list[ChatMessage]:
    return [_message(entry) for entry in entries]


def _first(entries: Sequence[LogEntry]) -> ChatMessage | None:
    return _message(entries[0]) if entries else None


def _without(entries: Sequence[LogEntry], at: int) -> list[LogValue]:
    return [entry.value for number, entry in enumerate(entries) if number != at]
