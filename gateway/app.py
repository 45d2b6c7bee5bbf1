"""The composition root: the only place where everything meets."""

import asyncio
import gc
import os
import resource
import secrets
import socket
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from importlib import resources
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
import structlog
from aiohttp import http_parser

from gateway.access.ports import StoreUnavailable
from gateway.admin.audit import DeniedCalls
from gateway.admin.explain import Explainer
from gateway.admin.leaked import LeakedTokens
from gateway.admin.openapi import OpenApiPage, describe
from gateway.admin.token_api import TokenApi
from gateway.catalog.api import Api
from gateway.catalog.catalog import Catalog
from gateway.catalog.document import CatalogError
from gateway.catalog.route_table import RouteTable
from gateway.catalog.target import split_target
from gateway.certificate import BadTlsFile
from gateway.dashboard.base_url import base_url
from gateway.dashboard.names import ResourceNames
from gateway.dashboard.pages import Pages
from gateway.dashboard.static_files import StaticFiles, read_static
from gateway.dashboard.target import split_page_target
from gateway.dashboard.token_use import TokenUse
from gateway.policy_files import build_catalog
from gateway.proxy.ask import Ask
from gateway.proxy.deadlines import Deadlines
from gateway.proxy.field_line import KnownLines, Role, plain_spelling, role_of
from gateway.proxy.forward import Backend, Proxy
from gateway.proxy.header_rules import UpRules, is_never_passed
from gateway.proxy.listing import Lists
from gateway.proxy.pool import Pool
from gateway.proxy.relay import AnswerReader, Relay, Where
from gateway.proxy.resolver import ZoneResolver
from gateway.proxy.tls import upstream_context
from gateway.server.admission import Admission
from gateway.server.handler import Door, Handler
from gateway.server.head import HeadReader, Split
from gateway.server.listener import BACKLOG, open_listener, unix_listener
from gateway.server.session import Sessions, session_cookie
from gateway.server.shown_lines import ShownLines
from gateway.server.tls import server_context
from gateway.server.workers import Fleet, Master
from gateway.settings import ListenTls, Settings, SettingsError, Upstream, in_url
from gateway.start_error import AddressTaken, StartError
from gateway.store.audit import AuditTrail
from gateway.store.buckets import Buckets
from gateway.store.ending import ending_soon
from gateway.store.ending_news import EndingNews
from gateway.store.expiry import Sweeper
from gateway.store.feed import Feed
from gateway.store.leases import Leases
from gateway.store.lookup import TokenLookup
from gateway.store.redis_store import RedisStore, StoreRefused
from gateway.store.sessions import StoredSessions
from gateway.store.use import Uses
from gateway.store.zones import ZonePins
from gateway.store_access import open_store, ready_store
from gateway.telemetry.access_log import AccessLog
from gateway.telemetry.board import Board, BoardFault, open_board
from gateway.telemetry.health import Health
from gateway.telemetry.latency import Latencies
from gateway.telemetry.metrics import Metrics
from gateway.telemetry.publisher import Publisher
from gateway.telemetry.redaction import Redaction
from gateway.telemetry.tracing import obstacle, open_spans
from gateway.telemetry.webhook import Webhook
from gateway.tokens.digest import Peppers

log = structlog.get_logger(__name__)

