import json
from typing import Any

import msgspec
import pytest

from gateway.reason import Answer, Deny, Reason
from gateway.telemetry.health import Health


class Tokens(msgspec.Struct):
    """What is watched, saying what a test wants."""

    why_not: str | None = None
    notes: tuple[str, ...] = ()


@pytest.fixture
def tokens() -> Tokens:
    return Tokens()


@pytest.fixture
def health(tokens: Tokens) -> Health:
    found = Health(tokens)
    found.why_not = None  # every listener listens
    return found


async def page(health: Health, path: bytes, method: str = "GET") -> tuple[int, dict[str, Any]]:
    answer = await health.answer(method, path)
    assert isinstance(answer, Answer)
    assert dict(answer.fields) == {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return answer.status, json.loads(answer.body)


ALIVE = (200, {"status": "ok", "reasons": []})
READY = (200, {"status": "ok", "reasons": [], "notes": []})


def unready(*reasons: str) -> tuple[int, dict[str, Any]]:
    return 503, {"status": "unavailable", "reasons": list(reasons), "notes": []}


@pytest.mark.parametrize(("path", "shown"), [(b"/healthz", ALIVE), (b"/readyz", READY)])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_all_is_well(health: Health, path: bytes, shown: object, method: str) -> None:
    assert await page(health, path, method) == shown


async def test_without_its_store_the_process_is_alive_and_not_ready(health: Health, tokens: Tokens) -> None:
    tokens.why_not = "store: the store did not answer"
    assert await page(health, b"/healthz") == ALIVE
    assert await page(health, b"/readyz") == unready("store: the store did not answer")


async def test_it_is_ready_again_when_its_store_is_back(health: Health, tokens: Tokens) -> None:
    tokens.why_not = "store: the store did not answer"
    assert (await page(health, b"/readyz"))[0] == 503
    tokens.why_not = None
    assert await page(health, b"/readyz") == READY


async def test_while_requests_are_answered_it_is_ready_and_says_what_is_amiss(health: Health, tokens: Tokens) -> None:
    tokens.notes = ("frozen: no token works until it is thawed", "store: away")
    assert await page(health, b"/readyz") == (200, {"status": "ok", "reasons": [], "notes": list(tokens.notes)})
    assert await page(health, b"/healthz") == ALIVE


async def test_it_is_not_ready_before_every_listener_listens(tokens: Tokens) -> None:
    assert await page(Health(tokens), b"/healthz") == ALIVE
    assert await page(Health(tokens), b"/readyz") == unready("starting")


async def test_while_it_stops_it_is_alive_and_not_ready(health: Health, tokens: Tokens) -> None:
    health.why_not = "draining"
    assert await page(health, b"/healthz") == ALIVE
    assert await page(health, b"/readyz") == unready("draining")
    tokens.why_not = "store: away"
    assert await page(health, b"/readyz") == unready("draining", "store: away")


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_a_health_page_is_only_read(health: Health, path: bytes, method: str) -> None:
    deny = Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=("GET", "HEAD"))
    assert await health.answer(method, path) == deny


async def test_metrics_are_a_page_where_there_are_any(tokens: Tokens) -> None:
    async def shown() -> Answer:
        return Answer(status=200, body=b"zonegate_workers 1.0\n")

    health = Health(tokens, shown)
    assert await health.answer("GET", b"/metrics") == await shown()
    assert await health.answer("POST", b"/metrics") == Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=("GET", "HEAD"))
    assert await Health(tokens).answer("GET", b"/metrics") is None


@pytest.mark.parametrize("path", [b"/", b"/health", b"/healthz/", b"/HEALTHZ", b"/client/v4/healthz", b"/readyz%20"])
async def test_any_other_path_is_not_a_page(health: Health, path: bytes) -> None:
    assert await health.answer("GET", path) is None
