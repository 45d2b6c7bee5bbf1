import hashlib
import hmac
from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import NOW, secret_of

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


class Counted:
    """One of the standard library's functions, and how often it was called."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self.calls = 0

    def __call__(self, *args: object, **options: object) -> object:
        self.calls += 1
        return self.function(*args, **options)


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(hmac.compare_digest)
    monkeypatch.setattr(hmac, "compare_digest", counted)
    return counted


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> Counted:
    counted = Counted(hmac.digest)
    monkeypatch.setattr(hmac, "digest", counted)
    return counted


def test_an_unknown_id_takes_the_same_constant_time_path_as_a_known_one(compared: Counted, hashed: Counted) -> None:
    peppers = Peppers([NEW])
    digest = peppers.sign(SECRET)
    hashed.calls = 0
    peppers.proves(digest, OTHER, NOW)
    known = (compared.calls, hashed.calls)
    compared.calls = hashed.calls = 0
    peppers.compare_in_vain(OTHER, NOW)
    assert (compared.calls, hashed.calls) == known == (1, 1)


def test_a_missing_pepper_takes_the_same_work_as_one_that_is_there(compared: Counted, hashed: Counted) -> None:
    digest = Peppers([OLD]).sign(SECRET)
    peppers = Peppers([NEW])
    compared.calls = hashed.calls = 0
    assert not peppers.proves(digest, SECRET, NOW)
    assert (compared.calls, hashed.calls) == (1, 1)


def test_neither_pepper_nor_secret_is_shown() -> None:
    peppers = Peppers([OLD])
    shown = f"{peppers!r} {peppers.sign(SECRET)!r} {peppers.keys!r}"
    assert OLD.reveal() not in shown
    assert SECRET.reveal() not in shown


def test_the_stored_form_is_kept() -> None:
    stored = b'{"alg":"hmac-sha256","key":"0a1b2c3d","hex":"00ff","ends":1800000000}'
    digest = Digest(alg=Algorithm.HMAC_SHA256, key="0a1b2c3d", hex="00ff", ends=NOW)
    assert msgspec.json.encode(digest) == stored
    assert msgspec.json.decode(stored, type=Digest) == digest
    assert b"ends" not in msgspec.json.encode(msgspec.structs.replace(digest, ends=None))
