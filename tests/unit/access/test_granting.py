from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any

import msgspec
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    ACCOUNT_B,
    CATALOG,
    EVERYTHING,
    GROUPS,
    NOW,
    USER,
    USER_SCOPE,
    ZONE,
    ZONE_A,
    ZONE_B,
    account,
    owner,
    policy,
    principal,
    token,
    user,
    zone,
)

from gateway.access.decide import decide
from gateway.access.decision import Allow
from gateway.access.granting import Accounts, Caller, Excess, Grant, exceeds, zones_in_question
from gateway.access.question import Facts, Question, Unknown
from gateway.catalog.target import Target, split_target
from gateway.tokens.condition import Condition, RequestIp
from gateway.tokens.owner import Owner, OwnerKind, OwnerRef
from gateway.tokens.policy import Policy
from gateway.tokens.rate import Rate
from gateway.tokens.token import Token

ALL_ZONES, ALL_ACCOUNTS = zone("*"), account("*")
SOMEBODY = OwnerRef(OwnerKind.USER, "9" * 32)
KNOWN: Accounts = {("cloudflare-dns", ZONE_A): ACCOUNT_A, ("cloudflare-dns", ZONE_B): ACCOUNT_B}


def of_account(account_id: str) -> dict[str, Any]:
    return {account(account_id): {ALL_ZONES: "*"}}


def found(
    maker: Iterable[Policy] | Token,
    child: Iterable[Policy] | Grant,
    accounts: Accounts = KNOWN,
    of: Owner | None = None,
) -> tuple[Excess, ...]:
    """In what `child` exceeds `maker`, whose owner has every right unless another is given."""
    caller = Caller(maker if isinstance(maker, Token) else token(maker), of or owner())
    grant = child if isinstance(child, Grant) else Grant(policies=tuple(child))
    return exceeds(caller, grant, accounts, GROUPS)


def about(policy: Policy, *apis: str) -> Policy:
    return msgspec.structs.replace(policy, apis=apis)


DNS = policy(["DNS Write", "DNS Read"], [ALL_ZONES])


