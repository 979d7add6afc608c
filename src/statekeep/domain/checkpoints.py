"""Checkpoints, their channels, and pending writes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from pydantic import AwareDatetime, BeforeValidator, Field, Strict, model_validator
from pydantic_core import PydanticCustomError

from . import tagged_json
from .errors import InvalidInput
from .ids import new_checkpoint_id
from .json_values import LARGEST
from .model import SHORT, Model, Name, Text, is_plain, plain_text
from .payload import Payload

StateT = TypeVar("StateT")


def _is_version(value: Any) -> Any:
    # Pydantic would make a float of whatever has `__float__`, such as an integer of numpy.
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise PydanticCustomError("version", "a version must be text, an integer or a float")
    return value


Version = Annotated[
    Text
    | Annotated[int, Strict(), Field(gt=-LARGEST, lt=LARGEST)]
    | Annotated[float, Strict(), Field(allow_inf_nan=False)],
    BeforeValidator(_is_version),
]
"""A channel's version: text, integer or float. Text ``"1"``, integer ``1`` and float ``1.0`` are three versions."""


class ValueSource(StrEnum):
    """Where to find a channel's value at its version."""

    VALUE = "value"
    """In ``payload``, here."""
    EMPTY = "empty"
    """Nowhere: the channel has a version but no value."""
    STORED = "earlier"
    """In an earlier checkpoint that stored this version. On ``put`` it must be there, or be supplied."""
    STORED_IF_ANY = "earlier-if-any"
    """In an earlier checkpoint, if one stored this version; else the channel is empty."""
    REPLAYED = "replayed"
    """In the pending writes of the ancestors since the nearest stored value (LangGraph's delta channels)."""


class Channel(Model):
    """One channel of a checkpoint: its version and where its value is.

    Attributes:
        version: changes whenever the value changes. Equal versions mean equal values along a chain of parents.
        payload: the value, if ``carry`` is ``VALUE``.
        carry: see :class:`ValueSource`. Repositories return ``VALUE``, ``EMPTY`` or ``REPLAYED``.

    Example:
        >>> Channel.of(2, Payload(encoding="json", data=b"1")).carry
        <ValueSource.VALUE: 'value'>
        >>> Channel.earlier(1)
        Channel(version=1, payload=None, carry=<ValueSource.STORED: 'earlier'>)
    """

    version: Version
    payload: Payload | None = None
    carry: ValueSource = ValueSource.EMPTY

    def model_post_init(self, _context: Any, /) -> None:
        if (self.payload is not None) is not (self.carry is ValueSource.VALUE):
            raise ValueError("payload goes with carry='value', and only with it")

    @classmethod
    def of(cls, version: str | int | float, payload: Payload) -> Channel:
        """Return a channel with its value."""
        make = cls.trusted if is_plain(version) and type(payload) is Payload else cls
        return make(version=version, payload=payload, carry=ValueSource.VALUE)

    @classmethod
    def empty(cls, version: str | int | float) -> Channel:
        """Return a channel that has no value at this version."""
        return _without_value(cls, version, ValueSource.EMPTY)

    @classmethod
    def earlier(cls, version: str | int | float, *, required: bool = True) -> Channel:
        """Return a channel whose value an earlier checkpoint stored.

        It was stored under this version; if not ``required``, maybe.
        """
        return _without_value(cls, version, ValueSource.STORED if required else ValueSource.STORED_IF_ANY)

    @classmethod
    def replayed(cls, version: str | int | float) -> Channel:
        """Return a channel whose value is rebuilt from the ancestors' pending writes."""
        return _without_value(cls, version, ValueSource.REPLAYED)


def _without_value(kind: type[Channel], version: str | int | float, carry: ValueSource) -> Channel:
    remember = type(version) is int or (type(version) is str and len(version) <= SHORT)
    return (_known if remember else _known.__wrapped__)(kind, version, carry)


