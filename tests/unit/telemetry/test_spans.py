import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace import SpanKind, StatusCode
from support.records import TOKEN_ID, secret_of
from unit.telemetry.captured import captured

from gateway import __version__
from gateway.proxy.field_line import FieldLine, read_line
from gateway.reason import Reason
from gateway.telemetry.kind import Kind
from gateway.telemetry.redaction import Redaction
from gateway.telemetry.spans import Spans
from gateway.telemetry.trace_context import Trace

ROUTE = "/client/v4/zones/{zone_id}/dns_records"
OWNER = "user:" + "a" * 32
ALLOWED = Kind(
    "GET", "cloudflare-dns", f"GET {ROUTE}", TOKEN_ID, None, "2001:db8::1", 200, OWNER, "127.0.0.1:9000", allowed=True
)
REFUSED = ALLOWED._replace(reason=Reason.FORBIDDEN, status=403, upstream="", allowed=False)
STRANGER = Kind("GET", "", "", "", Reason.UNKNOWN_TOKEN, "192.0.2.1", 401)
TRACE_ID, PARENT = 0x0AF7651916CD43DD8448EB211C80319C, 0xB7AD6B7169203331


class Request(msgspec.Struct):
    """A request that has ended."""

    kind: Kind = ALLOWED
    path: bytes | None = b"/client/v4/zones/a/dns_records"
    host: bytes = b"api.example:8080"
    ordinary: Sequence[FieldLine] = ()
    trace: Trace | None = None
    request_id: bytes = b"request-0001"
    ended_at: float = 1_800_000_000.25
    seconds: float = 0.25
    gateway_seconds: float = 0.125
    upstream_seconds: float = 0.0625
    bytes_in: int = 300
    bytes_out: int = 4000


REFUSED_REQUEST = Request(REFUSED, gateway_seconds=-1.0, upstream_seconds=-1.0)


def fields(*lines: str) -> list[FieldLine]:
    found = [read_line(line.encode("latin-1")) for line in lines]
    assert all(isinstance(each, FieldLine) for each in found)
    return found  # type: ignore[return-value]


def parent(flags: str = "01") -> str:
    return f"traceparent: 00-{TRACE_ID:032x}-{PARENT:016x}-{flags}"


class Made:
    """Spans, and what became of them."""

    def __init__(self, exporter: SpanExporter | None = None, **rest: Any) -> None:
        self.exporter = exporter or InMemorySpanExporter()
        self.spans = Spans(self.exporter, **rest)

    def of(self, *requests: Request) -> list[ReadableSpan]:
        """The spans of these, the request's own first."""
        self.spans.add([(request, request.kind) for request in requests])
        self.spans.close(20)
        assert isinstance(self.exporter, InMemorySpanExporter)
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.kind.value)


@pytest.fixture
def made() -> Iterator[Made]:
    made = Made()
    yield made
    made.spans.close(20)


def test_a_request_that_went_up_is_a_span_and_one_below_it(made: Made) -> None:
    server, client = made.of(Request())
    assert (server.kind, server.name) == (SpanKind.SERVER, f"GET {ROUTE}")
    assert dict(server.attributes or {}) == {
        "http.request.method": "GET",
        "http.route": ROUTE,
        "http.response.status_code": 200,
        "url.scheme": "http",
        "url.path": "/client/v4/zones/a/dns_records",
        "server.address": "api.example",
        "client.address": "2001:db8::1",
        "zonegate.request_id": "request-0001",
        "zonegate.api": "cloudflare-dns",
        "zonegate.token_id": TOKEN_ID,
        "zonegate.owner": OWNER,
        "zonegate.decision": "allow",
    }
    assert (server.start_time, server.end_time) == (1_800_000_000_000_000_000, 1_800_000_000_250_000_000)
    assert (client.kind, client.name) == (SpanKind.CLIENT, "GET")
    assert dict(client.attributes or {}) == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "server.address": "127.0.0.1",
        "server.port": 9000,
        "zonegate.api": "cloudflare-dns",
    }
    assert (client.start_time, client.end_time) == (1_800_000_000_125_000_000, 1_800_000_000_250_000_000)
    assert server.context is not None
    assert client.parent is not None
    assert client.context is not None
    assert (client.parent.span_id, client.context.trace_id) == (server.context.span_id, server.context.trace_id)
    assert server.parent is None
    assert {span.status.status_code for span in (server, client)} == {StatusCode.UNSET}
    assert server.resource.attributes["service.name"] == "zonegate"
    assert server.resource.attributes["service.version"] == __version__


