import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import http_parser
from support.certificates import Authority
from support.configured import UPSTREAM, Set
from support.fake_primary import FakePrimary
from support.processes import free_port
from support.records import NOW, TOKEN_ID, owner, token
from unit.server.wire import HOST, RECORDS, ROUTE, Reply, Wire, request, serving
from unit.server.wire import Upstream as FakeUpstream
from unit.telemetry.captured import captured

from gateway import app
from gateway.app import Gateway, make_plan, open_listeners, serve
from gateway.settings import Listen, Settings, SettingsError, Upstream, UpstreamTls
from gateway.start_error import StartError
from gateway.store.redis_store import AuditLimits, RedisStore, StoreRefused
from gateway.store.use import RouteUse, Uses
from gateway.store_access import initialise


def memory_store() -> RedisStore:
    return RedisStore(FakePrimary(), peppers=(), audit=AuditLimits(1000, 10**9))


# The upstreams.


@pytest.mark.parametrize(
    "tls",
    [
        pytest.param({"ca": "{}/none.pem"}, id="an authority that is missing"),
        pytest.param({"ca": "{}/junk.pem"}, id="an authority that is none"),
        pytest.param({"cert": "{}/none.pem"}, id="a certificate that is missing"),
        pytest.param({"cert": "{}/junk.pem"}, id="a certificate that is none"),
        pytest.param({"cert": "{}/junk.pem", "key": "{}/none.pem"}, id="a key that is missing"),
    ],
)
def test_a_tls_file_that_cannot_be_used_is_refused_by_its_key(
    configured: Set, tmp_path: Path, tls: dict[str, str]
) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    lines = "".join(f"tls.{key} = '{value.format(tmp_path)}'\n" for key, value in tls.items())
    settings = configured(UPSTREAM.replace("http:", "https:") + lines)
    with pytest.raises(SettingsError, match=r"^upstreams\.cloudflare-dns\.tls[^\n]*: [^\n]+$"):
        make_plan(settings)


@pytest.mark.parametrize("name", ["Authorization", "Transfer-Encoding", "Host", "x_request_id"])
def test_a_header_that_is_never_passed_on_is_refused_in_pass_headers(configured: Set, name: str) -> None:
    with pytest.raises(SettingsError, match=r"^upstreams\.cloudflare-dns\.pass_headers: [^\n]+$"):
        make_plan(configured(UPSTREAM + f"pass_headers = ['{name}']"))


@pytest.mark.parametrize(
    ("upstream", "verified"),
    [
        pytest.param(Upstream(targets=("https://h",)), (ssl.CERT_REQUIRED, True), id="verified"),
        pytest.param(
            Upstream(targets=("https://h",), tls=UpstreamTls(verify=False)), (ssl.CERT_NONE, False), id="switched off"
        ),
    ],
)
def test_an_upstream_s_certificate_is_verified_unless_that_is_switched_off(
    upstream: Upstream, verified: tuple[ssl.VerifyMode, bool]
) -> None:
    context = app._upstream_tls("upstreams.x", upstream)
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == verified


def test_an_upstream_without_tls_has_no_context() -> None:
    assert app._upstream_tls("upstreams.x", Upstream(targets=("http://h",), tls=UpstreamTls(ca="none"))) is None


@pytest.mark.parametrize("name", ["Host", "content_length", "Transfer-Encoding", "Connection"])
def test_an_upstream_s_login_stands_in_no_field_that_says_how_a_request_is_read(configured: Set, name: str) -> None:
    with pytest.raises(SettingsError, match=r"^[^\n]+ says how a request is read$"):
        make_plan(configured(UPSTREAM + f"credential = {{ header = '{name}', value = 'hush' }}"))


# Listening.


@pytest.mark.parametrize("section", ["listen", "admin"])
def test_a_listener_s_certificate_that_cannot_be_used_is_refused_by_its_key(
    configured: Set, tmp_path: Path, section: str
) -> None:
    (tmp_path / "junk.pem").write_text("junk")
    files = f"cert = '{tmp_path}/junk.pem', key = '{tmp_path}/none.pem'"
    with pytest.raises(SettingsError, match=rf"^{section}\.tls\.(cert|key): [^\n]+$"):
        make_plan(configured(f"{section}.tls = {{ {files} }}\n"))


async def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}{path}", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


