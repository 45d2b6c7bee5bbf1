"""What public conformance checks of HTTP/1.1 servers ask: requests in fragments, odd but valid, and broken ones.

Each is answered as RFC 9112 has it; the section stands with the case.
"""

from collections.abc import Iterator

import pytest
from support.data_plane import DataPlane, captured_by_thread, four_planes, home, verdicts
from support.http_cases.case import Case
from support.http_cases.words import (
    BEARER,
    CHUNKED,
    CLOSED,
    ENDED,
    GETS_OK,
    HELLO_IN_A_CHUNK,
    OK,
    POST_5,
    THINGS,
    ask,
    bad,
    passes,
    post,
    seen,
    seen_hello,
    talk,
)
from support.raw_client import OPEN, Gets, refused
from support.raw_connection import Pieces, Step

WHOLE = ask("X-Name: some value")
FIRST_LINE = WHOLE.index(b"\r\n")
FIELD = WHOLE.index(b"X-Name")


def in_fragments(name: str, first: int) -> Case:
    """The first so many bytes are no request yet: nothing is said to them, and the rest makes it one."""
    return talk(
        f"a fragment that ends {name}",
        (WHOLE[:first], Step.SILENCE, WHOLE[first:], GETS_OK, OPEN),
        (seen("X-Name: some value"), OK),
    )


FRAGMENTS = (  # RFC 9112 2.2
    in_fragments("inside the method", 1),
    in_fragments("behind the method", 3),
    in_fragments("behind the blank before the target", 4),
    in_fragments("inside the target", 9),
    in_fragments("behind the target", 4 + len(THINGS)),
    in_fragments("behind the blank before the version", 5 + len(THINGS)),
    in_fragments("inside the version", FIRST_LINE - 5),
    in_fragments("behind the version", FIRST_LINE),
    in_fragments("inside the end of the first line", FIRST_LINE + 1),
    in_fragments("behind the first line", FIRST_LINE + 2),
    in_fragments("inside a field's name", FIELD + 3),
    in_fragments("behind a field's name", FIELD + 6),
    in_fragments("behind a colon", FIELD + 7),
    in_fragments("inside a field's value", FIELD + 10),
    in_fragments("behind a field's value", len(WHOLE) - 4),
    in_fragments("inside the end of a field", len(WHOLE) - 3),
    in_fragments("before the last line end", len(WHOLE) - 2),
    in_fragments("inside the last line end", len(WHOLE) - 1),
)

VALID = (
    passes("a plain request (3)", ask()),
    passes("names in any case, and blanks of every kind (5)", ask("x-NAME: \t a \t "), seen("x-NAME: a")),
    passes("a field without a value (5.5)", ask("X-Empty:"), seen("X-Empty: ")),
    passes("an empty line before the request line (2.2)", b"\r\n" + ask()),
    passes("a body with its length (6.2)", post(POST_5), seen_hello()),
    passes("a body in chunks (7.1)", post(CHUNKED, body=HELLO_IN_A_CHUNK), seen_hello(framing="chunked")),
    passes(
        "HEAD has no body (6.3)",
        ask(method="HEAD"),
        seen(method="HEAD"),
        answer=b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        gets=Gets(200, method="HEAD", body=b""),
    ),
    passes(
        "a host in the target (3.2.2)",
        ask(target=f"http://other.example{THINGS}"),
        seen(x_forwarded_host="other.example"),
    ),
    passes("HTTP/1.0 closes (9.3)", ask(version="HTTP/1.0"), then=CLOSED),
    passes("a connection that is to be closed (9.6)", ask("Connection: close"), then=CLOSED),
    talk("two requests at once (9.3.2)", (ask() + ask(), GETS_OK, GETS_OK, OPEN), (seen(), OK, seen(), OK)),
)

INVALID = (
    bad("a word and nothing more (3)", b"nonsense\r\n\r\n"),
    bad("no version (3)", f"GET {THINGS}\r\nHost: x\r\n{BEARER}\r\n\r\n".encode()),
    bad("a version that is none (2.3)", ask(version="HTTP/9.9")),
    bad("a protocol that is none (2.3)", ask(version="HTTX/1.1")),
    bad("no target (3)", f"GET HTTP/1.1\r\nHost: x\r\n{BEARER}\r\n\r\n".encode()),
    bad("junk before the request (3)", b"\x00\x01" + ask()),
    bad("a blank before the method (3)", b" " + ask()),
    bad("two blanks (3)", ask().replace(b"GET ", b"GET  ", 1)),
    bad("lines that end with LF (2.2)", ask().replace(b"\r\n", b"\n")),
    bad("a bare CR (2.2)", ask("X: a\rb")),
    bad("no Host (3.2)", ask(host=None)),
    bad("two Hosts (3.2)", ask("Host: b")),
    bad("a Host that is none (3.2)", ask(host="a b")),
    bad("a name that is no token (5)", ask("X@Y: z")),
    bad("a blank before the colon (5.1)", ask("X : z")),
    bad("a blank inside a name (5.1)", ask("X Y: z")),
    bad("no colon (5)", ask("nonsense")),
    bad("no name (5)", ask(": x")),
    bad("a control byte in a value (5.5)", ask("X: a\x07b")),
    bad("a NUL in a value (5.5)", ask("X: a\x00b")),
    bad("a folded line (5.2)", ask("X: a\r\n b")),
    bad("a blank before the first field (2.2)", ask().replace(b"\r\nHost", b"\r\n Host", 1)),
    bad("a negative length (6.2)", post("Content-Length: -1")),
    bad("a negative length beyond all numbers (6.2)", post(f"Content-Length: -{10**60}")),
    bad("a length beyond all numbers (6.2)", post(f"Content-Length: {10**60}")),
    bad("a length that is no number (6.2)", post("Content-Length: five")),
    bad("no length behind its name (6.2)", post("Content-Length:")),
    bad("two lengths (6.3)", post("Content-Length: 5", "Content-Length: 6")),
    bad("a length and chunks (6.3)", post(POST_5, CHUNKED, body=HELLO_IN_A_CHUNK)),
    bad("chunks that are not last (6.3)", post("Transfer-Encoding: chunked, gzip"), 501),
    bad("a coding that nobody knows (6.1)", post("Transfer-Encoding: magic"), 501),
    bad("a head without end (3)", b"GET / HTTP/1.1\r\nX: " + b"y" * 70_000, 431, 10431),
    talk(
        "a chunk that is none (7.1)",
        (post(CHUNKED, body=b"xyz\r\n"), refused(400, 6003, "Connection: close"), ENDED),
        (Step.MAYBE, Step.CUT),
    ),
)


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[DataPlane, ...]]:
    with captured_by_thread(), home(tmp_path_factory.mktemp("home")) as where, four_planes(where) as planes:
        yield planes


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in (*FRAGMENTS, *VALID, *INVALID)])
def test_a_request_is_answered_as_the_rfc_has_it(case: Case, planes: tuple[DataPlane, ...]) -> None:
    verdicts(case, planes, (Pieces.WHOLE,))
