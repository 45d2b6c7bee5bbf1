from gateway.proxy.field_line import FieldLine, read_line
from gateway.telemetry.trace_context import Trace


def field(line: bytes) -> FieldLine:
    found = read_line(line)
    assert isinstance(found, FieldLine)
    return found


THEIRS = [
    field(b"Accept: a"),
    field(b"Traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"),
    field(b"TraceState: a=1"),
]
TRACE = Trace(trace_id=0xAB, parent=2, server=3, client=4, flags=1, state="b=2")


def sent(fields: list[FieldLine] | tuple[FieldLine, ...]) -> list[bytes]:
    return [each.sent for each in fields]


def test_what_goes_up_names_our_span_and_nothing_of_the_client_s_is_left_beside_it() -> None:
    assert sent(list(TRACE.carried(THEIRS, TRACE.client))) == [
        b"Accept: a\r\n",
        b"traceparent: 00-" + b"0" * 30 + b"ab-" + b"0" * 15 + b"4-01\r\n",
        b"tracestate: b=2\r\n",
    ]


def test_of_no_state_nothing_goes_up() -> None:
    bare = Trace(trace_id=1, parent=0, server=3, client=4, flags=0, state="")
    assert [each.name for each in bare.carried(THEIRS, 4)] == [b"accept", b"traceparent"]


def test_where_nothing_is_recorded_the_client_s_own_fields_go_up_as_they_came() -> None:
    unsampled = Trace(trace_id=1, parent=2, server=3, client=4, flags=0, state="b=2")
    assert unsampled.carried(THEIRS, 4) is THEIRS
    assert not unsampled.is_sampled


def test_the_client_s_fields_stay_as_they_are() -> None:
    before = list(THEIRS)
    TRACE.carried(THEIRS, 4)
    assert before == THEIRS
