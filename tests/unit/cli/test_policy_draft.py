import json
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.records import (
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    GROUPS,
    NOW,
    USER,
    ZONE_A,
    ZONE_B,
    account,
    group_id,
    user,
    zone,
)

from gateway.catalog.template import Template
from gateway.cli.policy_draft import Facts, draft_policies, find_template, needs_user
from gateway.cli.token_flag import Flags, WrongUse
from gateway.tokens.permission_group import PermissionGroup, PermissionGroups
from gateway.tokens.resource import Scope
from gateway.tokens.token import Draft
from gateway.tokens.validation import validate_token

ZONES_OF_ALL = f"{Scope.ZONE}.*"
ALL_ACCOUNTS = f"{Scope.ACCOUNT}.*"
TEMPLATES = {template.name: template for template in CATALOG.templates}


def template(name: str) -> Template:
    return TEMPLATES[name]


def facts(name: str | None = None, user_id: str | None = USER) -> Facts:
    return Facts(groups=GROUPS, template=template(name) if name else None, user_id=user_id)


def policy(
    names: list[str], resources: list[str] | dict[str, Any], scope: Scope = Scope.ZONE, effect: str = "allow"
) -> dict[str, Any]:
    return {
        "effect": effect,
        "permission_groups": [{"id": group_id(name, scope)} for name in names],
        "resources": resources if isinstance(resources, dict) else dict.fromkeys(resources, "*"),
    }


@pytest.mark.parametrize(
    ("said", "policies"),
    [
        pytest.param(
            {"permission": ("DNS Write",), "zone": (ZONE_A,)},
            [policy(["DNS Write"], [zone(ZONE_A)])],
            id="a permission on a zone",
        ),
        pytest.param(
            {"permission": ("dns write", "DNS Edit", "Zone Read"), "zone": (ZONE_A, "beta.example")},
            [policy(["DNS Write", "Zone Read"], [zone(ZONE_A), zone("beta.example")])],
            id="names in any case, and Edit for Write; each group once",
        ),
        pytest.param(
            {"permission": ("Zaraz Edit",), "zone": (ZONE_A,)},
            [policy(["Zaraz Edit"], [zone(ZONE_A)])],
            id="a group that is called Edit indeed",
        ),
        pytest.param(
            {"permission": ("DNS Write",), "all_zones": True},
            [policy(["DNS Write"], [ZONES_OF_ALL])],
            id="all zones",
        ),
        pytest.param(
            {"permission": ("DNS Write",), "all_zones": True, "account": (ACCOUNT_A, ACCOUNT_B)},
            [policy(["DNS Write"], {account(a): {ZONES_OF_ALL: "*"} for a in (ACCOUNT_A, ACCOUNT_B)})],
            id="all zones of two accounts",
        ),
        pytest.param(
            {"permission": ("DNS Write",), "all_zones": True, "account": (ACCOUNT_A,), "zone": (ZONE_B,)},
            [policy(["DNS Write"], {zone(ZONE_B): "*", account(ACCOUNT_A): {ZONES_OF_ALL: "*"}})],
            id="all zones of an account, and one of another",
        ),
        pytest.param(
            {"permission": ("DNS Write", "Zone Read"), "all_zones": True, "except_zone": (ZONE_A, ZONE_B)},
            [
                policy(["DNS Write", "Zone Read"], [ZONES_OF_ALL]),
                policy(["DNS Write", "Zone Read"], [zone(ZONE_A), zone(ZONE_B)], effect="deny"),
            ],
            id="except zones: a deny of the same groups",
        ),
        pytest.param(
            {"permission": ("Billing Read",), "account": (ACCOUNT_A,)},
            [policy(["Billing Read"], [account(ACCOUNT_A)], Scope.ACCOUNT)],
            id="an account itself",
        ),
        pytest.param(
            {"permission": ("Billing Read",), "all_accounts": True},
            [policy(["Billing Read"], [ALL_ACCOUNTS], Scope.ACCOUNT)],
            id="all accounts",
        ),
        pytest.param(
            {"permission": ("Logs Read",), "zone": (ZONE_A,), "account": (ACCOUNT_A,)},
            [
                policy(["Logs Read"], [zone(ZONE_A)]),
                policy(["Logs Read"], [account(ACCOUNT_A)], Scope.ACCOUNT),
            ],
            id="a name in two scopes, both given: a policy each",
        ),
        pytest.param(
            {"permission": ("Logs Read",), "zone": (ZONE_A,)},
            [policy(["Logs Read"], [zone(ZONE_A)])],
            id="a name in two scopes, one given",
        ),
        pytest.param(
            {"permission": ("Logs Read",), "all_zones": True, "account": (ACCOUNT_A,)},
            [policy(["Logs Read"], {account(ACCOUNT_A): {ZONES_OF_ALL: "*"}})],
            id="with --all-zones an account is its zones, and not itself too",
        ),
        pytest.param(
            {"permission": ("DNS Read", "Billing Read"), "all_zones": True, "account": (ACCOUNT_A,)},
            [
                policy(["DNS Read"], {account(ACCOUNT_A): {ZONES_OF_ALL: "*"}}),
                policy(["Billing Read"], [account(ACCOUNT_A)], Scope.ACCOUNT),
            ],
            id="unless the permission lies on accounts alone",
        ),
        pytest.param(
            {"permission": ("DNS Read", "Billing Read"), "all_zones": True, "all_accounts": True},
            [policy(["DNS Read"], [ZONES_OF_ALL]), policy(["Billing Read"], [ALL_ACCOUNTS], Scope.ACCOUNT)],
            id="all zones and all accounts",
        ),
        pytest.param(
            {"permission": (f"id:{group_id('Logs Read', Scope.ACCOUNT)}",), "account": (ACCOUNT_A,)},
            [policy(["Logs Read"], [account(ACCOUNT_A)], Scope.ACCOUNT)],
            id="a permission by id",
        ),
        pytest.param(
            {"permission": ("API Tokens Write",), "user": True},
            [policy(["API Tokens Write"], [user(USER)], Scope.USER)],
            id="the token's own user",
        ),
    ],
)
def test_flags_make_one_policy_a_scope(said: dict[str, Any], policies: list[dict[str, Any]]) -> None:
    assert draft_policies(Flags(**said), facts()) == policies


