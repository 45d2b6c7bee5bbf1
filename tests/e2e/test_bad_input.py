"""What must not get in: each a 400 in the envelope that names the field, and nothing is written."""

import json
from typing import Any

import pytest
from support.processes import Gateway
from support.records import group_id, zone

GOOD: dict[str, Any] = {
    "name": "good",
    "policies": [
        {
            "effect": "allow",
            "permission_groups": [{"id": group_id("DNS Write")}],
            "resources": {zone("a" * 32): "*"},
        }
    ],
}
POLICY = GOOD["policies"][0]


def with_policy(**changes: Any) -> dict[str, Any]:
    return {**GOOD, "policies": [{**POLICY, **changes}]}


TOKEN_BODIES: list[Any] = [
    pytest.param({**GOOD, "expires": "2030-01-01T00:00:00Z"}, "/expires", id="an unknown field"),
    pytest.param({**GOOD, "name": 7}, "/name", id="a wrong type"),
    pytest.param({**GOOD, "name": "n" * 200}, "/name", id="a name of 200 characters"),
    pytest.param({**GOOD, "name": "a\x00b"}, "/name", id="a name with a control byte"),
    pytest.param(
        {**GOOD, "condition": {"request_ip": {"in": ["10.0.0.1/8"]}}}, "/condition/request_ip/in/0", id="host"
    ),
    pytest.param({**GOOD, "condition": {"request_ip": {"in": ["10.0.0/33"]}}}, "/condition/request_ip/in/0", id="CIDR"),
    pytest.param({**GOOD, "expires_on": "2020-01-01T00:00:00Z"}, "/expires_on", id="an end in the past"),
    pytest.param(
        {**GOOD, "not_before": "2031-01-01T00:00:00Z", "expires_on": "2030-01-01T00:00:00Z"},
        "/expires_on",
        id="an end before the start",
    ),
    pytest.param({**GOOD, "policies": []}, "/policies", id="no policy"),
    pytest.param({**GOOD, "policies": [POLICY] * 51}, "/policies", id="51 policies"),
    pytest.param(
        with_policy(permission_groups=[{"id": "0" * 32}]), "/policies/0/permission_groups/0/id", id="an unknown group"
    ),
    pytest.param(with_policy(resources={"zone": "*"}), "/policies/0/resources/zone", id="a malformed resource"),
    pytest.param(
        with_policy(resources={"com.cloudflare.api.account." + "c" * 32: "*"}),
        "/policies/0/permission_groups/0",
        id="a group on a resource of another scope",
    ),
]


RAW_BODIES: list[Any] = [
    pytest.param(b"{", id="broken JSON"),
    pytest.param(b'{"name": NaN}', id="NaN"),
    pytest.param(b'{"name": 1e999}', id="a number beyond all doubles"),
    pytest.param(b'{"name": "a", "name": "b"}', id="a key twice"),
    pytest.param(b"[" * 2000 + b"]" * 2000, id="2,000 arrays deep"),
    pytest.param(b'{"name": "\xff"}', id="not UTF-8"),
    pytest.param(b"", id="nothing"),
    pytest.param(b"[]", id="not an object"),
]


def documents(gateway: Gateway) -> Any:
    return gateway.call("GET", "/user/tokens?include_expired=true").json()["result_info"]["total_count"]


def check_refused(gateway: Gateway, method: str, path: str, body: bytes) -> list[dict[str, Any]]:
    before = documents(gateway)
    answer = gateway.call(method, path, content=body, headers={"Content-Type": "application/json"})
    found = answer.json()
    assert answer.status_code == 400, answer.text
    assert found["success"] is False
    assert {error["code"] for error in found["errors"]} == {10400}
    assert documents(gateway) == before
    errors: list[dict[str, Any]] = found["errors"]
    return errors


@pytest.mark.parametrize(("body", "pointer"), TOKEN_BODIES)
def test_a_bad_token_body_is_refused_with_the_field_named(body: dict[str, Any], pointer: str, gateway: Gateway) -> None:
    errors = check_refused(gateway, "POST", "/user/tokens", json.dumps(body).encode())
    assert pointer in {error["source"]["pointer"] for error in errors}


@pytest.mark.parametrize("body", RAW_BODIES)
def test_what_is_not_strict_json_is_refused(body: bytes, gateway: Gateway) -> None:
    check_refused(gateway, "POST", "/user/tokens", body)


def test_a_bad_update_leaves_the_token_as_it_was(gateway: Gateway) -> None:
    made = gateway.create(**GOOD)
    path = f"/user/tokens/{made['id']}"
    before = gateway.call("GET", path)
    check_refused(gateway, "PUT", path, json.dumps({**GOOD, "status": "expired"}).encode())
    after = gateway.call("GET", path)
    assert (after.json(), after.headers["etag"]) == (before.json(), before.headers["etag"])


def test_all_faults_come_in_one_answer(gateway: Gateway) -> None:
    body = {"name": "", "policies": [{"effect": "maybe", "permission_groups": [], "resources": {"x": "*"}}], "y": 1}
    errors = check_refused(gateway, "POST", "/user/tokens", json.dumps(body).encode())
    assert {error["source"]["pointer"] for error in errors} >= {
        "/name",
        "/y",
        "/policies/0/effect",
        "/policies/0/permission_groups",
        "/policies/0/resources/x",
    }


def test_a_body_of_5_megabytes_is_too_large(gateway: Gateway) -> None:
    before = documents(gateway)
    body = json.dumps({**GOOD, "name": "x" * 5_000_000}).encode()
    answer = gateway.call("POST", "/user/tokens", content=body)
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (413, 10413)
    assert documents(gateway) == before


BAD_QUERIES = ["page=0", "page=x", "per_page=4", "per_page=51", "direction=up", "include_expired=2", "page=1&page=2"]


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_a_bad_query_of_the_list_is_refused(query: str, gateway: Gateway) -> None:
    answer = gateway.call("GET", f"/user/tokens?{query}")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (400, 6003)
