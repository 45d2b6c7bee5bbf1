import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
import pytest
from support.records import ACCOUNT_A, ACCOUNT_B, CATALOG, ZONE_A, ZONE_B
from unit.server.wire import Seen, Upstream, backend
from unit.telemetry.captured import captured

from gateway.access.ports import StoreUnavailable
from gateway.access.question import Unknown
from gateway.catalog.api import Api, Variable
from gateway.proxy.ask import Ask
from gateway.proxy.resolver import _MOST_UNKNOWN, Pins, ZoneResolver
from gateway.tokens.grammar import Grammar

API = next(api for api in CATALOG.apis if api.name == "cloudflare-dns")
assert API.resolver is not None
NAMED_API = msgspec.structs.replace(
    API,
    zone_key="dns-name",
    resolver=msgspec.structs.replace(API.resolver, path=(b"zones", Variable("zone_id", Grammar.DNS_NAME))),
)


def says(body: bytes, status: int = 200, *fields: bytes) -> bytes:
    lines = b"".join(b"%b\r\n" % field for field in fields)
    return b"HTTP/1.1 %d X\r\n%bContent-Length: %d\r\n\r\n%b" % (status, lines, len(body), body)


def in_account(account: str) -> bytes:
    return says(json.dumps({"result": {"id": ZONE_A, "account": {"id": account}}}).encode())


class MemoryPins(Pins):
    """What is put down, in memory. `failure`: what the store says instead; `told`: what happens at each look."""

    def __init__(self, pins: Mapping[str, str] | None = None) -> None:
        self.pins = dict(pins or {})
        self.failure: StoreUnavailable | None = None
        self.looks = 0

    async def get(self, api: str, zone: str) -> str | None:
        assert api == API.name
        self.looks += 1
        if self.failure is not None:
            raise self.failure
        return self.pins.get(zone)

    async def among(self, api: str, zones: Sequence[str]) -> dict[str, str]:
        assert api == API.name
        return {zone: account for zone, account in self.pins.items() if zone in zones}


class Resolving:
    """A resolver before an upstream, at a time that a test sets."""

    def __init__(self, ask: Ask, upstream: Upstream, pins: MemoryPins) -> None:
        self.now = 1000.0
        self.upstream = upstream
        self.pins = pins
        self.resolver = ZoneResolver(ask, pins, clock=lambda: self.now)

    async def find(self, zone: str = ZONE_A, api: Api = API) -> str | Unknown:
        return await self.resolver.find(api, zone)

    def known(self, zone: str = ZONE_A) -> str | Unknown | None:
        return self.resolver.known(API, zone)

    @property
    def questions(self) -> int:
        return len(self.upstream.requests)


@asynccontextmanager
async def resolving(
    *answers: bytes,
    by: Callable[[Seen], bytes] | None = None,
    waits_for: asyncio.Event | None = None,
    pins: Mapping[str, str] | None = None,
) -> AsyncIterator[Resolving]:
    upstream = Upstream(*answers, by=by, waits_for=waits_for)
    async with backend(upstream) as behind:
        yield Resolving(Ask({API.name: behind}, seconds=20), upstream, MemoryPins(pins))


async def test_the_upstream_says_in_which_account_a_zone_lies() -> None:
    async with resolving(in_account(ACCOUNT_A)) as at:
        assert at.known() is None
        assert await at.find() == ACCOUNT_A
        assert at.known() == ACCOUNT_A
    assert [seen.target for seen in at.upstream.requests] == [f"/v4/zones/{ZONE_A}".encode()]


async def test_what_it_said_is_believed_for_its_time() -> None:
    assert API.resolver is not None
    async with resolving(in_account(ACCOUNT_A)) as at:
        await at.find()
        at.now += API.resolver.ttl - 1
        assert (await at.find(), at.questions) == (ACCOUNT_A, 1)
        at.now += 1
        assert at.known() is None
        assert (await at.find(), at.questions) == (ACCOUNT_A, 2)


async def test_a_pin_is_believed_and_nobody_else_is_asked() -> None:
    async with resolving(in_account(ACCOUNT_A), pins={ZONE_A: ACCOUNT_B}) as at:
        assert await at.find() == ACCOUNT_B
        assert await at.find() == ACCOUNT_B
        assert (at.questions, at.pins.looks) == (0, 1)
        at.now += 60
        assert at.known() is None


