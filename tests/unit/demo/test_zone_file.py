import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from gateway.demo.dataset import RECORDS, ZONES, Dataset
from gateway.demo.fault import Fault, Rejected
from gateway.demo.record import RecordBody, compose
from gateway.demo.zone_file import parse, render

ZONE = "alpha.example"


def test_an_exported_zone_can_be_imported_again() -> None:
    hosted = Dataset().zone(ZONES[ZONE])
    before = list(hosted.records.values())
    bodies = parse(render(ZONE, ["ns1.demo.example"], before), ZONE)
    hosted.records.clear()
    assert hosted.add_new(bodies, before[0].modified_on) == len(bodies) == len(before)
    after = [replace(record, id=RECORDS[f"{record.type} {record.name}"]) for record in hosted.records.values()]
    assert sorted(after, key=str) == sorted(before, key=str)


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (
            "www 300 IN A 192.0.2.1",
            RecordBody(type="A", name="www.alpha.example.", content="192.0.2.1", ttl=300),
        ),
        (
            "www IN 300 a 192.0.2.1",
            RecordBody(type="A", name="www.alpha.example.", content="192.0.2.1", ttl=300),
        ),
        ("@ A 192.0.2.1", RecordBody(type="A", name="alpha.example.", content="192.0.2.1")),
        (
            "@ MX 10 mail",
            RecordBody(type="MX", name="alpha.example.", content="mail.alpha.example.", priority=10),
        ),
        (
            "blog CNAME www.beta.example.",
            RecordBody(type="CNAME", name="blog.alpha.example.", content="www.beta.example."),
        ),
        (
            't TXT "a;b" "c" ; why',
            RecordBody(type="TXT", name="t.alpha.example.", content="a;bc", comment="why"),
        ),
        (
            "p A 192.0.2.1 ; web cf_tags=x,cf-proxied:true",
            RecordBody(type="A", name="p.alpha.example.", content="192.0.2.1", proxied=True, comment="web"),
        ),
        (
            '@ CAA 0 issue "ca.example"',
            RecordBody(type="CAA", name="alpha.example.", content='0 issue "ca.example"'),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_line_is_a_record(line: str, body: RecordBody) -> None:
    assert parse(line, ZONE) == [body]


def test_origin_ttl_and_owner_hold_for_the_lines_that_follow() -> None:
    text = "$TTL 600\n$ORIGIN sub\r\nwww A 192.0.2.1\n\n; a remark\n\tAAAA 2001:db8::1"
    assert [(body.type, body.name, body.ttl) for body in parse(text, ZONE)] == [
        ("A", "www.sub.alpha.example.", 600),
        ("AAAA", "www.sub.alpha.example.", 600),
    ]


def test_what_the_api_answers_itself_is_passed_over() -> None:
    assert parse("@ SOA ns. dns. 1 2 3 4 5\n@ NS ns1.demo.example.\nsub NS ns.beta.example.", ZONE) == [
        RecordBody(type="NS", name="sub.alpha.example.", content="ns.beta.example.")
    ]


@pytest.mark.parametrize(
    "line",
    [
        "$INCLUDE /etc/passwd",
        "$GENERATE 1-9 a$ A 192.0.2.$",
        "@ SOA ns. dns. ( 1 2 3 4 5 )",
        '@ TXT "open',
        "www.beta.example. A 192.0.2.1",
        "notalpha.example. A 192.0.2.1",
        "www",
        "www A",
        "www MX mail",
        "www CNAME a b",
        "www WKS x",
    ],
)
def test_a_line_that_is_no_record_is_named(line: str) -> None:
    with pytest.raises(Rejected) as rejected:
        parse(f"; first\n{line}", ZONE)
    assert rejected.value.fault is Fault.ZONE_FILE
    assert "line 2" in rejected.value.message


@given(content=st.text(min_size=1, max_size=600).filter(str.strip), comment=st.text(max_size=50))
def test_no_text_breaks_out_of_its_line(content: str, comment: str) -> None:
    record = compose(
        RecordBody(type="TXT", name="t", content=content, comment=comment),
        zone=ZONE,
        record_id="1",
        created_on="now",
        now="now",
    )
    (body,) = parse(render(ZONE, ["ns1.demo.example"], [record]), ZONE)
    assert (body.type, body.name, body.ttl) == ("TXT", "t.alpha.example.", 1)
