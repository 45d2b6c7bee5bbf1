from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import TOKEN_ID, ZONE_A, secret_of
from unit.proxy.fakes import Clock, FakeClient, FakeTransport, allowed, pool_of

from gateway.catalog.target import Target, split_target
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.field_line import FieldLine, Role, read_line
from gateway.proxy.forward import Backend, Proxy, target_up
from gateway.proxy.header_rules import Client, UpRules
from gateway.proxy.relay import AnswerReader, Outgoing, Relay, Where
from gateway.reason import Deny, Reason
from gateway.tokens.secret import Sensitive

RECORDS = b"/client/v4/zones/" + ZONE_A.encode() + b"/dns_records"
PATH_UP = b"/zones/" + ZONE_A.encode() + b"/dns_records"
RULES = UpRules(("Authorization", Sensitive("Bearer the-upstream's-own")), frozenset({"authorization"}))
CLIENT = Client(peer=b"192.0.2.7", scheme=b"http", trusted=False)
OURS = (
    b"X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Host: api.example\r\nX-Forwarded-Proto: http\r\n"
    b"Via: 1.1 zonegate\r\nX-Request-Id: request-0001\r\nX-Token-Id: " + TOKEN_ID.encode() + b"\r\n"
    b"Authorization: Bearer the-upstream's-own\r\n"
)


class Head(NamedTuple):
    """See `RequestHead`."""

    method: str
    ordinary: list[FieldLine]
    special: list[FieldLine]
    options: frozenset[bytes] = frozenset()
    host: bytes = b"api.example"
    has_body: bool = False
    length: int | None = None
    expects_continue: bool = False


def head(
    method: str = "GET",
    *lines: bytes,
    has_body: bool = False,
    length: int | None = None,
    expects_continue: bool = False,
    options: frozenset[bytes] = frozenset(),
) -> Head:
    read = [read_line(line) for line in lines]
    fields = [each for each in read if isinstance(each, FieldLine)]
    assert len(fields) == len(lines), read
    return Head(
        method,
        [each for each in fields if each.role is Role.ORDINARY],
        [each for each in fields if each.role is not Role.ORDINARY],
        has_body=has_body,
        length=length,
        expects_continue=expects_continue,
        options=options,
    )


class Upstream:
    """An API's upstream in memory."""

    def __init__(self, base_path: tuple[bytes, ...] = ()) -> None:
        pool, (self.target,) = pool_of(["api.internal"])
        self.clock = Clock()
        self.where = Where(pool, AnswerReader(), Deadlines(self.clock.loop, 60, Relay.timed_out))
        self.backend = Backend(where=self.where, rules=RULES, base_path=base_path)

    @property
    def transports(self) -> list[FakeTransport]:
        return self.target.transports()

    @property
    def sent(self) -> bytes:
        """All that it got."""
        return b"".join(each.sent for each in self.transports)


async def forwarded(
    request: Head,
    suffix: bytes = b"",
    *,
    body: bytes | None = b"",
    upgrade: bool = False,
    base_path: tuple[bytes, ...] = (),
) -> tuple[Upstream, Relay, FakeClient]:
    """A request for RECORDS that has been sent."""
    upstream, client = Upstream(base_path), FakeClient()
    proxy = Proxy({"cloudflare-dns": upstream.backend})
    allow = allowed(request.method, RECORDS + suffix)
    relay = proxy.relay(allow, request, CLIENT, client, body=body, upgrade=upgrade)
    assert isinstance(relay, Relay)
    assert upstream.sent == b"", "it has not begun yet"
    await relay.connect()
    return upstream, relay, client


def divided(sent: bytes) -> tuple[bytes, bytes]:
    """Of a request: what stands before and behind our own lines, which are in it once; its body with the latter."""
    assert sent.count(OURS) == 1
    before, _, behind = sent.partition(OURS)
    return before, behind


# The target.


