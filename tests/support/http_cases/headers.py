"""Header fields: what stays behind, what is said in its place, what goes through untouched (DESIGN 8)."""

from support.raw_client import Gets

from .case import Case
from .words import (
    HOST,
    KEYED,
    OK,
    TRUSTED,
    UP_KEYED,
    answers,
    ask,
    bad,
    passes,
    seen,
)

_MOST_FIELDS = 128


def _drops(name: str, *lines: str) -> Case:
    """The fields `lines` stay behind."""
    return passes(name, ask(*lines))


def _replaces(name: str, *lines: str, **asserted: str | None) -> Case:
    return passes(name, ask(*lines), seen(**asserted))


def _answer(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Length: 2", *lines, "", "ok"]).encode("latin-1")


def _passes_down(name: str, *lines: str) -> Case:
    return answers(name, _answer(*lines), Gets(200, body=b"ok", fields=lines))


def _drops_down(name: str, *lines: str) -> Case:
    return answers(name, _answer(*lines), Gets(200, body=b"ok", fields=()))


CASES = (
    # Nothing is invented, nothing is lost.
    passes("a request with nothing but what it needs", ask()),
    *(
        passes(f"{name} goes up", ask(*lines), seen(*lines))
        for name, lines in {
            "what browsers send": (
                "Accept: */*",
                "Accept-Encoding: gzip, br",
                "Accept-Language: de",
                "User-Agent: x/1 (y; z)",
                "Referer: http://x/",
                "Origin: http://x",
                "DNT: 1",
            ),
            "what caches ask": (
                'If-None-Match: "x"',
                "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT",
                "Range: bytes=0-1",
            ),
            "a field in small letters": ("x-small: 1", "X-BIG: 2"),
            "a field three times": ("X: 1", "Y: 2", "X: 3", "x: 1"),
            "an empty value": ("X-Empty: ", "X: 1"),
            "a value with a tab": ("X: a\tb",),
            "a value that is not ASCII": ("X: \xe4\xff\x80",),
            "a value in UTF-8": ("X: \xc3\xa4\xe2\x82\xac",),
            "a value of all that is printable": ("X: !\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",),
            "a name of all that a token may be": ("!#$%&'*+-.^_`|~09azAZ: 1",),
            "a value of 60 KB": (f"X: {'y' * 60_000}",),
            "tracing": ("Traceparent: 00-1-2-01", "Tracestate: a=b", "Baggage: c=d"),
            "a content type without a body": ("Content-Type: application/json",),
            "a colon in a value": ("X: a: b", "Y: :"),
            "maximum hops": ("Max-Forwards: 3",),
        }.items()
    ),
    passes("blanks around a value", ask("X:  \t a b \t "), seen("X: a b")),
    passes("no blank before a value", ask("X:a"), seen("X: a")),
    passes(
        "128 fields",
        ask(*(f"X-{number}: y" for number in range(_MOST_FIELDS - 2))),
        seen(*(f"X-{number}: y" for number in range(_MOST_FIELDS - 2))),
    ),
    bad("129 fields", ask(*(f"X-{number}: y" for number in range(_MOST_FIELDS - 1))), 431, 10431),
    bad("a value of 70 KB", ask(f"X: {'y' * 70_000}"), 431, 10431),
    bad("fields of 70 KB together", ask(*(f"X-{number}: {'y' * 700}" for number in range(100))), 431, 10431),
    # Form.
    *(
        bad(f"a field {name}", ask(line))
        for name, line in {
            "without a colon": "nonsense",
            "without a name": ": x",
            "with a blank in its name": "Bad Name: x",
            "with a blank behind its name": "Name : x",
            "with a tab behind its name": "Name\t: x",
            "with a parenthesis in its name": "N(ame: x",
            "with a slash in its name": "N/ame: x",
            "with a bracket in its name": "N[0]: x",
            "with a NUL in its name": "N\x00: x",
            "with a name that is not ASCII": "N\xe4me: x",
            "with a name in quotes": '"Name": x',
            "with a NUL in its value": "X: a\x00b",
            "with a control byte in its value": "X: a\x01b",
            "with a vertical tab in its value": "X: a\x0bb",
            "with a form feed in its value": "X: a\x0cb",
            "with an escape in its value": "X: \x1b[31m",
            "with a DEL in its value": "X: a\x7fb",
        }.items()
    ),
    # Hop by hop.
    _drops(
        "hop-by-hop fields stay behind",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "TE: trailers",
        "Trailer: X",
    ),
    _drops("what Connection names stays behind", "X-Hop: 1", "Connection: x-hop"),
    _drops(
        "what two Connections name stays behind",
        "X-A: 1",
        "Connection: X-A",
        "X-B: 2",
        "Connection: keep-alive, \t X-B ,",
    ),
    _drops("a field before the Connection that names it stays behind", "x-hop: 1", "X-HOP: 2", "connection: X-Hop"),
    passes("a field that Connection nearly names", ask("X-Hop: 1", "Connection: X-Ho, X-Hopp"), seen("X-Hop: 1")),
    _drops(
        "another protocol is not asked for",
        "Connection: Upgrade, HTTP2-Settings",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABk",
    ),
    _drops("another protocol that Connection does not name", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    _drops("TLS is not asked for", "Connection: Upgrade", "Upgrade: TLS/1.0"),
    # Where the request comes from.
    _replaces("X-Forwarded-For of a stranger", "X-Forwarded-For: 10.9.8.7", x_forwarded_for="127.0.0.1"),
    _replaces("X-Forwarded-For of a stranger, twice", "X-Forwarded-For: 10.9.8.7", "x-forwarded-for: 1.1.1.1"),
    _replaces("X-Forwarded-Host of a stranger", "X-Forwarded-Host: evil.example", x_forwarded_host=HOST),
    _replaces("X-Forwarded-Proto of a stranger", "X-Forwarded-Proto: https", x_forwarded_proto="http"),
    _drops("Forwarded and X-Real-IP of a stranger", "Forwarded: for=10.9.8.7", "X-Real-IP: 10.9.8.7"),
    passes(
        "a proxy of ours",
        ask("X-Forwarded-For: 10.9.8.7", "X-Forwarded-Host: site.example", "X-Forwarded-Proto: https"),
        seen(
            x_forwarded_for=f"10.9.8.7, {TRUSTED}",
            x_forwarded_host="site.example",
            x_forwarded_proto="https",
        ),
        source=TRUSTED,
    ),
    passes("a proxy of ours that says nothing", ask(), seen(x_forwarded_for=TRUSTED), source=TRUSTED),
    passes(
        "a proxy of ours with the standard's fields",
        ask("Forwarded: for=10.9.8.7", "X-Real-IP: 10.9.8.7"),
        seen(
            x_forwarded_for=TRUSTED,
            forwarded=f"for=10.9.8.7, for={TRUSTED};proto=http",
            x_real_ip="10.9.8.7",
        ),
        source=TRUSTED,
    ),
    # Down.
    *(
        _passes_down(f"{name} comes down", *lines)
        for name, lines in {
            "what servers send": (
                "Server: x/1",
                "Date: Mon, 01 Jan 2024 00:00:00 GMT",
                "Content-Type: text/html",
                'ETag: W/"x"',
                "Last-Modified: Mon, 01 Jan 2024 00:00:00 GMT",
                "Vary: Accept",
            ),
            "a coding": ("Content-Encoding: gzip",),
            "a field three times down": ("X: 1", "Y: 2", "X: 3", "x: 1"),
            "caching": ("Cache-Control: public, max-age=60",),
            "a value that is not ASCII, down": ("X: \xe4\xff",),
            "an empty value, down": ("X: ",),
            "a challenge": ('WWW-Authenticate: Basic realm="x"',),
        }.items()
    ),
    answers(
        "an answer that says nothing of caches",
        OK,
        Gets(200, body=b"ok", has=("Cache-Control: private",)),
    ),
    _drops_down(
        "hop-by-hop fields stay above",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Proxy-Authenticate: Basic",
        "Upgrade: h2c",
        "X-Hop: 1",
        "Connection: X-Hop, Upgrade",
    ),
    _drops_down("a session of the login", "Set-Cookie: a=b", "set-cookie: c=d"),
    _drops_down("the upstream's own request id", "X-Request-Id: of-the-upstream"),
    answers(
        "Connection that names a length",
        _answer("Connection: Content-Length, X-Hop", "X-Hop: 1"),
        Gets(200, body=b"ok", fields=()),
    ),
    passes(
        "a session that an upstream may set",
        ask(target=KEYED),
        seen(target=UP_KEYED),
        answer=_answer("Set-Cookie: a=b"),
        gets=Gets(200, body=b"ok", fields=("Set-Cookie: a=b",)),
    ),
    answers(
        "an answer of 128 fields",
        _answer(*(f"X-{number}: y" for number in range(_MOST_FIELDS - 1))),
        Gets(200, fields=tuple(f"X-{number}: y" for number in range(_MOST_FIELDS - 1))),
    ),
)
