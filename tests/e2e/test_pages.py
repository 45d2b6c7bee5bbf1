"""Every command of the documentation's pages does what the page says, typed from top to bottom beside a demo."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import blocks, run, steps
from support.demo import Demo
from support.pages import DEMO, ROOT, pages_in, skipped

from gateway.demo.dataset import ZONES


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo")) as found:
        yield found


def test_the_readmes_sdk_example_prints_the_zones_records(demo: Demo) -> None:
    (example,) = [block.body for block in blocks((ROOT / "README.md").read_text()) if block.language == "python"]
    done = subprocess.run(
        [sys.executable, "-c", example],
        env={**os.environ, **demo.exports},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert "A www.alpha.example 192.0.2.11" in done.stdout


def environment(demo: Demo, page: str) -> dict[str, str]:
    """What its reader has set before: the demo's lines; for the page about Locust, the variables of its table."""
    if page != "deploy/locust/README.md":
        return demo.exports
    found = demo.exports
    return {"ZONEGATE_URL": found["API"], "ZONEGATE_TOKEN": found["FIRST"], "ZONEGATE_ZONE": ZONES["alpha.example"]}


@pytest.mark.parametrize("page", pages_in(DEMO))
def test_a_pages_commands_do_what_it_says(demo: Demo, tmp_path: Path, page: str) -> None:
    (tmp_path / "zonegate").symlink_to(ROOT)  # the clone that the pages speak of
    examples = steps((ROOT / page).read_text(), skipped(page))
    assert examples
    assert list(run(examples, tmp_path, environment(demo, page))) == []
