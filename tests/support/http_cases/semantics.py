"""What methods, statuses, versions and expectations mean on both sides (RFC 9110, RFC 9112 9)."""

from support.raw_client import OPEN, Gets, Interim
from support.raw_message import Body, BodyEnd
from support.records import ZONE_A

from .words import (
    CHUNKED,
    CLOSED,
    ENDED,
    GETS_OK,
    HELLO_IN_A_CHUNK,
    LEAVE,
    OK,
    OTHER_ZONE,
    POST_5,
    THINGS,
    answers,
    ask,
    bad,
    passes,
    post,
    refuses,
    seen,
    seen_hello,
    talk,
)

_OPTIONS = f"/v1/zones/{ZONE_A}/options"
_UP_OPTIONS = f"/up/base/zones/{ZONE_A}/options"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_EXPECT = "Expect: 100-continue"
_SEEN_WAITING = seen_hello(reads_body=False, expect="100-continue")
_CHUNKED_OK = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
_UNFRAMED_OK = b"HTTP/1.1 200 OK\r\n\r\nok"


def _line(line: str) -> bytes:
    return line.encode("latin-1") + b"\r\n" + ask().split(b"\r\n", 1)[1]


def _status(status: int, phrase: str, *lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status} {phrase}", *lines, "", ""]).encode() + body


