"""Twenty failovers under load: what was acknowledged as replicated stays, what was revoked stays revoked."""

import asyncio
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from support.processes import Upstream, until
from support.records import group_id, zone
from support.servers import SentinelGroup, sentinel_group
from support.shared_store import sharing_gateways

from gateway.demo.dataset import ZONES

pytestmark = pytest.mark.deep

FAILOVERS = 20
AFTER = 1.0
"""Seconds after an acknowledged deletion in which a request may still be let through."""
GRACE = 4.0
"""Seconds after a failover in which the gateways may still be looking for the new primary."""
PATH = f"/zones/{ZONES['alpha.example']}/dns_records"
BODY = {
    "name": "failover",
    "policies": [
        {
            "effect": "allow",
            "permission_groups": [{"id": group_id("DNS Read")}],
            "resources": {zone(ZONES["alpha.example"]): "*"},
        }
    ],
}


class Use(NamedTuple):
    """A request with a token: when it started, and its status."""

    token_id: str
    started: float
    status: int


class Load:
    """Clients in a thread and a loop of their own, until `end`."""

    def __init__(self, urls: list[str], first: str) -> None:
        self._urls = urls
        self._first = first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self.steady: list[Use] = []
        self.uses: list[Use] = []
        self.made: set[str] = set()
        self.deleted: dict[str, float] = {}
        """When the answer came that says so."""
        self.unsure: set[str] = set()
        """Tokens whose last change was not acknowledged."""
        self.odd: list[str] = []
        self.failure: BaseException | None = None

    def begin(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    async def _run(self) -> None:
        try:
            async with httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=200)) as client:
                self._client = client
                steady = await self._created(self._urls[0])
                assert steady is not None
                async with asyncio.TaskGroup() as group:
                    for url in self._urls:
                        group.create_task(self._use_steadily(url, *steady))
                        for _ in range(3):
                            group.create_task(self._change(url))
        except BaseException as error:  # noqa: BLE001 - it is raised again where the test can see it
            self.failure = error

    async def _ask(self, method: str, url: str, secret: str, **options: Any) -> httpx.Response:
        return await self._client.request(method, url, headers={"Authorization": f"Bearer {secret}"}, **options)

    async def _use(self, url: str, token_id: str, secret: str) -> Use:
        started = time.monotonic()
        answer = await self._ask("GET", url + PATH, secret)
        return Use(token_id, started, answer.status_code)

    async def _use_steadily(self, url: str, token_id: str, secret: str) -> None:
        while not self._stop.is_set():
            self.steady.append(await self._use(url, token_id, secret))
            await asyncio.sleep(0.005)

    async def _created(self, url: str) -> tuple[str, str] | None:
        answer = await self._ask("POST", url + "/user/tokens", self._first, json=BODY)
        if answer.status_code != 200:
            self._note("create", answer)
            return None
        result = answer.json()["result"]
        self.made.add(result["id"])
        return result["id"], result["value"]

    def _note(self, what: str, answer: httpx.Response) -> None:
        if answer.status_code != 503:
            self.odd.append(f"{what}: {answer.status_code} {answer.text}")

    async def _change(self, url: str) -> None:
        """Make a token, use it everywhere; delete every other one, and go on using it."""
        while not self._stop.is_set():
            made = await self._created(url)
            if made is None:
                await asyncio.sleep(0.05)
                continue
            token_id, secret = made
            for other in self._urls:
                self.uses.append(await self._use(other, token_id, secret))
            if random.random() < 0.5:  # noqa: S311 - any half will do
                answer = await self._ask("DELETE", f"{url}/user/tokens/{token_id}", self._first)
                if answer.status_code == 200:
                    self.deleted[token_id] = time.monotonic()
                else:
                    self._note("delete", answer)
                    self.unsure.add(token_id)
                for _ in range(20):
                    for other in self._urls:
                        self.uses.append(await self._use(other, token_id, secret))
                    await asyncio.sleep(0.1)


@pytest.fixture
def upstream(tmp_path: Path) -> Iterator[Upstream]:
    upstream = Upstream(tmp_path)
    yield upstream
    upstream.stop()


@pytest.fixture
def group(tmp_path: Path) -> Iterator[SentinelGroup]:
    with sentinel_group(tmp_path / "servers") as found:
        yield found


def test_twenty_failovers_lose_no_acknowledged_change_and_let_no_dead_token_through(
    group: SentinelGroup, upstream: Upstream, tmp_path: Path
) -> None:
    with sharing_gateways(tmp_path, upstream.url, group.url, store__write_replicas=1) as gateways:
        load = Load([gateway.url for gateway in gateways], gateways[0].first)
        windows = []
        load.begin()
        try:
            until("the load runs", lambda: load.failure or len(load.deleted) > 10)
            for number in range(FAILOVERS):
                began = time.monotonic()
                if number % 3 == 0:
                    dead = group.primary()
                    group.crash()
                    group.rejoin(dead)
                else:
                    group.failover(coordinated=number % 3 == 1)
                group.settle()
                windows.append((began, time.monotonic() + GRACE))
        finally:
            load.end()
        primary = group.settle()
        held = {key.rpartition(":")[2] for key in primary.client().scan_iter("{zg}:token:*")}

    assert load.odd == []
    outside = [use for use in load.steady if use.status != 200 and not any(a <= use.started <= b for a, b in windows)]
    assert outside == []
    assert {use.status for use in load.steady} <= {200, 503}
    dead_and_used = [
        use
        for use in load.uses
        if use.token_id in load.deleted and use.started > load.deleted[use.token_id] + AFTER and use.status == 200
    ]
    assert dead_and_used == []
    assert load.deleted.keys() & held == set(), "a deletion that was acknowledged as replicated is lost"
    kept = load.made - load.deleted.keys() - load.unsure
    assert kept - held == set(), "a creation that was acknowledged as replicated is lost"
    assert len(load.deleted) > FAILOVERS
    assert len(kept) > FAILOVERS
