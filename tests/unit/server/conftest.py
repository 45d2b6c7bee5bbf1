"""Doors, clients and upstreams that end with the test."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import msgspec
import pytest
from support.records import token
from unit.server.wire import Listening, Meet, Tokens, Upstream, Way, Wire, forwarding, listening, meeting

from gateway.proxy.forward import Proxy
from gateway.server.handler import Door
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


@pytest.fixture
async def meet() -> AsyncIterator[Meet]:
    """See `meeting`."""
    async with meeting() as meet:
        yield meet
