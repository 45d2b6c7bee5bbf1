import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.records import NOW, secret_of, token
from unit.telemetry.captured import captured

from gateway.telemetry.webhook import Webhook
from gateway.tokens.news import Event, news_of
from gateway.tokens.secret import Sensitive

NEWS = news_of(Event.ROLLED, token(name="deploy"), NOW)


class Receiver:
    """Answers with these statuses, then with 204 for ever; `silent`: never, `endless`: with a body that never ends."""

    def __init__(self, statuses: Sequence[int], *, silent: bool, endless: bool) -> None:
        self._statuses = list(statuses)
        self._silent = silent
        self._endless = endless
        self.bodies: list[Any] = []
        self.fields: list[Any] = []
        self.came = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(json.loads(await request.text()))
        self.fields.append(request.headers)
        self.came.set()
        if self._silent:
            await asyncio.Event().wait()
        if self._endless:
            return await _without_end(request)
        status = self._statuses.pop(0) if self._statuses else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status in (302, 307) else {})


async def _without_end(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(b"x" * 65536)
    return response


@asynccontextmanager
async def told(
    *statuses: int,
    most: int = 10,
    pauses: Sequence[float] = (0.0, 0.0, 0.0),
    silent: bool = False,
    endless: bool = False,
) -> AsyncIterator[tuple[Webhook, Receiver]]:
    """A webhook at work, and who is told."""
    receiver = Receiver(statuses, silent=silent, endless=endless)
    app = web.Application()
    app.router.add_post("/{any:.*}", receiver.answer)
    async with TestServer(app) as server:
        webhook = Webhook(Sensitive(str(server.make_url("/hook?key=hush"))), most=most, pauses=pauses)
        work = asyncio.ensure_future(webhook.run())
        try:
            yield webhook, receiver
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - of what a webhook has given up nobody tells
            await asyncio.sleep(0.005)


async def test_news_come_as_json_in_their_order_and_hold_no_secret() -> None:
    async with told() as (webhook, receiver):
        webhook.tell(NEWS)
        webhook.tell(news_of(Event.LEAKED, token(), NOW))
        await until(lambda: len(receiver.bodies) == 2)
    assert [body["event"] for body in receiver.bodies] == ["token.rolled", "token.leaked"]
    assert receiver.bodies[0]["token"]["name"] == "deploy"
    assert receiver.fields[0]["Content-Type"] == "application/json"
    assert secret_of().reveal() not in str(receiver.bodies) + str(receiver.fields)


@pytest.mark.parametrize(
    ("statuses", "tries"),
    [
        pytest.param([500], 2, id="an error of the receiver's"),
        pytest.param([503, 429, 408], 4, id="three that say later"),
        pytest.param([500] * 4, 4, id="never well"),
        pytest.param([400], 1, id="one who says no"),
        pytest.param([302], 1, id="one who points elsewhere"),
        pytest.param([307], 1, id="one who points elsewhere, body and all"),
    ],
)
async def test_it_is_tried_again_a_few_times_where_that_may_help(statuses: list[int], tries: int) -> None:
    lost = tries == len(statuses)
    with captured() as logs:
        async with told(*statuses) as (webhook, receiver):
            webhook.tell(NEWS)
            await until(lambda: len(receiver.bodies) == tries and webhook.dropped == lost)
            webhook.tell(news_of(Event.LEAKED, token(), NOW))
            await until(lambda: receiver.bodies[-1]["event"] == "token.leaked")
    assert len(receiver.bodies) == tries + 1
    assert [line["event"] for line in logs] == ["webhook not told"] * lost
    assert "hush" not in str(logs)


async def test_a_receiver_that_is_not_there_costs_the_news_and_nothing_else() -> None:
    with captured() as logs:
        webhook = Webhook(Sensitive("http://127.0.0.1:1/hush"), pauses=())
        work = asyncio.ensure_future(webhook.run())
        webhook.tell(NEWS)
        await until(lambda: webhook.dropped == 1)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert "hush" not in str(logs)


async def test_what_waits_is_bounded_and_what_is_dropped_stands_in_the_log_once() -> None:
    with captured() as logs:
        async with told(most=3) as (webhook, receiver):
            for _ in range(5):
                webhook.tell(NEWS)
            assert webhook.dropped == 2
            await until(lambda: len(logs) == 2)
    assert len(receiver.bodies) == 3
    assert [line["event"] for line in logs] == ["webhook too slow, news dropped", "webhook keeps up again"]


def test_half_of_the_room_is_kept_for_what_cannot_wait() -> None:
    webhook = Webhook(Sensitive("http://127.0.0.1:1/"), most=4)
    webhook.tell(NEWS)
    assert webhook.has_room
    webhook.tell(NEWS)
    assert not webhook.has_room


async def test_what_waits_at_the_end_is_tried_once_more_without_a_pause() -> None:
    async with told(500, pauses=(3600.0,)) as (webhook, receiver):
        webhook.tell(NEWS)
        webhook.tell(NEWS)
        await receiver.came.wait()
        await webhook.close()
    assert len(receiver.bodies) == 3
    assert webhook.dropped == 0


async def test_what_nobody_takes_at_the_end_stands_in_the_log() -> None:
    with captured() as logs:
        async with told(silent=True) as (webhook, receiver):
            for _ in range(3):
                webhook.tell(NEWS)
            await receiver.came.wait()
            await webhook.close(patience=0.01)
    assert webhook.dropped == 3
    assert [line["event"] for line in logs] == ["webhook not told, the worker ends"]


async def test_an_answer_without_end_is_not_read() -> None:
    async with told(endless=True) as (webhook, receiver):
        webhook.tell(NEWS)
        webhook.tell(NEWS)
        await until(lambda: len(receiver.bodies) == 2)
    assert webhook.dropped == 0


async def test_without_a_url_nobody_is_told_and_there_is_nothing_to_do() -> None:
    webhook = Webhook(Sensitive(""))
    webhook.tell(NEWS)
    await webhook.run()
    assert webhook.dropped == 0
