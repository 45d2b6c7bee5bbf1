"""Two kinds of server for the same tests: fakeredis in this process, and a real Valkey of ours."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack

import fakeredis
import pytest
from redis.asyncio import Redis

from gateway.store.embedded import EmbeddedServer
from gateway.store.redis_store import AuditLimits, RedisStore, connect

Connect = Callable[[], Redis]
Open = Callable[..., RedisStore]


@pytest.fixture(scope="module")
def valkey_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running Valkey, for all tests of a module."""
    server = EmbeddedServer(tmp_path_factory.mktemp("valkey"))
    yield server.start()
    server.stop()


@pytest.fixture(params=["fakeredis", "valkey"])
async def new_client(request: pytest.FixtureRequest) -> AsyncIterator[Connect]:
    """`new_client()`: one more connection to the same, empty, server."""
    async with AsyncExitStack() as stack:
        if request.param == "fakeredis":
            server = fakeredis.FakeServer()

            def new() -> Redis:
                return fakeredis.FakeAsyncRedis(server=server)
        else:
            url = request.getfixturevalue("valkey_url")

            def new() -> Redis:
                return connect(url, 2.0)

        def connected() -> Redis:
            client = new()
            stack.push_async_callback(client.aclose)
            return client

        await connected().flushall()
        yield connected


@pytest.fixture
def redis(new_client: Connect) -> Redis:
    """What the store holds, past the store."""
    return new_client()


@pytest.fixture
def open_store(new_client: Connect) -> Open:
    """`open_store(*peppers)`: a store on that server, as another process would open it."""

    def open_store(*peppers: str, max_entries: int = 1000, max_age: int = 10**9) -> RedisStore:
        return RedisStore(new_client(), new_client(), peppers=peppers, audit=AuditLimits(max_entries, max_age))

    return open_store


@pytest.fixture
def store(open_store: Open) -> RedisStore:
    """A store without peppers."""
    return open_store()
