"""Records of cache entries and redis-om: the contract C1 to C12, as ``test_redis_om.py`` has it for checkpoints."""

from __future__ import annotations

import datetime as dt
import time
from typing import Any
from urllib.parse import quote
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis_om import Migrator, NotFoundError
from valkey.crc import key_slot

from statekeep import CacheEntry, CacheRepository, InvalidInput, Payload
from statekeep.contrib.redis_om import cache_entry_pk, index_commands, model_for
from statekeep.contrib.redis_om.schema import CACHE_ENTRY
from statekeep.domain.cache import CacheKey
from statekeep.domain.items import Namespace
from statekeep.repositories.valkey import ValkeyCacheEntries, client_for
from statekeep.repositories.valkey.cache.keys import keys_of
from statekeep.testing import strategies
from statekeep.testing.strategies import NASTY_TEXTS

from ..valkey.cache_kinds import problems
from .redis_om_world import Recorder, World

# Hypothesis looks through all imported modules, also through those that glide keeps under its old names.
pytestmark = pytest.mark.filterwarnings("ignore:Importing from 'glide:DeprecationWarning")

K: CacheKey = (("users", "ada"), "theme")
ONE = Payload(encoding="json", data=b"1")

nasty = st.sampled_from(NASTY_TEXTS) | st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
nasty_or_empty = st.just("") | nasty
namespaces = st.lists(nasty, max_size=3).map(tuple)
ttls = st.sampled_from([60, 60.5, 3600.0, 86400 * 365.25, 1e9, 1e10]) | st.floats(30, 1e10)
with_fixtures = settings(suppress_health_check=list(HealthCheck), deadline=None)


def cache(world: World, **options: Any) -> CacheRepository:
    return CacheRepository(ValkeyCacheEntries(client_for(world.raw), prefix=world.prefix, **options))


@pytest.fixture(scope="module")
def entry_records(world: World) -> Any:
    assert cache(world).clear() == 0  # loads what there is to load
    return world.model(CacheEntry)


def encoded(namespace: Namespace) -> str:
    """As docs/key-schema.md says, written down a second time."""
    return ".".join(quote(label, safe="-_~").replace(".", "%2E") for label in namespace) or "."


def pk_of(namespace: Namespace, key: str) -> str:
    """As docs/key-schema.md says, written down a second time."""
    rest = f"{encoded(namespace)}:{quote(key, safe='-_~').replace('.', '%2E')}"
    return f"{{{crc32(rest.encode()) % 64:02x}}}:{rest}"


def expected_record(entry: CacheEntry) -> dict[str, Any]:
    """What docs/key-schema.md says that a record holds."""
    return {
        "pk": pk_of(entry.namespace, entry.key),
        "namespace": encoded(entry.namespace),
        "item_key": entry.key,
        "encoding": entry.payload.encoding,
        "value": entry.payload.data,
        "created_at": entry.created_at,
        "expires_at": entry.expires_at,
    }


def made(place: CacheKey, payload: Payload = ONE) -> CacheEntry:
    return CacheEntry(namespace=place[0], key=place[1], payload=payload, created_at=dt.datetime.now(dt.UTC))


def values_of(record: Any) -> dict[str, Any]:
    values: dict[str, Any] = record.model_dump()
    return values


@with_fixtures
@given(namespace=namespaces, key=nasty_or_empty)
def test_c1_keys(world: World, entry_records: Any, namespace: Namespace, key: str) -> None:
    pk = cache_entry_pk(namespace, key)
    assert pk == pk_of(namespace, key)
    assert entry_records.make_primary_key(pk) == keys_of(world.prefix, (namespace, key)).record(key)
    assert entry_records.make_primary_key(pk) == f"{world.prefix}:cache_entry:{pk}"


