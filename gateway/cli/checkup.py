"""What `zonegate doctor` looks at: each check is a function that changes nothing and says what it found."""

import asyncio
import os
import resource
import stat
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from gateway.access.ports import StoreUnavailable
from gateway.catalog.document import CatalogError
from gateway.cli.failure import why_not
from gateway.cli.printable import counted
from gateway.settings import Settings, SettingsError
from gateway.start_error import StartError
from gateway.store.redis_store import RedisStore
from gateway.store_access import ask_store
from gateway.telemetry.tracing import is_wanted, obstacle

if TYPE_CHECKING:
    from gateway.app import Plan

_AHEAD: Final = 1.0
"""Seconds by which two clocks of a fleet may well differ."""
_FAR_AHEAD: Final = 30.0
_NO_UPSTREAM: Final = "write [upstreams.NAME] with its targets into the settings; NAME is an API of the policies"
_FILES_BESIDE: Final = 256
"""Descriptors that a worker needs beside its clients' and its upstreams'."""


class Status(StrEnum):
    """How well it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


class Finding(msgspec.Struct, frozen=True):
    """What one check found; `remedy`: what mends it, "" where nothing is to be mended."""

    check: str
    status: Status
    message: str
    remedy: str = ""


class StoreAnswers(msgspec.Struct, frozen=True):
    """What the store said. `evicts`: why it may drop tokens, None: it does not; `replicas`: how many it has, None: it
    does not say; `ahead`: seconds by which our clock is ahead of its (less than 0: behind), at least.
    """

    evicts: str | None
    concerns: tuple[str, ...]
    replicas: int | None
    ahead: float
    has_owner: bool
    frozen: bool


def examine(
    settings: Settings, config: Path | None, values: Sequence[tuple[str, Path]], clock: Callable[[], float]
) -> Iterator[Finding]:
    """What all checks find, one after the other. `config`: the file that the settings came from, if it is known;
    `values`: keys whose value came from a file, and that file; `clock`: Unix seconds by this machine.
    """
    from gateway.app import make_plan  # noqa: PLC0415 - no other command has to wait for all of it

    yield from _program(settings)
    yield from _files(settings, config, values)
    plan: Plan | None = None
    try:
        plan = make_plan(settings)
    except (SettingsError, CatalogError) as error:
        yield Finding("policies", Status.ERROR, str(error), "mend the file that is named; `zonegate policy check`")
    else:
        routes, apis = counted(len(plan.catalog.public.routes), "route"), counted(len(plan.catalog.apis), "API")
        yield Finding("policies", Status.OK, f"{routes}, {apis}")
    yield from _store(settings, clock)
    if plan is not None:
        yield from _upstreams(settings, plan)


def _program(settings: Settings) -> Iterator[Finding]:
    from gateway.app import check_aiohttp  # noqa: PLC0415 - see above

    try:
        yield Finding("program", Status.OK, f"aiohttp {check_aiohttp()} with its C parser")
    except StartError as error:
        yield Finding("program", Status.ERROR, str(error), "pip install --force-reinstall --only-binary :all: aiohttp")
    yield judge_open_files(resource.getrlimit(resource.RLIMIT_NOFILE)[1], settings)
    yield from judge_tracing(os.environ)


def judge_open_files(limit: int, settings: Settings) -> Finding:
    """Whether a worker may have as many connections as the settings let it have. `limit`: the hard one."""
    upstreams = sum(upstream.max_connections * len(upstream.targets) for upstream in settings.upstreams.values())
    wanted = settings.listen.max_connections + upstreams + _FILES_BESIDE
    if limit == resource.RLIM_INFINITY or limit >= wanted:
        return Finding("open files", Status.OK, f"{_limit(limit)} may be open, {wanted} may be wanted")
    remedy = f"ulimit -n {wanted}, or LimitNOFILE={wanted} in the unit, or a smaller listen.max_connections"
    return Finding("open files", Status.WARNING, f"{limit} may be open, and {wanted} may be wanted", remedy)


def judge_tracing(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Whether there will be the traces that `environ` asks for; nothing where it asks for none."""
    if not is_wanted(environ):
        return
    lacking, _, remedy = obstacle(environ).partition(": ")
    if lacking:
        yield Finding("tracing", Status.WARNING, f"asked for, and there are no traces: {lacking}", remedy)
    else:
        yield Finding("tracing", Status.OK, "spans are sent by OTLP over HTTP")


