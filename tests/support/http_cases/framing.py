"""Where a message ends: lengths, chunks, and bodies on connections that are kept (RFC 9112 6, 7)."""

from support.raw_client import OPEN, Gets, refused

from .case import Case
from .words import (
    CHUNKED,
    CLOSED,
    ENDED,
    GETS_OK,
    HELLO_IN_A_CHUNK,
    LEAVE,
    NEVER_WHOLE,
    OK,
    OTHER_ZONE,
    POST_5,
    ask,
    bad,
    passes,
    post,
    refuses,
    seen,
    seen_hello,
    talk,
)

LARGEST_BODY = 100_000
"""`limits.max_body` of the planes."""
_TOO_MUCH = b"x" * (LARGEST_BODY + 1)
_INSIDE = b"GET /v1 HTTP/1.1\r\nHost: inside\r\n\r\n"
_MANY = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in range(1, 60)) + b"0\r\n\r\n"


def _length(value: str) -> bytes:
    return post(f"Content-Length: {value}")


def _coding(value: str) -> bytes:
    return post(f"Transfer-Encoding: {value}", body=HELLO_IN_A_CHUNK)


def _bad_chunks(name: str, body: bytes) -> Case:
    """The upload is broken off: whatever of it went up, the upstream never sees its end."""
    return talk(name, (post(CHUNKED, body=body), refused(400, 6003, "Connection: close"), ENDED), NEVER_WHOLE)


