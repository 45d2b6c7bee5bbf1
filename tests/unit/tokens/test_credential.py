import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import TOKEN_ID, secret_of

from gateway.reason import Deny, Reason
from gateway.tokens.credential import read_credential, read_value
from gateway.tokens.owner import OwnerKind
from gateway.tokens.secret import Credential, parse_secret

SECRET = secret_of().reveal().encode()
BEARER = b"Bearer " + SECRET
AUTHORIZATION = frozenset({"authorization"})
BOTH = frozenset({"authorization", "x-api-key"})

Fields = list[tuple[bytes, bytes]]


@pytest.mark.parametrize(
    ("fields", "names", "field"),
    [
        pytest.param([(b"Authorization", BEARER)], AUTHORIZATION, "authorization", id="a bearer"),
        pytest.param([(b"aUTHORIZATION", BEARER)], AUTHORIZATION, "authorization", id="the field's name in any case"),
        pytest.param(
            [(b"Authorization", b"bEARER " + SECRET)], AUTHORIZATION, "authorization", id="scheme in any case"
        ),
        pytest.param(
            [(b"Authorization", b" \tBearer " + SECRET + b"\t ")],
            AUTHORIZATION,
            "authorization",
            id="white space around the value",
        ),
        pytest.param(
            [(b"Authorization", b"Bearer   " + SECRET)],
            AUTHORIZATION,
            "authorization",
            id="more spaces after the scheme (RFC 9110 11.4: 1*SP)",
        ),
        pytest.param([(b"X-API-Key", SECRET)], BOTH, "x-api-key", id="another field holds the bare secret"),
        pytest.param([(b"X-API-Key", b"\t " + SECRET + b" ")], BOTH, "x-api-key", id="white space around that"),
        pytest.param([(b"x-Api-kEY", SECRET)], BOTH, "x-api-key", id="that field's name in any case"),
        pytest.param(
            [(b"Accept", b"*/*"), (b"Authorization", BEARER), (b"Cookie", SECRET)],
            AUTHORIZATION,
            "authorization",
            id="among fields that are none of ours",
        ),
        pytest.param(
            [(b"X-API-Key", SECRET), (b"Authorization", BEARER)],
            AUTHORIZATION,
            "authorization",
            id="beside a field in which no API takes one",
        ),
    ],
)
def test_the_one_credential_is_read(fields: Fields, names: frozenset[str], field: str) -> None:
    found = read_credential(fields, names)
    assert isinstance(found, Credential)
    assert (found.token_id, found.kind, found.field) == (TOKEN_ID, OwnerKind.USER, field)
    assert found.secret.reveal().encode() == SECRET


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        pytest.param([], BOTH, id="no field at all"),
        pytest.param([(b"Accept", b"*/*")], BOTH, id="other fields only"),
        pytest.param([(b"X-API-Key", SECRET)], AUTHORIZATION, id="a field in which no API takes one"),
        pytest.param([(b"Proxy-Authorization", BEARER)], BOTH, id="the proxy's field"),
        pytest.param([(b"Authorization_", BEARER)], BOTH, id="a name that only looks like it"),
    ],
)
def test_without_a_credential_field_it_is_missing(fields: Fields, names: frozenset[str]) -> None:
    assert read_credential(fields, names) == Deny(reason=Reason.MISSING_CREDENTIALS)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        pytest.param([(b"Authorization", BEARER), (b"Authorization", BEARER)], BOTH, id="the same twice"),
        pytest.param([(b"Authorization", BEARER), (b"authorization", b"")], BOTH, id="one of two is empty"),
        pytest.param([(b"Authorization", BEARER), (b"X-API-Key", SECRET)], BOTH, id="in two fields"),
        pytest.param(
            [(b"X-API-Key", SECRET), (b"Authorization", b"Basic dTpw")],
            frozenset({"x-api-key"}),
            id="Authorization beside it counts, even where no API takes it",
        ),
        pytest.param([(b"Authorization", BEARER + b", " + BEARER)], BOTH, id="two in one field"),
        pytest.param([(b"Authorization", b"Basic dTpw")], BOTH, id="another scheme"),
        pytest.param([(b"Authorization", b"Token " + SECRET)], BOTH, id="another scheme before a good secret"),
        pytest.param([(b"Authorization", SECRET)], BOTH, id="no scheme"),
        pytest.param([(b"Authorization", b"Bearer")], BOTH, id="only a scheme"),
        pytest.param([(b"Authorization", b"Bearer ")], BOTH, id="a scheme and a space"),
        pytest.param([(b"Authorization", b"")], BOTH, id="an empty field"),
        pytest.param([(b"Authorization", b"Bearer\t" + SECRET)], BOTH, id="a tab after the scheme"),
        pytest.param([(b"Authorization", b"Bearer:" + SECRET)], BOTH, id="a colon after the scheme"),
        pytest.param([(b"Authorization", BEARER + b" x")], BOTH, id="something behind the secret"),
        pytest.param([(b"Authorization", BEARER[:-1] + b"-")], BOTH, id="a typing error"),
        pytest.param([(b"Authorization", BEARER[:-6])], BOTH, id="no check"),
        pytest.param([(b"Authorization", b"Bearer \xff\xfe")], BOTH, id="bytes that are no text"),
        pytest.param([(b"X-API-Key", BEARER)], BOTH, id="a scheme where the bare secret belongs"),
        pytest.param([(b"Authorization", b"Bearer " + SECRET + b"\n")], BOTH, id="a line end behind the secret"),
        pytest.param([(b"Authorization", b"\x0bBearer " + SECRET)], BOTH, id="white space that is no blank"),
        pytest.param([(b"Authorization", b"Bearer \t" + SECRET)], BOTH, id="a tab behind the space"),
        pytest.param([(b"X-API-Key", SECRET + b"\n")], BOTH, id="a line end behind the bare secret"),
    ],
)
def test_what_is_not_exactly_one_well_formed_credential_is_malformed(fields: Fields, names: frozenset[str]) -> None:
    assert read_credential(fields, names) == Deny(reason=Reason.MALFORMED_CREDENTIALS)


