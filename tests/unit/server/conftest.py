"""Listeners and clients that end with the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from support.records import token
from support.store_contract import MemoryTokenStore
from unit.server.wire import Wire, listening

from gateway.server.handler import Door, Handler

Open = Callable[..., Awaitable[Wire]]


@pytest.fixture
def store() -> MemoryTokenStore:
    """With one token in it, for DNS of one zone."""
    return MemoryTokenStore().hold(token())


@pytest.fixture
async def knock() -> AsyncIterator[Open]:
    """`await knock(door)`: a client's connection to it; the same door stays open."""
    async with AsyncExitStack() as stack:
        ports: dict[int, int] = {}

        async def knock(behind: Door, *, keepalive_timeout: float = 20.0) -> Wire:
            if id(behind) not in ports:
                ports[id(behind)] = await stack.enter_async_context(
                    listening(Handler(behind), keepalive_timeout=keepalive_timeout)
                )
            wire = Wire(*await asyncio.open_connection("127.0.0.1", ports[id(behind)]))
            stack.push_async_callback(wire.close)
            return wire

        yield knock
