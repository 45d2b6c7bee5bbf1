"""Cookies, and how it is told that our own page has sent a change."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.proxy.field_line import KnownLines
from gateway.reason import Deny, Reason
from gateway.server.browser import Cookie, csrf_token, is_change, make_value, stored_under, why_cross_site
from gateway.server.head import Head, HeadReader

VALUE, OTHER = make_value(b"\1" * 32), make_value(b"\2" * 32)
PLAIN, SECURE = Cookie("zonegate_session", tls=False), Cookie("zonegate_session", tls=True)
HOST = "127.0.0.1:8081"
ORIGIN = f"Origin: http://{HOST}"
CSRF = f"X-CSRF-Token: {csrf_token(VALUE)}"


def head(*fields: str, host: str = HOST) -> Head:
    lines = "".join(f"{line}\r\n" for line in ("POST / HTTP/1.1", f"Host: {host}", *fields))
    reader = HeadReader(KnownLines(), token_fields=frozenset({"authorization"}), secret_fields=frozenset(), shown={})
    found = reader.read(f"{lines}\r\n".encode())
    assert isinstance(found, Head)
    return found


# Cookies.


def test_a_cookie_is_for_this_host_and_for_no_script_and_no_other_site() -> None:
    assert PLAIN.put(VALUE) == (
        "Set-Cookie",
        f"zonegate_session={VALUE}; Path=/; HttpOnly; SameSite=Strict",
    )


def test_under_tls_a_cookie_is_secure_and_only_this_host_can_have_set_it() -> None:
    assert SECURE.put(VALUE) == (
        "Set-Cookie",
        f"__Host-zonegate_session={VALUE}; Path=/; HttpOnly; SameSite=Strict; Secure",
    )


@pytest.mark.parametrize("cookie", [PLAIN, SECURE], ids=["plain", "TLS"])
def test_what_removes_a_cookie_has_its_name_and_attributes(cookie: Cookie) -> None:
    put, removed = cookie.put("")[1], cookie.remove()[1]
    assert removed == f"{put}; Max-Age=0"


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        pytest.param([f"Cookie: zonegate_session={VALUE}"], VALUE, id="alone"),
        pytest.param([f"Cookie: a=b; zonegate_session={VALUE}; c=d"], VALUE, id="among others"),
        pytest.param(["Cookie: a=b", f"Cookie: zonegate_session={VALUE}"], VALUE, id="in a second field"),
        pytest.param([], None, id="no cookie"),
        pytest.param([f"Cookie: zonegate_sessions={VALUE}"], None, id="a longer name"),
        pytest.param([f"Cookie: Zonegate_session={VALUE}"], None, id="another case"),
        pytest.param([f"Cookie: __Host-zonegate_session={VALUE}"], None, id="that of another scheme"),
        pytest.param([f"Cookie: zonegate_session={VALUE}; zonegate_session={VALUE}"], None, id="twice"),
        pytest.param([f"Cookie: zonegate_session={VALUE}", f"Cookie: zonegate_session={OTHER}"], None, id="two fields"),
        pytest.param([f'Cookie: zonegate_session="{VALUE}"'], None, id="in quotes"),
        pytest.param([f"Cookie: zonegate_session={VALUE}A"], None, id="too long"),
        pytest.param([f"Cookie: zonegate_session={VALUE[:-1]}"], None, id="too short"),
        pytest.param([f"Cookie: zonegate_session={'é' * 43}"], None, id="other characters"),
        pytest.param(["Cookie: zonegate_session"], None, id="no value"),
    ],
)
def test_a_cookie_counts_where_it_comes_once_and_is_one_that_we_could_have_made(
    fields: list[str], value: str | None
) -> None:
    assert PLAIN.value(head(*fields)) == value


@given(st.binary(min_size=32, max_size=32))
def test_each_value_has_its_own_256_bits_and_is_read_as_it_was_put(random: bytes) -> None:
    value = make_value(random)
    assert base64.urlsafe_b64decode(value + "=") == random
    assert PLAIN.value(head(f"Cookie: zonegate_session={value}")) == value


@given(st.binary(min_size=32, max_size=32))
def test_neither_the_stores_name_nor_the_pages_token_is_the_value_or_the_other(random: bytes) -> None:
    value = make_value(random)
    assert re.fullmatch(r"[0-9a-f]{64}", stored_under(value))
    token = base64.urlsafe_b64decode(csrf_token(value) + "=")
    assert len({token.hex(), stored_under(value), random.hex()}) == 3


# Whose request it is.


@pytest.mark.parametrize(
    ("method", "changes"), [("GET", False), ("HEAD", False), ("POST", True), ("DELETE", True), ("X", True)]
)
def test_all_but_reading_counts_as_a_change(method: str, changes: bool) -> None:  # noqa: FBT001 - a column
    assert is_change(method) is changes


@pytest.mark.parametrize(
    ("fields", "host", "scheme"),
    [
        pytest.param([ORIGIN, CSRF], HOST, "http", id="as our page sends it"),
        pytest.param(["Origin: http://LOCALHOST:8081", CSRF], "localhost:8081", "http", id="in any case"),
        pytest.param(["Origin: http://localhost", CSRF], "localhost", "http", id="port 80 is not said"),
        pytest.param(["Origin: http://localhost", CSRF], "localhost:80", "http", id="port 80 is said by one"),
        pytest.param(["Origin: https://a.example", CSRF], "a.example:443", "https", id="nor is 443 under TLS"),
        pytest.param(["Origin: http://[::1]:8081", CSRF], "[::1]:8081", "http", id="IPv6"),
        pytest.param(["Origin: http://[::1]", CSRF], "[::1]:80", "http", id="IPv6 without a port"),
    ],
)
def test_our_own_page_is_heard(fields: list[str], host: str, scheme: str) -> None:
    assert why_cross_site(head(*fields, host=host), scheme, [VALUE]) is None


FOREIGN = [
    pytest.param(["Origin: http://evil.example:8081", CSRF], id="another host"),
    pytest.param(["Origin: http://127.0.0.1:8082", CSRF], id="another port"),
    pytest.param(["Origin: http://127.0.0.1", CSRF], id="the default port"),
    pytest.param([f"Origin: https://{HOST}", CSRF], id="another scheme"),
    pytest.param(["Origin: null", CSRF], id="a page in a sandbox"),
    pytest.param([f"Origin: {HOST}", CSRF], id="no scheme"),
    pytest.param(["Origin: http://", CSRF], id="no host"),
    pytest.param([f"Origin: http://{HOST}/", CSRF], id="a path"),
    pytest.param([f"Origin: http://x@{HOST}", CSRF], id="a user"),
    pytest.param([f"{ORIGIN}.evil.example", CSRF], id="a longer name"),
    pytest.param([ORIGIN, ORIGIN, CSRF], id="two of them"),
    pytest.param([CSRF], id="none"),
]


@pytest.mark.parametrize("fields", FOREIGN)
def test_a_change_from_another_origin_is_refused(fields: list[str]) -> None:
    deny = why_cross_site(head(*fields), "http", [VALUE])
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.CROSS_SITE
    assert "Origin" in deny.detail


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=40))
def test_no_other_text_is_our_origin(text: str) -> None:
    refused = why_cross_site(head(f"Origin: {text}", CSRF), "http", [VALUE]) is not None
    assert refused is (text.lower() != f"http://{HOST}")


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param([ORIGIN], id="none"),
        pytest.param([ORIGIN, "X-CSRF-Token: "], id="empty"),
        pytest.param([ORIGIN, f"X-CSRF-Token: {VALUE}"], id="the cookie itself"),
        pytest.param([ORIGIN, f"X-CSRF-Token: {csrf_token(OTHER)}"], id="that of another cookie"),
        pytest.param([ORIGIN, CSRF, CSRF], id="two of them"),
        pytest.param([ORIGIN, "X-CSRF-Token: \xe9"], id="not ASCII"),
    ],
)
def test_a_change_without_the_pages_token_is_refused(fields: list[str]) -> None:
    deny = why_cross_site(head(*fields), "http", [VALUE])
    assert isinstance(deny, Deny)
    assert deny.reason is Reason.CROSS_SITE
    assert "X-CSRF-Token" in deny.detail


def test_who_asks_no_host_has_no_origin_that_could_be_ours() -> None:
    reader = HeadReader(KnownLines(), token_fields=frozenset({"authorization"}), secret_fields=frozenset(), shown={})
    found = reader.read(f"POST / HTTP/1.0\r\nOrigin: http://:80\r\n{CSRF}\r\n\r\n".encode())
    assert isinstance(found, Head)
    assert why_cross_site(found, "http", [VALUE]) is not None


def test_who_has_no_cookie_has_no_token_that_counts() -> None:
    assert why_cross_site(head(ORIGIN, CSRF), "http", [None]) is not None


def test_the_token_of_either_cookie_counts() -> None:
    assert why_cross_site(head(ORIGIN, CSRF), "http", [None, VALUE]) is None
    assert why_cross_site(head(ORIGIN, CSRF), "http", [OTHER, VALUE]) is None
