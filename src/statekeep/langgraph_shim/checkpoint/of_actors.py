"""Savers whose threads belong to actors."""

from __future__ import annotations

from copy import copy
from typing import Any, Final, Self, TypeVar, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple

from ...repositories.checkpoints import CheckpointBackend
from ...repositories.encrypted_metadata import EncryptedMetadata
from ...repositories.operation import Operation
from . import actors
from .base import RepositorySaver

ResultT = TypeVar("ResultT")

ACTORS: Final = 256
"""Actors whose savers are kept for the next call."""


class SaverOfActors(RepositorySaver):
    """Picks the backend of the actor whom a config names.

    The configs that it returns name the actor, too.
    """

    actor_id: str
    _is_of_config = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._savers: dict[str, Self] = {}

    def __getstate__(self) -> dict[str, Any]:
        # A copy may get another serializer, as LangGraph's with_allowlist does: it makes savers of its own.
        return self.__dict__ | {"_savers": {}}

    def _backend_of(self, actor_id: str) -> CheckpointBackend:
        """Return the backend of an actor's threads."""
        raise NotImplementedError

    def _at(self, config: Any) -> Self:
        actor_id = actors.actor_of(config)
        return self if actor_id is None else self._of(actor_id)

    def _of(self, actor_id: str) -> Self:
        """Return the saver of an actor; the configs that it returns name the actor."""
        saver = self._savers.get(actor_id)
        if saver is None or saver.serde is not self.serde:
            saver = copy(self)
            saver._plain = backend = self._backend_of(actor_id)
            saver._backend = self._backend.over(backend) if isinstance(self._backend, EncryptedMetadata) else backend
            saver._execute, saver._aexecute = backend.execute, backend.aexecute
            saver.actor_id, saver._is_of_config = actor_id, True
            if len(self._savers) >= ACTORS:
                self._savers.clear()
            self._savers[actor_id] = saver
        return saver

    def _run(self, operation: Operation[ResultT], name: str = "", where: object = None) -> ResultT:
        return self._owned(super()._run(operation, name, where))

    async def _arun(self, operation: Operation[ResultT], name: str = "", where: object = None) -> ResultT:
        return self._owned(await super()._arun(operation, name, where))

    def _owned(self, result: ResultT) -> ResultT:
        found: Any = result
        if not self._is_of_config:
            return result
        if isinstance(found, CheckpointTuple):
            parent = found.parent_config
            found = found._replace(
                config=actors.owned(found.config, self.actor_id),
                parent_config=actors.owned(parent, self.actor_id) if parent else None,
            )
        elif isinstance(found, dict) and "configurable" in found:
            found = actors.owned(cast(RunnableConfig, found), self.actor_id)
        return cast(ResultT, found)
