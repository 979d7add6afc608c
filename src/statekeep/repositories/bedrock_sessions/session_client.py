"""The operations of the service itself, with typed requests and answers.

Checkpoints do without them; they are for sessions that your program makes and reads on its own.
"""

from __future__ import annotations

from typing import Any, Self, TypeVar

from pydantic.alias_generators import to_pascal

from ...domain import InvalidInput, Unavailable
from ..aws import AwsCall, AwsSettings, NotFound, open_client
from ..aws.errors import BEDROCK_SESSIONS
from ..faces import Awaiting, Blocking, Repository, awaiting, blocking
from ..operation import Operation, named
from .backend import BedrockSessionCheckpoints
from .models import (
    CreateInvocationRequest,
    CreateInvocationResponse,
    CreateSessionRequest,
    CreateSessionResponse,
    DeleteSessionRequest,
    EndSessionRequest,
    EndSessionResponse,
    GetInvocationStepRequest,
    GetInvocationStepResponse,
    GetSessionRequest,
    GetSessionResponse,
    ListInvocationsRequest,
    ListInvocationsResponse,
    ListInvocationStepsRequest,
    ListInvocationStepsResponse,
    ListSessionsRequest,
    ListSessionsResponse,
    Part,
    PutInvocationStepRequest,
    PutInvocationStepResponse,
    Request,
    UpdateSessionRequest,
    UpdateSessionResponse,
)

__all__ = ["AsyncBedrockAgentRuntimeSessionClient", "BedrockAgentRuntimeSessionClient"]

RequestT = TypeVar("RequestT", bound=Request)
AnswerT = TypeVar("AnswerT", bound=Part)


