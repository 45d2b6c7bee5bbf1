import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from support.certificates import Authority, Certificate, encrypted
from support.handshake import handshake

from gateway.certificate import BadTlsFile
from gateway.server.tls import server_context


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def ours(authority: Authority) -> Certificate:
    return authority.sign("gateway.example")


@pytest.fixture
def client(authority: Authority) -> ssl.SSLContext:
    """A client that believes the authority."""
    return ssl.create_default_context(cafile=authority.file)


def only(client: ssl.SSLContext, version: ssl.TLSVersion) -> ssl.SSLContext:
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    return client


def test_a_client_that_knows_the_authority_believes_the_certificate(client: ssl.SSLContext, ours: Certificate) -> None:
    found = handshake(client, server_context(ours.cert, ours.key), "gateway.example").client.getpeercert()
    assert found is not None
    assert found["subjectAltName"] == (("DNS", "gateway.example"),)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        pytest.param(ssl.TLSVersion.TLSv1_2, "TLSv1.2", id="1.2"),
        pytest.param(ssl.TLSVersion.TLSv1_3, "TLSv1.3", id="1.3"),
    ],
)
def test_a_client_may_speak_tls(client: ssl.SSLContext, ours: Certificate, version: ssl.TLSVersion, name: str) -> None:
    ends = handshake(only(client, version), server_context(ours.cert, ours.key), "gateway.example")
    assert ends.server.version() == name
    assert ends.server.compression() is None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_older_version_is_refused(client: ssl.SSLContext, ours: Certificate, version: ssl.TLSVersion) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        handshake(only(client, version), server_context(ours.cert, ours.key), "gateway.example")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        pytest.param(["h2", "http/1.1"], "http/1.1", id="a browser"),
        pytest.param(["http/1.1"], "http/1.1", id="a plain client"),
        pytest.param(["h2"], None, id="HTTP/2 alone"),
        pytest.param([], None, id="nothing"),
    ],
)
def test_http_1_1_alone_is_agreed_upon(
    client: ssl.SSLContext, ours: Certificate, offered: list[str], chosen: str | None
) -> None:
    client.set_alpn_protocols(offered)
    ends = handshake(client, server_context(ours.cert, ours.key), "gateway.example")
    assert ends.server.selected_alpn_protocol() == chosen


def test_nothing_is_compressed_or_negotiated_again(ours: Certificate) -> None:
    wanted = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    assert server_context(ours.cert, ours.key).options & wanted == wanted


def test_a_client_is_not_asked_who_it_is(ours: Certificate) -> None:
    assert server_context(ours.cert, ours.key).verify_mode is ssl.CERT_NONE


def test_an_encrypted_key_is_refused_by_its_name(ours: Certificate) -> None:
    key = encrypted(ours.key)
    with pytest.raises(BadTlsFile, match=rf"^{key}: the key is encrypted"):
        server_context(ours.cert, key)


# In a process of its own: that of the tests has threads, which no fork should meet.
FORKING = """
import os, socket, ssl, sys
from gateway.server.tls import server_context

cert, key, authority = sys.argv[1:]
context = server_context(cert, key)
os.remove(cert)
os.remove(key)
client = ssl.create_default_context(cafile=authority)
client.maximum_version = ssl.TLSVersion.TLSv1_2  # whose session is there as soon as the handshake is done
session, resumed = None, []
for _ in range(3):
    ours, theirs = socket.socketpair()
    if not os.fork():
        ours.close()
        with context.wrap_socket(theirs, server_side=True) as tls:
            tls.sendall(tls.recv(100))
        os._exit(0)
    theirs.close()
    ours.settimeout(10)
    with client.wrap_socket(ours, server_hostname="gateway.example", session=session) as tls:
        tls.sendall(str(os.getpid()).encode())
        assert tls.recv(100) == str(os.getpid()).encode()
        session = tls.session
        resumed.append(tls.session_reused)
    assert os.wait()[1] == 0
print(resumed)
"""


def test_workers_that_are_forked_afterwards_need_no_file_and_resume_each_other_s_sessions(
    authority: Authority, ours: Certificate
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKING, ours.cert, ours.key, authority.file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("[False, True, True]\n", "", 0)
