"""What is logged, whoever has set up the logs of this process before."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from structlog.testing import capture_logs


@contextmanager
def captured() -> Iterator[list[dict[str, Any]]]:
    """The events that are logged meanwhile.

    A test that runs a command sets up the logs as the command does, and each logger keeps what it was first used with
    (`cache_logger_on_first_use`): `capture_logs` alone would not see those.
    """
    structlog.reset_defaults()
    for name, module in list(sys.modules.items()):
        if name.startswith("gateway.") and hasattr(module, "log"):
            vars(module.log).pop("bind", None)
    with capture_logs() as logs:
        yield logs  # type: ignore[misc]
