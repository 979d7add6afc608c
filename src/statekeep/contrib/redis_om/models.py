"""Models of redis-om, made from the fields of records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Optional

from ...domain import Checkpoint, MissingDependency, Payload, PendingWrite
from ...repositories.validation import text, texts, unit_or_none
from ...repositories.valkey.cache.keys import keys_of
from ...repositories.valkey.checkpoints.keys import namespace_keys
from ...repositories.valkey.checkpoints.records import member
from ...repositories.valkey.items.keys import item_keys
from .indexes import index_definition, record_type_of, searchable_prefix

if TYPE_CHECKING:
    from redis_om import HashModel


def model_for(model: type, *, database: Any, prefix: str = "statekeep") -> type[HashModel]:
    r"""Return the redis-om model of what a repository stores for a domain model.

    Args:
        model: :class:`~statekeep.Checkpoint`, :class:`~statekeep.PendingWrite`, :class:`~statekeep.Item` or
            :class:`~statekeep.CacheEntry`.
        database: a blocking client of redis-py or valkey-py, for one server or a cluster. It should be made with
            ``decode_responses=True``; without, redis-om logs a warning with each record that it reads.
        prefix: as of the repository; here without white space and ``* ? [ ] \``.

    Raises:
        MissingDependency: redis-om is not installed.
        InvalidInput: there are no records of ``model``, or redis-om cannot deal with ``prefix``.

    Example:
        >>> import redis, statekeep
        >>> from statekeep.repositories.valkey.embedded import EmbeddedServer
        >>> with EmbeddedServer() as server, statekeep.connect(server.url) as keep:
        ...     database = redis.Redis.from_url(server.url, decode_responses=True)
        ...     CheckpointRecord = model_for(statekeep.Checkpoint, database=database)
        ...     keep.checkpoints.put(statekeep.Checkpoint(thread_id="chat-1", checkpoint_id="1", metadata={"step": 3}))
        ...     record = CheckpointRecord.get(checkpoint_pk("chat-1", "1"))
        ...     database.close()
        >>> record.thread_id, record.step, record.metadata
        ('chat-1', 3, '{"step":3}')
    """
    record_type = record_type_of(model)
    searchable_prefix(prefix)
    try:
        from redis_om import Field, HashModel
    except ImportError as error:
        raise MissingDependency("redis-om", "redis-om") from error
    annotations: dict[str, Any] = {}
    members: dict[str, Any] = {}
    for field in record_type.fields:
        # redis-om does not look into `X | None`: bytes would stay base64, and "" would stay "".
        annotations[field.name] = Optional[field.type] if field.optional else field.type  # noqa: UP045
        default = {"default": None} if field.optional else {}
        if field.indexed or field.optional:
            members[field.name] = Field(index=field.indexed, **default)
    meta = {"global_key_prefix": prefix, "model_key_prefix": record_type.name, "database": database}
    name = f"{model.__name__}Record"
    members |= {
        "__annotations__": annotations,
        "__module__": __name__,
        # redis-om's Migrator knows models by this name: those of two prefixes are two.
        "__qualname__": f"{name}[{prefix}]",
        "__doc__": f"A {record_type.name} record of Statekeep; docs/key-schema.md describes its fields.",
        "Meta": type("Meta", (), meta),
    }
    derived: type[HashModel] = type(HashModel)(name, (HashModel,), members, index=True)
    return derived


def checkpoint_pk(thread_id: str, checkpoint_id: str, *, namespace: str = "") -> str:
    """Return the primary key of a checkpoint's record.

    Raises:
        InvalidInput: an id is not text, or empty.

    Example:
        >>> checkpoint_pk("user:42", "1")
        '{user%3A42}::1'
    """
    # A checkpoint checks its ids.
    checkpoint = Checkpoint(thread_id=thread_id, checkpoint_id=checkpoint_id, namespace=namespace)
    return namespace_keys("", checkpoint.thread_id, checkpoint.namespace).checkpoint_pk(checkpoint.checkpoint_id)


def pending_write_pk(thread_id: str, checkpoint_id: str, task_id: str, idx: int, *, namespace: str = "") -> str:
    """Return the primary key of a pending write's record.

    Raises:
        InvalidInput: an id is not text, or empty; ``idx`` is no integer.

    Example:
        >>> pending_write_pk("user:42", "1", "task", -1)
        '{user%3A42}::1:task:-1'
    """
    checkpoint = checkpoint_pk(thread_id, checkpoint_id, namespace=namespace)
    write = PendingWrite(task_id=task_id, idx=idx, channel="", payload=Payload(encoding="none", data=b""))
    place = checkpoint.rpartition(":")[0]
    return f"{place}:{member(checkpoint_id, write).rpartition(':')[0]}"


def item_pk(namespace: Sequence[str], key: str, *, unit: int | None = None) -> str:
    """Return the primary key of an item's record.

    Args:
        namespace: its labels.
        key: its key.
        unit: that of the repository.

    Raises:
        InvalidInput: a label is not text, or empty; ``key`` is not text; ``unit`` is wrong.

    Example:
        >>> import redis, statekeep
        >>> from statekeep.repositories.valkey.embedded import EmbeddedServer
        >>> with EmbeddedServer() as server, statekeep.connect(server.url) as keep:
        ...     database = redis.Redis.from_url(server.url, decode_responses=True)
        ...     ItemRecord = model_for(statekeep.Item, database=database)
        ...     item = keep.items.put(("users", "ada"), "theme", {"dark": True})
        ...     ItemRecord.get(item_pk(("users", "ada"), "theme")).update(value='{"dark":false}', version=2)
        ...     changed = keep.items.get(("users", "ada"), "theme")
        ...     database.close()
        >>> item_pk(("users", "ada"), "theme"), changed.value, changed.version
        ('{users.ada}:theme', {'dark': False}, 2)
        >>> item_pk(("users", "ada"), "theme", unit=1)
        '{users}.ada:theme'
    """
    return item_keys("", tuple(texts("namespace", namespace)), unit_or_none(unit)).pk(text("key", key, empty=True))


def cache_entry_pk(namespace: Sequence[str], key: str) -> str:
    """Return the primary key of a cache entry's record.

    Raises:
        InvalidInput: a label is not text, or empty; ``key`` is not text.

    Example:
        >>> cache_entry_pk(("users", "ada"), "theme")
        '{00}:users.ada:theme'
    """
    place = tuple(texts("namespace", namespace)), text("key", key, empty=True)
    return keys_of("", place).pk(place[1])


def index_commands(model: type, *, prefix: str = "statekeep") -> list[list[str]]:
    """Return the commands that create the search index of redis-om's ``find``.

    Its Migrator would run the same, and finds nothing to do after them. Run them on database 0 of a server that has the
    search module (in a cluster: the first on any node, the others by their keys). Statekeep does not use the index.

    Args:
        model: :class:`~statekeep.Checkpoint`, :class:`~statekeep.PendingWrite`, :class:`~statekeep.Item` or
            :class:`~statekeep.CacheEntry`.
        prefix: as of the repository.

    Returns:
        FT.CREATE and two SET, as lists of words.

    Raises:
        InvalidInput: as :func:`model_for`.

    Example:
        >>> from statekeep import Checkpoint
        >>> create, *marks = index_commands(Checkpoint)
        >>> " ".join(create[:8])
        'FT.CREATE statekeep:checkpoint:index ON HASH PREFIX 1 statekeep:checkpoint: SCHEMA'
    """
    return index_definition(record_type_of(model), prefix).commands
