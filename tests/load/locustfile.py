"""Users with tokens of all kinds; each answer of the gateway is compared with what its token should get just then.

    ZONEGATE_URL         the gateway's base URL with its prefix, such as http://127.0.0.1:8080/client/v4
    ZONEGATE_TOKEN       a token that may make tokens (API Tokens Write), and has DNS Write on the zone
    ZONEGATE_ZONE        the id of a zone; A records are made and deleted in it
    ZONEGATE_OTHER_ZONE  the id of a zone that no token of this run may touch; it need not exist

`make load` runs it on loopback, deploy/locust/README.md says how to run it elsewhere. The run makes its own tokens and
deletes them in the end; should it be killed, they expire within six hours. An answer that is not a right one is a
failure with a line of its own, and makes the exit code 1. Wrong use is 2.
"""

import os
import random
import sys
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import gevent
from gevent.event import Event
from locust import FastHttpUser, between, constant_pacing, events, task
from locust.contrib.fasthttp import FastHttpSession
from locust.env import Environment
from locust.event import EventHook
from locust.exception import CatchResponseError
from locust.runners import WORKER_REPORT_INTERVAL, MasterRunner, WorkerRunner
from right_answers import (
    ANYTHING,
    FORBIDDEN,
    INVALID,
    LATEST,
    MALFORMED,
    MISSING,
    NO_METHOD,
    NO_ROUTE,
    OK,
    PROMISE,
    WRONG_ADDRESS,
    Answer,
    Got,
    Promise,
    Secret,
    Token,
    complaint,
    read_answer,
)

URL: Final = os.environ.get("ZONEGATE_URL", "").rstrip("/")
ZONE: Final = os.environ.get("ZONEGATE_ZONE", "")
OTHER_ZONE: Final = os.environ.get("ZONEGATE_OTHER_ZONE", "0" * 32)
OPERATOR: Final = Secret(f"Bearer {os.environ.get('ZONEGATE_TOKEN', '')}")

TIMEOUT: Final = 10.0
"""Seconds for a connection, and for each silence of the gateway."""
LIFE: Final = 6 * 3600
"""Seconds that the tokens of a run live, if it does not delete them."""
SOON: Final = 2
"""Seconds that the token lives whose end is waited for before the users come."""
UNDER_WAY: Final = 10
"""Seconds from the start to the moment at which one token ends and another begins to be valid."""
CLOCKS: Final = 2.0
"""Seconds by which this machine's clock and the gateway's may differ."""

SCOPE: Final = "com.cloudflare.api.account.zone"
RECORDS: Final = f"/zones/{ZONE}/dns_records"
OTHER_RECORDS: Final = f"/zones/{OTHER_ZONE}/dns_records"
OURS: Final = "zonegate-load-"
"""How the names of the run's records begin."""
NO_RECORD: Final = f"{RECORDS}/{'0' * 32}"


class Case(NamedTuple):
    """A request that one of the run's tokens makes over and over, and what it gets while that token works.

    Should a change get through by mistake, it does nothing: it names a record that is not there, or none at all.
    """

    holder: str
    what: str
    method: str
    path: str
    granted: Answer = OK
    body: Any = None


CASES: Final = [
    Case("reader", "write a record", "POST", RECORDS, FORBIDDEN, {}),
    Case("reader", "delete a record", "DELETE", NO_RECORD, FORBIDDEN),
    Case("reader", "list tokens", "GET", "/user/tokens", FORBIDDEN),
    Case("writer", "list another zone's records", "GET", OTHER_RECORDS, FORBIDDEN),
    Case("writer", "write another zone's record", "POST", OTHER_RECORDS, FORBIDDEN, {}),
    Case("writer", "ask for a path that is no route", "GET", f"/zones/{ZONE}/zonegate-load", NO_ROUTE),
    Case("writer", "use a method that is not there", "PATCH", RECORDS, NO_METHOD, {}),
    Case("writer with a deny", "list records", "GET", RECORDS),
    Case("writer with a deny", "delete a record", "DELETE", NO_RECORD, FORBIDDEN),
    Case("expired", "list records", "GET", RECORDS),
    Case("expired", "verify", "GET", "/user/tokens/verify"),
    Case("expires under way", "list records", "GET", RECORDS),
    Case("not yet valid", "list records", "GET", RECORDS),
    Case("valid under way", "verify", "GET", "/user/tokens/verify"),
    Case("disabled", "list records", "GET", RECORDS),
    Case("disabled", "verify", "GET", "/user/tokens/verify"),
    Case("deleted", "list records", "GET", RECORDS),
    Case("wrong address", "list records", "GET", RECORDS),
    Case("wrong address", "verify", "GET", "/user/tokens/verify"),
    Case("excluded address", "write a record", "POST", RECORDS, body={}),
    Case("no token", "list records", "GET", RECORDS),
    Case("malformed token", "list records", "GET", RECORDS),
]

