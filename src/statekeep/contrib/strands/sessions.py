"""Sessions of Strands Agents over items."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, Unpack

from ...domain import (
    ANY,
    DEFAULT,
    Conflict,
    GetItem,
    InvalidInput,
    Item,
    ListItems,
    Payload,
    PutItem,
    StatekeepError,
)
from ...domain.items import Expected, Namespace
from ...domain.model import Ttl
from ...domain.shown import shown
from ...repositories.connect import connect
from ...repositories.faces import closing_on_error
from ...repositories.items import ItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.validation import count, labels, text, ttl_or_default
from ..backends import KeepsItems, item_backend
from ..owned import ClosesOwn
from .framework import SessionException, SessionRepository, check_installed

if TYPE_CHECKING:
    from strands.multiagent import MultiAgentBase
    from strands.types.session import Session, SessionAgent, SessionMessage

T = TypeVar("T")

SESSION: Final = "session"
"""The key of the session itself; the TTL of all others goes by its own."""

DIGITS: Final = 12
"""Digits of a message's id in its key, which therefore sorts as the id does."""

RENEWAL: Final = 10
"""After this part of the TTL, a tenth, the next write begins it anew for the whole session."""


class StatekeepSessionRepository(ClosesOwn, SessionRepository):  # type: ignore[misc]
    """Sessions with their agents and messages, for ``RepositorySessionManager``.

    It implements ``strands.session.SessionRepository``, with ``delete_session`` and the state of multi-agents. Use one
    for any number of sessions, in several threads and processes at once: each write is one unit. It blocks, as the SDK
    wants it; in programs of asyncio with many users, a ``SnapshotSessionManager`` over :class:`StatekeepStorage` blocks
    no event loop.

    Errors are ``SessionException``, with Statekeep's own as ``__cause__``; ids that cannot be are
    :class:`~statekeep.InvalidInput`, which is a ``ValueError``.

    Args:
        keep: where they are kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``items``. You close it.
        namespace: labels in front of the session's id.
        ttl: seconds that a session is kept after something was last written in it, fractions allowed; at most a tenth
            less. ``None`` for ever, :data:`~statekeep.DEFAULT` for what the connection was made with.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.
        MissingDependency: strands-agents is not installed.

    Example:
        >>> import statekeep
        >>> from strands.types.session import Session, SessionType
        >>> with statekeep.connect("memory:") as keep:
        ...     repository = StatekeepSessionRepository(keep)
        ...     session = repository.create_session(Session("ada", SessionType.AGENT))
        ...     repository.read_session("ada").session_id
        'ada'
    """

    def __init__(
        self, keep: KeepsItems, *, namespace: Sequence[str] = ("strands", "sessions"), ttl: Ttl = DEFAULT
    ) -> None:
        check_installed()
        self._items = ItemRepository(item_backend(keep))
        self._root = labels("namespace", namespace)
        self._ttl = ttl_or_default(ttl)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("strands", "sessions"),
        ttl: float | None = None,
        prefix: str = "statekeep",
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this repository alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.connect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            prefix: as for :func:`statekeep.connect`.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> with StatekeepSessionRepository.from_url("memory:") as repository:
            ...     print(repository.read_session("nobody"))
            None
        """
        keep = connect(url, prefix=prefix, ttl=ttl, **options)
        with closing_on_error(keep.close):
            repository = cls(keep, namespace=namespace)
        repository._own = keep
        return repository

    def create_session(self, session: Session, **_: Any) -> Session:
        """Store a session, and remove what is left of one that ended: one round trip.

        Args:
            session: the session.

        Raises:
            SessionException: there is one of this id.
        """
        place, what = self._place(session.session_id), f"session {shown(session.session_id)}"
        with _session_errors(what):
            created, some = self._items.batch(
                [self._put(place, SESSION, session.to_dict(), None), ListItems(namespace=place, limit=2, refresh=False)]
            )
            # It expired, its deletion was cut off, or somebody wrote who did not know of that yet.
            for item in self._items.list(place, refresh=False) if len(some) > 1 else ():
                if item.updated_at < created.updated_at:
                    self._remove(item)
        return session

    def read_session(self, session_id: str, **_: Any) -> Session | None:
        """Return a session, ``None`` if there is none: one round trip.

        Args:
            session_id: names it; any text but the empty one.
        """
        from strands.types.session import Session

        return self._read(session_id, SESSION, Session.from_dict)

    def delete_session(self, session_id: str, **_: Any) -> None:
        """Delete a session with its agents and messages: four round trips for 500 of them.

        It begins with the session itself, so that those who write to it are refused from then on.

        Args:
            session_id: names it.

        Raises:
            SessionException: there is none.
        """
        place, what = self._place(session_id), f"session {shown(session_id)}"
        with _session_errors(what):
            was_there = self._items.delete(place, SESSION)
            if not self._items.clear(place) and not was_there:
                raise SessionException(f"{what} does not exist")

    def create_agent(self, session_id: str, session_agent: SessionAgent, **_: Any) -> None:
        """Store an agent of a session: one round trip.

        Args:
            session_id: names the session.
            session_agent: the agent.

        Raises:
            SessionException: there is one of this id, or no such session.
        """
        self._write(session_id, _agent(session_agent.agent_id), session_agent.to_dict(), None)

    def read_agent(self, session_id: str, agent_id: str, **_: Any) -> SessionAgent | None:
        """Return an agent, ``None`` if there is none: one round trip.

        Args:
            session_id: names the session.
            agent_id: names it; any text but the empty one, without ``/``.
        """
        from strands.types.session import SessionAgent

        return self._read(session_id, _agent(agent_id), SessionAgent.from_dict)

    def update_agent(self, session_id: str, session_agent: SessionAgent, **_: Any) -> None:
        """Replace an agent, but for its ``created_at``: two round trips.

        Args:
            session_id: names the session.
            session_agent: the agent; it gets the ``created_at`` that is stored.

        Raises:
            SessionException: there is no such agent or session.
        """
        self._update(session_id, _agent(session_agent.agent_id), partial(_changed, session_agent))

    def create_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **_: Any) -> None:
        """Store a message: one round trip.

        Args:
            session_id: names the session.
            agent_id: names the agent.
            session_message: the message; its id is an integer >= 0.

        Raises:
            SessionException: there is one of this id, as somebody else appended it, or there is no such session.
        """
        key = _message(agent_id, session_message.message_id)
        self._write(session_id, key, session_message.to_dict(), None)

    def read_message(self, session_id: str, agent_id: str, message_id: int, **_: Any) -> SessionMessage | None:
        """Return a message, ``None`` if there is none: one round trip.

        Args:
            session_id: names the session.
            agent_id: names the agent.
            message_id: names the message.
        """
        from strands.types.session import SessionMessage

        return self._read(session_id, _message(agent_id, message_id), SessionMessage.from_dict)

    def update_message(self, session_id: str, agent_id: str, session_message: SessionMessage, **_: Any) -> None:
        """Replace a message, but for its ``created_at``: two round trips.

        Args:
            session_id: names the session.
            agent_id: names the agent.
            session_message: the message; it gets the ``created_at`` that is stored.

        Raises:
            SessionException: there is no such message or session.
        """
        self._update(session_id, _message(agent_id, session_message.message_id), partial(_changed, session_message))

    def list_messages(
        self, session_id: str, agent_id: str, limit: int | None = None, offset: int = 0, **_: Any
    ) -> list[SessionMessage]:
        """Return messages of an agent by id: two round trips for 100.

        Args:
            session_id: names the session.
            agent_id: names the agent.
            limit: at most so many; ``None`` for all.
            offset: how many to leave out at the beginning.

        Raises:
            SessionException: there is no such agent.
        """
        from strands.types.session import SessionMessage

        place, prefix = self._place(session_id), _messages(agent_id)
        with _session_errors(f"messages of agent {shown(agent_id)}"):
            items = list(self._items.list(place, prefix=prefix, limit=limit, offset=offset, refresh=False))
        if not items and self.read_agent(session_id, agent_id) is None:
            raise SessionException(f"agent {shown(agent_id)} does not exist in session {shown(session_id)}")
        return [_made(SessionMessage.from_dict, item) for item in items]

    def create_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **_: Any) -> None:
        """Store the state of a graph or swarm, in place of what is there: one round trip.

        Args:
            session_id: names the session.
            multi_agent: the graph or swarm; its id is any text but the empty one.

        Raises:
            SessionException: there is no such session.
        """
        self._write(session_id, _multi_agent(multi_agent.id), multi_agent.serialize_state(), ANY)

    def read_multi_agent(self, session_id: str, multi_agent_id: str, **_: Any) -> dict[str, Any] | None:
        """Return the state of a graph or swarm, ``None`` if there is none: one round trip.

        Args:
            session_id: names the session.
            multi_agent_id: names it.
        """
        return self._read(session_id, _multi_agent(multi_agent_id), dict)

    def update_multi_agent(self, session_id: str, multi_agent: MultiAgentBase, **_: Any) -> None:
        """Replace the state of a graph or swarm: two round trips.

        Args:
            session_id: names the session.
            multi_agent: the graph or swarm.

        Raises:
            SessionException: nothing is stored of it, or there is no such session.
        """
        self._update(session_id, _multi_agent(multi_agent.id), lambda _: multi_agent.serialize_state())

    def _place(self, session_id: str) -> Namespace:
        return labels("session_id", (*self._root, text("session_id", session_id)))

    def _put(self, place: Namespace, key: str, value: Mapping[str, Any], expected: Expected) -> PutItem:
        options: Any = {"ttl": self._ttl, "expected": expected, "index": False}
        try:
            return PutItem(namespace=place, key=key, value=value, **options)
        except InvalidInput as error:
            if error.field != "value":
                raise
            # The SDK's files hold what Python's json writes, such as NaN and keys that are numbers.
            return PutItem(namespace=place, key=key, value=_as_payload(value, error), **options)

    def _read(self, session_id: str, key: str, make: Callable[[Any], T]) -> T | None:
        place = self._place(session_id)
        with _session_errors(f"{key} of session {shown(session_id)}"):
            item = self._items.get(place, key, refresh=False)
        return None if item is None else _made(make, item)

    def _write(self, session_id: str, key: str, value: Mapping[str, Any], expected: Expected) -> None:
        place = self._place(session_id)
        with _session_errors(f"{key} of session {shown(session_id)}"):
            self._store(place, self._put(place, key, value, expected))

    def _store(self, place: Namespace, put: PutItem) -> None:
        """Store an item of a session that is there, whose TTL begins anew."""
        session: Item | None
        stored, session = self._items.batch([put, GetItem(namespace=place, key=SESSION, refresh=False)])
        if session is None:
            self._remove(stored)
            raise SessionException(f"session {shown(place[-1])} does not exist")
        if stored.expires_at is None or session.expires_at is None:
            return
        if (stored.expires_at - session.expires_at) * RENEWAL > stored.expires_at - stored.updated_at:
            for _ in self._items.list(place, refresh=True):
                pass

    def _update(self, session_id: str, key: str, change: Callable[[Item], Mapping[str, Any]]) -> None:
        """Replace what is stored, which is read until nobody has changed it in between."""
        place, what = self._place(session_id), f"{key} of session {shown(session_id)}"
        with _session_errors(what):
            while True:
                before = self._items.get(place, key, refresh=False)
                if before is None:
                    raise SessionException(f"{what} does not exist")
                try:
                    return self._store(place, self._put(place, key, change(before), before))
                except Conflict:
                    continue

    def _remove(self, item: Item) -> None:
        try:
            self._items.delete(item.namespace, item.key, expected=item)
        except Conflict:
            pass  # it is somebody else's by now

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._items!r})"


def _id(field: str, value: Any) -> str:
    found = text(field, value)
    if "/" in found:  # as the SDK has it; keys of messages rely on it
        raise InvalidInput(f"{field} must have no '/', got {shown(found)}", field=field)
    return found


def _agent(agent_id: str) -> str:
    return f"agent/{_id('agent_id', agent_id)}"


def _multi_agent(multi_agent_id: str) -> str:
    return f"multi_agent/{text('multi_agent_id', multi_agent_id)}"


def _messages(agent_id: str) -> str:
    return f"message/{_id('agent_id', agent_id)}/"


def _message(agent_id: str, message_id: int) -> str:
    number = count("message_id", message_id)
    if number >= 10**DIGITS:
        raise InvalidInput(f"message_id must be less than 10**{DIGITS}, got {shown(number)}", field="message_id")
    return f"{_messages(agent_id)}{number:0{DIGITS}}"


def _as_payload(value: Mapping[str, Any], error: InvalidInput) -> Payload:
    """Return JSON as a payload, which may have what JSON values may not.

    Raises:
        InvalidInput: as ``error`` says, if Python's json cannot write it either.
    """
    try:
        return Payload(encoding="json", data=json.dumps(value).encode())
    except (TypeError, ValueError, RecursionError):
        raise error from None


def _made(make: Callable[[Any], T], item: Item) -> T:
    """Return what the value of an item stands for."""
    try:
        return make(json.loads(item.value.data) if isinstance(item.value, Payload) else item.value)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError) as error:
        place = f"{shown(item.key)} of session {shown(item.namespace[-1])}"
        raise SessionException(f"{place} is damaged: {error}") from error


def _changed(thing: SessionAgent | SessionMessage, before: Item) -> dict[str, Any]:
    """Return what to store of a thing, which was created when it was created first."""
    thing.created_at = _made(dict, before).get("created_at", thing.created_at)
    found: dict[str, Any] = thing.to_dict()
    return found


@contextmanager
def _session_errors(what: str) -> Iterator[None]:
    """Raise errors as the framework expects them.

    Those of arguments are a ``ValueError``, all others a ``SessionException``.
    """
    try:
        yield
    except InvalidInput:
        raise
    except Conflict as error:
        raise SessionException(f"{what} already exists") from error
    except StatekeepError as error:
        raise SessionException(f"{what}: {error}") from error
