"""Caches of what language models answer, over cache entries."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from typing import Any, Final, Self, Unpack

from langchain_core.caches import BaseCache
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, Generation, GenerationChunk

from ...domain import DEFAULT, CacheEntry, InvalidInput, Payload, Serializer, dump, load
from ...domain.cache import CacheKey
from ...domain.model import Ttl
from ...domain.shown import shown
from ...repositories.cache import (
    OUTAGES,
    AsyncCacheRepository,
    CacheRepository,
    OnError,
    checked_on_error,
    unanswered,
    unreadable,
)
from ...repositories.connect import connect
from ...repositories.faces import closing_on_error
from ...repositories.options import ConnectOptions
from ...repositories.validation import labels, ttl_or_default
from ..backends import KeepsCache, cache_backend
from ..serializers import checked_serializer
from .connected import Connected
from .messages import dict_of, message_of

logger = logging.getLogger("statekeep.cache")

_GENERATIONS: Final[dict[str, type[Generation]]] = {
    kind.__name__: kind for kind in (Generation, GenerationChunk, ChatGeneration, ChatGenerationChunk)
}


class StatekeepLLMCache(Connected, BaseCache):
    """Answers of language models, for ``set_llm_cache`` and the ``cache=`` of models.

    It implements ``BaseCache`` in both faces. Use it in several tasks, threads and processes at once.

    An answer that cannot be stored, or what is stored and cannot be read, is not an error: the model is asked, and the
    logger ``statekeep.cache`` says why.

    Args:
        keep: where answers are kept: a connection of :func:`statekeep.connect` or :func:`statekeep.aconnect`, or its
            ``cache``. You close it.
        namespace: labels of the entries; :meth:`clear` removes exactly these.
        ttl: seconds that an answer is kept, fractions allowed; ``None`` for ever, :data:`~statekeep.DEFAULT` for what
            the connection was made with.
        serializer: serializes each answer, which is made of plain dicts and lists; ``None`` for
            JSON, in which Python's own types come back as they were.
        on_error: how an outage is handled: ``"raise"``, or ``"miss"`` to ask the model, as an empty cache would.

    Raises:
        InvalidInput: an argument is wrong.
        Unsupported: the connection's service keeps no cache entries.

    Example:
        >>> import statekeep
        >>> with statekeep.connect("memory:") as keep:
        ...     cache = StatekeepLLMCache(keep, ttl=3600)
        ...     cache.update("Tea?", "model", [Generation(text="Earl Grey")])
        ...     cache.lookup("Tea?", "model")
        [Generation(text='Earl Grey')]
    """

    def __init__(
        self,
        keep: KeepsCache,
        *,
        namespace: Sequence[str] = ("langchain", "llm"),
        ttl: Ttl = DEFAULT,
        serializer: Serializer | None = None,
        on_error: OnError = "raise",
    ) -> None:
        self._namespace = labels("namespace", namespace)
        self._ttl = ttl_or_default(ttl)
        self._serializer = checked_serializer(serializer)
        self._on_error = checked_on_error(on_error)
        backend = cache_backend(keep)
        self._cache, self._acache = CacheRepository(backend), AsyncCacheRepository(backend)

    @classmethod
    def from_url(
        cls,
        url: str,
        *,
        namespace: Sequence[str] = ("langchain", "llm"),
        ttl: float | None = None,
        serializer: Serializer | None = None,
        on_error: OnError = "raise",
        prefix: str = "statekeep",
        **options: Unpack[ConnectOptions],
    ) -> Self:
        """Open a connection for this cache alone, which :meth:`close` closes.

        Args:
            url: as for :func:`statekeep.connect`.
            namespace: as for the class.
            ttl: as for the class; ``None`` for ever.
            serializer: as for the class.
            on_error: as for the class.
            prefix: as for :func:`statekeep.connect`.
            options: as for :func:`statekeep.connect`.

        Raises:
            InvalidInput: an argument is wrong.
            Unsupported: the URL's service keeps no cache entries.

        Example:
            >>> with StatekeepLLMCache.from_url("memory:") as cache:
            ...     print(cache.lookup("Tea?", "model"))
            None
        """
        keep = connect(url, prefix=prefix, ttl=ttl, **options)
        with closing_on_error(keep.close):
            cache = cls(keep, namespace=namespace, serializer=serializer, on_error=on_error)
        cache._own = keep
        return cache

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return the answer to a prompt, ``None`` if there is none: one round trip.

        Args:
            prompt: the prompt, or the messages as text.
            llm_string: the model with its parameters, as text.
        """
        key = self._key(prompt, llm_string)
        try:
            return self._answer(key, self._cache.get([key]).get(key))
        except OUTAGES as error:
            self._outage(error)
            return None

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """As :meth:`lookup`.

        Args:
            prompt: as for that.
            llm_string: as for that.
        """
        key = self._key(prompt, llm_string)
        try:
            return self._answer(key, (await self._acache.get([key])).get(key))
        except OUTAGES as error:
            self._outage(error)
            return None

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store the answer to a prompt, in place of what is there: one round trip.

        Args:
            prompt: as for :meth:`lookup`.
            llm_string: as for :meth:`lookup`.
            return_val: the answer.
        """
        key = self._key(prompt, llm_string)
        if (payload := self._payload(key, return_val)) is not None:
            try:
                self._cache.set({key: (payload, self._ttl)})
            except OUTAGES as error:
                self._outage(error)

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """As :meth:`update`.

        Args:
            prompt: as for that.
            llm_string: as for that.
            return_val: as for that.
        """
        key = self._key(prompt, llm_string)
        if (payload := self._payload(key, return_val)) is not None:
            try:
                await self._acache.set({key: (payload, self._ttl)})
            except OUTAGES as error:
                self._outage(error)

    def clear(self, **_: Any) -> None:
        """Remove all answers of the namespace, whatever ``on_error`` is."""
        self._cache.clear([self._namespace])

    async def aclear(self, **_: Any) -> None:
        """As :meth:`clear`."""
        await self._acache.clear([self._namespace])

    def _key(self, prompt: str, llm_string: str) -> CacheKey:
        # As JSON, two pairs of texts are never the same text.
        return self._namespace, hashlib.sha256(json.dumps([prompt, llm_string]).encode()).hexdigest()

    def _payload(self, key: CacheKey, generations: Sequence[Generation]) -> Payload | None:
        try:
            return dump(self._serializer, [_dict_of(generation) for generation in generations], "an answer")
        except Exception as error:
            logger.warning("an answer is not cached under %r: %s: %s", key, type(error).__name__, error)
            return None

    def _answer(self, key: CacheKey, entry: CacheEntry | None) -> list[Generation] | None:
        if entry is None:
            return None
        try:
            return [_generation_of(value) for value in load(self._serializer, entry.payload)]
        except Exception as error:
            unreadable(error, key)
            return None

    def _outage(self, error: Any) -> None:
        if self._on_error == "raise":
            raise error
        unanswered(error)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._cache!r}, {self._namespace!r})"


def _dict_of(generation: Generation) -> dict[str, Any]:
    kind = type(generation).__name__
    if _GENERATIONS.get(kind) is not type(generation):
        raise InvalidInput(f"{shown(type(generation))} is no generation of langchain-core itself", field="return_val")
    found: dict[str, Any] = {"kind": kind, "generation_info": generation.generation_info}
    if isinstance(generation, ChatGeneration):
        return {**found, "message": dict_of(generation.message, "message")}
    return {**found, "text": generation.text}


def _generation_of(value: dict[str, Any]) -> Generation:
    fields = dict(value)
    kind = _GENERATIONS[fields.pop("kind")]
    if "message" in fields:
        fields["message"] = message_of(fields["message"])
    return kind(**fields)
