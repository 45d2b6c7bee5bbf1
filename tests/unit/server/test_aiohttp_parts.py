"""A new aiohttp that has moved what we lean on fails here, and says what."""

import asyncio

import pytest
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from unit.server.wire import CLOSE, NOWHERE, FakeTransport, Meet, request

from gateway.server.aiohttp_parts import AiohttpConnection, Server, missing_parts


def test_this_aiohttp_has_every_part() -> None:
    assert missing_parts() == []


@pytest.mark.parametrize(
    ("kind", "part"),
    [
        pytest.param(RequestHandler, "_manager", id="a connection's server"),
        pytest.param(RequestHandler, "_task_handler", id="its task"),
        pytest.param(web.Server, "connections", id="a server's connections"),
        pytest.param(web.Server, "shutdown", id="its end"),
    ],
)
def test_a_part_that_was_taken_away_is_named(monkeypatch: pytest.MonkeyPatch, kind: type, part: str) -> None:
    monkeypatch.delattr(kind, part)
    assert missing_parts() == [f"{kind.__name__}.{part}"]


async def test_a_server_knows_its_connections_from_their_beginning_to_their_end(meet: Meet) -> None:
    first = meet()
    second = first.another()
    server = first.handler.server
    assert (server.connections, server.size) == ([first.connection, second.connection], 2)
    first.transport.leave()
    await asyncio.sleep(0)
    assert (server.connections, server.size) == ([second.connection], 1)
    second.transport.deliver(request(NOWHERE, CLOSE))
    await server.emptied()
    assert (server.connections, server.size) == ([], 0)


async def test_a_server_waits_for_connections_that_were_shut_down(meet: Meet) -> None:
    met = meet()
    met.transport.deliver(request())
    await met.handler.server.shutdown()
    await met.handler.server.emptied()
    assert met.transport.is_aborted
    assert met.handler.server.size == 0


async def test_nothing_of_aiohttp_s_own_is_at_work_in_a_connection() -> None:
    """Neither its parser, nor its task, nor a timer."""
    server = Server(AiohttpConnection)
    before = asyncio.all_tasks()
    connection = server()
    transport = FakeTransport(connection)
    assert asyncio.all_tasks() == before
    assert connection._parser is None
    assert connection._task_handler is None
    assert connection._keepalive_handle is None
    transport.lose()
    assert server.size == 0
