"""Beside the tables: a naive decoder of whole inputs, which knows nothing of reads, must agree on every input."""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.proxy.body import (
    LARGEST_TRAILERS,
    LONGEST_SIZE_LINE,
    MOST_EXTENSIONS,
    MOST_TRAILERS,
    BodyFault,
    ChunkedBody,
    Decoder,
    LengthBody,
    UntilClose,
)

Trailers = tuple[tuple[bytes, bytes], ...]
Whole = tuple[bytes, bytes, Trailers]
"""Payload, rest and trailers of a complete body."""

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
SIZE_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + QUOTED + rb"))?)*)"
)
TRAILER = re.compile(rb"(" + TOKEN + rb"):[ \t]*((?:[^\x00-\x1f\x7f]|\t)*)")


def feed(decoder: Decoder, reads: Iterable[bytes]) -> tuple[bytes, bytes]:
    """The payload, and what came behind the body's end: in the same read and in later ones."""
    payload = late = b""
    for data in reads:
        if decoder.complete:
            late += data
        else:
            payload += decoder.decode(data)
    return payload, decoder.rest + late


def state_after(decoder: Decoder, reads: Iterable[bytes]) -> tuple[bytes, bytes, Trailers, bool] | None:
    """All that shows after `reads`; None after a fault."""
    try:
        payload, rest = feed(decoder, reads)
    except BodyFault:
        return None
    return payload, rest, decoder.trailers, decoder.complete


def whole(decoder: Decoder, reads: Iterable[bytes]) -> Whole | None:
    """What a body came to when the peer had closed behind `reads`; None for a fault."""
    try:
        payload, rest = feed(decoder, reads)
        decoder.end()
    except BodyFault:
        return None
    return payload, rest, decoder.trailers


def one_by_one(text: bytes) -> list[bytes]:
    return [text[index : index + 1] for index in range(len(text))]


def naively(text: bytes) -> Whole | None:
    """What RFC 9112 7.1 and our limits make of a whole chunked body."""
    payload, extensions = b"", 0
    while True:
        line, found, text = text.partition(b"\r\n")
        size = SIZE_LINE.fullmatch(line)
        if not found or size is None or len(line) > LONGEST_SIZE_LINE:
            return None
        extensions += len(size[2])
        if extensions > MOST_EXTENSIONS:
            return None
        length = int(size[1], 16)
        if length == 0:
            return naive_trailers(payload, text)
        if text[length : length + 2] != b"\r\n":
            return None
        payload, text = payload + text[:length], text[length + 2 :]


def naive_trailers(payload: bytes, text: bytes) -> Whole | None:
    section, found, rest = (b"\r\n" + text).partition(b"\r\n\r\n")
    lines = section.split(b"\r\n")[1:]
    trailers = [TRAILER.fullmatch(line) for line in lines]
    size = sum(len(line) + 2 for line in lines) + 2
    if not found or None in trailers or len(lines) > MOST_TRAILERS or size > LARGEST_TRAILERS:
        return None
    return payload, rest, tuple((line[1], line[2].rstrip(b" \t")) for line in trailers if line)


# A body of a length.


@pytest.mark.parametrize(
    ("length", "reads", "payload", "rest"),
    [
        pytest.param(5, [b"hello"], b"hello", b"", id="in one read"),
        pytest.param(5, [b"he", b"", b"l", b"lo"], b"hello", b"", id="in several"),
        pytest.param(5, [b"helloGET /"], b"hello", b"GET /", id="with more behind it"),
        pytest.param(5, [b"hell", b"oGET /"], b"hello", b"GET /", id="with more behind it, in several"),
        pytest.param(1, [b"\r\n"], b"\r", b"\n", id="of whatever bytes"),
    ],
)
def test_a_body_of_a_length_has_that_many_bytes(length: int, reads: list[bytes], payload: bytes, rest: bytes) -> None:
    decoder = LengthBody(length)
    assert not decoder.complete
    assert whole(decoder, reads) == (payload, rest, ())
    assert decoder.complete


