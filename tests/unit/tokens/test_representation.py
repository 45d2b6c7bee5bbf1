import json
from typing import Any

import msgspec
import pytest
from support.records import (
    ACCOUNT_A,
    DNS_ON_A,
    GROUPS,
    NOW,
    TOKEN_ID,
    USER,
    ZONE_A,
    account,
    group_id,
    owner,
    policy,
    secret_of,
    token,
    zone,
)

from gateway.tokens.condition import Condition
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.rate import Rate
from gateway.tokens.representation import show_group, show_owner, show_policy, show_token
from gateway.tokens.resource import Scope
from gateway.tokens.timestamp import format_timestamp
from gateway.tokens.token import Status, Token


def as_json(record: Token, now: float = NOW) -> dict[str, Any]:
    """What the API sends of `record`, read back."""
    shown: dict[str, Any] = json.loads(json.dumps(show_token(record, GROUPS, now)))
    return shown


def test_a_plain_token_is_shown_whole() -> None:
    plain = msgspec.structs.replace(token([DNS_ON_A]), condition=Condition())
    assert as_json(plain) == {
        "id": TOKEN_ID,
        "name": "a token",
        "status": "active",
        "issued_on": format_timestamp(NOW - 1000),
        "modified_on": format_timestamp(NOW - 1000),
        "policies": [
            {
                "id": "1" * 32,
                "effect": "allow",
                "permission_groups": [{"id": group_id("DNS Write"), "name": "DNS Write"}],
                "resources": {zone(ZONE_A): "*"},
            }
        ],
        "owner": {"kind": "user", "id": USER},
    }


def test_limits_are_shown_where_there_are_any() -> None:
    limited = token(request_ip=["192.0.2.0/24"], not_before=NOW, expires_on=NOW + 60, limits=Rate(1200, 300))
    shown = as_json(msgspec.structs.replace(limited, issued_by="e" * 32))
    assert shown["not_before"] == format_timestamp(NOW)
    assert shown["expires_on"] == format_timestamp(NOW + 60)
    assert shown["condition"] == {"request_ip": {"in": ["192.0.2.0/24"]}}
    assert shown["limits"] == {"requests": 1200, "period": 300}
    assert shown["issued_by"] == "e" * 32


def test_when_it_was_last_used_is_shown_where_that_is_known() -> None:
    shown = show_token(token(), GROUPS, NOW, last_used_on=NOW - 5)
    assert shown["last_used_on"] == format_timestamp(NOW - 5)
    assert "last_used_on" not in show_token(token(), GROUPS, NOW)


def test_only_the_side_of_a_condition_that_is_set_is_shown() -> None:
    shown = as_json(token(not_in=["192.0.2.7"]))
    assert shown["condition"] == {"request_ip": {"not_in": ["192.0.2.7"]}}


@pytest.mark.parametrize(
    ("now", "status"),
    [pytest.param(NOW - 1, "disabled", id="before its end"), pytest.param(NOW, "expired", id="at its end")],
)
def test_the_status_is_that_of_the_moment(now: float, status: str) -> None:
    assert as_json(token(status=Status.DISABLED, expires_on=NOW), now)["status"] == status


def test_neither_a_digest_nor_a_secret_is_ever_shown() -> None:
    record = token()
    shown = json.dumps(as_json(record))
    (digest,) = record.digests
    assert digest.hex not in shown
    assert secret_of().reveal()[37:] not in shown
    assert not {"digests", "digest", "value", "secret", "hex"} & as_json(record).keys()


def test_policies_groups_and_resources_come_back_in_the_order_in_which_they_were_sent() -> None:
    policies = (
        policy(["Zone Write", "DNS Read", "Cache Purge"], [zone("f" * 32), zone(ZONE_A), zone("*")]),
        policy(["DNS Write"], [zone(ZONE_A)], "deny"),
        policy(["DNS Read"], {account(ACCOUNT_A): {zone("*"): "*"}}),
    )
    shown = as_json(token(policies))["policies"]
    assert [item["effect"] for item in shown] == ["allow", "deny", "allow"]
    assert [group["name"] for group in shown[0]["permission_groups"]] == ["Zone Write", "DNS Read", "Cache Purge"]
    assert list(shown[0]["resources"]) == [zone("f" * 32), zone(ZONE_A), zone("*")]
    assert shown[2]["resources"] == {account(ACCOUNT_A): {zone("*"): "*"}}


def test_a_group_that_the_catalogue_lost_is_shown_by_its_id_alone() -> None:
    lost = Policy("1" * 32, Effect.DENY, ("9" * 32, group_id("DNS Read")), {zone(ZONE_A): "*"})
    assert show_policy(lost, GROUPS)["permission_groups"] == [
        {"id": "9" * 32},
        {"id": group_id("DNS Read"), "name": "DNS Read"},
    ]


def test_the_apis_of_a_policy_are_shown_where_there_are_any() -> None:
    some = msgspec.structs.replace(DNS_ON_A, apis=("billing",))
    assert show_policy(some, GROUPS)["apis"] == ["billing"]
    assert "apis" not in show_policy(DNS_ON_A, GROUPS)


def test_a_group_is_shown_with_its_scopes() -> None:
    group = GROUPS.named("DNS Write", Scope.ZONE)
    assert group is not None
    assert show_group(group) == {
        "id": group_id("DNS Write"),
        "name": "DNS Write",
        "scopes": ["com.cloudflare.api.account.zone"],
    }


def test_an_owner_is_shown_whole() -> None:
    shown = show_owner(owner([DNS_ON_A]), GROUPS)
    assert shown == {
        "id": USER,
        "kind": "user",
        "name": "an owner",
        "status": "active",
        "issued_on": format_timestamp(NOW - 2000),
        "modified_on": format_timestamp(NOW - 2000),
        "policies": [show_policy(DNS_ON_A, GROUPS)],
    }
