import hashlib
import hmac
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import NOW, secret_of
from support.steps import steps

from gateway.tokens.digest import NO_PEPPERS, Algorithm, Digest, Peppers, pepper_key
from gateway.tokens.secret import Sensitive

SECRET = secret_of()
OTHER = secret_of(fill=8)
OLD = Sensitive("an old pepper")
NEW = Sensitive("a new pepper")


def test_without_a_pepper_the_digest_is_plain_sha256() -> None:
    assert NO_PEPPERS.sign(SECRET) == Digest(
        alg=Algorithm.SHA256, key="", hex=hashlib.sha256(SECRET.reveal().encode()).hexdigest()
    )


def test_with_peppers_it_is_an_hmac_of_the_first() -> None:
    assert Peppers([NEW, OLD]).sign(SECRET) == Digest(
        alg=Algorithm.HMAC_SHA256,
        key=hashlib.sha256(b"a new pepper").hexdigest()[:8],
        hex=hmac.new(b"a new pepper", SECRET.reveal().encode(), "sha256").hexdigest(),
    )


def test_a_pepper_is_called_by_the_first_8_hex_digits_of_its_own_digest() -> None:
    assert pepper_key(Sensitive("pepper")) == hashlib.sha256(b"pepper").hexdigest()[:8]
    assert Peppers([NEW, OLD]).keys == (pepper_key(NEW), pepper_key(OLD))
    assert NO_PEPPERS.keys == ()


@given(st.text(max_size=100), st.text(max_size=100))
@settings(deadline=None)
def test_the_hmac_is_the_standard_library_s_whatever_the_pepper_s_length(pepper: str, secret: str) -> None:
    signed = Peppers([Sensitive(pepper)]).sign(Sensitive(secret))
    assert signed.hex == hmac.new(pepper.encode(), secret.encode(), "sha256").hexdigest()


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 128, 200])
def test_a_pepper_of_any_length_is_a_key_as_rfc_2104_has_it(length: int) -> None:
    pepper = "p" * length
    signed = Peppers([Sensitive(pepper)]).sign(SECRET)
    assert signed.hex == hmac.new(pepper.encode(), SECRET.reveal().encode(), "sha256").hexdigest()


@given(st.text(min_size=1), st.text(min_size=1), st.lists(st.text(), max_size=3))
@settings(deadline=None)
def test_a_digest_proves_its_own_secret_and_no_other(one: str, two: str, peppers: list[str]) -> None:
    keys = Peppers([Sensitive(pepper) for pepper in peppers])
    digest = keys.sign(Sensitive(one))
    assert keys.proves(digest, Sensitive(one), NOW)
    assert keys.proves(digest, Sensitive(two), NOW) == (one == two)


@pytest.mark.parametrize(
    ("signed_by", "proved_by", "proves"),
    [
        pytest.param([OLD], [OLD], True, id="the pepper that signed"),
        pytest.param([OLD], [NEW, OLD], True, id="a pepper that only verifies"),
        pytest.param([], [NEW], True, id="a digest from before there was a pepper"),
        pytest.param([OLD], [NEW], False, id="another pepper"),
        pytest.param([OLD], [], False, id="no pepper at all"),
    ],
)
def test_all_peppers_verify_and_none_that_is_gone(
    signed_by: list[Sensitive], proved_by: list[Sensitive], *, proves: bool
) -> None:
    digest = Peppers(signed_by).sign(SECRET)
    assert Peppers(proved_by).proves(digest, SECRET, NOW) is proves


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(Peppers([OLD]).sign(SECRET).hex, id="its true digest"),
        pytest.param(NO_PEPPERS.sign(SECRET).hex, id="the plain digest"),
        pytest.param(hmac.new(b"", SECRET.reveal().encode(), "sha256").hexdigest(), id="with an empty key"),
        pytest.param("", id="nothing"),
        pytest.param("-" * 64, id="a row of dashes"),
    ],
)
def test_a_digest_of_a_missing_pepper_proves_nothing_whatever_it_holds(stored: str) -> None:
    digest = Digest(alg=Algorithm.HMAC_SHA256, key=pepper_key(OLD), hex=stored)
    assert not Peppers([NEW]).proves(digest, SECRET, NOW)
    assert not NO_PEPPERS.proves(digest, SECRET, NOW)


