"""The reader on bytes: tables, and two properties beside each of their rows. A head that comes in pieces is judged like
one that comes whole (`judge` looks at each beginning), and a second reader, written straight from the grammars, finds
the same (`naive_head.py`).
"""

from collections.abc import Iterable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from support.records import principal, secret_of, token
from unit.server.naive_head import GoesOn, Naive, NoHead, is_another_spelling, naively

from gateway.proxy.field_line import FieldLine, KnownLines, Role, read_line
from gateway.proxy.framing import LARGEST_HEAD, MOST_FIELDS
from gateway.reason import Deny, Reason
from gateway.server.head import Head, HeadReader, Unfinished
from gateway.server.shown_lines import Shown, ShownLines

TOKEN_FIELDS = frozenset({"authorization", "x-api-key"})
SECRET_FIELDS = TOKEN_FIELDS | {"x-upstream-key"}
HOST = b"Host: api.example"
LINE = b"GET /client/v4/zones HTTP/1.1"
BEARER = b"Authorization: Bearer " + secret_of().reveal().encode()
KEY = b"X-API-Key: " + secret_of().reveal().encode()
NEXT = b"GET /behind HTTP/1.1\r\nHost: behind\r\n\r\n"

Verdict = Head | Unfinished | Deny


def reader(
    lines: KnownLines | None = None,
    *,
    token_fields: frozenset[str] = TOKEN_FIELDS,
    secret_fields: frozenset[str] = SECRET_FIELDS,
    shown: ShownLines | None = None,
) -> HeadReader:
    """A reader to which nothing is known but `lines` and `shown`."""
    return HeadReader(
        lines or KnownLines(),
        token_fields=token_fields,
        secret_fields=secret_fields,
        shown=(shown or ShownLines()).lines,
    )


READER = reader()


def request(*fields: bytes, line: bytes = LINE) -> bytes:
    return b"\r\n".join([line, *fields, b"", b""])


def in_pieces(data: bytes, cuts: Iterable[int], by: HeadReader = READER) -> Verdict:
    """The first verdict on a beginning of `data` that is one: the same whether what was seen before is told or not."""
    seen = 0
    for cut in (*cuts, len(data)):
        verdict = by.read(data[:cut])
        assert by.read(data[:cut], seen) == verdict
        if not isinstance(verdict, Unfinished):
            break
        seen = cut
    return verdict


def judge(data: bytes) -> Verdict:
    """The verdict on `data`, which is that of its first beginning that has one, and the naive reader's."""
    verdict = READER.read(data)
    assert in_pieces(data, range(len(data))) == verdict
    check_by_naive(data, verdict)
    return verdict


def judged(*fields: bytes, line: bytes = LINE) -> Head:
    head = judge(request(*fields, line=line) + NEXT)
    assert isinstance(head, Head), head
    assert head.size == len(request(*fields, line=line))
    return head


def refused(*fields: bytes, line: bytes = LINE) -> Deny:
    deny = judge(request(*fields, line=line) + NEXT)
    assert isinstance(deny, Deny), deny
    return deny


def bad(detail: str) -> Deny:
    return Deny(reason=Reason.BAD_REQUEST, detail=detail)


NO_LINE = bad("line: not METHOD TARGET HTTP/1.1")
NO_VERSION = bad("line: the version is neither HTTP/1.1 nor HTTP/1.0")
NO_METHOD = bad("line: a method that is no token")
BARE = bad("headers: a line end that is not CRLF")
NO_NAME = bad("headers: a name that is no token")
FOLDED = bad("headers: a line that is folded")
CONTROL = bad("headers: a control byte in a value")
NO_HOST = bad("headers: Host is not a host and port")
TWO_HOSTS = bad("headers: two Hosts")
HOST_MISSING = bad("headers: Host is missing")
NO_LENGTH = bad("headers: Content-Length is not one number")
TWO_FRAMINGS = bad("headers: both Transfer-Encoding and Content-Length")
UPGRADE_WITH_BODY = bad("headers: an upgrade has no body")
NO_CODING = Deny(reason=Reason.UNSUPPORTED_FRAMING)
TOO_LARGE = Deny(reason=Reason.HEAD_TOO_LARGE)
NOT_PLAIN = bad("path: an encoded character that has to stand plain, or must not stand here at all")
NO_PATH = bad("path: a byte that RFC 3986 does not allow in a path")
NO_FORM = bad("path: neither origin form nor absolute form")
NO_QUERY = bad("query: a control byte, a # or a byte outside ASCII")


# The request line.


@pytest.mark.parametrize(
    ("version", "is_1_1"), [pytest.param(b"1.1", True, id="1.1"), pytest.param(b"1.0", False, id="1.0")]
)
def test_two_versions_of_http_are_spoken(version: bytes, is_1_1: bool) -> None:  # noqa: FBT001 - a case's data
    assert judged(HOST, line=b"GET / HTTP/" + version).is_1_1 is is_1_1


