"""What people do with tokens in the dashboard, from the template to the end."""

import json
import re
import subprocess
from typing import Any

import pytest
from playwright.sync_api import expect
from support.dashboard import CHANGES, DNS_WRITE, ZONE, Dashboard, dns_policy
from support.processes import Gateway

from gateway.demo.dataset import ACCOUNTS, USER, ZONES

ALPHA, BETA = ZONES["alpha.example"], ZONES["beta.example"]


def verify(gateway: Gateway, secret: str) -> int:
    return gateway.call("GET", "/user/tokens/verify", secret).status_code


def by_name(gateway: Gateway, name: str) -> dict[str, Any]:
    found = [
        token for token in gateway.call("GET", "/user/tokens?per_page=50").json()["result"] if token["name"] == name
    ]
    assert len(found) == 1
    token: dict[str, Any] = found[0]
    return token


def test_a_token_is_made_from_a_template_used_rolled_and_the_old_secret_is_refused(
    inside: Dashboard, gateway: Gateway
) -> None:
    inside.start()
    inside.textbox("Token name").fill("certbot on www")
    inside.choose("Zone resources", "Zone", "alpha.example")
    inside.group("Client IP address filtering").get_by_role("textbox", name="Addresses").fill("127.0.0.0/8, ::1")
    inside.textbox("End date").fill("2030-01-03")
    inside.go_on()
    for words in ("certbot on www", "DNS Edit", "alpha.example", "127.0.0.0/8", "3 January 2030"):
        expect(inside.main).to_contain_text(words)

    secret = inside.create()
    inside.button("Copy").click()
    assert inside.page.evaluate("navigator.clipboard.readText()") == secret
    line = inside.main.get_by_role("region", name="Test this token").locator("pre").inner_text()
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(answer.stdout)["result"]["status"] == "active"
    assert f"{gateway.url}/user/tokens/verify" in line

    inside.open("#/")
    row = inside.row("certbot on www")
    for words in ("DNS", "Edit", "alpha.example", "Active", "3 January 2030"):
        expect(row).to_contain_text(words)
    inside.act("certbot on www", "Roll")
    inside.confirm("Roll token")
    new = inside.textbox("Token secret").input_value()
    assert new != secret
    assert (verify(gateway, secret), verify(gateway, new)) == (401, 200)
    again = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20, check=True)
    assert json.loads(again.stdout)["errors"][0]["code"] == 1000

    inside.button("Sign out").click()
    inside.textbox("API token").fill(secret)
    inside.button("Sign in").click()
    expect(inside.page.get_by_role("alert")).to_contain_text("Invalid API Token")


def test_a_secret_is_shown_once_and_is_nowhere_after(inside: Dashboard) -> None:
    inside.start()
    inside.textbox("Token name").fill("shown once")
    inside.choose("Zone resources", "Zone", "alpha.example")
    inside.go_on()
    secret = inside.create()
    inside.open("#/")
    inside.page.get_by_role("table").wait_for()
    inside.page.go_back()
    inside.page.get_by_role("table").wait_for()
    assert secret not in inside.page.content()
    stored = inside.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert stored == '[{},{},""]'


def test_an_overlap_keeps_the_old_secret_beside_the_new_one(inside: Dashboard, gateway: Gateway) -> None:
    old = gateway.create(name="with an overlap", policies=[dns_policy(ALPHA)])["value"]
    inside.open("#/")
    inside.page.reload()
    inside.button("Actions for with an overlap").click()
    inside.page.get_by_role("menuitem", name="Roll").click()
    choices = inside.page.get_by_role("combobox", name="Old secret")
    expect(choices).to_have_value("0")
    choices.select_option(label="Works for 1 more hour")
    inside.confirm("Roll token")
    new = inside.textbox("Token secret").input_value()
    assert (verify(gateway, old), verify(gateway, new)) == (200, 200)