@pytest.mark.parametrize(
    ("maker", "child"),
    [
        pytest.param([DNS], [DNS], id="the same"),
        pytest.param([DNS], [policy(["DNS Read"], [ALL_ZONES])], id="fewer groups"),
        pytest.param([DNS], [policy(["DNS Write"], [zone(ZONE_A)])], id="a zone of all"),
        pytest.param([DNS], [policy(["DNS Write"], of_account(ACCOUNT_A))], id="an account's zones of all"),
        pytest.param([DNS], [DNS, policy(["DNS Read"], [zone(ZONE_A)], "deny")], id="with a deny of its own"),
        pytest.param([DNS], [about(DNS, "powerdns")], id="one API of all"),
        pytest.param(
            [about(DNS, "powerdns"), about(DNS, "cloudflare-dns")],
            [about(DNS, "cloudflare-dns", "powerdns")],
            id="two APIs, each out of one policy",
        ),
        pytest.param(EVERYTHING, [DNS], id="a group of All Permissions"),
        pytest.param(EVERYTHING, EVERYTHING, id="All Permissions of All Permissions"),
        pytest.param(
            [policy(["DNS Write"], of_account(ACCOUNT_A))], [policy(["DNS Write"], [zone(ZONE_A)])], id="zone"
        ),
        pytest.param(
            [policy(["Billing Read"], [ALL_ACCOUNTS], scope=ACCOUNT)],
            [policy(["Billing Read"], [account(ACCOUNT_A)], scope=ACCOUNT)],
            id="an account of all",
        ),
        pytest.param([DNS], [policy(["Zone Write"], [ALL_ZONES], "deny")], id="a deny alone"),
        pytest.param(
            [DNS, policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            [policy(["DNS Write"], [zone(ZONE_A)])],
            id="what no deny touches",
        ),
        pytest.param(
            [DNS, policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            [DNS, policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            id="the same deny",
        ),
        pytest.param(
            [DNS, policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            [DNS, policy(["All Permissions"], of_account(ACCOUNT_B), "deny")],
            id="a wider deny",
        ),
        pytest.param(
            [DNS, policy(["DNS Write"], of_account(ACCOUNT_B), "deny")],
            [policy(["DNS Write"], [zone(ZONE_A)])],
            id="a zone of another account than the denied",
        ),
        pytest.param(
            [DNS, policy(["All Permissions"], [zone(ZONE_B)], "deny")],
            [policy(["DNS Read"], [ALL_ZONES]), policy(["DNS Read"], [zone(ZONE_B)], "deny")],
            id="of a deny of all only what it gives",
        ),
        pytest.param(
            [DNS, about(policy(["DNS Write"], [zone(ZONE_B)], "deny"), "powerdns")],
            [about(DNS, "cloudflare-dns")],
            id="a deny of another API",
        ),
    ],
)
def test_what_the_maker_has_he_may_give(maker: list[Policy], child: list[Policy]) -> None:
    assert found(maker, child) == ()


@pytest.mark.parametrize(
    ("maker", "child", "told"),
    [
        pytest.param(
            [policy(["DNS Read"], [ALL_ZONES])],
            [policy(["DNS Write", "DNS Read"], [zone(ZONE_A)])],
            f"your token does not give DNS Edit on zone {ZONE_A}",
            id="a group",
        ),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_A)])],
            [policy(["DNS Write"], [zone(ZONE_A), zone(ZONE_B)])],
            f"your token does not give DNS Edit on zone {ZONE_B}",
            id="a zone",
        ),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_A), zone(ZONE_B)])],
            [policy(["DNS Write"], [ALL_ZONES])],
            "your token does not give DNS Edit on all zones",
            id="all zones",
        ),
        pytest.param(
            [policy(["DNS Write"], [zone(ZONE_A)]), policy(["DNS Read"], [zone(ZONE_B)])],
            [policy(["DNS Write"], [zone(ZONE_B)])],
            f"your token does not give DNS Edit on zone {ZONE_B}",
            id="half from each of two policies",
        ),
        pytest.param(
            [policy(["DNS Write"], of_account(ACCOUNT_A))],
            [policy(["DNS Write"], [zone(ZONE_B)])],
            f"your token does not give DNS Edit on zone {ZONE_B}",
            id="a zone of another account",
        ),
        pytest.param(
            [policy(["DNS Write"], of_account(ACCOUNT_A))],
            [policy(["DNS Write"], [zone("e" * 32)])],
            f"your token does not give DNS Edit on zone {'e' * 32}",
            id="a zone whose account nobody knows",
        ),
        pytest.param(
            [DNS],
            [policy(["All Permissions"], [ALL_ZONES])],
            "your token does not give All Permissions on all zones",
            id="All Permissions",
        ),
        pytest.param(
            [about(DNS, "powerdns")],
            [DNS],
            "your token does not give DNS Edit, DNS Read on all zones",
            id="every API for one",
        ),
        pytest.param(
            [about(DNS, "powerdns")],
            [about(DNS, "powerdns", "cloudflare-dns")],
            "your token does not give DNS Edit, DNS Read on all zones of the API cloudflare-dns",
            id="an API more",
        ),
        pytest.param(
            [DNS, policy(["DNS Write"], [zone(ZONE_B)], "deny")],
            [DNS],
            f"your token is denied DNS Edit on zone {ZONE_B}: what it gives must be denied it too, in a policy",
            id="a lacking deny",
        ),
        pytest.param(
            [DNS, policy(["DNS Write"], of_account(ACCOUNT_B), "deny")],
            [policy(["DNS Write"], [zone("e" * 32)])],
            f"your token is denied DNS Edit on zone {'e' * 32}: what it gives must be denied it too, in a policy",
            id="a zone that may be the denied account's",
        ),
        pytest.param(
            [DNS, policy(["DNS Write"], [ALL_ZONES], "deny")],
            [DNS, policy(["DNS Write"], [zone(ZONE_A)], "deny")],
            "your token is denied DNS Edit on all zones: what it gives must be denied it too, in a policy",
            id="a narrower deny",
        ),
    ],
)
def test_what_the_maker_has_not_he_may_not_give_and_hears_each_of_it(
    maker: list[Policy], child: list[Policy], told: str
) -> None:
    assert [(each.pointer, each.message) for each in found(maker, child)] == [("/policies/0", told)]


def test_the_owner_of_the_maker_s_token_must_have_it_too() -> None:
    narrow = owner([policy(["DNS Read"], [ALL_ZONES])])
    assert found(EVERYTHING, [policy(["DNS Write"], [zone(ZONE_A)])], of=narrow) == (
        Excess("/policies/0", f"your token's owner does not give DNS Edit on zone {ZONE_A}"),
    )
    without = exceeds(Caller(token(EVERYTHING), None), Grant(policies=(DNS,)), {}, GROUPS)
    assert [each.message for each in without] == ["your token's owner does not give DNS Edit, DNS Read on all zones"]