@pytest.mark.parametrize(
    "version",
    [
        pytest.param(b"HTTP/0.9", id="0.9"),
        pytest.param(b"HTTP/1.2", id="1.2"),
        pytest.param(b"HTTP/2.0", id="2.0"),
        pytest.param(b"HTTP/3.0", id="3.0"),
        pytest.param(b"HTTP/1.10", id="1.10"),
        pytest.param(b"HTTP/01.1", id="01.1"),
        pytest.param(b"HTTP/1", id="no minor one"),
        pytest.param(b"HTTP/1,1", id="a comma"),
        pytest.param(b"http/1.1", id="in small letters"),
        pytest.param(b"HTTPS/1.1", id="another protocol"),
        pytest.param(b"HTTP/1.1\t", id="a tab behind it"),
        pytest.param(b"HTTP/1.1\r", id="a CR behind it"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_any_other_version_is_refused(version: bytes) -> None:
    assert refused(HOST, line=b"GET / " + version) == NO_VERSION


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"GET /", id="HTTP/0.9"),
        pytest.param(b"GET", id="a method alone"),
        pytest.param(b"GET  / HTTP/1.1", id="two blanks before the target"),
        pytest.param(b"GET /  HTTP/1.1", id="two blanks before the version"),
        pytest.param(b"GET / HTTP/1.1 ", id="a blank behind the version"),
        pytest.param(b" GET / HTTP/1.1", id="a blank before the method"),
        pytest.param(b"GET\t/\tHTTP/1.1", id="tabs for blanks"),
        pytest.param(b"GET /a b HTTP/1.1", id="a blank in the target"),
        pytest.param(b"GET / HTTP/1.1 x", id="something behind the version"),
        pytest.param(b"HTTP/1.1 200 OK no", id="an answer"),
        pytest.param(b"GET /\n HTTP/1.1", id="a LF in the target"),
        pytest.param(b"\nGET / HTTP/1.1", id="a LF before the method"),
        pytest.param(b"GET / HTTP/1.1\nX: y", id="a LF for its end"),
        pytest.param(b"\r", id="a CR alone"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n", id="TLS"),
    ],
)
def test_what_is_not_three_parts_with_a_blank_between_them_is_no_request_line(line: bytes) -> None:
    assert refused(HOST, line=line) == NO_LINE


@pytest.mark.parametrize(
    "method",
    [b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"PURGE", b"connect", b"!#$%&'*+-.^_`|~"],
)
def test_a_method_is_kept_as_it_came(method: bytes) -> None:
    assert judged(HOST, line=method + b" / HTTP/1.1").method == method.decode()


@pytest.mark.parametrize("method", [b"CONNECT", b"TRACE"])
def test_a_method_that_no_gateway_forwards_is_refused(method: bytes) -> None:
    assert refused(HOST, line=method + b" / HTTP/1.1") == bad("line: a method that no gateway forwards")


@pytest.mark.parametrize("method", [b"", b"GE(T", b"G\x00ET", b"G\xc3\x84T", b"GET:", b"\rGET", b'"GET"', b"{GET}"])
def test_a_method_is_a_token(method: bytes) -> None:
    assert refused(HOST, line=method + b" / HTTP/1.1") == NO_METHOD


def test_a_listener_may_read_targets_in_its_own_way() -> None:
    """Of a head that is whole, and of one whose first line has come."""
    deny = Deny(reason=Reason.NO_ROUTE)
    by = HeadReader(KnownLines(), token_fields=frozenset(), secret_fields=frozenset(), shown={}, split=lambda _: deny)
    assert by.read(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n") == deny
    assert by.read(b"GET /a HTTP/1.1\r\n") == deny


def test_the_target_is_split_and_kept_byte_for_byte() -> None:
    head = judged(HOST, line=b"GET /client/v4/zones/x?a=%2F&b=? HTTP/1.1")
    assert head.target.path == b"/client/v4/zones/x"
    assert head.target.query == b"a=%2F&b=?"


@pytest.mark.parametrize(
    ("target", "deny"),
    [
        pytest.param(b"*", NO_FORM, id="asterisk form"),
        pytest.param(b"api.example:443", NO_FORM, id="authority form"),
        pytest.param(b"zones", NO_FORM, id="no slash"),
        pytest.param(b"", NO_FORM, id="nothing"),
        pytest.param(b"ftp://a/zones", NO_FORM, id="another scheme"),
        pytest.param(b"//zones", bad("path: an empty segment"), id="an empty segment"),
        pytest.param(b"/zones/../user", bad("path: a dot segment"), id="a dot segment"),
        pytest.param(b"/zones/%2e%2e/user", NOT_PLAIN, id="an encoded dot segment"),
        pytest.param(b"/zones%2fuser", NOT_PLAIN, id="an encoded slash"),
        pytest.param(b"/zones/%C3", bad("path: encoded bytes that are not UTF-8"), id="half a character"),
        pytest.param(b"/zones#x", NO_PATH, id="a fragment"),
        pytest.param(b"/zones\x00", NO_PATH, id="a control byte"),
        pytest.param(b"/zones\r", NO_PATH, id="a CR"),
        pytest.param(b"/zones\xff", NO_PATH, id="a byte outside ASCII"),
        pytest.param(b"/zones?\xff", NO_QUERY, id="a byte outside ASCII in the query"),
        pytest.param(b"/zones?a#b", NO_QUERY, id="a fragment behind the query"),
        pytest.param(b"/zones?a\rb", NO_QUERY, id="a CR in the query"),
    ],
)
def test_a_target_that_two_readers_could_read_differently_is_refused(target: bytes, deny: Deny) -> None:
    assert refused(HOST, line=b"GET %b HTTP/1.1" % target) == deny


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
    assert judged(b"hOST: " + host).host == host


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"a b", id="a blank"),
        pytest.param(b"a,b", id="a comma"),
        pytest.param(b"user@a", id="a user"),
        pytest.param(b"a/b", id="a path"),
        pytest.param(b"a/b@c", id="a path that looks like a user"),
        pytest.param(b"http://a", id="a URL"),
        pytest.param(b"a:", id="a colon and no port"),
        pytest.param(b":80", id="a port and no name"),
        pytest.param(b"a:port", id="a port that is none"),
        pytest.param(b"a:123456", id="a port too long"),
        pytest.param(b"a:\xb2", id="a port of another alphabet"),
        pytest.param(b"[::1", id="an open bracket"),
        pytest.param(b"[]", id="nothing in brackets"),
        pytest.param(b"[::1]x", id="something behind the bracket"),
        pytest.param(b"::1", id="IPv6 without brackets"),
        pytest.param(b"a%2eb", id="an encoded byte"),
        pytest.param(b"a?b", id="a query"),
        pytest.param("ä.example".encode(), id="not ASCII"),
    ],
)
def test_a_host_that_is_none_is_refused(host: bytes) -> None:
    assert refused(b"Host: " + host) == NO_HOST


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(HOST, id="the same"),
        pytest.param(b"host: b", id="another"),
        pytest.param(b"Host:api.example", id="the same in other bytes"),
    ],
)
def test_two_hosts_are_refused_even_when_both_say_the_same(second: bytes) -> None:
    assert refused(HOST, second) == TWO_HOSTS
    assert refused(HOST, second, line=b"GET / HTTP/1.0") == TWO_HOSTS


def test_http_1_1_needs_a_host_and_http_1_0_does_not() -> None:
    assert refused() == HOST_MISSING
    assert refused(b"X-Host: a") == HOST_MISSING
    assert judged(line=b"GET / HTTP/1.0").host == b""


def test_the_absolute_form_s_authority_takes_the_place_of_host() -> None:
    head = judged(HOST, line=b"GET http://other.example:81/zones?x HTTP/1.1")
    assert head.host == b"other.example:81"
    assert head.target.path == b"/zones"


