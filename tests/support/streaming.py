"""A gateway before upstreams that stream, hold back and tunnel, and a client that keeps nothing of what it reads."""

import asyncio
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import httpx
import msgspec

from support.certificates import Certificate
from support.processes import NO_TLS, UPSTREAM_SECRET, Gateway

_SHIPPED = Path(__file__).parent.parent.parent / "policies"
_PROGRAM = Path(__file__).with_name("streaming_upstream.py")
_PATIENCE = 30.0
_LIMIT = 256 * 1024
_BIND_ADDRESS_NO_PORT = 24
"""Linux's IP_BIND_ADDRESS_NO_PORT, which Python 3.11 does not name."""
ZONE = "a" * 32
PERMISSION = "DNS Write"

_API = """
name = "{name}"
prefix = "/{name}"
variables = {{ zone_id = "id", act = "name" }}

[[route]]
methods = ["GET", "PUT", "POST"]
path = "/zones/{{zone_id}}/{{act}}"
permission = ["DNS Write"]
resource = "zone:{{zone_id}}"
"""
_WEBSOCKETS = """
[[route]]
methods = ["GET"]
path = "/zones/{{zone_id}}/{act}"
permission = ["DNS Write"]
resource = "zone:{{zone_id}}"
upgrade = ["websocket"]
"""
_TUNNELS = ("websocket", "tunnel", "tunnel-that-ends-first", "tunnel-later", "tunnel-never", "tunnel-flood")


class StreamingUpstream:
    """`streaming_upstream.py` in its own process."""

    def __init__(self, name: str = "upstream", *, tls: tuple[Certificate, str] | None = None) -> None:
        """`tls`: what it shows, and the file of the authority whose clients it takes."""
        self.name = name
        self._tls = (tls[0].cert, tls[0].key, tls[1]) if tls else ()
        self._port = "0"
        self.url = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start it; again, where it was."""
        self._process = subprocess.Popen(
            [sys.executable, str(_PROGRAM), self.name, self._port, *self._tls], stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        self._port = self.url.rpartition(":")[2]
        return self

    def stop(self) -> None:
        """SIGKILL: nobody is told."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def release(self, key: str) -> None:
        """Whoever waits with that key goes on, and whoever will."""
        httpx.get(f"{self.url}/release?key={key}", verify=NO_TLS).raise_for_status()

    def wait_for(self, key: str, count: int = 1) -> int:
        """Returns once so many have arrived with that key."""
        answer = httpx.get(f"{self.url}/arrived", params={"key": key, "count": count}, timeout=_PATIENCE, verify=NO_TLS)
        return int(answer.raise_for_status().text)


def write_policies(directory: Path, names: Sequence[str]) -> None:
    """The shipped policies, and beside them the APIs of `names`, each under its name."""
    shutil.copytree(_SHIPPED, directory)
    for name in names:
        routes = "".join(_WEBSOCKETS.format(act=act) for act in _TUNNELS)
        (directory / "apis" / f"{name}.toml").write_text(_API.format(name=name) + routes)


def section(name: str, targets: Sequence[str], more: str = "") -> str:
    """What the settings say of an API's upstream."""
    return f"""
[upstreams.{name}]
targets = {json.dumps(list(targets))}
base_path = "/up"
credential = {{ header = "Authorization", value = "Bearer {UPSTREAM_SECRET}" }}
{more}
"""


def streaming_gateway(
    directory: Path, upstreams: dict[str, str], *, listen: str = "", extra: str = "", workers: int = 1
) -> Gateway:
    """A gateway that has not been started. `upstreams`: sections by the API's name; `listen`: lines of that section.

    Its own calls go by the admin listener.
    """
    write_policies(directory / "policies", list(upstreams))
    extra = f'{extra}\n[policies]\ndir = "{directory / "policies"}"\n{"".join(upstreams.values())}'
    gateway = Gateway(directory, "http://127.0.0.1:9", extra, workers)
    gateway.url = f"{gateway.admin_url}/client/v4"
    gateway.config.write_text(gateway.config.read_text().replace("[listen]\n", f"[listen]\n{listen}\n"))
    return gateway


@contextlib.contextmanager
def started(gateway: Gateway) -> Iterator[Gateway]:
    """It serves, and has its first owner."""
    try:
        gateway.init()
        gateway.start()
        yield gateway
    finally:
        gateway.stop()
        gateway.tidy()


class Head(msgspec.Struct, frozen=True):
    """Of an answer. Names in lower case; of a name that comes twice the last."""

    status: int
    fields: dict[str, str]


class Answer(msgspec.Struct, frozen=True):
    """One that was read to its end."""

    status: int
    fields: dict[str, str]
    body: bytes

    @property
    def seen(self) -> dict[str, Any]:
        """What the upstream says that it saw."""
        assert self.status == 200, self
        found: dict[str, Any] = json.loads(self.body)
        return found

    def field_up(self, name: str) -> str | None:
        """The value of a field (its name in lower case), as the upstream saw it."""
        fields = (line.partition(": ") for line in self.seen["lines"][1:])
        return next((value for found, _, value in fields if found.lower() == name), None)

    @property
    def code(self) -> int:
        """A refusal's."""
        return int(json.loads(self.body)["errors"][0]["code"])


class Broken(ConnectionError):  # noqa: N818 - it says what is the case
    """The connection ended before the answer did. `silent`: no byte of it had come."""

    def __init__(self, *, silent: bool) -> None:
        super().__init__("closed before an answer came" if silent else "an answer that broke off")
        self.silent = silent


