# ruff: noqa: D103 - a handler is what its path says
"""The endpoints of the real API that the gateway's policies front, below the base path.

A handler finds what the path names, reads the body, and wraps the result; a "no" is raised as `Rejected`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Final, TypeVar

import msgspec
from aiohttp import web

from gateway.demo import billing, zone_file
from gateway.demo.arrival import BODY
from gateway.demo.dataset import USER, Account, Dataset
from gateway.demo.envelope import answer
from gateway.demo.fault import Fault, Rejected
from gateway.demo.listing import Listing
from gateway.demo.record import PROXIABLE, Record, RecordBody
from gateway.demo.zone import Batch, HostedZone, Json, Zone, ZoneBody, ZoneChanges

DATASET: Final = web.AppKey("dataset", Dataset)
ROUTES: Final = web.RouteTableDef()
Body = TypeVar("Body")

_RECORDS: Final = Listing[Record](
    {
        "type": lambda record: record.type,
        "name": lambda record: record.name,
        "content": lambda record: record.content,
        "comment": lambda record: record.comment or "",
        "ttl": lambda record: record.ttl,
        "proxied": lambda record: record.proxied,
    },
    per_page=100,
    most=5000,
)
_ZONES: Final = Listing[Zone](
    {
        "name": lambda zone: zone.name,
        "status": lambda zone: zone.status,
        "type": lambda zone: zone.type,
        "account.id": lambda zone: zone.account.id,
        "account.name": lambda zone: zone.account.name,
    }
)
_ACCOUNTS: Final = Listing[Account]({"name": lambda account: account.name, "id": lambda account: account.id})
_BILLS: Final = Listing[billing.Bill](
    {
        "occurred_at": lambda bill: bill.occurred_at,
        "type": lambda bill: bill.type,
        "action": lambda bill: bill.action,
        "status": lambda bill: bill.status,
    }
)
_PURGES: Final = ("purge_everything", "files", "tags", "hosts", "prefixes")


@ROUTES.get("/zones")
async def list_zones(request: web.Request) -> web.Response:
    return answer(*_ZONES.page(request.app[DATASET].zones, request.query))


@ROUTES.post("/zones")
async def create_zone(request: web.Request) -> web.Response:
    return answer(request.app[DATASET].create_zone(_body(request, ZoneBody), _now()).zone)


@ROUTES.get("/zones/{zone_id}")
async def get_zone(request: web.Request) -> web.Response:
    return answer(_hosted(request).zone)


@ROUTES.patch("/zones/{zone_id}")
async def edit_zone(request: web.Request) -> web.Response:
    return answer(_hosted(request).edit(_body(request, ZoneChanges), _now()))


@ROUTES.delete("/zones/{zone_id}")
async def delete_zone(request: web.Request) -> web.Response:
    zone_id = request.match_info["zone_id"]
    request.app[DATASET].delete_zone(zone_id)
    return answer({"id": zone_id})


@ROUTES.post("/zones/{zone_id}/purge_cache")
async def purge_cache(request: web.Request) -> web.Response:
    hosted = _hosted(request)
    asked = _body(request, Json)
    if not any(asked.get(purge) for purge in _PURGES):
        raise Rejected(Fault.NOTHING_TO_PURGE)
    return answer({"id": hosted.zone.id})


@ROUTES.put("/zones/{zone_id}/activation_check")
async def check_activation(request: web.Request) -> web.Response:
    hosted = _hosted(request)
    hosted.activate(_now())
    return answer({"id": hosted.zone.id})


@ROUTES.get("/zones/{zone_id}/dnssec")
async def get_dnssec(request: web.Request) -> web.Response:
    return answer(_hosted(request).dnssec())


@ROUTES.patch("/zones/{zone_id}/dnssec")
async def edit_dnssec(request: web.Request) -> web.Response:
    hosted = _hosted(request)
    match _body(request, Json).get("status"):
        case "active" | "disabled" as status:
            hosted.signed = status == "active"
        case None:
            pass
        case _:
            raise Rejected(Fault.INVALID_BODY, detail="`status` is active or disabled")
    return answer(hosted.dnssec())


@ROUTES.delete("/zones/{zone_id}/dnssec")
async def delete_dnssec(request: web.Request) -> web.Response:
    hosted = _hosted(request)
    hosted.signed = False
    return answer(hosted.zone.id)


@ROUTES.get("/zones/{zone_id}/dns_records")
async def list_records(request: web.Request) -> web.Response:
    return answer(*_RECORDS.page(_hosted(request).records.values(), request.query))


@ROUTES.post("/zones/{zone_id}/dns_records")
async def create_record(request: web.Request) -> web.Response:
    return answer(_hosted(request).add(_body(request, RecordBody), _now()))


# aiohttp takes the first path that matches, so these four stand before the record's id.
@ROUTES.post("/zones/{zone_id}/dns_records/batch")
async def batch_records(request: web.Request) -> web.Response:
    return answer(_hosted(request).batch(_body(request, Batch), _now()))


@ROUTES.get("/zones/{zone_id}/dns_records/export")
async def export_records(request: web.Request) -> web.Response:
    hosted = _hosted(request)
    text = zone_file.render(hosted.zone.name, hosted.zone.name_servers, hosted.records.values())
    return web.Response(text=text, content_type="text/plain")


@ROUTES.post("/zones/{zone_id}/dns_records/import")
async def import_records(request: web.Request) -> web.Response:
    hosted = _hosted(request)
    form = _form(request)
    bodies = zone_file.parse(form.get("file", ""), hosted.zone.name)
    if form.get("proxied") == "true":
        bodies = [msgspec.structs.replace(body, proxied=body.type in PROXIABLE) for body in bodies]
    return answer({"recs_added": hosted.add_new(bodies, _now()), "total_records_parsed": len(bodies)})


@ROUTES.post("/zones/{zone_id}/dns_records/scan")
async def scan_records(request: web.Request) -> web.Response:
    _hosted(request)
    # There is no world outside the demo in which records could be found.
    return answer({"recs_added": 0, "total_records_parsed": 0})


@ROUTES.get("/zones/{zone_id}/dns_records/{record_id}")
async def get_record(request: web.Request) -> web.Response:
    return answer(_hosted(request).record(request.match_info["record_id"]))


@ROUTES.put("/zones/{zone_id}/dns_records/{record_id}")
async def put_record(request: web.Request) -> web.Response:
    return answer(_hosted(request).put(request.match_info["record_id"], _body(request, RecordBody), _now()))


@ROUTES.patch("/zones/{zone_id}/dns_records/{record_id}")
async def patch_record(request: web.Request) -> web.Response:
    return answer(_hosted(request).patch(request.match_info["record_id"], _body(request, Json), _now()))


@ROUTES.delete("/zones/{zone_id}/dns_records/{record_id}")
async def delete_record(request: web.Request) -> web.Response:
    return answer({"id": _hosted(request).delete(request.match_info["record_id"]).id})


@ROUTES.get("/user")
async def get_user(request: web.Request) -> web.Response:
    return answer(request.app[DATASET].user)


@ROUTES.get("/accounts")
async def list_accounts(request: web.Request) -> web.Response:
    return answer(*_ACCOUNTS.page(request.app[DATASET].accounts, request.query))


@ROUTES.get("/accounts/{account_id}")
async def get_account(request: web.Request) -> web.Response:
    return answer(_account(request))


@ROUTES.get("/accounts/{account_id}/billing/profile")
async def get_profile(request: web.Request) -> web.Response:
    return answer(request.app[DATASET].profile(_account(request).id))


@ROUTES.post("/accounts/{account_id}/billing/profile")
@ROUTES.put("/accounts/{account_id}/billing/profile")
async def edit_profile(request: web.Request) -> web.Response:
    return answer(request.app[DATASET].edit_profile(_account(request).id, _body(request, Json), _now()))


@ROUTES.get("/accounts/{account_id}/billing/history")
async def list_bills(request: web.Request) -> web.Response:
    return answer(*_BILLS.page(billing.bills(_account(request).id), request.query))


@ROUTES.get("/accounts/{account_id}/billing/credits")
async def get_credits(request: web.Request) -> web.Response:
    _account(request)
    return answer(billing.CREDITS)


@ROUTES.get("/accounts/{account_id}/billing/unpaid-invoice")
async def get_unpaid_invoice(request: web.Request) -> web.Response:
    return answer(billing.unpaid_invoice(_account(request).id))


@ROUTES.get("/accounts/{account_id}/billing/bad-debt")
async def get_bad_debt(request: web.Request) -> web.Response:
    _account(request)
    return answer(billing.BAD_DEBT)


@ROUTES.get("/accounts/{account_id}/billable/usage")
async def get_usage(request: web.Request) -> web.Response:
    return answer(billing.usage(_account(request).id))


@ROUTES.get("/user/billing/profile")
async def get_user_profile(request: web.Request) -> web.Response:
    return answer(request.app[DATASET].profile(USER))


@ROUTES.get("/user/billing/history")
async def list_user_bills(request: web.Request) -> web.Response:
    return answer(*_BILLS.page(billing.bills(USER), request.query))


@ROUTES.get("/billing/rate_plans/{public_key}")
async def get_rate_plan(request: web.Request) -> web.Response:
    key = request.match_info["public_key"]
    if key not in billing.RATE_PLANS:
        raise Rejected(Fault.NO_ROUTE, path=f"/billing/rate_plans/{key}")
    return answer(billing.RATE_PLANS[key])


def _hosted(request: web.Request) -> HostedZone:
    return request.app[DATASET].zone(request.match_info["zone_id"])


def _account(request: web.Request) -> Account:
    return request.app[DATASET].account(request.match_info["account_id"])


def _body(request: web.Request, kind: type[Body]) -> Body:
    return msgspec.json.decode(request[BODY], type=kind)


def _form(request: web.Request) -> Mapping[str, str]:
    # The standard library's parser: aiohttp's wants the stream, which was read on arrival.
    head = f"Content-Type: {request.headers.get('Content-Type', '')}\r\n\r\n"
    parts = message_from_bytes(head.encode("latin-1", "replace") + request[BODY])
    if not parts.is_multipart():
        raise Rejected(Fault.INVALID_BODY, detail="not multipart/form-data")
    return {
        str(part.get_param("name", header="content-disposition")): bytes(part.get_payload(decode=True)).decode(
            errors="replace"
        )
        for part in parts.walk()
        if not part.is_multipart()
    }


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")  # noqa: TID251 - the demo is no core
