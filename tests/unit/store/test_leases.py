import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import compiled, token
from support.store_contract import numbered

from gateway.access.compiled import CompiledToken
from gateway.access.ports import Miss, StoreUnavailable
from gateway.reason import Deny, Limit, Reason
from gateway.store.buckets import Ask
from gateway.store.leases import LASTS, RETRY, Leases
from gateway.tokens.rate import Grant, Rate, take, worth

FAST, SLOW = Rate(1200, 300), Rate(3, 60)
AWAY = StoreUnavailable("away")


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class MemoryBuckets:
    """Buckets in a dictionary. `failure`: what it raises; `broken`: tokens whose buckets cannot be read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, tuple[float, float, Rate]] = {}
        self.asked: list[Ask] = []
        self.failure: StoreUnavailable | None = None
        self.broken: frozenset[str] = frozenset()

    async def settle(self, asks: Sequence[Ask]) -> list[Grant | StoreUnavailable]:
        await asyncio.sleep(0)
        self.asked += asks
        if self.failure is not None:
            raise self.failure
        return [AWAY if ask.token_id in self.broken else self._settle(ask) for ask in asks]

    def _settle(self, ask: Ask) -> Grant:
        at, lack, of = self._held.get(ask.token_id, (0.0, 0.0, ask.rate))
        now = self._clock()
        lack = max(lack - (now - at), 0.0) / worth(of, 1) * worth(ask.rate, 1)
        lack = max(lack - worth(ask.rate, ask.unused), 0.0)
        grant = take(ask.rate, lack, 0.0, ask.wanted)
        of = ask.rate if ask.wanted else of  # who brings something back may know an old rate
        self._held[ask.token_id] = now, grant.lack / worth(ask.rate, 1) * worth(of, 1), of
        return grant

    def left(self, of: CompiledToken) -> int:
        """What is in a token's bucket."""
        assert of.rate is not None
        return self._settle(Ask(of.id, of.rate, 0)).left


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def buckets(clock: Clock) -> MemoryBuckets:
    return MemoryBuckets(clock)


def limited(rate: Rate = FAST, number: int = 1) -> CompiledToken:
    return compiled(token(token_id=numbered(number), limits=rate))


