import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.field_line import (
    LONGEST_LINE,
    MOST_LINES,
    FieldLine,
    KnownLines,
    Role,
    SeenTwice,
    has_control_bytes,
    is_host,
    is_length,
    plain_spelling,
    read_line,
    role_of,
)

MARKS = b"!#$%&'*+-.^_`|~"


def field(line: bytes) -> FieldLine:
    found = read_line(line)
    assert isinstance(found, FieldLine), found
    return found


# Form.


@pytest.mark.parametrize("octet", range(256))
def test_a_control_byte_is_all_below_a_blank_but_a_tab_and_del(octet: int) -> None:
    assert has_control_bytes(b"a%cb" % octet) is ((octet < 0x20 and octet != 0x09) or octet == 0x7F)


@pytest.mark.parametrize(
    ("line", "name", "value", "sent"),
    [
        pytest.param(b"Accept: a/b", b"accept", b"a/b", b"Accept: a/b\r\n", id="as usual"),
        pytest.param(b"aCCEPT:a/b", b"accept", b"a/b", b"aCCEPT: a/b\r\n", id="no blank, and a name in any case"),
        pytest.param(b"X: \t a \t b \t ", b"x", b"a \t b", b"X: a \t b\r\n", id="blanks around, and within"),
        pytest.param(b"X:", b"x", b"", b"X: \r\n", id="no value"),
        pytest.param(b"X:  \t", b"x", b"", b"X: \r\n", id="a value of blanks"),
        pytest.param(b"X: a: b", b"x", b"a: b", b"X: a: b\r\n", id="a colon in the value"),
        pytest.param(b"X: \xc3\xa4\xff", b"x", b"\xc3\xa4\xff", b"X: \xc3\xa4\xff\r\n", id="bytes outside ASCII"),
        pytest.param(MARKS + b": x", MARKS, b"x", MARKS + b": x\r\n", id="every mark that a token may have"),
    ],
)
def test_a_field_is_a_token_a_colon_and_a_value(line: bytes, name: bytes, value: bytes, sent: bytes) -> None:
    found = field(line)
    assert (found.name, found.value, found.sent) == (name, value, sent)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"X", id="no colon"),
        pytest.param(b": x", id="no name"),
        pytest.param(b"X : x", id="a blank before the colon"),
        pytest.param(b"X\t: x", id="a tab before the colon"),
        pytest.param(b"X A: x", id="a blank in the name"),
        pytest.param(b'"X": x', id="a quoted name"),
        pytest.param(b"X/Y: x", id="a slash in the name"),
        pytest.param(b"X\x00: x", id="NUL in the name"),
        pytest.param(b"X\n: x", id="LF in the name"),
        pytest.param(b"X\r: x", id="CR in the name"),
        pytest.param(b"\xc3\xa4: x", id="a name outside ASCII"),
    ],
)
def test_a_name_that_is_no_token_is_a_fault(line: bytes) -> None:
    assert read_line(line) == "a name that is no token"


@pytest.mark.parametrize("line", [b" X: x", b"\tX: x", b" folded"])
def test_a_folded_line_is_a_fault(line: bytes) -> None:
    assert read_line(line) == "a line that is folded"


@pytest.mark.parametrize(
    "value", [b"\x00", b"a\rb", b"a\nb", b"a\r\n b", b"\x1b[2J", b"\x7f", b"a\r", b"\ra", b"a\x0b", b"a\x0c"]
)
def test_a_control_byte_in_a_value_is_a_fault(value: bytes) -> None:
    assert read_line(b"X: " + value) == "a control byte in a value"


@pytest.mark.parametrize(
    "text",
    [
        b"api.example",
        b"API.example:80",
        b"a_b~-.example",
        b"127.0.0.1:65535",
        b"[::1]",
        b"[2001:db8::192.0.2.1]:8080",
        b"xn--bcher-kva.example",
        b"localhost",
    ],
)
def test_a_host_may_have_a_port(text: bytes) -> None:
    assert is_host(text)
    assert field(b"Host: " + text).role is Role.HOST


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b":80",
        b"a:",
        b"a:b",
        b"a:123456",
        b"a:80:80",
        b"a/b",
        b"a@b",
        b"a/b@c",
        b"a b",
        b"a,b",
        b"a?b",
        b"a#b",
        b"a%2eb",
        b"a\\b",
        b"[::1",
        b"::1",
        b"[::1]x",
        b"[fe80::1%25eth0]",
        b"\xc3\xa4.example",
        b"a\n",
    ],
)
def test_what_is_no_host_and_port_is_a_fault(text: bytes) -> None:
    assert not is_host(text)
    assert isinstance(read_line(b"Host: " + text), str)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (b"0", True),
        (b"007", True),
        (b"9" * 18, True),
        (b"9" * 19, False),
        (b"9" * 100_000, False),
        (b"", False),
        (b" 5", False),
        (b"5 ", False),
        (b"5\n", False),
        (b"+5", False),
        (b"-5", False),
        (b"5_0", False),
        (b"0x5", False),
        (b"5e1", False),
        (b"5,5", False),
        (b"\xd9\xa5", False),
    ],
)
def test_a_length_is_one_number_of_at_most_18_digits(text: bytes, *, is_one: bool) -> None:
    assert is_length(text) is is_one


