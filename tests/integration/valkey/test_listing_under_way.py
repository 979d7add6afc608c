"""Listings of all threads that go on while threads are updated."""

from __future__ import annotations

import pytest

from statekeep import Checkpoint
from statekeep.repositories.checkpoints import CheckpointRepository
from tests.backends import BACKENDS
from tests.small_pages import small_pages

THREADS = "abcdefg"


@pytest.mark.parametrize("name", ["memory", "glide", "valkey-py-cluster"])
def test_a_thread_that_is_updated_meanwhile_is_not_left_out(
    name: str, request: pytest.FixtureRequest, prefix: str
) -> None:
    with small_pages(), BACKENDS[name].open(request, prefix) as backend:
        keep = CheckpointRepository(backend)
        for thread_id in THREADS:
            for checkpoint_id in "12":
                keep.put(Checkpoint(thread_id=thread_id, checkpoint_id=checkpoint_id))
        listing = keep.list()
        found = [next(listing)]
        for updated in "aga":  # the oldest one, the one that is being listed, and again
            keep.put(Checkpoint(thread_id=updated, checkpoint_id="9"))
            found.append(next(listing))
        found += listing
        places = [(saved.thread_id, saved.checkpoint_id) for saved in found]
        assert len(set(places)) == len(places)
        assert {(thread_id, checkpoint_id) for thread_id in THREADS for checkpoint_id in "12"} <= set(places)
        assert len(list(keep.list(limit=5))) == 5
        assert len(list(keep.list(metadata={"step": None}))) == 16


@pytest.mark.parametrize("name", ["memory", "glide"])
def test_nothing_is_left_out_when_all_threads_move_to_the_front(
    name: str, request: pytest.FixtureRequest, prefix: str
) -> None:
    with small_pages(), BACKENDS[name].open(request, prefix) as backend:
        keep = CheckpointRepository(backend)
        for thread_id in "abc":
            keep.put(Checkpoint(thread_id=thread_id, checkpoint_id="1"))
        listing = keep.list()
        found = [next(listing)]
        for thread_id in "ab":
            keep.put(Checkpoint(thread_id=thread_id, checkpoint_id="2"))
        found += listing
        places = [(saved.thread_id, saved.checkpoint_id) for saved in found]
        assert len(set(places)) == len(places)
        assert {(thread_id, "1") for thread_id in "abc"} <= set(places)
