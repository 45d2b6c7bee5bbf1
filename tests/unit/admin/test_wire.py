"""Each answer is of the type that the description has for it."""

from typing import Any

import msgspec
import pytest
from support.records import ACCOUNT_A, NOW, ZONE_A, secret_of
from support.store_contract import MemoryTokenStore
from unit.admin.asking import BODY, CALLER, MINE, POLICY, FakeUses, api_over, asker, result

from gateway.admin import wire
from gateway.store.use import Use

FULL = BODY | {
    "condition": {"request_ip": {"in": ["192.0.2.0/24"], "not_in": ["192.0.2.9/32"]}},
    "not_before": "2027-01-15T00:00:00Z",
    "expires_on": "2030-01-01T00:00:00Z",
    "status": "disabled",
}
OWNER = {"name": "they", "policies": [POLICY]}
LEAKED = {"secrets": ["none", secret_of(MINE.id).reveal()]}
PIN = f"/zonegate/zones/cloudflare-dns/{ZONE_A}"


@pytest.mark.parametrize(
    ("method", "path", "body", "takes", "gives"),
    [
        pytest.param("GET", "/user/tokens", b"", None, tuple[wire.Token, ...], id="list"),
        pytest.param("POST", "/user/tokens", FULL, wire.TokenBody, wire.Token, id="create"),
        pytest.param("GET", "/user/tokens/verify", b"", None, wire.Verified, id="verify"),
        pytest.param("GET", "/user/tokens/permission_groups", b"", None, tuple[wire.Group, ...], id="groups"),
        pytest.param("GET", f"/user/tokens/{MINE.id}", b"", None, wire.Token, id="get"),
        pytest.param("PUT", f"/user/tokens/{MINE.id}", FULL, wire.TokenBody, wire.Token, id="update"),
        pytest.param("DELETE", f"/user/tokens/{MINE.id}", b"", None, wire.Ended, id="delete"),
        pytest.param("DELETE", f"/user/tokens/{MINE.id}?cascade=true", b"", None, wire.Ended, id="delete with cascade"),
        pytest.param("PUT", f"/user/tokens/{MINE.id}/value", {"overlap": 60}, wire.RollBody, wire.Secret, id="roll"),
        pytest.param("POST", "/user/tokens/revoke-self", b"", None, wire.Ended, id="revoke-self"),
        pytest.param("POST", "/user/tokens/leaked", LEAKED, wire.LeakedBody, tuple[wire.LeakedEntry, ...], id="leaked"),
        pytest.param("GET", "/zonegate/owners", b"", None, tuple[wire.Owner, ...], id="owners"),
        pytest.param("POST", "/zonegate/owners", OWNER, wire.OwnerBody, wire.FirstToken, id="a new owner"),
        pytest.param("PUT", PIN, {"account": ACCOUNT_A}, wire.ZoneBody, wire.Zone, id="a zone"),
    ],
)
async def test_what_is_taken_and_given_is_of_its_type(
    method: str, path: str, body: Any, takes: Any, gives: Any
) -> None:
    store = MemoryTokenStore().hold(CALLER, MINE)
    used = FakeUses({MINE.id: Use(last_used_on=NOW, last_address="192.0.2.1")})
    if takes is not None:
        msgspec.convert(body, takes)
    found = result(await asker(api_over(store, uses=used))(method, path, body))
    msgspec.convert(found, gives)
