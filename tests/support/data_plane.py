"""A gateway inside this process, on an event loop of the asked kind, with a raw upstream on the same loop.

Gateway, upstream and clients of a plane share one thread: what is sent is read before the next step, and no test needs
a clock to know. Planes of other kinds stand beside it, each in a thread of its own, but only one is busy at a time: a
gateway takes its process for its own, and reads all its upstreams into one buffer.
"""

import asyncio
import re
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack, contextmanager
from enum import Enum
from itertools import product
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec
import structlog
import uvloop

from gateway.access.ports import Actor
from gateway.app import Gateway, make_plan, open_listeners
from gateway.policy_files import policy_files
from gateway.settings import Admin, Limits, Listen, Log, Policies, Settings, Store, Upstream, UpstreamCredential
from gateway.store.embedded import EmbeddedServer
from gateway.store.redis_store import RedisStore
from gateway.store_access import open_store
from gateway.tokens.secret import Sensitive
from support.http_cases.case import Case
from support.http_cases.framing import LARGEST_BODY
from support.http_cases.words import ADMIN_ID, GETS_OK, OK, TRUSTED, UPSTREAM_KEYS, ZONE_NAME, passes
from support.http_cases.words import ask as request
from support.processes import free_port
from support.raw_client import Answer, RawClient
from support.raw_connection import PATIENCE, Ended, Events, Pieces
from support.raw_message import Message
from support.raw_upstream import RawUpstream
from support.records import EVERYTHING, ZONE_A, owner, policy, token, zone

T = TypeVar("T")

_APIS = {
    "things": """
name = "things"
prefix = "/v1"
variables = { zone_id = "id", name = "name" }

[[route]]
methods = ["GET"]
path = ""
permission = "any-token"

[[route]]
methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
path = "/zones/{zone_id}/records"
permission = ["DNS Write"]
resource = "zone:{zone_id}"

[[route]]
methods = ["GET"]
path = "/zones/{zone_id}/records/{name}"
permission = ["DNS Write"]
resource = "zone:{zone_id}"

[[route]]
methods = ["OPTIONS"]
path = "/zones/{zone_id}/options"
permission = ["DNS Write"]
resource = "zone:{zone_id}"

[[route]]
methods = ["GET"]
path = "/zones/{zone_id}/socket"
permission = ["DNS Write"]
resource = "zone:{zone_id}"
upgrade = ["websocket"]
""",
    "keyed": """
name = "keyed"
prefix = "/keyed"
credential_headers = ["X-API-Key", "Authorization"]
variables = { zone_id = "id" }

[[route]]
methods = ["GET"]
path = "/zones/{zone_id}/records"
permission = ["DNS Write"]
resource = "zone:{zone_id}"
""",
    "names": """
name = "names"
prefix = "/names"
zone_key = "dns-name"
variables = { zone_id = "dns-name" }

[[route]]
methods = ["GET"]
path = "/{zone_id}/records"
permission = ["DNS Write"]
resource = "zone:{zone_id}"
""",
    "dead": """
name = "dead"
prefix = "/dead"
variables = { zone_id = "id" }

[[route]]
methods = ["GET"]
path = "/zones/{zone_id}/records"
permission = ["DNS Write"]
resource = "zone:{zone_id}"
""",
}
PATIENT = Limits(max_body=LARGEST_BODY)
IMPATIENT = Limits(
    max_body=LARGEST_BODY,
    header_timeout=0.4,
    keepalive_timeout=0.4,
    body_idle_timeout=0.4,
    response_timeout=0.4,
)


_LONGEST = 120
"""Seconds for anything."""
_OF_REQUESTS = re.compile(r"/(gateway/(server|proxy)|aiohttp)/")


class Loop(Enum):
    """Whose event loop."""

    UVLOOP = "uvloop"
    ASYNCIO = "asyncio"


class Way(Enum):
    """How the gateway answers what it could answer at once."""

    AT_ONCE = "at once"
    TASK = "in a task"


_NEW_LOOP: Mapping[Loop, Callable[[], asyncio.AbstractEventLoop]] = MappingProxyType(
    {Loop.UVLOOP: uvloop.new_event_loop, Loop.ASYNCIO: asyncio.new_event_loop}
)


class Transcript(msgspec.Struct, frozen=True):
    """What came to both ends, without what differs from one run to the next: ids and dates."""

    answers: tuple[Answer, ...]
    requests: tuple[Message, ...]
    ended: Ended | None


