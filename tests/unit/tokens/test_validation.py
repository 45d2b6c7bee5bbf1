import json
from collections.abc import Callable, Mapping
from itertools import count
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.records import (
    ACCOUNT_A,
    DNS_ON_A,
    GROUPS,
    NOW,
    TOKEN_ID,
    USER,
    ZONE_A,
    ZONE_B,
    account,
    group_id,
    owner,
    token,
    user,
    zone,
)

from gateway.reason import Fault
from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.owner import OwnerDraft, OwnerKind, OwnerRef, OwnerStatus
from gateway.tokens.policy import Effect
from gateway.tokens.rate import Rate
from gateway.tokens.resource import Scope
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Draft, Status, Token
from gateway.tokens.validation import validate_owner, validate_roll, validate_token

DNS_WRITE = {"id": group_id("DNS Write")}
BILLING = {"id": group_id("Billing Read", Scope.ACCOUNT)}
ALLOW: dict[str, Any] = {
    "effect": "allow",
    "permission_groups": [DNS_WRITE],
    "resources": {zone(ZONE_A): "*"},
}
BODY: dict[str, Any] = {"name": "a token", "policies": [ALLOW]}
LATER, SOON, GONE = (format_timestamp(NOW + 7200), format_timestamp(NOW + 3600), format_timestamp(NOW - 1))
DROP = object()
STORED = token([DNS_ON_A], expires_on=NOW - 60)


def ids() -> Callable[[], str]:
    counter = count(1)
    return lambda: f"{next(counter):032x}"


