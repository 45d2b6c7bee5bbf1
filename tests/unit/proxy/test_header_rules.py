from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import TOKEN_ID, secret_of

from gateway.proxy.field_line import FieldLine, Role, plain_spelling, read_line
from gateway.proxy.header_rules import Client, UpRules, is_never_passed, lines_down, trailers_down
from gateway.tokens.secret import Sensitive

Fields = list[tuple[bytes, bytes]]

HOP_BY_HOP = {
    *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"),
    *("proxy-authenticate", "proxy-authentication-info", "http2-settings"),
}
CREDENTIAL_FIELDS = frozenset({"authorization", "x-api-key", "x-secret"})
RULES = UpRules(("Authorization", Sensitive("Bearer the-upstream's-own")), CREDENTIAL_FIELDS)
STRANGER = Client(peer=b"192.0.2.7", scheme=b"https", trusted=False)
PROXY = Client(peer=b"10.0.0.1", scheme=b"https", trusted=True)
HOST = b"api.example"
REQUEST_ID = b"request-0001"

OURS = [
    (b"X-Forwarded-For", b"192.0.2.7"),
    (b"X-Forwarded-Host", b"api.example"),
    (b"X-Forwarded-Proto", b"https"),
    (b"Via", b"1.1 zonegate"),
    (b"X-Request-Id", b"request-0001"),
    (b"X-Token-Id", TOKEN_ID.encode()),
    (b"Authorization", b"Bearer the-upstream's-own"),
]


def read(fields: Fields) -> list[FieldLine]:
    found = [read_line(b"%b: %b" % field) for field in fields]
    assert all(isinstance(each, FieldLine) for each in found), found
    return [each for each in found if isinstance(each, FieldLine)]


def divided(fields: Fields, secret: Iterable[str] = ()) -> tuple[list[FieldLine], list[FieldLine], frozenset[bytes]]:
    """`fields` as the head's reader hands them over: ordinary ones, all others, and what `Connection` names."""
    secret_fields = {plain_spelling(name.lower().encode()) for name in secret}
    ordinary, special, options = list[FieldLine](), list[FieldLine](), set[bytes]()
    for each in read(fields):
        is_ordinary = each.role is Role.ORDINARY and each.plain not in secret_fields
        (ordinary if is_ordinary else special).append(each)
        if each.role is Role.CONNECTION:
            options |= {option.strip(b" \t").lower() for option in each.value.split(b",")}
    return ordinary, special, frozenset(options)


def written(lines: bytes) -> Fields:
    """The fields in `lines`, which each end in CRLF."""
    assert lines == b"" or lines.endswith(b"\r\n")
    pairs = [line.partition(b": ") for line in lines.split(b"\r\n")[:-1]]
    assert all(colon for _, colon, _ in pairs), lines
    return [(name, value) for name, _, value in pairs]


def up(
    fields: Fields, rules: UpRules = RULES, client: Client = STRANGER, secret: Iterable[str] = CREDENTIAL_FIELDS
) -> Fields:
    ordinary, special, options = divided(fields, secret)
    return written(
        rules.lines_up(
            ordinary,
            special,
            options,
            client=client,
            host=HOST,
            request_id=REQUEST_ID,
            token_id=TOKEN_ID.encode(),
        )
    )


def values(fields: Fields, name: bytes) -> list[bytes]:
    return [value for field, value in fields if field.lower() == name]


def passing(*names: str) -> UpRules:
    return UpRules(("Authorization", Sensitive("Bearer the-upstream's-own")), CREDENTIAL_FIELDS, names)


# Up: what is ours.


def test_ours_go_up_whatever_the_client_sends_or_does_not_send() -> None:
    assert up([]) == OURS


def test_an_upstream_without_a_credential_gets_none() -> None:
    found = up([(b"Authorization", b"Bearer client")], UpRules(None, CREDENTIAL_FIELDS))
    assert values(found, b"authorization") == []


def test_a_question_of_our_own_carries_our_login_and_nothing_of_anybody() -> None:
    assert written(RULES.own_lines()) == [
        (b"Accept", b"application/json"),
        (b"Via", b"1.1 zonegate"),
        (b"Authorization", b"Bearer the-upstream's-own"),
    ]
    assert b"Authorization" not in UpRules(None, CREDENTIAL_FIELDS).own_lines()


