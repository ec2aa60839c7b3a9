"""Spans and the metric, in OpenTelemetry's own SDK."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed; make test installs it")

from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from chatstash import Record, ServerError, Store, StoreClosed, WrongType
from chatstash.local import LocalUpstash
from chatstash.rest import telemetry
from chatstash.rest.telemetry import Telemetry
from tests.conftest import Call, command

SECRET = "what the user said"


class Listener:
    """An application's OpenTelemetry."""

    def __init__(self) -> None:
        self.exporter, self.reader = InMemorySpanExporter(), InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.telemetry = Telemetry(self.tracers, MeterProvider([self.reader]))

    @property
    def spans(self) -> Any:
        return self.exporter.get_finished_spans()

    @property
    def points(self) -> list[Any]:
        data = self.reader.get_metrics_data()
        metrics = [metric for it in data.resource_metrics for scope in it.scope_metrics for metric in scope.metrics]
        assert [(metric.name, metric.unit) for metric in metrics] == [("db.client.operation.duration", "s")]
        return list(metrics[0].data.data_points)


@pytest.fixture
def listener(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    made = Listener()
    monkeypatch.setattr(telemetry, "telemetry", lambda: made.telemetry)
    yield made
    made.tracers.shutdown()


@pytest.fixture
def store(upstash: LocalUpstash) -> Iterator[Store]:
    with Store(upstash.url, upstash.token, ttl=60, retries=1) as made:
        yield made


def test_a_span_follows_the_conventions(upstash: LocalUpstash, listener: Listener, store: Store, call: Call) -> None:
    call(store.session("s"), "read")
    call(store.session("s"), "append", [Record("human", {"content": SECRET})])
    _, span = listener.spans
    port = int(upstash.url.rpartition(":")[2])
    assert (span.name, span.kind) == (f"append 127.0.0.1:{port}", trace.SpanKind.CLIENT)
    sizes = {name: span.attributes[name] for name in ("chatstash.bytes_sent", "chatstash.bytes_received")}
    assert all(size > 0 for size in sizes.values())
    assert dict(span.attributes) == {
        "db.system.name": "redis", "db.operation.name": "append", "server.address": "127.0.0.1", "server.port": port,
        "db.operation.batch.size": 2, "chatstash.requests": 1, "chatstash.commands": 2, "chatstash.retries": 0, **sizes,
    }  # fmt: skip
    assert span.status.status_code is trace.StatusCode.UNSET


def test_the_duration_is_measured_in_seconds(listener: Listener, store: Store, call: Call) -> None:
    for _ in range(3):
        call(store.session("s"), "read")
    (point,) = listener.points
    assert (point.count, point.explicit_bounds[0], point.explicit_bounds[-1]) == (3, 0.001, 10)
    assert set(point.attributes) == {"db.system.name", "db.operation.name", "server.address", "server.port"}
    assert "db.operation.batch.size" not in listener.spans[0].attributes


def _refused(upstash: LocalUpstash, store: Store, call: Call) -> None:
    command(upstash, "SET", "message_store:other", SECRET)
    with pytest.raises(WrongType):
        call(store.session("other"), "read")


def _failed(upstash: LocalUpstash, store: Store, call: Call) -> None:
    upstash.faults.add("server_error")
    with pytest.raises(ServerError):
        call(store.session("s"), "read")


@pytest.mark.parametrize(
    ("provoke", "kind", "code", "requests"), [(_refused, "WrongType", "WRONGTYPE", 1), (_failed, None, None, 2)]
)
def test_an_error_is_named_and_its_words_are_not(
    upstash: LocalUpstash, listener: Listener, store: Store, call: Call, provoke: Callable[..., None],
    kind: str | None, code: str | None, requests: int,
) -> None:  # fmt: skip
    provoke(upstash, store, call)
    (span,) = listener.spans
    (point,) = listener.points
    assert span.status.status_code is trace.StatusCode.ERROR
    assert (span.status.description, span.events) == (None, ())
    for attributes in (span.attributes, point.attributes):
        assert attributes["error.type"] == (kind or attributes["error.type"])
        assert code is None or attributes["db.response.status_code"] == code
    assert span.attributes["chatstash.requests"] == requests


def test_nothing_tells_key_token_or_contents(
    upstash: LocalUpstash, listener: Listener, store: Store, call: Call
) -> None:
    session = store.session("user-42")
    call(session, "append", [Record("human", {"content": SECRET})])
    call(session, "read")
    _refused(upstash, store, call)
    shown = "".join(span.to_json() for span in listener.spans) + repr(listener.points)
    for secret in (upstash.token, SECRET, "user-42", "message_store"):
        assert secret not in shown


def test_spans_belong_to_the_callers(listener: Listener, store: Store, call: Call) -> None:
    outer = listener.tracers.get_tracer("application").start_span("request")
    with trace.use_span(outer, end_on_exit=True):
        call(store.session("s"), "read")
        assert trace.get_current_span() is outer
    inner = next(span for span in listener.spans if span.name.startswith("read"))
    assert inner.parent.span_id == outer.get_span_context().span_id


def test_what_asks_nothing_has_no_span(upstash: LocalUpstash, listener: Listener, call: Call) -> None:
    store = Store(upstash.url, upstash.token)
    call(store.session("s"), "append", [])
    store.close()
    with pytest.raises(StoreClosed):
        call(store.session("s"), "read")
    assert listener.spans == ()


class _Broken(SpanProcessor):
    def on_start(self, span: Any, parent_context: Any = None) -> None:
        raise RuntimeError("processor")

    def on_end(self, span: Any) -> None:
        raise RuntimeError("processor")


def test_an_error_within_opentelemetry_disturbs_nothing(
    listener: Listener, store: Store, call: Call, caplog: pytest.LogCaptureFixture
) -> None:
    listener.tracers.add_span_processor(_Broken())
    call(store.session("s"), "append", [Record("human", {"content": "x"})])
    assert len(call(store.session("s"), "records")) == 1
    assert "OpenTelemetry failed" in caplog.text
    assert trace.get_current_span() is trace.INVALID_SPAN


APPLICATION = """
import sys
from chatstash import Store
from chatstash.local import LocalUpstash

def names():
    return sorted(name for name in sys.modules if name.startswith("opentelemetry"))

with LocalUpstash() as upstash, Store(upstash.url, upstash.token) as store:
    store.session("s").read()
    assert names() == [], names()
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    store.session("s").read()
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    store.session("s").read()
    (span,) = exporter.get_finished_spans()
    assert span.instrumentation_scope.name == "chatstash"
"""


def test_nothing_is_imported_before_the_application_does() -> None:
    done = subprocess.run([sys.executable, "-c", APPLICATION], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
