"""What the gateway has to reach, and whether it did: the ratios that the contest is held for.

A ratio is of requests (or bytes) a second. Where one of the two had less than nine tenths of its cores, something else
stood in its way: then the ratio of requests for the same CPU time counts, and the row says so.
"""

import statistics
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from contest import contestant as who
from contest import scenario as what
from contest.contestant import LUA_CACHE, LUA_REDIS, NAIVE, NGINX, SILENT, TWO_WORKERS, ZONEGATE
from contest.findings import Findings
from contest.idle_connections import COUNT, Idle

_BUSY: Final = 0.9
_IDLE_MIB: Final = 250.0
_WORKERS: Final = {each.key: each.workers for each in who.ALL}

Pair = tuple[str, str]
"""A scenario, and a contestant in it."""
Outcome = Literal["pass", "shortfall", "not measured", "reported"]


class Goal(msgspec.Struct, frozen=True):
    """`field` of `over`, as a ratio to that of `under`, has to be at least or at most `bound` (None: it is only
    reported). `by_cpu`: whether CPU may take the place of `field`.
    """

    title: str
    over: Pair
    under: Pair
    bound: float | None
    field: str = "requests"
    at_most: bool = False
    by_cpu: bool = True


class Verdict(msgspec.Struct, frozen=True):
    """What became of a goal. `spread`: the lowest and the highest of the rounds; `note`: what a reader has to know."""

    title: str
    goal: str
    outcome: Outcome
    value: float | None = None
    unit: str = "x"
    cpu: float | None = None
    spread: tuple[float, float] | None = None
    note: str = ""


GOALS: Final = (
    Goal("unlike small GETs / nginx (aim: 0.80)", (what.UNLIKE, ZONEGATE), (what.UNLIKE, NGINX), 0.65),
    Goal("unlike small GETs / nginx + Lua + Redis", (what.UNLIKE, ZONEGATE), (what.UNLIKE, LUA_REDIS), 1.8),
    Goal("unlike small GETs / nginx + Lua, cached", (what.UNLIKE, ZONEGATE), (what.UNLIKE, LUA_CACHE), 1.0),
    Goal("small GETs all alike / nginx", (what.ALIKE, ZONEGATE), (what.ALIKE, NGINX), 0.75),
    Goal("10,000 tokens, 1,000 zones / one token", (what.TOKENS, ZONEGATE), (what.UNLIKE, ZONEGATE), 0.9),
    Goal("denied / allowed", (what.DENIED, ZONEGATE), (what.UNLIKE, ZONEGATE), 1.5),
    Goal("unauthenticated / allowed", (what.ANONYMOUS, ZONEGATE), (what.UNLIKE, ZONEGATE), 1.5),
    Goal("POST of 1 KiB / nginx", (what.POST, ZONEGATE), (what.POST, NGINX), 0.6),
    Goal("answers of 16 KiB / nginx, in bytes", (what.MIDDLE, ZONEGATE), (what.MIDDLE, NGINX), 0.7, "mib"),
    Goal("answers of 1 MiB / nginx, in bytes", (what.LARGE, ZONEGATE), (what.LARGE, NGINX), 0.7, "mib"),
    Goal("2 workers on 2 cores / 1", (what.UNLIKE, TWO_WORKERS), (what.UNLIKE, ZONEGATE), 1.6, by_cpu=False),
    Goal(
        "p99 at 70 % of the own most / nginx's at that rate",
        (what.STEADY, ZONEGATE),
        (what.STEADY, NGINX),
        3.0,
        "p99",
        at_most=True,
        by_cpu=False,
    ),
    Goal("metrics and logs on / both off", (what.UNLIKE, ZONEGATE), (what.UNLIKE, SILENT), 0.95),
    Goal("naive road: unlike small GETs / nginx", (what.UNLIKE, NAIVE), (what.UNLIKE, NGINX), None),
    Goal("naive road: unlike small GETs / zonegate", (what.UNLIKE, NAIVE), (what.UNLIKE, ZONEGATE), None),
)


def _in_words(goal: Goal) -> str:
    if goal.bound is None:
        return "-"
    return f"{'<=' if goal.at_most else '>='} {goal.bound:.2f}"


def _is_busy(findings: Findings, pair: Pair) -> bool:
    busy = findings.median(*pair, "busy")
    return busy is not None and busy >= _BUSY


def by_cpu(findings: Findings, over: Pair, under: Pair) -> list[float]:
    """How many requests `over` answers in the CPU time that it has, for each of `under`: of each round."""
    workers = _WORKERS[over[1]] / _WORKERS[under[1]]
    return [ratio * workers for ratio in findings.ratios(under, over, "cpu")]


def _highest(findings: Findings, goal: Goal) -> float:
    """What two workers could reach at the most, on two cores of which upstream and generator take their part."""
    own = findings.median(*goal.under, "cpu") or 0.0
    beside = sum(findings.median(*goal.over, field) or 0.0 for field in ("cpu_upstream", "cpu_generator"))
    return 2 * own / (own + beside)


def judge(goal: Goal, findings: Findings, *, shared: bool) -> Verdict:
    """What became of `goal`. `shared`: whether two workers share their cores with upstream and generator."""
    ratios = findings.ratios(goal.over, goal.under, goal.field)
    if not ratios:
        return Verdict(goal.title, _in_words(goal), "not measured")
    cheaper = [] if goal.at_most else by_cpu(findings, goal.over, goal.under)
    note = ""
    if goal.by_cpu and cheaper and not (_is_busy(findings, goal.over) and _is_busy(findings, goal.under)):
        ratios, note = cheaper, "by CPU: the cores were not full"
    value = statistics.median(ratios)
    if goal.over[1] == TWO_WORKERS and shared:
        note = f"at most {_highest(findings, goal):.2f} here: upstream and generator share the cores"
    outcome: Outcome = "reported"
    if goal.bound is not None:
        outcome = "pass" if (value <= goal.bound if goal.at_most else value >= goal.bound) else "shortfall"
    if wrong := findings.wrong(*goal.under):
        note = f"{wrong} wrong answers of {goal.under[1]}"
    if wrong := findings.wrong(*goal.over):
        outcome, note = "shortfall", f"{wrong} wrong answers"
    return Verdict(
        goal.title,
        _in_words(goal),
        outcome,
        value,
        cpu=statistics.median(cheaper) if cheaper else None,
        spread=(min(ratios), max(ratios)),
        note=note,
    )


def judge_idle(idle: Idle | None) -> Verdict:
    """What became of the goal for idle connections."""
    title, goal = "10,000 idle connections, one worker", f"< {_IDLE_MIB:.0f} MiB"
    if idle is None:
        return Verdict(title, goal, "not measured")
    note = f"{idle.before:.0f} MiB without them, {idle.kib_each:.1f} KiB each"
    if idle.connections < COUNT:
        return Verdict(title, goal, "not measured", idle.with_them, "MiB", note=f"{idle.connections} only; {note}")
    return Verdict(title, goal, "pass" if idle.with_them < _IDLE_MIB else "shortfall", idle.with_them, "MiB", note=note)


def judge_all(findings: Findings, idle: Idle | None, *, shared: bool) -> Sequence[Verdict]:
    """What became of each."""
    return [*(judge(goal, findings, shared=shared) for goal in GOALS), judge_idle(idle)]
