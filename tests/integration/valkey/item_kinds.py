"""Repositories of items over each of the four client libraries, and in tests that break something."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

from statekeep import VectorIndex
from statekeep.repositories.items import AsyncItemRepository, ItemRepository
from statekeep.repositories.valkey import ValkeyCheckpoints, ValkeyItems, client_for
from statekeep.repositories.valkey.client.user_client import UserSyncClient
from statekeep.repositories.valkey.requests import Reply, Request
from statekeep.testing.faces import awaited

from .valkey_kinds import KINDS, open_repository

__all__ = ["INDEX", "KINDS", "Watched", "open_items", "texts"]


def _embed(found: Sequence[str]) -> list[list[float]]:
    return [[float(text.count("a")), float(text.count("b")), 1.0] for text in found]


INDEX: Final = VectorIndex(dims=3, embed=_embed, fields=["texts[*]"], index_type="flat")
"""An item has one vector for each of its ``texts``."""


def texts(count: int, letter: str = "a") -> dict[str, Any]:
    """A value with so many texts, each of another vector."""
    return {"texts": [letter * place for place in range(1, count + 1)]}


@asynccontextmanager
async def open_items(kind: str, port: int, **options: Any) -> AsyncIterator[AsyncItemRepository]:
    """A repository over a client of a kind, called as the async face is."""
    async with open_repository(kind, port) as checkpoints:
        client = cast(ValkeyCheckpoints, checkpoints.backend).client
        backend = ValkeyItems(client, **options)
        yield awaited(ItemRepository(backend)) if isinstance(client, UserSyncClient) else AsyncItemRepository(backend)


class Killed(Exception):
    """The client has died."""


class Watched:
    """A client that notes its requests, and may do each twice or die at one of them.

    Args:
        client: what answers.
        cluster: whether the server is, or is to be taken for, a cluster.
        dies_after: how many requests it lives through.
        repeats: whether it sends each request a second time, as one does that lost the answer.
    """

    def __init__(
        self,
        client: Any,
        *,
        cluster: bool = False,
        dies_after: int | None = None,
        repeats: bool = False,
    ) -> None:
        self.client = client_for(client)
        self.cluster = cluster
        self.requests: list[Request] = []
        self.dies_after = dies_after
        self.repeats = repeats

    def execute(self, request: Request) -> Reply:
        if len(self.requests) == self.dies_after:
            raise Killed
        self.requests.append(request)
        reply = self.client.execute(request)
        return self.client.execute(request) if self.repeats else reply

    async def aexecute(self, request: Request) -> Reply:
        raise AssertionError("these tests are blocking")

    def close(self) -> None:
        pass

    async def aclose(self) -> None:
        pass
