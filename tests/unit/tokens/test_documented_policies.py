"""The policies that `docs/permissions.md` shows are ones that a token may have."""

import json
import re
from itertools import count
from pathlib import Path

import pytest
from support.records import GROUPS, NOW

from gateway.tokens.token import Draft
from gateway.tokens.validation import validate_token

PAGE = Path(__file__).parents[3] / "docs" / "permissions.md"
SHOWN = re.findall(r"^```json\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("shown", SHOWN)
def test_the_policies_of_the_page_are_valid(shown: str) -> None:
    ids = count(1)
    body = json.dumps({"name": "as documented", "policies": json.loads(shown)}).encode()
    found = validate_token(body, GROUPS, NOW, lambda: f"{next(ids):032x}", apis=("cloudflare-dns", "powerdns"))
    assert isinstance(found, Draft), found


def test_the_page_shows_policies() -> None:
    assert len(SHOWN) == 3
