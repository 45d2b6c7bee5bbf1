"""What the contest says of its contestants: who passes the self-check, and what counts as reached."""

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from contest import contestant as who
from contest import missing, self_check
from contest import scenario as what
from contest.arena import JOURNALLED, Arena, Broken, Stand, path_of
from contest.contestant import NGINX, TWO_WORKERS, ZONEGATE, Contestant
from contest.findings import Findings
from contest.goal import GOALS, Goal, judge, judge_idle
from contest.idle_connections import Idle
from contest.launch import UPSTREAM_CREDENTIAL, fill_in
from contest.machine import Cores, share_out
from contest.measurement import Measurement
from contest.missing import Missing, Module, Need
from contest.samples import Samples
from contest.token_set import TOKENS, digest_of, holder

GATE, PLAIN = (what.UNLIKE, ZONEGATE), (what.UNLIKE, NGINX)


def measurement(**given: Any) -> Measurement:
    """A measurement of a contestant that had its core for itself."""
    usual: dict[str, Any] = dict.fromkeys(Measurement.__struct_fields__, 0)
    return Measurement(**{**usual, "requests": 1000.0, "cpu": 100.0, "busy": 1.0, "count": 1000, **given})


def findings(rounds: Mapping[tuple[str, str], list[Measurement]]) -> Findings:
    found = Findings()
    for pair, measured in rounds.items():
        for round_, each in enumerate(measured):
            found.add(*pair, round_, each)
    return found


# The self-check.

Way = Callable[[str, str, Callable[[str], None]], int]
"""A proxy's way: the zone and the credential that were sent, and how to tell the upstream; returns the status."""

ZONES = {f"Bearer {each.secret}": each.zone for each in map(holder, (0, TOKENS - 1))}


def honest(zone: str, credential: str, forward: Callable[[str], None]) -> int:
    if credential not in ZONES:
        return 401
    if ZONES[credential] != zone:
        return 403
    forward(UPSTREAM_CREDENTIAL)
    return 200


def everybody(_: str, __: str, forward: Callable[[str], None]) -> int:
    forward(UPSTREAM_CREDENTIAL)
    return 200


def every_zone(_: str, credential: str, forward: Callable[[str], None]) -> int:
    if credential not in ZONES:
        return 401
    forward(UPSTREAM_CREDENTIAL)
    return 200


def asks_first(zone: str, credential: str, forward: Callable[[str], None]) -> int:
    forward(UPSTREAM_CREDENTIAL)
    return honest(zone, credential, lambda _: None)


def hands_the_token_on(zone: str, credential: str, forward: Callable[[str], None]) -> int:
    return honest(zone, credential, lambda _: forward(credential))


def answers_itself(zone: str, credential: str, _: Callable[[str], None]) -> int:
    return honest(zone, credential, lambda _: None)


def nobody(_: str, __: str, ___: Callable[[str], None]) -> int:
    return 401


@contextmanager
def standing(way: Way, directory: Path, contestant: Contestant) -> Iterator[tuple[Arena, Stand]]:
    """A proxy of that way, and the arena in which it stands."""
    journal = directory / "journal.jsonl"
    journal.touch()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            def forward(credential: str) -> None:
                with journal.open("a") as file:
                    file.write(json.dumps({"target": self.path, "credential": credential}) + "\n")

            self.send_response(way(self.path.split("/")[4], self.headers.get("Authorization", ""), forward))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    nothing: Any = None
    try:
        stand = Stand(contestant, server.server_port, None)
        yield Arena(directory, share_out([0, 1]), nothing, nothing, {}), stand
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


CHECKING = Contestant("one", "one", checks=True)
PLAIN_PROXY = Contestant("one", "one")


@pytest.mark.parametrize(
    ("way", "contestant"),
    [
        pytest.param(honest, CHECKING, id="one that checks"),
        pytest.param(everybody, PLAIN_PROXY, id="one that does not claim to"),
    ],
)
def test_the_self_check_lets_take_part(way: Way, contestant: Contestant, tmp_path: Path) -> None:
    with standing(way, tmp_path, contestant) as (arena, stand):
        self_check.check(arena, stand)
        assert [each["target"] for each in arena.journal] == [
            path_of(holder(number).zone, JOURNALLED) for number in (0, TOKENS - 1)
        ]


