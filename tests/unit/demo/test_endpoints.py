from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import FormData, web
from aiohttp.test_utils import TestClient

from gateway.demo.dataset import ACCOUNTS, RECORDS, USER, ZONES

Ask = Callable[..., Awaitable[tuple[int, Any]]]
Client = TestClient[web.Request, web.Application]

ALPHA = f"/zones/{ZONES['alpha.example']}"
WWW = f"{ALPHA}/dns_records/{RECORDS['A www.alpha.example']}"
ACCOUNT = f"/accounts/{ACCOUNTS['Alpha Ltd']}"
NEW = {"type": "A", "name": "new", "content": "192.0.2.99"}


async def test_zones_are_listed_by_page_name_and_account(ask: Ask) -> None:
    _, answer = await ask("GET", "/zones?per_page=2&page=2")
    assert [zone["name"] for zone in answer["result"]] == ["gamma.example"]
    assert answer["result_info"]["total_count"] == 3
    _, answer = await ask("GET", "/zones?name=beta.example")
    assert [zone["id"] for zone in answer["result"]] == [ZONES["beta.example"]]
    _, answer = await ask("GET", f"/zones?account.id={ACCOUNTS['Gamma Inc']}")
    assert [zone["account"]["name"] for zone in answer["result"]] == ["Gamma Inc"]


async def test_a_zone_is_created_activated_edited_and_deleted(ask: Ask) -> None:
    _, answer = await ask("POST", "/zones", json={"name": "delta.example", "account": {"id": ACCOUNTS["Gamma Inc"]}})
    path = f"/zones/{answer['result']['id']}"
    assert answer["result"]["status"] == "pending"
    assert (await ask("PUT", f"{path}/activation_check"))[0] == 200
    assert (await ask("PATCH", path, json={"paused": True}))[1]["result"]["paused"] is True
    assert (await ask("GET", path))[1]["result"]["status"] == "active"
    assert (await ask("DELETE", path))[1]["result"] == {"id": path.removeprefix("/zones/")}
    assert (await ask("GET", path))[0] == 404


async def test_a_purge_says_what_to_purge(ask: Ask) -> None:
    status, answer = await ask("POST", f"{ALPHA}/purge_cache", json={"files": ["x"]})
    assert (status, answer["result"]) == (200, {"id": ZONES["alpha.example"]})
    status, answer = await ask("POST", f"{ALPHA}/purge_cache", json={"purge_everything": False})
    assert (status, answer["errors"][0]["code"]) == (400, 1012)


async def test_dnssec_is_switched_on_and_off(ask: Ask) -> None:
    assert (await ask("PATCH", f"{ALPHA}/dnssec", json={"status": "active"}))[1]["result"]["status"] == "active"
    assert (await ask("GET", f"{ALPHA}/dnssec"))[1]["result"]["algorithm"] == "13"
    assert (await ask("DELETE", f"{ALPHA}/dnssec"))[1]["result"] == ZONES["alpha.example"]
    assert (await ask("GET", f"{ALPHA}/dnssec"))[1]["result"] == {"status": "disabled"}
    assert (await ask("PATCH", f"{ALPHA}/dnssec", json={"status": "on"}))[0] == 400


async def test_records_are_listed_with_filters_order_and_pages(ask: Ask) -> None:
    _, answer = await ask("GET", f"{ALPHA}/dns_records?type=A&order=content&direction=desc&per_page=2")
    assert [record["content"] for record in answer["result"]] == ["192.0.2.12", "192.0.2.11"]
    assert answer["result_info"] == {"page": 1, "per_page": 2, "count": 2, "total_count": 3, "total_pages": 2}
    _, answer = await ask("GET", f"{ALPHA}/dns_records?name=www.alpha.example&content.contains=192")
    assert [record["id"] for record in answer["result"]] == [RECORDS["A www.alpha.example"]]


async def test_a_record_lives_from_post_to_delete(ask: Ask) -> None:
    _, answer = await ask("POST", f"{ALPHA}/dns_records", json={**NEW, "comment": "new"})
    record = answer["result"]
    path = f"{ALPHA}/dns_records/{record['id']}"
    assert record.items() >= {"name": "new.alpha.example", "ttl": 1, "proxiable": True, "meta": {}}.items()
    assert (await ask("PATCH", path, json={"ttl": 300}))[1]["result"]["comment"] == "new"
    assert (await ask("PUT", path, json=NEW))[1]["result"]["comment"] is None
    assert (await ask("GET", path))[1]["result"]["created_on"] == record["created_on"]
    assert (await ask("DELETE", path))[1]["result"] == {"id": record["id"]}
    assert (await ask("GET", path))[1]["errors"][0]["code"] == 81044


