from ipaddress import ip_address
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import TOKEN_ID, secret_of

from gateway.proxy.header_rules import (
    HOP_BY_HOP,
    Client,
    UpRules,
    fields_down,
    fields_up,
    is_dropped,
    is_never_passed,
    named_by_connection,
)
from gateway.tokens.secret import Sensitive

Fields = list[tuple[bytes, bytes]]

RULES = UpRules(
    host=b"api.internal:9000",
    credential=(b"Authorization", Sensitive("Bearer the-upstream's-own")),
    credential_fields=frozenset({"authorization", "x-api-key", "x-secret"}),
)
STRANGER = Client(
    peer=ip_address("192.0.2.7"),
    host=b"api.example",
    scheme="https",
    trusted=False,
    request_id="request-0001",
    token_id=TOKEN_ID,
)
PROXY = msgspec.structs.replace(STRANGER, peer=ip_address("10.0.0.1"), trusted=True)

OURS = [
    (b"Host", b"api.internal:9000"),
    (b"X-Forwarded-For", b"192.0.2.7"),
    (b"X-Forwarded-Host", b"api.example"),
    (b"X-Forwarded-Proto", b"https"),
    (b"Via", b"1.1 zonegate"),
    (b"X-Request-Id", b"request-0001"),
    (b"X-Token-Id", TOKEN_ID.encode()),
    (b"Authorization", b"Bearer the-upstream's-own"),
]


def up(fields: Fields, rules: UpRules = RULES, client: Client = STRANGER) -> Fields:
    return fields_up(fields, rules, client)


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for field, value in fields if field.lower() == name]


def passing(*names: str) -> UpRules:
    return msgspec.structs.replace(RULES, passed=frozenset(names))


# Up: what is ours.


def test_ours_go_up_whatever_the_client_sends_or_does_not_send() -> None:
    assert sorted(up([])) == sorted(OURS)


def test_an_upstream_without_a_credential_gets_none() -> None:
    found = up([(b"Authorization", b"Bearer client")], msgspec.structs.replace(RULES, credential=None))
    assert values(found, b"authorization") == []


def test_a_credential_may_have_another_field() -> None:
    rules = msgspec.structs.replace(RULES, credential=(b"X-Secret", Sensitive("hush")))
    found = up([(b"x-secret", b"client"), (b"Authorization", b"Bearer client")], rules)
    assert values(found, b"x-secret") == [b"hush"]
    assert values(found, b"authorization") == []


# Up: what is the client's.


@pytest.mark.parametrize(
    "field",
    [
        pytest.param((b"Accept", b"application/json"), id="Accept"),
        pytest.param((b"accept-ENCODING", b"gzip"), id="a name in any case"),
        pytest.param((b"User-Agent", b"curl/8"), id="User-Agent"),
        pytest.param((b"Content-Type", b"application/json"), id="Content-Type"),
        pytest.param((b"If-None-Match", b'"x"'), id="If-None-Match"),
        pytest.param((b"Range", b"bytes=0-1"), id="Range"),
        pytest.param((b"Prefer", b""), id="an empty value"),
        pytest.param((b"X-Note", "ä".encode()), id="UTF-8"),
        pytest.param((b"X-Authority", b"x"), id="a name that only begins like a credential's"),
        pytest.param((b"X-Tokens", b"x"), id="a name that only begins like one of ours"),
        pytest.param((b"Cookie2", b"x"), id="a name that only begins like Cookie"),
    ],
)
def test_an_end_to_end_field_goes_up_byte_for_byte(field: tuple[bytes, bytes]) -> None:
    assert sorted(up([field])) == sorted([*OURS, field])


def test_fields_of_one_name_stay_apart_and_in_order() -> None:
    fields = [(b"X-A", b"1"), (b"X-B", b"2"), (b"x-a", b"3")]
    assert [field for field in up(fields) if field in fields] == fields


DROPPED = [
    *sorted(HOP_BY_HOP),
    # Framing is made anew.
    "content-length",
    "host",
    "expect",
    # Credentials.
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-secret",
    "x-auth-key",
    "x-auth-email",
    "x-auth-anything",
    "cookie",
    # What we assert.
    "x-token-id",
    "x-token-anything",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "forwarded",
    "x-real-ip",
    # What some frameworks believe more than the request line.
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-original-method",
    "x-original-uri",
    "x-rewrite-url",
    "x-forwarded-uri",
    "x-forwarded-prefix",
    "x-forwarded-method",
]


