"""Spans and a metric of OpenTelemetry, following its conventions for database clients.

https://opentelemetry.io/docs/specs/semconv/database/database-spans/ and …/database-metrics/. A span is of a whole
operation, with all its requests and retries, as the conventions want it. Nothing of OpenTelemetry is imported here
before the application has done so: where it has not, there is nobody who listens. No token, no key and nothing of a
message or of what the server said is recorded.
"""

from __future__ import annotations

import importlib
import re
import sys
from functools import lru_cache, partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from chatstash.errors import DatabaseError
from chatstash.version import __version__

if TYPE_CHECKING:
    from contextvars import Token

    from opentelemetry.context import Context
    from opentelemetry.metrics import Histogram, Meter, MeterProvider
    from opentelemetry.trace import Span, Tracer, TracerProvider

    from chatstash.rest.endpoint import Endpoint
    from chatstash.rest.metrics import Operation

_TRACE, _METRICS, _CONTEXT = "opentelemetry.trace", "opentelemetry.metrics", "opentelemetry.context"
_DURATION = "db.client.operation.duration"
_BOUNDARIES = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
"""Seconds; those that the conventions advise."""

# The first word of what Redis says of an error, and no other word: a proxy's page may hold anything.
_STATUS_CODE = (
    r"(ERR|WRONGTYPE|WRONGPASS|NOAUTH|NOPERM|NOSCRIPT|OOM|READONLY|MISCONF|LOADING|BUSY|EXECABORT|MASTERDOWN|"
    r"CLUSTERDOWN)\b"
)


class Telemetry:
    """Where spans and measurements go.

    Args:
        tracers: Gives the tracer; None for the application's.
        meters: Gives the meter; None for the application's.

    Raises:
        ImportError: `opentelemetry-api` is not installed.
    """

    def __init__(self, tracers: TracerProvider | None = None, meters: MeterProvider | None = None) -> None:
        self._trace = importlib.import_module(_TRACE)
        self._context = importlib.import_module(_CONTEXT)
        metrics = importlib.import_module(_METRICS)
        self._tracer: Tracer = self._trace.get_tracer("chatstash", __version__, tracer_provider=tracers)
        meter = metrics.get_meter("chatstash", __version__, meter_provider=meters)
        self._duration = _duration_of(meter)

    def begin(self, name: str, endpoint: Endpoint) -> Tracing:
        """Begin the span of an operation, and make it the current one."""
        common = _common_attributes(name, endpoint)
        server = f"{common['server.address']}:{common['server.port']}"
        span = self._tracer.start_span(f"{name} {server}", kind=self._trace.SpanKind.CLIENT, attributes=common)
        return Tracing(self, span, self._context.attach(self._trace.set_span_in_context(span)), common)

    def end(self, tracing: Tracing, operation: Operation, batch_size: int) -> None:
        """End the span of an operation, and measure how long it took.

        Args:
            tracing: What `begin` returned.
            operation: What it came to.
            batch_size: How many commands its one request held; 0 where there were several requests.
        """
        if not isinstance(operation.error, GeneratorExit):
            # A coroutine that nobody waits for any more is closed wherever that is noticed, in another context.
            self._context.detach(tracing.token)
        failure = _failure_attributes(operation.error)
        span = tracing.span
        span.set_attributes(_own_attributes(operation, batch_size) | failure)
        if failure:
            span.set_status(self._trace.StatusCode.ERROR)
        span.end()
        context = self._trace.set_span_in_context(span)
        self._duration.record(operation.seconds, tracing.common | failure, context=context)


class Tracing:
    """A span under way."""

    __slots__ = ("common", "span", "telemetry", "token")

    def __init__(self, telemetry: Telemetry, span: Span, token: Token[Context], common: dict[str, str | int]) -> None:
        self.telemetry = telemetry
        self.span = span
        self.token = token
        self.common = common


def telemetry() -> Telemetry | None:
    """Return what spans go to; None where the application has not imported OpenTelemetry."""
    return _applications() if sys.modules.get(_TRACE) is not None else None


@lru_cache(maxsize=1)
def _applications() -> Telemetry:
    return Telemetry()


def _duration_of(meter: Meter) -> Histogram:
    create = partial(meter.create_histogram, _DURATION, "s", "Duration of database client operations.")
    try:
        return create(explicit_bucket_boundaries_advisory=_BOUNDARIES)
    except TypeError:  # an opentelemetry-api before 1.30
        return create()


def _common_attributes(name: str, endpoint: Endpoint) -> dict[str, str | int]:
    port = urlsplit(endpoint.url).port or (80 if endpoint.scheme == "http" else 443)
    return {
        "db.system.name": "redis",
        "db.operation.name": name,
        "server.address": endpoint.host,
        "server.port": port,
    }


def _own_attributes(operation: Operation, batch_size: int) -> dict[str, str | int]:
    own: dict[str, str | int] = {
        "chatstash.requests": operation.requests,
        "chatstash.commands": operation.commands,
        "chatstash.bytes_sent": operation.bytes_sent,
        "chatstash.bytes_received": operation.bytes_received,
        "chatstash.retries": operation.retries,
    }
    # The conventions: never 1.
    return own | ({"db.operation.batch.size": batch_size} if batch_size > 1 else {})


def _failure_attributes(error: BaseException | None) -> dict[str, str | int]:
    if error is None:
        return {}
    failure: dict[str, str | int] = {"error.type": type(error).__name__}
    said = re.match(_STATUS_CODE, error.server_text or "") if isinstance(error, DatabaseError) else None
    return failure | ({"db.response.status_code": said[1]} if said else {})
