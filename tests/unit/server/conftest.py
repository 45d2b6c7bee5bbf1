"""Doors, clients and upstreams that end with the test."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
from support.records import EVERYTHING, token
from unit.server.wire import (
    FakeForwarder,
    FakeTransport,
    Listening,
    Met,
    Tokens,
    Upstream,
    Way,
    Wire,
    check_tidy,
    door,
    forwarding,
    listening,
)

from gateway.proxy.forward import Proxy
from gateway.server.client_connection import ClientConnection
from gateway.server.handler import Door, Handler
from gateway.tokens.token import Token

Hold = Callable[..., Tokens]
Serve = Callable[..., Awaitable[Proxy]]
Open = Callable[[Door], Awaitable[Listening]]
Knock = Callable[[Door], Awaitable[Wire]]


@pytest.fixture(params=[pytest.param(way, id=way.value) for way in Way])
def way(request: pytest.FixtureRequest) -> Way:
    found: Way = request.param
    return found


@pytest.fixture
def hold(way: Way) -> Hold:
    """`hold(token(), ...)`: a store with these in it."""

    def hold(*tokens: Token) -> Tokens:
        found = Tokens(remembers=way is not Way.READ)
        found.hold(*tokens)
        return found

    return hold


@pytest.fixture
def store(hold: Hold) -> Tokens:
    """With one token in it, for DNS of one zone."""
    return hold(token())


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def serve(stack: AsyncExitStack, way: Way) -> Serve:
    """`await serve(upstream, ...)`: the way to it; see `forwarding`."""

    async def serve(upstream: Upstream, **rest: float) -> Proxy:
        return await stack.enter_async_context(forwarding(upstream, kept=way is Way.AT_ONCE, **rest))

    return serve


@pytest.fixture
async def open_door(stack: AsyncExitStack, way: Way) -> Open:
    """`await open_door(door)`: it is open until the test ends."""

    async def open_door(behind: Door) -> Listening:
        return await stack.enter_async_context(
            listening(msgspec.structs.replace(behind, at_once=behind.at_once and way is not Way.TASK))
        )

    return open_door


@pytest.fixture
async def knock(stack: AsyncExitStack, open_door: Open) -> Knock:
    """`await knock(door)`: a client's connection to it; the same door stays open."""
    opened: list[tuple[Door, Listening]] = []

    async def knock(behind: Door) -> Wire:
        found = next((listens for each, listens in opened if each is behind), None)
        if found is None:
            found = await open_door(behind)
            opened.append((behind, found))
        wire = await found.connect()
        stack.push_async_callback(wire.close)
        return wire

    return knock


Meet = Callable[..., Met]


@pytest.fixture
async def meet() -> AsyncIterator[Meet]:
    """`meet(...)`: a connection to a door that answers at once; all but `peer` and `family` is `Door`'s."""
    async with asyncio.TaskGroup() as group:
        handlers: list[Handler] = []

        def meet(peer: Any = ("127.0.0.1", 4711), family: socket.AddressFamily = socket.AF_INET, **parts: Any) -> Met:
            forwarder = parts.setdefault("forwarder", FakeForwarder())
            store = parts.pop("store", None) or Tokens().hold(token(EVERYTHING))
            handler = Handler(door(store, **parts), group.create_task)
            handlers.append(handler)
            connection = handler.server()
            assert isinstance(connection, ClientConnection)
            return Met(FakeTransport(connection, peer, family), connection, forwarder, handler)

        yield meet
        for handler in handlers:
            await handler.server.shutdown()
            await check_tidy(handler)
            handler.close()
