from collections.abc import Callable, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from support.records import TOKEN_ID
from support.store_contract import numbered

from gateway.access.ports import StoreUnavailable
from gateway.store import keys
from gateway.store.buckets import Ask, Buckets
from gateway.store.primary import Primary
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.store_url import parse_store_url
from gateway.tokens.rate import Grant, Rate, take, worth

Open = Callable[..., RedisStore]

SLOW = Rate(1200, 86400)
"""Of which nothing comes back while a test runs."""
DAY = 86400
KEY = keys.rate_key(TOKEN_ID)


def ask(wanted: int, unused: int = 0, rate: Rate = SLOW, token_id: str = TOKEN_ID) -> Ask:
    return Ask(token_id, rate, wanted, unused)


async def settled(buckets: Buckets, *asks: Ask) -> list[Grant]:
    found = await buckets.settle(asks)
    assert all(isinstance(each, Grant) for each in found), found
    return [each for each in found if isinstance(each, Grant)]


@pytest.fixture
def buckets(store: RedisStore) -> Buckets:
    return Buckets(store)


async def test_what_one_worker_took_no_other_gets(buckets: Buckets, open_store: Open) -> None:
    other = Buckets(open_store())
    first = (await settled(buckets, ask(60)))[0]
    second = (await settled(other, ask(60)))[0]
    assert (first.count, first.left) == (60, 1140)
    assert (second.count, second.left) == (60, 1080)
    assert second.lack == pytest.approx(120 * 72, abs=60)
    assert second.wait == 0


async def test_what_comes_back_can_be_had_again(buckets: Buckets) -> None:
    await settled(buckets, ask(60))
    assert (await settled(buckets, ask(0, 50)))[0].left == 1190
    assert (await settled(buckets, ask(10, 10)))[0].left == 1190


async def test_no_bucket_is_more_than_full(buckets: Buckets, redis: Redis) -> None:
    await settled(buckets, ask(5))
    assert (await settled(buckets, ask(0, 1000)))[0].left == 1200
    assert await redis.exists(KEY) == 0, "a full bucket takes no room"


async def test_an_empty_bucket_says_when_there_is_more(buckets: Buckets, redis: Redis) -> None:
    rate = Rate(2, 86400)
    granted = await settled(buckets, *[ask(1, rate=rate)] * 3)
    assert [each.count for each in granted] == [1, 1, 0]
    assert granted[-1].wait == pytest.approx(43200, abs=60)
    assert 0 < await redis.pttl(KEY) <= 86_400_002, "it goes when it is full"


async def test_each_token_has_a_bucket_of_its_own(buckets: Buckets) -> None:
    granted = await settled(buckets, ask(60), ask(10, token_id=numbered(2)), ask(60))
    assert [each.left for each in granted] == [1140, 1190, 1080]


async def test_a_tighter_rate_is_obeyed_at_once_and_holds_nobody_up_for_longer_than_its_period(
    buckets: Buckets, redis: Redis
) -> None:
    await redis.set(KEY, f"{10**17} {10**9} 1 60")
    granted = (await settled(buckets, ask(1, rate=Rate(10, 60))))[0]
    assert granted.count == 0
    assert granted.wait <= 6


@pytest.mark.parametrize(
    ("before", "used", "after", "left"),
    [
        pytest.param(Rate(2, DAY), 2, Rate(100, DAY), 98, id="more requests"),
        pytest.param(Rate(100, DAY), 30, Rate(50, DAY), 20, id="fewer requests"),
        pytest.param(Rate(100, DAY), 60, Rate(50, DAY), 0, id="fewer than were used"),
        pytest.param(Rate(100, DAY), 30, Rate(100, 30 * DAY), 70, id="a longer period"),
        pytest.param(Rate(100, 30 * DAY), 30, Rate(100, DAY), 70, id="a shorter period"),
    ],
)
async def test_a_request_that_was_used_before_an_edit_remains_one(
    buckets: Buckets, before: Rate, used: int, after: Rate, left: int
) -> None:
    await settled(buckets, *[ask(1, rate=before)] * used)
    assert (await settled(buckets, ask(0, rate=after)))[0].left == left


async def test_an_empty_bucket_fills_up_at_the_rate_that_was_edited_last(buckets: Buckets, redis: Redis) -> None:
    await settled(buckets, *[ask(1, rate=Rate(10, 20))] * 10)
    assert (await settled(buckets, ask(1, rate=Rate(2, DAY))))[0].count == 0
    assert await redis.pttl(KEY) == pytest.approx(DAY * 1000, abs=60_000)


async def test_what_was_leased_before_an_edit_comes_back_as_so_many_requests(buckets: Buckets, redis: Redis) -> None:
    before = Rate(100, 10)
    await settled(buckets, ask(25, rate=before), ask(1))
    taken = 1200 - (await settled(buckets, ask(0)))[0].left
    assert (await settled(buckets, ask(0, 20, before), ask(0)))[1].left == 1200 - taken + 20
    assert await redis.pttl(KEY) == pytest.approx((taken - 20) * 72_000, abs=72_000)


LONG = st.builds(Rate, st.integers(1, 2000), st.integers(20 * 86400, 30 * 86400))
"""Rates of which nothing comes back in the moments that a test takes."""


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(LONG, st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 50)), max_size=12))
async def test_the_script_gives_what_the_core_gives(
    buckets: Buckets, redis: Redis, rate: Rate, asked: Sequence[tuple[int, int]]
) -> None:
    await redis.delete(KEY)
    lack = 0.0
    for wanted, unused in asked:
        said = take(rate, max(lack - worth(rate, unused), 0.0), 0.0, wanted)
        granted = (await settled(buckets, ask(wanted, unused, rate)))[0]
        assert (granted.count, granted.left) == (said.count, said.left)
        assert (granted.lack, granted.wait) == (pytest.approx(said.lack, abs=60), pytest.approx(said.wait, abs=60))
        lack = said.lack


@pytest.mark.parametrize(
    "held",
    [
        pytest.param({"x": "1"}, id="another kind of key"),
        pytest.param("junk", id="junk"),
    ],
)
async def test_a_bucket_that_cannot_be_read_is_that_token_s_misfortune_alone(
    buckets: Buckets, redis: Redis, held: dict[str, str] | str
) -> None:
    if isinstance(held, dict):
        await redis.hset(KEY, mapping=held)
    else:
        await redis.set(KEY, held)
    broken, sound = await buckets.settle([ask(1), ask(1, token_id=numbered(2))])
    assert isinstance(broken, StoreUnavailable)
    assert isinstance(sound, Grant)


async def test_a_store_that_is_away_is_said_to_be() -> None:
    primary = Primary(parse_store_url("redis://127.0.0.1:1"))
    store = RedisStore(primary, peppers=(), audit=AuditLimits(1000, 10**9))
    with pytest.raises(StoreUnavailable):
        await Buckets(store).settle([ask(1)])
    await store.close()
