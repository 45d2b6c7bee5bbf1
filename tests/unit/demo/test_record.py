import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from gateway.demo.fault import Fault, Rejected
from gateway.demo.record import (
    Record,
    RecordBody,
    absolute_name,
    check_conflicts,
    compose,
    patched,
    plain_txt,
    quoted_txt,
)


def record(record_id: str = "1", /, **fields: object) -> Record:
    body = msgspec.convert({"type": "A", "name": "www", "content": "192.0.2.1", **fields}, RecordBody)
    return compose(body, zone="alpha.example", record_id=record_id, created_on="then", now="now")


def conflict(new: Record, old: Record) -> Fault | None:
    try:
        check_conflicts(new, [old])
    except Rejected as rejected:
        return rejected.fault
    return None


@pytest.mark.parametrize(
    ("name", "absolute"),
    [
        ("www", "www.alpha.example"),
        ("@", "alpha.example"),
        ("", "alpha.example"),
        ("alpha.example.", "alpha.example"),
        ("WWW.Alpha.Example", "www.alpha.example"),
        ("*", "*.alpha.example"),
        ("_acme-challenge.www", "_acme-challenge.www.alpha.example"),
        ("evilalpha.example", "evilalpha.example.alpha.example"),
        ("beta.example", "beta.example.alpha.example"),
    ],
)
def test_a_name_is_made_absolute_with_the_zones_name(name: str, absolute: str) -> None:
    assert absolute_name(name, "alpha.example") == absolute


@pytest.mark.parametrize("name", ["a..b", "-" * 64, "a b", "www.*", "a/b", ".".join(["a"] * 130)])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(Rejected) as rejected:
        absolute_name(name, "alpha.example")
    assert rejected.value.fault is Fault.NAME


def test_a_record_has_the_defaults_of_the_api() -> None:
    made = record()
    assert (made.ttl, made.proxied, made.proxiable, made.comment, made.tags) == (1, False, True, None, [])
    assert (made.priority, made.created_on, made.modified_on) == (UNSET, "then", "now")


def test_the_ttl_of_a_proxied_record_is_automatic() -> None:
    assert record(proxied=True, ttl=300).ttl == 1


def test_a_host_is_kept_in_lower_case_without_its_final_dot() -> None:
    assert record(type="CNAME", content="WWW.Beta.Example.").content == "www.beta.example"


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        pytest.param({"content": "2001:db8::1"}, Fault.NOT_IPV4, id="A with an IPv6 address"),
        pytest.param({"content": "192.0.2.01"}, Fault.NOT_IPV4, id="A with a leading zero"),
        pytest.param({"type": "AAAA"}, Fault.NOT_IPV6, id="AAAA with an IPv4 address"),
        pytest.param({"type": "CNAME"}, Fault.CONTENT, id="CNAME with an address"),
        pytest.param({"type": "NS", "content": "a b"}, Fault.CONTENT, id="NS that is no name"),
        pytest.param({"type": "TXT", "content": ""}, Fault.CONTENT, id="empty TXT"),
        pytest.param({"type": "CAA", "content": "0 issue ca"}, Fault.CONTENT, id="CAA without quotes"),
        pytest.param({"type": "CAA", "content": '0 issue "a\nb"'}, Fault.CONTENT, id="CAA with a line end"),
        pytest.param({"type": "MX", "content": "m.example"}, Fault.PRIORITY, id="MX without priority"),
        pytest.param({"type": "MX", "content": "m.example", "priority": 65536}, Fault.PRIORITY, id="priority"),
        pytest.param({"type": "SPF"}, Fault.RECORD_TYPE, id="unknown type"),
        pytest.param({"type": "a"}, Fault.RECORD_TYPE, id="type in lower case"),
        pytest.param({"type": "TXT", "proxied": True}, Fault.NOT_PROXIABLE, id="proxied TXT"),
        pytest.param({"ttl": 59}, Fault.TTL, id="TTL too short"),
        pytest.param({"ttl": 86401}, Fault.TTL, id="TTL too long"),
        pytest.param({"name": "a..b"}, Fault.NAME, id="name"),
    ],
)
def test_what_no_name_server_would_serve_is_refused(fields: dict[str, object], fault: Fault) -> None:
    with pytest.raises(Rejected) as rejected:
        record(**fields)
    assert rejected.value.fault is fault


@pytest.mark.parametrize(
    ("new", "old", "fault"),
    [
        pytest.param({}, {}, Fault.IDENTICAL_RECORD, id="the same"),
        pytest.param({"content": "192.0.2.2"}, {}, None, id="a second address"),
        pytest.param({"type": "TXT", "content": "x"}, {}, None, id="TXT beside A"),
        pytest.param(
            {"type": "TXT", "content": '"x"'},
            {"type": "TXT", "content": "x"},
            Fault.IDENTICAL_RECORD,
            id="quotes",
        ),
        pytest.param({"type": "CNAME", "content": "b.example"}, {}, Fault.HOST_EXISTS, id="CNAME on A"),
        pytest.param({}, {"type": "CNAME", "content": "b.example"}, Fault.CNAME_EXISTS, id="A on CNAME"),
        pytest.param(
            {"type": "CNAME", "content": "b.example"},
            {"type": "CNAME", "content": "c.example"},
            Fault.HOST_EXISTS,
            id="CNAME on CNAME",
        ),
        pytest.param({"name": "a"}, {"type": "CNAME", "content": "b.example"}, None, id="another name"),
        pytest.param(
            {"type": "MX", "content": "m.example", "priority": 5},
            {"type": "MX", "content": "m.example", "priority": 10},
            None,
            id="another priority",
        ),
    ],
)
def test_not_all_records_can_stand_side_by_side(
    new: dict[str, object], old: dict[str, object], fault: Fault | None
) -> None:
    assert conflict(record("2", **new), record("1", **old)) is fault


def test_a_record_is_in_nobodys_way_but_its_own() -> None:
    assert conflict(record("1", ttl=300), record("1")) is None


def test_a_patch_changes_what_it_names_and_nothing_else() -> None:
    before = record(ttl=300, comment="old")
    body = patched(before, {"content": "192.0.2.9", "comment": None, "id": "ignored"})
    assert body == RecordBody(type="A", name="www.alpha.example", content="192.0.2.9", ttl=300)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ('"quoted"', "quoted"),
        ('"in two " "parts"', "in two parts"),
        (r'"a \"b\" \\ \010c"', 'a "b" \\ \nc'),
        ('"half', '"half'),
        ('say "hi"', 'say "hi"'),
    ],
)
def test_the_text_of_a_txt_record_is_the_same_however_it_is_quoted(content: str, text: str) -> None:
    assert plain_txt(content) == text


@given(st.text(min_size=1, max_size=600))
def test_a_text_survives_its_quotes(text: str) -> None:
    assert plain_txt(quoted_txt(text)) == text
    assert "\n" not in quoted_txt(text)