class _Operations(Repository[BedrockSessionCheckpoints]):
    """The constructor, and the bodies of the methods."""

    kind = "sessions"

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
    ) -> None:
        settings = AwsSettings(
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
        super().__init__(BedrockSessionCheckpoints(open_client(BEDROCK_SESSIONS, settings)))

    @classmethod
    def sharing(cls, backend: BedrockSessionCheckpoints) -> Self:
        """Return one over the client of a backend."""
        made = cls.__new__(cls)
        Repository.__init__(made, backend)
        return made

    @property
    def client(self) -> Any:
        """The client of boto3."""
        return self.backend.client.client

    def _create_session(
        self, /, request: CreateSessionRequest | None = None, **fields: Any
    ) -> Operation[CreateSessionResponse]:
        """Make a session.

        Args:
            request: the request; may be left out.
            fields: those of the request, instead of it.

        Raises:
            InvalidInput: a field is wrong; ``field`` names it.
        """
        return _call("create_session", CreateSessionRequest, request, fields, CreateSessionResponse)

    def _get_session(self, /, request: GetSessionRequest | None = None, **fields: Any) -> Operation[GetSessionResponse]:
        """Return a session.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            InvalidInput: a field is wrong, or there is no such session.
        """
        return _call("get_session", GetSessionRequest, request, fields, GetSessionResponse)

    def _update_session(
        self, /, request: UpdateSessionRequest | None = None, **fields: Any
    ) -> Operation[UpdateSessionResponse]:
        """Replace the metadata of a session.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            Conflict: the session is ended or expired.
            InvalidInput: a field is wrong, or there is no such session.
        """
        return _call("update_session", UpdateSessionRequest, request, fields, UpdateSessionResponse)

    def _end_session(self, /, request: EndSessionRequest | None = None, **fields: Any) -> Operation[EndSessionResponse]:
        """End a session: it can be read and deleted, not written any more.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            Conflict: the session is ended or expired already.
            InvalidInput: a field is wrong, or there is no such session.
        """
        return _call("end_session", EndSessionRequest, request, fields, EndSessionResponse)

    def _delete_session(self, /, request: DeleteSessionRequest | None = None, **fields: Any) -> Operation[None]:
        """Delete a session with all that is in it. End it first.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            Conflict: the session is active.
            InvalidInput: a field is wrong, or there is no such session.
        """
        return _call("delete_session", DeleteSessionRequest, request, fields, None)

    def _list_sessions(
        self, /, request: ListSessionsRequest | None = None, **fields: Any
    ) -> Operation[ListSessionsResponse]:
        """Return a page of the sessions of the account.

        Args:
            request: the request; may be left out.
            fields: those of the request, instead of it.

        Raises:
            InvalidInput: a field is wrong.
        """
        return _call("list_sessions", ListSessionsRequest, request, fields, ListSessionsResponse)

    def _create_invocation(
        self, /, request: CreateInvocationRequest | None = None, **fields: Any
    ) -> Operation[CreateInvocationResponse]:
        """Make an invocation in a session.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            Conflict: the session is closed, or has an invocation of this id.
            InvalidInput: a field is wrong, or there is no such session.
        """
        return _call("create_invocation", CreateInvocationRequest, request, fields, CreateInvocationResponse)

    def _list_invocations(
        self, /, request: ListInvocationsRequest | None = None, **fields: Any
    ) -> Operation[ListInvocationsResponse]:
        """Return a page of the invocations of a session.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            InvalidInput: a field is wrong, or there is no such session.
        """
        return _call("list_invocations", ListInvocationsRequest, request, fields, ListInvocationsResponse)

    def _put_invocation_step(
        self, /, request: PutInvocationStepRequest | None = None, **fields: Any
    ) -> Operation[PutInvocationStepResponse]:
        """Add a step to an invocation.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            Conflict: the session is closed, or has a step of this id.
            InvalidInput: a field is wrong, or there is no such session or invocation.
            QuotaExceeded: the session has 1,000 steps, or the step is too large.
        """
        return _call("put_invocation_step", PutInvocationStepRequest, request, fields, PutInvocationStepResponse)

    def _get_invocation_step(
        self, /, request: GetInvocationStepRequest | None = None, **fields: Any
    ) -> Operation[GetInvocationStepResponse]:
        """Return a step with its content.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            InvalidInput: a field is wrong, or there is no such session, invocation or step.
        """
        return _call("get_invocation_step", GetInvocationStepRequest, request, fields, GetInvocationStepResponse)

    def _list_invocation_steps(
        self, /, request: ListInvocationStepsRequest | None = None, **fields: Any
    ) -> Operation[ListInvocationStepsResponse]:
        """Return a page of the steps of a session or an invocation, without content.

        Args:
            request: the request.
            fields: those of the request, instead of it.

        Raises:
            InvalidInput: a field is wrong, or there is no such session or invocation.
        """
        return _call("list_invocation_steps", ListInvocationStepsRequest, request, fields, ListInvocationStepsResponse)


class BedrockAgentRuntimeSessionClient(_Operations, Blocking[BedrockSessionCheckpoints]):
    """The session operations of ``bedrock-agent-runtime``, blocking.

    Each takes a request, or its fields as keywords, and returns an answer. Errors are those of Statekeep. May be
    shared by threads.

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

    Attributes:
        client: the client of boto3.

    Raises:
        InvalidInput: an argument is wrong, or no region is known.
        MissingDependency: boto3 is not installed.

    Example:
        >>> from statekeep.testing.aws import AwsEmulator
        >>> with AwsEmulator() as aws, BedrockAgentRuntimeSessionClient(session=aws.session()) as sessions:
        ...     made = sessions.create_session(session_metadata={"user": "ada"})
        ...     sessions.get_session(GetSessionRequest(session_identifier=made.session_id)).session_status
        'ACTIVE'
    """

    create_session = blocking(_Operations._create_session)
    get_session = blocking(_Operations._get_session)
    update_session = blocking(_Operations._update_session)
    end_session = blocking(_Operations._end_session)
    delete_session = blocking(_Operations._delete_session)
    list_sessions = blocking(_Operations._list_sessions)
    create_invocation = blocking(_Operations._create_invocation)
    list_invocations = blocking(_Operations._list_invocations)
    put_invocation_step = blocking(_Operations._put_invocation_step)
    get_invocation_step = blocking(_Operations._get_invocation_step)
    list_invocation_steps = blocking(_Operations._list_invocation_steps)


class AsyncBedrockAgentRuntimeSessionClient(_Operations, Awaiting[BedrockSessionCheckpoints]):
    """The session operations of ``bedrock-agent-runtime``, for event loops.

    As :class:`BedrockAgentRuntimeSessionClient`, with the same arguments. boto3 is called in threads of its own.

    Example:
        >>> import asyncio
        >>> from statekeep.testing.aws import AwsEmulator
        >>> async def main(aws: AwsEmulator) -> str:
        ...     async with AsyncBedrockAgentRuntimeSessionClient(session=aws.session()) as sessions:
        ...         return (await sessions.create_session()).session_status
        >>> with AwsEmulator() as aws:
        ...     asyncio.run(main(aws))
        'ACTIVE'
    """

    create_session = awaiting(_Operations._create_session)
    get_session = awaiting(_Operations._get_session)
    update_session = awaiting(_Operations._update_session)
    end_session = awaiting(_Operations._end_session)
    delete_session = awaiting(_Operations._delete_session)
    list_sessions = awaiting(_Operations._list_sessions)
    create_invocation = awaiting(_Operations._create_invocation)
    list_invocations = awaiting(_Operations._list_invocations)
    put_invocation_step = awaiting(_Operations._put_invocation_step)
    get_invocation_step = awaiting(_Operations._get_invocation_step)
    list_invocation_steps = awaiting(_Operations._list_invocation_steps)


def _call(
    name: str,
    kind: type[RequestT],
    request: RequestT | None,
    fields: dict[str, Any],
    answer: type[AnswerT] | None,
) -> Operation[Any]:
    """Return the operation of a method: one call."""
    if request is None:
        request = kind(**fields)
    elif not isinstance(request, kind):
        raise InvalidInput(f"request must be a {kind.__name__}, got {type(request).__name__}", field="request")
    elif fields:
        raise InvalidInput(f"request is given, so {min(fields)} cannot be given too", field=min(fields))
    return named(name, _answered(AwsCall(to_pascal(name), request.arguments()), request, answer))


def _answered(call: AwsCall, request: Request, answer: type[AnswerT] | None) -> Operation[AnswerT | None]:
    try:
        reply = yield call
    except NotFound as error:
        raise InvalidInput(str(error), field=_missing(request, str(error))) from error.__cause__
    if answer is None:
        return None
    try:
        return answer(**{name: value for name, value in reply.items() if name != "ResponseMetadata"})
    except InvalidInput as error:
        raise Unavailable(
            f"{BEDROCK_SESSIONS} {call.operation}: the answer is not the service's: {error}; check endpoint_url"
        ) from error


def _missing(request: Request, text: str) -> str:
    """Return the field that names what is not there.

    The one of which the service speaks, or the last one.
    """
    names = [name for name in type(request).model_fields if name.endswith(("_identifier", "_step_id"))]
    given = [name for name in names if getattr(request, name) is not None]
    return next((name for name in given if getattr(request, name) in text), given[-1])
