"""A dead token is dead everywhere: the ways in which a cache keeps one alive, each tried on a real Valkey.

A worker here is what a worker process has (connections, memory, feed), several of them in this process.
"""

import asyncio
import json
import ssl
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager
from ipaddress import IPv4Address, ip_address
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from redis import Redis
from support.processes import Upstream, children, clients_of, free_port, until
from support.records import (
    ACCOUNT_A,
    CATALOG,
    EVERYTHING,
    GROUPS,
    NOW,
    ZONE_A,
    ZONE_B,
    group_id,
    owner,
    policy,
    secret_of,
    token,
    token_api_text,
    zone,
)
from support.servers import HOST, ValkeyServer
from support.shared_store import SharingGateway, sharing_gateways
from support.store_contract import BY, ME, SOMEBODY, numbered, read
from support.zone_accounts import MemoryAccounts

from gateway.access.compiled import CompiledOwner, CompiledToken
from gateway.access.decision import Allow
from gateway.access.ports import Action, StoreUnavailable
from gateway.access.principal import Record
from gateway.admin.leaked import LeakedTokens
from gateway.admin.token_api import TokenApi
from gateway.demo.dataset import ZONES
from gateway.proxy.field_line import KnownLines
from gateway.reason import Answer, Deny, Reason
from gateway.server.admission import Admission, Pending
from gateway.server.head import Head, HeadReader
from gateway.server.ports import Call
from gateway.server.shown_lines import ShownLines
from gateway.store import keys
from gateway.store.audit import AuditTrail
from gateway.store.cache import LIFETIME, Reading, TokenCache
from gateway.store.feed import Feed
from gateway.store.lookup import TokenLookup
from gateway.store.primary import Primary
from gateway.store.redis_store import AuditLimits, Imported, Meta, RedisStore
from gateway.store.trust import Sent
from gateway.store.use import Uses
from gateway.store.zones import ZonePins
from gateway.store_url import parse_store_url
from gateway.tokens.digest import NO_PEPPERS
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.secret import Sensitive
from gateway.tokens.token import Status, Token

DEADLINE = 1.0
"""Seconds within which a message has come."""
BEATS = 10.0
"""Seconds within which a worker has asked the store once more, on a busy machine too."""
CLIENT = ip_address("192.0.2.7")
DNS = f"/client/v4/zones/{ZONE_A}/dns_records"


class Hearing(TokenLookup):
    """Keeps what it was told."""

    def __init__(self, store: RedisStore, clock: Callable[[], float]) -> None:
        super().__init__(store, clock=clock)
        self.heard: list[str] = []

    def told(self, what: str) -> None:
        self.heard.append(what)
        super().told(what)


