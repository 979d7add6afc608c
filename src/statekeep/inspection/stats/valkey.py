"""A survey of Valkey: by SCAN, and MEMORY USAGE of each key."""

from __future__ import annotations

from collections.abc import Sequence

from ...domain import StatekeepError
from ...repositories.operation import Operation
from ...repositories.valkey.requests import Ask, Commands
from ...repositories.valkey.sizes import MANY
from ..valkey.keyspace import COUNT, Key, key_of, page
from ..valkey.servers import Server, is_silent, servers
from .sums import Sums


def survey(sums: Sums, prefix: str, cluster: bool, sample: int | None) -> Operation[None]:
    """Look at all keys of the servers, and count those under the prefix.

    A key may be counted twice while a server's table of keys grows or shrinks.

    Args:
        sums: where they are counted.
        prefix: of the keys.
        cluster: whether there may be several servers.
        sample: keys to look at, of anybody; ``None`` for all.
    """
    found = yield from servers(cluster)
    counts = yield from _counts(found)
    sums.of_keys = sum(counts) if counts is not None else None
    sums.is_sample = sample is not None
    for number, server in enumerate(found):
        share = None if sample is None else -(-sample // len(found))
        if counts is not None and share is not None and share >= counts[number]:
            share = counts[number] + COUNT  # it has no more than that: to the end
        yield from _server(sums, prefix, server, share)
    if sample is None and sums.of_keys is not None:
        sums.looked = sums.of_keys
    if sums.is_sample and sums.of_keys is not None:
        sums.is_sample = sums.looked < sums.of_keys
        sums.factor = max(1.0, sums.of_keys / sums.looked) if sums.looked else 1.0
    sums.is_done = True


def _counts(found: Sequence[Server]) -> Operation[list[int] | None]:
    """Return the number of keys of each server; ``None`` if the user may not ask."""
    counts: list[int] = []
    try:
        for server in found:
            size = yield Ask(["DBSIZE"], near=server.near)
            counts.append(int(size))
    except StatekeepError as error:
        if not is_silent(error):
            raise
        return None
    return counts


def _server(sums: Sums, prefix: str, server: Server, most: int | None) -> Operation[None]:
    cursor, looked = b"0", 0
    while True:
        cursor, names = yield from page(prefix, server, cursor, only_ours=most is None)
        keys = [key for name in names if (key := key_of(prefix, name)) is not None]
        sizes = yield from _sizes(sums, keys)
        # Whoever stops the survey here has the sums of whole pages.
        looked += len(names)
        # With a pattern, the server does not say how many keys it looked at: about as many as it was asked for.
        sums.looked += len(names) if most is not None or sums.of_keys is None else COUNT
        if sums.of_keys is not None:
            sums.looked = min(sums.looked, sums.of_keys)
        for key, size in zip(keys, sizes, strict=True):
            if size is not None:
                sums.add(key.kind, key.place, size, of_cache=key.is_of_cache)
        if cursor == b"0" or (most is not None and looked >= most):
            return


def _sizes(sums: Sums, keys: Sequence[Key]) -> Operation[list[int | None]]:
    """Return the bytes of keys; ``None`` for one that is gone."""
    if not keys:
        return []
    if sums.has_bytes:
        try:
            sizes: list[int | None] = yield Commands([("MEMORY USAGE", key.name, "SAMPLES", MANY) for key in keys])
            return sizes
        except StatekeepError as error:
            if not is_silent(error):
                raise
            sums.has_bytes = False
            sums.missing.append(f"bytes: {error}")
    return [0] * len(keys)