@pytest.mark.parametrize(
    ("target", "fields", "deny"),
    [
        pytest.param(b"http:///zones", [HOST], NO_HOST, id="no authority"),
        pytest.param(b"http://user@a/zones", [HOST], NO_HOST, id="a user in it"),
        pytest.param(b"http://a,b/zones", [HOST], NO_HOST, id="two hosts in it"),
        pytest.param(b"http://a:/zones", [HOST], NO_HOST, id="a colon and no port in it"),
        pytest.param(b"http://a/zones", [b"Host: a b"], NO_HOST, id="a bad Host beside it"),
        pytest.param(b"http://a/zones", [HOST, HOST], TWO_HOSTS, id="two Hosts beside it"),
        pytest.param(b"http://a/zones", [], HOST_MISSING, id="no Host beside it"),
        pytest.param(b"http://a/zones/..", [HOST], bad("path: a dot segment"), id="a dot segment behind it"),
    ],
)
def test_an_absolute_form_is_judged_as_strictly_as_a_host(target: bytes, fields: list[bytes], deny: Deny) -> None:
    assert refused(*fields, line=b"GET %b HTTP/1.1" % target) == deny


# Fields.


def test_fields_are_kept_in_their_order_byte_for_byte() -> None:
    head = judged(HOST, b"X-B: 2 \t 3", b"x-a:", BEARER, b"X-B:\t" + "ä".encode(), b"Via: 1.1 a", b"X-C:c")
    assert [field.sent for field in head.ordinary] == [
        b"X-B: 2 \t 3\r\n",
        b"x-a: \r\n",
        b"X-B: \xc3\xa4\r\n",
        b"X-C: c\r\n",
    ]
    assert [field.name for field in head.special] == [b"host", b"via"]
    assert head.values(b"x-b") == [b"2 \t 3", "ä".encode()]
    assert head.values(b"via") == [b"1.1 a"]
    assert head.values(b"x-none") == []


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b": x", id="nothing"),
        pytest.param(b"X A: x", id="a blank"),
        pytest.param(b"Content-Length : 5", id="a blank behind it"),
        pytest.param(b"X\t: x", id="a tab behind it"),
        pytest.param(b"X(: x", id="a bracket"),
        pytest.param(b"X\x00: x", id="NUL"),
        pytest.param(b"X\r: x", id="a CR"),
        pytest.param(b"\rX: x", id="a CR before it"),
        pytest.param("Ä: x".encode(), id="not ASCII"),
        pytest.param(b"X", id="no colon"),
        pytest.param(b"\r", id="a CR alone"),
        pytest.param(b"GET / HTTP/1.1", id="a request line"),
    ],
)
def test_a_name_that_is_no_token_is_refused(line: bytes) -> None:
    assert refused(HOST, line) == NO_NAME
    assert refused(line, HOST) == NO_NAME


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b" folded", id="a blank"),
        pytest.param(b"\tfolded", id="a tab"),
        pytest.param(b" Host: b", id="what looks like a field"),
        pytest.param(b" ", id="a blank alone"),
    ],
)
def test_a_line_that_goes_on_with_the_one_before_it_is_refused(line: bytes) -> None:
    assert refused(HOST, b"X: a", line) == FOLDED
    assert refused(line, HOST) == FOLDED


@pytest.mark.parametrize("octet", [*range(0x09), *range(0x0B, 0x20), 0x7F])
def test_a_control_byte_in_a_value_is_refused(octet: int) -> None:
    for value in (b"a%cb" % octet, b"%cb" % octet, b"a%c" % octet):
        assert refused(HOST, b"X: " + value) == CONTROL


def test_a_tab_in_a_value_is_none_of_them() -> None:
    assert judged(HOST, b"X: a\tb").values(b"x") == [b"a\tb"]


@pytest.mark.parametrize("value", [pytest.param(b"\xff", id="a stray byte"), pytest.param(b"\xc0\xaf", id="overlong")])
def test_a_value_that_is_not_utf_8_goes_on_as_it_is(value: bytes) -> None:
    """RFC 9110 5.5: to whom they mean nothing, they are opaque."""
    assert judged(HOST, b"X: " + value).ordinary[0].sent == b"X: %b\r\n" % value


