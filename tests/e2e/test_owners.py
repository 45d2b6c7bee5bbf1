"""Owners, account-owned tokens, rolls with an overlap and pinned zones, through a running gateway."""

import json
import time
from typing import Any

import httpx
import pytest
from support.processes import Gateway, until
from support.records import account, group_id, user, zone

from gateway.demo.dataset import ZONES
from gateway.tokens.resource import Scope

ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]


def policy(groups: list[str], resources: Any, scope: Scope = Scope.ZONE, effect: str = "allow") -> dict[str, Any]:
    return {
        "effect": effect,
        "permission_groups": [{"id": group_id(name, scope)} for name in groups],
        "resources": resources,
    }


DNS = policy(["DNS Write"], {zone(ALPHA): "*", zone(BETA): "*"})


def make_owner(gateway: Gateway, name: str, **more: Any) -> dict[str, Any]:
    """A user who may do something on two zones, and has tokens of his own."""
    owner_id = f"{name}-{time.monotonic_ns()}"
    own = policy(["API Tokens Write"], {user(owner_id): "*"}, Scope.USER)
    body = {"name": name, "id": owner_id, "policies": [DNS, own]} | more
    answer = gateway.call("POST", "/zonegate/owners", json=body)
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()["result"]
    return made


def status(gateway: Gateway, secret: str, zone_id: str = ALPHA) -> int:
    return gateway.call("GET", f"/zones/{zone_id}/dns_records", secret).status_code


def test_an_owner_s_tokens_stop_as_soon_as_it_is_disabled_and_narrow_as_soon_as_it_is_edited(gateway: Gateway) -> None:
    made = make_owner(gateway, "team")
    path, first = f"/zonegate/owners/{made['owner']['id']}", made["value"]
    child = gateway.call("POST", "/user/tokens", first, json={"name": "child", "policies": [DNS]}).json()["result"]
    assert [status(gateway, each, BETA) for each in (first, child["value"])] == [200, 200]

    shown = gateway.call("GET", path).json()["result"]
    narrower = shown | {"policies": [policy(["DNS Write"], {zone(ALPHA): "*"})]}
    assert gateway.call("PUT", path, json=narrower).status_code == 200
    assert status(gateway, child["value"], BETA) == 403
    assert status(gateway, child["value"], ALPHA) == 200

    assert gateway.call("PUT", path, json=narrower | {"status": "disabled"}).status_code == 200
    assert status(gateway, child["value"]) == 401
    assert status(gateway, first) == 401
    assert gateway.call("PUT", path, json=narrower | {"status": "active"}).status_code == 200
    assert status(gateway, child["value"]) == 200

    assert gateway.call("DELETE", path).json()["result"]["tokens"] == 2
    assert status(gateway, child["value"]) == 401
    assert gateway.call("GET", path).status_code == 404


def test_an_owner_s_token_sees_neither_owners_nor_other_owners_tokens(gateway: Gateway) -> None:
    made = make_owner(gateway, "team")
    assert gateway.call("GET", "/zonegate/owners", made["value"]).status_code == 403
    listed = gateway.call("GET", "/user/tokens", made["value"]).json()["result"]
    assert [each["id"] for each in listed] == [made["id"]]


def test_nobody_gives_what_he_has_not_got(gateway: Gateway) -> None:
    first = make_owner(gateway, "team")["value"]
    wider = policy(["DNS Write", "Zone Write"], {zone(ALPHA): "*"})
    answer = gateway.call("POST", "/user/tokens", first, json={"name": "wider", "policies": [wider]})
    assert answer.status_code == 403
    errors = answer.json()["errors"]
    assert {each["code"] for each in errors} == {10000}
    assert [each["message"] for each in errors] == [
        f"your token does not give Zone Edit on zone {ALPHA}",
        f"your token's owner does not give Zone Edit on zone {ALPHA}",
    ]


def test_a_zone_of_the_caller_s_account_is_found_out_before_it_is_given(gateway: Gateway) -> None:
    account_id = _account_of(gateway, ALPHA)
    others = next(each for each in ZONES.values() if _account_of(gateway, each) != account_id)
    every_zone = policy(["DNS Write"], {account(account_id): {zone("*"): "*"}})
    own = policy(["API Tokens Write"], {user(_first_user(gateway)): "*"}, Scope.USER)
    maker = gateway.create(name="maker", policies=[every_zone, own])["value"]

    def give(zone_id: str) -> int:
        body = {"name": "given", "policies": [policy(["DNS Write"], {zone(zone_id): "*"})]}
        return gateway.call("POST", "/user/tokens", maker, json=body).status_code

    assert (give(ALPHA), give(others)) == (200, 403)


def _account_of(gateway: Gateway, zone_id: str) -> str:
    shown = gateway.call("GET", f"/zones/{zone_id}").json()["result"]
    return str(shown["account"]["id"])


def _first_user(gateway: Gateway) -> str:
    own = gateway.call("GET", "/user/tokens/verify").json()["result"]["id"]
    return str(gateway.call("GET", f"/user/tokens/{own}").json()["result"]["owner"]["id"])


