"""Spans and metrics of OpenTelemetry: ``pip install 'statekeep[otel]'``.

Names and attributes are those of OpenTelemetry's semantic conventions for database clients, which are stable:
https://opentelemetry.io/docs/specs/semconv/db/database-spans/ and
https://opentelemetry.io/docs/specs/semconv/db/database-metrics/. ``docs/telemetry.md`` lists them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from ..domain import MissingDependency
from ..telemetry import Beginning, Observation, Observing, Service, observe
from ..version import VERSION

try:
    from opentelemetry import context, metrics, trace
except ImportError as error:
    raise MissingDependency("opentelemetry-api", "otel") from error

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

__all__ = ["instrument"]

SCOPE: Final = "statekeep"
SCHEMA: Final = "https://opentelemetry.io/schemas/1.38.0"

BUCKETS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Bounds of the buckets of ``db.client.operation.duration``, in seconds, as the conventions advise."""

SYSTEMS: Final = {
    "agentcore": "aws.bedrock_agentcore",
    "bedrock-sessions": "aws.bedrock_sessions",
}
"""Values of ``db.system.name`` where they are other words than Statekeep's."""

SUPPRESSED: Final = "suppress_instrumentation"
"""The key in OpenTelemetry's context by which exporters and others turn instrumentation off."""

Attributes = dict[str, Any]


def instrument(
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    *,
    spans: bool = True,
    metrics: bool = True,
    places: bool = False,
) -> Observing:
    """Make a span, and points of metrics, of each operation of this process.

    A span's parent is the caller's current span, and the span is current while the operation runs, so that those of
    boto3 and of Valkey's client are below it. It is named ``{db.operation.name} {target}``, such as
    ``put checkpoints``. Keys, values, ids of threads, namespaces and texts of errors are in none of it.

    Attributes, as the conventions have them: ``db.system.name``, ``db.operation.name``, ``db.collection.name`` (the
    kind of records), ``db.namespace`` (the number of the database, or the id of the memory),
    ``db.operation.batch.size``, ``server.address``, ``server.port``, and ``error.type``: the name of the error's class.
    Of Statekeep's own are ``statekeep.round_trips``, ``statekeep.retries``, ``statekeep.bytes_sent`` and
    ``statekeep.bytes_received``.

    Metrics: the histogram ``db.client.operation.duration`` in seconds; the counters ``statekeep.client.retries`` and
    ``statekeep.client.io`` in bytes, with ``network.io.direction``.

    Args:
        tracer_provider: of the spans; by default OpenTelemetry's global one.
        meter_provider: of the metrics; by default the global one.
        spans: whether to make spans.
        metrics: whether to make metrics.
        places: whether spans say what users named: ``statekeep.thread_id``, ``statekeep.namespace`` and
            ``statekeep.log``.

    Returns:
        A handle: call its ``end()``, or use it in ``with``. Each call makes another one, with its own spans.

    Raises:
        MissingDependency: at import, if opentelemetry-api is not installed.

    Example:
        >>> import statekeep
        >>> from opentelemetry.sdk.trace import TracerProvider
        >>> from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        >>> from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        >>> provider, exporter = TracerProvider(), InMemorySpanExporter()
        >>> provider.add_span_processor(SimpleSpanProcessor(exporter))
        >>> with instrument(provider), statekeep.connect("memory:") as keep:
        ...     keep.checkpoints.get("chat-1")
        >>> [span.name for span in exporter.get_finished_spans()]
        ['get checkpoints']
    """
    tracer = trace.get_tracer(SCOPE, VERSION, tracer_provider, schema_url=SCHEMA) if spans else None
    return observe(began=_Bridge(tracer, _meter(meter_provider) if metrics else _unmeasured, places).begin)


def _unmeasured(observation: Observation) -> None:
    """Make no metrics."""


