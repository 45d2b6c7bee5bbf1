import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.framing import LARGEST_HEAD, MOST_FIELDS
from gateway.reason import Deny, Reason
from gateway.server.head import Head, RawFields, judge_head

HOST = (b"Host", b"api.example")
PLAIN = [HOST]
V11, V10 = (1, 1), (1, 0)


def judged(
    fields: RawFields = PLAIN,
    *,
    method: str = "GET",
    target: bytes = b"/client/v4/zones",
    version: tuple[int, int] = V11,
) -> Head:
    head = judge_head(method, target, version, fields)
    assert isinstance(head, Head), head
    return head


def refused(
    fields: RawFields = PLAIN,
    *,
    method: str = "GET",
    target: bytes = b"/client/v4/zones",
    version: tuple[int, int] = V11,
) -> Deny:
    deny = judge_head(method, target, version, fields)
    assert isinstance(deny, Deny), deny
    return deny


# The request line.


@pytest.mark.parametrize("version", [pytest.param(V11, id="1.1"), pytest.param(V10, id="1.0")])
def test_two_versions_of_http_are_spoken(version: tuple[int, int]) -> None:
    assert judged(version=version).version == version


@pytest.mark.parametrize(
    "version",
    [
        pytest.param((0, 9), id="0.9"),
        pytest.param((1, 2), id="1.2"),
        pytest.param((2, 0), id="2.0"),
        pytest.param((3, 0), id="3.0"),
    ],
)
def test_any_other_version_is_refused(version: tuple[int, int]) -> None:
    assert refused(version=version) == Deny(
        reason=Reason.BAD_REQUEST, detail="line: the version is neither HTTP/1.1 nor HTTP/1.0"
    )


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PURGE", "connect"])
def test_a_method_is_kept_as_it_came(method: str) -> None:
    assert judged(method=method).method == method


@pytest.mark.parametrize("method", ["CONNECT", "TRACE"])
def test_a_method_that_no_gateway_forwards_is_refused(method: str) -> None:
    assert refused(method=method).reason is Reason.BAD_REQUEST


def test_the_target_is_split_and_kept_byte_for_byte() -> None:
    head = judged(target=b"/client/v4/zones/x?a=%2F&b=?")
    assert head.target.path == b"/client/v4/zones/x"
    assert head.target.query == b"a=%2F&b=?"


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(b"*", id="asterisk form"),
        pytest.param(b"api.example:443", id="authority form"),
        pytest.param(b"zones", id="no slash"),
        pytest.param(b"//zones", id="an empty segment"),
        pytest.param(b"/zones/../user", id="a dot segment"),
        pytest.param(b"/zones#x", id="a fragment"),
        pytest.param(b"/zones\x00", id="a control byte"),
        pytest.param(b"/zones\xff", id="a byte outside ASCII"),
        pytest.param(b"/zones?\xff", id="a byte outside ASCII in the query"),
    ],
)
def test_a_target_that_two_readers_could_read_differently_is_refused(target: bytes) -> None:
    assert refused(target=target).reason is Reason.BAD_REQUEST


# Host.


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(b"api.example", id="a name"),
        pytest.param(b"API.Example:8443", id="a port"),
        pytest.param(b"192.0.2.1", id="IPv4"),
        pytest.param(b"[2001:db8::1]:8080", id="IPv6"),
        pytest.param(b"a_b.example", id="an underscore"),
    ],
)
def test_the_host_is_the_field_s(host: bytes) -> None:
    assert judged([(b"hOST", host)]).host == host


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"a b", id="a blank"),
        pytest.param(b"a,b", id="a comma"),
        pytest.param(b"user@a", id="a user"),
        pytest.param(b"a/b", id="a path"),
        pytest.param(b"http://a", id="a URL"),
        pytest.param(b"a:", id="a colon and no port"),
        pytest.param(b"a:port", id="a port that is none"),
        pytest.param(b"a:123456", id="a port too long"),
        pytest.param(b"[::1", id="an open bracket"),
        pytest.param(b"::1", id="IPv6 without brackets"),
        pytest.param(b"a%2eb", id="an encoded byte"),
        pytest.param("ä.example".encode(), id="not ASCII"),
    ],
)
def test_a_host_that_is_none_is_refused(host: bytes) -> None:
    assert refused([(b"Host", host)]) == Deny(reason=Reason.BAD_REQUEST, detail="headers: Host is not a host and port")


