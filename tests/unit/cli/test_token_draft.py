from itertools import count
from typing import Any

import pytest
from support.records import CATALOG, GROUPS, NOW, ZONE_A, group_id, zone

from gateway.cli.policy_draft import Facts
from gateway.cli.token_draft import changed_token, check, check_change, new_token, with_status
from gateway.cli.token_flag import Flags, WrongUse
from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.permission_group import PermissionGroups
from gateway.tokens.token import Draft

FACTS = Facts(groups=GROUPS)
DNS: dict[str, Any] = {"permission": ("DNS Write",), "zone": (ZONE_A,)}
POLICIES = [
    {
        "effect": "allow",
        "permission_groups": [{"id": group_id("DNS Write")}],
        "resources": {zone(ZONE_A): "*"},
    }
]
SHOWN: dict[str, Any] = {
    "id": "1" * 32,
    "name": "old",
    "status": "active",
    "issued_on": "2026-11-24T07:00:00Z",
    "expires_on": "2020-01-01T00:00:00Z",
    "policies": [{"id": "2" * 32, "effect": "allow", "permission_groups": [{"id": "3" * 32}], "resources": {}}],
    "condition": {"request_ip": {"in": ["192.0.2.0/24"], "not_in": ["192.0.2.7"]}},
    "owner": {"kind": "user", "id": "4" * 32},
    "limits": {"requests": 1, "period": 1},
}
KEPT = {key: value for key, value in SHOWN.items() if key != "status"}


def new_id() -> str:
    return f"{next(_ids):032x}"


_ids = count()


@pytest.mark.parametrize(
    ("said", "body"),
    [
        pytest.param({}, {}, id="nothing but policies"),
        pytest.param(
            {"ip": ("192.0.2.0/24", "2001:db8::1")},
            {"condition": {"request_ip": {"in": ["192.0.2.0/24", "2001:db8::1"]}}},
            id="networks",
        ),
        pytest.param(
            {"ip": ("192.0.2.0/24",), "not_ip": ("192.0.2.7",)},
            {"condition": {"request_ip": {"in": ["192.0.2.0/24"], "not_in": ["192.0.2.7"]}}},
            id="networks, and what of them is out",
        ),
        pytest.param(
            {"not_before": "2027-02-01", "expires": "2027-03-01T01:00:00+01:00"},
            {"not_before": "2027-02-01T00:00:00Z", "expires_on": "2027-03-01T00:00:00Z"},
            id="dates, in UTC",
        ),
        pytest.param({"expires": "1h"}, {"expires_on": "2027-01-15T09:00:00Z"}, id="so long from now"),
        pytest.param({"limit": "1200/5m"}, {"limits": {"requests": 1200, "period": 300}}, id="so many in a span"),
    ],
)
def test_flags_make_the_body_of_a_new_token(said: dict[str, Any], body: dict[str, Any]) -> None:
    made = new_token(Flags(name="deploy", **DNS, **said), FACTS, NOW)
    assert made == {"name": "deploy", "policies": POLICIES} | body
    assert isinstance(check(made, GROUPS, NOW, new_id), Draft)


def test_the_name_is_the_templates_unless_a_flag_says_another() -> None:
    facts = Facts(groups=GROUPS, template=CATALOG.templates[0])
    flags = Flags(zone=(ZONE_A,))
    assert new_token(flags, facts, NOW) == {"name": "Edit zone DNS", "policies": POLICIES}
    assert new_token(Flags(name="mine", zone=(ZONE_A,)), facts, NOW)["name"] == "mine"


@pytest.mark.parametrize(
    ("said", "line"),
    [
        pytest.param({**DNS}, "--name: give it one", id="no name"),
        pytest.param({**DNS, "name": "x", "ip": ("192.0.2.1/24",)}, "--ip '192.0.2.1/24': host bits are set", id="in"),
        pytest.param({**DNS, "name": "x", "not_ip": ("home",)}, "--not-ip 'home': not an address", id="not in"),
        pytest.param({**DNS, "name": "x", "expires": "soon"}, "--expires 'soon': not a moment, such as ", id="expires"),
        pytest.param({**DNS, "name": "x", "limit": "5"}, "--limit '5': not a rate, such as 1200/300s", id="limit"),
        pytest.param({**DNS, "name": "x", "not_before": "3"}, "--not-before '3': not a moment", id="not before"),
    ],
)
def test_a_value_that_means_nothing_is_wrong_use(said: dict[str, Any], line: str) -> None:
    with pytest.raises(WrongUse) as wrong:
        new_token(Flags(**said), FACTS, NOW)
    assert str(wrong.value).startswith(line)


