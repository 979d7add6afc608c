"""Numbers that are none, or too large: refused where they are given, by the name of the argument."""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
import valkey
from langgraph.store.base import TTLConfig

import statekeep
from statekeep import InvalidInput
from statekeep.langgraph_shim import RepositoryStore, ValkeyCache, ValkeySaver, ValkeyStore
from statekeep.repositories.agentcore import AgentCoreCheckpoints
from statekeep.repositories.valkey import client_for

URL = "valkey://localhost:1"
BAD: tuple[Any, ...] = (
    10**400, -(10**400), 10**5000, math.nan, math.inf, -math.inf, -1, True, Decimal("NaN"), Decimal(1), Fraction(1, 3),
    "x", b"1", [],
)  # fmt: skip


def _connected(**options: Any) -> object:
    return statekeep.connect(URL, **options)


def _saver(**options: Any) -> object:
    return ValkeySaver(valkey.Valkey(port=1), **options)


def _store_ttl(ttl: Any) -> object:
    config: TTLConfig = {"default_ttl": ttl}
    return RepositoryStore(statekeep.connect("memory:").items, ttl=config)


NUMBERS = ("ttl", "deadline", "request_timeout", "db", "pool_size", "pool_timeout", "connect_timeout")

CALLS: tuple[tuple[str, Callable[[Any], object]], ...] = (
    *((name, lambda bad, name=name: _connected(**{name: bad})) for name in NUMBERS),
    ("ttl", lambda bad: statekeep.connect("memory:", ttl=bad)),
    ("ttl", lambda bad: _saver(ttl=bad)),
    ("deadline", lambda bad: _saver(deadline=bad)),
    ("deadline", lambda bad: client_for(valkey.Valkey(port=1), deadline=bad)),
    ("ttl_seconds", lambda bad: ValkeySaver.from_conn_string(URL, ttl_seconds=bad)),
    ("ttl_seconds", lambda bad: ValkeyCache.from_conn_string(URL, ttl_seconds=bad)),
    ("deadline", lambda bad: ValkeyStore.from_conn_string(URL, deadline=bad)),
    ("default_ttl", _store_ttl),
    ("grace", lambda bad: AgentCoreCheckpoints(None, "memory-1234567890", grace=bad)),  # type: ignore[arg-type]
    ("renewal", lambda bad: AgentCoreCheckpoints(None, "memory-1234567890", renewal=bad)),  # type: ignore[arg-type]
)  # fmt: skip


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: type(bad).__name__)
@pytest.mark.parametrize(("field", "call"), CALLS)
def test_bad_numbers(field: str, call: Callable[[Any], object], bad: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        call(bad)
    assert caught.value.field == field
    assert field in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("bad", ["1e999", "9" * 5000, "nan", "inf", "-1", "1e400", ""])
@pytest.mark.parametrize("field", ["deadline", "request_timeout", "connect_timeout", "pool_timeout", "pool_size", "db"])
def test_bad_numbers_in_urls(field: str, bad: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        statekeep.connect(f"{URL}?{field}={bad}")
    assert caught.value.field == field
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("url", [f"valkey://localhost:{'9' * 5000}", f"valkey://localhost/{'9' * 5000}"])
def test_ports_and_databases_of_many_digits(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        statekeep.connect(url)
    assert len(str(caught.value)) < 300


def test_the_longest_waits() -> None:
    with statekeep.connect(URL, deadline=4_000_000, request_timeout="0.5") as keep:  # type: ignore[arg-type]
        assert "4000000" in repr(keep)