@pytest.mark.parametrize(
    ("name", "said", "policies"),
    [
        pytest.param(
            "Edit zone DNS", {"zone": (ZONE_A,)}, [policy(["DNS Write"], [zone(ZONE_A)])], id="zones that are chosen"
        ),
        pytest.param(
            "Read billing info", {}, [policy(["Billing Read"], [ALL_ACCOUNTS], Scope.ACCOUNT)], id="all by itself"
        ),
        pytest.param(
            "Read billing info",
            {"account": (ACCOUNT_A,)},
            [policy(["Billing Read"], [account(ACCOUNT_A)], Scope.ACCOUNT)],
            id="fewer than all, when a flag says so",
        ),
        pytest.param(
            "Create additional tokens",
            {"zone": (ZONE_A,), "permission": ("DNS Write",)},
            [
                policy(["DNS Write"], [zone(ZONE_A)]),
                policy(["API Tokens Write"], [user(USER)], Scope.USER),
            ],
            id="what a maker of tokens passes on; the user needs no flag",
        ),
        pytest.param(
            "Edit zone DNS",
            {"zone": (ZONE_A,), "permission": ("Zone Read",)},
            [policy(["DNS Write", "Zone Read"], [zone(ZONE_A)])],
            id="a permission beside the template",
        ),
        pytest.param(
            "WordPress",
            {"permission": ("DNS Write",), "except_zone": (ZONE_B,)},
            [
                policy(
                    ["Analytics Read", "Zone Read", "Zone Settings Write", "DNS Read", "Cache Purge", "DNS Write"],
                    [ZONES_OF_ALL],
                ),
                policy(["Account Settings Read"], [ALL_ACCOUNTS], Scope.ACCOUNT),
                policy(
                    ["Analytics Read", "Zone Read", "Zone Settings Write", "DNS Read", "Cache Purge", "DNS Write"],
                    [zone(ZONE_B)],
                    effect="deny",
                ),
            ],
            id="what the template has of itself counts as given",
        ),
        pytest.param(
            "Edit load balancing configuration",
            {"all_zones": True, "account": (ACCOUNT_A,)},
            [
                policy(["Load Balancers Write"], {account(ACCOUNT_A): {ZONES_OF_ALL: "*"}}),
                policy(["Load Balancing: Monitors and Pools Write"], [account(ACCOUNT_A)], Scope.ACCOUNT),
            ],
            id="an account with all its zones",
        ),
    ],
)
def test_a_template_is_filled_in_by_flags(name: str, said: dict[str, Any], policies: list[dict[str, Any]]) -> None:
    assert draft_policies(Flags(**said), facts(name)) == policies