def test_every_excess_of_a_child_is_told() -> None:
    child = [
        policy(["DNS Write"], [zone(ZONE_B)]),
        policy(["Billing Read"], [account(ACCOUNT_A)], scope=ACCOUNT),
    ]
    told = found(token([policy(["DNS Write"], [zone(ZONE_A)])], expires_on=NOW), child)
    assert [each.pointer for each in told] == ["/policies/0", "/policies/1", "/expires_on"]


@pytest.mark.parametrize(
    ("maker", "child", "fits"),
    [
        pytest.param({}, {}, True, id="none of none"),
        pytest.param({}, {"allowed": ["192.0.2.0/24"]}, True, id="one of none"),
        pytest.param({"allowed": ["192.0.2.0/24"]}, {}, False, id="none of one"),
        pytest.param({"allowed": ["192.0.2.0/24"]}, {"allowed": ["192.0.2.7"]}, True, id="an address of a network"),
        pytest.param({"allowed": ["192.0.2.7"]}, {"allowed": ["192.0.2.0/24"]}, False, id="a network of an address"),
        pytest.param(
            {"allowed": ["192.0.2.0/25", "192.0.2.128/25"]}, {"allowed": ["192.0.2.0/24"]}, True, id="two halves"
        ),
        pytest.param({"not_in": ["192.0.2.7"]}, {"allowed": ["192.0.2.0/24"]}, False, id="without an exception"),
        pytest.param(
            {"not_in": ["192.0.2.7"]},
            {"allowed": ["192.0.2.0/24"], "not_in": ["192.0.2.0/28"]},
            True,
            id="with a wider exception",
        ),
        pytest.param({"allowed": ["0.0.0.0/0"]}, {"allowed": ["2001:db8::/32"]}, False, id="another family"),
        pytest.param({"allowed": ["0.0.0.0/0", "::/0"]}, {"not_in": ["192.0.2.7"]}, True, id="everywhere but one"),
        pytest.param({"allowed": ["0.0.0.0/0", "::/0"]}, {}, False, id="clients without an address"),
    ],
)
def test_a_child_works_from_no_address_from_which_its_maker_does_not(
    maker: Mapping[str, Any],
    child: Mapping[str, Any],
    fits: bool,  # noqa: FBT001 - a case's data
) -> None:
    caller = msgspec.structs.replace(token([DNS]), condition=Condition(msgspec.convert(_named(maker), RequestIp)))
    grant = Grant(policies=(DNS,), condition=Condition(msgspec.convert(_named(child), RequestIp)))
    assert [each.pointer for each in found(caller, grant)] == ([] if fits else ["/condition"])


def _named(request_ip: Mapping[str, Any]) -> dict[str, Any]:
    return {"in" if key == "allowed" else key: value for key, value in request_ip.items()}


@pytest.mark.parametrize(
    ("maker", "child", "fits"),
    [
        pytest.param(None, None, True, id="none of none"),
        pytest.param(None, NOW, True, id="one of none"),
        pytest.param(NOW, None, False, id="none of one"),
        pytest.param(NOW, NOW, True, id="the same"),
        pytest.param(NOW, NOW + 1, False, id="a second later"),
    ],
)
def test_a_child_ends_no_later_than_its_maker(
    maker: int | None,
    child: int | None,
    fits: bool,  # noqa: FBT001 - a case's data
) -> None:
    told = found(token([DNS], expires_on=maker), Grant(policies=(DNS,), expires_on=child))
    assert [each.pointer for each in told] == ([] if fits else ["/expires_on"])


@pytest.mark.parametrize(
    ("maker", "child", "fits"),
    [
        pytest.param(None, None, True, id="none of none"),
        pytest.param(None, Rate(1200, 300), True, id="some of none"),
        pytest.param(Rate(1200, 300), None, False, id="none of some"),
        pytest.param(Rate(1200, 300), Rate(1200, 300), True, id="the same"),
        pytest.param(Rate(1200, 300), Rate(600, 300), True, id="fewer"),
        pytest.param(Rate(1200, 300), Rate(1201, 300), False, id="one more"),
        pytest.param(Rate(1200, 300), Rate(1200, 299), False, id="a second faster"),
        pytest.param(Rate(1200, 300), Rate(2400, 600), False, id="more at once"),
    ],
)
def test_a_child_is_used_no_more_often_than_its_maker(
    maker: Rate | None,
    child: Rate | None,
    fits: bool,  # noqa: FBT001 - a case's data
) -> None:
    told = found(token([DNS], limits=maker), Grant(policies=(DNS,), limits=child))
    assert [each.pointer for each in told] == ([] if fits else ["/limits"])


