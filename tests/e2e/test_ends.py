"""SIGHUP and SIGTERM while there is much to do: not one request fails that its client may not simply repeat."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from support.processes import Gateway, alive, until
from support.streaming import (
    Broken,
    Client,
    Connect,
    StreamingUpstream,
    clients_of,
    section,
    started,
    streaming_gateway,
)

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs Linux's /proc")

CLIENTS = 16


@pytest.fixture(scope="module")
def upstream() -> Iterator[StreamingUpstream]:
    upstream = StreamingUpstream().start()
    yield upstream
    upstream.stop()


@contextlib.contextmanager
def serving(directory: Path, upstream: StreamingUpstream, extra: str = "") -> Iterator[Gateway]:
    """A gateway with two workers."""
    gateway = streaming_gateway(directory, {"streams": section("streams", [upstream.url])}, extra=extra, workers=2)
    with started(gateway):
        yield gateway


class Load:
    """Clients that ask without a pause: half keep their connection, half make one for each request.

    A kept connection that is found closed is made anew, and the request sent once more (RFC 9112 9.3.1): all are GET.
    Who is not let in any more has nothing left to do.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._stops = False
        self._changed = asyncio.Condition()
        self.answered = self.refused = 0
        """Requests; connections, since nobody listens any more."""
        self.failed: list[str] = []

    async def _run(self, *, kept: bool) -> None:
        client: Client | None = None
        while not self._stops:
            is_new = client is None
            try:
                client = client or await Client.connect(self._gateway.port, self._gateway.first)
            except (ConnectionRefusedError, ConnectionResetError):  # the second, where its SYN met the closing socket
                await self._note(refused=1)
                return
            try:
                answer = await client.ask("GET", "see")
            except Broken as broken:
                if is_new or not broken.silent:
                    self.failed.append(f"{'a new' if is_new else 'a kept'} connection: {broken}")
                client.break_off()
                client = None
                continue
            if answer.status != 200:
                self.failed.append(str(answer.status))
            await self._note(answered=1)
            if not kept or answer.fields.get("connection") == "close":
                client.break_off()
                client = None
        if client is not None:
            client.break_off()

    async def _note(self, *, answered: int = 0, refused: int = 0) -> None:
        async with self._changed:
            self.answered += answered
            self.refused += refused
            self._changed.notify_all()

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30), self._changed:
            await self._changed.wait_for(condition)

    async def more(self, count: int) -> None:
        """Returns when so many more requests are answered."""
        wanted = self.answered + count
        await self._until(lambda: self.answered >= wanted)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for number in range(CLIENTS):
                group.create_task(self._run(kept=number % 2 == 0))
            await self.more(200)
            yield
            self._stops = True

    async def over(self) -> None:
        """Returns when nobody is let in any more."""
        await self._until(lambda: self.refused == CLIENTS)


def send(gateway: Gateway, number: signal.Signals) -> None:
    assert gateway.process is not None
    gateway.process.send_signal(number)


def listens(pid: int, port: int) -> bool:
    """Whether process `pid` takes connections to `port` (Linux)."""
    sockets = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(str(file.readlink()))
    lines = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    return any(
        local.endswith(f":{port:04X}") and state == "0A" and f"socket:[{inode}]" in sockets
        for _, local, _, state, _, _, _, _, _, inode, *_ in lines
    )


def replaced(gateway: Gateway, old: set[int]) -> bool:
    new = set(gateway.workers())
    return len(new) == 2 and not new & old


# SIGHUP.


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: StreamingUpstream) -> Iterator[Gateway]:
    with serving(tmp_path_factory.mktemp("ends"), upstream) as gateway:
        yield gateway


@pytest.fixture
async def connect(gateway: Gateway) -> AsyncIterator[Connect]:
    async with clients_of(gateway) as connect:
        yield connect


@pytest.mark.parametrize(
    "times", [pytest.param(2, id="twice"), pytest.param(10, id="ten times", marks=pytest.mark.deep)]
)
async def test_reloads_under_load_fail_no_request(gateway: Gateway, times: int) -> None:
    load = Load(gateway)
    async with load.running():
        for _ in range(times):
            old = set(gateway.workers())
            send(gateway, signal.SIGHUP)
            await asyncio.to_thread(until, "new workers are there alone", lambda old=old: replaced(gateway, old))
            await load.more(200)
    assert load.failed == []
    assert load.refused == 0


