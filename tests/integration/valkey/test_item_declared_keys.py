"""Scripts of items touch only the keys that a call declares, and in a cluster these are of one slot."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from statekeep import CheckItem, Conflict, DeleteItem, GetItem, ItemRepository, ListItems, PutItem
from statekeep.repositories.valkey import ValkeyItems, requests
from statekeep.repositories.valkey.items.keys import item_keys
from statekeep.repositories.valkey.requests import Call
from statekeep.repositories.valkey.scripts import script
from statekeep.testing.servers import ValkeyServer

from .item_kinds import INDEX, texts
from .test_declared_keys import checker

SCRIPTS = {path.stem for path in (Path(requests.__file__).parent / "items").glob("*.lua")} - {"common"}
STARTS = {"plan", "put", "delete"}
"""Beginnings of one script."""
IN_A_CLUSTER = {"announce"}
ON_ONE_SERVER = {"rows", "sizes", "recent", "below"}
NAMES = ("{a}:*", "b.[c]?", "\\ é%")


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.mark.parametrize("cluster", [False, True])
@pytest.mark.parametrize(("ttl", "unit"), [(None, None), (1000.0, None), (1000.0, 1), (None, 0)])
def test_scripts_of_items_touch_only_declared_keys(
    server: ValkeyServer, prefix: str, cluster: bool, ttl: float | None, unit: int | None
) -> None:
    with checker(server, cluster) as client, server.client() as admin:
        backend = ValkeyItems(client, prefix=prefix, ttl=ttl, refresh_on_read=True, index=INDEX, unit=unit)
        plain = ItemRepository(ValkeyItems(client, prefix=prefix, ttl=ttl, unit=unit))
        items = ItemRepository(backend)
        spaces = [NAMES[:depth] for depth in range(4)]
        for space in spaces:
            for count in (0, 3, 9, 2):
                items.put(space, "k:{*}", texts(count))
                items.put(space, f"k {count}", texts(count), ttl=1000)
                items.put(space, f"k {count}", texts(count), ttl=500)
            present = items.get(space, "k 9")
            assert present is not None
            items.put(space, "k 9", texts(12), expected=present.version)
            with pytest.raises(Conflict):
                items.put(space, "k 9", 1, expected=present.version)
            items.batch([GetItem(namespace=space, key=f"k {n}", refresh=False) for n in range(40)])
            items.batch(
                [
                    GetItem(namespace=space, key="k 3"),
                    PutItem(namespace=space, key="k 3", value=texts(7)),
                    DeleteItem(namespace=space, key="k 0"),
                    PutItem(namespace=(*space, "below"), key="k", value=1),
                ]
            )
            here = {"namespace": space, "refresh": False}
            for query in ({"prefix": "k "}, {"limit": 2}, {"order": "updated"}, {"order": "updated", "prefix": "k"}):
                items.batch([PutItem(namespace=space, key="k 9", value=texts(2)), ListItems(**here, **query)])
            assert len(list(items.keys(space))) == len(list(items.list(space, order="updated", refresh=False)))
            read = items.get(space, "k 9")
            assert read is not None
            check = CheckItem(namespace=space, key="k 9", expected=read)
            items.batch([check, PutItem(namespace=space, key="k 3", value=1), GetItem(namespace=space, key="k 9")])
            items.batch([check, GetItem(namespace=space, key="k 9"), GetItem(namespace=space, key="k 2")])
            items.append(space, [1, texts(6), texts(1)])
            items.append(space, [2])
            plain.append(space, [3])
            assert items.pop(space)
            # One that knows of no vectors, and items with some.
            assert plain.get(space, "k 9", refresh=True)
            plain.put(space, "k 9", 1)
            assert plain.delete(space, "k 3")
            # Removed by others.
            admin.delete(item_keys(prefix, space, unit).record("k 2"))
            assert len(list(items.list(space))) == 6
            assert items.reindex(space) == 6
        if unit is not None:
            below = [PutItem(namespace=(*space, "below"), key="k", value=1) for space in spaces[unit:]]
            items.batch([CheckItem(namespace=spaces[unit], key="no", expected=None), *below])
        assert len(items.search(NAMES[:1], limit=100, offset=2)) >= 10
        assert len(items.search((), query="aaa", limit=100, filter={"texts": {"$ne": None}})) >= 4
        # As an earlier version left it.
        keys = item_keys(prefix, NAMES[:1], unit)
        admin.delete(keys.recency, keys.expiry, keys.state)
        assert len(items.search(NAMES[:1], limit=100)) >= 10
        assert admin.zcard(keys.recency) == admin.zcard(keys.index)
        # One that is emptied by time.
        items.put(("ended",), "lasting", 1, ttl=None)
        items.put(("ended",), "ending", 1, ttl=0.3)
        items.delete(("ended",), "lasting")
        time.sleep(0.4)
        assert len(items.list_namespaces()) == 8
        for space in reversed(spaces):
            items.clear(space)
            items.clear(space, below=True)
        assert items.list_namespaces() == []
        # Run while the slot is on its way to another node.
        client.execute(Call(script("items/renew"), [item_keys(prefix, NAMES, unit).record("k")], ["1.0", "1000"]))
        expected = SCRIPTS - STARTS - (ON_ONE_SERVER if cluster else IN_A_CLUSTER)
        assert expected - client.scripts == set()


def test_scripts_name_their_commands() -> None:
    """The list of permissions in the documentation is made from these texts."""
    folder = Path(requests.__file__).parent / "items"
    for path in folder.glob("*.lua"):
        text = path.read_text("utf-8")
        assert not re.search(r"\bredis\.|\bcall\((?!'[A-Z]+')", text), path
