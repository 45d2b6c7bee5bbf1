"""WebSocket tunnels and event streams: passed on as they come, each half by itself, and cut when their token dies."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from support.processes import Gateway
from support.records import group_id, zone
from support.streaming import (
    PERMISSION,
    ZONE,
    Client,
    Connect,
    StreamingUpstream,
    clients_of,
    section,
    started,
    streaming_gateway,
)

BODY = {
    "name": "tunnels",
    "policies": [
        {"effect": "allow", "permission_groups": [{"id": group_id(PERMISSION)}], "resources": {zone(ZONE): "*"}}
    ],
}
EVENTS = [b"data: 1\n\n", b"data: 2\n\n"]
PATH = f"/streams/zones/{ZONE}"


@pytest.fixture(scope="module")
def upstream() -> Iterator[StreamingUpstream]:
    upstream = StreamingUpstream().start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: StreamingUpstream) -> Iterator[Gateway]:
    directory = tmp_path_factory.mktemp("tunnels")
    with started(streaming_gateway(directory, {"streams": section("streams", [upstream.url])})) as gateway:
        yield gateway


@pytest.fixture
async def connect(gateway: Gateway) -> AsyncIterator[Connect]:
    async with clients_of(gateway) as connect:
        yield connect


# WebSocket, and events.


LENGTHS = (0, 1, 125, 126, 1000, 65535, 65536, 100_000, 2, 3)
"""Of messages: all three forms that a length has are among them (RFC 6455 5.2)."""


async def test_a_thousand_messages_over_a_hundred_websockets_come_back_as_they_were(gateway: Gateway) -> None:
    headers = {"Authorization": f"Bearer {gateway.first}"}

    async def talk(number: int) -> int:
        async with session.ws_connect(f"{PATH}/websocket?key=talk", headers=headers) as socket:
            for length in LENGTHS:
                message = bytes([number]) * length
                await socket.send_bytes(message)
                assert await socket.receive_bytes(timeout=30) == message
            await socket.send_str("text")
            assert await socket.receive_str(timeout=30) == "text"
            await socket.close()
            return socket.close_code or 0

    url = f"http://127.0.0.1:{gateway.port}"
    async with aiohttp.ClientSession(url, connector=aiohttp.TCPConnector(limit=0)) as session:
        assert await asyncio.gather(*map(talk, range(100))) == [aiohttp.WSCloseCode.OK] * 100


async def test_an_event_comes_while_the_upstream_holds_the_next_one_back(
    connect: Connect, upstream: StreamingUpstream
) -> None:
    client = await connect()
    client.begin("GET", "events?key=two-events")
    head = await client.head()
    assert head.fields["content-type"] == "text/event-stream"
    events = client.pieces(head)
    assert await anext(events) == EVENTS[0]  # nothing but this test lets the second one go
    await asyncio.to_thread(upstream.release, "two-events")
    assert await anext(events) == EVENTS[1]
    client.break_off()
    await asyncio.to_thread(upstream.wait_for, "two-events left")


# The end of a token.


async def open_all(connect: Connect, secret: str, key: str, count: int) -> list[Client]:
    """As many tunnels and event streams, by turns, in which something has come already."""
    clients = [await connect(secret) for _ in range(count)]
    for client in clients[::2]:
        client.begin("GET", f"events?key={key}")
        assert (await client.head()).status == 200
        await client.reader.readuntil(EVENTS[0] + b"\r\n")
    for client in clients[1::2]:
        client.upgrade(f"websocket?key={key}")
        assert (await client.head()).status == 101
    return clients


async def cut_times(clients: list[Client]) -> list[float]:
    """When each was cut."""

    async def cut(client: Client) -> float:
        assert await client.rest() == b""
        return time.monotonic()

    return await asyncio.gather(*map(cut, clients))


ENDS = [
    pytest.param(lambda gateway, path: gateway.call("DELETE", path), id="deleted"),
    pytest.param(lambda gateway, path: gateway.call("PUT", f"{path}/value", json={}), id="rolled"),
    pytest.param(lambda gateway, path: gateway.call("PUT", path, json={**BODY, "status": "disabled"}), id="disabled"),
]


@pytest.mark.parametrize("end", ENDS)
async def test_what_is_open_is_cut_on_both_sides_when_its_token_is(
    gateway: Gateway,
    connect: Connect,
    upstream: StreamingUpstream,
    end: Callable[[Gateway, str], Any],
    request: pytest.FixtureRequest,
) -> None:
    dead, living = gateway.create(**BODY), gateway.create(**BODY)
    key = request.node.callspec.id
    cut, kept = [await open_all(connect, each["value"], key, 4) for each in (dead, living)]
    ended = await asyncio.to_thread(end, gateway, f"/user/tokens/{dead['id']}")
    assert ended.status_code == 200
    await cut_times(cut)
    assert await asyncio.to_thread(upstream.wait_for, f"{key} left", 4) == 4
    kept[1].writer.write(b"\x81\x82\0\0\0\0hi")
    assert await kept[1].reader.readexactly(4) == b"\x81\x02hi"


@pytest.mark.deep
async def test_a_hundred_of_them_are_cut_within_a_second_of_the_revocation(gateway: Gateway, connect: Connect) -> None:
    times = []
    for number in range(5):
        token = gateway.create(**BODY)
        clients = await open_all(connect, token["value"], f"revoked-{number}", 100)
        cutting = asyncio.ensure_future(cut_times(clients))
        answer = await asyncio.to_thread(gateway.call, "DELETE", f"/user/tokens/{token['id']}")
        revoked = time.monotonic()
        assert answer.status_code == 200
        times += [each - revoked for each in await cutting]
    late = [each for each in times if each > 1.0]
    assert len(times) == 500
    assert len(late) == 0, f"{len(late)} of {len(times)} were cut late, the last after {max(times):.2f} s"


# Tunnels, half by half.


async def test_a_client_that_ends_its_half_is_heard_to_the_end_and_answered(connect: Connect) -> None:
    client = await connect()
    client.upgrade("tunnel")
    assert (await client.head()).status == 101
    client.writer.write(b"all of it")
    client.writer.write_eof()
    assert await client.rest() == b"heard all of it"


async def test_an_upstream_that_ends_its_half_hears_the_client_to_the_end(
    connect: Connect, upstream: StreamingUpstream
) -> None:
    client = await connect()
    client.upgrade("tunnel-that-ends-first")
    assert (await client.head()).status == 101
    assert await client.rest() == b"goodbye"
    client.writer.write(b"after-that")
    client.writer.write_eof()
    await asyncio.to_thread(upstream.wait_for, "after-that")


async def test_bytes_behind_an_upgrade_wait_for_the_101(connect: Connect, upstream: StreamingUpstream) -> None:
    client = await connect()
    client.upgrade("tunnel-later?key=early-bytes", behind=b"early")
    await asyncio.to_thread(upstream.wait_for, "early-bytes")
    await asyncio.to_thread(upstream.release, "early-bytes")
    head = await client.head()
    assert (head.status, head.fields["x-heard"]) == (101, "0")
    assert await client.reader.readexactly(5) == b"early"
    client.writer.write_eof()
    assert await client.rest() == b""


async def test_bytes_behind_an_upgrade_that_does_not_come_go_nowhere(
    connect: Connect, upstream: StreamingUpstream
) -> None:
    client = await connect()
    client.upgrade("tunnel-never?key=early-bytes-for-nobody", behind=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    await asyncio.to_thread(upstream.wait_for, "early-bytes-for-nobody")
    await asyncio.to_thread(upstream.release, "early-bytes-for-nobody")
    answer = await client.answer()
    assert (answer.status, answer.fields["x-heard"], answer.body) == (200, "0", b"no")
    assert answer.fields["connection"] == "close"
    assert await client.rest() == b""


# No tunnels.


async def test_a_101_that_nobody_asked_for_is_a_bad_answer(connect: Connect) -> None:
    client = await connect()
    answer = await client.ask("GET", "unasked")
    assert (answer.status, answer.code) == (502, 10502)
    assert (await client.ask("GET", "see")).status == 200


@pytest.mark.parametrize(
    ("act", "lines"),
    [
        pytest.param(
            "websocket",
            ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
            id="h2c",
        ),
        pytest.param(
            "see",
            (
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            ),
            id="a WebSocket where the route has none",
        ),
    ],
)
async def test_another_upgrade_is_dropped_and_the_request_goes_on(
    connect: Connect, act: str, lines: tuple[str, ...]
) -> None:
    client = await connect()
    answer = await client.ask("GET", act, *lines)
    assert {answer.field_up(name) for name in ("upgrade", "http2-settings", "connection")} == {None}
    assert (await client.ask("GET", "see")).status == 200


@pytest.mark.parametrize(
    ("secret", "status"),
    [pytest.param("zgt_wrong", 400, id="a malformed secret"), pytest.param("", 403, id="another zone's token")],
)
async def test_nobody_without_the_right_gets_a_tunnel_and_what_came_for_it_goes_nowhere(
    gateway: Gateway, connect: Connect, upstream: StreamingUpstream, secret: str, status: int
) -> None:
    other = {**BODY, "policies": [{**BODY["policies"][0], "resources": {zone("f" * 32): "*"}}]}  # type: ignore[dict-item]
    client = await connect(secret or gateway.create(**other)["value"])
    client.upgrade("websocket?key=nobody", behind=b"\x81\x82\0\0\0\0hi")
    answer = await client.answer()
    assert answer.status == status
    assert await client.rest() == b""
    assert await asyncio.to_thread(upstream.wait_for, "nobody", 0) == 0


async def test_a_client_that_leaves_a_tunnel_takes_the_upstream_s_end_with_it(
    connect: Connect, upstream: StreamingUpstream
) -> None:
    client = await connect()
    client.upgrade("websocket?key=deserted")
    assert (await client.head()).status == 101
    client.break_off()
    await asyncio.to_thread(upstream.wait_for, "deserted left")