@pytest.mark.parametrize("second", [pytest.param(HOST, id="the same"), pytest.param((b"host", b"b"), id="another")])
def test_two_hosts_are_refused_even_when_both_say_the_same(second: tuple[bytes, bytes]) -> None:
    assert refused([HOST, second]) == Deny(reason=Reason.BAD_REQUEST, detail="headers: two Hosts")


def test_http_1_1_needs_a_host_and_http_1_0_does_not() -> None:
    assert refused([]) == Deny(reason=Reason.BAD_REQUEST, detail="headers: Host is missing")
    assert judged([], version=V10).host == b""


def test_the_absolute_form_s_authority_takes_the_place_of_host() -> None:
    head = judged(target=b"http://other.example:81/zones?x")
    assert head.host == b"other.example:81"
    assert head.target.path == b"/zones"


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        pytest.param(b"http:///zones", PLAIN, id="no authority"),
        pytest.param(b"http://user@a/zones", PLAIN, id="a user in it"),
        pytest.param(b"http://a,b/zones", PLAIN, id="two hosts in it"),
        pytest.param(b"http://a/zones", [(b"Host", b"a b")], id="a bad Host beside it"),
        pytest.param(b"http://a/zones", [HOST, HOST], id="two Hosts beside it"),
        pytest.param(b"http://a/zones", [], id="no Host beside it"),
        pytest.param(b"ftp://a/zones", PLAIN, id="another scheme"),
    ],
)
def test_an_absolute_form_is_judged_as_strictly_as_a_host(target: bytes, fields: RawFields) -> None:
    assert refused(fields, target=target).reason is Reason.BAD_REQUEST


# Fields.


def test_fields_are_kept_in_their_order_byte_for_byte() -> None:
    fields = (HOST, (b"X-B", b"2 \t 3"), (b"x-a", b""), (b"X-B", "ä".encode()))
    head = judged(fields)
    assert head.fields == fields
    assert head.values(b"x-b") == [b"2 \t 3", "ä".encode()]
    assert head.values(b"x-none") == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"X A", id="a blank"),
        pytest.param(b"Content-Length ", id="a blank behind it"),
        pytest.param(b"\tX", id="a tab before it"),
        pytest.param(b"X:", id="a colon"),
        pytest.param(b"X(", id="a bracket"),
        pytest.param(b"X\x00", id="NUL"),
        pytest.param("Ä".encode(), id="not ASCII"),
    ],
)
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    assert refused([HOST, (name, b"x")]) == Deny(reason=Reason.BAD_REQUEST, detail="headers: a name that is no token")


@pytest.mark.parametrize("octet", [*range(0x09), *range(0x0A, 0x20), 0x7F])
def test_a_control_byte_in_a_value_is_refused(octet: int) -> None:
    assert refused([HOST, (b"X", b"a%cb" % octet)]) == Deny(
        reason=Reason.BAD_REQUEST, detail="headers: a control byte in a value"
    )


def test_a_tab_in_a_value_is_none_of_them() -> None:
    assert judged([HOST, (b"X", b"a\tb")]).values(b"x") == [b"a\tb"]


@pytest.mark.parametrize("value", [pytest.param(b"\xff", id="a stray byte"), pytest.param(b"\xc0\xaf", id="overlong")])
def test_a_value_that_is_not_utf_8_is_refused(value: bytes) -> None:
    assert refused([HOST, (b"X", value)]) == Deny(
        reason=Reason.BAD_REQUEST, detail="headers: a value that is not UTF-8"
    )


