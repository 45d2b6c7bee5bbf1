import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import copytree

import aiohttp
import pytest
from aiohttp import http_parser
from support.certificates import Authority
from support.fake_primary import FakePrimary
from support.processes import free_port
from support.records import NOW, TOKEN_ID, owner, token
from unit.server.wire import HOST, RECORDS, ROUTE, Reply, Wire, request, serving
from unit.server.wire import Upstream as FakeUpstream
from unit.telemetry.captured import captured

from gateway import app
from gateway.access.ports import Conflict, StoreUnavailable
from gateway.app import (
    Gateway,
    StartError,
    build_catalog,
    initialise,
    make_plan,
    open_listeners,
    open_store,
    policy_files,
    ready_store,
    serve,
)
from gateway.catalog.document import CatalogError
from gateway.settings import Listen, Settings, SettingsError, Upstream, UpstreamTls, load_settings
from gateway.store.redis_store import AuditLimits, RedisStore, StoreRefused
from gateway.store.use import RouteUse, Uses
from gateway.tokens.secret import parse_secret

Set = Callable[..., Settings]
UPSTREAM = "[upstreams.cloudflare-dns]\ntargets = ['http://127.0.0.1:9']\n"


@pytest.fixture
def configured(tmp_path: Path) -> Set:
    """`configured(text)`: settings on free ports, with their store in `tmp_path`."""

    def configured(text: str = UPSTREAM) -> Settings:
        file = tmp_path / "zonegate.toml"
        file.write_text(
            f"listen.port = {free_port()}\nadmin.port = {free_port()}\nstore.data_dir = '{tmp_path / 'store'}'\n{text}"
        )
        return load_settings(file, {})

    return configured


def memory_store() -> RedisStore:
    return RedisStore(FakePrimary(), peppers=(), audit=AuditLimits(1000, 10**9))


# policies/.


def test_without_a_directory_the_policies_are_those_of_the_package() -> None:
    found = policy_files("")
    assert {"permission_groups.toml", "zonegate_groups.toml", "templates.toml", "apis/cloudflare-dns.toml"} <= set(
        found
    )
    assert 'name = "cloudflare-dns"' in found["apis/cloudflare-dns.toml"]


def test_a_directory_is_read_by_the_paths_below_it_and_nothing_else_of_it(tmp_path: Path) -> None:
    (tmp_path / "apis" / "deeper").mkdir(parents=True)
    for name in ("a.toml", "apis/b.toml", "apis/deeper/c.toml", "notes.txt", "apis/d.toml.bak"):
        (tmp_path / name).write_text(f"# {name}")
    assert policy_files(str(tmp_path)) == {"a.toml": "# a.toml", "apis/b.toml": "# apis/b.toml"}


def refused_policies(directory: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        policy_files(str(directory))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_directory_without_policies_is_refused_by_name(tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path / "none"):
        said = refused_policies(directory)
        assert said.startswith("policies.dir: ")
        assert str(directory) in said


def test_a_policies_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.toml").mkdir()
    assert refused_policies(tmp_path) == f"policies.dir: {tmp_path}/a.toml: Is a directory"


def test_a_policies_file_that_is_not_utf_8_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "good.toml").write_text("")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    said = refused_policies(tmp_path)
    assert said.startswith("policies.dir: ")
    assert str(tmp_path / "bad.toml") in said


# The catalogue.


def test_an_api_is_served_when_it_has_an_upstream_and_only_then(configured: Set) -> None:
    catalog = build_catalog(configured(UPSTREAM))
    assert [api.name for api in catalog.apis] == ["zonegate", "cloudflare-dns"]
    assert [api.name for api in build_catalog(configured("")).apis] == ["zonegate"]


def test_an_upstream_whose_api_has_no_file_is_refused_by_its_file_and_key(configured: Set) -> None:
    with pytest.raises(CatalogError) as caught:
        build_catalog(configured("[upstreams.powerbase]\ntargets = ['http://h']"))
    assert "apis/powerbase.toml" in str(caught.value)
    assert "upstreams.powerbase" in str(caught.value)
    assert "cloudflare-dns" in str(caught.value)


def test_a_broken_policies_file_is_refused_by_name(configured: Set, tmp_path: Path) -> None:
    shipped = Path(__file__).parent.parent.parent / "policies"
    copytree(shipped, tmp_path / "policies")
    with (tmp_path / "policies" / "apis" / "billing.toml").open("a") as file:
        file.write("unknown = 1\n")
    with pytest.raises(CatalogError, match=r"^apis/billing\.toml: [^\n]*unknown"):
        build_catalog(configured(f"policies.dir = '{tmp_path / 'policies'}'"))


def test_the_token_api_lives_under_its_prefix_and_may_be_the_admin_listener_s_alone(configured: Set) -> None:
    catalog = build_catalog(configured("listen.prefix = '/api'\nlisten.token_api = false"))
    assert {route.text for route in catalog.admin.routes} >= {"/api/user/tokens", "/api/user/tokens/verify"}
    assert list(catalog.public.routes) == []


# The store.


def test_a_url_is_the_store_s_as_it_stands_and_nobody_watches_it(configured: Set, tmp_path: Path) -> None:
    with ready_store(configured("store.url = 'redis://user:hush@h:6379/1'")) as store:
        assert store.url == "redis://user:hush@h:6379/1"
        assert store.is_running is None
    assert not (tmp_path / "store").exists()


def test_an_embedded_store_runs_as_long_as_it_is_used(configured: Set, tmp_path: Path) -> None:
    with ready_store(configured()) as store:
        assert Path(store.url.removeprefix("unix://")).is_socket()
        assert store.is_running is not None
        assert store.is_running()
    assert not store.is_running()
    assert not (tmp_path / "store" / "server.json").exists()


@pytest.mark.parametrize("url", ["redis://user:hush@h:port/0", "redis://user:hush@h/0?socket_timeout=hush"])
async def test_a_url_that_is_none_is_one_line_without_its_password(configured: Set, url: str) -> None:
    with pytest.raises(SettingsError, match=r"^store\.url: [^\n]+$") as caught:
        async with open_store(configured(), url):
            pass
    assert "hush" not in str(caught.value)


async def test_a_store_that_is_not_there_is_unavailable_when_it_is_asked(configured: Set, tmp_path: Path) -> None:
    async with open_store(configured(), f"unix://{tmp_path}/none.sock") as store:
        with pytest.raises(StoreUnavailable):
            await store.prepare()


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


# The first owner.


async def test_the_first_token_may_do_everything_and_is_the_only_one(configured: Set) -> None:
    settings = configured("store.pepper = ['salt']")
    token, secret, catalog = await asyncio.to_thread(initialise, settings)
    credential = parse_secret(secret.reveal())
    assert credential is not None
    assert credential.token_id == token.id
    assert {group for policy in token.policies for group in policy.permission_groups} == {
        group.id for group in catalog.groups if group.name == "All Permissions"
    }
    with pytest.raises(Conflict):
        await asyncio.to_thread(initialise, settings)
