"""The dashboard in a real browser: Debian's Chromium, headless, by Playwright."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Locator, Page, Request, expect, sync_playwright

from support.processes import Gateway

WIDE = {"width": 1280, "height": 860}
NARROW = {"width": 360, "height": 740}
DNS_WRITE = "4755a26eedb94da69e1066d98aa820be"
ZONE = "com.cloudflare.api.account.zone"
CHANGES = ("POST", "PUT", "PATCH", "DELETE")


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The browser. Fails where there is none."""
    program = shutil.which("chromium")
    assert program, "chromium is missing: apt-get install chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        try:
            yield browser
        finally:
            browser.close()


class Dashboard:
    """A page of the dashboard of `gateway`, and what went wrong in it or left it."""

    def __init__(self, context: BrowserContext, gateway: Gateway) -> None:
        self.context = context
        self.gateway = gateway
        self.page: Page = context.new_page()
        self.page.set_default_timeout(15_000)
        self.complaints: list[str] = []
        self.requests: list[Request] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"native dialog {dialog.type}"))
        self.page.on("console", self._console)
        self.page.on("request", lambda request: self.requests.append(request))  # noqa: PLW0108 - Playwright marks what it is given

    def _console(self, message: Any) -> None:
        # Chromium writes an error for each answer of 400 and above; those are the tests' subject.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    @property
    def main(self) -> Locator:
        return self.page.get_by_role("main")

    def open(self, place: str = "") -> None:
        """The page at `place` (the part behind #)."""
        self.page.goto(f"{self.gateway.admin_url}/dashboard/{place}")

    def sign_in(self, secret: str | None = None) -> None:
        """Sign in, with the first token unless another is named, and see the list."""
        self.open()
        self.button("Sign in").wait_for()
        self.textbox("API token").fill(secret or self.gateway.first)
        self.button("Sign in").click()
        self.heading("API tokens").wait_for()
        self.page.get_by_role("table").wait_for()

    def heading(self, name: str) -> Locator:
        return self.main.get_by_role("heading", name=name, exact=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    def textbox(self, name: str) -> Locator:
        return self.main.get_by_role("textbox", name=name, exact=True)

    def group(self, name: str) -> Locator:
        return self.main.get_by_role("group", name=name, exact=True)

    def choose(self, group: str, name: str, label: str, row: int = 0) -> None:
        """Take `label` in a row's combobox `name`."""
        self.group(group).get_by_role("combobox", name=name, exact=True).nth(row).select_option(label=label)

    def start(self, template: str | None = "Edit zone DNS") -> None:
        """The form, out of a template or empty."""
        self.open("#/")
        self.main.get_by_role("link", name="Create token").click()
        self.button(f"Use template {template}" if template else "Create custom token").click()
        self.textbox("Token name").wait_for()

    def go_on(self) -> None:
        """From the form to its summary."""
        self.button("Continue to summary").click()
        self.heading("Summary").wait_for()

    def create(self) -> str:
        """From the summary to the secret."""
        self.button("Create token").click()
        self.textbox("Token secret").wait_for()
        return self.textbox("Token secret").input_value()

    def row(self, name: str) -> Locator:
        return self.main.get_by_role("row").filter(has=self.button(f"Actions for {name}"))

    def act(self, name: str, entry: str) -> None:
        """Open the menu of the token `name`, and take `entry`."""
        self.button(f"Actions for {name}").click()
        self.page.get_by_role("menuitem", name=entry, exact=True).click()

    def confirm(self, dialog: str) -> None:
        box = self.page.get_by_role("dialog", name=dialog, exact=True)
        box.get_by_role("button", name="Confirm", exact=True).click()
        expect(box).to_have_count(0)


@contextlib.contextmanager
def visiting(browser: Browser, gateway: Gateway, **options: Any) -> Iterator[Dashboard]:
    """A browser's window that has not been here before. What its console complains of fails the test."""
    context = browser.new_context(**{"viewport": WIDE, **options})
    try:
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        dashboard = Dashboard(context, gateway)
        yield dashboard
        assert not dashboard.complaints, dashboard.complaints
    finally:
        context.close()


def dns_policy(*zones: str) -> dict[str, Any]:
    """Edit the DNS of `zones`, by id."""
    return {
        "effect": "allow",
        "permission_groups": [{"id": DNS_WRITE}],
        "resources": {f"{ZONE}.{zone}": "*" for zone in zones},
    }
