"""axe-core's rules find nothing on any page, light and dark, wide and narrow; nothing is wider than the window."""

from collections.abc import Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, ViewportSize
from support.dashboard import NARROW, WIDE, Dashboard, dns_policy, visiting
from support.processes import Gateway

from gateway.demo.dataset import ZONES


@pytest.fixture(
    params=[pytest.param(("light", WIDE), id="light and wide"), pytest.param(("dark", NARROW), id="dark and narrow")]
)
def looked_at(browser: Browser, gateway: Gateway, request: pytest.FixtureRequest) -> Iterator[Dashboard]:
    scheme: str
    size: ViewportSize
    scheme, size = request.param
    with visiting(browser, gateway, color_scheme=scheme, viewport=size, reduced_motion="reduce") as found:
        yield found


def faults(dashboard: Dashboard) -> list[Any]:
    """What is wrong with the page as it is."""
    results = Axe().run(dashboard.page)
    assert dashboard.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert results.response["passes"]
    return [(one["id"], [node["html"] for node in one["nodes"]]) for one in results.response["violations"]]


def test_no_page_breaks_a_rule(looked_at: Dashboard, gateway: Gateway) -> None:
    pages: dict[str, list[Any]] = {}
    looked_at.open()
    looked_at.heading("Sign in").wait_for()
    pages["sign in"] = faults(looked_at)
    looked_at.textbox("API token").fill("junk")
    looked_at.button("Sign in").click()
    looked_at.page.get_by_role("alert").wait_for()
    pages["refused"] = faults(looked_at)

    made = gateway.create(name="looked at", policies=[dns_policy(ZONES["alpha.example"])])
    gateway.create(name="ends soon", policies=[dns_policy(ZONES["beta.example"])], expires_on="2030-01-01T00:00:00Z")
    gateway.call(
        "PUT",
        f"/user/tokens/{made['id']}",
        json={"name": "looked at", "policies": made["policies"], "status": "disabled"},
    )
    looked_at.sign_in()
    pages["list"] = faults(looked_at)
    looked_at.button("Actions for looked at").first.click()
    pages["menu"] = faults(looked_at)
    looked_at.page.get_by_role("menuitem", name="Roll").click()
    pages["dialog"] = faults(looked_at)
    looked_at.page.keyboard.press("Escape")

    looked_at.open("#/new")
    looked_at.button("Create custom token").wait_for()
    pages["choice"] = faults(looked_at)
    looked_at.start()
    looked_at.button("Continue to summary").click()
    looked_at.main.locator("[aria-invalid]").wait_for()
    pages["form"] = faults(looked_at)
    looked_at.choose("Zone resources", "Zone", "alpha.example")
    looked_at.go_on()
    pages["summary"] = faults(looked_at)
    looked_at.create()
    pages["secret"] = faults(looked_at)
    looked_at.open(f"#/tokens/{made['id']}")
    looked_at.heading("looked at").wait_for()
    looked_at.page.wait_for_load_state("networkidle")
    pages["token"] = faults(looked_at)
    looked_at.open(f"#/explain/{made['id']}")
    looked_at.button("Explain").click()
    looked_at.main.get_by_role("region", name="Decision").wait_for()
    pages["explain"] = faults(looked_at)
    looked_at.open("#/report")
    looked_at.main.get_by_text("tokens checked", exact=False).first.wait_for()
    pages["report"] = faults(looked_at)
    assert {name: found for name, found in pages.items() if found} == {}