@pytest.mark.parametrize(
    ("name", "said", "line"),
    [
        pytest.param(None, {"zone": (ZONE_A,)}, "--permission: missing; ", id="nothing to do"),
        pytest.param(
            None,
            {"permission": ("DNS Write",)},
            "--permission 'DNS Write': it lies on a zone: name which with --zone or --all-zones",
            id="no zone",
        ),
        pytest.param(
            None,
            {"permission": ("Logs Read",)},
            "--permission 'Logs Read': it lies on a zone or an account: "
            "name which with --zone or --all-zones or --account or --all-accounts",
            id="neither zone nor account",
        ),
        pytest.param(
            None,
            {"permission": ("API Tokens Write",)},
            "--permission 'API Tokens Write': it lies on a user: name which with --user",
            id="no user",
        ),
        pytest.param(
            None,
            {"permission": ("Workers R2 Storage Bucket Item Read",), "zone": (ZONE_A,)},
            "--permission 'Workers R2 Storage Bucket Item Read': it lies on an R2 bucket, which no flag can name",
            id="what no token here can name",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Writ",), "zone": (ZONE_A,)},
            "--permission 'DNS Writ': the gateway knows no permission of that name; like it: DNS Write,",
            id="a misspelt permission",
        ),
        pytest.param(
            None,
            {"permission": ("\x1b[2J\u202e",), "zone": (ZONE_A,)},
            "--permission '\\u001b[2J\\u202e': the gateway knows no permission of that name",
            id="a permission that a terminal would obey",
        ),
        pytest.param(
            None,
            {"permission": ("id:" + "0" * 32,), "zone": (ZONE_A,)},
            f"--permission 'id:{'0' * 32}': the gateway knows no permission of that id",
            id="an unknown id",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Write",), "zone": ("A" * 32,)},
            f"--zone '{'A' * 32}': a zone id is written in lower case",
            id="a zone in capitals",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Write",), "zone": ("*",)},
            "--zone '*': one zone; for all of them there is --all-zones",
            id="a star for a zone",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Write",), "all_zones": True, "except_zone": ("*",)},
            "--except-zone '*': one zone",
            id="except every zone",
        ),
        pytest.param(
            None,
            {"permission": ("Billing Read",), "account": ("*",)},
            "--account '*': the id of one account",
            id="a star for an account",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Write",), "account": (f"zone.{ZONE_A}",)},
            f"--account 'zone.{ZONE_A}': the id of one account",
            id="a zone in an account's clothes",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Write",), "all_zones": True, "account": ("a b",)},
            "--account 'a b': not an id",
            id="no account at all",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Write",), "all_zones": True, "zone": (ZONE_A,)},
            "--zone: --all-zones takes it in",
            id="a zone and all of them",
        ),
        pytest.param(
            None,
            {"permission": ("Billing Read",), "all_accounts": True, "account": (ACCOUNT_A,)},
            "--account: --all-accounts takes it in",
            id="an account and all of them",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Write",), "zone": (ZONE_A, ZONE_B), "except_zone": (ZONE_B,)},
            f"--except-zone: {ZONE_B} is named by --zone too",
            id="a zone that is in and out",
        ),
        pytest.param(
            None,
            {"permission": ("Billing Read",), "account": (ACCOUNT_A,), "except_zone": (ZONE_B,)},
            "--except-zone: nothing here lies on a zone",
            id="except a zone, where nothing lies on zones",
        ),
        pytest.param(
            None,
            {"permission": ("DNS Write",), "zone": (ZONE_A,), "account": (ACCOUNT_A,)},
            "--account: no permission here lies on an account; for all zones of the account, add --all-zones",
            id="an account that limits nothing",
        ),
        pytest.param(
            None,
            {"permission": ("Billing Read",), "all_zones": True, "account": (ACCOUNT_A,)},
            "--all-zones: no permission here lies on a zone",
            id="all zones, of no use",
        ),
        pytest.param(
            "Edit zone DNS", {"user": True, "zone": (ZONE_A,)}, "--user: no permission here lies on a user", id="no use"
        ),
        pytest.param(
            "Edit zone DNS",
            {},
            "--template 'Edit zone DNS': it lies on a zone: name which with --zone or --all-zones",
            id="a template that needs a zone",
        ),
        pytest.param(
            "Edit Cloudflare Workers",
            {"zone": (ZONE_A,)},
            "--template 'Edit Cloudflare Workers': it lies on an account: name which with --account or --all-accounts",
            id="a template that needs an account too",
        ),
    ],
)
def test_flags_that_make_no_token_are_one_line_with_the_remedy(
    name: str | None, said: dict[str, Any], line: str
) -> None:
    with pytest.raises(WrongUse) as wrong:
        draft_policies(Flags(**said), facts(name))
    assert str(wrong.value).startswith(line)
    assert "\n" not in str(wrong.value)


