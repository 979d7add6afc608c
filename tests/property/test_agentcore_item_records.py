"""Items in AgentCore Memory are found exactly, however far memory records lag behind."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from statekeep.domain import Item
from statekeep.repositories.agentcore import AgentCoreItems
from statekeep.repositories.aws import open_client
from statekeep.repositories.items import ItemRepository
from statekeep.testing.aws import AgentCoreRules, AwsEmulator

from .kinds import QUICK

NAMESPACES = [(), ("a",), ("a", "b"), ("ab",)]
WORDS = ["tuna", "salmon", "sushi with tuna", "x" * 16_005]
PLACES = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(["k", "l"]))

STEPS = st.one_of(
    st.tuples(st.just("put"), PLACES, st.sampled_from(WORDS), st.sampled_from([None, None, False])),
    st.tuples(st.just("expect"), PLACES, st.sampled_from(WORDS), st.none()),
    st.tuples(st.just("delete"), PLACES, st.none(), st.none()),
    st.tuples(st.just("wait"), st.sampled_from([1, 11, 88]), st.none(), st.none()),
    st.tuples(st.just("search"), st.sampled_from(NAMESPACES), st.sampled_from(WORDS[:3]), st.integers(1, 9)),
)


@pytest.mark.parametrize(("record_lag", "record_id_lag"), [(87, 10), (0, 0)])
def test_what_is_found_is_there_as_it_is_found(record_lag: float, record_id_lag: float) -> None:
    rules = AgentCoreRules(record_lag=record_lag, record_id_lag=record_id_lag)
    with AwsEmulator(agentcore=rules) as aws:
        boto_client = aws.client("bedrock-agentcore")

        @settings(max_examples=6 if QUICK else 200, deadline=None)
        @given(st.lists(st.tuples(st.booleans(), STEPS), min_size=10, max_size=25 if QUICK else 60))
        def check(steps: list[Any]) -> None:
            memory_id = aws.agentcore.create_memory()
            keeps = [
                ItemRepository(
                    AgentCoreItems(
                        open_client("bedrock-agentcore", client=boto_client), memory_id, index={"fields": ["$"]}
                    )
                )
                for _ in range(2)
            ]
            there: dict[Any, Item] = {}
            indexed: set[Any] = set()
            for which, (kind, place, text, extra) in steps:
                keep = keeps[which]
                if kind == "wait":
                    aws.agentcore.clock.advance(place)
                elif kind == "delete":
                    assert keep.delete(*place) is (there.pop(place, None) is not None)
                    indexed.discard(place)
                elif kind == "search":
                    check_search(keep, there, indexed if record_lag == 0 else None, place, text, extra)
                else:
                    old = there.get(place)
                    options: Any = {"expected": old} if kind == "expect" else {}
                    there[place] = keep.put(*place, text, index=extra, **options)
                    assert there[place].version == (1 if old is None else old.version + 1)
                    indexed = indexed - {place} if extra is False else indexed | {place}
            aws.agentcore.clock.advance(200)
            for namespace in NAMESPACES:
                check_search(keeps[0], there, None, namespace, "tuna", 100)
            for place, item in there.items():
                assert keeps[1].get(*place) == item
            aws.agentcore.delete_memory(memory_id)

        check()


def check_search(
    keep: ItemRepository, there: dict[Any, Item], indexed: set[Any] | None, namespace: Any, query: str, limit: int
) -> None:
    below = {place for place in there if place[0][: len(namespace)] == namespace}
    found = keep.search(namespace, query=query, limit=limit)
    for item in found:
        assert (item.namespace, item.key) in below
        assert Item(**item.model_dump(exclude={"score"})) == there[item.namespace, item.key]
    assert len({(item.namespace, item.key) for item in found}) == len(found) == min(limit, len(below))
    ranked = [item.score is not None for item in found]
    assert ranked == sorted(ranked, reverse=True)
    if indexed is not None:
        assert sum(ranked) == min(limit, len(below & indexed))
    assert {(item.namespace, item.key) for item in keep.search(namespace, limit=100)} == below
