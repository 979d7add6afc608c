"""Translation of boto3's errors.

There is a table that all services share, and one for each service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from ...domain import (
    AccessDenied,
    Conflict,
    InvalidInput,
    QuotaExceeded,
    StatekeepError,
    Throttled,
    Unavailable,
    Unsupported,
)
from .calls import AwsCall

AGENTCORE: Final = "bedrock-agentcore"
AGENTCORE_CONTROL: Final = "bedrock-agentcore-control"
BEDROCK_SESSIONS: Final = "bedrock-agent-runtime"

IAM_PREFIXES: Final[Mapping[str, str]] = {
    AGENTCORE: "bedrock-agentcore",
    AGENTCORE_CONTROL: "bedrock-agentcore",
    BEDROCK_SESSIONS: "bedrock",
}


class NotFound(StatekeepError):
    """The resource of a call is not there.

    Users do not see it: repositories ask with ``missing_ok``, or catch it.
    """


@frozen
class ErrorRule:
    """How to report an error to the caller.

    Attributes:
        error: the exception to raise.
        summary: what happened.
        advice: what to do about it; ``{action}`` is the IAM action, ``{region}`` the client's region.
        argument: the argument that is wrong, for :class:`InvalidInput`.
        shows_text: whether the driver's own text may be shown, and its error be the cause. It may not where it can
            repeat credentials.
    """

    error: type[StatekeepError]
    summary: str
    advice: str = ""
    argument: str | None = field(default=None, kw_only=True)
    shows_text: bool = field(default=True, kw_only=True)


_RENEW: Final = "renew them (aws sso login, a new role session) and make a new client if they were passed as text"
_FIND: Final = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, configure a profile (aws configure), attach a role, or pass "
    "credentials_profile_name= or the keys"
)

NO_CREDENTIALS: Final = ErrorRule(AccessDenied, "boto3 found no AWS credentials", _FIND)
BAD_CREDENTIALS: Final = ErrorRule(AccessDenied, "AWS credentials could not be loaded", _FIND)
EXPIRED: Final = ErrorRule(AccessDenied, "the AWS credentials have expired", _RENEW, shows_text=False)
UNKNOWN_KEYS: Final = ErrorRule(
    AccessDenied,
    "AWS does not accept the credentials",
    "check the access key, its secret and the session token; keys that begin with ASIA need a session token",
    shows_text=False,
)
CLOCK: Final = ErrorRule(
    AccessDenied,
    "AWS does not accept the time of the request",
    "set this machine's clock, or renew the credentials",
    shows_text=False,
)
DENIED: Final = ErrorRule(
    AccessDenied, "the credentials do not permit this", "allow the IAM action {action} on the resource"
)
NO_REGION: Final = ErrorRule(
    InvalidInput,
    "no AWS region is set",
    "pass region_name=, set AWS_DEFAULT_REGION, or configure the profile's region",
    argument="region_name",
)
NO_PROFILE: Final = ErrorRule(
    InvalidInput,
    "there is no such AWS profile",
    "aws configure list-profiles shows those there are; AWS_PROFILE names one too",
    argument="credentials_profile_name",
)
BAD_REGION: Final = ErrorRule(
    InvalidInput, "the AWS region is wrong, or lacks the service", "check region_name", argument="region_name"
)
BAD_ARGUMENT: Final = ErrorRule(InvalidInput, "an argument is not what the service takes")
MISCONFIGURED: Final = ErrorRule(InvalidInput, "boto3's configuration is wrong", argument="config")
OLD_BOTO3: Final = ErrorRule(
    Unsupported, "this boto3 does not know the service or the operation", "pip install --upgrade boto3"
)
DOWN: Final = ErrorRule(Unavailable, "the service cannot be reached", "check the network, region_name and endpoint_url")
SLOW: Final = ErrorRule(
    Unavailable, "the service did not answer in time", "the limits are connect_timeout and read_timeout of config="
)
BROKEN: Final = ErrorRule(Unavailable, "the connection broke")
TLS: Final = ErrorRule(
    Unavailable, "the TLS connection failed", "check the endpoint, a proxy's certificates, and AWS_CA_BUNDLE"
)
UNTRUSTED: Final = ErrorRule(
    AccessDenied,
    "the TLS certificate of the endpoint is refused",
    "check endpoint_url, a proxy's certificates, and AWS_CA_BUNDLE or verify=",
)
GARBLED: Final = ErrorRule(
    Unavailable, "the answer is not the service's", "check endpoint_url: does something else answer there?"
)
FAILED: Final = ErrorRule(Unavailable, "the service failed")
THROTTLED: Final = ErrorRule(
    Throttled,
    "the service asks to slow down",
    "let fewer threads write at a time, raise the quota in Service Quotas, or pass "
    'config=Config(retries={"mode": "adaptive"})',
)
QUOTA: Final = ErrorRule(QuotaExceeded, "a quota of the account is exceeded", "see Service Quotas in the AWS console")
TOO_LARGE: Final = ErrorRule(QuotaExceeded, "the request is larger than the service takes", "store less in one value")
CONFLICT: Final = ErrorRule(Conflict, "another request changed the same at the same time")
SESSION_CONFLICT: Final = ErrorRule(
    Conflict,
    "the session does not allow this now",
    "what is to be made may be there already, the session may be ended or expired, or it has to be ended first",
)
TOKEN_REUSED: Final = ErrorRule(Conflict, "another request was made under the same client token")
REFUSED: Final = ErrorRule(InvalidInput, "the service refuses the request")
WRONG_MEMORY_ID: Final = ErrorRule(
    InvalidInput,
    "the memory id is wrong",
    "it is the id of the memory, NAME-XXXXXXXXXX, or its ARN, not its name",
    argument="memory_id",
)
NO_MEMORY: Final = ErrorRule(
    InvalidInput,
    "there is no such memory in the region {region} of this account",
    "check memory_id and region_name; a memory has to be ACTIVE",
    argument="memory_id",
)
NO_THING: Final = ErrorRule(NotFound, "there is no such thing")
NO_SESSION: Final = ErrorRule(NotFound, "there is no such session, invocation or step")
NO_OPERATION: Final = ErrorRule(
    Unsupported,
    "the endpoint does not know the operation",
    "check endpoint_url, and whether the service is offered in the region {region}",
)
UNEXPECTED: Final = ErrorRule(StatekeepError, "the service or boto3 reports an error")

CLASSES: Final[Mapping[str, ErrorRule]] = {
    "botocore.exceptions.BotoCoreError": UNEXPECTED,
    "botocore.exceptions.NoCredentialsError": NO_CREDENTIALS,
    "botocore.exceptions.PartialCredentialsError": BAD_CREDENTIALS,
    "botocore.exceptions.CredentialRetrievalError": BAD_CREDENTIALS,
    "botocore.exceptions.UnknownCredentialError": BAD_CREDENTIALS,
    "botocore.exceptions.MetadataRetrievalError": BAD_CREDENTIALS,
    "botocore.exceptions.RefreshWithMFAUnsupportedError": BAD_CREDENTIALS,
    "botocore.exceptions.NoAuthTokenError": BAD_CREDENTIALS,
    "botocore.exceptions.UnknownTokenProviderError": BAD_CREDENTIALS,
    "botocore.exceptions.TokenRetrievalError": EXPIRED,
    "botocore.exceptions.SSOError": EXPIRED,
    "botocore.exceptions.LoginError": EXPIRED,
    "botocore.exceptions.NoRegionError": NO_REGION,
    "botocore.exceptions.InvalidRegionError": BAD_REGION,
    "botocore.exceptions.UnknownRegionError": BAD_REGION,
    "botocore.exceptions.BaseEndpointResolverError": BAD_REGION,
    "botocore.exceptions.EndpointProviderError": BAD_REGION,
    "botocore.exceptions.ProfileNotFound": NO_PROFILE,
    "botocore.exceptions.ParamValidationError": BAD_ARGUMENT,
    "botocore.exceptions.ConfigParseError": MISCONFIGURED,
    "botocore.exceptions.ConfigNotFound": MISCONFIGURED,
    "botocore.exceptions.InvalidConfigError": MISCONFIGURED,
    "botocore.exceptions.InvalidRetryConfigurationError": MISCONFIGURED,
    "botocore.exceptions.InvalidProxiesConfigError": MISCONFIGURED,
    "botocore.exceptions.InvalidDefaultsMode": MISCONFIGURED,
    "botocore.exceptions.InvalidEndpointConfigurationError": MISCONFIGURED,
    "botocore.exceptions.UnknownServiceError": OLD_BOTO3,
    "botocore.exceptions.DataNotFoundError": OLD_BOTO3,
    "botocore.exceptions.UnknownClientMethodError": OLD_BOTO3,
    "botocore.exceptions.HTTPClientError": BROKEN,
    "botocore.exceptions.ConnectionError": DOWN,
    "botocore.exceptions.EndpointConnectionError": DOWN,
    "botocore.exceptions.ConnectTimeoutError": SLOW,
    "botocore.exceptions.ReadTimeoutError": SLOW,
    "botocore.exceptions.ProxyConnectionError": DOWN,
    "botocore.exceptions.SSLError": TLS,
    "botocore.exceptions.ResponseStreamingError": BROKEN,
    "botocore.exceptions.IncompleteReadError": BROKEN,
    "botocore.parsers.ResponseParserError": GARBLED,
}
"""Exception classes of botocore that are no answers of a service; the most derived one that is listed counts."""

COMMON_CODES: Final[Mapping[str, ErrorRule]] = {
    "AccessDeniedException": DENIED,
    "AccessDenied": DENIED,
    "NotAuthorized": DENIED,
    "OptInRequired": DENIED,
    "ExpiredToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "RequestExpired": CLOCK,
    "RequestTimeTooSkewed": CLOCK,
    "UnrecognizedClientException": UNKNOWN_KEYS,
    "InvalidClientTokenId": UNKNOWN_KEYS,
    "InvalidAccessKeyId": UNKNOWN_KEYS,
    "InvalidSignatureException": UNKNOWN_KEYS,
    "SignatureDoesNotMatch": UNKNOWN_KEYS,
    "IncompleteSignature": UNKNOWN_KEYS,
    "IncompleteSignatureException": UNKNOWN_KEYS,
    "MissingAuthenticationToken": UNKNOWN_KEYS,
    "MissingAuthenticationTokenException": UNKNOWN_KEYS,
    "InvalidToken": UNKNOWN_KEYS,
    "Throttling": THROTTLED,
    "ThrottlingException": THROTTLED,
    "ThrottledException": THROTTLED,
    "TooManyRequestsException": THROTTLED,
    "RequestLimitExceeded": THROTTLED,
    "SlowDown": THROTTLED,
    "ServiceQuotaExceededException": QUOTA,
    "LimitExceededException": QUOTA,
    "RequestEntityTooLargeException": TOO_LARGE,
    "RequestTooLargeException": TOO_LARGE,
    "ServiceUnavailable": FAILED,
    "ServiceUnavailableException": FAILED,
    "InternalFailure": FAILED,
    "InternalServerError": FAILED,
    "InternalServerException": FAILED,
    "ServiceException": FAILED,
    "UnknownOperationException": NO_OPERATION,
    "NotEmulated": NO_OPERATION,
    "ValidationException": REFUSED,
    "ValidationError": REFUSED,
    "SerializationException": REFUSED,
}

CODES: Final[Mapping[str, Mapping[str, ErrorRule]]] = {
    AGENTCORE: {
        "RetryableConflictException": CONFLICT,
        "ConflictException": CONFLICT,
        "InvalidInputException": REFUSED,
        "ResourceNotFoundException": NO_MEMORY,
    },
    BEDROCK_SESSIONS: {
        "ConflictException": SESSION_CONFLICT,
        "ResourceNotFoundException": NO_SESSION,
    },
}
"""Error codes whose rule is a service's own."""

