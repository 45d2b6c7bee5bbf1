from ipaddress import ip_address

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import TOKEN_ID, ZONE_A, secret_of
from unit.proxy.fakes import OK, FakeConnection, FakeUpstream, allowed

from gateway.catalog.target import Target, split_target
from gateway.proxy.forward import Backend, ForwardedRequest, Proxy, target_up
from gateway.proxy.header_rules import Client, UpRules
from gateway.proxy.ports import BodyRefused, ClientGone, Incoming, UpstreamFailed
from gateway.reason import Deny, Reason
from gateway.tokens.secret import Sensitive

RECORDS = b"/client/v4/zones/" + ZONE_A.encode() + b"/dns_records"
RULES = UpRules(
    host=b"api.internal",
    credential=(b"Authorization", Sensitive("Bearer the-upstream's-own")),
    credential_fields=frozenset({"authorization"}),
)
CLIENT = Client(
    peer=ip_address("192.0.2.7"),
    host=b"api.example",
    scheme="http",
    trusted=False,
    request_id="request-0001",
    token_id=TOKEN_ID,
)
GET = ForwardedRequest(
    method="GET",
    fields=((b"Host", b"api.example"), (b"Authorization", b"Bearer " + secret_of().reveal().encode())),
    has_body=False,
    length=None,
    client=CLIENT,
)
POST = msgspec.structs.replace(GET, method="POST", has_body=True, length=6)


def proxy_to(upstream: FakeUpstream, base_path: tuple[bytes, ...] = ()) -> Proxy:
    return Proxy({"cloudflare-dns": Backend(upstream=upstream, rules=RULES, base_path=base_path)})


async def forward(upstream: FakeUpstream, connection: FakeConnection, request: ForwardedRequest = GET) -> Deny | None:
    return await proxy_to(upstream).forward(allowed(request.method, RECORDS), request, connection)


# The target.


@pytest.mark.parametrize(
    ("suffix", "base_path", "target"),
    [
        pytest.param(b"", (), b"/zones/{zone}/dns_records", id="the prefix goes"),
        pytest.param(b"", (b"v1",), b"/v1/zones/{zone}/dns_records", id="a base path comes"),
        pytest.param(b"", (b"a", b"b"), b"/a/b/zones/{zone}/dns_records", id="a base path of two"),
        pytest.param(b"?", (), b"/zones/{zone}/dns_records?", id="a ? at the end"),
        pytest.param(b"??&=", (), b"/zones/{zone}/dns_records??&=", id="an odd query"),
        pytest.param(
            b"?a=%2e%2E/..%2f&b=%zz;c=+%20'\"<>\\^`{|}[]",
            (),
            b"/zones/{zone}/dns_records?a=%2e%2E/..%2f&b=%zz;c=+%20'\"<>\\^`{{|}}[]",
            id="a query that is nobody's to mend",
        ),
    ],
)
def test_the_target_is_the_judged_one_under_the_base_path_byte_for_byte(
    suffix: bytes, base_path: tuple[bytes, ...], target: bytes
) -> None:
    expected = target.decode().format(zone=ZONE_A).encode()
    assert target_up(allowed("GET", RECORDS + suffix), base_path) == expected


def test_an_absolute_form_s_authority_does_not_go_up() -> None:
    allow = allowed("GET", b"http://other.example" + RECORDS + b"?x")
    assert target_up(allow, ()) == b"/zones/" + ZONE_A.encode() + b"/dns_records?x"


@pytest.mark.parametrize("segment", [b"", b".", b"..", b"..;x", b"a/", b"%2e", b"a b"])
def test_a_base_path_that_no_client_could_send_is_not_sent_either(segment: bytes) -> None:
    assert target_up(allowed("GET", RECORDS), (segment,)) is None


async def test_a_target_that_cannot_be_sent_is_refused_and_the_upstream_sees_nothing() -> None:
    upstream = FakeUpstream()
    deny = await proxy_to(upstream, (b"..",)).forward(allowed("GET", RECORDS), GET, FakeConnection())
    assert deny is not None
    assert deny.reason is Reason.BAD_REQUEST
    assert upstream.requests == []


query_octets = st.lists(st.sampled_from([octet for octet in range(0x21, 0x7F) if octet != ord("#")]), max_size=20)


@given(query_octets.map(bytes))
def test_any_query_that_was_judged_goes_up_as_it_is(query: bytes) -> None:
    sent = target_up(allowed("GET", RECORDS + b"?" + query), (b"v1",))
    assert sent == b"/v1/zones/" + ZONE_A.encode() + b"/dns_records?" + query
    again = split_target(sent)
    assert isinstance(again, Target)
    assert again.query == query


# The request.


async def test_a_request_goes_up_with_our_credential_and_not_the_client_s() -> None:
    upstream = FakeUpstream()
    assert await forward(upstream, FakeConnection()) is None
    (request,) = upstream.requests
    assert (request.method, request.target) == ("GET", b"/zones/" + ZONE_A.encode() + b"/dns_records")
    assert (request.has_body, request.length) == (False, None)
    assert dict(request.fields)[b"Authorization"] == b"Bearer the-upstream's-own"
    assert dict(request.fields)[b"Host"] == b"api.internal"
    assert dict(request.fields)[b"X-Token-Id"] == TOKEN_ID.encode()
    assert not any(secret_of().reveal().encode() in value for _, value in request.fields)


@pytest.mark.parametrize("length", [pytest.param(6, id="with its length"), pytest.param(None, id="chunked")])
async def test_a_body_goes_up_as_it_comes(length: int | None) -> None:
    upstream = FakeUpstream()
    request = msgspec.structs.replace(POST, length=length)
    assert await forward(upstream, FakeConnection([b"abc", b"def"]), request) is None
    assert upstream.bodies == [b"abcdef"]
    assert upstream.requests[0].length == length


