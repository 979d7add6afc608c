"""Rules of the emulated AgentCore Memory.

They can be configured, or are not known exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from attrs import field, frozen

from ..bounds import not_negative, positive

IndexedType = Literal["STRING", "STRINGLIST", "NUMBER"]
"""Types of record metadata that a memory can index."""


@frozen(kw_only=True)
class AgentCoreRules:
    """Rules of the emulated ``bedrock-agentcore``.

    :mod:`~statekeep.testing.aws.assumptions` says what they rest on.

    Attributes:
        quotas: enforce the documented requests per second.
        filter_lag: seconds after which an event is seen by ``ListEvents`` with a filter.
        session_lag: seconds after which a new session is seen by ``ListSessions`` and its actor by ``ListActors``.
        record_lag: seconds after which ``ListMemoryRecords`` and ``RetrieveMemoryRecords`` see a change.
        record_id_lag: seconds after which a new memory record is found by its id.
        record_errors: codes with which records fail whose content has a text: ``{"poison": 429}``.
        exact_paths: whether namespaces that differ by their last slash are two: ``/a/`` has ``/a/`` and ``/a/b``, and
            ``/a`` has ``/a`` and ``/a/b``. Otherwise both have all three.
        extraction_lag: seconds after which an event becomes memory records, in a memory that has strategies.
        token_life: seconds for which a client token is remembered.
        honour_tokens: whether client tokens are remembered at all.
        conflict_window: seconds within which a second ``CreateEvent`` of one session is a conflict; 0 for never.
        page_size: a listing has at most so many results on a page, whatever ``maxResults`` says.
        page_bytes: a page of ``ListEvents`` ends when its payloads exceed so many bytes; it has one event at least.
        trailing_token: a full last page has a token too, of an empty page.
        expire_from: whether an event's life begins with its own timestamp or with its arrival.
        empty_session_life: seconds after which a session without events is gone.
        event_bytes: bytes of an event's payload, as JSON.
        json_bytes: bytes of one ``json`` item of a payload.
        ingest_bytes: bytes of the payload of ``IngestData``.
    """

    quotas: bool = False
    filter_lag: float = field(default=0.0, validator=not_negative)
    session_lag: float = field(default=0.0, validator=not_negative)
    record_lag: float = field(default=0.0, validator=not_negative)
    record_id_lag: float = field(default=0.0, validator=not_negative)
    record_errors: Mapping[str, int] = field(factory=dict)
    exact_paths: bool = False
    extraction_lag: float = field(default=0.0, validator=not_negative)
    token_life: float = field(default=86_400.0, validator=not_negative)
    honour_tokens: bool = True
    conflict_window: float = field(default=0.0, validator=not_negative)
    page_size: int | None = field(default=None, validator=positive)
    page_bytes: int | None = field(default=None, validator=positive)
    trailing_token: bool = False
    expire_from: Literal["arrival", "timestamp"] = "arrival"
    empty_session_life: float = field(default=86_400.0, validator=not_negative)
    event_bytes: int = field(default=10_000_000, validator=positive)
    json_bytes: int = field(default=100_000, validator=positive)
    ingest_bytes: int = field(default=100_000, validator=positive)

    def page(self, asked: int | None) -> int:
        """Return how many results a page has.

        It is as many as the request asks for; 20 unless it does.
        """
        return min(asked or 20, self.page_size or 100)


ACCOUNT_RATES: Final[Mapping[str, float]] = {
    "CreateEvent": 200,
    "ListEvents": 200,
    "DeleteEvent": 20,
    "RetrieveMemoryRecords": 30,
    "ListMemoryRecords": 30,
    "IngestData": 10,
}
"""Requests a second of an account."""

OTHER_RATE: Final = 20.0
"""Requests a second of an account, of each operation that is not in the table."""

SESSION_RATES: Final[Mapping[str, float]] = {"CreateEvent": 10, "ListEvents": 20, "DeleteEvent": 5, "IngestData": 5}
"""Requests a second of one actor's session."""

CONVERSATIONAL_RATE: Final = 5.0
"""As ``CreateEvent`` of one session, if the payload has a message."""