@asynccontextmanager
async def running(settings: Settings, store: RedisStore | None = None, *, at_once: bool = True) -> AsyncIterator[None]:
    """A gateway in this process, over a store in which is one token for DNS of one zone."""
    store = store or memory_store()
    await store.initialise(owner(), token(), NOW)
    with open_listeners(settings) as listeners:
        async with Gateway(make_plan(settings), store, at_once=at_once).running(listeners):
            yield
    await store.close()


def before(port: int, more: str = "") -> str:
    """Settings with an upstream on `port`; `more` of it."""
    return f"[upstreams.cloudflare-dns]\ntargets = ['http://127.0.0.1:{port}']\n{more}\n"


async def ask(settings: Settings, *fields: bytes) -> Reply:
    """What is answered to a request with the token."""
    wire = Wire(*await asyncio.open_connection("127.0.0.1", settings.listen.port))
    reply = await wire.ask(request(RECORDS, *fields))
    await wire.close()
    return reply


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_request_goes_to_the_upstream_under_its_base_path_with_its_login(
    configured: Set,
    at_once: bool,  # noqa: FBT001 - a case's data
) -> None:
    upstream = FakeUpstream()
    async with serving(upstream) as port:
        settings = configured(
            before(port, "base_path = '/base'\ncredential = { header = 'X-Login', value = 'hush' }\nhost = 'h.example'")
        )
        async with running(settings, at_once=at_once):
            for _ in range(2):
                assert (await ask(settings, b"X-Login: mine")).body == b"hello"
    for seen in upstream.requests:
        assert seen.target == b"/base" + RECORDS.removeprefix(b"/client/v4")
        assert seen.values(b"x-login") == [b"hush"]
        assert seen.values(b"host") == [b"h.example"]
        assert seen.values(b"authorization") == []


async def test_what_is_cut_off_at_the_end_is_in_the_log_and_in_the_use_of_its_token(
    configured: Set, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    upstream, store = FakeUpstream(waits_for=asyncio.Event()), memory_store()
    async with serving(upstream) as port:
        settings = configured(before(port) + "[limits]\ndrain_timeout = 0.01\n[log]\nformat = 'json'\n")
        async with running(settings, store):
            wire = Wire(*await asyncio.open_connection("127.0.0.1", settings.listen.port))
            wire.send(request())
            await upstream.begun.wait()
        assert await wire.ended()
        await wire.close()
    lines = [json.loads(line) for line in capfdbinary.readouterr().err.splitlines() if b'"event":"request"' in line]
    assert [(line["path"], line["token"], line["reason"]) for line in lines] == [
        (RECORDS.decode(), TOKEN_ID, "draining")
    ]
    assert (await Uses(store).use(TOKEN_ID)).requests == (RouteUse(ROUTE, "draining", 1),)


async def test_each_listener_has_its_own_pages(configured: Set) -> None:
    settings = configured(UPSTREAM + f"[health]\nport = {free_port()}")
    async with running(settings):
        public, admin, health = settings.listen.port, settings.admin.port, settings.health.port
        assert (await get(admin, "/healthz"))[0] == (await get(health, "/readyz"))[0] == 200
        assert (await get(public, "/healthz"))[0] == 401
        assert (await get(public, "/client/v4/user/tokens/verify"))[0] == 401
        assert (await get(admin, "/client/v4/user/tokens/verify"))[0] == 401
        assert (await get(health, "/client/v4/user/tokens/verify"))[0] == 404
        assert (await get(admin, "/healthz", Host="evil.example"))[0] == 400
        assert (await get(health, "/healthz", Host="probe.example"))[0] == 200


@pytest.mark.parametrize("section", ["listen", "admin", "health"])
def test_a_port_that_is_taken_is_refused_by_its_key_and_nothing_stays_open(configured: Set, section: str) -> None:
    settings = configured(UPSTREAM + f"[health]\nport = {free_port()}")
    port = getattr(settings, section).port
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(StartError, match=rf"^{section}\.port: 127\.0\.0\.1:{port}: Address already in use$"),
        open_listeners(settings),
    ):
        pass
    for other in {"listen", "admin", "health"} - {section}:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", getattr(settings, other).port))


