import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from unit.server.wire import Upstream, backend

from gateway.proxy.ask import Answered, Ask, TooLong
from gateway.proxy.ports import UpstreamFailed

PATH = (b"zones", b"x")
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nX-Sum: 1\r\n\r\n"
MEBI = 1024 * 1024


@asynccontextmanager
async def asking(upstream: Upstream, *, kept: bool = True, seconds: float = 20.0) -> AsyncIterator[Ask]:
    async with backend(upstream, kept=kept) as behind:
        yield Ask({"cloudflare-dns": behind}, seconds=seconds)


async def get(ask: Ask, most: int = 1000) -> Answered:
    return await ask.get("cloudflare-dns", PATH, most=most)


def long(size: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, b"x" * size)


@pytest.mark.parametrize("kept", [True, False], ids=["on a connection that is there", "on a new one"])
async def test_an_answer_is_gathered_whole(*, kept: bool) -> None:
    async with asking(Upstream(OK), kept=kept) as ask:
        assert (await get(ask)).body == b"{}"
        answer = await get(ask)
    assert answer == Answered(
        200,
        b"HTTP/1.1 200 OK\r\n",
        (
            (b"Content-Type", b"application/json"),
            (b"Cache-Control", b"private"),
            (b"X-Request-Id", b"zonegate"),
            (b"Content-Length", b"2"),
        ),
        b"{}",
    )


async def test_the_question_carries_our_login_and_nothing_of_a_client() -> None:
    upstream = Upstream(OK)
    async with asking(upstream) as ask:
        await get(ask)
    (seen,) = upstream.requests
    assert (seen.method, seen.target) == (b"GET", b"/v4/zones/x")
    assert seen.fields == [
        (b"Host", b"api.internal"),
        (b"Accept", b"application/json"),
        (b"Via", b"1.1 zonegate"),
        (b"Authorization", b"Bearer the-upstream's-own"),
        (b"Accept-Encoding", b"identity"),
    ]


async def test_a_question_may_have_a_query_and_other_fields() -> None:
    upstream = Upstream(OK)
    async with asking(upstream) as ask:
        answer = await ask.get(
            "cloudflare-dns", PATH, most=10, query=b"page=1", lines=b"X-A: b\r\n", request_id=b"request-0001"
        )
    (seen,) = upstream.requests
    assert seen.target == b"/v4/zones/x?page=1"
    assert seen.fields == [(b"Host", b"api.internal"), (b"X-A", b"b"), (b"Accept-Encoding", b"identity")]
    assert (b"X-Request-Id", b"request-0001") in answer.fields


@pytest.mark.parametrize(
    ("sent", "body"),
    [
        pytest.param(CHUNKED, b"abcde", id="in chunks"),
        pytest.param(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, b"{}", id="behind an interim answer"),
        pytest.param(b"HTTP/1.1 204 No Content\r\n\r\n", b"", id="without a body"),
    ],
)
async def test_framing_is_the_relays_business(sent: bytes, body: bytes) -> None:
    async with asking(Upstream(sent)) as ask:
        assert (await get(ask)).body == body


async def test_a_body_may_end_with_its_connection() -> None:
    async with asking(Upstream(b"HTTP/1.0 200 OK\r\n\r\nabc", cuts=True)) as ask:
        assert (await get(ask)).body == b"abc"


@pytest.mark.parametrize("status", [301, 404, 429, 500, 520])
async def test_a_refusal_is_an_answer(status: int) -> None:
    async with asking(Upstream(b"HTTP/1.1 %d X\r\nContent-Length: 1\r\n\r\nx" % status)) as ask:
        assert (await get(ask)).status == status


@pytest.mark.parametrize(
    ("field", "encoded"),
    [(b"Content-Encoding: gzip", True), (b"content-encoding: BR", True), (b"Content-Encoding: identity", False)],
)
async def test_a_compressed_answer_is_told_from_one_that_is_not(field: bytes, *, encoded: bool) -> None:
    async with asking(Upstream(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 0\r\n\r\n" % field)) as ask:
        assert (await get(ask)).is_encoded is encoded


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab", id="a cut body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", id="a cut chunked body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde", id="two lengths"),
        pytest.param(b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n", id="a tunnel"),
        pytest.param(b"SSH-2.0\r\n", id="no HTTP"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_what_is_no_answer_is_a_failure(sent: bytes) -> None:
    async with asking(Upstream(sent, cuts=True)) as ask:
        with pytest.raises(UpstreamFailed) as failed:
            await get(ask)
        assert not failed.value.timeout


async def test_an_upstream_that_is_not_there_is_a_failure() -> None:
    async with backend(Upstream()) as behind:
        pass
    with pytest.raises(UpstreamFailed):
        await get(Ask({"cloudflare-dns": behind}, seconds=20))


async def test_a_path_that_no_upstream_may_be_sent_is_a_failure() -> None:
    upstream = Upstream(OK)
    async with asking(upstream) as ask:
        with pytest.raises(UpstreamFailed):
            await ask.get("cloudflare-dns", (b"zones", b".."), most=10)
    assert not upstream.requests


async def test_the_time_is_for_the_whole_answer() -> None:
    async with asking(Upstream(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"), seconds=0.05) as ask:
        with pytest.raises(UpstreamFailed) as failed:
            await get(ask)
    assert failed.value.timeout


async def test_a_connection_that_was_closed_meanwhile_is_tried_again_on_another() -> None:
    upstream = Upstream(OK)
    async with asking(upstream) as ask:
        (target,) = ask.backend("cloudflare-dns").where.pool._targets
        asyncio.get_running_loop().call_soon(target.idle[0].transport.abort)
        assert (await get(ask)).body == b"{}"


@pytest.mark.parametrize("size", [999, 1000])
async def test_an_answer_of_at_most_so_many_bytes_is_read(size: int) -> None:
    async with asking(Upstream(long(size))) as ask:
        assert len((await get(ask)).body) == size


async def test_of_a_longer_one_the_rest_is_not_read() -> None:
    upstream = Upstream(long(8 * MEBI))
    async with asking(upstream) as ask:
        with pytest.raises(TooLong):
            await get(ask)
        await upstream.over.wait()


async def test_what_comes_is_told_and_no_more_is_read_meanwhile() -> None:
    told: list[int] = []
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def take(size: int) -> None:
        told.append(size)
        begun.set()
        await go_on.wait()

    async with asking(Upstream(long(8 * MEBI))) as ask:
        answer = asyncio.ensure_future(ask.get("cloudflare-dns", PATH, most=9 * MEBI, take=take))
        await begun.wait()
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(told) == 1
        assert MEBI <= told[0] < 2 * MEBI
        go_on.set()
        assert len((await answer).body) == sum(told) == 8 * MEBI


async def test_who_counts_may_say_that_it_is_enough() -> None:
    async def take(_: int) -> None:
        raise MemoryError

    async with asking(Upstream(long(MEBI))) as ask:
        with pytest.raises(MemoryError):
            await ask.get("cloudflare-dns", PATH, most=2 * MEBI, take=take)


async def test_who_leaves_leaves_nothing_behind() -> None:
    upstream = Upstream(waits_for=asyncio.Event())
    async with asking(upstream) as ask:
        leaving = asyncio.ensure_future(get(ask))
        await upstream.begun.wait()
        leaving.cancel()
        await asyncio.wait([leaving])
        await upstream.over.wait()