@pytest.mark.parametrize(
    ("data", "deny"),
    [
        pytest.param(b"GET / HTTP/1.1\nHost: a\r\n\r\n", NO_LINE, id="behind the request line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n", BARE, id="behind a field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\n\r\n\r\n", BARE, id="behind the last field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\n", BARE, id="for the empty line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n\n", BARE, id="for the end"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\nZ: y\r\n\r\n", BARE, id="between two fields"),
        pytest.param(b"GET / HTTP/1.1\n\n", NO_LINE, id="for all"),
        pytest.param(b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", NO_LINE, id="before the request"),
        pytest.param(b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", NO_LINE, id="for the second empty line before it"),
        pytest.param(b"GET / HTTP/3.0\r\nHost: a\n\r\n\r\n", NO_VERSION, id="behind a request line that is none"),
    ],
)
def test_a_line_ends_with_crlf_and_with_nothing_else(data: bytes, deny: Deny) -> None:
    assert judge(data + NEXT) == deny


@pytest.mark.parametrize("number", [0, 1, 2, 8])
def test_empty_lines_before_a_request_are_passed_over(number: int) -> None:
    blank = b"\r\n" * number
    head = judge(blank + request(HOST) + NEXT)
    assert isinstance(head, Head)
    assert head.size == len(blank) + len(request(HOST))


def test_there_is_an_end_to_empty_lines() -> None:
    """Who sends nothing else sends no request, however long it takes; they are looked at again with each that comes."""
    assert judge(b"\r\n" * 9) == NO_LINE
    assert judge(b"\r\n" * 9 + request(HOST)) == NO_LINE
    assert judge(b"\r\n" * 40_000) == NO_LINE


# What has come of a head.


@pytest.mark.parametrize(
    "data", [pytest.param(b"", id="nothing"), *(b"\r\n" * number for number in (1, 2, 8)), b"\r", b"\r\n\r"]
)
def test_where_nothing_but_empty_lines_has_come_no_head_has_begun(data: bytes) -> None:
    assert judge(data) == Unfinished(blank=True)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"G", id="a letter"),
        pytest.param(b"\r\nG", id="a letter behind an empty line"),
        pytest.param(b"\rG", id="a letter behind a CR"),
        pytest.param(b"GET / HTTP/9.9", id="a line that is none, and goes on"),
        pytest.param(b"GET / HTTP/9.9\r", id="its CR"),
        pytest.param(b"GET / HTTP/1.1\r\n", id="a line"),
        pytest.param(b"GET / HTTP/1.1\r\n\r", id="a line, and a CR"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n", id="a field"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n\r", id="all but the last byte"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nno field\r\n folded\r\n", id="what will be refused"),
    ],
)
def test_a_head_that_goes_on_is_not_judged_by_its_fields(data: bytes) -> None:
    assert judge(data) == Unfinished(blank=False)


@pytest.mark.parametrize(
    ("data", "deny"),
    [
        pytest.param(b"GET /\r\n", NO_LINE, id="HTTP/0.9"),
        pytest.param(b"GET / HTTP/2.0\r\n", NO_VERSION, id="another version"),
        pytest.param(b"PRI * HTTP/2.0\r\n", NO_VERSION, id="HTTP/2's first line"),
        pytest.param(b"GET /a//b HTTP/1.1\r\n", bad("path: an empty segment"), id="a bad target"),
        pytest.param(b"G\n", NO_LINE, id="a bare LF in the line"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\n", BARE, id="a bare LF behind it"),
    ],
)
def test_some_is_refused_as_soon_as_it_is_seen(data: bytes, deny: Deny) -> None:
    assert judge(data) == deny


@pytest.mark.parametrize(
    ("target", "is_judged"),
    [pytest.param(b"/a//" + b"b" * 200, True, id="short"), pytest.param(b"/a//" + b"b" * 500, False, id="long")],
)
def test_a_long_request_line_is_judged_when_its_head_is_whole(target: bytes, is_judged: bool) -> None:  # noqa: FBT001 - a case's data
    """It would be judged again with each byte that comes: the longest takes as long as a hundred requests."""
    line, deny = b"GET %b HTTP/1.1\r\n" % target, bad("path: an empty segment")
    assert READER.read(line + b"X: y\r\n") == (deny if is_judged else Unfinished(blank=False))
    assert judge(line + b"Host: a\r\n\r\n") == deny
    assert judge(line + b"Host: a\n") == deny


# Limits.


def test_128_fields_pass_and_129_do_not() -> None:
    many = [HOST] + [b"X: x"] * (MOST_FIELDS - 1)
    assert MOST_FIELDS == 128
    assert len(judged(*many).ordinary) == 127
    assert refused(*many, b"X: x") == TOO_LARGE
    assert refused(*many, b"no field") == TOO_LARGE
    assert refused(*many, b"X: x", line=b"GET") == NO_LINE


def cuts_of(data: bytes) -> list[int]:
    """Where a large head may be cut so that something is seen: each byte of its two ends, and around the limit."""
    near = (0, LARGEST_HEAD, len(data))
    return sorted({cut for place in near for cut in range(place - 40, place + 40) if 0 <= cut <= len(data)})


def judge_large(data: bytes) -> Verdict:
    verdict = READER.read(data)
    assert in_pieces(data, cuts_of(data)) == verdict
    check_by_naive(data, verdict)
    return verdict


@pytest.mark.parametrize("blank", [pytest.param(b"", id="at once"), pytest.param(b"\r\n\r\n", id="behind empty lines")])
def test_64_kib_pass_and_a_byte_more_does_not(blank: bytes) -> None:
    assert LARGEST_HEAD == 65536
    room = LARGEST_HEAD - len(request(HOST, b"X: "))
    for filled in (
        request(HOST, b"X: " + b"x" * room),
        request(HOST, line=LINE.replace(b" H", b"x" * (room + 5) + b" H")),
    ):
        assert len(filled) == LARGEST_HEAD
        head = judge_large(blank + filled + NEXT)
        assert isinstance(head, Head)
        assert head.size == len(blank) + LARGEST_HEAD
        assert judge_large(blank + filled.replace(b"xxx", b"xxxx", 1) + NEXT) == TOO_LARGE


@pytest.mark.parametrize(
    ("data", "deny"),
    [
        pytest.param(b"G" * 70_000, TOO_LARGE, id="a line that does not end"),
        pytest.param(LINE + b"\r\nX: " + b"x" * 70_000, TOO_LARGE, id="a field that does not end"),
        pytest.param(request(*[b"X: " + b"x" * 1000] * 100), TOO_LARGE, id="many fields"),
        pytest.param(request(*[b"a:"] * 20_000), TOO_LARGE, id="more fields than there may be"),
        pytest.param(request(b"X: " + b"x" * 70_000, line=b"GET /"), NO_LINE, id="behind a line that is none"),
        pytest.param(
            request(b"X: " + b"x" * 70_000, line=b"GET /%b HTTP/9.9" % (b"x" * 300)),
            NO_VERSION,
            id="behind a long line that is none",
        ),
        pytest.param(LINE + b"\r\nX: " + b"x" * 65_000 + b"\n" + b"x" * 70_000, BARE, id="a bare LF in it"),
        pytest.param(LINE + b"\r\nX: " + b"x" * 65_600 + b"\n" + b"x" * 70_000, TOO_LARGE, id="a bare LF behind it"),
        pytest.param(b"G" * 65_000 + b"\n" + b"x" * 70_000, NO_LINE, id="a bare LF in a line that does not end"),
        pytest.param(b"\r" * 70_000, TOO_LARGE, id="CRs"),
    ],
)
def test_a_head_over_64_kib_is_refused_as_soon_as_that_is_seen(data: bytes, deny: Deny) -> None:
    assert judge_large(data) == deny


# Framing.


@pytest.mark.parametrize(
    ("fields", "has_body", "length"),
    [
        pytest.param([], False, None, id="nothing said"),
        pytest.param([b"Content-Length: 0"], False, 0, id="length 0"),
        pytest.param([b"content-LENGTH: 12"], True, 12, id="a length"),
        pytest.param([b"Content-Length: \t12 "], True, 12, id="blanks around it"),
        pytest.param([b"Content-Length: 0012"], True, 12, id="zeros before it"),
        pytest.param([b"Content-Length: " + b"9" * 18], True, 10**18 - 1, id="18 digits"),
        pytest.param([b"Transfer-Encoding: chunked"], True, None, id="chunked"),
        pytest.param([b"transfer-encoding:Chunked"], True, None, id="chunked in another case"),
        pytest.param([b"Transfer_Encoding: gzip", b"Content.Length: 7"], False, None, id="what only CGI takes for it"),
    ],
)
def test_framing_says_whether_there_is_a_body_and_how_long(
    fields: list[bytes],
    has_body: bool,  # noqa: FBT001 - a case's data
    length: int | None,
) -> None:
    head = judged(HOST, *fields, line=b"POST / HTTP/1.1")
    assert (head.has_body, head.length) == (has_body, length)


@pytest.mark.parametrize(
    ("fields", "deny"),
    [
        pytest.param([b"Content-Length: 5", b"Transfer-Encoding: chunked"], TWO_FRAMINGS, id="both"),
        pytest.param(
            [b"Transfer-Encoding: chunked", b"Content-Length: 5"], TWO_FRAMINGS, id="both, the other way round"
        ),
        pytest.param([b"Transfer-Encoding: gzip", b"Content-Length: 5"], TWO_FRAMINGS, id="both, and another coding"),
        pytest.param([b"Content-Length: 5", b"Content-Length: 5"], NO_LENGTH, id="twice the same"),
        pytest.param([b"Content-Length: 5", b"Content-Length: 6"], NO_LENGTH, id="twice"),
        pytest.param([b"Content-Length: 5, 5"], NO_LENGTH, id="a list"),
        pytest.param([b"Content-Length:"], NO_LENGTH, id="empty"),
        pytest.param([b"Content-Length: +5"], NO_LENGTH, id="a plus"),
        pytest.param([b"Content-Length: -5"], NO_LENGTH, id="a minus"),
        pytest.param([b"Content-Length: 5.0"], NO_LENGTH, id="a fraction"),
        pytest.param([b"Content-Length: 0x5"], NO_LENGTH, id="hexadecimal"),
        pytest.param([b"Content-Length: 5 5"], NO_LENGTH, id="a blank"),
        pytest.param([b"Content-Length: 1_0"], NO_LENGTH, id="an underscore"),
        pytest.param([b"Content-Length: \xd9\xa5"], NO_LENGTH, id="another alphabet's digit"),
        pytest.param([b"Content-Length: " + b"9" * 19], NO_LENGTH, id="19 digits"),
        pytest.param([b"Content-Length: " + b"9" * 5000], NO_LENGTH, id="5,000 digits"),
    ],
)
def test_ambiguous_framing_is_refused(fields: list[bytes], deny: Deny) -> None:
    assert refused(HOST, *fields, line=b"POST / HTTP/1.1") == deny


@pytest.mark.parametrize(
    "codings",
    [
        pytest.param([b"gzip"], id="another"),
        pytest.param([b"gzip, chunked"], id="another before it"),
        pytest.param([b"identity, chunked"], id="identity before it"),
        pytest.param([b"chunked, gzip"], id="another behind it"),
        pytest.param([b"chunked", b"chunked"], id="twice"),
        pytest.param([b"chunked", b""], id="twice, once empty"),
        pytest.param([b"chunked, chunked"], id="twice in a list"),
        pytest.param([b"identity"], id="identity"),
        pytest.param([b"xchunked"], id="almost"),
        pytest.param([b"chunked;q=1"], id="with a parameter"),
        pytest.param([b"chunked,"], id="a comma behind it"),
        pytest.param([b'"chunked"'], id="in quotes"),
        pytest.param([b""], id="empty"),
    ],
)
def test_any_transfer_encoding_but_exactly_chunked_is_not_implemented(codings: list[bytes]) -> None:
    fields = [b"Transfer-Encoding: " + coding for coding in codings]
    assert refused(HOST, *fields, line=b"POST / HTTP/1.1") == NO_CODING


def test_transfer_encoding_in_http_1_0_is_refused() -> None:
    assert refused(HOST, b"Transfer-Encoding: chunked", line=b"POST / HTTP/1.0") == bad(
        "headers: Transfer-Encoding in HTTP/1.0"
    )


BODIES = [
    pytest.param(b"Content-Length: 1", id="a length"),
    pytest.param(b"Transfer-Encoding: chunked", id="chunked"),
]


@pytest.mark.parametrize("framing", BODIES)
@pytest.mark.parametrize(
    "upgrade",
    [
        pytest.param([b"Connection: Upgrade", b"Upgrade: websocket"], id="as written"),
        pytest.param([b"connection: upgrade", b"upgrade: WebSocket"], id="in another case"),
        pytest.param([b"Connection: Upgrade", b"Upgrade: h2c, websocket/13"], id="among others"),
        pytest.param([b"Upgrade: h2c", b"Upgrade: websocket"], id="in a second field"),
        pytest.param([b"Upgrade: websocket", b"Upgrade: h2c"], id="in a first field"),
        pytest.param([b"Upgrade: websocket"], id="where Connection does not name it"),
    ],
)
def test_an_upgrade_with_a_body_is_refused(upgrade: list[bytes], framing: bytes) -> None:
    """Whose the bytes behind the head are, the body's or the tunnel's, two readers could read differently."""
    assert refused(HOST, *upgrade, framing) == UPGRADE_WITH_BODY


def test_an_upgrade_without_a_body_passes() -> None:
    upgrade = (b"Connection: Upgrade", b"Upgrade: websocket")
    for fields in (upgrade, (*upgrade, b"Content-Length: 0")):
        head = judged(HOST, *fields)
        assert (head.upgrade, head.has_body) == (True, False)


@pytest.mark.parametrize("framing", BODIES)
def test_an_upgrade_that_is_dropped_may_have_a_body(framing: bytes) -> None:
    """Java's client asks for h2c with each POST of its own accord."""
    h2c = (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk")
    head = judged(HOST, *h2c, framing, line=b"POST / HTTP/1.1")
    assert (head.upgrade, head.has_body) == (False, True)


# Expect, Connection.


@pytest.mark.parametrize(
    ("fields", "version", "expects"),
    [
        pytest.param([], b"1.1", False, id="nothing"),
        pytest.param([b"Expect: 100-continue"], b"1.1", True, id="as written"),
        pytest.param([b"eXPECT: 100-Continue"], b"1.1", True, id="in another case"),
        pytest.param([b"Expect: 100-continue"], b"1.0", False, id="HTTP/1.0 knows no 100"),
        pytest.param([b"Expect: 200-ok"], b"1.1", False, id="something else"),
        pytest.param([b"Expect: 200-ok", b"Expect: 100-continue"], b"1.1", True, id="in the second of two"),
        pytest.param([b"Expect: 100-continue", b"Expect: 200-ok"], b"1.1", True, id="in the first of two"),
    ],
)
def test_a_100_is_owed_to_who_expects_it(
    fields: list[bytes],
    version: bytes,
    expects: bool,  # noqa: FBT001 - a case's data
) -> None:
    head = judged(HOST, *fields, b"Content-Length: 1", line=b"POST / HTTP/" + version)
    assert head.expects_continue is expects


@pytest.mark.parametrize(
    ("fields", "options", "keeps_1_1", "keeps_1_0"),
    [
        pytest.param([], set(), True, False, id="nothing"),
        pytest.param([b"Connection: close"], {b"close"}, False, False, id="close"),
        pytest.param([b"connection: Close"], {b"close"}, False, False, id="close in another case"),
        pytest.param([b"Connection: keep-alive"], {b"keep-alive"}, True, True, id="keep-alive"),
        pytest.param([b"Connection: Keep-Alive"], {b"keep-alive"}, True, True, id="keep-alive in another case"),
        pytest.param([b"Connection: keep-alive, \tclose"], {b"keep-alive", b"close"}, False, False, id="both"),
        pytest.param(
            [b"Connection: keep-alive", b"Connection: close"], {b"keep-alive", b"close"}, False, False, id="both in two"
        ),
        pytest.param([b"Connection: X-A", b"Connection: ,x-B"], {b"x-a", b"x-b", b""}, True, False, id="fields"),
        pytest.param([b"Connection: closed"], {b"closed"}, True, False, id="almost close"),
        pytest.param([b"Proxy-Connection: close"], set(), True, False, id="what older practice has"),
    ],
)
def test_connection_names_options_and_says_whether_it_goes_on(
    fields: list[bytes],
    options: set[bytes],
    keeps_1_1: bool,  # noqa: FBT001 - a case's data
    keeps_1_0: bool,  # noqa: FBT001 - a case's data
) -> None:
    found = [judged(HOST, *fields, line=b"GET / HTTP/" + version) for version in (b"1.1", b"1.0")]
    assert [head.keep_alive for head in found] == [keeps_1_1, keeps_1_0]
    assert [head.options for head in found] == [options, options]


# Credentials.


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        pytest.param([], [], id="none"),
        pytest.param([BEARER], [b"authorization"], id="a bearer"),
        pytest.param([b"aUTHORIZATION: x"], [b"authorization"], id="a name in any case"),
        pytest.param([KEY], [b"x-api-key"], id="another field"),
        pytest.param([b"x-Api-kEY:x"], [b"x-api-key"], id="that one in any case"),
        pytest.param([BEARER, BEARER], [b"authorization"] * 2, id="the same twice"),
        pytest.param([BEARER, b"authorization:"], [b"authorization"] * 2, id="one of two is empty"),
        pytest.param([KEY, b"Accept: */*", BEARER], [b"x-api-key", b"authorization"], id="two fields, in their order"),
        pytest.param([b"Accept: */*", b"Cookie: " + KEY], [], id="other fields only"),
        pytest.param([b"Proxy-Authorization: Bearer x"], [], id="the proxy's field"),
        pytest.param([b"X-Upstream-Key: x"], [], id="a field in which the upstream is logged in to"),
        pytest.param([b"Authorization_: x", b"X-Authorization: x"], [], id="a name that only looks like it"),
        pytest.param([b"X_API_Key: x", b"X.API.Key: x"], [], id="another spelling"),
    ],
)
def test_fields_in_which_a_token_may_come_are_told_apart(fields: list[bytes], names: list[bytes]) -> None:
    head = judged(HOST, *fields)
    assert [field.name for _, field in head.credentials] == names
    assert all(read_line(line) == field for line, field in head.credentials)
    assert head.shown is None


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(BEARER, id="a bearer"),
        pytest.param(KEY, id="a key"),
        pytest.param(b"X_API_Key: x", id="another spelling"),
        pytest.param(b"x.api.key: x", id="a third one"),
        pytest.param(b"X-Upstream-Key: x", id="the upstream's"),
        pytest.param(b"X_Upstream-Key: x", id="the upstream's in another spelling"),
    ],
)
def test_a_field_of_a_credential_is_among_none_that_pass_and_its_line_is_not_told(field: bytes) -> None:
    head = judged(HOST, field)
    assert [*head.ordinary, *head.special] == [read_line(HOST)]
    assert [line for line, _ in head.fresh] == [HOST]