@pytest.mark.parametrize(
    ("suffix", "base_path", "target"),
    [
        pytest.param(b"", (), b"/zones/{zone}/dns_records", id="the prefix goes"),
        pytest.param(b"", (b"v1",), b"/v1/zones/{zone}/dns_records", id="a base path comes"),
        pytest.param(b"", (b"a", b"b"), b"/a/b/zones/{zone}/dns_records", id="a base path of two"),
        pytest.param(b"", (b"a%20b",), b"/a%20b/zones/{zone}/dns_records", id="a base path with an encoded byte"),
        pytest.param(b"?", (), b"/zones/{zone}/dns_records?", id="a ? at the end"),
        pytest.param(b"??&=", (), b"/zones/{zone}/dns_records??&=", id="an odd query"),
        pytest.param(b"?b=c&b=d&&=", (), b"/zones/{zone}/dns_records?b=c&b=d&&=", id="a query that repeats itself"),
        pytest.param(b"?b=%zz%", (), b"/zones/{zone}/dns_records?b=%zz%", id="a percent sign alone"),
        pytest.param(
            b"?a=%2e%2E/..%2f&b=%zz;c=+%20'\"<>\\^`{|}[]",
            (),
            b"/zones/{zone}/dns_records?a=%2e%2E/..%2f&b=%zz;c=+%20'\"<>\\^`{{|}}[]",
            id="a query that is nobody's to mend",
        ),
    ],
)
async def test_the_target_is_the_judged_one_under_the_base_path_byte_for_byte(
    suffix: bytes, base_path: tuple[bytes, ...], target: bytes
) -> None:
    expected = target.decode().format(zone=ZONE_A).encode()
    assert target_up(allowed("GET", RECORDS + suffix), base_path) == expected
    upstream, _, _ = await forwarded(head(), suffix, base_path=base_path)
    assert upstream.sent.startswith(b"GET %b HTTP/1.1\r\nHost: api.internal\r\n" % expected)


async def test_an_absolute_form_s_authority_does_not_go_up() -> None:
    allow = allowed("GET", b"http://other.example" + RECORDS + b"?x")
    assert target_up(allow, ()) == PATH_UP + b"?x"


def test_the_target_of_one_request_is_not_that_of_the_next() -> None:
    for _ in range(2):
        for base_path, query in (((), b""), ((b"v1",), b""), ((), b"?a"), ((b"v1",), b"?b")):
            path = b"".join(b"/" + segment for segment in base_path) + PATH_UP
            assert target_up(allowed("GET", RECORDS + query), base_path) == path + query


UNSENDABLE = [b"", b".", b"..", b"..;x", b"a/", b"%2e", b"%2F", b"a b", b"a?b", b"a#b", b"\xc3\xa4", b"a\r\nb", b"%C3"]


@pytest.mark.parametrize("segment", UNSENDABLE)
def test_a_base_path_that_no_client_could_send_is_not_sent_either(segment: bytes) -> None:
    assert target_up(allowed("GET", RECORDS), (segment,)) is None


async def test_a_target_that_cannot_be_sent_is_refused_and_the_upstream_sees_nothing() -> None:
    upstream, client = Upstream((b"..",)), FakeClient()
    proxy = Proxy({"cloudflare-dns": upstream.backend})
    deny = proxy.relay(allowed("GET", RECORDS), head(), CLIENT, client, body=b"")
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.BAD_REQUEST
    assert upstream.transports == []
    assert client.calls == []


query_octets = st.lists(st.sampled_from([octet for octet in range(0x21, 0x7F) if octet != ord("#")]), max_size=20)


@given(query_octets.map(bytes))
def test_any_query_that_was_judged_goes_up_as_it_is(query: bytes) -> None:
    sent = target_up(allowed("GET", RECORDS + b"?" + query), (b"v1",))
    assert sent == b"/v1" + PATH_UP + b"?" + query
    again = split_target(sent)
    assert isinstance(again, Target)
    assert again.query == query


# The request.


async def test_a_request_goes_up_with_our_credential_and_not_the_client_s() -> None:
    secret = secret_of().reveal().encode()
    upstream, _, _ = await forwarded(head("GET", b"Host: api.example", b"Authorization: Bearer " + secret, b"X-A: 1"))
    assert upstream.sent == (b"GET " + PATH_UP + b" HTTP/1.1\r\nHost: api.internal\r\nX-A: 1\r\n" + OURS + b"\r\n")


async def test_what_connection_names_stays_behind() -> None:
    upstream, _, _ = await forwarded(
        head("GET", b"X-A: 1", b"Connection: x-a, authorization", options=frozenset({b"x-a", b"authorization"}))
    )
    before, behind = divided(upstream.sent)
    assert (b"X-A" in before, behind) == (False, b"\r\n")


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("said", "body", "framing"),
    [
        pytest.param({}, b"", b"", id="no body, and nothing said of one"),
        pytest.param({"length": 0}, b"", b"Content-Length: 0\r\n", id="no body, and its length"),
        pytest.param({"has_body": True, "length": 6}, b"abcdef", b"Content-Length: 6\r\n", id="a body that has come"),
        pytest.param({"has_body": True}, b"abcdef", b"Content-Length: 6\r\n", id="chunks that have come"),
        pytest.param({"has_body": True, "length": 6}, None, b"Content-Length: 6\r\n", id="a body that comes"),
        pytest.param({"has_body": True}, None, b"Transfer-Encoding: chunked\r\n", id="chunks that come"),
    ],
)
async def test_a_body_is_framed_anew_and_nothing_else_is_said_of_it(
    method: str, said: dict[str, Any], body: bytes | None, framing: bytes
) -> None:
    suffix = b"" if method in ("GET", "HEAD", "POST") else b"/" + b"e" * 32
    upstream, relay, client = await forwarded(head(method, **said), suffix, body=body)
    sent = upstream.sent
    before, behind = divided(sent)
    assert before == b"%b %b HTTP/1.1\r\nHost: api.internal\r\n" % (method.encode(), PATH_UP + suffix)
    assert behind == framing + b"\r\n" + (body or b"")
    assert client.calls == ([("resume",)] if body is None else [])
    if body is None:
        for piece in (b"abc", b"def"):
            relay.send(piece)
        relay.finish()
        chunks = b"3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n"
        assert upstream.sent == sent + (chunks if b"chunked" in framing else b"abcdef")


