"""What is wrong is told beside its field, and nothing that was typed is lost."""

import os
import signal
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect
from support.dashboard import Dashboard
from support.processes import Gateway, until

from gateway.demo.dataset import ZONES

Spoil = Callable[[Dashboard], Locator]


def no_name(form: Dashboard) -> Locator:
    form.textbox("Token name").fill("  ")
    return form.textbox("Token name")


def long_name(form: Dashboard) -> Locator:
    form.textbox("Token name").fill("n" * 121)
    return form.textbox("Token name")


def bad_address(form: Dashboard) -> Locator:
    filters = form.group("Client IP address filtering")
    filters.get_by_role("button", name="Add IP filter").click()
    filters.get_by_role("textbox", name="Addresses").nth(0).fill("192.0.2.1")
    second = filters.get_by_role("textbox", name="Addresses").nth(1)
    second.fill("198.51.100.0/24\n300.1.1.1")
    return second


def no_zone(form: Dashboard) -> Locator:
    form.group("Zone resources").get_by_role("button", name="Add zone resource").click()
    return form.group("Zone resources").get_by_role("combobox", name="Zone", exact=True).nth(1)


def only_excluded(form: Dashboard) -> Locator:
    form.choose("Zone resources", "Include or exclude", "Exclude")
    return form.group("Zone resources").get_by_role("combobox", name="Include or exclude")


def no_group(form: Dashboard) -> Locator:
    form.group("Permissions").get_by_role("button", name="Add permission").click()
    return form.group("Permissions").get_by_role("combobox", name="Permission group").nth(1)


def no_account(form: Dashboard) -> Locator:
    form.choose("Zone resources", "Zones", "All zones from an account")
    return form.group("Zone resources").get_by_role("combobox", name="Account", exact=True)


def end_before_start(form: Dashboard) -> Locator:
    form.textbox("Start date").fill("2030-02-01")
    form.textbox("End date").fill("2030-01-01")
    return form.textbox("End date")


def end_in_the_past(form: Dashboard) -> Locator:
    form.textbox("End date").fill("2020-01-01")
    return form.textbox("End date")


def half_a_limit(form: Dashboard) -> Locator:
    form.textbox("Requests").fill("1,200")
    return form.textbox("Period in seconds")


def limit_in_words(form: Dashboard) -> Locator:
    form.textbox("Requests").fill("many")
    form.textbox("Period in seconds").fill("60")
    return form.textbox("Requests")


def junk_for_an_id(form: Dashboard) -> Locator:
    form.group("Zone resources").get_by_role("button", name="Add zone resource").click()
    form.choose("Zone resources", "Zone", "Another one, by its id", 1)
    typed = form.group("Zone resources").get_by_role("textbox", name="Id of the zone")
    typed.fill("no id!")
    return typed


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(no_name, "Give the token a name", id="no name"),
        pytest.param(long_name, "120 characters", id="a name that is too long"),
        pytest.param(bad_address, "300.1.1.1: not an address", id="what is no address, in the second row"),
        pytest.param(no_zone, "Choose a zone", id="no zone, in the second row"),
        pytest.param(only_excluded, "Include at least one zone", id="nothing but exclusions"),
        pytest.param(no_group, "Choose a permission group", id="no permission group"),
        pytest.param(no_account, "Choose an account", id="no account"),
        pytest.param(end_before_start, "before the start date", id="an end before the start"),
        pytest.param(end_in_the_past, "in the past", id="an end in the past"),
        pytest.param(half_a_limit, "whole number from 1 to 2,592,000", id="requests without a period"),
        pytest.param(limit_in_words, "whole number from 1 to 1,000,000", id="requests that are no number"),
        pytest.param(junk_for_an_id, "Not a zone", id="what is no id, in the second row"),
    ],
)
def test_what_is_wrong_is_told_beside_its_field(inside: Dashboard, spoil: Spoil, message: str) -> None:
    inside.start()
    inside.choose("Zone resources", "Zone", "alpha.example")
    field = spoil(inside)
    inside.button("Continue to summary").click()
    expect(field).to_have_attribute("aria-invalid", "true")
    expect(field).to_be_focused()
    described = (field.get_attribute("aria-describedby") or "").split()
    texts = [inside.page.locator(f"#{one}") for one in described]
    assert any(message in text.inner_text() for text in texts if text.is_visible())
    expect(inside.main.locator("[aria-invalid]")).to_have_count(1)
    expect(inside.heading("Summary")).to_have_count(0)


def test_all_that_is_wrong_is_told_at_once(inside: Dashboard) -> None:
    inside.start()
    inside.textbox("Token name").fill("")
    addresses = inside.group("Client IP address filtering").get_by_role("textbox", name="Addresses")
    addresses.fill("300.1.1.1, 192.0.2.1/24 192.0.2.1")
    inside.textbox("End date").fill("2020-01-01")
    inside.button("Continue to summary").click()
    expect(addresses).to_have_attribute("aria-invalid", "true")
    expect(inside.group("Client IP address filtering")).to_contain_text("300.1.1.1: not an address")
    expect(inside.group("Client IP address filtering")).to_contain_text("192.0.2.1/24: host bits are set")
    wrong = [
        one.evaluate("field => field.labels[0].textContent") for one in inside.main.locator("[aria-invalid]").all()
    ]
    assert wrong == ["Token name", "Zone", "Addresses", "End date"]
    expect(inside.textbox("Token name")).to_be_focused()


