"""What /metrics of a real gateway tells: of all its workers, whichever answers, and of those that have ended."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from support.processes import Gateway, Upstream, free_port, until
from support.records import group_id, zone

from gateway.demo.dataset import ZONES
from gateway.telemetry.board import Board
from gateway.telemetry.metrics import TOTALS

ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]
RECORDS = f"/zones/{ALPHA}/dns_records"
HEALTH_PORT = free_port()


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the workers share their numbers; somebody has left something there."""
    directory = tmp_path / "board"
    directory.mkdir()
    (directory / "worker-1-1.json").write_text('{"totals":{"zonegate_cache_hits":1000000}}')
    (directory / "counter_1.db").write_bytes(b"stale")
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(directory))
    return directory


@pytest.fixture
def gateway(tmp_path: Path, board: Path) -> Iterator[Gateway]:
    assert board.is_dir()
    upstream = Upstream(tmp_path)
    found = Gateway(tmp_path, upstream.url, f"[health]\nport = {HEALTH_PORT}", workers=2)
    try:
        found.prepare()
        found.start()
        yield found
    finally:
        found.stop()
        found.tidy()
        upstream.stop()


def values(url: str) -> dict[tuple[str, ...], float]:
    """By the sample's name and its labels' values."""
    answer = httpx.get(f"{url}/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def requests(found: dict[tuple[str, ...], float], reason: str) -> float:
    """How many for DNS ended with this reason."""
    return sum(
        value
        for (name, *labels), value in found.items()
        if name == "zonegate_requests_total" and labels[:2] == ["cloudflare-dns", reason]
    )


def test_the_numbers_are_those_of_all_workers_and_outlive_them(gateway: Gateway, board: Path) -> None:
    token = gateway.create(
        name="metrics",
        policies=[
            {"effect": "allow", "permission_groups": [{"id": group_id("DNS Read")}], "resources": {zone(ALPHA): "*"}}
        ],
    )
    for _ in range(20):  # connections of their own, which both workers take
        assert gateway.call("GET", RECORDS, token["value"]).status_code == 200
        assert gateway.call("GET", f"/zones/{BETA}/dns_records", token["value"]).status_code == 403
    until(
        "all are counted",
        lambda: all(requests(values(gateway.admin_url), reason) == 20 for reason in ("", "forbidden")),
    )
    found = values(f"http://127.0.0.1:{HEALTH_PORT}")
    assert requests(found, "forbidden") == 20
    assert found["zonegate_gateway_seconds_count", "cloudflare-dns"] == 20
    assert found["zonegate_upstream_seconds_count", "cloudflare-dns"] == 20
    assert found["zonegate_workers",] == 2
    assert found["zonegate_store_state", "trusted"] == 2
    assert found["zonegate_cache_hits_total",] < 1000
    assert not (board / "counter_1.db").exists()
    assert [{*each.totals} for each in Board(board).read()[0]] == [{*TOTALS}] * 2, "no name is spelt in two ways"
    page = httpx.get(f"{gateway.admin_url}/metrics").text
    assert token["value"] not in page
    assert token["id"] not in page

    os.kill(gateway.workers()[0], signal.SIGKILL)
    until("another worker serves", lambda: len(gateway.workers()) == 2)
    until("it is told of", lambda: values(gateway.admin_url)["zonegate_workers",] == 2)
    assert requests(values(gateway.admin_url), "") == 20
