"""The real programs: a gateway as `zonegate serve`, its embedded Valkey, the demo upstream behind it."""

import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx

ZONEGATE = str(Path(sys.executable).parent / "zonegate")
UPSTREAM_SECRET = "the-one-all-powerful-key"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For calls by plain HTTP: without it, httpx reads all of the system's certificates for each, 20 ms of CPU time."""
_DEADLINE = 20.0


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def until(what: str, condition: Any, deadline: float = _DEADLINE) -> Any:
    """The first true answer of `condition`; fails after `deadline` seconds."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {deadline} s: {what}")


def alive(pid: int) -> bool:
    """Whether a process of that id runs (a zombie does not)."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def children(pid: int) -> list[int]:
    """Process ids of those that `pid` has started (Linux)."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def clients_of(pid: int, port: int) -> set[int]:
    """The clients' ports of the connections to `port` that process `pid` holds (Linux)."""
    held = set()
    for file in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            held.add(str(file.readlink()))
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, _, _, _, _, inode, *_ = line.split()
        if int(local.partition(":")[2], 16) == port and f"socket:[{inode}]" in held:
            found.add(int(remote.partition(":")[2], 16))
    return found - {0}


class Upstream:
    """The demo upstream in its own process, and what reached it. `more_zones`: so many beside its three."""

    def __init__(self, directory: Path, more_zones: int = 0) -> None:
        self.journal_file = directory / "journal.jsonl"
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "gateway.demo.upstream", "--port", "0", "--credential-env", "DEMO_CREDENTIAL"),
                *("--journal", str(self.journal_file), "--more-zones", str(more_zones)),
            ],
            env={**os.environ, "DEMO_CREDENTIAL": UPSTREAM_SECRET},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]

    def journal(self) -> list[dict[str, Any]]:
        """Every request that arrived."""
        return [json.loads(line) for line in self.journal_file.read_text().splitlines()]

    def size(self) -> int:
        """Of the journal, in bytes: it grows with each request, a refused one too."""
        return self.journal_file.stat().st_size

    def last_target(self) -> str:
        """The request target that came last, byte for byte."""
        with self.journal_file.open("rb") as journal:
            journal.seek(max(0, self.size() - 65536))
            target: str = json.loads(journal.read().splitlines()[-1])["target"]
            return target

    def stop(self) -> None:
        self.process.terminate()
        self.process.communicate()


class RawUpstream:
    """An upstream that says what a test wants, byte for byte: `script(sock)` has one connection after the other."""

    def __init__(self, script: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.script = script
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(_DEADLINE)
            with sock, contextlib.suppress(OSError):
                self.script(sock)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


class Gateway:
    """`zonegate serve` on free ports, with an embedded store in `directory`."""

    def __init__(self, directory: Path, upstream: str, extra: str = "", workers: int = 1) -> None:
        self.directory = directory
        self.port, self.admin_port = free_port(), free_port()
        self.config = directory / "zonegate.toml"
        self.log_file = directory / "gateway.log"
        self.url = f"http://127.0.0.1:{self.port}/client/v4"
        self.admin_url = f"http://127.0.0.1:{self.admin_port}"
        sections = "".join(
            f"""
[upstreams.{name}]
targets = ["{upstream}"]
base_path = "/client/v4"
credential = {{ header = "Authorization", value = "Bearer ${{DEMO_CREDENTIAL}}" }}
"""
            for name in ("cloudflare-dns", "billing")
        )
        self.config.write_text(
            f"""
[listen]
port = {self.port}
workers = {workers}
[admin]
port = {self.admin_port}
[store]
data_dir = "{directory / "store"}"
{sections}
{extra}
"""
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.first = ""

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "DEMO_CREDENTIAL": UPSTREAM_SECRET}

    def command(self, *arguments: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run `zonegate ARGUMENTS` to its end."""
        return subprocess.run(
            [ZONEGATE, *arguments],
            env={**self.environment, **options.pop("env", {})},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            **options,
        )

    def init(self) -> str:
        """Make the first owner; returns its token's secret."""
        done = self.command("init", "--config", str(self.config), "--json")
        assert done.returncode == 0, done.stderr
        self.first = json.loads(done.stdout)["value"]
        return self.first

    def prepare(self) -> None:
        """The first owner is in its embedded store: the copy of a store in which `init`, a second's work, made it."""
        made = initialised()
        shutil.copytree(made.directory / "store", self.directory / "store")
        self.first = made.first

    def launch(self) -> None:
        """Start it, in a session of its own."""
        with self.log_file.open("ab") as log:
            self.process = subprocess.Popen(
                [ZONEGATE, "serve", "--config", str(self.config)],
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def start(self) -> None:
        """Start it, and return when it is ready."""
        self.launch()
        until("the gateway is ready", self._is_ready)

    def _is_ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.admin_url}/readyz", verify=NO_TLS).status_code == 200
        return False

    def store_pid(self) -> int:
        """The embedded server's process id."""
        return int(json.loads((self.directory / "store" / "server.json").read_text())["pid"])

    def workers(self) -> list[int]:
        """Process ids of the workers, the oldest first (Linux)."""
        assert self.process is not None
        return sorted(set(children(self.process.pid)) - {self.store_pid()})

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def tidy(self) -> None:
        """Remove the socket's directory that a killed server left."""
        note = self.directory / "store" / "server.json"
        if note.exists():
            home = Path(json.loads(note.read_text())["socket"]).parent
            if home.name.startswith("zonegate-"):
                shutil.rmtree(home, ignore_errors=True)

    def log(self) -> str:
        return self.log_file.read_text()

    def call(self, method: str, path: str, secret: str | None = None, **options: Any) -> httpx.Response:
        """One request to the gateway, `secret` as its bearer (default: the first token's)."""
        headers = {"Authorization": f"Bearer {secret or self.first}", **options.pop("headers", {})}
        return httpx.request(method, self.url + path, headers=headers, timeout=20, **{"verify": NO_TLS, **options})

    def create(self, **fields: Any) -> dict[str, Any]:
        """A token as its creation shows it."""
        answer = self.call("POST", "/user/tokens", json=fields)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["result"]
        return found


@cache
def initialised() -> Gateway:
    """A gateway that does not run, with its first owner in its embedded store."""
    directory = Path(tempfile.mkdtemp(prefix="zonegate-tests-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    gateway = Gateway(directory, "http://127.0.0.1:9")
    gateway.init()
    return gateway


@contextlib.contextmanager
def running(
    directory: Path, extra: str = "", workers: int = 1, more_zones: int = 0
) -> Iterator[tuple[Gateway, Upstream]]:
    """A gateway with its first owner, and the upstream behind it."""
    upstream = Upstream(directory, more_zones)
    gateway = Gateway(directory, upstream.url, extra, workers)
    try:
        gateway.prepare()
        gateway.start()
        yield gateway, upstream
    finally:
        gateway.stop()
        gateway.tidy()
        upstream.stop()
