"""A store in the layout of an older version becomes one of this version, whoever opens it first."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from support.records import NOW, USER, owner, token
from support.store_contract import BY, ME, SOMEBODY, names, numbered, read

from gateway.access.ports import Action
from gateway.store import keys, schema
from gateway.store.consistency import check
from gateway.store.redis_store import RedisStore
from gateway.store.schema import STORE_SCHEMA, migrate
from gateway.tokens.token import Token

Open = Callable[..., RedisStore]
END = NOW + 100


def old_tokens(count: int) -> list[Token]:
    """Tokens "0", "1", ...: the first without an end, the second expired at NOW, the third later, and so on."""
    ends = (None, NOW - 5, END)
    return [
        token(token_id=numbered(number), name=str(number), expires_on=ends[number % 3], owner=ME)
        for number in range(count)
    ]


async def write_as_version_1(redis: Redis, *tokens: Token) -> None:
    """As the scripts of version 1 left it: documents, one list an owner, the expiries."""
    await redis.hset(keys.META, mapping={"schema": "1", "generation": "f" * 32})
    await redis.set(keys.owner_key(ME.key), msgspec.json.encode(owner()))
    await redis.zadd(keys.OWNERS, {ME.key: NOW})
    for place, each in enumerate(tokens):
        await redis.set(keys.token_key(each.id), msgspec.json.encode(each))
        await redis.zadd(keys.tokens_key(each.owner.key), {each.id: (NOW + place) * 1_000_000})
        if each.expires_on is not None:
            await redis.zadd(keys.EXPIRIES, {each.id: each.expires_on})


async def assert_pages_are_right(store: RedisStore) -> None:
    assert await names(store, include_expired=True) == list("0123456")
    assert await names(store) == ["0", "2", "3", "5", "6"]
    assert await names(store, start=1, count=2, descending=True) == ["5", "3"]
    assert await names(store, now=END) == ["0", "3", "6"]
    assert (await check(store, repair=False, clock=lambda: END)).findings == ()


async def test_a_store_of_version_1_is_brought_to_this_one_when_it_is_opened(store: RedisStore, redis: Redis) -> None:
    await write_as_version_1(redis, *old_tokens(7))
    await store.prepare()
    meta = await redis.hgetall(keys.META)
    assert meta == {b"schema": str(STORE_SCHEMA).encode(), b"generation": b"f" * 32}
    await assert_pages_are_right(store)


async def test_it_is_brought_there_by_whoever_reads_first(store: RedisStore, redis: Redis) -> None:
    await write_as_version_1(redis, *old_tokens(7))
    await assert_pages_are_right(store)


async def test_twice_is_as_once(store: RedisStore, redis: Redis) -> None:
    await write_as_version_1(redis, *old_tokens(7))
    await store.prepare()
    await names(store)  # takes the expired out
    await migrate(await store.primary.clients(), 1)
    await assert_pages_are_right(store)


async def test_several_at_once_are_as_one(open_store: Open, redis: Redis) -> None:
    await write_as_version_1(redis, *old_tokens(7))
    stores = [open_store() for _ in range(5)]
    await asyncio.gather(*(store.prepare() for store in stores))
    await assert_pages_are_right(stores[0])


async def test_whoever_is_late_does_not_undo_what_the_new_layout_has_seen_since(open_store: Open, redis: Redis) -> None:
    await write_as_version_1(redis, *old_tokens(7))
    done, late = open_store(), open_store()
    await done.prepare()
    old = await read(done, numbered(2))
    await done.replace(old, msgspec.structs.replace(old.token, expires_on=None), Action.UPDATE, BY, NOW)
    await done.delete(await read(done, numbered(0)), Action.DELETE, BY, NOW)
    await done.create(token(token_id=numbered(9), name="9"), BY, NOW + 9)
    await migrate(await late.primary.clients(), 1)
    assert await names(done) == ["2", "3", "5", "6", "9"]
    assert await names(done, now=END) == ["2", "3", "6", "9"]


async def test_whoever_is_late_does_not_lower_the_schema_that_a_newer_version_has_set(
    store: RedisStore, redis: Redis
) -> None:
    await redis.hset(keys.META, "schema", str(STORE_SCHEMA + 5))
    await migrate(await store.primary.clients(), 1)
    assert await redis.hget(keys.META, "schema") == str(STORE_SCHEMA + 5).encode()


@pytest.mark.parametrize("at_once", [1, 2, 3, 7, 1000])
async def test_lists_longer_than_a_step_are_brought_over_whole(
    store: RedisStore, redis: Redis, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(schema, "_AT_ONCE", at_once)
    await write_as_version_1(redis, *old_tokens(7))
    await assert_pages_are_right(store)


class DeletesBetween:
    """A client that behind each script deletes the oldest token of the list."""

    def __init__(self, client: Redis) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    async def eval(self, *arguments: Any) -> Any:
        answer = await self._client.eval(*arguments)
        ((token_id, _),) = await self._client.zpopmin(keys.tokens_key(ME.key)) or [(b"none", 0)]
        await self._client.delete(keys.token_key(token_id.decode()))
        await self._client.zrem(keys.living_key(ME.key), token_id)
        return answer


async def test_what_is_deleted_meanwhile_hides_nothing_else(
    store: RedisStore, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_AT_ONCE", 2)
    await write_as_version_1(redis, *(token(token_id=numbered(number), name=str(number)) for number in range(9)))
    clients: Any = SimpleNamespace(writer=DeletesBetween(redis))
    await migrate(clients, 1)
    assert await names(store) == list("678")
    assert await names(store, include_expired=True) == list("678")


async def test_tokens_of_an_owner_without_a_record_are_brought_over_too(store: RedisStore, redis: Redis) -> None:
    await write_as_version_1(redis, token(owner=SOMEBODY, name="theirs"))
    assert await names(store, SOMEBODY) == ["theirs"]


async def test_a_new_store_has_this_version_at_once(store: RedisStore, redis: Redis) -> None:
    await store.prepare()
    assert await redis.hget(keys.META, "schema") == str(STORE_SCHEMA).encode()
    assert await redis.keys(f"*{USER}*") == []
