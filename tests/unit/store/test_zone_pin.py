import msgspec

from gateway.store.zone_pin import PIN_SCHEMA, ZonePin

PIN = ZonePin(PIN_SCHEMA, "powerdns", "alpha.example.", "c" * 32, "alpha.example", 1_800_000_000)


def test_a_pin_is_named_by_its_api_and_its_zone() -> None:
    assert PIN.key == "powerdns:alpha.example."


def test_a_pin_is_stored_as_json_under_names_that_do_not_change() -> None:
    stored = msgspec.json.encode(PIN)
    assert msgspec.json.decode(stored) == {
        "schema": 1,
        "api": "powerdns",
        "zone": "alpha.example.",
        "account": "c" * 32,
        "name": "alpha.example",
        "modified_on": 1_800_000_000,
    }
    assert msgspec.json.decode(stored, type=ZonePin) == PIN