def _masked(message: Message) -> Message:
    fields = tuple(
        (name, b"..." if name.lower() in (b"x-request-id", b"date") and _is_random(value) else value)
        for name, value in message.fields
        if name.lower() != b"host"
    )
    return msgspec.structs.replace(message, fields=fields)


def _is_random(value: bytes) -> bool:
    return re.fullmatch(rb"[0-9a-f]{32}|.* GMT", value) is not None


def masked_answer(answer: Answer) -> Answer:
    """`answer` without what is new each time: dates, and ids that the gateway made."""
    return Answer(tuple(_masked(interim) for interim in answer.interims), _masked(answer.message))


def write_policies(directory: Path) -> None:
    """Put the shipped permission groups, and the APIs of the table, into `directory`."""
    for name, text in policy_files("").items():
        if "/" not in name:
            (directory / name).write_text(text)
    (directory / "apis").mkdir()
    for name, text in _APIS.items():
        (directory / "apis" / f"{name}.toml").write_text(text)


class Home(msgspec.Struct, frozen=True):
    """What planes share: policies, and a store with the one token."""

    policies: str
    store: str


@contextmanager
def home(directory: Path) -> Iterator[Home]:
    """A real store with the table's token in it, and another one with every right; the table's policies."""
    policies = directory / "policies"
    policies.mkdir()
    write_policies(policies)
    server = EmbeddedServer(directory / "store")
    try:
        found = Home(str(policies), server.start())
        asyncio.run(_fill(found))
        yield found
    finally:
        server.stop()


async def _fill(where: Home) -> None:
    now = int(time.time())
    made = token((policy(["DNS Write"], [zone(ZONE_A), zone(ZONE_NAME)]),), issued_on=now)
    async with open_store(Settings(), where.store) as store:
        await store.prepare()
        await store.initialise(owner(), made, now)
        admin = token(EVERYTHING, token_id=ADMIN_ID, issued_on=now)
        await store.create(admin, Actor(token_id="", owner=admin.owner.key, address="", request_id=""), now)


class DataPlane:
    """A running gateway; `limits` are its settings'."""

    def __init__(self, where: Home, loop: Loop, way: Way, limits: Limits = PATIENT) -> None:
        self.name = f"{loop.value}, {way.value}"
        self.port = free_port()
        self._where = where
        self._kind = loop
        self._way = way
        self._limits = limits
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, name=f"{self.name}, {self.port}", daemon=True)

    def _settings(self, upstream: RawUpstream) -> Settings:
        def at(port: int, name: str, header: str, **rest: Any) -> Upstream:
            key = UPSTREAM_KEYS[name]
            return Upstream(
                targets=(f"http://127.0.0.1:{port}",),
                credential=UpstreamCredential(header=header, value=Sensitive(key)),
                max_connections=4,  # a place that is not given back is missed soon
                **rest,
            )

        return Settings(
            listen=Listen(port=self.port, trusted_proxies=(f"{TRUSTED}/32",)),
            admin=Admin(enabled=False),
            store=Store(url=Sensitive(self._where.store)),
            policies=Policies(dir=self._where.policies),
            limits=self._limits,
            log=Log(format="console"),  # by way of structlog, where `captured_by_thread` hears of it
            upstreams={
                "things": at(upstream.port, "things", "Authorization", base_path="/up/base"),
                "keyed": at(
                    upstream.port, "keyed", "X-API-Key", pass_headers=("Cookie", "Set-Cookie", "X-Original-URL")
                ),
                "names": at(upstream.port, "names", "Authorization", base_path="/dns"),
                "dead": at(free_port(), "things", "Authorization"),
            },
        )

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=_NEW_LOOP[self._kind]) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self.upstream = RawUpstream()
        settings = self._settings(self.upstream)
        async with AsyncExitStack() as stack:
            stack.callback(self.upstream.close)
            store = await stack.enter_async_context(open_store(settings, self._where.store))
            listeners = stack.enter_context(open_listeners(settings))
            gateway = self._gateway(settings, store)
            await stack.enter_async_context(gateway.running(listeners))
            group = await stack.enter_async_context(asyncio.TaskGroup())
            serving = group.create_task(self.upstream.serve())
            # From here on the token is in memory: a request can be answered at once.
            await self._talk(passes("the first", request(), answer=OK, gets=GETS_OK), Pieces.WHOLE)
            self._tasks = len(_tasks_of_requests())
            self._ready.set_result(None)
            await self._stop.wait()
            serving.cancel()

    def _gateway(self, settings: Settings, store: RedisStore) -> Gateway:
        return Gateway(make_plan(settings), store, at_once=self._way is Way.AT_ONCE)

    @property
    def thread(self) -> str:
        """The name of its thread."""
        return self._thread.name

    def start(self) -> None:
        """Start it, and return when it serves."""
        self._thread.start()
        self._ready.result(60)

    def stop(self) -> None:
        """End it, and return when it has ended."""
        if self._ready.done() and self._ready.exception() is None:
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive(), f"{self.name} does not end"

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What `work` comes to on the plane's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_LONGEST)

    def play(self, case: Case, pieces: Pieces) -> Transcript:
        """Go through `case`, both ends sending in such `pieces`; fails where it says something else."""
        return self.run(self._play(case, pieces))

    async def _play(self, case: Case, pieces: Pieces) -> Transcript:
        transcript = await self._talk(case, pieces)
        await self._tidied()
        return transcript

    async def _talk(self, case: Case, pieces: Pieces) -> Transcript:
        events = Events()
        async with self.upstream.playing(case.upstream, pieces, events) as requests:
            client = await RawClient.connect(self.port, pieces, case.source)
            try:
                await client.run(case.client, events)
            finally:
                client.close()
        return Transcript(
            tuple(masked_answer(answer) for answer in client.answers),
            tuple(_masked(message) for message in requests),
            client.ended,
        )

    async def _tidied(self) -> None:
        """No task of the gateway is left that was not there before."""
        deadline = time.monotonic() + PATIENCE
        while len(left := _tasks_of_requests()) > self._tasks:
            assert time.monotonic() < deadline, f"tasks are left: {left}"
            await asyncio.sleep(0)


