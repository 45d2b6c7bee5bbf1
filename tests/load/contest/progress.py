"""What happens now, for people: on standard error, since the tables are standard output."""

import sys


def say(line: str) -> None:
    """`line` is told."""
    sys.stderr.write(f"bench: {line}\n")
    sys.stderr.flush()