_DAY: Final = 86400
_BOOT_PATIENCE: Final = 1.0
"""Seconds that the first requests are not accepted while the store is looked for; without it they are refused."""
_COLLECT_AFTER: Final = (50_000, 20, 50)
"""Objects that were made and not freed, after which the collector looks at the young ones; how often it does before it
looks at older ones, and at all (Python's own: 700, 10, 10).
"""
_BOARD: Final = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that names the directory in which workers share their numbers, as prometheus_client calls it."""
_TO_END: Final = 5.0
"""Seconds that a worker gets beside `drain_timeout`, to cut off what has not finished and to close what is open."""
_HEARD_WITHIN: Final = 0.1
_OLDEST_AIOHTTP: Final = (3, 14, 4)
_FIXED: Final = (
    "listen.host",
    "listen.port",
    "listen.unix",
    "admin.enabled",
    "admin.host",
    "admin.port",
    "health.host",
    "health.port",
    "store.url",
    "store.data_dir",
    "log.format",
    "log.level",
)
"""What only a restart can change: what the master has opened, and the log that it has set up."""

Answer = TypeVar("Answer")
Ready = Callable[[], None]
Listeners = Mapping[str, Sequence[socket.socket]]
"""The sockets of each section that listens."""


@asynccontextmanager
async def _beside(*work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    """`work` goes on from entry to exit; if some of it fails, so does what goes on beside it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each) for each in work]
        try:
            yield
        finally:
            # Until it is heard: redis-py loses a cancellation now and then (see `store/failure.py`).
            while pending := [task for task in tasks if not task.done()]:
                for task in pending:
                    task.cancel()
                await asyncio.wait(pending, timeout=_HEARD_WITHIN)


@contextmanager
def _naming(section: str) -> Iterator[None]:
    """What cannot be used is a SettingsError that names the key in `section`, and the file."""
    try:
        yield
    except BadTlsFile as error:
        raise SettingsError(f"{section}.{error.setting}: {error}") from None


def _upstream_tls(key: str, upstream: Upstream) -> ssl.SSLContext | None:
    """How to talk to `upstream`; None: plainly."""
    if upstream.places[0].scheme != "https":
        return None
    tls = upstream.tls
    with _naming(f"{key}.tls"):
        return upstream_context(verify=tls.verify, ca=tls.ca, cert=tls.cert, key=tls.key)


def _listener_tls(key: str, tls: ListenTls) -> ssl.SSLContext | None:
    """How to talk to who connects there; None: plainly."""
    if not tls.cert:
        return None
    with _naming(f"{key}.tls"):
        return server_context(tls.cert, tls.key)


def _credential_fields(settings: Settings, catalog: Catalog) -> frozenset[str]:
    """Lower-case names of all fields that hold a credential of ours or of an upstream: none of a client's goes up."""
    ours = {upstream.credential.header.lower() for upstream in settings.upstreams.values()}
    return catalog.credential_fields | ours


_NO_CREDENTIALS: Final = frozenset(
    {Role.HOST, Role.LENGTH, Role.CODING, Role.CONNECTION, Role.EXPECT, Role.UPGRADE, Role.TRAILER}
)
"""Fields in which no credential can be: the reader needs what they say."""


def _check_passed(settings: Settings, credential_fields: frozenset[str]) -> None:
    plain = frozenset(plain_spelling(name.encode()) for name in credential_fields)
    for name in sorted(credential_fields):
        if role_of(plain_spelling(name.encode())) in _NO_CREDENTIALS:
            raise SettingsError(f"{name!r} (credential_headers or credential.header) says how a request is read")
    for name, upstream in settings.upstreams.items():
        for header in upstream.pass_headers:
            if is_never_passed(header.lower().encode(), plain):
                raise SettingsError(f"upstreams.{name}.pass_headers: {header!r} is never passed on")


def _where(api: Api, settings: Settings, credential_fields: frozenset[str], tls: ssl.SSLContext | None) -> Where:
    """The way to the targets of `api`."""
    upstream, limits = settings.upstreams[api.name], settings.limits
    return Where(
        Pool(
            [
                (place.host, place.port, upstream.host or text.partition("://")[2])
                for place, text in zip(upstream.places, upstream.targets, strict=True)
            ],
            name=api.name,
            max_connections=upstream.max_connections,
            idle_timeout=upstream.idle_timeout,
            connect_timeout=limits.connect_timeout,
            wait_timeout=limits.response_timeout,
            tls=tls,
        ),
        AnswerReader(frozenset(name.lower().encode() for name in upstream.pass_headers), credential_fields),
        Deadlines(asyncio.get_running_loop(), limits.response_timeout, Relay.timed_out),
    )


def _backend(api: Api, settings: Settings, credential_fields: frozenset[str], tls: ssl.SSLContext | None) -> Backend:
    upstream = settings.upstreams[api.name]
    credential = upstream.credential
    return Backend(
        where=_where(api, settings, credential_fields, tls),
        rules=UpRules(
            (credential.header, credential.value) if credential.value else None,
            credential_fields,
            upstream.pass_headers,
        ),
        base_path=tuple(upstream.base_path.encode("ascii").split(b"/")[1:]),
    )