@pytest.mark.parametrize(
    ("way", "why"),
    [
        pytest.param(everybody, "no token: 200, not 401", id="who lets everybody in"),
        pytest.param(every_zone, "another zone: 200, not 403", id="who looks at no zone"),
        pytest.param(
            asks_first, "a refused request reached the upstream", id="who asks the upstream before he refuses"
        ),
        pytest.param(hands_the_token_on, "under another credential", id="who hands the client's token on"),
        pytest.param(answers_itself, "0 of 2 requests reached the upstream", id="who never asks the upstream"),
        pytest.param(nobody, "the first token: 401, not 200", id="who lets nobody in"),
    ],
)
def test_the_self_check_finds_out(way: Way, why: str, tmp_path: Path) -> None:
    with standing(way, tmp_path, CHECKING) as (arena, stand), pytest.raises(Broken, match=why):
        self_check.check(arena, stand)


# The goals.


@pytest.mark.parametrize("goal", GOALS, ids=lambda goal: goal.title)
def test_a_goal_speaks_of_what_is_measured(goal: Goal) -> None:
    scenarios = {each.key: each.contestants for each in what.ALL}
    assert all(contestant in scenarios[scenario] for scenario, contestant in (goal.over, goal.under))
    assert goal.field in Measurement.__struct_fields__


HALF = Goal("half of nginx", GATE, PLAIN, 0.5)


@pytest.mark.parametrize(
    ("goal", "own", "other", "outcome", "value"),
    [
        pytest.param(HALF, {"requests": 500.0}, {}, "pass", 0.5, id="at the bound"),
        pytest.param(HALF, {"requests": 499.0}, {}, "shortfall", 0.499, id="below it"),
        pytest.param(
            HALF, {"requests": 900.0, "busy": 0.5, "cpu": 250.0}, {}, "shortfall", 0.4, id="own core not full"
        ),
        pytest.param(HALF, {"requests": 100.0}, {"busy": 0.89, "cpu": 60.0}, "pass", 0.6, id="the other's not full"),
        pytest.param(HALF, {"wrong": 1}, {}, "shortfall", 1.0, id="a wrong answer"),
        pytest.param(HALF, {}, {"wrong": 1}, "pass", 1.0, id="a wrong answer of the other"),
        pytest.param(
            Goal("", GATE, PLAIN, 3.0, "p99", at_most=True), {"p99": 3.0}, {"p99": 1.0}, "pass", 3.0, id="at most"
        ),
        pytest.param(
            Goal("", GATE, PLAIN, 3.0, "p99", at_most=True), {"p99": 3.1}, {"p99": 1.0}, "shortfall", 3.1, id="more"
        ),
        pytest.param(Goal("", GATE, PLAIN, None), {"requests": 10.0}, {}, "reported", 0.01, id="no bound"),
    ],
)
def test_a_goal_is_reached_or_not(
    goal: Goal, own: dict[str, Any], other: dict[str, Any], outcome: str, value: float
) -> None:
    verdict = judge(goal, findings({GATE: [measurement(**own)], PLAIN: [measurement(**other)]}), shared=True)
    assert verdict.outcome == outcome
    assert verdict.value == pytest.approx(value)


def test_what_was_not_measured_is_no_shortfall() -> None:
    assert judge(HALF, findings({GATE: [measurement()]}), shared=True).outcome == "not measured"
    assert judge_idle(None).outcome == "not measured"


def test_a_ratio_is_taken_inside_a_round_and_the_median_counts() -> None:
    own = [measurement(requests=each) for each in (80.0, 8.0, 70.0)]
    other = [measurement(requests=each) for each in (100.0, 10.0, 100.0)]
    verdict = judge(HALF, findings({GATE: own, PLAIN: other}), shared=True)
    assert verdict.value == pytest.approx(0.8)
    assert verdict.spread == pytest.approx((0.7, 0.8))