# Most channels of a large graph stay as they are from one checkpoint to the next. Typed: 1 and True are equal.
@lru_cache(maxsize=4096, typed=True)
def _known(kind: type[Channel], version: str | int | float, carry: ValueSource) -> Channel:
    return kind(version=version, payload=None, carry=carry)


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Checkpoint(Model):
    """The state of a thread at one point in time.

    Attributes:
        thread_id: the conversation or run that the checkpoint belongs to; any text but the empty one. It and all other
            ids, namespaces and names have at most 8192 bytes of UTF-8.
        namespace: ``""`` for the thread's root, a path for a nested graph or agent.
        checkpoint_id: sorts by time; the newest checkpoint is the one with the greatest id, compared as text. One that
            you leave out is greater than ``parent_id``, see :func:`new_checkpoint_id`.
        parent_id: the checkpoint that this one was made from, in the same thread and namespace.
        created_at: when, with a time zone.
        metadata: a JSON object to filter by. Tuples, bytes, dates, NaN ... are kept exactly. Well-known keys:
            ``run_id`` (:meth:`CheckpointRepository.delete_runs`; one that can be no id counts as none), ``step``, and
            ``parents`` (namespace to checkpoint id: under which checkpoint a nested namespace ran).
        header: anything else that belongs to the whole checkpoint.
        channels: the state, by channel name.

    Example:
        >>> Checkpoint(thread_id="t", channels={"state": Channel.of(1, Payload(encoding="json", data=b"{}"))}).namespace
        ''
    """

    thread_id: Name
    namespace: Text = ""
    checkpoint_id: Name = Field(default_factory=new_checkpoint_id)
    parent_id: Name | None = None
    created_at: AwareDatetime = Field(default_factory=_now)
    metadata: dict[Annotated[str, Strict()], Any] = Field(default_factory=dict)
    header: Payload | None = None
    channels: dict[Text, Channel] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _behind_its_parent(cls, values: Any) -> Any:
        # A clock may be behind that of the parent's host.
        parent_id = values.get("parent_id") if isinstance(values, dict) else None
        if isinstance(parent_id, str) and "checkpoint_id" not in values:
            with suppress(InvalidInput):  # nothing can follow the longest ids
                return values | {"checkpoint_id": new_checkpoint_id(after=plain_text(parent_id))}
        return values


def encoded_metadata(checkpoint: Checkpoint) -> str:
    """Return metadata as text.

    Raises:
        InvalidInput: it holds what exact JSON cannot; ``field`` is ``metadata``.
    """
    try:
        return tagged_json.dumps(checkpoint.metadata)
    except InvalidInput as error:
        raise InvalidInput(f"metadata: {error}", field="metadata") from error


class PendingWrite(Model):
    """A value that a task wrote before its step was complete.

    Attributes:
        task_id: the task.
        task_path: where in the step the task stands; writes are read in the order (task_path, task_id, idx).
        idx: position among the task's writes. For ``idx >= 0`` the first write wins; a negative idx is a
            special write (error, interrupt, resume ...) of which the last one wins.
        channel: the channel written to.
        payload: the value.
    """

    task_id: Name
    task_path: Text = ""
    idx: Annotated[int, Strict()]
    channel: Text
    payload: Payload

    @property
    def order(self) -> tuple[str, str, int]:
        """The key by which writes are sorted."""
        return (self.task_path, self.task_id, self.idx)


class SavedCheckpoint(Checkpoint):
    """A checkpoint as it was read.

    Every stored channel value is present, and the pending writes are in order.
    """

    pending_writes: tuple[PendingWrite, ...] = ()


class TypedCheckpoint(Model, Generic[StateT]):
    """A checkpoint of a typed thread.

    Attributes:
        thread_id: its thread.
        namespace: ``""`` for the root.
        checkpoint_id: sorts by time.
        parent_id: the checkpoint that it was made from.
        created_at: when, with a time zone.
        metadata: what was saved with it.
        state: the state. It is your own, as the value of :class:`TypedItem`.
    """

    thread_id: Name
    namespace: Text
    checkpoint_id: Name
    parent_id: Name | None
    created_at: AwareDatetime
    metadata: dict[str, Any]
    state: StateT


class ChannelHistory(Model):
    """The contributions of a checkpoint's ancestors to one channel.

    Attributes:
        writes: pending writes to the channel, oldest first, since (and including those of) the seed's checkpoint.
        seed: the value stored by the nearest ancestor that has one, else ``None``.
    """

    writes: tuple[PendingWrite, ...] = ()
    seed: Payload | None = None


