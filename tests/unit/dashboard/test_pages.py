"""What the dashboard answers, asked as a listener asks it."""

import json
from typing import Any

import pytest
from support.memory_sessions import MemorySessions
from support.records import (
    ACCOUNT,
    ACCOUNT_A,
    CATALOG,
    DNS_ON_A,
    EVERYTHING,
    GROUPS,
    NOW,
    TOKEN_ID,
    USER,
    USER_SCOPE,
    ZONE_A,
    account,
    group_id,
    owner,
    policy,
    secret_of,
    token,
    user,
    zone,
)
from support.store_contract import MemoryTokenStore
from unit.dashboard.test_names import ALPHA, ZONES, Lists, SpokenNames
from unit.dashboard.test_token_use import Uses
from unit.dashboard.visiting import HOST, READER, visit
from unit.server.wire import admission

from gateway.access.ports import StoreUnavailable
from gateway.access.principal import Principal
from gateway.dashboard.names import ResourceNames
from gateway.dashboard.pages import Pages
from gateway.dashboard.static_files import StaticFiles
from gateway.dashboard.token_use import TokenUse
from gateway.reason import Answer, Deny, Reason
from gateway.server.browser import csrf_token
from gateway.server.session import IDLE, Sessions
from gateway.store.use import DayUse, RefusedUse
from gateway.tokens.owner import OwnerKind, OwnerRef
from gateway.tokens.token import Status, Token

OTHER_ID, STRANGER = "e" * 32, OwnerRef(OwnerKind.USER, "9" * 32)
SECRET = secret_of().reveal()
RIGHTS = policy(["API Tokens Write"], [user(USER)], scope=USER_SCOPE)
SESSION, SUMMARY = "/dashboard/api/session", "/dashboard/api/summary"
BODY = {
    "name": "a token",
    "policies": [
        {
            "effect": "allow",
            "permission_groups": [{"id": group_id("DNS Write")}],
            "resources": {zone(ZONE_A): "*"},
        }
    ],
}


class Desk:
    """A dashboard over a store with some tokens, and a browser before it that keeps cookies and the page's token."""

    def __init__(self, *held: Token) -> None:
        self.now = float(NOW)
        self.tokens = MemoryTokenStore()
        for each in held or (token(EVERYTHING, name="the first"),):
            self.tokens.hold(each, of=owner(ref=each.owner))
        self.stored = MemorySessions()
        self.uses = Uses(
            days=[DayUse("2027-01-15", 4, 1)], refused=[RefusedUse(NOW, "forbidden", "GET /x", "192.0.2.7", 2)]
        )
        self._drawn = 0
        self.sessions = Sessions(
            self.stored,
            admission(self.tokens, table=CATALOG.admin, clock=self._clock),
            READER,
            prefix=(b"client", b"v4"),
            tls=False,
            clock=self._clock,
            randomness=self._random,
        )
        self.lists = Lists({ZONES: [ALPHA], "/client/v4/accounts": []})
        self.pages = Pages(
            StaticFiles({"index.html": b"<!doctype html>", "app.js": b"1"}),
            self.sessions,
            ResourceNames(
                self.lists,
                admission(self.tokens, table=CATALOG.public, clock=self._clock),
                CATALOG.public.routes,
                SpokenNames(),
                scheme="http",
                clock=self._clock,
            ),
            TokenUse(self.uses, lambda: NOW),
            self.tokens,
            GROUPS,
            templates=CATALOG.templates,
            apis=["cloudflare-dns"],
            base_url=lambda host: f"http://{host}/client/v4",
            clock=self._clock,
            randomness=self._random,
        )
        self.cookies: dict[str, str] = {}
        self.csrf = ""
        self.seen: list[str] = []
        """The ids of tokens that the listener was told of."""

    def _clock(self) -> float:
        return self.now

    def _random(self, count: int) -> bytes:
        self._drawn += 1
        return self._drawn.to_bytes(count, "big")

    async def ask(
        self, method: str, target: str, body: object = None, *, fields: tuple[str, ...] | None = None
    ) -> Answer | Deny:
        """What is answered to the browser; `fields` None: those that our page sends."""
        if fields is None:
            fields = () if method in ("GET", "HEAD") else (f"Origin: http://{HOST}", f"X-CSRF-Token: {self.csrf}")
        if self.cookies:
            fields = (f"Cookie: {'; '.join(f'{name}={value}' for name, value in self.cookies.items())}", *fields)
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self.pages.answer(visit(target, *fields, method=method, body=sent, known=self._see))
        if isinstance(answer, Answer):
            for name, text in answer.fields:
                if name == "Set-Cookie":
                    cookie, _, attributes = text.partition(";")
                    key, _, value = cookie.partition("=")
                    self.cookies[key] = value
                    if "Max-Age=0" in attributes:
                        del self.cookies[key]
        return answer

    def _see(self, principal: Principal) -> None:
        self.seen.append(principal.token.id)

    async def result(self, method: str, target: str, body: object = None) -> Any:
        answer = await self.ask(method, target, body)
        assert isinstance(answer, Answer), answer
        assert answer.status == 200
        return json.loads(answer.body)["result"]

    async def reason(self, method: str, target: str, body: object = None, **rest: Any) -> Reason:
        answer = await self.ask(method, target, body, **rest)
        assert isinstance(answer, Deny), answer
        return answer.reason

    async def sign_in(self, secret: str = SECRET) -> Any:
        self.csrf = (await self.result("GET", SESSION))["csrf"]
        found = await self.result("POST", SESSION, {"token": secret})
        self.csrf = found["csrf"]
        return found


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_the_listener_is_told_who_asks_for_its_log(desk: Desk) -> None:
    await desk.ask("GET", "/dashboard/")
    await desk.reason("GET", "/dashboard/api/resources")
    assert desk.seen == []
    await desk.sign_in()
    assert set(desk.seen) == {TOKEN_ID}
    desk.seen.clear()
    await desk.result("GET", "/dashboard/api/resources")
    assert desk.seen == [TOKEN_ID]


