"""Every command of a guide that starts its own gateway does what it says, typed from top to bottom.

Ports that the guide chooses are others here, and in the place of Cloudflare stands the demo's API.
"""

import re
from pathlib import Path

import pytest
from support.console import run, steps
from support.pages import ALONE, ROOT, pages_in, skipped
from support.processes import UPSTREAM_SECRET, Upstream, free_port


@pytest.mark.parametrize("page", pages_in(ALONE))
def test_a_guides_commands_do_what_it_says(tmp_path: Path, page: str) -> None:
    (tmp_path / "zonegate").symlink_to(ROOT)  # the clone that the guides speak of
    upstream = Upstream(tmp_path)
    try:
        here = {"8080": str(free_port()), "8081": str(free_port()), "9000": str(free_port())}
        here["https://api.cloudflare.com"] = upstream.url
        text = re.sub("|".join(map(re.escape, here)), lambda found: here[found[0]], (ROOT / page).read_text())
        examples = steps(text, skipped(page))
        assert examples
        assert list(run(examples, tmp_path, {"CLOUDFLARE_API_TOKEN": UPSTREAM_SECRET})) == []
    finally:
        upstream.stop()