def test_a_refused_request_is_one_span_that_says_why(made: Made) -> None:
    (server,) = made.of(REFUSED_REQUEST)
    attributes = dict(server.attributes or {})
    assert (attributes["zonegate.decision"], attributes["zonegate.reason"]) == ("deny", "forbidden")
    assert "error.type" not in attributes  # the client's fault, not ours
    assert server.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("request_", "error", "spans"),
    [
        pytest.param(Request(ALLOWED._replace(status=500)), "500", 2, id="the upstream said so"),
        pytest.param(
            Request(ALLOWED._replace(status=504, reason=Reason.UPSTREAM_TIMEOUT), upstream_seconds=-1.0),
            "upstream_timeout",
            2,
            id="it said nothing",
        ),
        pytest.param(
            Request(
                ALLOWED._replace(status=502, reason=Reason.UPSTREAM_UNREACHABLE, upstream=""),
                gateway_seconds=-1.0,
                upstream_seconds=-1.0,
            ),
            "upstream_unreachable",
            1,
            id="there was none",
        ),
        pytest.param(Request(ALLOWED._replace(status=0), upstream_seconds=-1.0), "client_gone", 2, id="nobody waited"),
        pytest.param(Request(ALLOWED._replace(left=True)), "client_gone", 2, id="nobody waited for the end"),
        pytest.param(Request(ALLOWED._replace(reason=Reason.TOKEN_DISABLED)), "token_disabled", 2, id="it was cut off"),
    ],
)
def test_what_failed_is_an_error_of_a_closed_set(made: Made, request_: Request, error: str, spans: int) -> None:
    found = made.of(request_)
    assert [(span.attributes or {})["error.type"] for span in found] == [error] * spans
    assert {span.status.status_code for span in found} == {StatusCode.ERROR}


def test_an_answer_that_is_no_error_of_ours_is_one_of_what_we_asked(made: Made) -> None:
    server, client = made.of(Request(ALLOWED._replace(status=404)))
    assert (server.status.status_code, client.status.status_code) == (StatusCode.UNSET, StatusCode.ERROR)
    assert (client.attributes or {})["error.type"] == "404"


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(STRANGER, id="an unknown token"),
        pytest.param(Kind("", "", "", "", Reason.BAD_REQUEST, "", 400), id="no head"),
        pytest.param(Kind("GET", "", "", "", None, "", 200), id="a page"),
    ],
)
def test_who_proved_nothing_makes_no_span(made: Made, kind: Kind) -> None:
    assert made.of(Request(kind, ordinary=fields(parent()))) == []


def test_a_method_that_nobody_knows_makes_no_name_and_no_value(made: Made) -> None:
    (server,) = made.of(msgspec.structs.replace(REFUSED_REQUEST, kind=REFUSED._replace(method="EVIL7", route="")))
    assert (server.name, (server.attributes or {})["http.request.method"]) == ("HTTP", "_OTHER")
    assert "EVIL7" not in server.to_json()


# Where a request stands.


def test_a_request_without_a_trace_begins_one(made: Made) -> None:
    one, other = made.spans.begin(()), made.spans.begin(())
    assert one.parent == 0
    assert one.is_sampled
    assert len({one.trace_id, other.trace_id, one.server, one.client, other.server, other.client, 0}) == 7


def test_a_client_s_span_is_the_parent_of_ours(made: Made) -> None:
    given = fields("Accept: a", parent(), "tracestate: a=1", "tracestate: b=2")
    trace = made.spans.begin(given)
    assert (trace.trace_id, trace.parent, trace.flags, trace.state) == (TRACE_ID, PARENT, 1, "a=1,b=2")
    server, client = made.of(Request(trace=trace))
    assert server.parent is not None
    assert client.context is not None
    assert server.context is not None
    assert (server.parent.span_id, server.parent.is_remote) == (PARENT, True)
    assert (server.context.span_id, client.context.span_id) == (trace.server, trace.client)
    assert server.context.trace_state.to_header() == "a=1,b=2"
    carried = b"".join(each.sent for each in trace.carried(given, trace.client))
    assert carried == (
        f"Accept: a\r\ntraceparent: 00-{TRACE_ID:032x}-{trace.client:016x}-01\r\ntracestate: a=1,b=2\r\n".encode()
    )


