"""What it costs to authenticate by what is in memory, as ratios to one SHA-256 of the secret: `make bench-auth`.

For a token with one policy, and for one with 50 policies of 300 groups and 1,000 resources each and 200 networks; for
a credential whose line proved itself before, and for one that has to be compared. CPU time; the contestants take turns,
a round each, and the least disturbed round of each counts. The garbage collector is on, as it is in a worker. Ends with
1 when authentication costs more than ten times the SHA-256.
"""

import argparse
import gc
import hashlib
import hmac
import itertools
import json
import random
import sys
import time
import timeit
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.records import CATALOG, NOW, group_id, owner, secret_of, token, zone
from support.zone_accounts import MemoryAccounts

from gateway.access.compiled import CompiledToken, compile_owner, compile_token
from gateway.access.decide import check_address, check_dates, check_status, decide
from gateway.access.decision import Allow, Decision
from gateway.access.principal import Principal, prove
from gateway.access.question import Question
from gateway.app import since_boot
from gateway.catalog.route_table import Match
from gateway.catalog.target import Target, split_target
from gateway.proxy.field_line import KnownLines
from gateway.reason import Deny
from gateway.server.admission import Admission, Pending
from gateway.server.head import Head, HeadReader
from gateway.server.shown_lines import Shown, ShownLines
from gateway.store.cache import Entry, OwnerCell
from gateway.store.lookup import TokenLookup
from gateway.tokens.credential import AUTHORIZATION, read_value
from gateway.tokens.digest import NO_PEPPERS, Peppers
from gateway.tokens.policy import Effect, Policy
from gateway.tokens.secret import Credential, Sensitive, parse_secret

LIMIT: Final = 10.0
BASE: Final = "SHA-256 of the secret"
HMAC: Final = "HMAC-SHA-256 of the secret"
COMPARED: Final = "AUTHENTICATION, compared"
SHOWN: Final = "AUTHENTICATION, shown before"
PEPPERED: Final = "50, and a pepper"