def test_two_workers_are_told_what_they_could_reach_at_the_most() -> None:
    goal = next(each for each in GOALS if each.over[1] == TWO_WORKERS)
    own = measurement(requests=1500.0, cpu_upstream=10.0, cpu_generator=15.0)
    found = findings({goal.over: [own], goal.under: [measurement()]})
    assert judge(goal, found, shared=True).note.startswith("at most 1.60 here")
    assert judge(goal, found, shared=False).note == ""


@pytest.mark.parametrize(
    ("connections", "mib", "outcome"),
    [
        pytest.param(10_000, 249.9, "pass", id="below"),
        pytest.param(10_000, 250.0, "shortfall", id="at the bound"),
        pytest.param(1_000, 100.0, "not measured", id="too few connections"),
    ],
)
def test_idle_connections_have_a_goal(connections: int, mib: float, outcome: str) -> None:
    assert judge_idle(Idle(connections, 50.0, mib)).outcome == outcome


# What it stands on.


@pytest.mark.parametrize(
    ("available", "cores"),
    [
        pytest.param([0, 1], Cores("0", "1", "0,1", shared=True), id="two"),
        pytest.param([4, 2, 6], Cores("2", "4", "2,4", shared=True), id="three"),
        pytest.param([0, 1, 2, 3, 4], Cores("0,1", "2", "2,3", shared=False), id="more"),
    ],
)
def test_the_contestant_has_a_core_for_itself(available: list[int], cores: Cores) -> None:
    assert share_out(available) == cores


def test_one_core_is_not_enough() -> None:
    with pytest.raises(Missing, match="two cores"):
        share_out([3])


def test_only_names_in_braces_are_filled_in() -> None:
    assert fill_in('$uri "@" @{port}; root@host {1}', {"port": "80"}) == '$uri "@" 80; root@host {1}'


def test_a_name_that_nobody_gave_is_an_error() -> None:
    with pytest.raises(KeyError, match="prot"):
        fill_in("@{prot}", {"port": "80"})


def test_what_is_missing_is_named_with_the_command_that_installs_it() -> None:
    needs = [
        Need("/nowhere/one.so", "libone"),
        Module("no_such_module", "no-such-package"),
        Module("pytest", "pytest"),
        Need("/nowhere/two.so", "libone"),
    ]
    with pytest.raises(Missing) as caught:
        missing.check(needs)
    assert str(caught.value) == (
        "/nowhere/one.so, no_such_module, /nowhere/two.so: "
        "apt-get install libone && pip install -c constraints.txt no-such-package"
    )


def test_no_two_clients_have_anything_in_common_but_the_zone() -> None:
    holders = [holder(number) for number in range(TOKENS)]
    assert len({each.id for each in holders}) == len({digest_of(each.secret) for each in holders}) == TOKENS
    assert len({each.zone for each in holders}) == 1000


@pytest.mark.parametrize("scenario", what.ALL, ids=lambda scenario: scenario.key)
def test_a_scenario_has_contestants_that_exist(scenario: what.Scenario) -> None:
    assert scenario.contestants
    assert set(scenario.contestants) <= set(who.KEYS)


def test_time_is_counted_for_the_module_that_asked_for_it(tmp_path: Path) -> None:
    loop = "run (zonegate:8);serve (gateway/app.py:9);run (asyncio/runners.py:1)"
    raw = tmp_path / "samples.txt"
    raw.write_text(
        f"{loop} 1\n"
        f"{loop};data_received (gateway/server/head.py:5) 2\n"
        f"{loop};data_received (gateway/server/head.py:5);encode (json/encoder.py:7) 3\n"
        f"{loop};encode (json/encoder.py:7) 2\n"
        "wait (threading.py:1) 100\n"
    )
    samples = Samples(raw)
    assert samples.count == 8
    loop_itself = "the event loop, and the system's calls for it"
    assert samples.by_module() == [("gateway/server/head.py", 5 / 8), (loop_itself, 3 / 8)]
    assert samples.by_function() == [
        ("encode (json/encoder.py)", 5 / 8),
        ("data_received (gateway/server/head.py)", 2 / 8),
        (loop_itself, 1 / 8),
    ]