def without_dropped(value: Mapping[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item is not DROP}


def body(**changes: object) -> bytes:
    """A valid body but for `changes`; DROP takes a field away."""
    return json.dumps(without_dropped({**BODY, **changes})).encode()


def with_policy(**changes: object) -> dict[str, Any]:
    return {"policies": [without_dropped({**ALLOW, **changes})]}


def with_ip(**request_ip: object) -> dict[str, Any]:
    renamed = {key.rstrip("_"): value for key, value in request_ip.items()}
    return {"condition": {"request_ip": renamed}}


def faults_of(sent: bytes, current: Token | None = None, apis: tuple[str, ...] | None = None) -> tuple[Fault, ...]:
    found = validate_token(sent, GROUPS, NOW, ids(), current, apis=apis)
    assert not isinstance(found, Draft)
    return found


def draft_of(sent: bytes, current: Token | None = None) -> Draft:
    found = validate_token(sent, GROUPS, NOW, ids(), current)
    assert isinstance(found, Draft), found
    return found


APIS = ("powerdns", "billing")
NETWORKS = [f"10.{index // 256}.{index % 256}.0/24" for index in range(201)]
KEYS = {zone(f"{index:032x}"): "*" for index in range(1001)}
NOT_YET = "not in this version yet"


def limits(requests: Any, period: Any, **more: Any) -> dict[str, Any]:
    return {"requests": requests, "period": period, **more}


@pytest.mark.parametrize(
    ("changes", "pointer", "says"),
    [
        # name
        pytest.param({"name": DROP}, "/name", "missing", id="name: missing"),
        pytest.param({"name": None}, "/name", "missing", id="name: null"),
        pytest.param({"name": 7}, "/name", "not a string", id="name: a number"),
        pytest.param({"name": ["a"]}, "/name", "not a string", id="name: an array"),
        pytest.param({"name": ""}, "/name", "1 to 120 characters", id="name: 0 characters"),
        pytest.param({"name": "x" * 121}, "/name", "1 to 120 characters", id="name: 121 characters"),
        pytest.param({"name": "x" * 200}, "/name", "1 to 120 characters", id="name: 200 characters"),
        pytest.param({"name": "a\nb"}, "/name", "no control characters", id="name: a line end"),
        pytest.param({"name": "a\x00b"}, "/name", "no control characters", id="name: a nought byte"),
        pytest.param({"name": "a\x1b[31mb"}, "/name", "no control characters", id="name: an escape sequence"),
        pytest.param({"name": "a\x7fb"}, "/name", "no control characters", id="name: DEL"),
        pytest.param({"name": "a\x85b"}, "/name", "no control characters", id="name: a C1 control"),
        # fields
        pytest.param({"expire_on": LATER}, "/expire_on", "unknown field", id="field: misspelt"),
        pytest.param({"value": "x"}, "/value", "unknown field", id="field: the secret"),
        pytest.param({"a/b": 1}, "", "unknown field", id="field: no plain name is not pointed at"),
        # status
        pytest.param({"status": "expired"}, "/status", "expires by expires_on", id="status: expired"),
        pytest.param({"status": "Active"}, "/status", '"active" or "disabled"', id="status: in capitals"),
        pytest.param({"status": True}, "/status", '"active" or "disabled"', id="status: true"),
        pytest.param({"status": ["active"]}, "/status", '"active" or "disabled"', id="status: an array"),
        # limits
        pytest.param({"limits": 1200}, "/limits", "not an object", id="limits: a number"),
        pytest.param({"limits": {"requests": 5}}, "/limits/period", "missing", id="limits: no period"),
        pytest.param({"limits": {"period": 5}}, "/limits/requests", "missing", id="limits: no requests"),
        pytest.param({"limits": limits(0, 1)}, "/limits/requests", "1 to 1000000", id="limits: nothing at all"),
        pytest.param({"limits": limits(1000001, 1)}, "/limits/requests", "1 to 1000000", id="limits: too many"),
        pytest.param({"limits": limits(1, 0)}, "/limits/period", "seconds, 1 to 2592000", id="limits: in no time"),
        pytest.param({"limits": limits(1, 2592001)}, "/limits/period", "1 to 2592000", id="limits: over 30 days"),
        pytest.param({"limits": limits(1.5, 1)}, "/limits/requests", "a whole number", id="limits: a part of one"),
        pytest.param({"limits": limits(True, 1)}, "/limits/requests", "a whole number", id="limits: true"),
        pytest.param({"limits": limits("1", 1)}, "/limits/requests", "a whole number", id="limits: text"),
        pytest.param({"limits": limits(1, 1, burst=5)}, "/limits/burst", "unknown field", id="limits: another field"),
        # dates
        pytest.param({"expires_on": "2027-01-31"}, "/expires_on", "RFC 3339", id="expires_on: only a date"),
        pytest.param({"expires_on": NOW + 60}, "/expires_on", "RFC 3339", id="expires_on: a number"),
        pytest.param({"expires_on": ""}, "/expires_on", "RFC 3339", id="expires_on: empty"),
        pytest.param({"not_before": {}}, "/not_before", "RFC 3339", id="not_before: an object"),
        pytest.param({"expires_on": GONE}, "/expires_on", "in the past", id="expires_on: in the past"),
        pytest.param(
            {"expires_on": format_timestamp(NOW)}, "/expires_on", "in the past", id="expires_on: this very second"
        ),
        pytest.param(
            {"not_before": LATER, "expires_on": SOON},
            "/expires_on",
            "not after not_before",
            id="expires_on: before not_before",
        ),
        pytest.param(
            {"not_before": SOON, "expires_on": SOON},
            "/expires_on",
            "not after not_before",
            id="expires_on: at not_before",
        ),
        # policies
        pytest.param({"policies": DROP}, "/policies", "missing", id="policies: missing"),
        pytest.param({"policies": None}, "/policies", "missing", id="policies: null"),
        pytest.param({"policies": {}}, "/policies", "not an array", id="policies: an object"),
        pytest.param({"policies": []}, "/policies", "0 items: it takes 1 to 50", id="policies: 0"),
        pytest.param({"policies": [ALLOW] * 51}, "/policies", "51 items: it takes 1 to 50", id="policies: 51"),
        pytest.param({"policies": ["allow"]}, "/policies/0", "not an object", id="policy: a word"),
        pytest.param({"policies": [ALLOW, None]}, "/policies/1", "not an object", id="policy: null"),
        pytest.param(with_policy(effects="x"), "/policies/0/effects", "unknown field", id="policy: misspelt"),
        pytest.param(with_policy(records=[]), "/policies/0/records", NOT_YET, id="policy: records"),
        pytest.param(with_policy(records=None), "/policies/0/records", NOT_YET, id="policy: records, null"),
        # effect
        pytest.param(with_policy(effect=DROP), "/policies/0/effect", '"allow" or "deny"', id="effect: missing"),
        pytest.param(with_policy(effect=None), "/policies/0/effect", '"allow" or "deny"', id="effect: null"),
        pytest.param(with_policy(effect="Deny"), "/policies/0/effect", '"allow" or "deny"', id="effect: Deny"),
        pytest.param(with_policy(effect=["deny"]), "/policies/0/effect", '"allow" or "deny"', id="effect: array"),
        # permission groups
        pytest.param(
            with_policy(permission_groups=DROP),
            "/policies/0/permission_groups",
            "missing",
            id="groups: missing",
        ),
        pytest.param(
            with_policy(permission_groups=DNS_WRITE),
            "/policies/0/permission_groups",
            "not an array",
            id="groups: an object",
        ),
        pytest.param(
            with_policy(permission_groups=[]),
            "/policies/0/permission_groups",
            "0 items: it takes 1 to 300",
            id="groups: 0",
        ),
        pytest.param(
            with_policy(permission_groups=[DNS_WRITE] * 301),
            "/policies/0/permission_groups",
            "301 items: it takes 1 to 300",
            id="groups: 301",
        ),
        pytest.param(
            with_policy(permission_groups=[DNS_WRITE["id"]]),
            "/policies/0/permission_groups/0",
            "not an object",
            id="group: a bare id",
        ),
        pytest.param(
            with_policy(permission_groups=[{**DNS_WRITE, "scope": "x"}]),
            "/policies/0/permission_groups/0/scope",
            "unknown field",
            id="group: an unknown field",
        ),
        pytest.param(
            with_policy(permission_groups=[{"id": 7}]),
            "/policies/0/permission_groups/0/id",
            "not a string",
            id="group: a number for an id",
        ),
        pytest.param(
            with_policy(permission_groups=[DNS_WRITE, {"id": "9" * 32}]),
            "/policies/0/permission_groups/1/id",
            "unknown permission group",
            id="group: unknown",
        ),
        pytest.param(
            with_policy(permission_groups=[{"id": DNS_WRITE["id"].upper()}]),
            "/policies/0/permission_groups/0/id",
            "unknown permission group",
            id="group: an id in capitals",
        ),
        pytest.param(
            with_policy(permission_groups=[{"id": "DNS Write"}]),
            "/policies/0/permission_groups/0/id",
            "unknown permission group",
            id="group: its name for an id",
        ),
        pytest.param(
            with_policy(permission_groups=[{"name": "DNS Write"}]),
            "/policies/0/permission_groups/0/id",
            "missing",
            id="group: its name alone",
        ),
        pytest.param(
            with_policy(permission_groups=[{"id": ""}]),
            "/policies/0/permission_groups/0/id",
            "unknown permission group",
            id="group: an empty id",
        ),
        # resources
        pytest.param(with_policy(resources=DROP), "/policies/0/resources", "missing", id="resources: missing"),
        pytest.param(
            with_policy(resources=[zone(ZONE_A)]), "/policies/0/resources", "not an object", id="resources: array"
        ),
        pytest.param(
            with_policy(resources={}), "/policies/0/resources", "0 resources: it takes 1 to 1000", id="resources: 0"
        ),
        pytest.param(
            with_policy(resources=KEYS),
            "/policies/0/resources",
            "1001 resources: it takes 1 to 1000",
            id="resources: 1001",
        ),
        pytest.param(
            with_policy(resources={zone("a..b"): "*"}),
            f"/policies/0/resources/{zone('a..b')}",
            "not a zone",
            id="resource: malformed",
        ),
        pytest.param(
            with_policy(resources={zone("A" * 32): "*"}),
            f"/policies/0/resources/{zone('A' * 32)}",
            "lower case",
            id="resource: a zone id in capitals",
        ),
        pytest.param(
            with_policy(resources={zone(ZONE_A): "read"}),
            f"/policies/0/resources/{zone(ZONE_A)}",
            "the value of a resource",
            id="resource: another value",
        ),
        pytest.param(
            with_policy(resources={zone(ZONE_A): None}),
            f"/policies/0/resources/{zone(ZONE_A)}",
            "the value of a resource",
            id="resource: null",
        ),
        pytest.param(
            with_policy(resources={account(ACCOUNT_A): {account(ACCOUNT_A): "*"}}),
            f"/policies/0/resources/{account(ACCOUNT_A)}",
            "what stands under an account",
            id="resource: an account nested in an account",
        ),
        pytest.param(
            with_policy(resources={zone(ZONE_A): {account(ACCOUNT_A): "*"}}),
            f"/policies/0/resources/{zone(ZONE_A)}",
            "only an account's id holds other resources",
            id="resource: an account nested in a zone",
        ),
        pytest.param(
            with_policy(resources={zone("a*"): "*"}),
            f"/policies/0/resources/{zone('a*')}",
            "a zone has no * in its name",
            id="resource: a star inside a zone's id",
        ),
        pytest.param(
            with_policy(resources={zone(ZONE_A): "*", zone("a b"): "*"}),
            "/policies/0/resources",
            "not a zone",
            id="resource: what is no plain name is not pointed at",
        ),
        # scopes
        pytest.param(
            with_policy(resources={account(ACCOUNT_A): "*"}),
            "/policies/0/permission_groups/0",
            "DNS Write is a permission on a zone, and this policy names a resource of the scope account",
            id="scope: a group of zones on an account",
        ),
        pytest.param(
            with_policy(permission_groups=[BILLING]),
            "/policies/0/permission_groups/0",
            "this policy names a resource of the scope zone",
            id="scope: a group of accounts on a zone",
        ),
        pytest.param(
            with_policy(resources={zone(ZONE_A): "*", user(USER): "*"}),
            "/policies/0/permission_groups/0",
            "the scope user",
            id="scope: one resource of two is of another",
        ),
        pytest.param(
            with_policy(permission_groups=[DNS_WRITE, BILLING]),
            "/policies/0/permission_groups/1",
            "Billing Read is a permission",
            id="scope: one group of two is of another",
        ),
        pytest.param(
            with_policy(permission_groups=[BILLING], resources={account(ACCOUNT_A): {zone("*"): "*"}}),
            "/policies/0/permission_groups/0",
            "the scope zone",
            id="scope: all zones of an account are zones",
        ),
        # apis
        *(
            pytest.param(with_policy(apis=value), f"/policies/0/apis{at}", says, id=f"apis: {name}")
            for value, at, says, name in (
                ([], "", "0 items: it takes 1 to 50", "0"),
                ([f"api-{index}" for index in range(51)], "", "51 items: it takes 1 to 50", "51"),
                (None, "", "not an array", "null, which is not every API"),
                ("billing", "", "not an array", "a word"),
                (["billing", 7], "/1", "not a string", "a number"),
                (["billing", "none"], "/1", "unknown API: there are billing, powerdns", "an unknown one"),
                (["Billing"], "/0", "unknown API", "in capitals"),
                (["billing", "powerdns", "billing"], "/2", "named twice", "one twice"),
            )
        ),
        # condition
        pytest.param({"condition": []}, "/condition", "not an object", id="condition: an array"),
        pytest.param({"condition": {"ip": {}}}, "/condition/ip", "unknown field", id="condition: unknown"),
        pytest.param(
            {"condition": {"request_ip": []}},
            "/condition/request_ip",
            "not an object",
            id="request_ip: an array",
        ),
        pytest.param(
            with_ip(notin=["192.0.2.0/24"]),
            "/condition/request_ip/notin",
            "unknown field",
            id="request_ip: unknown",
        ),
        pytest.param(with_ip(in_="192.0.2.0/24"), "/condition/request_ip/in", "not an array", id="in: a string"),
        pytest.param(
            with_ip(in_=[]), "/condition/request_ip/in", "0 items: it takes 1 to 200", id="in: it would admit nobody"
        ),
        pytest.param(
            with_ip(in_=NETWORKS),
            "/condition/request_ip/in",
            "201 items: it takes 1 to 200",
            id="in: 201 networks",
        ),
        pytest.param(
            with_ip(not_in=NETWORKS),
            "/condition/request_ip/not_in",
            "201 items: it takes 0 to 200",
            id="not_in: 201 networks",
        ),
        pytest.param(
            with_ip(in_=NETWORKS[:101], not_in=NETWORKS[101:]),
            "/condition/request_ip",
            "more than 200 networks",
            id="in and not_in: 201 networks together",
        ),
        pytest.param(
            with_ip(in_=["192.0.2.0/24", 7]), "/condition/request_ip/in/1", "not a string", id="network: a number"
        ),
        pytest.param(
            with_ip(in_=["192.0.2.0/24", None]), "/condition/request_ip/in/1", "not a string", id="network: null"
        ),
        pytest.param(with_ip(in_=["office"]), "/condition/request_ip/in/0", "not an address", id="network: a word"),
        pytest.param(
            with_ip(not_in=["10.0.0.1/8"]),
            "/condition/request_ip/not_in/0",
            "host bits are set: the network is 10.0.0.0/8",
            id="network: host bits",
        ),
        pytest.param(
            with_ip(in_=["2001:db8::1/32"]),
            "/condition/request_ip/in/0",
            "host bits are set: the network is 2001:db8::/32",
            id="network: host bits of v6",
        ),
    ],
)
def test_one_thing_wrong_is_one_fault_with_its_place(changes: Mapping[str, Any], pointer: str, says: str) -> None:
    (fault,) = faults_of(body(**changes), apis=APIS)
    assert fault.pointer == pointer
    assert says in fault.message


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        pytest.param(b"", "not JSON", id="nothing"),
        pytest.param(b"name=a", "not JSON", id="a form"),
        pytest.param(b"[]", "not an object", id="an array"),
        pytest.param(b'"name"', "not an object", id="a string"),
        pytest.param(b"null", "not an object", id="null"),
        pytest.param(b"\xff", "not UTF-8", id="no text"),
    ],
)
def test_a_body_that_is_no_object_is_a_fault_of_the_whole(sent: bytes, says: str) -> None:
    fault = faults_of(sent)[0]
    assert fault.pointer == ""
    assert says in fault.message


