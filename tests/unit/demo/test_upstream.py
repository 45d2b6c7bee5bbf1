import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from cloudflare import APIStatusError, AsyncCloudflare, BadRequestError, NotFoundError, PermissionDeniedError

from gateway.demo.upstream import ACCOUNTS, RECORDS, USER, ZONES, Journal, main, make_upstream

Ask = Callable[..., Awaitable[tuple[int, Any]]]
Client = TestClient[web.Request, web.Application]

ALPHA = ZONES["alpha.example"]
ACCOUNT = ACCOUNTS["Alpha Ltd"]


def test_an_upstream_without_a_credential_is_not_made() -> None:
    with pytest.raises(ValueError, match="credential"):
        make_upstream("")


@pytest.mark.parametrize("count", ["-1", "2001", "many"])
def test_so_many_more_zones_are_wrong_use(count: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--port", "0", "--credential-env", "NAME", "--more-zones", count])
    assert ended.value.code == 2
    assert "--more-zones" in capsys.readouterr().err


async def test_without_a_journal_it_answers_all_the_same(
    aiohttp_client: Callable[..., Awaitable[Client]],
) -> None:
    client = await aiohttp_client(make_upstream("own"))
    async with client.get("/client/v4/user", headers={"Authorization": "Bearer own"}) as response:
        assert response.status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        pytest.param("GET", "/nothing", 404, 7003, id="no such path"),
        pytest.param("DELETE", "/user", 405, 7001, id="no such method"),
        pytest.param("POST", "/zones", 400, 6007, id="no JSON"),
    ],
)
async def test_each_refusal_is_an_envelope(ask: Ask, method: str, path: str, status: int, code: int) -> None:
    got, answer = await ask(method, path)
    assert (got, answer["errors"][0]["code"], answer["result"]) == (status, code, None)


async def test_a_body_of_the_wrong_shape_is_told_where(ask: Ask) -> None:
    body = {"type": "A", "name": "x", "content": "192.0.2.1", "ttl": "soon"}
    status, answer = await ask("POST", f"/zones/{ALPHA}/dns_records", json=body)
    assert (status, answer["errors"][0]["code"]) == (400, 9207)
    assert "$.ttl" in answer["errors"][0]["message"]


async def test_a_refused_method_comes_with_those_allowed(client: Client) -> None:
    async with client.delete("/client/v4/user") as response:
        assert response.headers["Allow"] == "GET,HEAD"


async def test_head_answers_as_get_without_the_body(client: Client) -> None:
    async with client.head(f"/client/v4/zones/{ALPHA}") as response:
        assert (response.status, await response.read()) == (200, b"")


async def test_outside_of_the_base_path_is_nothing(client: Client) -> None:
    async with client.get("/zones") as response:
        assert response.status == 404


@pytest.fixture
async def sdk(server: TestServer, credential: str) -> AsyncIterator[AsyncCloudflare]:
    base = str(server.make_url("/client/v4"))
    async with AsyncCloudflare(api_token=credential, base_url=base, max_retries=0) as sdk:
        yield sdk


async def test_the_sdk_pages_through_zones_and_accounts(sdk: AsyncCloudflare) -> None:
    assert [zone.name async for zone in sdk.zones.list(per_page=1)] == list(ZONES)
    assert [account.id async for account in sdk.accounts.list(per_page=1)] == list(ACCOUNTS.values())
    zone = await sdk.zones.get(zone_id=ALPHA)
    assert zone is not None
    assert (zone.name, zone.account.id) == ("alpha.example", ACCOUNT)


async def test_the_sdk_takes_a_record_from_create_to_delete(sdk: AsyncCloudflare) -> None:
    records = sdk.dns.records
    made = await records.create(zone_id=ALPHA, type="TXT", name="_acme-challenge", content='"one"', ttl=60)
    assert made is not None
    assert [each.id async for each in records.list(zone_id=ALPHA, name={"exact": made.name})] == [made.id]
    got = await records.get(made.id, zone_id=ALPHA)
    assert got == made
    edited = await records.edit(made.id, zone_id=ALPHA, type="TXT", name=made.name, ttl=1, content="two")
    assert edited is not None
    assert edited.content == "two"
    put = await records.update(made.id, zone_id=ALPHA, type="TXT", name=made.name, ttl=1, content="three")
    assert put is not None
    assert (put.content, put.created_on) == ("three", made.created_on)
    assert await records.delete(made.id, zone_id=ALPHA) is not None
    with pytest.raises(NotFoundError):
        await records.get(made.id, zone_id=ALPHA)