def test_a_pinned_zone_lies_in_its_account_at_once_for_every_token_on_it(gateway: Gateway) -> None:
    elsewhere = "e" * 32
    dns = policy(["DNS Write"], {account(elsewhere): {zone("*"): "*"}})
    secret = gateway.create(name="on the account", policies=[dns])["value"]
    assert status(gateway, secret) == 403
    path = f"/zonegate/zones/cloudflare-dns/{ALPHA}"
    assert gateway.call("PUT", path, json={"account": elsewhere, "name": "alpha.example"}).status_code == 200
    assert status(gateway, secret) == 200
    assert status(gateway, secret, BETA) == 403
    assert gateway.call("DELETE", path).status_code == 200
    assert status(gateway, secret) == 403
    shown = gateway.call("GET", "/zonegate/audit?per_page=5").json()["result"]
    assert {"zone-set", "zone-unset"} <= {each["action"]["type"] for each in shown}


def test_an_account_without_a_record_has_itself_and_its_zones(gateway: Gateway) -> None:
    account_id = _account_of(gateway, ALPHA)
    tokens = f"/accounts/{account_id}/tokens"
    body = {"name": "the account's", "policies": [policy(["DNS Write"], {zone(ALPHA): "*"})]}
    made = gateway.call("POST", tokens, json=body).json()["result"]
    assert made["value"].startswith("zga_")
    assert status(gateway, made["value"]) == 200
    assert status(gateway, made["value"], BETA) == 403
    own = gateway.call("GET", f"{tokens}/verify", made["value"])
    assert own.json()["result"]["id"] == made["id"]
    assert gateway.call("GET", "/user/tokens/verify", made["value"]).status_code == 401
    assert gateway.call("GET", f"/user/tokens/{made['id']}").status_code == 404
    assert made["id"] not in [each["id"] for each in gateway.call("GET", "/user/tokens").json()["result"]]


def test_a_rolled_secret_goes_on_for_its_overlap_and_then_is_dead(gateway: Gateway) -> None:
    made = gateway.create(name="rolled", policies=[DNS])
    path = f"/user/tokens/{made['id']}/value"
    fresh = gateway.call("PUT", path, json={"overlap": 2}).json()["result"]
    verified = gateway.call("GET", "/user/tokens/verify", made["value"]).json()
    assert [each["code"] for each in verified["messages"]] == [10000, 10001]
    assert verified["result"]["expires_on"]
    assert (status(gateway, made["value"]), status(gateway, fresh)) == (200, 200)
    until("it ended", lambda: status(gateway, made["value"]) == 401)
    assert status(gateway, fresh) == 200


def test_a_rolled_secret_that_ends_itself_leaves_the_new_one_alive(gateway: Gateway) -> None:
    made = gateway.create(name="rolled", policies=[DNS])
    fresh = gateway.call("PUT", f"/user/tokens/{made['id']}/value", json={"overlap": 600}).json()["result"]
    assert gateway.call("POST", "/user/tokens/revoke-self", made["value"]).status_code == 200
    assert status(gateway, made["value"]) == 401
    assert status(gateway, fresh) == 200


def test_a_cascade_ends_all_that_a_leaked_token_has_made(gateway: Gateway) -> None:
    leaked = make_owner(gateway, "team")
    own = leaked["policies"][1]
    makes = {"name": "makes", "policies": [DNS, own]}
    child = gateway.call("POST", "/user/tokens", leaked["value"], json=makes).json()["result"]
    grandchild = gateway.call("POST", "/user/tokens", child["value"], json=makes).json()["result"]
    path = f"/user/tokens/{leaked['id']}?cascade=true"
    done = gateway.call("DELETE", path, child["value"])
    assert set(done.json()["result"]["revoked"]) == {child["id"], grandchild["id"]}
    for each in (leaked, child, grandchild):
        assert status(gateway, each["value"]) == 401


def test_the_commands_manage_owners_and_zones(gateway: Gateway) -> None:
    environment = {"ZONEGATE_URL": gateway.url, "ZONEGATE_TOKEN": gateway.first}

    def run(*arguments: str) -> Any:
        done = gateway.command(*arguments, "--json", env=environment)
        assert (done.returncode, done.stderr) == (0, ""), arguments
        return json.loads(done.stdout)

    permissions = ["--permission", "DNS Write", "--zone", ALPHA]
    made = run("owner", "create", "--name", "from the command", *permissions)
    owner_id = made["owner"]["id"]
    assert status(gateway, made["value"]) == 200
    assert owner_id in [each["id"] for each in run("owner", "list")]
    assert run("owner", "edit", owner_id, "--name", "renamed")["name"] == "renamed"
    assert run("owner", "disable", owner_id)["status"] == "disabled"
    assert run("owner", "enable", owner_id)["status"] == "active"
    assert run("owner", "show", owner_id)["name"] == "renamed"
    assert run("owner", "delete", owner_id) == {"id": owner_id, "kind": "user", "tokens": 1}

    pinned = run("zone", "set", BETA, "--api", "cloudflare-dns", "--account", "e" * 32, "--name", "beta.example")
    assert run("zone", "show", BETA, "--api", "cloudflare-dns") == pinned
    assert run("zone", "unset", BETA, "--api", "cloudflare-dns") == {"id": BETA, "api": "cloudflare-dns"}


@pytest.mark.parametrize("path", ["/zonegate/owners", f"/zonegate/zones/cloudflare-dns/{ALPHA}", "/accounts/a/tokens"])
def test_without_a_credential_nothing_is_told(gateway: Gateway, path: str) -> None:
    assert httpx.get(gateway.url + path).status_code == 401
