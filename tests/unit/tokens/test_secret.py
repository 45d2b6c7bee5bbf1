import json
import re
import string
import zlib

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import TOKEN_ID, secret_of

from gateway.tokens.owner import OwnerKind
from gateway.tokens.secret import (
    BARE,
    BEARER,
    SCANNED,
    Credential,
    Sensitive,
    make_secret,
    parse_secret,
    without_secrets,
)

SECRET = secret_of().reveal()
BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase

kinds = st.sampled_from(OwnerKind)
token_ids = st.text("0123456789abcdef", min_size=32, max_size=32)
randoms = st.binary(min_size=32, max_size=32)


def base62(text: str) -> int:
    number = 0
    for digit in text:
        number = number * 62 + BASE62.index(digit)
    return number


@given(kinds, token_ids, randoms)
@settings(deadline=None)
def test_what_was_made_is_read_back(kind: OwnerKind, token_id: str, random: bytes) -> None:
    secret = make_secret(kind, token_id, random)
    found = parse_secret(secret.reveal())
    assert found is not None
    assert (found.kind, found.token_id, found.secret) == (kind, token_id, secret)


@given(kinds, token_ids, randoms)
@settings(deadline=None)
def test_scanners_find_each_secret_of_ours_whatever_it_follows(kind: OwnerKind, token_id: str, random: bytes) -> None:
    secret = make_secret(kind, token_id, random).reveal()
    for before, after in (("", ""), ('"', '"'), ("token%3D", "%0A"), (r"\n", r"\n"), ("KEY_", "\n"), ("=", "&a=b")):
        assert SCANNED.findall(f"{before}{secret}{after}") == [secret]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SECRET[:-1], id="one character less"),
        pytest.param(f"{SECRET}x", id="one more"),
        pytest.param(SECRET.replace("zgt_", "zgx_"), id="another prefix"),
        pytest.param(SECRET.replace("zgt_", "ZGT_"), id="in capitals"),
        pytest.param(f"zgt_{TOKEN_ID}", id="the id alone"),
        pytest.param(SECRET[:37] + "-" + SECRET[38:], id="another alphabet"),
    ],
)
def test_scanners_find_nothing_else(text: str) -> None:
    assert SCANNED.findall(text) == []


@given(kinds, token_ids, randoms)
@settings(deadline=None)
def test_a_secret_is_prefix_id_random_bits_and_a_crc_of_all_before_it(
    kind: OwnerKind, token_id: str, random: bytes
) -> None:
    text = make_secret(kind, token_id, random).reveal()
    assert len(text) == 86
    assert text[:4] == {OwnerKind.USER: "zgt_", OwnerKind.ACCOUNT: "zga_"}[kind]
    assert text[4:37] == f"{token_id}_"
    assert base62(text[37:80]) == int.from_bytes(random)
    assert base62(text[80:]) == zlib.crc32(text[:80].encode())


@given(st.integers(0, len(SECRET) - 1), st.characters())
@settings(deadline=None, max_examples=500)
def test_one_changed_character_makes_it_no_secret(position: int, character: str) -> None:
    changed = SECRET[:position] + character + SECRET[position + 1 :]
    assert (parse_secret(changed) is None) == (changed != SECRET)


@given(st.integers(0, len(SECRET) - 1), st.sampled_from(BASE62 + "_"))
@settings(deadline=None, max_examples=500)
def test_one_character_of_its_own_alphabet_changed_makes_it_no_secret(position: int, character: str) -> None:
    changed = SECRET[:position] + character + SECRET[position + 1 :]
    assert (parse_secret(changed) is None) == (changed != SECRET)


@given(st.integers(0, len(SECRET)), st.sampled_from(BASE62 + "_ \n"))
@settings(deadline=None)
def test_one_character_more_or_less_makes_it_no_secret(position: int, character: str) -> None:
    assert parse_secret(SECRET[:position] + character + SECRET[position:]) is None
    if position < len(SECRET):
        assert parse_secret(SECRET[:position] + SECRET[position + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param(SECRET.upper(), id="in capitals"),
        pytest.param(f" {SECRET}", id="a space before it"),
        pytest.param(f"{SECRET}\n", id="a line end behind it"),
        pytest.param(SECRET + SECRET, id="twice"),
        pytest.param(SECRET.replace("zgt_", "cfut_"), id="another maker's prefix"),
        pytest.param(SECRET.replace("zgt_", "zga_"), id="the prefix of the other kind"),
        pytest.param("\uff3a" + SECRET[1:], id="a letter that only looks like it"),
        pytest.param("zgt_" + "f" * 32 + "_" + "0" * 49, id="the right shape and a wrong check"),
    ],
)
def test_what_is_not_of_the_shape_is_no_secret(text: str) -> None:
    assert parse_secret(text) is None


