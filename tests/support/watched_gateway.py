"""A gateway inside this process, in a thread of its own, of whose connections it is known what they hold."""

import asyncio
import gc
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Self

import msgspec
import uvloop

from gateway.app import Gateway as AppGateway
from gateway.app import make_plan, open_listeners
from gateway.server.client_connection import ClientConnection
from gateway.settings import Admin, Log, Settings, load_settings
from gateway.store_access import open_store, ready_store
from support.processes import Gateway, free_port

_POLL = 0.002


class Held(msgspec.Struct):
    """Bytes: what has come and was not passed on, and what was written and not taken. The most at a time, of
    connections of one kind; and all of it, now.
    """

    client: int = 0
    """By the connection's own count."""
    upstream: int = 0
    exchange: int = 0
    """Both together."""
    now: int = 0


class WatchedGateway:
    """Over the store of a gateway that runs as a program, with its settings, on a port of its own."""

    def __init__(self, beside: Gateway) -> None:
        settings = load_settings(beside.config, beside.environment)
        self.port = free_port()
        self._settings: Settings = msgspec.structs.replace(
            settings,
            listen=msgspec.structs.replace(settings.listen, port=self.port),
            admin=Admin(enabled=False),
            log=Log(access=False),
        )
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result(60)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        assert not self._thread.is_alive()

    def _main(self) -> None:
        try:
            with ready_store(self._settings) as found:
                uvloop.run(self._serve(found.url))
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _serve(self, url: str) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with open_store(self._settings, url) as store:
            with open_listeners(self._settings) as listeners:
                async with AppGateway(make_plan(self._settings), store).running(listeners):
                    self._ready.set_result(None)
                    await self._stop.wait()

    @contextmanager
    def watching(self) -> Iterator[Held]:
        """What the connections hold that are there now, looked at again and again until the end."""
        held = Held()
        task = asyncio.run_coroutine_threadsafe(self._watch(held), self._loop)
        try:
            yield held
            assert not task.done(), task.result()
        finally:
            task.cancel()

    async def _watch(self, held: Held) -> None:
        connections = [each for each in gc.get_objects() if type(each) is ClientConnection]
        while True:
            client = [connection.buffered for connection in connections]
            upstream = [_unsent(connection) for connection in connections]
            exchange = [sum(both) for both in zip(client, upstream, strict=True)]
            held.client = max(held.client, *client)
            held.upstream = max(held.upstream, *upstream)
            held.exchange = max(held.exchange, *exchange)
            held.now = sum(exchange)
            await asyncio.sleep(_POLL)


def _unsent(connection: ClientConnection) -> int:
    """What waits for the upstream of its request, if it has one in hand."""
    relay = connection.exchange.relay if connection.exchange is not None else None
    upstream = relay._connection if relay is not None else None
    return upstream.transport.get_write_buffer_size() if upstream is not None else 0
