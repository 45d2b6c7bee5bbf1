import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest
import uvloop
from support.certificates import Authority, Certificate, encrypted, joined
from support.handshake import handshake

from gateway.certificate import BadTlsFile
from gateway.proxy.tls import is_ended, upstream_context

HOST = "api.example"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "stranger")


@pytest.fixture
def ours(authority: Authority) -> Certificate:
    return authority.sign("gateway.example")


@pytest.fixture
def upstream(authority: Authority) -> ssl.SSLContext:
    """The upstream's end, with a certificate for HOST and 127.0.0.1."""
    return serving(authority.sign(HOST, "127.0.0.1"))


def serving(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


def context(*, verify: bool = True, ca: str = "", cert: str = "", key: str = "") -> ssl.SSLContext:
    return upstream_context(verify=verify, ca=ca, cert=cert, key=key)


# Whom we believe.


@pytest.mark.parametrize("host", [HOST, "127.0.0.1"])
def test_our_own_authority_s_certificate_for_the_host_is_believed(
    authority: Authority, upstream: ssl.SSLContext, host: str
) -> None:
    assert handshake(context(ca=authority.file), upstream, host).client.getpeercert()


@pytest.mark.parametrize("host", ["other.example", "127.0.0.2", f"sub.{HOST}"])
def test_another_host_s_certificate_is_refused(authority: Authority, upstream: ssl.SSLContext, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context(ca=authority.file), upstream, host)


def test_another_authority_s_certificate_is_refused(stranger: Authority, upstream: ssl.SSLContext) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context(ca=stranger.file), upstream, HOST)


def test_without_an_authority_of_our_own_the_machine_s_are_believed(
    authority: Authority, upstream: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context(), upstream, HOST)
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    assert handshake(context(), upstream, HOST).client.getpeercert()


