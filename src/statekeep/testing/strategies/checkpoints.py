"""Strategies of checkpoints, their parts, threads and queries."""

from __future__ import annotations

import datetime as dt
import random
from enum import IntEnum
from functools import cache
from typing import Any

from hypothesis import strategies as st

from ...domain import (
    Channel,
    ChannelHistory,
    Checkpoint,
    CheckpointQuery,
    Payload,
    PendingWrite,
    PrunePolicy,
    SavedCheckpoint,
    Thread,
)
from .texts import HOSTILE_TEXTS, Disguised, disguised, few


class _Step(IntEnum):
    FIRST = 1


class _Bytes(bytes):
    def __repr__(self) -> str:
        return f"_Bytes({bytes.__repr__(self)})"


VERSIONS: tuple[str | int | float, ...] = (1, "1", 1.0, 2, "2|x")


def moments() -> st.SearchStrategy[dt.datetime]:
    """Moments in UTC, to the microsecond."""
    # What `fold` says means nothing in UTC.
    every = st.datetimes(dt.datetime(1970, 1, 2), dt.datetime(2100, 1, 1), timezones=st.just(dt.UTC))
    return every.map(lambda moment: moment.replace(fold=0))


def thread_ids() -> st.SearchStrategy[str]:
    """Return a few ids, most of them nasty; see :func:`few`.

    Some of them, and of other ids here, are :func:`disguised`.
    """
    return disguised(few("thread ids", ["t"], HOSTILE_TEXTS))


def namespaces() -> st.SearchStrategy[str]:
    """Return the root, a call of a nested graph (with ``":"``), and two others."""
    return disguised(few("namespaces", ["", "sub:1"], ["plain", *HOSTILE_TEXTS]))


def checkpoint_ids() -> st.SearchStrategy[str]:
    """Return a few ids, whose order as text is not that as numbers."""
    return disguised(few("checkpoint ids", ["1", "2", "3", "10"], HOSTILE_TEXTS))


def run_ids() -> st.SearchStrategy[str]:
    """Return a few ids of runs."""
    return disguised(few("run ids", ["run-1"], ["run-10", "run *", "", *HOSTILE_TEXTS], more=1))


def channel_names() -> st.SearchStrategy[str]:
    """Return a few names of channels, perhaps the empty one."""
    return disguised(few("channels", ["a"], ["", "b", *HOSTILE_TEXTS]))


def versions() -> st.SearchStrategy[str | int | float]:
    """Versions of channels, some of which are equal but for their type."""
    return st.sampled_from([*VERSIONS, _Step.FIRST, Disguised("1")])


@cache
def _message(number: int, mark: bytes) -> bytes:
    return b"%d%b: %b\n" % (number, mark, random.Random(number).randbytes(300))


def _messages(first: int, count: int, edited: int | None) -> bytes:
    listed = range(first, first + count)
    return b"%d:" % count + b"".join(_message(number, b", edited" if number == edited else b"") for number in listed)


def _growing() -> st.SearchStrategy[bytes]:
    """Return versions of one list of messages.

    Two of them differ by what was appended, what was cut off in front, or a message that was edited.
    """
    return st.builds(_messages, st.integers(0, 4), st.integers(0, 12), st.none() | st.integers(0, 16))


def payloads() -> st.SearchStrategy[Payload]:
    """Arbitrary bytes, some of them twice, so that channels share values.

    Some are versions of one that grows.
    """
    # Large ones are made from their size: hypothesis prints strategies, with all that they hold.
    large = st.just(5000).map(lambda size: b"y" * size)
    data = st.sampled_from([b"", b"x", b"\x00\xff{}"]) | large | _growing() | st.binary(max_size=50)
    named = disguised(st.sampled_from(["json", "msgpack", "a:b|%"]))
    return st.builds(Payload, encoding=named, data=data | st.just(_Bytes(b"x")))