SECRET: Final = secret_of().reveal()
BEARER: Final = f"Bearer {SECRET}".encode()
NINE_FIELDS: Final = (
    b"Host: api.example.com",
    b"User-Agent: cloudflare-python/4.3.1",
    b"Accept: application/json",
    b"Accept-Encoding: gzip, deflate",
    b"Connection: keep-alive",
    b"Authorization: " + BEARER,
    b"Content-Type: application/json",
    b"X-Request-Id: 0f0f0f0f0f0f0f0f",
    b"Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
NAMES: Final = CATALOG.credential_fields
HERE: Final = ip_address("192.0.2.77")
PEPPERS: Final = Peppers([Sensitive("a pepper of thirty-two characters")])


LAST: Final = 49


def hexadecimal(number: int) -> str:
    return f"{number:032x}"


def zone_id(policy: int, number: int) -> str:
    """The id of one of the 1,000 zones that a policy of fifty names."""
    return hexadecimal(policy << 64 | number)


def compiled(policies: list[Policy], networks: list[str], peppers: Peppers) -> CompiledToken:
    return compile_token(
        token(
            policies,
            digests=(peppers.sign(secret_of()),),
            request_ip=networks,
            not_before=NOW - 1000,
            expires_on=NOW + 1000,
        ),
        compile_owner(owner()),
    )


def one_policy(peppers: Peppers) -> CompiledToken:
    policies = [Policy("1" * 32, Effect.ALLOW, (group_id("DNS Write"),), {zone("*"): "*"})]
    return compiled(policies, ["192.0.2.0/24"], peppers)


def fifty_policies(peppers: Peppers) -> CompiledToken:
    """The most that each part of a token may have, and more than fits into one; the last policy gives DNS."""
    draw = random.Random(0)  # noqa: S311 - the same token in each run
    policies = []
    for number in range(50):
        groups = [hexadecimal(draw.getrandbits(128)) for _ in range(299)]
        zones = [zone_id(number, each) for each in range(1000)]
        policies.append(
            Policy(
                hexadecimal(number),
                Effect.ALLOW if number % 5 else Effect.DENY,
                (*groups, group_id("DNS Write") if number == LAST else "9" * 32),
                dict.fromkeys([zone(each) for each in zones], "*"),
            )
        )
    networks = [f"10.{number}.{number % 7}.0/{24 + number % 5}" for number in range(199)]
    return compiled(policies, [*networks, "192.0.2.0/24"], peppers)


def path_of(zone_id: str) -> bytes:
    return f"/client/v4/zones/{zone_id}/dns_records".encode()


def request(zone_id: str) -> bytes:
    """A request of nine fields."""
    return b"\r\n".join([b"GET %b HTTP/1.1" % path_of(zone_id), *NINE_FIELDS, b"", b""])


def target_of(zone_id: str) -> Target:
    found = split_target(path_of(zone_id))
    assert isinstance(found, Target)
    return found


class _NoDocuments:
    """Nothing is read: every look-up is a hit."""

    async def read(self, token_ids: Sequence[str]) -> list[Any]:
        raise NotImplementedError


def remembering(held: CompiledToken) -> TokenLookup:
    """A worker's memory that holds the token, and is believed for as long as the bench takes."""
    lookup = TokenLookup(_NoDocuments(), clock=since_boot)
    for_ever = since_boot() + 1e6
    lookup.trust.until = for_ever
    cell = OwnerCell(b"", held.ceiling)
    lookup.cache.put_owner(held.owner.key, cell)
    lookup.cache.put(held.id, Entry(held, cell, for_ever))
    return lookup


class Gateway:
    """A cache with one token in it, and what a listener does with a request."""

    def __init__(self, held: CompiledToken, peppers: Peppers) -> None:
        self.look: Callable[[str], Any] = remembering(held).look
        self.peppers = peppers
        # More than a token remembers, so that each is new when it comes again.
        targets = [target_of(zone_id(LAST, number)) for number in range(1000)]
        self.targets = itertools.cycle(targets)
        self.target = targets[0]
        self.match = self.route()
        credential = self.read()
        assert isinstance(credential, Credential)
        self.credential = credential
        principal = self.prove()
        assert isinstance(principal, Principal)
        self.principal = principal
        assert self.authenticate() is None
        self.lines, self.shown_lines = KnownLines(), ShownLines()
        self.reader, self.admission = self.listener(self.lines, self.shown_lines)
        self.requests = itertools.cycle([request(zone_id(LAST, number)) for number in range(1000)])
        self.request = next(self.requests)
        self.new_reader, self.new_admission = self.listener(KnownLines(), ShownLines(most=0))
        self.new_head = self.head(self.new_reader)
        for _ in range(2):
            head = self.head(self.reader)
            assert isinstance(self.admission.admit(head, HERE), Allow)
            self.lines.learn(head.fresh)
        self.shown_head = self.head(self.reader)
        assert self.shown_head.shown is not None
        self.shown: Shown = self.shown_head.shown
        assert not self.shown_head.fresh
        assert self.new_head.shown is None
        assert self.authenticate_shown() is None
        assert all(isinstance(self.all_new(), Allow) for _ in targets)
        assert isinstance(self.admit_compared(), Allow)

    def listener(self, lines: KnownLines, shown: ShownLines) -> tuple[HeadReader, Admission]:
        """What reads the heads that come to a listener, and what admits them."""
        reader = HeadReader(lines, token_fields=NAMES, secret_fields=NAMES, shown=shown.lines)
        tokens: Any = self
        store: Any = None  # a digest that is current is not written
        admission = Admission(
            tokens, store, CATALOG.public, MemoryAccounts(), peppers=self.peppers, clock=lambda: NOW, shown=shown
        )
        return reader, admission

    def head(self, reader: HeadReader) -> Head:
        found = reader.read(self.request)
        assert isinstance(found, Head)
        return found

    def read(self) -> Credential | Deny:
        return read_value(AUTHORIZATION, BEARER)

    def prove(self) -> Principal | Deny:
        return prove(self.credential, self.look(self.credential.token_id), self.peppers, NOW)

    def check(self) -> Deny | None:
        ask = Question(self.principal, HERE, self.target, self.match, NOW)
        return check_status(ask) or check_dates(ask) or check_address(ask)

    def authenticate(self) -> Deny | None:
        credential = read_value(AUTHORIZATION, BEARER)
        if isinstance(credential, Deny):
            return credential
        principal = prove(credential, self.look(credential.token_id), self.peppers, NOW)
        if isinstance(principal, Deny):
            return principal
        ask = Question(principal, HERE, self.target, self.match, NOW)
        return check_status(ask) or check_dates(ask) or check_address(ask)

    def authenticate_shown(self) -> Deny | None:
        principal = self.shown.principal
        if self.look(principal.token.id) is not principal.token or principal.digest.ends is not None:
            return self.authenticate()
        ask = Question(principal, HERE, self.target, self.match, NOW)
        return check_status(ask) or check_dates(ask) or check_address(ask)

    def route(self) -> Match:
        return CATALOG.public.match("GET", self.target.segments)

    def decide_remembered(self) -> Decision:
        return decide(Question(self.principal, HERE, self.target, self.match, NOW))

    def decide_new(self) -> Decision:
        return decide(Question(self.principal, HERE, next(self.targets), self.match, NOW))

    def admit_shown(self) -> Allow | Deny | Pending:
        return self.admission.admit(self.shown_head, HERE)

    def admit_compared(self) -> Allow | Deny | Pending:
        return self.new_admission.admit(self.new_head, HERE)

    def all_remembered(self) -> Allow | Deny | Pending:
        return self.admission.admit(self.head(self.reader), HERE)

    def all_new(self) -> Allow | Deny | Pending:
        self.request = next(self.requests)
        return self.admission.admit(self.head(self.reader), HERE)

    def contestants(self) -> dict[str, Callable[[], object]]:
        """What is measured, by name."""
        return {
            "read the field's value": self.read,
            "  of it: parse_secret": lambda: parse_secret(SECRET),
            "find it, and prove it": self.prove,
            "status, dates, address": self.check,
            COMPARED: self.authenticate,
            SHOWN: self.authenticate_shown,
            "read a head, its nine lines known": lambda: self.head(self.reader),
            "read a head, no line of it known": lambda: self.head(self.new_reader),
            "find the route": self.route,
            "decide, a remembered zone": self.decide_remembered,
            "decide, a new zone": self.decide_new,
            "admit, shown before": self.admit_shown,
            "admit, compared": self.admit_compared,
            "read a head, and admit": self.all_remembered,
            "the same, a new zone": self.all_new,
        }


Name = tuple[str, str]
"""What was measured, and on which token ("" on none)."""


def measure(contestants: Mapping[Name, Callable[[], object]], rounds: int, count: int) -> dict[Name, float]:
    """Microseconds of CPU for each."""
    timers = {
        name: timeit.Timer(contestant, setup=gc.enable, timer=time.process_time)
        for name, contestant in contestants.items()
    }
    least = dict.fromkeys(timers, float("inf"))
    for _ in range(rounds):
        for name, timer in timers.items():
            least[name] = min(least[name], timer.timeit(count) / count * 1e6)
    return least


def table(found: Mapping[Name, float], columns: list[str]) -> str:
    lines = ["".join([f"{'':38}", *(f"{column:>20}" for column in columns)])]
    for name in dict.fromkeys(name for name, _ in found):
        cells = [found.get((name, column), found.get((name, ""), 0.0)) for column in columns]
        lines.append("".join([f"{name:38}", *(f"{cell:9.2f} us{cell / found[BASE, '']:6.1f} x" for cell in cells)]))
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--count", type=int, default=4000, help="of each, a round")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    gateways = {
        "1 policy": Gateway(one_policy(NO_PEPPERS), NO_PEPPERS),
        "50 policies": Gateway(fifty_policies(NO_PEPPERS), NO_PEPPERS),
        PEPPERED: Gateway(fifty_policies(PEPPERS), PEPPERS),
    }
    contestants: dict[Name, Callable[[], object]] = {
        (BASE, ""): lambda: hashlib.sha256(SECRET.encode()).hexdigest(),
        (HMAC, ""): lambda: hmac.digest(b"a pepper", SECRET.encode(), "sha256").hex(),
    }
    for column, gateway in gateways.items():
        contestants |= {(name, column): run for name, run in gateway.contestants().items()}
    found = measure(contestants, options.rounds, options.count)
    ratios = {
        column: {what: found[what, column] / found[BASE, ""] for what in (COMPARED, SHOWN)} for column in gateways
    }
    if options.json:
        rows = [{"what": what, "token": on, "microseconds": time} for (what, on), time in found.items()]
        sys.stdout.write(json.dumps({"rows": rows, "ratios": ratios, "limit": LIMIT}, indent=2) + "\n")
    else:
        sys.stdout.write(table(found, list(gateways)))
    # A pepper makes an HMAC of the hash, which is half as dear again by itself: it is shown, and not held to the limit.
    dear = [
        f"{column}: {what}: {ratio:.1f}"
        for column, each in ratios.items()
        for what, ratio in each.items()
        if ratio > LIMIT and column != PEPPERED
    ]
    for what in dear:
        sys.stderr.write(f"bench-auth: {what} times SHA-256, and {LIMIT:.0f} are allowed\n")
    return bool(dear)


if __name__ == "__main__":
    sys.exit(main())