def test_one_key_twice_among_the_resources_is_told_with_its_place() -> None:
    sent = body().replace(b'"*"}', b'"*", "%b": "*"}' % zone(ZONE_A).encode())
    assert faults_of(sent) == (Fault(f"/policies/0/resources/{zone(ZONE_A)}", "a key that stands here twice"),)


def test_all_faults_come_in_one_answer_each_with_its_place() -> None:
    sent = body(
        name="",
        status="expired",
        not_before="soon",
        expires_on=GONE,
        condition={"request_ip": {"in": ["10.0.0.1/8", "x"]}},
        colour="red",
        policies=[{"effect": "maybe", "permission_groups": [{"id": "9" * 32}], "resources": {"x": "*"}}, 7],
    )
    assert {fault.pointer for fault in faults_of(sent)} == {
        "/name",
        "/status",
        "/not_before",
        "/expires_on",
        "/condition/request_ip/in/0",
        "/condition/request_ip/in/1",
        "/colour",
        "/policies/0/effect",
        "/policies/0/permission_groups/0/id",
        "/policies/0/resources/x",
        "/policies/1",
    }


@pytest.mark.parametrize("names", [["billing"], ["powerdns", "billing"]])
def test_a_policy_may_be_about_some_apis(names: list[str]) -> None:
    found = validate_token(body(**with_policy(apis=names)), GROUPS, NOW, ids(), apis=APIS)
    assert isinstance(found, Draft)
    assert found.policies[0].apis == tuple(names)
    assert draft_of(body()).policies[0].apis == ()


