"""Paths through a running gateway: what is accepted goes up byte for byte, and no second spelling opens a zone."""

import json
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.processes import Gateway, Upstream
from support.records import group_id, zone

from gateway.demo.dataset import ZONES

ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]
_PREFIX = "/client/v4"


@pytest.fixture(scope="module")
def secret(programs: tuple[Gateway, Upstream]) -> str:
    """Of a token for the DNS of all zones except beta."""
    groups = [{"id": group_id(name)} for name in ("DNS Read", "DNS Write")]
    made = programs[0].create(
        name="all but beta",
        policies=[
            {"effect": "allow", "permission_groups": groups, "resources": {zone("*"): "*"}},
            {"effect": "deny", "permission_groups": groups, "resources": {zone(BETA): "*"}},
        ],
    )
    found: str = made["value"]
    return found


def send(gateway: Gateway, secret: str, target: bytes) -> int:
    """The status of a GET for exactly these bytes."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as sock:
        head = b"GET %b HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer %b\r\nConnection: close\r\n\r\n"
        sock.sendall(head % (target, secret.encode()))
        answer = b""
        while piece := sock.recv(65536):
            answer += piece
    return int(answer.split(b" ", 2)[1])


QUERY = st.text("!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~aZ09", max_size=30)


@given(tail=st.sampled_from(["", "/export", "/" + "e" * 32]), query=st.none() | QUERY, mark=st.integers(0, 10**9))
def test_a_path_that_is_accepted_is_forwarded_byte_for_byte(
    tail: str, query: str | None, mark: int, gateway: Gateway, upstream: Upstream, secret: str
) -> None:
    target = f"{_PREFIX}/zones/{ALPHA}/dns_records{tail}" + ("" if query is None else f"?{mark}{query}")
    send(gateway, secret, target.encode())
    assert upstream.last_target() == target


def test_a_bare_question_mark_goes_up_too(gateway: Gateway, upstream: Upstream, secret: str) -> None:
    target = f"{_PREFIX}/zones/{ALPHA}/dns_records?"
    assert send(gateway, secret, target.encode()) == 200
    assert upstream.last_target() == target


def spellings(zone_id: str) -> st.SearchStrategy[str]:
    """Other ways to write a zone's path."""

    def respell(drawn: list[int]) -> str:
        out = []
        for character, way in zip(zone_id, drawn, strict=True):
            out.append([character, character.upper(), f"%{ord(character):02x}", f"%{ord(character):02X}"][way])
        return "".join(out)

    ways = st.lists(st.integers(0, 3), min_size=len(zone_id), max_size=len(zone_id)).map(respell)
    around = st.sampled_from(
        [
            *("{}", "./{}", "../zones/{}", "x/../{}", "%2e%2e/zones/{}", "{};a=b", "{}%00", "{}%20", "{}/.", "/{}"),
            *("{}%2f", "{}\\", "..;/zones/{}", "{}#", "{}\t", "{}.", "{}%3b", "x%2f..%2f{}"),
        ]
    )
    return st.tuples(around, ways).map(lambda drawn: drawn[0].format(drawn[1]))


@given(spelling=spellings(BETA), tail=st.sampled_from(["/dns_records", "/dns_records/", "/dns_records?x=1"]))
def test_no_spelling_of_a_denied_zone_gets_through(
    spelling: str, tail: str, gateway: Gateway, upstream: Upstream, secret: str
) -> None:
    before = upstream.size()
    status = send(gateway, secret, f"{_PREFIX}/zones/{spelling}{tail}".encode())
    assert status in (400, 403, 404)
    assert upstream.size() == before


RAW: list[Any] = [
    pytest.param(b"GET /client/v4/zones HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, id="two Hosts"),
    pytest.param(b"GET /client/v4/zones HTTP/1.1\r\n\r\n", 400, id="no Host"),
    pytest.param(b"GET /client/v4/zones HTTP/1.1\r\nHost: a\r\nBad Name: x\r\n\r\n", 400, id="a blank in a name"),
    pytest.param(b"GARBAGE\r\n\r\n", 400, id="no request line"),
    pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, id="TLS on a plain port"),
    pytest.param(b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", 400, id="CONNECT"),
    pytest.param(b"GET http://a/client/v4/zones HTTP/1.1\r\nHost: b\r\n\r\n", 401, id="absolute form"),
    pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 400, id="asterisk form"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 70000 + b"\r\n\r\n", 431, id="a head over 64 KiB"),
    pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 128 + b"\r\n", 431, id="129 fields"),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        id="two framings",
    ),
    pytest.param(
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, id="another coding"
    ),
]


@pytest.mark.parametrize(("head", "status"), RAW)
def test_what_the_parser_refuses_wears_the_envelope_too(head: bytes, status: int, gateway: Gateway) -> None:
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as sock:
        sock.sendall(head)
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b"}"):
            piece = sock.recv(65536)
            if not piece:
                break
            answer += piece
    top, _, body = answer.partition(b"\r\n\r\n")
    assert int(top.split(b" ", 2)[1]) == status
    assert json.loads(body)["success"] is False
    assert b"application/json" in top
    assert b"X-Request-Id" in top
    assert b"Server:" not in top
