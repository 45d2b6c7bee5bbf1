import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from unit.telemetry.numbers import API, ROUTE, now, snapshot
from unit.telemetry.test_publisher import Worker

from gateway.reason import Reason
from gateway.telemetry.board import Board
from gateway.telemetry.latency import BOUNDS
from gateway.telemetry.metrics import TOTALS, Metrics, families
from gateway.telemetry.snapshot import Snapshot, request_key, sum_of

GRAFANA = Path(__file__).parents[3] / "deploy" / "grafana"
OWNER = "user:" + "a" * 32


def shown(*living: Snapshot, ending: Mapping[str, int] | None = None) -> dict[str, Metric]:
    """The metrics of a gateway with these workers, by name."""
    return {each.name: each for each in families(living, sum_of(living), ending)}


def values(metric: Metric) -> dict[tuple[str, ...], float]:
    """By the labels' values."""
    return {tuple(sample.labels.values()): sample.value for sample in metric.samples}


def test_requests_are_counted_by_api_route_reason_and_status() -> None:
    worker = snapshot(2)
    worker.requests[request_key("", "", Reason.BAD_REQUEST, 400)] = 3
    assert values(shown(worker, snapshot(5))["zonegate_requests"]) == {
        (API, ROUTE, "", "200"): 7,
        ("", "", "bad_request", "400"): 3,
    }


def test_a_histogram_s_buckets_hold_all_below_their_bounds() -> None:
    samples = shown(snapshot(3))["zonegate_gateway_seconds"].samples
    buckets = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}
    assert list(buckets) == [*map(str, BOUNDS), "+Inf"]
    assert (buckets["0.0005"], buckets["0.001"], buckets["60.0"], buckets["+Inf"]) == (0, 3, 3, 3)
    (total,) = [sample.value for sample in samples if sample.name.endswith("_sum")]
    assert total == pytest.approx(0.003)


def test_what_was_counted_is_summed_and_of_what_is_late_the_latest_counts() -> None:
    metrics = shown(snapshot(2, lag=0.1), snapshot(3, lag=0.7, frozen=True, store="lost"))
    assert values(metrics["zonegate_workers"]) == {(): 2}
    assert values(metrics["zonegate_cache_hits"]) == {(): 5}
    assert values(metrics["zonegate_invalidation_lag_seconds"]) == {(): 0.7}
    assert values(metrics["zonegate_frozen"]) == {(): 1}
    assert values(metrics["zonegate_store_state"]) == {("trusted",): 1, ("grace",): 0, ("lost",): 1}
    assert values(metrics["zonegate_client_connections"]) == {("listen",): 6}
    assert {
        name.removeprefix("zonegate_upstream_"): values(metrics[name])[API,]
        for name in metrics
        if name.startswith("zonegate_upstream_") and name != "zonegate_upstream_seconds"
    } == {"connections_open": 8, "connections_idle": 2, "waiting": 4, "targets": 4, "targets_ejected": 2}


def test_before_anything_happened_every_total_is_there() -> None:
    metrics = shown(Snapshot(now=now()))
    assert {name for name in TOTALS if values(metrics[name]) == {(): 0}} == set(TOTALS)


def test_tokens_that_end_soon_are_counted_by_owner_where_that_is_known() -> None:
    assert values(shown(ending={OWNER: 2, "other": 1})["zonegate_tokens_ending"]) == {(OWNER,): 2, ("other",): 1}
    assert "zonegate_tokens_ending" not in shown(ending=None)


async def test_the_page_is_one_that_prometheus_reads(tmp_path: Path) -> None:
    worker = Worker(Board(tmp_path))
    worker.answer(4)

    async def ending() -> dict[str, int]:
        return {OWNER: 1}

    page = await Metrics(worker.publisher, ending).page()
    assert page.status == 200
    assert dict(page.fields)["Content-Type"].startswith("text/plain; version=0.0.4")
    assert dict(page.fields)["Cache-Control"] == "no-store"
    found = {each.name: each for each in text_string_to_metric_families(page.body.decode())}
    (sample,) = found["zonegate_requests"].samples
    assert sample.labels == {"api": API, "route": ROUTE, "reason": "", "status": "200"}
    assert sample.value == 4
    assert values(found["zonegate_build_info"]) != {}
    assert all(each.documentation.endswith(".") for each in found.values())


# What is in deploy/grafana.


def samples() -> dict[str, set[str]]:
    """Each sample's name, and its labels."""
    worker = snapshot()
    worker.upstream = worker.gateway
    found: dict[str, set[str]] = {}
    for metric in shown(worker, ending={OWNER: 1}).values():
        for sample in metric.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[Any]:
    dashboard = json.loads((GRAFANA / "zonegate.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield pytest.param(target["expr"], id=f"dashboard: {panel['title']} {target['refId']}")
    for group in yaml.safe_load((GRAFANA / "alerts.yaml").read_text())["groups"]:
        for rule in group["rules"]:
            yield pytest.param(rule["expr"], id=f"alert: {rule['alert']}")


@pytest.mark.parametrize("expression", list(expressions()))
def test_an_expression_asks_for_metrics_and_labels_that_there_are(expression: str) -> None:
    found = samples()
    names = set(re.findall(r"zonegate_\w+", expression))
    assert names
    assert names <= set(found)
    known = {"job", "instance", *(label for name in names for label in found[name])}
    grouped = {label for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(", ")}
    chosen = set(re.findall(r"(\w+)(?:=|!=|=~)\"", expression))
    assert grouped | chosen <= known
    assert expression.count("(") == expression.count(")")


def test_every_metric_is_on_the_dashboard() -> None:
    text = (GRAFANA / "zonegate.json").read_text()
    assert [name for name in shown(snapshot(), ending={}) if name not in text] == []


@pytest.mark.parametrize("reason", ["forbidden", "ip_denied", "upstream_unreachable", "upstream_timeout"])
def test_a_reason_that_an_alert_looks_for_is_one(reason: str) -> None:
    assert reason in set(Reason)