class _Bridge:
    """Makes spans and metrics of operations.

    Args:
        tracer: makes the spans; ``None`` for none.
        measure: records the metrics.
        places: whether spans say what users named.
    """

    def __init__(self, tracer: Tracer | None, measure: Callable[[Observation], None], places: bool) -> None:
        self._tracer = tracer
        self._measure = measure
        self._places = places

    def begin(self, beginning: Beginning) -> Callable[[Observation], None] | None:
        """Start a span, and make it current; return what ends both."""
        if context.get_value(SUPPRESSED):
            return None
        if self._tracer is None:
            return self._measure
        span = self._tracer.start_span(
            _name(beginning),
            # The conventions let calls within the process be internal.
            kind=trace.SpanKind.INTERNAL if beginning.service.kind == "memory" else trace.SpanKind.CLIENT,
            attributes=self._of_span(beginning),
            start_time=beginning.started_ns,
        )
        token = context.attach(trace.set_span_in_context(span))

        def end(observation: Observation) -> None:
            self._measure(observation)  # while the span is current: points know it
            if trace.get_current_span() is span:  # else an abandoned coroutine is closed in another context
                context.detach(token)
            _finish(span, observation)

        return end

    def _of_span(self, beginning: Beginning) -> Attributes:
        attributes = _attributes(beginning)
        if beginning.batch is not None and beginning.batch > 1:
            attributes["db.operation.batch.size"] = beginning.batch
        if self._places:
            for name, value in beginning.place.items():
                attributes[f"statekeep.{name}"] = (
                    list(map(str, value)) if isinstance(value, list | tuple) else str(value)
                )
        return attributes


def _finish(span: Span, observation: Observation) -> None:
    if span.is_recording():
        # A client of AWS may have been made meanwhile.
        span.set_attributes(_server(observation.service))
        span.set_attributes(
            {
                "statekeep.round_trips": observation.round_trips,
                "statekeep.retries": observation.retries,
                "statekeep.bytes_sent": observation.bytes_sent,
                "statekeep.bytes_received": observation.bytes_received,
            }
        )
        if observation.error_type is not None:
            span.set_attribute("error.type", observation.error_type)
            span.set_status(trace.StatusCode.ERROR)  # without a text, which may name keys
    span.end(observation.started_ns + round(observation.seconds * 1e9))


def _parts(beginning: Beginning) -> tuple[str, str]:
    """Return the kind of records, if there is one, and the method."""
    collection, _, operation = beginning.name.rpartition(".")
    return collection, operation


def _name(beginning: Beginning) -> str:
    collection, operation = _parts(beginning)
    service = beginning.service
    target = collection
    if not target and service.address is not None:
        target = service.address if service.port is None else f"{service.address}:{service.port}"
    return f"{operation} {target}" if target else operation


def _attributes(beginning: Beginning) -> Attributes:
    collection, operation = _parts(beginning)
    service = beginning.service
    attributes: Attributes = {
        "db.system.name": SYSTEMS.get(service.kind, service.kind),
        "db.operation.name": operation,
        **_server(service),
    }
    if collection:
        attributes["db.collection.name"] = collection
    if service.database is not None:
        attributes["db.namespace"] = service.database
    return attributes


def _server(service: Service) -> Attributes:
    found: Attributes = {}
    if service.address is not None:
        found["server.address"] = service.address
        if service.port is not None:
            found["server.port"] = service.port
    return found


def _meter(provider: MeterProvider | None) -> Callable[[Observation], None]:
    """Return what records the metrics of an operation."""
    meter = metrics.get_meter(SCOPE, VERSION, provider, schema_url=SCHEMA)
    duration = meter.create_histogram(
        "db.client.operation.duration",
        unit="s",
        description="Duration of database client operations.",
        explicit_bucket_boundaries_advisory=BUCKETS,
    )
    retries = meter.create_counter(
        "statekeep.client.retries", unit="{attempt}", description="Attempts at requests after the first."
    )
    io = meter.create_counter("statekeep.client.io", unit="By", description="Bytes of requests and answers.")

    def record(observation: Observation) -> None:
        attributes = _attributes(observation)
        if observation.retries:
            retries.add(observation.retries, attributes)
        if observation.bytes_sent:
            io.add(observation.bytes_sent, {**attributes, "network.io.direction": "transmit"})
        if observation.bytes_received:
            io.add(observation.bytes_received, {**attributes, "network.io.direction": "receive"})
        if observation.error_type is not None:
            attributes["error.type"] = observation.error_type
        duration.record(observation.seconds, attributes)

    return record
