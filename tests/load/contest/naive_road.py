"""The gateway with every request in a task, as `zonegate serve --config FILE` would run it otherwise: the same
functions, without the way that finishes a request at once. What that way is worth is the difference.
"""

import sys
from pathlib import Path

from gateway.app import serve
from gateway.settings import Settings, environment, load_settings
from gateway.telemetry.logs import configure_logs


def load() -> Settings:
    return load_settings(Path(sys.argv[1]), environment())


if __name__ == "__main__":
    settings = load()
    configure_logs(settings.log.format, settings.log.level)
    serve(settings, load, at_once=False)