def test_128_fields_pass_and_129_do_not() -> None:
    many = [HOST] + [(b"X", b"x")] * (MOST_FIELDS - 1)
    assert len(judged(many).fields) == 128
    assert refused([*many, (b"X", b"x")]) == Deny(reason=Reason.HEAD_TOO_LARGE)


def test_64_kib_pass_and_a_byte_more_does_not() -> None:
    target = b"/zones"
    room = LARGEST_HEAD - len(target) - sum(map(len, HOST)) - 1
    assert LARGEST_HEAD == 65536
    assert judged([HOST, (b"X", b"x" * room)], target=target).fields[1][1] == b"x" * room
    assert refused([HOST, (b"X", b"x" * (room + 1))], target=target) == Deny(reason=Reason.HEAD_TOO_LARGE)
    assert refused(target=b"/" + b"x" * LARGEST_HEAD) == Deny(reason=Reason.HEAD_TOO_LARGE)


# Framing.


@pytest.mark.parametrize(
    ("fields", "has_body", "length"),
    [
        pytest.param([], False, None, id="nothing said"),
        pytest.param([(b"Content-Length", b"0")], False, 0, id="length 0"),
        pytest.param([(b"content-LENGTH", b"12")], True, 12, id="a length"),
        pytest.param([(b"Content-Length", b"0012")], True, 12, id="zeros before it"),
        pytest.param([(b"Content-Length", b"9" * 18)], True, 10**18 - 1, id="18 digits"),
        pytest.param([(b"Transfer-Encoding", b"chunked")], True, None, id="chunked"),
        pytest.param([(b"transfer-encoding", b"Chunked")], True, None, id="chunked in another case"),
    ],
)
def test_framing_says_whether_there_is_a_body_and_how_long(
    fields: RawFields,
    has_body: bool,  # noqa: FBT001 - a case's data
    length: int | None,
) -> None:
    head = judged([HOST, *fields], method="POST")
    assert (head.has_body, head.length) == (has_body, length)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([(b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")], id="both"),
        pytest.param([(b"Transfer-Encoding", b"chunked"), (b"Content-Length", b"5")], id="both, the other way round"),
        pytest.param([(b"Content-Length", b"5"), (b"Content-Length", b"5")], id="twice the same"),
        pytest.param([(b"Content-Length", b"5"), (b"Content-Length", b"6")], id="twice"),
        pytest.param([(b"Content-Length", b"5, 5")], id="a list"),
        pytest.param([(b"Content-Length", b"")], id="empty"),
        pytest.param([(b"Content-Length", b"+5")], id="a plus"),
        pytest.param([(b"Content-Length", b"-5")], id="a minus"),
        pytest.param([(b"Content-Length", b"5.0")], id="a fraction"),
        pytest.param([(b"Content-Length", b"0x5")], id="hexadecimal"),
        pytest.param([(b"Content-Length", b"5 5")], id="a blank"),
        pytest.param([(b"Content-Length", b"1_0")], id="an underscore"),
        pytest.param([(b"Content-Length", b"\xd9\xa5")], id="another alphabet's digit"),
        pytest.param([(b"Content-Length", b"9" * 19)], id="19 digits"),
        pytest.param([(b"Content-Length", b"9" * 5000)], id="5,000 digits"),
    ],
)
def test_ambiguous_framing_is_refused(fields: RawFields) -> None:
    assert refused([HOST, *fields], method="POST").reason is Reason.BAD_REQUEST


@pytest.mark.parametrize(
    "codings",
    [
        pytest.param([b"gzip"], id="another"),
        pytest.param([b"gzip, chunked"], id="another before it"),
        pytest.param([b"chunked, gzip"], id="another behind it"),
        pytest.param([b"chunked", b"chunked"], id="twice"),
        pytest.param([b"chunked, chunked"], id="twice in a list"),
        pytest.param([b"identity"], id="identity"),
        pytest.param([b"xchunked"], id="almost"),
        pytest.param([b"chunked;q=1"], id="with a parameter"),
        pytest.param([b"chunked,"], id="a comma behind it"),
        pytest.param([b""], id="empty"),
    ],
)
def test_any_transfer_encoding_but_exactly_chunked_is_not_implemented(codings: list[bytes]) -> None:
    fields = [HOST, *((b"Transfer-Encoding", coding) for coding in codings)]
    assert refused(fields, method="POST") == Deny(reason=Reason.UNSUPPORTED_FRAMING)


def test_transfer_encoding_in_http_1_0_is_refused() -> None:
    assert refused([HOST, (b"Transfer-Encoding", b"chunked")], method="POST", version=V10) == Deny(
        reason=Reason.BAD_REQUEST, detail="headers: Transfer-Encoding in HTTP/1.0"
    )


UPGRADE = [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]


@pytest.mark.parametrize(
    "framing",
    [
        pytest.param((b"Content-Length", b"1"), id="a length"),
        pytest.param((b"Transfer-Encoding", b"chunked"), id="chunked"),
    ],
)
def test_an_upgrade_with_a_body_is_refused(framing: tuple[bytes, bytes]) -> None:
    assert refused([HOST, *UPGRADE, framing]) == Deny(
        reason=Reason.BAD_REQUEST, detail="headers: an upgrade has no body"
    )


def test_an_upgrade_without_a_body_passes() -> None:
    assert not judged([HOST, *UPGRADE]).has_body
    assert not judged([HOST, *UPGRADE, (b"Content-Length", b"0")]).has_body


# Expect.


@pytest.mark.parametrize(
    ("fields", "version", "expects"),
    [
        pytest.param([], V11, False, id="nothing"),
        pytest.param([(b"Expect", b"100-continue")], V11, True, id="as written"),
        pytest.param([(b"eXPECT", b"100-Continue")], V11, True, id="in another case"),
        pytest.param([(b"Expect", b"100-continue")], V10, False, id="HTTP/1.0 knows no 100"),
        pytest.param([(b"Expect", b"200-ok")], V11, False, id="something else"),
    ],
)
def test_a_100_is_owed_to_who_expects_it(
    fields: RawFields,
    version: tuple[int, int],
    expects: bool,  # noqa: FBT001 - a case's data
) -> None:
    head = judged([HOST, *fields, (b"Content-Length", b"1")], method="POST", version=version)
    assert head.expects_continue is expects


# Properties.

names = st.binary(max_size=12) | st.sampled_from(
    [b"Host", b"Content-Length", b"Transfer-Encoding", b"Upgrade", b"Expect"]
)
values = st.binary(max_size=12) | st.sampled_from([b"chunked", b"5", b"api.example", b"100-continue"])
requests = {
    "method": st.sampled_from(["GET", "POST", "TRACE"]),
    "target": st.binary(max_size=20) | st.sampled_from([b"/a", b"/a?b", b"http://h/a"]),
    "version": st.sampled_from([V10, V11, (2, 0)]),
    "fields": st.lists(st.tuples(names, values), max_size=6),
}


@given(**requests)
def test_whatever_comes_is_a_head_or_a_refusal_without_a_byte_of_it(
    method: str, target: bytes, version: tuple[int, int], fields: list[tuple[bytes, bytes]]
) -> None:
    match judge_head(method, target, version, fields):
        case Head() as head:
            assert head.fields == tuple(fields)
            assert head.length or head.has_body is bool(head.values(b"transfer-encoding"))
        case Deny() as deny:
            assert deny.reason in (Reason.BAD_REQUEST, Reason.HEAD_TOO_LARGE, Reason.UNSUPPORTED_FRAMING)
            assert deny.path == deny.address == ""


@given(**requests)
def test_no_head_has_two_ways_to_find_its_end(
    method: str, target: bytes, version: tuple[int, int], fields: list[tuple[bytes, bytes]]
) -> None:
    head = judge_head(method, target, version, fields)
    if isinstance(head, Head):
        framing = head.values(b"content-length") + head.values(b"transfer-encoding")
        assert len(framing) <= 1
        assert not any(octet < 0x20 and octet != 0x09 for name, value in head.fields for octet in name + value)