@cache
def exact_values() -> st.SearchStrategy[Any]:
    """Whatever metadata may hold: JSON, and what JSON cannot hold."""
    # Made once: how many branches hypothesis finds in it depends on which of its parts are in a cache just then.
    text = st.text(st.characters(), max_size=10)  # with lone surrogates
    zones = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=5, minutes=45))])
    hashable = (
        st.none() | st.booleans() | st.integers() | st.floats() | text | st.binary(max_size=10) | st.dates()
        | st.datetimes(timezones=zones) | st.timedeltas() | st.uuids() | st.decimals(allow_nan=False)
    )  # fmt: skip
    return st.recursive(
        hashable | st.binary(max_size=5).map(bytearray) | payloads(),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(text | st.just("$keep"), inner, max_size=3)
            | st.dictionaries(hashable, inner, max_size=2)
            | st.frozensets(hashable, max_size=3)
            | st.sets(hashable, max_size=3)
        ),
        max_leaves=5,
    )


def metadata() -> st.SearchStrategy[dict[str, Any]]:
    """Well-known keys with values from small pools, and others with any value."""
    known = st.fixed_dictionaries(
        {},
        optional={
            "step": _steps(),
            "run_id": run_ids(),
            "parents": st.dictionaries(namespaces(), checkpoint_ids(), max_size=2),
        },
    )
    others = st.dictionaries(st.text(st.characters(), max_size=5), exact_values(), max_size=2)
    return st.builds(lambda one, other: one | other, others, known)


def stored_channels() -> st.SearchStrategy[dict[str, Channel]]:
    """Channels that have a value or are empty: they can be put anywhere."""
    return st.dictionaries(
        channel_names(), st.builds(Channel.of, versions(), payloads()) | st.builds(Channel.empty, versions())
    )


def channels() -> st.SearchStrategy[dict[str, Channel]]:
    """Channels of every :class:`~statekeep.ValueSource`, by name.

    Example:
        >>> from hypothesis import given
        >>> @given(channels())
        ... def test(channels):
        ...     assert all((channel.carry == "value") == (channel.payload is not None) for channel in channels.values())
        >>> test()
    """
    one = (
        st.builds(Channel.of, versions(), payloads())
        | st.builds(Channel.empty, versions())
        | st.builds(Channel.earlier, versions(), required=st.booleans())
        | st.builds(Channel.replayed, versions())
    )
    return st.dictionaries(channel_names(), one)


def _fields(channels: st.SearchStrategy[dict[str, Channel]]) -> dict[str, st.SearchStrategy[Any]]:
    return {
        "thread_id": thread_ids(),
        "namespace": namespaces(),
        "checkpoint_id": checkpoint_ids(),
        "parent_id": st.none() | checkpoint_ids(),
        "created_at": moments(),
        "metadata": metadata(),
        "header": st.none() | payloads(),
        "channels": channels,
    }


def checkpoints(*, channels: st.SearchStrategy[dict[str, Channel]] | None = None) -> st.SearchStrategy[Checkpoint]:
    """Checkpoints whose ids, also those of parents, come from small pools.

    Args:
        channels: how to make their channels; :func:`stored_channels` if there is none.

    Example:
        >>> from hypothesis import given
        >>> from statekeep import CheckpointRepository
        >>> from statekeep.repositories.memory import MemoryCheckpoints
        >>> @given(checkpoints())
        ... def test(checkpoint):
        ...     keep = CheckpointRepository(MemoryCheckpoints())
        ...     keep.put(checkpoint)
        ...     assert keep.get(checkpoint.thread_id, namespace=checkpoint.namespace).header == checkpoint.header
        >>> test()
    """
    return st.builds(Checkpoint, **_fields(stored_channels() if channels is None else channels))


