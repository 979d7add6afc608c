"""A LangGraph store whose sync methods are answered by its async ones."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from langgraph.store.base import BaseStore, Op, Result

METHODS = ("get", "search", "put", "delete", "list_namespaces")


class AwaitedStore(BaseStore):
    """Runs an event loop of its own, which ``end`` closes."""

    def __init__(self, store: BaseStore) -> None:
        self.store = store
        self.loop = asyncio.Runner()

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        return self.loop.run(self.store.abatch(ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        return await self.store.abatch(ops)

    def __getattribute__(self, name: str) -> Any:
        if name in METHODS:
            method = getattr(self.store, f"a{name}")
            return lambda *args, **kwargs: self.loop.run(method(*args, **kwargs))
        return super().__getattribute__(name)

    def end(self) -> None:
        self.loop.close()
