"""Large bodies and many readers: whole at the other end, and never more of them in memory than a few reads."""

import asyncio
import hashlib
import json
import resource
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from support.processes import Gateway
from support.streaming import Client, Connect, StreamingUpstream, clients_of, section, started, streaming_gateway
from support.streaming_upstream import PIECE, piece
from support.watched_gateway import WatchedGateway

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")

MIB = 1 << 20
MOST_HELD = 256 * 1024
SMALL = 8192
LARGE, MEDIUM = 128, 8
"""Pieces of an answer. For a client with a SMALL buffer that reads nothing the kernel takes 4 MiB (ran): LARGE is more,
but if all were, the kernel would have no memory left for any of them.
"""
ENDLESS = 1 << 14
"""Pieces of a body of which no end comes."""
ROUNDS, SIP = 10, 512


@pytest.fixture(scope="module")
def upstream() -> Iterator[StreamingUpstream]:
    upstream = StreamingUpstream().start()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: StreamingUpstream) -> Iterator[Gateway]:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gateway = streaming_gateway(
        tmp_path_factory.mktemp("bodies"),
        {"streams": section("streams", [upstream.url], "max_connections = 1200")},
        extra="[limits]\nmax_body = 0\ndrain_timeout = 3\n",
    )
    with started(gateway):
        yield gateway


@pytest.fixture
async def connect(gateway: Gateway) -> AsyncIterator[Connect]:
    async with clients_of(gateway) as connect:
        yield connect