CASES = (
    # Lengths.
    passes("a body with its length", post(POST_5), seen_hello()),
    passes("a length of nothing", post("Content-Length: 0", body=b""), seen(method="POST", framing="length")),
    passes("a body behind GET", post(POST_5, method="GET"), seen_hello(method="GET")),
    passes("a body behind DELETE", post(POST_5, method="DELETE"), seen_hello(method="DELETE")),
    passes("a POST without a body", post(body=b""), seen(method="POST", framing=None)),
    passes("blanks around a length", post("Content-Length: \t 5 \t"), seen_hello()),
    passes("the length's name in capitals", post("CONTENT-LENGTH: 5"), seen_hello()),
    *(
        bad(f"a length that is {name}", _length(value))
        for name, value in {
            "signed": "+5",
            "negative": "-5",
            "negative, and beyond 64 bits": "-18446744073709551621",
            "empty": "",
            "a list of the same": "5, 5",
            "a list of two": "5,6",
            "hexadecimal": "0x5",
            "two numbers": "5 5",
            "a word": "five",
            "a fraction": "5.0",
            "with an underscore": "1_0",
            "with an exponent": "5e0",
            "beyond 64 bits": "18446744073709551621",
            "in other digits": "\xd9\xa5",
            "in quotes": '"5"',
            "with a comma at its end": "5,",
            "with a vertical tab": "5\x0b",
        }.items()
    ),
    bad("a length twice", post(POST_5, POST_5)),
    bad("two lengths", post(POST_5, "Content-Length: 6", body=b"hello!")),
    bad("two lengths in two spellings", post(POST_5, "content-length: 6", body=b"hello!")),
    # Transfer-Encoding.
    passes("a chunked body", post(CHUNKED, body=HELLO_IN_A_CHUNK), seen_hello(framing="chunked")),
    passes("chunked in capitals", _coding("CHUNKED"), seen_hello(framing="chunked")),
    passes("blanks around chunked", _coding("\tchunked \t"), seen_hello(framing="chunked")),
    passes(
        "a chunked body behind DELETE",
        post(CHUNKED, body=HELLO_IN_A_CHUNK, method="DELETE"),
        seen_hello(method="DELETE", framing="chunked"),
    ),
    *(
        bad(f"a coding that is {name}", _coding(value), 501)
        for name, value in {
            "gzip, chunked": "gzip, chunked",
            "identity, chunked": "identity, chunked",
            "chunked, identity": "chunked, identity",
            "identity": "identity",
            "gzip": "gzip",
            "chunked twice": "chunked, chunked",
            "chunked with a parameter": "chunked;q=1",
            "chunked with a comma": "chunked,",
            "chunked behind a comma": ", chunked",
            "chunked in quotes": '"chunked"',
            "chunked with a letter before it": "xchunked",
            "chunked with a letter behind it": "chunkedx",
            "empty": "",
        }.items()
    ),
    bad("chunked in two fields", post(CHUNKED, CHUNKED, body=HELLO_IN_A_CHUNK), 501),
    bad("chunked and identity in two fields", post(CHUNKED, "Transfer-Encoding: identity", body=b""), 501),
    bad("chunked with a vertical tab", _coding("\x0bchunked")),
    bad("chunked with a NUL", _coding("chunked\x00")),
    bad("chunked in HTTP/1.0", ask(CHUNKED, method="POST", version="HTTP/1.0", body=HELLO_IN_A_CHUNK)),
    # Chunks.
    passes("many chunks", post(CHUNKED, body=_MANY), seen(method="POST", framing="chunked", body=b"x" * 1770)),
    passes("no chunk but the last", post(CHUNKED, body=b"0\r\n\r\n"), seen(method="POST", framing="chunked")),
    passes(
        "sizes in capitals and small letters",
        post(CHUNKED, body=b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n"),
        seen(method="POST", framing="chunked", body=b"01234567890123456789"),
    ),
    passes(
        "a size with zeros before it",
        post(CHUNKED, body=b"0005\r\nhello\r\n000\r\n\r\n"),
        seen_hello(framing="chunked"),
    ),
    passes("a chunk's extension", post(CHUNKED, body=b"5;a=b\r\nhello\r\n0;c\r\n\r\n"), seen_hello(framing="chunked")),
    passes(
        "trailers of a request",
        post(CHUNKED, "Trailer: X-Sum", body=b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nY: 2\r\n\r\n"),
        seen_hello(framing="chunked"),
    ),
    *(
        _bad_chunks(f"a chunk's size that is {name}", body)
        for name, body in {
            "no number": b"zz\r\nhello\r\n0\r\n\r\n",
            "empty": b"\r\nhello\r\n0\r\n\r\n",
            "signed": b"+5\r\nhello\r\n0\r\n\r\n",
            "negative": b"-5\r\nhello\r\n0\r\n\r\n",
            "prefixed": b"0x5\r\nhello\r\n0\r\n\r\n",
            "behind a blank": b" 5\r\nhello\r\n0\r\n\r\n",
            "beyond 64 bits": b"10000000000000005\r\nhello\r\n0\r\n\r\n",
            "ended by LF": b"5\nhello\r\n0\r\n\r\n",
            "ended by CR": b"5\rhello\r\n0\r\n\r\n",
        }.items()
    ),
    _bad_chunks("a chunk longer than its size", b"4\r\nhello\r\n0\r\n\r\n"),
    _bad_chunks("a chunk shorter than its size", b"6\r\nhello\r\n0\r\n\r\n"),
    _bad_chunks("a chunk of a request that ends with LF", b"5\r\nhello\n0\r\n\r\n"),
    _bad_chunks("a chunk that ends with other bytes", b"5\r\nhelloXX0\r\n\r\n"),
    _bad_chunks("an LF in a chunk's extension", b"5;a\nhello\r\n0\r\n\r\n"),
    _bad_chunks("a CR in a chunk's extension", b"5;a\rb\r\nhello\r\n0\r\n\r\n"),
    _bad_chunks("a NUL in a chunk's extension", b"5;a\x00\r\nhello\r\n0\r\n\r\n"),
    _bad_chunks("a last chunk that ends with LF", b"5\r\nhello\r\n0\n\r\n"),
    _bad_chunks("trailers that end with LF", b"5\r\nhello\r\n0\r\nA: b\n\r\n"),
    _bad_chunks("a trailer without a colon", b"5\r\nhello\r\n0\r\nnonsense\r\n\r\n"),
    _bad_chunks("a trailer with a blank before its colon", b"5\r\nhello\r\n0\r\nA : b\r\n\r\n"),
    # Sizes.
    passes(
        "the largest body",
        post(f"Content-Length: {LARGEST_BODY}", body=b"x" * LARGEST_BODY),
        seen(method="POST", framing="length", body=b"x" * LARGEST_BODY),
    ),
    talk(
        "a length beyond the largest",
        (post(f"Content-Length: {LARGEST_BODY + 1}", body=b""), refused(413, 10413), CLOSED),
        takes_time=True,
    ),
    talk(
        "a chunked body beyond the largest",
        (post(CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(_TOO_MUCH), _TOO_MUCH)), refused(413, 10413), ENDED),
        NEVER_WHOLE,
    ),
    # One message behind the other.
    talk(
        "two requests in one piece",
        (ask() + ask("X-N: 2"), GETS_OK, GETS_OK, OPEN),
        (seen(), OK, seen("X-N: 2"), OK),
    ),
    talk(
        "two bodies in one piece",
        (post(POST_5) + post(CHUNKED, body=HELLO_IN_A_CHUNK) + ask(), GETS_OK, GETS_OK, GETS_OK, OPEN),
        (seen_hello(), OK, seen_hello(framing="chunked"), OK, seen(), OK),
    ),
    talk(
        "a refused request between two others",
        (ask() + ask(target=OTHER_ZONE) + ask("X-N: 3"), GETS_OK, refused(403, 10000), GETS_OK, OPEN),
        (seen(), OK, seen("X-N: 3"), OK),
    ),
    talk(
        "a bad head behind a good request",
        (ask() + ask("Bad Name: x") + ask(), GETS_OK, refused(400, 6003), CLOSED),
        (seen(), OK),
    ),
    talk(
        "bytes behind a body that are no request",
        (post(POST_5, body=b"hello") + b"there\r\n\r\n", GETS_OK, refused(400, 6003), CLOSED),
        (seen_hello(), OK),
    ),
    refuses(
        "a request inside a refused body",
        post(f"Content-Length: {len(_INSIDE)}", body=_INSIDE, target=OTHER_ZONE),
        403,
        10000,
    ),
    refuses(
        "a request inside a refused chunked body",
        post(CHUNKED, body=b"%x\r\n%b\r\n0\r\n\r\n" % (len(_INSIDE), _INSIDE), target=OTHER_ZONE),
        403,
        10000,
    ),
    talk(
        "a refused body that is too long to be drained",
        (
            post("Content-Length: 90000", body=b"x" * 90_000, target=OTHER_ZONE),
            refused(403, 10000),
            ENDED,
        ),
    ),
    talk(
        "a refused chunked body with a broken chunk",
        (post(CHUNKED, body=b"zz\r\nGET / HTTP/1.1\r\n\r\n", target=OTHER_ZONE), refused(403, 10000), ENDED),
        takes_time=True,
    ),
    talk(
        "a body that is cut short",
        (post(POST_5, body=b"hel"), LEAVE),
        NEVER_WHOLE,
    ),
    talk(
        "a chunked body that is cut short",
        (post(CHUNKED, body=b"5\r\nhello\r\n"), LEAVE),
        NEVER_WHOLE,
    ),
    # Answers.
    passes(
        "a chunked answer",
        ask(),
        answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n there\r\n0\r\n\r\n",
        gets=Gets(200, body=b"hello there", fields=(), framing="chunked"),
    ),
    passes(
        "an answer that ends with its connection",
        ask(),
        answer=b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\nhello",
        gets=Gets(200, body=b"hello", fields=("Content-Type: text/plain",), framing="chunked"),
        closes=True,
    ),
)