def test_with_an_authority_of_our_own_the_machine_s_are_not_believed(
    authority: Authority, stranger: Authority, upstream: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", authority.file)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context(ca=stranger.file), upstream, HOST)


def test_where_nothing_is_verified_anybody_is_believed(stranger: Authority, upstream: ssl.SSLContext) -> None:
    assert handshake(context(verify=False, ca=stranger.file), upstream, "other.example").client.version()


# Who we are.


@pytest.mark.parametrize("in_one_file", [False, True])
def test_an_upstream_that_asks_sees_our_certificate(
    authority: Authority, ours: Certificate, upstream: ssl.SSLContext, *, in_one_file: bool
) -> None:
    upstream.load_verify_locations(authority.file)
    upstream.verify_mode = ssl.CERT_REQUIRED
    cert, key = (joined(ours), "") if in_one_file else ours
    found = handshake(context(ca=authority.file, cert=cert, key=key), upstream, HOST).server.getpeercert()
    assert found is not None
    assert found["subjectAltName"] == (("DNS", "gateway.example"),)


def test_an_upstream_that_asks_in_vain_refuses(authority: Authority, upstream: ssl.SSLContext) -> None:
    upstream.load_verify_locations(authority.file)
    upstream.verify_mode = ssl.CERT_REQUIRED
    with pytest.raises(ssl.SSLError):
        handshake(context(ca=authority.file), upstream, HOST)


# What is spoken.


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken_with_http_1_1_inside(
    authority: Authority, upstream: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    upstream.minimum_version = upstream.maximum_version = version
    ends = handshake(context(ca=authority.file), upstream, HOST)
    assert ends.client.selected_alpn_protocol() == "http/1.1"
    assert ends.client.compression() is None


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_an_older_version_is_not_spoken(
    authority: Authority, upstream: ssl.SSLContext, version: ssl.TLSVersion
) -> None:
    upstream.set_ciphers("ALL:@SECLEVEL=0")
    upstream.minimum_version = upstream.maximum_version = version
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
        handshake(context(ca=authority.file), upstream, HOST)


def test_no_key_of_a_connection_is_written_down(
    authority: Authority, upstream: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    handshake(context(ca=authority.file), upstream, HOST)
    assert not (tmp_path / "keys").exists()


# Files that cannot be used.


@pytest.mark.parametrize(
    ("files", "setting", "said"),
    [
        pytest.param({"ca": "none"}, "ca", "none: No such file or directory", id="an authority that is missing"),
        pytest.param({"ca": "junk"}, "ca", "junk: no certificate or crl found", id="an authority that is none"),
        pytest.param({"ca": "bad"}, "ca", "bad: not certificates in PEM", id="an authority that is broken"),
        pytest.param({"cert": "none"}, "cert", "none: No such file or directory", id="a certificate that is missing"),
        pytest.param({"cert": "junk"}, "cert", "junk: not a certificate with its key in PEM", id="one that is none"),
        pytest.param({"cert": "junk", "key": "none"}, "key", "none: No such file or directory", id="a missing key"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, files: dict[str, str], setting: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("junk").write_text("junk")
    Path("bad").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    with pytest.raises(BadTlsFile) as caught:
        context(**files)
    assert (caught.value.setting, str(caught.value)) == (setting, said)


def test_a_file_is_looked_at_even_where_nothing_is_verified() -> None:
    with pytest.raises(BadTlsFile, match=r"^/none: No such file or directory$"):
        context(verify=False, ca="/none")


def test_an_encrypted_key_is_refused_by_its_name(ours: Certificate) -> None:
    key = encrypted(ours.key)
    with pytest.raises(BadTlsFile, match=rf"^{key}: the key is encrypted"):
        context(cert=ours.cert, key=key)


# How it ends.

Serve = Callable[[Callable[[ssl.SSLSocket], None]], tuple[str, int]]


@pytest.fixture
def serve(upstream: ssl.SSLContext) -> Iterator[Serve]:
    """`serve(end)`: where an upstream listens that says one word to one client, and then ends as `end` does."""
    with ExitStack() as stack:

        def serve(end: Callable[[ssl.SSLSocket], None]) -> tuple[str, int]:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            listener.settimeout(10)

            def answer() -> None:
                sock, _ = listener.accept()
                sock.settimeout(10)
                with upstream.wrap_socket(sock, server_side=True) as tls:
                    tls.sendall(b"word")
                    end(tls)

            thread = Thread(target=answer)
            thread.start()
            stack.callback(thread.join)
            host, port = listener.getsockname()
            return host, port

        yield serve


def close(tls: ssl.SSLSocket) -> None:
    tls.unwrap().close()


def cut(tls: ssl.SSLSocket) -> None:
    socket.socket(fileno=tls.detach()).close()


class Reading(asyncio.Protocol):
    """All that came, and whether the peer ended it."""

    def __init__(self) -> None:
        self.data = b""
        self.is_ended = False
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._tls = transport.get_extra_info("ssl_object")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> None:
        self.is_ended = is_ended(self._tls)

    def connection_lost(self, _: Exception | None) -> None:
        self.lost.set_result(None)


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(
    ("end", "ended"), [pytest.param(close, True, id="by the upstream"), pytest.param(cut, False, id="by anybody")]
)
def test_an_end_that_the_upstream_made_is_told_from_a_cut(
    authority: Authority,
    serve: Serve,
    loop: Callable[[], asyncio.AbstractEventLoop],
    version: ssl.TLSVersion,
    end: Callable[[ssl.SSLSocket], None],
    *,
    ended: bool,
) -> None:
    tls = context(ca=authority.file)
    tls.maximum_version = version

    async def read() -> Reading:
        host, port = serve(end)
        _, reading = await asyncio.get_running_loop().create_connection(
            Reading, host, port, ssl=tls, server_hostname=HOST
        )
        async with asyncio.timeout(10):
            await reading.lost
        return reading

    with asyncio.Runner(loop_factory=loop) as runner:
        reading = runner.run(read())
    assert (reading.data, reading.is_ended) == (b"word", ended)