@pytest.mark.parametrize(
    ("steps", "policies"),
    [
        pytest.param(
            [
                ("Zones", "All zones", 0),
                ("add", "Add zone resource", 0),
                ("Include or exclude", "Exclude", 1),
                ("Zone", "beta.example", 0),
            ],
            [("allow", f"{ZONE}.*", "*"), ("deny", f"{ZONE}.{BETA}", "*")],
            id="all zones except one",
        ),
        pytest.param(
            [("Zones", "All zones from an account", 0), ("Account", "Alpha Ltd", 0)],
            [("allow", f"com.cloudflare.api.account.{ACCOUNTS['Alpha Ltd']}", {f"{ZONE}.*": "*"})],
            id="all zones of an account",
        ),
        pytest.param(
            [("Zone", "alpha.example", 0), ("add", "Add zone resource", 0), ("Zone", "beta.example", 1)],
            [("allow", f"{ZONE}.{ALPHA}", "*"), ("allow", f"{ZONE}.{BETA}", "*")],
            id="two zones",
        ),
    ],
)
def test_resources_are_stored_as_the_token_api_has_them(
    inside: Dashboard,
    gateway: Gateway,
    steps: list[tuple[str, str, int]],
    policies: list[tuple[str, str, Any]],
    request: pytest.FixtureRequest,
) -> None:
    name = request.node.callspec.id
    inside.start()
    inside.textbox("Token name").fill(name)
    for control, label, row in steps:
        if control == "add":
            inside.group("Zone resources").get_by_role("button", name=label).click()
        else:
            inside.choose("Zone resources", control, label, row)
    inside.go_on()
    if any(effect == "deny" for effect, _, _ in policies):
        expect(inside.main).to_contain_text("except beta.example")
    inside.create()
    stored = by_name(gateway, name)["policies"]
    found = [(policy["effect"], key, value) for policy in stored for key, value in policy["resources"].items()]
    assert found == policies
    assert all(DNS_WRITE in {group["id"] for group in policy["permission_groups"]} for policy in stored)


def test_permissions_of_three_scopes_go_each_on_their_own_resources(inside: Dashboard, gateway: Gateway) -> None:
    inside.start(None)
    inside.textbox("Token name").fill("three scopes")
    permissions = inside.group("Permissions")
    for row, (scope, group, access) in enumerate(
        [("Zone", "DNS", "Read"), ("Account", "Billing", "Read"), ("User", "User Details", "Read")]
    ):
        if row:
            permissions.get_by_role("button", name="Add permission").click()
        inside.choose("Permissions", "Scope", scope, row)
        inside.choose("Permissions", "Permission group", group, row)
        inside.choose("Permissions", "Access", access, row)
    inside.choose("Zone resources", "Zones", "All zones")
    inside.choose("Account resources", "Account", "Gamma Inc")
    inside.textbox("Start date").fill("2026-01-01")
    inside.go_on()
    inside.create()
    token = by_name(gateway, "three scopes")
    assert [set(policy["resources"]) for policy in token["policies"]][:2] == [
        {f"{ZONE}.*"},
        {f"com.cloudflare.api.account.{ACCOUNTS['Gamma Inc']}"},
    ]
    assert token["not_before"] == "2026-01-01T00:00:00Z"
    [user] = token["policies"][2]["resources"]
    assert user.startswith("com.cloudflare.api.user.")
    assert user != f"com.cloudflare.api.user.{USER}"  # the owner here, not the login of the API behind


def test_the_end_date_is_the_last_day(inside: Dashboard, gateway: Gateway) -> None:
    inside.start()
    inside.textbox("Token name").fill("until the third")
    inside.choose("Zone resources", "Zone", "alpha.example")
    inside.textbox("End date").fill("2030-01-03")
    inside.go_on()
    inside.create()
    token = by_name(gateway, "until the third")
    asked = {"method": "GET", "path": f"/client/v4/zones/{ALPHA}/dns_records"}
    explain = f"/user/tokens/{token['id']}/explain"
    decisions = {
        at: gateway.call("POST", explain, json={**asked, "at": at}).json()["result"]["decision"]
        for at in ("2030-01-03T23:59:59Z", "2030-01-04T00:00:00Z")
    }
    assert decisions == {"2030-01-03T23:59:59Z": "allow", "2030-01-04T00:00:00Z": "deny"}


def test_an_edit_keeps_the_secret_and_what_the_form_does_not_show(inside: Dashboard, gateway: Gateway) -> None:
    made = gateway.create(
        name="edited",
        policies=[dns_policy(ALPHA)],
        expires_on="2030-05-05T12:34:56Z",
        condition={"request_ip": {"in": ["127.0.0.1"]}},
    )
    inside.open(f"#/tokens/{made['id']}/edit")
    expect(inside.textbox("Token name")).to_have_value("edited")
    inside.textbox("Token name").fill("edited again")
    inside.group("Zone resources").get_by_role("button", name="Add zone resource").click()
    inside.choose("Zone resources", "Zone", "beta.example", 1)
    inside.go_on()
    inside.button("Save token").click()
    inside.heading("edited again").wait_for()
    token = by_name(gateway, "edited again")
    assert token["expires_on"] == "2030-05-05T12:34:56Z"
    assert token["condition"] == {"request_ip": {"in": ["127.0.0.1"]}}
    assert set(token["policies"][0]["resources"]) == {f"{ZONE}.{ALPHA}", f"{ZONE}.{BETA}"}
    assert verify(gateway, made["value"]) == 200