def test_a_body_of_no_length_is_complete_before_any_byte() -> None:
    decoder = LengthBody(0)
    assert decoder.complete
    assert decoder.rest == b""
    decoder.end()


def test_bytes_that_all_belong_to_a_body_are_not_copied() -> None:
    decoder = LengthBody(10)
    first, last = b"hello"[:], bytes(range(5))
    assert decoder.decode(first) is first
    assert decoder.decode(last) is last


@pytest.mark.parametrize("reads", [[], [b"hell"], [b"h", b""]])
def test_a_peer_that_closes_before_the_length_has_not_ended_the_body(reads: list[bytes]) -> None:
    decoder = LengthBody(5)
    feed(decoder, reads)
    with pytest.raises(BodyFault, match="before its length"):
        decoder.end()
    assert not decoder.complete


@given(st.lists(st.binary(max_size=8)), st.integers(0, 40))
def test_any_split_of_a_body_of_a_length_is_read_alike(reads: list[bytes], length: int) -> None:
    text = b"".join(reads)
    expected = (text[:length], text[length:], ()) if len(text) >= length else None
    assert whole(LengthBody(length), reads) == expected


# A body until the peer closes.


def test_a_body_until_the_close_is_all_that_came_and_complete_at_the_close_alone() -> None:
    decoder = UntilClose()
    data = bytes(range(256))
    assert decoder.decode(data) is data
    assert decoder.decode(b"") == b""
    assert not decoder.complete
    decoder.end()
    assert decoder.complete
    assert (decoder.rest, decoder.trailers) == (b"", ())


# A chunked body.


