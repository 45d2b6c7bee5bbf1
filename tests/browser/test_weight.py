"""How much a browser loads for the dashboard, from where, and under which policy."""

from importlib import resources

import pytest
from support.dashboard import Dashboard

MOST = 150 * 1024
FIRST_PAINT = 500.0
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def test_all_files_together_are_small() -> None:
    files = list((resources.files("gateway.dashboard") / "static").iterdir())
    assert files
    assert sum(len(file.read_bytes()) for file in files) < MOST


def test_signing_in_loads_little_and_nothing_from_elsewhere(inside: Dashboard) -> None:
    answers = [request.response() for request in inside.requests]
    assert sum(len(answer.body()) for answer in answers if answer) < MOST
    assert {request.url.split("/")[2] for request in inside.requests} == {inside.gateway.admin_url.split("/")[2]}


def test_no_script_or_style_is_inline(inside: Dashboard) -> None:
    answer = inside.page.request.get(f"{inside.gateway.admin_url}/dashboard/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert inside.page.locator("script:not([src]), style, [style], [onclick], [onload]").count() == 0


@pytest.mark.deep
def test_the_first_paint_comes_within_half_a_second(dashboard: Dashboard) -> None:
    paints = []
    for _ in range(3):
        dashboard.open()
        dashboard.heading("Sign in").wait_for()
        paints.append(dashboard.page.evaluate(_PAINT))
    assert min(paints) < FIRST_PAINT
