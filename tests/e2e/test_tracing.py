"""Traces of a running gateway, as a collector and the upstream see them."""

import gzip
import queue
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from support.processes import UPSTREAM_SECRET, Upstream, free_port, running
from support.records import group_id, zone

from gateway.demo.dataset import ZONES

ALPHA = ZONES["alpha.example"]
DNS = [{"effect": "allow", "permission_groups": [{"id": group_id("DNS Read")}], "resources": {zone(ALPHA): "*"}}]
TRACE_ID, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
THEIRS = {"traceparent": f"00-{TRACE_ID}-{PARENT}-01", "tracestate": "vendor=1"}
UNSAMPLED = {"traceparent": f"00-{TRACE_ID}-{PARENT}-00", "tracestate": "vendor=1"}
RECORDS = f"/zones/{ALPHA}/dns_records"
ROUTE = "/client/v4/zones/{zone_id}/dns_records"


class Collector:
    """Takes spans by OTLP over HTTP."""

    def __init__(self) -> None:
        self.bodies: queue.Queue[bytes] = queue.Queue()
        bodies = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                bodies.put(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def spans(self) -> list[Span]:
        """All that have come."""
        found: list[Span] = []
        while not self.bodies.empty():
            message = ExportTraceServiceRequest.FromString(self.bodies.get())
            for resource in message.resource_spans:
                names = {each.key: each.value.string_value for each in resource.resource.attributes}
                assert names["service.name"] == "edge"
                found.extend(span for scope in resource.scope_spans for span in scope.spans)
        return found


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    found = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "edge")
    yield found
    found.stop()


def sent_up(upstream: Upstream) -> dict[str, str]:
    """The fields of the trace in the last request that came there."""
    headers = upstream.journal()[-1]["headers"]
    pairs = headers.items() if isinstance(headers, dict) else headers
    return {name.lower(): value for name, value in pairs if name.lower() in ("traceparent", "tracestate")}


def texts(span: Span) -> dict[str, str | int]:
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_collector_gets_the_spans_of_all_workers_at_the_end_too(tmp_path: Path, collector: Collector) -> None:
    with running(tmp_path, "[log]\nformat = 'json'\n", workers=2) as (gateway, upstream):
        made = gateway.create(name="traced", policies=DNS)
        secret = made["value"]
        answer = gateway.call("GET", f"{RECORDS}?name={secret}", secret, headers=THEIRS)
        assert answer.status_code == 200
        ours = sent_up(upstream)
        assert gateway.call("GET", RECORDS, secret, headers=UNSAMPLED).status_code == 200
        assert sent_up(upstream) == UNSAMPLED
        assert gateway.call("GET", RECORDS, secret, headers={"traceparent": "junk", "tracestate": "a=1"}).is_success
        fresh = sent_up(upstream)
        assert gateway.call("DELETE", f"{RECORDS}/{'0' * 32}", secret, headers=THEIRS).status_code == 403
        assert gateway.call("GET", RECORDS, f"zgt_{'0' * 32}_{'a' * 49}").status_code in {400, 401}
        assert gateway.stop() == 0
        log = gateway.log()
    bodies = list(collector.bodies.queue)
    assert not any(text.encode() in body for body in bodies for text in (secret, UPSTREAM_SECRET, "name="))
    spans = collector.spans()
    by_id = {span.span_id.hex(): span for span in spans}

    _, trace_id, client_id, flags = ours["traceparent"].split("-")
    assert (trace_id, flags, ours["tracestate"]) == (TRACE_ID, "01", "vendor=1")
    client = by_id[client_id]
    server = by_id[client.parent_span_id.hex()]
    assert (client.kind, server.kind) == (Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER)
    assert (server.name, server.parent_span_id.hex()) == (f"GET {ROUTE}", PARENT)
    assert server.start_time_unix_nano <= client.start_time_unix_nano <= client.end_time_unix_nano
    said = texts(server)
    assert said["url.path"] == f"/client/v4{RECORDS}"
    assert said["zonegate.token_id"] == made["id"]
    assert (said["zonegate.decision"], said["http.response.status_code"]) == ("allow", 200)
    assert said["zonegate.request_id"] == answer.headers["x-request-id"]
    assert f'"trace_id":"{TRACE_ID}"' in log

    _, trace_id, client_id, _ = fresh["traceparent"].split("-")
    assert trace_id != TRACE_ID
    assert "tracestate" not in fresh
    assert not by_id[by_id[client_id].parent_span_id.hex()].parent_span_id

    of_the_client = [span for span in spans if span.trace_id.hex() == TRACE_ID]
    assert sorted(texts(span).get("zonegate.reason", "") for span in of_the_client) == ["", "", "forbidden"]
    assert not [span for span in spans if texts(span).get("http.response.status_code") == 401]


@pytest.mark.deep
def test_a_list_leads_to_the_upstream_below_the_request_itself(tmp_path: Path, collector: Collector) -> None:
    with running(tmp_path) as (gateway, upstream):
        zones = [{**DNS[0], "permission_groups": [{"id": group_id("Zone Read")}]}]
        secret = gateway.create(name="traced", policies=zones)["value"]
        assert gateway.call("GET", "/zones", secret, headers=THEIRS).status_code == 200
        ours = next(
            each["headers"]
            for each in reversed(upstream.journal())
            if each["target"].startswith("/client/v4/zones?") or each["target"] == "/client/v4/zones"
        )
    sent = {name.lower(): value for name, value in (ours.items() if isinstance(ours, dict) else ours)}["traceparent"]
    (span,) = [span for span in collector.spans() if span.trace_id.hex() == TRACE_ID]
    assert (span.span_id.hex(), span.parent_span_id.hex()) == (sent.split("-")[2], PARENT)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collector that is away."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.mark.deep
@pytest.mark.usefixtures("nowhere")
def test_a_collector_that_is_away_holds_up_nobody_and_is_told_of_in_a_line(tmp_path: Path) -> None:
    with running(tmp_path, "[log]\nformat = 'json'\n") as (gateway, _):
        for _ in range(30):
            assert gateway.call("GET", RECORDS).status_code == 200
        assert gateway.stop() == 0
        log = gateway.log()
    assert log.count("traces not taken") <= 1
    assert "Traceback" not in log
    assert "opentelemetry" not in log


@pytest.mark.deep
def test_a_trace_goes_by_unchanged_where_nobody_traces(tmp_path: Path) -> None:
    with running(tmp_path) as (gateway, upstream):
        for theirs in (THEIRS, UNSAMPLED, {"traceparent": "junk", "tracestate": "a=1"}):
            assert gateway.call("GET", RECORDS, headers=theirs).status_code == 200
            assert sent_up(upstream) == theirs


@pytest.mark.deep
def test_what_is_in_the_way_of_traces_is_one_line_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: Collector
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with running(tmp_path, "[log]\nformat = 'json'\n", workers=2) as (gateway, _):
        assert gateway.call("GET", RECORDS).status_code == 200
        assert gateway.log().count("no traces") == 1
    assert collector.bodies.empty()
