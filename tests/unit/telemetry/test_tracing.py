import importlib.util
import logging
from collections.abc import Mapping

import pytest
from unit.telemetry.captured import captured

from gateway.telemetry import tracing
from gateway.telemetry.redaction import Redaction
from gateway.telemetry.tracing import is_wanted, obstacle, open_spans

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        pytest.param({}, False, id="nothing is said"),
        pytest.param(ENDPOINT, True, id="an endpoint"),
        pytest.param({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True, id="one for traces"),
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False, id="an empty one"),
        pytest.param({"OTEL_TRACES_EXPORTER": "otlp"}, True, id="an exporter, whose endpoint has a default"),
        pytest.param(ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, False, id="no exporter"),
        pytest.param(ENDPOINT | {"OTEL_SDK_DISABLED": "TRUE"}, False, id="switched off"),
        pytest.param(ENDPOINT | {"OTEL_SDK_DISABLED": "no"}, True, id="not switched off"),
        pytest.param({"OTEL_SERVICE_NAME": "a"}, False, id="a name alone"),
    ],
)
def test_traces_are_wanted_where_the_environment_says_where_to(environ: Mapping[str, str], *, wanted: bool) -> None:
    assert is_wanted(environ) is wanted
    if not wanted:
        assert obstacle(environ) == ""


@pytest.mark.parametrize(
    ("more", "why_not"),
    [
        pytest.param({}, "", id="nothing"),
        pytest.param({"OTEL_TRACES_EXPORTER": "console"}, "OTEL_TRACES_EXPORTER: ", id="another exporter"),
        pytest.param({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL: ", id="another protocol"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"},
            "",
            id="another protocol, but for traces",
        ),
        pytest.param({"OTEL_EXPORTER_OTLP_HEADERS": "api-key=a b,x=1=,"}, "", id="headers"),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_HEADERS": "x=1,api-key s3cret"}, "OTEL_EXPORTER_OTLP_HEADERS: ", id="no header"
        ),
        pytest.param(
            {"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "=s3cret"}, "OTEL_EXPORTER_OTLP_TRACES_", id="without a name"
        ),
        pytest.param({"OTEL_TRACES_SAMPLER": "Always_Off"}, "", id="a sampler"),
        pytest.param({"OTEL_TRACES_SAMPLER": "sometimes"}, "OTEL_TRACES_SAMPLER: ", id="a sampler that is none"),
        pytest.param(
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, "", id="a share of all traces"
        ),
        pytest.param({"OTEL_TRACES_SAMPLER": "traceidratio"}, "", id="a share that has a default"),
        pytest.param(
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "10%"},
            "OTEL_TRACES_SAMPLER_ARG: ",
            id="a share that is no number",
        ),
        pytest.param(
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "nan"},
            "OTEL_TRACES_SAMPLER_ARG: ",
            id="a share that is not from 0 to 1",
        ),
    ],
)
def test_what_is_in_the_way_is_told_with_its_variable(more: Mapping[str, str], why_not: str) -> None:
    found = obstacle(ENDPOINT | more)
    assert found.startswith(why_not)
    assert bool(found) == bool(why_not)
    assert "s3cret" not in found


def test_a_missing_extra_is_told_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        tracing.importlib.util,
        "find_spec",
        lambda name: None if name == "opentelemetry.exporter.otlp.proto.http" else find(name),
    )
    assert obstacle(ENDPOINT) == "OpenTelemetry is not installed: pip install 'zonegate[otel]'"


def test_without_a_word_of_the_environment_there_are_no_spans() -> None:
    assert open_spans(scheme="http", redaction=Redaction()) is None


def test_a_variable_that_is_no_number_is_told_and_stops_no_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**ENDPOINT, "OTEL_BSP_MAX_QUEUE_SIZE": "many"}.items():
        monkeypatch.setenv(name, value)
    with captured() as logs:
        assert open_spans(scheme="http", redaction=Redaction()) is None
    assert [line["event"] for line in logs] == ["no traces"]


def test_of_a_header_for_the_collector_nothing_comes_into_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenTelemetry shows what it cannot read to its own logger."""
    spans = pytest.importorskip("gateway.telemetry.spans")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key s3cret")
    logger = logging.getLogger("opentelemetry")
    monkeypatch.setattr(logger, "propagate", True)
    spans.otlp_exporter()
    assert "s3cret" not in caplog.text
    assert not logger.propagate
