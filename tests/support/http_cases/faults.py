"""Peers that fail: upstreams that say nothing, or nonsense, and clients that stand still."""

from support.raw_client import OPEN, Gets, refused
from support.raw_connection import Hear, Tell

from .case import Case
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
    ask,
    post,
    seen,
    seen_hello,
    talk,
)

_GETS_502 = refused(502, 10502)
_GETS_504 = refused(504, 10504)


def _nonsense(name: str, answer: bytes) -> Case:
    """An answer whose head is refused as a client's would be; no second attempt, since it had begun."""
    return talk(name, (ask(), _GETS_502, OPEN), (seen(), answer, ENDED))


def _breaks(name: str, answer: bytes) -> Case:
    """An answer that goes wrong behind its head."""
    return talk(
        name,
        (ask(), Gets(200, reads_body=False), Tell("the head came"), RESET),
        (seen(), b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Hear("the head came"), answer, ENDED),
    )


def _head(*lines: str, start: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1")


CASES = (
    # No answer.
    talk(
        "an upstream that closes before it answers, twice", (ask(), _GETS_502, OPEN), (seen(), LEAVE), (seen(), LEAVE)
    ),
    talk(
        "an upstream that breaks off before it answers, twice",
        (ask(), _GETS_502, OPEN),
        (seen(), BREAK),
        (seen(), BREAK),
    ),
    talk("an upstream that closes before it answers, once", (ask(), GETS_OK, OPEN), (seen(), LEAVE), (seen(), OK)),
    *(
        talk(
            f"{method} is sent once",
            (post(POST_5, method=method), _GETS_502, OPEN),
            (seen_hello(method=method), LEAVE),
        )
        for method in ("POST", "PATCH")
    ),
    talk(
        "POST on a connection that was used before is sent once",
        (ask(), GETS_OK, post(POST_5), _GETS_502, OPEN),
        (seen(), OK, seen_hello(), BREAK),
    ),
    talk(
        "GET on a connection that was used before is sent again",
        (ask(), GETS_OK, ask("X: 2"), GETS_OK, OPEN),
        (seen(), OK, seen("X: 2"), LEAVE),
        (seen("X: 2"), OK),
    ),
    talk(
        "what is idle closes, and the next request finds another one",
        (ask(), GETS_OK, Tell("idle"), Hear("closed"), post(POST_5), GETS_OK, OPEN),
        (seen(), OK, Hear("idle"), SHUT, CLOSED, Tell("closed")),
        (seen_hello(), OK),
    ),
    talk(
        "an answer that ends inside its head", (ask(), _GETS_502, OPEN), (seen(), b"HTTP/1.1 200 OK\r\nX: y\r\n", LEAVE)
    ),
    talk("an answer that ends after a byte", (ask(), _GETS_502, OPEN), (seen(), b"H", LEAVE)),
    talk(
        "an answer that breaks off inside its head",
        (ask(), _GETS_502, OPEN),
        (seen(), b"HTTP/1.1 200 OK\r\nX: y\r\n", BREAK),
    ),
    talk(
        "an answer that ends behind early hints",
        (ask(), Gets(502, code=10502, interims=(103,)), OPEN),
        (seen(), _head(start="HTTP/1.1 103 Early Hints"), LEAVE),
    ),
    # Nonsense.
    *(
        _nonsense(f"an answer that is {name}", answer)
        for name, answer in {
            "no HTTP": b"SSH-2.0-x\r\n\r\n",
            "HTML alone": b"<html></html>\r\n\r\n",
            "of HTTP/0.9": b"ok\r\n\r\n",
            "of HTTP/2.0": _head("Content-Length: 0", start="HTTP/2.0 200 OK"),
            "of HTTP/1.2": _head("Content-Length: 0", start="HTTP/1.2 200 OK"),
            "without a status": _head("Content-Length: 0", start="HTTP/1.1 OK"),
            "of a status of two digits": _head("Content-Length: 0", start="HTTP/1.1 20 OK"),
            "of a status of four digits": _head("Content-Length: 0", start="HTTP/1.1 2000 OK"),
            "of a status below all others": _head("Content-Length: 0", start="HTTP/1.1 099 OK"),
            "of a status beyond all others": _head("Content-Length: 0", start="HTTP/1.1 600 OK"),
            "of a signed status": _head("Content-Length: 0", start="HTTP/1.1 +20 OK"),
            "behind a blank": _head("Content-Length: 0", start=" HTTP/1.1 200 OK"),
            "with a control byte in its reason": _head("Content-Length: 0", start="HTTP/1.1 200 O\x01K"),
        }.items()
    ),
    *(
        _nonsense(f"an answer with {name}", _head(*lines))
        for name, lines in {
            "a control byte in a field": ("X: a\x01b", "Content-Length: 0"),
            "a NUL in a field": ("X: a\x00b", "Content-Length: 0"),
            "a blank before a colon": ("Content-Length : 0",),
            "a folded field": ("X: a", " b", "Content-Length: 0"),
            "a field without a colon": ("nonsense", "Content-Length: 0"),
            "an LF inside a field": ("X: a\nContent-Length: 0",),
            "a CR inside a field": ("X: a\rContent-Length: 0",),
            "two lengths": ("Content-Length: 1", "Content-Length: 2"),
            "a length twice": ("Content-Length: 2", "Content-Length: 2"),
            "a list of lengths": ("Content-Length: 2, 2",),
            "a signed length": ("Content-Length: +2",),
            "a length beyond 64 bits": ("Content-Length: 18446744073709551617",),
            "a length and chunks": ("Content-Length: 2", "Transfer-Encoding: chunked"),
            "another coding": ("Transfer-Encoding: gzip",),
            "two codings": ("Transfer-Encoding: gzip, chunked",),
            "chunked twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
            "129 fields": tuple(f"X-{number}: y" for number in range(129)),
            "a head of 70 KB": (f"X: {'y' * 70_000}", "Content-Length: 0"),
        }.items()
    ),
    _nonsense("an answer whose lines end with LF", b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"),
    _nonsense(
        "chunks in an answer of HTTP/1.0", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    ),
    _nonsense("a megabyte of one field", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000),
    # Wrong behind its head.
    *(
        _breaks(f"a chunk {name}", data)
        for name, data in {
            "without a size": b"\r\n",
            "of a size that is none": b"zz\r\n",
            "of a signed size": b"+5\r\nhello\r\n",
            "of a negative size": b"-1\r\nhello\r\n",
            "of a prefixed size": b"0x5\r\nhello\r\n",
            "beyond 64 bits": b"10000000000000005\r\nhello\r\n",
            "that is longer than its size": b"4\r\nhello\r\n0\r\n\r\n",
            "that ends with LF": b"5\r\nhello\n0\r\n\r\n",
            "whose size ends with LF": b"5\nhello\r\n0\r\n\r\n",
            "of an endless size": b"0" * 100_000,
            "of an endless extension": b"5;" + b"x" * 200_000,
        }.items()
    ),
    _breaks("trailers without a colon", b"0\r\nnonsense\r\n\r\n"),
    _breaks("trailers without an end", b"0\r\n" + b"X: y\r\n" * 200),
    # Time.
    talk("an upstream that is silent", (ask(), _GETS_504, OPEN), (seen(), ENDED), impatient=True),
    talk(
        "an upstream that is silent behind a byte",
        (ask(), Gets((502, 504)), OPEN),
        (seen(), b"H", ENDED),
        impatient=True,
    ),
    talk(
        "an upstream that is silent inside its head",
        (ask(), Gets((502, 504)), OPEN),
        (seen(), b"HTTP/1.1 200 OK\r\nX:", ENDED),
        impatient=True,
    ),
    talk("an upstream that is silent to POST", (post(POST_5), _GETS_504, OPEN), (seen_hello(), ENDED), impatient=True),
    talk("a client that says nothing", (ENDED,), impatient=True),
    talk("a client that is silent inside its head", (ask()[:-2], refused(408, 10408), CLOSED), impatient=True),
    talk("a client that is silent after a byte", (b"G", refused(408, 10408), CLOSED), impatient=True),
    talk("a client that is silent behind an empty line", (b"\r\n", ENDED), impatient=True),
    talk("a client that is silent behind its answer", (ask(), Gets(200), ENDED), (seen(), OK), impatient=True),
    talk(
        "a client that is silent inside a second head",
        (ask(), GETS_OK, ask()[:-2], refused(408, 10408), CLOSED),
        (seen(), OK),
        impatient=True,
    ),
    talk(
        "a client that is silent inside its body",
        (post(POST_5, body=b"hel"), refused(408, 10408), CLOSED),
        (seen_hello(reads_body=False), ENDED),
        impatient=True,
    ),
    talk(
        "a client that is silent inside a chunk",
        (post(CHUNKED, body=b"5\r\nhel"), refused(408, 10408), CLOSED),
        (seen_hello(framing="chunked", reads_body=False), ENDED),
        impatient=True,
    ),
)