def test_where_the_catalogue_is_not_known_any_name_of_an_api_will_do() -> None:
    assert draft_of(body(**with_policy(apis=["elsewhere"]))).policies[0].apis == ("elsewhere",)
    (fault,) = faults_of(body(**with_policy(apis=["no name"])))
    assert fault == Fault("/policies/0/apis/0", "not the name of an API: 1 to 64 of a-z 0-9 -")


def test_a_token_may_keep_an_api_that_the_catalogue_lost_and_no_other_may_take_it() -> None:
    sent = body(**with_policy(apis=["gone"]))
    held = token([msgspec.structs.replace(DNS_ON_A, apis=("gone",))])
    found = validate_token(sent, GROUPS, NOW, ids(), held, apis=APIS)
    assert isinstance(found, Draft)
    assert found.policies[0].apis == ("gone",)
    assert [fault.pointer for fault in faults_of(sent, STORED, APIS)] == ["/policies/0/apis/0"]


def test_both_faults_of_one_date_are_told() -> None:
    faults = faults_of(body(not_before=SOON, expires_on=GONE))
    assert [fault.message for fault in faults] == ["not after not_before", "in the past"]


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(body(**{f"field{index}": 1 for index in range(80)}), id="unknown fields"),
        pytest.param(body(policies=[7] * 50), id="policies"),
        pytest.param(body(policies=[{**ALLOW, "permission_groups": [{"id": "x"}] * 300}] * 50), id="groups"),
    ],
)
def test_at_most_50_faults_are_told(sent: bytes) -> None:
    assert len(faults_of(sent)) == 50


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="the least that a token needs"),
        pytest.param({"name": "x"}, id="name: 1 character"),
        pytest.param({"name": "\u00e9" * 120}, id="name: 120 characters, of two bytes each"),
        pytest.param({"policies": [ALLOW] * 50}, id="policies: 50"),
        pytest.param(with_policy(permission_groups=[DNS_WRITE] * 300), id="groups: 300"),
        pytest.param(with_policy(resources=dict(list(KEYS.items())[:1000])), id="resources: 1000"),
        pytest.param(with_ip(in_=NETWORKS[:200]), id="in: 200 networks"),
        pytest.param(with_ip(in_=NETWORKS[:100], not_in=NETWORKS[100:200]), id="200 networks together"),
        pytest.param({"expires_on": format_timestamp(NOW + 1)}, id="expires_on: in a second"),
        pytest.param({"not_before": GONE, "expires_on": SOON}, id="not_before: in the past"),
        pytest.param({"not_before": SOON, "expires_on": LATER}, id="both dates"),
    ],
)
def test_what_is_within_the_limits_is_accepted(changes: Mapping[str, Any]) -> None:
    assert isinstance(draft_of(body(**changes)), Draft)


