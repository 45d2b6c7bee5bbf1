import re

import pytest

from gateway.demo.dataset import ACCOUNTS, RECORDS, USER, ZONES, Dataset, another_zone
from gateway.demo.fault import Fault, Rejected
from gateway.demo.zone import AccountRef, ZoneBody


def body(name: str, account: str = ACCOUNTS["Gamma Inc"]) -> ZoneBody:
    return ZoneBody(name=name, account=AccountRef(id=account))


def test_all_ids_are_32_hex_digits_and_none_comes_twice() -> None:
    ids = [USER, *ACCOUNTS.values(), *ZONES.values(), *RECORDS.values()]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch("[0-9a-f]{32}", each) for each in ids)


def test_three_zones_lie_in_two_accounts() -> None:
    assert [(zone.name, zone.id, zone.account.name, zone.status) for zone in Dataset().zones] == [
        ("alpha.example", ZONES["alpha.example"], "Alpha Ltd", "active"),
        ("beta.example", ZONES["beta.example"], "Alpha Ltd", "active"),
        ("gamma.example", ZONES["gamma.example"], "Gamma Inc", "active"),
    ]


@pytest.mark.parametrize("name", ZONES)
def test_each_zone_starts_with_the_named_records(name: str) -> None:
    records = Dataset().zone(ZONES[name]).records.values()
    assert {record.type for record in records} == {"A", "AAAA", "CNAME", "MX", "TXT"}
    assert all(RECORDS[f"{record.type} {record.name}"] == record.id for record in records)


def test_two_datasets_share_nothing() -> None:
    one, other = Dataset(), Dataset()
    one.delete_zone(ZONES["alpha.example"])
    assert len(other.zones) == 3


def test_a_new_zone_is_pending_and_can_be_found() -> None:
    data = Dataset()
    zone = data.create_zone(body("Delta.Example."), "now").zone
    assert (zone.name, zone.status, zone.account.name) == ("delta.example", "pending", "Gamma Inc")
    assert data.zone(zone.id).zone == zone


@pytest.mark.parametrize(
    ("asked", "fault"),
    [
        pytest.param(body("alpha.example"), Fault.ZONE_EXISTS, id="there already"),
        pytest.param(body("example"), Fault.ZONE_NAME, id="one label"),
        pytest.param(body("a b.example"), Fault.ZONE_NAME, id="no name"),
        pytest.param(body("delta.example", "0" * 32), Fault.ZONE_ACCOUNT, id="no such account"),
    ],
)
def test_a_zone_that_cannot_be_is_refused(asked: ZoneBody, fault: Fault) -> None:
    with pytest.raises(Rejected) as rejected:
        Dataset().create_zone(asked, "now")
    assert rejected.value.fault is fault


def test_unknown_ids_are_no_route() -> None:
    data = Dataset()
    for find in (data.zone, data.account, data.profile, data.delete_zone):
        with pytest.raises(Rejected) as rejected:
            find("0" * 32)
        assert rejected.value.fault is Fault.NO_ROUTE


def test_an_edited_profile_stays_edited() -> None:
    data = Dataset()
    data.edit_profile(USER, {"city": "Elsewhere"}, "now")
    assert data.profile(USER)["city"] == "Elsewhere"


def test_the_user_belongs_to_both_accounts() -> None:
    assert str(Dataset().user["organizations"]).count("'status': 'member'") == 2


def test_there_may_be_as_many_more_zones_as_a_test_needs() -> None:
    data = Dataset(more_zones=497)
    assert len({zone.id for zone in data.zones}) == 500
    name, zone_id, account_id = another_zone(496)
    zone = data.zone(zone_id).zone
    assert (zone.name, zone.account.id) == (name, account_id)
    assert {account_id for _, _, account_id in map(another_zone, range(497))} == set(ACCOUNTS.values())
