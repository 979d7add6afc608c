"""The service of sessions.

An app is one namespace, so an event and all states that it changes are one unit.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Unpack
from uuid import uuid4

from attrs import frozen

from ...domain import DEFAULT, Conflict, CorruptRecord, DeleteItem, GetItem, Item, ListItems, PutItem
from ...domain.items import Namespace
from ...domain.model import Ttl
from ...repositories.item_backend import MOST_EXPECTED
from ...repositories.options import ConnectOptions
from ...repositories.validation import LONGEST_TTL, ttl_or_default
from .. import listing
from ..shielding import shielded
from .framework import (
    AlreadyExistsError,
    BaseSessionService,
    Event,
    GetSessionConfig,
    ListSessionsResponse,
    Session,
    SessionNotFoundError,
    StaleSessionError,
)
from .records import (
    APP_STATE,
    SESSIONS,
    USER_STATES,
    Delta,
    Known,
    StoredSession,
    event_text,
    part,
    sessions_of,
    state_of,
    user_key,
    user_of,
    value_of,
    without_temporary,
)
from .service import Keep, Service, decoded_model, json_text, remember

ROOM: Final = MOST_EXPECTED - 10
"""Events that are deleted in one unit with their session."""

PAGE: Final = 100
"""Events that are read at once to find those after a time."""

GUESSED: Final = MOST_EXPECTED - 10
"""Events that are read together with their session, if it is known which it has."""

SPARE: Final = 4
"""Events live so many times as long as sessions, so that they need not begin anew with each one."""

Operations = Sequence[GetItem | PutItem | DeleteItem]


@frozen
class _Place:
    """Where a session is."""

    namespace: Namespace
    user_id: str
    session_id: str

    @property
    def key(self) -> str:
        return sessions_of(self.user_id) + part("session_id", self.session_id)


class StatekeepSessionService(Service, BaseSessionService):  # type: ignore[misc]
    """Sessions, for ``Runner(..., session_service=)`` and the URIs of ``adk web``.

    Use it in asyncio code, also in several tasks and processes at once. An event, the session's state, the user's and
    the app's are stored as one unit, which refuses who has read something older. A method that changes something and
    is cancelled comes to its end first, so nothing is changed behind your back.

    Args:
        keep: where sessions are kept: a connection, or its ``items``. You close it.
        uri: opens a connection of its own instead, as :func:`statekeep.aconnect` does; :meth:`close` closes it.
        namespace: labels in front of an app's name. An app is one namespace, which a cluster keeps on one node.
        ttl: seconds that a session is kept after its last event, fractions allowed; ``None`` for ever,
            :data:`~statekeep.DEFAULT` for what the connection was made with. A session keeps the one that it was made
            with. States of users and apps do not end.
        prefix: as for :func:`statekeep.aconnect`, with ``uri``.
        agents_dir: ADK's command line passes it; it means nothing here.
        options: as for :func:`statekeep.aconnect`, with ``uri``.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the service keeps no items.
        MissingDependency: google-adk is not installed.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> dict:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         sessions = StatekeepSessionService(keep)
        ...         await sessions.create_session(app_name="app", user_id="ada", session_id="s", state={"user:tea": 1})
        ...         return (await sessions.get_session(app_name="app", user_id="ada", session_id="s")).state
        >>> asyncio.run(main())
        {'user:tea': 1}
    """

    def __init__(
        self,
        keep: Keep | None = None,
        *,
        uri: str | None = None,
        namespace: Sequence[str] = ("google-adk",),
        ttl: Ttl = DEFAULT,
        prefix: str = "statekeep",
        agents_dir: str | None = None,
        **options: Unpack[ConnectOptions],
    ) -> None:
        life = ttl_or_default(ttl)
        super().__init__(keep, uri=uri, namespace=namespace, prefix=prefix, **options)
        self._ttl: float | None = getattr(self._items.backend, "ttl", None) if life is DEFAULT else life
        # Guesses, which the server proves: what sessions and states were last.
        self._known: dict[_Place, Known] = {}
        self._states: dict[tuple[Namespace, str], Item | None] = {}

    async def create_session(
        self,
        *,
        app_name: str,
        user_id: str,
        state: dict[str, Any] | None = None,
        session_id: str | None = None,
    ) -> Session:
        """Store a new session: one round trip.

        Two if its state has keys of the user or the app.

        Args:
            app_name: names the app.
            user_id: whose it is.
            state: what it begins with; ``user:`` and ``app:`` go to the states of the user and the app.
            session_id: its name; ``None`` for a new one.

        Raises:
            AlreadyExistsError: there is one of this name.
            InvalidInput: JSON cannot hold the state, or another argument is wrong. Nothing was written.
        """
        name = (session_id or "").strip() or str(uuid4())
        place = _Place(self._space(app_name), user_id, name)
        delta = Delta.of(state)
        stored = StoredSession(
            user=user_id, id=name, state=json_text(delta.own, "state"), updated=time.time(), ttl=self._ttl
        )
        known, app, user = await shielded(self._create(place, stored, delta))
        return known.session(app_name, app, user, [])

    async def get_session(
        self, *, app_name: str, user_id: str, session_id: str, config: GetSessionConfig | None = None
    ) -> Session | None:
        """Return a session with its events: one round trip.

        Two if this service did not read or write it lately, or others added events. One more for each 500 events.

        Args:
            app_name: names the app.
            user_id: whose it is.
            session_id: its name.
            config: which events; those after a time are read from the end, in pages of 100.

        Raises:
            CorruptRecord: something is damaged, or an event was evicted.
        """
        place = _Place(self._space(app_name), user_id, (session_id or "").strip())
        while True:
            there = self._guessed(place, config)
            known, states = await self._read(place, [APP_STATE, user_key(user_id)], there)
            if known is None:
                return None
            events = await self._events(place, known, config, there)
            if isinstance(events, list):
                app, user = map(state_of, states.values())
                return known.session(app_name, app, user, events)
            # One is gone: the session was deleted meanwhile, or else it is lost.
            again, _ = await self._read(place, [])
            if again is not None and again.item == known.item:
                raise CorruptRecord("an event of a session is not there", key=events)

    async def list_sessions(self, *, app_name: str, user_id: str | None = None) -> ListSessionsResponse:
        """Return the sessions of an app or of a user, the last active one last.

        They are without their events. Two round trips for each 200 sessions, with the states; one if the same are
        there as the last time.
        """
        space: dict[str, Any] = {"namespace": self._space(app_name), "refresh": False}
        listed, app, of_users = await listing.read_all(
            self._items,
            ListItems(**space, limit=listing.PAGE, prefix=SESSIONS if user_id is None else sessions_of(user_id)),
            GetItem(**space, key=APP_STATE),
            ListItems(**space, limit=listing.PAGE, prefix=USER_STATES)
            if user_id is None
            else GetItem(**space, key=user_key(user_id)),
        )
        if user_id is None:
            users = {user_of(item.key): state_of(item) for item in of_users}
        else:
            users = {user_id: state_of(of_users)}
        of_app, found = state_of(app), map(Known.of, listed)
        sessions = [known.session(app_name, of_app, users.get(known.stored.user, {}), []) for known in found]
        return ListSessionsResponse(sessions=sorted(sessions, key=lambda it: (it.last_update_time, it.user_id, it.id)))

    async def delete_session(self, *, app_name: str, user_id: str, session_id: str) -> None:
        """Delete a session with its events, if it is there: two round trips.

        One more for each 490 events. More than 490 events are deleted from the oldest on, in several units. Until the
        last one is done, the session is there with fewer events.
        """
        await shielded(self._delete(_Place(self._space(app_name), user_id, (session_id or "").strip())))

    async def get_user_state(self, *, app_name: str, user_id: str) -> dict[str, Any]:
        """Return the state of a user, without the prefixes: one round trip."""
        (item,) = await self._get(self._space(app_name), [user_key(user_id)])
        return state_of(item)

    async def append_event(self, session: Session, event: Event) -> Event:
        """Store an event and the changes of state in it, as one unit: one round trip.

        Two if somebody else changed a state that it changes, or if this service did not read or write the session
        lately. Then the event is in the session, too. An event that is in it already is not stored again.

        Raises:
            StaleSessionError: somebody else stored an event, or the session anew. Nothing was written.
            SessionNotFoundError: it is not there. Nothing was written.
            InvalidInput: JSON cannot hold the event. Nothing was written.
        """
        if event.partial or any(each.id == event.id and each == event for each in session.events):
            return event
        text, delta = event_text(without_temporary(event))
        return await shielded(self._append(session, event, text, Delta.of(delta)))

    # -- reading

    async def _get(self, namespace: Namespace, keys: Iterable[str], *, refresh: bool = False) -> list[Item | None]:
        gets = [GetItem(namespace=namespace, key=key, refresh=refresh) for key in keys]
        return await self._items.batch(gets) if gets else []

    async def _read(
        self, place: _Place, keys: Sequence[str], events: dict[str, Item | None] | None = None
    ) -> tuple[Known | None, dict[str, Item | None]]:
        """Read a session and states, and remember them.

        In the same round trip, events are read into a mapping of their keys.
        """
        events = {} if events is None else events
        first, *others = await self._get(place.namespace, [place.key, *keys, *events])
        states = dict(zip(keys, others, strict=False))
        events.update(zip(events, others[len(keys) :], strict=True))
        for key, item in states.items():
            remember(self._states, (place.namespace, key), item)
        return self._note(place, first), states

    def _guessed(self, place: _Place, config: GetSessionConfig | None) -> dict[str, Item | None]:
        """Return the keys of the last events that a session is known to have."""
        known = self._known.get(place)
        if known is None:
            return {}
        most = GUESSED if config is None or config.after_timestamp is None else PAGE
        return dict.fromkeys(known.event_keys(*_wanted(known, config))[-most:])

    def _note(self, place: _Place, item: Item | None) -> Known | None:
        self._known.pop(place, None)
        if item is None:
            return None
        known = Known.of(item)
        remember(self._known, place, known)
        return known

    async def _events(
        self, place: _Place, known: Known, config: GetSessionConfig | None, there: Mapping[str, Item | None]
    ) -> list[Event] | str:
        """Read the events that are missing; return the key of one if it is gone."""
        first, following = _wanted(known, config)
        after = None if config is None else config.after_timestamp
        size = max(1, following - first) if after is None else PAGE
        events: list[Event] = []
        for end in range(following, first, -size):
            keys = known.event_keys(max(first, end - size), end)
            missing = [key for key in keys if there.get(key) is None]
            items = {**there, **dict(zip(missing, await self._get(place.namespace, missing), strict=True))}
            for key in reversed(keys):
                item = items[key]
                if item is None:
                    return key
                event = decoded_model(Event, item.value, item)
                if after is not None and event.timestamp < after:
                    return events[::-1]
                events.append(event)
        return events[::-1]

    # -- writing

    async def _create(
        self, place: _Place, stored: StoredSession, delta: Delta
    ) -> tuple[Known, dict[str, Any], dict[str, Any]]:
        of_user = user_key(place.user_id)
        changes = {key: change for key, change in ((APP_STATE, delta.app), (of_user, delta.user)) if change}
        put = self._put_session(place, stored, None)
        states: dict[str, Item | None] = {}
        while True:
            if changes:
                known, states = await self._read(place, list(changes))
                if known is not None:
                    raise _exists(place)
            reads = [GetItem(namespace=place.namespace, key=key, refresh=False) for key in (APP_STATE, of_user)]
            try:
                results = await self._items.batch([put, *_put_states(place, changes, states), *reads])
            except Conflict as error:
                if error.key == place.key:
                    raise _exists(place) from error
                continue  # somebody else changed a state
            app, user = results[-2:]
            remember(self._states, (place.namespace, APP_STATE), app)
            remember(self._states, (place.namespace, of_user), user)
            created = self._note(place, results[0])
            assert created is not None
            return created, state_of(app), state_of(user)

    def _put_session(self, place: _Place, stored: StoredSession, expected: Item | None) -> PutItem:
        return PutItem(
            namespace=place.namespace,
            key=place.key,
            value=value_of(stored),
            ttl=stored.ttl,
            expected=expected,
            index=False,
        )

    async def _append(self, session: Session, event: Event, text: str, delta: Delta) -> Event:
        place = _Place(self._space(session.app_name), session.user_id, session.id)
        of_both = ((APP_STATE, delta.app), (user_key(place.user_id), delta.user))
        changes = {key: change for key, change in of_both if change}
        while True:
            known, states = await self._current(place, session, list(changes))
            stored, renewed = known.stored, known.stored.renewed
            if known.is_late():
                await self._get(place.namespace, known.event_keys(stored.first, stored.following), refresh=True)
                renewed = known.item.updated_at
            state = json_text({**known.state, **delta.own}, "state") if delta.own else stored.state
            new = stored.model_copy(
                update={
                    "state": state,
                    "following": stored.following + 1,
                    "last": event.id,
                    "updated": event.timestamp,
                    "renewed": renewed,
                }
            )
            puts = [
                self._put_session(place, new, known.item),
                PutItem(
                    namespace=place.namespace,
                    key=known.event_key(stored.following),
                    value=text,
                    ttl=None if stored.ttl is None else min(SPARE * stored.ttl, LONGEST_TTL),
                    index=False,
                ),
                *_put_states(place, changes, states),
            ]
            try:
                results = await self._items.batch(puts)
            except Conflict:
                # Look at what is there: somebody else changed the session, or a state only.
                self._known.pop(place, None)
                continue
            written = self._note(place, results[0])
            assert written is not None
            for key, item in zip(changes, results[2:], strict=True):
                remember(self._states, (place.namespace, key), item)
            session._storage_update_marker = written.marker
            session.last_update_time = event.timestamp
            appended: Event = await BaseSessionService.append_event(self, session=session, event=event)
            return appended

    async def _current(
        self, place: _Place, session: Session, keys: Sequence[str]
    ) -> tuple[Known, dict[str, Item | None]]:
        """Return the stored session, if it is the one that was read, and states.

        Raises:
            StaleSessionError: it is another.
            SessionNotFoundError: it is not there.
        """
        marker: str | None = session._storage_update_marker
        known = self._known.get(place)
        names = [(place.namespace, key) for key in keys]
        if known is not None and marker == known.marker and all(name in self._states for name in names):
            return known, {key: self._states[name] for key, name in zip(keys, names, strict=True)}
        known, states = await self._read(place, keys)
        if known is None:
            raise SessionNotFoundError(f"Session {session.id} not found.")
        if marker is None:
            # Made by hand, or by another service: it is current unless it lacks the last event.
            last = session.events[-1].id if session.events else ""
            is_current = known.stored.updated <= session.last_update_time or known.stored.last == last
        else:
            is_current = known.marker == marker
        if not is_current:
            raise StaleSessionError(
                "The session has been modified in storage since it was loaded. "
                "Reload the session before appending more events."
            )
        return known, states

    async def _delete(self, place: _Place) -> None:
        while True:
            known, _ = await self._read(place, [])
            while known is not None:
                stored = known.stored
                end = min(stored.following, stored.first + ROOM)
                is_last = end == stored.following
                shorter = stored.model_copy(update={"first": end})
                session = (
                    DeleteItem(namespace=place.namespace, key=place.key, expected=known.item)
                    if is_last
                    else self._put_session(place, shorter, known.item)
                )
                events = [DeleteItem(namespace=place.namespace, key=key) for key in known.event_keys(stored.first, end)]
                try:
                    result, *_ = await self._items.batch([session, *events])
                except Conflict:
                    break  # an event was stored meanwhile
                known = self._note(place, None if is_last else result)
            else:
                return


def _wanted(known: Known, config: GetSessionConfig | None) -> tuple[int, int]:
    """Return the numbers of the first event to read and of the one after the last."""
    first, following = known.stored.first, known.stored.following
    if config is not None and config.num_recent_events is not None:
        first = max(first, following - config.num_recent_events)
    return first, following


def _put_states(
    place: _Place, changes: Mapping[str, Mapping[str, Any]], states: Mapping[str, Item | None]
) -> list[PutItem]:
    """Return the operations that change states."""
    texts = {key: json_text({**state_of(states[key]), **change}, "state") for key, change in changes.items()}
    return [
        PutItem(namespace=place.namespace, key=key, value=value, ttl=None, expected=states[key], index=False)
        for key, value in texts.items()
    ]


def _exists(place: _Place) -> AlreadyExistsError:
    return AlreadyExistsError(f"Session with id {place.session_id} already exists.")