@pytest.mark.parametrize("name", DROPPED)
def test_a_strangers_field_that_would_mislead_stays_behind(name: str) -> None:
    sent = b"what the client says"
    for spelling in (name, name.upper(), name.title(), name.replace("-", "_"), name.replace("-", ".")):
        assert is_dropped(spelling.lower(), RULES)
        assert not any(sent in value for value in values(up([(spelling.encode(), sent)]), name.encode()))
        assert (spelling.encode(), sent) not in up([(spelling.encode(), sent)])


@pytest.mark.parametrize("name", [b"X_Auth-Key", b"x-auth_key", b"X.Auth.Key", b"x_token_id", b"X-Forwarded_For"])
def test_mixed_dashes_are_another_spelling_too(name: bytes) -> None:
    assert sorted(up([(name, b"x")])) == sorted(OURS)
    assert sorted(name for name, _ in up([(name, b"x")], client=PROXY)) == sorted(name for name, _ in OURS)


@pytest.mark.parametrize("name", ["X_Secret", "X.Secret", "x_secret.v2"])
def test_a_credential_field_that_has_other_dashes_itself_is_the_upstream_s_alone(name: str) -> None:
    """A field's name may hold `_` and `.` (RFC 9110 5.6.2), and so may `credential.header`."""
    rules = UpRules(
        host=b"h",
        credential=(name.encode(), Sensitive("the upstream's own")),
        credential_fields=frozenset({name.lower()}),
    )
    for spelling in (name, name.lower(), name.replace("_", "-").replace(".", "-")):
        found = up([(spelling.encode(), b"the client's")], rules)
        assert values(found, name.lower().encode()) == [b"the upstream's own"]
        assert b"the client's" not in [value for _, value in found]


# Up: what the client's Connection names.


@pytest.mark.parametrize(
    ("connection", "options"),
    [
        pytest.param([], set(), id="none"),
        pytest.param([b"close"], {"close"}, id="one"),
        pytest.param([b" Keep-Alive ,\tX-A,"], {"keep-alive", "x-a", ""}, id="a list"),
        pytest.param([b"x-a", b"X-B"], {"x-a", "x-b"}, id="two fields"),
    ],
)
def test_connection_s_options_are_read_from_every_field(connection: list[bytes], options: set[str]) -> None:
    assert named_by_connection([(b"Connection", value) for value in connection]) | {""} == options | {""}


def test_what_connection_names_stays_behind() -> None:
    fields = [(b"X-A", b"1"), (b"Connection", b"x-a, X-B"), (b"X-B", b"2"), (b"X-C", b"3")]
    assert sorted(up(fields)) == sorted([*OURS, (b"X-C", b"3")])


@pytest.mark.parametrize("name", [name for name, _ in OURS])
def test_connection_cannot_take_away_what_is_ours(name: bytes) -> None:
    assert sorted(up([(b"Connection", name), (name, b"x")])) == sorted(OURS)


def test_a_vias_hops_are_extended_unless_connection_names_it() -> None:
    hops = [(b"Via", b"1.0 a"), (b"via", b"1.1 b")]
    assert values(up(hops), b"via") == [b"1.0 a, 1.1 b, 1.1 zonegate"]
    assert values(up([*hops, (b"Connection", b"Via")]), b"via") == [b"1.1 zonegate"]


# Up: where it comes from.


def test_a_stranger_s_word_on_where_it_comes_from_is_replaced() -> None:
    said = [
        (b"X-Forwarded-For", b"10.0.0.9"),
        (b"X-Forwarded-Host", b"evil.example"),
        (b"X-Forwarded-Proto", b"http"),
        (b"Forwarded", b"for=10.0.0.9"),
        (b"X-Real-IP", b"10.0.0.9"),
    ]
    assert sorted(up(said)) == sorted(OURS)