def test_a_token_of_an_account_has_no_user_to_name() -> None:
    with pytest.raises(WrongUse, match="--user: there is none"):
        draft_policies(
            Flags(permission=("DNS Write",), zone=(ZONE_A,)), facts("Create additional tokens", user_id=None)
        )


def test_each_policy_is_about_the_apis_that_are_named() -> None:
    said = Flags(permission=("DNS Write",), all_zones=True, except_zone=(ZONE_A,), api=("powerdns", "cloudflare-dns"))
    drafted = draft_policies(said, facts(None))
    assert [each["apis"] for each in drafted] == [["powerdns", "cloudflare-dns"]] * 2
    assert said.of_policies


def test_a_template_that_the_gateway_has_not_the_permissions_for_is_wrong_use() -> None:
    there = PermissionGroups([PermissionGroup("1" * 32, "Other", (Scope.ZONE,))])
    with pytest.raises(WrongUse, match="the gateway knows no permission 'DNS Write'"):
        draft_policies(Flags(zone=(ZONE_A,)), Facts(groups=there, template=template("Edit zone DNS")))


def test_a_template_is_found_in_any_case_and_by_its_whole_name() -> None:
    assert find_template("edit ZONE dns", CATALOG.templates) is template("Edit zone DNS")
    with pytest.raises(WrongUse) as wrong:
        find_template("Edit zone", CATALOG.templates)
    assert str(wrong.value).startswith("--template: there is no template 'Edit zone'; there are: Edit zone DNS, ")
    for known in CATALOG.templates:
        assert known.name in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "flags", "needed"),
    [
        (None, Flags(), False),
        (None, Flags(user=True), True),
        ("WordPress", Flags(), False),
        ("Create additional tokens", Flags(), True),
    ],
)
def test_the_user_is_asked_for_only_when_a_policy_names_it(name: str | None, flags: Flags, *, needed: bool) -> None:
    assert needs_user(flags, template(name) if name else None) is needed


def some(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=2, unique=True).map(tuple)


@given(
    st.builds(
        Flags,
        permission=some("DNS Write", "Logs Read", "Billing Read", "API Tokens Read", "All Permissions", "nonsense"),
        zone=some(ZONE_A, "alpha.example", "*"),
        all_zones=st.booleans(),
        account=some(ACCOUNT_A, ACCOUNT_B, "zone." + ZONE_A),
        all_accounts=st.booleans(),
        except_zone=some(ZONE_A, ZONE_B),
        user=st.booleans(),
    ),
    st.sampled_from([None, *TEMPLATES]),
)
def test_whatever_the_flags_the_policies_are_valid_and_hold_all_that_was_named(flags: Flags, name: str | None) -> None:
    try:
        policies = draft_policies(flags, facts(name))
    except WrongUse:
        return
    body = json.dumps({"name": "x", "policies": policies}).encode()
    ids = (f"{number:032x}" for number in count())
    assert isinstance(validate_token(body, GROUPS, NOW, lambda: next(ids)), Draft)
    allowed = {key for policy in policies if policy["effect"] == "allow" for key in policy["resources"]}
    denied = {key for policy in policies if policy["effect"] == "deny" for key in policy["resources"]}
    assert {zone(name) for name in flags.zone} | {account(name) for name in flags.account} <= allowed
    assert denied == {zone(name) for name in flags.except_zone}
    assert not flags.all_accounts or ALL_ACCOUNTS in allowed
    assert not flags.user or user(USER) in allowed