def test_authorization_counts_even_where_no_api_takes_a_token_in_it() -> None:
    """Beside a good key: the upstream, or who reads the logs, might believe that one."""
    by = reader(token_fields=frozenset({"x-api-key"}), secret_fields=frozenset())
    head = by.read(request(HOST, KEY, b"Authorization: Basic dTpw"))
    assert isinstance(head, Head)
    assert [field.name for _, field in head.credentials] == [b"x-api-key", b"authorization"]
    assert [line for line, _ in head.fresh] == [HOST]


def test_a_field_in_which_no_api_takes_a_token_is_no_credential() -> None:
    by = reader(token_fields=frozenset({"authorization"}), secret_fields=frozenset())
    head = by.read(request(HOST, KEY, BEARER))
    assert isinstance(head, Head)
    assert [line for line, _ in head.credentials] == [BEARER]


@pytest.mark.parametrize(
    ("field", "verdict"),
    [
        pytest.param(b"Content-Length: 5", 5, id="a length"),
        pytest.param(b"Content-Length: x", NO_LENGTH, id="a length that is none"),
        pytest.param(b"Transfer-Encoding: gzip", NO_CODING, id="a coding"),
        pytest.param(b"Host: b", TWO_HOSTS, id="a host"),
    ],
)
def test_what_frames_a_request_is_read_even_where_somebody_takes_it_for_a_credential(
    field: bytes, verdict: int | Deny
) -> None:
    """Else the body would be the next request."""
    names = frozenset({field.partition(b":")[0].lower().decode()})
    for by in (
        reader(token_fields=names, secret_fields=frozenset()),
        reader(token_fields=frozenset(), secret_fields=names),
    ):
        found = by.read(request(HOST, field))
        assert (found.length if isinstance(found, Head) else found) == verdict
        assert not isinstance(found, Head) or not found.credentials


