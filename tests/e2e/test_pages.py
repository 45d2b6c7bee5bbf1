"""Every console example of these pages of the documentation runs, and prints what it says."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.console import matches, printed, script, steps
from support.demo import Demo

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    with Demo(tmp_path_factory.mktemp("demo")) as found:
        yield found


@pytest.mark.parametrize("page", ["index.md", "leaked-secrets.md"])
def test_a_pages_examples_do_what_they_say(demo: Demo, tmp_path: Path, page: str) -> None:
    examples = steps((DOCS / page).read_text())
    assert len(examples) > 3
    done = subprocess.run(
        ["bash", "-c", script(examples)],
        cwd=tmp_path,
        env={**os.environ, **demo.exports, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    output = printed(done.stdout)
    for (command, wanted), found in zip(examples, output, strict=False):
        assert matches(found, wanted), (command, found)
    assert len(output) == len(examples) + 1
