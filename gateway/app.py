"""The composition root: the only place where everything meets."""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
import structlog
import uvloop
from aiohttp import http_parser, web

from gateway.access.ports import StoreUnavailable
from gateway.admin.token_api import UserTokenApi
from gateway.catalog.api import Api
from gateway.catalog.catalog import Catalog, load_catalog
from gateway.catalog.route_table import RouteTable
from gateway.proxy.aiohttp_upstream import AiohttpUpstream
from gateway.proxy.forward import Backend, Proxy
from gateway.proxy.header_rules import UpRules, is_never_passed
from gateway.server.admission import Admission
from gateway.server.client_connection import Server
from gateway.server.handler import Door, Handler
from gateway.settings import Settings, SettingsError, Upstream, in_url
from gateway.store.embedded import EmbeddedServer
from gateway.store.redis_store import CHANGE_TIMEOUT, READ_TIMEOUT, AuditLimits, RedisStore, connect
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.health import Health
from gateway.tokens.digest import Peppers
from gateway.tokens.first_owner import first_owner
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Token

log = structlog.get_logger(__name__)

_DAY: Final = 86400
_CUT_OFF: Final = 0.1
"""Seconds for what has not finished when `drain_timeout` was over."""
_WATCH_INTERVAL: Final = 0.5
_OLDEST_AIOHTTP: Final = (3, 14, 4)


Ready = Callable[[], Awaitable[None]]


class StartError(Exception):
    """It cannot start. One line with the remedy."""


class AddressTaken(StartError):  # noqa: N818 - it says what is the case
    """A listener's host and port cannot be had."""


def policy_files(directory: str) -> dict[str, str]:
    """The texts of a policies directory by path; "" is the set that came with the package."""
    if directory:
        root = Path(directory)
    else:
        root = Path(str(resources.files("gateway"))) / "policies"
        if not root.is_dir():  # a checkout
            root = Path(__file__).parent.parent / "policies"
    try:
        paths = sorted([*root.glob("*.toml"), *root.glob("apis/*.toml")])
        if not paths:
            msg = f"policies.dir: {root}: there is no policies file"
            raise SettingsError(msg)
        return {path.relative_to(root).as_posix(): _text(path) for path in paths}
    except OSError as error:
        msg = f"policies.dir: {error.filename or root}: {error.strerror}"
        raise SettingsError(msg) from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        msg = f"policies.dir: {path}: not UTF-8"
        raise SettingsError(msg) from None


def build_catalog(settings: Settings) -> Catalog:
    """The catalogue in force. Raises CatalogError, SettingsError."""
    return load_catalog(
        policy_files(settings.policies.dir),
        resources.files("gateway.catalog").joinpath("token_api.toml").read_text(encoding="utf-8"),
        prefix=settings.listen.prefix,
        served=settings.upstreams.keys(),
        public_token_api=settings.listen.token_api,
    )


class ReadyStore(msgspec.Struct, frozen=True):
    """A store that can be connected to. `is_running`: of the embedded server; others are watched by nobody."""

    url: str
    is_running: Callable[[], bool] | None = None


@contextmanager
def ready_store(settings: Settings) -> Iterator[ReadyStore]:
    """The store of `settings`; starts the embedded server, or finds it, and ends the one that it started."""
    url = settings.store.url.reveal()
    if url != "embedded":
        yield ReadyStore(url)
        return
    server = EmbeddedServer(Path(settings.store.data_dir))
    try:
        yield ReadyStore(server.start(), server.is_running)
    finally:
        server.stop()


@asynccontextmanager
async def open_store(settings: Settings, url: str) -> AsyncIterator[RedisStore]:
    """The store at `url`, closed on the way out."""
    try:
        reader, writer = connect(url, READ_TIMEOUT), connect(url, CHANGE_TIMEOUT)
    except (ValueError, TypeError):  # its text repeats the URL, and with it a password
        msg = "store.url: not a URL of a Redis server (redis://HOST:PORT/0), or it has an option other than db"
        raise SettingsError(msg) from None
    store = RedisStore(
        reader,
        writer,
        peppers=Peppers(settings.store.pepper).keys,
        audit=AuditLimits(settings.audit.max_entries, settings.audit.max_age * _DAY),
    )
    try:
        yield store
    finally:
        await store.close()


