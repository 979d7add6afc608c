"""The ids of the newest checkpoints that a process remembers."""

from __future__ import annotations

from statekeep.repositories.valkey.checkpoints.keys import NamespaceKeys
from statekeep.repositories.valkey.checkpoints.recent_ids import NAMESPACES, RecentIds

KEYS = NamespaceKeys("statekeep", "t", "")


def known(recent: RecentIds, keys: NamespaceKeys = KEYS) -> list[str]:
    return list(recent.before(keys, None, 100))


def test_the_greatest_ids_that_were_put_are_known_in_descending_order() -> None:
    recent = RecentIds(3)
    for put, expected in (("b", "b"), ("d", "db"), ("a", "dba"), ("c", "dcb"), ("c", "dcb"), ("a", "dcb")):
        recent.put(KEYS, put)
        assert known(recent) == list(expected)
    assert recent.before(KEYS, "d", 1) == ["c"]
    assert recent.before(KEYS, "b", 1) == []


def test_a_listing_corrects_what_is_known() -> None:
    recent = RecentIds(4)
    for checkpoint_id in "abcd":
        recent.put(KEYS, checkpoint_id)
    recent.listed(KEYS, ["d", "c"], whole=False)
    assert known(recent) == ["d", "c", "b", "a"]
    recent.listed(KEYS, ["d", "b"], whole=False)
    assert known(recent) == ["d", "b"]
    recent.listed(KEYS, ["d"], whole=True)
    assert known(recent) == ["d"]
    recent.listed(KEYS, [], whole=True)
    assert known(recent) == []


def test_only_so_many_namespaces_are_remembered() -> None:
    recent = RecentIds(1)
    places = [NamespaceKeys("statekeep", str(number), "") for number in range(NAMESPACES + 1)]
    for keys in places:
        recent.put(keys, "a")
    assert known(recent, places[-1]) == ["a"]
    assert known(recent, places[0]) == []
