"""A browser for all tests of a worker, and a window on the module's gateway for each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from support.dashboard import Dashboard, chromium, visiting
from support.processes import Gateway

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """All that stands here is run by `make test-browser`, and not by `make test`."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def dashboard(browser: Browser, gateway: Gateway) -> Iterator[Dashboard]:
    """Nobody has signed in."""
    with visiting(browser, gateway) as found:
        yield found


@pytest.fixture
def inside(dashboard: Dashboard) -> Dashboard:
    """Signed in with the first token, at the list."""
    dashboard.sign_in()
    return dashboard
