"""Assumptions of the emulator about the real service, each with its source.

``tests/integration/live`` of Statekeep's repository checks those that can be checked against the real services, by
their names. Keep the lists true when you change the emulator.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

__all__ = ["AGENTCORE", "BEDROCK_SESSIONS", "Assumption", "Source"]

Source = Literal["model", "documentation", "measured by others", "guess"]
"""The source of an assumption.

``model`` is botocore's description of the service, ``measured by others`` are reports of what the real service did, and
a ``guess`` is what seemed the harder case for a client, or the only reasonable one.
"""


@frozen
class Assumption:
    """One thing that the emulator takes the service to do.

    Attributes:
        name: by which tests refer to it.
        claim: what the service does.
        source: how this is known.
        reference: where it is said, if there is such a place.
        live: whether the live tests check it.
    """

    name: str
    claim: str
    source: Source
    reference: str = ""
    live: bool = False


_LIMITS = "Quotas for Amazon Bedrock AgentCore, AgentCore Memory"
_SDK = "github.com/aws/bedrock-agentcore-sdk-python"

AGENTCORE: Final = (
    # Shapes
    Assumption(
        "constraints",
        "Every constraint of the model is enforced, by a ValidationException with reason FieldValidationFailed.",
        "model",
        live=True,
    ),
    Assumption(
        "unsigned", "A request without a signature is an AccessDeniedException.", "guess", "the code may differ"
    ),
    Assumption("unknown-members", "Members that the model does not have are ignored.", "guess"),
    Assumption(
        "malformed-memory-id",
        "A malformed memory id is a ValidationException.",
        "measured by others",
        "floci-io/floci#3556",
        True,
    ),
    Assumption(
        "unknown-memory",
        "A well-formed memory id that does not exist is a ResourceNotFoundException, in every operation.",
        "measured by others",
        "floci-io/floci#3556",
        True,
    ),
    Assumption(
        "memory-arn",
        "A memory is also found by its ARN; answers carry the bare id.",
        "model",
        "the pattern of MemoryId",
    ),
    Assumption("documents", "A blob comes back as the JSON value that it was.", "model", live=True),
    # Events
    Assumption(
        "session-generated",
        "CreateEvent without sessionId makes up a session id.",
        "measured by others",
        "floci-io/floci#3556",
        True,
    ),
    Assumption(
        "event-id",
        "An event id is its timestamp in milliseconds, 19 digits, a # and 8 random hexadecimal digits.",
        "measured by others",
        "floci-io/floci#3556",
        True,
    ),
    Assumption(
        "milliseconds",
        "Timestamps keep milliseconds; what is finer is cut off.",
        "measured by others",
        f"{_SDK}/issues/572",
        True,
    ),
    Assumption(
        "newest-first",
        "ListEvents lists by event id, the newest first; events of one millisecond come in random order.",
        "measured by others",
        f"{_SDK}/pull/97, floci-io/floci#3556",
        True,
    ),
    Assumption(
        "empty-session",
        "ListEvents of an unknown actor or session is empty, no error.",
        "measured by others",
        "floci-io/floci#3556",
        True,
    ),
    Assumption(
        "unknown-event",
        "GetEvent and DeleteEvent of an unknown event are a ResourceNotFoundException.",
        "measured by others",
        "floci-io/floci#3556",
        True,
    ),
    Assumption(
        "payloads-left-out",
        "includePayloads=false leaves the member payload out; the default is true.",
        "measured by others",
        "floci-io/floci#3556",
        True,
    ),
    Assumption(
        "metadata-without-payloads",
        "includePayloads=false leaves no other member out: events show their metadata.",
        "guess",
    ),
    Assumption(
        "default-page",
        "A page has 20 results unless maxResults, at most 100, says otherwise.",
        "documentation",
        "maxResults",
        True,
    ),
    Assumption(
        "filter-after-scan",
        "maxResults bounds the events that are scanned, filters apply afterwards: "
        "a page may be empty and have a token.",
        "measured by others",
        f"{_SDK}/issues/283",
        True,
    ),
    Assumption(
        "read-your-writes",
        "ListEvents without a filter sees every event that was created and none that was deleted.",
        "measured by others",
        f"{_SDK}/issues/564",
        True,
    ),
    Assumption(
        "filtered-lag",
        "ListEvents with a filter is eventually consistent. The emulator delays all filters, of branches too.",
        "measured by others",
        f"{_SDK}/issues/564; branches are a guess",
    ),
    Assumption(
        "page-tokens",
        "A page token names the last event of its page, so deletions between two pages shift nothing; "
        "it belongs to one request.",
        "guess",
        live=True,
    ),
    Assumption("page-bytes", "No limit of the bytes of a page is known; rules.page_bytes sets one.", "guess"),
    Assumption(
        "client-token",
        "A second request with the same client token is ignored and answered as the first, "
        "even when the event was deleted meanwhile.",
        "documentation",
        "clientToken: ignores the request, but does not return an error; deletion is a guess",
        True,
    ),
    Assumption(
        "client-token-mismatch",
        "The same client token with other parameters is a ValidationException, "
        "reason IdempotentParameterMismatchException.",
        "model",
        "ValidationExceptionReason; that it is raised here is a guess",
        True,
    ),
    Assumption("client-token-life", "Client tokens are remembered for a day, in one memory and operation.", "guess"),
    Assumption(
        "conflict",
        "Events of one session that are created at the same time may be a RetryableConflictException.",
        "model",
        "CreateEvent; when it is raised is a guess (rules.conflict_window)",
    ),
    Assumption(
        "event-size",
        "A payload of more than 10 MB, as JSON, is a ValidationException.",
        "documentation",
        f"{_LIMITS}; error and unit are a guess",
    ),
    Assumption("json-size", "A json payload has at most 100 KB.", "documentation", "MemoryJsonData"),
    Assumption("any-timestamp", "eventTimestamp may be any time since 1970, also in the future.", "guess", live=True),
    Assumption(
        "expiry",
        "Events vanish eventExpiryDuration days after their arrival (rules.expire_from).",
        "documentation",
        "docs.aws.amazon.com/bedrock-agentcore/latest/devguide/memory-create-a-memory-store.html: applied per event at "
        "write time",
    ),
    Assumption(
        "empty-sessions-go",
        "A session without events is listed for a day, unless HAS_EVENTS is asked for.",
        "documentation",
        "ListSessions",
    ),
    Assumption("listing-order", "ListSessions, ListActors and ListMemoryRecords are in no particular order.", "guess"),
    Assumption(
        "sessions-seen", "ListSessions and ListActors see a session at once (rules.session_lag).", "guess", live=True
    ),
    Assumption(
        "main-branch", "An event without a branch is on the branch main.", "documentation", "the samples of ListEvents"
    ),
    Assumption(
        "branches",
        "The first event of another branch needs a rootEventId of the same session; "
        "parent branches are listed up to it.",
        "model",
        "ValidationExceptionReason EventInOtherSession; the rest is a guess",
    ),
    Assumption(
        "quotas",
        "Requests a second are limited by operation, and by session; a bucket holds one second's worth.",
        "documentation",
        f"{_LIMITS}; the bucket is a guess",
    ),
    # Memory records
    Assumption(
        "record-lag",
        "List- and RetrieveMemoryRecords see changes after a while, about 87 s (rules.record_lag).",
        "measured by others",
        "awslabs/agentcore-samples#1849",
    ),
    Assumption(
        "record-id-lag",
        "A new record may not be found by its id for a while, shorter than that (rules.record_id_lag).",
        "measured by others",
        "awslabs/agentcore-samples#1849",
    ),
    Assumption(
        "namespaces",
        "namespace is exact, namespacePath has all below it; one of them is required.",
        "documentation",
        "ListMemoryRecords",
        True,
    ),
    Assumption(
        "namespace-slash",
        "A namespacePath finds the namespaces that begin with its labels, whether or not either ends with a slash "
        "(rules.exact_paths: they differ).",
        "guess",
        "the documentation advises to end namespaces with a slash",
        True,
    ),
    Assumption(
        "indexed-keys",
        "Records can only be filtered by indexed keys; others are a ValidationException.",
        "documentation",
        "error is a guess",
    ),
    Assumption(
        "batches",
        "A batch succeeds in part; what failed is in failedRecords with the code 404.",
        "model",
        "the code is a guess",
        True,
    ),
    Assumption(
        "batch-identifiers",
        "The answer of BatchCreateMemoryRecords names each record's requestIdentifier, in no particular order.",
        "model",
        "MemoryRecordOutput; the order is a guess",
        True,
    ),
    Assumption(
        "record-metadata",
        "List- and RetrieveMemoryRecords and GetMemoryRecord show a record's metadata, whether or not its keys are "
        "indexed.",
        "model",
        "MemoryRecordSummary; not indexed is a guess",
        True,
    ),
    Assumption(
        "record-expiry",
        "An update without an expiry renews the one that there was.",
        "documentation",
        "recordExpirySpecification",
    ),
    Assumption("no-strategy", "A record without a strategy has the strategy id 'default'.", "guess"),
    Assumption(
        "condition-keys",
        "namespace and sourceNamespaces of operations on one record are for IAM alone.",
        "documentation",
        "GetMemoryRecord",
    ),
    Assumption(
        "ranking",
        "Retrieval ranks all records of the namespace, 10 unless topK says otherwise; scores are 0 to 1.",
        "guess",
    ),
    Assumption(
        "extraction",
        "Conversational and json payloads become records of each strategy, unless extractionMode is SKIP.",
        "documentation",
        "CreateEvent; the emulator copies texts, it extracts nothing",
    ),
    Assumption("ingest", "IngestData makes records and no event.", "documentation", "IngestData"),
)
"""The assumptions about AgentCore Memory."""

_SESSIONS = "docs.aws.amazon.com/bedrock/latest/userguide/sessions.html"

BEDROCK_SESSIONS: Final = (
    Assumption(
        "constraints", "Every constraint of the model is enforced, by a ValidationException.", "model", live=True
    ),
    Assumption(
        "service-ids", "CreateSession makes the id of a session; a client cannot choose it.", "model", live=True
    ),
    Assumption(
        "session-arn",
        "A session is also found by its ARN; answers carry the bare id.",
        "model",
        "SessionIdentifier",
        True,
    ),
    Assumption(
        "unknown-session", "An unknown session is a ResourceNotFoundException, in every operation.", "model", live=True
    ),
    Assumption(
        "unknown-invocation",
        "PutInvocationStep and ListInvocationSteps with an unknown invocation are a ResourceNotFoundException.",
        "guess",
        "the model has the error; that it is raised here is a guess",
        True,
    ),
    Assumption(
        "unknown-step",
        "GetInvocationStep of an unknown step, or with another invocation than the step's, "
        "is a ResourceNotFoundException.",
        "guess",
        live=True,
    ),
    Assumption(
        "client-ids",
        "A client may choose the ids of invocations and steps. "
        "An id that the session has already is a ConflictException, "
        "whatever the content.",
        "guess",
        "the model has ids and the error; langgraph-checkpoint-aws relies on it for invocations",
        True,
    ),
    Assumption(
        "conflict-before-quota", "A step that is there already is a conflict also when the session is full.", "guess"
    ),
    Assumption(
        "closed-session",
        "A write to an ended or expired session is a ConflictException.",
        "guess",
        "the model has the error",
        True,
    ),
    Assumption(
        "ended-readable",
        "An ended or expired session can be read.",
        "documentation",
        "EndSession; expired is a guess",
        True,
    ),
    Assumption("end-twice", "EndSession of an ended or expired session is a ConflictException.", "guess", live=True),
    Assumption(
        "delete-active",
        "DeleteSession of an active session is a ConflictException.",
        "documentation",
        "DeleteSession; the error is a guess",
        True,
    ),
    Assumption("delete-expired", "DeleteSession of an expired session succeeds.", "guess"),
    Assumption(
        "idle",
        "A session without a write for an hour is EXPIRED; reading does not prolong it.",
        "documentation",
        f"{_SESSIONS}; what prolongs it is a guess",
    ),
    Assumption(
        "life",
        "A session is gone 30 days after its creation.",
        "documentation",
        f"{_SESSIONS}; that it counts from the creation is a guess",
    ),
    Assumption(
        "steps",
        "A session has at most 1,000 steps over all its invocations; the next is a ServiceQuotaExceededException.",
        "documentation",
        f"{_SESSIONS}; the error is the model's",
    ),
    Assumption(
        "step-bytes",
        "A step has at most 50 MB of text and images; more is a ValidationException.",
        "documentation",
        f"{_SESSIONS}; error and unit are a guess",
    ),
    Assumption(
        "listing-order",
        "Sessions, invocations and steps are listed in no particular order.",
        "guess",
        "it is not documented",
    ),
    Assumption(
        "default-page",
        "A page has 10 results unless maxResults, at most 1,000, says otherwise.",
        "guess",
        "the documentation of AWS SDK for Python names 10",
        True,
    ),
    Assumption(
        "page-tokens", "A page token names the last key of its page, and belongs to one request.", "guess", live=True
    ),
    Assumption("listed-at-once", "ListInvocationSteps sees a step at once (rules.list_lag).", "guess", live=True),
    Assumption("found-at-once", "GetInvocationStep sees a step at once.", "guess", live=True),
    Assumption("milliseconds", "The time of a step keeps milliseconds; what is finer is cut off.", "guess", live=True),
    Assumption("metadata-replaced", "UpdateSession replaces the metadata as a whole.", "guess", live=True),
    Assumption(
        "tags",
        "TagResource adds to the tags; more than 200 are a ServiceQuotaExceededException.",
        "model",
        "the error when is a guess",
    ),
)
"""The assumptions about the sessions of Bedrock."""