def test_a_line_that_was_shown_comes_with_who_it_proved() -> None:
    shown = ShownLines()
    by, who, (field,) = reader(shown=shown), principal(), judged(HOST, BEARER).credentials
    shown.enter(BEARER, field[1], who)
    for fields, expected in (
        ((BEARER,), Shown(field[1], who)),
        ((BEARER.replace(b": ", b":  "),), None),
        ((b"authorization" + BEARER[13:],), None),
        ((BEARER, BEARER), None),
        ((BEARER, KEY), None),
        ((BEARER, b"Authorization: Basic dTpw"), None),
        ((), None),
    ):
        head = by.read(request(HOST, *fields))
        assert isinstance(head, Head)
        assert head.shown == expected
        assert len(head.credentials) == len(fields)


# Known lines.


def test_a_line_that_is_known_is_not_told_again() -> None:
    lines = KnownLines()
    by = reader(lines)
    told = []
    for _ in range(3):
        head = by.read(request(HOST, b"Accept: */*", BEARER, b"Cookie: a=b"))
        assert isinstance(head, Head)
        told.append([line for line, _ in head.fresh])
        lines.learn(head.fresh)
    assert told == [[HOST, b"Accept: */*", b"Cookie: a=b"]] * 2 + [[b"Cookie: a=b"]]