# Files.


@pytest.mark.parametrize(
    ("target", "body"), [("/dashboard/", b"<!doctype html>"), ("/dashboard/app.js", b"1")], ids=["the index", "a file"]
)
async def test_files_need_nobody_to_have_signed_in(desk: Desk, target: str, body: bytes) -> None:
    answer = await desk.ask("GET", target)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body) == (200, body)


async def test_without_its_slash_the_dashboard_says_where_it_is(desk: Desk) -> None:
    answer = await desk.ask("GET", "/dashboard")
    assert isinstance(answer, Answer)
    assert (answer.status, dict(answer.fields)["Location"]) == (308, "/dashboard/")


@pytest.mark.parametrize("target", ["/dashboard/no.js", "/dashboard/a/b", "/dashboard/api", "/dashboard/api/no"])
async def test_there_is_nothing_else(desk: Desk, target: str) -> None:
    assert await desk.reason("GET", target) is Reason.NO_ROUTE


@pytest.mark.parametrize(
    ("method", "target", "methods"),
    [
        ("POST", "/dashboard/app.js", ("GET", "HEAD")),
        ("PUT", SESSION, ("GET", "HEAD", "POST", "DELETE")),
        ("GET", SUMMARY, ("POST",)),
        ("POST", "/dashboard/api/resources", ("GET", "HEAD")),
    ],
)
async def test_what_a_path_cannot_do_is_refused_with_what_it_can(
    desk: Desk, method: str, target: str, methods: tuple[str, ...]
) -> None:
    answer = await desk.ask(method, target)
    assert answer == Deny(reason=Reason.METHOD_NOT_ALLOWED, methods=methods)


@pytest.mark.parametrize(
    ("path", "concerned"),
    [("/dashboard/", True), ("/dashboard/api/session", True), ("/dashboards", False), ("/", False)],
)
def test_the_dashboard_is_asked_for_its_own_paths_alone(desk: Desk, path: str, concerned: bool) -> None:  # noqa: FBT001
    assert desk.pages.concerns(visit(path).head.target) is concerned


# The session.


async def test_who_has_not_signed_in_is_told_so_and_gets_what_it_takes(desk: Desk) -> None:
    found = await desk.result("GET", SESSION)
    assert list(desk.cookies) == ["zonegate_visit"]
    assert found == {
        "signed_in": False,
        "csrf": csrf_token(desk.cookies["zonegate_visit"]),
        "token": None,
        "public_url": f"http://{HOST}/client/v4",
        "user_id": None,
        "account_id": None,
    }
    assert (await desk.result("GET", SESSION))["csrf"] == found["csrf"]  # in another tab