@pytest.mark.parametrize(
    ("text", "form", "read"),
    [
        pytest.param(SECRET, BARE, True, id="bare"),
        pytest.param(f"Bearer {SECRET}", BARE, False, id="a scheme where none belongs"),
        pytest.param(f"Bearer {SECRET}", BEARER, True, id="a scheme"),
        pytest.param(f" \tbEaReR   {SECRET}\t ", BEARER, True, id="in any case, and with blanks"),
        pytest.param(SECRET, BEARER, False, id="no scheme where one belongs"),
        pytest.param(f"Bearer{SECRET}", BEARER, False, id="nothing between them"),
        pytest.param(f"Bearer {SECRET[:-1]}-", BEARER, False, id="a scheme, and no secret"),
        pytest.param(f"Bearer {SECRET[:-1]}{'0' if SECRET[-1] != '0' else '1'}", BEARER, False, id="a wrong check"),
    ],
)
def test_a_secret_is_read_in_the_form_that_was_asked_for(text: str, form: re.Pattern[str], *, read: bool) -> None:
    found = parse_secret(text, form=form)
    assert (found is not None) is read
    assert found is None or found.secret.reveal() == SECRET


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_secret_takes_exactly_256_random_bits(size: int) -> None:
    with pytest.raises(ValueError, match="32 random bytes"):
        make_secret(OwnerKind.USER, TOKEN_ID, bytes(size))


def test_the_field_in_which_it_came_is_kept() -> None:
    found = parse_secret(SECRET, "x-api-key")
    assert found is not None
    assert found.field == "x-api-key"


CREDENTIAL = Credential(TOKEN_ID, OwnerKind.USER, Sensitive(SECRET))


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(str(Sensitive(SECRET)), id="str"),
        pytest.param(repr(Sensitive(SECRET)), id="repr"),
        pytest.param(f"{Sensitive(SECRET)}", id="format"),
        pytest.param(f"{Sensitive(SECRET)!r}", id="format with r"),
        pytest.param("%s" % Sensitive(SECRET), id="per cent"),  # noqa: UP031 - the subject
        pytest.param(repr([{"secret": Sensitive(SECRET)}]), id="inside other things"),
        pytest.param(repr(ValueError("bad", Sensitive(SECRET))), id="in an exception"),
        pytest.param(str(CREDENTIAL), id="str of a credential"),
        pytest.param(repr(CREDENTIAL), id="repr of a credential"),
        pytest.param(f"{CREDENTIAL}", id="format of a credential"),
    ],
)
def test_a_secret_shows_itself_to_nobody_who_does_not_ask_by_name(shown: str) -> None:
    assert shown
    assert SECRET[37:80] not in shown
    assert SECRET[80:] not in shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        pytest.param(SECRET, f"zgt_{TOKEN_ID}_...", id="alone"),
        pytest.param(f"/a?x%3D{SECRET[:50]}&b", f"/a?x%3Dzgt_{TOKEN_ID}_...&b", id="cut, among other things"),
        pytest.param(f"{SECRET} {SECRET}", f"zgt_{TOKEN_ID}_... zgt_{TOKEN_ID}_...", id="two"),
        pytest.param(f"zgt_{TOKEN_ID}", f"zgt_{TOKEN_ID}", id="an id is none"),
    ],
)
def test_of_a_secret_in_a_text_the_id_is_left(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_a_secret_cannot_be_encoded_by_accident() -> None:
    with pytest.raises(TypeError):
        json.dumps({"secret": Sensitive(SECRET)})
    with pytest.raises(TypeError):
        msgspec.json.encode(CREDENTIAL)


def test_secrets_are_equal_when_their_texts_are() -> None:
    assert Sensitive("one") == Sensitive("one")
    assert Sensitive("one") != Sensitive("two")
    assert Sensitive("one") != "one"
    assert len({Sensitive("one"), Sensitive("one"), Sensitive("two")}) == 2
    assert not Sensitive("")
    assert Sensitive("one")
