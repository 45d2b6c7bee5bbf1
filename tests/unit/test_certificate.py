import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat
from support.certificates import Authority, Certificate, encrypted, joined

from gateway.certificate import BadTlsFile, check_readable, load_own

Refusal = Callable[[str, str], BadTlsFile]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def ours(authority: Authority) -> Certificate:
    return authority.sign("gateway.example")


@pytest.fixture
def context() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)


@pytest.fixture
def refusal(context: ssl.SSLContext) -> Refusal:
    """`refusal(cert, key)`: the one line that says why not."""

    def refusal(cert: str, key: str) -> BadTlsFile:
        with pytest.raises(BadTlsFile) as caught:
            load_own(context, cert, key)
        assert str(caught.value).splitlines() == [str(caught.value)]
        return caught.value

    return refusal


def test_a_certificate_comes_with_its_key_out_of_two_files_or_one(context: ssl.SSLContext, ours: Certificate) -> None:
    load_own(context, ours.cert, ours.key)
    load_own(context, joined(ours), "")
    load_own(context, joined(ours), joined(ours))


@pytest.mark.parametrize(
    ("content", "setting", "says"),
    [
        pytest.param(None, "cert", "No such file or directory", id="missing"),
        pytest.param("", "cert", "not a certificate", id="empty"),
        pytest.param("junk", "cert", "not a certificate", id="junk"),
        pytest.param(
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cert", "not a", id="junk in PEM"
        ),
    ],
)
def test_a_certificate_that_cannot_be_used_is_refused_by_its_name(
    refusal: Refusal, ours: Certificate, tmp_path: Path, content: str | None, setting: str, says: str
) -> None:
    cert = tmp_path / "bad.pem"
    if content is not None:
        cert.write_text(content)
    said = refusal(str(cert), ours.key)
    assert said.setting == setting
    assert str(said).startswith(str(cert))
    assert says in str(said)


@pytest.mark.parametrize(
    ("content", "setting", "says"),
    [
        pytest.param(None, "key", "No such file or directory", id="missing"),
        pytest.param("", "cert", "not a certificate with its key", id="empty"),
        pytest.param("junk", "cert", "not a certificate with its key", id="junk"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_by_its_name(
    refusal: Refusal, ours: Certificate, tmp_path: Path, content: str | None, setting: str, says: str
) -> None:
    key = tmp_path / "bad.key"
    if content is not None:
        key.write_text(content)
    said = refusal(ours.cert, str(key))
    assert said.setting == setting
    assert str(key) in str(said)
    assert says in str(said)


def test_another_certificate_s_key_is_refused(refusal: Refusal, ours: Certificate, authority: Authority) -> None:
    other = authority.sign("other.example")
    assert str(refusal(ours.cert, other.key)) == f"{ours.cert} with {other.key}: key values mismatch"


def test_a_certificate_without_its_key_is_refused(refusal: Refusal, ours: Certificate) -> None:
    assert str(refusal(ours.cert, "")) == f"{ours.cert}: not a certificate with its key in PEM"


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_an_encrypted_key_is_refused_and_no_password_is_asked_for(
    refusal: Refusal, ours: Certificate, form: PrivateFormat
) -> None:
    key = encrypted(ours.key, form)
    said = refusal(ours.cert, key)
    assert said.setting == "key"
    assert str(said).startswith(f"{key}: the key is encrypted")


def test_an_encrypted_key_beside_its_certificate_is_refused(refusal: Refusal, ours: Certificate) -> None:
    both = joined(Certificate(ours.cert, encrypted(ours.key)))
    said = refusal(both, "")
    assert said.setting == "cert"
    assert str(said).startswith(f"{both}: the key is encrypted")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        pytest.param("none.pem", "none.pem: No such file or directory", id="missing"),
        pytest.param(".", ".: Is a directory", id="a directory"),
        pytest.param("a\0b", r"'a\x00b': no file can have this name", id="a NUL"),
        pytest.param("a\nb", r"'a\nb': No such file or directory", id="a line end"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line_with_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadTlsFile) as caught:
        check_readable("ca", name)
    assert (caught.value.setting, str(caught.value)) == ("ca", said)