@asynccontextmanager
async def at_work(*leases: Leases) -> AsyncIterator[None]:
    """They ask for what is wanted."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(each.run()) for each in leases]
        yield
        for task in tasks:
            task.cancel()


async def turns(count: int = 10) -> None:
    """Whoever waits for nothing but his turn has had it."""
    for _ in range(count):
        await asyncio.sleep(0)


def patient(buckets: MemoryBuckets, clock: Clock, **rest: Any) -> Leases:
    """Leases that a busy machine does not make give up."""
    return Leases(buckets, clock=clock, patience=60, **rest)


async def passes(leases: Leases, of: CompiledToken) -> bool:
    """Whether a request goes on, as a handler asks; False: it is told to come later."""
    found = leases.take(of)
    if isinstance(found, Miss):
        found = await leases.wait(of)
    assert found is None or found.reason is Reason.RATE_LIMITED, found
    return found is None


async def passed(leases: Leases, of: CompiledToken, count: int) -> int:
    """How many of so many requests go on."""
    return sum([await passes(leases, of) for _ in range(count)])


async def test_a_token_without_limits_is_asked_nothing_about(buckets: MemoryBuckets, clock: Clock) -> None:
    assert patient(buckets, clock=clock).take(compiled()) is None
    assert buckets.asked == []


async def test_a_token_gets_its_requests_and_no_more(buckets: MemoryBuckets, clock: Clock) -> None:
    leases = patient(buckets, clock=clock)
    async with at_work(leases):
        assert await passed(leases, limited(), 1300) == 1200
    assert len(buckets.asked) < 100, "and the store is asked for slices, not for each of them"


async def test_a_request_with_a_lease_in_memory_waits_for_nothing(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock), limited()
    async with at_work(leases):
        assert leases.take(of) is Miss.MISS
        assert await leases.wait(of) is None
        assert leases.take(of) is None


async def test_who_comes_too_often_is_told_when_to_come_again(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock), limited(SLOW)
    async with at_work(leases):
        assert await passed(leases, of, 3) == 3
        deny = leases.take(of)
        assert isinstance(deny, Deny)
        assert deny.limit == Limit(name="default", quota=3, window=60, wait=20)
        assert deny.note == "The token has 3 requests in 60 s: come again in 20 s"
        asked = len(buckets.asked)
        assert await passed(leases, of, 10) == 0
        assert len(buckets.asked) == asked, "an empty bucket is not asked again and again"


async def test_what_comes_back_in_time_can_be_used(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock), limited(SLOW)
    async with at_work(leases):
        assert await passed(leases, of, 4) == 3
        clock.now += 19.9
        assert await passed(leases, of, 2) == 0
        clock.now += 0.2
        assert await passed(leases, of, 2) == 1


async def test_a_tiny_limit_is_exact_over_many_workers(buckets: MemoryBuckets, clock: Clock) -> None:
    fleet, of = [patient(buckets, clock=clock) for _ in range(8)], limited(Rate(5, 3600))
    async with at_work(*fleet):
        assert [await passes(each, of) for each in fleet] == [True] * 5 + [False] * 3


async def test_requests_that_come_together_ask_once(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock), limited()
    async with at_work(leases):
        assert all(await asyncio.gather(*(passes(leases, of) for _ in range(50))))
    assert len(buckets.asked) <= 3


async def test_a_busy_worker_leases_more_than_an_idle_one(buckets: MemoryBuckets, clock: Clock) -> None:
    busy, idle, of = patient(buckets, clock=clock), patient(buckets, clock=clock), limited()
    async with at_work(busy, idle):
        await passes(idle, of)
        assert buckets.asked[-1].wanted == 6
        await passed(busy, of, 300)
        assert buckets.asked[-1].wanted == 60


async def test_a_lease_that_is_not_used_goes_back(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock), limited(Rate(1200, 30 * 86400))
    async with at_work(leases):
        await passes(leases, of)
        assert buckets.left(of) == 1194
        clock.now += LASTS
        await passes(leases, limited(number=2))  # something wakes it up
        await turns()
        assert buckets.left(of) == 1199


async def test_a_worker_that_ends_gives_back_what_it_has(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock), limited()
    async with at_work(leases):
        await passes(leases, of)
    await leases.close()
    assert buckets.left(of) == 1199


async def test_limits_that_were_edited_hold_from_then_on(buckets: MemoryBuckets, clock: Clock) -> None:
    leases = patient(buckets, clock=clock)
    async with at_work(leases):
        assert await passed(leases, limited(), 300) == 300
        assert await passed(leases, limited(Rate(2, 60)), 5) == 0, "what was used before counts"
        clock.now += 3600
        assert await passed(leases, limited(Rate(2, 60)), 5) == 2


async def test_a_token_that_was_read_once_more_has_the_lease_that_it_had(buckets: MemoryBuckets, clock: Clock) -> None:
    leases = patient(buckets, clock=clock)
    async with at_work(leases):
        await passes(leases, limited(Rate(1200, 300)))
        assert leases.take(limited(Rate(1200, 300))) is None


async def test_an_answer_says_what_is_left(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock), limited()
    async with at_work(leases):
        await passed(leases, of, 40)
    policy, told = leases.told(of).splitlines()
    assert policy == b'Ratelimit-Policy: "default";q=1200;w=300'
    assert told.startswith(b'Ratelimit: "default";r=1160;t=')


async def test_before_anything_was_counted_an_answer_says_which_limits_hold(
    buckets: MemoryBuckets, clock: Clock
) -> None:
    leases, of = patient(buckets, clock=clock), limited()
    policy = b'Ratelimit-Policy: "default";q=1200;w=300\r\n'
    assert leases.told(of) == policy
    assert leases.take(of) is Miss.MISS
    assert leases.told(of) == policy
    assert leases.told(compiled()) == b""


# The store is away.


async def test_without_the_store_a_lease_is_good_to_its_end(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock), limited()
    async with at_work(leases):
        await passes(leases, of)
        buckets.failure = AWAY
        assert [leases.take(of) for _ in range(5)] == [None] * 5
        found = await leases.wait(of)
        assert isinstance(found, Deny)
        assert found.reason is Reason.STORE_UNAVAILABLE


async def test_without_the_store_and_without_a_lease_nothing_passes_until_it_is_there_again(
    buckets: MemoryBuckets, clock: Clock
) -> None:
    leases, of = patient(buckets, clock=clock), limited()
    buckets.failure = AWAY
    async with at_work(leases):
        for _ in range(3):
            found = await leases.wait(of)
            assert isinstance(found, Deny)
            assert found.reason is Reason.STORE_UNAVAILABLE
        assert len(buckets.asked) == 1, "it is not asked at each request"
        assert (leases.asked, leases.failed) == (1, 1)
        buckets.failure = None
        clock.now += RETRY
        assert await passes(leases, of)
        assert (leases.asked, leases.failed) == (2, 1)


async def test_a_store_that_does_not_answer_in_time_is_away(clock: Clock) -> None:
    leases = Leases(MemoryBuckets(clock), clock=clock, patience=0.01)
    found = await leases.wait(limited())  # nobody asks
    assert isinstance(found, Deny)
    assert found.reason is Reason.STORE_UNAVAILABLE


async def test_serve_cached_counts_alone_from_what_was_last_known(buckets: MemoryBuckets, clock: Clock) -> None:
    leases = patient(buckets, clock=clock, on_outage="serve-cached", stale_grace=30)
    of = limited(Rate(10, 600))
    async with at_work(leases):
        assert await passed(leases, of, 4) == 4
        buckets.failure = AWAY
        assert await passed(leases, of, 20) == 6
        clock.now += 1
        assert await passed(leases, of, 20) == 0


async def test_serve_cached_ends_with_its_grace(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, of = patient(buckets, clock=clock, on_outage="serve-cached", stale_grace=30), limited()
    buckets.failure = AWAY
    async with at_work(leases):
        assert await passes(leases, of)
        clock.now += 29
        assert await passes(leases, of)
        clock.now += 1
        found = leases.take(of)
        assert isinstance(found, Deny)
        assert found.reason is Reason.STORE_UNAVAILABLE
        await turns()
        buckets.failure = None
        clock.now += RETRY
        leases.take(of)
        await turns()
        assert await passes(leases, of)


async def test_a_bucket_that_cannot_be_read_hurts_no_other_token(buckets: MemoryBuckets, clock: Clock) -> None:
    leases, broken = patient(buckets, clock=clock), limited(number=1)
    buckets.broken = frozenset({broken.id})
    async with at_work(leases):
        found = await leases.wait(broken)
        assert isinstance(found, Deny)
        assert found.reason is Reason.STORE_UNAVAILABLE
        assert await passed(leases, limited(number=2), 20) == 20


# A fleet.


@settings(deadline=None, max_examples=40)
@given(
    st.builds(Rate, st.integers(1, 400), st.integers(1, 100)),
    st.integers(1, 4),
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 80), st.floats(0, 8)), max_size=30),
)
def test_a_fleet_never_passes_more_than_the_bucket_has_and_what_was_leased_before(
    rate: Rate, size: int, bursts: list[tuple[int, int, float]]
) -> None:
    async def run(check: Callable[[list[tuple[float, int]]], None]) -> None:
        clock = Clock()
        buckets = MemoryBuckets(clock)
        fleet, of = [patient(buckets, clock=clock) for _ in range(size)], limited(rate)
        passages: list[tuple[float, int]] = []
        async with at_work(*fleet):
            for worker, count, pause in bursts:
                clock.now += pause
                passages.append((clock.now, await passed(fleet[worker % size], of, count)))
        check(passages)

    leased = size * (max(1, rate.requests // 20) * 5 // 4 + 1)  # a lease, and what was left when it was asked for

    def check(passages: list[tuple[float, int]]) -> None:
        for first, (begun, _) in enumerate(passages):
            total = 0
            for at, count in passages[first:]:
                total += count
                assert total <= rate.requests + (at - begun) * rate.requests / rate.period + leased + 1e-3

    asyncio.run(run(check))
