"""The documentation is a whole: made pages are as the code is, each page has its place, and no link leads nowhere."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.reference_pages import PAGES

from gateway.tokens.secret import SCANNED

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES_OF_OURS = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize(("name", "page"), PAGES.items(), ids=PAGES)
def test_a_page_that_is_made_from_the_code_is_as_the_code_is(name: str, page: Callable[[], str]) -> None:
    assert (DOCS / name).read_text() == page(), f"run {sys.executable} tests/support/reference_pages.py"


def test_the_expression_for_scanners_is_the_one_that_the_command_uses() -> None:
    (shown,) = re.findall(r"^```text\n(\\b.*)\n```", (DOCS / "leaked-secrets.md").read_text(), re.MULTILINE)
    assert shown == SCANNED.pattern


def test_each_page_has_its_place_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    assert isinstance(yaml.safe_load(text), dict)
    assert [page for page in PAGES_OF_OURS if not re.search(rf"(?<![\w/]){re.escape(page)}$", text, re.MULTILINE)] == []


@pytest.mark.parametrize("name", PAGES_OF_OURS)
def test_each_link_to_another_page_leads_there(name: str) -> None:
    page = DOCS / name
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [link for link in links if not (page.parent / link).is_file()] == []


@pytest.mark.parametrize("name", ["request.md"])
def test_the_names_in_the_trace_of_a_request_are_in_the_folders_that_it_says(name: str) -> None:
    rows = re.findall(r"^\| (`.+`) \| `(gateway/\w+/)` \|$", (DOCS / name).read_text(), re.MULTILINE)
    assert len(rows) > 5
    for names, folder in rows:
        code = "".join(path.read_text() for path in (ROOT / folder).glob("*.py"))
        for symbol in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:async )?(?:class|def) {symbol}\b", code, re.MULTILINE), (symbol, folder)


def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert (tmp_path / "site" / "index.html").is_file()
