"""A WSGI application for AWS services that speak rest-json.

It is driven by botocore's own service models.

The model says everything but what an operation does: routes, shapes, constraints, status codes, errors. A service is a
name and a function for each operation that it emulates; the function gets the parsed and validated input and returns
the output, or raises :class:`~.errors.AwsError`.
"""

from __future__ import annotations

import json
import re
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from functools import cache, cached_property
from typing import Any, NoReturn, Protocol
from urllib.parse import parse_qs, quote

from attrs import define, field, frozen
from botocore.loaders import Loader
from botocore.model import ServiceModel

from . import shapes
from .counts import Call, Recorder
from .errors import AwsError, ConnectionCut, invalid
from .faults import Fault, Faults
from .routing import Router

Handler = Callable[[dict[str, Any]], dict[str, Any]]
"""Does what one operation does: from the input's members to the output's."""

StartResponse = Callable[[str, list[tuple[str, str]]], Any]

_CREDENTIAL = re.compile(r"AWS4-HMAC-SHA256 .*Credential=[^/]+/\d{8}/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")


class Service(Protocol):
    """An emulated service."""

    @property
    def name(self) -> str:
        """The name of the service in botocore."""

    @property
    def operations(self) -> Mapping[str, Handler]:
        """The emulated operations by their API names."""


@cache
def service_model(name: str) -> Any:
    """Return botocore's model of a service."""
    return ServiceModel(Loader().load_service_model(name, "service-2"), name)


@frozen
class _Emulated:
    """A service with its model."""

    model: Any
    router: Router
    handlers: Mapping[str, Handler]


def _emulated(service: Service) -> _Emulated:
    model = service_model(service.name)
    for name in service.operations:
        operation = model.operation_model(name)
        for shape in (operation.input_shape, operation.output_shape):
            if shape is not None and "payload" in shape.serialization:
                raise NotImplementedError(f"{service.name} {name} has a payload of its own, which is not emulated")
    operations = [model.operation_model(name) for name in model.operation_names]
    return _Emulated(model, Router(operations), service.operations)


@define
class _Exchange:
    """A request under way."""

    began: float
    body: bytes
    service: str = ""
    operation: str = ""
    arguments: Mapping[str, Any] = field(factory=dict)
    faults: list[Fault] = field(factory=list)
    error: str | None = None


class Application:
    """Serves AWS services as one WSGI application.

    Args:
        services: what to serve.
        faults: what goes wrong on purpose.
        recorder: counts the calls.
        allowed: IAM actions that the caller may use, with wildcards: ``("bedrock-agentcore:List*",)``.
        rare: services whose models are loaded when no other one has the operation of a request.

    The server has to pass the undecoded path as ``RAW_URI`` or ``REQUEST_URI``, or else percent-encoded slashes in
    labels are lost, and to close the connection on :class:`~.errors.ConnectionCut`.
    """

    def __init__(
        self,
        services: Iterable[Service],
        faults: Faults,
        recorder: Recorder,
        allowed: Collection[str] = ("*",),
        rare: Iterable[Service] = (),
    ) -> None:
        self._services = [_emulated(service) for service in services]
        self._rare = list(rare)
        self._faults = faults
        self._recorder = recorder
        self._allowed = tuple(allowed)

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        exchange = _Exchange(time.monotonic(), body)
        status: int | None = None
        answer = b""
        try:
            status, headers, answer = self._answer(environ, exchange)
            time.sleep(sum(fault.seconds for fault in exchange.faults))
            if any(fault.kind == "cut after" for fault in exchange.faults):
                status, answer = None, b""
                raise ConnectionCut
        finally:
            call = Call(
                exchange.service,
                exchange.operation,
                exchange.arguments,
                status,
                exchange.error,
                tuple(fault.kind for fault in exchange.faults),
                len(body),
                len(answer),
                exchange.began,
                time.monotonic(),
            )
            self._recorder.add(call)
        start_response(f"{status} -", [*headers, ("Content-Length", str(len(answer)))])
        return [answer]

    def _answer(self, environ: Mapping[str, Any], exchange: _Exchange) -> tuple[int, list[tuple[str, str]], bytes]:
        operation = None
        headers = [("Content-Type", "application/json"), ("x-amzn-RequestId", str(uuid.uuid4()))]
        try:
            emulated, operation, labels, query = self._route(environ)
            exchange.service, exchange.operation = emulated.model.service_name, operation.name
            self._authorize(environ, emulated.model, operation)
            self._fail(operation, exchange)
            arguments = _parsed(operation, labels, query, environ, exchange.body)
            exchange.arguments = arguments
            handler = emulated.handlers.get(operation.name)
            if handler is None:
                raise AwsError("NotEmulated", f"{operation.name} is not emulated", status=501)
            result = handler(arguments)
            added, answer = _serialized(operation, result)
            return operation.http.get("responseCode", 200), headers + added, answer
        except AwsError as error:
            exchange.error = error.code
            # The namespace that services put in front, and the parser takes off.
            headers.append(("x-amzn-ErrorType", f"{error.code}:http://internal.amazon.com/coral/"))
            status, members = _error(operation, error)
            return status, headers, json.dumps(members).encode()

    def _route(self, environ: Mapping[str, Any]) -> tuple[_Emulated, Any, dict[str, str], Mapping[str, list[str]]]:
        uri = environ.get("RAW_URI") or environ.get("REQUEST_URI")
        if uri is None:
            uri = f"{quote(environ['PATH_INFO'])}?{environ.get('QUERY_STRING', '')}"
        path, _, text = uri.partition("?")
        query = parse_qs(text, keep_blank_values=True)
        method = environ["REQUEST_METHOD"]
        scope = _scope(environ)
        for emulated in self._in_turn():
            # Paths of two services may be equal; the signature says which is meant.
            if scope is None or scope == emulated.model.signing_name:
                found = emulated.router.find(method, path, query)
                if found is not None:
                    return emulated, *found, query
        raise AwsError("UnknownOperationException", f"no operation has {method} {path}", status=404)

    def _in_turn(self) -> Iterator[_Emulated]:
        yield from self._services
        yield from self._rare_ones

    @cached_property
    def _rare_ones(self) -> list[_Emulated]:
        return [_emulated(service) for service in self._rare]

    def _authorize(self, environ: Mapping[str, Any], model: Any, operation: Any) -> None:
        if _scope(environ) is None:
            raise AwsError("AccessDeniedException", "Missing Authentication Token", status=403)
        action = f"{model.signing_name}:{operation.name}"
        if not any(fnmatchcase(action, allowed) for allowed in self._allowed):
            raise AwsError(
                "AccessDeniedException",
                f"User: arn:aws:iam::{ACCOUNT}:user/emulated is not authorized to perform: {action} because no "
                f"identity-based policy allows the {action} action",
                status=403,
            )

    def _fail(self, operation: Any, exchange: _Exchange) -> None:
        exchange.faults = self._faults.choose(operation.name, lambda fault: _code(operation, fault) is not None)
        for fault in exchange.faults:
            if fault.kind == "cut before":
                exchange.error = None
                raise ConnectionCut
            if fault.kind == "refused":
                code = _code(operation, fault)
                assert code is not None
                raise AwsError(code, fault.message, status=fault.status)


