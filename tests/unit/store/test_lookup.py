import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import NOW as UNIX_NOW
from support.records import USER, owner, token
from support.store_contract import AN_ACCOUNT, ME, SOMEBODY, numbered
from unit.telemetry.captured import captured

from gateway.access.compiled import CompiledToken, compile_owner
from gateway.access.ports import Miss, StoreUnavailable
from gateway.reason import Deny, Limit, Reason, refuse
from gateway.store.lookup import MOST_UNDER_WAY, PATIENCE, TokenLookup
from gateway.store.redis_store import Meta
from gateway.store.trust import Sent
from gateway.tokens.condition import Address
from gateway.tokens.owner import Owner, OwnerRef, account_ceiling
from gateway.tokens.token import Token

Found = CompiledToken | Deny | None
NOW = 1000.0
UNAVAILABLE, FROZEN = Deny(reason=Reason.STORE_UNAVAILABLE), Deny(reason=Reason.FROZEN)
HERE, THERE = ip_address("192.0.2.7"), ip_address("192.0.2.8")
A, B, C = numbered(1), numbered(2), numbered(3)


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Documents:
    """A store of documents. `open` cleared: reads wait for it, with what they found at their beginning."""

    def __init__(self) -> None:
        self.reads: list[list[str]] = []
        self.failure: StoreUnavailable | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked = asyncio.Event()
        self._tokens: dict[str, Token | StoreUnavailable] = {}
        self._owners: dict[OwnerRef, bytes] = {}

    def hold(self, *tokens: Token, of: Owner | None = None) -> None:
        for each in tokens:
            self._tokens[each.id] = each
        found = of or owner()
        self._owners[found.ref] = msgspec.json.encode(found)

    def spoil(self, token_id: str, *, owner_raw: bytes | None = None) -> None:
        """The token's document cannot be read; or its owner's, which is `owner_raw`."""
        if owner_raw is None:
            self._tokens[token_id] = StoreUnavailable("a document of the type Token cannot be read")
        else:
            held = self._tokens[token_id]
            assert isinstance(held, Token)
            self._owners[held.owner] = owner_raw

    def delete(self, token_id: str) -> None:
        self._tokens.pop(token_id, None)

    @property
    def ids(self) -> list[str]:
        """All ids that were read, in order."""
        return [token_id for read in self.reads for token_id in read]

    async def read(self, token_ids: Sequence[str]) -> list[tuple[Token, bytes, bytes | None] | StoreUnavailable | None]:
        self.reads.append(list(token_ids))
        self.asked.set()
        found = [self.find(token_id) for token_id in token_ids]
        await asyncio.sleep(0)
        await self.open.wait()
        if self.failure is not None:
            raise self.failure
        return found

    def find(self, token_id: str) -> tuple[Token, bytes, bytes | None] | StoreUnavailable | None:
        held = self._tokens.get(token_id)
        if isinstance(held, Token):
            return held, msgspec.json.encode(held), self._owners.get(held.owner)
        return held


