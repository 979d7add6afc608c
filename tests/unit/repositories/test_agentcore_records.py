"""Names and records in AgentCore Memory: any text has a name, any bytes fit into events."""

from __future__ import annotations

import json
import os
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from statekeep.domain import CorruptRecord
from statekeep.repositories.agentcore.ids import Lane, actor_name, hashed_session, session_name, thread_actor
from statekeep.repositories.agentcore.lanes import Lanes
from statekeep.repositories.aws import AwsCall
from statekeep.repositories.operation import run
from statekeep.repositories.records.framing import Record, pieces, records
from statekeep.repositories.records.names import digest
from statekeep.testing.aws.application import service_model

SHAPES = {name: service_model("bedrock-agentcore").shape_for(name) for name in ("ActorId", "SessionId")}
NASTY = [
    "",
    "a b",
    "user:42",
    ":a",
    "a:",
    "a::b",
    "é",
    "☃" * 300,
    "a\n",
    "-a",
    "_a",
    "/a",
    "x" * 101,
    "x" * 256,
    "\x00",
]
texts = st.one_of(st.sampled_from(NASTY), st.text(), st.text("aZ09-_/:", max_size=300))


def fits(shape: str, name: str) -> bool:
    limits = SHAPES[shape].metadata
    return len(name) <= limits["max"] and bool(re.fullmatch(limits["pattern"], name, re.ASCII))


@given(texts, texts)
def test_every_text_has_a_name_that_the_service_takes(actor: str, thread: str) -> None:
    assert fits("ActorId", actor_name(actor))
    assert fits("ActorId", thread_actor(actor, thread))
    assert fits("SessionId", session_name(thread))
    assert fits("SessionId", hashed_session("checkpoint", actor, thread))


@given(st.tuples(texts, texts), st.tuples(texts, texts))
def test_no_two_texts_share_a_name(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (actor_name(one[0]) == actor_name(other[0])) == (one[0] == other[0])
    assert (session_name(one[0]) == session_name(other[0])) == (one[0] == other[0])
    assert (thread_actor(*one) == thread_actor(*other)) == (one == other)
    assert (digest(*one) == digest(*other)) == (one == other)


@given(texts, texts, texts)
def test_nobody_can_choose_the_name_of_another(actor: str, other: str, thread: str) -> None:
    for name in (actor_name(actor), thread_actor(actor, thread), f"{actor}:statekeep-"):
        if name != actor_name(actor) or name.startswith("statekeep-"):
            assert actor_name(name) != name
    hashed = session_name("not legal!")
    assert session_name(hashed) != hashed
    assert thread_actor(other, thread) != actor_name(actor)


@pytest.mark.parametrize("name", ["ada", "team/ada", "a:b/c:d", "A-1_2", "x" * 200])
def test_what_is_legal_stays_as_it_is(name: str) -> None:
    assert actor_name(name) == name
    assert thread_actor(name, "t").startswith(f"{name}:statekeep-")
    assert session_name("chat-1_X") == "chat-1_X"
    assert session_name("y" * 100) == "y" * 100


def test_the_parts_of_a_hash_keep_apart() -> None:
    assert len({digest("ab", "c"), digest("a", "bc"), digest("abc"), digest("abc", ""), digest("", "abc")}) == 5


blobs = st.lists(st.binary(max_size=200), max_size=4)
heads = st.dictionaries(st.text(max_size=5), st.one_of(st.none(), st.integers(), st.text(max_size=20)), max_size=4)


@given(heads, blobs, st.integers(1, 400), st.randoms(use_true_random=False))
def test_records_go_there_and_back(
    head: dict[str, object], data: list[bytes], size: int, chance: random.Random
) -> None:
    record = Record(head, data)
    made = pieces(record, size)
    shuffled = made * 2
    chance.shuffle(shuffled)
    # As an event carries it.
    carried = json.loads(json.dumps(shuffled))
    [found], partial = records(carried, "lane")
    assert (found, partial) == (record, set())


def test_several_records_of_one_lane() -> None:
    first, second = (Record({"n": n}, [os.urandom(1000)]) for n in (1, 2))
    texts = [*pieces(second, 100), *pieces(first, 100)]
    found, partial = records(texts, "lane")
    assert (found, partial) == ([second, first], set())
    found, partial = records(texts[:-1], "lane")
    assert found == [second]
    assert len(partial) == 1
    for missing in range(len(pieces(second, 100))):
        rest = [*texts[:missing], *texts[missing + 1 :]]
        assert records(rest, "lane")[0] == [first]


def test_pieces_are_no_larger_than_they_may_be() -> None:
    made = pieces(Record({}, [os.urandom(10_000)]), 1000)
    assert len(made) == -(-len(made[0].rpartition(" ")[2]) // 1000) * 14
    assert max(map(len, made)) <= 1000 + 80
    assert len(pieces(Record({}, [b"x" * 100_000]))[0]) < 1000
    large = pieces(Record({}, [os.urandom(7_000_000)]))
    assert len(large) == 2
    assert max(len(json.dumps([{"blob": piece}])) for piece in large) < 10_000_000


def test_small_records_are_not_compressed() -> None:
    assert " raw " in pieces(Record({"a": 1}))[0]
    assert " zlib " in pieces(Record({"a": "b" * 200}))[0]
    assert " raw " in pieces(Record({}, [os.urandom(500)]))[0]


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: None,
        lambda text: {"a": 1},
        lambda text: text.replace("statekeep/1", "statekeep/2"),
        lambda text: text + "é",
        lambda text: text[:-1],
        lambda text: text[:-8] + "AAAAAAA=",
        lambda text: text.replace(" zlib ", " raw "),
        lambda text: text.replace(" zlib ", " lzma "),
    ],
    ids=range(9),
)
def test_damage_is_noticed(damage: object) -> None:
    assert callable(damage)
    [text] = pieces(Record({"a": "b" * 500}))
    with pytest.raises(CorruptRecord) as caught:
        records([damage(text)], "lane of")
    assert caught.value.key == "lane of"


def test_an_empty_page_is_not_the_last_one() -> None:
    [text] = pieces(Record({"n": 1}))
    pages: list[dict[str, object]] = [
        {"events": [], "nextToken": "1"},
        {"events": [], "nextToken": "2"},
        {"events": [{"payload": [{"blob": text}]}]},
    ]
    asked = []

    def answer(request: AwsCall) -> dict[str, object]:
        asked.append((request.operation, request.arguments.get("nextToken"), request.arguments["maxResults"]))
        return pages[len(asked) - 1]

    assert run(Lanes("m").read(Lane("a", "s"), newest=5), answer) == [Record({"n": 1})]
    assert asked == [("ListEvents", None, 5), ("ListEvents", "1", 5), ("ListEvents", "2", 5)]