ACCOUNT = "123456789012"


def _scope(environ: Mapping[str, Any]) -> str | None:
    """Return the service that a request is signed for."""
    found = _CREDENTIAL.match(environ.get("HTTP_AUTHORIZATION", ""))
    return found["service"] if found and environ.get("HTTP_X_AMZ_DATE") else None


def _code(operation: Any, fault: Fault) -> str | None:
    """Return the error code of a fault in this operation's words.

    ``None`` if it has no such error.
    """
    if fault.kind != "refused" or fault.code is not None:
        return fault.code or fault.kind
    for shape in operation.error_shapes:
        if shape.metadata.get("error", {}).get("httpStatusCode") == fault.status:
            return str(shape.name)
    return None


def _parsed(
    operation: Any,
    labels: Mapping[str, str],
    query: Mapping[str, list[str]],
    environ: Mapping[str, Any],
    body: bytes,
) -> dict[str, Any]:
    shape = operation.input_shape
    if shape is None:
        return {}
    try:
        values: dict[str, Any] = shapes.parse(shape, json.loads(body or b"{}", parse_constant=_no_number))
        for name, member in shape.members.items():
            value = _elsewhere(member, labels, query, environ)
            if value is not None:
                values[name] = value
    except (shapes.CannotParse, ValueError, RecursionError) as error:
        raise invalid("CannotParse", f"The request cannot be parsed: {error}") from error
    found = list(shapes.violations(shape, values))
    if found:
        each = "; ".join(f"Value at '{at}' failed to satisfy constraint: {constraint}" for at, constraint in found)
        fields = [{"name": at, "message": constraint} for at, constraint in found]
        plural = "error" if len(found) == 1 else "errors"
        raise AwsError(
            "ValidationException",
            f"{len(found)} validation {plural} detected: {each}",
            members={"reason": "FieldValidationFailed", "fieldList": fields},
        )
    return values


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _elsewhere(
    shape: Any, labels: Mapping[str, str], query: Mapping[str, list[str]], environ: Mapping[str, Any]
) -> Any:
    """Return a member that is not in the body, ``None`` if it is missing."""
    place = shape.serialization.get("location")
    name = shape.serialization.get("name")
    if place == "uri":
        return shapes.parse_text(shape, labels[name], name)
    if place == "querystring" and name in query:
        return _texts(shape, query[name], name)
    if place == "header":
        text = environ.get(f"HTTP_{name.upper().replace('-', '_')}")
        return None if text is None else shapes.parse_text(shape, text, name)
    return None


def _texts(shape: Any, values: Sequence[str], at: str) -> Any:
    if shape.type_name == "list":
        return [shapes.parse_text(shape.member, value, at) for value in values]
    return shapes.parse_text(shape, values[0], at)


def _serialized(operation: Any, result: Mapping[str, Any]) -> tuple[list[tuple[str, str]], bytes]:
    shape = operation.output_shape
    if shape is None:
        return [], b""
    missing = set(shape.required_members) - set(result)
    if missing:
        raise TypeError(f"the output of {operation.name} lacks {sorted(missing)}")
    headers = []
    for name, member in shape.members.items():
        if member.serialization.get("location") == "header" and result.get(name) is not None:
            value = result[name]
            if member.type_name == "timestamp":
                value = shapes.moment_text(value, member.serialization.get("timestampFormat", "rfc822"))
            headers.append((member.serialization["name"], str(value)))
    return headers, json.dumps(shapes.serialize(shape, result)).encode()


def _error(operation: Any, error: AwsError) -> tuple[int, dict[str, Any]]:
    """Return status and members, as far as the error's shape has them."""
    for shape in operation.error_shapes if operation is not None else ():
        if shape.name == error.code:
            known = {name: value for name, value in error.members.items() if name in shape.members}
            wire = {**shapes.serialize(shape, known), "message": error.message}
            return shape.metadata.get("error", {}).get("httpStatusCode", error.status or 400), wire
    return error.status or 400, {"message": error.message}
