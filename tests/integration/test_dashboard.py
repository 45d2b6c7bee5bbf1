"""The dashboard's sessions through a running gateway: whom they let in, and when they end."""

import contextlib
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.certificates import Authority
from support.processes import Gateway, Upstream, free_port, until
from support.records import EVERYTHING, GROUPS, group_id, owner, secret_of, token

from gateway.app import Gateway as AppGateway
from gateway.app import make_plan, open_listeners
from gateway.settings import Admin, Listen, ListenTls, Log, Settings, Store
from gateway.store.embedded import EmbeddedServer
from gateway.store_access import open_store
from gateway.tokens.resource import Scope
from gateway.tokens.secret import Sensitive

TOKENS = "/client/v4/user/tokens"
SESSION = "/dashboard/api/session"


class Browser(httpx.Client):
    """Keeps cookies, and sends with each change what our page sends."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(base_url=gateway.admin_url, timeout=20)
        self.origin = gateway.admin_url
        self.csrf = ""

    def ask(self, method: str, path: str, body: object = None, **fields: str) -> httpx.Response:
        sent = {} if method == "GET" else {"Origin": self.origin, "X-CSRF-Token": self.csrf}
        content = None if body is None else json.dumps(body).encode()
        return self.request(method, path, headers={**sent, **fields}, content=content)

    def sign_in(self, secret: str) -> httpx.Response:
        self.csrf = self.ask("GET", SESSION).json()["result"]["csrf"]
        answer = self.ask("POST", SESSION, {"token": secret})
        if answer.status_code == 200:
            self.csrf = answer.json()["result"]["csrf"]
        return answer

    @property
    def signed_in(self) -> bool:
        answer = self.ask("GET", SESSION)
        assert answer.status_code == 200, answer.text
        return bool(answer.json()["result"]["signed_in"])


@pytest.fixture
def browser(gateway: Gateway) -> Iterator[Browser]:
    with Browser(gateway) as found:
        yield found


@pytest.fixture
def user_id(gateway: Gateway) -> str:
    return str(gateway.call("GET", "/user/tokens").json()["result"][-1]["owner"]["id"])


def rights(user: str) -> dict[str, Any]:
    return {
        "effect": "allow",
        "permission_groups": [{"id": group_id("API Tokens Write", Scope.USER)}],
        "resources": {f"{Scope.USER}.{user}": "*"},
    }


def made(gateway: Gateway, user: str, **fields: Any) -> dict[str, Any]:
    """A token that may make tokens."""
    return gateway.create(name="a maker", policies=[rights(user)], **fields)


def code(answer: httpx.Response) -> int:
    body = answer.json()
    assert not body["success"]
    return int(body["errors"][0]["code"])


def test_who_signs_in_lists_creates_rolls_and_signs_out(gateway: Gateway, browser: Browser, user_id: str) -> None:
    assert browser.sign_in(gateway.first).status_code == 200
    assert browser.signed_in
    body = {"name": "by a browser", "policies": [rights(user_id)]}
    created = browser.ask("POST", TOKENS, body).json()["result"]
    assert gateway.call("GET", "/user/tokens/verify", created["value"]).status_code == 200
    listed = browser.ask("GET", TOKENS, per_page="50").json()["result"]
    assert created["id"] in {each["id"] for each in listed}

    new = browser.ask("PUT", f"{TOKENS}/{created['id']}/value", {}).json()["result"]
    assert gateway.call("GET", "/user/tokens/verify", created["value"]).status_code == 401
    assert gateway.call("GET", "/user/tokens/verify", new).status_code == 200
    assert browser.signed_in

    browser.csrf = browser.ask("DELETE", SESSION).json()["result"]["csrf"]
    assert not browser.signed_in
    assert browser.ask("GET", TOKENS).status_code == 401


def test_a_change_by_a_session_is_in_the_audit_as_its_tokens(gateway: Gateway, browser: Browser, user_id: str) -> None:
    maker = made(gateway, user_id)
    browser.sign_in(maker["value"])
    created = browser.ask("POST", TOKENS, {"name": "audited", "policies": [rights(user_id)]}).json()["result"]
    (entry,) = gateway.call("GET", f"/zonegate/audit?token={created['id']}").json()["result"]
    assert (entry["action"]["type"], entry["metadata"]["actor_token"]) == ("create", maker["id"])


def test_who_signs_in_and_out_is_in_the_audit_and_so_is_who_may_not(
    gateway: Gateway, browser: Browser, user_id: str
) -> None:
    maker = made(gateway, user_id)
    browser.sign_in(maker["value"])
    browser.ask("DELETE", SESSION)
    off = {"name": "off", "policies": maker["policies"], "status": "disabled"}
    gateway.call("PUT", f"/user/tokens/{maker['id']}", json=off)
    assert browser.sign_in(maker["value"]).status_code == 401
    entries = gateway.call("GET", f"/zonegate/audit?token={maker['id']}").json()["result"]
    assert [entry["action"]["type"] for entry in entries] == ["denied", "update", "sign-out", "sign-in", "create"]
    refused, _, _, came, _ = entries
    assert (refused["metadata"]["path"], refused["metadata"]["reason"]) == (SESSION, "token_disabled")
    assert (came["interface"], came["actor"]["ip"], came["resource"]["id"]) == ("UI", "127.0.0.1", maker["id"])


def test_the_log_tells_what_was_decided_and_nothing_of_what_had_not_to_be(
    gateway: Gateway, browser: Browser, user_id: str
) -> None:
    maker = made(gateway, user_id)
    browser.sign_in(maker["value"])
    asked = {path: browser.ask("GET", path).headers["x-request-id"] for path in ("/dashboard/", TOKENS)}

    def lines() -> list[dict[str, Any]] | None:
        found = {}
        for text in gateway.log().splitlines():
            if text.startswith("{") and (line := json.loads(text)).get("event") == "request":
                found[line["request_id"]] = line
        return [found[request_id] for request_id in asked.values()] if {*asked.values()} <= {*found} else None

    page, call = until("both lines are written", lines)
    assert (page["status"], page["decision"], page["token"]) == (200, None, None)
    assert (call["status"], call["decision"], call["token"]) == (200, "allow", maker["id"])
    cookie = browser.cookies["zonegate_session"]
    assert not any(secret in gateway.log() for secret in (cookie, browser.csrf, maker["value"]))


def test_nobody_gives_by_a_session_what_he_has_not_got(gateway: Gateway, browser: Browser, user_id: str) -> None:
    browser.sign_in(made(gateway, user_id)["value"])
    everything = GROUPS.named("All Permissions", Scope.ZONE)
    assert everything is not None
    policy = {
        "effect": "allow",
        "permission_groups": [{"id": everything.id}],
        "resources": {f"{Scope.ZONE}.*": "*"},
    }
    answer = browser.ask("POST", TOKENS, {"name": "too much", "policies": [policy]})
    assert (answer.status_code, code(answer)) == (403, 10000)


# Whose request it is.


FORGED = [
    pytest.param({"Origin": "http://evil.example"}, id="another origin"),
    pytest.param({"Origin": "null"}, id="a page in a sandbox"),
    pytest.param({"X-CSRF-Token": "guessed"}, id="a guessed token"),
    pytest.param({"X-CSRF-Token": ""}, id="no token"),
]


@pytest.mark.parametrize("fields", FORGED)
@pytest.mark.parametrize("path", [TOKENS, SESSION, "/dashboard/api/summary"])
def test_what_another_page_sends_with_our_cookie_changes_nothing(
    gateway: Gateway, browser: Browser, user_id: str, path: str, fields: dict[str, str]
) -> None:
    browser.sign_in(gateway.first)
    before = gateway.call("GET", "/user/tokens").json()["result_info"]["total_count"]
    answer = browser.ask("POST", path, {"name": "forged", "policies": [rights(user_id)]}, **fields)
    assert (answer.status_code, code(answer)) == (403, 10403)
    assert gateway.call("GET", "/user/tokens").json()["result_info"]["total_count"] == before
    assert browser.signed_in


def test_a_sign_in_from_another_page_is_refused_too(gateway: Gateway, browser: Browser) -> None:
    browser.origin = "http://evil.example"
    answer = browser.sign_in(gateway.first)
    assert (answer.status_code, code(answer)) == (403, 10403)
    assert not browser.signed_in


@pytest.mark.parametrize("path", ["/dashboard/", SESSION, TOKENS])
def test_a_host_that_is_not_ours_is_refused_whatever_the_cookie(gateway: Gateway, browser: Browser, path: str) -> None:
    browser.sign_in(gateway.first)
    assert browser.ask("GET", path, Host="evil.example").status_code == 400


def test_a_forged_cookie_lets_nobody_in(browser: Browser) -> None:
    browser.cookies.set("zonegate_session", "A" * 43)
    assert browser.ask("GET", TOKENS).status_code == 401
    assert not browser.signed_in


# Where it counts.


def test_on_the_public_listener_no_cookie_is_looked_at(gateway: Gateway, upstream: Upstream, browser: Browser) -> None:
    browser.sign_in(gateway.first)
    cookie = {"Cookie": f"zonegate_session={browser.cookies['zonegate_session']}"}
    before = len(upstream.journal())
    for path in ("/user/tokens", "/zones"):
        answer = httpx.get(gateway.url + path, headers=cookie)
        assert (answer.status_code, code(answer)) == (401, 9106)
    assert httpx.get(f"http://127.0.0.1:{gateway.port}/dashboard/index.html", headers=cookie).status_code == 401
    assert httpx.get(f"http://127.0.0.1:{gateway.port}/dashboard/", headers=cookie).status_code == 400
    assert len(upstream.journal()) == before


def test_a_session_opens_none_of_the_apis_behind_us_on_the_admin_listener(gateway: Gateway, browser: Browser) -> None:
    browser.sign_in(gateway.first)
    assert browser.ask("GET", "/client/v4/zones").status_code == 404


# Its ends.


def soon_out(browser: Browser) -> None:
    until("the session has ended", lambda: browser.ask("GET", TOKENS).status_code == 401, deadline=3)
    assert not browser.signed_in


def test_who_rolls_his_own_token_has_to_sign_in_with_the_new_secret(
    gateway: Gateway, browser: Browser, user_id: str
) -> None:
    own = made(gateway, user_id)
    browser.sign_in(own["value"])
    new = browser.ask("PUT", f"{TOKENS}/{own['id']}/value", {}).json()["result"]
    assert browser.ask("GET", TOKENS).status_code == 401
    assert not browser.signed_in
    assert browser.sign_in(own["value"]).status_code == 401
    assert browser.sign_in(new).status_code == 200


def test_a_session_goes_on_to_read_in_the_overlap_of_its_secret_and_changes_nothing(
    gateway: Gateway, browser: Browser, user_id: str
) -> None:
    own = made(gateway, user_id)
    browser.sign_in(own["value"])
    browser.ask("PUT", f"{TOKENS}/{own['id']}/value", {"overlap": 600})
    assert browser.ask("GET", TOKENS).status_code == 200
    assert browser.ask("POST", TOKENS, {"name": "late", "policies": [rights(user_id)]}).status_code == 403


@pytest.mark.parametrize("how", ["rolled", "disabled", "deleted"])
def test_a_session_ends_with_what_it_was_begun_with(gateway: Gateway, browser: Browser, user_id: str, how: str) -> None:
    own = made(gateway, user_id)
    assert browser.sign_in(own["value"]).status_code == 200
    path = f"/user/tokens/{own['id']}"
    if how == "rolled":
        gateway.call("PUT", f"{path}/value", json={})
    elif how == "disabled":
        gateway.call("PUT", path, json={"name": "off", "policies": own["policies"], "status": "disabled"})
    else:
        gateway.call("DELETE", path)
    soon_out(browser)


def test_a_session_ends_when_its_token_does(gateway: Gateway, browser: Browser, user_id: str) -> None:
    ends = datetime.fromtimestamp(int(time.time()) + 2, UTC).isoformat().replace("+00:00", "Z")
    own = made(gateway, user_id, expires_on=ends)
    assert browser.sign_in(own["value"]).status_code == 200
    until("the token has ended", lambda: browser.ask("GET", TOKENS).status_code == 401, deadline=10)
    assert not browser.signed_in


def test_a_freeze_ends_all_sessions_and_a_thaw_brings_none_back(gateway: Gateway, browser: Browser) -> None:
    browser.sign_in(gateway.first)
    cookie = browser.cookies["zonegate_session"]
    assert gateway.command("freeze", "--config", str(gateway.config)).returncode == 0
    try:
        soon_out(browser)
        until("nobody signs in", lambda: browser.sign_in(gateway.first).status_code == 503, deadline=5)
    finally:
        assert gateway.command("thaw", "--config", str(gateway.config)).returncode == 0
    until("it is thawed", lambda: gateway.call("GET", "/user/tokens/verify").status_code == 200, deadline=5)
    assert browser.ask("GET", TOKENS, Cookie=f"zonegate_session={cookie}").status_code == 401
    assert browser.sign_in(gateway.first).status_code == 200


def test_the_token_of_who_has_not_signed_in_changes_nothing_in_a_session(
    gateway: Gateway, browser: Browser, user_id: str
) -> None:
    before = browser.ask("GET", SESSION).json()["result"]["csrf"]
    browser.sign_in(gateway.first)
    body = {"name": "forged", "policies": [rights(user_id)]}
    for method, path in (("POST", TOKENS), ("POST", "/dashboard/api/summary"), ("DELETE", SESSION)):
        answer = browser.ask(method, path, body, **{"X-CSRF-Token": before})
        assert (answer.status_code, code(answer)) == (403, 10403)
    assert browser.signed_in


# What the pages ask.


def test_the_page_is_served_with_a_policy_that_lets_nothing_else_in(browser: Browser) -> None:
    answer = browser.ask("GET", "/dashboard", Accept="text/html")
    assert (answer.status_code, answer.headers["location"]) == (308, "/dashboard/")
    answer = browser.ask("GET", "/dashboard/")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].startswith("default-src 'none';")


def test_resources_are_those_that_the_token_sees_by_name(gateway: Gateway, browser: Browser, user_id: str) -> None:
    browser.sign_in(gateway.first)
    found = browser.ask("GET", "/dashboard/api/resources").json()["result"]
    assert [zone["name"] for zone in found["zones"]] == ["alpha.example", "beta.example", "gamma.example"]
    assert [account["name"] for account in found["accounts"]] == ["Alpha Ltd", "Gamma Inc"]
    assert (found["user"], found["incomplete"]) == ({"id": user_id}, False)


def test_a_token_without_rights_on_zones_sees_none(gateway: Gateway, browser: Browser, user_id: str) -> None:
    browser.sign_in(made(gateway, user_id)["value"])
    found = browser.ask("GET", "/dashboard/api/resources").json()["result"]
    assert (found["zones"], found["accounts"], found["incomplete"]) == ([], [], True)


def test_a_zone_that_a_token_has_rights_on_and_may_not_list_is_there_by_name(
    gateway: Gateway, browser: Browser, user_id: str
) -> None:
    zone = gateway.call("GET", "/zones?name=alpha.example").json()["result"][0]["id"]
    narrow = {
        "effect": "allow",
        "permission_groups": [{"id": group_id("DNS Write")}],
        "resources": {f"{Scope.ZONE}.{zone}": "*"},
    }
    held = gateway.create(name="narrow", policies=[rights(user_id), narrow])
    assert gateway.call("GET", "/zones", held["value"]).status_code == 403
    browser.sign_in(held["value"])
    found = browser.ask("GET", "/dashboard/api/resources").json()["result"]
    assert [(each["id"], each["name"]) for each in found["zones"]] == [(zone, "alpha.example")]


def test_what_was_refused_to_a_token_is_told(gateway: Gateway, browser: Browser, user_id: str) -> None:
    weak = made(gateway, user_id)
    assert gateway.call("GET", "/zones", weak["value"]).status_code == 403
    browser.sign_in(gateway.first)
    path = f"/dashboard/api/tokens/{weak['id']}"
    found = until("it was written", lambda: browser.ask("GET", f"{path}/denials").json()["result"]["calls"])
    assert (found[0]["reason"], found[0]["method"], found[0]["path"]) == ("forbidden", "GET", "/client/v4/zones")
    days = browser.ask("GET", f"{path}/usage").json()["result"]
    assert (days[-1]["allowed"], days[-1]["refused"]) == (0, 1)


# The store goes away in the middle.


@contextlib.contextmanager
def store_away(gateway: Gateway) -> Iterator[None]:
    """The store says nothing, from entry to exit."""
    os.kill(gateway.store_pid(), signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(gateway.store_pid(), signal.SIGCONT)


def answers_again(browser: Browser) -> None:
    until("the store is there again", lambda: browser.ask("GET", SESSION).status_code == 200, deadline=10)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", SESSION),
        ("DELETE", SESSION),
        ("GET", TOKENS),
        ("POST", TOKENS),
        ("GET", "/dashboard/api/resources"),
        ("POST", "/dashboard/api/summary"),
    ],
)
def test_while_the_store_is_away_each_step_says_so_and_can_be_done_again(
    gateway: Gateway, browser: Browser, user_id: str, method: str, path: str
) -> None:
    browser.sign_in(gateway.first)
    body = {"name": f"{method} {path}"[:100], "policies": [rights(user_id)]} if method == "POST" else None
    with store_away(gateway):
        answer = browser.ask(method, path, body)
    assert (answer.status_code, code(answer)) == (503, 10500)
    assert "set-cookie" not in answer.headers
    answers_again(browser)
    if method != "DELETE":  # of which nobody knows whether it was done
        assert browser.signed_in
    listed = gateway.call("GET", "/user/tokens?per_page=50&direction=desc").json()["result"]
    assert body is None or body["name"] not in {each["name"] for each in listed}


def test_a_sign_in_while_the_store_is_away_lets_nobody_in(gateway: Gateway, browser: Browser) -> None:
    browser.csrf = browser.ask("GET", SESSION).json()["result"]["csrf"]
    with store_away(gateway):
        answer = browser.ask("POST", SESSION, {"token": gateway.first})
    assert (answer.status_code, code(answer)) == (503, 10500)
    answers_again(browser)
    assert not browser.signed_in
    assert browser.sign_in(gateway.first).status_code == 200


# Under TLS.


@pytest.fixture
async def secured(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the admin listener of a gateway that speaks TLS there."""
    authority = Authority(tmp_path)
    own = authority.sign("localhost")
    server = EmbeddedServer(tmp_path / "store")
    settings = Settings(
        listen=Listen(port=free_port()),
        admin=Admin(port=free_port(), tls=ListenTls(cert=own.cert, key=own.key)),
        store=Store(url=Sensitive(server.start())),
        log=Log(access=False, format="console"),
    )
    try:
        async with open_store(settings, settings.store.url.reveal()) as store:
            await store.prepare()
            await store.initialise(owner(), token(EVERYTHING, issued_on=int(time.time())), time.time())
            with open_listeners(settings) as listeners:
                async with (
                    AppGateway(make_plan(settings), store).running(listeners),
                    httpx.AsyncClient(
                        base_url=f"https://localhost:{settings.admin.port}",
                        verify=ssl.create_default_context(cafile=authority.file),
                    ) as client,
                ):
                    yield client
    finally:
        server.stop()


async def test_under_tls_the_cookie_is_secure_and_of_this_host_alone(secured: httpx.AsyncClient) -> None:
    origin = str(secured.base_url).rstrip("/")
    visit = await secured.get(SESSION)
    proof = {"X-CSRF-Token": visit.json()["result"]["csrf"]}
    body = {"token": secret_of().reveal()}
    plain = await secured.post(SESSION, json=body, headers={**proof, "Origin": origin.replace("https", "http")})
    assert (plain.status_code, code(plain)) == (403, 10403)
    answer = await secured.post(SESSION, json=body, headers={**proof, "Origin": origin})
    assert answer.status_code == 200
    for set_cookie in (visit.headers["set-cookie"], answer.headers["set-cookie"]):
        name, *attributes = set_cookie.replace("=", ";", 1).split("; ")
        assert name.startswith("__Host-zonegate_")
        assert attributes == ["Path=/", "HttpOnly", "SameSite=Strict", "Secure"]
    assert (await secured.get(TOKENS)).status_code == 200