@pytest.mark.parametrize(
    ("namespace", "key", "field"),
    [("ab", "k", "namespace"), (("a", ""), "k", "namespace"), ((1,), "k", "namespace"), (("a",), None, "key"),
     (("\ud800",), "k", "namespace"), (("a",), "\ud800", "key")],
)  # fmt: skip
def test_c1_wrong_ids(namespace: Any, key: Any, field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        cache_entry_pk(namespace, key)
    assert caught.value.field == field


@with_fixtures
@given(namespace=namespaces, key=nasty_or_empty, payload=strategies.payloads(), ttl=st.none() | ttls)
def test_c2_c3_c4(
    world: World, entry_records: Any, namespace: Namespace, key: str, payload: Payload, ttl: float | None
) -> None:
    keep, place = cache(world), (namespace, key)
    keep.set({place: (payload, ttl)})
    [entry] = keep.get([place]).values()
    expected = expected_record(entry)
    record = entry_records.get(expected["pk"])
    assert values_of(record) == expected  # C2
    stored = world.raw.hgetall(record.key())
    for again in (record, entry_records(**expected)):
        entry_records.delete(expected["pk"])
        again.save()
        assert world.raw.hgetall(record.key()) == stored  # C4
        assert keep.get([place]) == {place: entry}  # C3
    keep.delete([place])


def test_c3_what_redis_om_changed(fresh: World) -> None:
    keep, Record = cache(fresh), fresh.model(CacheEntry)
    keep.set({K: (ONE, 60)})
    [first] = keep.get([K]).values()
    Record.get(cache_entry_pk(*K)).update(value=b"\xff\x00", encoding="raw")
    [found] = keep.get([K]).values()
    assert found == first.model_copy(update={"payload": Payload(encoding="raw", data=b"\xff\x00")})
    # The end is rounded up to whole milliseconds.
    assert 0 < fresh.raw.pttl(Record.make_primary_key(cache_entry_pk(*K))) <= 60_001
    assert keep.clear([K[0]]) == 1


def test_c5_set_replaces_the_whole_record(fresh: World) -> None:
    keep, Record = cache(fresh), fresh.model(CacheEntry)
    keep.set({K: (ONE, 100)})
    before = Record.get(cache_entry_pk(*K))
    assert before.expires_at is not None
    keep.set({K: (ONE, None)})
    after = Record.get(cache_entry_pk(*K))
    assert after.expires_at is None
    assert fresh.raw.ttl(after.key()) == -1


def test_c6_nothing_optional_is_text(fresh: World) -> None:
    assert {field.name for field in CACHE_ENTRY.fields if field.optional} == {"expires_at"}
    keep, Record = cache(fresh), fresh.model(CacheEntry)
    keep.set({((), ""): Payload(encoding="null", data=b"")})
    record = Record.get(cache_entry_pk((), ""))
    assert (record.namespace, record.item_key, record.value) == (".", "", b"")


def test_c7_migrator_has_nothing_to_do(recorder: Recorder, prefix: str) -> None:
    Record: Any = model_for(CacheEntry, database=recorder, prefix=prefix)
    [create, *_] = index_commands(CacheEntry, prefix=prefix)
    assert create == ["FT.CREATE", Record.Meta.index_name, *Record.redisearch_schema().split(" ")]
    Migrator().run()
    assert recorder.sent == index_commands(CacheEntry, prefix=prefix)
    recorder.sent.clear()
    Migrator().run()
    assert recorder.sent == []


def test_c7_marks_disturb_nobody(fresh: World) -> None:
    keep, Record = cache(fresh), fresh.model(CacheEntry)
    # These names would be those of the marks, if there were no shard in front of them.
    names: list[CacheKey] = [(("index",), "hash"), (("index",), "schema")]
    keep.set(dict.fromkeys(names, ONE))
    marks = [command for _, *command in index_commands(CacheEntry, prefix=fresh.prefix)[1:]]
    for mark in marks:
        fresh.raw.set(*mark)
    assert len(set(Record.all_pks())) == 2
    assert len(keep.get(names)) == 2
    assert keep.reindex() == 2
    assert keep.clear() == 2
    assert fresh.all_keys() == {name for name, _ in marks}


def test_c8_all_pks(fresh: World) -> None:
    keep, Record = cache(fresh), fresh.model(CacheEntry)
    places: list[CacheKey] = [((text,), text) for text in NASTY_TEXTS]
    keep.set(dict.fromkeys(places, (ONE, 60)) | {((), ""): ONE})
    expected = {cache_entry_pk(*place) for place in [*places, ((), "")]}
    assert set(Record.all_pks()) == expected
    assert fresh.hashes(f"{fresh.prefix}:") == {Record.make_primary_key(pk) for pk in expected}


def test_c9_what_redis_om_adds_and_removes(fresh: World) -> None:
    keep, Record = cache(fresh), fresh.model(CacheEntry)
    others: list[CacheKey] = [(("users", "ada"), f"k{number}") for number in range(5)]
    keep.set(dict.fromkeys(others, (ONE, 60)))
    Record(**expected_record(made(K))).save()
    assert set(keep.get([K, *others])) == {K, *others}  # at once
    Record.delete(cache_entry_pk(*others[0]))
    Record.get(cache_entry_pk(*others[1])).expire(1)
    time.sleep(1.1)
    assert set(keep.get([K, *others])) == {K, *others[2:]}
    assert keep.clear([K[0]]) == 3
    assert set(keep.get([K])) == {K}  # nobody told the index
    assert keep.reindex() == 1
    assert problems(fresh.raw, fresh.prefix) == []
    assert keep.clear([K[0]]) == 1
    assert fresh.all_keys() == set()
    with pytest.raises(NotFoundError):
        Record.get(cache_entry_pk(*K))


def test_c10_ttls_are_those_of_keys(fresh: World) -> None:
    keep, Record = cache(fresh), fresh.model(CacheEntry)
    keep.set({K: (ONE, 60)})
    record = Record.get(cache_entry_pk(*K))
    left = fresh.raw.pttl(record.key())
    record.save()
    assert 0 < fresh.raw.pttl(record.key()) <= left


def test_c11_an_entry_is_in_the_slot_of_what_knows_it() -> None:
    places: list[CacheKey] = [((text, "x"), text) for text in NASTY_TEXTS] + [((), "")]
    slots = set()
    for place in places:
        keys = keys_of("app", place)
        own = {key_slot(key.encode()) for key in (keys.record(place[1]), keys.index, keys.namespaces)}
        assert len(own) == 1
        slots |= own
    assert len(slots) > 10


def test_c12_names_of_fields(fresh: World) -> None:
    Record = fresh.model(CacheEntry)
    names = {field.name for field in CACHE_ENTRY.fields}
    assert names & {name for name in dir(Record.__mro__[1]) if not name.startswith("_")} == set()
    assert {field.type for field in CACHE_ENTRY.fields} <= {str, bytes, dt.datetime}
