"""All of it without a mouse."""

import pytest
from playwright.sync_api import expect
from support.dashboard import Dashboard, dns_policy
from support.processes import Gateway

from gateway.demo.dataset import ZONES

POLICIES = [dns_policy(ZONES["alpha.example"])]


@pytest.fixture
def listed(inside: Dashboard, gateway: Gateway) -> Dashboard:
    if inside.row("by keys").count() == 0:
        gateway.create(name="by keys", policies=POLICIES)
        inside.page.reload()
    inside.button("Actions for by keys").wait_for()
    return inside


@pytest.mark.parametrize(
    ("keys", "entry"),
    [
        pytest.param(["Enter"], "View", id="opened, at the first"),
        pytest.param(["ArrowDown"], "View", id="opened with the arrow"),
        pytest.param(["ArrowUp"], "Delete", id="opened from below, at the last"),
        pytest.param(["Enter", "ArrowDown", "ArrowDown"], "Roll", id="down"),
        pytest.param(["Enter", "ArrowUp"], "Delete", id="up from the first"),
        pytest.param(["ArrowUp", "ArrowDown"], "View", id="down from the last"),
        pytest.param(["Enter", "End"], "Delete", id="to the end"),
        pytest.param(["ArrowUp", "Home"], "View", id="to the beginning"),
        pytest.param(["Enter", "r"], "Roll", id="by its letter"),
    ],
)
def test_keys_move_in_the_menu(listed: Dashboard, keys: list[str], entry: str) -> None:
    listed.button("Actions for by keys").focus()
    for key in keys:
        listed.page.keyboard.press(key)
    expect(listed.page.get_by_role("menuitem", name=entry, exact=True)).to_be_focused()


def test_escape_closes_the_menu_and_gives_the_focus_back(listed: Dashboard) -> None:
    button = listed.button("Actions for by keys")
    button.focus()
    listed.page.keyboard.press("Enter")
    expect(button).to_have_attribute("aria-expanded", "true")
    listed.page.keyboard.press("Escape")
    expect(listed.page.get_by_role("menu")).to_have_count(0)
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(button).to_be_focused()


@pytest.mark.parametrize("entry", ["Roll", "Disable", "Delete"])
def test_escape_cancels_a_dialog_and_gives_the_focus_back(listed: Dashboard, gateway: Gateway, entry: str) -> None:
    before = gateway.call("GET", "/user/tokens").json()["result"]
    listed.button("Actions for by keys").focus()
    listed.page.keyboard.press("Enter")
    for _ in range(["View", "Edit", "Roll", "Disable", "Delete"].index(entry)):
        listed.page.keyboard.press("ArrowDown")
    listed.page.keyboard.press("Enter")
    dialog = listed.page.get_by_role("dialog", name=f"{entry} token")
    expect(dialog).to_be_visible()
    listed.page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(listed.button("Actions for by keys")).to_be_focused()
    after = gateway.call("GET", "/user/tokens").json()["result"]
    assert [(one["id"], one["status"]) for one in after] == [(one["id"], one["status"]) for one in before]


def test_a_token_is_made_with_keys_alone(inside: Dashboard) -> None:
    keyboard = inside.page.keyboard
    link = inside.main.get_by_role("link", name="Create token")
    link.focus()
    keyboard.press("Enter")
    inside.button("Use template Edit zone DNS").focus()
    keyboard.press("Enter")
    inside.textbox("Token name").focus()
    keyboard.press("ControlOrMeta+a")
    keyboard.type("typed")
    inside.group("Zone resources").get_by_role("combobox", name="Zone", exact=True).focus()
    keyboard.type("alpha")
    inside.textbox("Token name").focus()
    keyboard.press("Enter")
    inside.heading("Summary").wait_for()
    inside.button("Create token").focus()
    keyboard.press("Enter")
    expect(inside.textbox("Token secret")).to_be_visible()


def test_the_first_stop_leads_past_the_bar(inside: Dashboard) -> None:
    inside.page.reload()
    inside.page.get_by_role("table").wait_for()
    inside.page.evaluate("document.activeElement.blur()")
    inside.page.get_by_role("link", name="Skip to the contents").focus()
    inside.page.keyboard.press("Enter")
    expect(inside.main).to_be_focused()


def test_a_new_page_is_announced_by_its_heading(inside: Dashboard) -> None:
    for place in ("Report", "Explain"):
        inside.page.get_by_role("link", name=place, exact=True).click()
        expect(inside.heading(place)).to_be_focused()
        expect(inside.page).to_have_title(f"{place} · Zonegate")
