"""Search by meaning: is there a module, and an index in it?"""

from __future__ import annotations

from typing import Final

from ....domain import StatekeepError, VectorIndex
from ....repositories.operation import Operation
from ....repositories.valkey.items.search.index import LIST_SEARCH, ready
from ....repositories.valkey.items.search.query import REDISEARCH, VALKEY_SEARCH, index_name
from ....repositories.valkey.requests import Ask
from ...valkey.servers import Server
from ..finding import Finding, guarded, ok
from .rights import for_search

_OF_REDISEARCH: Final = "FT.TAGVALS"
"""A command that valkey-search does not have."""


def checked(prefix: str, index: VectorIndex | None, server: Server, cluster: bool) -> Operation[list[Finding]]:
    """Look at the search module, if the connection searches by meaning.

    Args:
        prefix: of all keys.
        index: the options of vector search; ``None`` if nobody searches.
        server: which answers.
        cluster: whether it is one of several.
    """
    if index is None:
        return [ok("search", "This connection has no index for search by meaning.")]
    known = {command.decode(errors="replace").upper() for command in (yield Ask(LIST_SEARCH, near=server.near))}
    family = REDISEARCH if _OF_REDISEARCH in known else VALKEY_SEARCH
    if "FT.SEARCH" not in known or (cluster and family is REDISEARCH):
        why = "The Redis query engine is not used in a cluster" if "FT.SEARCH" in known else "There is no search module"
        return [
            Finding(
                name="search",
                state="ok" if index.index_type == "flat" else "warning",
                found=f"{why}, so that all vectors are compared with each query.",
                advice="Load valkey-search if there are more than some ten thousand vectors, or say index_type='flat'.",
            )
        ]
    rights = yield from guarded("rights", for_search(server))
    if rights:
        return rights
    name = index_name(prefix, index.collection_name)
    if name.encode() not in (yield Ask(["FT._LIST"], near=server.near)):
        return [
            Finding(
                name="search",
                state="warning",
                found=f"The search module has no index {name}.",
                advice="Call items.setup() once, with the same index as your program.",
            )
        ]
    try:
        is_ready = yield from ready(name, cluster, family)
    except StatekeepError as error:
        return [
            Finding(
                name="search",
                state="problem",
                found=f"The index {name} does not answer: {error}.",
                advice="Call items.setup(), which says what is wrong with the index.",
            )
        ]
    if not is_ready:
        return [
            Finding(
                name="search",
                state="warning",
                found=f"The index {name} does not have all vectors yet.",
                advice="Wait until it has; if it stays so, give the server more memory.",
            )
        ]
    return [ok("search", f"The search module has the index {name}, with all vectors.")]
