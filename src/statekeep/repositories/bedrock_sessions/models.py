"""Requests and answers of the sessions of Amazon Bedrock.

Fields have Python's names, and the service's (``sessionId``) as aliases: both are taken, and
``model_dump(by_alias=True)`` returns the latter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, model_validator
from pydantic.alias_generators import to_camel

from ...domain import InvalidInput
from ...domain.model import Model
from ...domain.shown import shown
from .ids import session_of
from .steps import PAGE

__all__ = [
    "BedrockSessionContentBlock",
    "CreateInvocationRequest",
    "CreateInvocationResponse",
    "CreateSessionRequest",
    "CreateSessionResponse",
    "DeleteSessionRequest",
    "EndSessionRequest",
    "EndSessionResponse",
    "GetInvocationStepRequest",
    "GetInvocationStepResponse",
    "GetSessionRequest",
    "GetSessionResponse",
    "ImageBlock",
    "ImageSource",
    "InvocationStep",
    "InvocationStepPayload",
    "InvocationStepSummary",
    "InvocationSummary",
    "ListInvocationStepsRequest",
    "ListInvocationStepsResponse",
    "ListInvocationsRequest",
    "ListInvocationsResponse",
    "ListSessionsRequest",
    "ListSessionsResponse",
    "PutInvocationStepRequest",
    "PutInvocationStepResponse",
    "S3Location",
    "SessionSummary",
    "UpdateSessionRequest",
    "UpdateSessionResponse",
]

_UUID: Final = re.compile("[a-f0-9]{8}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{4}-[a-f0-9]{12}")


def _session(value: str, info: ValidationInfo) -> str:
    session_of(value, str(info.field_name))
    return value


def _uuid(value: str, info: ValidationInfo) -> str:
    if not _UUID.fullmatch(value):
        raise InvalidInput(f"{info.field_name} must be a UUID in lower case, got {shown(value)}", field=info.field_name)
    return value


SessionIdentifier = Annotated[str, AfterValidator(_session)]
"""The id or the ARN of a session."""

Uuid = Annotated[str, AfterValidator(_uuid)]
"""A UUID in lower case, such as ``str(uuid.uuid4())``."""

Metadata = Annotated[
    Mapping[Annotated[str, Field(min_length=1, max_length=100)], Annotated[str, Field(max_length=5000)]],
    Field(max_length=50),
]
Tags = Annotated[
    Mapping[Annotated[str, Field(min_length=1, max_length=128)], Annotated[str, Field(max_length=256)]],
    Field(min_length=1, max_length=200),
]
MaxResults = Annotated[int, Field(ge=1, le=PAGE)]
Token = Annotated[str, Field(min_length=1, max_length=2048)]
Bytes = bytes


class Part(Model):
    """A part of what the service takes or answers. What it adds one day is ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        loc_by_alias=False,
        extra="ignore",
    )


class Request(Part):
    model_config = ConfigDict(extra="forbid")

    def arguments(self) -> dict[str, Any]:
        """Return the keywords of boto3's method."""
        return self.model_dump(by_alias=True, exclude_none=True)


# -- sessions


class OfSession(Request):
    """A request about one session.

    Attributes:
        session_identifier: its id or ARN.
    """

    session_identifier: SessionIdentifier


class Session(Part):
    """A session, and whether it can be written to.

    Attributes:
        session_id: its id.
        session_arn: its ARN.
        session_status: ``ACTIVE``, ``EXPIRED`` (nobody wrote to it for an hour) or ``ENDED``.
    """

    session_id: str
    session_arn: str
    session_status: str


class SessionSummary(Session):
    """A session in a listing.

    Attributes:
        created_at: when it was made.
        last_updated_at: when it was last changed.
    """

    created_at: datetime
    last_updated_at: datetime


class CreateSessionRequest(Request):
    """A request to make a session.

    Attributes:
        session_metadata: at most 50 pairs, values of up to 5,000 characters.
        encryption_key_arn: ARN of a KMS key, instead of one of AWS's own.
        tags: at most 200.
    """

    session_metadata: Metadata | None = None
    encryption_key_arn: str | None = Field(None, min_length=1, max_length=2048)
    tags: Tags | None = None


class CreateSessionResponse(Session):
    """The session that was made; see :class:`SessionSummary`.

    Attributes:
        created_at: when it was made.
    """

    created_at: datetime


class GetSessionRequest(OfSession):
    """A request for a session, by its id or ARN."""


class GetSessionResponse(SessionSummary):
    """A session; see :class:`SessionSummary`.

    Attributes:
        session_metadata: as it was created or updated.
        encryption_key_arn: of the KMS key, if it is one of yours.
    """

    session_metadata: Mapping[str, str] | None = None
    encryption_key_arn: str | None = None


class UpdateSessionRequest(OfSession):
    """A request to replace the metadata of a session.

    Attributes:
        session_identifier: id or ARN of the session.
        session_metadata: takes the place of all that there was.
    """

    session_metadata: Metadata | None = None


class UpdateSessionResponse(SessionSummary):
    """The session that was updated; see :class:`SessionSummary`."""


class EndSessionRequest(OfSession):
    """A request to end a session, by its id or ARN."""


class EndSessionResponse(Session):
    """The session that was ended; see :class:`SessionSummary`."""


class DeleteSessionRequest(OfSession):
    """A request to delete a session that is ended or expired, by its id or ARN."""


class ListSessionsRequest(Request):
    """A request for sessions of the account, whoever made them.

    Attributes:
        max_results: of a page, at most 1,000.
        next_token: of the page before.
    """

    max_results: MaxResults | None = None
    next_token: Token | None = None