# Roles.

ROLES = {
    Role.HOST: ["host"],
    Role.LENGTH: ["content-length"],
    Role.CODING: ["transfer-encoding"],
    Role.CONNECTION: ["connection"],
    Role.EXPECT: ["expect"],
    Role.UPGRADE: ["upgrade"],
    Role.HOP: [
        *("keep-alive", "proxy-connection", "te", "http2-settings"),
        *("proxy-authenticate", "proxy-authentication-info"),
    ],
    Role.TRAILER: ["trailer"],
    Role.REQUEST_ID: ["x-request-id"],
    Role.VIA: ["via"],
    Role.FORWARDED: ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "x-real-ip"],
    Role.CREDENTIAL: [
        *("authorization", "x-api-key", "proxy-authorization"),
        *("x-auth-key", "x-auth-email", "x-auth-anything", "x-auth-"),
    ],
    Role.COOKIE: ["cookie"],
    Role.SET_COOKIE: ["set-cookie"],
    Role.OVERRIDE: [
        *("x-http-method", "x-http-method-override", "x-method-override"),
        *("x-original-url", "x-original-method", "x-original-uri", "x-rewrite-url"),
        *("x-forwarded-uri", "x-forwarded-prefix", "x-forwarded-method", "x-forwarded-port", "x-forwarded-server"),
    ],
    Role.OURS: ["x-token-id", "x-token-anything"],
    Role.CACHE_CONTROL: ["cache-control"],
}
NAMED = [(name, role) for role, names in ROLES.items() for name in names]


@pytest.mark.parametrize(("name", "role"), NAMED)
def test_a_name_has_one_role_in_any_case_and_another_spelling_never_passes_for_it(name: str, role: Role) -> None:
    for spelling in (name, name.upper(), name.title()):
        assert field(f"{spelling}: a".encode()).role is role
    for other in (name.replace("-", "_"), name.replace("-", "."), name.replace("-", "_", 1)):
        assert field(f"{other}: a".encode()).role is (role if other == name else Role.OTHER_SPELLING)
        assert plain_spelling(other.encode()) == name.encode()


def test_every_role_is_some_name_s() -> None:
    assert {*ROLES, Role.ORDINARY, Role.OTHER_SPELLING} == set(Role)


@pytest.mark.parametrize(
    "name",
    [
        *("accept", "user-agent", "content-type", "content-encoding", "date", "etag", "server", "location"),
        *("hosts", "x-content-length", "content-lengths", "cookie2", "set-cookies", "x-authority", "x-auth"),
        *("x-token", "x-tokens", "my-authorization", "xauthorization", "x_under_score", "vias"),
    ],
)
def test_a_name_that_only_looks_like_one_of_these_is_ordinary(name: str) -> None:
    assert role_of(name.encode()) is Role.ORDINARY


# What is remembered.


def twice(known: KnownLines, line: bytes) -> None:
    for _ in range(2):
        known.learn([(line, field(line))])


def test_a_line_is_remembered_at_its_second_appearance() -> None:
    known, line = KnownLines(), b"Accept: a/b"
    known.learn([(line, field(line))])
    assert line not in known.lines
    known.learn([(line, field(line))])
    assert known.lines[line] == field(line)


def test_the_second_appearance_may_be_in_the_same_head() -> None:
    known, line = KnownLines(), b"Accept: a/b"
    known.learn([(line, field(line)), (line, field(line))])
    assert list(known.lines) == [line]


@pytest.mark.parametrize("line", [b"Accept:a/b", b"accept: a/b", b"Accept: a/b ", b"Accept: a/B"])
def test_a_line_is_known_by_its_exact_bytes(line: bytes) -> None:
    known = KnownLines()
    twice(known, b"Accept: a/b")
    assert line not in known.lines