def _limit(limit: int) -> str:
    return "any number" if limit == resource.RLIM_INFINITY else str(limit)


# Files.


def _files(settings: Settings, config: Path | None, values: Sequence[tuple[str, Path]]) -> Iterator[Finding]:
    found = [*_faults_of_files(settings, config), *_faults_of_values(values)]
    yield from found or [Finding("files", Status.OK, "settings, data and keys are their owner's")]


def _faults_of_files(settings: Settings, config: Path | None) -> Iterable[Finding]:
    if config is not None:
        yield from judge_file("settings", config, Status.WARNING)
    if settings.store.url.reveal() == "embedded":
        yield from judge_file("store.data_dir", Path(settings.store.data_dir), Status.ERROR)
    for section in ("listen", "admin"):
        yield from judge_file(f"{section}.tls.key", _path(getattr(settings, section).tls.key), Status.ERROR)
    for name, upstream in settings.upstreams.items():
        yield from judge_file(f"upstreams.{name}.tls.key", _path(upstream.tls.key), Status.ERROR)


def _faults_of_values(values: Iterable[tuple[str, Path]]) -> Iterator[Finding]:
    for key, path in values:
        yield from judge_file(key, path, Status.ERROR)  # whoever keeps a value in a file of its own keeps it a secret


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def judge_file(key: str, path: Path | None, when_read: Status) -> Iterator[Finding]:
    """What is wrong with the rights of the file or directory that `key` names; nothing where it is not there.

    `when_read`: how bad it is that everybody may read it.
    """
    try:
        mode = path.stat().st_mode if path is not None else 0
    except FileNotFoundError:
        return  # the store makes its directory; a missing key is told of where it is read
    except OSError as error:
        yield Finding("files", Status.ERROR, f"{key}: {path}: {error.strerror}", "let the gateway's user read it")
        return
    remedy = f"chmod {'o-rwx' if stat.S_ISDIR(mode) else 'o-rw'} {path}"
    if mode & stat.S_IWOTH:
        yield Finding("files", Status.ERROR, f"{key}: {path}: everybody may write it", remedy)
    elif mode & stat.S_IROTH:
        yield Finding("files", when_read, f"{key}: {path}: everybody may read it", remedy)


# The store.


def _store(settings: Settings, clock: Callable[[], float]) -> Iterator[Finding]:
    where = "embedded" if settings.store.url.reveal() == "embedded" else "of store.url"
    try:
        answers = ask_store(settings, lambda store: _asked(store, clock))
    except (SettingsError, StartError) as error:
        yield Finding("store", Status.ERROR, str(error), "see store.url, store.pepper and store.data_dir")
    except StoreUnavailable as error:
        yield Finding("store", Status.ERROR, f"{where}: {error}", "start it, or mend store.url")
    else:
        yield Finding("store", Status.OK, f"{where}: it answers")
        yield from judge_store(answers, settings)


async def _asked(store: RedisStore, clock: Callable[[], float]) -> StoreAnswers:
    evicts = await store.eviction()
    concerns = [concern for concern in await store.concerns() if evicts is None or concern != evicts]
    before = clock()
    async with store.using() as clients:
        reader: Any = clients.reader
        seconds, micros = await reader.time()
        after = clock()
        info = await reader.info("replication") if store.primary.replicated else {}
        meta = await store.meta(clients)
    there = seconds + micros / 1e6
    # What the way took is nobody's fault: within [before, after] the clocks agree.
    ahead = after - there if after < there else max(0.0, before - there)
    replicas = info.get("connected_slaves")
    owner = await store.first_owner()
    return StoreAnswers(
        evicts,
        tuple(concerns),
        replicas if isinstance(replicas, int) else None,
        ahead,
        has_owner=owner is not None,
        frozen=meta.frozen is not None,
    )