def test_a_draft_says_what_was_sent() -> None:
    deny = {**ALLOW, "effect": "deny", "resources": {zone(ZONE_B): "*"}}
    draft = draft_of(
        body(
            policies=[ALLOW, deny],
            status="disabled",
            not_before=SOON,
            expires_on=LATER,
            limits=limits(1200, 300),
            **with_ip(in_=["192.0.2.0/24", "2001:db8::1"], not_in=["192.0.2.7"]),
        )
    )
    assert draft.limits == Rate(1200, 300)
    assert (draft.name, draft.status) == ("a token", Status.DISABLED)
    assert (draft.not_before, draft.expires_on) == (NOW + 3600, NOW + 7200)
    assert draft.condition == Condition(RequestIp(("192.0.2.0/24", "2001:db8::1"), ("192.0.2.7",)))
    assert [policy.effect for policy in draft.policies] == [Effect.ALLOW, Effect.DENY]
    assert [policy.permission_groups for policy in draft.policies] == [(DNS_WRITE["id"],)] * 2
    assert [policy.resources for policy in draft.policies] == [{zone(ZONE_A): "*"}, {zone(ZONE_B): "*"}]
    assert [policy.id for policy in draft.policies] == [f"{1:032x}", f"{2:032x}"]


def test_a_null_optional_field_counts_as_absent() -> None:
    nothing = dict.fromkeys(["status", "not_before", "expires_on", "condition", "limits"])
    assert draft_of(body(**nothing)) == draft_of(body())
    assert draft_of(body(condition={"request_ip": None})) == draft_of(body())
    assert draft_of(body(**with_ip(in_=None, not_in=None))) == draft_of(body())
    assert draft_of(body(**with_policy(id=None))) == draft_of(body())
    with_nulls = {**DNS_WRITE, "name": None, "meta": None}
    assert draft_of(body(**with_policy(permission_groups=[with_nulls]))) == draft_of(body())