class Memory:
    """Of one process, as the kernel counts it (Linux)."""

    def __init__(self, gateway: Gateway) -> None:
        [worker] = gateway.workers()
        self._process = Path(f"/proc/{worker}")
        (self._process / "clear_refs").write_text("5")  # the highest so far is forgotten
        self._before = self._read("VmRSS")

    def _read(self, name: str) -> int:
        lines = (self._process / "status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024

    @property
    def highest(self) -> int:
        """The highest RSS since this was made."""
        return self._read("VmHWM")

    @property
    def grown(self) -> int:
        """How much that is over what it was."""
        return self.highest - self._before


# One large body.


async def send_body(client: Client, count: int, framing: str) -> str:
    """Send `count` pieces; returns their digest."""
    chunked = framing == "chunked"
    digest = hashlib.sha256()
    for number in range(count):
        data = piece(number)
        digest.update(data)
        await client.send(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
    if chunked:
        await client.send(b"0\r\n\r\n")
    return digest.hexdigest()


async def whole_body(pieces: AsyncIterator[bytes]) -> tuple[int, str]:
    """The bytes of a body, and their digest."""
    digest, size = hashlib.sha256(), 0
    async for data in pieces:
        digest.update(data)
        size += len(data)
    return size, digest.hexdigest()


def digest_of(count: int) -> str:
    digest = hashlib.sha256()
    for number in range(count):
        digest.update(piece(number))
    return digest.hexdigest()


def framing_line(framing: str, count: int) -> str:
    """Of a body of so many pieces."""
    return "Transfer-Encoding: chunked" if framing == "chunked" else f"Content-Length: {count * PIECE}"


SIZES = [
    pytest.param(32 * MIB, 8 * MIB, id="32 MiB"),
    pytest.param(512 * MIB, 48 * MIB, id="512 MiB", marks=pytest.mark.deep),
]
FRAMINGS = [pytest.param("chunked"), pytest.param("length")]


@pytest.mark.parametrize(("size", "most"), SIZES)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_large_body_goes_up_whole_and_the_worker_hardly_grows(
    gateway: Gateway, connect: Connect, size: int, most: int, framing: str
) -> None:
    client, memory = await connect(), Memory(gateway)
    client.begin("POST", "sink", framing_line(framing, size // PIECE))
    digest = await send_body(client, size // PIECE, framing)
    answer = await client.answer()
    assert json.loads(answer.body) == {"size": size, "sha256": digest, "framing": framing}
    assert memory.grown < most


@pytest.mark.parametrize(("size", "most"), SIZES)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_a_large_body_comes_down_whole_and_the_worker_hardly_grows(
    gateway: Gateway, connect: Connect, size: int, most: int, framing: str
) -> None:
    client, memory = await connect(), Memory(gateway)
    client.begin("GET", f"source?pieces={size // PIECE}&framing={framing}")
    head = await client.head()
    expected = {"content-length": str(size)} if framing == "length" else {"transfer-encoding": "chunked"}
    assert expected.items() <= head.fields.items()
    assert await whole_body(client.pieces(head)) == (size, digest_of(size // PIECE))
    assert memory.grown < most


@pytest.mark.parametrize(("size", "most"), SIZES)
async def test_a_body_that_the_upstream_does_not_take_waits_with_the_client(
    gateway: Gateway, connect: Connect, upstream: StreamingUpstream, size: int, most: int
) -> None:
    client, memory, key = await connect(), Memory(gateway), f"sink-{size}"
    client.begin("POST", f"sink?key={key}", f"Content-Length: {size}")
    sending = asyncio.ensure_future(send_body(client, size // PIECE, "length"))
    await asyncio.to_thread(upstream.wait_for, key)
    await still(lambda: client.sent)
    await asyncio.to_thread(upstream.release, key)
    digest = await sending
    answer = await client.answer()
    assert json.loads(answer.body) == {"size": size, "sha256": digest, "framing": "length"}
    assert memory.grown < most


@pytest.mark.parametrize(("size", "most"), SIZES)
async def test_an_answer_that_the_client_does_not_take_waits_with_the_upstream(
    gateway: Gateway, connect: Connect, size: int, most: int
) -> None:
    client, memory = await connect(receive_buffer=SMALL), Memory(gateway)
    client.begin("GET", f"source?pieces={size // PIECE}")
    head = await client.head()
    await still(lambda: memory.highest)
    assert await whole_body(client.pieces(head)) == (size, digest_of(size // PIECE))
    assert memory.grown < most


async def still(measure: Callable[[], int]) -> None:
    """`measure` has not changed for a while: of what does not happen, no event tells."""
    before, same = measure(), 0
    while same < 10:
        await asyncio.sleep(0.03)
        now = measure()
        same = same + 1 if now == before else 0
        before = now


# Many connections.


COUNTS = [pytest.param(25, id="50"), pytest.param(500, id="1,000", marks=pytest.mark.deep)]


def sizes_of(half: int) -> list[int]:
    """Pieces of the answers of as many slow readers."""
    return [MEDIUM if number % 10 else LARGE for number in range(half)]


@pytest.mark.parametrize("half", COUNTS)
async def test_who_reads_slowly_starves_nobody_and_fills_no_memory(
    gateway: Gateway, connect: Connect, half: int
) -> None:
    memory = Memory(gateway)
    slow = [await connect(receive_buffer=SMALL) for _ in range(half)]
    quick = [await connect() for _ in range(half)]
    sizes, digests = sizes_of(half), [hashlib.sha256() for _ in slow]
    for client, size in zip(slow, sizes, strict=True):
        client.begin("GET", f"source?pieces={size}")
    assert {(await client.head()).status for client in slow} == {200}
    # As often as a quick one is answered, a slow one takes a little more.
    for _ in range(ROUNDS):
        answers = await asyncio.gather(*(client.ask("GET", "see") for client in quick))
        assert {answer.status for answer in answers} == {200}
        for client, digest in zip(slow, digests, strict=True):
            digest.update(await client.reader.readexactly(SIP))
    for client, digest, size in zip(slow, digests, sizes, strict=True):
        async for data in client.exactly(size * PIECE - ROUNDS * SIP):
            digest.update(data)
    assert [digest.hexdigest() for digest in digests] == [digest_of(size) for size in sizes]
    assert memory.highest < 300 * MIB


@pytest.fixture(scope="module")
def watched(gateway: Gateway) -> Iterator[WatchedGateway]:
    with WatchedGateway(gateway) as watched:
        yield watched


@pytest.mark.parametrize("half", COUNTS)
@pytest.mark.parametrize("framing", FRAMINGS)
async def test_neither_who_takes_no_answer_nor_whose_body_is_not_taken_has_more_than_256_kib_held(
    connect: Connect, upstream: StreamingUpstream, watched: WatchedGateway, half: int, framing: str
) -> None:
    key = f"sink-of-{half}-{framing}"
    senders = [await connect(where=watched.port) for _ in range(half)]
    takers = [await connect(where=watched.port, receive_buffer=SMALL) for _ in range(half)]
    clients = (*senders, *takers)
    for client in clients:
        assert (await client.ask("GET", "see")).status == 200
    sending = []
    with watched.watching() as held:
        for sender, taker, size in zip(senders, takers, sizes_of(half), strict=True):
            taker.begin("GET", f"source?pieces={size}&framing={framing}")
            count = MEDIUM if size == MEDIUM else ENDLESS
            sender.begin("POST", f"sink?key={key}", framing_line(framing, count))
            sending.append(asyncio.ensure_future(send_body(sender, count, framing)))
        assert {(await client.head()).status for client in takers} == {200}
        await asyncio.to_thread(upstream.wait_for, key, half)
        await still(lambda: sum(client.sent for client in senders))
        await still(lambda: held.now)
    assert not all(task.done() for task in sending)
    for task in sending:
        task.cancel()
    await asyncio.wait(sending)
    await asyncio.to_thread(upstream.release, key)  # who is not read from is not seen to leave
    assert held.client > 0
    assert held.upstream > 0
    assert held.exchange <= MOST_HELD


@pytest.mark.parametrize("half", COUNTS)
async def test_nor_does_either_side_of_a_tunnel_whose_ends_send_and_take_nothing(
    connect: Connect, watched: WatchedGateway, half: int
) -> None:
    clients = [await connect(where=watched.port, receive_buffer=SMALL) for _ in range(half // 5)]
    for client in clients:
        client.upgrade("tunnel-flood")
        assert (await client.head()).status == 101
    with watched.watching() as held:
        sending = [asyncio.ensure_future(send_body(client, ENDLESS, "none")) for client in clients]
        await still(lambda: sum(client.sent for client in clients))
        await still(lambda: held.now)
    for task in sending:
        task.cancel()
    await asyncio.wait(sending)
    assert 0 < held.client <= MOST_HELD
    assert 0 < held.upstream <= MOST_HELD