secrets: Final[dict[str, Secret]] = {}
"""Of the tokens that stay as they are, by what they are."""
changing: Final[deque[Token]] = deque(maxlen=8)
"""Tokens that are rolled, disabled or deleted while others use them."""
made: Final[set[str]] = set()
"""Ids of tokens that have to be deleted in the end."""
groups: Final[dict[str, str]] = {}
"""Ids of permission groups by their names."""
promise: Final = Promise()


def open_session(host: str, request_event: EventHook) -> FastHttpSession:
    """A client of the gateway beside the users."""
    session = FastHttpSession(
        host, request_event, None, insecure=False, connection_timeout=TIMEOUT, network_timeout=TIMEOUT
    )
    return judging(session)


def judging(session: FastHttpSession) -> FastHttpSession:
    """`session`, which leaves every status to us."""
    # Left alone, it follows a redirect with the secret in its hand, and writes each refusal down for a log.
    session.client.valid_response_codes = range(1000)
    session.client.redirect_response_codes = ()
    return session


def ask(
    session: FastHttpSession,
    name: str,
    secret: Secret,
    method: str,
    path: str,
    granted: Answer = OK,
    *,
    body: Any = None,
    alone: bool = False,
    wanted: object = ANYTHING,
) -> Got:
    """What came back, after it was judged and counted under `name`.

    `wanted`: what the result has to show; `alone`: on a connection of its own, so that each worker of a gateway gets
    its turn.
    """
    headers = {"Connection": "close"} if alone else {}
    if secret.authorization is not None:
        headers["Authorization"] = secret.authorization
    sent = time.time()
    with session.request(method, path, name=name, json=body, headers=headers, catch_response=True) as response:
        if response.status_code == 0:
            response.failure(f"no answer: {type(response.error).__name__}")
            return Got(Answer(0))
        got = read_answer(response.status_code, response.content)
        wrong = complaint(got, secret.right(granted, sent, time.time()), wanted)
        if wrong is None:
            response.success()
        else:
            response.failure(wrong)
    return got


def allow(*names: str) -> dict[str, Any]:
    """A policy that gives the groups of these names on the zone."""
    return {
        "effect": "allow",
        "permission_groups": [{"id": groups[name]} for name in names],
        "resources": {f"{SCOPE}.{ZONE}": "*"},
    }