async def test_an_api_s_requests_go_to_its_own_upstream() -> None:
    mine, other = FakeUpstream(), FakeUpstream()
    backends = {
        "billing": Backend(upstream=other, rules=RULES, base_path=()),
        "cloudflare-dns": Backend(upstream=mine, rules=RULES, base_path=()),
    }
    await Proxy(backends).forward(allowed("GET", RECORDS), GET, FakeConnection())
    assert (len(mine.requests), len(other.requests)) == (1, 0)


async def test_closing_closes_every_upstream() -> None:
    upstreams = [FakeUpstream(), FakeUpstream()]
    proxy = Proxy(
        {str(number): Backend(upstream=each, rules=RULES, base_path=()) for number, each in enumerate(upstreams)}
    )
    await proxy.close()
    assert [each.closed for each in upstreams] == [True, True]


# The answer.


async def test_an_answer_comes_down_piece_by_piece_and_ends() -> None:
    connection = FakeConnection()
    await forward(FakeUpstream(OK, [b"he", b"llo"]), connection)
    assert connection.head is not None
    assert (connection.head.status, connection.head.phrase, connection.head.length) == (200, "OK", 5)
    assert connection.written == [b"he", b"llo"]
    assert (connection.finished, connection.aborted) == (True, False)


async def test_an_answer_s_fields_are_cleaned_and_marked_on_the_way_down() -> None:
    head = msgspec.structs.replace(
        OK, fields=((b"Set-Cookie", b"a=b"), (b"Content-Length", b"5"), (b"Connection", b"close"), (b"ETag", b'"x"'))
    )
    connection = FakeConnection()
    await forward(FakeUpstream(head), connection)
    assert connection.head is not None
    assert connection.head.fields == [
        (b"ETag", b'"x"'),
        (b"Cache-Control", b"private"),
        (b"X-Request-Id", b"request-0001"),
    ]


@pytest.mark.parametrize(
    ("method", "status", "length", "fields"),
    [
        pytest.param("HEAD", 200, 5, [(b"Content-Length", b"5")], id="HEAD with a length"),
        pytest.param("HEAD", 200, None, [], id="HEAD without a length"),
        pytest.param("GET", 304, 5, [(b"Content-Length", b"5")], id="304 with a length"),
        pytest.param("GET", 204, 0, [], id="204 with a length: it must not have one"),
        pytest.param("GET", 204, None, [], id="204"),
    ],
)
async def test_an_answer_without_a_body_keeps_its_length_where_one_may_stand(
    method: str, status: int, length: int | None, fields: list[tuple[bytes, bytes]]
) -> None:
    sent = () if length is None else ((b"Content-Length", str(length).encode()),)
    head = Incoming(status=status, phrase="", fields=sent, length=length, has_body=False)
    connection = FakeConnection()
    await forward(FakeUpstream(head, [b"never"]), connection, msgspec.structs.replace(GET, method=method))
    assert connection.head is not None
    assert [field for field in connection.head.fields if field[0] == b"Content-Length"] == fields
    assert (connection.written, connection.finished) == ([], True)


@pytest.mark.parametrize("status", [301, 400, 401, 404, 429, 500, 503])
async def test_an_upstream_s_own_refusal_comes_down_as_it_is(status: int) -> None:
    connection = FakeConnection()
    head = msgspec.structs.replace(OK, status=status, fields=((b"Location", b"https://elsewhere"),))
    assert await forward(FakeUpstream(head), connection) is None
    assert connection.head is not None
    assert connection.head.status == status
    assert (b"Location", b"https://elsewhere") in connection.head.fields


# What goes wrong.


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        pytest.param(UpstreamFailed("no"), Reason.UPSTREAM_UNREACHABLE, id="it cannot be reached"),
        pytest.param(UpstreamFailed("late", timeout=True), Reason.UPSTREAM_TIMEOUT, id="it takes too long"),
        pytest.param(
            BodyRefused(Deny(reason=Reason.BODY_TOO_LARGE)), Reason.BODY_TOO_LARGE, id="the client's body was at fault"
        ),
    ],
)
async def test_a_failure_before_the_answer_is_a_refusal(failure: Exception, reason: Reason) -> None:
    connection = FakeConnection()
    assert await forward(FakeUpstream(failure=failure), connection) == Deny(reason=reason)
    assert connection.head is None
    assert not connection.aborted


async def test_a_body_that_is_refused_never_ends_for_the_upstream() -> None:
    upstream = FakeUpstream()
    deny = Deny(reason=Reason.REQUEST_TIMEOUT)
    connection = FakeConnection([b"abc"], refused=BodyRefused(deny))
    assert await forward(upstream, connection, POST) == deny
    assert upstream.bodies == []
    assert connection.head is None


@pytest.mark.parametrize("pieces", [pytest.param([], id="at once"), pytest.param([b"he"], id="in the middle")])
async def test_an_answer_that_breaks_off_breaks_the_client_s_connection_off(pieces: list[bytes]) -> None:
    connection = FakeConnection()
    with pytest.raises(ClientGone):
        await forward(FakeUpstream(OK, pieces, breaks=UpstreamFailed("gone")), connection)
    assert connection.written == pieces
    assert (connection.aborted, connection.finished) == (True, False)


async def test_a_client_that_is_gone_is_not_answered() -> None:
    connection = FakeConnection(gone=True)
    with pytest.raises(ClientGone):
        await forward(FakeUpstream(), connection)
    assert (connection.written, connection.finished) == ([], False)
