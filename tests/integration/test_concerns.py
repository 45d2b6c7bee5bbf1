"""What the start warns of: a server that may lose what it was told to keep."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest
from support.servers import SentinelGroup, ValkeyServer

from gateway.store.primary import Primary
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.store_url import parse_store_url

Open = Callable[..., RedisStore]


@pytest.fixture
async def open_store() -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        def open_store(url: str, write_replicas: int = 0) -> RedisStore:
            store = RedisStore(
                Primary(parse_store_url(url)), peppers=(), audit=AuditLimits(10, 10), write_replicas=write_replicas
            )
            stack.push_async_callback(store.close)
            return store

        yield open_store


@pytest.mark.parametrize(("policy", "warned"), [("noeviction", False), ("allkeys-lru", True), ("volatile-ttl", True)])
async def test_a_server_that_evicts_is_warned_of(
    valkey: ValkeyServer,
    open_store: Open,
    policy: str,
    warned: bool,  # noqa: FBT001 - a case's data
) -> None:
    valkey.client().config_set("maxmemory-policy", policy)
    try:
        found = await open_store(valkey.url).concerns()
    finally:
        valkey.client().config_set("maxmemory-policy", "noeviction")
    assert [policy in each and "set noeviction" in each for each in found] == [True] * warned


async def test_a_server_that_does_not_tell_its_settings_is_not_warned_of(
    valkey: ValkeyServer, open_store: Open
) -> None:
    words = ("ACL", "SETUSER", "few", "on", ">word", "~{zg}:*", "&{zg}:changed*", "+@all", "-@admin", "-@dangerous")
    valkey.client().execute_command(*words)
    store = open_store(valkey.url.replace("redis://", "redis://few:word@"))
    await store.prepare()
    assert await store.concerns() == []


async def test_replicas_that_may_not_have_a_change_are_warned_of(sentinels: SentinelGroup, open_store: Open) -> None:
    assert await open_store(sentinels.url, write_replicas=1).concerns() == []
    [undone] = await open_store(sentinels.url).concerns()
    assert "a failover may undo the last changes" in undone
    primary = sentinels.settle().client()
    primary.config_set("min-replicas-to-write", 0)
    try:
        [lost] = await open_store(sentinels.url, write_replicas=1).concerns()
    finally:
        primary.config_set("min-replicas-to-write", 1)
    assert "min-replicas-to-write is 0" in lost