def test_the_way_back_from_the_summary_finds_all_that_was_typed(inside: Dashboard) -> None:
    inside.start()
    inside.textbox("Token name").fill("there and back")
    inside.choose("Zone resources", "Zones", "All zones")
    inside.group("Client IP address filtering").get_by_role("combobox", name="Operator").select_option(
        label="Is not in"
    )
    inside.group("Client IP address filtering").get_by_role("textbox", name="Addresses").fill("192.0.2.1")
    inside.textbox("End date").fill("2030-01-03")
    inside.go_on()
    inside.button("Edit token").click()
    expect(inside.textbox("Token name")).to_have_value("there and back")
    expect(inside.group("Zone resources").get_by_role("combobox", name="Zones")).to_have_value("all")
    expect(inside.group("Client IP address filtering").get_by_role("textbox", name="Addresses")).to_have_value(
        "192.0.2.1"
    )
    expect(inside.group("Client IP address filtering").get_by_role("combobox", name="Operator")).to_have_value("not_in")
    expect(inside.textbox("End date")).to_have_value("2030-01-03")


def test_a_rate_limit_is_stored_shown_and_taken_away_again(inside: Dashboard, gateway: Gateway) -> None:
    inside.start()
    inside.textbox("Token name").fill("now and then")
    inside.choose("Zone resources", "Zone", "alpha.example")
    inside.group("Rate limit").get_by_role("textbox", name="Requests").fill("1,200")
    inside.group("Rate limit").get_by_role("textbox", name="Period in seconds").fill("300")
    inside.go_on()
    expect(inside.main).to_contain_text("1,200 requests in 300 seconds")
    inside.create()
    [token] = [one for one in gateway.call("GET", "/user/tokens").json()["result"] if one["name"] == "now and then"]
    assert token["limits"] == {"requests": 1200, "period": 300}

    inside.open(f"#/tokens/{token['id']}")
    expect(inside.main.get_by_role("region", name="Details")).to_contain_text("1,200 requests in 300 seconds")
    inside.open(f"#/tokens/{token['id']}/edit")
    expect(inside.textbox("Requests")).to_have_value("1200")
    inside.textbox("Requests").fill("")
    inside.textbox("Period in seconds").fill("")
    inside.go_on()
    inside.button("Save token").click()
    inside.heading("now and then").wait_for()
    assert "limits" not in gateway.call("GET", f"/user/tokens/{token['id']}").json()["result"]


def test_who_sees_no_zones_names_them_by_their_id(inside: Dashboard, gateway: Gateway) -> None:
    groups = gateway.call("GET", "/user/tokens/permission_groups").json()["result"]
    [write] = [group["id"] for group in groups if group["name"] == "API Tokens Write"]
    user = f"com.cloudflare.api.user.{gateway.call('GET', '/user/tokens').json()['result'][0]['owner']['id']}"
    policy = {"effect": "allow", "permission_groups": [{"id": write}], "resources": {user: "*"}}
    secret = gateway.create(name="sees no zones", policies=[policy])["value"]
    inside.button("Sign out").click()
    inside.sign_in(secret)
    inside.start()
    expect(inside.group("Zone resources")).to_contain_text("Not all of them could be listed")
    inside.choose("Zone resources", "Zone", "Another one, by its id")
    zone = ZONES["alpha.example"]
    inside.group("Zone resources").get_by_role("textbox", name="Id of the zone").fill(zone)
    inside.go_on()
    expect(inside.main).to_contain_text(zone)


def test_groups_of_resources_are_there_when_a_permission_of_their_scope_is(inside: Dashboard) -> None:
    inside.start(None)
    for scope, zones, accounts in (("Zone", 1, 0), ("Account", 0, 1), ("User", 0, 0)):
        inside.choose("Permissions", "Scope", scope)
        expect(inside.group("Zone resources")).to_have_count(zones)
        expect(inside.group("Account resources")).to_have_count(accounts)


def test_nobody_gives_what_he_has_not_got_and_the_form_keeps_its_input(inside: Dashboard, gateway: Gateway) -> None:
    groups = gateway.call("GET", "/user/tokens/permission_groups").json()["result"]
    [write] = [group["id"] for group in groups if group["name"] == "API Tokens Write"]
    [user] = {
        key
        for policy in gateway.call("GET", "/user/tokens").json()["result"][0]["policies"]
        for key in policy["resources"]
        if ".user." in key
    }
    policy = {"effect": "allow", "permission_groups": [{"id": write}], "resources": {user: "*"}}
    secret = gateway.create(name="makes tokens", policies=[policy])["value"]
    inside.button("Sign out").click()
    inside.sign_in(secret)
    inside.start()
    inside.textbox("Token name").fill("too much")
    inside.choose("Zone resources", "Zones", "All zones")
    inside.go_on()
    inside.button("Create token").click()
    zones = inside.group("Zone resources")
    expect(zones.get_by_role("combobox", name="Zones")).to_have_attribute("aria-invalid", "true")
    expect(zones).to_contain_text("Your token does not give DNS Edit on all zones")
    expect(inside.textbox("Token name")).to_have_value("too much")


def test_a_store_that_goes_away_takes_nothing_of_the_form(inside: Dashboard, gateway: Gateway) -> None:
    inside.start()
    inside.textbox("Token name").fill("kept over the outage")
    inside.choose("Zone resources", "Zone", "alpha.example")
    store = gateway.store_pid()
    os.kill(store, signal.SIGSTOP)
    try:
        inside.button("Continue to summary").click()
        expect(inside.page.get_by_role("alert").first).to_contain_text("store cannot be reached")
        expect(inside.textbox("Token name")).to_have_value("kept over the outage")
    finally:
        os.kill(store, signal.SIGCONT)
    until("the store is back", lambda: gateway.call("GET", "/user/tokens/verify").status_code == 200)
    inside.button("Continue to summary").click()
    expect(inside.heading("Summary")).to_be_visible()
    inside.create()
    tokens = gateway.call("GET", "/user/tokens").json()["result"]
    assert [token["name"] for token in tokens].count("kept over the outage") == 1
