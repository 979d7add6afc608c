"""What errors of boto3 and of the services mean."""

from __future__ import annotations

import inspect
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.exceptions import ClientError
from botocore.parsers import ResponseParserError

from statekeep.domain import (
    AccessDenied,
    Conflict,
    InvalidInput,
    QuotaExceeded,
    StatekeepError,
    Throttled,
    Unavailable,
    Unsupported,
)
from statekeep.repositories.aws import AwsCall, NotFound
from statekeep.repositories.aws.errors import AGENTCORE, BEDROCK_SESSIONS, CLASSES, UNEXPECTED, failure, rule_for
from statekeep.testing.aws.application import service_model

REGION = "us-west-2"


def answer(code: str, message: str = "text", status: int = 400, operation: str = "CreateEvent", **more: Any) -> Any:
    metadata = {"HTTPStatusCode": status, "RequestId": "r-1", "RetryAttempts": 2}
    return ClientError({"Error": {"Code": code, "Message": message}, "ResponseMetadata": metadata, **more}, operation)


def translated(error: Exception, service: str = AGENTCORE, operation: str = "CreateEvent") -> StatekeepError:
    call = AwsCall(operation, {})
    rule = rule_for(error, service, call)
    assert rule is not None
    return failure(rule, error, service, REGION, call)


@pytest.mark.parametrize(
    ("error", "expected", "words"),
    [
        (answer("AccessDeniedException", status=403), AccessDenied, ["bedrock-agentcore:CreateEvent", "text"]),
        (answer("ExpiredTokenException", status=403), AccessDenied, ["expired", "renew"]),
        (answer("UnrecognizedClientException", status=403), AccessDenied, ["does not accept the credentials"]),
        (answer("RequestExpired"), AccessDenied, ["clock"]),
        (answer("ThrottledException", status=429), Throttled, ["adaptive", "Service Quotas", "tried 3 times"]),
        (answer("ThrottlingException", status=429), Throttled, ["slow down"]),
        (answer("ServiceQuotaExceededException", status=402), QuotaExceeded, ["quota"]),
        (answer("RequestEntityTooLargeException", status=413), QuotaExceeded, ["larger"]),
        (answer("RetryableConflictException", status=409), Conflict, ["same time"]),
        (answer("ServiceException", status=500), Unavailable, ["failed", "r-1"]),
        (answer("502", status=502), Unavailable, ["failed"]),
        (answer("Whatever", status=500), Unavailable, ["Whatever"]),
        (answer("429", status=429), Throttled, []),
        (answer("403", status=403), AccessDenied, []),
        (answer("413", status=413), QuotaExceeded, []),
        (answer("404", status=404), Unsupported, ["endpoint_url", REGION]),
        (answer("ResourceNotFoundException", status=404), InvalidInput, ["memory_id", REGION, "ACTIVE"]),
        (answer("ValidationException", reason="FieldValidationFailed"), InvalidInput, ["refuses"]),
        (answer("ValidationException", "Value at 'memoryId' failed"), InvalidInput, ["memory id", "not its name"]),
        (answer("ValidationException", "The size of the event exceeds 10 MB"), QuotaExceeded, ["larger"]),
        (answer("ValidationException", reason="IdempotentParameterMismatchException"), Conflict, ["client token"]),
        (answer("InvalidInputException"), InvalidInput, []),
        (answer("UnknownOperationException", status=404), Unsupported, []),
        (answer("Strange"), StatekeepError, ["Strange"]),
    ],
    ids=lambda value: value.response["Error"]["Code"] if isinstance(value, ClientError) else "",
)
def test_answers_of_agentcore(error: Exception, expected: type[StatekeepError], words: list[str]) -> None:
    found = translated(error)
    assert type(found) is expected
    for word in [*words, "bedrock-agentcore CreateEvent"]:
        assert word in str(found)


def test_fields_are_named() -> None:
    fields = [{"name": "payload.1.member", "message": "m"}]
    for error, field in (
        (answer("ValidationException", fieldList=fields), "payload.1.member"),
        (answer("ValidationException", "Value at 'memoryId' is wrong", fieldList=fields), "memory_id"),
        (answer("ResourceNotFoundException", status=404), "memory_id"),
        (answer("ValidationException"), None),
    ):
        found = translated(error)
        assert isinstance(found, InvalidInput)
        assert found.field == field


