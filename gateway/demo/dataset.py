"""What the demo upstream holds: two accounts, three zones, their records. The same ids at each start.

Others name things by the constants: `ZONES["alpha.example"]`, `ACCOUNTS["Alpha Ltd"]`, `USER`, and
`RECORDS["A www.alpha.example"]` for what was there at the start.
"""

import hashlib
import uuid
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from gateway.demo import billing
from gateway.demo.fault import Fault, Rejected
from gateway.demo.record import RecordBody, is_name
from gateway.demo.zone import AccountRef, HostedZone, Json, Zone, ZoneBody

Held = TypeVar("Held")

USER: Final = "05e00000000000000000000000000001"
ACCOUNTS: Final[Mapping[str, str]] = {
    "Alpha Ltd": "ac000000000000000000000000000001",
    "Gamma Inc": "ac000000000000000000000000000002",
}
ZONES: Final[Mapping[str, str]] = {
    "alpha.example": "d0000000000000000000000000000001",
    "beta.example": "d0000000000000000000000000000002",
    "gamma.example": "d0000000000000000000000000000003",
}
_ACCOUNT_OF: Final[Mapping[str, str]] = {
    "alpha.example": "Alpha Ltd",
    "beta.example": "Alpha Ltd",
    "gamma.example": "Gamma Inc",
}
_START: Final = "2025-01-01T00:00:00.000000Z"


def _seeds(zone: str, net: int) -> list[RecordBody]:
    # No two of one type and name: `RECORDS` names them by that.
    return [
        RecordBody(type="A", name=zone, content=f"192.0.2.{net}", proxied=True),
        RecordBody(type="AAAA", name=zone, content=f"2001:db8::{net}", proxied=True),
        RecordBody(type="A", name=f"www.{zone}", content=f"192.0.2.{net + 1}", ttl=300, comment="web server"),
        RecordBody(type="CNAME", name=f"blog.{zone}", content=f"www.{zone}"),
        RecordBody(type="A", name=f"mail.{zone}", content=f"192.0.2.{net + 2}", ttl=3600),
        RecordBody(type="MX", name=zone, content=f"mail.{zone}", priority=10, ttl=3600),
        RecordBody(type="TXT", name=zone, content="v=spf1 mx -all"),
        RecordBody(type="TXT", name=f"_dmarc.{zone}", content=f"v=DMARC1; p=none; rua=mailto:dmarc@{zone}"),
    ]


def _seed_id(body: RecordBody) -> str:
    return hashlib.sha256(f"{body.type} {body.name}".encode()).hexdigest()[:32]


_SEEDS: Final = {zone: _seeds(zone, 10 * number) for number, zone in enumerate(ZONES, 1)}
RECORDS: Final[Mapping[str, str]] = {
    f"{body.type} {body.name}": _seed_id(body) for bodies in _SEEDS.values() for body in bodies
}

_SETTINGS: Final[Json] = {"enforce_twofactor": False, "abuse_contact_email": None}


def another_zone(number: int) -> tuple[str, str, str]:
    """Name, id and account of the zone of that number (from 0) beside those in `ZONES`: every second one is another
    account's.
    """
    accounts = tuple(ACCOUNTS.values())
    return f"zone-{number:05}.example", f"d1{number:030}", accounts[number % len(accounts)]


class Account(msgspec.Struct, frozen=True):
    """An account as the API shows it."""

    id: str
    name: str
    type: str = "standard"
    settings: Json = msgspec.field(default_factory=_SETTINGS.copy)
    created_on: str = _START


class Dataset:
    """Everything there is. What is asked for by an id that is not there raises Rejected."""

    def __init__(self, more_zones: int = 0) -> None:
        """`more_zones`: so many beside those with a name in `ZONES`, without records (`another_zone`)."""
        self._accounts = {id_: Account(id=id_, name=name) for name, id_ in ACCOUNTS.items()}
        self._zones: dict[str, HostedZone] = {}
        self._profiles = {id_: billing.profile(id_, name) for name, id_ in (*ACCOUNTS.items(), ("Demo", USER))}
        for name, zone_id in ZONES.items():
            account = AccountRef(id=ACCOUNTS[_ACCOUNT_OF[name]])
            hosted = self.create_zone(ZoneBody(name=name, account=account), _START, zone_id)
            hosted.activate(_START)
            for body in _SEEDS[name]:
                hosted.add(body, _START, _seed_id(body))
        for number in range(more_zones):
            name, zone_id, account_id = another_zone(number)
            self.create_zone(ZoneBody(name=name, account=AccountRef(id=account_id)), _START, zone_id)

    @property
    def accounts(self) -> list[Account]:
        """All accounts."""
        return list(self._accounts.values())

    @property
    def zones(self) -> list[Zone]:
        """All zones."""
        return [hosted.zone for hosted in self._zones.values()]

    @property
    def user(self) -> Json:
        """Whose login the upstream's credential is."""
        return {
            "id": USER,
            "email": "demo@demo.example",
            "first_name": "Demo",
            "last_name": "Owner",
            "username": "demo",
            "telephone": None,
            "country": "US",
            "zipcode": "00000",
            "two_factor_authentication_enabled": True,
            "suspended": False,
            "organizations": [
                {"id": account.id, "name": account.name, "status": "member", "permissions": [], "roles": []}
                for account in self.accounts
            ],
            "betas": [],
        }

    def account(self, account_id: str) -> Account:
        """The account of that id."""
        return _found(self._accounts, account_id, "accounts")

    def zone(self, zone_id: str) -> HostedZone:
        """The zone of that id."""
        return _found(self._zones, zone_id, "zones")

    def create_zone(self, body: ZoneBody, now: str, zone_id: str | None = None) -> HostedZone:
        """A new zone, pending until its name servers are looked at. Raises Rejected."""
        name = body.name.lower().removesuffix(".")
        if not is_name(name) or "." not in name:
            raise Rejected(Fault.ZONE_NAME, name=name)
        if body.account.id not in self._accounts:
            raise Rejected(Fault.ZONE_ACCOUNT)
        if any(zone.name == name for zone in self.zones):
            raise Rejected(Fault.ZONE_EXISTS, name=name)
        zone = Zone(
            id=zone_id or uuid.uuid4().hex,
            name=name,
            status="pending",
            type=body.type,
            account=AccountRef(id=body.account.id, name=self._accounts[body.account.id].name),
            created_on=now,
            modified_on=now,
        )
        hosted = self._zones[zone.id] = HostedZone(zone)
        return hosted

    def delete_zone(self, zone_id: str) -> None:
        """Take the zone away with all that is in it."""
        self.zone(zone_id)
        del self._zones[zone_id]

    def profile(self, holder_id: str) -> Json:
        """The billing profile of an account or of the user."""
        return _found(self._profiles, holder_id, "accounts")

    def edit_profile(self, holder_id: str, changes: Json, now: str) -> Json:
        """The billing profile after `changes`."""
        self._profiles[holder_id] = billing.edited(self.profile(holder_id), changes, now)
        return self._profiles[holder_id]


def _found(held: Mapping[str, Held], id_: str, kind: str) -> Held:
    try:
        return held[id_]
    except KeyError:
        raise Rejected(Fault.NO_ROUTE, path=f"/{kind}/{id_}") from None