@pytest.mark.parametrize(
    ("said", "sent"),
    [
        pytest.param(
            [],
            {b"x-forwarded-for": b"10.0.0.1", b"x-forwarded-host": b"api.example", b"x-forwarded-proto": b"https"},
            id="nothing",
        ),
        pytest.param(
            [(b"X-Forwarded-For", b"203.0.113.9, 192.0.2.7")],
            {b"x-forwarded-for": b"203.0.113.9, 192.0.2.7, 10.0.0.1"},
            id="a list",
        ),
        pytest.param(
            [(b"X-Forwarded-For", b"203.0.113.9"), (b"x-forwarded-for", b"192.0.2.7")],
            {b"x-forwarded-for": b"203.0.113.9, 192.0.2.7, 10.0.0.1"},
            id="two fields",
        ),
        pytest.param(
            [(b"X-Forwarded-Host", b"outside.example")], {b"x-forwarded-host": b"outside.example"}, id="a host"
        ),
        pytest.param([(b"X-Forwarded-Proto", b"http")], {b"x-forwarded-proto": b"http"}, id="a scheme"),
        pytest.param(
            [(b"Forwarded", b"for=192.0.2.7")],
            {b"forwarded": b"for=192.0.2.7, for=10.0.0.1;proto=https"},
            id="Forwarded",
        ),
        pytest.param([(b"X-Real-IP", b"192.0.2.7")], {b"x-real-ip": b"192.0.2.7"}, id="X-Real-IP"),
    ],
)
def test_a_proxy_s_word_on_where_it_comes_from_is_extended(said: Fields, sent: dict[bytes, bytes]) -> None:
    found = up(said, client=PROXY)
    for name, value in sent.items():
        assert values(found, name) == [value]
    for name in (b"forwarded", b"x-real-ip"):
        assert values(found, name) == [sent[name] for _ in range(name in sent)]


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "node"),
    [
        pytest.param("2001:db8::1", b"2001:db8::1", b'for="[2001:db8::1]";proto=https', id="IPv6"),
        pytest.param(None, b"unknown", b"for=unknown;proto=https", id="a Unix socket"),
    ],
)
def test_a_peer_is_written_as_each_field_wants_it(peer: str | None, forwarded_for: bytes, node: bytes) -> None:
    client = msgspec.structs.replace(PROXY, peer=ip_address(peer) if peer else None)
    found = up([(b"Forwarded", b"for=_x")], client=client)
    assert values(found, b"x-forwarded-for") == [forwarded_for]
    assert values(found, b"forwarded") == [b"for=_x, " + node]


# Up: what pass_headers opens, and what it cannot.


@pytest.mark.parametrize(
    "name", ["cookie", "x-http-method-override", "x-original-url", "x-auth-email", "x_under_score"]
)
def test_pass_headers_opens_a_single_field(name: str) -> None:
    field = (name.title().encode(), b"x")
    assert field in up([field], passing(name))
    assert (b"X-Auth-Key", b"x") not in up([(b"X-Auth-Key", b"x")], passing(name))


CLOSED = [
    *sorted(HOP_BY_HOP),
    *("content-length", "host", "expect"),
    *("authorization", "proxy-authorization", "x-secret"),
    *("x-token-id", "x-request-id", "via"),
]


@pytest.mark.parametrize("name", CLOSED)
def test_pass_headers_opens_no_framing_no_credential_and_nothing_that_we_assert(name: str) -> None:
    """These are made anew; a second one beside ours might be believed."""
    for spelling in (name, name.replace("-", "_"), name.replace("-", ".")):
        assert is_never_passed(spelling, RULES.credential_fields)
        found = up([(spelling.encode(), b"client")], passing(spelling))
        assert sorted(name for name, _ in found) == sorted(name for name, _ in OURS)
        assert name == "via" or sorted(found) == sorted(OURS)


@pytest.mark.parametrize("name", ["cookie", "x-original-url", "x-auth-key", "x-note", "accept"])
def test_pass_headers_may_open_what_is_only_dropped(name: str) -> None:
    assert not is_never_passed(name, RULES.credential_fields)


# Up: properties.

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET = secret_of().reveal().encode()

field_names = st.binary(min_size=1, max_size=12).map(
    lambda raw: bytes(TOKEN_BYTES[octet % len(TOKEN_BYTES)] for octet in raw)
)
known_names = st.sampled_from([name.encode() for name in DROPPED])
fields = st.lists(
    st.tuples(field_names | known_names, st.sampled_from([b"x", b"close, authorization", b"x-token-id,via", b"a b"])),
    max_size=8,
)


