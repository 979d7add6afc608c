"""LangGraph's store on Amazon Bedrock AgentCore Memory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen
from langchain_core.messages import BaseMessage
from langgraph.store.base import Item, Op, PutOp, Result, TTLConfig

from ...domain import DeleteItem, GetItem, InvalidInput, Unavailable
from ...domain.shown import shown
from ...repositories.agentcore import AgentCoreItems, open_items
from ...repositories.agentcore.items.conversations import Message, checked_message
from ...repositories.agentcore.items.memory_records import is_record_id, namespace_path
from ...repositories.faces import closing_on_error
from ...repositories.items import ItemRepository
from ...repositories.operation import Operation
from ...repositories.validation import namespace_and_key, seconds
from . import operations
from .base import RepositoryStore
from .messages import MESSAGE, said, with_message, with_stored_message
from .operations import key_of

__all__ = ["AgentCoreMemoryStore"]

_SHORTEST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
"""Seconds between two looks at what is listed."""


class AgentCoreMemoryStore(RepositoryStore):
    """A LangGraph store on Amazon Bedrock AgentCore Memory.

    What you put under a key you get by that key at once, in every process, and what you delete is gone. A message of
    LangChain, put as ``{"message": message}`` under ``(actor_id, session_id)``, is also said in that session of the
    memory, whose strategies extract facts from it: ``search(query=...)`` finds them, a while later, and ``get`` and
    ``delete`` take their ids as keys. Serves ``invoke`` and ``ainvoke``, which calls boto3 in threads of
    its own. May be shared by threads and tasks.

    Args:
        memory_id: the id of the memory, ``NAME-XXXXXXXXXX``, or its ARN.
        index: make items findable by meaning: ``{"fields": ["text"]}`` names the paths of their texts. The service
            embeds by itself, so ``dims`` and ``embed`` have no place here. Without it, those items are found by meaning
            whose ``put`` names paths.
        ttl: LangGraph's ``TTLConfig``: ``default_ttl`` in minutes, and ``refresh_on_read`` (true unless given).
            ``sweep_interval_minutes`` and ``omit_expired`` mean nothing here: what expired is gone at once.
        hierarchical_search: whether ``search(query=...)`` finds what was extracted below its namespace, too; ``False``
            for what is at this very namespace.
        **options: ``renewal`` and ``event_expiry_days`` of :class:`~statekeep.repositories.agentcore.AgentCoreItems`;
            how to reach the service: ``region_name``, ``credentials_profile_name``, ``aws_access_key_id``,
            ``aws_secret_access_key``, ``aws_session_token`` (text or ``SecretStr``), ``endpoint_url``, ``verify``,
            ``config`` (of botocore), ``session`` (of boto3), or a ready ``client``, which is never closed; see
            :class:`~statekeep.repositories.aws.AwsSettings`.

    Attributes:
        memory_id: as it was given.
        hierarchical_search: as it was given.
        ttl_config: as given, or ``None``.

    Raises:
        InvalidInput: an argument is wrong or unknown, or no region is known.
        MissingDependency: boto3 is not installed.

    Example:
        >>> from langchain_core.messages import HumanMessage
        >>> from statekeep.testing.aws import AwsEmulator
        >>> with AwsEmulator() as aws, AgentCoreMemoryStore(aws.memory_id, session=aws.session()) as store:
        ...     store.put(("ada", "session-1"), "first", {"message": HumanMessage("I like sushi.")})
        ...     store.get(("ada", "session-1"), "first").value["message"].text
        'I like sushi.'
    """

    def __init__(
        self,
        memory_id: str,
        *,
        index: Mapping[str, Any] | None = None,
        ttl: TTLConfig | None = None,
        hierarchical_search: bool = True,
        **options: Any,
    ) -> None:
        # Without an index a search asks for what was extracted all the same.
        index = {"fields": []} if index is None else index
        backend = open_items(memory_id, index=index, hierarchical_search=hierarchical_search, **options)
        with closing_on_error(backend.close):
            super().__init__(ItemRepository(backend), ttl=ttl)
        self.memory_id = backend.memory_id
        self.hierarchical_search = hierarchical_search
        self._items = backend
        # Beside the functions of a repository, operations ask for calls of the service.
        self._execute = partial(_answer, self._execute, backend.execute, time.sleep)
        self._aexecute = partial(_answer, self._aexecute, backend.aexecute, asyncio.sleep)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Do several operations. What reads sees what was there before what writes.

        All are checked first. Messages are said before items are written, so a batch that fails may be repeated: within
        a day what is said again under its key is extracted once.

        Args:
            ops: as for :meth:`RepositoryStore.batch`.

        Returns:
            A result for each, in the same order; ``None`` for a ``PutOp``.

        Raises:
            InvalidNamespaceError: a label is empty, no text, or has a period or a NUL in it.
            InvalidInput: a message has more than 100,000 characters, is put under a namespace that is not
                ``(actor_id, session_id)``, or would not come back as it was; or another argument is wrong. It is a
                ``ValueError``; nothing was read or written.
            Throttled: the service takes 5 messages a second in one session.
        """
        return self._run(_batch(self._items, ops))

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """As :meth:`batch`."""
        return await self._arun(_batch(self._items, ops))

    def wait_until_indexed(self, namespace: tuple[str, ...], key: str, *, timeout: float = 300.0) -> None:
        """Wait until the service lists the memory records of an item.

        For tests and scripts: until then, a search with a query may not find it, or find it by its former texts.

        Args:
            namespace: labels of the item.
            key: its key.
            timeout: seconds.

        Raises:
            InvalidInput: there is no such item, or it was put without texts to be found by; or an argument is wrong.
            Unavailable: the service does not list them in time.
        """
        self._run(_wait(self._items, namespace, key, timeout))

    async def await_until_indexed(
        self,
        namespace: tuple[str, ...],
        key: str,
        *,
        timeout: float = 300.0,  # noqa: ASYNC109 - as of the blocking twin
    ) -> None:
        """As :meth:`wait_until_indexed`."""
        await self._arun(_wait(self._items, namespace, key, timeout))