@pytest.mark.parametrize(
    ("now", "proves"),
    [
        pytest.param(NOW - 1, True, id="a second before its end"),
        pytest.param(NOW - 0.001, True, id="a moment before its end"),
        pytest.param(NOW, False, id="in the second of its end"),
        pytest.param(NOW + 1, False, id="after its end"),
    ],
)
def test_a_digest_with_an_end_proves_until_then(now: float, *, proves: bool) -> None:
    digest = msgspec.structs.replace(NO_PEPPERS.sign(SECRET), ends=NOW)
    assert NO_PEPPERS.proves(digest, SECRET, now) is proves
    assert not NO_PEPPERS.proves(digest, OTHER, now)


def test_only_a_digest_of_the_first_pepper_is_current() -> None:
    peppers = Peppers([NEW, OLD])
    assert peppers.is_current(peppers.sign(SECRET))
    assert not peppers.is_current(Peppers([OLD]).sign(SECRET))
    assert not peppers.is_current(NO_PEPPERS.sign(SECRET))
    assert NO_PEPPERS.is_current(NO_PEPPERS.sign(SECRET))


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Each comparison in constant time."""
    calls: list[object] = []

    def compare(one: str, two: str) -> bool:
        calls.append((one, two))
        return same(one, two)

    same = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    return calls


def work(run: Callable[[], object], compared: list[object]) -> tuple[int, int]:
    """Steps and comparisons."""
    compared.clear()
    return steps(run), len(compared)


@pytest.mark.parametrize("peppers", [pytest.param(NO_PEPPERS, id="plain"), pytest.param(Peppers([NEW]), id="hmac")])
def test_an_unknown_id_takes_the_same_constant_time_path_as_a_known_one(
    peppers: Peppers, compared: list[object]
) -> None:
    digest = peppers.sign(SECRET)
    known = work(lambda: peppers.proves(digest, OTHER, NOW), compared)
    call = 1  # `compare_in_vain` is one line that calls the other
    steps_in_vain, comparisons = work(lambda: peppers.compare_in_vain(OTHER, NOW), compared)
    assert (steps_in_vain - call, comparisons) == known
    assert comparisons == 1


def test_a_missing_pepper_takes_the_same_work_as_one_that_is_there(compared: list[object]) -> None:
    digest = Peppers([OLD]).sign(SECRET)
    lacking, complete = Peppers([NEW]), Peppers([NEW, OLD])
    assert not lacking.proves(digest, SECRET, NOW)
    found = work(lambda: lacking.proves(digest, OTHER, NOW), compared)
    assert found == work(lambda: complete.proves(digest, OTHER, NOW), compared)
    assert found[1] == 1


def test_neither_pepper_nor_secret_is_shown() -> None:
    peppers = Peppers([OLD])
    shown = f"{peppers!r} {peppers.sign(SECRET)!r} {peppers.keys!r}"
    assert OLD.reveal() not in shown
    assert SECRET.reveal() not in shown


def test_the_stored_form_is_kept() -> None:
    stored = b'{"alg":"hmac-sha256","key":"0a1b2c3d","hex":"%s","ends":1800000000}' % (b"0f" * 32)
    digest = Digest(alg=Algorithm.HMAC_SHA256, key="0a1b2c3d", hex="0f" * 32, ends=NOW)
    assert msgspec.json.encode(digest) == stored
    assert msgspec.json.decode(stored, type=Digest) == digest
    assert b"ends" not in msgspec.json.encode(msgspec.structs.replace(digest, ends=None))


@pytest.mark.parametrize("text", ["", "0f", "0F" * 32, "0f" * 33, "\u00e9" * 64, "0f" * 32 + "\n"])
def test_a_stored_digest_that_is_none_cannot_be_read(text: str) -> None:
    """It would be compared with a secret's, and a comparison in constant time takes ASCII alone."""
    stored = msgspec.json.encode({"alg": "sha256", "key": "", "hex": text})
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(stored, type=Digest)