@pytest.mark.parametrize(
    ("host", "key"),
    [
        pytest.param("192.0.2.1", "port", id="another machine's address"),
        pytest.param("no.such.host.invalid", "host", id="no host"),
    ],
)
def test_an_address_that_is_not_ours_is_refused_by_its_key(configured: Set, host: str, key: str) -> None:
    settings = configured(f"listen.host = '{host}'\n")
    with pytest.raises(StartError, match=rf"^listen\.{key}: {host}:\d+: [^\n]+$"), open_listeners(settings):
        pass


async def test_a_unix_socket_is_a_listener_of_its_own(configured: Set, tmp_path: Path) -> None:
    path = tmp_path / "zonegate.sock"
    settings = configured(f"listen.unix = '{path}'\n")
    async with running(settings):
        for reader, writer in (
            await asyncio.open_unix_connection(str(path)),
            await asyncio.open_connection("127.0.0.1", settings.listen.port),
        ):
            wire = Wire(reader, writer)
            assert (await wire.ask(request(authorized=False))).status == 401
            await wire.close()
    assert not path.exists()


def test_a_unix_socket_that_cannot_be_made_is_refused_by_its_key(configured: Set, tmp_path: Path) -> None:
    settings = configured(f"listen.unix = '{tmp_path}/none/s'\n")
    with pytest.raises(StartError, match=rf"^listen\.unix: {tmp_path}/none/s: [^\n]+$"), open_listeners(settings):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", settings.listen.port))


async def test_a_listener_with_a_certificate_speaks_tls(configured: Set, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.sign("localhost")
    settings = configured(f"admin.tls = {{ cert = '{cert}', key = '{key}' }}\n")
    client = ssl.create_default_context(cafile=authority.file)
    async with running(settings):
        wire = Wire(
            *await asyncio.open_connection("127.0.0.1", settings.admin.port, ssl=client, server_hostname="localhost")
        )
        assert (await wire.ask(request(b"/healthz").replace(HOST, b"Host: localhost"))).status == 200
        await wire.close()
        assert (await ask(settings)).status == 404  # without an upstream there is no such route; and no TLS


async def test_an_admin_listener_that_is_off_is_not_there(configured: Set) -> None:
    settings = configured("admin.enabled = false\n")
    async with running(settings):
        with pytest.raises(OSError, match="Connect"):
            await asyncio.open_connection("127.0.0.1", settings.admin.port)
        assert (await get(settings.listen.port, "/"))[0] == 401


# Starting: see tests/e2e for what comes after the workers were forked.


def run(settings: Settings) -> None:
    serve(settings, lambda: settings)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        pytest.param("gateway.app.aiohttp.__version__", "3.14.3", id="too old"),
        pytest.param("gateway.app.aiohttp.__version__", "2.9", id="much too old"),
        pytest.param(
            "gateway.app.http_parser.HttpRequestParser", http_parser.HttpRequestParserPy, id="without its C parser"
        ),
    ],
)
def test_it_does_not_start_on_another_parser(
    configured: Set, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, attribute: str, value: object
) -> None:
    monkeypatch.setattr(attribute, value)
    with pytest.raises(StartError, match=r"^aiohttp [^\n]+3\.14\.4[^\n]+$"):
        run(configured())
    assert not (tmp_path / "store").exists()


def test_a_store_that_must_not_be_used_stops_the_start(configured: Set) -> None:
    initialise(configured("store.pepper = ['salt']"))
    with pytest.raises(StoreRefused, match=r"^store\.pepper: "):
        run(configured())


# Reading anew.


def test_what_only_a_restart_can_change_stays_and_a_line_names_it() -> None:
    running = Settings()
    changed = Settings(listen=Listen(host="::1", port=9999, prefix="/api", workers=4))
    with captured() as logs:
        kept = app._keep_fixed(running, changed)
    assert kept == Settings(listen=Listen(prefix="/api", workers=4))
    (line,) = logs
    assert (line["log_level"], line["keys"]) == ("warning", ["listen.host", "listen.port"])


def test_what_has_not_changed_is_not_talked_of() -> None:
    with captured() as logs:
        assert app._keep_fixed(Settings(), Settings(listen=Listen(workers=4))).listen.workers == 4
    assert logs == []


def test_each_setting_that_only_a_restart_can_change_is_there() -> None:
    for key in app._FIXED:
        section, name = key.split(".")
        assert name in getattr(Settings(), section).__struct_fields__