def body_of(name: str, *policies: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A token's body; it ends in `LIFE` unless `fields` say otherwise."""
    return {"name": f"zonegate load: {name}", "policies": policies, "expires_on": moment(time.time() + LIFE), **fields}


def moment(at: float) -> str:
    """Unix seconds in the API's spelling."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def create(session: FastHttpSession, name: str, *policies: Mapping[str, Any], **fields: Any) -> Token | None:
    """A new token; None when there was no right answer."""
    body = body_of(name, *policies, **fields)
    got = ask(session, "create a token", OPERATOR, "POST", "/user/tokens", body=body)
    match got:
        case Got(Answer(200, None), {"id": str(token_id), "value": str(value)}):
            made.add(token_id)
            return Token(token_id, deque([Secret(f"Bearer {value}")], maxlen=3))
        case _:
            return None


def delete(session: FastHttpSession, token_id: str) -> Got:
    """The token is no more, if the answer says so."""
    got = ask(session, "delete a token", OPERATOR, "DELETE", f"/user/tokens/{token_id}")
    if got.answer == OK:
        made.discard(token_id)
    return got


# The run: tokens before the first user, none after the last.


@events.init.add_listener
def check_use(environment: Environment, **_: Any) -> None:
    """The variables are there; else the process ends with 2."""
    missing = [name for name in ("ZONEGATE_URL", "ZONEGATE_TOKEN", "ZONEGATE_ZONE") if not os.environ.get(name)]
    if missing:
        sys.stderr.write(f"zonegate load: {', '.join(missing)}: not set; deploy/locust/README.md says what to set\n")
        raise SystemExit(2)

    def last_line(exit_code: int, **_: Any) -> None:
        total = environment.stats.total
        kept = f"; {promise.changes} changes of tokens, {promise.late} not obeyed after {PROMISE} s"
        sys.stdout.write(
            f"zonegate load: {total.num_requests} answers, {total.num_failures} wrong"
            f"{kept if promise.changes else ''}; exit code {exit_code}\n"
        )

    if not isinstance(environment.runner, WorkerRunner):
        environment.events.quit.add_listener(last_line)


@events.test_start.add_listener
def prepare(environment: Environment, **_: Any) -> None:
    """All tokens are made, and the one that has to be expired is; or the run is over."""
    if isinstance(environment.runner, MasterRunner):
        return  # each of its workers makes its own
    changing.clear()
    promise.changes = promise.late = 0
    try:
        make_tokens(open_session(environment.host or URL, environment.events.request))
    except Unprepared as why:
        sys.stderr.write(f"zonegate load: {why}; the report says what was answered\n")
        give_up(environment)


class Unprepared(Exception):  # noqa: N818 - it is said to a person
    """There can be no run, and why."""


def give_up(environment: Environment) -> None:
    """End the run before its first user; the caller does not live to see it.

    Locust goes on after most exceptions of a listener, and prints a traceback for the rest.
    """
    runner, options = environment.runner, environment.parsed_options
    if isinstance(runner, WorkerRunner):
        gevent.sleep(WORKER_REPORT_INTERVAL + 1)  # its master has to hear of it
    gevent.spawn(runner.quit if isinstance(runner, WorkerRunner) or options.headless else runner.stop)
    Event().wait()


def make_tokens(session: FastHttpSession) -> None:
    """All tokens are made, and the one that has to be expired is. Raises Unprepared."""
    find_groups(session)
    start = int(time.time())
    tokens = {kind.name: (kind, create(session, kind.name, *kind.policies, **kind.fields)) for kind in kinds(start)}
    for name, (kind, token) in tokens.items():
        if token is None:
            raise Unprepared(f"the token '{name}' could not be made")
        secrets[name] = Secret(token.current.authorization, kind.refusal)
        if name == "deleted":
            delete(session, token.id)
    if ask(session, "writer: list records", secrets["writer"], "GET", RECORDS).answer != OK:
        raise Unprepared("the zone's records cannot be read: see whether ZONEGATE_ZONE is right")
    secrets["no token"] = Secret(None, MISSING)
    secrets["malformed token"] = Secret("Bearer zgt_malformed", MALFORMED)
    around = (start + UNDER_WAY - CLOCKS, start + UNDER_WAY + CLOCKS)
    secrets["expires under way"].change(INVALID, *around)
    secrets["valid under way"].change(None, *around)
    settled = max(start + SOON + CLOCKS, time.time() + LATEST)
    while (left := settled - time.time()) > 0:
        gevent.sleep(left)


def find_groups(session: FastHttpSession) -> None:
    """The permission groups are known by name. Raises Unprepared."""
    for name in ("DNS Read", "DNS Write"):
        path = f"/user/tokens/permission_groups?name={name.replace(' ', '%20')}&scope={SCOPE}"
        match ask(session, "find a permission group", OPERATOR, "GET", path).result:
            case [{"id": str(group_id)}]:
                groups[name] = group_id
            case _:
                raise Unprepared(f"no permission group {name}: see whether ZONEGATE_URL and ZONEGATE_TOKEN are right")


class Kind(NamedTuple):
    """A token that stays as it is: what it is made of, and what it gets for everything, if that is always the same."""

    name: str
    policies: Sequence[Mapping[str, Any]]
    fields: Mapping[str, Any]
    refusal: Answer | None = None


def kinds(start: int) -> list[Kind]:
    """The tokens of a run that begins at `start`."""
    read, write = allow("DNS Read"), allow("DNS Write")
    either, denied = allow("DNS Read", "DNS Write"), {**write, "effect": "deny"}
    nobody = {"request_ip": {"in": ["192.0.2.0/24"]}}  # RFC 5737
    everybody = ["0.0.0.0/0", "::/0"]
    return [
        Kind("expired", [write], {"expires_on": moment(start + SOON)}, INVALID),  # first: it has little time
        Kind("reader", [read], {}),
        Kind("writer", [write], {}),
        Kind("writer with a deny", [either, denied], {}),
        Kind("expires under way", [write], {"expires_on": moment(start + UNDER_WAY)}),
        Kind("not yet valid", [write], {"not_before": moment(start + LIFE // 2)}, INVALID),
        Kind("valid under way", [write], {"not_before": moment(start + UNDER_WAY)}, INVALID),
        Kind("disabled", [write], {"status": "disabled"}, INVALID),
        Kind("deleted", [write], {}, INVALID),
        Kind("wrong address", [write], {"condition": nobody}, WRONG_ADDRESS),
        Kind("excluded address", [write], {"condition": {"request_ip": {"not_in": everybody}}}, WRONG_ADDRESS),
    ]


@events.quitting.add_listener
def end_users(environment: Environment, **_: Any) -> None:
    """No user is left, so that what `tidy` finds still counts: Locust itself ends them when its verdict stands."""
    if environment.runner is not None and not isinstance(environment.runner, MasterRunner):
        environment.runner.stop()


@events.test_stop.add_listener
def tidy(environment: Environment, **_: Any) -> None:
    """The run's tokens are deleted, and the promise is looked at."""
    if isinstance(environment.runner, MasterRunner):
        return
    session = open_session(environment.host or URL, environment.events.request)
    for token_id in sorted(made):
        delete(session, token_id)
    if broken := promise.complaint():
        environment.events.request.fire(
            request_type="*",
            name="the promise",
            response_time=0,
            response_length=0,
            exception=CatchResponseError(broken),
        )


class ZonegateUser(FastHttpUser):
    """A user of the gateway: one connection, no second try, a certificate that is looked at."""

    abstract = True
    host = URL
    insecure = False
    concurrency = 1
    connection_timeout = network_timeout = TIMEOUT

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        judging(self.client)

    def ask(self, name: str, secret: Secret, method: str, path: str, granted: Answer = OK, **options: Any) -> Got:
        """See `ask`."""
        return ask(self.client, name, secret, method, path, granted, **options)

    def see_obeyed(self, name: str, secret: Secret, answered: float) -> None:
        """The last change of `secret`, whose answer came at `answered`, is obeyed; it is asked again until it is.

        Once `LATEST` is over, the answer of before is a wrong one, and `ask` says so.
        """
        wanted = secret.final(OK)
        path = "/user/tokens/verify"
        gevent.sleep(max(0.0, answered + PROMISE - time.time()))
        obeyed = self.ask(name, secret, "GET", path, alone=True).answer == wanted
        promise.note(obeyed=obeyed)
        while not obeyed and time.time() < answered + LATEST + 1:
            gevent.sleep(0.1)
            obeyed = self.ask(name, secret, "GET", path, alone=True).answer == wanted


class Reader(ZonegateUser):
    """Reads what its token may read."""

    weight = 4
    wait_time = between(0.01, 0.05)

    @task(3)
    def list_records(self) -> None:
        self.ask("reader: list records", secrets["reader"], "GET", RECORDS, wanted=list)

    @task(3)
    def read_a_record(self) -> None:
        secret = secrets["reader"]
        query = f"?per_page={random.randint(5, 50)}&direction=desc"  # noqa: S311 - hardly two requests alike
        records = self.ask("reader: list some records", secret, "GET", RECORDS + query).result or ()
        lasting = [record["id"] for record in records if not record["name"].startswith(OURS)]
        if lasting:
            path = f"{RECORDS}/{lasting[0]}"
            self.ask("reader: read a record", secret, "GET", path, wanted={"id": lasting[0]})

    @task
    def verify(self) -> None:
        self.ask("reader: verify", secrets["reader"], "GET", "/user/tokens/verify", wanted={"status": "active"})


class Writer(ZonegateUser):
    """Makes a record, changes it, and takes it away; what it reads in between is what it wrote."""

    weight = 3
    wait_time = between(0.01, 0.05)

    @task
    def life_of_a_record(self) -> None:
        name = f"{OURS}{uuid.uuid4().hex}"
        record = {"type": "A", "name": name, "content": an_address(), "ttl": 300}
        found = self.write("create a record", "POST", RECORDS, record, wanted={"content": record["content"]}).result
        if found is None:
            return
        path, same = f"{RECORDS}/{found['id']}", {"id": found["id"]}
        self.write("read a record", "GET", path, wanted=same | {"content": record["content"]})
        for what, method in (("change a record", "PATCH"), ("replace a record", "PUT")):
            record["content"] = an_address()
            self.write(what, method, path, record, wanted=same | {"content": record["content"]})
        self.write("delete a record", "DELETE", path, wanted=same)
        self.write("look for a deleted record", "GET", f"{RECORDS}?name={found['name']}", wanted=[])

    def write(self, what: str, method: str, path: str, record: Any = None, *, wanted: object) -> Got:
        return self.ask(f"writer: {what}", secrets["writer"], method, path, body=record, wanted=wanted)


def an_address() -> str:
    """One that is nobody's (RFC 5737)."""
    return f"198.51.100.{random.randint(0, 255)}"  # noqa: S311 - no secret


class Refused(ZonegateUser):
    """Asks for what its tokens do not get."""

    weight = 5
    wait_time = between(0.01, 0.05)

    @task
    def ask_for_it(self) -> None:
        case = random.choice(CASES)  # noqa: S311 - no secret
        name = f"{case.holder}: {case.what}"
        self.ask(name, secrets[case.holder], case.method, case.path, case.granted, body=case.body)


class Onlooker(ZonegateUser):
    """Uses tokens that others roll, disable and delete meanwhile."""

    weight = 3
    wait_time = between(0.01, 0.05)

    @task
    def use(self) -> None:
        if changing:
            secret = random.choice(random.choice(changing).secrets)  # noqa: S311 - which one is no secret
            self.ask("changing token: list records", secret, "GET", RECORDS)


class Roller(ZonegateUser):
    """Rolls its token: the old secret is dead, and the new one works."""

    fixed_count = 2
    wait_time = constant_pacing(1)
    token: Token | None = None

    @task
    def roll(self) -> None:
        if self.token is None:
            self.token = create(self.client, "rolled", allow("DNS Write"))
            if self.token is None:
                return
            changing.append(self.token)
        old, asked = self.token.current, time.time()
        old.change(INVALID, asked)
        got = self.ask("roll a token", OPERATOR, "PUT", f"/user/tokens/{self.token.id}/value", body={})
        answered = time.time()
        if got.answer != OK:
            self.token = None  # whether it was rolled is unknown
            return
        new = self.token.rolled(f"Bearer {got.result}", asked, answered)
        self.see_obeyed("old secret after a roll: verify", old, answered)
        self.see_obeyed("new secret after a roll: verify", new, answered)


class Ender(ZonegateUser):
    """Makes a token, disables it, enables it, and deletes it."""

    # Not more: a gateway lets a client's network find ten unknown tokens a second, and each deleted one is one.
    fixed_count = 2
    wait_time = constant_pacing(1)

    @task
    def life_of_a_token(self) -> None:
        token = create(self.client, "ended", allow("DNS Write"))
        if token is None:
            return
        secret = token.current
        self.ask("new token: list records", secret, "GET", RECORDS)
        changing.append(token)
        for what, status, refusal in (("disable", "disabled", INVALID), ("enable", "active", None)):
            body = body_of("ended", allow("DNS Write"), status=status)
            secret.change(refusal, time.time())
            path, same = f"/user/tokens/{token.id}", {"id": token.id, "status": status}
            got = self.ask(f"{what} a token", OPERATOR, "PUT", path, body=body, wanted=same)
            if not self.settled(got, secret, f"{what}d token: verify"):
                return
        secret.change(INVALID, time.time())
        self.settled(delete(self.client, token.id), secret, "deleted token: verify")

    def settled(self, got: Got, secret: Secret, name: str) -> bool:
        """Whether the change was made; it is obeyed then."""
        if got.answer != OK:
            return False  # unknown: from here on either answer is right
        answered = time.time()
        secret.settle(answered + LATEST)
        self.see_obeyed(name, secret, answered)
        return True
