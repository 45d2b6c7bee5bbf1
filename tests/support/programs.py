"""Programs that tests drive and that a machine may lack."""

import os
import shutil

import pytest


def program(name: str, package: str) -> str:
    """Where it is. Without it the test is skipped, but fails where all of them have to be there (`CI` is set)."""
    found = shutil.which(name)
    if found is None:
        lacking = f"{name} is not here: apt-get install {package}"
        if os.environ.get("CI"):
            pytest.fail(lacking)
        pytest.skip(lacking)
    return found