class Plan(msgspec.Struct, frozen=True, eq=False):
    """All that a worker has to know, read and checked: it reads no file.

    `upstream_tls`: for each upstream with https, how to talk to it; `listener_tls`: the same for sections that listen;
    `pages`: files of the dashboard by name.
    """

    settings: Settings
    catalog: Catalog
    credential_fields: frozenset[str]
    upstream_tls: Mapping[str, ssl.SSLContext | None]
    listener_tls: Mapping[str, ssl.SSLContext | None]
    pages: Mapping[str, bytes]


def make_plan(settings: Settings) -> Plan:
    """What `settings` come to, with the files that they name. Raises SettingsError, CatalogError."""
    catalog = build_catalog(settings)
    credential_fields = _credential_fields(settings, catalog)
    _check_passed(settings, credential_fields)
    return Plan(
        settings,
        catalog,
        credential_fields,
        {name: _upstream_tls(f"upstreams.{name}", upstream) for name, upstream in settings.upstreams.items()},
        {section: _listener_tls(section, getattr(settings, section).tls) for section in ("listen", "admin")},
        read_static(resources.files("gateway.dashboard") / "static"),
    )


def check_aiohttp() -> str:
    """The version of aiohttp, which is one of those that were tried. Raises StartError.

    No request is parsed by it, but a build without its C parser is another program.
    """
    version = tuple(int(part) for part in aiohttp.__version__.split(".")[:3] if part.isdigit())
    if version < _OLDEST_AIOHTTP or http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        msg = f"aiohttp {aiohttp.__version__} without its C parser: install aiohttp >= 3.14.4 from a wheel"
        raise StartError(msg)
    return aiohttp.__version__