STATUSES: Final[Mapping[int, ErrorRule]] = {
    401: UNKNOWN_KEYS,
    403: DENIED,
    404: NO_OPERATION,
    409: CONFLICT,
    413: TOO_LARGE,
    429: THROTTLED,
}
"""Rules for codes in no table, such as those of gateways and proxies."""

_CERTIFICATE: Final = re.compile(
    r"certificate[_ ]verify[_ ]failed|alert[_ ][a-z_ ]*(certificate|unknown ca)", re.IGNORECASE
)

# AgentCore answers ResourceNotFoundException both for a memory and for what is in it, and its words may change. Whether
# the memory is there is told by the answer to another operation, such as the ListEvents that found the event.
_IN_A_MEMORY: Final = frozenset({"GetEvent", "DeleteEvent", "GetMemoryRecord", "DeleteMemoryRecord"})
_SIZE: Final = re.compile(r"\b(size|length|bytes)\b.*\b(exceed|larger|limit|too (large|big|long))", re.IGNORECASE)
# "value: ..." repeats the value to be stored.
_VALUE: Final = re.compile(r",?\s*value: .*?(?=, (type|valid)|$)", re.IGNORECASE | re.MULTILINE | re.DOTALL)
_PARAMETER: Final = re.compile(r'\b(?:parameter|structure) (?:in input: "?)?([A-Za-z][\w.\[\]]*)')


