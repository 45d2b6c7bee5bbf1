"""A gateway on the loop of its test, with a real store, before an upstream that is asked about zones."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
from aiohttp.test_utils import TestServer
from cloudflare import AsyncCloudflare

from gateway.access.ports import Action, Actor
from gateway.app import Gateway, make_plan, open_listeners
from gateway.demo.upstream import Entry, Journal, make_upstream
from gateway.settings import Admin, Limits, Listen, Log, Settings, Store, Upstream, UpstreamCredential
from gateway.store.embedded import EmbeddedServer
from gateway.store.redis_store import RedisStore
from gateway.store.zones import ZonePins
from gateway.store_access import open_store
from gateway.tokens.policy import Policy
from gateway.tokens.secret import Sensitive, parse_secret
from support.processes import free_port
from support.records import owner, secret_of, token

KEY = "the-upstream's-own"
BY = Actor(token_id="", owner="", address="", request_id="")


class ZonedGateway:
    """It serves on `port`."""

    def __init__(self, store: RedisStore, port: int) -> None:
        self.port = port
        self.pins = ZonePins(store)
        self._store = store
        self._clients: list[AsyncCloudflare] = []

    async def client(self, policies: Sequence[Policy]) -> AsyncCloudflare:
        """Cloudflare's own client, with a new token."""
        token_id = f"{len(self._clients) + 1:032x}"
        made = token(policies, token_id=token_id, issued_on=int(time.time()))
        await self._store.create(made, BY, time.time())
        client = AsyncCloudflare(
            api_token=secret_of(token_id).reveal(),
            base_url=f"http://127.0.0.1:{self.port}/client/v4",
            max_retries=0,
        )
        self._clients.append(client)
        return client

    async def close(self) -> None:
        """No client is needed any more."""
        for client in self._clients:
            await client.close()

    async def edit(self, client: AsyncCloudflare, policies: Sequence[Policy]) -> None:
        """The client's token has other policies."""
        credential = parse_secret(client.api_token or "")
        assert credential is not None
        record = await self._store.get(credential.token_id)
        assert record is not None
        changed = msgspec.structs.replace(record.token, policies=tuple(policies))
        await self._store.replace(record, changed, Action.UPDATE, BY, time.time())


@asynccontextmanager
async def zoned_gateway(directory: Path, upstream: int, limits: Limits = Limits()) -> AsyncIterator[ZonedGateway]:  # noqa: B008 - frozen
    """It runs from entry to exit, before the upstream on that port."""
    server = EmbeddedServer(directory / "store")
    settings = Settings(
        listen=Listen(port=free_port()),
        admin=Admin(enabled=False),
        store=Store(url=Sensitive(server.start())),
        limits=limits,
        log=Log(access=False, format="console"),
        upstreams={
            "cloudflare-dns": Upstream(
                targets=(f"http://127.0.0.1:{upstream}",),
                base_path="/client/v4",
                credential=UpstreamCredential(header="Authorization", value=Sensitive(f"Bearer {KEY}")),
            )
        },
    )
    try:
        async with open_store(settings, settings.store.url.reveal()) as store:
            await store.prepare()
            await store.initialise(owner(), token(issued_on=int(time.time())), time.time())
            with open_listeners(settings) as listeners:
                async with Gateway(make_plan(settings), store).running(listeners):
                    gateway = ZonedGateway(store, settings.listen.port)
                    try:
                        yield gateway
                    finally:
                        await gateway.close()
    finally:
        server.stop()


class DemoUpstream:
    """The demo's, with more zones. It serves on `port`."""

    def __init__(self, server: TestServer, journal: Journal) -> None:
        self._server = server
        self._journal = journal

    @property
    def port(self) -> int:
        assert self._server.port is not None
        return self._server.port

    async def stop(self) -> None:
        await self._server.close()

    def asked(self, target: str) -> list[Entry]:
        """The requests for targets that begin so."""
        return [entry for entry in self._journal.entries if entry.target.startswith(f"/client/v4{target}")]


@asynccontextmanager
async def demo_upstream(*, more_zones: int = 0) -> AsyncIterator[DemoUpstream]:
    """It serves from entry to exit."""
    journal = Journal()
    server = TestServer(make_upstream(KEY, journal=journal, more_zones=more_zones))
    await server.start_server()
    try:
        yield DemoUpstream(server, journal)
    finally:
        await server.close()
