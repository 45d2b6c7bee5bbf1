"""Signing in, signing out, and what a session's end does to the page."""

import pytest
from playwright.sync_api import expect
from support.dashboard import Dashboard, dns_policy
from support.processes import Gateway

from gateway.demo.dataset import ZONES

ALPHA = ZONES["alpha.example"]
DNS = [dns_policy(ALPHA)]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        pytest.param("nothing", "Paste a token first", id="nothing"),
        pytest.param("junk", "This is not an API token", id="junk"),
        pytest.param("unknown", "Invalid API Token", id="a secret of nobody's"),
        pytest.param("weak", "cannot sign in here", id="a token without rights on tokens"),
    ],
)
def test_who_may_not_sign_in_is_told_why(dashboard: Dashboard, gateway: Gateway, kind: str, message: str) -> None:
    secret = {"nothing": "", "junk": "correct horse", "unknown": "", "weak": ""}[kind]
    if kind == "weak":
        secret = gateway.create(name="weak", policies=DNS)["value"]
    if kind == "unknown":
        gone = gateway.create(name="gone", policies=DNS)
        gateway.call("DELETE", f"/user/tokens/{gone['id']}")
        secret = gone["value"]
    dashboard.open()
    dashboard.textbox("API token").fill(secret)
    dashboard.button("Sign in").click()
    expect(dashboard.page.get_by_role("alert")).to_contain_text(message)
    expect(dashboard.heading("Sign in")).to_be_visible()


def test_signing_out_ends_the_session_and_not_only_the_page(inside: Dashboard) -> None:
    cookies = inside.context.cookies()
    inside.button("Sign out").click()
    expect(inside.heading("Sign in")).to_be_visible()
    inside.context.add_cookies(cookies)
    inside.page.reload()
    expect(inside.heading("Sign in")).to_be_visible()


def test_an_ended_session_asks_to_sign_in_and_the_form_keeps_its_input(inside: Dashboard) -> None:
    inside.start()
    inside.textbox("Token name").fill("longer than a session")
    inside.choose("Zone resources", "Zone", "alpha.example")
    inside.context.clear_cookies()
    inside.button("Continue to summary").click()
    expect(inside.heading("Sign in")).to_be_visible()
    expect(inside.main).to_contain_text("Your session has ended")
    inside.textbox("API token").fill(inside.gateway.first)
    inside.button("Sign in").click()
    expect(inside.textbox("Token name")).to_have_value("longer than a session")
    inside.go_on()
    inside.create()


@pytest.mark.parametrize("entry", ["Disable", "Delete", "Roll"])
def test_a_dialog_in_an_ended_session_changes_nothing(inside: Dashboard, gateway: Gateway, entry: str) -> None:
    secret = gateway.create(name=f"not {entry}", policies=DNS)["value"]
    inside.page.reload()
    inside.act(f"not {entry}", entry)
    inside.context.clear_cookies()
    inside.confirm(f"{entry} token")
    expect(inside.heading("Sign in")).to_be_visible()
    assert gateway.call("GET", "/user/tokens/verify", secret).status_code == 200


def test_the_session_of_a_rolled_token_is_dead(inside: Dashboard, gateway: Gateway) -> None:
    groups = gateway.call("GET", "/user/tokens").json()["result"][0]
    made = gateway.create(name="signs in", policies=groups["policies"])
    inside.button("Sign out").click()
    inside.sign_in(made["value"])
    gateway.call("PUT", f"/user/tokens/{made['id']}/value", json={})
    inside.page.get_by_role("link", name="Report").click()
    expect(inside.heading("Sign in")).to_be_visible()


def test_a_session_that_was_begun_anew_in_another_window_goes_on_in_this_one(
    inside: Dashboard, gateway: Gateway
) -> None:
    gateway.create(name="two windows", policies=DNS)
    inside.page.reload()
    other = Dashboard(inside.context, gateway)
    other.open()
    other.button("Sign out").click()
    other.sign_in()
    inside.act("two windows", "Disable")
    inside.confirm("Disable token")
    expect(inside.row("two windows")).to_contain_text("Disabled")


def test_without_javascript_there_is_a_notice(dashboard: Dashboard) -> None:
    browser = dashboard.context.browser
    assert browser
    plain = browser.new_context(java_script_enabled=False)
    page = plain.new_page()
    page.goto(f"{dashboard.gateway.admin_url}/dashboard/")
    expect(page.get_by_role("heading", name="JavaScript is off")).to_be_visible()
    plain.close()