def pending_writes() -> st.SearchStrategy[PendingWrite]:
    """Return writes, also special ones (``idx < 0``), of few tasks and channels.

    Example:
        >>> from hypothesis import given, strategies as st
        >>> @given(st.lists(pending_writes()))
        ... def test(writes):
        ...     assert len({write.task_id for write in writes}) <= 2
        >>> test()
    """
    return st.builds(
        PendingWrite,
        task_id=disguised(few("task ids", ["task"], HOSTILE_TEXTS, more=1)),
        task_path=disguised(few("task paths", ["", "~a"], ["b:0", *HOSTILE_TEXTS], more=1)),
        idx=st.integers(-2, 2) | st.sampled_from(_Step),
        channel=channel_names() | st.just("__error__"),
        payload=payloads(),
    )


def saved_checkpoints() -> st.SearchStrategy[SavedCheckpoint]:
    """Checkpoints as they are read, with pending writes in their order."""
    writes = st.lists(pending_writes(), max_size=4, unique_by=lambda write: (write.task_id, write.idx))
    in_order = writes.map(lambda found: tuple(sorted(found, key=lambda write: write.order)))
    return st.builds(SavedCheckpoint, **_fields(stored_channels()), pending_writes=in_order)


def channel_histories() -> st.SearchStrategy[ChannelHistory]:
    """Results of :meth:`~statekeep.CheckpointRepository.ancestors` for a channel."""
    return st.builds(
        ChannelHistory, writes=st.lists(pending_writes(), max_size=4).map(tuple), seed=st.none() | payloads()
    )


def threads() -> st.SearchStrategy[Thread]:
    """Threads as they are listed."""
    return st.builds(Thread, thread_id=thread_ids(), updated_at=moments())


def thread_prefixes() -> st.SearchStrategy[str]:
    """Beginnings of thread ids, and texts that would be patterns."""
    return disguised(
        st.sampled_from(["", "*", "{", "\U0010ffff"])
        | st.builds(lambda text, length: text[:length], thread_ids(), st.integers(1, 3))
    )


def queries() -> st.SearchStrategy[CheckpointQuery]:
    """Return queries that find some of :func:`checkpoints`, of any thread.

    ``thread_id`` is ``None``.

    Conditions that a query does not have were not set at all, see its ``model_fields_set``.

    Example:
        >>> from hypothesis import given
        >>> @given(checkpoints(), queries())
        ... def test(checkpoint, query):
        ...     assert query.thread_id is None or query.thread_id == checkpoint.thread_id
        >>> test()
    """
    of_metadata = st.fixed_dictionaries(
        {}, optional={"step": _steps() | st.none(), "run_id": run_ids() | st.none(), "no such key": st.none()}
    )
    place = {
        "namespace": namespaces(),
        "checkpoint_id": checkpoint_ids(),
        "before": checkpoint_ids() | st.sampled_from(["5", "1x", "\U0010ffff"]),
    }
    limit = {"limit": st.integers(0, 5)}
    # With all conditions at once hardly anything is found, and nothing that takes more than a page.
    conditions = (
        st.fixed_dictionaries(limit)
        | st.fixed_dictionaries({"metadata": of_metadata}, optional=limit)
        | st.fixed_dictionaries({}, optional={**place, **limit, "metadata": of_metadata})
    )
    return conditions.map(lambda found: CheckpointQuery(**found))


def prune_policies() -> st.SearchStrategy[PrunePolicy]:
    """Return policies that keep few checkpoints, all that are young, or none.

    Example:
        >>> from hypothesis import given
        >>> @given(prune_policies())
        ... def test(policy):
        ...     assert policy.keep <= 3
        >>> test()
    """
    ages = st.none() | st.sampled_from([dt.timedelta(), dt.timedelta(days=365 * 20)])
    return st.builds(PrunePolicy, keep=st.integers(0, 3), older_than=ages)


def _steps() -> st.SearchStrategy[int]:
    """Return a number that is often the same."""
    return st.sampled_from([0, 0, 1, -1, 2, _Step.FIRST])
