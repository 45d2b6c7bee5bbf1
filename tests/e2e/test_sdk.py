"""Cloudflare's own Python SDK, unmodified, with nothing but its `base_url` changed."""

from collections.abc import Callable, Iterator
from typing import Any

import cloudflare
import pytest
from cloudflare import Cloudflare
from support.processes import Gateway
from support.records import group_id, zone

from gateway.demo.dataset import ACCOUNTS, ZONES

ACCOUNT = ACCOUNTS["Alpha Ltd"]
ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]


def client(gateway: Gateway, secret: str) -> Cloudflare:
    return Cloudflare(api_token=secret, base_url=gateway.url, max_retries=0)


@pytest.fixture
def first(gateway: Gateway) -> Iterator[Cloudflare]:
    with client(gateway, gateway.first) as found:
        yield found


def dns_policy(zone_id: str = ALPHA, group: str = "DNS Write") -> dict[str, Any]:
    return {
        "effect": "allow",
        "permission_groups": [{"id": group_id(group)}],
        "resources": {zone(zone_id): "*"},
    }


def test_a_token_lives_its_whole_life(gateway: Gateway, first: Cloudflare) -> None:
    made = first.user.tokens.create(
        name="life",
        policies=[dns_policy()],
        condition={"request_ip": {"in": ["127.0.0.0/8"], "not_in": ["127.0.0.2"]}},
        not_before="2026-01-01T00:00:00Z",
        expires_on="2099-01-01T00:00:00Z",
    )
    assert made.value is not None
    assert made.policies is not None
    assert made.policies[0].permission_groups[0].name == "DNS Write"

    with client(gateway, made.value) as own:
        verified = own.user.tokens.verify()
        assert (verified.id, verified.status) == (made.id, "active")

    read = first.user.tokens.get(made.id)
    assert read.name == "life"
    assert not hasattr(read, "value") or read.value is None

    changed = first.user.tokens.update(made.id, name="renamed", policies=[dns_policy(BETA)], status="disabled")
    assert (changed.name, changed.status) == ("renamed", "disabled")
    assert changed.expires_on is None

    first.user.tokens.update(made.id, name="renamed", policies=[dns_policy(BETA)], status="active")
    fresh = first.user.tokens.value.update(made.id)
    assert fresh != made.value
    with client(gateway, fresh) as own:
        assert own.user.tokens.verify().id == made.id
    with client(gateway, made.value) as old, pytest.raises(cloudflare.AuthenticationError):
        old.user.tokens.verify()

    deleted = first.user.tokens.delete(made.id)
    assert deleted is not None
    assert deleted.id == made.id
    with pytest.raises(cloudflare.NotFoundError):
        first.user.tokens.get(made.id)


def test_the_list_pages_through_all_tokens(first: Cloudflare) -> None:
    made = [first.user.tokens.create(name=f"page {n}", policies=[dns_policy()]).id for n in range(7)]
    listed = [token.id for token in first.user.tokens.list(per_page=5, direction="desc")]
    assert listed[:7] == made[::-1]


def test_permission_groups_are_found_by_name_and_scope(first: Cloudflare) -> None:
    for name in ("Logs Read", "Logs%20Read"):  # its documentation asks for the second, and it encodes once more
        found = list(first.user.tokens.permission_groups.list(name=name))
        assert [group.name for group in found] == ["Logs Read", "Logs Read"]
    found = list(first.user.tokens.permission_groups.list(name="Logs Read", scope="com.cloudflare.api.account.zone"))
    assert [group.id for group in found] == [group_id("Logs Read")]


def test_records_are_managed_through_the_gateway(gateway: Gateway, first: Cloudflare) -> None:
    secret = first.user.tokens.create(name="dns", policies=[dns_policy()]).value
    assert secret
    with client(gateway, secret) as dns:
        record = dns.dns.records.create(
            zone_id=ALPHA, type="TXT", name="_acme-challenge.alpha.example", content='"x"', ttl=60
        )
        assert record is not None
        assert dns.dns.records.get(record.id, zone_id=ALPHA).id == record.id
        dns.dns.records.update(
            record.id, zone_id=ALPHA, type="TXT", name="_acme-challenge.alpha.example", content='"y"', ttl=60
        )
        dns.dns.records.edit(
            record.id, zone_id=ALPHA, type="TXT", name="_acme-challenge.alpha.example", content='"z"', ttl=60
        )
        assert record.id in {found.id for found in dns.dns.records.list(zone_id=ALPHA)}
        assert "alpha.example" in dns.dns.records.export(zone_id=ALPHA)
        dns.dns.records.batch(zone_id=ALPHA, deletes=[{"id": record.id}])
        with pytest.raises(cloudflare.NotFoundError):
            dns.dns.records.get(record.id, zone_id=ALPHA)