def test_a_known_line_counts_like_any_other() -> None:
    lines = KnownLines()
    for _ in range(2):
        lines.learn([(line, must_be(read_line(line))) for line in (HOST, b"X: x", b"Content-Length: 5")])
    by = reader(lines)
    assert by.read(request(HOST, HOST)) == TWO_HOSTS
    assert by.read(request(HOST, b"Content-Length: 5", b"Content-Length: 5")) == NO_LENGTH
    assert by.read(request(HOST, *[b"X: x"] * MOST_FIELDS)) == TOO_LARGE
    assert by.read(request(b"X: x")) == HOST_MISSING


def must_be(found: FieldLine | str) -> FieldLine:
    assert isinstance(found, FieldLine), found
    return found


# What is not shown.


def test_nothing_of_a_head_that_may_be_secret_shows_itself() -> None:
    head = judged(HOST, b"Authorization: Bearer hidden", b"Cookie: hidden", line=b"GET /a?hidden HTTP/1.1")
    shown = ShownLines()
    shown.enter(*head.credentials[0], principal())
    for text in (repr(head), str(head), repr(head.special), repr(head.credentials[0][1]), repr(shown.lines.values())):
        assert "hidden" not in text
    assert repr(head) == "Head(GET b'/a')"


# A second reader.


def check_by_naive(data: bytes, verdict: Verdict) -> None:
    """`verdict` is what the second reader finds too."""
    try:
        found = naively(data)
    except NoHead:
        # A fault in a field is said once the head is whole: this reader stops where it sees it.
        assert not isinstance(verdict, Head)
        return
    except GoesOn:
        assert not isinstance(verdict, Head)
        return
    assert isinstance(verdict, Head), verdict
    fields = [*verdict.ordinary, *verdict.special]
    sent = [
        b"%b: %b\r\n" % (name, value) for name, value in found.fields if not is_another_spelling(name, SECRET_FIELDS)
    ]
    assert found == Naive(
        verdict.method.encode(),
        verdict.target.path,
        verdict.target.query,
        b"HTTP/1.1" if verdict.is_1_1 else b"HTTP/1.0",
        verdict.host,
        found.fields,
        b"chunked" if verdict.has_body and verdict.length is None else verdict.length or 0,
        verdict.size,
    )
    assert sorted(field.sent for field in fields) == sorted(sent)
    tokens = [(name.lower(), value) for name, value in found.fields if name.lower().decode() in TOKEN_FIELDS]
    assert [(field.name, field.value) for _, field in verdict.credentials] == tokens
    for part in (verdict.ordinary, verdict.special):  # each in the order in which it came
        names = {field.name for field in part}
        assert [field.sent for field in part] == [line for line in sent if line.partition(b":")[0].lower() in names]


def test_the_second_reader_refuses_what_the_first_refuses_in_a_head_that_is_whole() -> None:
    """That it may say "it goes on" where the other one refuses is for heads that do: not a way out for the rest."""
    for data in (
        request(HOST, b"no field"),
        request(),
        request(HOST, b"X: \x00"),
        request(HOST, line=b"GET /.. HTTP/1.1"),
    ):
        with pytest.raises(NoHead):
            naively(data)


# Heads, drawn.

STARTS = [
    LINE,
    b"POST /a/b?c=d HTTP/1.1",
    b"GET / HTTP/1.0",
    b"DELETE http://other.example:81/a;b=c/%20 HTTP/1.1",
    b"OPTIONS /%C3%A9/x?/?%00 HTTP/1.1",
    b"GET /" + b"x" * 300 + b" HTTP/1.1",
]
FIELDS = [
    HOST,
    b"Host: [::1]:80",
    BEARER,
    KEY,
    b"X_API_Key: x",
    b"X-Upstream-Key: x",
    b"Accept: */*",
    b"X:",
    b"x:\t a b \t",
    b"Content-Length: 5",
    b"Content-Length: 0",
    b"Content_Length: 6",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Connection: keep-alive, X",
    b"Connection: close",
    b"Expect: 100-continue",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Via: 1.1 a",
    b"Cookie: a=b",
    b"X-Request-Id: abcdefgh",
    b"Cache-Control: no-cache",
    b"X-Long: " + b"y" * 300,
]
# fmt: off
PIECES = [
    b"", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\x80",
    b"\xff", b":", b"/", b"//", b"/..", b"/.;/", b"?", b"#", b"%", b"%2e", b"%C3", b",", b"@", b"[", b"-", b"_", b"0",
    b"\r\n ", b"\r\nHost: b", b" HTTP/1.1", b"HTTP/1.0", b"chunked", b"websocket",
]
# fmt: on