def test_an_empty_not_in_excludes_nobody() -> None:
    assert draft_of(body(**with_ip(not_in=[]))).condition == Condition()


def test_ids_and_names_that_a_client_sends_back_are_ignored() -> None:
    sent_back = {**DNS_WRITE, "name": "anything", "meta": {"key": "x"}}
    assert draft_of(body(**with_policy(id="2" * 32, permission_groups=[sent_back]))) == draft_of(body())
    assert draft_of(body(**with_policy(id=7))) == draft_of(body())


SERVERS_OWN: dict[str, Any] = {
    "id": TOKEN_ID,
    "issued_on": GONE,
    "modified_on": GONE,
    "last_used_on": GONE,
    "usage": {},
    "owner": {"kind": "user", "id": USER},
    "issued_by": "e" * 32,
}


def test_an_update_may_send_the_whole_token_back() -> None:
    assert draft_of(body(**SERVERS_OWN), STORED) == draft_of(body(), STORED)


@pytest.mark.parametrize("field", SERVERS_OWN)
def test_a_creation_may_not_name_what_the_server_gives(field: str) -> None:
    assert faults_of(body(**{field: SERVERS_OWN[field]})) == (Fault(f"/{field}", "unknown field"),)


def test_a_policy_that_an_update_sends_back_keeps_its_id_and_any_other_id_means_nothing() -> None:
    kept = {**ALLOW, "id": DNS_ON_A.id}
    made_up = {**ALLOW, "id": "2" * 32}
    draft = draft_of(body(policies=[made_up, kept, ALLOW]), STORED)
    assert [policy.id for policy in draft.policies] == [f"{1:032x}", DNS_ON_A.id, f"{2:032x}"]


def test_an_end_in_the_past_is_fine_on_an_update_that_does_not_change_it() -> None:
    unchanged = format_timestamp(NOW - 60)
    assert draft_of(body(expires_on=unchanged), STORED).expires_on == NOW - 60
    assert faults_of(body(expires_on=unchanged)) == (Fault("/expires_on", "in the past"),)
    assert faults_of(body(expires_on=GONE), STORED) == (Fault("/expires_on", "in the past"),)