class Client:
    """One connection to the gateway, with a token."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, secret: str, api: str) -> None:
        self.reader, self.writer = reader, writer
        self._secret = secret
        self._api = api
        self.sent = 0
        """Bytes of bodies."""

    @classmethod
    async def connect(
        cls,
        where: int | str,
        secret: str,
        *,
        api: str = "streams",
        source: str = "",
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> Self:
        """To a port, or to the path of a Unix socket; `receive_buffer`: bytes that the kernel takes unread, about."""
        if isinstance(where, str):
            return cls(*await asyncio.open_unix_connection(where, limit=_LIMIT), secret, api)
        sock = socket.socket()
        sock.setblocking(False)
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            if source:  # a port of its own would be one that another program may be about to listen on
                sock.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
                sock.bind((source, 0))
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", where))
            limit = receive_buffer or _LIMIT
            streams = await asyncio.open_connection(
                sock=sock, limit=limit, ssl=tls, server_hostname="localhost" if tls else None
            )
        except BaseException:
            sock.close()
            raise
        return cls(*streams, secret, api)

    async def send(self, data: bytes) -> None:
        """Send some of a body, when most of what was sent before is taken."""
        self.sent += len(data)
        self.writer.write(data)
        await self.writer.drain()

    def begin(self, method: str, act: str, *lines: str) -> None:
        """Send a head."""
        first = f"{method} /{self._api}/zones/{ZONE}/{act} HTTP/1.1"
        every = (first, "Host: gateway.example", f"Authorization: Bearer {self._secret}", *lines)
        self.writer.write("".join(f"{line}\r\n" for line in every).encode() + b"\r\n")

    async def head(self) -> Head:
        """The next one. Raises Broken."""
        try:
            async with asyncio.timeout(_PATIENCE):
                raw = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            raise Broken(silent=not error.partial) from None
        except TimeoutError:
            raise AssertionError("no answer came") from None
        except ConnectionError:
            raise Broken(silent=True) from None
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Head(int(first.split(" ")[1]), fields)

    async def pieces(self, head: Head) -> AsyncIterator[bytes]:
        """The body, as it comes. Raises Broken."""
        if "transfer-encoding" in head.fields:
            while size := int((await self._read(self.reader.readuntil(b"\r\n")))[:-2], 16):
                async for data in self.exactly(size):
                    yield data
                assert await self._read(self.reader.readexactly(2)) == b"\r\n"
            assert await self._read(self.reader.readexactly(2)) == b"\r\n"
        else:
            async for data in self.exactly(int(head.fields.get("content-length", "0"))):
                yield data

    async def exactly(self, size: int) -> AsyncIterator[bytes]:
        """So many bytes, as they come. Raises Broken."""
        while size:
            data = await self._read(self.reader.read(min(size, _LIMIT)))
            if not data:
                raise Broken(silent=False)
            size -= len(data)
            yield data

    async def _read(self, reading: Any) -> bytes:
        try:
            async with asyncio.timeout(_PATIENCE):
                data: bytes = await reading
        except (asyncio.IncompleteReadError, ConnectionError):
            raise Broken(silent=False) from None
        except TimeoutError:
            raise AssertionError("an answer that does not go on") from None
        return data

    async def answer(self) -> Answer:
        """The next one, whole. Raises Broken."""
        head = await self.head()
        return Answer(head.status, head.fields, b"".join([data async for data in self.pieces(head)]))

    async def ask(self, method: str, act: str, *lines: str, body: bytes = b"") -> Answer:
        """What a request is answered. Raises Broken."""
        if body:
            lines = (*lines, f"Content-Length: {len(body)}")
        self.begin(method, act, *lines)
        if body:
            self.writer.write(body)
        return await self.answer()

    def upgrade(self, act: str, *, behind: bytes = b"") -> None:
        """Ask for a tunnel, with bytes behind the head of the same write."""
        self.begin(
            "GET",
            act,
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        self.writer.write(behind)

    async def rest(self) -> bytes:
        """All that comes before the end, be it a clean one or not."""
        found = b""
        try:
            async with asyncio.timeout(_PATIENCE):
                while data := await self.reader.read(_LIMIT):
                    found += data
        except ConnectionError:
            pass
        except TimeoutError:
            raise AssertionError(f"no end came, behind {found[-300:]!r}") from None
        return found

    @property
    def serial(self) -> str:
        """Of the certificate that the gateway has shown."""
        return str(self.writer.get_extra_info("peercert")["serialNumber"])

    def break_off(self) -> None:
        """Closed at once, whatever is unread or unsent."""
        self.writer.transport.abort()


class Connect(Protocol):
    """Makes a client; see `Client.connect`."""

    async def __call__(self, secret: str = "", where: int | str = 0, **options: Any) -> Client: ...


@contextlib.asynccontextmanager
async def clients_of(gateway: Gateway) -> AsyncIterator[Connect]:
    """Makes clients, of its port and its first token where nothing else is said; in the end all are closed."""
    clients = []

    async def connect(secret: str = "", where: int | str = 0, **options: Any) -> Client:
        client = await Client.connect(where or gateway.port, secret or gateway.first, **options)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        client.break_off()
    for _ in range(3):  # until the loop has heard of it
        await asyncio.sleep(0)
