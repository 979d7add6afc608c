"""`created_at` tells an item from one that was deleted before it, whatever the server's clock does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from statekeep import Conflict, ItemRepository
from statekeep.repositories.valkey import ValkeyItems, client_for
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.testing.servers import ValkeyServer

from .item_kinds import Watched

AHEAD = 3_000_000_000_000_000
"""A time in microseconds that the server's clock is before by decades, as if it had been set back."""


@pytest.fixture
def client(valkey_server: ValkeyServer) -> Iterator[Any]:
    with valkey_server.client() as client:
        yield client


@pytest.mark.parametrize("namespace", [(), ("n", "m")], ids=str)
def test_nothing_is_put_in_the_future_after_reindex(client: Any, prefix: str, namespace: tuple[str, ...]) -> None:
    items = ItemRepository(ValkeyItems(client_for(client), prefix=prefix))
    items.put(namespace, "k", 1)
    items.reindex(namespace)
    assert items.pop(namespace)
    one, other = items.put(("other",), "k", 1), items.put(namespace, "k", 1)
    assert one.updated_at < other.updated_at <= items.now()


@pytest.mark.parametrize("namespace", [(), ("n",), ("n", "m")], ids=str)
@pytest.mark.parametrize("cluster", [False, True], ids=["standalone", "cluster"])
def test_the_clock_was_set_back(client: Any, prefix: str, cluster: bool, namespace: tuple[str, ...]) -> None:
    watched = Watched(client, cluster=cluster)
    items = ItemRepository(ValkeyItems(watched, prefix=prefix))
    items.put(namespace, "other", 1)
    client.hset(item_keys(prefix, namespace).record("other"), "updated_at", repr(AHEAD / 1e6))
    ends: list[Callable[[], Any]] = [
        lambda: items.delete(namespace, "k"),
        lambda: items.clear(namespace),
        lambda: items.pop(namespace),
        lambda: (
            client.delete(item_keys(prefix, namespace).record("k"))
            and items.search(namespace)  # as if it had expired
            and items.reindex(namespace)
        ),
    ]
    found = []
    for end in (*ends, *ends):
        items.put(namespace, "a", 1)
        found.append(items.put(namespace, "k", 1, expected=None))
        end()
        assert items.get(namespace, "k") is None
    assert len({item.created_at for item in found}) == len(found)
    assert found == sorted(found, key=lambda item: item.created_at)
    items.put(namespace, "k", 2)
    for item in found:
        with pytest.raises(Conflict):
            items.put(namespace, "k", "stale", expected=item)
    [before] = items.append(namespace, [1])
    items.clear(namespace)
    assert items.append(namespace, [1]) > [before]


@pytest.mark.parametrize("cluster", [False, True], ids=["standalone", "cluster"])
def test_times_that_others_wrote(client: Any, prefix: str, cluster: bool) -> None:
    """redis-om and others write times in ways of their own."""
    watched = Watched(client, cluster=cluster)
    items = ItemRepository(ValkeyItems(watched, prefix=prefix))
    record = item_keys(prefix, ("n",)).record("k")
    for text in ("2026-01-02T03:04:05.000006+00:00", "2026-01-02T04:04:05.000006+01:00", "1767323045.00000600", "1e9"):
        items.put(("n",), "k", 1)
        client.hset(record, "created_at", text)
        item = items.get(("n",), "k")
        assert item is not None
        watched.requests.clear()
        again = items.put(("n",), "k", 2, expected=item)
        assert (again.version, again.created_at) == (item.version + 1, item.created_at)
        with pytest.raises(Conflict):
            items.put(("n",), "k", 3, expected=item)
        client.hset(record, "created_at", "2026-01-02T03:04:05.000007+00:00")
        with pytest.raises(Conflict, match=r"created at 2026-01-02T03:04:05.000007\+00:00"):
            items.delete(("n",), "k", expected=again)
        client.hset(record, "created_at", text)
        assert items.delete(("n",), "k", expected=again)