# What it is called.


def called(name: object) -> bytes:
    return says(json.dumps({"result": {"id": ZONE_A, "name": name}}).encode())


async def test_the_upstream_says_what_a_zone_is_called_and_is_believed_for_its_time() -> None:
    assert API.resolver is not None
    async with resolving(called("alpha.example")) as at:
        assert [await at.resolver.name(API, ZONE_A) for _ in range(2)] == ["alpha.example"] * 2
        assert at.questions == 1
        at.now += API.resolver.ttl
        await at.resolver.name(API, ZONE_A)
        assert at.questions == 2


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(b"{}", 404), id="no such zone"),
        pytest.param(says(b"{}", 500), id="a failure"),
        pytest.param(says(b"{"), id="no JSON"),
        pytest.param(called(7), id="no text"),
        pytest.param(says(b"{}"), id="nothing"),
    ],
)
async def test_a_name_that_nobody_says_is_none_and_is_not_asked_for_again_at_once(answer: bytes) -> None:
    async with resolving(answer) as at:
        assert [await at.resolver.name(API, ZONE_A) for _ in range(2)] == ["", ""]
        assert at.questions == 1
        at.now += 30
        await at.resolver.name(API, ZONE_A)
        assert at.questions == 2


async def test_an_api_that_cannot_be_asked_has_no_names() -> None:
    async with resolving(called("alpha.example")) as at:
        silent = msgspec.structs.replace(API, resolver=None)
        assert (await at.resolver.name(silent, ZONE_A), await at.resolver.name(API, "../x"), at.questions) == (
            "",
            "",
            0,
        )


async def test_pins_alone_are_told_without_asking_anybody_else() -> None:
    async with resolving(pins={ZONE_A: ACCOUNT_B}) as at:
        assert await at.resolver.pinned(API, [ZONE_A, ZONE_B]) == {ZONE_A: ACCOUNT_B}
        assert at.questions == 0


async def test_a_change_of_a_pin_is_obeyed_at_once() -> None:
    async with resolving(in_account(ACCOUNT_A)) as at:
        assert await at.find() == ACCOUNT_A
        await at.find(ZONE_B)
        at.pins.pins[ZONE_A] = ACCOUNT_B
        at.resolver.told(f"{API.name}:{ZONE_A}")
        assert at.known() is None
        assert at.known(ZONE_B) == ACCOUNT_A
        assert await at.find() == ACCOUNT_B
        at.resolver.told("")
        assert (at.known(), at.known(ZONE_B)) == (None, None)


@pytest.mark.parametrize("told", [f"{API.name}:{ZONE_A}", ""], ids=["of that pin", "of any"])
async def test_what_was_on_its_way_when_a_pin_changed_is_not_believed(told: str) -> None:
    answers = asyncio.Event()
    async with resolving(in_account(ACCOUNT_A), waits_for=answers) as at:
        first, joined = (asyncio.ensure_future(at.find()) for _ in range(2))
        await at.upstream.begun.wait()
        at.pins.pins[ZONE_A] = ACCOUNT_B
        at.resolver.told(told)
        assert await at.find() == ACCOUNT_B
        answers.set()
        assert [await first, await joined] == [ACCOUNT_B, ACCOUNT_B]
        assert at.known() == ACCOUNT_B


async def test_those_who_ask_together_are_one_question() -> None:
    answers = asyncio.Event()
    async with resolving(in_account(ACCOUNT_A), waits_for=answers) as at:
        asking = [asyncio.ensure_future(at.find()) for _ in range(20)]
        await at.upstream.begun.wait()
        answers.set()
        assert await asyncio.gather(*asking) == [ACCOUNT_A] * 20
        assert (at.questions, at.pins.looks) == (1, 1)


