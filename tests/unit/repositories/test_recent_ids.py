"""What is remembered of the newest checkpoints."""

from __future__ import annotations

from statekeep.repositories.valkey.checkpoints.keys import NamespaceKeys
from statekeep.repositories.valkey.checkpoints.recent_ids import NAMESPACES, Newest

KEYS = NamespaceKeys("statekeep", "t", "")


def known(newest: Newest, keys: NamespaceKeys = KEYS) -> list[str]:
    return list(newest.before(keys, None, 100))


def test_the_greatest_ids_that_were_put_are_known_in_descending_order() -> None:
    newest = Newest(3)
    for put, expected in (("b", "b"), ("d", "db"), ("a", "dba"), ("c", "dcb"), ("c", "dcb"), ("a", "dcb")):
        newest.put(KEYS, put)
        assert known(newest) == list(expected)
    assert newest.before(KEYS, "d", 1) == ["c"]
    assert newest.before(KEYS, "b", 1) == []


def test_a_listing_corrects_what_is_known() -> None:
    newest = Newest(4)
    for checkpoint_id in "abcd":
        newest.put(KEYS, checkpoint_id)
    newest.listed(KEYS, ["d", "c"], whole=False)
    assert known(newest) == ["d", "c", "b", "a"]
    newest.listed(KEYS, ["d", "b"], whole=False)
    assert known(newest) == ["d", "b"]
    newest.listed(KEYS, ["d"], whole=True)
    assert known(newest) == ["d"]
    newest.listed(KEYS, [], whole=True)
    assert known(newest) == []


def test_only_so_many_namespaces_are_remembered() -> None:
    newest = Newest(1)
    places = [NamespaceKeys("statekeep", str(number), "") for number in range(NAMESPACES + 1)]
    for keys in places:
        newest.put(keys, "a")
    assert known(newest, places[-1]) == ["a"]
    assert known(newest, places[0]) == []