def _let_many_files_be_open(settings: Settings) -> None:
    """The limit of open files is as high as it may be: the low one that most systems begin with is for `select()`."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # "unlimited" is more than macOS lets one ask for
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit != resource.RLIM_INFINITY and limit < settings.listen.max_connections:
        log.warning(
            "fewer files may be open than listen.max_connections lets in: raise the limit (ulimit -n, LimitNOFILE=)",
            limit=limit,
            max_connections=settings.listen.max_connections,
        )


@contextmanager
def open_listeners(settings: Settings) -> Iterator[Listeners]:
    """The sockets of all listeners, closed on the way out. Raises AddressTaken."""
    # The last to listen is the first to stop: probes see the draining of the clients' listener.
    wanted = {
        "health": (settings.health.port != 0, settings.health.host, settings.health.port),
        "admin": (settings.admin.enabled, settings.admin.host, settings.admin.port),
        "listen": (settings.listen.port != 0, settings.listen.host, settings.listen.port),
    }
    with ExitStack() as stack:
        listeners: dict[str, tuple[socket.socket, ...]] = {}
        for section, (is_on, host, port) in wanted.items():
            if not is_on:
                continue
            try:
                listeners[section] = open_listener(host, port)
            except OSError as error:
                key = "host" if isinstance(error, socket.gaierror) else "port"
                raise AddressTaken(f"{section}.{key}: {host}:{port}: {_why(error)}") from None
            for sock in listeners[section]:
                stack.callback(sock.close)
            is_tls = section != "health" and bool(getattr(settings, section).tls.cert)
            log.info("listening", section=section, url=f"http{'s' if is_tls else ''}://{in_url(host)}:{port}")
        if path := settings.listen.unix:
            try:
                listeners["listen"] = (*listeners.get("listen", ()), stack.enter_context(unix_listener(path)))
            except OSError as error:
                raise AddressTaken(f"listen.unix: {path}: {_why(error)}") from None
            log.info("listening", section="listen", unix=path)
        yield listeners


since_boot: Final[Callable[[], float]] = (
    partial(time.clock_gettime, time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic
)
"""Seconds by a clock that never goes back, and goes on while the machine sleeps: what was heard before it slept is not
believed after it. macOS's monotonic clock does so by itself.
"""


class Gateway:
    """All listeners of one process, over one store."""

    def __init__(self, plan: Plan, store: RedisStore, *, board: Board | None = None, at_once: bool = True) -> None:
        """Must be made while the loop runs. `board`: what the workers share, None: this is the only one; `at_once`
        False: every request goes on in a task, for measurements.
        """
        self._settings = settings = plan.settings
        self._tls = plan.listener_tls
        self._ends_at = 0.0
        catalog = plan.catalog
        on_outage, stale_grace = settings.store.on_outage, settings.store.stale_grace
        self._lookup = TokenLookup(
            store,
            clock=since_boot,
            on_outage=on_outage,
            stale_grace=stale_grace,
            rate=settings.limits.rate.of_a_token,
        )
        self._leases = Leases(Buckets(store), clock=since_boot, on_outage=on_outage, stale_grace=stale_grace)
        store.on_change.append(self._lookup.told)
        self._feed = Feed(store.primary, store, self._lookup, since_boot)
        backends = {
            api.name: _backend(api, settings, plan.credential_fields, plan.upstream_tls[api.name])
            for api in catalog.apis
            if api.name in plan.upstream_tls
        }
        self._proxy = Proxy(backends)
        ask = Ask(backends, seconds=settings.limits.response_timeout)
        accounts = ZoneResolver(ask, ZonePins(store), clock=since_boot)
        self._lookup.on_zone.append(accounts.told)
        peppers = Peppers(settings.store.pepper)
        self._uses = Uses(store)
        self._handlers: dict[str, Handler] = {}
        self._logs: list[AccessLog] = []
        self._latencies = Latencies() if settings.shows_metrics else None
        redaction = Redaction(settings.log.redact)
        scheme = "http" if plan.listener_tls["listen"] is None else "https"
        self._spans = spans = open_spans(scheme=scheme, redaction=redaction)
        self._publisher = self._publishing(board, backends)
        metrics = Metrics(self._publisher, lambda: ending_soon(store, time.time()))
        self._health = Health(self._lookup, metrics.page if settings.shows_metrics else None)
        self._sweeper = Sweeper(store, keep=settings.store.keep_expired * _DAY, clock=time.time)
        self._webhook = Webhook(settings.notify.webhook)
        self._ending = EndingNews(store, self._webhook.tell, time.time, lambda: self._webhook.has_room)
        leaked = LeakedTokens(store, self._lookup, peppers, time.time, self._webhook.tell)
        token_api = TokenApi(
            store,
            catalog.groups,
            trail=AuditTrail(store),
            uses=self._uses,
            peppers=peppers,
            clock=time.time,
            randomness=secrets.token_bytes,
            apis=catalog.apis,
            routes=catalog.public.routes,
            accounts=accounts,
            pins=ZonePins(store),
            more={
                **Explainer(
                    store,
                    catalog.groups,
                    catalog.public,
                    accounts,
                    time.time,
                    buckets=Buckets(store),
                    rate=settings.limits.rate.of_a_token,
                ).operations,
                **leaked.operations,
            },
            tell=self._webhook.tell,
        )
        denied_calls = DeniedCalls(store, tuple(settings.listen.prefix.encode().split(b"/")[1:]))

        limits = settings.limits

        def door(table: RouteTable | None, split: Split = split_target, **rest: Any) -> Door:  # noqa: ANN401 - Door checks them
            lines, shown = KnownLines(catalog.credential_fields), ShownLines()
            self._logs.append(
                AccessLog(
                    enabled=settings.log.access and settings.log.level in ("debug", "info"),
                    format_=settings.log.format,
                    count_use=self._uses.count,
                    sample=settings.log.access_sample,
                    latencies=self._latencies,
                    redaction=redaction,
                    spans=rest.get("tracing"),
                )
            )
            return Door(
                admission=Admission(self._lookup, store, table, accounts, peppers=peppers, clock=time.time, shown=shown)
                if table
                else None,
                token_api=token_api,
                access_log=self._logs[-1],
                reader=HeadReader(
                    lines,
                    token_fields=catalog.credential_fields,
                    secret_fields=plan.credential_fields,
                    shown=shown.lines,
                    split=split,
                ),
                lines=lines,
                max_body=limits.max_body,
                body_idle_timeout=limits.body_idle_timeout,
                header_timeout=limits.header_timeout,
                keepalive_timeout=limits.keepalive_timeout,
                refused_calls=denied_calls,
                limits=self._leases,
                at_once=at_once,
                **rest,
            )

        lists = Lists(ask, accounts)
        self._public = door(
            catalog.public,
            forwarder=self._proxy,
            lists=lists,
            trusted_proxies=settings.trusted_proxies,
            trusts_unix=settings.trusts_unix,
            proxy_protocol=settings.listen.proxy_protocol,
            max_connections=settings.listen.max_connections,
            tracing=spans,
        )
        cookie = session_cookie(tls=plan.listener_tls["admin"] is not None)
        description = describe(catalog.admin.routes, settings.listen.prefix, cookie.name)
        self._admin = self._with_dashboard(
            door(
                catalog.admin,
                split=split_page_target,
                pages=OpenApiPage(description, self._health),
                allowed_hosts=frozenset(host.lower() for host in settings.admin.allowed_hosts),
            ),
            plan,
            store,
            lists,
            accounts,
        )
        self._probes = door(None, pages=self._health)

    def _publishing(self, board: Board | None, backends: Mapping[str, Backend]) -> Publisher:
        """What gathers this worker's numbers."""

        def totals() -> dict[str, int]:
            counts = self._lookup.counts
            return {
                "zonegate_cache_hits": counts.hits,
                "zonegate_cache_misses": counts.misses,
                "zonegate_cache_flushes": counts.flushes,
                "zonegate_store_reads": counts.reads,
                "zonegate_store_losses": counts.losses,
                "zonegate_unknown_tokens": counts.unknown,
                "zonegate_guesses_limited": counts.limited,
                "zonegate_limit_leases": self._leases.asked,
                "zonegate_limit_leases_failed": self._leases.failed,
                "zonegate_uses_dropped": self._uses.dropped,
                "zonegate_spans_lost": self._spans.lost if self._spans is not None else 0,
            }

        return Publisher(
            board,
            logs=self._logs,
            latencies=self._latencies or Latencies(),
            totals=totals,
            memory=self._lookup,
            connections=lambda: {section: handler.server.size for section, handler in self._handlers.items()},
            pools=lambda: {name: backend.where.pool.state for name, backend in backends.items()},
        )

    def _with_dashboard(self, admin: Door, plan: Plan, store: RedisStore, lists: Lists, zones: ZoneResolver) -> Door:
        """The door of the admin listener, and the dashboard behind it."""
        settings, catalog = plan.settings, plan.catalog
        if admin.admission is None or self._public.admission is None:
            return admin
        sessions = Sessions(
            StoredSessions(store),
            admin.admission,
            admin.reader,
            prefix=tuple(settings.listen.prefix.encode().split(b"/")[1:]),
            tls=plan.listener_tls["admin"] is not None,
            clock=time.time,
            randomness=secrets.token_bytes,
        )
        names = ResourceNames(
            lists, self._public.admission, catalog.public.routes, zones, scheme=sessions.scheme, clock=since_boot
        )
        pages = Pages(
            StaticFiles(plan.pages),
            sessions,
            names,
            TokenUse(self._uses, time.time),
            store,
            catalog.groups,
            templates=catalog.templates,
            apis=[api.name for api in catalog.apis],
            base_url=partial(base_url, settings),
            clock=time.time,
            randomness=secrets.token_bytes,
        )
        return msgspec.structs.replace(admin, dashboard=pages, sessions=sessions)

    @asynccontextmanager
    async def running(self, listeners: Listeners) -> AsyncIterator[None]:
        """Serving on `listeners`, from entry to exit; on the way out what is under way may finish within
        `drain_timeout`, in the reverse order of the listeners.
        """
        doors = {"listen": self._public, "admin": self._admin, "health": self._probes}
        async with AsyncExitStack() as stack:
            stack.callback(self._publisher.put)  # when all is counted
            if self._spans is not None:
                stack.callback(self._spans.close)  # when the last request has ended
            stack.callback(self._proxy.close)
            await stack.enter_async_context(
                _beside(
                    self._lookup.run(),
                    self._feed.run(),
                    self._leases.run(),
                    self._uses.run(),
                    self._sweeper.run(),
                    *self._telling(),
                    *((self._publisher.run(),) if self._latencies is not None else ()),
                )
            )
            stack.push_async_callback(self._webhook.close)
            stack.push_async_callback(self._leases.close)
            stack.push_async_callback(self._uses.write)  # when the last request has been counted
            await self._lookup.settled(_BOOT_PATIENCE)
            for section, sockets in listeners.items():
                await self._serve(stack, section, doors[section], sockets)
            self._health.why_not = None
            try:
                yield
            finally:
                self._health.why_not = "draining"
                self._ends_at = time.monotonic() + self._settings.limits.drain_timeout

    def _telling(self) -> Sequence[Coroutine[None, None, None]]:
        """What goes on for the sake of the webhook, if there is one."""
        return (self._webhook.run(), self._ending.run()) if self._settings.notify.webhook else ()

    async def _serve(self, stack: AsyncExitStack, section: str, door: Door, sockets: Sequence[socket.socket]) -> None:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        handler = Handler(door, group.create_task, tls=self._tls.get(section) is not None)
        self._handlers[section] = handler
        stack.callback(handler.close)
        stack.push_async_callback(handler.server.shutdown)
        await stack.enter_async_context(_beside(handler.cut_dead()))
        listening: list[_Listening] = []
        stack.push_async_callback(self._drain, listening, handler)
        loop = asyncio.get_running_loop()
        for sock in sockets:
            tls = None if sock.family == socket.AF_UNIX else self._tls.get(section)
            # Who connects has the time of a head for the handshake of TLS, too.
            patience = door.header_timeout if tls is not None else None
            server = await loop.create_server(
                handler.server, sock=sock, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=patience
            )
            listening.append(_Listening(sock.dup(), server, tls, patience))

    async def _drain(self, listening: Sequence["_Listening"], handler: Handler) -> None:
        for each in listening:
            each.server.close()
        await asyncio.sleep(0)  # until the loop has closed them
        async with asyncio.TaskGroup() as group:
            for each in listening:
                for sock in _left_waiting(each.sock):
                    group.create_task(_take_over(handler, sock, each))
        await handler.drain(max(0.0, self._ends_at - time.monotonic()))