def _tls(key: str, upstream: Upstream) -> ssl.SSLContext | None:
    if not upstream.targets[0].startswith("https://"):
        return None
    tls = upstream.tls
    at = f"{key}.tls.ca: {tls.ca}"
    try:
        context = ssl.create_default_context(cafile=tls.ca or None)
        if tls.cert:
            at = f"{key}.tls.cert: {tls.cert}, {tls.key or 'with its key'}"
            context.load_cert_chain(tls.cert, tls.key or None)
    except OSError as error:
        raise SettingsError(f"{at}: {error.strerror or error}") from None
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _credential_fields(settings: Settings, catalog: Catalog) -> frozenset[str]:
    """Lower-case names of all fields that hold a credential of ours or of an upstream: none of a client's goes up."""
    ours = {upstream.credential.header.lower() for upstream in settings.upstreams.values()}
    return catalog.credential_fields | ours


def _check_passed(settings: Settings, credential_fields: frozenset[str]) -> None:
    for name, upstream in settings.upstreams.items():
        for header in upstream.pass_headers:
            if is_never_passed(header.lower(), credential_fields):
                raise SettingsError(f"upstreams.{name}.pass_headers: {header!r} is never passed on")


def _backend(api: Api, settings: Settings, credential_fields: frozenset[str], tls: ssl.SSLContext | None) -> Backend:
    upstream = settings.upstreams[api.name]
    target = upstream.targets[0]
    credential = upstream.credential
    return Backend(
        upstream=AiohttpUpstream(
            target,
            max_connections=upstream.max_connections,
            idle_timeout=upstream.idle_timeout,
            connect_timeout=settings.limits.connect_timeout,
            response_timeout=settings.limits.response_timeout,
            tls=tls,
        ),
        rules=UpRules(
            host=(upstream.host or target.partition("://")[2]).encode("ascii"),
            credential=(credential.header.encode("ascii"), credential.value) if credential.value else None,
            credential_fields=credential_fields,
            passed=frozenset(name.lower() for name in upstream.pass_headers),
        ),
        base_path=tuple(upstream.base_path.encode("ascii").split(b"/")[1:]),
    )


def _check_aiohttp() -> None:
    """The head rules count on what aiohttp's C parser refuses; its Python parser is another one."""
    version = tuple(int(part) for part in aiohttp.__version__.split(".")[:3] if part.isdigit())
    if version < _OLDEST_AIOHTTP or http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        msg = f"aiohttp {aiohttp.__version__} without its C parser: install aiohttp >= 3.14.4 from a wheel"
        raise StartError(msg)


