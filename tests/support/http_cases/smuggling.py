"""What two readers would read differently: each is refused, or goes up in the one reading that was judged."""

from support.raw_client import OPEN, Gets
from support.raw_connection import Hear, Tell

from .words import (
    BEARER,
    CHUNKED,
    ENDED,
    GETS_OK,
    HELLO_IN_A_CHUNK,
    HOST,
    OK,
    POST_5,
    THINGS,
    UP_THINGS,
    ask,
    bad,
    passes,
    post,
    seen,
    seen_hello,
    talk,
)

_HIDDEN = ask(target="/v1/hidden")
_HIDDEN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhidden"
_OTHER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
_GETS_OTHER = Gets(200, body=b"other", fields=())


def _raw(text: str) -> bytes:
    """A head as it stands; `{}` is the credential's line."""
    return text.format(BEARER).encode("latin-1")


_TOP = f"GET {THINGS} HTTP/1.1\r\nHost: {HOST}\r\n{{}}\r\n"

CASES = (
    # Two framings.
    bad("a length, then chunked", post(POST_5, CHUNKED, body=HELLO_IN_A_CHUNK)),
    bad("chunked, then a length", post(CHUNKED, POST_5, body=HELLO_IN_A_CHUNK)),
    bad("chunked and a length of nothing", post(CHUNKED, "Content-Length: 0", body=HELLO_IN_A_CHUNK)),
    bad("chunked, then a length, with a request behind them", post(CHUNKED, POST_5, body=b"0\r\n\r\n" + _HIDDEN)),
    *(
        bad(f"Transfer-Encoding with {name}", post(POST_5, line, body=b"0\r\n\r\n" + _HIDDEN))
        for name, line in {
            "a blank before its colon": "Transfer-Encoding : chunked",
            "a tab before its colon": "Transfer-Encoding\t: chunked",
            "a blank before its name": " Transfer-Encoding: chunked",
            "a NUL in its name": "Transfer-Encoding\x00: chunked",
            "its value on the next line": "Transfer-Encoding:\r\n chunked",
            "an LF before it": "X: y\nTransfer-Encoding: chunked",
            "a CR before it": "X: y\rTransfer-Encoding: chunked",
            "a CR behind it": "Transfer-Encoding: chunked\r",
            "a vertical tab for its line's end": "X: y\x0bTransfer-Encoding: chunked\x00",
            "a letter that is not ASCII in its name": "Tr\xe4nsfer-Encoding: chunked",
            "no colon": "Transfer-Encoding chunked",
        }.items()
    ),
    *(
        passes(f"a length beside {line}", post(POST_5, line), seen_hello())
        for line in (
            "Transfer_Encoding: chunked",
            "Transfer.Encoding: chunked",
            "transfer_encoding: chunked",
            "Content_Length: 6",
            "Content.Length: 0",
        )
    ),
    passes(
        "a length beside a field whose name ends in one",
        post(POST_5, "X-Content-Length: 6"),
        seen_hello("X-Content-Length: 6"),
    ),
    passes("a blank inside a value", ask("X: Transfer-Encoding: chunked"), seen("X: Transfer-Encoding: chunked")),
    # What Connection names.
    *(
        passes(f"Connection that names {name}", post(POST_5, f"Connection: {name}"), seen_hello())
        for name in (
            "Content-Length",
            "Transfer-Encoding",
            "Host",
            "Authorization",
            "X-Forwarded-For, X-Forwarded-Host",
            "Via",
            "X-Request-Id",
            "X-Token-Id",
        )
    ),
    passes(
        "Connection that names chunked's field",
        post(CHUNKED, "Connection: Transfer-Encoding, keep-alive", body=HELLO_IN_A_CHUNK),
        seen_hello(framing="chunked"),
    ),
    # Lines.
    bad("a line that ends with LF", _raw(f"GET {THINGS} HTTP/1.1\nHost: {HOST}\r\n{{}}\r\n\r\n")),
    bad("a field that ends with LF", _raw(f"GET {THINGS} HTTP/1.1\r\nHost: {HOST}\n{{}}\r\n\r\n")),
    bad("a head that ends with LF", _raw(_TOP + "\n")),
    bad("a head of LFs", _raw(f"GET {THINGS} HTTP/1.1\nHost: {HOST}\n{{}}\n\n")),
    bad("a CR in the request line", _raw(f"GET {THINGS}\r HTTP/1.1\r\nHost: {HOST}\r\n{{}}\r\n\r\n")),
    bad("a CR before a line's end", _raw(f"GET {THINGS} HTTP/1.1\r\r\nHost: {HOST}\r\n{{}}\r\n\r\n")),
    bad("a CR for a blank line", _raw(_TOP + "\r\r\n\r\n")),
    bad("a blank line of one blank", _raw(_TOP + " \r\n\r\n")),
    bad("a folded value", _raw(_TOP + "X: a\r\n b\r\n\r\n")),
    bad("a value folded with a tab", _raw(_TOP + "X: a\r\n\tb\r\n\r\n")),
    bad("a first field that is folded", _raw(f"GET {THINGS} HTTP/1.1\r\n Host: {HOST}\r\n{{}}\r\n\r\n")),
    bad("a credential that is folded", ask("Authorization: Bearer\r\n " + BEARER.rpartition(" ")[2], credential=None)),
    # Hosts.
    bad("two Hosts", ask("Host: other.example")),
    bad("two Hosts alike", ask(f"Host: {HOST}")),
    bad("two Hosts, one in capitals", ask("HOST: other.example")),
    bad("a Host twice, once folded", ask("X: y\r\n Host: other.example")),
    *(
        bad(f"a Host that is {name}", ask(host=value))
        for name, value in {
            "empty": "",
            "a path": "a/b",
            "a path with a user": "a/b@c",
            "a user": "u@gateway.example",
            "two": "a, b",
            "two behind blanks": "a b",
            "a query": "a?b",
            "a fragment": "a#b",
            "a URL": "http://a",
            "a port that is none": "a:b",
            "a port too long": "a:123456",
            "two ports": "a:1:2",
            "a bracket that stays open": "[::1",
            "no host before the port": ":80",
            "percent-encoded": "a%2eb",
            "a backslash": "a\\b",
            "not ASCII": "g\xe4teway.example",
        }.items()
    ),
    passes("a Host with a port", ask(host="gateway.example:8080"), seen(x_forwarded_host="gateway.example:8080")),
    passes("a Host that is an IPv6 address", ask(host="[::1]:80"), seen(x_forwarded_host="[::1]:80")),
    bad("a target of another host, and two Hosts", ask("Host: b", target=f"http://a{THINGS}")),
    bad("a target with a good host, and a bad Host", ask(host="a/b", target=f"http://a{THINGS}")),
    bad("a target with a host, and no Host", ask(host=None, target=f"http://a{THINGS}")),
    passes(
        "a target with another host than Host",
        ask(target=f"http://other.example{THINGS}"),
        seen(target=UP_THINGS, x_forwarded_host="other.example"),
    ),
    # Answers in which another one hides.
    talk(
        "two answers in one piece",
        (ask(), GETS_OK, Hear("both are sent"), ask(), _GETS_OTHER, OPEN),
        (seen(), OK + _HIDDEN_ANSWER, Tell("both are sent"), ENDED),
        (seen(), _OTHER),
    ),
    talk(
        "a body behind the answer to HEAD",
        (
            ask(method="HEAD"),
            Gets(200, method="HEAD", body=b""),
            Hear("the body is sent"),
            ask(),
            _GETS_OTHER,
            OPEN,
        ),
        (seen(method="HEAD"), _HIDDEN_ANSWER, Tell("the body is sent"), ENDED),
        (seen(), _OTHER),
    ),
    talk(
        "a body behind a 204",
        (ask(), Gets(204, body=b""), Hear("the body is sent"), ask(), _GETS_OTHER, OPEN),
        (seen(), b"HTTP/1.1 204 No Content\r\n\r\nhidden", Tell("the body is sent"), ENDED),
        (seen(), _OTHER),
    ),
    talk(
        "an answer before it was asked for",
        (ask(), GETS_OK, Tell("idle"), Hear("it is sent"), ask(), _GETS_OTHER, OPEN),
        (seen(), OK, Hear("idle"), _HIDDEN_ANSWER, Tell("it is sent"), ENDED),
        (seen(), _OTHER),
    ),
    # Requests that are none.
    bad("a request of HTTP/0.9 before another one", f"GET {THINGS}\r\n".encode() + _HIDDEN),
    bad("a request line alone before another one", f"GET {THINGS} HTTP/1.1\r\n".encode() + _HIDDEN),
)