class ListSessionsResponse(Part):
    """Sessions, in no particular order.

    Attributes:
        session_summaries: those of this page.
        next_token: for the next page; ``None`` on the last one.
    """

    session_summaries: tuple[SessionSummary, ...]
    next_token: str | None = None


# -- invocations


class InvocationSummary(Part):
    """An invocation: a part of a session, which groups its steps.

    Attributes:
        session_id: the id of the session.
        invocation_id: its own id.
        created_at: when it was made.
    """

    session_id: str
    invocation_id: str
    created_at: datetime


class CreateInvocationRequest(OfSession):
    """A request to make an invocation.

    Attributes:
        session_identifier: id or ARN of the session.
        invocation_id: a UUID of yours; the service makes one otherwise.
        description: 1 to 200 characters.
    """

    invocation_id: Uuid | None = None
    description: str | None = Field(None, min_length=1, max_length=200)


class CreateInvocationResponse(InvocationSummary):
    """The invocation that was made; see :class:`InvocationSummary`."""


class ListInvocationsRequest(OfSession):
    """A request for the invocations of a session.

    Attributes:
        session_identifier: id or ARN of the session.
        max_results: of a page, at most 1,000.
        next_token: of the page before.
    """

    max_results: MaxResults | None = None
    next_token: Token | None = None


class ListInvocationsResponse(Part):
    """Invocations, in no particular order.

    Attributes:
        invocation_summaries: those of this page.
        next_token: for the next page; ``None`` on the last one.
    """

    invocation_summaries: tuple[InvocationSummary, ...]
    next_token: str | None = None


# -- steps


class S3Location(Part):
    """An object in S3.

    Attributes:
        uri: ``s3://bucket/key``.
    """

    uri: str = Field(min_length=1, max_length=1024)


class ImageSource(Part):
    """The bytes of an image, or where they are.

    Attributes:
        bytes: of the image.
        s3_location: of the image.
    """

    bytes: Bytes | None = Field(None, min_length=1)
    s3_location: S3Location | None = None

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.bytes is not None and self.s3_location is not None:
            raise InvalidInput("a source has bytes or s3_location, not both", field="s3_location")
        return self


class ImageBlock(Part):
    """An image.

    Attributes:
        format: ``"png"``, ``"jpeg"``, ``"gif"`` or ``"webp"``.
        source: its bytes, or where they are.
    """

    format: Literal["png", "jpeg", "gif", "webp"]
    source: ImageSource


class BedrockSessionContentBlock(Part):
    """A block of a step: a text or an image.

    Attributes:
        text: not empty.
        image: an image.
    """

    text: str | None = Field(None, min_length=1)
    image: ImageBlock | None = None

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if self.text is not None and self.image is not None:
            raise InvalidInput("a block has a text or an image, not both", field="image")
        return self


class InvocationStepPayload(Part):
    """The content of a step.

    Attributes:
        content_blocks: at least one, of 50 MB together.
    """

    content_blocks: tuple[BedrockSessionContentBlock, ...] | None = Field(None, min_length=1)


class InvocationStepSummary(Part):
    """A step in a listing.

    Attributes:
        session_id: the id of the session.
        invocation_id: the id of its invocation.
        invocation_step_id: its own id.
        invocation_step_time: the time that it was put with, to the millisecond.
    """

    session_id: str
    invocation_id: str
    invocation_step_id: str
    invocation_step_time: datetime


class InvocationStep(InvocationStepSummary):
    """A step; see :class:`InvocationStepSummary`.

    Attributes:
        payload: its content.
    """

    payload: InvocationStepPayload


class PutInvocationStepRequest(OfSession):
    """A request to add a step, which nobody can change or delete afterwards.

    Attributes:
        session_identifier: id or ARN of the session.
        invocation_identifier: the id of the invocation.
        invocation_step_time: any time.
        payload: the content.
        invocation_step_id: a UUID of yours; the service makes one otherwise.
    """

    invocation_identifier: Uuid
    invocation_step_time: datetime
    payload: InvocationStepPayload
    invocation_step_id: Uuid | None = None


class PutInvocationStepResponse(Part):
    """The step that was put.

    Attributes:
        invocation_step_id: its id.
    """

    invocation_step_id: str


class GetInvocationStepRequest(OfSession):
    """A request for a step.

    Attributes:
        session_identifier: id or ARN of the session.
        invocation_identifier: the id of the invocation.
        invocation_step_id: the id of the step.
    """

    invocation_identifier: Uuid
    invocation_step_id: Uuid


class GetInvocationStepResponse(Part):
    """An answer with a step.

    Attributes:
        invocation_step: the step.
    """

    invocation_step: InvocationStep


class ListInvocationStepsRequest(OfSession):
    """A request for the steps of a session, or of one of its invocations.

    Attributes:
        session_identifier: id or ARN of the session.
        invocation_identifier: the id of the invocation; all of them if it is left out.
        max_results: of a page, at most 1,000, which is as many as a session has.
        next_token: of the page before.
    """

    invocation_identifier: Uuid | None = None
    max_results: MaxResults | None = None
    next_token: Token | None = None


class ListInvocationStepsResponse(Part):
    """Steps, in no particular order.

    Attributes:
        invocation_step_summaries: those of this page.
        next_token: for the next page; ``None`` on the last one.
    """

    invocation_step_summaries: tuple[InvocationStepSummary, ...]
    next_token: str | None = None