def test_policies_groups_resources_and_networks_keep_their_order() -> None:
    names = ["Zone Write", "DNS Read", "Cache Purge", "DNS Write"]
    keys = {zone(letter * 32): "*" for letter in "fa0c"}
    networks = ["198.51.100.0/24", "192.0.2.0/24", "203.0.113.9"]
    groups = [{"id": group_id(name)} for name in names]
    draft = draft_of(body(**with_policy(permission_groups=groups, resources=keys), **with_ip(in_=networks)))
    (policy,) = draft.policies
    assert policy.permission_groups == tuple(group_id(name) for name in names)
    assert list(policy.resources) == list(keys)
    assert draft.condition.request_ip.allowed == tuple(networks)


MARKER = "zgMARKERzg"
marked = st.text("ab:/.*\u00e9", max_size=4).map(lambda text: f"{text}{MARKER}")
junk = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | marked,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "request_ip", "in", "effect"]) | marked, inner, max_size=3)
    ),
    max_leaves=6,
)


def places(value: object, *at: str | int) -> list[tuple[str | int, ...]]:
    """Each place in `value` that something else could stand at."""
    out = [at]
    if isinstance(value, dict):
        for key, item in value.items():
            out += places(item, *at, key)
    if isinstance(value, list):
        for index, item in enumerate(value):
            out += places(item, *at, index)
    return out


def put(value: Any, at: tuple[str | int, ...], new: object) -> Any:
    """`value` with `new` at the place `at`."""
    if not at:
        return new
    if isinstance(value, dict):
        return {key: put(item, at[1:], new) if key == at[0] else item for key, item in value.items()}
    return [put(item, at[1:], new) if index == at[0] else item for index, item in enumerate(value)]


WHOLE: dict[str, Any] = {
    **BODY,
    **with_ip(in_=["192.0.2.0/24"], not_in=["192.0.2.7"]),
    "not_before": SOON,
    "expires_on": LATER,
    "status": "active",
}


@st.composite
def spoilt_bodies(draw: st.DrawFn) -> Any:
    """A whole body in which up to three places hold junk with the marker in it."""
    spoilt: Any = WHOLE
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.sampled_from(places(spoilt)))
        new = draw(junk)
        if isinstance(new, dict) and draw(st.booleans()):
            old: Any = spoilt
            for part in at:
                old = old[part]
            new = {**old, **new} if isinstance(old, dict) else new
        spoilt = put(spoilt, at, new)
    return spoilt


def resolves(value: Any, pointer: str) -> bool:
    """Whether `pointer` names something in `value`, or a member that an object there lacks."""
    parts = pointer.split("/")[1:]
    for index, part in enumerate(parts):
        if isinstance(value, list):
            if not part.isdigit() or int(part) >= len(value):
                return False
            value = value[int(part)]
        elif isinstance(value, dict):
            if part not in value:
                return index == len(parts) - 1
            value = value[part]
        else:
            return False
    return True


@given(spoilt_bodies(), st.sampled_from([None, STORED]))
@settings(deadline=None, max_examples=400)
def test_no_message_repeats_what_was_sent(spoilt: object, current: Token | None) -> None:
    found = validate_token(json.dumps(spoilt).encode(), GROUPS, NOW, ids(), current)
    if not isinstance(found, Draft):
        assert 1 <= len(found) <= 50
        assert not [fault for fault in found if MARKER in fault.message]


@given(spoilt_bodies())
@settings(deadline=None, max_examples=300)
def test_each_pointer_names_a_place_in_the_body(spoilt: object) -> None:
    found = validate_token(json.dumps(spoilt).encode(), GROUPS, NOW, ids())
    if not isinstance(found, Draft):
        assert not [fault for fault in found if not resolves(spoilt, fault.pointer)]


@given(st.sampled_from(places(WHOLE)))
@settings(deadline=None)
def test_a_marker_anywhere_is_a_fault_unless_it_is_the_name(at: tuple[str | int, ...]) -> None:
    found = validate_token(json.dumps(put(WHOLE, at, MARKER)).encode(), GROUPS, NOW, ids())
    assert isinstance(found, Draft) == (at == ("name",))


@pytest.mark.parametrize(
    ("sent", "seconds"),
    [
        pytest.param(b"", 0, id="no body"),
        pytest.param(b"{}", 0, id="an empty object"),
        pytest.param(b'{"overlap": null}', 0, id="null"),
        pytest.param(b'{"overlap": 1}', 1, id="a second"),
        pytest.param(b'{"overlap": 2592000}', 2592000, id="30 days"),
    ],
)
def test_a_roll_may_leave_the_old_secret_some_time(sent: bytes, seconds: int) -> None:
    assert validate_roll(sent) == seconds