async def test_a_record_is_found_in_its_own_zone_only(ask: Ask) -> None:
    elsewhere = WWW.replace(ZONES["alpha.example"], ZONES["beta.example"])
    assert (await ask("GET", elsewhere))[0] == 404
    assert (await ask("DELETE", elsewhere))[0] == 404
    assert (await ask("GET", WWW))[0] == 200


async def test_a_batch_answers_with_all_it_did(ask: Ask) -> None:
    body = {"deletes": [{"id": RECORDS["A www.alpha.example"]}], "posts": [NEW], "puts": None}
    _, answer = await ask("POST", f"{ALPHA}/dns_records/batch", json=body)
    assert {kind: len(records) for kind, records in answer["result"].items()} == {
        "deletes": 1,
        "patches": 0,
        "puts": 0,
        "posts": 1,
    }


async def test_an_export_is_plain_text(client: Client) -> None:
    async with client.get(f"/client/v4{ALPHA}/dns_records/export") as response:
        assert response.content_type == "text/plain"
        assert "www.alpha.example.\t300\tIN\tA\t192.0.2.11" in await response.text()


async def test_an_import_takes_a_form_with_a_file(ask: Ask) -> None:
    form = FormData()
    text = 'new A 192.0.2.99\r\nmail 3600 A 192.0.2.12\r\nt TXT "gr\u00fc\u00dfe"\r\n'
    form.add_field("file", text.encode(), filename="zone.txt")
    form.add_field("proxied", "true")
    status, answer = await ask("POST", f"{ALPHA}/dns_records/import", data=form)
    # The second was there already.
    assert (status, answer["result"]) == (200, {"recs_added": 2, "total_records_parsed": 3})
    _, answer = await ask("GET", f"{ALPHA}/dns_records?name=new.alpha.example")
    assert answer["result"][0]["proxied"] is True
    _, answer = await ask("GET", f"{ALPHA}/dns_records?name=t.alpha.example")
    assert answer["result"][0]["content"] == "gr\u00fc\u00dfe"


async def test_an_import_that_is_no_form_is_refused(ask: Ask) -> None:
    status, answer = await ask("POST", f"{ALPHA}/dns_records/import", json={})
    assert (status, answer["errors"][0]["code"]) == (400, 9207)


async def test_a_scan_finds_nothing(ask: Ask) -> None:
    status, answer = await ask("POST", f"{ALPHA}/dns_records/scan")
    assert (status, answer["result"]) == (200, {"recs_added": 0, "total_records_parsed": 0})


@pytest.mark.parametrize(
    "path",
    [
        "/user",
        "/user/billing/profile",
        "/user/billing/history",
        "/accounts",
        ACCOUNT,
        *(f"{ACCOUNT}/billing/{page}" for page in ("profile", "history", "credits", "unpaid-invoice", "bad-debt")),
        f"{ACCOUNT}/billable/usage",
        "/billing/rate_plans/pro",
    ],
)
async def test_what_is_only_read_is_there(ask: Ask, path: str) -> None:
    status, answer = await ask("GET", path)
    assert (status, answer["success"], answer["errors"]) == (200, True, [])
    assert answer["result"]


async def test_ids_are_those_of_the_constants(ask: Ask) -> None:
    assert (await ask("GET", "/user"))[1]["result"]["id"] == USER
    assert (await ask("GET", "/user/billing/profile"))[1]["result"]["id"] == USER
    assert {each["id"] for each in (await ask("GET", "/accounts"))[1]["result"]} == set(ACCOUNTS.values())


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_billing_profile_is_edited_in_one_account_only(ask: Ask, method: str) -> None:
    assert (await ask(method, f"{ACCOUNT}/billing/profile", json={"city": "Elsewhere"}))[0] == 200
    assert (await ask("GET", f"{ACCOUNT}/billing/profile"))[1]["result"]["city"] == "Elsewhere"
    other = f"/accounts/{ACCOUNTS['Gamma Inc']}/billing/profile"
    assert (await ask("GET", other))[1]["result"]["city"] == "Exampleton"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"/zones/{'0' * 32}", 7003),
        (f"/zones/{'0' * 32}/dns_records", 7003),
        (f"{ALPHA}/dns_records/{'0' * 32}", 81044),
        (f"/accounts/{'0' * 32}", 7003),
        (f"/accounts/{'0' * 32}/billing/profile", 7003),
        (f"/accounts/{'0' * 32}/billing/credits", 7003),
        ("/billing/rate_plans/none", 7003),
    ],
)
async def test_what_is_not_there_is_a_404_with_its_code(ask: Ask, path: str, code: int) -> None:
    status, answer = await ask("GET", path)
    assert (status, answer["errors"][0]["code"]) == (404, code)
