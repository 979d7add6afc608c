"""Chats whose older messages are archived, for a ``Memory``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self, Unpack

from attrs import frozen
from pydantic import PrivateAttr

from ...domain import DEFAULT, Conflict, CorruptRecord, InvalidInput, LogEntry
from ...domain.items import Namespace
from ...domain.logs import LogValue
from ...domain.model import Ttl
from ...domain.shown import shown
from ...repositories.connect import aconnect
from ...repositories.connection import AsyncConnection
from ...repositories.faces import closing_on_error
from ...repositories.logs import AsyncLogRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import count, labels, text, ttl_or_default
from ..backends import KeepsLogs, log_backend
from ..owned import ClosesOwnAsync
from ..shielding import shielded
from .framework import AsyncDBChatStore, ChatMessage, MessageStatus, check_installed
from .messages import checked_messages, dumped, dumped_of, index_of, keys_of, message_of, value_of


@frozen
class _Stored:
    """A message as it is stored."""

    status: MessageStatus
    message: ChatMessage
    value: LogValue


class StatekeepAsyncChatStore(ClosesOwnAsync, AsyncDBChatStore):  # type: ignore[misc]
    """Messages by key, active or archived, for ``Memory.from_defaults(chat_store=)``.

    Use it in several tasks, event loops, threads and processes at once: each method is one unit. A method that changes
    something and is cancelled comes to its end first, so nothing is changed behind your back.

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
        >>> import asyncio, statekeep
        >>> from llama_index.core.llms import ChatMessage
        >>> async def main() -> list[str | None]:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         store = StatekeepAsyncChatStore(keep)
        ...         await store.add_messages("ada", [ChatMessage("hello"), ChatMessage("how are you?")])
        ...         await store.archive_oldest_messages("ada", 1)
        ...         return [message.content for message in await store.get_messages("ada")]
        >>> asyncio.run(main())
        ['how are you?']
    """

    _logs: AsyncLogRepository = PrivateAttr()
    _root: Namespace = PrivateAttr()
    _ttl: Ttl = PrivateAttr()
    _own: AsyncConnection | None = PrivateAttr(default=None)

    def __init__(
        self, keep: KeepsLogs, *, namespace: Sequence[str] = ("llama-index", "memories"), ttl: Ttl = DEFAULT
    ) -> None:
        check_installed()
        backend, root, seconds = log_backend(keep), labels("namespace", namespace), ttl_or_default(ttl)
        super().__init__()
        self._logs, self._root, self._ttl = AsyncLogRepository(backend), root, seconds

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("llama-index", "memories"),
        ttl: float | None = None,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this store alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.aconnect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            prefix: as for :func:`statekeep.aconnect`.
            refresh_on_read: reading the messages of a key starts their TTL anew.
            options: as for :func:`statekeep.aconnect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no logs.

        Example:
            >>> import asyncio
            >>> async def main() -> list[str]:
            ...     async with StatekeepAsyncChatStore.from_url("memory:") as store:
            ...         return await store.get_keys()
            >>> asyncio.run(main())
            []
        """
        keep = aconnect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.checkpoints.backend.close):
            store = cls(keep, namespace=namespace)
        store._own = keep
        return store

    @classmethod
    def class_name(cls) -> str:
        """Return the name of this class, for LlamaIndex."""
        return "StatekeepAsyncChatStore"

    async def get_messages(
        self,
        key: str,
        status: MessageStatus | None = MessageStatus.ACTIVE,
        limit: int | None = None,
        offset: int | None = None,
    ) -> list[ChatMessage]:
        """Return the messages of a key, in their order: one round trip.

        Args:
            key: of the messages.
            status: only those with it; ``None`` for all.
            limit: at most so many.
            offset: how many to leave out at the beginning.
        """
        wanted, first = _status_or_none(status), 0 if offset is None else count("offset", offset)
        end = None if limit is None else first + count("limit", limit)
        found = [one.message for one in await self._read(self._log(key)) if wanted in (None, one.status)]
        return found[first:end]

    async def count_messages(self, key: str, status: MessageStatus | None = MessageStatus.ACTIVE) -> int:
        """Count the messages of a key with a status, or with any.

        One round trip, which reads the messages if a status is asked for.
        """
        wanted, log = _status_or_none(status), self._log(key)
        if wanted is None:
            return await self._logs.count(log)
        return sum(one.status == wanted for one in await self._read(log))

    async def add_message(self, key: str, message: ChatMessage, status: MessageStatus = MessageStatus.ACTIVE) -> None:
        """Add a message behind all others: one round trip."""
        await self.add_messages(key, [message], status)

    async def add_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Add messages behind all others, all or none: one round trip."""
        values = _values(messages, _status(status))
        await shielded(self._logs.append(self._log(key), values, ttl=self._ttl))

    async def set_messages(
        self, key: str, messages: list[ChatMessage], status: MessageStatus = MessageStatus.ACTIVE
    ) -> None:
        """Put messages in the place of all that the key has.

        One round trip. Without messages the key is gone.
        """
        values = _values(messages, _status(status))
        await shielded(self._logs.replace(self._log(key), values, ttl=self._ttl))

    async def delete_message(self, key: str, idx: int) -> ChatMessage | None:
        """Remove an active message and return it.

        Two round trips, and two more whenever somebody else was faster.

        Args:
            key: of the messages.
            idx: its place among the active ones, from 0; negative ones count from the end. ``None`` is returned if
                there is none.
        """

        def one(active: int) -> range:
            at = index_of(idx, active)
            return range(0) if at is None else range(at, at + 1)

        found = await self._change(key, one, None)
        return found[0] if found else None

    async def delete_messages(self, key: str, status: MessageStatus | None = None) -> None:
        """Remove the messages of a key with a status, or all.

        One round trip for all, two for a status.
        """
        wanted, log = _status_or_none(status), self._log(key)
        while True:
            if wanted is None:
                await shielded(self._logs.delete(log))
                return
            entries = await self._logs.read(log)
            rest = [one.value for one in map(_stored, entries) if one.status != wanted]
            if len(rest) == len(entries) or await self._replaced(log, rest, entries):
                return

    async def delete_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Remove the first active messages and return them: two round trips.

        Two more whenever somebody else was faster.

        Args:
            key: of the messages.
            n: at most so many.
        """
        most = count("n", n)
        return await self._change(key, lambda active: range(min(active, most)), None)

    async def archive_oldest_messages(self, key: str, n: int) -> list[ChatMessage]:
        """Archive the first active messages and return them: two round trips.

        Two more whenever somebody else was faster. They keep their places.

        Args:
            key: of the messages.
            n: at most so many.
        """
        most = count("n", n)
        return await self._change(key, lambda active: range(min(active, most)), MessageStatus.ARCHIVED)

    async def get_keys(self) -> list[str]:
        """Return the keys that have messages, in order."""
        return keys_of([log.name async for log in self._logs.list(prefix=self._root)], self._root)

    def _log(self, key: str) -> Namespace:
        return labels("key", (*self._root, text("key", key)))

    async def _read(self, log: Namespace) -> list[_Stored]:
        return [_stored(entry) for entry in await self._logs.read(log)]

    async def _change(
        self, key: str, choose: Callable[[int], range], status: MessageStatus | None
    ) -> list[ChatMessage]:
        """Remove some of the active messages, or give them another status; return them.

        Args:
            key: of the messages.
            choose: makes the places of those, of how many there are.
            status: the other one; ``None`` to remove them.
        """
        log = self._log(key)
        while True:
            entries = await self._logs.read(log)
            stored = [_stored(entry) for entry in entries]
            active = [at for at, one in enumerate(stored) if one.status == MessageStatus.ACTIVE]
            chosen = {active[at] for at in choose(len(active))}
            if not chosen:
                return []
            rest: list[LogValue] = []
            for at, one in enumerate(stored):
                if at not in chosen:
                    rest.append(one.value)
                elif status is not None:
                    rest += _values([one.message], status)
            if await self._replaced(log, rest, entries):
                return [stored[at].message for at in sorted(chosen)]

    async def _replaced(self, log: Namespace, values: Sequence[LogValue], former: Sequence[LogEntry]) -> bool:
        """Put values in the place of those that were read, unless these were changed."""
        try:
            await shielded(self._logs.replace(log, values, expected=former[-1].position, ttl=self._ttl))
        except Conflict:
            return False
        return True


def _status(status: Any) -> MessageStatus:
    try:
        return MessageStatus(status)
    except ValueError as error:
        raise InvalidInput(f"status must be 'active' or 'archived', got {shown(status)}", field="status") from error


def _status_or_none(status: Any) -> MessageStatus | None:
    return None if status is None else _status(status)


def _values(messages: Any, status: MessageStatus) -> list[LogValue]:
    return [value_of({"status": status.value, "message": dumped(message)}) for message in checked_messages(messages)]


def _stored(entry: LogEntry) -> _Stored:
    value = dumped_of(entry)
    try:
        status, parts = MessageStatus(value["status"]), value["message"]
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptRecord(f"the value at {entry.position} is no message with a status: {error!r}") from error
    return _Stored(status, message_of(parts, entry), entry.value)