LONG_EXTENSION = b';a="' + b"x" * 250 + b'"'
GOOD = [
    pytest.param(b"0\r\n\r\n", b"", (), id="an empty body"),
    pytest.param(b"5\r\nhello\r\n0\r\n\r\n", b"hello", (), id="one chunk"),
    pytest.param(b"1\r\na\r\n2\r\nbc\r\n0\r\n\r\n", b"abc", (), id="two chunks"),
    pytest.param(b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789", (), id="a size in small letters"),
    pytest.param(b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789", (), id="a size in capitals"),
    pytest.param(b"1aB\r\n" + b"x" * 0x1AB + b"\r\n0\r\n\r\n", b"x" * 0x1AB, (), id="a size in both"),
    pytest.param(b"0000000000000001\r\na\r\n0\r\n\r\n", b"a", (), id="a size of 16 digits"),
    pytest.param(b"1\r\na\r\n0000000000000000\r\n\r\n", b"a", (), id="a last chunk of 16 noughts"),
    pytest.param(b"4\r\n\r\n\r\n\r\n0\r\n\r\n", b"\r\n\r\n", (), id="payload that is line ends"),
    pytest.param(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n", b"0\r\n\r\n", (), id="payload that looks like an end"),
    pytest.param(b"1;a\r\nx\r\n0\r\n\r\n", b"x", (), id="an extension"),
    pytest.param(b"1;a=b\r\nx\r\n0;c=d\r\n\r\n", b"x", (), id="an extension with a value, and on the last chunk"),
    pytest.param(b'1;a="; \\" \xe9"\r\nx\r\n0\r\n\r\n', b"x", (), id="an extension with a quoted value"),
    pytest.param(b'1;a=""\r\nx\r\n0\r\n\r\n', b"x", (), id="an extension with an empty quoted value"),
    pytest.param(b"1 \t; a = b ;c\r\nx\r\n0\r\n\r\n", b"x", (), id="blanks where extensions may have them"),
    pytest.param(b"1" + LONG_EXTENSION + b"\r\nx\r\n0\r\n\r\n", b"x", (), id="a size line of 256 bytes"),
    pytest.param(b"0\r\nA: b\r\n\r\n", b"", ((b"A", b"b"),), id="a trailer"),
    pytest.param(
        b"0\r\nA: b\r\na:c\r\nB:\t d \t\r\n\r\n", b"", ((b"A", b"b"), (b"a", b"c"), (b"B", b"d")), id="trailers"
    ),
    pytest.param(b"0\r\nA:\r\nB: :c:\r\n\r\n", b"", ((b"A", b""), (b"B", b":c:")), id="odd values of trailers"),
    pytest.param(b"0\r\nA: \xe9\r\n\r\n", b"", ((b"A", b"\xe9"),), id="a trailer outside ASCII"),
    pytest.param(b"0\r\n" + b"A:b\r\n" * 64 + b"\r\n", b"", ((b"A", b"b"),) * 64, id="64 trailers"),
    pytest.param(b"0\r\nA:" + b"b" * 16378 + b"\r\n\r\n", b"", ((b"A", b"b" * 16378),), id="trailers of 16 KiB"),
    pytest.param(
        (b"1" + LONG_EXTENSION + b"\r\nx\r\n") * 64 + b"0;" + b"a" * 63 + b"\r\n\r\n",
        b"x" * 64,
        (),
        id="extensions of 16 KiB",
    ),
]


@pytest.mark.parametrize("cut", [pytest.param(lambda text: [text], id="whole"), pytest.param(one_by_one, id="bytes")])
@pytest.mark.parametrize("rest", [pytest.param(b"", id="at its end"), pytest.param(b"GET / HTTP/1.1\r\n", id="before")])
@pytest.mark.parametrize(("text", "payload", "trailers"), GOOD)
def test_a_chunked_body_is_read_to_its_end_and_no_further(
    text: bytes, payload: bytes, trailers: Trailers, rest: bytes, cut: Callable[[bytes], list[bytes]]
) -> None:
    decoder = ChunkedBody()
    assert whole(decoder, cut(text + rest)) == (payload, rest, trailers)
    assert decoder.complete
    assert naively(text + rest) == (payload, rest, trailers)


@pytest.mark.parametrize(("text", "payload", "trailers"), GOOD)
def test_a_chunked_body_that_was_cut_anywhere_is_not_complete(text: bytes, payload: bytes, trailers: Trailers) -> None:
    del payload, trailers
    decoder = ChunkedBody()
    for byte in one_by_one(text)[:-1]:
        decoder.decode(byte)
        assert not decoder.complete
        assert (decoder.rest, decoder.trailers) == (b"", ())
    for again in (decoder.end, decoder.end, lambda: decoder.decode(text[-1:])):
        with pytest.raises(BodyFault, match="before its last line"):
            again()
    assert not decoder.complete


BAD = [
    pytest.param(b"\r\n", id="no size"),
    pytest.param(b";a=b\r\nx\r\n", id="no size before an extension"),
    pytest.param(b"5\nhello", id="LF alone behind a size"),
    pytest.param(b"5\rhello\r\n", id="CR alone behind a size"),
    pytest.param(b"5\r\r\nhello", id="two CR behind a size"),
    pytest.param(b"5\n\r\nhello", id="LF CR LF behind a size"),
    pytest.param(b" 5\r\nhello", id="a blank before a size"),
    pytest.param(b"5 \r\nhello", id="a blank behind a size"),
    pytest.param(b"5\t\r\nhello", id="a tab behind a size"),
    pytest.param(b"5 5\r\nhello", id="a blank in a size"),
    pytest.param(b"+5\r\nhello", id="a plus"),
    pytest.param(b"-5\r\nhello", id="a minus"),
    pytest.param(b"-0\r\n\r\n", id="minus nought"),
    pytest.param(b"0x5\r\nhello", id="0x"),
    pytest.param(b"1_0\r\nhello", id="an underscore"),
    pytest.param(b"5,5\r\nhello", id="a comma"),
    pytest.param(b"5.\r\nhello", id="a dot"),
    pytest.param(b"g\r\nhello", id="a letter beyond f"),
    pytest.param(b"5h\r\nhello", id="another base"),
    pytest.param(b"\xd9\xa5\r\nhello", id="a digit that is not ASCII"),
    pytest.param(b"\xef\xbc\x95\r\nhello", id="a wide digit"),
    pytest.param(b"00000000000000005\r\nhello", id="a size of 17 digits"),
    pytest.param(b"10000000000000005\r\nhello", id="a size beyond 64 bits"),
    pytest.param(b"5\x00\r\nhello", id="NUL behind a size"),
    pytest.param(b"5\x0b\r\nhello", id="a vertical tab behind a size"),
    pytest.param(b"5;\r\nhello", id="an extension without a name"),
    pytest.param(b"5;=b\r\nhello", id="an extension that is a value alone"),
    pytest.param(b"5;a=\r\nhello", id="an extension without its value"),
    pytest.param(b"5;a \r\nhello", id="a blank behind an extension"),
    pytest.param(b"5;a b\r\nhello", id="an extension with a blank in it"),
    pytest.param(b'5;a="b\r\nhello', id="an open quote"),
    pytest.param(b'5;a="b\\"\r\nhello', id="a quote that is kept open"),
    pytest.param(b'5;a="b"c\r\nhello', id="something behind a quote"),
    pytest.param(b'5;a="b\r\n"\r\nhello', id="a line end in a quote"),
    pytest.param(b'5;a="b\n"\r\nhello', id="LF in a quote"),
    pytest.param(b'5;a="b\r"\r\nhello', id="CR in a quote"),
    pytest.param(b'5;a="\x00"\r\nhello', id="NUL in a quote"),
    pytest.param(b'5;a="\\\x7f"\r\nhello', id="a quoted DEL"),
    pytest.param(b"5;a\x00\r\nhello", id="NUL in an extension"),
    pytest.param(b"5;a\nb\r\nhello", id="LF in an extension"),
    pytest.param(b"5;a\rb\r\nhello", id="CR in an extension"),
    pytest.param(b"5;a/b\r\nhello", id="an extension that is no token"),
    pytest.param(b"5,a\r\nhello", id="another mark before an extension"),
    pytest.param(b"1;" + b"a" * 255 + b"\r\nx\r\n", id="a size line of 257 bytes"),
    pytest.param(b"1;" + b"a" * 256, id="a size line that does not end"),
    pytest.param(
        (b"1" + LONG_EXTENSION + b"\r\nx\r\n") * 64 + b"0;" + b"a" * 64 + b"\r\n",
        id="extensions of a byte more than 16 KiB",
    ),
    pytest.param(b"5\r\nhell\r\n0\r\n\r\n", id="a chunk that is shorter than its size"),
    pytest.param(b"5\r\nhellos\r\n0\r\n\r\n", id="a chunk that is longer than its size"),
    pytest.param(b"5\r\nhello0\r\n\r\n", id="no line end behind a chunk"),
    pytest.param(b"5\r\nhello\n0\r\n\r\n", id="LF alone behind a chunk"),
    pytest.param(b"5\r\nhello\r0\r\n\r\n", id="CR alone behind a chunk"),
    pytest.param(b"5\r\nhello\n\r0\r\n\r\n", id="LF CR behind a chunk"),
    pytest.param(b"5\r\nhello\r\n\r\n0\r\n\r\n", id="an empty line behind a chunk"),
    pytest.param(b"5\r\nhello \r\n0\r\n\r\n", id="a blank behind a chunk"),
    pytest.param(b"0\n\n", id="an end of LF alone"),
    pytest.param(b"0\r\n\n", id="LF alone for the last line"),
    pytest.param(b"0\r\n\r\r\n", id="two CR in the last line"),
    pytest.param(b"0\r\nGET / HTTP/1.1\r\n", id="a request for a trailer"),
    pytest.param(b"0\r\nA\r\n\r\n", id="a trailer without a colon"),
    pytest.param(b"0\r\n: b\r\n\r\n", id="a trailer without a name"),
    pytest.param(b"0\r\nA : b\r\n\r\n", id="a blank before the colon"),
    pytest.param(b"0\r\n A: b\r\n\r\n", id="a trailer that begins with a blank"),
    pytest.param(b"0\r\nA: b\r\n c\r\n\r\n", id="a folded trailer"),
    pytest.param(b"0\r\nA: b\r\n\tc: d\r\n\r\n", id="a trailer folded by a tab"),
    pytest.param(b"0\r\nA/B: c\r\n\r\n", id="a name that is no token"),
    pytest.param(b"0\r\nA: b\n\r\n", id="LF alone behind a trailer"),
    pytest.param(b"0\r\nA: b\nC: d\r\n\r\n", id="LF within a trailer"),
    pytest.param(b"0\r\nA: b\rC: d\r\n\r\n", id="CR within a trailer"),
    pytest.param(b"0\r\nA: b\r\r\n\r\n", id="two CR behind a trailer"),
    pytest.param(b"0\r\nA: \x00\r\n\r\n", id="NUL in a trailer"),
    pytest.param(b"0\r\nA: \x7f\r\n\r\n", id="DEL in a trailer"),
    pytest.param(b"0\r\n" + b"A:b\r\n" * 65, id="65 trailers"),
    pytest.param(b"0\r\nA:" + b"b" * 16379 + b"\r\n\r\n", id="trailers of a byte more than 16 KiB"),
    pytest.param(b"0\r\nA:" + b"b" * 16382, id="a trailer that does not end"),
    pytest.param(b"0\r\n" + b"A:%b\r\n" % (b"b" * 380) * 43, id="many trailers of more than 16 KiB"),
]


@pytest.mark.parametrize("cut", [pytest.param(lambda text: [text], id="whole"), pytest.param(one_by_one, id="bytes")])
@pytest.mark.parametrize("text", BAD)
def test_a_malformed_body_is_a_fault_before_the_peer_closes(text: bytes, cut: Callable[[bytes], list[bytes]]) -> None:
    decoder = ChunkedBody()
    assert state_after(decoder, cut(text)) is None
    assert not decoder.complete
    assert naively(text) is None


@pytest.mark.parametrize("text", BAD)
def test_a_fault_stays_and_its_text_tells_nothing_of_the_input(text: bytes) -> None:
    decoder = ChunkedBody()
    with pytest.raises(BodyFault) as first:
        decoder.decode(text)
    for again in (b"", b"\r\n", b"0\r\n\r\n"):
        with pytest.raises(BodyFault, match=f"^{first.value}$"):
            decoder.decode(again)
    with pytest.raises(BodyFault, match=f"^{first.value}$"):
        decoder.end()
    assert not decoder.complete
    assert re.fullmatch("[A-Za-z' ]{1,50}", str(first.value))
    assert b"hello" not in str(first.value).encode()


def test_a_size_of_64_bits_waits_for_its_payload() -> None:
    decoder = ChunkedBody()
    assert decoder.decode(b"ffffffffffffffff\r\nhello") == b"hello"
    assert not decoder.complete


def test_a_large_chunk_in_many_reads_is_not_copied() -> None:
    decoder = ChunkedBody()
    read = bytes(range(256)) * 16
    assert decoder.decode(b"100000\r\n") == b""
    for _ in range(255):
        assert decoder.decode(read) is read
    last = read[:]
    assert decoder.decode(last) is last
    assert decoder.decode(b"\r\n0\r\n\r\n") == b""
    assert decoder.complete


def test_a_line_that_begins_behind_a_long_read_may_go_on_in_the_next() -> None:
    decoder = ChunkedBody()
    assert decoder.decode(b"1\r\nx\r\n" * 100 + b"1;a") == b"x" * 100
    assert decoder.decode(b"b\r\ny\r\n" + b"1\r\ny\r\n" * 5000 + b"0\r\nA: ") == b"y" * 5001
    assert decoder.decode(b"b\r\n\r\n") == b""
    assert decoder.trailers == ((b"A", b"b"),)


def test_a_peer_that_closes_within_a_chunk_has_not_ended_the_body_and_no_more_is_read_of_it() -> None:
    decoder = ChunkedBody()
    assert decoder.decode(b"5\r\nhe") == b"he"
    with pytest.raises(BodyFault):
        decoder.end()
    with pytest.raises(BodyFault):
        decoder.decode(b"l")


def test_payload_is_given_out_before_its_chunk_is_complete() -> None:
    decoder = ChunkedBody()
    assert decoder.decode(b"5\r\nhe") == b"he"
    assert decoder.decode(b"l") == b"l"
    assert decoder.decode(b"lo\r\n5\r\nw") == b"low"


# Properties.


def pieces(text: bytes, cuts: Iterable[int]) -> list[bytes]:
    """`text`, cut at `cuts`; one may fall together with another, or with an end, and so make an empty read."""
    bounds = [0, *sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    return [text[start:stop] for start, stop in pairwise(bounds)]


CUTS = st.lists(st.integers(0, 10_000), max_size=12)
FIELD = st.tuples(st.from_regex(TOKEN, fullmatch=True), st.from_regex(rb"[!-~\x80-\xff]*", fullmatch=True))
EXTENSIONS = st.sampled_from([b"", b"", b";a", b' ; a = "b;c" ; d=e'])


@st.composite
def bodies(draw: st.DrawFn) -> tuple[bytes, Whole]:
    """A chunked body, and what is in it."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    trailers = tuple(draw(st.lists(FIELD, max_size=6)))
    rest = draw(st.binary(max_size=10))
    text = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), draw(EXTENSIONS), chunk) for chunk in chunks)
    text += b"0%b\r\n" % draw(EXTENSIONS)
    text += b"".join(
        b"%b:%b%b\r\n" % (name, draw(st.sampled_from([b"", b" ", b"\t"])), value) for name, value in trailers
    )
    return text + b"\r\n" + rest, (b"".join(chunks), rest, trailers)


@st.composite
def spoilt(draw: st.DrawFn) -> bytes:
    """A chunked body with some bytes taken out, put in or exchanged: near enough to get far."""
    text = draw(bodies())[0]
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at]
            + draw(st.sampled_from([b"", *one_by_one(b'\r\n\x00 \t;:="\\0159afg\x7f\xff'), b"\r\n"]))
            + (text[at + draw(st.integers(0, 2)) :])
        )
    return text


def test_each_byte_in_each_place_is_taken_as_the_naive_decoder_takes_it() -> None:
    for octet in range(256):
        for text in (
            b"%c\r\n",
            b"1%c\r\na\r\n0\r\n\r\n",
            b"1;%c\r\na\r\n0\r\n\r\n",
            b'1;a="%c"\r\na\r\n0\r\n\r\n',
            b'1;a="\\%c"\r\na\r\n0\r\n\r\n',
            b"1\r\na%c\n0\r\n\r\n",
            b"0\r\n%c\n",
            b"0\r\na%c:b\r\n\r\n",
            b"0\r\na:b%cc\r\n\r\n",
        ):
            assert whole(ChunkedBody(), [text % octet]) == naively(text % octet)


@given(bodies(), CUTS)
def test_what_was_put_into_chunks_comes_out_of_them(body: tuple[bytes, Whole], cuts: list[int]) -> None:
    text, expected = body
    assert whole(ChunkedBody(), pieces(text, cuts)) == expected


@given(spoilt(), CUTS)
@example(b"0\r\n" + b"A" * LARGEST_TRAILERS, [LARGEST_TRAILERS])
def test_any_split_is_read_alike_and_as_a_naive_decoder_reads_it(text: bytes, cuts: list[int]) -> None:
    assert whole(ChunkedBody(), pieces(text, cuts)) == naively(text)
    expected = state_after(ChunkedBody(), [text])
    assert state_after(ChunkedBody(), pieces(text, cuts)) == expected
    assert state_after(ChunkedBody(), one_by_one(text)) == expected