async def test_who_signs_in_is_told_who_he_is_and_stays_so(desk: Desk) -> None:
    found = await desk.sign_in()
    assert found == {
        "signed_in": True,
        "csrf": csrf_token(desk.cookies["zonegate_session"]),
        "token": {"id": TOKEN_ID, "name": "the first"},
        "public_url": f"http://{HOST}/client/v4",
        "user_id": USER,
        "account_id": None,
    }
    assert await desk.result("GET", SESSION) == found


async def test_a_token_of_an_account_is_told_of_its_account() -> None:
    ref = OwnerRef(OwnerKind.ACCOUNT, ACCOUNT_A)
    rights = policy(["Account API Tokens Write"], [account(ACCOUNT_A)], scope=ACCOUNT)
    desk = Desk(token([rights], owner=ref))
    desk.tokens.hold(token([rights], owner=ref), of=owner([rights], ref=ref))
    found = await desk.sign_in(secret_of(kind=OwnerKind.ACCOUNT).reveal())
    assert (found["user_id"], found["account_id"]) == (None, ACCOUNT_A)


@pytest.mark.parametrize(
    ("held", "body", "reason"),
    [
        pytest.param(token(EVERYTHING), {"token": "junk"}, Reason.MALFORMED_CREDENTIALS, id="no secret"),
        pytest.param(
            token(EVERYTHING), {"token": secret_of(fill=9).reveal()}, Reason.UNKNOWN_TOKEN, id="another secret"
        ),
        pytest.param(token([DNS_ON_A]), {"token": SECRET}, Reason.FORBIDDEN, id="no right on tokens"),
        pytest.param(
            token(EVERYTHING, status=Status.DISABLED), {"token": SECRET}, Reason.TOKEN_DISABLED, id="disabled"
        ),
        pytest.param(token(EVERYTHING), {}, Reason.INVALID_BODY, id="nothing"),
        pytest.param(token(EVERYTHING), {"token": 7}, Reason.INVALID_BODY, id="no text"),
        pytest.param(token(EVERYTHING), {"token": SECRET, "x": 1}, Reason.INVALID_BODY, id="something else"),
        pytest.param(token(EVERYTHING), b"{", Reason.INVALID_BODY, id="no JSON"),
    ],
)
async def test_who_cannot_sign_in_is_told_why(held: Token, body: object, reason: Reason) -> None:
    desk = Desk(held)
    desk.csrf = (await desk.result("GET", SESSION))["csrf"]
    assert await desk.reason("POST", SESSION, body) is reason
    assert "zonegate_session" not in desk.cookies
    assert desk.stored.held == {}


async def test_who_signs_out_is_out_and_both_sides_forget(desk: Desk) -> None:
    await desk.sign_in()
    found = await desk.result("DELETE", SESSION)
    assert (found["signed_in"], "zonegate_session" in desk.cookies, desk.stored.held) == (False, False, {})
    desk.csrf = found["csrf"]
    assert (await desk.sign_in())["signed_in"]


async def test_a_session_that_has_ended_is_forgotten_by_the_browser(desk: Desk) -> None:
    await desk.sign_in()
    desk.now += IDLE
    assert not (await desk.result("GET", SESSION))["signed_in"]
    assert "zonegate_session" not in desk.cookies


async def test_a_token_that_lost_its_rights_on_tokens_has_no_business_here(desk: Desk) -> None:
    await desk.sign_in()
    desk.tokens.hold(token([DNS_ON_A]))
    assert not (await desk.result("GET", SESSION))["signed_in"]


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(token(EVERYTHING, status=Status.DISABLED), id="disabled"),
        pytest.param(token(EVERYTHING, expires_on=NOW), id="expired"),
        pytest.param(token([DNS_ON_A]), id="without its rights"),
        pytest.param(token(EVERYTHING, request_ip=["198.51.100.1"]), id="from elsewhere"),
    ],
)
async def test_a_session_that_the_browser_is_to_forget_does_not_come_back(desk: Desk, refused: Token) -> None:
    await desk.sign_in()
    cookie = desk.cookies["zonegate_session"]
    desk.tokens.hold(refused)
    assert not (await desk.result("GET", SESSION))["signed_in"]
    assert "zonegate_session" not in desk.cookies
    desk.tokens.hold(token(EVERYTHING))
    desk.cookies["zonegate_session"] = cookie
    assert not (await desk.result("GET", SESSION))["signed_in"]