class Gateway:
    """All listeners of one process, over one store."""

    def __init__(self, settings: Settings, catalog: Catalog, store: RedisStore) -> None:
        """Must be made while the loop runs."""
        self._settings = settings
        self._store = store
        self._health = Health(store)
        fields = _credential_fields(settings, catalog)
        _check_passed(settings, fields)
        # All that can fail comes before the first pool is open.
        tls = {name: _tls(f"upstreams.{name}", upstream) for name, upstream in settings.upstreams.items()}
        self._proxy = Proxy(
            {api.name: _backend(api, settings, fields, tls[api.name]) for api in catalog.apis if api.name in tls}
        )
        peppers = Peppers(settings.store.pepper)
        token_api = UserTokenApi(
            store, catalog.groups, peppers=peppers, clock=time.time, randomness=secrets.token_bytes
        )

        limits = settings.limits

        def door(table: RouteTable | None, **rest: Any) -> Door:  # noqa: ANN401 - Door checks them
            return Door(
                admission=Admission(
                    store,
                    table,
                    credential_fields=catalog.credential_fields,
                    peppers=peppers,
                    clock=time.time,
                )
                if table
                else None,
                token_api=token_api,
                access_log=AccessLog(enabled=settings.log.access),
                max_body=limits.max_body,
                body_idle_timeout=limits.body_idle_timeout,
                **rest,
            )

        self._public = door(catalog.public, forwarder=self._proxy, trusted_proxies=settings.trusted_proxies)
        self._admin = door(
            catalog.admin,
            pages=self._health,
            allowed_hosts=frozenset(host.lower() for host in settings.admin.allowed_hosts),
        )
        self._probes = door(None, pages=self._health)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listening, from entry to exit; on the way out what is under way may finish within `drain_timeout`."""
        settings = self._settings
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._proxy.close)
            # The last to listen is the first to stop: probes see the draining of the clients' listener.
            if settings.health.port:
                await self._listen(stack, self._probes, "health", settings.health.host, settings.health.port)
            if settings.admin.enabled:
                await self._listen(stack, self._admin, "admin", settings.admin.host, settings.admin.port)
            await self._listen(stack, self._public, "listen", settings.listen.host, settings.listen.port)
            self._health.why_not = None
            try:
                yield
            finally:
                self._health.why_not = "draining"

    async def _drain(self, site: web.TCPSite, handler: Handler) -> None:
        await site.stop()
        await handler.drain(self._settings.limits.drain_timeout)

    async def _listen(self, stack: AsyncExitStack, door: Door, section: str, host: str, port: int) -> None:
        handler = Handler(door)
        server = Server(
            handler,
            keepalive_timeout=self._settings.limits.keepalive_timeout,
            log_refusal=handler.log_refusal,
        )
        runner = web.ServerRunner(server, shutdown_timeout=_CUT_OFF)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
            stack.push_async_callback(self._drain, site, handler)
        except OSError as error:
            key = "host" if isinstance(error, socket.gaierror) else "port"
            raise AddressTaken(f"{section}.{key}: {host}:{port}: {_why(error)}") from None
        log.info("listening", section=section, url=f"http://{in_url(host)}:{port}")


async def _watch(running: Callable[[], bool], stop: asyncio.Event) -> None:
    """End the gateway when its embedded server has ended: nobody would start that again."""
    while not stop.is_set():
        if not running():
            log.error("the embedded server has ended")
            raise StoreUnavailable("the embedded server has ended, and the gateway with it")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WATCH_INTERVAL):
                await stop.wait()


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or "not a host"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


async def _serve(settings: Settings, catalog: Catalog, found: ReadyStore, ready: Ready | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with open_store(settings, found.url) as store:
        await _claim(store)
        async with Gateway(settings, catalog, store).running():
            log.info("ready", apis=sorted(settings.upstreams))
            if ready is not None:
                await ready()
            await (_watch(found.is_running, stop) if found.is_running else stop.wait())
            log.info("stopping")


async def _claim(store: RedisStore) -> None:
    """Refuse a store that must not be used with these settings; one that is away may come back."""
    try:
        await store.prepare()
    except StoreUnavailable as error:
        log.warning("store unavailable", error=str(error))


def serve(settings: Settings, ready: Ready | None = None) -> None:
    """Run the gateway until SIGINT or SIGTERM; `ready` is awaited once it listens.

    Raises SettingsError, CatalogError, EmbeddedError, StoreRefused, StartError.
    """
    _check_aiohttp()
    catalog = build_catalog(settings)
    with ready_store(settings) as found, asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, catalog, found, ready))


async def _initialise(settings: Settings, catalog: Catalog, url: str, user_id: str) -> tuple[Token, Sensitive]:
    now = time.time()
    owner, token, secret = first_owner(
        catalog.groups, Peppers(settings.store.pepper), user_id, now, secrets.token_bytes
    )
    async with open_store(settings, url) as store:
        await store.prepare()
        await store.initialise(owner, token, now)
    return token, secret


def initialise(settings: Settings) -> tuple[Token, Sensitive, Catalog]:
    """Make the first owner and its token; returns the token and its secret. Raises Conflict when there is an owner,
    and what `serve` raises.
    """
    catalog = build_catalog(settings)
    with ready_store(settings) as found:
        token, secret = asyncio.run(_initialise(settings, catalog, found.url, secrets.token_hex(16)))
    return token, secret, catalog
