"""`zonegate demo` as a process: started, read, ended with Ctrl-C."""

import re
import signal
import subprocess
from pathlib import Path
from typing import Self

from support.processes import ZONEGATE, free_port

_EXPORT = re.compile(r"^\s*export (\w+)=(\S+)$", re.MULTILINE)
_LAST_LINE = "# 401: the old secret is dead"


class Demo:
    """A running demo. `exports`: the variables that it prints; `printed`: all that it printed until it was ready."""

    def __init__(self, directory: Path, port: int | None = None) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.printed = ""
        self.log_file = directory / "demo.log"

    def __enter__(self) -> Self:
        log = self.log_file.open("ab")
        self.process = subprocess.Popen(
            [
                *(ZONEGATE, "demo", "--port", str(self.port), "--admin-port", str(free_port())),
                *("--data-dir", str(self.directory / "store")),
            ],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        log.close()
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.printed += line
            if _LAST_LINE in line:
                self.printed += self.process.stdout.readline()
                return self
        self.interrupt()
        raise AssertionError(f"the demo ended: {self.log_file.read_text()}")

    @property
    def exports(self) -> dict[str, str]:
        return dict(_EXPORT.findall(self.printed))

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        self.rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode

    def __exit__(self, *_: object) -> None:
        self.interrupt()