def judge_store(answers: StoreAnswers, settings: Settings) -> Iterator[Finding]:
    """What is to be said of a store that answers."""
    if answers.evicts:
        yield Finding("eviction", Status.ERROR, *_halves(answers.evicts))
    else:
        yield Finding("eviction", Status.OK, "no token is dropped for want of memory")
    yield from (Finding("replicas", Status.WARNING, *_halves(concern)) for concern in answers.concerns)
    wanted = settings.store.write_replicas
    if answers.replicas is not None and answers.replicas < wanted:
        message = f"{answers.replicas} are connected, and store.write_replicas wants {wanted}: changes answer 503"
        yield Finding("replicas", Status.ERROR, message, "bring the replicas back, or lower store.write_replicas")
    elif not answers.concerns:
        yield Finding("replicas", Status.OK, "none" if answers.replicas is None else f"{answers.replicas} connected")
    yield judge_clock(answers.ahead)
    if not answers.has_owner:
        yield Finding("owner", Status.WARNING, "there is no first owner yet", "zonegate init")
    if answers.frozen:
        yield Finding("freeze", Status.WARNING, "frozen: no token works", "zonegate thaw")


def _halves(concern: str) -> tuple[str, str]:
    """What is the case, and the remedy behind the semicolon."""
    message, _, remedy = concern.partition("; ")
    return message, remedy


def judge_clock(ahead: float) -> Finding:
    """What it means that our clock is so many seconds ahead of the store's (less than 0: behind)."""
    message = f"{abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} the store's"
    if abs(ahead) <= _AHEAD:
        return Finding("clock", Status.OK, "within a second of the store's")
    status = Status.ERROR if abs(ahead) > _FAR_AHEAD else Status.WARNING
    remedy = "set both by NTP: not_before and expires_on are judged by this machine's"
    return Finding("clock", status, message, remedy)


# Upstreams.


def _upstreams(settings: Settings, plan: "Plan") -> Iterator[Finding]:
    if not settings.upstreams:
        yield Finding("upstreams", Status.WARNING, "there are none: only the token API is served", _NO_UPSTREAM)
        return
    yield from asyncio.run(_gathered([_reached(name, settings, plan) for name in settings.upstreams]))


async def _gathered(work: Sequence[Awaitable[list[Finding]]]) -> list[Finding]:
    return [finding for found in await asyncio.gather(*work) for finding in found]


async def _reached(name: str, settings: Settings, plan: "Plan") -> list[Finding]:
    """Whether a connection to each target can be had, with TLS where it has that. Nothing is asked of it."""
    upstream, found = settings.upstreams[name], list[Finding]()
    tls = plan.upstream_tls[name]
    for place, text in zip(upstream.places, upstream.targets, strict=True):
        try:
            async with asyncio.timeout(settings.limits.connect_timeout):
                _, writer = await asyncio.open_connection(
                    place.host, place.port, ssl=tls, server_hostname=place.host if tls else None
                )
        except TimeoutError:
            why = f"no connection within {settings.limits.connect_timeout:g} s"
        except OSError as error:
            why = why_not(error)
        else:
            writer.transport.abort()
            found.append(Finding("upstream", Status.OK, f"{name}: {text}: {'TLS' if tls else 'connected'}"))
            continue
        remedy = f"start it, open the way to it, or mend upstreams.{name}.targets" + (" and .tls" if tls else "")
        found.append(Finding("upstream", Status.ERROR, f"{name}: {text}: {why}", remedy))
    return found