async def test_the_sdk_changes_many_records_at_once_and_exports_them(sdk: AsyncCloudflare) -> None:
    done = await sdk.dns.records.batch(
        zone_id=ALPHA,
        deletes=[{"id": RECORDS["A www.alpha.example"]}],
        posts=[{"type": "A", "name": "new", "ttl": 1, "content": "192.0.2.99"}],
    )
    assert done is not None
    assert done.posts is not None
    assert [record.name for record in done.posts] == ["new.alpha.example"]
    text = await sdk.dns.records.export(zone_id=ALPHA)
    assert "new.alpha.example.\t1\tIN\tA\t192.0.2.99" in text
    assert "www.alpha.example.\t300" not in text


async def test_the_sdk_imports_a_zone_file(sdk: AsyncCloudflare) -> None:
    done = await sdk.dns.records.import_(zone_id=ALPHA, file="new 300 IN A 192.0.2.99\n")
    assert done is not None
    assert (done.recs_added, done.total_records_parsed) == (1, 1)


async def test_the_sdk_switches_dnssec_and_purges(sdk: AsyncCloudflare) -> None:
    state = await sdk.dns.dnssec.edit(zone_id=ALPHA, status="active")
    assert state is not None
    assert state.status == "active"
    assert await sdk.dns.dnssec.delete(zone_id=ALPHA) == ALPHA
    purge = await sdk.cache.purge(zone_id=ALPHA, purge_everything=True)
    assert purge is not None
    assert purge.id == ALPHA


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # the SDK's, for billing profiles and usage
async def test_the_sdk_reads_what_is_billed(sdk: AsyncCloudflare) -> None:
    billing = sdk.billing
    assert len([bill async for bill in billing.history.list(account_id=ACCOUNT, per_page=4)]) == 6
    assert (await billing.credits.get(account_id=ACCOUNT)).confirmed_balance_cents == 75_000
    assert (await billing.unpaid_invoice.get(account_id=ACCOUNT)).invoices
    assert (await billing.bad_debt.get(account_id=ACCOUNT)).bad_debt_status == "none"
    assert (await billing.usage.get(account_id=ACCOUNT))[0].consumed_quantity == 1000
    assert (await billing.rate_plans.get("pro")).public_name == "Pro"
    profile = await billing.profiles.update(account_id=ACCOUNT, city="Elsewhere")
    assert profile.city == "Elsewhere"
    assert (await sdk.user.billing.profile.get()).id == USER
    assert len([bill async for bill in sdk.user.billing.history.list()]) == 6
    user = await sdk.user.get()
    assert user is not None
    assert user.id == USER


@pytest.mark.parametrize(
    ("record", "error"),
    [
        ({"type": "A", "name": "www", "content": "192.0.2.11", "ttl": 1}, (BadRequestError, 81058)),
        ({"type": "A", "name": "x", "content": "?", "ttl": 1}, (BadRequestError, 9005)),
    ],
)
async def test_the_sdk_is_told_why_not(
    sdk: AsyncCloudflare, record: dict[str, Any], error: tuple[type[APIStatusError], int]
) -> None:
    kind, code = error
    with pytest.raises(kind) as raised:
        await sdk.dns.records.create(zone_id=ALPHA, **record)
    assert [each.code for each in raised.value.errors] == [code]


async def test_the_sdk_with_another_token_is_shut_out(sdk: AsyncCloudflare, journal: Journal) -> None:
    with pytest.raises(PermissionDeniedError):
        await sdk.with_options(api_token="zgt_other").zones.get(zone_id=ALPHA)
    assert [entry.token_seen for entry in journal.entries] == [True]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_says_where_it_is_journals_and_ends_when_told(number: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gateway.demo.upstream", "--port", "0"]
    with subprocess.Popen(
        [*command, "--credential-env", "DEMO_CREDENTIAL", "--journal", str(tmp_path / "journal")],
        env={**os.environ, "DEMO_CREDENTIAL": "own"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as upstream:
        assert upstream.stdout is not None
        line = upstream.stdout.readline()
        assert line.startswith("demo upstream on http://127.0.0.1:")
        request = urllib.request.Request(  # noqa: S310 - our own process
            f"{line.split()[-1]}/client/v4/zones", headers={"Authorization": "Bearer own"}
        )
        with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310
            assert json.load(response)["result_info"]["total_count"] == 3
        (entry,) = map(json.loads, (tmp_path / "journal").read_text().splitlines())
        assert (entry["method"], entry["target"]) == ("GET", "/client/v4/zones")
        assert ["Authorization", "<credential ok>"] in entry["headers"]
        upstream.send_signal(number)
        out, err = upstream.communicate(timeout=20)
    assert (upstream.returncode, out, err) == (0, "", "")
