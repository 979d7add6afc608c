"""What an id may have in bytes, and what is remembered of ids."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from statekeep import (
    CacheEntry,
    Channel,
    Checkpoint,
    CheckpointQuery,
    DeleteItem,
    GetItem,
    InvalidInput,
    NamespaceMatch,
    Payload,
    PendingWrite,
    PutItem,
    Thread,
)
from statekeep.domain.ids import new_stamp
from statekeep.domain.lineage import run_of
from statekeep.domain.model import LONGEST_ID, MOST_LABELS, SHORT
from statekeep.repositories.records.local_cache import BYTES, Recent
from statekeep.repositories.valkey import keys
from statekeep.repositories.valkey.cache import keys as cache_keys
from statekeep.repositories.valkey.checkpoints import records
from statekeep.repositories.valkey.checkpoints.keys import namespace_keys
from statekeep.repositories.valkey.checkpoints.recent_ids import RecentIds
from statekeep.repositories.valkey.items import keys as item_keys
from statekeep.repositories.valkey.items.leases import Leases

NOW = "2024-01-01T00:00:00Z"
DATA = Payload(encoding="raw", data=b"")


def _write(**fields: Any) -> PendingWrite:
    return PendingWrite(**{"task_id": "t", "idx": 0, "channel": "c", "payload": DATA} | fields)


MODELS: dict[str, Callable[[str], object]] = {
    "thread_id": lambda text: Checkpoint(thread_id=text),
    "namespace": lambda text: Checkpoint(thread_id="t", namespace=text),
    "checkpoint_id": lambda text: Checkpoint(thread_id="t", checkpoint_id=text),
    "parent_id": lambda text: Checkpoint(thread_id="t", parent_id=text),
    "channels": lambda text: Checkpoint(thread_id="t", channels={text: Channel.empty(1)}),
    "version": Channel.empty,
    "task_id": lambda text: _write(task_id=text),
    "task_path": lambda text: _write(task_path=text),
    "channel": lambda text: _write(channel=text),
    "before": lambda text: CheckpointQuery(before=text),
    "key": lambda text: GetItem(namespace=(), key=text),
    "path": lambda text: NamespaceMatch(where="prefix", path=(text,)),
}
OTHERS: tuple[tuple[str, Callable[[str], object]], ...] = (
    ("thread_id", lambda text: Thread(thread_id=text, updated_at=NOW)),
    ("thread_id", lambda text: CheckpointQuery(thread_id=text)),
    ("key", lambda text: PutItem(namespace=(), key=text, value=1)),
    ("key", lambda text: DeleteItem(namespace=(), key=text)),
    ("namespace", lambda text: GetItem(namespace=(text[: len(text) // 2], text[len(text) // 2 :]), key="k")),
    ("key", lambda text: CacheEntry(namespace=(), key=text, payload=DATA, created_at=NOW)),
)


@pytest.mark.parametrize(("field", "make"), [*MODELS.items(), *OTHERS])
@pytest.mark.parametrize("letter", ["x", "é", "😀"])
def test_models_take_ids_up_to_their_limit(field: str, make: Callable[[str], object], letter: str) -> None:
    longest = letter * (LONGEST_ID // len(letter.encode()))
    make(longest)
    with pytest.raises(InvalidInput) as caught:
        make(longest + letter)
    size = LONGEST_ID + len(letter.encode())
    assert caught.value.field == field
    assert f"must be at most {LONGEST_ID} bytes of UTF-8, got {size}" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "make",
    [
        lambda labels: GetItem(namespace=labels, key="k"),
        lambda labels: NamespaceMatch(where="prefix", path=labels),
        lambda labels: CacheEntry(namespace=labels, key="k", payload=DATA, created_at=NOW),
    ],
)
def test_namespaces_have_a_limit_of_labels(make: Callable[[tuple[str, ...]], object]) -> None:
    make(("a",) * MOST_LABELS)
    with pytest.raises(InvalidInput, match=str(MOST_LABELS)):
        make(("a",) * (MOST_LABELS + 1))


def test_a_run_id_that_can_be_no_id_counts_as_none() -> None:
    assert run_of({"run_id": "x" * LONGEST_ID}) == "x" * LONGEST_ID
    assert run_of({"run_id": "x" * (LONGEST_ID + 1)}) is None


def _remember(number: int, size: int) -> None:
    """Call everything that remembers what it made of an id."""
    text = f"{number:06}.{'é' * ((size - 7) // 2)}"
    encoded = keys.encode_part(text)
    assert keys.decode_part(encoded) == text
    place = namespace_keys("app", text, text)
    newest.put(place, text)
    newest.listed(place, [text], whole=True)
    newest.before(place, None, 10)
    newest.put(namespace_keys("app", "thread", ""), text)
    records._parse_token(f"{encoded}:s{encoded}")
    records.value_fields(f"{encoded}:s{encoded} ".encode() * 2, "key")
    leases.note((text, "b"), 1.0)
    below.note(item_keys.item_keys("app", (text,)), [item_keys.item_keys("app", (text, "b"))])
    assert item_keys.item_keys("app", (text, "b")).index
    assert cache_keys.keys_of("app", ((text,), text)).index
    Channel.empty(text)
    thread = ("actor", text)
    recent.learn(thread, (text, text))
    recent.saw(thread, text, text, 2**63 - 1)


newest = RecentIds(100)
recent = Recent()
leases = Leases()
below = item_keys.Below()


def _growth(count: int, size: int) -> int:
    """Bytes by which the process grows when it meets so many ids of a size."""
    gc.collect()
    tracemalloc.start()
    try:
        for number in range(count):
            _remember(number, size)
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


def test_long_ids_leave_nothing_behind() -> None:
    """Not even one copy of each."""
    assert _growth(50, LONGEST_ID) < 50 * LONGEST_ID // 4


def test_short_ids_are_remembered() -> None:
    assert namespace_keys("app", "t", "n") is namespace_keys("app", "t", "n")
    assert item_keys.item_keys("app", ("a",)) is item_keys.item_keys("app", ("a",))
    longer = "x" * (SHORT + 1)
    assert namespace_keys("app", longer, "") is not namespace_keys("app", longer, "")


def test_checkpoints_without_channels_count_too() -> None:
    recent = Recent()
    for number in range(BYTES // 8000 + 1):
        recent.keep(("actor", f"{number:06}" + "x" * 8000), "", "1", {})
    assert recent.channels(("actor", "000000" + "x" * 8000), "", "1") is None
    assert recent.channels(("actor", f"{number:06}" + "x" * 8000), "", "1") == {}


def test_stamps_follow_those_that_were_read() -> None:
    recent = Recent()
    place = (("actor", "t"), "", "1")
    ahead = new_stamp() + 3600 * 10**9
    recent.saw(*place, new_stamp())
    recent.saw(*place, ahead)
    recent.saw(*place, ahead - 1)
    assert recent.next_stamp(("actor", "t"), "", "2") < ahead
    assert [recent.next_stamp(*place), recent.next_stamp(*place)] == [ahead + 1, ahead + 2]
    recent.saw(*place, 2**63 - 1)
    assert recent.next_stamp(*place) == 2**63 - 1
    recent.forget(("actor", "t"))
    assert recent.next_stamp(*place) < ahead
