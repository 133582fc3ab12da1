"""Telemetry: spans as a collector gets them, and none where nobody asked for them."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from fake_backend import Fake, asked, completed, counted, pieces
from loopback import Loopback, Reply
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.util._once import Once
from smesh_agent.backends import telemetry
from smesh_agent.backends.base import Delta
from smesh_agent.backends.model import Model
from smesh_agent.backends.retrying import Retries
from smesh_agent.errors import BackendSettingsError, BadAnswerError, OverloadedError
from smesh_runtime import SystemClock

VARIABLES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_PYTHON_TRACER_PROVIDER",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
)


@pytest.fixture(autouse=True)
def _no_provider(monkeypatch):
    """The process has no tracer provider, before the test and after it."""
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def collector():
    with Loopback(lambda _: Reply(200, {"content-type": "application/x-protobuf"})) as server:
        yield server


def received(collector: Loopback) -> list[tuple[dict, Span]]:
    """Every span that came, with the attributes of its resource."""
    found = []
    for one in collector.asked:
        message = ExportTraceServiceRequest()
        message.ParseFromString(one.body)
        for resources in message.resource_spans:
            resource = attributes(resources.resource)
            found += [(resource, span) for scope in resources.scope_spans for span in scope.spans]
    return found


def attributes(of) -> dict:
    def value(any_value):
        kind = any_value.WhichOneof("value")
        if kind == "array_value":
            return [value(one) for one in any_value.array_value.values]
        return getattr(any_value, kind)

    return {one.key: value(one.value) for one in of.attributes}


def model(*answers, **values) -> Model:
    return Model(Fake(*answers, **values), clock=SystemClock(), retries=Retries(attempts_max=2, first_s=0.0))


async def test_a_collector_gets_spans_of_the_conventions(collector) -> None:
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"{collector.url}/"}
    shutdown = telemetry.configure(environment)
    usage = counted(120, 30, cached_in=50, cache_written_in=20)
    one = model(OverloadedError("fake", "busy"), completed("the answer", raw_stop="end_turn", usage=usage))
    request = asked(
        "the question", system="the system", max_tokens=77, temperature=0.5, stop=("STOP",), schema={"type": "object"}
    )
    before = trace.get_tracer("test").start_span("outer")
    with trace.use_span(before, end_on_exit=True):
        await one.generate(request, label="agent 7")
    await asyncio.to_thread(shutdown)

    spans = {span.name: (resource, span) for resource, span in received(collector)}
    resource, span = spans["chat claude-sonnet-5-5"]
    assert resource["service.name"] == "smesh"
    assert span.kind == Span.SPAN_KIND_CLIENT
    assert span.parent_span_id == spans["outer"][1].span_id
    assert span.trace_id == spans["outer"][1].trace_id
    assert span.status.code == Status.STATUS_CODE_UNSET
    assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
    assert attributes(span) == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "fake",
        "gen_ai.request.model": "claude-sonnet-5-5",
        "gen_ai.request.max_tokens": 77,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.stop_sequences": ["STOP"],
        "gen_ai.output.type": "json",
        "gen_ai.response.model": "fake-1",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.usage.input_tokens": 120,
        "gen_ai.usage.output_tokens": 30,
        "gen_ai.usage.cache_read.input_tokens": 50,
        "gen_ai.usage.cache_write.input_tokens": 20,
        "smesh.attempts": 2,
        "smesh.label": "agent 7",
    }
    assert [one.path for one in collector.asked] == ["/v1/traces"] * len(collector.asked)
    everything = b"".join(one.body for one in collector.asked)
    for text in (b"the question", b"the system", b"the answer"):
        assert text not in everything


async def test_failures_and_streams(collector, monkeypatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "mine")
    shutdown = telemetry.configure({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{collector.url}/traces"})
    with pytest.raises(OverloadedError):
        await model(OverloadedError("fake", "quotes the question"), model="failed").generate(asked())
    broken = model([Delta("the answer"), BadAnswerError("fake", "odd")], model="broken")
    with pytest.raises(BadAnswerError):
        _ = [piece async for piece in broken.stream(asked())]
    _ = [piece async for piece in model(pieces("y", "es"), model="streamed").stream(asked())]
    hanging = asyncio.create_task(model(completed(), model="cancelled").generate(asked()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    await asyncio.to_thread(shutdown)

    spans = {span.name.removeprefix("chat "): span for _, span in received(collector)}
    for name, error, attempts in [
        ("failed", "OverloadedError", 2),
        ("broken", "BadAnswerError", 1),
        ("cancelled", "CancelledError", 1),
    ]:
        found = attributes(spans[name])
        assert (found["error.type"], found["smesh.attempts"]) == (error, attempts)
        assert found["gen_ai.response.finish_reasons"] == ["error"]
        assert "gen_ai.response.model" not in found
        assert (spans[name].status.code, spans[name].status.message) == (Status.STATUS_CODE_ERROR, "")
        assert not spans[name].events
    found = attributes(spans["streamed"])
    assert found["gen_ai.request.stream"] is True
    assert 0.0 <= found["gen_ai.response.time_to_first_chunk"] < 60.0
    assert "error.type" not in found
    assert "gen_ai.request.stream" not in attributes(spans["failed"])
    assert {resource["service.name"] for resource, _ in received(collector)} == {"mine"}
    assert {one.path for one in collector.asked} == {"/traces"}
    assert b"quotes the question" not in b"".join(one.body for one in collector.asked)


async def test_an_application_that_traces_gets_spans_of_its_own_provider_and_keeps_it(caplog) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    shutdown = telemetry.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    await model(completed(), model="").generate(asked())
    shutdown()  # is not the application's
    await model(completed()).generate(asked())
    assert trace.get_tracer_provider() is provider
    assert caplog.messages == []  # nobody tried to put another in its place
    first, second = exporter.get_finished_spans()
    assert (first.name, second.name) == ("chat", "chat claude-sonnet-5-5")
    assert "gen_ai.request.model" not in first.attributes
    provider.shutdown()


@pytest.mark.parametrize(
    ("backend", "provider"), [("claude", "anthropic"), ("openai-compatible", "openai"), ("ollama", "ollama")]
)
async def test_providers_have_the_names_of_the_conventions(backend: str, provider: str) -> None:
    exporter = InMemorySpanExporter()
    tracing = TracerProvider(shutdown_on_exit=False)
    tracing.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(tracing)
    one = model(completed())
    one.backend.name = backend
    await one.generate(asked())
    assert exporter.get_finished_spans()[0].attributes["gen_ai.provider.name"] == provider
    tracing.shutdown()


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "TRUE"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"},
    ],
)
async def test_nobody_asked_so_nothing_is_set_up_or_traced(environment) -> None:
    telemetry.configure(environment)()
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    request = asked()
    assert isinstance(telemetry.begin(Fake(completed()), request, label="", streams=False), telemetry.Untraced)
    assert (await model(completed()).generate(request)).text == "yes"


def test_what_is_not_installed_is_asked_for(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(
        BackendSettingsError, match=r"sent to http://127.0.0.1:1/v1/traces.*install smesh-agent\[otel\]"
    ):
        telemetry.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"})
    telemetry.configure({})()


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_a_protocol_that_is_not_spoken_is_refused(name: str) -> None:
    with pytest.raises(BackendSettingsError, match=f"{name} is grpc"):
        telemetry.configure({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", name: "grpc"})


def test_importing_a_model_imports_no_telemetry() -> None:
    code = (
        "import sys, smesh_agent.backends.model; "
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'requests', 'google'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