def plainly(field: str, value: bytes) -> Credential | None:
    """RFC 6750 2.1, one step after the other."""
    text = value.decode("latin-1").strip(" \t")
    if field == "authorization":
        scheme, _, text = text.partition(" ")
        text = text.lstrip(" ") if scheme.lower() == "bearer" else ""
    return parse_secret(text, field)


PIECES = [
    b"Bearer",
    b"bEARER",
    b" ",
    b"  ",
    b"\t",
    b"\n",
    b"\xa0",
    b"\x85",
    b"\xff",
    b"Basic",
    b",",
    SECRET,
    SECRET[:-1],
]


@given(
    st.sampled_from(["authorization", "x-api-key"]),
    st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join)
    | st.tuples(st.sampled_from(PIECES), st.sampled_from(PIECES)).map(lambda pair: pair[0] + BEARER + pair[1]),
)
@settings(deadline=None, max_examples=500)
def test_one_look_at_a_value_finds_what_one_step_after_the_other_finds(field: str, value: bytes) -> None:
    found = read_value(field, value)
    assert found == (plainly(field, value) or Deny(reason=Reason.MALFORMED_CREDENTIALS))


@given(st.binary(max_size=120))
@settings(deadline=None)
def test_junk_is_refused_and_never_breaks_the_reader(junk: bytes) -> None:
    for value in (junk, b"Bearer " + junk):
        assert read_credential([(b"Authorization", value)], BOTH) == Deny(reason=Reason.MALFORMED_CREDENTIALS)


@given(st.lists(st.tuples(st.binary(max_size=12), st.binary(max_size=12)), max_size=4))
@settings(deadline=None)
def test_a_second_credential_field_is_malformed_whatever_stands_between(between: Fields) -> None:
    fields = [(b"Authorization", BEARER), *between, (b"X-API-Key", SECRET)]
    assert read_credential(fields, BOTH) == Deny(reason=Reason.MALFORMED_CREDENTIALS)
