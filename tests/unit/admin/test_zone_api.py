from typing import Any

import pytest
from support.records import ACCOUNT_A, ACCOUNT_B, CATALOG, ZONE_A
from support.store_contract import MemoryTokenStore
from unit.admin.asking import CALLER, Ask, FakePins, api_over, asker, refused, result

from gateway.access.ports import Actor, Conflict
from gateway.admin.authority import with_zones
from gateway.admin.zone_api import ZoneApi
from gateway.reason import Deny, Reason
from gateway.store.zone_pin import ZonePin

PATH = f"/zonegate/zones/cloudflare-dns/{ZONE_A}"
SHOWN = {
    "id": ZONE_A,
    "api": "cloudflare-dns",
    "account": ACCOUNT_A,
    "name": "alpha.example",
    "modified_on": "2027-01-15T08:00:00Z",
}


@pytest.fixture
def pins() -> FakePins:
    return FakePins()


@pytest.fixture
def ask(pins: FakePins) -> Ask:
    return asker(api_over(MemoryTokenStore().hold(CALLER), pins=pins))


async def test_a_zone_that_was_put_into_an_account_is_shown_there_until_it_is_taken_out(ask: Ask) -> None:
    assert result(await ask("PUT", PATH, {"account": ACCOUNT_A, "name": "alpha.example"})) == SHOWN
    assert result(await ask("GET", PATH)) == SHOWN
    assert result(await ask("PUT", PATH, SHOWN | {"account": ACCOUNT_B}))["account"] == ACCOUNT_B
    assert result(await ask("DELETE", PATH)) == {"id": ZONE_A, "api": "cloudflare-dns"}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_zone_that_nobody_put_anywhere_is_a_404(ask: Ask, method: str) -> None:
    assert await ask(method, PATH) == Deny(reason=Reason.NOT_FOUND, detail="zone")


@pytest.mark.parametrize("api", ["billing", "zonegate", "powerdns"])
async def test_an_api_that_has_no_zones_or_is_not_served_is_a_404_that_names_those_that_do(ask: Ask, api: str) -> None:
    deny = refused(await ask("PUT", f"/zonegate/zones/{api}/{ZONE_A}", {"account": ACCOUNT_A}))
    assert deny == Deny(reason=Reason.NOT_FOUND, detail="API; there are: cloudflare-dns")


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        pytest.param(b"", [""], id="nothing"),
        pytest.param([], [""], id="not an object"),
        pytest.param({}, ["/account"], id="no account"),
        pytest.param({"account": "*"}, ["/account"], id="every account"),
        pytest.param({"account": f"zone.{ZONE_A}"}, ["/account"], id="a zone for an account"),
        pytest.param({"account": 7, "name": 7, "x": 1}, ["/x", "/account", "/name"], id="several"),
        pytest.param({"account": ACCOUNT_A, "name": "a\n"}, ["/name"], id="a control character"),
        pytest.param({"account": ACCOUNT_A, "name": "a" * 254}, ["/name"], id="a long name"),
    ],
)
async def test_a_body_with_faults_is_told_all_of_them_and_nothing_is_put_down(
    pins: FakePins, ask: Ask, body: Any, pointers: list[str]
) -> None:
    deny = refused(await ask("PUT", PATH, body))
    assert (deny.reason, [fault.pointer for fault in deny.faults]) == (Reason.INVALID_BODY, pointers)
    assert pins.held == {}


async def test_a_zone_is_named_as_its_api_s_requests_are_compared(pins: FakePins, ask: Ask) -> None:
    await ask("PUT", PATH, {"account": ACCOUNT_A})
    assert list(pins.held) == [("cloudflare-dns", ZONE_A)]


async def test_a_change_that_always_comes_too_late_gives_up() -> None:
    class Contended(FakePins):
        async def put(self, api: str, zone: str, account: str, name: str, by: Actor, now: float) -> ZonePin:  # noqa: ARG002
            raise Conflict

        async def delete(self, api: str, zone: str, by: Actor, now: float) -> bool:  # noqa: ARG002
            raise Conflict

    ask = asker(api_over(MemoryTokenStore().hold(CALLER), pins=Contended()))
    for method in ("PUT", "DELETE"):
        outcome = await ask(method, PATH, {"account": ACCOUNT_A})
        assert outcome == Deny(reason=Reason.PRECONDITION_FAILED)


def test_there_is_an_operation_for_each_thing_that_can_be_done_to_a_zone() -> None:
    api = ZoneApi(FakePins(), with_zones(CATALOG.public.routes), lambda: 0)
    assert set(api.operations) == {"get-zone", "set-zone", "unset-zone"}