@pytest.mark.parametrize(
    ("said", "lines"),
    [
        pytest.param({"name": ""}, ("--name: a name has 1 to 120 characters",), id="no name"),
        pytest.param({"name": "a\tb"}, ("--name: a name has no control characters",), id="a control character"),
        pytest.param({"expires": "2020-01-01"}, ("--expires: in the past",), id="dead already"),
        pytest.param(
            {"not_before": "2d", "expires": "1d", "name": "x" * 121},
            ("--name: a name has 1 to 120 characters", "--expires: not after not_before"),
            id="each fault a line",
        ),
        pytest.param(
            {"ip": tuple(f"192.0.2.{host}" for host in range(201))}, ("--ip: 201 items: it takes 1 to 200",), id="many"
        ),
        pytest.param(
            {"zone": tuple(f"{number}.example" for number in range(1001))},
            ("--permission, --zone, --account: 1001 resources: it takes 1 to 1000 (at /policies/0/resources)",),
            id="too many zones",
        ),
    ],
)
def test_what_the_gateway_would_refuse_is_said_by_flag(said: dict[str, Any], lines: tuple[str, ...]) -> None:
    body = new_token(Flags(**({"name": "x"} | DNS | said)), FACTS, NOW)
    assert check(body, GROUPS, NOW, new_id) == lines


@pytest.mark.parametrize(
    ("said", "changes"),
    [
        pytest.param({"name": "new"}, {"name": "new"}, id="the name"),
        pytest.param(DNS, {"policies": POLICIES}, id="the policies, made anew"),
        pytest.param(
            {"ip": ("::1",)},
            {"condition": {"request_ip": {"in": ["::1"], "not_in": ["192.0.2.7"]}}},
            id="one list of networks, the other kept",
        ),
        pytest.param(
            {"no_ip": True, "not_ip": ("::1",)},
            {"condition": {"request_ip": {"not_in": ["::1"]}}},
            id="both lists anew",
        ),
        pytest.param({"no_ip": True}, {"condition": None}, id="no networks"),
        pytest.param({"expires": "1h"}, {"expires_on": "2027-01-15T09:00:00Z"}, id="the end"),
        pytest.param({"no_expiry": True}, {"expires_on": None}, id="no end"),
        pytest.param({"limit": "5/1m"}, {"limits": {"requests": 5, "period": 60}}, id="the rate"),
        pytest.param({"no_limit": True}, {"limits": None}, id="no rate"),
        pytest.param({"not_before": "1h"}, {"not_before": "2027-01-15T09:00:00Z"}, id="the beginning"),
    ],
)
def test_an_edit_changes_what_flags_say_and_sends_the_rest_back_as_it_came(
    said: dict[str, Any], changes: dict[str, Any]
) -> None:
    expected = {key: value for key, value in (KEPT | changes).items() if value is not None}
    before = repr(SHOWN)
    assert changed_token(SHOWN, Flags(**said), FACTS, NOW) == expected
    assert repr(SHOWN) == before


def test_a_condition_that_this_version_does_not_know_is_kept() -> None:
    shown = SHOWN | {"condition": {"request_ip": {"in": ["::1"]}, "later": 1}}
    assert changed_token(shown, Flags(no_ip=True), None, NOW)["condition"] == {"later": 1}


def test_an_end_and_no_end_contradict_each_other() -> None:
    with pytest.raises(WrongUse, match="--no-expiry: --expires says the contrary"):
        changed_token(SHOWN, Flags(no_expiry=True, expires="1d"), None, NOW)
    with pytest.raises(WrongUse, match="--no-limit: --limit says the contrary"):
        changed_token(SHOWN, Flags(no_limit=True, limit="5/1m"), None, NOW)


def test_of_a_change_only_what_is_changed_is_judged_here() -> None:
    # SHOWN has a group and a field that this version does not know, and an end in the past: the gateway's to judge.
    none = PermissionGroups([])
    body = changed_token(SHOWN, Flags(name="new"), None, NOW)
    assert check_change(body, SHOWN, none, NOW, new_id) == ()
    body = changed_token(SHOWN, Flags(name="x" * 121, expires="2020-01-02"), None, NOW)
    assert check_change(body, SHOWN, none, NOW, new_id) == (
        "--name: a name has 1 to 120 characters",
        "--expires: in the past",
    )


def test_a_status_goes_back_with_all_the_rest() -> None:
    assert with_status(SHOWN, "disabled") == SHOWN | {"status": "disabled"}


def test_the_draft_is_what_the_gateway_would_make_of_it() -> None:
    body = new_token(Flags(name="x", ip=("::1",), expires="1h", **DNS), FACTS, NOW)
    draft = check(body, GROUPS, NOW, new_id)
    assert isinstance(draft, Draft)
    assert (draft.name, draft.condition, draft.expires_on) == ("x", Condition(RequestIp(("::1",))), NOW + 3600)
