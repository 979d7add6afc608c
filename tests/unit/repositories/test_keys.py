"""Key names: no two texts meet, and whatever they hold, it is no pattern and no other hash tag."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from statekeep import CorruptRecord
from statekeep.repositories.valkey.checkpoints.keys import (
    NamespaceKeys,
    namespace_keys,
    run_key,
    thread_index_keys,
    thread_key,
)
from statekeep.repositories.valkey.keys import decode_part, decode_text, encode_part

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(TEXTS)
@example("")
@example("..")
@example("{}:*?[x]|% \x00é👻")
def test_a_part_is_plain_and_comes_back(value: str) -> None:
    encoded = encode_part(value)
    assert decode_part(encoded) == value
    assert encoded.isascii()
    assert not set(encoded) & set(":{}*?[]|@!/.\\ \t\n\r\x00\"'+;")


@given(TEXTS, TEXTS)
def test_parts_of_different_texts_differ(one: str, other: str) -> None:
    assert (encode_part(one) == encode_part(other)) is (one == other)


def test_what_is_no_part_is_corrupt() -> None:
    with pytest.raises(CorruptRecord, match="percent-encoded"):
        decode_part("%ff")
    with pytest.raises(CorruptRecord) as raised:
        decode_text(b"\xff", "a key")
    assert raised.value.key == "a key"


def test_names() -> None:
    keys = NamespaceKeys("app", "t:{1}", "a|b")
    assert keys.encoded == "{t%3A%7B1%7D}:a%7Cb"
    assert keys.checkpoint_pk("c.1") == "{t%3A%7B1%7D}:a%7Cb:c%2E1"
    assert keys.checkpoint("c.1") == "app:checkpoint:{t%3A%7B1%7D}:a%7Cb:c%2E1"
    assert keys.write("c%2E1:task:-1:items") == "app:pending_write:{t%3A%7B1%7D}:a%7Cb:c%2E1:task:-1"
    assert keys.derived == (
        "app:head:{t%3A%7B1%7D}:a%7Cb",
        "app:channel-values:{t%3A%7B1%7D}:a%7Cb",
        "app:checkpoint-index:{t%3A%7B1%7D}:a%7Cb",
        "app:pending_write-index:{t%3A%7B1%7D}:a%7Cb",
        "app:expiry-index:{t%3A%7B1%7D}:a%7Cb",
        "app:namespace-index:{t%3A%7B1%7D}",
        "app:pending-values:{t%3A%7B1%7D}:a%7Cb",
    )
    assert thread_key("app", "t") == "app:namespace-index:{t}"
    assert run_key("app", "r:1") == "app:run-index:r%3A1"
    assert thread_index_keys("app") == tuple(
        f"app:thread-index:{{threads}}:{order}" for order in ("time", "name", "end")
    )


@given(TEXTS.filter(bool), TEXTS, TEXTS.filter(bool))
def test_everything_of_a_thread_has_its_hash_tag(thread: str, namespace: str, checkpoint: str) -> None:
    keys = namespace_keys("app", thread, namespace)
    every = [
        *keys.derived,
        keys.checkpoint(checkpoint),
        keys.write(f"{encode_part(checkpoint)}:t:0:c"),
        thread_key("app", thread),
    ]
    # The server takes what stands between the first brace and the first one that closes behind it.
    assert {key.partition("{")[2].partition("}")[0] for key in every} == {encode_part(thread)}
    assert encode_part(thread)


@given(
    st.tuples(TEXTS.filter(bool), TEXTS, TEXTS.filter(bool)), st.tuples(TEXTS.filter(bool), TEXTS, TEXTS.filter(bool))
)
def test_no_two_records_meet(one: tuple[str, str, str], other: tuple[str, str, str]) -> None:
    keys = [namespace_keys("app", thread, namespace).checkpoint(name) for thread, namespace, name in (one, other)]
    assert (keys[0] == keys[1]) is (one == other)
