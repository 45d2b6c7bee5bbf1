"""A primary without a server: fakeredis in this process, behind the same names as `gateway.store.primary`."""

import fakeredis
from fakeredis import FakeAsyncRedis

from gateway.access.ports import StoreUnavailable
from gateway.store import keys


class FakeClients:
    """What `Clients` has."""

    def __init__(self, server: fakeredis.FakeServer) -> None:
        self._server = server
        self.gone = False
        self.address = "fakeredis"
        self.reader = FakeAsyncRedis(server=server)
        self.guard = self.reader
        self.writer = FakeAsyncRedis(server=server)

    def subscriber(self) -> object:
        return FakeAsyncRedis(server=self._server).pubsub()


class FakePrimary:
    """What `Primary` has. `away` True: it cannot be found."""

    replicated = False
    sharded = False
    channel = keys.CHANGED

    def __init__(self, server: fakeredis.FakeServer | None = None) -> None:
        self.server = server or fakeredis.FakeServer()
        self.on_lost: list[object] = []
        self.away = False
        self._current: FakeClients | None = None
        self._all: list[FakeClients] = []

    async def clients(self) -> FakeClients:
        if self.away:
            raise StoreUnavailable("the store did not answer")
        if self._current is None:
            self._current = FakeClients(self.server)
            self._all.append(self._current)
        return self._current

    def lost(self, clients: FakeClients) -> None:
        if clients is not self._current:
            return
        self._current = None
        clients.gone = True
        for tell in self.on_lost:
            tell(clients)

    async def confirms(self, _: FakeClients) -> bool:
        return True

    async def close(self) -> None:
        for clients in self._all:
            await clients.reader.aclose()
            await clients.writer.aclose()
