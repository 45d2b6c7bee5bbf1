"""The documentation is a whole: made pages are as the code is, each page has its place, and no link leads nowhere."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support.console import COMMANDS, blocks
from support.pages import NOT_RUN, ROOT, WHERE, forgotten, pages
from support.reference_pages import PAGES

from gateway.tokens.secret import SCANNED

DOCS = ROOT / "docs"
PAGES_OF_OURS = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))


@pytest.mark.parametrize(("name", "page"), PAGES.items(), ids=PAGES)
def test_a_page_that_is_made_from_the_code_is_as_the_code_is(name: str, page: Callable[[], str]) -> None:
    assert (DOCS / name).read_text() == page(), f"run {sys.executable} tests/support/reference_pages.py"


def test_the_expression_for_scanners_is_the_one_that_the_command_uses() -> None:
    (shown,) = re.findall(r"^```text\n(zg.*)\n```", (DOCS / "leaked-secrets.md").read_text(), re.MULTILINE)
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


def test_each_link_of_the_readme_leads_somewhere() -> None:
    links = re.findall(r"\]\(([^):]+)\)", (ROOT / "README.md").read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).is_file()] == []


@pytest.mark.parametrize("name", ["request.md"])
def test_the_names_in_the_trace_of_a_request_are_in_the_folders_that_it_says(name: str) -> None:
    rows = re.findall(r"^\| (`.+`) \| `(gateway/\w+/)` \|$", (DOCS / name).read_text(), re.MULTILINE)
    assert len(rows) > 5
    for names, folder in rows:
        code = "".join(path.read_text() for path in (ROOT / folder).glob("*.py"))
        for symbol in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:async )?(?:class|def) {symbol}\b", code, re.MULTILINE), (symbol, folder)


@pytest.mark.parametrize("page", pages())
def test_each_block_of_commands_is_run_or_stands_in_the_table_of_those_that_are_not(page: str) -> None:
    text = (ROOT / page).read_text()
    assert forgotten(page, text) == []
    assert (page in WHERE) == any(block.language in COMMANDS for block in blocks(text))


def test_a_new_page_s_commands_are_forgotten_until_somebody_runs_them() -> None:
    new = "# New\n\n```console\n$ ls\n```\n\n```sh\nmake docs\n```\n\n```json\n{}\n```\n"
    assert forgotten("docs/new.md", new) == ["$ ls", "make docs"]


@pytest.mark.parametrize(("page", "title"), NOT_RUN)
def test_what_is_not_run_is_there_and_has_its_reason(page: str, title: str) -> None:
    assert title in [block.title for block in blocks((ROOT / page).read_text())]
    assert NOT_RUN[page, title]


@pytest.mark.parametrize("page", pages())
def test_no_commands_hide_in_blocks_of_another_kind(page: str) -> None:
    text = (ROOT / page).read_text()
    fences = re.findall(r"^[ \t>]*(?:```|~~~).*$", text, re.MULTILINE)
    assert [fence for fence in fences if not re.fullmatch(r"```\w*", fence)] == []
    found = blocks(text)
    assert len(fences) == 2 * len(found)
    assert {block.language for block in found} <= {*COMMANDS, "text", "toml", "json", "yaml", "python", "hcl"}
    others = [line for block in found if block.language not in COMMANDS for line in block.body.splitlines()]
    assert [line for line in others if line.startswith(("$ ", "curl "))] == []


@pytest.mark.parametrize("page", pages())
def test_each_example_of_a_file_can_be_read(page: str) -> None:
    readers: dict[str, Callable[[str], object]] = {"json": json.loads, "toml": tomllib.loads, "yaml": yaml.safe_load}
    for block in blocks((ROOT / page).read_text()):
        if block.language in readers:
            assert readers[block.language](block.body), block.title


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
