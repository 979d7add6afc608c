"""Items of one namespace whose values are all of one type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any, Final, Literal, TypeVar

from ...domain import ANY, DEFAULT, Conflict, InvalidInput, Item, PutItem, TypedItem
from ...domain.items import Expectation, ItemOperation
from ...domain.model import Ttl
from ...domain.shown import shown
from ..faces import aiterating, awaiting, blocking, iterating
from ..operation import Operation, named
from ..records.json_text import unparsed
from ..validation import count
from .reading import TypedReads, with_value

T = TypeVar("T")

ATTEMPTS: Final = 50
"""How often an update, or a pop, is tried while others change the item."""


class Required(Enum):
    """The type of :data:`REQUIRED`."""

    REQUIRED = "required"

    def __repr__(self) -> str:
        return self.name


REQUIRED: Final = Required.REQUIRED
"""As ``default``: there is none."""


class _Operations(TypedReads[T]):
    """The bodies of the methods: arguments in, operations out."""

    def _put(
        self,
        key: str,
        value: T,
        *,
        ttl: Ttl = DEFAULT,
        expected: Expectation = ANY,
        index: Sequence[str] | bool | None = None,
    ) -> Operation[TypedItem[T]]:
        """Store an item, whole or not at all; one under the same key is replaced.

        Args:
            key: any text.
            value: a value that can be read back: that is tried before it is sent.
            ttl: as for :meth:`ItemRepository.put`.
            expected: as for :meth:`ItemRepository.put`.
            index: as for :meth:`ItemRepository.put`; paths are those of the JSON value.

        Returns:
            The stored item. Its value is the one that ``get`` returns, not the one given.

        Raises:
            Conflict: ``expected`` does not hold. Nothing was written.
            InvalidInput: the value is not of the type, or another argument is wrong. Nothing was written.
        """
        return named("put", self._write(key, value, ttl, expected, index))

    def _update(
        self,
        key: str,
        change: Callable[[T], T],
        *,
        default: T | Literal[Required.REQUIRED] = REQUIRED,
        ttl: Ttl = DEFAULT,
        index: Sequence[str] | bool | None = None,
        attempts: int = ATTEMPTS,
    ) -> Operation[TypedItem[T]]:
        """Read an item, change it and store it as one unit.

        If somebody else changed it meanwhile, it is read and changed again. Its TTL begins anew, as with each put.

        Args:
            key: any text.
            change: takes the value and returns the new one; it may change the one that it is given, and return that.
                It may be called several times, so let it have no other effects.
            default: what to change if there is no item.
            ttl: as for :meth:`ItemRepository.put`.
            index: as for :meth:`put`.
            attempts: how often to try.

        Returns:
            The stored item.

        Raises:
            Conflict: others changed the item at each attempt. Nothing was written.
            InvalidInput: there is no item and no default, or what ``change`` returned is not of the type. Nothing was
                written.
            TypeMismatch: the stored value is not of the type.

        Example:
            >>> import statekeep
            >>> visits = statekeep.connect("memory:").items.of(int, ("visits",))
            >>> for _ in range(3):
            ...     item = visits.update("ada", lambda number: number + 1, default=0)
            >>> item.value
            3
        """
        if not callable(change):
            raise InvalidInput(f"change must be a function of a value, got {type(change).__name__}", field="change")
        if not count("attempts", attempts):
            raise InvalidInput("attempts must be an integer >= 1, got 0", field="attempts")
        first = self._items._get(self.namespace, key, refresh=False)
        return named("update", self._updated(first, key, change, default, ttl, index, attempts))

    def _delete(self, key: str, *, expected: Expectation = ANY) -> Operation[bool]:
        """Delete an item, with its vectors. Its value is not looked at.

        Args:
            key: its key.
            expected: as for :meth:`put`.

        Returns:
            Whether there was one.

        Raises:
            Conflict: ``expected`` does not hold. Nothing was deleted.
        """
        return self._items._delete(self.namespace, key, expected=expected)

    def _append(
        self, values: Sequence[T], *, ttl: Ttl = DEFAULT, index: Sequence[str] | bool | None = None
    ) -> Operation[list[str]]:
        """Store values under new keys, behind all that were appended before; all or none.

        Args:
            values: at most 500.
            ttl: as for :meth:`put`.
            index: as for :meth:`put`.

        Returns:
            The keys, as of :meth:`ItemRepository.append`.

        Raises:
            InvalidInput: as :meth:`put`.
        """
        if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence):
            raise InvalidInput(f"values must be a sequence of values, got {type(values).__name__}", field="values")
        plain = [self._values.encode(value, "values")[0] for value in values]
        return self._items._append(self.namespace, plain, ttl=ttl, index=index)

    def _pop(self) -> Operation[TypedItem[T] | None]:
        """Delete the item with the greatest key and return it; ``None`` if there is none.

        It is read first, and deleted only if its value is of the type.

        Raises:
            TypeMismatch: its value is not of the type. It was not deleted.
            Conflict: others were faster at each of many attempts. Nothing was deleted.
        """
        return named("pop", self._popped())

    def _batch(self, operations: Sequence[ItemOperation]) -> Operation[list[Any]]:
        """Do several operations in order, as :meth:`ItemRepository.batch` does.

        Args:
            operations: all of them on this namespace. :meth:`prepare_put` makes a ``PutItem`` of a typed value.

        Returns:
            What ``get``, ``put`` and ``delete`` return, ``None`` for a :class:`~statekeep.CheckItem`, and a list of
            items for a :class:`~statekeep.ListItems`, in the same order.

        Raises:
            Conflict: an expectation does not hold. Nothing was written.
            InvalidInput: a value is not of the type, or an operation is on another namespace. Nothing was written.

        Example:
            >>> import statekeep
            >>> scores = statekeep.connect("memory:").items.of(list[int], ("scores",))
            >>> put = scores.prepare_put("ada", [1, 2])
            >>> stored, read = scores.batch([put, statekeep.GetItem(namespace=("scores",), key="ada")])
            >>> stored.version, read.value
            (1, [1, 2])
        """
        batch = self._items._batch(operations)
        for operation in operations:
            if operation.namespace != self.namespace:
                raise InvalidInput(
                    f"operations must all be on the namespace {shown(self.namespace, 200)}, got one on "
                    f"{shown(operation.namespace, 200)}",
                    field="operations",
                )
            if isinstance(operation, PutItem):
                self._values.check(operation.value, "operations")
        return named("batch", self._done(batch))

    def prepare_put(
        self,
        key: str,
        value: T,
        *,
        ttl: Ttl = DEFAULT,
        expected: Expectation = ANY,
        index: Sequence[str] | bool | None = None,
    ) -> PutItem:
        """Return the operation that puts a value, for a ``batch``.

        Nothing is written yet.

        Args:
            key: any text.
            value: as for :meth:`put`.
            ttl: as for :meth:`put`.
            expected: as for :meth:`put`.
            index: as for :meth:`put`.
        """
        plain, _ = self._values.encode(value, "value")
        return PutItem(namespace=self.namespace, key=key, value=plain, ttl=ttl, expected=expected, index=index)

    # -- the parts

    def _write(
        self, key: str, value: T, ttl: Ttl, expected: Expectation, index: Sequence[str] | bool | None
    ) -> Operation[TypedItem[T]]:
        plain, read_back = self._values.encode(value, "value")
        put = self._items._put(self.namespace, key, plain, ttl=ttl, expected=expected, index=index)
        return self._written(put, read_back)

    def _written(self, put: Operation[Item], value: T) -> Operation[TypedItem[T]]:
        return with_value(TypedItem, (yield from put), value)

    def _updated(
        self,
        first: Operation[Item | None],
        key: str,
        change: Callable[[T], T],
        default: T | Literal[Required.REQUIRED],
        ttl: Ttl,
        index: Sequence[str] | bool | None,
        attempts: int,
    ) -> Operation[TypedItem[T]]:
        read = first
        last: Conflict | None = None
        for _ in range(attempts):
            item = yield from self._read(read)
            if item is not None:
                value = item.value
            elif default is REQUIRED:
                raise InvalidInput("there is no item to change: put it first, or pass default=", field="default")
            else:
                _, value = self._values.encode(default, "default")  # a copy: it may be changed several times
            write = self._write(key, change(value), ttl, item, index)
            try:
                return (yield from write)
            except Conflict as error:
                last = error
            read = self._items._get(self.namespace, key, refresh=False)
        raise _overtaken("changed", key, attempts, last) from last

    def _popped(self) -> Operation[TypedItem[T] | None]:
        last: Conflict | None = None
        key = ""
        for _ in range(ATTEMPTS):
            item = yield from self._greatest()
            if item is None:
                return None
            key = item.key
            try:
                if (yield from self._items._delete(self.namespace, key, expected=item)):
                    return item
            except Conflict as error:
                last = error
        raise _overtaken("popped or changed", key, ATTEMPTS, last) from last

    def _greatest(self) -> Operation[TypedItem[T] | None]:
        pages = self._list(limit=1, reverse=True, refresh=False)
        page = yield from pages(None)
        while not page.items and page.cursor is not None:
            page = yield from pages(page.cursor)
        return page.items[0] if page.items else None

    def _done(self, batch: Operation[list[Any]]) -> Operation[list[Any]]:
        results = yield from unparsed(batch)
        return [self._typed_result(result) for result in results]

    def _typed_result(self, result: Any) -> Any:
        if isinstance(result, list):
            return [self._typed(item) for item in result]
        return self._typed(result) if isinstance(result, Item) else result


def _overtaken(what: str, key: str, attempts: int, last: Conflict | None) -> Conflict:
    return Conflict(
        f"others {what} the item at each of {attempts} attempts; nothing was written",
        expected=None if last is None else last.expected,
        actual=None if last is None else last.actual,
        key=key,
    )


class TypedItems(_Operations[T]):
    """Items of one namespace whose values are of one type, for blocking code.

    :meth:`ItemRepository.of` makes one. The type is any that pydantic's ``TypeAdapter`` knows. It may be shared by
    threads.

    Attributes:
        namespace: that of all its items.

    Example:
        >>> import statekeep
        >>> from pydantic import BaseModel
        >>> class Profile(BaseModel):
        ...     name: str
        ...     age: int = 0
        >>> with statekeep.connect("memory:") as keep:
        ...     people = keep.items.of(Profile, ("people",))
        ...     item = people.put("ada", Profile(name="Ada"))
        ...     item = people.update("ada", lambda profile: profile.model_copy(update={"age": 36}))
        ...     people.get("ada").value
        Profile(name='Ada', age=36)
    """

    get = blocking(_Operations[T]._get)
    put = blocking(_Operations[T]._put)
    update = blocking(_Operations[T]._update)
    delete = blocking(_Operations[T]._delete)
    list = iterating(_Operations[T]._list)
    keys = iterating(_Operations[T]._keys)
    append = blocking(_Operations[T]._append)
    pop = blocking(_Operations[T]._pop)
    search = blocking(_Operations[T]._search)
    batch = blocking(_Operations[T]._batch)


class AsyncTypedItems(_Operations[T]):
    """Items of one namespace whose values are of one type, for asyncio code.

    :meth:`AsyncItemRepository.of` makes one. See :class:`TypedItems`.

    Attributes:
        namespace: that of all its items.

    Example:
        >>> import asyncio, statekeep
        >>> async def main() -> int:
        ...     async with statekeep.aconnect("memory:") as keep:
        ...         visits = keep.items.of(int, ("visits",))
        ...         return (await visits.update("ada", lambda number: number + 1, default=0)).value
        >>> asyncio.run(main())
        1
    """

    get = awaiting(_Operations[T]._get)
    put = awaiting(_Operations[T]._put)
    update = awaiting(_Operations[T]._update)
    delete = awaiting(_Operations[T]._delete)
    list = aiterating(_Operations[T]._list)
    keys = aiterating(_Operations[T]._keys)
    append = awaiting(_Operations[T]._append)
    pop = awaiting(_Operations[T]._pop)
    search = awaiting(_Operations[T]._search)
    batch = awaiting(_Operations[T]._batch)
