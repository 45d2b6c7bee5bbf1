"""A page of a long list costs the store what a page of a short one costs."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from load.scale import EXPIRED_BY, ME, Cost, cost_of_page, fill, is_filled_alike, opened, tokens
from redis.asyncio import Redis

from gateway.store.consistency import check
from gateway.store.embedded import EmbeddedServer
from gateway.store.redis_store import RedisStore

_SHORT, _LONG = 20, 20_000
_PAGE = 5


@pytest.fixture
async def valkey(tmp_path: Path) -> AsyncIterator[str]:
    server = EmbeddedServer(tmp_path)
    yield server.start()
    server.stop()


async def costs(store: RedisStore, redis: Redis, count: int) -> list[Cost]:
    """Of the first page, the middle and the last one, without expired tokens and with them."""
    await redis.flushdb()
    await fill(redis, tokens(count))
    await store.prepare()
    await store.page(ME, start=0, count=1, descending=False, include_expired=False, now=EXPIRED_BY)
    return [
        await cost_of_page(store, redis, start=start, count=_PAGE, include_expired=include_expired)
        for include_expired, shown in ((False, count * 9 // 10), (True, count))
        for start in (0, shown // 2, shown - _PAGE)
    ]


@pytest.mark.deep
async def test_a_page_costs_the_same_commands_and_keys_in_a_list_a_thousand_times_as_long(valkey: str) -> None:
    async with opened(valkey) as (store, redis):
        short, long = await costs(store, redis, _SHORT), await costs(store, redis, _LONG)
    assert [each.shown for each in short] == [each.shown for each in long] == [_PAGE] * 6
    assert [each.commands for each in short] == [each.commands for each in long]
    assert [each.read for each in short] == [each.read for each in long]
    assert {"scan", "keys", "eval"}.isdisjoint(name for each in long for name in each.commands)


async def test_the_bench_fills_a_store_as_a_gateway_does(valkey: str) -> None:
    assert await is_filled_alike(valkey)
    async with opened(valkey) as (store, redis):
        await fill(redis, tokens(100))
        await store.prepare()
        assert (await check(store, repair=False, clock=lambda: EXPIRED_BY - 1000)).findings == ()
