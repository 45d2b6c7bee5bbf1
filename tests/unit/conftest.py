from functools import partial
from pathlib import Path

import pytest
from support.configured import Set, configured_in


@pytest.fixture
def configured(tmp_path: Path) -> Set:
    """`configured(text)`: settings on free ports, with their store in `tmp_path`."""
    return partial(configured_in, tmp_path)