class Bench(msgspec.Struct):
    """A look-up, the documents behind it, and its clock."""

    lookup: TokenLookup
    documents: Documents
    clock: Clock
    _sequence: int = 0

    def connect(self) -> None:
        """Subscribed, forgotten, trusted."""
        self.lookup.trust.begin()
        self.beat()

    def beat(self) -> None:
        """A nonce goes out, and is back at once: trusted for three seconds."""
        trust = self.lookup.trust
        trust.sent("nonce", Sent(at=self.clock.now, meta=Meta("g", None, 0), last=trust.last))
        if trust.returned("nonce", self.clock.now):
            self.lookup.flush()
        self.lookup.found("the store")

    def lose(self, reason: str = "the store did not answer") -> None:
        """The connection breaks."""
        self.lookup.trust.end(self.clock.now)
        self.lookup.lost(reason)

    def wait(self, seconds: float) -> None:
        """Time passes, and a nonce comes back each second, so that trust holds."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now = min(end, self.clock.now + 1)
            self.beat()

    async def fetch(self, token_id: str = A, address: Address | None = HERE) -> Found:
        """As a request does: look, then fetch."""
        found = self.lookup.look(token_id)
        return await self.lookup.fetch(token_id, address) if isinstance(found, Miss) else found

    async def known(self, *token_ids: str) -> None:
        """The tokens are in memory."""
        for token_id in token_ids:
            assert isinstance(await self.fetch(token_id), CompiledToken)


@asynccontextmanager
async def working(**options: Any) -> AsyncIterator[Bench]:
    """A look-up whose reader works, not connected; three tokens are there, A and B of one owner."""
    documents, clock = Documents(), Clock()
    documents.hold(token(token_id=A), token(token_id=B))
    documents.hold(token(token_id=C, owner=SOMEBODY), of=owner(ref=SOMEBODY))
    bench = Bench(TokenLookup(documents, clock=clock, **options), documents, clock)
    async with asyncio.TaskGroup() as group:
        reader = group.create_task(bench.lookup.run())
        yield bench
        reader.cancel()


@pytest.fixture
async def patient() -> AsyncIterator[Bench]:
    """A look-up that is trusted, and whose requests wait for as long as it takes."""
    async with working(patience=60) as found:
        found.connect()
        yield found


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    """A look-up that is trusted."""
    async with working() as found:
        found.connect()
        yield found


@pytest.fixture
async def stale() -> AsyncIterator[Bench]:
    """A look-up that answers out of its memory for 30 s after trust was lost."""
    async with working(on_outage="serve-cached", stale_grace=30.0) as found:
        found.connect()
        yield found


# Hits and misses.


async def test_a_hit_reads_nothing(bench: Bench) -> None:
    assert bench.lookup.look(A) is Miss.MISS
    found = await bench.fetch(A)
    assert isinstance(found, CompiledToken)
    assert found.id == A
    assert found.ceiling is not None
    assert [bench.lookup.look(A) for _ in range(3)] == [found] * 3
    assert bench.documents.ids == [A]


async def test_a_token_whose_owner_is_gone_has_no_ceiling(bench: Bench) -> None:
    bench.documents.hold(token(token_id=A, owner=OwnerRef(ME.kind, "8" * 32)))
    found = await bench.fetch(A)
    assert isinstance(found, CompiledToken)
    assert found.ceiling is None


async def test_concurrent_misses_of_one_id_are_one_read(bench: Bench) -> None:
    found = await asyncio.gather(*(bench.fetch(each) for each in (A, A, B, A, B)))
    assert sorted(bench.documents.ids) == [A, B]
    assert found[0] is found[1] is found[3]
    assert found[2] is found[4]


async def test_who_comes_while_a_read_is_under_way_joins_it(bench: Bench) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(bench.fetch())
        await bench.documents.asked.wait()
        second = group.create_task(bench.fetch())
        await asyncio.sleep(0)
        bench.documents.open.set()
    assert first.result() is second.result()
    assert bench.documents.ids == [A]


@pytest.mark.parametrize("leaver", [0, 1, 2])
async def test_a_requester_that_leaves_cancels_no_read(bench: Bench, leaver: int) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        requests = [group.create_task(bench.fetch()) for _ in range(3)]
        await bench.documents.asked.wait()
        requests.pop(leaver).cancel()
        await asyncio.sleep(0)
        bench.documents.open.set()
    found = [request.result() for request in requests]
    assert all(isinstance(each, CompiledToken) for each in found)
    assert bench.lookup.look(A) is found[0]
    assert bench.documents.ids == [A]


async def test_a_read_that_all_requesters_have_left_is_remembered_all_the_same(bench: Bench) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        request = group.create_task(bench.fetch())
        await bench.documents.asked.wait()
        request.cancel()
    bench.documents.open.set()
    assert isinstance(await bench.fetch(), CompiledToken)
    assert bench.documents.ids == [A]


async def test_at_most_64_ids_are_read_at_once_and_in_the_order_in_which_they_were_wanted(
    patient: Bench,
) -> None:
    bench = patient
    names = [numbered(number) for number in range(100, 300)]
    bench.documents.hold(*(token(token_id=name) for name in names))
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(bench.fetch(A))
        await bench.documents.asked.wait()
        for name in names:
            group.create_task(bench.fetch(name))
        await asyncio.sleep(0)
        bench.documents.open.set()
    assert isinstance(first.result(), CompiledToken)
    assert (MOST_UNDER_WAY, [len(read) for read in bench.documents.reads]) == (64, [1, 64, 64, 64, 8])
    assert bench.documents.ids == [A, *names]


# A read during which something changed.

SPOILING: dict[str, Callable[[Bench], None]] = {
    "the token": lambda bench: bench.lookup.told(f"token:{A}"),
    "its owner": lambda bench: bench.lookup.told(f"owner:{ME.key}"),
    "any owner": lambda bench: bench.lookup.told(f"owner:{SOMEBODY.key}"),
    "something that only a later version knows": lambda bench: bench.lookup.told("weather:x"),
    "everything": lambda bench: bench.lookup.flush(),
}


def reconnect(bench: Bench) -> None:
    bench.lose()
    bench.connect()


@pytest.mark.parametrize(
    "happens",
    [
        *(pytest.param(tell, id=name) for name, tell in SPOILING.items()),
        pytest.param(reconnect, id="the connection"),
    ],
)
async def test_a_read_that_may_have_missed_a_change_is_not_believed_and_is_done_again(
    bench: Bench, happens: Callable[[Bench], None]
) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        requests = [group.create_task(bench.fetch()) for _ in range(2)]
        await bench.documents.asked.wait()  # the old document is on its way
        bench.documents.hold(token(token_id=A, expires_on=UNIX_NOW))
        happens(bench)
        bench.documents.open.set()
    found = [request.result() for request in requests]
    assert [each.expires_on for each in found if isinstance(each, CompiledToken)] == [UNIX_NOW] * 2
    assert bench.lookup.look(A) is found[0] is found[1]
    assert bench.documents.ids == [A, A]


async def test_who_comes_after_a_change_does_not_join_a_read_from_before_it(bench: Bench) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.fetch())
        await bench.documents.asked.wait()
        bench.documents.delete(A)
        bench.lookup.told(f"token:{A}")
        late = group.create_task(bench.fetch())
        await asyncio.sleep(0)
        bench.documents.open.set()
    assert late.result() is None
    assert bench.lookup.look(A) is None


async def test_a_read_is_believed_though_another_token_has_changed(bench: Bench) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.fetch(A))
        await bench.documents.asked.wait()
        bench.lookup.told(f"token:{B}")
        bench.documents.open.set()
    assert isinstance(bench.lookup.look(A), CompiledToken)
    assert bench.documents.ids == [A]


async def test_an_unknown_id_is_not_believed_unknown_if_it_was_made_meanwhile(bench: Bench) -> None:
    new = numbered(9)
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        request = group.create_task(bench.fetch(new))
        await bench.documents.asked.wait()
        bench.documents.hold(token(token_id=new))
        bench.lookup.told(f"token:{new}")
        bench.documents.open.set()
    assert isinstance(request.result(), CompiledToken)


@pytest.mark.parametrize("how", ["it broke", "it lapsed"])
async def test_a_read_that_ends_when_nothing_is_believed_is_refused_and_not_remembered(bench: Bench, how: str) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        request = group.create_task(bench.fetch())
        await bench.documents.asked.wait()
        if how == "it broke":
            bench.lose()
        bench.clock.now += 4
        bench.documents.open.set()
    assert request.result() == UNAVAILABLE
    bench.connect()
    assert bench.lookup.look(A) is Miss.MISS


# What is told.


@pytest.mark.parametrize(
    ("what", "forgotten"),
    [
        pytest.param(f"token:{A}", [A], id="a token"),
        pytest.param(f"token:{numbered(9)}", [], id="an unknown token"),
        pytest.param(f"owner:{ME.key}", [A, B], id="an owner, with all its tokens"),
        pytest.param(f"owner:{SOMEBODY.key}", [C], id="another owner"),
        pytest.param(f"owner:account:{USER}", [], id="an account of the same id"),
        pytest.param("freeze", [], id="a freeze"),
        pytest.param("zone:powerdns:alpha.example.", [], id="a zone"),
        pytest.param("weather:x", [A, B, C], id="what only a later version knows"),
        pytest.param("", [A, B, C], id="nothing"),
        pytest.param("token", [], id="a token without a name"),
        pytest.param("TOKEN:" + A, [A, B, C], id="in capitals"),
    ],
)
async def test_a_message_forgets_exactly_what_it_is_about(bench: Bench, what: str, forgotten: list[str]) -> None:
    await bench.known(A, B, C)
    told = []
    bench.lookup.on_change.append(lambda: told.append(what))
    bench.lookup.told(what)
    assert told
    bench.lookup.frozen = False
    assert [each for each in (A, B, C) if bench.lookup.look(each) is Miss.MISS] == forgotten


async def test_a_zone_that_has_changed_is_told_by_its_name_and_a_flush_tells_that_any_may_have(bench: Bench) -> None:
    told: list[str] = []
    bench.lookup.on_zone.append(told.append)
    for what in ("zone:powerdns:alpha.example.", f"token:{A}", f"owner:{ME.key}", "weather:x"):
        bench.lookup.told(what)
    assert told == ["powerdns:alpha.example.", ""]
    bench.lookup.flush()
    assert told[2:] == [""]


async def test_an_account_without_a_record_owns_itself_and_its_zones(bench: Bench) -> None:
    bench.documents.hold(token(token_id=B, owner=AN_ACCOUNT))
    found = await bench.fetch(B)
    assert isinstance(found, CompiledToken)
    assert found.ceiling == compile_owner(owner(account_ceiling(AN_ACCOUNT), ref=AN_ACCOUNT))


async def test_a_changed_token_is_read_again(bench: Bench) -> None:
    await bench.known(A)
    bench.documents.hold(token(token_id=A, expires_on=UNIX_NOW))
    bench.lookup.told(f"token:{A}")
    found = await bench.fetch(A)
    assert isinstance(found, CompiledToken)
    assert found.expires_on == UNIX_NOW


async def test_a_changed_owner_is_the_ceiling_of_all_its_tokens(bench: Bench) -> None:
    await bench.known(A, B)
    bench.documents.hold(of=owner([]))
    bench.lookup.told(f"owner:{ME.key}")
    found = [await bench.fetch(each) for each in (A, B)]
    ceilings = [each.ceiling for each in found if isinstance(each, CompiledToken)]
    assert ceilings[0] is ceilings[1]
    assert ceilings[0] is not None
    assert ceilings[0].rights.allows == 0


async def test_a_freeze_refuses_every_token_and_a_thaw_ends_it(bench: Bench) -> None:
    await bench.known(A)
    bench.lookup.told("freeze")
    assert [bench.lookup.look(each) for each in (A, B, numbered(9))] == [FROZEN] * 3
    assert await bench.lookup.fetch(B, HERE) == FROZEN
    bench.lookup.told("thaw")
    assert isinstance(bench.lookup.look(A), CompiledToken)
    assert bench.documents.ids == [A]


async def test_a_freeze_reaches_a_request_that_waits_for_its_token(bench: Bench) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        request = group.create_task(bench.fetch())
        await bench.documents.asked.wait()
        bench.lookup.told("freeze")
        bench.lookup.told(f"token:{A}")
        bench.documents.open.set()
    assert request.result() == FROZEN


# Age.


async def test_no_use_makes_an_entry_older_than_a_minute(bench: Bench) -> None:
    await bench.known(A)
    bench.documents.hold(token(token_id=A, expires_on=UNIX_NOW))  # a change that nobody told of
    for _ in range(59):
        bench.wait(1)
        assert isinstance(bench.lookup.look(A), CompiledToken)
    assert bench.documents.ids == [A]
    bench.wait(1)
    found = await bench.fetch(A)
    assert isinstance(found, CompiledToken)
    assert found.expires_on == UNIX_NOW
    assert bench.documents.ids == [A, A]


async def test_an_unknown_id_is_remembered_for_a_minute_or_until_it_is_told_of(bench: Bench) -> None:
    new = numbered(9)
    assert await bench.fetch(new) is None
    assert bench.lookup.look(new) is None
    bench.wait(59)
    assert bench.lookup.look(new) is None
    bench.wait(1)
    assert await bench.fetch(new) is None
    assert bench.documents.ids == [new, new]
    bench.documents.hold(token(token_id=new))
    bench.lookup.told(f"token:{new}")
    assert isinstance(await bench.fetch(new), CompiledToken)


async def test_a_deleted_token_is_known_as_unknown(bench: Bench) -> None:
    await bench.known(A)
    bench.documents.delete(A)
    bench.lookup.told(f"token:{A}")
    assert await bench.fetch(A) is None
    assert bench.lookup.look(A) is None


# What cannot be read.

UNREADABLE: dict[str, Callable[[Documents], None]] = {
    "its document": lambda documents: documents.spoil(A),
    "its condition": lambda documents: documents.hold(token(token_id=A, request_ip=["junk"])),
    "its owner's document": lambda documents: documents.spoil(A, owner_raw=b"{"),
    "its owner's document, which is empty": lambda documents: documents.spoil(A, owner_raw=b""),
    "its owner's document, which is another's": lambda documents: documents.spoil(
        A, owner_raw=msgspec.json.encode(owner(ref=SOMEBODY))
    ),
}


@pytest.mark.parametrize("spoil", [pytest.param(spoil, id=name) for name, spoil in UNREADABLE.items()])
async def test_what_cannot_be_read_is_an_outage_for_a_second_and_no_worse_for_others(
    bench: Bench, spoil: Callable[[Documents], None]
) -> None:
    spoil(bench.documents)
    with captured() as logs:
        found = await asyncio.gather(bench.fetch(A), bench.fetch(C), bench.fetch(numbered(9)))
    assert bench.documents.reads == [[A, C, numbered(9)]]
    assert (found[0], found[2]) == (UNAVAILABLE, None)
    assert isinstance(found[1], CompiledToken)
    assert [(each["event"], each["token"]) for each in logs] == [("record unreadable", A)]
    assert bench.lookup.look(A) == UNAVAILABLE
    bench.documents.hold(token(token_id=A))
    bench.wait(0.9)
    assert bench.lookup.look(A) == UNAVAILABLE
    bench.wait(0.1)
    assert isinstance(await bench.fetch(A), CompiledToken)


async def test_a_read_that_fails_is_an_outage_for_who_waited_and_is_not_remembered(bench: Bench) -> None:
    bench.documents.failure = StoreUnavailable("the store did not answer")
    with captured() as logs:
        assert await asyncio.gather(bench.fetch(A), bench.fetch(B)) == [UNAVAILABLE] * 2
    assert [each["event"] for each in logs] == ["tokens not read"]
    bench.documents.failure = None
    assert isinstance(await bench.fetch(A), CompiledToken)


async def test_a_read_that_fails_with_its_connection_is_done_again_on_the_next_one(bench: Bench) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        request = group.create_task(bench.fetch())
        await bench.documents.asked.wait()
        bench.documents.failure = StoreUnavailable("the store did not answer")
        bench.lose()
        bench.documents.open.set()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        bench.documents.failure = None
        bench.connect()
    assert isinstance(request.result(), CompiledToken)
    assert bench.documents.ids == [A, A]


async def test_a_read_that_fails_does_not_end_what_is_known(bench: Bench) -> None:
    await bench.known(A)
    bench.documents.failure = StoreUnavailable("the store did not answer")
    assert await bench.fetch(B) == UNAVAILABLE
    assert isinstance(bench.lookup.look(A), CompiledToken)


# Waiting.


async def test_who_has_waited_for_half_a_second_is_refused_and_the_read_goes_on(bench: Bench) -> None:
    assert PATIENCE == 0.5
    bench.documents.open.clear()
    assert await bench.fetch(A) == UNAVAILABLE
    bench.documents.open.set()
    assert isinstance(await bench.fetch(A), CompiledToken)
    assert bench.documents.ids == [A]


async def test_what_nobody_waits_for_any_more_is_not_read(bench: Bench) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.fetch(A))
        await bench.documents.asked.wait()
        queued = group.create_task(bench.fetch(B))
        await asyncio.sleep(0)
        bench.wait(0.3)
        joined = group.create_task(bench.fetch(C))
        await asyncio.sleep(0)
        bench.wait(0.2)
        bench.documents.open.set()
    assert queued.result() == UNAVAILABLE
    assert isinstance(joined.result(), CompiledToken)
    assert bench.documents.ids == [A, C]
    assert isinstance(await bench.fetch(B), CompiledToken)


async def test_who_joins_a_read_that_waits_makes_it_worth_reading(bench: Bench) -> None:
    bench.documents.open.clear()
    async with asyncio.TaskGroup() as group:
        group.create_task(bench.fetch(A))
        await bench.documents.asked.wait()
        group.create_task(bench.fetch(B))
        await asyncio.sleep(0)
        bench.wait(0.4)
        joined = group.create_task(bench.fetch(B))
        await asyncio.sleep(0)
        bench.wait(0.2)
        bench.documents.open.set()
    assert isinstance(joined.result(), CompiledToken)
    assert bench.documents.ids == [A, B]


# Not trusted.


async def test_before_the_first_trust_everything_is_refused_at_once() -> None:
    async with working() as bench:
        assert bench.lookup.look(A) == UNAVAILABLE
        assert await bench.lookup.fetch(A, HERE) == UNAVAILABLE
        assert bench.documents.ids == []


async def test_when_answers_stop_coming_known_tokens_are_refused_after_three_seconds(bench: Bench) -> None:
    await bench.known(A)
    bench.clock.now += 2.9
    assert isinstance(bench.lookup.look(A), CompiledToken)
    bench.clock.now += 0.1
    assert [bench.lookup.look(each) for each in (A, B, numbered(9))] == [UNAVAILABLE] * 3
    assert bench.documents.ids == [A]


async def test_when_a_connection_breaks_a_request_waits_for_the_next_one(bench: Bench) -> None:
    await bench.known(A)
    bench.lose()
    async with asyncio.TaskGroup() as group:
        requests = [group.create_task(bench.fetch(each)) for each in (A, B, numbered(9))]
        await asyncio.sleep(0)
        bench.connect()
    found = [request.result() for request in requests]
    assert [isinstance(each, CompiledToken) for each in found] == [True, True, False]
    assert found[2] is None
    assert bench.documents.ids == [A, A, B, numbered(9)]  # what was known was forgotten


async def test_when_the_next_connection_does_not_come_in_time_it_is_refused(bench: Bench) -> None:
    await bench.known(A)
    bench.lose()
    assert await bench.fetch(A) == UNAVAILABLE
    bench.clock.now += PATIENCE
    assert bench.lookup.look(A) == UNAVAILABLE


async def test_a_false_alarm_wakes_nobody_for_good(bench: Bench) -> None:
    bench.lose()
    async with asyncio.TaskGroup() as group:
        request = group.create_task(bench.fetch(A))
        await asyncio.sleep(0)
        bench.lookup.found("the store")  # though nothing is believed
        await asyncio.sleep(0)
        assert not request.done()
        bench.connect()
    assert isinstance(request.result(), CompiledToken)


# Serving what is known.


async def test_known_tokens_are_served_for_the_grace_counted_from_the_loss_and_others_refused(stale: Bench) -> None:
    await stale.known(A)
    assert await stale.fetch(numbered(9)) is None
    stale.wait(7)
    stale.lose()
    lost = stale.clock.now
    for stale.clock.now in (lost, lost + 10, lost + 29.9):
        assert isinstance(stale.lookup.look(A), CompiledToken)
    assert [stale.lookup.look(each) for each in (B, numbered(9))] == [UNAVAILABLE] * 2
    stale.clock.now = lost + 30
    assert stale.lookup.look(A) == UNAVAILABLE


async def test_the_grace_counts_from_when_trust_lapsed_whatever_fails_after_it(stale: Bench) -> None:
    await stale.known(A)
    stale.clock.now += 20  # trust lapsed 17 s ago
    stale.lose()
    stale.clock.now += 12.9
    assert isinstance(stale.lookup.look(A), CompiledToken)
    stale.clock.now += 0.1
    assert stale.lookup.look(A) == UNAVAILABLE


async def test_an_entry_that_would_have_been_read_again_is_served_while_it_cannot_be(stale: Bench) -> None:
    await stale.known(A)
    stale.wait(59)
    stale.lose()
    stale.clock.now += 20
    assert isinstance(stale.lookup.look(A), CompiledToken)


@pytest.mark.parametrize("told", [f"token:{A}", f"owner:{ME.key}", "weather:x"])
async def test_what_was_told_to_have_changed_before_the_cut_is_not_served(stale: Bench, told: str) -> None:
    await stale.known(A)
    stale.lookup.told(told)
    stale.lose()
    stale.clock.now += 1
    assert stale.lookup.look(A) == UNAVAILABLE


async def test_a_freeze_holds_during_an_outage(stale: Bench) -> None:
    await stale.known(A)
    stale.lookup.told("freeze")
    stale.lose()
    assert stale.lookup.look(A) == FROZEN
    stale.clock.now += 100
    assert stale.lookup.look(A) == FROZEN


async def test_what_was_served_during_an_outage_is_forgotten_when_it_is_over(stale: Bench) -> None:
    await stale.known(A)
    stale.lose()
    stale.clock.now += 5
    stale.documents.delete(A)
    assert isinstance(stale.lookup.look(A), CompiledToken)
    stale.connect()
    assert await stale.fetch(A) is None


async def test_without_leave_to_serve_there_is_no_grace() -> None:
    async with working(on_outage="deny", stale_grace=30.0) as bench:
        bench.connect()
        await bench.known(A)
        bench.clock.now += 3
        assert bench.lookup.look(A) == UNAVAILABLE


# Guessing.

LIMITED = Deny(reason=Reason.RATE_LIMITED, limit=Limit(name="unknown-tokens", quota=10, window=1, wait=1))


async def guess(bench: Bench, count: int, address: Address | None = HERE, start: int = 1000) -> list[Found]:
    return [await bench.fetch(numbered(start + number), address) for number in range(count)]


async def test_ten_unknown_ids_in_a_second_are_enough_from_one_network(bench: Bench) -> None:
    await bench.known(A)
    assert await guess(bench, 12) == [None] * 10 + [LIMITED] * 2
    assert await bench.fetch(B) == LIMITED  # nobody knows whether it is one before it is read
    assert len(bench.documents.ids) == 1 + 10


async def test_the_refusal_says_when_to_come_again(bench: Bench) -> None:
    *_, deny = await guess(bench, 11)
    assert isinstance(deny, Deny)
    answer = refuse(deny)
    assert answer.status == 429
    assert {"Retry-After": "1", "Ratelimit": '"unknown-tokens";r=0;t=1'}.items() <= dict(answer.fields).items()


async def test_what_is_known_is_never_limited(bench: Bench) -> None:
    await bench.known(A)
    await guess(bench, 11)
    assert isinstance(await bench.fetch(A), CompiledToken)
    assert await bench.fetch(numbered(1000)) is None  # known as unknown


async def test_when_the_second_is_over_reads_go_on(bench: Bench) -> None:
    await guess(bench, 11)
    bench.wait(0.9)
    assert await bench.fetch(B) == LIMITED
    bench.wait(0.1)
    assert isinstance(await bench.fetch(B), CompiledToken)


@pytest.mark.parametrize(
    ("guesser", "other", "hurt"),
    [
        pytest.param(HERE, THERE, False, id="the neighbour's address"),
        pytest.param(HERE, HERE, True, id="the same address"),
        pytest.param(ip_address("2001:db8::1"), ip_address("2001:db8::2"), True, id="the same /64"),
        pytest.param(ip_address("2001:db8::1"), ip_address("2001:db8:0:1::1"), False, id="another /64"),
        pytest.param(None, HERE, False, id="a Unix socket's clients and others"),
        pytest.param(None, None, True, id="a Unix socket's clients"),
    ],
)
async def test_other_networks_are_not_hurt(bench: Bench, guesser: Address, other: Address, hurt: bool) -> None:  # noqa: FBT001 - a case's data
    await guess(bench, 10, guesser)
    assert await bench.fetch(B, other) == LIMITED if hurt else isinstance(await bench.fetch(B, other), CompiledToken)


async def test_reads_that_find_a_token_or_fail_are_not_counted(bench: Bench) -> None:
    names = [numbered(number) for number in range(100, 120)]
    bench.documents.hold(*(token(token_id=name) for name in names[:10]))
    bench.documents.failure = StoreUnavailable("the store did not answer")
    assert await guess(bench, 20) == [UNAVAILABLE] * 20
    bench.documents.failure = None
    for name in names[10:]:
        bench.documents.spoil(name)
    for name in names:
        assert await bench.fetch(name) is not None
    assert await guess(bench, 10, start=2000) == [None] * 10


async def test_the_id_of_a_token_that_proved_itself_is_no_guess_and_is_not_limited(bench: Bench) -> None:
    for number in range(1000, 1020):
        assert await bench.lookup.fetch(numbered(number), HERE, proved=True) is None
    assert await guess(bench, 10, start=2000) == [None] * 10
    assert await bench.fetch(B) == LIMITED
    assert isinstance(await bench.lookup.fetch(B, HERE, proved=True), CompiledToken)


async def test_many_who_ask_for_one_unknown_id_at_once_are_one_guess(bench: Bench) -> None:
    assert await asyncio.gather(*(bench.fetch(numbered(9)) for _ in range(50))) == [None] * 50
    assert isinstance(await bench.fetch(B), CompiledToken)


async def test_ten_thousand_known_tokens_after_a_cold_start_are_not_guesses(
    patient: Bench,
) -> None:
    bench = patient
    names = [numbered(number) for number in range(10_000, 20_000)]
    bench.documents.hold(*(token(token_id=name) for name in names))
    for start in range(0, len(names), 250):
        found = await asyncio.gather(*(bench.fetch(name) for name in names[start : start + 250]))
        assert all(isinstance(each, CompiledToken) for each in found)
    assert bench.lookup.counts.limited == 0


# What is said.


async def test_each_change_of_state_is_one_line(bench: Bench) -> None:
    with captured() as logs:
        bench.wait(3)
        for _ in range(3):
            bench.lose()
            bench.clock.now += 20
        bench.connect()
        bench.wait(3)
        bench.lose("the store is loading its data (LOADING)")
    assert [(each["log_level"], each["event"], each.get("error")) for each in logs] == [
        ("warning", "store lost", "the store did not answer"),
        ("info", "store trusted", None),
        ("warning", "store lost", "the store is loading its data (LOADING)"),
    ]


async def test_each_reason_of_one_loss_is_one_line(bench: Bench) -> None:
    with captured() as logs:
        for reason in ("no answer", "no password", "no answer", "no password"):
            bench.lose(reason)
        bench.connect()
        bench.lose("no password")
    assert [(each["event"], each.get("error")) for each in logs] == [
        ("store lost", "no answer"),
        ("store still lost", "no password"),
        ("store trusted", None),
        ("store lost", "no password"),
    ]


async def test_the_end_of_the_grace_is_a_line_too(stale: Bench) -> None:
    with captured() as logs:
        for _ in range(6):
            stale.lose()
            stale.clock.now += 10
        stale.connect()
    assert [each["event"] for each in logs] == [
        "store lost",
        "store lost for too long: known tokens are refused too",
        "store trusted",
    ]
    assert logs[0]["known_tokens_for_seconds"] == 30


async def test_a_store_that_was_never_there_is_lost_once() -> None:
    async with working() as bench:
        with captured() as logs:
            bench.lose()
            bench.lose()
        assert [each["event"] for each in logs] == ["store lost"]


async def test_it_says_why_no_token_can_be_looked_up(bench: Bench) -> None:
    assert (bench.lookup.why_not, bench.lookup.notes) == (None, ())
    bench.lose("the store is loading its data (LOADING)")
    assert bench.lookup.why_not == "store: the store is loading its data (LOADING)"
    bench.connect()
    assert bench.lookup.why_not is None
    bench.clock.now += 3  # nobody has said anything of it yet
    assert bench.lookup.why_not == "store: it did not answer in time"


async def test_before_the_first_connection_it_says_so() -> None:
    async with working() as bench:
        assert bench.lookup.why_not == "store: not connected yet"


async def test_during_the_grace_it_is_ready_and_says_for_how_long(stale: Bench) -> None:
    await stale.known(A)
    stale.lose("the store did not answer")
    stale.clock.now += 10
    assert stale.lookup.why_not is None
    assert stale.lookup.notes == ("store: the store did not answer; known tokens work for 20 s more",)
    stale.clock.now += 20
    assert stale.lookup.why_not == "store: the store did not answer"
    assert stale.lookup.notes == ()


async def test_a_freeze_is_noted_and_is_no_reason_to_send_requests_elsewhere(bench: Bench) -> None:
    bench.lookup.told("freeze")
    assert bench.lookup.why_not is None
    assert bench.lookup.notes == ("frozen: no token works until it is thawed",)


async def test_it_counts_what_its_look_ups_came_to(bench: Bench) -> None:
    await bench.known(A)
    bench.lookup.look(A)
    await guess(bench, 11)
    bench.lose()
    counts = bench.lookup.counts
    assert (counts.misses, counts.reads, counts.unknown, counts.limited, counts.losses) == (12, 11, 10, 1, 1)
    assert (counts.hits, counts.flushes) == (1, 1)


async def test_who_waits_until_it_settles_goes_on_when_it_is_trusted_or_when_the_time_is_over() -> None:
    async with working() as bench:
        await bench.lookup.settled(0.01)
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(bench.lookup.settled(3600))
            await asyncio.sleep(0)
            assert not waiting.done()
            bench.connect()


# The property: whatever happens, what is remembered is what the store says, unless a message is on its way.


class Story:
    """A token and its owner that change, messages about it that come late, and requests between."""

    def __init__(self, bench: Bench, requests: asyncio.TaskGroup) -> None:
        self._bench, self._requests = bench, requests
        self._untold: list[str] = []
        self._version = 0

    async def write(self) -> None:
        self._version += 1
        self._bench.documents.hold(token(token_id=A, expires_on=self._version))
        self._untold.append(f"token:{A}")

    async def delete(self) -> None:
        self._bench.documents.delete(A)
        self._untold.append(f"token:{A}")

    async def change_owner(self) -> None:
        self._version += 1
        self._bench.documents.hold(of=msgspec.structs.replace(owner(), issued_on=self._version))
        self._untold.append(f"owner:{ME.key}")

    async def tell(self) -> None:
        if self._untold:
            self._bench.lookup.told(self._untold.pop(0))

    async def ask(self) -> None:
        self._requests.create_task(self._bench.fetch(A))

    async def hold_up_reads(self) -> None:
        self._bench.documents.open.clear()

    async def let_reads_go_on(self) -> None:
        self._bench.documents.open.set()

    async def reconnect(self) -> None:
        self._bench.lose()
        self._untold.clear()
        self._bench.connect()

    async def turn(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)

    def check(self) -> None:
        if self._untold:
            return
        truth = self._bench.documents.find(A)
        match self._bench.lookup.look(A):
            case None:
                assert truth is None
            case CompiledToken() as found:
                assert isinstance(truth, tuple)
                assert found.expires_on == truth[0].expires_on
                cell = self._bench.lookup.cache.owner_cell(ME.key, truth[2])
                assert cell is not None
                assert found.ceiling is cell.compiled


STEPS = [
    Story.write,
    Story.delete,
    Story.change_owner,
    Story.tell,
    Story.ask,
    Story.hold_up_reads,
    Story.let_reads_go_on,
    Story.reconnect,
    Story.turn,
]


@given(st.lists(st.sampled_from(STEPS), max_size=50))
async def test_whatever_happens_what_is_remembered_is_what_the_store_says(
    steps: list[Callable[[Story], Awaitable[None]]],
) -> None:
    async with working() as bench, asyncio.TaskGroup() as requests:
        bench.connect()
        story = Story(bench, requests)
        for step in steps:
            await step(story)
            story.check()
        bench.documents.open.set()


async def test_its_state_and_lag_say_what_metrics_tell(stale: Bench) -> None:
    assert stale.lookup.state == "trusted"
    assert stale.lookup.lag < 1
    stale.lose()
    stale.clock.now += 10
    assert (stale.lookup.state, stale.lookup.lag) == ("grace", pytest.approx(10))
    stale.clock.now += 20
    assert stale.lookup.state == "lost"
    stale.clock.now += 1e9
    assert stale.lookup.lag == 86400


async def test_before_it_was_ever_connected_it_is_lost() -> None:
    async with working() as bench:
        assert (bench.lookup.state, bench.lookup.lag) == ("lost", 86400)
