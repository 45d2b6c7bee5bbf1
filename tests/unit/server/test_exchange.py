import pytest
from support.records import TOKEN_ID, owner
from unit.proxy.fakes import allowed
from unit.server.wire import RECORDS, ROUTE

from gateway.proxy.field_line import KnownLines
from gateway.reason import Deny, Reason
from gateway.server.exchange import Exchange
from gateway.server.head import Head, HeadReader
from gateway.telemetry.kind import Kind


def head(data: bytes) -> Head:
    reader = HeadReader(KnownLines(), token_fields=frozenset({"authorization"}), secret_fields=frozenset(), shown={})
    found = reader.read(data)
    assert isinstance(found, Head)
    return found


ASKED = head(b"GET /a/b?c HTTP/1.1\r\nHost: a\r\n\r\n")


OWNER = owner().ref.key


def exchange(found: Head | None = ASKED) -> Exchange:
    return Exchange(1.0, b"request-0001", found, None, "192.0.2.1")


def test_what_could_not_be_read_has_neither_path_nor_method() -> None:
    unread = exchange(None)
    unread.status = 400
    assert unread.path is None
    assert not unread.keep_alive
    assert unread.kind == Kind("", "", "", "", None, "192.0.2.1", 400)


def test_of_a_long_method_its_beginning_is_told() -> None:
    assert exchange(head(b"%b /a HTTP/1.1\r\nHost: a\r\n\r\n" % (b"M" * 9000))).kind.method == "M" * 64


def test_for_what_host_it_was_and_its_ordinary_fields_are_told_to_whoever_traces() -> None:
    traced = exchange(head(b"GET /a HTTP/1.1\r\nHost: a.example\r\nTraceparent: b\r\n\r\n"))
    assert (traced.host, [field.name for field in traced.ordinary]) == (b"a.example", [b"traceparent"])
    assert (exchange(None).host, exchange(None).ordinary, exchange(None).trace) == (b"", (), None)


def test_the_path_is_the_one_that_was_judged_without_its_query() -> None:
    assert exchange().path == b"/a/b"


@pytest.mark.parametrize(
    ("deny", "token", "route"),
    [
        pytest.param(Deny(reason=Reason.UNKNOWN_TOKEN), "", "", id="nothing was proved"),
        pytest.param(
            Deny(reason=Reason.FORBIDDEN, token_id=TOKEN_ID, owner=OWNER, route="GET /a/{b}", api="an-api"),
            TOKEN_ID,
            "GET /a/{b}",
            id="proved",
        ),
    ],
)
def test_what_was_refused_names_the_token_and_the_route_only_where_it_was_proved(
    deny: Deny, token: str, route: str
) -> None:
    refused = exchange()
    refused.deny = deny
    refused.status = 403
    assert refused.token_id == token
    assert refused.route == route
    assert refused.kind == Kind("GET", deny.api, route, token, deny.reason, "192.0.2.1", 403, deny.owner)


def of(method: bytes) -> Exchange:
    """A request for RECORDS that was allowed."""
    allowed_one = exchange(head(b"%b %b?c HTTP/1.1\r\nHost: a\r\n\r\n" % (method, RECORDS)))
    allowed_one.allow = allowed(method.decode(), RECORDS)
    allowed_one.status = 200
    allowed_one.upstream = "127.0.0.1:9000"
    return allowed_one


def test_who_asks_the_dashboard_is_named_and_nothing_was_allowed() -> None:
    asked = exchange()
    asked.visited_by(of(b"GET").allow.principal)  # type: ignore[union-attr]
    assert (asked.kind.token, asked.kind.owner, asked.kind.allowed) == (TOKEN_ID, OWNER, False)


def test_a_client_that_left_is_told_of() -> None:
    assert not of(b"GET").kind.left
    gone = of(b"GET")
    gone.left = True
    assert gone.kind == of(b"GET").kind._replace(left=True)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_was_allowed_names_the_token_the_api_and_the_route_which_serves_head_too(method: str) -> None:
    assert of(method.encode()).kind == Kind(
        method, "cloudflare-dns", ROUTE, TOKEN_ID, None, "192.0.2.1", 200, OWNER, "127.0.0.1:9000", allowed=True
    )


def test_what_was_allowed_and_then_failed_has_the_reason_too() -> None:
    failed = of(b"GET")
    failed.deny, failed.status = Deny(reason=Reason.UPSTREAM_TIMEOUT), 504
    assert failed.kind == of(b"GET").kind._replace(reason=Reason.UPSTREAM_TIMEOUT, status=504)


@pytest.mark.parametrize(
    ("line", "field", "kept"),
    [
        pytest.param(b"HTTP/1.1", b"", True, id="HTTP/1.1"),
        pytest.param(b"HTTP/1.1", b"Connection: close\r\n", False, id="that asks for the end"),
        pytest.param(b"HTTP/1.0", b"", False, id="HTTP/1.0"),
        pytest.param(b"HTTP/1.0", b"Connection: keep-alive\r\n", True, id="that asks for more"),
    ],
)
def test_another_request_may_follow_if_the_client_says_so(line: bytes, field: bytes, kept: bool) -> None:  # noqa: FBT001
    assert exchange(head(b"GET / %b\r\nHost: a\r\n%b\r\n" % (line, field))).keep_alive is kept


def test_what_came_in_is_its_head_until_more_comes() -> None:
    assert exchange().bytes_in == ASKED.size
    assert exchange(None).bytes_in == 0
