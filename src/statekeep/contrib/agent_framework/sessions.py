"""Sessions of agents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self, Unpack
from weakref import WeakKeyDictionary

from ...domain import DEFAULT, InvalidInput, Item
from ...domain.model import Ttl
from ...repositories.connect import aconnect
from ...repositories.faces import closing_on_error
from ...repositories.items import AsyncItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import boolean, labels, text, ttl_or_default
from ..backends import KeepsItems, item_backend
from ..owned import ClosesOwnAsync
from ..shielding import shielded
from .framework import AgentSession, check_installed

try:
    from agent_framework import SessionStore  # which warns whoever makes a subclass that it is experimental
except ModuleNotFoundError:
    SessionStore = object


class StatekeepSessionStore(ClosesOwnAsync, SessionStore):  # type: ignore[misc]
    """Sessions of agents, with all that their providers keep in their state.

    It is an ``agent_framework.SessionStore`` over items, and experimental as long as that is. Use it in asyncio code,
    also in several tasks and processes at once.

    Args:
        keep: where they are kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``items``. You close it.
        namespace: labels of the namespace whose keys are the sessions' ids.
        ttl: seconds that a session is kept after it was set last, fractions allowed; ``None`` for ever,
            :data:`~statekeep.DEFAULT` for what the connection was made with.
        detect_conflicts: ``set`` refuses a session if somebody else has set or deleted it since it was got here, so
            that no turn of a conversation is lost. A session that is new must not be there. Otherwise the last ``set``
            wins.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.
        MissingDependency: agent-framework-core is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> from agent_framework import AgentSession
        >>> async def main() -> dict:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         store = StatekeepSessionStore(keep)
        ...         session = AgentSession(session_id="ada")
        ...         session.state["mood"] = "fine"
        ...         await store.set("ada", session)
        ...         return (await store.get("ada")).state
        >>> asyncio.run(main())
        {'mood': 'fine'}
    """

    def __init__(
        self,
        keep: KeepsItems,
        *,
        namespace: Sequence[str] = ("agent-framework", "sessions"),
        ttl: Ttl = DEFAULT,
        detect_conflicts: bool = False,
    ) -> None:
        check_installed()
        super().__init__()
        self._namespace = labels("namespace", namespace)
        self._ttl = ttl_or_default(ttl)
        self._detects = boolean("detect_conflicts", detect_conflicts)
        self._items = AsyncItemRepository(item_backend(keep))
        self._got: WeakKeyDictionary[AgentSession, Item] = WeakKeyDictionary()

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("agent-framework", "sessions"),
        ttl: float | None = None,
        detect_conflicts: bool = False,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this store alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.aconnect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            detect_conflicts: as for the class.
            prefix: as for :func:`statekeep.aconnect`.
            refresh_on_read: getting a session starts its TTL anew.
            options: as for :func:`statekeep.aconnect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> import asyncio
            >>> async def main() -> bool:
            ...     async with StatekeepSessionStore.from_url("memory:") as store:
            ...         return await store.get("ada") is None
            >>> asyncio.run(main())
            True
        """
        keep = aconnect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.checkpoints.backend.close):
            store = cls(keep, namespace=namespace, detect_conflicts=detect_conflicts)
        store._own = keep
        return store

    async def get(self, session_id: str) -> AgentSession | None:
        """Return a session, or ``None``: one round trip.

        Args:
            session_id: the id that it was set with.
        """
        item = await self._items.get(self._namespace, text("session_id", session_id))
        if item is None:
            return None
        session = AgentSession.from_dict(item.value)
        if self._detects:
            self._got[session] = item
        return session

    async def set(self, session_id: str, session: AgentSession) -> None:
        """Store a session, as it is now: one round trip.

        Args:
            session_id: any text but the empty one.
            session: an ``AgentSession``, and of no subclass, which would be got as one of that.

        Raises:
            InvalidInput: its state holds what JSON cannot, such as objects of types that
                ``agent_framework.register_state_type`` was not told. Nothing was written.
            Conflict: somebody else set or deleted it since it was got, and ``detect_conflicts`` is on. Nothing was
                written.
        """
        key = text("session_id", session_id)
        if type(session) is not AgentSession:
            raise InvalidInput(f"session must be an AgentSession, got {type(session).__name__}", field="session")
        value = session.to_dict()
        await shielded(self._set(key, session, value))

    async def _set(self, key: str, session: AgentSession, value: dict[str, Any]) -> None:
        if not self._detects:
            await self._items.put(self._namespace, key, value, ttl=self._ttl)
            return
        got = self._got.get(session)
        expected = got if got is not None and got.key == key else None
        self._got[session] = await self._items.put(self._namespace, key, value, ttl=self._ttl, expected=expected)

    async def delete(self, session_id: str) -> None:
        """Delete a session, if there is one: one round trip.

        Args:
            session_id: the id that it was set with.
        """
        await shielded(self._items.delete(self._namespace, text("session_id", session_id)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({'/'.join(self._namespace)!r}, {self._items!r})"
