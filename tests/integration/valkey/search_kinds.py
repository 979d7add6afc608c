"""What tests of search by meaning share: repositories whose index is complete, and how often a module was asked."""

from __future__ import annotations

from typing import Any

from statekeep import ItemRepository, SearchStatus, VectorIndex
from statekeep.repositories.operation import Operation
from statekeep.repositories.valkey import ValkeyItems, client_from_url
from statekeep.repositories.valkey.items.search import index as search_index
from statekeep.testing.servers import ValkeyServer


class ReadyItems(ValkeyItems):
    """Items whose ``setup()`` ends when the module has what was put before.

    It walks through the keys of all tests, and would not be asked until then.
    """

    def setup(self) -> Operation[SearchStatus]:
        status = yield from super().setup()
        while self._module.name is not None and not self._module.is_ready:
            self._module = yield from search_index.all_ready(self._module, self.client.cluster)
        return status


class Opened:
    """Opens repositories over servers, and closes them."""

    def __init__(self) -> None:
        self._opened: list[ItemRepository] = []

    def __call__(
        self, url: str, prefix: str, index: VectorIndex | None, kind: type[ValkeyItems] = ReadyItems, **more: Any
    ) -> ItemRepository:
        client = client_from_url(url, client="valkey-py")
        self._opened.append(ItemRepository(kind(client, prefix=prefix, index=index, **more)))
        return self._opened[-1]

    def close(self) -> None:
        for repository in self._opened:
            repository.close()


def searches(server: ValkeyServer) -> int:
    """How often a server was asked to search."""
    with server.client() as client:
        found: dict[str, Any] = client.info("commandstats")
        return int(found.get("cmdstat_FT.SEARCH", {"calls": 0})["calls"])
