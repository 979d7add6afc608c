"""Channels whose versions are digests, and what a process remembers of them."""

from __future__ import annotations

import copy
import os
import pickle

import pytest

from statekeep import Channel, Checkpoint, Payload, ValueSource
from statekeep.repositories.typed.digests import SHORT, Digests, Sightings, digest_of, digested, digests_of

SHORT_VALUE = Payload(encoding="json", data=b"1")
LONG_VALUE = Payload(encoding="json", data=b"1" * (SHORT + 1))


def sources(values: dict[str, Payload], seen: Digests | None) -> dict[str, ValueSource]:
    return {name: channel.carry for name, channel in digested(values, seen).channels.items()}


def test_a_digest_is_of_the_bytes_and_their_encoding() -> None:
    twin = Payload(encoding="json", data=b"1")
    assert digest_of(SHORT_VALUE) == digest_of(twin)
    others = [Payload(encoding="text", data=b"1"), Payload(encoding="json", data=b"2"), LONG_VALUE]
    # What ends one is not the beginning of the other.
    others += [Payload(encoding="a", data=b"bc"), Payload(encoding="ab", data=b"c")]
    assert len({digest_of(each) for each in (SHORT_VALUE, *others)}) == 6


def test_values_are_sent_that_changed_since_they_were_seen() -> None:
    values = {"same": LONG_VALUE, "new": SHORT_VALUE}
    first = digested({"same": LONG_VALUE, "new": LONG_VALUE}, frozenset())
    assert {channel.carry for channel in first.channels.values()} == {ValueSource.VALUE}
    assert sources(values, first.digests) == {"same": ValueSource.STORED, "new": ValueSource.VALUE}
    # A value of another channel does not count.
    assert sources({"other": LONG_VALUE}, first.digests) == {"other": ValueSource.VALUE}


def test_if_nothing_is_known_it_is_asked_for_long_values() -> None:
    values = {"long": LONG_VALUE, "short": SHORT_VALUE}
    assert sources(values, None) == {"long": ValueSource.STORED, "short": ValueSource.VALUE}
    assert digested(values, None).supply(["long"]) == {"long": LONG_VALUE}


def test_digests_of_a_checkpoint_are_those_that_it_was_made_with() -> None:
    parts = digested({"a": SHORT_VALUE, "b": LONG_VALUE}, None)
    assert digests_of(Checkpoint(thread_id="t", channels=parts.channels)) == parts.digests
    assert digests_of(Checkpoint(thread_id="t", channels={"n": Channel.of(1, SHORT_VALUE)})) == frozenset()


def checkpoint_of(thread_id: str) -> Checkpoint:
    return Checkpoint(thread_id=thread_id, channels=digested({"a": SHORT_VALUE}, None).channels)


def test_those_are_remembered_that_were_seen_last() -> None:
    sightings = Sightings(most=2)
    first, second, third, fourth = map(checkpoint_of, ["one", "two", "one", "three"])
    for checkpoint in (first, second, third, fourth):
        sightings.note(checkpoint)
    assert sightings.get("two") is None
    sighting = sightings.get("one")
    assert sighting is not None
    assert (sighting.checkpoint_id, sighting.digests) == (third.checkpoint_id, digests_of(third))
    sightings.forget("one")
    sightings.forget("one")
    assert sightings.get("one") is None
    assert sightings.get("three") is not None


@pytest.mark.parametrize("make", [copy.deepcopy, lambda sightings: pickle.loads(pickle.dumps(sightings))])
def test_a_copy_begins_anew(make: object) -> None:
    assert callable(make)
    sightings = Sightings(most=1)
    sightings.note(checkpoint_of("one"))
    twin = make(sightings)
    assert twin.get("one") is None
    twin.note(checkpoint_of("two"))
    twin.note(checkpoint_of("three"))
    assert twin.get("two") is None
    assert sightings.get("one") is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_begins_anew() -> None:
    sightings = Sightings()
    sightings.note(checkpoint_of("one"))
    with sightings._lock:  # as another thread of the program may have it
        pid = os.fork()
        if not pid:
            os._exit(0 if sightings.get("one") is None else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert sightings.get("one") is not None
