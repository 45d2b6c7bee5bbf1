"""The contest itself: everybody's turn in every scenario, round after round."""

from collections.abc import Sequence
from typing import Final

from contest.arena import Arena
from contest.contestant import ZONEGATE
from contest.findings import Findings
from contest.measurement import measure
from contest.progress import say
from contest.scenario import Scenario

_WARM_UP: Final = 1
_WARM_UP_TOKENS: Final = 3
"""Seconds in which each of 10,000 tokens comes up at least once."""


def _rate(scenario: Scenario, findings: Findings, round_: int) -> float | None:
    """Requests a second that are asked for; None: as many as it takes, or nobody knows the gateway's most."""
    most = findings.of(scenario.of, ZONEGATE).get(round_)
    return most.requests * scenario.share if most else None


def play(arena: Arena, scenarios: Sequence[Scenario], *, rounds: int, seconds: int, warm: bool) -> Findings:
    """What all rounds came to, of `seconds` for each turn, and before it a second that does not count (`warm`).

    Every second round has the contestants in the reverse order: what one leaves behind is not always the same one's
    burden. Raises Broken.
    """
    findings = Findings()
    for round_ in range(rounds):
        for scenario in scenarios:
            rate = _rate(scenario, findings, round_)
            if scenario.share and rate is None:
                continue
            say(f"round {round_ + 1} of {rounds}: {scenario.title}")
            stands = [arena.stands[key] for key in scenario.contestants if key in arena.stands]
            for stand in reversed(stands) if round_ % 2 else stands:
                if warm or scenario.many:
                    measure(arena, stand, scenario, _WARM_UP_TOKENS if scenario.many else _WARM_UP, rate)
                found = measure(arena, stand, scenario, seconds, rate)
                findings.add(scenario.key, stand.contestant.key, round_, found)
                wrong = f", {found.wrong} WRONG" if found.wrong else ""
                say(f"  {stand.contestant.title}: {found.requests:.0f}/s, {found.cpu:.1f} us of CPU each{wrong}")
    return findings
