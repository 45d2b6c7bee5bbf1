"""What the audit and the counters say after real requests, through a real gateway."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cloudflare import Cloudflare
from cloudflare.pagination import SyncV4PagePaginationArray
from cloudflare.types.shared import AuditLog
from support.processes import ZONEGATE, Gateway, running, until
from support.records import USER_SCOPE, group_id, user, zone

from gateway.demo.dataset import ZONES

ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]
RECORDS = f"/zones/{ALPHA}/dns_records"
ROUTE = "GET /client/v4/zones/{zone_id}/dns_records"
DNS = [{"effect": "allow", "permission_groups": [{"id": group_id("DNS Read")}], "resources": {zone(ALPHA): "*"}}]


def entries(gateway: Gateway, query: str = "", secret: str | None = None) -> list[dict[str, Any]]:
    """The audit, newest first."""
    answer = gateway.call("GET", f"/zonegate/audit?{query}", secret)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["result"]
    return found


def of(gateway: Gateway, token_id: str) -> list[str]:
    """What was done to a token, oldest first."""
    return [entry["action"]["type"] for entry in entries(gateway, f"token={token_id}&direction=asc")]


def shown(gateway: Gateway, token_id: str) -> dict[str, Any]:
    found: dict[str, Any] = gateway.call("GET", f"/user/tokens/{token_id}").json()["result"]
    return found


def environment(gateway: Gateway) -> dict[str, str]:
    return {"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first}


# The audit.


def test_each_change_of_a_token_is_an_entry(gateway: Gateway) -> None:
    made = gateway.create(name="made", policies=DNS)
    path = f"/user/tokens/{made['id']}"
    gateway.call("PUT", path, json={"name": "renamed", "policies": DNS})
    rolled = gateway.call("PUT", f"{path}/value", json={}).json()["result"]
    gateway.call("PUT", path, json={"name": "renamed", "policies": DNS, "status": "disabled"})
    gateway.call("DELETE", path)
    assert of(gateway, made["id"]) == ["create", "update", "roll", "update", "delete"]
    text = json.dumps(entries(gateway, f"token={made['id']}"))
    assert "digest" not in text
    for secret in (made["value"], rolled, gateway.first):
        assert secret.rpartition("_")[2] not in text


def test_an_entry_says_who_from_where_by_which_request_and_what_was_before(gateway: Gateway) -> None:
    made = gateway.create(name="before", policies=DNS)
    gateway.call(
        "PUT",
        f"/user/tokens/{made['id']}",
        json={"name": "after", "policies": DNS},
        headers={"X-Request-Id": "audited-request-1"},
    )
    (entry,) = entries(gateway, f"token={made['id']}&action.type=update")
    assert entry["actor"] == {"id": made["owner"]["id"], "type": "user", "ip": "127.0.0.1"}
    assert entry["metadata"] == {"request_id": "audited-request-1", "actor_token": gateway.first.split("_")[1]}
    assert (entry["oldValueJson"]["name"], entry["newValueJson"]["name"]) == ("before", "after")
    assert entry["newValueJson"] == shown(gateway, made["id"])
    assert entry["resource"] == {"type": "token", "id": made["id"]}


def test_each_refused_call_of_the_token_api_is_an_entry_and_no_other_refusal_is(gateway: Gateway) -> None:
    made = gateway.create(name="curious", policies=DNS)
    calls = [
        ("GET", "/user/tokens", 403),
        ("DELETE", f"/user/tokens/{made['id']}", 403),
        ("GET", f"/user/tokens/{made['value']}", 404),
        ("GET", "/zonegate/audit", 403),
        ("GET", "/zonegate/nothing", 404),
        ("PATCH", "/user/tokens", 405),
        ("GET", f"/zones/{BETA}/dns_records", 403),
        ("GET", "/nowhere", 404),
    ]
    for method, path, status in calls:
        assert gateway.call(method, path, made["value"]).status_code == status, path
    found = entries(gateway, f"token={made['id']}&action.type=denied&direction=asc")
    assert [(entry["metadata"]["method"], entry["metadata"]["path"]) for entry in found] == [
        (method, f"/client/v4{path}".replace(made["value"].rpartition("_")[2], "...")) for method, path, _ in calls[:6]
    ]
    assert {entry["action"]["result"] for entry in found} == {False}
    assert {entry["actor"]["id"] for entry in found} == {made["owner"]["id"]}


def test_a_refused_call_has_an_id_of_its_own_and_stands_among_the_changes_where_it_happened(gateway: Gateway) -> None:
    made = gateway.create(name="curious", policies=DNS)
    path = f"/user/tokens/{made['id']}"
    assert gateway.call("GET", path, made["value"]).status_code == 403
    gateway.call("DELETE", path)
    found = entries(gateway, f"token={made['id']}&direction=asc")
    assert [entry["action"]["type"] for entry in found] == ["create", "denied", "delete"]
    assert [entry["id"].endswith("d") for entry in found] == [False, True, False]
    for entry in found:
        assert entries(gateway, f"id={entry['id']}") == [entry]


def test_a_call_that_the_token_api_itself_refused_is_an_entry_with_the_reason(gateway: Gateway) -> None:
    missing = "0" * 31 + "7"
    gateway.call("PUT", f"/user/tokens/{missing}", json={"name": "x", "policies": DNS})
    gateway.call("PUT", f"/user/tokens/{missing}", json={})
    gateway.call("PUT", f"/user/tokens/{missing}/value", content=b"{")
    found = entries(gateway, f"token={missing}&direction=asc")
    assert [entry["metadata"]["reason"] for entry in found] == ["not_found", "not_found", "invalid_body"]


def test_who_proved_nothing_leaves_nothing(gateway: Gateway) -> None:
    before = entries(gateway, "per_page=1")
    made = "zgt_" + "0" * 32 + "_" + "0" * 49
    for secret in ("junk", made, gateway.first[:-1] + "~"):
        assert gateway.call("GET", "/user/tokens", secret).status_code in (400, 401)
    assert entries(gateway, "per_page=1") == before


def test_the_right_to_read_it_is_one_of_its_own(gateway: Gateway) -> None:
    owner_id = gateway.create(name="x", policies=DNS)["owner"]["id"]

    def reader(group: str) -> str:
        policy = {
            "effect": "allow",
            "permission_groups": [{"id": group_id(group, USER_SCOPE)}],
            "resources": {user(owner_id): "*"},
        }
        return str(gateway.create(name=group, policies=[policy])["value"])

    assert entries(gateway, "per_page=1", reader("Zonegate Audit Read"))
    answer = gateway.call("GET", "/zonegate/audit", reader("API Tokens Write"))
    assert answer.status_code == 403
    assert answer.headers["x-accepted-permissions"] == "Zonegate Audit Read"


def test_cloudflare_s_own_client_pages_through_it(gateway: Gateway) -> None:
    made = [gateway.create(name=f"page {number}", policies=DNS)["id"] for number in range(7)]
    with Cloudflare(api_token=gateway.first, base_url=gateway.url, max_retries=0) as client:
        found = client.get_api_list(
            "/zonegate/audit",
            page=SyncV4PagePaginationArray[AuditLog],
            options={"params": {"per_page": 3, "action.type": "create"}},
            model=AuditLog,
        )
        logs = [log for log, _ in zip(found, range(7), strict=False)]
    assert [log.resource.id for log in logs if log.resource] == made[::-1]
    assert all(log.when and log.new_value for log in logs)


def test_a_bad_parameter_is_refused_by_name(gateway: Gateway) -> None:
    answer = gateway.call("GET", "/zonegate/audit?since=soon")
    assert answer.status_code == 400
    assert "since" in answer.json()["errors"][0]["message"]


# The command.


def test_the_command_exports_what_the_api_has(gateway: Gateway) -> None:
    made = gateway.create(name="exported", policies=DNS)
    gateway.call("DELETE", f"/user/tokens/{made['id']}")
    done = gateway.command("audit", "--json", "--token", made["id"], env=environment(gateway))
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines == entries(gateway, f"token={made['id']}&direction=asc")


def test_the_command_follows_until_ctrl_c(gateway: Gateway) -> None:
    made = gateway.create(name="followed", policies=DNS)
    process = subprocess.Popen(
        [ZONEGATE, "audit", "--follow", "--since", "1h", "--token", made["id"]],
        env=os.environ | environment(gateway),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert '"followed"' in process.stdout.readline()
        assert gateway.call("GET", "/user/tokens", made["value"]).status_code == 403
        assert "GET /client/v4/user/tokens: forbidden" in process.stdout.readline()
        gateway.call("DELETE", f"/user/tokens/{made['id']}")
        assert "delete" in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=20) == ("", "")
        assert process.returncode == 130
    finally:
        process.kill()
        process.wait()


# Use.


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Gateway]:
    """A gateway that a test may end."""
    with running(tmp_path) as (gateway, _):
        yield gateway


def counted(gateway: Gateway, token_id: str) -> int:
    """How many uses of a token have been written."""
    return sum(each["count"] for each in shown(gateway, token_id).get("usage", {}).get("requests", []))


def test_use_is_told_after_some_seconds(gateway: Gateway) -> None:
    made = gateway.create(name="used", policies=DNS)
    tag = gateway.call("GET", f"/user/tokens/{made['id']}").headers["etag"]
    for _ in range(3):
        assert gateway.call("GET", RECORDS, made["value"]).status_code == 200
    assert gateway.call("GET", f"/zones/{BETA}/dns_records", made["value"]).status_code == 403
    assert gateway.call("GET", "/nowhere", made["value"]).status_code == 404
    until("all uses are written", lambda: counted(gateway, made["id"]) == 5)
    found = shown(gateway, made["id"])
    assert found["usage"] == {
        "last_address": "127.0.0.1",
        "requests": [
            {"route": "", "result": "no_route", "count": 1},
            {"route": ROUTE, "result": "allowed", "count": 3},
            {"route": ROUTE, "result": "forbidden", "count": 1},
        ],
    }
    listed = gateway.call("GET", "/user/tokens?per_page=50&direction=desc").json()["result"]
    assert [each["last_used_on"] for each in listed if each["id"] == made["id"]] == [found["last_used_on"]]
    assert gateway.call("GET", f"/user/tokens/{made['id']}").headers["etag"] == tag
    show = gateway.command("token", "show", made["id"], env=environment(gateway))
    assert f"3 allowed: {ROUTE}" in show.stdout
    with Cloudflare(api_token=gateway.first, base_url=gateway.url, max_retries=0) as client:
        assert client.user.tokens.get(made["id"]).last_used_on is not None


def test_a_used_token_can_be_put_back_as_it_was_shown(gateway: Gateway) -> None:
    made = gateway.create(name="used", policies=DNS)
    gateway.call("GET", RECORDS, made["value"])
    until("the use is written", lambda: counted(gateway, made["id"]) == 1)
    answer = gateway.call("PUT", f"/user/tokens/{made['id']}", json=shown(gateway, made["id"]))
    assert answer.status_code == 200, answer.text
    done = gateway.command("token", "edit", made["id"], "--name", "renamed", env=environment(gateway))
    assert (done.returncode, done.stderr) == (0, "")


def test_a_gateway_that_ends_writes_what_it_has_counted(alone: Gateway) -> None:
    made = alone.create(name="used", policies=DNS)
    alone.call("GET", RECORDS, made["value"])
    assert alone.stop() == 0
    alone.start()
    assert shown(alone, made["id"])["usage"]["requests"] == [{"route": ROUTE, "result": "allowed", "count": 1}]


def test_a_gateway_that_is_killed_loses_what_it_has_not_written_and_only_that(alone: Gateway) -> None:
    made = alone.create(name="used", policies=DNS)
    alone.call("GET", RECORDS, made["value"])
    until("the use is written", lambda: counted(alone, made["id"]) == 1)
    alone.call("GET", RECORDS, made["value"])
    alone.kill()
    alone.start()
    assert counted(alone, made["id"]) in (1, 2)


def test_a_refusal_is_answered_though_it_cannot_be_written_down(alone: Gateway) -> None:
    made = alone.create(name="curious", policies=DNS)
    assert alone.call("GET", "/user/tokens", made["value"]).status_code == 403
    os.kill(alone.store_pid(), signal.SIGSTOP)
    try:
        answer = alone.call("GET", "/user/tokens", made["value"])
    finally:
        os.kill(alone.store_pid(), signal.SIGCONT)
    # The worker knows the token for a moment longer than it can reach the store.
    assert answer.status_code == 403
    assert "refused call not in the audit" in alone.log()
    assert made["value"] not in alone.log()
