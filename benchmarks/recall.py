"""Recall of an approximate index of the Redis query engine: ``python -m benchmarks.recall``.

It takes about three minutes. What is compared are the ten items that a search finds, with the ten whose vectors are
nearest by numpy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import typer

from statekeep import PutItem, connect
from statekeep.testing.servers import ValkeyServer

WANTED = 10
BATCH = 200
RANK = 32
"""Dimensions that vectors really have, as embeddings do; the rest of them is noise."""


def vectors(count: int, dims: int) -> Any:
    """Vectors of length 1, always the same."""
    source = np.random.default_rng(1)
    spread = source.standard_normal((RANK, dims), dtype=np.float32)
    found = source.standard_normal((count, RANK), dtype=np.float32) @ spread
    found += 0.1 * source.standard_normal((count, dims), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def main(
    items: Annotated[int, typer.Option(min=BATCH)] = 20_000,
    dims: Annotated[int, typer.Option(min=RANK)] = 384,
    queries: Annotated[int, typer.Option(min=1)] = 100,
    effort: Annotated[int, typer.Option(help="hnsw_ef_runtime")] = 50,
) -> None:
    """Print the recall of ten, and milliseconds of a search."""
    every = vectors(items + queries, dims)

    def embed(texts: Sequence[str]) -> list[Any]:
        return [every[int(text)] for text in texts]

    index = {"dims": dims, "embed": embed, "fields": ["text"], "hnsw_ef_runtime": effort}
    with ValkeyServer(search="redisearch") as server, connect(server.url, index=index, request_timeout=60) as keep:
        while not (status := keep.items.setup()).is_ready:
            time.sleep(0.1)
        for start in range(0, items, BATCH):
            numbers = range(start, min(start + BATCH, items))
            keep.items.batch([PutItem(namespace=("n",), key=str(at), value={"text": str(at)}) for at in numbers])
        print(f"{status}, {items} x {dims}, hnsw_ef_runtime={effort}")
        for namespace in ((), ("n",)):
            hits, took = 0, []
            for number in range(items, items + queries):
                nearest = {int(at) for at in np.argsort(-(every[:items] @ every[number]))[:WANTED]}
                began = time.perf_counter()
                found = keep.items.search(namespace, query=str(number), limit=WANTED)
                took.append(time.perf_counter() - began)
                hits += len(nearest & {int(item.key) for item in found})
            recall, median = hits / (WANTED * queries), 1000 * sorted(took)[queries // 2]
            print(f"{namespace}: recall@{WANTED} {recall:.3f}, median of a search {median:.1f} ms")


if __name__ == "__main__":
    typer.run(main)