def test_a_refused_request_stands_below_its_client_s_span_too(made: Made) -> None:
    (server,) = made.of(msgspec.structs.replace(REFUSED_REQUEST, ordinary=fields(parent())))
    assert server.parent is not None
    assert server.parent.span_id == PARENT


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param(["traceparent: "], id="empty"),
        pytest.param([parent(), parent()], id="twice"),
        pytest.param([parent().upper().replace("TRACEPARENT", "traceparent")], id="in capitals"),
        pytest.param([f"traceparent: 00-{0:032x}-{PARENT:016x}-01"], id="the trace is 0"),
        pytest.param([f"traceparent: 00-{TRACE_ID:032x}-{0:016x}-01"], id="the span is 0"),
        pytest.param([f"traceparent: ff-{TRACE_ID:032x}-{PARENT:016x}-01"], id="version ff"),
        pytest.param([parent() + "-more"], id="version 00 with more"),
        pytest.param([parent("0")], id="short"),
        pytest.param([parent("zz")], id="no digits"),
        pytest.param([f"traceparent: {'0' * 5000}"], id="long"),
        pytest.param(["traceparent: \xff\xfe"], id="no text"),
    ],
)
def test_a_malformed_parent_begins_a_new_trace_and_its_state_is_gone(made: Made, lines: list[str]) -> None:
    given = fields(*lines, "tracestate: a=1")
    trace = made.spans.begin(given)
    assert (trace.parent, trace.state) == (0, "")
    assert trace.trace_id != TRACE_ID
    (sent,) = trace.carried(given, trace.client)
    assert sent.value == f"00-{trace.trace_id:032x}-{trace.client:016x}-{trace.flags:02x}".encode()


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        pytest.param([",".join(f"k{number}=v" for number in range(32))], 32, id="32 members"),
        pytest.param([",".join(f"k{number}=v" for number in range(33))], 0, id="33 members"),
        pytest.param(["a=" + "x" * 256, "b=" + "x" * 256, "c=" + "x" * 256], 3, id="over 512 bytes, in three fields"),
        pytest.param(["a=1", "a=2"], 0, id="a name twice"),
        pytest.param(["A=1"], 0, id="no name"),
        pytest.param(["a=1" + "," * 60_000], 0, id="members of nothing, which nobody looks at"),
    ],
)
def test_a_state_is_carried_on_whole_or_not_at_all(made: Made, lines: list[str], kept: int) -> None:
    trace = made.spans.begin(fields(parent(), *(f"tracestate: {line}" for line in lines)))
    assert trace.parent == PARENT
    assert trace.state == (",".join(lines) if kept else "")
    assert trace.state.count("=") == kept


def test_a_parent_of_a_later_version_is_read_as_far_as_it_is_known(made: Made) -> None:
    trace = made.spans.begin(fields(f"traceparent: cc-{TRACE_ID:032x}-{PARENT:016x}-ff-what.comes"))
    assert (trace.trace_id, trace.parent, trace.flags) == (TRACE_ID, PARENT, 3)


@pytest.mark.parametrize(
    ("flags", "sampler", "sampled"),
    [
        pytest.param("01", ParentBased(ALWAYS_OFF), True, id="the client records, and we would not"),
        pytest.param("00", ParentBased(ALWAYS_ON), False, id="the client does not, and we would"),
        pytest.param("", ParentBased(ALWAYS_ON), True, id="no client says, and we would"),
        pytest.param("", ParentBased(ALWAYS_OFF), False, id="no client says, and we would not"),
    ],
)
def test_who_began_the_trace_says_whether_it_is_recorded(flags: str, sampler: Sampler, sampled: bool) -> None:  # noqa: FBT001
    made = Made(sampler=sampler)
    given = fields(parent(flags)) if flags else []
    trace = made.spans.begin(given)
    assert trace.is_sampled is sampled
    (sent,) = trace.carried(given, trace.client)
    if flags and not sampled:
        assert sent is given[0]
    else:
        assert sent.value[-2:] in ((b"01", b"03") if sampled else (b"00", b"02"))
    assert bool(made.of(Request(trace=trace))) is sampled