@pytest.mark.parametrize("operation", ["GetEvent", "DeleteEvent", "GetMemoryRecord", "DeleteMemoryRecord"])
def test_what_is_missing_in_a_memory_is_no_wrong_memory(operation: str) -> None:
    texts = [
        "Event not found: 1#a",
        "Memory record not found: mem-1",
        "",
        "There is no event 1#a in memory m-0123456789",
    ]
    for text in texts:
        error = answer("ResourceNotFoundException", text, 404)
        assert type(translated(error, operation=operation)) is NotFound


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("ResourceNotFoundException", 404, NotFound),
        ("ConflictException", 409, Conflict),
        ("ThrottlingException", 429, Throttled),
        ("ServiceQuotaExceededException", 400, QuotaExceeded),
        ("InternalServerException", 500, Unavailable),
        ("AccessDeniedException", 403, AccessDenied),
        ("ValidationException", 400, InvalidInput),
    ],
)
def test_answers_of_bedrock_sessions(code: str, status: int, expected: type[StatekeepError]) -> None:
    found = translated(answer(code, status=status), BEDROCK_SESSIONS, "PutInvocationStep")
    assert type(found) is expected
    if expected is AccessDenied:
        assert "bedrock:PutInvocationStep" in str(found)


@pytest.mark.parametrize("service", [AGENTCORE, BEDROCK_SESSIONS])
def test_every_error_of_the_models_has_a_meaning(service: str) -> None:
    model = service_model(service)
    operations = [model.operation_model(name) for name in model.operation_names]
    ours = [one for one in operations if one.http["requestUri"].startswith(("/memories", "/sessions"))]
    assert len(ours) > 10
    for operation in ours:
        for shape in operation.error_shapes:
            error = answer(shape.name, status=shape.metadata["error"]["httpStatusCode"])
            rule = rule_for(error, service, AwsCall(operation.name, {}))
            assert rule is not None
            assert rule.error is not StatekeepError, shape.name
            assert (rule.error is Unavailable) == (error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500)


def kinds() -> list[type[Exception]]:
    found: list[Any] = [kind for _, kind in inspect.getmembers(botocore.exceptions, inspect.isclass)]
    return [kind for kind in found if issubclass(kind, botocore.exceptions.BotoCoreError)]


def test_every_listed_class_exists() -> None:
    real = {f"{kind.__module__}.{kind.__qualname__}" for kind in [*kinds(), ResponseParserError]}
    assert set(CLASSES) <= real


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
def test_every_error_of_botocore_is_translated(kind: type[Exception]) -> None:
    rule = rule_for(kind.__new__(kind), AGENTCORE)
    assert rule is not None
    outages = (
        botocore.exceptions.ConnectionError,
        botocore.exceptions.HTTPClientError,
        botocore.exceptions.IncompleteReadError,
    )
    assert (rule.error is Unavailable) == issubclass(kind, outages)
    if any(word in kind.__name__ for word in ("Credential", "SSO", "Token", "Login")):
        assert rule.error is AccessDenied
    if "Region" in kind.__name__ and "S3" not in kind.__name__ and "STS" not in kind.__name__:
        assert rule.error is InvalidInput or rule is UNEXPECTED


def test_other_errors_are_left_alone() -> None:
    for error in (KeyError("x"), KeyboardInterrupt(), StatekeepError("x")):
        assert rule_for(error, AGENTCORE) is None


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"actorId": ""}, "actorId"),
        ({"payload": [{"blob": "x", "json": {"content": "SECRET TEXT"}}]}, "payload[0]"),
        ({"payload": "SECRET TEXT"}, "payload"),
        ({"metadata": {"k": {"stringValue": ["SECRET TEXT"]}}}, "metadata.k.stringValue"),
        ({"eventTimestamp": "SECRET TEXT"}, "eventTimestamp"),
        ({"payload": None}, "payload"),
        ({"unknown": "SECRET TEXT"}, "unknown"),
    ],
    ids=str,
)
def test_arguments_that_boto3_refuses(arguments: dict[str, Any], field: str) -> None:
    client = boto3.client(
        AGENTCORE,
        region_name=REGION,
        aws_access_key_id="K",
        aws_secret_access_key="S",
        endpoint_url="http://127.0.0.1:9",
    )
    request = {"memoryId": "m-0123456789", "actorId": "a", "eventTimestamp": 0, "payload": [], **arguments}
    with pytest.raises(botocore.exceptions.ParamValidationError) as caught:
        client.create_event(**request)
    found = translated(caught.value)
    assert isinstance(found, InvalidInput)
    assert found.field == field
    assert "SECRET TEXT" not in str(found)


def test_signature_errors_show_nothing_of_the_request() -> None:
    text = "The request signature does not match. The Canonical String was x-amz-security-token:SECRET"
    for code in ("SignatureDoesNotMatch", "InvalidSignatureException", "ExpiredTokenException"):
        assert "SECRET" not in str(translated(answer(code, text, 403)))


def test_long_texts_are_cut() -> None:
    assert len(str(translated(answer("ValidationException", "x" * 10_000)))) < 700


def test_calls_show_no_arguments() -> None:
    assert "SECRET" not in repr(AwsCall("CreateEvent", {"payload": "SECRET"}))