async def test_what_a_page_is_told_no_other_page_can_show(desk: Desk) -> None:
    await desk.sign_in()
    for target in (SESSION, "/dashboard/api/templates"):
        answer = await desk.ask("GET", target)
        assert isinstance(answer, Answer)
        fields = dict(answer.fields)
        assert fields["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in fields["Content-Security-Policy"]
        assert (fields["Cross-Origin-Resource-Policy"], fields["Cache-Control"]) == ("same-origin", "no-store")


async def test_while_the_store_is_away_nobody_is_said_to_have_left(desk: Desk) -> None:
    await desk.sign_in()
    desk.stored.failure = StoreUnavailable("away")
    assert await desk.reason("GET", SESSION) is Reason.STORE_UNAVAILABLE
    assert "zonegate_session" in desk.cookies
    desk.stored.failure = None
    assert (await desk.result("GET", SESSION))["signed_in"]


async def test_a_change_of_which_nobody_knows_is_not_to_be_repeated(desk: Desk) -> None:
    desk.csrf = (await desk.result("GET", SESSION))["csrf"]
    desk.stored.failure = StoreUnavailable("away", outcome_unknown=True)
    answer = await desk.ask("POST", SESSION, {"token": SECRET})
    assert answer == Deny(reason=Reason.STORE_UNAVAILABLE, outcome_unknown=True)


# Whose page it is.


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param((), id="nothing"),
        pytest.param((f"Origin: http://{HOST}",), id="no token of the page"),
        pytest.param((f"Origin: http://{HOST}", f"X-CSRF-Token: {csrf_token('A' * 43)}"), id="another page's token"),
        pytest.param(("Origin: http://evil.example", "X-CSRF-Token: CSRF"), id="another origin"),
        pytest.param(("X-CSRF-Token: CSRF",), id="no origin"),
    ],
)
@pytest.mark.parametrize(
    ("method", "target", "body"),
    [("POST", SESSION, {"token": SECRET}), ("DELETE", SESSION, None), ("POST", SUMMARY, BODY)],
    ids=["sign in", "sign out", "a summary"],
)
async def test_what_another_page_sends_is_refused(
    desk: Desk, method: str, target: str, body: object, fields: tuple[str, ...]
) -> None:
    await desk.sign_in()
    sent = tuple(field.replace("CSRF", desk.csrf) if field.endswith(" CSRF") else field for field in fields)
    assert await desk.reason(method, target, body, fields=sent) is Reason.CROSS_SITE
    assert (await desk.result("GET", SESSION))["signed_in"]


async def test_beside_a_session_the_token_of_who_has_none_signs_in_and_does_nothing_else(desk: Desk) -> None:
    before = (await desk.result("GET", SESSION))["csrf"]
    await desk.sign_in()
    fields = f"Origin: http://{HOST}", f"X-CSRF-Token: {before}"
    assert await desk.reason("POST", SUMMARY, BODY, fields=fields) is Reason.CROSS_SITE
    assert await desk.reason("DELETE", SESSION, fields=fields) is Reason.CROSS_SITE
    answer = await desk.ask("POST", SESSION, {"token": SECRET}, fields=fields)  # in another tab
    assert isinstance(answer, Answer)


# What the pages ask.


ASKED = [
    ("GET", "/dashboard/api/resources"),
    ("GET", "/dashboard/api/templates"),
    ("POST", SUMMARY),
    ("GET", f"/dashboard/api/tokens/{TOKEN_ID}/denials"),
    ("GET", f"/dashboard/api/tokens/{TOKEN_ID}/usage"),
]


@pytest.mark.parametrize(("method", "target"), ASKED)
async def test_who_has_not_signed_in_is_told_nothing(desk: Desk, method: str, target: str) -> None:
    desk.csrf = (await desk.result("GET", SESSION))["csrf"]
    assert await desk.reason(method, target, BODY) is Reason.MISSING_CREDENTIALS


