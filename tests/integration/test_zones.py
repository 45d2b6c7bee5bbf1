"""Zones and their accounts through a whole gateway, asked by Cloudflare's own client: what a token may see and do."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from cloudflare import APIStatusError, AsyncCloudflare, InternalServerError, PermissionDeniedError
from support.records import ACCOUNT, account, policy, zone
from support.zoned_gateway import BY, DemoUpstream, ZonedGateway, demo_upstream, zoned_gateway
from unit.server import wire

from gateway.demo.dataset import ACCOUNTS, ZONES, another_zone
from gateway.tokens.policy import Policy

ALPHA, GAMMA = ZONES["alpha.example"], ZONES["gamma.example"]
ALPHA_LTD, GAMMA_INC = ACCOUNTS["Alpha Ltd"], ACCOUNTS["Gamma Inc"]
MORE = 497
ALL = [*ZONES.values(), *(another_zone(number)[1] for number in range(MORE))]
GROUPS = ("Zone Read", "DNS Write")


def on_account(of: str, effect: str = "allow") -> Policy:
    """All zones of an account."""
    return policy(GROUPS, {account(of): {zone("*"): "*"}}, effect)


def on(*zones: str, effect: str = "allow") -> Policy:
    return policy(GROUPS, [zone(each) for each in zones], effect)


@pytest.fixture
async def upstream() -> AsyncIterator[DemoUpstream]:
    async with demo_upstream(more_zones=MORE) as found:
        yield found


@pytest.fixture
async def gateway(tmp_path: Path, upstream: DemoUpstream) -> AsyncIterator[ZonedGateway]:
    async with zoned_gateway(tmp_path, upstream.port) as found:
        yield found


async def names(client: AsyncCloudflare, zone_id: str) -> int:
    """How many records a zone has."""
    return len((await client.dns.records.list(zone_id=zone_id)).result)


# The account of a zone.


async def test_a_token_on_an_accounts_zones_works_on_them_and_on_no_other(
    gateway: ZonedGateway, upstream: DemoUpstream
) -> None:
    client = await gateway.client([on_account(ALPHA_LTD)])
    assert await names(client, ALPHA) == 8
    with pytest.raises(PermissionDeniedError):
        await names(client, GAMMA)
    assert not upstream.asked(f"/zones/{GAMMA}/dns_records")


async def test_where_a_policy_names_the_zone_nobody_asks_for_its_account(
    gateway: ZonedGateway, upstream: DemoUpstream
) -> None:
    client = await gateway.client([on(ALPHA), on_account(GAMMA_INC)])
    assert await names(client, ALPHA) == 8
    assert [entry.target for entry in upstream.asked("/zones")] == [f"/client/v4/zones/{ALPHA}/dns_records"]


async def test_those_who_ask_together_are_one_question(gateway: ZonedGateway, upstream: DemoUpstream) -> None:
    clients = [await gateway.client([on_account(ALPHA_LTD)]) for _ in range(8)]
    assert await asyncio.gather(*(names(client, ALPHA) for client in clients)) == [8] * 8
    assert await names(clients[0], ALPHA) == 8
    assert [entry.target for entry in upstream.asked(f"/zones/{ALPHA}")].count(f"/client/v4/zones/{ALPHA}") == 1


async def test_what_was_not_found_is_remembered(gateway: ZonedGateway, upstream: DemoUpstream) -> None:
    client = await gateway.client([on_account(ALPHA_LTD)])
    for _ in range(3):
        with pytest.raises(PermissionDeniedError):
            await names(client, "e" * 32)
    assert len(upstream.asked(f"/zones/{'e' * 32}")) == 1


async def test_a_deny_on_an_account_covers_a_zone_that_nobody_knows(gateway: ZonedGateway) -> None:
    client = await gateway.client([on("*"), on_account(GAMMA_INC, "deny")])
    assert await names(client, ALPHA) == 8
    for each in (GAMMA, "e" * 32):
        with pytest.raises(PermissionDeniedError):
            await names(client, each)


async def test_an_upstream_that_cannot_be_asked_is_the_reason_only_where_it_alone_knows(
    gateway: ZonedGateway, upstream: DemoUpstream
) -> None:
    by_account = await gateway.client([on_account(ALPHA_LTD)])
    despite_account = await gateway.client([on("*"), on_account(GAMMA_INC, "deny")])
    await upstream.stop()
    with pytest.raises(InternalServerError) as unreachable:
        await names(by_account, ALPHA)
    assert unreachable.value.status_code == 502
    with pytest.raises(PermissionDeniedError):
        await names(despite_account, ALPHA)


async def test_a_pin_is_believed_before_the_upstream_and_as_soon_as_it_is_made(gateway: ZonedGateway) -> None:
    client = await gateway.client([on_account(ALPHA_LTD)])
    with pytest.raises(PermissionDeniedError):
        await names(client, GAMMA)
    await gateway.pins.put("cloudflare-dns", GAMMA, ALPHA_LTD, "gamma.example", BY, time.time())
    assert await names(client, GAMMA) == 8
    await gateway.pins.delete("cloudflare-dns", GAMMA, BY, time.time())
    with pytest.raises(PermissionDeniedError):
        await names(client, GAMMA)


async def test_what_the_body_names_is_judged_and_sent_as_it_came(gateway: ZonedGateway, upstream: DemoUpstream) -> None:
    client = await gateway.client([policy(["Zone Write"], {account(ALPHA_LTD): {zone("*"): "*"}})])
    made = await client.zones.create(account={"id": ALPHA_LTD}, name="new.example")
    assert made is not None
    assert made.account.id == ALPHA_LTD
    with pytest.raises(PermissionDeniedError):
        await client.zones.create(account={"id": GAMMA_INC}, name="newer.example")
    assert len(upstream.asked("/zones")) == 1


# Lists.


async def listed(client: AsyncCloudflare) -> list[str]:
    """All zones that it is shown, page by page."""
    return [each.id async for each in client.zones.list()]


@pytest.mark.parametrize(
    ("policies", "shown"),
    [
        pytest.param([on(ALL[399])], [ALL[399]], id="one of 500"),
        pytest.param([on("*"), on(*ALL[10:13], effect="deny")], [*ALL[:10], *ALL[13:]], id="all but three"),
        pytest.param([on("*")], ALL, id="all"),
        pytest.param([on_account(GAMMA_INC)], [GAMMA, *ALL[4::2]], id="those of an account"),
        pytest.param([on("e" * 32)], [], id="none that is there"),
        pytest.param([on("*"), on("*", effect="deny")], [], id="none, by a deny"),
    ],
)
async def test_a_token_sees_its_own_zones_and_no_other(
    gateway: ZonedGateway, policies: Iterable[Policy], shown: list[str]
) -> None:
    client = await gateway.client([*policies])
    assert sorted(await listed(client)) == sorted(shown)
    page = await client.zones.list(per_page=50)
    assert page.result_info is not None
    assert page.result_info.to_dict() == {
        "page": 1,
        "per_page": 50,
        "count": min(50, len(shown)),
        "total_count": len(shown),
        "total_pages": -(-len(shown) // 50),
    }


async def test_a_zone_asked_for_by_its_name_is_one_question(gateway: ZonedGateway, upstream: DemoUpstream) -> None:
    client = await gateway.client([on(ALPHA)])
    assert [each.id for each in (await client.zones.list(name="alpha.example")).result] == [ALPHA]
    assert (await client.zones.list(name="gamma.example")).result == []
    assert [entry.target for entry in upstream.asked("/zones")] == [
        "/client/v4/zones?name=alpha.example&page=1&per_page=50",
        "/client/v4/zones?name=gamma.example&page=1&per_page=50",
    ]


async def test_a_token_that_may_see_no_zone_at_all_is_refused_the_list(
    gateway: ZonedGateway, upstream: DemoUpstream
) -> None:
    client = await gateway.client([policy(["Billing Read"], [account("*")], scope=ACCOUNT)])
    with pytest.raises(PermissionDeniedError):
        await listed(client)
    assert not upstream.asked("/zones")


async def test_following_pages_come_out_of_one_walk_and_a_first_page_is_a_new_one(
    gateway: ZonedGateway, upstream: DemoUpstream
) -> None:
    client = await gateway.client([on("*")])
    assert len([each async for each in client.zones.list(per_page=50)]) == 500
    assert len(upstream.asked("/zones")) == 10
    await client.zones.list(per_page=50)
    assert len(upstream.asked("/zones")) == 20


async def test_a_page_out_of_memory_shows_nothing_to_a_token_that_was_changed(
    gateway: ZonedGateway, upstream: DemoUpstream
) -> None:
    client = await gateway.client([on("*")])
    assert len((await client.zones.list(per_page=5)).result) == 5
    await gateway.edit(client, [on(ALPHA)])
    assert (await client.zones.list(per_page=5, page=2)).result == []
    assert len(upstream.asked("/zones")) == 20


async def test_a_token_sees_its_own_accounts(gateway: ZonedGateway) -> None:
    client = await gateway.client([policy(["Account Settings Read"], [account(GAMMA_INC)], scope=ACCOUNT)])
    assert [each.id async for each in client.accounts.list()] == [GAMMA_INC]


async def test_a_nonsensical_page_is_refused(gateway: ZonedGateway, upstream: DemoUpstream) -> None:
    client = await gateway.client([on("*")])
    with pytest.raises(APIStatusError) as refused:
        await client.zones.list(page=0)
    assert refused.value.status_code == 400
    assert not upstream.asked("/zones")


def page_of(zones: Iterable[object], **info: int) -> bytes:
    body = json.dumps({"success": True, "result": [*zones], "result_info": info}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def of_size(mebibytes: int) -> bytes:
    """One page of so many MiB, and a bit less."""
    zones = [{"id": f"{number:032x}", "filler": "x" * (1024 * 1024 - 100)} for number in range(mebibytes)]
    return page_of(zones, total_pages=1)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        pytest.param(of_size(60), 200, id="60 MiB"),
        pytest.param(of_size(65), 502, id="65 MiB"),
        pytest.param(page_of([], total_pages=201), 502, id="201 pages"),
        pytest.param(page_of([], total_count=10_001, per_page=50), 502, id="zones for 201 pages"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", 502, id="no list"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", 502, id="cut"),
    ],
)
async def test_an_upstream_whose_list_is_none_is_a_502(tmp_path: Path, answer: bytes, status: int) -> None:
    upstream = wire.Upstream(answer, cuts=True)
    async with wire.serving(upstream) as port, zoned_gateway(tmp_path, port) as gateway:
        client = await gateway.client([on("0" * 32)])
        found = 200
        try:
            assert [each.id for each in (await client.zones.list()).result] == ["0" * 32]
        except InternalServerError as failed:
            found = failed.status_code
    assert found == status
