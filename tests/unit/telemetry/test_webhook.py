import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs
from support.records import NOW, secret_of, token

from gateway.telemetry.webhook import Webhook
from gateway.tokens.news import Event, news_of
from gateway.tokens.secret import Sensitive

NEWS = news_of(Event.ROLLED, token(name="deploy"), NOW)


class Receiver:
    """Answers with these statuses, then with 204 for ever."""

    def __init__(self, statuses: Sequence[int]) -> None:
        self._statuses = list(statuses)
        self.bodies: list[Any] = []
        self.fields: list[Any] = []
        self.came = asyncio.Event()

    async def answer(self, request: web.Request) -> web.Response:
        self.bodies.append(json.loads(await request.text()))
        self.fields.append(request.headers)
        self.came.set()
        status = self._statuses.pop(0) if self._statuses else 204
        return web.Response(status=status, headers={"Location": "/elsewhere"} if status in (302, 307) else {})


@asynccontextmanager
async def told(*statuses: int, most: int = 10) -> AsyncIterator[tuple[Webhook, Receiver]]:
    """A webhook at work, and who is told."""
    receiver = Receiver(statuses)
    app = web.Application()
    app.router.add_post("/{any:.*}", receiver.answer)
    async with TestServer(app) as server:
        webhook = Webhook(Sensitive(str(server.make_url("/hook?key=hush"))), most=most, pauses=(0.0, 0.0, 0.0))
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
    with capture_logs() as logs:
        async with told(*statuses) as (webhook, receiver):
            webhook.tell(NEWS)
            await until(lambda: len(receiver.bodies) == tries and webhook.dropped == lost)
            webhook.tell(news_of(Event.LEAKED, token(), NOW))
            await until(lambda: receiver.bodies[-1]["event"] == "token.leaked")
    assert len(receiver.bodies) == tries + 1
    assert [line["event"] for line in logs] == ["webhook not told"] * lost
    assert "hush" not in str(logs)


async def test_a_receiver_that_is_not_there_costs_the_news_and_nothing_else() -> None:
    with capture_logs() as logs:
        webhook = Webhook(Sensitive("http://127.0.0.1:1/hush"), pauses=())
        work = asyncio.ensure_future(webhook.run())
        webhook.tell(NEWS)
        await until(lambda: webhook.dropped == 1)
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
    assert "hush" not in str(logs)


async def test_what_waits_is_bounded() -> None:
    webhook = Webhook(Sensitive("http://127.0.0.1:1/"), most=3)
    for _ in range(5):
        webhook.tell(NEWS)
    assert webhook.dropped == 2


async def test_without_a_url_nobody_is_told_and_there_is_nothing_to_do() -> None:
    webhook = Webhook(Sensitive(""))
    webhook.tell(NEWS)
    await webhook.run()
    assert webhook.dropped == 0
