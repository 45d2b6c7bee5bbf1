"""All measurements of a run, and the ratios that are read out of them."""

import statistics
from collections import defaultdict
from typing import Any

import msgspec

from contest.measurement import Measurement


class Findings:
    """Measurements by scenario, contestant and round. A ratio is taken inside each round, since the machine's mood
    lasts longer than a round; of the ratios the median counts.
    """

    def __init__(self) -> None:
        self._rounds: defaultdict[tuple[str, str], dict[int, Measurement]] = defaultdict(dict)

    def add(self, scenario: str, contestant: str, round_: int, found: Measurement) -> None:
        """One more."""
        self._rounds[scenario, contestant][round_] = found

    def of(self, scenario: str, contestant: str) -> dict[int, Measurement]:
        """By round; none where it was not measured."""
        return self._rounds.get((scenario, contestant), {})

    def scenarios(self) -> list[str]:
        """Which were measured, in that order."""
        return list(dict.fromkeys(scenario for scenario, _ in self._rounds))

    def median(self, scenario: str, contestant: str, field: str) -> float | None:
        """Of all rounds; None where it was not measured."""
        values = [getattr(each, field) for each in self.of(scenario, contestant).values()]
        return statistics.median(values) if values else None

    def ratios(self, over: tuple[str, str], under: tuple[str, str], field: str) -> list[float]:
        """Of each round that has both; `over` and `under` are scenario and contestant."""
        one, other = self.of(*over), self.of(*under)
        return [
            getattr(one[round_], field) / getattr(other[round_], field)
            for round_ in one
            if round_ in other and getattr(other[round_], field)
        ]

    def wrong(self, scenario: str, contestant: str) -> int:
        """How many answers were not what they had to be."""
        return sum(each.wrong for each in self.of(scenario, contestant).values())

    def as_data(self) -> list[dict[str, Any]]:
        """For the JSON: medians, and each round."""
        return [
            {
                "scenario": scenario,
                "contestant": contestant,
                "median": {field: self.median(scenario, contestant, field) for field in Measurement.__struct_fields__},
                "rounds": msgspec.to_builtins(list(rounds.values())),
            }
            for (scenario, contestant), rounds in self._rounds.items()
        ]
