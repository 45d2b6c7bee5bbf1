"""Work, counted: what a clock cannot tell in a test."""

import gc
import sys
from collections.abc import Callable
from typing import Any


def steps(run: Callable[[], object]) -> int:
    """How many lines of Python `run` goes through."""
    lines = 0

    def count(_frame: object, event: str, _arg: object) -> Any:
        nonlocal lines
        lines += event == "line"
        return count

    before = sys.gettrace()
    gc.disable()  # what it ends would be counted
    sys.settrace(count)
    try:
        run()
    finally:
        sys.settrace(before)
        gc.enable()
    return lines
