"""The stored forms of sessions and states: keys and values of items."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Annotated, Any, Final, Self
from urllib.parse import quote, unquote

from attrs import frozen
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json

from ...domain import InvalidInput, Item
from .framework import Event, Session, State
from .service import corrupt, json_text, plain_model

SESSIONS: Final = "session:"
APP_STATE: Final = "state:app"
USER_STATES: Final = "state:user:"


def part(field: str, value: Any) -> str:
    """Return a part of a key.

    Raises:
        InvalidInput: it is no Unicode text.
    """
    try:
        return quote(value, safe="", errors="strict")
    except (TypeError, UnicodeError) as error:
        raise InvalidInput(f"{field} must be Unicode text: {error}", field=field) from error


def user_key(user_id: str) -> str:
    """Return the key of a user's state."""
    return USER_STATES + part("user_id", user_id)


def user_of(key: str) -> str:
    """Return the user whose state has this key."""
    return unquote(key.removeprefix(USER_STATES))


def sessions_of(user_id: str) -> str:
    """Return the beginning of the keys of a user's sessions."""
    return f"{SESSIONS}{part('user_id', user_id)}:"


class StoredSession(BaseModel):
    """A session.

    Attributes:
        user: whose it is.
        id: its name.
        state: its own, as JSON.
        first: the number of the first event that is stored.
        following: the number of the next event.
        last: the id of the last event.
        updated: the time of the last event, or of the session's creation.
        renewed: the lives of the events began anew no earlier than then; ``None``: than the item was created.
        ttl: seconds that the session lives after an event.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    user: str
    id: str
    state: str
    first: Annotated[int, Field(ge=0)] = 0
    following: Annotated[int, Field(ge=0)] = 0
    last: str = ""
    updated: float
    renewed: AwareDatetime | None = None
    ttl: float | None = None


@frozen
class Known:
    """A session, and the item that it was read from."""

    item: Item
    stored: StoredSession

    @classmethod
    def of(cls, item: Item) -> Self:
        """Decode an item.

        Raises:
            CorruptRecord: it is damaged.
        """
        try:
            return cls(item, StoredSession.model_validate(item.value))
        except ValidationError as error:
            raise corrupt(item, error) from None

    @property
    def marker(self) -> str:
        """The revision.

        Of a session that was deleted and made again, it has not been there before.
        """
        return f"{self.item.created_at.isoformat()} {self.item.version}"

    @property
    def state(self) -> dict[str, Any]:
        return decoded_state(self.stored.state, self.item)

    def event_key(self, number: int) -> str:
        """Return the key of an event."""
        return f"event:{self.item.key.removeprefix(SESSIONS)}:{number:010}"

    def event_keys(self, first: int, following: int) -> list[str]:
        """Return the keys of events from one number to before another."""
        return [self.event_key(number) for number in range(first, following)]

    def is_late(self) -> bool:
        """Return whether the lives of the events must begin anew with the next one."""
        begun = self.stored.renewed or self.item.created_at
        ttl = self.stored.ttl
        return ttl is not None and self.item.updated_at - begun > dt.timedelta(seconds=ttl)

    def session(self, app_name: str, app: Mapping[str, Any], user: Mapping[str, Any], events: list[Event]) -> Session:
        """Return the framework's session, with the states of its app and user."""
        state = self.state
        state |= {State.APP_PREFIX + name: value for name, value in app.items()}
        state |= {State.USER_PREFIX + name: value for name, value in user.items()}
        session = Session(
            app_name=app_name,
            user_id=self.stored.user,
            id=self.stored.id,
            state=state,
            events=events,
            last_update_time=self.stored.updated,
        )
        session._storage_update_marker = self.marker
        return session


def value_of(stored: StoredSession) -> dict[str, Any]:
    """Return the value of a session's item."""
    return stored.model_dump(mode="json", exclude_defaults=True)


def state_of(item: Item | None) -> dict[str, Any]:
    """Return the state of an app or a user.

    Raises:
        CorruptRecord: it is damaged.
    """
    return {} if item is None else decoded_state(item.value, item)


def decoded_state(text: Any, item: Item) -> dict[str, Any]:
    """Return a state that is stored as JSON.

    Raises:
        CorruptRecord: it is damaged.
    """
    try:
        found = from_json(text)
    except (ValueError, TypeError) as error:
        raise corrupt(item, error) from None
    if not isinstance(found, dict):
        raise corrupt(item, TypeError())
    return found


@frozen
class Delta:
    """Changes of states."""

    app: Mapping[str, Any]
    user: Mapping[str, Any]
    own: Mapping[str, Any]

    @classmethod
    def of(cls, state: Mapping[str, Any] | None) -> Self:
        """Split changes by their prefixes; those of temporary state are left out."""
        app, user, own = {}, {}, {}
        for name, value in (state or {}).items():
            if name.startswith(State.APP_PREFIX):
                app[name.removeprefix(State.APP_PREFIX)] = value
            elif name.startswith(State.USER_PREFIX):
                user[name.removeprefix(State.USER_PREFIX)] = value
            elif not name.startswith(State.TEMP_PREFIX):
                own[name] = value
        return cls(app, user, own)


def without_temporary(event: Event) -> Event:
    """Return an event as it is stored: without temporary state."""
    delta = event.actions.state_delta
    kept = {name: value for name, value in delta.items() if not name.startswith(State.TEMP_PREFIX)}
    if len(kept) == len(delta):
        return event
    return event.model_copy(update={"actions": event.actions.model_copy(update={"state_delta": kept})})


def event_text(event: Event) -> tuple[str, dict[str, Any]]:
    """Return an event as JSON, and the changes of state in it as JSON values.

    Raises:
        InvalidInput: JSON cannot hold it.
    """
    plain = plain_model(Event, event, "event")
    return json_text(plain, "event"), plain.get("actions", {}).get("state_delta", {})