class _Listening(msgspec.Struct, frozen=True, eq=False):
    """A listening socket at work. `sock`: a descriptor of our own, which outlives the server's."""

    sock: socket.socket
    server: asyncio.Server
    tls: ssl.SSLContext | None
    patience: float | None


def _left_waiting(listener: socket.socket) -> list[socket.socket]:
    """Those that the kernel has let in, and nobody has taken: when the last descriptor closes, it resets them."""
    found = []
    with listener, suppress(OSError):
        while True:
            found.append(listener.accept()[0])
    return found


async def _take_over(handler: Handler, sock: socket.socket, listening: _Listening) -> None:
    """Whoever has connected to `listening` by `sock` is a client like any other."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        await loop.connect_accepted_socket(
            handler.server, sock, ssl=listening.tls, ssl_handshake_timeout=listening.patience
        )


def _why(error: OSError) -> str:
    if isinstance(error, socket.gaierror):
        return error.strerror or "not a host"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


async def _work(  # noqa: PLR0913 - all that a worker is told
    plan: Plan,
    url: str,
    listeners: Listeners,
    begun: Callable[[], None],
    stop: asyncio.Event,
    *,
    board: Board | None,
    at_once: bool,
) -> None:
    """What a worker does, from its start to its end."""
    structlog.contextvars.bind_contextvars(worker=os.getpid())
    # What was loaded stays, and a request leaves no cycles: the collector has little to look for.
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    async with (
        open_store(plan.settings, url) as store,
        Gateway(plan, store, board=board, at_once=at_once).running(listeners),
    ):
        begun()
        await stop.wait()


async def _claim(settings: Settings, url: str) -> None:
    """Refuse a store that must not be used with these settings; one that is away may come back. What is dangerous
    about it is a warning.
    """
    async with open_store(settings, url) as store:
        try:
            await store.prepare()
            for concern in await store.concerns():
                log.warning("store set up dangerously", concern=concern)
        except StoreUnavailable as error:
            log.warning("store unavailable", error=str(error))


def _keep_fixed(running: Settings, settings: Settings) -> Settings:
    """`settings`, but for what only a restart can change; a line in the log names what that is."""
    changed = []
    for key in _FIXED:
        section, _, name = key.partition(".")
        before, now = getattr(running, section), getattr(settings, section)
        if getattr(before, name) != getattr(now, name):
            changed.append(key)
            kept = msgspec.structs.replace(now, **{name: getattr(before, name)})
            settings = msgspec.structs.replace(settings, **{section: kept})
    if changed:
        log.warning("only a restart changes these settings: the running values stay", keys=changed)
    return settings


@contextmanager
def _board(settings: Settings) -> Iterator[Board | None]:
    """What the workers share their numbers on. Raises StartError where the directory that was asked for cannot be used;
    without any, each worker tells of itself alone.
    """
    asked = os.environ.get(_BOARD, "")
    with ExitStack() as stack:
        board = None
        try:
            board = stack.enter_context(open_board(asked)) if settings.shows_metrics else None
        except BoardFault as fault:
            if asked:
                raise StartError(f"{_BOARD}: {fault}") from None
            log.warning("no directory for metrics: each worker tells of itself alone", error=str(fault))
        yield board


def _take_in(board: Board | None, pid: int) -> None:
    """What the worker of that process id has counted is kept."""
    try:
        if board is not None:
            board.take_in(pid)
    except OSError as error:
        log.warning("metrics of a worker lost", pid=pid, error=error.strerror)


def _fleet(plan: Plan, url: str, listeners: Listeners, *, board: Board | None, at_once: bool) -> Fleet:
    return Fleet(
        size=plan.settings.listen.workers,
        work=partial(_work, plan, url, listeners, board=board, at_once=at_once),
        end_timeout=plan.settings.limits.drain_timeout + _TO_END,
    )


def serve(
    settings: Settings, load: Callable[[], Settings], ready: Ready | None = None, *, at_once: bool = True
) -> None:
    """Run the gateway until SIGINT or SIGTERM; `load` reads the settings anew at SIGHUP, `ready` is called once all
    workers serve; `at_once`: see `Gateway`.

    Raises SettingsError, CatalogError, EmbeddedError, StoreRefused, StartError, WorkersFailed, StoreUnavailable.
    """
    check_aiohttp()
    plan = make_plan(settings)
    _let_many_files_be_open(settings)
    if why_not := obstacle(os.environ):
        log.warning("no traces", error=why_not)
    with ready_store(settings) as found:
        # Nothing that this loop started is left when the workers are forked.
        asyncio.run(_claim(settings, found.url))

        def reread() -> Fleet | None:
            try:
                plan = make_plan(_keep_fixed(settings, load()))
                asyncio.run(_claim(plan.settings, found.url))
            except (SettingsError, CatalogError, StoreRefused) as error:
                log.error("not reloaded: the old settings stay in force", error=str(error))
                return None
            return _fleet(plan, found.url, listeners, board=board, at_once=at_once)

        def watch() -> None:
            if found.is_running is not None and not found.is_running():
                # Nobody would start that again.
                log.error("the embedded server has ended")
                raise StoreUnavailable("the embedded server has ended, and the gateway with it")

        def told() -> None:
            log.info("ready", apis=sorted(settings.upstreams), workers=settings.listen.workers)
            if ready is not None:
                ready()

        with open_listeners(settings) as listeners, _board(settings) as board:
            Master(
                _fleet(plan, found.url, listeners, board=board, at_once=at_once),
                [sock for sockets in listeners.values() for sock in sockets],
                reread=reread,
                watch=watch,
                ready=told,
                ended=partial(_take_in, board),
            ).run()
