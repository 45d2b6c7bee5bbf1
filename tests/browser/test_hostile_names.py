"""A token's name may be anything, and is never more than text."""

import pytest
from playwright.sync_api import expect
from support.dashboard import Dashboard, dns_policy
from support.processes import Gateway

from gateway.demo.dataset import ZONES

POLICIES = [dns_policy(ZONES["alpha.example"])]
NAMES = [
    pytest.param('<img src=x onerror="window.hit=1">', id="an image"),
    pytest.param("<script>window.hit=1</script>", id="a script"),
    pytest.param('"><svg/onload=window.hit=1>', id="out of an attribute"),
    pytest.param("javascript:window.hit=1", id="an address", marks=pytest.mark.deep),
    pytest.param("{{7*7}} ${7*7} &lt;b&gt;", id="templates and entities", marks=pytest.mark.deep),
    pytest.param("invoice\u202efdp.exe", id="right to left override"),
    pytest.param("\u2067abc\u2066def", id="isolates that are not ended", marks=pytest.mark.deep),
    pytest.param("חשבון כללי", id="Hebrew"),
    pytest.param("رمز الواجهة 123", id="Arabic", marks=pytest.mark.deep),
    pytest.param("証明書の更新 🔑", id="Japanese"),
    pytest.param("n" * 120, id="long"),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_text_on_every_page(inside: Dashboard, gateway: Gateway, name: str) -> None:
    made = gateway.create(name=name, policies=POLICIES)
    inside.page.evaluate("document.addEventListener('securitypolicyviolation', () => (window.hit = 2))")
    inside.open("#/report")
    inside.open("#/")
    row = inside.row(name)
    expect(row).to_have_count(1)
    assert row.locator("bdi").first.text_content() == name
    inside.act(name, "Delete")
    dialog = inside.page.get_by_role("dialog", name="Delete token")
    assert dialog.locator("bdi").first.text_content() == name
    dialog.get_by_role("button", name="Cancel").click()
    inside.open(f"#/tokens/{made['id']}")
    expect(inside.page.get_by_role("heading", level=1)).to_have_text(name)
    inside.open(f"#/tokens/{made['id']}/edit")
    expect(inside.textbox("Token name")).to_have_value(name)
    inside.go_on()
    assert inside.main.locator("dd bdi").first.text_content() == name
    assert inside.page.evaluate("window.hit") is None
    assert inside.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