def test_a_credential_may_have_another_field() -> None:
    rules = UpRules(("X-Secret", Sensitive("hush")), CREDENTIAL_FIELDS)
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
        pytest.param((b"Cache-Control", b"no-cache"), id="Cache-Control"),
        pytest.param((b"Traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), id="traceparent"),
        pytest.param((b"Tracestate", b"a=1,b=2"), id="tracestate"),
        pytest.param((b"Prefer", b""), id="an empty value"),
        pytest.param((b"X-Note", "ä".encode()), id="UTF-8"),
        pytest.param((b"X-Authority", b"x"), id="a name that only begins like a credential's"),
        pytest.param((b"X-Tokens", b"x"), id="a name that only begins like one of ours"),
        pytest.param((b"Cookie2", b"x"), id="a name that only begins like Cookie"),
        pytest.param((b"Sec-WebSocket-Key", b"x"), id="Sec-WebSocket-Key"),
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
    "x-forwarded-port",
    "x-forwarded-server",
]


@pytest.mark.parametrize("name", DROPPED)
def test_a_strangers_field_that_would_mislead_stays_behind(name: str) -> None:
    sent = b"client.says"
    for spelling in (name, name.upper(), name.title(), name.replace("-", "_"), name.replace("-", ".")):
        assert RULES.drops(spelling.lower().encode())
        assert up([(spelling.encode(), sent)]) == OURS


@pytest.mark.parametrize("name", [b"X_Auth-Key", b"x-auth_key", b"X.Auth.Key", b"x_token_id", b"X-Forwarded_For"])
def test_mixed_dashes_are_another_spelling_too(name: bytes) -> None:
    assert up([(name, b"x")]) == OURS
    assert [name for name, _ in up([(name, b"x")], client=PROXY)] == [name for name, _ in OURS]


@pytest.mark.parametrize("name", ["X_Secret", "X.Secret", "x_secret.v2"])
def test_a_credential_field_that_has_other_dashes_itself_is_the_upstream_s_alone(name: str) -> None:
    """A field's name may hold `_` and `.` (RFC 9110 5.6.2), and so may `credential.header`."""
    secret = frozenset({name.lower()})
    rules = UpRules((name, Sensitive("the upstream's own")), secret)
    for spelling in (name, name.lower(), name.replace("_", "-").replace(".", "-")):
        found = up([(spelling.encode(), b"the client's")], rules, secret=secret)
        assert values(found, name.lower().encode()) == [b"the upstream's own"]
        assert b"the client's" not in [value for _, value in found]


def test_what_is_remembered_of_names_is_bounded_and_changes_nothing() -> None:
    rules = UpRules(None, CREDENTIAL_FIELDS)
    names = [b"x-auth-%d-" % number + b"x" * size for size in (60_000, 1) for number in range(600)] + [b"accept"]
    for name in names * 2:
        assert rules.drops(name) is (name != b"accept")
    assert sum(len(name) for name in rules._drops) < 512 * 64


# Up: what the client's Connection names.


def test_what_connection_names_stays_behind() -> None:
    fields = [(b"X-A", b"1"), (b"Connection", b"x-a, X-B"), (b"X-B", b"2"), (b"X-C", b"3")]
    assert sorted(up(fields)) == sorted([*OURS, (b"X-C", b"3")])


def test_connection_takes_away_what_pass_headers_opens_too() -> None:
    assert up([(b"Cookie", b"a=b"), (b"Connection", b"Cookie")], passing("cookie")) == OURS


@pytest.mark.parametrize("options", [b"close", b"keep-alive", b"Keep-Alive, close", b"", b",", b"upgrade"])
def test_connection_s_own_options_take_nothing_away(options: bytes) -> None:
    assert sorted(up([(b"X-A", b"1"), (b"Connection", options)])) == sorted([*OURS, (b"X-A", b"1")])


@pytest.mark.parametrize("client", [pytest.param(STRANGER, id="a stranger"), pytest.param(PROXY, id="a proxy of ours")])
@pytest.mark.parametrize("name", [name for name, _ in OURS])
def test_connection_cannot_take_away_what_is_ours(name: bytes, client: Client) -> None:
    assert up([(b"Connection", name)], client=client) == up([], client=client)
    assert up([(b"Connection", name), (name, b"x")]) == OURS


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
    assert up(said) == OURS


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
        pytest.param(
            [(b"X-Real-IP", b"203.0.113.9"), (b"X-Real-IP", b"192.0.2.7")],
            {b"x-real-ip": b"192.0.2.7"},
            id="X-Real-IP twice: the last is the proxy's",
        ),
    ],
)
def test_a_proxy_s_word_on_where_it_comes_from_is_extended(said: Fields, sent: dict[bytes, bytes]) -> None:
    found = up(said, client=PROXY)
    for name, value in sent.items():
        assert values(found, name) == [value]
    for name in (b"forwarded", b"x-real-ip"):
        assert values(found, name) == [sent[name] for _ in range(name in sent)]