def test_policies_that_the_form_cannot_say_stay_as_they_are(inside: Dashboard, gateway: Gateway) -> None:
    read = {
        "effect": "allow",
        "permission_groups": [{"id": "82e64a83756745bbbb1c9c2701bf816b"}],
        "resources": {f"{ZONE}.{BETA}": "*"},
    }
    made = gateway.create(name="by the API", policies=[dns_policy(ALPHA), read])
    inside.open(f"#/tokens/{made['id']}/edit")
    expect(inside.main).to_contain_text("kept as it is")
    inside.textbox("Token name").fill("renamed")
    inside.go_on()
    inside.button("Save token").click()
    inside.heading("renamed").wait_for()
    after = by_name(gateway, "renamed")["policies"]
    assert [policy["resources"] for policy in after] == [policy["resources"] for policy in made["policies"]]


READ = "82e64a83756745bbbb1c9c2701bf816b"
WITHOUT_BETA = {**dns_policy(BETA), "effect": "deny"}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"policies": [dns_policy(ALPHA)], "limits": {"requests": 1200, "period": 300}}, id="limits"),
        pytest.param({"policies": [{**dns_policy(ALPHA), "apis": ["cloudflare-dns"]}]}, id="one API"),
        pytest.param({"policies": [dns_policy(ALPHA, BETA), WITHOUT_BETA]}, id="edit taken away, reading left"),
        pytest.param({"policies": [dns_policy(ALPHA), dns_policy(BETA)]}, id="one permission in two policies"),
        pytest.param(
            {
                "policies": [dns_policy(ALPHA), {**dns_policy(BETA), "permission_groups": [{"id": READ}]}],
                "limits": {"requests": 5, "period": 1},
            },
            id="policies that the form cannot say",
        ),
        pytest.param(
            {
                "policies": [dns_policy("f" * 32)],
                "not_before": "2026-01-01T05:06:07Z",
                "expires_on": "2031-01-01T05:06:07Z",
                "condition": {"request_ip": {"in": ["192.0.2.0/24", "::1"], "not_in": ["192.0.2.7"]}},
            },
            id="an unknown zone, moments of a day, addresses",
        ),
    ],
)
def test_an_edit_or_a_change_of_status_loses_nothing(
    inside: Dashboard, gateway: Gateway, fields: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    name = request.node.callspec.id
    made = gateway.create(name=name, **fields)

    def stored() -> dict[str, Any]:
        found = gateway.call("GET", f"/user/tokens/{made['id']}").json()["result"]
        return {key: value for key, value in found.items() if key != "modified_on"}

    before = stored()
    inside.page.reload()
    inside.act(name, "Disable")
    inside.confirm("Disable token")
    assert stored() == {**before, "status": "disabled"}
    inside.act(name, "Edit")
    expect(inside.textbox("Token name")).to_have_value(name)
    inside.go_on()
    inside.button("Save token").click()
    inside.heading(name).wait_for()
    assert stored() == {**before, "status": "disabled"}
    inside.open("#/")
    inside.act(name, "Enable")
    expect(inside.row(name)).to_contain_text("Active")
    assert stored() == before


def test_a_token_that_was_changed_meanwhile_is_not_overwritten(inside: Dashboard, gateway: Gateway) -> None:
    made = gateway.create(name="two editors", policies=[dns_policy(ALPHA)])
    inside.open(f"#/tokens/{made['id']}/edit")
    inside.textbox("Token name").fill("mine")
    inside.go_on()
    theirs = {"name": "theirs", "policies": made["policies"]}
    assert gateway.call("PUT", f"/user/tokens/{made['id']}", json=theirs).status_code == 200
    inside.button("Save token").click()
    expect(inside.page.get_by_role("alert")).to_contain_text("changed meanwhile")
    assert by_name(gateway, "theirs")["id"] == made["id"]


def test_a_token_is_disabled_enabled_and_deleted(inside: Dashboard, gateway: Gateway) -> None:
    secret = gateway.create(name="switched", policies=[dns_policy(ALPHA)])["value"]
    inside.page.reload()
    inside.act("switched", "Disable")
    inside.confirm("Disable token")
    expect(inside.row("switched")).to_contain_text("Disabled")
    assert verify(gateway, secret) == 401
    inside.act("switched", "Enable")
    expect(inside.row("switched")).to_contain_text("Active")
    assert verify(gateway, secret) == 200
    inside.act("switched", "Delete")
    inside.page.get_by_role("dialog", name="Delete token").get_by_role("button", name="Cancel").click()
    assert verify(gateway, secret) == 200
    inside.act("switched", "Delete")
    inside.confirm("Delete token")
    expect(inside.row("switched")).to_have_count(0)
    assert verify(gateway, secret) == 401


def test_a_tokens_page_tells_what_it_may_what_it_did_and_what_was_refused(inside: Dashboard, gateway: Gateway) -> None:
    made = gateway.create(name="used", policies=[dns_policy(ALPHA)])
    for zone, status in ((ALPHA, 200), (BETA, 403)):
        assert gateway.call("GET", f"/zones/{zone}/dns_records", made["value"]).status_code == status
    inside.open(f"#/tokens/{made['id']}")
    inside.heading("used").wait_for()
    expect(inside.main).to_contain_text("DNS Edit on alpha.example")
    audit = inside.main.get_by_role("region", name="Audit")
    expect(audit).to_contain_text("Created")

    def told() -> bool:
        # Use is written every few seconds.
        inside.page.reload()
        inside.heading("used").wait_for()
        expect(inside.main.get_by_text("Loading…")).to_have_count(0)
        return inside.main.get_by_text("Forbidden").count() > 0

    assert any(told() or inside.page.wait_for_timeout(500) for _ in range(30))
    expect(inside.main.get_by_role("region", name="Last refused requests")).to_contain_text(
        "/zones/{zone_id}/dns_records"
    )


@pytest.mark.parametrize(
    ("zone", "verdict"),
    [pytest.param("alpha.example", "Allowed", id="its zone"), pytest.param("beta.example", "Refused", id="another")],
)
def test_explain_says_whether_a_request_would_pass(
    inside: Dashboard, gateway: Gateway, zone: str, verdict: str
) -> None:
    made = gateway.create(name=f"explained {zone}", policies=[dns_policy(ALPHA)])
    inside.open(f"#/explain/{made['id']}")
    inside.textbox("Path").fill(f"/client/v4/zones/{ZONES[zone]}/dns_records")
    inside.button("Explain").click()
    expect(inside.main.get_by_role("region", name="Decision")).to_contain_text(verdict)
    expect(inside.main.get_by_role("region", name="Decision")).to_contain_text(zone)


def test_tokens_of_one_name_are_told_apart_by_their_ids_where_one_is_chosen(
    inside: Dashboard, gateway: Gateway
) -> None:
    made = [gateway.create(name="twin", policies=[dns_policy(ALPHA)])["id"] for _ in range(2)]
    inside.open("#/explain")
    options = inside.main.get_by_role("combobox", name="Token").get_by_role("option", name="twin")
    expect(options).to_have_text([f"twin ({token_id[:8]})" for token_id in reversed(made)])


def test_the_report_finds_unused_tokens_and_those_that_end(inside: Dashboard, gateway: Gateway) -> None:
    gateway.create(name="of no use", policies=[dns_policy(ALPHA)], expires_on="2030-01-01T00:00:00Z")
    inside.open("#/report")
    unused = inside.main.get_by_role("region", name="Unused tokens")
    expect(unused).to_contain_text("Every active token")
    unused.get_by_role("spinbutton").fill("0")
    expect(unused).to_contain_text("of no use")
    ending = inside.main.get_by_role("region", name="Ending soon")
    expect(ending).not_to_contain_text("of no use")
    ending.get_by_role("spinbutton").fill("3650")
    expect(ending).to_contain_text("of no use")


def test_each_change_carries_the_csrf_token(inside: Dashboard, gateway: Gateway) -> None:
    gateway.create(name="changed", policies=[dns_policy(ALPHA)])
    inside.page.reload()
    for entry in ("Disable", "Enable", "Delete"):
        inside.act("changed", entry)
        if entry == "Enable":
            expect(inside.row("changed")).to_contain_text("Active")
        else:
            inside.confirm(f"{entry} token")
    inside.button("Sign out").click()
    inside.heading("Sign in").wait_for()
    changes = [request for request in inside.requests if request.method in CHANGES]
    assert len(changes) == 5  # in, three, out
    assert all(re.fullmatch(r"[\w-]{43}", request.headers["x-csrf-token"]) for request in changes)
