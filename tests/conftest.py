"""Fixtures for all tests, and how many examples Hypothesis draws."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from support.processes import Gateway, Upstream, running

_common = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]}
settings.register_profile("default", max_examples=50, **_common)
settings.register_profile("deep", max_examples=5000, **_common)
settings.load_profile(os.environ.get("ZONEGATE_HYPOTHESIS", "default"))


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Upstream]]:
    """A running gateway and the upstream behind it, for all tests of a module."""
    with running(tmp_path_factory.mktemp("gateway")) as found:
        yield found


@pytest.fixture
def gateway(programs: tuple[Gateway, Upstream]) -> Gateway:
    """A running gateway."""
    return programs[0]


@pytest.fixture
def upstream(programs: tuple[Gateway, Upstream]) -> Upstream:
    """The upstream behind it."""
    return programs[1]
