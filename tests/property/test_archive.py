"""Whatever is stored makes the same file after it was restored elsewhere."""

from __future__ import annotations

import datetime as dt
import io
import uuid
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import statekeep
from statekeep import CacheEntry, Connection, Item, LogEntry, archive
from statekeep.testing import strategies as some
from statekeep.testing.comparison import canonical
from statekeep.testing.servers import ValkeyServer
from tests.small_pages import small_pages

from .kinds import SERVED
from .test_transfer import _payloads, histories

FAR_AWAY = dt.datetime(2150, 1, 1, tzinfo=dt.UTC)


def _lasting(one: Any) -> Any:
    """Have what ends do so a long time from now."""
    return one if one.expires_at is None else one.model_copy(update={"expires_at": FAR_AWAY})


@st.composite
def logs(draw: Any) -> dict[tuple[str, ...], list[LogEntry]]:
    found = {}
    for name in draw(st.lists(some.log_names(), max_size=3)):
        values = draw(some.log_values())
        positions = sorted(draw(st.sets(st.integers(1, 2**50), min_size=len(values), max_size=len(values))))
        found[tuple(map(str, name))] = [
            LogEntry(position=position, value=value) for position, value in zip(positions, values, strict=True)
        ]
    return found


Contents = tuple[Any, list[Item], dict[tuple[str, ...], list[LogEntry]], list[CacheEntry]]


def contents() -> st.SearchStrategy[Contents]:
    items = st.lists(some.items().map(_lasting), max_size=5, unique_by=lambda item: (item.namespace, item.key))
    cached = st.lists(
        some.cache_entries().map(_lasting), max_size=4, unique_by=lambda entry: (entry.namespace, entry.key)
    )
    return st.tuples(histories(), items, logs(), cached)


def fill(keep: Connection, content: Contents, *, backwards: bool = False) -> None:
    (checkpoints, writes), items, every_log, cached = content
    supply = {name: one for put in checkpoints for name, one in _payloads(put).items()}
    for put in checkpoints:
        keep.checkpoints.put(put, supply=lambda names: {name: supply[name] for name in names if name in supply})
    for at, pending in writes:
        to = checkpoints[at]
        keep.checkpoints.put_writes(to.thread_id, to.checkpoint_id, pending, namespace=to.namespace)
    step = -1 if backwards else 1
    for item in items[::step]:
        keep.items.restore([item])
    for name, entries in list(every_log.items())[::step]:
        keep.logs.restore(name, entries)
    keep.cache.restore(cached[::step])


def exported(keep: Connection) -> bytes:
    file = io.BytesIO()
    archive.export(keep, file)
    return file.getvalue()


def all_of(keep: Connection) -> Any:
    # Threads are listed by their last update, and those of a file are restored in the order of their ids.
    thread_ids = sorted(thread.thread_id for thread in keep.checkpoints.list_threads())
    threads = [[dict(saved) for saved in keep.checkpoints.list(thread_id)] for thread_id in thread_ids]
    items = [dict(item) for namespace in keep.items.list_namespaces() for item in keep.items.list(namespace)]
    found = [[log.name, log.expires_at, *map(dict, keep.logs.read(log.name))] for log in keep.logs.list()]
    return canonical([threads, items, found, [dict(entry) for entry in keep.cache.list()]])


def same_after(content: Contents, there: Connection, here: Connection, back: Connection) -> None:
    fill(there, content)
    data = exported(there)
    done = archive.restore(io.BytesIO(data), here)
    assert exported(here) == data
    assert all_of(here) == all_of(there)
    assert archive.verify(io.BytesIO(data)).model_dump(exclude={"place"}) == done.model_dump(exclude={"place"})
    fill(back, content, backwards=True)
    assert exported(back) == data


@settings(suppress_health_check=list(HealthCheck))
@given(contents())
def test_in_memory(content: Contents) -> None:
    connections = (statekeep.connect("memory:") for _ in range(3))
    same_after(content, *connections)


@pytest.mark.parametrize("client", ["glide", "valkey-py"])
def test_over_valkey(valkey_server: ValkeyServer, client: Any) -> None:
    @settings(max_examples=SERVED, suppress_health_check=list(HealthCheck))
    @given(contents())
    def same(content: Contents) -> None:
        there, back = (
            statekeep.connect(valkey_server.url, prefix=f"t-{uuid.uuid4().hex[:12]}", client=client) for _ in range(2)
        )
        with there, back:
            same_after(content, there, statekeep.connect("memory:"), back)

    with small_pages():
        same()
