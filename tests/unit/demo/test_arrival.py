import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.demo.arrival import CREDENTIAL_OK, MOST_BODY, UNREADABLE, WRONG_CREDENTIAL, unreadable_log
from gateway.demo.journal import Journal
from gateway.demo.upstream import make_upstream

Client = TestClient[web.Request, web.Application]
TARGET = b"GET /client/v4/user HTTP/1.1\r\nHost: demo\r\nConnection: close\r\n"


async def exchange(server: TestServer, request: bytes) -> bytes:
    """The raw answer to raw bytes, on a connection of its own."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize(
    ("fields", "marks"),
    [
        pytest.param([], [], id="none"),
        pytest.param(["Bearer wrong"], [WRONG_CREDENTIAL], id="another"),
        pytest.param(["bearer {}"], [WRONG_CREDENTIAL], id="another scheme"),
        pytest.param(["Bearer  {}"], [WRONG_CREDENTIAL], id="two spaces"),
        pytest.param(["{}"], [WRONG_CREDENTIAL], id="no scheme"),
        pytest.param(["Bearer {}x"], [WRONG_CREDENTIAL], id="longer"),
        pytest.param(["Bearer {}", "Bearer {}"], [CREDENTIAL_OK, CREDENTIAL_OK], id="twice"),
        pytest.param(["Bearer {}", "Basic eA=="], [CREDENTIAL_OK, WRONG_CREDENTIAL], id="with another"),
    ],
)
async def test_only_the_credential_itself_exactly_once_lets_in(
    server: TestServer, journal: Journal, credential: str, fields: list[str], marks: list[str]
) -> None:
    lines = "".join(f"aUTHORIZATION: {field.format(credential)}\r\n" for field in fields)
    answer = await exchange(server, TARGET + lines.encode() + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 403 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["errors"] == [{"code": 9109, "message": "Invalid access token"}]
    (entry,) = journal.entries
    assert [value for name, value in entry.headers if name == "aUTHORIZATION"] == marks
    assert credential not in repr(entry)


async def test_a_request_is_recorded_as_it_was_sent(server: TestServer, journal: Journal, credential: str) -> None:
    answer = await exchange(
        server,
        b"GET /client/v4//user/%7e?a=b&&c=%2F HTTP/1.1\r\nhOsT: demo\r\nX-Odd: \xe9\r\nConnection: close\r\n"
        b"x-odd: 2\r\nAuthorization: Bearer " + credential.encode() + b"\r\n\r\n",
    )
    assert answer.startswith(b"HTTP/1.1 404 ")
    (entry,) = journal.entries
    assert (entry.method, entry.target) == ("GET", "/client/v4//user/%7e?a=b&&c=%2F")
    assert entry.headers == (
        ("hOsT", "demo"),
        ("X-Odd", "\xe9"),
        ("Connection", "close"),
        ("x-odd", "2"),
        ("Authorization", CREDENTIAL_OK),
    )
    assert (entry.body_length, entry.body_complete, entry.token_seen) == (0, True, False)


async def test_the_entry_is_there_when_the_answer_is(client: Client, journal: Journal) -> None:
    for count in range(1, 4):
        async with client.get("/client/v4/user") as response:
            assert (response.status, len(journal.entries)) == (200, count)


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_token_is_seen_in_a_body_even_across_two_chunks(
    client: Client, journal: Journal, *, chunked: bool
) -> None:
    async def body() -> AsyncIterator[bytes]:
        for part in (b"..zg", b"t_.."):
            yield part
            await asyncio.sleep(0.02)

    async with client.post("/client/v4/zones", data=body() if chunked else b"..zgt_.."):
        pass
    assert [(entry.body_length, entry.token_seen) for entry in journal.entries] == [(8, True)]


@pytest.mark.parametrize(
    ("path", "headers"),
    [("/client/v4/user?t=zgt_1", {}), ("/client/v4/user", {"X-Any": "Bearer zga_1"})],
    ids=["target", "header"],
)
async def test_a_token_is_seen_in_target_and_headers(
    client: Client, journal: Journal, path: str, headers: dict[str, str]
) -> None:
    async with client.get(path, headers=headers):
        pass
    assert [entry.token_seen for entry in journal.entries] == [True]


async def test_a_tokens_secret_in_place_of_the_credential_is_seen_and_not_stored(
    client: Client, journal: Journal
) -> None:
    async with client.get("/client/v4/user", headers={"Authorization": "Bearer zgt_secret"}) as response:
        assert response.status == 403
    (entry,) = journal.entries
    assert entry.token_seen
    assert "zgt_secret" not in repr(entry)


async def test_a_body_that_is_too_large_is_counted_and_refused(client: Client, journal: Journal) -> None:
    async with client.post("/client/v4/zones", data=io.BytesIO(b"x" * (MOST_BODY + 1))) as response:
        assert response.status == 413
    assert [entry.body_length for entry in journal.entries] == [MOST_BODY + 1]


async def test_a_body_that_breaks_off_is_recorded_as_far_as_it_came(server: TestServer, journal: Journal) -> None:
    _, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"POST /client/v4/zones HTTP/1.1\r\nHost: demo\r\nContent-Length: 9\r\n\r\nfour")
    await asyncio.sleep(0.05)
    assert journal.entries == []
    writer.close()
    await writer.wait_closed()
    async with asyncio.timeout(5):
        while not journal.entries:  # noqa: ASYNC110 - the upstream tells nobody
            await asyncio.sleep(0.01)
    assert [(entry.body_length, entry.body_complete) for entry in journal.entries] == [(4, False)]


async def test_what_the_http_parser_refuses_is_recorded_too(
    aiohttp_server: Callable[..., Awaitable[TestServer]], credential: str, journal: Journal
) -> None:
    server = await aiohttp_server(
        make_upstream(credential, journal=journal),
        access_log=logging.getLogger(__name__),
        access_log_class=unreadable_log(journal),
    )
    assert (await exchange(server, b"GET / HTTP/1.1\r\nHost : demo\r\n\r\n")).startswith(b"HTTP/1.0 400 ")
    await exchange(server, TARGET + b"\r\n")
    assert [entry.method for entry in journal.entries] == [UNREADABLE, "GET"]