CASES = (
    # The request line.
    *(
        bad(f"a request line {name}", _line(line))
        for name, line in {
            "of HTTP/0.9": f"GET {THINGS}",
            "of HTTP/2.0": f"GET {THINGS} HTTP/2.0",
            "of HTTP/1.2": f"GET {THINGS} HTTP/1.2",
            "of HTTP/1.10": f"GET {THINGS} HTTP/1.10",
            "of HTTP/01.1": f"GET {THINGS} HTTP/01.1",
            "of HTTP/1": f"GET {THINGS} HTTP/1",
            "of HTTP/1.": f"GET {THINGS} HTTP/1.",
            "with its version in small letters": f"GET {THINGS} http/1.1",
            "of another protocol": f"GET {THINGS} ICAP/1.0",
            "with two blanks before its target": f"GET  {THINGS} HTTP/1.1",
            "with two blanks before its version": f"GET {THINGS}  HTTP/1.1",
            "with a blank behind its version": f"GET {THINGS} HTTP/1.1 ",
            "with a blank before its method": f" GET {THINGS} HTTP/1.1",
            "with a tab before its target": f"GET\t{THINGS} HTTP/1.1",
            "with a tab before its version": f"GET {THINGS}\tHTTP/1.1",
            "with a method that is no token": f"G@T {THINGS} HTTP/1.1",
            "with a method that is not ASCII": f"G\xcbT {THINGS} HTTP/1.1",
            "with a NUL in its method": f"G\x00T {THINGS} HTTP/1.1",
            "without a method": f"{THINGS} HTTP/1.1",
            "of one word": "GET",
        }.items()
    ),
    bad("a preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    bad("a greeting of TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    bad("no Host in HTTP/1.1", ask(host=None)),
    passes("an empty line before a request", b"\r\n" + ask()),
    passes("three empty lines before a request", b"\r\n\r\n\r\n" + ask()),
    bad("an LF before a request", b"\n" + ask()),
    # Methods.
    *(
        passes(f"the method {method}", post(POST_5, method=method), seen_hello(method=method))
        for method in ("POST", "PUT", "PATCH", "DELETE")
    ),
    passes(
        "the method OPTIONS, where it is listed",
        ask(method="OPTIONS", target=_OPTIONS),
        seen(method="OPTIONS", target=_UP_OPTIONS),
    ),
    refuses("the method OPTIONS, where it is not", ask(method="OPTIONS"), 405, 7001),
    *(
        refuses(f"the method {method}", ask(method=method), 405, 7001, "Allow: DELETE, GET, HEAD, PATCH, POST, PUT")
        for method in ("get", "PROPFIND", "PATCHY", "M-SEARCH", "!#$%&'*+-.^_`|~")
    ),
    refuses("an unknown method, and no credential", ask(method="BREW", credential=None), 401, 9106),
    refuses("an unknown method on no route", ask(method="BREW", target="/nowhere"), 404, 7003),
    # HEAD.
    passes(
        "HEAD",
        ask(method="HEAD"),
        seen(method="HEAD"),
        answer=_status(200, "OK", "Content-Length: 1000000", 'ETag: "x"'),
        gets=Gets(200, method="HEAD", body=b"", fields=('ETag: "x"',), has=("Content-Length: 1000000",)),
    ),
    passes(
        "HEAD of a chunked answer",
        ask(method="HEAD"),
        seen(method="HEAD"),
        answer=_status(200, "OK", "Transfer-Encoding: chunked"),
        gets=Gets(200, method="HEAD", body=b"", fields=()),
    ),
    refuses("HEAD of another's zone", ask(method="HEAD", target=OTHER_ZONE), 403, 10000, method="HEAD"),
    refuses("HEAD without a credential", ask(method="HEAD", credential=None), 401, 9106, method="HEAD"),
    # Statuses.
    answers(
        "a 204",
        _status(204, "No Content"),
        Gets(204, body=b"", fields=(), lacks=("content-length", "transfer-encoding")),
    ),
    answers(
        "a 304 with the length of what it does not send",
        _status(304, "Not Modified", "Content-Length: 5", 'ETag: "x"'),
        Gets(304, body=b"", fields=('ETag: "x"',), lacks=("transfer-encoding",)),
    ),
    answers(
        "a 304 without a length",
        _status(304, "Not Modified"),
        Gets(304, body=b"", fields=(), lacks=("transfer-encoding",)),
    ),
    *(
        answers(
            f"a {status}",
            _status(status, phrase, "Content-Length: 4", *lines, body=b"body"),
            Gets(status, body=b"body", fields=lines, phrase=phrase),
        )
        for status, phrase, lines in (
            (201, "Created", ("Location: /x",)),
            (206, "Partial Content", ("Content-Range: bytes 0-3/10",)),
            (301, "Moved Permanently", ("Location: http://evil.example/",)),
            (307, "Temporary Redirect", ("Location: /up/base/elsewhere",)),
            (401, "Unauthorized", ("WWW-Authenticate: Basic",)),
            (404, "Not Found", ()),
            (429, "Too Many Requests", ("Retry-After: 1",)),
            (500, "Internal Server Error", ()),
            (503, "Service Unavailable", ()),
            (299, "Of our own", ()),
            (599, "Of our own", ()),
        )
    ),
    answers("an empty reason", b"HTTP/1.1 200 \r\nContent-Length: 2\r\n\r\nok", Gets(200, body=b"ok", phrase="")),
    answers(
        "a reason that is not ASCII",
        b"HTTP/1.1 200 \xe4\r\nContent-Length: 2\r\n\r\nok",
        Gets(200, body=b"ok", phrase="\xe4"),
    ),
    # Interim answers.
    answers(
        "early hints",
        _status(103, "Early Hints", "Link: </x>; rel=preload") + OK,
        Gets(200, body=b"ok", interims=(103,)),
    ),
    answers(
        "three interim answers",
        _status(102, "Processing") + _status(103, "Early Hints") + _status(103, "Early Hints") + OK,
        Gets(200, body=b"ok", interims=(102, 103, 103)),
    ),
    talk(
        "interim answers to HTTP/1.0",
        (ask(version="HTTP/1.0"), GETS_OK, CLOSED),
        (seen(), _status(103, "Early Hints") + _status(102, "Processing") + OK),
    ),
    # HTTP/1.0.
    passes("HTTP/1.0", ask(version="HTTP/1.0"), then=CLOSED),
    passes(
        "HTTP/1.0 with a body",
        ask(POST_5, method="POST", version="HTTP/1.0", body=b"hello"),
        seen_hello(),
        then=CLOSED,
    ),
    passes("HTTP/1.0 that keeps its connection", ask("Connection: keep-alive", version="HTTP/1.0"), then=OPEN),
    passes(
        "HTTP/1.0, and a chunked answer",
        ask(version="HTTP/1.0"),
        answer=_CHUNKED_OK,
        gets=Gets(200, body=b"ok", fields=(), framing="close"),
        then=CLOSED,
    ),
    passes(
        "HTTP/1.0 that keeps its connection, and a chunked answer",
        ask("Connection: keep-alive", version="HTTP/1.0"),
        answer=_CHUNKED_OK,
        gets=Gets(200, body=b"ok", fields=(), framing="close"),
        then=CLOSED,
    ),
    talk(
        "HTTP/1.0, and an answer that ends with its connection",
        (ask(version="HTTP/1.0"), Gets(200, body=b"ok", framing="close"), CLOSED),
        (seen(), _UNFRAMED_OK, LEAVE),
    ),
    refuses("a refusal to HTTP/1.0", ask(version="HTTP/1.0", target=OTHER_ZONE), 403, 10000, then=CLOSED),
    # Whose connection is kept.
    passes("a client that closes", ask("Connection: close"), then=CLOSED),
    passes("a client that closes, in capitals, in a list", ask("Connection: X-Y, CLOSE"), then=CLOSED),
    refuses(
        "a client that closes, and is refused", ask("Connection: close", target=OTHER_ZONE), 403, 10000, then=CLOSED
    ),
    passes("a client that keeps its connection", ask("Connection: keep-alive")),
    passes(
        "an upstream that closes",
        ask(),
        answer=_status(200, "OK", "Content-Length: 2", "Connection: close", body=b"ok"),
        closes=True,
    ),
    talk(
        "an upstream that says it closes, and is not asked again",
        (ask(), GETS_OK, ask(), GETS_OK, OPEN),
        (seen(), _status(200, "OK", "Content-Length: 2", "Connection: close", body=b"ok"), ENDED),
        (seen(), OK),
    ),
    talk(
        "an upstream of HTTP/1.0 is not asked again",
        (ask(), GETS_OK, ask(), GETS_OK, OPEN),
        (seen(), b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", ENDED),
        (seen(), OK),
    ),
    talk(
        "an upstream's connection is used again",
        (ask(), GETS_OK, ask("X: 2"), GETS_OK, OPEN),
        (seen(), OK, seen("X: 2"), OK),
    ),
    # Expectations.
    talk(
        "a client that waits for a 100",
        (post(POST_5, _EXPECT, body=b""), Interim(100), b"hello", GETS_OK, OPEN),
        (_SEEN_WAITING, _CONTINUE, Body(b"hello"), BodyEnd(), OK),
    ),
    talk(
        "a client that waits for a 100 with chunks",
        (post(CHUNKED, _EXPECT, body=b""), Interim(100), HELLO_IN_A_CHUNK, GETS_OK, OPEN),
        (
            seen_hello(framing="chunked", reads_body=False, expect="100-continue"),
            _CONTINUE,
            Body(b"hello"),
            BodyEnd(),
            OK,
        ),
    ),
    talk(
        "a client that does not wait for its 100",
        (post(POST_5, _EXPECT), Gets(200, body=b"ok", interims=(100,)), OPEN),
        (_SEEN_WAITING, _CONTINUE, Body(b"hello"), BodyEnd(), OK),
    ),
    talk(
        "an upstream that wants no body",
        (post(POST_5, _EXPECT, body=b""), Gets(417, body=b"no", fields=()), CLOSED),
        (_SEEN_WAITING, _status(417, "Expectation Failed", "Content-Length: 2", body=b"no"), ENDED),
    ),
    refuses(
        "a client that waits for a 100, and is refused",
        post(POST_5, _EXPECT, body=b"", target=OTHER_ZONE),
        403,
        10000,
        then=CLOSED,
    ),
    refuses(
        "a client that waits for a 100, without a credential",
        ask(POST_5, _EXPECT, method="POST", credential=None),
        401,
        9106,
        then=CLOSED,
    ),
    passes(
        "an expectation of HTTP/1.0",
        ask(POST_5, _EXPECT, method="POST", version="HTTP/1.0", body=b"hello"),
        seen_hello(expect=None),
        then=CLOSED,
    ),
)