def test_a_line_of_256_bytes_is_remembered_and_a_longer_one_is_not() -> None:
    assert LONGEST_LINE == 256
    known = KnownLines()
    longest = b"X: " + b"x" * 253
    for line in (longest, longest + b"x", longest + b"y" * 60_000):
        twice(known, line)
    assert list(known.lines) == [longest]


def test_4096_lines_are_remembered_and_the_oldest_goes_first() -> None:
    assert MOST_LINES == 4096
    known = KnownLines()
    lines = [b"X: %d" % number for number in range(MOST_LINES + 3)]
    for line in lines:
        twice(known, line)
    assert list(known.lines) == lines[3:]


def test_what_comes_once_takes_nobody_s_place() -> None:
    known = KnownLines(most=4)
    twice(known, b"X: kept")
    for number in range(100):
        line = b"X: %d" % number
        known.learn([(line, field(line))])
    assert list(known.lines) == [b"X: kept"]


def test_what_came_once_is_forgotten_after_so_many_others() -> None:
    """How often a line comes is remembered of no more lines than what it means."""
    seen: SeenTwice[int] = SeenTwice(4, 256)
    for number in range(4):
        seen.learn(b"%d" % number, number)
    seen.learn(b"one too many", 4)
    seen.learn(b"0", 0)
    assert not seen.known
    seen.learn(b"0", 0)
    assert seen.known == {b"0": 0}


SECRETS = [name for name, role in NAMED if role in (Role.CREDENTIAL, Role.COOKIE, Role.SET_COOKIE)]


@pytest.mark.parametrize("name", SECRETS)
def test_a_line_that_may_hold_a_secret_is_never_remembered_however_it_is_spelt(name: str) -> None:
    known = KnownLines()
    for spelling in (name, name.upper(), name.replace("-", "_"), name.replace("-", ".")):
        twice(known, f"{spelling}: hush".encode())
    assert not known.lines


@pytest.mark.parametrize("name", ["x-secret", "X-Secret", "x_secret", "x.Secret"])
def test_a_field_that_some_api_takes_a_token_in_is_never_remembered(name: str) -> None:
    known = KnownLines(never=["x-secret"])
    twice(known, f"{name}: hush".encode())
    twice(known, b"X-Secrets: none")
    assert list(known.lines) == [b"X-Secrets: none"]


# Properties.

token = st.binary(min_size=1, max_size=12).map(
    lambda raw: bytes((MARKS + b"abcXYZ019")[octet % (len(MARKS) + 9)] for octet in raw)
)
names = token | st.sampled_from([name.encode() for name, _ in NAMED])
blanks = st.text(" \t", max_size=3).map(str.encode)
values = st.lists(st.sampled_from([octet for octet in range(256) if octet >= 0x20 and octet != 0x7F]), max_size=12)


@given(names, blanks, values.map(bytes), blanks)
def test_what_is_sent_is_what_a_naive_reader_reads(name: bytes, before: bytes, value: bytes, behind: bytes) -> None:
    line = name + b":" + before + value + behind
    found = read_line(line)
    naive = re.fullmatch(rb"([^:]+):[ \t]*(.*?)[ \t]*", line, re.DOTALL)
    assert naive is not None
    if name.lower() == b"host" and not is_host(naive[2]):
        assert isinstance(found, str)
        return
    assert isinstance(found, FieldLine)
    assert found.sent == naive[1] + b": " + naive[2] + b"\r\n"
    assert (found.name, found.value) == (naive[1].lower(), naive[2])


@given(st.binary(max_size=40))
def test_whatever_a_line_is_it_is_a_fault_or_reads_the_same_again_when_it_is_sent_on(line: bytes) -> None:
    found = read_line(line)
    if isinstance(found, FieldLine):
        assert found.sent.endswith(b"\r\n")
        assert not has_control_bytes(found.sent[:-2])
        again = field(found.sent[:-2])
        assert again == found


@given(st.lists(st.tuples(names, st.sampled_from([b"a", b"b", b"x" * 300])), max_size=60))
def test_a_meaning_is_a_function_of_the_bytes_whatever_came_before(drawn: list[tuple[bytes, bytes]]) -> None:
    known = KnownLines(never=["x-secret"], most=4)
    for name, value in drawn:
        line = name + b": " + value
        read = read_line(line)
        if not isinstance(read, FieldLine):
            continue
        assert known.lines.get(line, read) == read
        known.learn([(line, read)])
        assert len(known.lines) <= 4
        assert all(len(each) <= LONGEST_LINE for each in known.lines)
        assert not any(meaning.role in (Role.CREDENTIAL, Role.COOKIE) for meaning in known.lines.values())
