"""Pictures of each page of the dashboard: `python tests/browser/screenshots.py DIRECTORY [DOCUMENTATION]`.

Light and dark, wide and narrow, of a gateway that is started for it, with tokens as a company might have them. The few
that the documentation shows go into the second directory, small enough to be committed.
"""

import base64
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from playwright.sync_api import Browser, expect
from support.dashboard import NARROW, WIDE, ZONE, Dashboard, chromium, dns_policy, visiting
from support.processes import Gateway, running, until

from gateway.demo.dataset import ACCOUNTS, ZONES

SHOWN = ("list", "summary", "token")
"""What the documentation shows: wide and light."""
_WEBP = """async (png) => {
  const image = new Image();
  image.src = png;
  await image.decode();
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").drawImage(image, 0, 0);
  const file = await canvas.convertToBlob({ type: "image/webp", quality: 0.8 });
  return new Promise((done) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.readAsDataURL(file);
  });
}"""

ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]


def fill(gateway: Gateway) -> str:
    """The gateway has some tokens, one of them with a history. Returns its id."""
    groups = {
        (group["name"], scope): {"id": group["id"]}
        for group in gateway.call("GET", "/user/tokens/permission_groups").json()["result"]
        for scope in group["scopes"]
    }

    def policy(effect: str, scope: str, resources: dict[str, Any], *names: str) -> dict[str, Any]:
        return {"effect": effect, "permission_groups": [groups[name, scope] for name in names], "resources": resources}

    account = ZONE.removesuffix(".zone")
    gateway.create(
        name="Invoices for the bookkeeper",
        policies=[policy("allow", account, {f"{account}.{ACCOUNTS['Alpha Ltd']}": "*"}, "Billing Read")],
        condition={"request_ip": {"in": ["192.0.2.0/24"]}},
        expires_on="2030-12-31T00:00:00Z",
    )
    gateway.create(
        name="external-dns in the cluster",
        policies=[
            policy("allow", ZONE, {f"{ZONE}.*": "*"}, "DNS Write", "Zone Read"),
            policy("deny", ZONE, {f"{ZONE}.{ZONES['gamma.example']}": "*"}, "DNS Write", "DNS Read", "Zone Read"),
        ],
    )
    old = gateway.create(name="Trial of the old panel", policies=[dns_policy(BETA)])
    body = {"name": old["name"], "policies": old["policies"], "status": "disabled"}
    gateway.call("PUT", f"/user/tokens/{old['id']}", json=body)
    used = gateway.create(name="certbot on www", policies=[dns_policy(ALPHA, BETA)], expires_on="2030-06-30T00:00:00Z")
    for path in [f"/zones/{ALPHA}/dns_records"] * 24 + [f"/zones/{BETA}/dns_records"] * 7 + [f"/zones/{ALPHA}"] * 3:
        gateway.call("GET", path, used["value"])
    found = f"/user/tokens/{used['id']}"
    until("its use is written", lambda: gateway.call("GET", found).json()["result"].get("usage"))
    return str(used["id"])


def picture(browser: Browser, gateway: Gateway, used: str, options: dict[str, Any], to: Path) -> None:
    """One picture of each page, in the manner of `options`."""
    with visiting(browser, gateway, reduced_motion="reduce", **options) as dashboard:

        def take(name: str) -> None:
            dashboard.page.wait_for_load_state("networkidle")
            expect(dashboard.main.get_by_text("Loading…")).to_have_count(0)
            dashboard.page.mouse.move(0, 0)
            dashboard.page.evaluate("document.getElementById('told').replaceChildren()")
            dashboard.page.screenshot(path=to / f"{name}.png", full_page=True)

        dashboard.open()
        dashboard.heading("Sign in").wait_for()
        take("sign-in")
        dashboard.sign_in()
        take("list")
        dashboard.button("Actions for certbot on www").click()
        take("menu")
        dashboard.page.get_by_role("menuitem", name="Roll").click()
        take("roll")
        dashboard.page.keyboard.press("Escape")
        _create(dashboard, take)
        dashboard.open(f"#/tokens/{used}")
        dashboard.heading("certbot on www").wait_for()
        take("token")
        dashboard.open(f"#/explain/{used}")
        dashboard.textbox("Path").fill(f"/client/v4/zones/{ZONES['gamma.example']}/dns_records")
        dashboard.button("Explain").click()
        dashboard.main.get_by_role("region", name="Decision").wait_for()
        take("explain")
        dashboard.open("#/report")
        dashboard.main.get_by_role("region", name="Unused tokens").get_by_role("spinbutton").fill("0")
        take("report")


def _create(dashboard: Dashboard, take: Any) -> None:
    dashboard.open("#/new")
    dashboard.button("Create custom token").wait_for()
    take("choice")
    dashboard.button("Use template Edit zone DNS").click()
    dashboard.textbox("Token name").fill("lego on the mail server")
    dashboard.choose("Zone resources", "Zone", "alpha.example")
    addresses = dashboard.group("Client IP address filtering").get_by_role("textbox", name="Addresses")
    addresses.fill("300.1.1.1")
    dashboard.button("Continue to summary").click()
    dashboard.main.locator("[aria-invalid]").wait_for()
    take("form-with-a-fault")
    addresses.fill("192.0.2.7, 2001:db8::7")
    dashboard.textbox("End date").fill("2030-01-03")
    take("form")
    dashboard.go_on()
    take("summary")
    # The list is the same in each manner: the token that is made for its picture goes again.
    dashboard.create()
    take("secret")
    dashboard.open("#/")
    dashboard.act("lego on the mail server", "Delete")
    dashboard.confirm("Delete token")


def shrink(browser: Browser, pictures: Path, to: Path) -> None:
    """Those of `pictures` that the documentation shows are in `to`, as WebP: the browser can make it, too."""
    to.mkdir(parents=True, exist_ok=True)
    page = browser.new_page()
    for name in SHOWN:
        png = base64.b64encode((pictures / f"{name}.png").read_bytes()).decode()
        webp = page.evaluate(_WEBP, f"data:image/png;base64,{png}")
        (to / f"dashboard-{name}.webp").write_bytes(base64.b64decode(webp.partition(",")[2]))
    page.close()


def main(directory: Path, documentation: Path | None = None) -> None:
    """`directory` has the pictures, one folder for each manner, and `documentation` those that it shows."""
    manners = product(("light", "dark"), {"wide": WIDE, "narrow": NARROW}.items())
    with (
        tempfile.TemporaryDirectory() as place,
        running(Path(place)) as (gateway, _),
        chromium() as browser,
    ):
        used = fill(gateway)
        for scheme, (width, size) in manners:
            to = directory / f"{scheme}-{width}"
            to.mkdir(parents=True, exist_ok=True)
            picture(browser, gateway, used, {"color_scheme": scheme, "viewport": size}, to)
        if documentation:
            shrink(browser, directory / "light-wide", documentation)
    sys.stdout.write(f"pictures are in {directory}\n")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