def test_an_account_s_token_lives_its_whole_life(gateway: Gateway, first: Cloudflare) -> None:
    tokens = first.accounts.tokens
    made = tokens.create(account_id=ACCOUNT, name="life", policies=[dns_policy()], expires_on="2099-01-01T00:00:00Z")
    assert made.value is not None
    assert made.value.startswith("zga_")

    with client(gateway, made.value) as own:
        verified = own.accounts.tokens.verify(account_id=ACCOUNT)
        assert (verified.id, verified.status) == (made.id, "active")
        with pytest.raises(cloudflare.AuthenticationError):
            own.user.tokens.verify()
        assert list(own.dns.records.list(zone_id=ALPHA))
        with pytest.raises(cloudflare.PermissionDeniedError):
            own.accounts.tokens.create(account_id=ACCOUNT, name="no", policies=[dns_policy()])

    assert tokens.get(made.id, account_id=ACCOUNT).name == "life"
    assert made.id in {token.id for token in tokens.list(account_id=ACCOUNT)}
    assert made.id not in {token.id for token in first.user.tokens.list()}
    changed = tokens.update(made.id, account_id=ACCOUNT, name="renamed", policies=[dns_policy()], status="disabled")
    assert (changed.name, changed.status) == ("renamed", "disabled")
    tokens.update(made.id, account_id=ACCOUNT, name="renamed", policies=[dns_policy()], status="active")

    fresh = tokens.value.update(made.id, account_id=ACCOUNT)
    with client(gateway, fresh) as own:
        assert own.accounts.tokens.verify(account_id=ACCOUNT).id == made.id
    groups = tokens.permission_groups.list(account_id=ACCOUNT, name="Logs Read")
    assert {group.name for group in groups} == {"Logs Read"}

    deleted = tokens.delete(made.id, account_id=ACCOUNT)
    assert deleted is not None
    assert deleted.id == made.id
    with pytest.raises(cloudflare.NotFoundError):
        tokens.get(made.id, account_id=ACCOUNT)


REFUSALS: list[Any] = [
    pytest.param(
        cloudflare.PermissionDeniedError, lambda own, _: own.dns.records.list(zone_id=BETA), id="another zone"
    ),
    pytest.param(
        cloudflare.PermissionDeniedError, lambda own, _: own.user.tokens.list(), id="the token API without its group"
    ),
    pytest.param(cloudflare.PermissionDeniedError, lambda own, _: own.zones.get(zone_id=ALPHA), id="the zone itself"),
    pytest.param(
        cloudflare.NotFoundError, lambda own, _: own.dns.records.list(zone_id="nonsense"), id="an id that is none"
    ),
    pytest.param(
        cloudflare.BadRequestError, lambda _, first: first.user.tokens.create(name="", policies=[]), id="a bad body"
    ),
    pytest.param(
        cloudflare.NotFoundError, lambda _, first: first.user.tokens.get("0" * 32), id="a token that is not there"
    ),
]


@pytest.mark.parametrize(("error", "call"), REFUSALS)
def test_a_refusal_raises_the_sdks_own_exception(
    error: type[Exception], call: Callable[[Cloudflare, Cloudflare], object], gateway: Gateway, first: Cloudflare
) -> None:
    secret = first.user.tokens.create(name="dns", policies=[dns_policy()]).value
    assert secret
    with client(gateway, secret) as own, pytest.raises(error):
        call(own, first)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        pytest.param(
            {"Authorization": "Bearer zgt_" + "0" * 32 + "_" + "0" * 49}, cloudflare.BadRequestError, id="junk"
        ),
        pytest.param({"Authorization": cloudflare.Omit()}, cloudflare.AuthenticationError, id="none"),
    ],
)
def test_a_client_without_a_token_is_refused(
    headers: dict[str, Any], error: type[Exception], first: Cloudflare
) -> None:
    with pytest.raises(error):
        first.dns.records.list(zone_id=ALPHA, extra_headers=headers)
