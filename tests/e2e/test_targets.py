"""Connections to an upstream, and more than one of it: kept, spread, and taken from a target that is down."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import NamedTuple

import pytest
from support.processes import Gateway, until
from support.streaming import (
    Answer,
    Connect,
    StreamingUpstream,
    clients_of,
    section,
    started,
    streaming_gateway,
)


class Both(NamedTuple):
    """A gateway, and the two targets of its APIs; of `single` the first one alone.

    Each API has connections of its own, and its own opinion of a target: one for each test that spoils it.
    """

    gateway: Gateway
    targets: list[StreamingUpstream]


class NewLines:
    """What has been logged since this was made."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._size = len(gateway.log())

    def count(self, text: str) -> int:
        return self._gateway.log()[self._size :].count(text)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Each test leaves both targets serving."""
    targets = [StreamingUpstream(name).start() for name in ("first", "second")]
    upstreams = {
        name: section(name, [target.url for target in targets]) for name in ("spread", "down", "all-down", "returning")
    } | {"single": section("single", [targets[0].url])}
    try:
        with started(streaming_gateway(tmp_path_factory.mktemp("targets"), upstreams)) as gateway:
            yield Both(gateway, targets)
    finally:
        for target in targets:
            target.stop()


@pytest.fixture
async def connect(both: Both) -> AsyncIterator[Connect]:
    async with clients_of(both.gateway) as connect:
        yield connect


def who(answer: Answer) -> str:
    """The target that answered."""
    return str(answer.seen["upstream"])


# Connections.


async def test_requests_one_after_the_other_share_one_connection(connect: Connect) -> None:
    clients = [await connect(api="single") for _ in range(4)]
    seen = [(await client.ask("GET", "see")).seen for _ in range(10) for client in clients]
    assert len({each["connection"] for each in seen}) == 1
    numbers = [each["number"] for each in seen]
    assert numbers == list(range(numbers[0], numbers[0] + 40))


async def test_requests_with_bodies_share_it_too(connect: Connect) -> None:
    client = await connect(api="single")
    first = (await client.ask("POST", "see", body=b"x" * 10)).seen
    client.begin("POST", "see", "Transfer-Encoding: chunked")
    await client.send(b"5\r\nhello\r\n")
    await client.send(b"0\r\n\r\n")
    second = (await client.answer()).seen
    client.begin("GET", "source?pieces=3&framing=chunked")
    assert len((await client.answer()).body) == 3 * 65536
    third = (await client.ask("GET", "see")).seen
    assert first["connection"] == second["connection"] == third["connection"]
    assert (second["number"] - first["number"], third["number"] - first["number"]) == (1, 3)


async def test_after_a_close_of_the_upstream_s_there_is_a_new_one(connect: Connect) -> None:
    client = await connect(api="single")
    before = (await client.ask("GET", "close")).seen
    after = (await client.ask("GET", "see")).seen
    assert after["connection"] > before["connection"]
    assert after["number"] == 1


async def test_after_an_answer_that_came_before_the_whole_request_there_is_a_new_one(connect: Connect) -> None:
    client = await connect(api="single")
    client.begin("POST", "early?key=early", "Content-Length: 1000000")
    answer = await client.answer()
    before = answer.seen
    after = (await (await connect(api="single")).ask("GET", "see")).seen
    assert after["connection"] > before["connection"]
    assert after["number"] == 1


async def test_what_is_answered_at_the_same_time_has_a_connection_each(connect: Connect, both: Both) -> None:
    clients = [await connect(api="single") for _ in range(20)]
    for client in clients:
        client.begin("GET", "held?key=at-once")
    await asyncio.to_thread(both.targets[0].wait_for, "at-once", 20)
    await asyncio.to_thread(both.targets[0].release, "at-once")
    answers = [await client.answer() for client in clients]
    assert len({answer.seen["connection"] for answer in answers}) == 20


# Targets.


async def held(connect: Connect, key: str, count: int) -> "list[asyncio.Future[Answer]]":
    """The answers of so many requests that wait for the release of `key`."""
    clients = [await connect(api="spread") for _ in range(count)]
    for client in clients:
        client.begin("GET", f"held?key={key}")
    return [asyncio.ensure_future(client.answer()) for client in clients]


async def arrived(both: Both, key: str, count: int) -> list[int]:
    """How many are at each target, once so many are in all."""

    def all_of_them() -> list[int] | None:
        found = [target.wait_for(key, 0) for target in both.targets]
        return found if sum(found) >= count else None

    found: list[int] = await asyncio.to_thread(until, "all have arrived", all_of_them)
    return found


async def test_each_target_has_as_much_to_do_as_the_other(connect: Connect, both: Both) -> None:
    first, second = both.targets
    early = await held(connect, "at-first", 10)
    assert await arrived(both, "at-first", 10) == [5, 5]
    await asyncio.to_thread(second.release, "at-first")
    answered = []
    for _ in range(5):
        [answer, *_], _ = await asyncio.wait(set(early) - set(answered), return_when=asyncio.FIRST_COMPLETED)
        answered.append(answer)
    assert {who(answer.result()) for answer in answered} == {"second"}
    # Who has nothing to do catches up.
    late = await held(connect, "later", 5)
    assert await arrived(both, "later", 5) == [0, 5]
    await asyncio.to_thread(first.release, "at-first")
    await asyncio.to_thread(second.release, "later")
    assert Counter([who(answer) for answer in await asyncio.gather(*early, *late)]) == {"first": 5, "second": 10}


async def test_a_target_that_is_down_fails_no_request_and_is_soon_left_alone(connect: Connect, both: Both) -> None:
    client, log = await connect(api="down"), NewLines(both.gateway)
    assert {who(await client.ask("GET", "see")) for _ in range(4)} == {"first", "second"}
    both.targets[1].stop()
    try:
        # GET: that a kept connection was closed, and that another is refused, is no reason not to ask the other target.
        assert Counter([who(await client.ask("GET", "see")) for _ in range(20)]) == {"first": 20}
        # POST: nothing of it was sent.
        assert Counter([who(await client.ask("POST", "see", body=b"x")) for _ in range(20)]) == {"first": 20}
        await asyncio.to_thread(until, "it is said", lambda: log.count("target ejected"))
    finally:
        both.targets[1].start()
    assert log.count("target ejected") == 1


async def test_when_all_targets_are_down_all_are_tried_and_the_first_that_is_back_answers(
    connect: Connect, both: Both
) -> None:
    client, log = await connect(api="all-down"), NewLines(both.gateway)
    for target in both.targets:
        target.stop()
    try:
        answers = [await client.ask("GET", "see") for _ in range(6)]
        assert {(answer.status, answer.code) for answer in answers} == {(502, 10502)}
        await asyncio.to_thread(until, "both are left alone", lambda: log.count("target ejected") == 2)
        assert (await client.ask("GET", "see")).status == 502
    finally:
        both.targets[1].start()
        answers = [await client.ask("GET", "see") for _ in range(4)]
        both.targets[0].start()
    assert [who(answer) for answer in answers] == ["second"] * 4


@pytest.mark.deep
async def test_a_target_that_was_left_alone_comes_back(connect: Connect, both: Both) -> None:
    client, log = await connect(api="returning"), NewLines(both.gateway)
    both.targets[1].stop()
    try:
        assert {who(await client.ask("GET", "see")) for _ in range(20)} == {"first"}
        await asyncio.to_thread(until, "it is said", lambda: log.count("target ejected"))
    finally:
        both.targets[1].start()
    async with asyncio.timeout(30):
        # Of the time that it is left alone for, no event tells.
        while who(await client.ask("GET", "see")) != "second":  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    assert Counter([who(await client.ask("GET", "see")) for _ in range(10)]) == {"first": 5, "second": 5}


async def test_the_only_target_is_never_left_alone(connect: Connect, both: Both) -> None:
    client, log = await connect(api="single"), NewLines(both.gateway)
    both.targets[0].stop()
    assert {(await client.ask("GET", "see")).status for _ in range(10)} == {502}
    both.targets[0].start()
    assert who(await client.ask("GET", "see")) == "first"
    assert log.count("target ejected") == 0