def _tasks_of_requests() -> list[str]:
    """The tasks of the loop in which requests are answered; those of the store come and go."""
    tasks = ((task, getattr(task.get_coro(), "cr_code", None)) for task in asyncio.all_tasks())
    return [str(task) for task, code in tasks if code is not None and _OF_REQUESTS.search(code.co_filename)]


@contextmanager
def four_planes(where: Home, limits: Limits = PATIENT) -> Iterator[tuple[DataPlane, ...]]:
    """One of each kind."""
    with running(*(DataPlane(where, loop, way, limits) for loop, way in product(Loop, Way))) as planes:
        yield planes


def verdicts(case: Case, planes: Sequence[DataPlane], deliveries: Sequence[Pieces]) -> list[tuple[str, Transcript]]:
    """What came of `case` in each plane and delivery, and where that was. A fault says where it was."""
    found = []
    for plane, pieces in product(planes, deliveries):
        at = f"{plane.name}, {pieces.value}"
        try:
            found.append((at, plane.play(case, pieces)))
        except AssertionError as fault:
            raise AssertionError(f"{case.name} ({at}): {fault}") from None
    return found


def unlike(planes: Sequence[DataPlane]) -> tuple[DataPlane, DataPlane]:
    """Two of `four_planes`, which have neither loop nor way in common: for what takes time."""
    return planes[0], planes[-1]


@contextmanager
def captured_by_thread() -> Iterator[Mapping[str, list[dict[str, Any]]]]:
    """What is logged meanwhile, by the name of the thread (`DataPlane.thread`)."""
    lines: dict[str, list[dict[str, Any]]] = {}

    def capture(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
        lines.setdefault(threading.current_thread().name, []).append(dict(line))
        raise structlog.DropEvent

    # Whoever has set up the logs of this process before may have had each logger keep what it was first used with.
    structlog.reset_defaults()
    for name, module in list(sys.modules.items()):
        if name.startswith("gateway.") and hasattr(module, "log"):
            vars(module.log).pop("bind", None)
    structlog.configure(processors=[capture])
    try:
        yield lines
    finally:
        structlog.reset_defaults()


@contextmanager
def running(*planes: DataPlane) -> Iterator[tuple[DataPlane, ...]]:
    """`planes` run."""
    with ExitStack() as stack:
        for plane in planes:
            stack.callback(plane.stop)
            plane.start()
        yield planes
