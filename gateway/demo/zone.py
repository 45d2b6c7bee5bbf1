"""A zone and what belongs to it: its records, and whether it is signed.

Each change is done whole or, with Rejected, not at all.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from gateway.demo.fault import Fault, Rejected
from gateway.demo.record import Record, RecordBody, check_conflicts, compose, patched

Json = dict[str, object]
Result = TypeVar("Result")

NAME_SERVERS: Final = ("ns1.demo.example", "ns2.demo.example")
_META: Final[Json] = {
    "step": 2,
    "custom_certificate_quota": 0,
    "page_rule_quota": 3,
    "phishing_detected": False,
}
_OWNER: Final[Json] = {"id": None, "type": "user", "email": None}
_PLAN: Final[Json] = {"id": "free", "name": "Free", "price": 0, "currency": "USD", "legacy_id": "free"}
_DS_HEAD: Final = "2371 13 2"  # key tag, ECDSA P-256, SHA-256


class AccountRef(msgspec.Struct, frozen=True):
    """An account in a zone."""

    id: str
    name: str = ""


class ZoneBody(msgspec.Struct, frozen=True, kw_only=True):
    """A new zone in a request."""

    name: str
    account: AccountRef
    type: str = "full"


class ZoneChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What a PATCH may change in a zone; None is no change."""

    paused: bool | None = None
    type: str | None = None
    vanity_name_servers: list[str] | None = None


class Zone(msgspec.Struct, frozen=True, kw_only=True):
    """A zone as the API shows it."""

    id: str
    name: str
    status: str
    paused: bool = False
    type: str
    development_mode: int = 0
    name_servers: Sequence[str] = NAME_SERVERS
    original_name_servers: Sequence[str] | None = None
    original_registrar: str | None = None
    original_dnshost: str | None = None
    vanity_name_servers: Sequence[str] = ()
    created_on: str
    modified_on: str
    activated_on: str | None = None
    meta: Json = msgspec.field(default_factory=_META.copy)
    owner: Json = msgspec.field(default_factory=_OWNER.copy)
    account: AccountRef
    permissions: Sequence[str] = ("#dns_records:edit", "#dns_records:read", "#zone:edit", "#zone:read")
    plan: Json = msgspec.field(default_factory=_PLAN.copy)


class Batch(msgspec.Struct, frozen=True):
    """Many changes in one request."""

    deletes: list[Json] | None = None
    patches: list[Json] | None = None
    puts: list[Json] | None = None
    posts: list[RecordBody] | None = None


class Batched(msgspec.Struct, frozen=True):
    """What a batch did."""

    deletes: list[Record]
    patches: list[Record]
    puts: list[Record]
    posts: list[Record]


class HostedZone:
    """The zone `zone`, whose records are `records`."""

    def __init__(self, zone: Zone) -> None:
        self.zone = zone
        self.records: dict[str, Record] = {}
        self.signed = False

    def edit(self, changes: ZoneChanges, now: str) -> Zone:
        """The zone with `changes` in it."""
        given = msgspec.structs.asdict(changes).items()
        asked = {name: value for name, value in given if value is not None}
        self.zone = msgspec.structs.replace(self.zone, **asked, modified_on=now)
        return self.zone

    def activate(self, now: str) -> None:
        """The name servers were looked at, and are ours."""
        self.zone = msgspec.structs.replace(
            self.zone, status="active", activated_on=self.zone.activated_on or now, modified_on=now
        )

    def dnssec(self) -> Json:
        """The state of DNSSEC and, while it is on, what the registry has to be told."""
        if not self.signed:
            return {"status": "disabled"}
        digest = hashlib.sha256(self.zone.name.encode()).hexdigest().upper()
        return {
            "status": "active",
            "flags": 257,
            "algorithm": "13",
            "key_type": "ECDSAP256SHA256",
            "key_tag": 2371,
            "digest_type": "2",
            "digest_algorithm": "SHA256",
            "digest": digest,
            "ds": f"{self.zone.name}. 3600 IN DS {_DS_HEAD} {digest}",
        }

    def record(self, record_id: str) -> Record:
        """The record of that id. Raises Rejected."""
        try:
            return self.records[record_id]
        except KeyError:
            raise Rejected(Fault.NO_RECORD) from None

    def add(self, body: RecordBody, now: str, record_id: str | None = None) -> Record:
        """A new record."""
        return self._keep(body, record_id or uuid.uuid4().hex, now, now)

    def put(self, record_id: str, body: RecordBody, now: str) -> Record:
        """The record as `body` has it; only its id and its age stay."""
        return self._keep(body, record_id, self.record(record_id).created_on, now)

    def patch(self, record_id: str, changes: Json, now: str) -> Record:
        """The record with `changes` in it."""
        return self.put(record_id, patched(self.record(record_id), changes), now)

    def delete(self, record_id: str) -> Record:
        """Take the record away; what it was."""
        record = self.record(record_id)
        del self.records[record_id]
        return record

    def batch(self, batch: Batch, now: str) -> Batched:
        """All changes, in the order of the real API (deletes first), whatever their order in the request."""
        return self._all_or_nothing(
            lambda: Batched(
                deletes=[self.delete(_id_in(change)) for change in batch.deletes or ()],
                patches=[self.patch(_id_in(change), change, now) for change in batch.patches or ()],
                puts=[
                    self.put(_id_in(change), msgspec.convert(change, RecordBody), now) for change in batch.puts or ()
                ],
                posts=[self.add(body, now) for body in batch.posts or ()],
            )
        )

    def add_new(self, bodies: Sequence[RecordBody], now: str) -> int:
        """Add all `bodies` but those that are there already; how many were added."""

        def add() -> int:
            before = len(self.records)
            for body in bodies:
                try:
                    self.add(body, now)
                except Rejected as rejected:
                    if rejected.fault is not Fault.IDENTICAL_RECORD:
                        raise
            return len(self.records) - before

        return self._all_or_nothing(add)

    def _keep(self, body: RecordBody, record_id: str, created_on: str, now: str) -> Record:
        record = compose(body, zone=self.zone.name, record_id=record_id, created_on=created_on, now=now)
        check_conflicts(record, self.records.values())
        self.records[record_id] = record
        return record

    def _all_or_nothing(self, work: Callable[[], Result]) -> Result:
        before = dict(self.records)
        try:
            return work()
        except BaseException:
            self.records = before
            raise


def _id_in(change: Json) -> str:
    match change.get("id"):
        case str(record_id):
            return record_id
        case _:
            raise Rejected(Fault.INVALID_BODY, detail="a change in a batch names its record by `id`")