async def test_when_the_one_who_asked_leaves_another_asks() -> None:
    answers = asyncio.Event()
    async with resolving(in_account(ACCOUNT_A), waits_for=answers) as at:
        first, second = (asyncio.ensure_future(at.find()) for _ in range(2))
        await at.upstream.begun.wait()
        first.cancel()
        answers.set()
        assert await second == ACCOUNT_A
        assert at.questions == 2
        assert not at.resolver._asking


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(b"{}", 404), id="404"),
        pytest.param(says(b"{}"), id="no such key"),
        pytest.param(says(b'{"result":null}'), id="a null on the way"),
        pytest.param(says(b'{"result":{"account":{"id":null}}}'), id="a null"),
        pytest.param(says(b'{"result":{"account":{"id":""}}}'), id="an empty one"),
        pytest.param(says(b'{"result":{"account":{"id":7}}}'), id="a number"),
    ],
)
async def test_a_zone_that_is_not_found_is_remembered_for_half_a_minute(answer: bytes) -> None:
    async with resolving(answer) as at:
        assert await at.find() is Unknown.NOT_FOUND
        at.now += 29
        assert (await at.find(), at.questions) == (Unknown.NOT_FOUND, 1)
        at.now += 1
        assert (await at.find(), at.questions) == (Unknown.NOT_FOUND, 2)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(says(b"{}", 500), id="500"),
        pytest.param(says(b"{}", 403), id="403"),
        pytest.param(says(b"{}", 429), id="429"),
        pytest.param(says(b"", 302, b"Location: /elsewhere"), id="a redirect"),
        pytest.param(says(b"<html>"), id="no JSON"),
        pytest.param(says(b'{"result":{"account":{"id":"\xff"}}}'), id="not UTF-8"),
        pytest.param(says(b"{}", 200, b"Content-Encoding: gzip"), id="compressed"),
        pytest.param(says(b" " * 1024 * 1024 + b"{}"), id="too long"),
        pytest.param(b"nonsense\r\n\r\n", id="no HTTP"),
    ],
)
async def test_anything_else_is_remembered_for_a_moment_only(answer: bytes) -> None:
    async with resolving(answer) as at:
        with captured():
            assert await at.find() is Unknown.UNREACHABLE
            assert at.known() is Unknown.UNREACHABLE
            at.now += 1
            assert at.known() is None


async def test_where_pins_cannot_be_read_nothing_is_known() -> None:
    async with resolving(in_account(ACCOUNT_A)) as at:
        at.pins.failure = StoreUnavailable("it is away")
        with captured():
            assert await at.find() is Unknown.UNREACHABLE
        at.now += 1
        at.pins.failure = None
        assert (await at.find(), at.questions) == (ACCOUNT_A, 1)


async def test_an_api_without_a_resolver_has_pins_alone() -> None:
    api = msgspec.structs.replace(API, resolver=None)
    async with resolving(in_account(ACCOUNT_A), pins={ZONE_A: ACCOUNT_B}) as at:
        assert await at.find(api=api) == ACCOUNT_B
        assert await at.find(ZONE_B, api) is Unknown.NOT_FOUND
        assert at.questions == 0


@pytest.mark.parametrize(
    ("zone", "path"),
    [
        pytest.param("alpha.example.", b"/v4/zones/alpha.example.", id="a name"),
        pytest.param("0/25.2.0.192.in-addr.arpa.", b"/v4/zones/0=2F25.2.0.192.in-addr.arpa.", id="one with a slash"),
    ],
)
async def test_a_zone_that_is_a_dns_name_is_asked_for_by_it(zone: str, path: bytes) -> None:
    async with resolving(in_account(ACCOUNT_A)) as at:
        assert await at.find(zone, NAMED_API) == ACCOUNT_A
    assert [seen.target for seen in at.upstream.requests] == [path]


@pytest.mark.parametrize("zone", ["../user", "a b", "a\r\nX: y", "", "a?b", "ä.example.", "=41.example."], ids=repr)
@pytest.mark.parametrize("api", [API, NAMED_API], ids=["ids", "names"])
async def test_what_can_be_no_zone_is_asked_for_nowhere(zone: str, api: Api) -> None:
    async with resolving(in_account(ACCOUNT_A)) as at:
        assert await at.find(zone, api) is Unknown.NOT_FOUND
        assert at.questions == 0


async def test_names_that_somebody_thinks_of_push_out_no_zone_that_is_there() -> None:
    async with resolving(in_account(ACCOUNT_A)) as at:
        await at.find()
        for number in range(_MOST_UNKNOWN + 10):
            await at.find(f"no zone {number}")
        assert len(at.resolver._unknown._held) == _MOST_UNKNOWN
        assert at.known() == ACCOUNT_A
        assert at.known("no zone 0") is None