@pytest.mark.parametrize(("method", "target"), ASKED)
async def test_nor_is_one_who_may_list_no_tokens_any_more(desk: Desk, method: str, target: str) -> None:
    await desk.sign_in()
    desk.tokens.hold(token([DNS_ON_A]))
    assert await desk.reason(method, target, BODY) is Reason.FORBIDDEN


async def test_resources_have_their_names(desk: Desk) -> None:
    await desk.sign_in()
    assert await desk.result("GET", "/dashboard/api/resources") == {
        "zones": [{"id": ZONE_A, "name": "alpha.example", "account_id": ACCOUNT_A, "api": "cloudflare-dns"}],
        "accounts": [{"id": ACCOUNT_A, "name": "Alpha Ltd"}],
        "user": {"id": USER},
        "incomplete": False,
    }


async def test_templates_are_those_of_the_catalogue(desk: Desk) -> None:
    await desk.sign_in()
    found = await desk.result("GET", "/dashboard/api/templates")
    assert [template["name"] for template in found] == [template.name for template in CATALOG.templates]
    assert found[0] == {
        "name": "Edit zone DNS",
        "description": CATALOG.templates[0].description,
        "passes_on": False,
        "policies": [
            {
                "scope": "com.cloudflare.api.account.zone",
                "resources": "choose",
                "permission_groups": [{"id": group_id("DNS Write"), "name": "DNS Write"}],
            }
        ],
    }


async def test_a_summary_says_what_the_token_would_be_with_names(desk: Desk) -> None:
    await desk.sign_in()
    assert await desk.result("POST", SUMMARY, {**BODY, "expires_on": "2027-01-31T23:59:59Z"}) == {
        "lines": ["may use DNS Edit on zone alpha.example", "until 2027-01-31T23:59:59Z"]
    }
    assert not desk.tokens.actions


async def test_all_faults_of_a_body_are_told_as_the_token_api_tells_them(desk: Desk) -> None:
    await desk.sign_in()
    answer = await desk.ask("POST", SUMMARY, {"name": "", "policies": []})
    assert isinstance(answer, Deny)
    assert (answer.reason, [fault.pointer for fault in answer.faults]) == (Reason.INVALID_BODY, ["/name", "/policies"])


async def test_a_token_that_has_ended_may_be_edited_and_keep_its_end() -> None:
    desk = Desk(token(EVERYTHING), token(token_id=OTHER_ID, expires_on=NOW - 1))
    await desk.sign_in()
    body = {**BODY, "expires_on": "2027-01-15T07:59:59Z"}
    assert await desk.reason("POST", SUMMARY, body) is Reason.INVALID_BODY
    assert (await desk.result("POST", f"{SUMMARY}?token_id={OTHER_ID}", body))["lines"]


async def test_what_a_token_was_used_for_and_what_was_refused_to_it_is_told() -> None:
    desk = Desk(token(EVERYTHING))
    await desk.sign_in()
    (refused,) = (await desk.result("GET", f"/dashboard/api/tokens/{TOKEN_ID}/denials"))["calls"]
    assert (refused["path"], refused["reason"], refused["times"]) == ("/x", "forbidden", 2)
    days = await desk.result("GET", f"/dashboard/api/tokens/{TOKEN_ID}/usage")
    assert days == [{"day": "2027-01-15", "allowed": 4, "refused": 1}]


@pytest.mark.parametrize(
    "target",
    [
        f"/dashboard/api/tokens/{OTHER_ID}/denials",
        f"/dashboard/api/tokens/{OTHER_ID}/usage",
        f"/dashboard/api/tokens/{'0' * 32}/denials",
        "/dashboard/api/tokens/x/denials",
    ],
    ids=["a stranger's", "a stranger's use", "no token's", "no id"],
)
async def test_of_tokens_that_the_token_api_would_not_show_nothing_is_told(target: str) -> None:
    desk = Desk(token(EVERYTHING), token(token_id=OTHER_ID, owner=STRANGER))
    await desk.sign_in()
    assert await desk.reason("GET", target) is Reason.NOT_FOUND


async def test_a_strangers_token_has_no_summary_either() -> None:
    desk = Desk(token(EVERYTHING), token(token_id=OTHER_ID, owner=STRANGER))
    await desk.sign_in()
    assert await desk.reason("POST", f"{SUMMARY}?token_id={OTHER_ID}", BODY) is Reason.NOT_FOUND
