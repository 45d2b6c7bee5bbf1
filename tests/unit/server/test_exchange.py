import pytest
from support.records import TOKEN_ID

from gateway.proxy.field_line import KnownLines
from gateway.reason import Deny, Reason
from gateway.server.exchange import Exchange
from gateway.server.head import Head, HeadReader
from gateway.telemetry.access_log import Kind


def head(data: bytes) -> Head:
    reader = HeadReader(KnownLines(), token_fields=frozenset({"authorization"}), secret_fields=frozenset(), shown={})
    found = reader.read(data)
    assert isinstance(found, Head)
    return found


ASKED = head(b"GET /a/b?c HTTP/1.1\r\nHost: a\r\n\r\n")


def exchange(found: Head | None = ASKED) -> Exchange:
    return Exchange(1.0, b"request-0001", found, None, "192.0.2.1")


def test_what_could_not_be_read_has_neither_path_nor_method() -> None:
    unread = exchange(None)
    unread.status = 400
    assert unread.path is None
    assert not unread.keep_alive
    assert unread.kind == Kind("", "", "", "", None, "192.0.2.1", 400)


def test_the_path_is_the_one_that_was_judged_without_its_query() -> None:
    assert exchange().path == b"/a/b"


@pytest.mark.parametrize(
    ("deny", "token", "route"),
    [
        pytest.param(Deny(reason=Reason.UNKNOWN_TOKEN), "", "", id="nothing was proved"),
        pytest.param(
            Deny(reason=Reason.FORBIDDEN, token_id=TOKEN_ID, route="GET /a/{b}"), TOKEN_ID, "GET /a/{b}", id="proved"
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
    assert refused.kind == Kind("GET", "", route, token, deny.reason, "192.0.2.1", 403)
