import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.field_line import KnownLines, Role
from gateway.proxy.framing import LARGEST_HEAD, UNFRAMED, Framing
from gateway.proxy.ports import UpstreamFailed
from gateway.proxy.response_head import ResponseHead, read_response_head

CHUNKED = Framing(chunked=True, length=None)


def read(data: bytes, known: KnownLines | None = None) -> ResponseHead | None:
    return read_response_head(data, known or KnownLines())


def head_of(data: bytes, known: KnownLines | None = None) -> ResponseHead:
    head = read(data, known)
    assert head is not None
    return head


def answer(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"".join(b"%b\r\n" % each for each in (line, *fields, b""))


# What is read.


@pytest.mark.parametrize(
    ("line", "status", "phrase", "is_1_1"),
    [
        pytest.param(b"HTTP/1.1 200 OK", 200, b"OK", True, id="as usual"),
        pytest.param(b"HTTP/1.0 200 OK", 200, b"OK", False, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.1 200 ", 200, b"", True, id="no phrase"),
        pytest.param(b"HTTP/1.1 200", 200, b"", True, id="no phrase, and no blank either"),
        pytest.param(b"HTTP/1.1 404 Not \t Found", 404, b"Not \t Found", True, id="blanks in the phrase"),
        pytest.param(b"HTTP/1.1 200 \xc3\xa4\xff", 200, b"\xc3\xa4\xff", True, id="bytes outside ASCII"),
        pytest.param(b"HTTP/1.1 100 Continue", 100, b"Continue", True, id="the smallest status"),
        pytest.param(b"HTTP/1.1 599 Odd", 599, b"Odd", True, id="the largest status"),
    ],
)
def test_a_status_line_is_version_status_and_maybe_a_phrase(
    line: bytes, status: int, phrase: bytes, *, is_1_1: bool
) -> None:
    head = head_of(answer(line=line))
    assert (head.status, head.phrase, head.is_1_1) == (status, phrase, is_1_1)


def test_fields_keep_their_order_among_those_in_which_a_gateway_has_a_part_and_among_the_others() -> None:
    fields = [b"X-B: 2", b"Connection: x", b"x-a:", b"Set-Cookie: a", b"X-b:  \xc3\xa4\xff ", b"set-cookie: b"]
    head = head_of(answer(*fields))
    assert [each.sent for each in head.ordinary] == [b"X-B: 2\r\n", b"x-a: \r\n", b"X-b: \xc3\xa4\xff\r\n"]
    assert [each.sent for each in head.special] == [b"Connection: x\r\n", b"Set-Cookie: a\r\n", b"set-cookie: b\r\n"]


@pytest.mark.parametrize("behind", [b"", b"hello", b"\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_head_ends_with_its_first_empty_line(behind: bytes) -> None:
    text = answer(b"X: x")
    assert head_of(text + behind).size == len(text)


@pytest.mark.parametrize(
    ("status", "is_interim"), [(100, True), (101, False), (102, True), (103, True), (199, True), (200, False)]
)
def test_an_interim_answer_is_any_1xx_but_101(status: int, *, is_interim: bool) -> None:
    assert head_of(answer(line=b"HTTP/1.1 %d X" % status)).is_interim is is_interim


@pytest.mark.parametrize(
    ("fields", "framing"),
    [
        pytest.param([], UNFRAMED, id="nothing said"),
        pytest.param([b"Content-Length: 5"], Framing(chunked=False, length=5), id="a length"),
        pytest.param([b"content-length:\t5 "], Framing(chunked=False, length=5), id="a length with blanks around"),
        pytest.param([b"Transfer-Encoding: chunked"], CHUNKED, id="chunked"),
        pytest.param([b"transfer-ENCODING:Chunked"], CHUNKED, id="chunked in another case"),
        pytest.param([b"Content_Length: 5", b"X-Content-Length: 6"], UNFRAMED, id="names that only look like it"),
    ],
)
def test_a_body_is_framed_by_one_field_or_none(fields: list[bytes], framing: Framing) -> None:
    assert head_of(answer(*fields)).framing == framing


@pytest.mark.parametrize(
    ("fields", "options"),
    [
        pytest.param([], set(), id="none"),
        pytest.param([b"Connection: close"], {b"close"}, id="one"),
        pytest.param([b"Connection:  Keep-Alive ,\tX-A,"], {b"keep-alive", b"x-a", b""}, id="a list"),
        pytest.param([b"Connection: x-a", b"X: x", b"connection: X-B"], {b"x-a", b"x-b"}, id="two fields"),
        pytest.param([b"Proxy-Connection: close"], set(), id="another field"),
    ],
)
def test_connection_s_options_are_read_from_every_field(fields: list[bytes], options: set[bytes]) -> None:
    assert head_of(answer(*fields)).options | {b""} == options | {b""}


@pytest.mark.parametrize(
    ("version", "connection", "keep_alive"),
    [
        (b"1.1", [], True),
        (b"1.1", [b"keep-alive"], True),
        (b"1.1", [b"x"], True),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"x, CLOSE"], False),
        (b"1.1", [b"keep-alive", b"close"], False),
        (b"1.0", [], False),
        (b"1.0", [b"x"], False),
        (b"1.0", [b"Keep-Alive"], True),
        (b"1.0", [b"x, keep-alive"], True),
        (b"1.0", [b"close"], False),
        (b"1.0", [b"keep-alive, close"], False),
        (b"1.0", [b"close", b"keep-alive"], False),
    ],
)
def test_a_connection_is_kept_as_its_version_and_options_have_it(
    version: bytes, connection: list[bytes], *, keep_alive: bool
) -> None:
    """Whoever says both, says close: RFC 9112 9.3."""
    fields = [b"Connection: " + each for each in connection]
    assert head_of(answer(*fields, line=b"HTTP/%b 200 OK" % version)).keep_alive is keep_alive


# What is none.

FAULTS = [
    pytest.param(b"junk\r\n\r\n", id="not HTTP"),
    pytest.param(b"\r\n\r\n", id="nothing but line ends"),
    pytest.param(b"\r\nHTTP/1.1 200 OK\r\n\r\n", id="an empty line before it"),
    pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="a request"),
    pytest.param(answer(line=b"HTTP/1.1 20 OK"), id="a status of two digits"),
    pytest.param(answer(line=b"HTTP/1.1 2000 OK"), id="a status of four digits"),
    pytest.param(answer(line=b"HTTP/1.1 099 X"), id="a status below 100"),
    pytest.param(answer(line=b"HTTP/1.1 600 X"), id="a status above 599"),
    pytest.param(answer(line=b"HTTP/1.1 -20 X"), id="a negative status"),
    pytest.param(answer(line="HTTP/1.1 ٢٠٠ OK".encode()), id="another alphabet's digits"),
    pytest.param(answer(line=b"HTTP/2.0 200 OK"), id="HTTP/2"),
    pytest.param(answer(line=b"HTTP/1.2 200 OK"), id="HTTP/1.2"),
    pytest.param(answer(line=b"HTTP/1.10 200 OK"), id="HTTP/1.10"),
    pytest.param(answer(line=b"HTTP/0.9 200 OK"), id="HTTP/0.9"),
    pytest.param(answer(line=b"http/1.1 200 OK"), id="in lower case"),
    pytest.param(answer(line=b"ICY 200 OK"), id="another protocol"),
    pytest.param(answer(line=b"HTTP/1.1  200 OK"), id="two blanks"),
    pytest.param(answer(line=b"HTTP/1.1\t200 OK"), id="a tab for a blank"),
    pytest.param(answer(line=b" HTTP/1.1 200 OK"), id="a blank before it"),
    pytest.param(answer(line=b"HTTP/1.1 200OK"), id="no blank before the phrase"),
    pytest.param(answer(line=b"HTTP/1.1 200 O\x00K"), id="NUL in the phrase"),
    pytest.param(answer(line=b"HTTP/1.1 200 O\x1bK"), id="a control byte in the phrase"),
    pytest.param(answer(line=b"HTTP/1.1 200 O\rK"), id="CR in the phrase"),
    pytest.param(answer(line=b"HTTP/1.1 200 O\x7fK"), id="DEL in the phrase"),
    pytest.param(answer(b"Content-Length: 5", b"Content-Length: 6"), id="two lengths"),
    pytest.param(answer(b"Content-Length: 5", b"Content-Length: 5"), id="the same length twice"),
    pytest.param(answer(b"Content-Length: 5, 5"), id="a list of lengths"),
    pytest.param(answer(b"Content-Length: -5"), id="a negative length"),
    pytest.param(answer(b"Content-Length: +5"), id="a length with a plus"),
    pytest.param(answer(b"Content-Length:"), id="an empty length"),
    pytest.param(answer(b"Content-Length: 5", b"Transfer-Encoding: chunked"), id="a length and chunked"),
    pytest.param(answer(b"Transfer-Encoding: gzip"), id="a coding that is not chunked"),
    pytest.param(answer(b"Transfer-Encoding: gzip, chunked"), id="a coding beside chunked"),
    pytest.param(answer(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), id="chunked twice"),
    pytest.param(answer(b"Transfer-Encoding: chunked", line=b"HTTP/1.0 200 OK"), id="chunked in HTTP/1.0"),
    pytest.param(answer(b"X: a\x00b"), id="NUL in a value"),
    pytest.param(answer(b"X: a\rb"), id="CR in a value"),
    pytest.param(answer(b"X: a\x1b[2J"), id="a control byte in a value"),
    pytest.param(answer(b"X A: a"), id="a name that is no token"),
    pytest.param(answer(b"X : a"), id="a blank before the colon"),
    pytest.param(answer(b": a"), id="no name"),
    pytest.param(answer(b"X"), id="no colon"),
    pytest.param(answer(b"X: a", b" Set-Cookie: b"), id="a folded line"),
    pytest.param(answer(b"X: a", b"\tb"), id="a line folded with a tab"),
    pytest.param(answer(b"X: a\nY: b"), id="a bare LF between two fields"),
    pytest.param(b"HTTP/1.1 200 OK\nX: a\r\n\r\n", id="a bare LF behind the status line"),
    pytest.param(answer(b"X: a\n\nhidden: x"), id="an empty line of LF alone"),
    pytest.param(answer(b"X: " + b"x" * LARGEST_HEAD), id="a field over 64 KiB"),
    pytest.param(answer(*(b"X: " + b"x" * 1000 for _ in range(70))), id="a head over 64 KiB"),
    pytest.param(answer(*[b"X: x"] * 129), id="129 fields"),
]


@pytest.mark.parametrize("data", FAULTS)
def test_what_two_readers_could_read_differently_is_none(data: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        read(data)


@pytest.mark.parametrize("data", FAULTS)
def test_a_fault_is_one_however_the_bytes_come(data: bytes) -> None:
    step = 1 if len(data) < 1000 else 997
    for end in range(0, len(data), step):
        try:
            assert read(data[:end]) is None
        except UpstreamFailed:
            break  # early, and so much the better
    with pytest.raises(UpstreamFailed):
        read(data)


@pytest.mark.parametrize(
    "beginning",
    [
        pytest.param(b"X", id="no HTTP at its first byte"),
        pytest.param(b"HTTP/2", id="another version"),
        pytest.param(b"HTTP/1.1 2000 X\r\n", id="a status line that is none"),
        pytest.param(b"HTTP/1.1 200 OK\n", id="a status line that ends in LF alone"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: a\n", id="a field that ends in LF alone"),
        pytest.param(b"HTTP/1.1 200 OK\r\nX: " + b"x" * LARGEST_HEAD, id="64 KiB without an end"),
        pytest.param(b"HTTP/1.1 200 " + b"x" * LARGEST_HEAD, id="64 KiB of a status line"),
    ],
)
def test_what_can_come_to_no_good_end_is_not_waited_for(beginning: bytes) -> None:
    with pytest.raises(UpstreamFailed):
        read(beginning)


def test_a_head_of_64_kib_is_read_and_one_of_a_byte_more_is_not() -> None:
    size = LARGEST_HEAD - len(answer(b"X: "))
    text = answer(b"X: " + b"x" * size)
    assert head_of(text + b"hello").size == LARGEST_HEAD == len(text)
    with pytest.raises(UpstreamFailed):
        read(answer(b"X: " + b"x" * (size + 1)))


def test_128_fields_are_read() -> None:
    assert len(head_of(answer(*[b"X: x"] * 128)).ordinary) == 128


def test_a_failure_says_no_byte_of_what_came() -> None:
    for data in (answer(b"X: hush\x00"), answer(line=b"HTTP/1.1 hush"), answer(b"hush")):
        with pytest.raises(UpstreamFailed) as caught:
            read(data)
        assert "hush" not in str(caught.value)
        assert not caught.value.timeout


# However it comes, and whatever came before.


def test_a_head_is_not_read_before_its_last_byte() -> None:
    text = answer(b"X: x", b"Content-Length: 5")
    for end in range(len(text)):
        assert read(text[:end]) is None
    assert head_of(text).framing.length == 5


def test_lines_are_remembered_at_their_second_appearance_but_for_cookies() -> None:
    known = KnownLines()
    for _ in range(2):
        head_of(answer(b"Server: a", b"Set-Cookie: hush", b"X-Auth-Key: hush"), known)
    assert list(known.lines) == [b"Server: a"]


def test_no_line_of_a_head_that_is_none_is_remembered() -> None:
    known = KnownLines()
    for _ in range(3):
        with pytest.raises(UpstreamFailed):
            read(answer(b"Server: a", b"X : a"), known)
    assert not known.lines


names = st.sampled_from([b"X-A", b"content-length", b"Transfer-Encoding", b"Connection", b"Set-Cookie", b"Trailer"])
values = st.sampled_from([b"5", b"chunked", b"close", b"x-a, keep-alive", b" a ", b"", b"\xff"])
lines = st.tuples(names, values).map(lambda pair: b"%b:%b" % pair)


@given(st.lists(st.lists(lines, max_size=5), max_size=4))
def test_what_is_remembered_changes_no_verdict(heads: list[list[bytes]]) -> None:
    known = KnownLines(most=3)

    def verdict(text: bytes, lines: KnownLines) -> ResponseHead | str | None:
        try:
            return read_response_head(text, lines)
        except UpstreamFailed as failed:
            return str(failed)

    for fields in heads * 3:
        assert verdict(answer(*fields), known) == verdict(answer(*fields), KnownLines())


odd = st.sampled_from([b"\r\n", b"\n", b"\r", b" ", b"\t", b":", b"X: x", b"Content-Length: 5", b"\x00", b"\r\n\r\n"])


@given(st.lists(odd, max_size=10).map(b"".join))
def test_a_naive_reader_reads_the_same_in_whatever_is_read(rest: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n" + rest
    try:
        head = read(data)
    except UpstreamFailed:
        return
    if head is None:
        assert b"\r\n\r\n" not in data
        return
    text = data[: head.size]
    assert text.endswith(b"\r\n\r\n")
    assert re.fullmatch(rb"HTTP/1\.1 200 OK\r\n(?:[^\r\n:\s]+:[^\r\n\x00]*\r\n)*\r\n", text)
    naive = [line.partition(b":") for line in text[:-4].split(b"\r\n")[1:]]
    found = [(each.name, each.value) for each in (*head.ordinary, *head.special)]
    assert sorted(found) == sorted((name.lower(), value.strip(b" \t")) for name, _, value in naive)
    lengths = [each for each in head.special if each.role is Role.LENGTH]
    assert len(lengths) == (head.framing.length is not None)