OWN = policy(["API Tokens Write"], [user(USER)], scope=USER_SCOPE)
THEIRS = policy(["API Tokens Write"], [user(SOMEBODY.id)], scope=USER_SCOPE)


@pytest.mark.parametrize(
    ("maker", "new_owner", "fits"),
    [
        pytest.param(OWN, SOMEBODY, True, id="of the new user"),
        pytest.param(OWN, OwnerRef(OwnerKind.USER, "8" * 32), False, id="of another than the new user"),
        pytest.param(OWN, OwnerRef(OwnerKind.ACCOUNT, SOMEBODY.id), False, id="of an account"),
        pytest.param(OWN, None, False, id="in a token"),
        pytest.param(DNS, SOMEBODY, False, id="what he may not do himself"),
        pytest.param(THEIRS, SOMEBODY, False, id="what his token may do on that user, and his owner on its own"),
    ],
)
def test_what_a_caller_may_do_on_his_own_user_he_may_let_a_new_user_do_on_that_one_s(
    maker: Policy,
    new_owner: OwnerRef | None,
    fits: bool,  # noqa: FBT001 - a case's data
) -> None:
    told = found([maker], Grant(policies=(THEIRS,), new_owner=new_owner))
    assert {each.pointer for each in told} == (set() if fits else {"/policies/0"})


@pytest.mark.parametrize(
    ("denied", "fits"),
    [
        pytest.param([SOMEBODY.id, USER], True, id="both users"),
        pytest.param([SOMEBODY.id], True, id="the new user, whom alone it is about"),
        pytest.param([USER], False, id="the caller's user, who is not the new one"),
        pytest.param([], False, id="nobody"),
    ],
)
def test_what_a_caller_is_denied_on_his_own_user_a_new_user_is_denied_on_that_very_one(
    denied: list[str],
    fits: bool,  # noqa: FBT001 - a case's data
) -> None:
    maker = [
        policy(["All Permissions"], [user(USER)], scope=USER_SCOPE),
        policy(["API Tokens Write"], [user(USER)], "deny", USER_SCOPE),
    ]
    child = [policy(["All Permissions"], [user(SOMEBODY.id)], scope=USER_SCOPE)]
    child += [policy(["API Tokens Write"], [user(each)], "deny", USER_SCOPE) for each in denied]
    told = found(maker, Grant(policies=tuple(child), new_owner=SOMEBODY))
    assert {each.pointer for each in told} == (set() if fits else {"/policies/0"})


def test_a_zone_lies_in_an_account_only_if_each_api_that_may_have_it_says_so() -> None:
    maker, child = policy(["DNS Write"], of_account(ACCOUNT_A)), policy(["DNS Write"], [zone("alpha.example")])
    both: Accounts = {("powerdns", "alpha.example."): ACCOUNT_A, ("other", "alpha.example."): ACCOUNT_B}
    assert len(found([maker], [child], both)) == 1
    assert found([maker], [about(child, "powerdns")], both) == ()
    assert len(found([maker], [about(child, "other")], both)) == 1


def test_accounts_are_asked_for_where_the_answer_may_turn_on_them() -> None:
    by_account, on_zone = policy(["DNS Write"], of_account(ACCOUNT_A)), policy(["DNS Write"], [zone(ZONE_A)])
    denied = policy(["DNS Write"], [zone(ZONE_B)], "deny")

    def asked(maker: Iterable[Policy], child: Iterable[Policy]) -> set[str]:
        return set(zones_in_question(Caller(token(maker), owner()), Grant(policies=tuple(child))))

    assert asked([DNS], [on_zone]) == set()
    assert asked([by_account], [on_zone]) == {ZONE_A}
    assert asked([DNS, denied], [by_account]) == {ZONE_B}
    assert asked([DNS, denied], [DNS]) == set()


def test_at_most_fifty_excesses_are_told() -> None:
    child = [policy(["DNS Write"], [zone(f"{number:032x}")]) for number in range(60)]
    assert len(found([policy(["DNS Read"], [ALL_ZONES])], child)) == 50