async def test_reloads_that_overtake_each_other_fail_no_request(gateway: Gateway) -> None:
    load, old = Load(gateway), set(gateway.workers())
    async with load.running():
        for _ in range(5):
            send(gateway, signal.SIGHUP)
            await load.more(20)
        await asyncio.to_thread(until, "new workers are there alone", lambda: replaced(gateway, old))
        await load.more(200)
    assert load.failed == []
    assert load.refused == 0


async def test_what_is_under_way_at_a_reload_is_answered_by_who_has_it(
    gateway: Gateway, connect: Connect, upstream: StreamingUpstream
) -> None:
    clients, key = [await connect() for _ in range(20)], "over-a-reload"
    for client in clients:
        client.begin("GET", f"held?key={key}")
    await asyncio.to_thread(upstream.wait_for, key, 20)
    old = set(gateway.workers())
    send(gateway, signal.SIGHUP)
    await asyncio.to_thread(until, "the old let nobody in", lambda: not any(listens(pid, gateway.port) for pid in old))
    assert set(gateway.workers()) > old
    assert (await (await connect()).ask("GET", "see")).status == 200
    await asyncio.to_thread(upstream.release, key)
    for client in clients:
        answer = await client.answer()
        assert (answer.status, answer.fields["connection"]) == (200, "close")
        assert await client.rest() == b""
    await asyncio.to_thread(until, "the old workers have ended", lambda: replaced(gateway, old))


# SIGTERM.


@pytest.mark.parametrize(
    "times", [pytest.param(1, id="once"), pytest.param(8, id="eight times", marks=pytest.mark.deep)]
)
async def test_an_end_under_load_fails_no_request(tmp_path: Path, upstream: StreamingUpstream, times: int) -> None:
    with serving(tmp_path, upstream) as gateway:
        for number in range(times):
            load, held = Load(gateway), f"{tmp_path.name}-{number}"
            processes = [*gateway.workers(), gateway.store_pid()]
            async with clients_of(gateway) as connect:
                waiting = [await connect() for _ in range(10)]
                for client in waiting:
                    client.begin("GET", f"held?key={held}")
                await asyncio.to_thread(upstream.wait_for, held, 10)
                async with load.running():
                    send(gateway, signal.SIGTERM)
                    await load.over()
                assert gateway.process is not None
                assert gateway.process.poll() is None
                await asyncio.to_thread(upstream.release, held)
                for client in waiting:
                    answer = await client.answer()
                    assert (answer.status, answer.fields["connection"]) == (200, "close")
            assert load.failed == []
            assert await asyncio.to_thread(gateway.process.wait, 30) == 0
            assert not any(alive(pid) for pid in processes)
            with pytest.raises(ConnectionRefusedError):
                await Client.connect(gateway.port, gateway.first)
            if number + 1 < times:
                await asyncio.to_thread(gateway.start)


async def test_who_is_not_done_when_the_time_is_up_is_cut_off_and_the_exit_code_is_0(
    tmp_path: Path, upstream: StreamingUpstream
) -> None:
    with serving(tmp_path, upstream, "[limits]\ndrain_timeout = 1\n") as gateway:
        async with clients_of(gateway) as connect:
            waiting, streaming, tunnel, sending = [await connect() for _ in range(4)]
            waiting.begin("GET", "held?key=for-ever")
            streaming.begin("GET", "events?key=for-ever")
            assert (await streaming.head()).status == 200
            await streaming.reader.readuntil(b"data: 1\n\n\r\n")
            tunnel.upgrade("websocket?key=for-ever")
            assert (await tunnel.head()).status == 101
            sending.begin("POST", "sink", "Content-Length: 10")
            sending.writer.write(b"half")
            await asyncio.to_thread(upstream.wait_for, "for-ever", 3)
            send(gateway, signal.SIGTERM)
            answer = await sending.answer()
            assert (answer.status, answer.code, answer.fields["connection"]) == (503, 10500, "close")
            # And no last chunk, which would say that there are no more events.
            assert [await client.rest() for client in (waiting, streaming, tunnel)] == [b"", b"", b""]
            assert gateway.process is not None
            assert await asyncio.to_thread(gateway.process.wait, 30) == 0
        await asyncio.to_thread(upstream.wait_for, "for-ever left", 2)