@st.composite
def credential_fields(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """A field that holds the client's secret, its name spelt in any way that an upstream may read alike."""
    name = draw(st.sampled_from(["authorization", "x-api-key", "x-secret"]))
    letters = [
        draw(st.sampled_from("-_.")) if letter == "-" else draw(st.sampled_from([letter, letter.upper()]))
        for letter in name
    ]
    return "".join(letters).encode(), draw(st.sampled_from([SECRET, b"Bearer " + SECRET]))


@given(fields, st.lists(credential_fields(), min_size=1, max_size=3), st.booleans(), st.randoms(use_true_random=False))
def test_the_client_s_secret_is_in_no_field_that_goes_up(
    plain: Fields,
    secret: Fields,
    trusted: bool,  # noqa: FBT001 - drawn
    random: Random,
) -> None:
    sent = [*plain, *secret]
    random.shuffle(sent)
    found = up(sent, client=msgspec.structs.replace(STRANGER, trusted=trusted))
    assert not any(SECRET in name or SECRET in value for name, value in found)


@given(fields, st.booleans())
def test_what_is_ours_goes_up_exactly_once(sent: Fields, trusted: bool) -> None:  # noqa: FBT001 - drawn
    found = up(sent, client=msgspec.structs.replace(STRANGER, trusted=trusted))
    for name, value in OURS:
        assert len(values(found, name.lower())) == 1
        assert trusted or name == b"Via" or values(found, name.lower()) == [value]


@given(fields)
def test_nothing_hop_by_hop_and_no_framing_goes_up(sent: Fields) -> None:
    plain = {name.decode().lower().replace("_", "-").replace(".", "-") for name, _ in up(sent)}
    assert plain.isdisjoint(HOP_BY_HOP | {"content-length", "expect", "cookie"})


# Down.


def down(fields: Fields, *passed: str) -> Fields:
    return fields_down(fields, passed, request_id="request-0001")


ADDED = [(b"Cache-Control", b"private"), (b"X-Request-Id", b"request-0001")]


@pytest.mark.parametrize(
    "field",
    [
        pytest.param((b"Content-Type", b"application/json"), id="Content-Type"),
        pytest.param((b"content-encoding", b"gzip"), id="Content-Encoding"),
        pytest.param((b"ETag", b'"x"'), id="ETag"),
        pytest.param((b"Location", b"/elsewhere"), id="Location"),
        pytest.param((b"Server", b"nginx"), id="Server"),
        pytest.param((b"Date", b"today"), id="Date"),
        pytest.param((b"Retry-After", b"1"), id="Retry-After"),
        pytest.param((b"X-Note", b"\xff\xfe"), id="bytes of any kind"),
        pytest.param((b"Set-Cookies", b"x"), id="a name that only begins like Set-Cookie"),
    ],
)
def test_an_end_to_end_field_comes_down_byte_for_byte(field: tuple[bytes, bytes]) -> None:
    assert down([field]) == [field, *ADDED]


@pytest.mark.parametrize("name", [*sorted(HOP_BY_HOP), "content-length", "set-cookie", "x-request-id"])
def test_an_upstream_s_field_that_is_for_us_alone_stays_here(name: str) -> None:
    for spelling in (name, name.upper(), name.title()):
        assert down([(spelling.encode(), b"x")]) == ADDED


def test_what_the_upstream_s_connection_names_stays_here() -> None:
    fields = [(b"X-A", b"1"), (b"Connection", b"X-A, cache-control"), (b"Cache-Control", b"public"), (b"X-B", b"2")]
    assert down(fields) == [(b"X-B", b"2"), *ADDED]


@pytest.mark.parametrize("value", [b"public, max-age=60", b"no-store", b"private", b""])
def test_an_upstream_s_own_cache_control_is_kept(value: bytes) -> None:
    assert down([(b"cache-control", value)]) == [(b"cache-control", value), ADDED[1]]


def test_pass_headers_opens_set_cookie_and_no_framing() -> None:
    assert down([(b"Set-Cookie", b"a=b")], "set-cookie") == [(b"Set-Cookie", b"a=b"), *ADDED]
    for name in ("transfer-encoding", "content-length", "connection", "x-request-id"):
        assert down([(name.encode(), b"x")], name) == ADDED