@st.composite
def wholes(draw: st.DrawFn) -> bytes:
    """Heads that are good more often than not, and what comes behind them."""
    blank = b"\r\n" * draw(st.sampled_from([0, 0, 0, 1, 2, 8, 9]))
    fields = draw(st.lists(st.sampled_from(FIELDS), max_size=8))
    if draw(st.sampled_from([True, True, True, False])):
        fields = [HOST, *(field for field in fields if not field.startswith(b"Host"))]
    behind = draw(st.sampled_from([b"", b"hello", NEXT, b"\r\n" + NEXT, b"\n", b"\xff" * 3]))
    return blank + request(*draw(st.permutations(fields)), line=draw(st.sampled_from(STARTS))) + behind


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Such heads with something put in, taken out or changed; or junk."""
    data = draw(wholes())
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.sampled_from([0, 0, 1, 1, 2, 20]))
        data = data[:at] + draw(st.sampled_from(PIECES) | st.binary(max_size=2)) + data[at + gone :]
    return data


def warm() -> HeadReader:
    """A reader to which all good lines are known, and the credentials shown."""
    lines, shown = KnownLines(), ShownLines()
    for line in FIELDS:
        for _ in range(2):
            lines.learn([(line, must_be(read_line(line)))])
    for line in (BEARER, KEY):
        shown.enter(line, must_be(read_line(line)), principal())
    assert HOST in lines.lines
    return reader(lines, shown=shown)


WARM = warm()


@given(heads())
@example(b"\r\n" * 8 + b"\r")
@example(request(HOST, line=b"GET /" + b"x" * 300 + b" HTTP/9.9")[:-1] + b"\n\r\n\r\n")
def test_however_the_bytes_come_the_verdict_is_one(data: bytes) -> None:
    for by in (READER, WARM):
        verdict = by.read(data)
        assert in_pieces(data, range(len(data)), by) == verdict
        if not isinstance(verdict, Unfinished):
            assert by.read(data + NEXT) == verdict


LARGE = [
    *(b"X-%d: y" % number for number in range(MOST_FIELDS)),
    *[b"X: " + b"x" * 700] * 100,
    b"X: " + b"x" * 30_000,
    b"X: " + b"x" * 65_000,
]


@given(
    st.sampled_from([b"", b"\r\n"]),
    st.sampled_from([*STARTS, b"GET /" + b"x" * 65_000 + b" HTTP/1.1", b"GET"]),
    st.lists(st.sampled_from(LARGE), max_size=3) | st.integers(100, 200).map(lambda number: LARGE[:number]),
    st.lists(st.tuples(st.integers(0, 140_000), st.sampled_from(PIECES)), max_size=2),
    st.lists(st.integers(0, 140_000), max_size=20),
)
def test_however_the_bytes_of_a_large_head_come_the_verdict_is_one(
    blank: bytes, line: bytes, fields: list[bytes], changes: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = blank + request(HOST, *fields, line=line) + NEXT
    for at, piece in changes:
        data = data[: at % len(data)] + piece + data[at % len(data) :]
    verdict = READER.read(data)
    assert in_pieces(data, sorted({*cuts_of(data), *(cut % len(data) for cut in cuts)})) == verdict
    if len(data) < LARGEST_HEAD:
        check_by_naive(data, verdict)


@given(heads() | wholes())
def test_a_second_reader_that_goes_by_the_grammars_finds_the_same(data: bytes) -> None:
    verdict = READER.read(data)
    check_by_naive(data, verdict)
    try:
        naively(data)
    except NoHead:
        assert isinstance(verdict, Deny) or b"\r\n\r\n" not in data.lstrip(b"\r\n")
    except GoesOn:
        pass


@given(heads())
def test_whatever_comes_is_a_head_or_a_refusal_without_a_byte_of_it(data: bytes) -> None:
    match READER.read(data):
        case Head() as head:
            assert head.length or head.has_body is bool(head.values(b"transfer-encoding"))
            assert len(head.values(b"content-length") + head.values(b"transfer-encoding")) <= 1
            for field in (*head.ordinary, *head.special):
                assert not any(octet < 0x20 and octet != 0x09 for octet in field.sent[:-2])
        case Deny() as deny:
            assert deny.reason in (Reason.BAD_REQUEST, Reason.HEAD_TOO_LARGE, Reason.UNSUPPORTED_FRAMING)
            assert deny.path == deny.address == deny.token_id == ""
            assert (deny.detail, deny.reason) in SAID
        case Unfinished():
            pass


SAID = {
    (deny.detail, deny.reason)
    for deny in (
        NO_LINE, NO_VERSION, NO_METHOD, BARE, NO_NAME, FOLDED, CONTROL, NO_HOST, TWO_HOSTS, HOST_MISSING, NO_LENGTH,
        TWO_FRAMINGS, UPGRADE_WITH_BODY, NO_CODING, TOO_LARGE, NOT_PLAIN, NO_PATH, NO_FORM, NO_QUERY,
        bad("path: an empty segment"), bad("path: a dot segment"), bad("path: encoded bytes that are not UTF-8"),
        bad("line: a method that no gateway forwards"), bad("headers: Transfer-Encoding in HTTP/1.0"),
    )
}  # fmt: skip
"""All that is ever said of a head: whoever reads it may be anybody."""


@given(st.binary(max_size=200))
def test_junk_never_breaks_the_reader(data: bytes) -> None:
    judge(data)
    judge(LINE + b"\r\n" + data)


# Known lines are an index of what is known anyway.


def meaning(verdict: Verdict) -> object:
    """All of a verdict but what is said of the tables themselves."""
    if not isinstance(verdict, Head):
        return verdict
    return [getattr(verdict, name) for name in verdict.__struct_fields__ if name not in ("shown", "fresh")]


class Reading(RuleBasedStateMachine):
    """A reader that learns, with tables so small that they overflow, beside one that never does."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = KnownLines(most=5)
        self.shown = ShownLines(most=2)
        self.learns = reader(self.lines, shown=self.shown)
        self.last: Verdict = Unfinished(blank=True)

    @rule(data=heads() | wholes())
    def read(self, data: bytes) -> None:
        self.last = self.learns.read(data)
        assert meaning(self.last) == meaning(READER.read(data))
        if isinstance(self.last, Head):
            self.check_tables(self.last)

    def check_tables(self, head: Head) -> None:
        known = [*self.lines.lines.values()]
        for line, field in head.fresh:
            assert line not in self.lines.lines
            assert read_line(line) == field
        told = [field for _, field in head.fresh]
        for field in (*head.ordinary, *head.special):
            assert field in told or field in known
            assert not is_another_spelling(field.name, SECRET_FIELDS)
        (line, *more) = [line for line, _ in head.credentials] or [b""]
        assert head.shown == (None if more else self.shown.lines.get(line))

    @rule()
    def learn(self) -> None:
        if isinstance(self.last, Head):
            self.lines.learn(self.last.fresh)

    @rule(number=st.integers(0, 2))
    def show(self, number: int) -> None:
        if isinstance(self.last, Head) and len(self.last.credentials) == 1:
            ((line, field),) = self.last.credentials
            self.shown.enter(line, field, principal(token(token_id=f"{number:032x}")))


TestReading = Reading.TestCase


@given(heads())
def test_what_passes_is_never_among_what_a_gateway_has_a_part_in(data: bytes) -> None:
    head = READER.read(data)
    if isinstance(head, Head):
        assert all(field.role is Role.ORDINARY for field in head.ordinary)
        assert all(field.role is not Role.ORDINARY for field in head.special)
