"""LangGraph's checkpointers in sessions of Amazon Bedrock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MethodType
from typing import Any, ClassVar, TypeVar, cast

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.base import SerializerProtocol

from ...repositories.bedrock_sessions import (
    AsyncBedrockAgentRuntimeSessionClient,
    BedrockAgentRuntimeSessionClient,
    BedrockSessionCheckpoints,
    open_checkpoints,
)
from ...repositories.bedrock_sessions.backend import INLINE
from ...repositories.encrypted_metadata import Encrypt
from ..faces import Blocking
from ..serializers import Strict, chosen_serde
from .base import AsyncRepositorySaver, RepositorySaver, Saver
from .config import identifier

__all__ = ["AsyncBedrockSessionSaver", "BedrockSessionSaver"]

MethodT = TypeVar("MethodT", bound=Callable[..., Any])


class _NotThere:
    """A method that the service cannot serve, or in part.

    Of the class it is LangGraph's own, which no saver overrides that lacks it: by that programs tell what a saver can
    do. Of a saver it says why not.
    """

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __get__(self, saver: Any, owner: type[Any] | None = None) -> Any:
        if saver is None:
            return getattr(BaseCheckpointSaver, self._method.__name__)
        return MethodType(self._method, saver)


def _not_there(method: MethodT) -> MethodT:
    return cast(MethodT, _NotThere(method))


class _BedrockSessions(Saver):
    """The constructor of both savers, and their own methods."""

    _plain: BedrockSessionCheckpoints
    _session_client: ClassVar[type[BedrockAgentRuntimeSessionClient] | type[AsyncBedrockAgentRuntimeSessionClient]]
    session_client: Any

    def __init__(
        self,
        client: Any = None,
        session: Any = None,
        region_name: str | None = None,
        credentials_profile_name: str | None = None,
        aws_access_key_id: Any = None,
        aws_secret_access_key: Any = None,
        aws_session_token: Any = None,
        endpoint_url: str | None = None,
        config: Any = None,
        *,
        serde: SerializerProtocol | None = None,
        strict: Strict = False,
        encrypt_metadata: Encrypt = False,
        inline: int = INLINE,
    ) -> None:
        serde = chosen_serde(serde, strict)
        backend = open_checkpoints(
            inline=inline,
            client=client,
            session=session,
            region_name=region_name,
            credentials_profile_name=credentials_profile_name,
            aws_access_key_id=aws_access_key_id,
            aws_secret_access_key=aws_secret_access_key,
            aws_session_token=aws_session_token,
            endpoint_url=endpoint_url,
            config=config,
        )
        try:
            Saver.__init__(self, backend, serde, False, encrypt_metadata)
        except BaseException:
            backend.close()
            raise
        self.session_client = self._session_client.sharing(backend)

    def create_thread(
        self,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        encryption_key: str | None = None,
    ) -> str:
        """Make a session, and return its id: the ``thread_id`` of a new thread.

        Args:
            metadata: of the session, at most 50 pairs.
            tags: of the session, at most 200.
            encryption_key: ARN of a KMS key; one of AWS's own is used otherwise.

        Raises:
            InvalidInput: the service refuses one of them.
        """
        return self._run(self._plain.creating(metadata, tags, encryption_key), "checkpoints.create_thread")

    async def acreate_thread(
        self,
        metadata: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
        encryption_key: str | None = None,
    ) -> str:
        """As :meth:`create_thread`."""
        return await self._arun(self._plain.creating(metadata, tags, encryption_key), "checkpoints.create_thread")

    def continue_thread(self, thread_id: str) -> str:
        """Go on from a thread whose session is expired, ended or full.

        Make another session, and return its id: the ``thread_id`` to go on with. It has the newest checkpoint of each
        namespace, with its pending writes: interrupts can be answered, failed tasks tried again. The former thread
        stays as it is.

        Args:
            thread_id: the former thread.

        Raises:
            InvalidInput: there is no such session.
        """
        return self._run(self._plain.continuing(identifier(thread_id, "thread_id")), "checkpoints.continue_thread")

    async def acontinue_thread(self, thread_id: str) -> str:
        """As :meth:`continue_thread`."""
        return await self._arun(
            self._plain.continuing(identifier(thread_id, "thread_id")), "checkpoints.continue_thread"
        )

    def steps_left(self, thread_id: str) -> int:
        """Return how many of its 1,000 steps the session of a thread has left: one call.

        A superstep of n parallel tasks takes n + 1 of them.

        Raises:
            InvalidInput: there is no such session.
        """
        return self._run(self._plain.counting(identifier(thread_id, "thread_id")), "checkpoints.steps_left")

    async def asteps_left(self, thread_id: str) -> int:
        """As :meth:`steps_left`."""
        return await self._arun(self._plain.counting(identifier(thread_id, "thread_id")), "checkpoints.steps_left")

    # The service deletes no steps of a session.

    @_not_there
    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Refuse: raise :class:`~statekeep.Unsupported`."""
        Saver.delete_for_runs(self, run_ids)

    @_not_there
    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As :meth:`delete_for_runs`."""
        await Saver.adelete_for_runs(self, run_ids)

    @_not_there
    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest", **options: Any) -> None:
        """Delete threads if ``strategy`` is ``"delete"``.

        Raises:
            Unsupported: it is ``"keep_latest"``.
        """
        Saver.prune(self, thread_ids, strategy=strategy, **options)

    @_not_there
    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest", **options: Any) -> None:
        """As :meth:`prune`."""
        await Saver.aprune(self, thread_ids, strategy=strategy, **options)


class BedrockSessionSaver(_BedrockSessions, RepositorySaver):
    """A LangGraph checkpointer in sessions of Amazon Bedrock.

    A thread is a session: ``create_thread`` makes one, and its id is the ``thread_id``. It takes 1,000 steps, nobody
    can write to it after an hour without a write, and it is gone after 30 days; ``continue_thread`` goes on in another
    one. Serves ``invoke`` and ``ainvoke``, which calls boto3 in threads of its own. May be shared by threads and tasks.

    Args:
        client: of boto3, ``boto3.client("bedrock-agent-runtime")``, which is never closed; nothing else beside it.
        session: of boto3.
        region_name: such as ``"us-west-2"``.
        credentials_profile_name: profile of the AWS configuration files.
        aws_access_key_id: text or ``SecretStr``.
        aws_secret_access_key: text or ``SecretStr``.
        aws_session_token: text or ``SecretStr``, for temporary credentials.
        endpoint_url: another address of the service, such as an emulator's.
        config: of botocore.
        serde: serializes values; LangGraph's JsonPlusSerializer by default. Metadata, with what configs have under
            ``configurable``, is stored in clear text even if it encrypts, to be filtered by: see ``encrypt_metadata``.
        strict: only objects of known types are made of what is stored: ``True``, or a list of types to allow; see
            :class:`~statekeep.langgraph_shim.StrictSerializer`. Recommended. Not with ``serde``.
        encrypt_metadata: encrypt metadata, too, with ``serde``: ``True``, or a list of names that stay readable, by
            which alone ``list`` can filter then. See
            :class:`~statekeep.repositories.encrypted_metadata.EncryptedMetadata`.
        inline: bytes up to which a channel value is stored within each checkpoint that has it.

    Attributes:
        session_client: the operations of the service, over the same client:
            :class:`~statekeep.repositories.bedrock_sessions.BedrockAgentRuntimeSessionClient`.
        serde: the serializer.

    Raises:
        InvalidInput: an argument is wrong, or no region is known.
        MissingDependency: boto3 is not installed.

    Example:
        >>> from langgraph.graph import StateGraph
        >>> from statekeep.testing.aws import AwsEmulator
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> with AwsEmulator() as aws, BedrockSessionSaver(session=aws.session()) as saver:
        ...     graph = builder.compile(checkpointer=saver)
        ...     graph.invoke(1, {"configurable": {"thread_id": saver.create_thread()}})
        2
    """

    _session_client = BedrockAgentRuntimeSessionClient
    session_client: BedrockAgentRuntimeSessionClient


class AsyncBedrockSessionSaver(_BedrockSessions, Blocking, AsyncRepositorySaver):
    """A LangGraph checkpointer in sessions of Amazon Bedrock, for ``ainvoke``.

    As :class:`BedrockSessionSaver`, with the same arguments. Sync methods answer in threads without a running event
    loop, such as those of an async graph's sync nodes. In the loop's own thread they raise ``WrongEventLoop``, because
    they would block it.

    Attributes:
        session_client: the operations of the service, to be awaited:
            :class:`~statekeep.repositories.bedrock_sessions.AsyncBedrockAgentRuntimeSessionClient`.
        serde: the serializer.

    Example:
        >>> import asyncio
        >>> from langgraph.graph import StateGraph
        >>> from statekeep.testing.aws import AwsEmulator
        >>> builder = StateGraph(int).add_node("add_one", lambda x: x + 1)
        >>> builder = builder.set_entry_point("add_one").set_finish_point("add_one")
        >>> async def main(aws: AwsEmulator) -> int:
        ...     async with AsyncBedrockSessionSaver(session=aws.session()) as saver:
        ...         graph = builder.compile(checkpointer=saver)
        ...         return await graph.ainvoke(1, {"configurable": {"thread_id": await saver.acreate_thread()}})
        >>> with AwsEmulator() as aws:
        ...     asyncio.run(main(aws))
        2
    """

    _session_client = AsyncBedrockAgentRuntimeSessionClient
    session_client: AsyncBedrockAgentRuntimeSessionClient