def test_a_proxy_s_word_on_where_it_comes_from_is_not_taken_away_by_connection() -> None:
    """Its client may have named them there, and it may have passed Connection on: who he is, must not be lost by it."""
    said = [(b"X-Forwarded-For", b"203.0.113.9"), (b"Forwarded", b"for=203.0.113.9"), (b"X-Real-IP", b"203.0.113.9")]
    connection = (b"Connection", b"X-Forwarded-For, Forwarded, X-Real-IP")
    assert up([*said, connection], client=PROXY) == up(said, client=PROXY)


@pytest.mark.parametrize(
    ("peer", "node"),
    [
        pytest.param(b"2001:db8::1", b'for="[2001:db8::1]";proto=https', id="IPv6"),
        pytest.param(b"unknown", b"for=unknown;proto=https", id="a Unix socket"),
    ],
)
def test_a_peer_is_written_as_each_field_wants_it(peer: bytes, node: bytes) -> None:
    found = up([(b"Forwarded", b"for=_x")], client=Client(peer, b"https", trusted=True))
    assert values(found, b"x-forwarded-for") == [peer]
    assert values(found, b"forwarded") == [b"for=_x, " + node]


# Up: what pass_headers opens, and what it cannot.


@pytest.mark.parametrize(
    "name", ["cookie", "x-http-method-override", "x-original-url", "x-auth-email", "x_under_score", "x_original_url"]
)
def test_pass_headers_opens_a_single_field(name: str) -> None:
    field = (name.title().encode(), b"x")
    assert field in up([field], passing(name))
    assert (b"X-Auth-Key", b"x") not in up([(b"X-Auth-Key", b"x")], passing(name))


def test_pass_headers_opens_one_spelling() -> None:
    assert up([(b"X_Original_Url", b"x")], passing("x-original-url")) == OURS
    assert up([(b"X-Original-Url", b"x")], passing("x_original_url")) == OURS


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
        assert is_never_passed(spelling.encode(), frozenset({b"authorization", b"x-api-key", b"x-secret"}))
        found = up([(spelling.encode(), b"client")], passing(spelling))
        assert [name for name, _ in found] == [name for name, _ in OURS]
        assert name == "via" or found == OURS


@pytest.mark.parametrize("name", [b"cookie", b"x-original-url", b"x-auth-key", b"x-note", b"accept"])
def test_pass_headers_may_open_what_is_only_dropped(name: bytes) -> None:
    assert not is_never_passed(name, frozenset({b"authorization", b"x-api-key", b"x-secret"}))


# Up: properties.

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET = secret_of().reveal().encode()

field_names = st.binary(min_size=1, max_size=12).map(
    lambda raw: bytes(TOKEN_BYTES[octet % len(TOKEN_BYTES)] for octet in raw)
)
known_names = st.sampled_from([name.encode() for name in DROPPED if name != "host"])
fields = st.lists(
    st.tuples(
        field_names.filter(lambda name: name.lower() != b"host") | known_names,
        st.sampled_from([b"x", b"close, authorization", b"x-token-id,via", b"x-forwarded-for", b"a b"]),
    ),
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


@given(
    fields,
    st.lists(credential_fields(), min_size=1, max_size=3),
    st.sampled_from([STRANGER, PROXY]),
    st.randoms(use_true_random=False),
)
def test_the_client_s_secret_is_in_no_field_that_goes_up(
    plain: Fields, secret: Fields, client: Client, random: Random
) -> None:
    sent = [*plain, *secret]
    random.shuffle(sent)
    found = up(sent, client=client)
    assert not any(SECRET in name or SECRET in value for name, value in found)


@given(fields, st.sampled_from([STRANGER, PROXY]))
def test_what_is_ours_goes_up_exactly_once(sent: Fields, client: Client) -> None:
    found = up(sent, client=client)
    for name, value in OURS:
        assert len(values(found, name.lower())) == 1
        assert client.trusted or name == b"Via" or values(found, name.lower()) == [value]


@given(fields, st.sampled_from([STRANGER, PROXY]))
def test_nothing_hop_by_hop_and_no_framing_goes_up(sent: Fields, client: Client) -> None:
    plain = {name.decode().lower().replace("_", "-").replace(".", "-") for name, _ in up(sent, client=client)}
    assert plain.isdisjoint(HOP_BY_HOP | {"content-length", "expect", "cookie", "host"})


# Down.


def down(fields: Fields, *passed: str, private: bool = True) -> Fields:
    ordinary, special, options = divided(fields)
    names = frozenset(name.encode() for name in passed)
    return written(lines_down(ordinary, special, options, names, private=private))


ADDED = (b"Cache-Control", b"private")


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
        pytest.param((b"WWW-Authenticate", b"Basic"), id="WWW-Authenticate"),
        pytest.param((b"Via", b"1.1 other"), id="Via"),
    ],
)
def test_an_end_to_end_field_comes_down_byte_for_byte(field: tuple[bytes, bytes]) -> None:
    assert down([field]) == [field, ADDED]