@frozen
class _Pause:
    """Asks for nothing, for some seconds."""

    seconds: float


def _answer(of_repository: Any, of_service: Any, sleep: Any, request: Any) -> Any:
    if isinstance(request, _Pause):
        return sleep(request.seconds)
    return of_repository(request) if callable(request) else of_service(request)


def _wait(items: AgentCoreItems, namespace: tuple[str, ...], key: str, timeout: float) -> Operation[None]:
    place = namespace_and_key(namespace, key_of(key))
    deadline, pause = time.monotonic() + seconds("timeout", timeout), _SHORTEST_PAUSE
    while count := (yield from items.unlisted_records(*place)):
        if time.monotonic() >= deadline:
            raise Unavailable(f"{count} memory records of the item are not listed after {timeout} seconds")
        yield _Pause(min(pause, max(deadline - time.monotonic(), 0.0)))
        pause = min(2 * pause, _LONGEST_PAUSE)


def _batch(items: AgentCoreItems, ops: Iterable[Op]) -> Operation[list[Result]]:
    given = list(ops)
    plan = operations.planned(map(_stored, given))
    messages = _messages([given[position] for position in sorted(plan.writes)])
    doomed = yield from _doomed(items, plan)
    if messages:
        yield from items.say(messages)
    results = yield from operations.perform(plan, None)
    for position, get in plan.gets.items():
        if results[position] is None:
            results[position] = yield from _record(items, get)
    for record_id in doomed:
        yield from items.delete_record(record_id)
    for found in results:
        for item in found if isinstance(found, list) else [found]:
            if isinstance(item, Item):
                item.value = with_message(item.value, item.key)
    return results


def _doomed(items: AgentCoreItems, plan: operations.Plan) -> Operation[list[str]]:
    """Return the ids of the memory records that are to be deleted.

    They are keys of no item, and at or below the namespaces.
    """
    deletions = [
        GetItem(namespace=write.namespace, key=write.key, refresh=False)
        for write in plan.writes.values()
        if isinstance(write, DeleteItem) and is_record_id(write.key)
    ]
    if not deletions:
        return []
    found = yield lambda keep: keep.batch(deletions)
    doomed = []
    for place, item in zip(deletions, found, strict=True):
        if item is None and (yield from _record(items, place)) is not None:
            doomed.append(place.key)
    return doomed


def _record(items: AgentCoreItems, place: GetItem) -> Operation[Item | None]:
    """Return the memory record of a key as an item, if it is within the namespace."""
    if not is_record_id(place.key):
        return None
    record = yield from items.record(place.key)
    if record is None or not record.is_within(namespace_path(place.namespace)):
        return None
    return Item(
        namespace=record.namespace_below(place.namespace),
        key=record.id,
        value=record.value(),
        created_at=record.created_at,
        updated_at=record.timestamp,
    )


def _stored(op: Op) -> Op:
    """Return an operation with what is stored for a message."""
    if not isinstance(op, PutOp) or not isinstance(op.value, Mapping):
        return op
    return op._replace(value=with_stored_message(op.value))


def _messages(puts: Sequence[Any]) -> list[Message]:
    """Return what some operations say.

    Raises:
        InvalidInput: a namespace is not one of a conversation, or the service does not take a text.
    """
    found = []
    for op in puts:
        message = None if op.value is None else op.value.get(MESSAGE)
        if not isinstance(message, BaseMessage):
            continue
        if len(op.namespace) != 2:
            raise InvalidInput(
                "namespace of a message must be (actor_id, session_id), two labels, got "
                f"{shown(tuple(op.namespace), 200)}; put other values under other namespaces, such as the message's "
                "text",
                field="namespace",
            )
        if (spoken := said(message)) is not None:
            actor_id, session_id = op.namespace
            found.append(checked_message(Message(actor_id, session_id, key_of(op.key), *spoken)))
    return found
