import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import TOKEN_ID, secret_of

from gateway.reason import Deny, Reason
from gateway.tokens.credential import read_value
from gateway.tokens.owner import OwnerKind
from gateway.tokens.secret import Credential, parse_secret

SECRET = secret_of().reveal().encode()
BEARER = b"Bearer " + SECRET


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("authorization", BEARER, id="a bearer"),
        pytest.param("authorization", b"bEARER " + SECRET, id="scheme in any case"),
        pytest.param("authorization", b" \tBearer " + SECRET + b"\t ", id="white space around the value"),
        pytest.param("authorization", b"Bearer   " + SECRET, id="more spaces after the scheme (RFC 9110 11.4: 1*SP)"),
        pytest.param("x-api-key", SECRET, id="another field holds the bare secret"),
        pytest.param("x-api-key", b"\t " + SECRET + b" ", id="white space around that"),
    ],
)
def test_the_credential_of_a_field_is_read(field: str, value: bytes) -> None:
    found = read_value(field, value)
    assert isinstance(found, Credential)
    assert (found.token_id, found.kind, found.field) == (TOKEN_ID, OwnerKind.USER, field)
    assert found.secret.reveal().encode() == SECRET


@pytest.mark.parametrize(
    ("field", "value"),
    [
        pytest.param("authorization", BEARER + b", " + BEARER, id="two in one field"),
        pytest.param("authorization", b"Basic dTpw", id="another scheme"),
        pytest.param("authorization", b"Token " + SECRET, id="another scheme before a good secret"),
        pytest.param("authorization", SECRET, id="no scheme"),
        pytest.param("authorization", b"Bearer", id="only a scheme"),
        pytest.param("authorization", b"Bearer ", id="a scheme and a space"),
        pytest.param("authorization", b"", id="an empty field"),
        pytest.param("authorization", b"Bearer\t" + SECRET, id="a tab after the scheme"),
        pytest.param("authorization", b"Bearer:" + SECRET, id="a colon after the scheme"),
        pytest.param("authorization", BEARER + b" x", id="something behind the secret"),
        pytest.param("authorization", BEARER[:-1] + b"-", id="a typing error"),
        pytest.param("authorization", BEARER[:-6], id="no check"),
        pytest.param("authorization", b"Bearer \xff\xfe", id="bytes that are no text"),
        pytest.param("x-api-key", BEARER, id="a scheme where the bare secret belongs"),
        pytest.param("authorization", b"Bearer " + SECRET + b"\n", id="a line end behind the secret"),
        pytest.param("authorization", b"\x0bBearer " + SECRET, id="white space that is no blank"),
        pytest.param("authorization", b"Bearer \t" + SECRET, id="a tab behind the space"),
        pytest.param("x-api-key", SECRET + b"\n", id="a line end behind the bare secret"),
        pytest.param("x-api-key", b"", id="another field, and empty"),
        pytest.param("x-api-key", SECRET + b"," + SECRET, id="two bare secrets"),
    ],
)
def test_what_is_not_exactly_one_well_formed_credential_is_malformed(field: str, value: bytes) -> None:
    assert read_value(field, value) == Deny(reason=Reason.MALFORMED_CREDENTIALS)


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
        for field in ("authorization", "x-api-key"):
            assert read_value(field, value) == Deny(reason=Reason.MALFORMED_CREDENTIALS)