def test_fields_come_down_in_order_among_their_like() -> None:
    sent = [(b"X-B", b"2"), (b"x-a", b""), (b"X-B", b"3")]
    assert down(sent) == [*sent, ADDED]


@pytest.mark.parametrize(
    "name",
    [
        *sorted(HOP_BY_HOP),
        *("content-length", "x-request-id"),
        # The session and the key of the all-powerful login, where somebody echoes it, and what we said of the client.
        *("set-cookie", "cookie", "authorization", "proxy-authorization", "x-api-key", "x-auth-key", "x-token-id"),
    ],
)
def test_an_upstream_s_field_that_is_for_us_alone_stays_here(name: str) -> None:
    for spelling in (name, name.upper(), name.title(), name.replace("-", "_"), name.replace("-", ".")):
        assert down([(spelling.encode(), b"x")]) == [ADDED]


def test_what_the_upstream_s_connection_names_stays_here() -> None:
    sent = [(b"X-A", b"1"), (b"Connection", b"X-A, cache-control"), (b"Cache-Control", b"public"), (b"X-B", b"2")]
    assert down(sent) == [(b"X-B", b"2"), ADDED]


@pytest.mark.parametrize("value", [b"public, max-age=60", b"no-store", b"private", b""])
def test_an_upstream_s_own_cache_control_is_kept(value: bytes) -> None:
    assert down([(b"cache-control", value)]) == [(b"cache-control", value)]


def test_an_interim_answer_is_kept_by_nobody_and_says_nothing_of_caches() -> None:
    assert down([(b"Link", b"x"), (b"Set-Cookie", b"a=b")], private=False) == [(b"Link", b"x")]


def test_pass_headers_opens_set_cookie_and_no_framing() -> None:
    assert down([(b"Set-Cookie", b"a=b")], "set-cookie") == [(b"Set-Cookie", b"a=b"), ADDED]
    for name in ("transfer-encoding", "content-length", "connection", "x-request-id"):
        assert down([(name.encode(), b"x")], name) == [ADDED]


# Trailers.


@pytest.mark.parametrize("name", [b"X-Checksum", b"Server-Timing", b"x-b", b"ETag"])
def test_a_trailer_comes_down_byte_for_byte(name: bytes) -> None:
    assert trailers_down([(name, b"a  b"), (name, b"")]) == b"%b: a  b\r\n%b: \r\n" % (name, name)


@pytest.mark.parametrize(
    "name",
    [
        *sorted(HOP_BY_HOP),
        *("content-length", "host", "set-cookie", "cookie", "cache-control", "x-request-id"),
        *("authorization", "proxy-authorization", "x-api-key", "x-auth-key", "x-token-id", "x-secret"),
    ],
)
def test_no_framing_no_credential_and_no_cookie_comes_down_in_a_trailer(name: str) -> None:
    """In no spelling: who merges trailers into the head, may be one that reads them alike."""
    for spelling in (name, name.upper(), name.replace("-", "_"), name.replace("-", ".")):
        trailers = [(b"X-A", b"1"), (spelling.encode(), b"x")]
        assert trailers_down(trailers, frozenset({b"x-secret"})) == b"X-A: 1\r\n"
