"""A long list: the page asks for what it shows, and a search walks the pages of the API."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from playwright.sync_api import expect
from support.dashboard import Dashboard, dns_policy
from support.processes import Gateway, Upstream

from gateway.demo.dataset import ZONES

POLICIES = [dns_policy(ZONES["alpha.example"])]
OTHERS = [dns_policy(ZONES["beta.example"])]
AT_ONCE = 8


@pytest.fixture(
    scope="module",
    params=[pytest.param(130, id="130"), pytest.param(10_000, id="10000", marks=pytest.mark.deep)],
)
def total(programs: tuple[Gateway, Upstream], request: pytest.FixtureRequest) -> int:
    """So many tokens are there, with the first; "needle 007" lies among the oldest, and is one for beta.example."""
    wanted: int = request.param
    gateway, _ = programs
    known = gateway.call("GET", "/user/tokens?include_expired=true").json()["result_info"]["total_count"]
    with httpx.Client(headers={"Authorization": f"Bearer {gateway.first}"}, timeout=60) as client:

        def create(number: int) -> None:
            name, policies = (f"needle {number:03}", OTHERS) if number == 7 else (f"hay {number:05}", POLICIES)
            body = {"name": name, "policies": policies}
            assert client.post(f"{gateway.url}/user/tokens", json=body).status_code == 200

        for number in range(known, min(wanted, 20)):
            create(number)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(create, range(max(known, 20), wanted)))
    return wanted


@pytest.fixture
def listed(total: int, inside: Dashboard) -> Dashboard:
    expect(inside.main).to_contain_text(f"{total:,} tokens")
    return inside


def rows(listed: Dashboard) -> int:
    return listed.main.locator("tbody").get_by_role("row").count()


def test_a_list_shows_one_page_and_asks_for_no_more(listed: Dashboard) -> None:
    assert rows(listed) == 25
    assert len([one for one in listed.requests if "/user/tokens?" in one.url]) == 1


def test_pages_are_turned(listed: Dashboard, total: int) -> None:
    pages = -(-total // 25)
    first = listed.main.locator("tbody").inner_text()
    expect(listed.button("Previous")).to_be_disabled()
    listed.button("Next").click()
    expect(listed.main).to_contain_text(f"Page 2 of {pages:,}")
    assert listed.main.locator("tbody").inner_text() != first
    listed.button("Previous").click()
    expect(listed.main).to_contain_text(f"Page 1 of {pages:,}")
    assert listed.main.locator("tbody").inner_text() == first


@pytest.mark.parametrize("words", ["needle", "NEEDLE 007", "beta.example", "edit beta"])
def test_a_search_finds_one_among_all(listed: Dashboard, words: str) -> None:
    listed.page.get_by_role("searchbox", name="Search tokens").fill(words)
    expect(listed.main.get_by_text("1 token found", exact=True)).to_be_visible(timeout=60_000)
    expect(listed.row("needle 007")).to_have_count(1)
    assert rows(listed) == 1


def test_a_search_that_finds_nothing_says_so_and_is_taken_back(listed: Dashboard, total: int) -> None:
    search = listed.page.get_by_role("searchbox", name="Search tokens")
    search.fill("no such token")
    expect(listed.main).to_contain_text("No token fits the search", timeout=60_000)
    search.fill("")
    expect(listed.main).to_contain_text(f"{total:,} tokens")
    assert rows(listed) == 25


def test_the_list_is_filtered_by_status(listed: Dashboard) -> None:
    listed.page.get_by_role("combobox", name="Filter by status").select_option(label="Disabled only")
    expect(listed.main).to_contain_text("No token fits the search", timeout=60_000)


def test_the_report_reads_them_all(listed: Dashboard, total: int) -> None:
    listed.page.get_by_role("link", name="Report").click()
    expect(listed.main).to_contain_text(f"{total:,} tokens checked", timeout=60_000)
