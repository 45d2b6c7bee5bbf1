from typing import Any

import msgspec
import pytest

from gateway.demo.dataset import RECORDS, ZONES, Dataset
from gateway.demo.fault import Fault, Rejected
from gateway.demo.record import RecordBody
from gateway.demo.zone import Batch, HostedZone, ZoneChanges

WWW = RECORDS["A www.alpha.example"]
MAIL = RECORDS["A mail.alpha.example"]
NEW = RecordBody(type="A", name="new", content="192.0.2.99")


@pytest.fixture
def alpha() -> HostedZone:
    return Dataset().zone(ZONES["alpha.example"])


def test_an_edit_changes_what_it_names(alpha: HostedZone) -> None:
    before = alpha.zone
    after = alpha.edit(ZoneChanges(paused=True), "now")
    assert (after.paused, after.type, after.modified_on) == (True, before.type, "now")


def test_a_record_keeps_its_id_and_age_through_put_and_patch(alpha: HostedZone) -> None:
    before = alpha.record(WWW)
    put = alpha.put(WWW, RecordBody(type="A", name="www", content="192.0.2.5"), "later")
    assert (put.id, put.created_on, put.modified_on, put.comment) == (WWW, before.created_on, "later", None)
    patch = alpha.patch(WWW, {"ttl": 120}, "last")
    assert (patch.id, patch.content, patch.ttl, patch.created_on) == (
        WWW,
        "192.0.2.5",
        120,
        before.created_on,
    )


def test_a_deleted_record_is_gone(alpha: HostedZone) -> None:
    assert alpha.delete(WWW).id == WWW
    with pytest.raises(Rejected) as rejected:
        alpha.record(WWW)
    assert rejected.value.fault is Fault.NO_RECORD


def test_a_batch_deletes_first_and_creates_last(alpha: HostedZone) -> None:
    moved = RecordBody(type="CNAME", name="www", content="mail.alpha.example")
    done = alpha.batch(
        Batch(
            posts=[moved],  # stands in the way of the A record, which the same batch deletes
            puts=[{"id": RECORDS["TXT alpha.example"], "type": "TXT", "name": "@", "content": "v=spf1 -all"}],
            patches=[{"id": MAIL, "ttl": 60}],
            deletes=[{"id": WWW}],
        ),
        "now",
    )
    assert [record.id for record in (*done.deletes, *done.patches)] == [WWW, MAIL]
    assert done.puts[0].content == "v=spf1 -all"
    assert alpha.record(done.posts[0].id).type == "CNAME"


@pytest.mark.parametrize(
    ("last", "fault"),
    [
        pytest.param({"puts": [{"id": "0" * 32, "type": "A"}]}, None, id="incomplete"),
        pytest.param({"patches": [{"id": "0" * 32}]}, Fault.NO_RECORD, id="unknown record"),
        pytest.param({"patches": [{"ttl": 60}]}, Fault.INVALID_BODY, id="no id"),
        pytest.param({"posts": [NEW, NEW]}, Fault.IDENTICAL_RECORD, id="the same twice"),
    ],
)
def test_a_batch_is_done_whole_or_not_at_all(alpha: HostedZone, last: dict[str, Any], fault: Fault | None) -> None:
    before = dict(alpha.records)
    with pytest.raises((Rejected, msgspec.ValidationError)) as raised:
        alpha.batch(Batch(deletes=[{"id": WWW}], **last), "now")
    assert getattr(raised.value, "fault", None) is fault
    assert alpha.records == before


def test_an_import_passes_over_what_is_there_already(alpha: HostedZone) -> None:
    there = RecordBody(type="A", name="mail", content="192.0.2.12")
    assert alpha.add_new([there, NEW], "now") == 1


def test_an_import_with_one_bad_record_adds_none(alpha: HostedZone) -> None:
    before = dict(alpha.records)
    with pytest.raises(Rejected):
        alpha.add_new([NEW, RecordBody(type="A", name="bad", content="?")], "now")
    assert alpha.records == before


def test_a_signed_zone_tells_what_the_registry_needs(alpha: HostedZone) -> None:
    assert alpha.dnssec() == {"status": "disabled"}
    alpha.signed = True
    assert alpha.dnssec()["status"] == "active"
    assert str(alpha.dnssec()["ds"]).startswith("alpha.example. 3600 IN DS ")
