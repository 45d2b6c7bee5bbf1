"""Zone, address and dates: each refused with its row of the table, and nothing of it reaches the upstream."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.processes import UPSTREAM_SECRET, Gateway, Upstream, until
from support.records import group_id, zone

from gateway.demo.dataset import ACCOUNTS, ZONES
from gateway.tokens.owner import OwnerKind
from gateway.tokens.resource import Scope
from gateway.tokens.secret import make_secret

ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]
RECORDS = f"/zones/{ALPHA}/dns_records"


def policy(resource: str, *groups: str, effect: str = "allow", scope: Scope = Scope.ZONE) -> dict[str, Any]:
    return {
        "effect": effect,
        "permission_groups": [{"id": group_id(name, scope)} for name in groups],
        "resources": {resource: "*"},
    }


DNS = [policy(zone(ALPHA), "DNS Write")]
EVERY_ZONE = [policy(zone("*"), "DNS Write", "DNS Read")]


def at(**delta: float) -> str:
    return (datetime.now(UTC) + timedelta(**delta)).strftime("%Y-%m-%dT%H:%M:%SZ")


REFUSED: list[Any] = [
    pytest.param({"policies": DNS}, "GET", f"/zones/{BETA}/dns_records", 403, 10000, id="another zone"),
    pytest.param({"policies": DNS}, "GET", f"/zones/{ALPHA}", 403, 10000, id="a group of another kind"),
    pytest.param(
        {"policies": [policy(zone(ALPHA), "DNS Read")]}, "POST", RECORDS, 403, 10000, id="writing with a read token"
    ),
    pytest.param(
        {"policies": [*EVERY_ZONE, policy(zone(ALPHA), "DNS Write", "DNS Read", effect="deny")]},
        "GET",
        RECORDS,
        403,
        10000,
        id="all zones except this one",
    ),
    pytest.param({"policies": EVERY_ZONE}, "GET", "/zones", 403, 10000, id="a list that takes another group"),
    pytest.param({"policies": EVERY_ZONE}, "GET", "/user", 403, 10000, id="the user"),
    pytest.param({"policies": DNS}, "GET", f"/zones/{ALPHA}/secrets", 404, 7003, id="no route"),
    pytest.param({"policies": DNS}, "DELETE", RECORDS, 405, 7001, id="no such method"),
    pytest.param(
        {"policies": DNS, "condition": {"request_ip": {"in": ["192.0.2.0/24"]}}},
        "GET",
        RECORDS,
        403,
        9109,
        id="another network",
    ),
    pytest.param(
        {"policies": DNS, "condition": {"request_ip": {"not_in": ["127.0.0.1"]}}},
        "GET",
        RECORDS,
        403,
        9109,
        id="a network that is shut out",
    ),
    pytest.param({"policies": DNS, "not_before": at(hours=1)}, "GET", RECORDS, 401, 1000, id="before its time"),
]


@pytest.mark.parametrize(("fields", "method", "path", "status", "code"), REFUSED)
def test_a_refusal_says_why_and_nothing_reaches_the_upstream(
    fields: dict[str, Any], method: str, path: str, status: int, code: int, gateway: Gateway, upstream: Upstream
) -> None:
    secret = gateway.create(name="restricted", **fields)["value"]
    before = len(upstream.journal())
    answer = gateway.call(method, path, secret)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-request-id"]
    assert len(upstream.journal()) == before


def test_a_refusal_names_what_the_route_needs(gateway: Gateway) -> None:
    secret = gateway.create(name="restricted", policies=DNS)["value"]
    answer = gateway.call("GET", f"/zones/{ALPHA}", secret)
    assert answer.headers["x-accepted-permissions"] == "Zone Read, Zone Write"
    assert "Zone Read or Zone Write" in answer.json()["messages"][0]["message"]


def test_a_token_expires_while_the_gateway_runs(gateway: Gateway, upstream: Upstream) -> None:
    made = gateway.create(name="short", policies=DNS, expires_on=at(seconds=2))
    assert gateway.call("GET", RECORDS, made["value"]).status_code == 200
    until("it expires", lambda: gateway.call("GET", RECORDS, made["value"]).status_code == 401)
    before = len(upstream.journal())
    answer = gateway.call("GET", RECORDS, made["value"])
    assert answer.json()["errors"] == [{"code": 1000, "message": "Invalid API Token"}]
    assert "expired" in answer.json()["messages"][0]["message"]
    assert answer.headers["www-authenticate"] == "Bearer"
    assert len(upstream.journal()) == before
    assert gateway.call("GET", f"/user/tokens/{made['id']}").json()["result"]["status"] == "expired"


def test_nobody_without_a_token_learns_which_routes_exist(gateway: Gateway, upstream: Upstream) -> None:
    before = len(upstream.journal())
    answers = {
        (answer.status_code, answer.content)
        for path in (RECORDS, "/nothing/here", "/user/tokens", "/zones")
        for answer in [gateway.call("GET", path, "zgt_" + "0" * 32 + "_" + "A" * 49)]
    }
    assert len(answers) == 1
    assert len(upstream.journal()) == before


def test_an_unknown_id_and_a_wrong_secret_look_alike(gateway: Gateway) -> None:
    made = gateway.create(name="guessed", policies=DNS)
    wrong = make_secret(OwnerKind.USER, made["id"], bytes(32)).reveal()
    unknown = make_secret(OwnerKind.USER, "0" * 32, bytes(32)).reveal()
    answers = [gateway.call("GET", RECORDS, secret) for secret in (wrong, unknown)]
    for answer in answers:
        del answer.headers["x-request-id"], answer.headers["date"]
    assert answers[0].status_code == answers[1].status_code == 401
    assert answers[0].content == answers[1].content
    assert list(answers[0].headers.items()) == list(answers[1].headers.items())


def test_no_secret_goes_up_or_stays_anywhere(gateway: Gateway, upstream: Upstream) -> None:
    made = gateway.create(name="secretive", policies=DNS)
    secret = made["value"]
    assert gateway.call("GET", RECORDS, secret).status_code == 200
    assert gateway.call("GET", f"{RECORDS}?note={secret[:8]}", secret + "x").status_code == 400
    rolled = gateway.call("PUT", f"/user/tokens/{made['id']}/value", json={}).json()["result"]
    arrived = upstream.journal()
    assert arrived
    assert not any(entry["token_seen"] for entry in arrived)
    assert all(["Authorization", "<credential ok>"] in entry["headers"] for entry in arrived)
    kept = [path for path in Path(gateway.directory).rglob("*") if path.is_file() and path != gateway.config]
    for path in kept:
        content = path.read_bytes()
        for leak in (secret, secret[-49:], rolled, rolled[-49:], gateway.first, gateway.first[-49:], UPSTREAM_SECRET):
            assert leak.encode() not in content, path


def test_the_clients_address_is_believed_from_a_trusted_proxy_alone(gateway: Gateway) -> None:
    secret = gateway.create(name="net", policies=DNS, condition={"request_ip": {"in": ["192.0.2.7"]}})["value"]
    answer = gateway.call("GET", RECORDS, secret, headers={"X-Forwarded-For": "192.0.2.7"})
    assert (answer.status_code, answer.json()["errors"][0]["message"]) == (
        403,
        "Cannot use the access token from location: 127.0.0.1",
    )


def test_the_first_owner_may_do_everything_that_a_path_names(gateway: Gateway) -> None:
    for path in (
        RECORDS,
        f"/zones/{BETA}",
        f"/zones/{ALPHA}/dnssec",
        f"/accounts/{ACCOUNTS['Alpha Ltd']}",
        f"/accounts/{ACCOUNTS['Gamma Inc']}/billing/profile",
        "/user",
        "/user/billing/profile",
    ):
        answer = gateway.call("GET", path)
        assert answer.status_code == 200, (path, answer.text)


def test_a_disabled_token_and_a_revoked_one_are_dead_at_once(gateway: Gateway) -> None:
    made = gateway.create(name="dies", policies=DNS)
    secret = made["value"]
    off = {"name": "dies", "policies": DNS, "status": "disabled"}
    assert gateway.call("PUT", f"/user/tokens/{made['id']}", json=off).status_code == 200
    answer = gateway.call("GET", RECORDS, secret)
    assert (answer.status_code, answer.json()["messages"][0]["message"]) == (401, "The token is disabled")
    on = {**off, "status": "active"}
    assert gateway.call("PUT", f"/user/tokens/{made['id']}", json=on).status_code == 200
    assert gateway.call("POST", "/user/tokens/revoke-self", secret).status_code == 200
    assert gateway.call("GET", RECORDS, secret).status_code == 401