# The property: a child never passes where its maker is refused.

ZONES = {ZONE_A: ACCOUNT_A, ZONE_B: ACCOUNT_B, "e" * 32: None}
REQUESTS = [
    *(("GET", f"/zones/{each}/dns_records", ZONES[each]) for each in ZONES),
    *(("POST", f"/zones/{each}/dns_records", ZONES[each]) for each in ZONES),
    *(("GET", f"/zones/{each}", ZONES[each]) for each in ZONES),
    *(("GET", f"/accounts/{each}/billing/profile", None) for each in (ACCOUNT_A, ACCOUNT_B)),
    ("GET", "/user/tokens", None),
    ("POST", "/user/tokens", None),
]
RESOURCES: dict[Any, list[dict[str, Any]]] = {
    ZONE: [{zone(each): "*"} for each in ZONES] + [{ALL_ZONES: "*"}, of_account(ACCOUNT_A), of_account(ACCOUNT_B)],
    ACCOUNT: [{account(each): "*"} for each in (ACCOUNT_A, ACCOUNT_B, "*")],
    USER_SCOPE: [{user(USER): "*"}],
}
NAMES = {
    ZONE: [["DNS Read"], ["DNS Write"], ["DNS Read", "DNS Write"], ["All Permissions"]],
    ACCOUNT: [["Billing Read"], ["Billing Read", "Billing Write"], ["All Permissions"]],
    USER_SCOPE: [["API Tokens Read"], ["API Tokens Read", "API Tokens Write"], ["All Permissions"]],
}
APIS: list[tuple[str, ...]] = [(), (), ("cloudflare-dns",), ("powerdns",), ("cloudflare-dns", "powerdns")]


@st.composite
def drawn_policies(draw: st.DrawFn, effects: str = "allow deny") -> Policy:
    scope = draw(st.sampled_from([ZONE, ZONE, ZONE, ACCOUNT, USER_SCOPE]))
    resources: dict[str, Any] = {}
    for each in draw(st.lists(st.sampled_from(RESOURCES[scope]), min_size=1, max_size=2)):
        resources |= each
    effect = draw(st.sampled_from(effects.split()))
    apis = draw(st.sampled_from(APIS)) if scope is ZONE else ()
    return about(policy(draw(st.sampled_from(NAMES[scope])), resources, effect, scope), *apis)


@st.composite
def families(draw: st.DrawFn) -> tuple[list[Policy], list[Policy]]:
    """Policies of a maker, and of a child that is often within them: drawn freely, it hardly ever is."""
    broad = draw(st.sampled_from([ALL_ZONES, *RESOURCES[ZONE][-2:]]))
    group = draw(st.sampled_from(NAMES[ZONE][-2:]))
    maker = [policy(group, broad if isinstance(broad, dict) else [broad])]
    maker += draw(st.lists(drawn_policies(), max_size=2))
    child = draw(st.lists(st.one_of(drawn_policies(), st.sampled_from(maker)), min_size=1, max_size=3))
    return maker, child


def passes(of: Token, ceiling: Owner, method: str, path: str, account_id: str | None) -> bool:
    target = split_target(f"/client/v4{path}".encode())
    assert isinstance(target, Target)
    ask = Question(
        principal=principal(of, ceiling),
        address=ip_address("192.0.2.7"),
        target=target,
        match=CATALOG.public.match(method, target.segments),
        now=NOW,
        facts=Facts(account=account_id or Unknown.NOT_FOUND),
    )
    return isinstance(decide(ask), Allow)


@settings(max_examples=600)
@given(family=families(), ceiling=st.one_of(st.just(list(EVERYTHING)), st.lists(drawn_policies(), max_size=3)))
def test_a_child_never_passes_where_its_maker_is_refused(
    family: tuple[list[Policy], list[Policy]], ceiling: list[Policy]
) -> None:
    maker, child = token(family[0]), family[1]
    limit = owner(ceiling)
    accounts = {("cloudflare-dns", each): account_id for each, account_id in ZONES.items()}
    told = exceeds(Caller(maker, limit), Grant(policies=tuple(child)), accounts, GROUPS)
    event("exceeds" if told else "fits")
    if told:
        return
    for method, path, account_id in REQUESTS:
        if passes(token(child), owner(), method, path, account_id):
            assert passes(maker, limit, method, path, account_id), (method, path)