@pytest.mark.parametrize("body", [pytest.param(None, id="a body that comes"), pytest.param(b"abc", id="that has come")])
async def test_an_expectation_goes_up_with_a_body(body: bytes | None) -> None:
    lines = [b"Expect: 100-continue", b"Content-Length: 3"]
    upstream, _, client = await forwarded(
        head("POST", *lines, has_body=True, length=3, expects_continue=True), body=body
    )
    _, behind = divided(upstream.sent)
    assert behind == b"Content-Length: 3\r\nExpect: 100-continue\r\n\r\n" + (body or b"")
    upstream.transports[0].says(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.written == b"HTTP/1.1 100 Continue\r\n\r\n"


async def test_an_expectation_without_a_body_stays_behind() -> None:
    upstream, _, _ = await forwarded(head("GET", b"Expect: 100-continue", expects_continue=True))
    assert b"Expect" not in upstream.sent


async def test_an_upgrade_goes_up_only_where_it_is_asked_for_in_so_many_words() -> None:
    lines = [b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: x"]
    request = head("GET", *lines, options=frozenset({b"upgrade"}))
    kept = b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n"
    for upgrade in (True, False):
        upstream, _, _ = await forwarded(request, upgrade=upgrade)
        before, behind = divided(upstream.sent)
        assert before.endswith(kept)
        assert behind == (b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n" if upgrade else b"\r\n")


async def test_only_what_was_asked_for_may_be_upgraded() -> None:
    switch = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    for upgrade in (True, False):
        upstream, _, client = await forwarded(head(), upgrade=upgrade)
        upstream.transports[0].says(switch)
        assert (("tunnel",) in client.calls) is upgrade


@pytest.mark.parametrize(("method", "again"), [("HEAD", True), ("GET", True), ("POST", False)])
async def test_the_relay_knows_the_method(method: str, *, again: bool) -> None:
    upstream, _, client = await forwarded(head(method))
    upstream.transports[0].breaks()
    await client.tasks_done()
    assert len(upstream.transports) == 1 + again
    if method == "HEAD":
        upstream.transports[1].says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
        assert client.end == "done"


async def test_the_answer_comes_down_to_who_asked() -> None:
    upstream, _, client = await forwarded(head())
    upstream.transports[0].says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
    assert client.written == (
        b"HTTP/1.1 200 OK\r\nCache-Control: private\r\nX-Request-Id: request-0001\r\nContent-Length: 5\r\n\r\nhello"
    )


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
async def test_an_upstream_s_own_refusal_comes_down_as_it_is(status: int) -> None:
    upstream, _, client = await forwarded(head())
    upstream.transports[0].says(
        b"HTTP/1.1 %d No\r\nLocation: https://elsewhere\r\nContent-Length: 2\r\n\r\nno" % status
    )
    assert client.written.startswith(b"HTTP/1.1 %d No\r\nLocation: https://elsewhere\r\n" % status)
    assert client.written.endswith(b"\r\n\r\nno")
    assert client.end == "done"


# Upstreams.


async def test_an_api_s_requests_go_to_its_own_upstream() -> None:
    mine, other = Upstream(), Upstream()
    proxy = Proxy({"billing": other.backend, "cloudflare-dns": mine.backend})
    relay = proxy.relay(allowed("GET", RECORDS), head(), CLIENT, FakeClient(), body=b"")
    assert isinstance(relay, Relay)
    await relay.connect()
    assert (len(mine.transports), len(other.transports)) == (1, 0)


async def test_closing_closes_every_upstream_and_leaves_no_timer() -> None:
    upstreams = [Upstream(), Upstream()]
    proxy = Proxy({str(number): each.backend for number, each in enumerate(upstreams)})
    for each in upstreams:
        relay = Relay(each.where, FakeClient(), Outgoing("GET", b"GET / HTTP/1.1\r\n", b"\r\n"))
        await relay.connect()
    proxy.close()
    assert [each.transports[0].is_closing() for each in upstreams] == [True, True]
    assert [each.clock.timers for each in upstreams] == [0, 0]