def is_about_a_certificate(error: BaseException | None) -> bool:
    """Say whether a TLS connection failed because a certificate is not trusted."""
    return _CERTIFICATE.search(str(error)) is not None


def rule_for(error: BaseException, service: str, call: AwsCall | None = None) -> ErrorRule | None:
    """Return the rule for an error of boto3, ``None`` if it is not boto3's."""
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        return _answer(response, service, call)
    for kind in type(error).__mro__:
        rule = CLASSES.get(f"{kind.__module__}.{kind.__qualname__}")
        if rule is TLS and is_about_a_certificate(error):
            return UNTRUSTED
        if rule is BAD_ARGUMENT and service == AGENTCORE and _field(error) == "memoryId":
            return WRONG_MEMORY_ID
        if rule is not None:
            return rule
    return None


def _answer(response: Mapping[str, Any], service: str, call: AwsCall | None) -> ErrorRule:
    code, text = str(response["Error"].get("Code", "")), str(response["Error"].get("Message", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    rule = CODES.get(service, {}).get(code) or COMMON_CODES.get(code) or STATUSES.get(status)
    if rule is None:
        return FAILED if status >= 500 else UNEXPECTED
    if rule is NO_MEMORY and call is not None and call.operation in _IN_A_MEMORY:
        return NO_THING
    if rule is REFUSED:
        if response.get("reason") == "IdempotentParameterMismatchException":
            return TOKEN_REUSED
        if service == AGENTCORE and re.search(r"\bmemoryId\b", text):
            return WRONG_MEMORY_ID
        if _SIZE.search(text):
            return TOO_LARGE
    return rule


def failure(
    rule: ErrorRule, error: BaseException, service: str, region: str | None, call: AwsCall | None = None
) -> StatekeepError:
    """Make the exception to raise from boto3's ``error``.

    Args:
        rule: that of ``error``.
        error: boto3's error.
        service: boto3's name of the service.
        region: the client's region.
        call: the request, if it was sent.
    """
    operation = call.operation if call is not None else None
    action = f"{IAM_PREFIXES.get(service, service)}:{operation or '*'}"
    values = {"action": action, "region": region or "?"}
    about = f"{service} {operation}" if operation else service
    message = f"{about}: {rule.summary.format_map(values)}"
    if rule.shows_text:
        message = f"{message}: {_text(error)}"
    if rule.advice:
        message = f"{message}; {_format(rule.advice, values)}"
    details = _details(error)
    if details:
        message = f"{message} [{details}]"
    if issubclass(rule.error, InvalidInput):
        return rule.error(message, field=rule.argument or _field(error))
    return rule.error(message)


def _format(advice: str, values: Mapping[str, str]) -> str:
    # Not format(): advice has braces of its own.
    for name, value in values.items():
        advice = advice.replace(f"{{{name}}}", value)
    return advice


def _text(error: BaseException) -> str:
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        code = response["Error"].get("Code", type(error).__name__)
        text = f"{code}: {response['Error'].get('Message', '')}"
    else:
        text = f"{type(error).__name__}: {_VALUE.sub('', str(error))}"
    # A text can repeat the request, hence the limit.
    return f"{' '.join(text.split()):.400}"


def _details(error: BaseException) -> str:
    response = getattr(error, "response", None)
    metadata = response.get("ResponseMetadata", {}) if isinstance(response, dict) else {}
    found = []
    if metadata.get("RetryAttempts"):
        found.append(f"tried {metadata['RetryAttempts'] + 1} times")
    if metadata.get("RequestId"):
        found.append(f"request id {metadata['RequestId']}")
    return ", ".join(found)


def _field(error: BaseException) -> str | None:
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        for one in response.get("fieldList") or ():
            return str(one["name"])
        return None
    found = _PARAMETER.search(str(error))
    return found[1].rstrip(".") if found else None
