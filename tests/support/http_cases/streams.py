"""Bodies on their way: what comes goes on at once, and whoever leaves is missed on the other side."""

from support.raw_client import OPEN, Gets, Interim, refused
from support.raw_connection import Hear, Tell
from support.raw_message import Body, BodyEnd

from .words import (
    BREAK,
    CHUNKED,
    CLOSED,
    ENDED,
    GETS_OK,
    LEAVE,
    OK,
    POST_5,
    RESET,
    SHUT,
    answers,
    ask,
    passes,
    post,
    seen,
    seen_hello,
    talk,
)

_EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nfirst"
_UNENDED = b"HTTP/1.1 200 OK\r\n\r\nfirst"
_MEGABYTE = bytes(range(256)) * 4096
_BEGUN = Gets(200, reads_body=False)


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_LAST = b"0\r\n\r\n"


def _trailing(*trailers: str) -> bytes:
    return b"".join([_CHUNKED_HEAD, _chunk(b"ok"), b"0\r\n", *(f"{line}\r\n".encode() for line in trailers), b"\r\n"])


_CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"

CASES = (
    talk(
        "an event comes while the next one is held back",
        (
            ask("Accept: text/event-stream"),
            Gets(200, fields=("Content-Type: text/event-stream",), framing="chunked", reads_body=False),
            Body(b"data: 1\n\n"),
            Tell("the first came"),
            Body(b"data: 2\n\n"),
            BodyEnd(),
            OPEN,
        ),
        (
            seen("Accept: text/event-stream"),
            _EVENTS + _chunk(b"data: 1\n\n"),
            Hear("the first came"),
            _chunk(b"data: 2\n\n") + _LAST,
        ),
    ),
    talk(
        "a head comes while its body is held back",
        (ask(), Gets(200, framing="length", reads_body=False), Tell("the head came"), Body(b"ok"), BodyEnd(), OPEN),
        (seen(), b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", Hear("the head came"), b"ok"),
    ),
    talk(
        "early hints come while the answer is held back",
        (ask(), Interim(103), Tell("they came"), GETS_OK, OPEN),
        (seen(), b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", Hear("they came"), OK),
    ),
    talk(
        "half of an answer without a length comes while the rest is held back",
        (
            ask(),
            Gets(200, framing="chunked", reads_body=False),
            Body(b"first"),
            Tell("it came"),
            Body(b"last"),
            BodyEnd(),
            OPEN,
        ),
        (seen(), _UNENDED, Hear("it came"), b"last", LEAVE),
    ),
    talk(
        "a piece of a body goes up while the next one is held back",
        (post(POST_5, body=b"hel"), Hear("it came"), b"lo", GETS_OK, OPEN),
        (seen_hello(reads_body=False), Body(b"hel"), Tell("it came"), Body(b"lo"), BodyEnd(), OK),
    ),
    talk(
        "a chunk goes up while the next one is held back",
        (post(CHUNKED, body=_chunk(b"hel")), Hear("it came"), _chunk(b"lo") + _LAST, GETS_OK, OPEN),
        (seen_hello(framing="chunked", reads_body=False), Body(b"hel"), Tell("it came"), Body(b"lo"), BodyEnd(), OK),
    ),
    talk(
        "half a chunk goes up while its rest is held back",
        (post(CHUNKED, body=b"5\r\nhel"), Hear("it came"), b"lo\r\n0\r\n\r\n", GETS_OK, OPEN),
        (seen_hello(framing="chunked", reads_body=False), Body(b"hel"), Tell("it came"), Body(b"lo"), BodyEnd(), OK),
    ),
    passes(
        "a megabyte down with its length",
        ask(),
        answer=b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(_MEGABYTE) + _MEGABYTE,
        gets=Gets(200, body=_MEGABYTE, fields=(), framing="length"),
    ),
    passes(
        "a megabyte down in chunks",
        ask(),
        answer=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunk(_MEGABYTE) + _LAST,
        gets=Gets(200, body=_MEGABYTE, fields=(), framing="chunked"),
    ),
    passes(
        "a megabyte down until the end",
        ask(version="HTTP/1.0"),
        answer=b"HTTP/1.1 200 OK\r\n\r\n" + _MEGABYTE,
        gets=Gets(200, body=_MEGABYTE, fields=(), framing="close"),
        then=CLOSED,
        closes=True,
    ),
    # Trailers.
    answers(
        "trailers of an answer",
        _trailing("X-Sum: 1", "X-Other: 2"),
        Gets(200, body=b"ok", fields=("Trailer: X-Sum",), trailers=("X-Sum: 1", "X-Other: 2"), framing="chunked"),
    ),
    answers(
        "trailers that must not be any",
        _trailing(
            "X-Sum: 1",
            "Content-Length: 7",
            "Transfer-Encoding: gzip",
            "Set-Cookie: a=b",
            "Authorization: x",
            "Connection: close",
        ),
        Gets(200, body=b"ok", trailers=("X-Sum: 1",)),
    ),
    passes(
        "trailers to HTTP/1.0",
        ask(version="HTTP/1.0"),
        answer=_trailing("X-Sum: 1"),
        gets=Gets(200, body=b"ok", framing="close", lacks=("trailer",)),
        then=CLOSED,
    ),
    # An answer before its request is whole.
    talk(
        "an answer while the body is still to come",
        (post("Content-Length: 1000", body=b"first"), Gets(413, body=b"no", fields=()), ENDED),
        (
            seen(method="POST", framing="length", reads_body=False),
            Body(b"first"),
            b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno",
            ENDED,
        ),
        takes_time=True,
    ),
    talk(
        "an answer while the body is still to come, and then comes",
        (
            post("Content-Length: 10", body=b"first"),
            Gets(200, body=b"ok", reads_body=False),
            b"final",
            Body(b"ok"),
            BodyEnd(),
            OPEN,
        ),
        (
            seen(method="POST", framing="length", reads_body=False),
            Body(b"first"),
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n",
            Body(b"final"),
            BodyEnd(),
            b"ok",
        ),
    ),
    # Whoever leaves.
    talk(
        "a client that leaves before the answer",
        (ask(), Hear("it is asked"), LEAVE),
        (seen(), Tell("it is asked"), ENDED),
    ),
    talk(
        "a client that breaks off before the answer",
        (ask(), Hear("it is asked"), BREAK),
        (seen(), Tell("it is asked"), ENDED),
    ),
    talk(
        "a client that sends its end before the answer",
        (ask(), Hear("it is asked"), SHUT, ENDED),
        (seen(), Tell("it is asked"), ENDED),
    ),
    talk(
        "a client that leaves inside an answer",
        (ask(), _BEGUN, Body(b"first"), LEAVE),
        (seen(), _ENDLESS, ENDED),
    ),
    talk(
        "a client that breaks off inside an answer",
        (ask(), _BEGUN, Body(b"first"), BREAK),
        (seen(), _ENDLESS, ENDED),
    ),
    talk(
        "a client that leaves an event stream",
        (ask(), _BEGUN, Body(b"data: 1\n\n"), LEAVE),
        (seen(), _EVENTS + _chunk(b"data: 1\n\n"), ENDED),
    ),
    talk(
        "a client that leaves inside its body",
        (post("Content-Length: 10", body=b"first"), Hear("it came"), LEAVE),
        (seen(method="POST", framing="length", reads_body=False), Body(b"first"), Tell("it came"), ENDED),
    ),
    talk(
        "a client that sends its end inside its body",
        (post("Content-Length: 10", body=b"first"), Hear("it came"), SHUT, ENDED),
        (seen(method="POST", framing="length", reads_body=False), Body(b"first"), Tell("it came"), ENDED),
    ),
    talk(
        "a client that breaks off inside its chunks",
        (post(CHUNKED, body=_chunk(b"first")), Hear("it came"), BREAK),
        (seen(method="POST", framing="chunked", reads_body=False), Body(b"first"), Tell("it came"), ENDED),
    ),
    talk(
        "a chunk that is broken when half of the body is up",
        (post(CHUNKED, body=_chunk(b"first")), Hear("it came"), b"zz\r\n", refused(400, 6003), CLOSED),
        (seen(method="POST", framing="chunked", reads_body=False), Body(b"first"), Tell("it came"), ENDED),
    ),
    # An answer that breaks off.
    *(
        talk(
            f"an answer {name} that breaks off with {end}",
            (ask(version=version), Gets(200, body=b"first", whole=False), RESET),
            (seen(), head, step),
        )
        for name, version, head in (
            ("with its length", "HTTP/1.1", _ENDLESS),
            ("in chunks", "HTTP/1.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunk(b"first")),
            (
                "in chunks, to HTTP/1.0,",
                "HTTP/1.0",
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + _chunk(b"first"),
            ),
            ("inside a chunk", "HTTP/1.1", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nfirst"),
        )
        for end, step in (("FIN", LEAVE), ("RST", BREAK))
    ),
    talk(
        "an answer without a length that breaks off with RST",
        (ask(), Gets(200, reads_body=False), Body(b"first"), Tell("it came"), RESET),
        (seen(), _UNENDED, Hear("it came"), BREAK),
    ),
    talk(
        "an answer without a length, to HTTP/1.0, that breaks off with RST",
        (ask(version="HTTP/1.0"), Gets(200, reads_body=False), Body(b"first"), Tell("it came"), RESET),
        (seen(), _UNENDED, Hear("it came"), BREAK),
    ),
)