class Thread(Model):
    """A thread in a listing.

    Attributes:
        thread_id: its id.
        updated_at: when a checkpoint was last put, by the server's clock.
    """

    thread_id: Name
    updated_at: AwareDatetime

    @property
    def recency(self) -> tuple[dt.datetime, str]:
        """The key by which threads are sorted; the most recently updated has the greatest."""
        return (self.updated_at, self.thread_id)


class ThreadMeasure(Model):
    """The size of a thread, and when it ends.

    Attributes:
        thread_id: its id.
        checkpoints: how many it has, in all namespaces.
        pending_writes: how many it has, in all namespaces.
        namespaces: how many have one of these; the root is one, too.
        bytes: of its records, values and indexes.
        basis: what the bytes are. ``"memory"``: those that they take in the server's memory. ``"lengths"``: the lengths
            of what is stored, without what the service needs to keep it.
        expires_at: when the last of its records ends; ``None``: one lasts for ever.

    Example:
        >>> import statekeep
        >>> keep = statekeep.connect("memory:").checkpoints
        >>> keep.put(Checkpoint(thread_id="t", header=Payload(encoding="json", data=b"{}")))
        >>> measure = keep.measure(["t", "no such thread"])["t"]
        >>> measure.checkpoints, measure.pending_writes, measure.bytes > 0, measure.expires_at
        (1, 0, True, None)
    """

    thread_id: Name
    checkpoints: int
    pending_writes: int
    namespaces: int
    bytes: int
    basis: Literal["memory", "lengths"]
    expires_at: AwareDatetime | None = None


class CheckpointQuery(Model):
    """A query for checkpoints. Every condition that is not ``None`` must hold.

    Attributes:
        thread_id: only this thread.
        namespace: only this namespace (``""`` is the root); ``None`` for all.
        checkpoint_id: only the checkpoint with this id.
        before: only ids smaller than this text, which need not be the id of anything.
        limit: at most so many.
        metadata: every pair must be equal to the checkpoint's metadata; ``None`` also matches a missing key.
    """

    thread_id: Name | None = None
    namespace: Text | None = None
    checkpoint_id: Name | None = None
    before: Name | None = None
    limit: Annotated[int, Strict(), Field(ge=0)] | None = None
    metadata: Mapping[str, Any] | None = None

    def matches(self, metadata: Mapping[str, Any]) -> bool:
        """Return whether ``metadata`` fulfils the metadata condition."""
        return not self.metadata or all(metadata.get(key) == value for key, value in self.metadata.items())


OLDEST: Final = dt.timedelta(days=116_000)
"""The greatest age that a policy may name; 317 years. The date before that may be none that Python has."""


def _age(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= OLDEST.total_seconds():
        return dt.timedelta(seconds=value)
    if value is None or (isinstance(value, dt.timedelta) and dt.timedelta() <= value <= OLDEST):
        return value
    raise PydanticCustomError(
        "age", f"must be a timedelta or a number of seconds, 0 or more and at most {OLDEST.days} days"
    )


class PrunePolicy(Model):
    """The choice of the checkpoints of a namespace that a prune keeps.

    Those that these need stay, too.

    Attributes:
        keep: the newest so many stay, however old they are.
        older_than: all others go that were made so long ago, by their ``created_at`` and this host's clock: a
            ``timedelta``, or a number of seconds. ``None``: all others go.

    Raises:
        InvalidInput: ``keep`` is negative, or ``older_than`` is negative or longer than 317 years.

    Example:
        >>> PrunePolicy(keep=5, older_than=dt.timedelta(days=30)) == PrunePolicy(keep=5, older_than=30 * 86_400)
        True
    """

    keep: Annotated[int, Strict(), Field(ge=0)] = 1
    older_than: Annotated[dt.timedelta | None, BeforeValidator(_age)] = None

    @property
    def is_deletion(self) -> bool:
        """Whether nothing of a thread stays."""
        return self.keep == 0 and self.older_than is None

    def kept(self, checkpoint_ids: Iterable[str], created_at: Callable[[str], dt.datetime]) -> list[str]:
        """Return those that stay, newest first.

        Args:
            checkpoint_ids: all of a namespace.
            created_at: returns when one was made; called only if age counts.
        """
        ordered = sorted(checkpoint_ids, reverse=True)
        if self.older_than is None:
            return ordered[: self.keep]
        since = _now() - self.older_than
        return [*ordered[: self.keep], *(id_ for id_ in ordered[self.keep :] if created_at(id_) > since)]
