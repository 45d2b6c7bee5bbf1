"""Two kinds of server for the same tests: fakeredis in this process, and a real Valkey of ours."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import fakeredis
import pytest
from redis.asyncio import Redis
from support.fake_primary import FakePrimary

from gateway.store.embedded import EmbeddedServer
from gateway.store.primary import Primary
from gateway.store.redis_store import AuditLimits, RedisStore
from gateway.store_url import parse_store_url

NewPrimary = Callable[[], Primary]
Open = Callable[..., RedisStore]


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Valkey, for all tests of a module."""
    server = EmbeddedServer(tmp_path_factory.mktemp("valkey"))
    yield server.start()
    server.stop()


@pytest.fixture(params=["fakeredis", "valkey"])
async def new_primary(request: pytest.FixtureRequest) -> AsyncIterator[NewPrimary]:
    """`new_primary()`: the same server, empty at first, as another process would find it."""
    async with AsyncExitStack() as stack:
        server = fakeredis.FakeServer()

        def new() -> Primary:
            if request.param == "fakeredis":
                primary = FakePrimary(server)
            else:
                primary = Primary(parse_store_url(request.getfixturevalue("valkey_url")))
            stack.push_async_callback(primary.close)
            return primary

        client = (await new().clients()).writer
        if request.param == "valkey":
            # A disk that is slow for half a second is an outage; thousands of writes would meet one now and then.
            await client.config_set("appendfsync", "no")
        await client.flushall()
        yield new


@pytest.fixture
async def redis(new_primary: NewPrimary) -> Redis:
    """What the store holds, past the store."""
    return (await new_primary().clients()).writer


@pytest.fixture
def open_store(new_primary: NewPrimary) -> Open:
    """`open_store(*peppers)`: a store on that server, as another process would open it."""

    def open_store(*peppers: str, max_entries: int = 1000, max_age: int = 10**9) -> RedisStore:
        return RedisStore(new_primary(), peppers=peppers, audit=AuditLimits(max_entries, max_age))

    return open_store


@pytest.fixture
def store(open_store: Open) -> RedisStore:
    """A store without peppers."""
    return open_store()