class Worker:
    """What one worker process has. `now`: the wall clock of its decisions."""

    def __init__(self, url: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.now: float = NOW
        self.primary = Primary(parse_store_url(url))
        self.store = RedisStore(self.primary, peppers=(), audit=AuditLimits(1000, 10**9))
        self.lookup = Hearing(self.store, clock)
        self.store.on_change.append(self.lookup.told)
        self.feed = Feed(self.primary, self.store, self.lookup, clock)
        self._told = asyncio.Event()
        self.lookup.on_change.append(self._told.set)
        shown = ShownLines()
        self._reader = HeadReader(
            KnownLines(CATALOG.credential_fields),
            token_fields=CATALOG.credential_fields,
            secret_fields=CATALOG.credential_fields,
            shown=shown.lines,
        )
        self._admission = Admission(
            self.lookup,
            self.store,
            CATALOG.public,
            MemoryAccounts(),
            peppers=NO_PEPPERS,
            clock=lambda: self.now,
            shown=shown,
        )
        numbers = count(2**100)
        self.api = TokenApi(
            self.store,
            GROUPS,
            trail=AuditTrail(self.store),
            uses=Uses(self.store),
            peppers=NO_PEPPERS,
            clock=lambda: self.now,
            randomness=lambda size: next(numbers).to_bytes(size, "big"),
            apis=CATALOG.apis,
            routes=CATALOG.public.routes,
            pins=ZonePins(self.store),
            more=LeakedTokens(self.store, self.lookup, NO_PEPPERS, lambda: self.now, lambda _: None).operations,
        )

    async def run(self) -> None:
        """Read, and be told, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.lookup.run())
            group.create_task(self.feed.run())

    async def until(self, condition: Callable[[], object], within: float = DEADLINE) -> None:
        """Return when `condition` is true, looked at whenever something was told; fails after `within` seconds."""
        async with asyncio.timeout(within):
            while not condition():
                self._told.clear()
                await self._told.wait()

    async def hears(self, what: str) -> None:
        """Return when `what` was told, by whomever."""
        await self.until(lambda: what in self.lookup.heard)

    async def warm(self, token_id: str) -> CompiledToken | None:
        """The token as the worker has it in memory now."""
        found = await self.lookup.fetch(token_id, CLIENT)
        assert not isinstance(found, Deny), found
        assert self.lookup.look(token_id) is found
        return found

    def remembers(self, token_id: str) -> bool:
        """Whether it would let the token in without asking the store."""
        return isinstance(self.lookup.look(token_id), CompiledToken)

    async def admit(
        self, secret: Sensitive, path: str = DNS, method: str = "GET", address: str = str(CLIENT)
    ) -> Allow | Deny:
        """The decision on a request with `secret`."""
        lines = [f"{method} {path} HTTP/1.1", "Host: api.example", f"Authorization: Bearer {secret.reveal()}", "", ""]
        head = self._reader.read("\r\n".join(lines).encode())
        assert isinstance(head, Head)
        decision = self._admission.admit(head, ip_address(address))
        if isinstance(decision, Pending):
            return await self._admission.resolve(decision, head, ip_address(address), "request-0001")
        return decision

    async def refusal(self, secret: Sensitive, path: str = DNS, address: str = str(CLIENT)) -> Reason | None:
        """Why a request with `secret` is refused; None: it is not."""
        decision = await self.admit(secret, path, address=address)
        return decision.reason if isinstance(decision, Deny) else None

    async def call(self, caller: Sensitive, method: str, path: str, body: object = None) -> Answer | Deny:
        """What the token API answers to `caller` in this worker."""
        allow = await self.admit(caller, f"/client/v4{path}", method)
        assert isinstance(allow, Allow), allow
        sent = b"" if body is None else json.dumps(body).encode()
        return await self.api.answer(
            allow, Call(query=b"", body=sent, if_match=(), address=str(CLIENT), request_id="request-0001")
        )


Fleet = Callable[..., AbstractAsyncContextManager[list[Worker]]]


@pytest.fixture
def redis(valkey: ValkeyServer) -> Redis:
    """The server's data, empty at first."""
    client = valkey.client()
    client.flushall()
    return client


@asynccontextmanager
async def started(workers: list[Worker], *, trusted: bool = True) -> AsyncIterator[list[Worker]]:
    """`workers` at work; on entry each trusts what it remembers."""
    async with AsyncExitStack() as stack:
        for worker in workers:
            stack.push_async_callback(worker.store.close)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        tasks = [group.create_task(worker.run()) for worker in workers]
        stack.callback(lambda: [task.cancel() for task in tasks])
        for worker in workers if trusted else ():
            await worker.lookup.settled(BEATS)
            assert worker.lookup.why_not is None
        yield workers


@pytest.fixture
def fleet(valkey: ValkeyServer, redis: Redis) -> Fleet:
    """`async with fleet(3) as workers`: so many on the one server, whose data are empty at first."""
    redis.ping()
    return lambda size=2: started([Worker(valkey.url) for _ in range(size)])


async def eventually(condition: Callable[[], object], within: float = BEATS) -> None:
    """Return when `condition` is true, for what nobody is told of; fails after `within` seconds."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110 - nobody sets an event
            await asyncio.sleep(0.01)


CALLER_ID, TARGET_ID = numbered(1), numbered(2)
CALLER, TARGET = secret_of(CALLER_ID), secret_of(TARGET_ID)
TARGET_TOKEN = token(token_id=TARGET_ID, name="the target")
DISABLED = owner(ref=ME, status=OwnerStatus.DISABLED)
MADE_ID = (2**100 + 1).to_bytes(16, "big").hex()
"""The id of the first token that a worker makes: the number before it is that of its one policy."""
OWNER_TOLD, TARGET_TOLD = f"owner:{ME.key}", f"token:{TARGET_ID}"

Step = Callable[[RedisStore], Awaitable[object]]


async def initialised(store: RedisStore) -> None:
    """An owner with every right, a token with every right, and the target: one for the DNS of zone A."""
    await store.initialise(owner(ref=ME), token(EVERYTHING, token_id=CALLER_ID, name="the caller"), NOW)
    await store.create(TARGET_TOKEN, BY, NOW)


async def caught_up(redis: Redis, *workers: Worker, within: float = BEATS) -> None:
    """Return when each of `workers` was told of all that has happened."""
    number = int(redis.get(keys.SEQUENCE) or 0)  # type: ignore[arg-type]
    for worker in workers:
        await worker.until(lambda: (worker.lookup.trust.last or 0) >= number, within)  # noqa: B023 - awaited at once


# A change that nobody is told of, or the local worker alone.

POLICY = {
    "effect": "allow",
    "permission_groups": [{"id": group_id("DNS Write")}],
    "resources": {zone(ZONE_A): "*"},
}
BODY = {"name": "the target", "policies": [POLICY]}
ELSEWHERE = [{**POLICY, "resources": {zone(ZONE_B): "*"}}]


class ApiCall(NamedTuple):
    """A call of the token API, and why the target is refused after it."""

    route: str
    body: object
    after: Reason | None


CALLS = {
    "a token is made, whose id was known as unknown": ApiCall(
        "POST /user/tokens", {**BODY, "name": "new"}, Reason.UNKNOWN_TOKEN
    ),
    "it is disabled": ApiCall("PUT /user/tokens/{token_id}", {**BODY, "status": "disabled"}, Reason.TOKEN_DISABLED),
    "it is narrowed": ApiCall("PUT /user/tokens/{token_id}", {**BODY, "policies": ELSEWHERE}, Reason.FORBIDDEN),
    "it is kept to a network": ApiCall(
        "PUT /user/tokens/{token_id}",
        {**BODY, "condition": {"request_ip": {"in": ["198.51.100.0/24"]}}},
        Reason.IP_DENIED,
    ),
    "it is put off": ApiCall(
        "PUT /user/tokens/{token_id}", {**BODY, "not_before": "2027-01-15T08:00:01Z"}, Reason.TOKEN_NOT_YET_VALID
    ),
    "it is deleted": ApiCall("DELETE /user/tokens/{token_id}", None, Reason.UNKNOWN_TOKEN),
    "it is rolled": ApiCall("PUT /user/tokens/{token_id}/value", {}, Reason.UNKNOWN_TOKEN),
    "its holder ends it": ApiCall("POST /user/tokens/revoke-self", None, Reason.UNKNOWN_TOKEN),
    "its secret is reported as leaked": ApiCall(
        "POST /user/tokens/leaked", {"secrets": [TARGET.reveal()]}, Reason.TOKEN_DISABLED
    ),
}


def test_every_route_of_the_token_api_that_changes_something_has_a_case() -> None:
    routes = tomllib.loads(token_api_text())["route"]
    changing = {
        f"{method} {route['path']}"
        for route in routes
        for method in route["methods"]
        if method != "GET" and route["operation"] != "explain"
    }
    # An account's tokens are changed by the very operations that a user's are.
    accounts = {each for each in changing if "/accounts/{account_id}/" in each}
    assert {each.replace("/accounts/{account_id}/", "/user/") for each in accounts} <= changing
    cases = {case.route for case in (*CALLS.values(), *OWNER_CALLS.values())}
    assert cases | set(ZONE_CALLS) == changing - accounts


def value(answer: Answer | Deny) -> Sensitive | None:
    """The secret that an answer of the token API shows, if any."""
    assert isinstance(answer, Answer), answer
    result = json.loads(answer.body)["result"]
    shown = result.get("value") if isinstance(result, dict) else result
    return Sensitive(shown) if isinstance(shown, str) else None


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in CALLS.items()])
async def test_what_one_worker_is_asked_to_change_every_worker_obeys(fleet: Fleet, redis: Redis, case: ApiCall) -> None:
    creates = case.route == "POST /user/tokens"
    changed_id = MADE_ID if creates else TARGET_ID
    async with fleet(3) as workers:
        asked, *others = workers
        await initialised(asked.store)
        await caught_up(redis, *workers)
        old = [await worker.warm(changed_id) for worker in workers]
        assert all(found is None if creates else isinstance(found, CompiledToken) for found in old)
        for worker in workers:
            worker.lookup.heard.clear()
        caller = TARGET if case.route.endswith("/revoke-self") else CALLER
        method, path = case.route.replace("{token_id}", TARGET_ID).split()

        answer = await asked.call(caller, method, path, case.body)

        assert asked.lookup.look(changed_id) is not old[0]
        for worker, known in zip(others, old[1:], strict=True):
            await worker.hears(f"token:{changed_id}")
            assert worker.lookup.look(changed_id) is not known
        assert [await worker.refusal(secret_of(changed_id)) for worker in workers] == [case.after] * 3
        if made := value(answer):
            assert [await worker.refusal(made) for worker in workers] == [None] * 3


# What the first owner changes of another one, or of a zone.

THEIR_ID = numbered(3)
THEIRS = secret_of(THEIR_ID)
OWNER_BODY = {"name": "theirs", "policies": [POLICY]}
OWNER_CALLS = {
    "an owner is made, whose token was known as unknown": ApiCall("POST /zonegate/owners", OWNER_BODY, None),
    "an owner is disabled": ApiCall(
        "PUT /zonegate/owners/{owner_id}", {**OWNER_BODY, "status": "disabled"}, Reason.TOKEN_DISABLED
    ),
    "an owner is narrowed": ApiCall(
        "PUT /zonegate/owners/{owner_id}", {**OWNER_BODY, "policies": ELSEWHERE}, Reason.FORBIDDEN
    ),
    "an owner is deleted": ApiCall("DELETE /zonegate/owners/{owner_id}", None, Reason.UNKNOWN_TOKEN),
}
ZONE_CALLS = {
    "PUT /zonegate/zones/{api}/{zone_id}": {"account": ACCOUNT_A},
    "DELETE /zonegate/zones/{api}/{zone_id}": None,
}


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in OWNER_CALLS.items()])
async def test_what_one_worker_is_asked_to_change_of_an_owner_every_worker_obeys(
    fleet: Fleet, redis: Redis, case: ApiCall
) -> None:
    creates = case.route.startswith("POST")
    async with fleet(3) as workers:
        asked = workers[0]
        await initialised(asked.store)
        if not creates:
            await asked.store.create_owner(
                owner(ref=SOMEBODY), token(token_id=THEIR_ID, owner=SOMEBODY, name="theirs"), BY, NOW
            )
        await caught_up(redis, *workers)
        assert [await worker.refusal(THEIRS) for worker in workers] == [Reason.UNKNOWN_TOKEN if creates else None] * 3
        method, path = case.route.replace("{owner_id}", SOMEBODY.id).split()

        answer = await asked.call(CALLER, method, path, case.body)

        assert isinstance(answer, Answer), answer
        await caught_up(redis, *workers)
        secret = value(answer) if creates else THEIRS
        assert secret is not None
        assert [await worker.refusal(secret) for worker in workers] == [case.after] * 3


async def test_what_is_put_down_of_a_zone_every_worker_is_told(fleet: Fleet, redis: Redis) -> None:
    async with fleet(3) as workers:
        await initialised(workers[0].store)
        for route, body in ZONE_CALLS.items():
            await caught_up(redis, *workers)
            for worker in workers:
                worker.lookup.heard.clear()
            method, path = route.replace("{api}", "cloudflare-dns").replace("{zone_id}", ZONE_A).split()
            assert isinstance(await workers[0].call(CALLER, method, path, body), Answer)
            for worker in workers:
                await worker.hears(f"zone:cloudflare-dns:{ZONE_A}")


class StoreCall(NamedTuple):
    """A call of the store, what is told of it, and why the target is refused before and after it (None: it is not).
    `first`: what was done before.
    """

    name: str
    call: Step
    told: str
    before: Reason | None
    after: Reason | None
    first: tuple[Step, ...] = (initialised,)


def with_owner(new: Owner | None, action: Action) -> Step:
    """Put `new` in the place of the owner."""

    async def change(store: RedisStore) -> None:
        found = await store.get_owner(ME)
        await store.change_owner(ME, found[1] if found else b"", new, action, BY, NOW)

    return change


def with_import(document: Token | Owner) -> Step:
    """Put `document` in the place of the one that is there."""

    async def change(store: RedisStore) -> None:
        found: Any
        if isinstance(document, Token):
            found = await store.get(document.id)
            old = found.raw if found else b""
        else:
            found = await store.get_owner(document.ref)
            old = found[1] if found else b""
        assert await store.import_all([Imported(document, msgspec.json.encode(document), 0, old)], NOW) == [True]

    return change


async def deleted(store: RedisStore) -> None:
    await store.delete(await read(store, TARGET_ID), Action.DELETE, BY, NOW)


async def disabled(store: RedisStore) -> None:
    old = await read(store, TARGET_ID)
    await store.replace(old, msgspec.structs.replace(old.token, status=Status.DISABLED), Action.UPDATE, BY, NOW)


STORE_CALLS = {
    "an owner is disabled, and its tokens are not touched": StoreCall(
        "change_owner", with_owner(DISABLED, Action.OWNER_UPDATE), OWNER_TOLD, None, Reason.TOKEN_DISABLED
    ),
    "an owner is narrowed": StoreCall(
        "change_owner",
        with_owner(owner([policy(["DNS Write"], [zone(ZONE_B)])], ref=ME), Action.OWNER_UPDATE),
        OWNER_TOLD,
        None,
        Reason.FORBIDDEN,
    ),
    "an owner is deleted": StoreCall(
        "change_owner", with_owner(None, Action.OWNER_DELETE), OWNER_TOLD, None, Reason.TOKEN_DISABLED
    ),
    "an owner is made, whose token was there before": StoreCall(
        "change_owner",
        with_owner(owner(ref=ME), Action.OWNER_CREATE),
        OWNER_TOLD,
        Reason.TOKEN_DISABLED,
        None,
        (initialised, with_owner(None, Action.OWNER_DELETE)),
    ),
    "the first token is made, whose id was known as unknown": StoreCall(
        "initialise",
        lambda store: store.initialise(owner(ref=ME), TARGET_TOKEN, NOW),
        TARGET_TOLD,
        Reason.UNKNOWN_TOKEN,
        None,
        (),
    ),
    "a disabled owner is recovered": StoreCall(
        "recover",
        lambda store: store.recover(owner(ref=ME), token(EVERYTHING, token_id=numbered(3)), NOW),
        OWNER_TOLD,
        Reason.TOKEN_DISABLED,
        None,
        (initialised, with_owner(DISABLED, Action.OWNER_UPDATE)),
    ),
    "all is frozen": StoreCall("freeze", lambda store: store.freeze(NOW), "freeze", None, Reason.FROZEN),
    "all is thawed": StoreCall(
        "thaw",
        lambda store: store.thaw(NOW),
        "thaw",
        Reason.FROZEN,
        None,
        (initialised, lambda store: store.freeze(NOW)),
    ),
    "another document of a token is imported": StoreCall(
        "import_all",
        with_import(msgspec.structs.replace(TARGET_TOKEN, status=Status.DISABLED)),
        TARGET_TOLD,
        None,
        Reason.TOKEN_DISABLED,
    ),
    "another document of an owner is imported": StoreCall(
        "import_all", with_import(DISABLED), OWNER_TOLD, None, Reason.TOKEN_DISABLED
    ),
    "a token is imported, whose id was known as unknown": StoreCall(
        "import_all", with_import(TARGET_TOKEN), TARGET_TOLD, Reason.UNKNOWN_TOKEN, None, (initialised, deleted)
    ),
    "a token is made, whose id was known as unknown": StoreCall(
        "create",
        lambda store: store.create(TARGET_TOKEN, BY, NOW),
        TARGET_TOLD,
        Reason.UNKNOWN_TOKEN,
        None,
        (initialised, deleted),
    ),
    "an owner is made with its token, whose id was known as unknown": StoreCall(
        "create_owner",
        lambda store: store.create_owner(owner(ref=SOMEBODY), token(token_id=TARGET_ID, owner=SOMEBODY), BY, NOW),
        f"owner:{SOMEBODY.key}",
        Reason.UNKNOWN_TOKEN,
        None,
        (initialised, deleted),
    ),
    "a token is replaced": StoreCall("replace", disabled, TARGET_TOLD, None, Reason.TOKEN_DISABLED),
    "a token is deleted": StoreCall("delete", deleted, TARGET_TOLD, None, Reason.UNKNOWN_TOKEN),
}
CHANGES_NO_DOCUMENT = {
    *("using", "prepare", "meta", "get", "read", "page", "first_owner", "get_owner", "close"),
    *(
        "owners",
        "issued_by",
        "relist",
        "note",
        "denied",
        "concerns",
        "eviction",
        "change_zone",
        "visited",
        "trim_audit",
    ),
}
"""Calls of the store after which every token answers as before: these workers ask nobody where a zone lies."""


def test_every_call_of_the_store_that_changes_a_document_has_a_case() -> None:
    calls = {name for name, found in vars(RedisStore).items() if callable(found) and not name.startswith("_")}
    assert {case.name for case in STORE_CALLS.values()} == calls - CHANGES_NO_DOCUMENT


@pytest.mark.parametrize("case", [pytest.param(case, id=name) for name, case in STORE_CALLS.items()])
async def test_what_changes_through_one_store_every_worker_obeys(fleet: Fleet, redis: Redis, case: StoreCall) -> None:
    async with fleet(3) as workers:
        for step in case.first:
            await step(workers[0].store)
        await caught_up(redis, *workers)
        assert [await worker.refusal(TARGET) for worker in workers] == [case.before] * 3
        for worker in workers:
            worker.lookup.heard.clear()

        await case.call(workers[0].store)

        assert case.told in workers[0].lookup.heard
        for worker in workers:
            await worker.hears(case.told)
        assert [await worker.refusal(TARGET) for worker in workers] == [case.after] * 3


# A read that is under way while its token dies.

AT_ONCE = 20


class Believing(TokenCache):
    """Believes every read, whatever was told while it was under way."""

    def end(self, reading: Reading) -> bool:
        super().end(reading)
        return True


class Race:
    """Tokens that die while workers read them for the first time. `lost`: who still held which when all were told."""

    def __init__(self, redis: Redis, workers: list[Worker]) -> None:
        self._redis = redis
        self._workers = workers
        self._ids: list[str] = []
        self._addresses = (IPv4Address(number) for number in count(1))
        self.lost: set[tuple[int, str]] = set()

    async def run(self, rounds: int) -> None:
        """So many tokens more."""
        for first in range(len(self._ids), len(self._ids) + rounds, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            records = [self._make(number) for number in numbers]
            async with asyncio.TaskGroup() as group:
                for number, record in zip(numbers, records, strict=True):
                    group.create_task(self._kill(number, record))
                    for place in range(len(self._workers)):
                        group.create_task(self._use(number, place))
            await caught_up(self._redis, *self._workers)
            self._look([numbered(number) for number in numbers])
        self._look(self._ids)

    def _make(self, number: int) -> Record:
        """A token whose owner has no other. Nobody has to be told of it: nobody has asked for it yet."""
        self._ids.append(numbered(number))
        its_owner = owner(ref=OwnerRef(OwnerKind.USER, numbered(number)))
        made = token(token_id=numbered(number), owner=its_owner.ref)
        raw = msgspec.json.encode(made)
        documents = {keys.token_key(made.id): raw, keys.owner_key(made.owner.key): msgspec.json.encode(its_owner)}
        self._redis.mset(documents)  # type: ignore[arg-type]
        return Record(made, its_owner, raw)

    async def _kill(self, number: int, record: Record) -> None:
        await turns(number * 7 % 13)
        store = self._workers[number * 5 % len(self._workers)].store
        match number % 3:
            case 0:
                await store.delete(record, Action.DELETE, BY, NOW)
            case 1:
                dead = msgspec.structs.replace(record.token, status=Status.DISABLED)
                await store.replace(record, dead, Action.UPDATE, BY, NOW)
            case _:
                assert record.owner is not None
                ref = record.owner.ref
                dead_owner = msgspec.structs.replace(record.owner, status=OwnerStatus.DISABLED)
                raw = msgspec.json.encode(record.owner)
                await store.change_owner(ref, raw, dead_owner, Action.OWNER_UPDATE, BY, NOW)

    async def _use(self, number: int, place: int) -> None:
        await turns((number + place * 4) % 11)
        # From another address each time: ids that are unknown already are no guesses here.
        await self._workers[place].lookup.fetch(numbered(number), next(self._addresses))

    def _look(self, token_ids: list[str]) -> None:
        for place, worker in enumerate(self._workers):
            for token_id in token_ids:
                found = worker.lookup.look(token_id)
                if isinstance(found, CompiledToken) and found.status is Status.ACTIVE and is_active(found.ceiling):
                    self.lost.add((place, token_id))


def is_active(ceiling: CompiledOwner | None) -> bool:
    return ceiling is not None and ceiling.active


async def turns(number: int) -> None:
    """Let the others run so many times."""
    for _ in range(number):
        await asyncio.sleep(0)


@pytest.mark.parametrize("rounds", [2_000, pytest.param(10_000, marks=pytest.mark.deep)])
async def test_no_read_that_was_under_way_brings_a_dead_token_back(fleet: Fleet, redis: Redis, rounds: int) -> None:
    async with fleet(3) as workers:
        race = Race(redis, workers)
        await race.run(rounds)
        assert race.lost == set()
        assert sum(worker.lookup.counts.reads for worker in workers) >= rounds


async def test_a_memory_that_believes_every_read_brings_dead_tokens_back(fleet: Fleet, redis: Redis) -> None:
    """So the race above is a race."""
    async with fleet(3) as workers:
        for worker in workers:
            worker.lookup.cache = Believing()
        race = Race(redis, workers)
        for _ in range(20):
            await race.run(200)
            if race.lost:
                break
        assert race.lost


# A miss that a replica answers.


async def test_a_worker_whose_server_is_a_replica_trusts_nothing(
    fleet: Fleet, valkey: ValkeyServer, tmp_path: Path
) -> None:
    async with fleet(1) as [primary]:
        await initialised(primary.store)
        valkey.client().config_set("repl-diskless-sync-delay", 0)
        with ValkeyServer(tmp_path) as replica:
            replica.client().replicaof(HOST, valkey.port)
            await eventually(lambda: replica.client().exists(keys.token_key(TARGET_ID)))
            # It lags from now on: it has what the primary has no more.
            replica.client().replicaof(HOST, free_port())
            await deleted(primary.store)
            async with started([Worker(replica.url)], trusted=False) as [worker]:
                await eventually(lambda: "READONLY" in str(worker.lookup.why_not))
                assert await worker.refusal(TARGET) is Reason.STORE_UNAVAILABLE
                assert worker.lookup.counts.reads == 0


async def test_a_worker_whose_server_becomes_a_replica_forgets_before_it_trusts_again(
    fleet: Fleet, redis: Redis
) -> None:
    async with fleet(1) as [worker]:
        await initialised(worker.store)
        assert await worker.refusal(TARGET) is None
        redis.replicaof(HOST, free_port())
        try:
            await eventually(lambda: worker.lookup.why_not)
            assert await worker.refusal(TARGET) is Reason.STORE_UNAVAILABLE
        finally:
            redis.replicaof("NO", "ONE")
        redis.delete(keys.token_key(TARGET_ID))  # nobody is told
        await eventually(lambda: worker.lookup.why_not is None)
        assert await worker.refusal(TARGET) is Reason.UNKNOWN_TOKEN


# Time.


class Hands:
    """A clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def nothing_changed(worker: Worker, now: float) -> None:
    """What a feed says each second to a worker that has none."""
    trust = worker.lookup.trust
    trust.sent(str(now), Sent(at=now, meta=Meta("the same", None, 2), last=trust.last))
    trust.returned(str(now), now)


async def test_no_use_prolongs_what_is_remembered(valkey: ValkeyServer, redis: Redis) -> None:
    clock = Hands()
    worker = Worker(valkey.url, clock)
    worker.lookup.trust.begin()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(worker.store.close)
        group = await stack.enter_async_context(asyncio.TaskGroup())
        stack.callback(group.create_task(worker.lookup.run()).cancel)
        await initialised(worker.store)
        nothing_changed(worker, clock.now)
        assert await worker.refusal(TARGET) is None
        redis.delete(keys.token_key(TARGET_ID))  # nobody is told
        ends = clock.now + LIFETIME
        while clock.now < ends:
            nothing_changed(worker, clock.now)
            assert await worker.refusal(TARGET) is None
            clock.now += 0.5
        nothing_changed(worker, clock.now)
        assert await worker.refusal(TARGET) is Reason.UNKNOWN_TOKEN
        assert worker.lookup.counts.reads == 2


async def test_what_is_remembered_does_not_outlive_the_token(fleet: Fleet) -> None:
    secret = secret_of(numbered(3))
    async with fleet(1) as [worker]:
        await initialised(worker.store)
        await worker.store.create(token(token_id=numbered(3), not_before=NOW, expires_on=NOW + 100), BY, NOW)
        assert await worker.refusal(secret) is None
        reads = worker.lookup.counts.reads
        for now, reason in (
            (NOW - 1, Reason.TOKEN_NOT_YET_VALID),
            (NOW, None),
            (NOW + 99.9, None),
            (NOW + 100, Reason.TOKEN_EXPIRED),
        ):
            worker.now = now
            assert await worker.refusal(secret) is reason
        assert worker.lookup.counts.reads == reads


# A message that is not published, or does not arrive.


async def test_a_number_whose_message_never_comes_makes_every_worker_forget(fleet: Fleet, redis: Redis) -> None:
    async with fleet(2) as workers:
        await initialised(workers[0].store)
        await caught_up(redis, *workers)
        for worker in workers:
            await worker.warm(TARGET_ID)
        redis.delete(keys.token_key(TARGET_ID))
        redis.incr(keys.SEQUENCE)
        for worker in workers:
            await worker.until(lambda: not worker.remembers(TARGET_ID), BEATS)  # noqa: B023 - awaited at once
        assert [await worker.refusal(TARGET) for worker in workers] == [Reason.UNKNOWN_TOKEN] * 2


async def test_the_next_message_tells_that_one_was_lost(fleet: Fleet, redis: Redis) -> None:
    async with fleet(2) as workers:
        await initialised(workers[0].store)
        await caught_up(redis, *workers)
        for worker in workers:
            await worker.warm(TARGET_ID)
        redis.delete(keys.token_key(TARGET_ID))
        redis.incr(keys.SEQUENCE)
        # Another token's: what is said of it is nothing to the target.
        await workers[0].store.create(token(token_id=numbered(3)), BY, NOW)
        await caught_up(redis, *workers, within=DEADLINE)
        assert not any(worker.remembers(TARGET_ID) for worker in workers)
        assert [await worker.refusal(TARGET) for worker in workers] == [Reason.UNKNOWN_TOKEN] * 2


async def test_a_change_whose_message_may_not_be_published_is_not_made(
    fleet: Fleet, valkey: ValkeyServer, redis: Redis
) -> None:
    redis.execute_command("ACL", "SETUSER", "mute", "on", "nopass", "~*", "+@all", "resetchannels")
    mute = Worker(valkey.url.replace("//", "//mute:any@"))
    async with fleet(1) as [worker], AsyncExitStack() as stack:
        stack.push_async_callback(mute.store.close)
        await initialised(worker.store)
        await caught_up(redis, worker)
        await worker.warm(TARGET_ID)
        document = redis.get(keys.token_key(TARGET_ID))
        with pytest.raises(StoreUnavailable) as raised:
            await deleted(mute.store)
        assert raised.value.outcome_unknown
        assert redis.get(keys.token_key(TARGET_ID)) == document
        # Its number was taken before the server refused the message: whoever remembers something reads it again.
        await worker.until(lambda: not worker.remembers(TARGET_ID), BEATS)
        assert await worker.refusal(TARGET) is None
    redis.acl_deluser("mute")


# A client that hangs up in the middle of the change.


async def test_a_change_whose_requester_leaves_is_made_and_told_or_neither(fleet: Fleet, redis: Redis) -> None:
    ids: list[str] = []
    async with fleet(2) as [asked, other]:
        await initialised(asked.store)
        finished = 0
        while finished < 3:  # each leaves a little later than the one before, until three had their answer
            token_id = numbered(100 + len(ids))
            await asked.store.create(token(token_id=token_id), BY, NOW)
            await caught_up(redis, asked, other)
            for worker in (asked, other):
                await worker.warm(token_id)
            async with asyncio.TaskGroup() as group:
                change = group.create_task(
                    asked.call(CALLER, "PUT", f"/user/tokens/{token_id}", {**BODY, "status": "disabled"})
                )
                await turns(len(ids) // 2)
                finished += change.done()
                change.cancel()
            ids.append(token_id)
        # What was sent before the requester left was done before the second of these is answered.
        redis.ping()
        redis.ping()
        await caught_up(redis, asked, other)
        documents = [json.loads(str(redis.get(keys.token_key(token_id)))) for token_id in ids]
        changed = [document["status"] == "disabled" for document in documents]
        assert not all(changed)
        told = [other.lookup.heard.count(f"token:{token_id}") for token_id in ids]
        assert told == [2 if each else 1 for each in changed]  # one was its creation
        expected = [Reason.TOKEN_DISABLED if each else None for each in changed]
        for worker in (asked, other):
            assert [await worker.refusal(secret_of(token_id)) for token_id in ids] == expected


# A cold start.


async def test_of_ten_thousand_tokens_none_is_refused_after_a_cold_start(fleet: Fleet, redis: Redis) -> None:
    ids = [numbered(number) for number in range(10_000)]
    documents = {keys.token_key(each): msgspec.json.encode(token(token_id=each)) for each in ids}
    redis.mset({**documents, keys.owner_key(ME.key): msgspec.json.encode(owner(ref=ME))})
    async with fleet(1) as [worker]:
        for first in range(0, len(ids), 200):
            some = ids[first : first + 200]
            found = await asyncio.gather(*(worker.lookup.fetch(token_id, CLIENT) for token_id in some))
            # A busy machine may keep one waiting for too long; but none is told that it asks for too many.
            refusals = [each for each in found if isinstance(each, Deny)]
            assert refusals == [Deny(reason=Reason.STORE_UNAVAILABLE)] * len(refusals)
        for token_id in ids:
            await worker.warm(token_id)
        assert worker.lookup.counts.limited == 0


# Real programs.

ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]
RECORDS = f"/zones/{ALPHA}/dns_records"
WORKERS = 2
TLS = ssl.create_default_context()
"""Made once: it takes longer than a request, and is not used."""


FIELDS = {"name": "shared", "policies": [{**POLICY, "resources": {zone(ALPHA): "*"}}]}


class Door:
    """A gateway, and connections to it, at least one to each of its workers."""

    def __init__(self, gateway: SharingGateway) -> None:
        self.gateway = gateway
        self._connections: list[httpx.Client] = []
        assert gateway.process is not None
        workers = children(gateway.process.pid)
        assert len(workers) == WORKERS
        until("each worker has one", lambda: self._one_more() and all(clients_of(pid, gateway.port) for pid in workers))

    def _one_more(self) -> bool:
        self._connections.append(httpx.Client(base_url=self.gateway.url, verify=TLS, timeout=20))
        return self.statuses(self.gateway.first, "/user/tokens/verify") == {200}

    def statuses(self, secret: str, path: str = RECORDS) -> set[int]:
        """What `secret` gets over all connections."""
        headers = {"Authorization": f"Bearer {secret}"}
        return {client.get(path, headers=headers).status_code for client in self._connections}

    def close(self) -> None:
        for client in self._connections:
            client.close()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Door, Door, Upstream]]:
    """Two gateways on one store, and the upstream behind both."""
    directory = tmp_path_factory.mktemp("two")
    with ExitStack() as stack:
        store = stack.enter_context(ValkeyServer(directory / "valkey"))
        upstream = Upstream(directory)
        stack.callback(upstream.stop)
        gateways = sharing_gateways(directory, upstream.url, store.url, listen__workers=WORKERS)
        one, other = (Door(gateway) for gateway in stack.enter_context(gateways))
        stack.callback(one.close)
        stack.callback(other.close)
        yield one, other, upstream


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        pytest.param("DELETE", "", None, 401, id="deleted"),
        pytest.param("PUT", "", {**FIELDS, "status": "disabled"}, 401, id="disabled"),
        pytest.param("PUT", "/value", {}, 401, id="rolled"),
        pytest.param(
            "PUT", "", {**FIELDS, "policies": [{**POLICY, "resources": {zone(BETA): "*"}}]}, 403, id="narrowed"
        ),
    ],
)
def test_a_token_that_one_gateway_revokes_each_worker_of_both_refuses(
    two: tuple[Door, Door, Upstream], method: str, path: str, body: object, status: int
) -> None:
    asked, other, upstream = two
    made = asked.gateway.create(**FIELDS)
    assert asked.statuses(made["value"]) == other.statuses(made["value"]) == {200}
    answer = asked.gateway.call(method, f"/user/tokens/{made['id']}{path}", json=body)
    assert answer.status_code == 200, answer.text
    until("the other one refuses it", lambda: other.statuses(made["value"]) == {status}, DEADLINE)
    until("the asked one refuses it", lambda: asked.statuses(made["value"]) == {status}, DEADLINE)
    seen = upstream.size()
    assert asked.statuses(made["value"]) == other.statuses(made["value"]) == {status}
    assert upstream.size() == seen
