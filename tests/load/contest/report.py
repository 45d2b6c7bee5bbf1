"""What is printed: a table for each scenario, and the goals."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Final

from contest import contestant as who
from contest import scenario as what
from contest.contestant import NGINX
from contest.findings import Findings
from contest.goal import Verdict, by_cpu
from contest.scenario import Scenario

_TITLES: Final = {each.key: each.title for each in who.ALL}
_WIDE: Final = max(map(len, _TITLES.values())) + 2
_HEAD: Final = (
    f"{'':{_WIDE}}{'req/s':>9}{'MiB/s':>8}{'/ nginx':>9}{'CPU/req':>11}{'/ nginx':>9}{'p50':>11}{'p99':>11}"
    f"{'RSS':>10}{'busy':>7}"
)
_LEGEND: Final = (
    "/ nginx: requests a second (bytes, for large answers), then requests for the same CPU time; medians of ratios.",
    "CPU/req: user and system time of all that works for the contestant, its store too. busy: of its cores; below 90 %",
    "another part was the bottleneck, and only CPU/req tells. p50, p99: at full load they say how many wait.",
)


def _number(value: float | None, form: str, width: int) -> str:
    return f"{'-' if value is None else format(value, form):>{width}}"


def _row(findings: Findings, scenario: Scenario, key: str) -> str:
    def median(field: str) -> float:
        return findings.median(scenario.key, key, field) or 0.0

    here, nginx = (scenario.key, key), (scenario.key, NGINX)
    ratios = findings.ratios(here, nginx, "mib" if scenario.counts_bytes else "requests")
    cheaper = by_cpu(findings, here, nginx)
    is_direct = median("cpu") == 0
    wrong = findings.wrong(*here)
    return (
        f"{_TITLES[key]:{_WIDE}}{median('requests'):9.0f}{median('mib'):8.1f}"
        f"{_number(statistics.median(ratios) if ratios else None, '.2f', 9)}"
        f"{_number(None if is_direct else median('cpu'), '.1f', 8)} us"
        f"{_number(statistics.median(cheaper) if cheaper else None, '.2f', 9)}"
        f"{median('p50'):8.2f} ms{median('p99'):8.2f} ms"
        f"{_number(None if is_direct else median('rss'), '.0f', 6)} MiB"
        f"{_number(None if is_direct else median('busy') * 100, '.0f', 5)} %"
        f"{f'  {wrong} WRONG' if wrong else ''}"
    )


def scenario_tables(findings: Findings) -> Iterator[str]:
    """Lines: a table for each scenario."""
    scenarios = {each.key: each for each in what.ALL}
    for key in findings.scenarios():
        yield from ("", scenarios[key].title, _HEAD)
        for contestant in (each.key for each in who.ALL):
            if findings.of(key, contestant):
                yield _row(findings, scenarios[key], contestant)
    yield from ("", *_LEGEND)


def _value(verdict: Verdict, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f} MiB" if verdict.unit == "MiB" else f"{value:.2f}"


def goal_table(verdicts: Sequence[Verdict]) -> Iterator[str]:
    """Lines: a row for each goal."""
    wide = max(len(verdict.title) for verdict in verdicts) + 2
    yield from ("", f"{'':{wide}}{'measured':>10}{'rounds':>14}{'by CPU':>8}{'target':>11}  ")
    for verdict in verdicts:
        spread = f"{verdict.spread[0]:.2f}-{verdict.spread[1]:.2f}" if verdict.spread else "-"
        yield (
            f"{verdict.title:{wide}}{_value(verdict, verdict.value):>10}{spread:>14}"
            f"{_number(verdict.cpu, '.2f', 8)}{verdict.goal:>11}  {verdict.outcome.upper():12}  {verdict.note}"
        ).rstrip()
