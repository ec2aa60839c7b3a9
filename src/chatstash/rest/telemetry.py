"""OpenTelemetry spans and a metric, following its conventions for database clients.

https://opentelemetry.io/docs/specs/semconv/database/database-spans/ and …/database-metrics/. A span covers a whole
operation with all its requests and retries, as the conventions require. OpenTelemetry is imported only after the
application has imported it: otherwise nobody listens. Spans and metrics hold no token, key, message or server text.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from chatstash.errors import DatabaseError
from chatstash.version import __version__

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from chatstash.rest.endpoint import Endpoint
    from chatstash.rest.metrics import Operation

_BOUNDARIES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Histogram boundaries in seconds, as the conventions recommend."""

# The first word of a Redis error, and no other text: a proxy's page may hold anything.
_STATUS_CODE = (
    r"(ERR|WRONGTYPE|WRONGPASS|NOAUTH|NOPERM|NOSCRIPT|OOM|READONLY|MISCONF|LOADING|BUSY|EXECABORT|MASTERDOWN|"
    r"CLUSTERDOWN)\b"
)


class Telemetry:
    """Creates spans and records the duration of operations."""

    def __init__(self, tracers: TracerProvider | None = None, meters: MeterProvider | None = None) -> None:
        from opentelemetry import context, metrics, trace  # noqa: PLC0415 - an optional package

        self._trace, self._context = trace, context
        self._tracer: Tracer = trace.get_tracer("chatstash", __version__, tracer_provider=tracers)
        meter = metrics.get_meter("chatstash", __version__, meter_provider=meters)
        self._duration = _duration_of(meter)

    def start(self, name: str, endpoint: Endpoint) -> OperationSpan:
        """Start the span of an operation, and make it the current one."""
        common = _common_attributes(name, endpoint)
        server = f"{common['server.address']}:{common['server.port']}"
        span = self._tracer.start_span(f"{name} {server}", kind=self._trace.SpanKind.CLIENT, attributes=common)
        return OperationSpan(self, span, self._context.attach(self._trace.set_span_in_context(span)), common)

    def end(self, started: OperationSpan, operation: Operation, batch_size: int) -> None:
        """End the span of an operation, and record its duration.

        `batch_size` is the number of commands in its only request; 0 if there were several requests.
        """
        if not isinstance(operation.error, GeneratorExit):
            # An abandoned coroutine is closed by the garbage collector, in another context.
            self._context.detach(started.token)
        failure = _failure_attributes(operation.error)
        span = started.span
        span.set_attributes(_operation_attributes(operation, batch_size) | failure)
        if failure:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()
        context = self._trace.set_span_in_context(span)
        self._duration.record(operation.seconds, started.common | failure, context=context)


class OperationSpan(NamedTuple):
    """A started span."""

    telemetry: Telemetry
    span: Span
    token: Token[Context]
    common: dict[str, str | int]


@lru_cache(maxsize=1)
def telemetry() -> Telemetry:
    """Return the telemetry of the application."""
    return Telemetry()


def _duration_of(meter: Meter) -> Histogram:
    create = partial(
        meter.create_histogram, "db.client.operation.duration", "s", "Duration of database client operations."
    )
    try:
        return create(explicit_bucket_boundaries_advisory=_BOUNDARIES)
    except TypeError:  # an opentelemetry-api before 1.30
        return create()


def _common_attributes(name: str, endpoint: Endpoint) -> dict[str, str | int]:
    return {
        "db.system.name": "redis",
        "db.operation.name": name,
        "server.address": endpoint.host,
        "server.port": endpoint.port,
    }


def _operation_attributes(operation: Operation, batch_size: int) -> dict[str, str | int]:
    attributes: dict[str, str | int] = {
        f"chatstash.{name}": getattr(operation, name)
        for name in ("requests", "commands", "bytes_sent", "bytes_received", "retries")
    }
    # The conventions forbid a batch size of 1.
    return attributes | ({"db.operation.batch.size": batch_size} if batch_size > 1 else {})


def _failure_attributes(error: BaseException | None) -> dict[str, str | int]:
    if error is None:
        return {}
    failure: dict[str, str | int] = {"error.type": type(error).__name__}
    said = re.match(_STATUS_CODE, error.server_text or "") if isinstance(error, DatabaseError) else None
    return failure | ({"db.response.status_code": said[1]} if said else {})
