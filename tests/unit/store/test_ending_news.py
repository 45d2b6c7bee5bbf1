"""A token that ends within a week is told about once, and no other is."""

import asyncio

import pytest
from redis.asyncio import Redis
from support.records import NOW, token
from support.store_contract import BY, numbered, read

from gateway.access.ports import Action, StoreUnavailable
from gateway.store.ending import SOON
from gateway.store.ending_news import EndingNews
from gateway.store.redis_store import RedisStore
from gateway.tokens.news import Event, News
from gateway.tokens.token import Status


@pytest.mark.parametrize(
    ("ends", "status", "is_told"),
    [
        pytest.param(None, Status.ACTIVE, False, id="without an end"),
        pytest.param(NOW + SOON + 1, Status.ACTIVE, False, id="a second early"),
        pytest.param(NOW + SOON, Status.ACTIVE, True, id="a week before"),
        pytest.param(NOW + 1, Status.ACTIVE, True, id="a second before"),
        pytest.param(NOW, Status.ACTIVE, False, id="ended"),
        pytest.param(NOW + 60, Status.DISABLED, False, id="disabled"),
    ],
)
async def test_what_ends_within_a_week_is_news(
    store: RedisStore,
    ends: int | None,
    status: Status,
    is_told: bool,  # noqa: FBT001 - a case's data
) -> None:
    await store.create(token(name="soon", expires_on=ends, status=status), BY, NOW)
    told: list[News] = []
    assert await EndingNews(store, told.append, lambda: NOW).look() == is_told
    assert [(news.event, news.name, news.expires_on) for news in told] == [(Event.ENDING, "soon", ends)] * is_told


async def test_of_many_workers_one_tells_and_a_new_end_is_told_again(store: RedisStore) -> None:
    made = token(expires_on=NOW + 60)
    await store.create(made, BY, NOW)
    told: list[News] = []
    workers = [EndingNews(store, told.append, lambda: NOW) for _ in range(5)]
    await asyncio.gather(*(worker.look() for worker in workers))
    assert len(told) == 1
    await store.replace(await read(store, made.id), token(expires_on=NOW + 90), Action.UPDATE, BY, NOW)
    await workers[0].look()
    assert [news.expires_on for news in told] == [NOW + 60, NOW + 90]


async def test_however_many_there_are_each_is_told(store: RedisStore) -> None:
    for number in range(205):
        await store.create(token(token_id=numbered(number), expires_on=NOW + 60 + number), BY, NOW)
    told: list[News] = []
    assert await EndingNews(store, told.append, lambda: NOW).look() == 205
    assert {news.token_id for news in told} == {numbered(number) for number in range(205)}


async def test_what_nobody_can_take_now_is_told_at_a_later_look(store: RedisStore) -> None:
    for number in range(5):
        await store.create(token(token_id=numbered(number), expires_on=NOW + 60 + number), BY, NOW)
    told: list[News] = []
    news = EndingNews(store, told.append, lambda: NOW, has_room=lambda: len(told) != 3)
    assert await news.look() == 3
    told.pop()
    told += told
    assert await news.look() == 2
    assert {each.token_id for each in told} >= {numbered(number) for number in (0, 1, 3, 4)}


async def test_what_was_told_leaves_the_store_by_itself(store: RedisStore, redis: Redis) -> None:
    await store.create(token(expires_on=NOW + 60), BY, NOW)
    await EndingNews(store, lambda _: None, lambda: NOW).look()
    (key,) = await redis.keys("{zg}:told:*")
    assert 0 < await redis.ttl(key) <= SOON + 86400


async def test_it_goes_on_when_the_store_was_away(store: RedisStore) -> None:
    await store.create(token(expires_on=NOW + 60), BY, NOW)
    told = asyncio.Event()
    away = [True]

    class Away(EndingNews):
        async def look(self) -> int:
            if away.pop() if away else False:
                raise StoreUnavailable("away")
            return await super().look()

    work = asyncio.ensure_future(Away(store, lambda _: told.set(), lambda: NOW).run(interval=0.0))
    async with asyncio.timeout(10):
        await told.wait()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