def test_the_sampler_is_the_one_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "edge")
    made = Made()
    assert not made.spans.begin(fields(parent())).is_sampled
    assert made.of(Request()) == []
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    assert Made().of(Request())[0].resource.attributes["service.name"] == "edge"


# What must not be in them.

HIDING_PLACES: list[Callable[[str], dict[str, Any]]] = [
    lambda secret: {"path": f"/a/{secret}/b".encode()},
    lambda secret: {"host": f"{secret}.example".encode()},
    lambda secret: {"kind": ALLOWED._replace(method=secret)},
    lambda secret: {"ordinary": fields(parent(), f"tracestate: a={secret}")},
    lambda secret: {"ordinary": fields(f"traceparent: {secret}", f"tracestate: {secret}=1", f"X-A: {secret}")},
    lambda secret: {"path": b"/" + b"a" * 990 + secret.encode()},
]


@given(st.sampled_from(HIDING_PLACES), st.integers(0, 255))
def test_no_secret_is_in_a_span(hide: Callable[[str], dict[str, Any]], fill: int) -> None:
    secret = secret_of(fill=fill).reveal()
    found = Made().of(Request(**hide(secret)))
    assert len(found) == 2
    random_part = secret.rpartition("_")[2]
    for span in found:
        text = span.to_json() + repr(span.context)
        assert random_part[:8] not in text
        assert all(len(str(value)) <= 1024 for value in (span.attributes or {}).values())


def test_what_the_operator_wants_hidden_is_hidden() -> None:
    server, client = Made(redaction=Redaction(("address", "owner", "path", "token"))).of(Request())
    assert not {"url.path", "zonegate.owner", "zonegate.token_id"} & set(server.attributes or {})
    assert (server.attributes or {})["client.address"] == "2001:db8::/48"
    assert TOKEN_ID not in server.to_json() + client.to_json()


# A collector that is not well.


class Deaf(SpanExporter):
    """Takes nothing while it is told so; `asked` is set when it was asked."""

    def __init__(self, *, raises: bool = False) -> None:
        self.asked, self.goes_on = threading.Event(), threading.Event()
        self.works = False
        self._raises = raises

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        assert spans
        self.asked.set()
        self.goes_on.wait(20)
        if self._raises:
            raise ConnectionError("https://user:password@collector")
        return SpanExportResult.SUCCESS if self.works else SpanExportResult.FAILURE

    def shutdown(self) -> None:
        pass


def test_spans_that_a_slow_collector_has_no_room_for_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "8")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "4")
    collector = Deaf()
    made = Made(collector)
    for _ in range(4):
        made.spans.add([(REFUSED_REQUEST, REFUSED)])
    assert collector.asked.wait(20)  # four are with it, and it does not answer
    for _ in range(100):
        made.spans.add([(REFUSED_REQUEST, REFUSED)])
    assert made.spans.lost == 92
    collector.works = True
    collector.goes_on.set()
    made.spans.close(20)
    assert made.spans.lost == 92


def test_the_end_waits_for_no_collector_that_does_not_answer() -> None:
    collector = Deaf()
    made = Made(collector)
    made.spans.add([(Request(), ALLOWED)])
    begun = time.monotonic()
    made.spans.close(0.05)
    assert time.monotonic() - begun < 20
    assert collector.asked.is_set()
    collector.works = True  # what it says of a failure later, by its own thread, would be in another test's log
    collector.goes_on.set()


@pytest.mark.parametrize(
    "raises", [pytest.param(False, id="it refuses"), pytest.param(True, id="it cannot be reached")]
)
def test_a_dead_collector_is_told_of_once(raises: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
    collector = Deaf(raises=raises)
    collector.goes_on.set()
    with captured() as logs:
        made = Made(collector)
        for _ in range(50):
            made.spans.add([(REFUSED_REQUEST, REFUSED)])
        made.spans.close(20)
    assert made.spans.lost == 50
    assert [line["event"] for line in logs] == ["traces not taken by the collector: spans are dropped until it does"]
    assert "password" not in json.dumps(logs)
