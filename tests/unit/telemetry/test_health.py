import asyncio
import json
from typing import Any

import pytest
from support.store_contract import MemoryTokenStore

from gateway.access.ports import StoreUnavailable
from gateway.reason import Answer, Deny, Reason
from gateway.telemetry.health import Health


@pytest.fixture
def store() -> MemoryTokenStore:
    return MemoryTokenStore()


@pytest.fixture
def health(store: MemoryTokenStore) -> Health:
    found = Health(store)
    found.why_not = None  # every listener listens
    return found


async def page(health: Health, path: bytes, method: str = "GET") -> tuple[int, dict[str, Any]]:
    answer = await health.answer(method, path)
    assert isinstance(answer, Answer)
    assert dict(answer.fields) == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_all_is_well(health: Health, path: bytes, method: str) -> None:
    assert await page(health, path, method) == (200, {"status": "ok", "reasons": []})


async def test_without_its_store_the_process_is_alive_and_not_ready(health: Health, store: MemoryTokenStore) -> None:
    store.failure = StoreUnavailable("the store did not answer")
    assert await page(health, b"/healthz") == (200, {"status": "ok", "reasons": []})
    assert await page(health, b"/readyz") == (
        503,
        {"status": "unavailable", "reasons": ["store: the store did not answer"]},
    )


async def test_it_is_not_ready_before_every_listener_listens(store: MemoryTokenStore) -> None:
    assert await page(Health(store), b"/healthz") == (200, {"status": "ok", "reasons": []})
    assert await page(Health(store), b"/readyz") == (503, {"status": "unavailable", "reasons": ["starting"]})


async def test_while_it_stops_it_is_alive_and_not_ready(health: Health, store: MemoryTokenStore) -> None:
    health.why_not = "draining"
    assert (await page(health, b"/healthz"))[0] == 200
    assert await page(health, b"/readyz") == (503, {"status": "unavailable", "reasons": ["draining"]})
    store.failure = StoreUnavailable("away")
    assert (await page(health, b"/readyz"))[1]["reasons"] == ["draining", "store: away"]


async def test_health_does_not_wait_for_the_store() -> None:
    class Hanging(MemoryTokenStore):
        async def ping(self) -> None:
            await asyncio.Event().wait()

    assert (await page(Health(Hanging()), b"/healthz"))[0] == 200


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_health_page_is_only_read(health: Health, path: bytes, method: str) -> None:
    deny = Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=("GET", "HEAD"))
    assert await health.answer(method, path) == deny


@pytest.mark.parametrize("path", [b"/", b"/health", b"/healthz/", b"/HEALTHZ", b"/client/v4/healthz", b"/readyz%20"])
async def test_any_other_path_is_not_a_page(health: Health, path: bytes) -> None:
    assert await health.answer("GET", path) is None
