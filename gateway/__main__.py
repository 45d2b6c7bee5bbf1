"""`python -m gateway` is the `zonegate` command."""

import sys


def run() -> None:
    """Entry point. A Ctrl-C is no traceback, even while the modules are read."""
    try:
        from gateway.cli.main import main  # noqa: PLC0415 - see above

        main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    run()
