"""The table of `support/http_cases`, through gateways on both event loops, both ways, in pieces of every size."""

from collections.abc import Iterator
from itertools import product

import pytest
from support.data_plane import IMPATIENT, DataPlane, Home, Loop, Transcript, Way, home, running
from support.http_cases import BY_THEME
from support.http_cases.case import Case
from support.raw_connection import Pieces

DELIVERIES = (Pieces.WHOLE, Pieces.BYTES, Pieces.WHOLE)
"""Whole once more: by then the gateway has seen each line twice, and may remember what it means."""


@pytest.fixture(scope="module")
def where(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home(tmp_path_factory.mktemp("home")) as found:
        yield found


@pytest.fixture(scope="module")
def patient(where: Home) -> Iterator[tuple[DataPlane, ...]]:
    with running(*(DataPlane(where, loop, way) for loop, way in product(Loop, Way))) as planes:
        yield planes


@pytest.fixture(scope="module")
def impatient(where: Home) -> Iterator[tuple[DataPlane, ...]]:
    with running(*(DataPlane(where, loop, way, IMPATIENT) for loop, way in product(Loop, Way))) as planes:
        yield planes


def verdicts(case: Case, planes: tuple[DataPlane, ...]) -> list[tuple[str, Transcript]]:
    """What came of `case` in each plane and delivery. A fault says in which."""
    found = []
    for plane, pieces in product(planes, DELIVERIES):
        where = f"{plane.name}, {pieces.value}"
        try:
            found.append((where, plane.play(case, pieces)))
        except AssertionError as fault:
            raise AssertionError(f"{case.name} ({where}): {fault}") from None
    return found


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=f"{theme}: {case.name}") for theme, cases in BY_THEME.items() for case in cases]
)
def test_a_case_has_one_verdict(case: Case, request: pytest.FixtureRequest) -> None:
    planes = request.getfixturevalue("impatient" if case.impatient else "patient")
    (_, first), *others = verdicts(case, planes)
    for where, transcript in others:
        assert transcript == first, where