OVERLAP = Fault("/overlap", "whole seconds, 1 to 2592000 (30 days)")


@pytest.mark.parametrize(
    ("sent", "faults"),
    [
        pytest.param(b'{"overlap": 0}', (OVERLAP,), id="no second"),
        pytest.param(b'{"overlap": -1}', (OVERLAP,), id="less than none"),
        pytest.param(b'{"overlap": 2592001}', (OVERLAP,), id="over 30 days"),
        pytest.param(b'{"overlap": 1.5}', (OVERLAP,), id="a fraction"),
        pytest.param(b'{"overlap": true}', (OVERLAP,), id="true"),
        pytest.param(b'{"overlap": "60"}', (OVERLAP,), id="a string"),
        pytest.param(b'{"value": "x"}', (Fault("/value", "unknown field"),), id="an unknown field"),
        pytest.param(b"[]", (Fault("", "not an object"),), id="an array"),
        pytest.param(b"null", (Fault("", "not an object"),), id="null"),
        pytest.param(b"\xff", (Fault("", "not UTF-8"),), id="no text"),
    ],
)
def test_a_roll_takes_nothing_else(sent: bytes, faults: tuple[Fault, ...]) -> None:
    assert validate_roll(sent) == faults


# Owners.


def owner_body(**changes: object) -> bytes:
    return json.dumps(without_dropped({"name": "an owner", "policies": [ALLOW], **changes})).encode()


@pytest.mark.parametrize(
    ("changes", "ref"),
    [
        pytest.param({}, OwnerRef(OwnerKind.USER, f"{1:032x}"), id="a user whose id is made"),
        pytest.param({"id": "team-a"}, OwnerRef(OwnerKind.USER, "team-a"), id="a user of that id"),
        pytest.param({"kind": "account", "id": "a" * 32}, OwnerRef(OwnerKind.ACCOUNT, "a" * 32), id="an account"),
        pytest.param({"kind": None, "id": None}, OwnerRef(OwnerKind.USER, f"{1:032x}"), id="nulls"),
    ],
)
def test_a_new_owner_is_a_user_unless_it_is_an_account(changes: dict[str, object], ref: OwnerRef) -> None:
    found = validate_owner(owner_body(**changes), GROUPS, ids())
    assert isinstance(found, OwnerDraft)
    assert (found.ref, found.name, found.status) == (ref, "an owner", None)
    assert [policy.resources for policy in found.policies] == [{zone(ZONE_A): "*"}]


def test_an_edit_keeps_kind_and_id_whatever_is_sent_back() -> None:
    current = owner([DNS_ON_A])
    sent = owner_body(id="x", kind="account", issued_on="x", modified_on="x", status="disabled")
    found = validate_owner(sent, GROUPS, ids(), current)
    assert isinstance(found, OwnerDraft)
    assert (found.ref, found.status) == (current.ref, OwnerStatus.DISABLED)


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        pytest.param({"name": DROP, "policies": DROP}, {"/name", "/policies"}, id="without its parts"),
        pytest.param({"kind": "account"}, {"/id"}, id="an account without its id"),
        pytest.param({"kind": "account", "id": "*"}, {"/id"}, id="every account"),
        pytest.param({"kind": "account", "id": f"zone.{ZONE_A}"}, {"/id"}, id="a zone for an account"),
        pytest.param({"id": "A" * 32}, {"/id"}, id="an id in capitals"),
        pytest.param({"id": "ä"}, {"/id"}, id="no ASCII"),
        pytest.param({"id": ["x"]}, {"/id"}, id="an array for an id"),
        pytest.param({"kind": ["user"]}, {"/kind"}, id="an array for a kind"),
        pytest.param({"status": "expired"}, {"/status"}, id="a status that is none"),
        pytest.param({"condition": {}, "issued_on": "x"}, {"/condition", "/issued_on"}, id="what an owner has not"),
    ],
)
def test_an_owner_that_is_none_is_told_with_all_its_faults(changes: dict[str, object], pointers: set[str]) -> None:
    found = validate_owner(owner_body(**changes), GROUPS, ids())
    assert isinstance(found, tuple)
    assert {fault.pointer for fault in found} == pointers


@pytest.mark.parametrize("sent", [b"", b"{", b"[]"])
def test_an_owner_is_an_object(sent: bytes) -> None:
    found = validate_owner(sent, GROUPS, ids())
    assert isinstance(found, tuple)
    assert [fault.pointer for fault in found] == [""]
