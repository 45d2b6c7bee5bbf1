"""The demo upstream in this process, and a client that holds its credential."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from gateway.demo.upstream import Journal, make_upstream

Client = TestClient[web.Request, web.Application]
Ask = Callable[..., Awaitable[tuple[int, Any]]]


@pytest.fixture
def credential() -> str:
    return "the-upstream's-own"


@pytest.fixture
def journal() -> Journal:
    return Journal()


@pytest.fixture
async def server(aiohttp_server: Callable[..., Awaitable[TestServer]], credential: str, journal: Journal) -> TestServer:
    return await aiohttp_server(make_upstream(credential, journal=journal))


@pytest.fixture
async def client(aiohttp_client: Callable[..., Awaitable[Client]], server: TestServer, credential: str) -> Client:
    """It sends the credential unless told otherwise."""
    return await aiohttp_client(server, headers={"Authorization": f"Bearer {credential}"})


@pytest.fixture
def ask(client: Client) -> Ask:
    """`status, answer = await ask(method, path below /client/v4, ...)`."""

    async def ask(method: str, path: str, **options: Any) -> tuple[int, Any]:
        async with client.request(method, f"/client/v4{path}", **options) as response:
            return response.status, await response.json()

    return ask
