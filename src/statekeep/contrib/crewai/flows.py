"""State of flows, and of those that wait for feedback."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, Self, Unpack
from weakref import WeakValueDictionary

import pybase64
from pydantic import BaseModel, PrivateAttr

from ...domain import Checkpoint, CorruptRecord, InvalidInput, Payload, Serializer, dump, load
from ...domain.items import Namespace
from ...domain.shown import shown
from ...repositories.checkpoints import CheckpointRepository, Supply
from ...repositories.connect import connect
from ...repositories.connection import AsyncConnection, Connection
from ...repositories.faces import closing_on_error
from ...repositories.items import ItemRepository
from ...repositories.options import ConnectOptions
from ...repositories.typed.digests import Sightings, digested
from ...repositories.validation import labels, text
from ..backends import checkpoint_backend, item_backend
from ..owned import ClosesOwn
from ..serializers import checked_serializer
from ..thread_ids import thread_id_of
from .framework import FlowPersistence, PendingFeedbackContext, check_installed

NAMESPACE: Final = ("crewai", "flows")

_living: WeakValueDictionary[Namespace, StatekeepFlowPersistence] = WeakValueDictionary()
"""By namespace: those that the framework, which writes them down as a part of a flow, finds again."""


class StatekeepFlowPersistence(ClosesOwn, FlowPersistence):  # type: ignore[misc]
    """State of flows, for ``@persist(...)`` and ``Flow(persistence=)``.

    It implements ``crewai.flow.persistence.FlowPersistence``, with pending feedback. It may be shared by threads of the
    program.

    The framework may write a flow down together with its persistence. That is then the one of the same namespace that
    this program made last; make it before you restore such a flow.

    Args:
        keep: where it is kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect` that keeps
            items, too. You close it. How long it is kept is the connection's ``ttl``.
        namespace: labels in front of the flow's id.
        serializer: serializes each field of the state, as one that encrypts does; ``None``: they are kept as JSON.
            Names of fields and methods stay readable.
        fields: those of the base class.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no items.
        MissingDependency: crewai is not installed.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     persistence = StatekeepFlowPersistence(keep)
        ...     persistence.save_state("flow-1", "greet", {"id": "flow-1", "n": 1})
        ...     persistence.load_state("flow-1")
        {'id': 'flow-1', 'n': 1}
    """

    persistence_type: str = "StatekeepFlowPersistence"
    namespace: tuple[str, ...] = NAMESPACE

    _checkpoints: Any = PrivateAttr(default=None)
    _items: Any = PrivateAttr(default=None)
    _serializer: Any = PrivateAttr(default=None)
    _seen: Any = PrivateAttr(default=None)

    def __init__(
        self,
        keep: Connection | AsyncConnection | None = None,
        *,
        namespace: Sequence[str] = NAMESPACE,
        serializer: Serializer | None = None,
        **fields: Any,
    ) -> None:
        check_installed()
        place = labels("namespace", namespace)
        found = _living.get(place) if keep is None else None
        if found is None and not isinstance(keep, Connection | AsyncConnection):
            raise InvalidInput(
                f"keep must be a connection of statekeep.connect or aconnect, got {type(keep).__name__}; to restore a "
                f"flow, make a StatekeepFlowPersistence of the namespace {shown(place)} before",
                field="keep",
            )
        super().__init__(namespace=place, **fields)
        if found is not None:
            for name in type(self).__private_attributes__:
                setattr(self, name, getattr(found, name))
            return
        self._serializer = checked_serializer(serializer)
        self._checkpoints = CheckpointRepository(checkpoint_backend(keep))
        self._items = ItemRepository(item_backend(keep))
        self._seen = Sightings()
        _living[place] = self

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = NAMESPACE,
        ttl: float | None = None,
        serializer: Serializer | None = None,
        prefix: str = "statekeep",
        refresh_on_read: bool = False,
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this persistence alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.connect`.
            namespace: as for the class.
            ttl: seconds that a state is kept after it was saved, fractions allowed; ``None`` for ever.
            serializer: as for the class.
            prefix: as for :func:`statekeep.connect`.
            refresh_on_read: loading a state starts its TTL anew.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no items.

        Example:
            >>> with StatekeepFlowPersistence.from_url("memory:") as persistence:
            ...     print(persistence.load_state("nothing"))
            None
        """
        keep = connect(url, prefix=prefix, ttl=ttl, refresh_on_read=refresh_on_read, **options)
        with closing_on_error(keep.close):
            persistence = cls(keep, namespace=namespace, serializer=serializer)
        persistence._own = keep
        return persistence

    def init_db(self) -> None:
        """Do nothing: there is nothing to set up."""

    def save_state(self, flow_uuid: str, method_name: str, state_data: dict[str, Any] | BaseModel) -> None:
        """Store the state of a flow, as one unit: one round trip.

        Values that did not change are not sent again. If this persistence has neither loaded nor saved the flow before,
        it may be one round trip more.

        Args:
            flow_uuid: the flow.
            method_name: the method that has come to its end.
            state_data: the state. What JSON cannot hold is stored as the framework's ``SQLiteFlowPersistence`` does it:
                models and sets as JSON, dates as ISO 8601, anything else as text.

        Raises:
            InvalidInput: an argument is wrong. Nothing was written.
        """
        checkpoint, supply = self._checkpoint(flow_uuid, method_name, _plain_state(state_data))
        self._put(checkpoint, supply)

    def _checkpoint(self, flow_uuid: Any, method_name: Any, state: Mapping[str, Any]) -> tuple[Checkpoint, Supply]:
        thread_id = self._thread_id(flow_uuid)
        values = {
            name: dump(self._serializer, value, f"the field {shown(name)} of the state")
            for name, value in state.items()
        }
        seen = self._seen.get(thread_id)
        parts = digested(values, None if seen is None else seen.digests)
        checkpoint = Checkpoint(
            thread_id=thread_id,
            parent_id=None if seen is None else seen.checkpoint_id,
            metadata={"method": text("method_name", method_name)},
            channels=parts.channels,
        )
        return checkpoint, parts.supply

    def _put(self, checkpoint: Checkpoint, supply: Supply) -> None:
        self._checkpoints.put(checkpoint, supply=supply)
        self._seen.note(checkpoint)

    def load_state(self, flow_uuid: str) -> dict[str, Any] | None:
        """Return the latest state of a flow, or ``None``: one round trip.

        Args:
            flow_uuid: the flow.
        """
        thread_id = self._thread_id(flow_uuid)
        saved = self._checkpoints.get(thread_id)
        if saved is None:
            self._seen.forget(thread_id)
            return None
        self._seen.note(saved)
        return {
            name: load(self._serializer, channel.payload)
            for name, channel in saved.channels.items()
            if channel.payload is not None
        }

    def save_pending_feedback(
        self, flow_uuid: str, context: PendingFeedbackContext, state_data: dict[str, Any] | BaseModel
    ) -> None:
        """Store that a flow waits for feedback, and its state: two round trips.

        If the program dies in between, the flow can be resumed, as that needs nothing but the first.

        Args:
            flow_uuid: the flow.
            context: what the framework resumes it with.
            state_data: as for :meth:`save_state`.
        """
        state = _plain_state(state_data)
        checkpoint, supply = self._checkpoint(flow_uuid, context.method_name, state)
        pending = {"state": state, "context": _plain(context.to_dict())}
        payload = dump(self._serializer, pending, "the pending feedback")
        value = {
            "checkpoint": checkpoint.checkpoint_id,
            "encoding": payload.encoding,
            "data": pybase64.b64encode_as_string(payload.data),
        }
        self._items.put(self._place, flow_uuid, value)
        self._put(checkpoint, supply)

    def load_pending_feedback(self, flow_uuid: str) -> tuple[dict[str, Any], PendingFeedbackContext] | None:
        """Return state and context of a flow that waits for feedback, or ``None``.

        It takes one round trip.

        Args:
            flow_uuid: the flow.
        """
        item = self._items.get(self._place, text("flow_uuid", flow_uuid))
        if item is None:
            return None
        match item.value:
            case {"checkpoint": str(checkpoint_id), "encoding": str(encoding), "data": str(text_)}:
                data = pybase64.b64decode(text_, validate=True)
            case _:
                raise CorruptRecord("the item is no pending feedback", key=item.key)
        found = load(self._serializer, Payload(encoding=encoding, data=data))
        # What is saved next comes behind it, whatever the clock shows here.
        thread_id = self._thread_id(flow_uuid)
        seen = self._seen.get(thread_id)
        if seen is None or seen.checkpoint_id < checkpoint_id:
            self._seen.note(Checkpoint(thread_id=thread_id, checkpoint_id=checkpoint_id))
        return found["state"], PendingFeedbackContext.from_dict(found["context"])

    def clear_pending_feedback(self, flow_uuid: str) -> None:
        """Forget that a flow waits for feedback: one round trip.

        Args:
            flow_uuid: the flow.
        """
        self._items.delete(self._place, text("flow_uuid", flow_uuid))

    @property
    def _place(self) -> Namespace:
        return (*self.namespace, "pending")

    def _thread_id(self, flow_uuid: Any) -> str:
        return thread_id_of([*self.namespace, text("flow_uuid", flow_uuid)])


def _plain_state(state: Any) -> dict[str, Any]:
    """Return a state as JSON has it."""
    if isinstance(state, BaseModel):
        try:
            return _plain_object(state.model_dump(mode="json"))
        except Exception:  # pydantic cannot make JSON of a field, the fallback below can
            return _plain_object(state.model_dump())
    if isinstance(state, Mapping):
        return _plain_object(state)
    raise InvalidInput(
        f"state_data must be a mapping or a Pydantic model, got {type(state).__name__}", field="state_data"
    )


def _plain_object(state: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = _plain(dict(state))
    return found


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_plain_other))


def _plain_other(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    if isinstance(value, dt.date):
        return value.isoformat()
    return str(value)
