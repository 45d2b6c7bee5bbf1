"""A listener on loopback, and a client that speaks to it in bytes."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

from aiohttp import web
from support.records import CATALOG, NOW, secret_of
from support.store_contract import MemoryTokenStore

from gateway.access.decision import Allow
from gateway.catalog.route_table import RouteTable
from gateway.reason import Answer, Deny, succeed
from gateway.server.admission import Admission
from gateway.server.client_connection import Server
from gateway.server.handler import Door, Handler
from gateway.server.ports import Call
from gateway.telemetry.access_log import AccessLog
from gateway.tokens.digest import NO_PEPPERS, Peppers

BEARER = f"Authorization: Bearer {secret_of().reveal()}\r\n".encode()


class Reply(NamedTuple):
    """One answer, read to the end that it announced; `fields` have lower-case names."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes
    line: bytes

    def values(self, name: str) -> list[str]:
        return [value for field, value in self.fields if field == name]

    def field(self, name: str) -> str:
        """The one field of that name."""
        (value,) = self.values(name)
        return value

    @property
    def envelope(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def code(self) -> int:
        """That of the one error."""
        (error,) = self.envelope["errors"]
        return int(error["code"])


class Wire:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self, *, to_head: bool = False) -> Reply:
        """The next answer that is not an interim one, which stay in the stream: see `line`."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        line, *lines = head[:-4].decode("latin-1").split("\r\n")
        pairs = (text.partition(":") for text in lines)
        fields = [(name.lower(), value.strip()) for name, _, value in pairs]
        status = int(line.split()[1])
        found = dict(fields)
        if to_head or status in (204, 304) or status < 200:
            body = b""
        elif found.get("transfer-encoding") == "chunked":
            body = await self._chunks()
        elif "content-length" in found:
            body = await self.reader.readexactly(int(found["content-length"]))
        else:
            body = await self.reader.read()
        return Reply(status, fields, body, line.encode())

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readuntil(b"\r\n"), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        assert await self.reader.readuntil(b"\r\n") == b"\r\n"
        return body

    async def rest(self) -> bytes:
        """Everything until the gateway ends the connection."""
        return await self.reader.read()

    async def ask(self, data: bytes, *, to_head: bool = False) -> Reply:
        self.send(data)
        return await self.reply(to_head=to_head)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


class FakeTokenApi:
    """A `TokenApi` that remembers its calls. `answers`: what it says."""

    def __init__(self, answers: Answer | Deny | Exception | None = None) -> None:
        self.calls: list[tuple[Allow, Call]] = []
        self._answers = answers or succeed({"id": "x"})

    async def answer(self, allow: Allow, call: Call) -> Answer | Deny:
        self.calls.append((allow, call))
        if isinstance(self._answers, Exception):
            raise self._answers
        return self._answers


def admission(
    store: MemoryTokenStore,
    *,
    table: RouteTable = CATALOG.public,
    peppers: Peppers = NO_PEPPERS,
    clock: Callable[[], float] = lambda: NOW,
) -> Admission:
    return Admission(store, store, table, credential_fields=CATALOG.credential_fields, peppers=peppers, clock=clock)


def door(store: MemoryTokenStore | None = None, **parts: Any) -> Door:
    """A door before the public routes; `parts` are `Door`'s own."""
    sensible = {
        "admission": admission(store or MemoryTokenStore()),
        "token_api": FakeTokenApi(),
        "access_log": AccessLog(enabled=True),
        "max_body": 100_000,
        "body_idle_timeout": 20.0,
    }
    return Door(**{**sensible, **parts})


@contextlib.asynccontextmanager
async def listening(handler: Handler, *, keepalive_timeout: float = 20.0) -> AsyncIterator[int]:
    """The port on which `handler` answers."""
    server = Server(handler, keepalive_timeout=keepalive_timeout, log_refusal=handler.log_refusal)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()
